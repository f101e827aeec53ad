"""Reading text and word-vector files, plain or compressed by gzip, in bounded memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

_GZIP = b"\x1f\x8b"
_LONGEST_LINE = 1 << 20  # bytes: what a file without line ends may cost


@contextmanager
def open_binary(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file for reading, through gzip where its first bytes say so.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the compressed data is damaged or ends early.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    with path.open("rb") as file:
        is_compressed = file.read(2) == _GZIP
        file.seek(0)
        try:
            yield cast("BinaryIO", gzip.GzipFile(fileobj=file)) if is_compressed else file
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: the compressed data is damaged or ends early: fetch the file again") from error


def numbered_lines(file: BinaryIO, path: str | Path, start: int = 1) -> Iterator[tuple[int, bytes]]:
    """Each line's number and its bytes, with the line end.

    Raises
    ------
    ValueError
        If a line is longer than 1 MiB.
    """
    number = start
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise ValueError(f"{path}, line {number} is longer than 1 MiB: this is not a file of lines of text")
        yield number, line
        number += 1
