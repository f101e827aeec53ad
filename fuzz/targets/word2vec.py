"""Word vectors in word2vec's binary format."""

import gzip
from pathlib import Path

import numpy as np

from fuzz.target import Target, file_as
from rnnfv.text._formats import read_vector_file
from rnnfv.text.vectors import load_word_vectors

_WORDS = ("</s>", "dog", "caf\u00e9", "New_York")


def _seeds() -> list[bytes]:
    rows = np.arange(12, dtype="<f4").reshape(4, 3)
    ends = [
        b"4 3\n" + b"".join(word.encode() + b" " + row.tobytes() + end for word, row in zip(_WORDS, rows, strict=True))
        for end in (b"", b"\n")
    ]
    return [*ends, gzip.compress(ends[0])]


def _read(path: Path) -> None:
    read_vector_file(path)
    load_word_vectors(path, ["dog", "cafe"], extra_words=2)


TARGET = Target(_seeds, file_as("words.bin"), _read, tokens=(b"4 3\n", b"1 100000\n", b"999999999999 3\n", b"\x80\x04"))
