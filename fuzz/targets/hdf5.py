"""Image vectors as MATLAB's format 7.3, which is HDF5."""

import io

import h5py
import numpy as np

from fuzz.target import Target, file_as
from fuzz.targets._images import VECTORS, read_vectors

_HEAD = b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\0\x02IM" + bytes(384)


def _saved(**options: object) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w", userblock_size=512, **options) as content:
        content.create_dataset("feats", data=VECTORS)
    return _HEAD + file.getvalue()[len(_HEAD) :]


def _chunked() -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w", userblock_size=512) as content:
        content.create_dataset("feats", data=VECTORS.astype(np.float64), chunks=(2, 2), compression="gzip")
    return _HEAD + file.getvalue()[len(_HEAD) :]


def _seeds() -> list[bytes]:
    return [_saved(), _saved(libver="latest"), _chunked()]


TARGET = Target(_seeds, file_as("feats.mat"), read_vectors, tokens=(b"feats", b"SNOD", b"TREE", b"HEAP", b"OHDR"))
