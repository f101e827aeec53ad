"""Reading files of lines, plain or compressed by gzip, in bounded memory."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

__all__ = ["numbered_lines", "open_binary", "read_text"]

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


def numbered_lines(file: BinaryIO, path: str | Path, longest: int = _LONGEST_LINE) -> Iterator[tuple[int, bytes]]:
    """Each line's number, from 1, and its bytes, with the line end.

    Raises
    ------
    ValueError
        If a line is longer than so many bytes, 1 MiB if it is not said.
    """
    number = 1
    while line := file.readline(longest + 1):
        if len(line) > longest:
            size = f"{longest >> 20} MiB" if longest >> 20 else f"{longest >> 10} KiB"
            raise ValueError(f"{path}, line {number} is longer than {size}: this is not a file of lines of text")
        yield number, line
        number += 1


def read_text(path: str | Path, remedy: str) -> str:
    """A whole file of UTF-8, with line ends as they are in Python.

    Parameters
    ----------
    path : str or Path
    remedy : str
        What to do where it is something else, for the message.

    Raises
    ------
    ValueError
        If it is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (byte {error.start}): {remedy}") from error
