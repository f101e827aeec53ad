"""Word vectors: the words that are needed, out of one or more files (SPEC S15)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rnnfv.text._formats import encode_word, read_vector_file
from rnnfv.text.words import tokenize, word_forms

__all__ = ["END_WORD", "WordVectors", "load_word_vectors"]

END_WORD = "</s>"
_END_FORMS = (".", END_WORD)


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors. The first word is the end of a sentence, "</s>".

    Attributes
    ----------
    words : list of str, M of them, all different
    vectors : ndarray of shape (M, D), float32
    """

    words: list[str]
    vectors: NDArray[np.float32]


def load_word_vectors(
    paths: str | Path | Sequence[str | Path],
    needed: Iterable[str],
    extra_words: int = 0,
    others: Iterable[str] = (),
) -> WordVectors:
    """Take the vectors of the words that are needed from files of word vectors.

    Files are word2vec's binary format (named ``.bin`` or ``.bin.gz``) or text: word2vec, fastText (``.vec``) or GloVe,
    also compressed by gzip. A word is looked up in each file under the spellings of `rnnfv.text.words.word_forms`.
    A file's vectors are scaled to length one; those of several files are joined side by side, with zeros where a
    file does not know the word. A word that no file knows is left out.

    The end of a sentence has the vector of the file's ".", else of its "</s>", else the mean of its vectors of the
    different words needed (SPEC S14). Files are read from start to end, but only what is needed is kept in memory.

    Parameters
    ----------
    paths : str, Path, or a sequence of them
    needed : iterable of str
    extra_words : int
        Take also this many of each file's first words, in lower case. Files list frequent words first: later sentences
        with words that are not among those needed find them. Words that `rnnfv.text.words.tokenize` would cut are
        passed by.
    others : iterable of str
        Words that are looked up, too, such as those of test sentences. The end of a sentence does not depend on them.

    Returns
    -------
    WordVectors
        The end of a sentence, the words in the order of ``needed`` and of ``others``, the extra words.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a file is damaged (the message names the line, or the byte), is a pickle, or knows none of the words.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rnnfv.text.vectors import load_word_vectors
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "tiny.txt"
    >>> _ = file.write_text("dog 3 4\\ncat 0 -1\\n. 1 0\\n")
    >>> found = load_word_vectors(file, ["unicorn", "dogs"])
    >>> found.words
    ['</s>', 'dogs']
    >>> found.vectors
    array([[1. , 0. ],
           [0.6, 0.8]], dtype=float32)
    """
    paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not paths:
        raise ValueError("there are no files of word vectors: give at least one path")
    if extra_words < 0:
        raise ValueError(f"extra_words is {extra_words!r}: it must be at least 0")
    learnt = [word for word in dict.fromkeys(needed) if word != END_WORD]
    if not learnt:
        raise ValueError("no words are needed: the sentences are empty")
    words = list(dict.fromkeys([*learnt, *(word for word in others if word != END_WORD)]))
    wanted = {encode_word(form) for word in words for form in word_forms(word)}.union(map(encode_word, _END_FORMS))
    files = [_File(path, wanted, extra_words) for path in paths]
    for file in files:
        if (file.find(learnt) < 0).all():
            raise ValueError(
                f"{file.path} has none of the {len(learnt)} words: is it a file of vectors, and of this language?"
            )
    words = list(dict.fromkeys([*words, *(word for file in files for word in file.extra_words)]))
    rows = np.stack([file.find(words) for file in files])
    known = np.flatnonzero((rows >= 0).any(axis=0))
    vectors = np.concatenate([_end(files, rows[:, : len(learnt)]), _join(files, rows[:, known])])
    return WordVectors([END_WORD, *(words[i] for i in known)], vectors)


def _join(files: list[_File], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The vectors of words, given their rows (files, words) or -1, files side by side."""
    edges = np.cumsum([0, *(file.vectors.shape[1] for file in files)])
    joined = np.zeros((rows.shape[1], edges[-1]), np.float32)
    for file, row, first, last in zip(files, rows, edges, edges[1:], strict=False):
        found = row >= 0
        joined[found, first:last] = file.vectors[row[found]]
    return joined


def _end(files: list[_File], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The vector (1, D) of a sentence's end, given the rows (files, words) or -1 of the words that are learnt from."""
    ends = [file.end(file.vectors[row[row >= 0]]) for file, row in zip(files, rows, strict=True)]
    return np.concatenate(ends)[None]


class _File:
    """What was taken from one file, each vector scaled to length one."""

    def __init__(self, path: str | Path, wanted: set[bytes], extra_words: int) -> None:
        self.path = path
        words, self.vectors = read_vector_file(path, wanted, extra_words)
        lengths = np.sqrt(np.einsum("ij,ij->i", self.vectors, self.vectors, dtype=np.float64))
        self.vectors /= np.where(lengths > 0, lengths, 1).astype(np.float32)[:, None]
        self._row_of = {word: row for row, word in enumerate(words)}
        lower = [word.lower() for word in words[:extra_words]]
        self.extra_words = [word for word in lower if tokenize(word) == [word]]

    def find(self, words: list[str]) -> NDArray[np.int64]:
        """The row of each word's vector, -1 where the file does not know the word."""
        row_of = self._row_of
        rows = [next((row_of[form] for form in word_forms(word) if form in row_of), -1) for word in words]
        return np.array(rows, dtype=np.int64)

    def end(self, taken: NDArray[np.float32]) -> NDArray[np.float32]:
        for form in _END_FORMS:
            if form in self._row_of:
                return self.vectors[self._row_of[form]]
        return taken.mean(axis=0, dtype=np.float64).astype(np.float32)
