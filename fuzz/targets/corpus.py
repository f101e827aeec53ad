"""Corpora: a sentence a line, or in the format of the Leipzig corpora."""

import gzip
from pathlib import Path

from fuzz.target import Target, file_as
from rnnfv.text.corpora import Corpus


def _seeds() -> list[bytes]:
    plain = b"It rained.\n\nThe dog sleeps.\n"
    return [plain, b"1\tIt rained.\n2\tThe dog sleeps.\n", b"\xef\xbb\xbf" + plain, gzip.compress(plain)]


def _read(path: Path) -> None:
    for _ in Corpus(path):
        pass


TARGET = Target(
    _seeds, file_as("sentences.txt"), _read, tokens=(b"1\t", b"\n", b"\r", b"\xe2\x80\xa8", b"\xed\xa0\x80")
)
