"""Regularised canonical correlations of two sides, such as sentences and images."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.preprocessing import normalize
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from rnnfv._cca_fit import Learnt, fit_pairs, fit_sums, product_dtype
from rnnfv._cca_sums import PairSums, SumsMixin, row_blocks

__all__ = ["RegularizedCCA", "cca_path"]

_DTYPES = [np.float32, np.float64]


class RegularizedCCA(SumsMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Canonical correlation analysis with ridge regularisation, exact for many rows and wide sides (SPEC S19).

    Row i of X pairs with row i of Y. Both are centred; ``regularization`` times the largest eigenvalue of a
    side's covariance is added to the diagonal of that covariance; then the pairs of directions are found along which
    the two sides correlate most, each direction of unit regularised variance. For retrieval a
    vector is projected, every dimension is multiplied by its correlation, and cosines are taken: `similarity`.

    `partial_fit` takes the data in blocks, so that it never has to fit in memory; it keeps one square float64 matrix
    for either side. Blocks of a thousand rows or more are fast. `fit`, on the CPU, needs no such matrix of a side that
    is much wider than the other: a few main directions of it are enough. Both ways are the same to rounding.
    `cca_path` and `path` fit several regularisations with the work on the data done once.

    Parameters
    ----------
    regularization : float, default=1e-3
        Called eta by Klein et al. (CVPR 2015), at least 0. To be chosen on a validation set (SPEC S19).
    n_components : int, optional
        Pairs of directions to keep; at most the columns of either side and n - 1. Default: all.
        Directions whose correlation is rounding alone are never kept.
    device : str, default="cpu"
        Where the products of the rows are made, which is nearly all of the work where there are many more rows than
        columns: "cpu", "cuda", "cuda:1", or "auto", a GPU where there is one. A device needs memory for
        a^2 + a b + b^2 float64 numbers, as the CPU does then. What is solved with the products is solved on the CPU.

    Attributes
    ----------
    correlations_ : ndarray of shape (k,), float64
        Largest first. Regularisation makes them smaller than those of the data.
    x_weights_, y_weights_ : ndarray of shape (a, k) and (b, k)
        Directions, as columns. The largest entry of each x direction is positive.
    x_mean_, y_mean_ : ndarray of shape (a,) and (b,)

    See Also
    --------
    sklearn.cross_decomposition.CCA : Iterative, without regularisation.

    Notes
    -----
    The products of float32 rows are made in float32 by blocks, or in float64 where the regularisation is below
    1e-5, and summed in float64. Weights have the dtype of their side. The sums of `partial_fit` are not saved.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv import RegularizedCCA
    >>> rng = np.random.default_rng(0)
    >>> common = rng.normal(size=(500, 3))
    >>> X = np.hstack([common, rng.normal(size=(500, 4))])
    >>> Y = np.hstack([rng.normal(size=(500, 2)), common + 0.1 * rng.normal(size=(500, 3))])
    >>> cca = RegularizedCCA(n_components=3).fit(X, Y)
    >>> cca.correlations_.round(2)
    array([0.99, 0.99, 0.99])
    >>> similarity = cca.similarity(X[:5], Y[:5])
    >>> similarity.argmax(axis=1)
    array([0, 1, 2, 3, 4])
    """

    _learnt = tuple(f"{name}_" for name in Learnt._fields)

    def __init__(self, regularization: float = 1e-3, n_components: int | None = None, *, device: str = "cpu") -> None:
        self.regularization = regularization
        self.n_components = n_components
        self.device = device

    def fit(self, X: Any, Y: Any) -> RegularizedCCA:
        """Find the directions. What was seen before is forgotten.

        Parameters
        ----------
        X, Y : array-like or memory map of shape (n, a) and (n, b), n at least 2

        Raises
        ------
        ValueError
            If a parameter is not usable, the rows do not pair, a value is not finite, a side is
            constant, or the regularisation is too small for its covariance to be inverted.
        """
        _check_regularizations([self.regularization])
        X, Y = self._checked_pairs(X, Y, reset=True)
        self._forget("_sums", *self._learnt)
        return self._take(next(fit_pairs(X, Y, [self.regularization], self.n_components, self._place())))

    def partial_fit(self, X: Any, Y: Any) -> RegularizedCCA:
        """Add pairs to those of earlier calls. The directions are found when they are next asked for.

        Parameters
        ----------
        X, Y : array-like or memory map of shape (m, a) and (m, b), m at least 1

        Raises
        ------
        ValueError
            If the rows do not pair, a value is not finite, the widths are not those of before, or the
            estimator was fitted by `fit` or loaded, which leaves no sums to add to. Nothing is added then.
        """
        first = self._begins_sums()
        X, Y = self._checked_pairs(X, Y, reset=first)
        place = self._place()
        sums = PairSums(X.shape[1], Y.shape[1], product_dtype(self.regularization)) if first else self._sums
        self._forget(*self._learnt)
        sums.add(X, Y, place)
        self._sums = sums
        return self

    def path(self, regularizations: Sequence[float]) -> Iterator[RegularizedCCA]:
        """After `partial_fit`: fitted estimators of several regularisations, one at a time (see `cca_path`).

        The estimator's own regularisation, while it takes in float32 data, should be no larger than the smallest
        of them: below 1e-5 products are made in float64.

        Parameters
        ----------
        regularizations : sequence of float

        Yields
        ------
        RegularizedCCA
        """
        _check_regularizations(regularizations)
        if not self._has_sums:
            raise ValueError("path needs the sums of partial_fit: call that first, or cca_path with the data")
        return _estimators(self, regularizations, fit_sums(self._sums, regularizations, self.n_components))

    # -- using -------------------------------------------------------------------------------------

    def transform(self, X: Any, Y: Any = None) -> Any:
        """Canonical variables: of unit regularised variance on the data of `fit`, most correlated first.

        For vectors as `similarity` compares them, multiply by ``correlations_`` and normalise the rows.

        Parameters
        ----------
        X : array-like or memory map of shape (n, a)
        Y : array-like or memory map of shape (m, b), optional

        Returns
        -------
        ndarray of shape (n, k), or a pair of them
        """
        projected = self._transform_x(X)
        return projected if Y is None else (projected, self.transform_y(Y))

    def transform_y(self, Y: Any) -> NDArray[Any]:
        """Canonical variables of the other side alone: (m, b) -> (m, k).

        Parameters
        ----------
        Y : array-like or memory map of shape (m, b)

        Returns
        -------
        ndarray of shape (m, k)
        """
        check_is_fitted(self, "correlations_")
        return _project(self._checked_y(Y, len(self.y_mean_)), self.y_mean_, self.y_weights_, "Y")

    def similarity(self, X: Any, Y: Any) -> NDArray[Any]:
        """Cosine of every X with every Y, each canonical variable times its correlation (SPEC S19).

        Parameters
        ----------
        X, Y : array-like or memory map of shape (n, a) and (m, b)

        Returns
        -------
        ndarray of shape (n, m)
            Zeros for a row that lies at the mean of its side.
        """
        sides = (self._transform_x(X), self.transform_y(Y))
        x, y = (normalize(side * self.correlations_.astype(side.dtype)) for side in sides)
        return x @ y.T

    def _transform_x(self, X: Any) -> NDArray[Any]:
        check_is_fitted(self, "correlations_")
        X = validate_data(self, X, dtype=_DTYPES, ensure_all_finite=False, reset=False)
        return _project(X, self.x_mean_, self.x_weights_, "X")

    @property
    def _n_features_out(self) -> int:
        return len(self.correlations_)

    # -- state -------------------------------------------------------------------------------------

    def _place(self) -> str:
        """The name of the device, once it is known to be there."""
        if self.device == "cpu":  # needs no torch
            return self.device
        from rnnfv.devices import pick_device

        return str(pick_device(self.device))

    def _learn(self, sums: PairSums) -> Self:
        _check_regularizations([self.regularization])
        return self._take(next(fit_sums(sums, [self.regularization], self.n_components)))

    def _take(self, learnt: Learnt) -> Self:
        # The signs do not depend on the solver.
        largest = np.abs(learnt.x_weights).argmax(axis=0)
        signs = np.sign(learnt.x_weights[largest, np.arange(len(largest))])
        for weights in (learnt.x_weights, learnt.y_weights):
            np.multiply(weights, signs.astype(weights.dtype), out=weights)
        for name, value in zip(self._learnt, learnt, strict=True):
            setattr(self, name, value)
        return self

    def _checked_pairs(self, X: Any, Y: Any, reset: bool) -> tuple[NDArray[Any], NDArray[Any]]:
        width = None if reset else len(self._sums.y_mean)
        X = validate_data(self, X, dtype=_DTYPES, ensure_all_finite=False, reset=reset)
        Y = self._checked_y(Y, width)
        if len(X) != len(Y):
            raise ValueError(f"X has {len(X)} rows and Y has {len(Y)}: row i of one pairs with row i of the other")
        for name, side in (("X", X), ("Y", Y)):
            for rows in row_blocks(side):
                _check_finite(side[rows], rows.start, name)
        return X, Y

    @staticmethod
    def _checked_y(Y: Any, width: int | None) -> NDArray[Any]:
        Y = check_array(Y, dtype=_DTYPES, ensure_all_finite=False, input_name="Y")
        if width is not None and Y.shape[1] != width:
            raise ValueError(f"Y has {Y.shape[1]} columns, but {width} were fitted")
        return Y


