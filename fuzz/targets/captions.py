"""Captions in the field's JSON."""

import json
from pathlib import Path

from fuzz.target import Target, file_as
from rnnfv.datasets.captions import read_captions


def _seeds() -> list[bytes]:
    sentences = [{"raw": "A dog.", "tokens": ["a", "dog"]}, {"raw": "It runs."}, {"tokens": ["two", "cats"]}]
    images = [
        {"filename": "1.jpg", "split": "train", "sentences": sentences},
        {"filename": "2.jpg", "filepath": "val2014", "split": "restval", "sentences": sentences[:1]},
        {"filename": "3.jpg", "split": "test", "sentences": sentences[1:]},
    ]
    text = json.dumps({"images": images, "dataset": "tiny"})
    return [text.encode(), text.encode("utf-16"), json.dumps({"images": images[2:]}).encode()]


def _read(path: Path) -> None:
    captions = read_captions(path)
    captions.part(str(captions.splits[0])).sentences  # noqa: B018, the property cuts


TARGET = Target(
    _seeds,
    file_as("dataset.json"),
    _read,
    tokens=(
        b'"filepath"',
        b'"raw"',
        b'"tokens"',
        b'"\\ud800"',
        b"null",
        b"[]",
        b"{}",
        b'"\\n"',
        b"1e999",
        b'"\\u0000"',
    ),
)
