"""Likeness that is measured by what is usual in the neighbourhood, so that no result is everybody's nearest."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_is_fitted

from rnnfv.storage import SaveMixin

__all__ = ["LocalScaling"]

_BLOCK_VALUES = 1 << 23  # similarities made at once
_DTYPES = [np.float32, np.float64]


class LocalScaling(SaveMixin, BaseEstimator):
    """Vectors whose inner product is the cosine less what is usual near both: CSLS, a quarter of it.

    In a space of many dimensions some results, called hubs, are near to almost every query. Cross-domain similarity
    local scaling (Conneau et al., 2018) takes from the cosine of x and y the half of r(x) + r(y), where r is the
    mean cosine with the nearest vectors of the other kind. Here these come from vectors that were fitted on, not from
    the queries or the results that are compared: what one query finds does not depend on the others.

    The new vectors have length one and four numbers more, so that all that works with cosines works with them:
    ``[x / sqrt(2), -r(x) / 2, 1 / 2, sqrt(1 - r(x)^2) / 2, 0]``, and for y with the second and third, and the last
    two, exchanged.

    Parameters
    ----------
    neighbours : int, default=10
        How many nearest vectors r is the mean of; 0 leaves all vectors as they are.

    Attributes
    ----------
    x_bank_, y_bank_ : ndarray of shape (m, k) and (l, k)
        The vectors that were fitted on.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv import LocalScaling
    >>> X, Y = np.eye(3)[:2], np.array([[0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    >>> scaling = LocalScaling(neighbours=1).fit(X, Y)
    >>> (4 * scaling.transform(X) @ scaling.transform_y(Y).T).round(2)  # 2 cos - r(x) - r(y)
    array([[-0.2, -0.6],
           [ 0. , -0.8]])
    """

    def __init__(self, neighbours: int = 10) -> None:
        self.neighbours = neighbours

    def fit(self, X: Any, Y: Any) -> Self:
        """Keep vectors of both kinds, by which is known what is usual.

        Parameters
        ----------
        X : array-like of shape (m, k)
            Of length one.
        Y : array-like of shape (l, k)
            Of length one.

        Raises
        ------
        ValueError
            If there are fewer than ``neighbours`` of a kind, or the widths differ.
        """
        X, Y = (check_array(bank, dtype=_DTYPES, ensure_min_samples=0) for bank in (X, Y))
        if X.shape[1] != Y.shape[1]:
            raise ValueError(f"X has {X.shape[1]} columns and Y {Y.shape[1]}: they must be of one space")
        if not 0 <= self.neighbours <= min(len(X), len(Y)):
            raise ValueError(
                f"neighbours is {self.neighbours!r}: it must be 0 to {min(len(X), len(Y))}, as many as X and Y have"
            )
        self.x_bank_, self.y_bank_ = (bank if self.neighbours else bank[:0] for bank in (X, Y))
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Vectors of the first kind: (n, k) of length one -> (n, k + 4) of length one, in their dtype.

        Parameters
        ----------
        X : array-like of shape (n, k)

        Returns
        -------
        ndarray of shape (n, k + 4)
            (n, k) without neighbours.
        """
        check_is_fitted(self)
        return self._placed(X, self.y_bank_, (0, 1, 2, 3))

    def transform_y(self, Y: Any) -> NDArray[Any]:
        """Vectors of the second kind: (n, k) of length one -> (n, k + 4) of length one, in their dtype.

        Parameters
        ----------
        Y : array-like of shape (n, k)

        Returns
        -------
        ndarray of shape (n, k + 4)
            (n, k) without neighbours.
        """
        check_is_fitted(self)
        return self._placed(Y, self.x_bank_, (1, 0, 3, 2))

    def _placed(self, vectors: Any, bank: NDArray[Any], order: tuple[int, ...]) -> NDArray[Any]:
        vectors = check_array(vectors, dtype=_DTYPES, ensure_min_samples=0)
        if vectors.shape[1] != bank.shape[1]:
            raise ValueError(f"the vectors have {vectors.shape[1]} values, but those fitted on {bank.shape[1]}")
        if not self.neighbours:
            return vectors
        if len(bank) < self.neighbours:
            raise ValueError(f"neighbours is {self.neighbours}, but {len(bank)} vectors are kept: fit again")
        usual = np.empty(len(vectors))
        size = max(1, _BLOCK_VALUES // len(bank))
        for start in range(0, len(vectors), size):
            cosines = vectors[start : start + size] @ bank.T
            cosines.partition(len(bank) - self.neighbours, axis=1)
            usual[start : start + size] = cosines[:, -self.neighbours :].mean(axis=1, dtype=np.float64)
        usual = np.clip(usual, -1, 1)  # beyond is rounding
        more = np.stack([-usual, np.ones_like(usual), np.sqrt(1 - usual**2), np.zeros_like(usual)], axis=1) / 2
        shortened = vectors * vectors.dtype.type(np.sqrt(0.5))
        return np.hstack([shortened, more[:, order].astype(vectors.dtype)])
