"""The bag of words: which words a sentence has, and no order (a baseline beside SPEC S1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer
from sklearn.pipeline import make_pipeline
from sklearn.utils.validation import check_is_fitted

from rnnfv.storage import SaveMixin
from rnnfv.text.sentences import each_tokens


class BagOfWords(SaveMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """tf-idf weights of the words of a sentence, as scikit-learn has them, of length one.

    It needs no word vectors. Words that the training sentences do not have are skipped.

    Parameters
    ----------
    min_sentences : int
        Keep the words of so many training sentences or more.

    Attributes
    ----------
    weights_ : Pipeline
        scikit-learn's ``CountVectorizer`` and ``TfidfTransformer``.

    Examples
    --------
    >>> from rnnfv.text.bag import BagOfWords
    >>> BagOfWords().fit_transform([["a", "dog"], "A dog and a cat."]).shape
    (2, 4)
    """

    def __init__(self, min_sentences: int = 1) -> None:
        self.min_sentences = min_sentences

    def fit(self, X: Iterable[str | Sequence[str]], y: Any = None) -> BagOfWords:
        """Count in how many sentences each word is.

        Parameters
        ----------
        X : iterable of str or of lists of str
        y : ignored
        """
        counts = CountVectorizer(token_pattern=r"\S+", lowercase=False, min_df=self.min_sentences)
        self.weights_ = make_pipeline(counts, TfidfTransformer()).fit(_joined(X))
        return self

    def transform(self, X: Iterable[str | Sequence[str]]) -> NDArray[np.float32]:
        """The weights of each sentence: (n, words), float32; zeros where no word is known.

        Parameters
        ----------
        X : iterable of str, or of list of str
            n sentences, raw or cut into words.

        Returns
        -------
        ndarray of shape (n, words), float32
        """
        check_is_fitted(self)
        return self.weights_.transform(_joined(X)).toarray().astype(np.float32)

    @property
    def _n_features_out(self) -> int:
        return len(self.weights_[0].vocabulary_)


def _joined(X: Iterable[str | Sequence[str]]) -> list[str]:
    """What CountVectorizer cuts at blanks, and nowhere else."""
    return [" ".join(tokens) for tokens in each_tokens(X)]
