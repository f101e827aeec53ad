"""What every encoder of sequences has in common."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from rnnfv.sequences import Sequences, as_sequences
from rnnfv.storage import SaveMixin


class SequenceEncoder(SaveMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Checks on the way in, feature names on the way out.

    A subclass sets ``n_features_in_`` through ``_check_fit`` and names its width in ``_n_features_out``.
    """

    n_features_in_: int

    def _check_fit(self, X: Any, vectors: Any = None) -> Sequences:
        """Validate training sequences and remember their width."""
        seqs = as_sequences(X, vectors)
        self.n_features_in_ = self._width(seqs)
        return seqs

    def _check_transform(self, X: Any, vectors: Any = None) -> Sequences:
        """Validate sequences against the width seen in fit."""
        check_is_fitted(self)
        seqs = as_sequences(X, vectors)
        if (width := self._width(seqs)) != self.n_features_in_:
            raise ValueError(
                f"sequences have {width} values a step, but {type(self).__name__} was fitted on {self.n_features_in_}"
            )
        return seqs

    def _width(self, seqs: Sequences) -> int:
        if seqs.dim is None:
            raise ValueError(
                f"{type(self).__name__} got sequences of symbols without vectors: "
                "give the table with Sequences.from_list(ids, vectors)"
            )
        return seqs.dim

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags
