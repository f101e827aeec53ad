"""Image vectors as MATLAB's formats 4 and 5."""

import io

import numpy as np
import scipy.io

from fuzz.target import Target, file_as
from fuzz.targets._images import VECTORS, read_vectors


def _saved(content: dict[str, object], **options: object) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, content, **options)
    return file.getvalue()


def _seeds() -> list[bytes]:
    matrix = {"feats": VECTORS.T}
    return [
        _saved(matrix),
        _saved({"other": "text", **matrix}, do_compression=True),
        _saved(matrix, format="4"),
        _saved({"feats": np.array([[1, "a"], ["b", VECTORS]], dtype=object)}),
        _saved({"feats": {"a": VECTORS}}),
    ]


TARGET = Target(_seeds, file_as("feats.mat"), read_vectors, tokens=(b"feats", b"IM", b"MI"))
