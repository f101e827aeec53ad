"""One matrix of floats out of a .mat file of MATLAB's format 5 to 7: SciPy's reader can crash on a damaged one."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from rnnfv.storage.bounds import refuse_inflated

__all__ = ["HEADER", "read_matrix"]

HEADER = 128  # bytes
_MATRIX, _COMPRESSED = 14, 15  # kinds of elements
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4"}  # of a matrix: double and single; its numbers may be stored as smaller ones
_COMPLEX = 0x800
_MOST_SMALL = 4096  # bytes of a name, or of other things before the numbers
_CHUNK = 1 << 20  # bytes read at once


class _Source(Protocol):
    def read(self, size: int, /) -> bytes | bytearray: ...


def read_matrix(path: Path, name: str) -> NDArray[np.floating] | None:
    """The matrix of this name, turned: shape (columns, rows). None where the file has none.

    Parameters
    ----------
    path : Path
    name : str

    Raises
    ------
    ValueError, struct.error, zlib.error
        If the file is damaged, the matrix is not of floats, or it is much larger than the file.
    """
    with path.open("rb") as file:
        order = "<" if file.read(HEADER)[-2:] == b"IM" else ">"
        while head := file.read(8):
            kind, size = struct.unpack(f"{order}II", head)
            end = file.tell() + size
            source: _Source = file
            if kind == _COMPRESSED:
                source = _Inflated(file, size)
                kind, size = struct.unpack(f"{order}II", source.read(8))
            if kind == _MATRIX:
                found = _Matrix(source, order, size, path)
                if found.name == name:
                    return found.numbers()
            file.seek(end)
    return None


class _Matrix:
    """A variable of the file: what it is, read; its numbers, on demand."""

    def __init__(self, source: _Source, order: str, size: int, path: Path) -> None:
        self._source, self._order, self._left, self._path = source, order, size, path
        flags, shape, name = (self._small() for _ in range(3))
        (self._flags,) = struct.unpack_from(f"{order}I", flags)
        self._shape = struct.unpack(f"{order}{len(shape) // 4}i", shape)
        self.name = name.decode("latin-1")

    def numbers(self) -> NDArray[np.floating]:
        dtype = _CLASSES.get(self._flags & 0xFF)
        if dtype is None or self._flags & _COMPLEX or len(self._shape) != 2 or min(self._shape) < 0:
            raise ValueError(f"{self.name!r} is not a matrix of floats")
        count = math.prod(self._shape)
        refuse_inflated(f"its matrix {self.name!r}", count * np.dtype(dtype).itemsize, self._path.stat().st_size)
        kind, size, short = self._tag()
        stored = np.dtype(self._order + _NUMBERS.get(kind, "V1"))
        if stored.kind == "V" or size != count * stored.itemsize:
            raise ValueError(f"the numbers of {self.name!r} are not as many as it says")
        data = self._source.read(size) if short is None else short
        return np.frombuffer(data, stored, count).astype(dtype, copy=False).reshape(self._shape[::-1])

    def _small(self) -> bytes:
        """The content of the next element."""
        _, size, data = self._tag()
        if data is None:
            if size > min(self._left, _MOST_SMALL):
                raise ValueError("an element is longer than what holds it")
            data = bytes(self._source.read(size + -size % 8))
            self._left -= size + -size % 8
        return data[:size]

    def _tag(self) -> tuple[int, int, bytes | None]:
        """Kind and size of the next element, and its content if that is so short that it stands beside them."""
        head = bytes(self._source.read(8))
        self._left -= 8
        kind, size = struct.unpack(f"{self._order}II", head)
        if kind >> 16 == 0:
            return kind, size, None
        return kind & 0xFFFF, kind >> 16, head[4:]


class _Inflated:
    """A compressed part of a file, from where it stands, of which no more is decompressed than is asked for."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size
        self._inflater = zlib.decompressobj()

    def read(self, size: int, /) -> bytearray:
        """So many bytes; fewer at the end."""
        content = bytearray()
        while len(content) < size:
            data = self._inflater.unconsumed_tail or self._file.read(min(self._left, _CHUNK))
            self._left -= 0 if self._inflater.unconsumed_tail else len(data)
            if not data:
                break
            content += self._inflater.decompress(data, min(size - len(content), _CHUNK))
            if self._inflater.eof:
                break
        return content