def cca_path(
    X: Any, Y: Any, regularizations: Sequence[float], n_components: int | None = None, *, device: str = "cpu"
) -> Iterator[RegularizedCCA]:
    """Fit several regularisations with the work on the data done once.

    Only one fitted estimator is in memory at a time, unless the caller keeps them. The smallest regularisation that is
    asked for decides how long it takes; each of the others adds little. So go from large to small and stop where
    nothing is gained any more.

    Parameters
    ----------
    X, Y : array-like or memory map of shape (n, a) and (n, b), n at least 2
    regularizations : sequence of float
        In the order in which the estimators come.
    n_components : int, optional
    device : str, default="cpu"
        As for `RegularizedCCA`.

    Returns
    -------
    iterator of RegularizedCCA

    Raises
    ------
    ValueError
        As `RegularizedCCA.fit`.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv.cca import cca_path
    >>> X = np.random.default_rng(0).normal(size=(100, 4))
    >>> [float(cca.correlations_[0].round(3)) for cca in cca_path(X, X[:, :2], [0, 0.1, 1])]
    [1.0, 0.891, 0.453]
    """
    _check_regularizations(regularizations)
    template = RegularizedCCA(n_components=n_components, device=device)
    X, Y = template._checked_pairs(X, Y, reset=True)
    return _estimators(template, regularizations, fit_pairs(X, Y, regularizations, n_components, template._place()))


def _estimators(
    template: RegularizedCCA, regularizations: Sequence[float], fitted: Iterator[Learnt]
) -> Iterator[RegularizedCCA]:
    for eta in regularizations:
        estimator = copy.copy(template).set_params(regularization=eta)
        estimator._forget("_sums")
        yield estimator._take(next(fitted))


# -- checks ----------------------------------------------------------------------------------------


def _check_regularizations(values: Sequence[float]) -> None:
    if len(values) == 0:
        raise ValueError("there are no regularizations to fit: give one or more")
    for value in values:
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"regularization is {value}: it must be a finite number, at least 0")


def _check_finite(block: NDArray[Any], start: int, name: str) -> None:
    finite = np.isfinite(block).all(axis=1)
    if not finite.all():
        raise ValueError(f"row {start + int(np.argmin(finite))} of {name} has a NaN or infinite value: leave it out")


def _project(V: NDArray[Any], mean: NDArray[Any], weights: NDArray[Any], name: str) -> NDArray[Any]:
    projected = np.empty((len(V), weights.shape[1]), V.dtype)
    for rows in row_blocks(V):
        _check_finite(V[rows], rows.start, name)
        np.matmul(V[rows] - mean, weights, out=projected[rows], casting="same_kind")
    return projected
