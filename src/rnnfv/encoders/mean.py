"""Mean pooling: the order-blind baseline (SPEC S1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.encoders._base import SequenceEncoder

_BLOCK_VALUES = 1 << 22  # values of the steps looked at together: 16 MiB in float32


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
        means = np.empty((len(seqs), self.n_features_in_), np.float32)
        for rows in seqs.blocks(max(1, _BLOCK_VALUES // self.n_features_in_)):
            part = seqs[rows]  # symbols get their vectors here, a block at a time
            sums = np.add.reduceat(part.steps(), part.offsets[:-1], axis=0, dtype=np.float64)
            means[rows] = sums / part.lengths[:, None]
        return means

    @property
    def _n_features_out(self) -> int:
        return self.n_features_in_
