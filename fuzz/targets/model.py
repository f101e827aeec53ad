"""Model folders, with the right checksums."""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.pipeline import make_pipeline

import rnnfv
from fuzz.target import Target, bundle, files_as
from fuzz.targets._signed import sign_model

_NAMES = ("config.json", "arrays.safetensors")


def _seeds() -> list[bytes]:
    seqs = list(np.random.default_rng(0).normal(size=(4, 5, 3)))
    labels = ["run", "walk"] * 2
    net = rnnfv.RNNFisherVector(hidden_size=2, projection_size=2, max_epochs=1, early_stopping=None, random_state=0)
    words = rnnfv.BagOfWords().fit([["a", "dog"], ["dog"]])
    mean = make_pipeline(rnnfv.StepPreprocessor(deltas=1), rnnfv.MeanPooling(), rnnfv.LinearSVM()).fit(seqs, labels)
    mixture = rnnfv.MixtureFisherVector(n_components=2, random_state=0).fit(seqs)
    seeds = []
    for model in (net.fit(seqs), words, mean, mixture):
        with tempfile.TemporaryDirectory() as folder:
            rnnfv.save(model, Path(folder) / "model")
            seeds.append(bundle(Path(folder) / "model", *_NAMES))
    return seeds


def _place(folder: Path, data: bytes) -> Path:
    files_as(*_NAMES)(folder, data)
    sign_model(folder)
    return folder


_KINDS = ("array", "dict", "dtype", "estimator", "float", "scalar", "strings", "tuple", "type")
_TOKENS = (
    *(f'{{"kind": "{kind}"'.encode() for kind in _KINDS),
    b"1e9",
    b"100000000",
    b"[]",
    b"null",
    b'"U1024"',
    b'"sklearn.PCA"',
)

TARGET = Target(_seeds, _place, rnnfv.load, _TOKENS)
