"""Image vectors as .npy."""

import io

import numpy as np

from fuzz.target import Target, file_as
from fuzz.targets._images import VECTORS, read_vectors


def _saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _seeds() -> list[bytes]:
    archive = io.BytesIO()
    np.savez(archive, feats=VECTORS)
    arrays = (VECTORS, VECTORS.astype(">f8"), np.asfortranarray(VECTORS), VECTORS.astype(object), VECTORS[:, :0])
    return [*map(_saved, arrays), archive.getvalue()]


TARGET = Target(
    _seeds, file_as("feats.npy"), read_vectors, tokens=(b"(3, ", b"'|O'", b"'<f4'", b"-1", b"99999999999", b"'")
)
