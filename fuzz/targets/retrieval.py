"""Folders of models of images and sentences, with the right checksums."""

import tempfile
from pathlib import Path

import numpy as np

from fuzz.target import Target, bundle, files_as
from fuzz.targets._signed import sign_chain
from rnnfv.recipes.retrieval import Pairs, fit_retrieval, load_retrieval
from rnnfv.recipes.sentence_settings import SentenceSettings

_PARTS = ("sentences", "cca", "images", "scaling")
_NAMES = ("retrieval.json", *(f"{part}/{file}" for part in _PARTS for file in ("config.json", "arrays.safetensors")))


def _seeds() -> list[bytes]:
    texts = [["a", "dog"], ["a", "cat"], ["two", "dogs"], ["two", "cats"], ["a", "bird"]]
    images = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    pairs = Pairs(texts, images, np.arange(5))
    model = fit_retrieval(pairs, pairs, SentenceSettings("tf-idf"), etas=[0.1], image_power=1.0)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        return [bundle(Path(folder) / "model", *_NAMES)]


def _place(folder: Path, data: bytes) -> Path:
    files_as(*_NAMES)(folder, data)
    sign_chain(folder, "retrieval.json", _PARTS)
    return folder


TARGET = Target(_seeds, _place, load_retrieval, tokens=(b"null", b'"note"', b"[]", b"1e999", b'"kind": "array"'))
