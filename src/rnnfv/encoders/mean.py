"""Mean pooling: the order-blind baseline (SPEC S1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.encoders._base import SequenceEncoder


class MeanPooling(SequenceEncoder):
    """The mean of a sequence's steps: v = (1/N) sum_i x_i, D numbers (SPEC S1).

    Attributes
    ----------
    n_features_in_ : int
        Values a step, D.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv import MeanPooling
    >>> MeanPooling().fit_transform([np.array([[0.0, 1.0], [2.0, 3.0]]), np.array([[5.0, 6.0]])])
    array([[1., 2.],
           [5., 6.]], dtype=float32)
    """

    def fit(self, X: Any, y: Any = None) -> MeanPooling:
        """Remember the width of the sequences; nothing else is learnt.

        Parameters
        ----------
        X : Sequences, list of ndarray of shape (N_i, D), or ndarray of shape (n, N, D)
        y : ignored
        """
        self._check_fit(X)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Mean of each sequence.

        Parameters
        ----------
        X : Sequences, list of ndarray of shape (N_i, D), or ndarray of shape (n, N, D)

        Returns
        -------
        ndarray of shape (n, D), float32
        """
        seqs = self._check_transform(X)
        sums = np.add.reduceat(seqs.steps(), seqs.offsets[:-1], axis=0, dtype=np.float64)
        return (sums / seqs.lengths[:, None]).astype(np.float32)

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_
