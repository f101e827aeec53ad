"""Sentences to sequences of words with their vectors (SPEC S14, S18)."""

from __future__ import annotations

import copy
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from rnnfv.sequences import Sequences, offsets_of
from rnnfv.storage import SaveMixin
from rnnfv.text.vectors import load_word_vectors
from rnnfv.text.words import tokenize, word_forms

__all__ = ["SentenceReader", "WordReport", "each_tokens"]

_END, _UNKNOWN = 0, -1  # the id of a sentence's end; no id


@dataclass(frozen=True)
class WordReport:
    """How many of the words of some sentences have a vector. Printed, it is one line.

    Attributes
    ----------
    n_sentences : int
    n_words : int
        Running words, ends of sentences not counted.
    unknown : Counter of str
        How often each word without a vector occurs; ``unknown.most_common(10)`` gives the most frequent.
    without_words : ndarray of shape (k,), int64
        The sentences, from 0, that have no word with a vector, if any word at all.
    """

    n_sentences: int
    n_words: int
    unknown: Counter[str]
    without_words: NDArray[np.int64]

    @property
    def n_unknown(self) -> int:
        """Running words without a vector."""
        return self.unknown.total()

    @property
    def coverage(self) -> float:
        """Share of the running words that have a vector, 0 to 1; 0 where there are no words."""
        return 1 - self.n_unknown / self.n_words if self.n_words else 0.0

    def __str__(self) -> str:
        parts = [f"{100 * self.coverage:.1f} % of {self.n_words} words have a vector"]
        if self.unknown:
            parts.append("without: " + ", ".join(f"{word} ({n})" for word, n in self.unknown.most_common(10)))
        if self.without_words.size:
            first = ", ".join(map(str, self.without_words[:10]))
            parts.append(f"{self.without_words.size} of {self.n_sentences} sentences have no known word: {first}")
        return "; ".join(parts)


class SentenceReader(SaveMixin, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Turns sentences into sequences of word ids, with the table of the words' vectors.

    Fitting reads the vectors of the words that occur; nothing else is learnt. Words without a vector are skipped.
    Sentences are strings, cut by `rnnfv.text.words.tokenize`, or lists of words, taken as they are.

    Parameters
    ----------
    words : str or list of str
        The paths of one or more files of word vectors (`rnnfv.text.vectors.load_word_vectors`). Used by ``fit`` only:
        a saved reader needs no files.
    end_token : bool
        End every sentence with the end token (SPEC S14), as the recurrent nets want it. Without it, a sentence that
        has no known word is still the end token alone, so that every sentence has a sequence.
    reverse : bool
        Give the words in reversed order; the end token stays last (SPEC S18).
    extra_words : int
        Also keep so many of each file's first, most frequent words, for sentences that come later.

    Attributes
    ----------
    words_ : ndarray of shape (M,), str (dtype object)
        The word of each id. Id 0 is the end token, "</s>"; then come the known words in the order in which they first
        occur in the sentences of ``fit``, then those of the other sentences, then the extra ones.
    vectors_ : ndarray of shape (M, D), float32
        See `rnnfv.text.vectors.WordVectors`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rnnfv.text.sentences import SentenceReader
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "tiny.txt"
    >>> _ = file.write_text("a 1 0\\ndog 3 4\\nruns 0 1\\n")
    >>> reader = SentenceReader(str(file))
    >>> seqs = reader.fit_transform(["A dog runs.", ["two", "dogs"]])
    >>> [reader.words_[seqs.values[a:b]].tolist() for a, b in zip(seqs.offsets, seqs.offsets[1:])]
    [['a', 'dog', 'runs', '</s>'], ['dogs', '</s>']]
    >>> seqs.dim
    2
    """

    def __init__(
        self, words: str | Sequence[str], end_token: bool = True, reverse: bool = False, extra_words: int = 0
    ) -> None:
        self.words = words
        self.end_token = end_token
        self.reverse = reverse
        self.extra_words = extra_words

    def fit(
        self, X: Iterable[str | Sequence[str]], y: Any = None, others: Iterable[str | Sequence[str]] = ()
    ) -> SentenceReader:
        """Read the vectors of all words of the sentences. In memory are the different words, not the sentences.

        Parameters
        ----------
        X : iterable of str or of lists of str, such as a list or a `rnnfv.text.corpora.Corpus`
            Those that are learnt from. The ids of their words are the lowest ones, so that ``n_symbols`` of the encoder
            can leave out the words of other sentences as targets (SPEC S5).
        y : ignored
        others : iterable of str or of lists of str
            Further sentences whose words are looked up. The vector of the end token does not depend on them.

        Raises
        ------
        TypeError
            If a sentence is neither a string nor a list of words, or a path is not a string.
        FileNotFoundError, ValueError
            As for `rnnfv.text.vectors.load_word_vectors`.
        """
        paths = [self.words] if isinstance(self.words, str) else list(self.words)
        for path in paths:
            if not isinstance(path, str):
                raise TypeError(f"words has {path!r}: give the path as a str, which can be saved with the reader")
        needed, further = (chain.from_iterable(each_tokens(sentences)) for sentences in (X, others))
        found = load_word_vectors(paths, needed, self.extra_words, further)
        self.words_ = np.array(list(map(str, found.words)), dtype=object)  # numpy strings are no str to storage
        self.vectors_ = found.vectors
        return self

    def transform(self, X: Iterable[str | Sequence[str]]) -> Sequences:
        """The sequences of sentences.

        Parameters
        ----------
        X : iterable of str or of lists of str

        Returns
        -------
        Sequences
            Of int32 ids, with ``vectors_`` as their table: 4 bytes a word, 8 a sentence.
        """
        return self.read(X)[0]

    def read(self, X: Iterable[str | Sequence[str]]) -> tuple[Sequences, WordReport]:
        """As `transform`, with a count of the words that have no vector.

        Parameters
        ----------
        X : iterable of str, or of list of str
            n sentences, raw or cut into words.

        Returns
        -------
        Sequences
            n of them, of symbols and their table.
        WordReport
            The count.
        """
        check_is_fitted(self)
        ids = _Ids(self.words_.tolist())
        values, lengths, empty = array("i"), array("i"), array("q")
        unknown: Counter[str] = Counter()
        n_words = 0
        for i, tokens in enumerate(each_tokens(X)):
            found = [ids[token] for token in tokens]
            if _UNKNOWN in found:
                unknown.update(token for token, id_ in zip(tokens, found, strict=True) if id_ == _UNKNOWN)
                found = [id_ for id_ in found if id_ != _UNKNOWN]
            n_words += len(tokens)
            if not found:
                empty.append(i)
            if self.reverse:
                found.reverse()
            if self.end_token or not found:
                found.append(_END)
            values.extend(found)
            lengths.append(len(found))
        if not lengths:
            raise ValueError("there are no sentences (a generator gives them once only: use a list or a Corpus)")
        offsets = offsets_of(np.frombuffer(lengths, np.int32))
        seqs = Sequences(np.frombuffer(values, np.int32), offsets, self.vectors_)
        return seqs, WordReport(len(lengths), n_words, unknown, np.array(empty, dtype=np.int64))

    def with_vectors(self, vectors: Any) -> SentenceReader:
        """A reader of the same words with another table, such as the words' own encodings (SPEC S15).

        Parameters
        ----------
        vectors : array-like of shape (M, d)
            One row for each of ``words_``.
        """
        check_is_fitted(self)
        table = np.asarray(vectors, dtype=np.float32)
        if table.ndim != 2 or len(table) != len(self.words_):
            raise ValueError(f"there are {len(self.words_)} words; got a table of shape {table.shape}")
        reader = copy.copy(self)
        reader.vectors_ = table
        return reader

    def with_order(self, *, end_token: bool, reverse: bool) -> SentenceReader:
        """A reader of the same words that gives them in another order, or another end.

        Parameters
        ----------
        end_token : bool
            End every sentence with the end token.
        reverse : bool
            Read from the last word to the first.

        Returns
        -------
        SentenceReader
        """
        return copy.copy(self).set_params(end_token=end_token, reverse=reverse)

    def set_output(self, *, transform: str | None = None) -> SentenceReader:
        """Do nothing: the result is sequences, whatever a pipeline asks of its other steps."""
        return self


class _Ids(dict[str, int]):
    """The id of each token; a token that is met for the first time is looked up under all its spellings."""

    def __init__(self, words: list[str]) -> None:
        super().__init__()
        self._known = {word: i for i, word in enumerate(words)}

    def __missing__(self, token: str) -> int:
        found = next((self._known[form] for form in word_forms(token) if form in self._known), _UNKNOWN)
        return self.setdefault(token, found)


def each_tokens(X: Iterable[str | Sequence[str]]) -> Iterator[Sequence[str]]:
    """The words of each sentence: strings are cut by `rnnfv.text.words.tokenize`, lists are taken as they are.

    Parameters
    ----------
    X : iterable of str or of lists of str

    Raises
    ------
    TypeError
        If X is one string, or a sentence is neither a string nor a list of words; it is named.
    """
    if isinstance(X, str):
        raise TypeError("expected sentences, got one string: pass [sentence]")
    for i, sentence in enumerate(X):
        if isinstance(sentence, str):
            yield tokenize(sentence)
        elif isinstance(sentence, (list, tuple)) and all(isinstance(token, str) for token in sentence):
            yield sentence
        else:
            raise TypeError(f"sentence {i} is neither a string nor a list of words")
