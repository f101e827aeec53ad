"""Folders of recognisers, with the right checksums."""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.pipeline import make_pipeline

import rnnfv
from fuzz.target import Target, bundle, files_as
from fuzz.targets._signed import sign_chain
from rnnfv.recipes.recognizer import ActionRecognizer, load_recognizer
from rnnfv.video.decode import Sampling

_NAMES = ("action.json", "recognizer/config.json", "recognizer/arrays.safetensors", "backbone/net.onnx")


def _seeds() -> list[bytes]:
    seqs = [np.full((n, 2), n % 2) for n in (3, 4, 5, 6)]
    pipeline = make_pipeline(rnnfv.MeanPooling(), rnnfv.LinearSVM()).fit(seqs, ["run", "sit"] * 2)
    description = {"name": "onnx", "settings": {}, "weights": {"file": "net.onnx"}}
    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "net.onnx"
        weights.write_bytes(b"net")
        for number, backbone in enumerate((ActionRecognizer(pipeline), (description, Sampling(fps=5.0), weights))):
            recognizer = backbone if number == 0 else ActionRecognizer(pipeline, *backbone)
            to = Path(folder) / str(number)
            recognizer.save(to)
            seeds.append(bundle(to, *(name for name in _NAMES if (to / name).is_file())))
    return seeds


def _place(folder: Path, data: bytes) -> Path:
    files_as(*_NAMES)(folder, data)
    sign_chain(folder, "action.json", ["recognizer"], folder / "backbone" / "net.onnx")
    return folder


TARGET = Target(
    _seeds, _place, load_recognizer, tokens=(b"null", b'"fps"', b'"every"', b'"weights"', b'"\\u0000"', b"[]", b"1e999")
)
