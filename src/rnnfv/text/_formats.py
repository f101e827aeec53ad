"""The formats of word vectors: word2vec's binary one, and text as word2vec, fastText and GloVe write it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rnnfv.storage.lines import numbered_lines, open_binary

__all__ = ["encode_word", "read_vector_file"]

_BLOCK = 1 << 20  # bytes read at once
_LONGEST_WORD = 10_000  # bytes: more without a blank is not a word
_WIDEST = 100_000  # values: a damaged count must not ask for gigabytes
_HEADER = re.compile(rb"(\d{1,18}) (\d{1,18})\s*")
_NUMBER = re.compile(rb"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?")  # linear in the length of what it is not
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_FASTTEXT_MODEL = b"\xba\x16\x4f\x2f"

_Row = tuple[str, bytes, bytes]  # where it is in the file, the word, its numbers as they are written


def encode_word(word: str) -> bytes:
    """A word as it stands in a file: UTF-8. Half a surrogate pair, which JSON can hold, is in no file."""
    return word.encode("utf-8", "surrogatepass")


def read_vector_file(
    path: str | Path, wanted: Collection[bytes] | None = None, first: int = 0
) -> tuple[list[str], NDArray[np.float32]]:
    """Read the wanted words and their vectors, as they are in the file.

    The file is word2vec's binary format if it is named ``.bin`` or ``.bin.gz``, else text, one word and its numbers a
    line, with or without the line of two counts that word2vec and fastText begin with. In text a word may hold blanks,
    as some of GloVe's do. Every row's length is checked, but only the numbers of wanted words are looked at.

    Parameters
    ----------
    path : str or Path
    wanted : set of bytes, optional
        The words, as `encode_word` gives them. Without it every word is wanted.
    first : int
        The first so many words are taken too, wanted or not.

    Returns
    -------
    words : list of str, M of them, in the order of the file
    vectors : ndarray of shape (M, D), float32

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is a pickle or a fastText model, ends early, or has a row of another width, a value that is no
        number, NaN or infinite, or a wanted word twice. The message names the line, or the byte.
    """
    is_binary = Path(path).name.removesuffix(".gz").endswith(".bin")
    line_of: dict[bytes, str] = {}
    values = bytearray()
    with open_binary(path) as file:
        head = file.read(_BLOCK)
        file.seek(0)
        _refuse_other_formats(path, head)
        width, rows = (_binary_rows if is_binary else _text_rows)(path, file, head)
        for i, (where, word, numbers) in enumerate(rows):
            if i >= first and wanted is not None and word not in wanted:
                continue
            if word in line_of:
                text = word.decode("utf-8", "replace")
                raise ValueError(f"{path}, {where}: {text!r} comes a second time, after {line_of[word]}: remove one")
            line_of[word] = where
            values += _floats(f"{path}, {where}", numbers, is_binary).tobytes()
    words = [word.decode("utf-8", "surrogateescape") for word in line_of]
    return words, np.frombuffer(values, np.float32).reshape(len(words), width)


def _refuse_other_formats(path: str | Path, head: bytes) -> None:
    if _PICKLE.match(head):
        raise ValueError(
            f"{path} is a pickle, which can run any code when read: "
            "save the vectors with gensim's save_word2vec_format('words.bin', binary=True)"
        )
    if head.startswith(_FASTTEXT_MODEL):
        raise ValueError(f"{path} is a fastText model: give the text file of its vectors (.vec)")
    if not head:
        raise ValueError(f"{path} is empty")


def _floats(where: str, numbers: bytes, is_binary: bool) -> NDArray[np.float32]:
    if is_binary:
        row = np.frombuffer(numbers, "<f4").astype(np.float32)
    else:
        try:
            with np.errstate(over="ignore"):  # becomes infinite, and is refused as such
                row = np.array([float(number) for number in numbers.split(b" ")]).astype(np.float32)
        except ValueError:
            raise ValueError(f"{where}: a value is not a number") from None
    if not np.isfinite(row).all():
        raise ValueError(f"{where}: the vector has a NaN or infinite value")
    return row


# -- word2vec's binary format ----------------------------------------------------------------------


def _binary_rows(path: str | Path, file: BinaryIO, head: bytes) -> tuple[int, Iterator[_Row]]:
    """A line of two counts; then for each word its bytes, a blank, and the numbers as float32, low byte first."""
    line, end, _ = head.partition(b"\n")
    header = _HEADER.fullmatch(line)
    if header is None:
        raise ValueError(f"{path} does not begin with a line of two counts: if the file is text, name it .txt")
    if not 0 < int(header[2]) <= _WIDEST:
        raise ValueError(f"{path} begins with vectors of {int(header[2])} numbers: it is damaged, or of another kind")
    start = len(line + end)
    file.seek(start)
    return int(header[2]), _walk_binary(path, file, start, int(header[1]), 4 * int(header[2]))


def _walk_binary(path: str | Path, file: BinaryIO, start: int, count: int, size: int) -> Iterator[_Row]:
    data, at = b"", 0  # byte start + at of the file is data[at]
    for i in range(count):
        while (blank := data.find(b" ", at)) < 0 or len(data) < blank + 1 + size:
            more = file.read(_BLOCK)
            too_long = blank < 0 and len(data) - at > _LONGEST_WORD
            if not more or too_long:
                what = "the file is damaged" if too_long else "the file ends early"
                raise ValueError(f"{path}, byte {start + at}: {what}, after {i} of {count} words")
            data, start, at = data[at:] + more, start + at, 0
        end = blank + 1 + size
        # The original program ends each vector with a line end, others do not.
        yield f"byte {start + at}", data[at:blank].lstrip(b"\n"), data[blank + 1 : end]
        at = end
    if (data[at:] + file.read(2)).strip():
        raise ValueError(f"{path}, byte {start + at}: there is more behind the last of {count} words")


# -- text ------------------------------------------------------------------------------------------


def _text_rows(path: str | Path, file: BinaryIO, head: bytes) -> tuple[int, Iterator[_Row]]:
    first = head.removeprefix(codecs.BOM_UTF8).partition(b"\n")[0].rstrip(b" \r")
    header = _HEADER.fullmatch(first)
    count, width = (int(header[1]), int(header[2])) if header else (None, first.count(b" "))
    if not 0 < width <= _WIDEST:
        raise ValueError(f"{path}, line 1 is not a word and its numbers: if the file is binary, name it .bin")
    return width, _walk_text(path, file, count, width)


def _walk_text(path: str | Path, file: BinaryIO, count: int | None, width: int) -> Iterator[_Row]:
    number = 0
    for number, line in islice(numbered_lines(file, path), 0 if count is None else 1, None):
        row = line.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").rstrip(b" \r\n")
        blanks = row.count(b" ")
        word = row.rsplit(b" ", width)[0] if blanks > width else row.partition(b" ")[0]
        # A word with a blank in it, or a word and one number too many?
        if blanks < width or (blanks > width and _NUMBER.fullmatch(word.rpartition(b" ")[2])):
            raise ValueError(f"{path}, line {number} has {blanks} values, not {width}")
        yield f"line {number}", word, row[len(word) + 1 :]
    if count is not None and number - 1 != count:
        raise ValueError(f"{path} has {number - 1} words, but its first line says {count}: fetch or write it again")
