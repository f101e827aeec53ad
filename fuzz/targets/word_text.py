"""Word vectors as text: word2vec, fastText, GloVe."""

import gzip
from pathlib import Path

from fuzz.target import Target, file_as
from rnnfv.text._formats import read_vector_file
from rnnfv.text.vectors import load_word_vectors


def _seeds() -> list[bytes]:
    rows = b"</s> 0.5 1 -2\ndog 1e-3 .25 3\n. . . 1 2 3\ncaf\xc3\xa9 1 2 3\n"
    return [rows, b"4 3\n" + rows, b"\xef\xbb\xbf" + rows.replace(b"\n", b"\r\n"), gzip.compress(rows)]


def _read(path: Path) -> None:
    read_vector_file(path)
    load_word_vectors(path, ["dog", "cafe"], extra_words=2)


TARGET = Target(_seeds, file_as("words.txt"), _read, tokens=(b"\n", b" ", b"4 3\n", b"nan", b"1e999", b"1_0"))
