"""Corpora: files of raw sentences, read one at a time (SPEC S17)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from rnnfv.storage.lines import numbered_lines, open_binary

__all__ = ["Corpus"]

_NUMBERED = re.compile(r"\d+\t")


class Corpus:
    """The sentences of a file, one a line. Every pass over the corpus reads the file again.

    The file is plain text, or in the format of the Leipzig corpora, ``number<TAB>sentence``, which is known by its
    first line; either may be compressed by gzip. It must be UTF-8: text in another encoding would be read as other
    words, so it is refused. In memory is one line, however large the file.

    Parameters
    ----------
    path : str or Path
    limit : int, optional
        Only the first so many sentences.

    Attributes
    ----------
    n_empty : int
        Lines without any text, which are passed by, as counted in the latest pass.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        In a pass: if the file is not UTF-8, a line has no number where the first has one, or a line is longer than
        1 MiB. The message names file and line.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rnnfv.text.corpora import Corpus
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "eng_wikipedia_2010_1M-sentences.txt"
    >>> _ = file.write_text("1\\tIt rained.\\n2\\tThe dog sleeps.\\n", encoding="utf-8")
    >>> list(Corpus(file))
    ['It rained.', 'The dog sleeps.']
    """

    def __init__(self, path: str | Path, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"limit is {limit!r}: it must be at least 1, or None")
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path} is not a file")
        self.path = Path(path)
        self.limit = limit
        self.n_empty = 0

    def __repr__(self) -> str:
        return f"Corpus({str(self.path)!r}, limit={self.limit})"

    def __iter__(self) -> Iterator[str]:
        self.n_empty = given = 0
        numbered: bool | None = None
        with open_binary(self.path) as file:
            for number, line in numbered_lines(file, self.path):
                text = self._decode(number, line).strip()
                if text and numbered is None:
                    numbered = bool(_NUMBERED.match(text))
                if text and numbered:
                    text = self._without_number(number, text)
                if not text:
                    self.n_empty += 1
                    continue
                yield text
                given += 1
                if given == self.limit:
                    return

    def _decode(self, number: int, line: bytes) -> str:
        try:
            return line.removeprefix(codecs.BOM_UTF8 if number == 1 else b"").decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{self.path}, line {number} is not UTF-8 (byte {error.start + 1} of the line): "
                "convert the file, as with iconv -t UTF-8"
            ) from error

    def _without_number(self, number: int, text: str) -> str:
        first, _, sentence = text.partition("\t")
        if not first.isdecimal():
            raise ValueError(f"{self.path}, line {number} does not begin with a number and a tab, as earlier lines do")
        return sentence.strip()
