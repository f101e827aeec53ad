"""Folders of vector indexes, with the right checksums: searched whole, and by cells."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.target import Target, bundle, files_as
from fuzz.targets._signed import edit_json, sha256
from rnnfv.storage import VectorIndex, open_index

_SEGMENT = "segment-00000"
_NAMES = ("index.json", f"{_SEGMENT}/vectors.faiss", f"{_SEGMENT}/ids.parquet")


def _seeds() -> list[bytes]:
    vectors = np.random.default_rng(0).normal(size=(12, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    seeds = []
    for exact_up_to in (100, 4):
        with tempfile.TemporaryDirectory() as folder:
            index = VectorIndex.create(Path(folder) / "index", 3, exact_up_to=exact_up_to, metadata={"model": "6f1e"})
            index.append([f"{i}.jpg" for i in range(12)], vectors)
            seeds.append(bundle(Path(folder) / "index", *_NAMES))
    return seeds


def _place(folder: Path, data: bytes) -> Path:
    files_as(*_NAMES)(folder, data)

    def change(record: dict[str, Any]) -> None:
        segments = record.get("segments")
        if isinstance(segments, dict) and isinstance(segments.get(_SEGMENT), dict):
            segments[_SEGMENT] |= {Path(name).name: sha256(folder / name) for name in _NAMES[1:]}

    edit_json(folder / "index.json", change)
    return folder


def _read(path: Path) -> None:
    index = open_index(path)
    index.ids()
    query = np.eye(1, index.dim) if index.dim < 1 << 20 else None
    if query is not None and len(index):
        for probes in (1, None):
            index.search(query, top=3, probes=probes)
    json.dumps(index.metadata)


TARGET = Target(_seeds, _place, _read, tokens=(b"IxFI", b"IwFl", b"ilar", b"full", b"sprs", b"PAR1", b'"dim": 3'))
