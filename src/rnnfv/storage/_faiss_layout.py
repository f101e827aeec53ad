"""The layout of faiss's files, checked before faiss is given one: it believes every size that a file tells."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

__all__ = ["check_layout"]

# Kind, dim, vectors, two numbers of no use, trained or not, metric.
_HEADER = struct.Struct("<4siqqq?i")
_CELLS = struct.Struct("<QQ")  # how many, and how many a search looks into if it does not say
_MAP = struct.Struct("<BQ")  # a table of where each vector is, which rnnfv's files do not have: kind and size
_LISTS = struct.Struct("<4sQQ4s")  # kind, lists, bytes of a vector, kind of the table of their lengths
_SIZE = struct.Struct("<Q")
_INNER_PRODUCT = 0


def check_layout(path: Path, dim: int) -> None:
    """See that a file is one that faiss writes for vectors searched whole or by cells, and is as long as it says.

    Cells must hold every vector once. It takes as long as to read the numbers of the vectors, not the vectors.

    Parameters
    ----------
    path : Path
    dim : int

    Raises
    ------
    ValueError
        If not; one line that names the file.
    """
    try:
        with path.open("rb") as file:
            kind, count = _header(file, dim)
            if kind == b"IxFI":
                _skip_vectors(file, path, count * dim)
            elif kind == b"IwFl":
                _check_cells(file, path, count, dim)
            else:
                raise ValueError("it is of another kind")
            if file.tell() != path.stat().st_size:
                raise ValueError("its size is not what it says")
    except (ValueError, struct.error) as error:
        reason = "it ends early" if isinstance(error, struct.error) else error
        raise ValueError(f"{path} is not an index that rnnfv wrote ({reason}): make the index again") from error


def _header(file: BinaryIO, dim: int) -> tuple[bytes, int]:
    """Kind of an index, and its number of vectors."""
    kind, width, count, _, _, is_trained, metric = _take(file, _HEADER)
    if (width, is_trained, metric) != (dim, True, _INNER_PRODUCT) or count < 0:
        raise ValueError("its vectors are of another index")
    return kind, count


def _check_cells(file: BinaryIO, path: Path, count: int, dim: int) -> None:
    n_cells, _ = _take(file, _CELLS)
    if _header(file, dim) != (b"IxFI", n_cells):
        raise ValueError("its cells have no directions")
    _skip_vectors(file, path, n_cells * dim)
    if _take(file, _MAP) != (0, 0):
        raise ValueError("it is of another kind")
    kind, n_lists, width, table = _take(file, _LISTS)
    if (kind, n_lists, width) != (b"ilar", n_cells, 4 * dim):
        raise ValueError("its cells are of another kind")
    lengths = _lengths(file, path, n_cells, table)
    if max(lengths, default=0) > count or sum(lengths) != count:
        raise ValueError("its cells do not hold all vectors")
    seen = np.zeros(_believed(path, count, 4 * dim), dtype=bool)
    for length in lengths:
        file.seek(length * width, 1)
        rows = _numbers(file, path, length)
        if (rows >= count).any():
            raise ValueError("its cells hold vectors that are not there")
        seen[rows] = True
    if not seen.all():
        raise ValueError("its cells hold a vector twice")


def _lengths(file: BinaryIO, path: Path, n_cells: int, table: bytes) -> list[int]:
    """How many vectors are in each cell that is not empty, in the order of the file."""
    (size,) = _take(file, _SIZE)
    numbers = _numbers(file, path, size)
    if table == b"full" and size == n_cells:
        return [length for length in numbers.tolist() if length]
    if table == b"sprs" and size % 2 == 0:  # pairs of a cell and its length
        cells, lengths = numbers.reshape(-1, 2).T.tolist()
        if sorted({cell for cell in cells if cell < n_cells}) == cells:
            return [length for length in lengths if length]
    raise ValueError("its table of cells is of another kind")


def _skip_vectors(file: BinaryIO, path: Path, values: int) -> None:
    if _take(file, _SIZE) != (values,):
        raise ValueError("its size is not what it says")
    file.seek(4 * _believed(path, values, 4), 1)


def _numbers(file: BinaryIO, path: Path, size: int) -> NDArray[np.uint64]:
    data = file.read(8 * _believed(path, size, 8))
    if len(data) < 8 * size:
        raise ValueError("it ends early")
    return np.frombuffer(data, "<u8")


def _believed(path: Path, count: int, size: int) -> int:
    """The count, if so many things of that size can be in the file."""
    if count * size > path.stat().st_size:
        raise ValueError("it ends early")
    return count


def _take(file: BinaryIO, form: struct.Struct) -> tuple[Any, ...]:
    return form.unpack(file.read(form.size))
