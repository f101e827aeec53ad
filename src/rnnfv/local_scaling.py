"""Likeness that is measured by what is usual in the neighbourhood, so that no result is everybody's nearest."""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_is_fitted

from rnnfv.storage import SaveMixin

__all__ = ["LocalScaling"]

_BLOCK_VALUES = 1 << 23  # similarities made at once
_DTYPES = [np.float32, np.float64]
_LENGTH_TOLERANCE = 1e-3


class LocalScaling(SaveMixin, BaseEstimator):
    """Vectors whose inner product is the cosine less what is usual near both: CSLS, a quarter of it.

    In a space of many dimensions some results, called hubs, are near to almost every query. Cross-domain similarity
    local scaling (Conneau et al., 2018) takes from the cosine of x and y the half of r(x) + r(y), where r is the
    mean cosine with the nearest vectors of the other kind. Here these come from vectors that were fitted on, not from
    the queries or the results that are compared: what one query finds does not depend on the others.

    The new vectors have length one and four numbers more, so that all that works with cosines works with them:
    ``[x / sqrt(2), -r(x) / 2, 1 / 2, sqrt(1 - r(x)^2) / 2, 0]``, and for y with the second and third, and the last
    two, exchanged. Two of one kind are compared almost as by their cosine: their product is half of it, and
    ``(1 + cos(arcsin r(x) - arcsin r(x'))) / 4``, which is 1 / 2 but for an eighth of the angles' squared difference.

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
            If there are fewer than ``neighbours`` of a kind, the widths differ, or a length is not one.
        """
        X, Y = _unit(X, "X"), _unit(Y, "Y")
        if X.shape[1] != Y.shape[1]:
            raise ValueError(f"X has {X.shape[1]} columns and Y {Y.shape[1]}: they must be of one space")
        most = min(len(X), len(Y))
        if not (isinstance(self.neighbours, Integral) and 0 <= self.neighbours <= most):
            raise ValueError(
                f"neighbours is {self.neighbours!r}: give a whole number from 0 to {most}, the "
                "smaller of the numbers of X and of Y"
            )
        self.x_bank_: NDArray[Any] = X[: len(X) if self.neighbours else 0].copy()
        self.y_bank_: NDArray[Any] = Y[: len(Y) if self.neighbours else 0].copy()
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Vectors of the first kind, scaled.

        Parameters
        ----------
        X : array-like of shape (n, k)
            Of length one.

        Returns
        -------
        ndarray of shape (n, k + 4), float32 for float32 and else float64
            Of length one. The given vectors, (n, k), without neighbours.

        Raises
        ------
        ValueError
            If the width is not that of the vectors fitted on, a length is not one, or ``neighbours`` was changed.
        """
        check_is_fitted(self)
        return self._placed(_unit(X, "X"), self.y_bank_, (0, 1, 2, 3))

    def transform_y(self, Y: Any) -> NDArray[Any]:
        """Vectors of the second kind, scaled.

        Parameters
        ----------
        Y : array-like of shape (n, k)
            Of length one.

        Returns
        -------
        ndarray of shape (n, k + 4), float32 for float32 and else float64
            Of length one. The given vectors, (n, k), without neighbours.

        Raises
        ------
        ValueError
            If the width is not that of the vectors fitted on, a length is not one, or ``neighbours`` was changed.
        """
        check_is_fitted(self)
        return self._placed(_unit(Y, "Y"), self.x_bank_, (1, 0, 3, 2))

    def _placed(self, vectors: NDArray[Any], bank: NDArray[Any], order: tuple[int, ...]) -> NDArray[Any]:
        if vectors.shape[1:] != bank.shape[1:]:
            raise ValueError(f"the vectors have {vectors.shape[1]} values, and those fitted on {bank.shape[-1]}")
        if not (isinstance(self.neighbours, Integral) and 0 <= self.neighbours <= len(bank)):
            raise ValueError(f"neighbours is {self.neighbours}, but {len(bank)} vectors are kept: fit again")
        if not self.neighbours:
            return vectors
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


def _unit(vectors: Any, name: str) -> NDArray[Any]:
    """The vectors as an array of floats, seen to be finite and of length one."""
    array: NDArray[Any] = check_array(vectors, dtype=_DTYPES, ensure_min_samples=0, input_name=name)
    lengths = np.linalg.norm(array, axis=1)
    if len(wrong := np.flatnonzero(np.abs(lengths - 1) > _LENGTH_TOLERANCE)):
        row = wrong[0]
        what = f"has length {lengths[row]:.6g}, not 1: divide it by its length" if lengths[row] else "is all zeros"
        raise ValueError(f"row {row} of {name} {what}")
    return array
