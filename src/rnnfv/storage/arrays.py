"""Arrays in .npy files, written piece by piece."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["write_npy"]


def write_npy(path: Path, shape: tuple[int, ...], dtype: DTypeLike, blocks: Iterable[NDArray[Any]]) -> None:
    """Write the same bytes as ``np.save``, of blocks that need not be in memory together.

    Not by ``np.save``, which does not say why a file could not be written; nor by a map of the file, as a disk that is
    full then kills the process.

    Parameters
    ----------
    path : Path
    shape : tuple of int
        Of the whole array.
    dtype : dtype
    blocks : iterable of ndarray
        Its rows in order.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.npy"
    >>> write_npy(path, (3, 2), "float32", [np.ones((2, 2)), np.zeros((1, 2))])
    >>> np.load(path).tolist()
    [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
    """
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=dtype).reshape(-1).view(np.uint8).data)
