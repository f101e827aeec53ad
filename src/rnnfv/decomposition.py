"""Principal components of matrices that are too wide, or too large, to copy."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.extmath import svd_flip
from sklearn.utils.validation import check_is_fitted, validate_data

from rnnfv._cca_sums import PairSums, SumsMixin
from rnnfv.normalization import checked_n_outputs
from rnnfv.storage import SaveMixin

_DTYPES = [np.float32, np.float64]
_BLOCK_VALUES = 1 << 23  # values of one block: 32 MiB in float32


class GramPCA(SumsMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Exact PCA by blocks, made for Fisher vectors: few rows, very many columns (SPEC S10).

    With fewer rows than columns the eigenvectors of the rows' Gram matrix (n x n) give the components, otherwise
    those of the covariance (d x d) do. Either is summed block by block in float64, so that next to the
    data there is only one block, the smaller of the two matrices and the components; the data may be a
    memory map. Time grows with n d min(n, d). Rows that are nowhere together go through `fit_blocks`; or
    through `partial_fit`, in several processes, whose sums `merge` puts together.

    Parameters
    ----------
    n_components : int, default=1000
        Components to keep (paper, section 5.3). Where the data has fewer (at most n - 1 and d), all of them
        are kept.

    Attributes
    ----------
    components_ : ndarray of shape (k, d)
        Orthonormal directions, strongest first.
    explained_variance_ : ndarray of shape (k,), float64
        Variance along each (divided by n - 1).
    mean_ : ndarray of shape (d,)

    See Also
    --------
    sklearn.decomposition.PCA : The same result from a copy of the whole matrix.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv import GramPCA
    >>> X = np.random.default_rng(0).normal(size=(20, 300))
    >>> GramPCA(n_components=5).fit_transform(X).shape
    (20, 5)
    """

    _learnt = ("components_", "explained_variance_", "mean_")

    def __init__(self, n_components: int = 1000) -> None:
        self.n_components = n_components

    def fit(self, X: Any, y: Any = None) -> GramPCA:
        """Find the components.

        Parameters
        ----------
        X : array-like or memory map of shape (n, d), n at least 2
        y : ignored

        Raises
        ------
        ValueError
            If ``n_components`` is below 1, or X is not a finite matrix of two rows or more.
        """
        self._check_components()
        X = validate_data(self, X, dtype=_DTYPES, ensure_min_samples=2)
        self._forget("_sums")
        n, d = X.shape
        if n > d:
            sums = PairSums(d, 0, np.float64)
            sums.add(X, X[:, :0])
            return self._learn(sums, in_place=True)
        self.mean_ = X.mean(axis=0, dtype=np.float64).astype(X.dtype)
        gram = functools.reduce(operator.iadd, (b @ b.T for b in map(_double, self._column_blocks(X))))
        variances, left = _strongest(gram, min(self.n_components, n - 1))
        return self._keep(self._from_left(X, left), variances / (n - 1))

    def fit_blocks(self, blocks: Iterable[Any]) -> GramPCA:
        """Find the components of rows that come block by block, and are seen once.

        Products are made in the blocks' own precision, a few thousand rows at a time and about their mean, and
        summed in float64. In memory are one block, the covariance and the components, some 8 d^2 + 16 k d bytes:
        16 GiB for d = 30,300 and k = 20,000. Time grows with n d^2 + d^3: 50 seconds on one core for n = 40,000 and
        d = 4,000, some hours for n = 300,000 and d = 30,300.

        Parameters
        ----------
        blocks : iterable of array-like of shape (m, d)
            Together two rows or more.

        Raises
        ------
        ValueError
            If ``n_components`` is below 1, there are not two rows, or a block is not finite or of another width.

        Examples
        --------
        >>> import numpy as np
        >>> from rnnfv import GramPCA
        >>> X = np.random.default_rng(0).normal(size=(500, 30))
        >>> pca = GramPCA(n_components=5).fit_blocks(X[start : start + 100] for start in range(0, 500, 100))
        >>> np.allclose(pca.components_, GramPCA(n_components=5).fit(X).components_)
        True
        """
        self._check_components()
        self._forget("_sums")
        sums = None
        for block in blocks:
            rows = validate_data(self, block, dtype=_DTYPES, reset=sums is None)
            sums = sums or PairSums(rows.shape[1], 0)
            sums.add(rows, rows[:, :0])
        if sums is None:
            raise ValueError("there are 0 rows: principal components need at least 2")
        return self._learn(sums, in_place=True)

    def _keep(self, components: NDArray[Any], variances: NDArray[np.float64]) -> Self:
        # The signs do not depend on the solver: the largest weight of each component is positive.
        _, self.components_ = svd_flip(None, components, u_based_decision=False)
        self.explained_variance_ = variances
        return self

    def partial_fit(self, X: Any, y: Any = None) -> GramPCA:
        """Add rows to those of earlier calls. The components are found when they are next asked for.

        Parameters
        ----------
        X : array-like or memory map of shape (m, d), m at least 1
        y : ignored

        Raises
        ------
        ValueError
            If a value is not finite, the width is not that of before, or the estimator was fitted by `fit` or
            loaded, which leaves no sums to add to. Nothing is added then.
        """
        self._check_components()
        first = self._begins_sums()
        X = validate_data(self, X, dtype=_DTYPES, reset=first)
        if first:
            self._sums = PairSums(X.shape[1], 0)
        self._forget(*self._learnt)
        self._sums.add(X, X[:, :0])
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Coordinates along the components.

        Parameters
        ----------
        X : array-like of shape (n, d)

        Returns
        -------
        ndarray of shape (n, k)
        """
        check_is_fitted(self, "components_")
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        reduced = np.empty((len(X), len(self.components_)), X.dtype)
        for rows, block in _centred_rows(X, self.mean_):
            np.matmul(block, self.components_.T, out=reduced[rows], casting="same_kind")
        return reduced

    def pull_back(self, vector: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
        """Weights on a vector that give what the given weights do on its components, but for a constant.

        The constant, what the mean vector adds, is the same for every vector. See `PowerNormalizer.pull_back`.

        Parameters
        ----------
        vector : ndarray of shape (d,)
        weights : ndarray of shape (C, k)

        Returns
        -------
        ndarray of shape (C, d)
        """
        return weights @ self.components_.astype(np.float64)

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)

    def _learn(self, sums: PairSums, in_place: bool = False) -> Self:
        """The components of what was summed; ``in_place`` uses the sums up."""
        n, d = sums.whole().n, len(sums.xx)
        if n < 2:
            raise ValueError(f"there is {n} row: principal components need at least 2")
        covariance = sums.xx.upper.T
        variances, components = _strongest(
            covariance if in_place else covariance.copy(order="F"), min(self.n_components, n - 1, d)
        )
        self.mean_ = sums.x_mean.astype(sums.dtypes[0])
        return self._keep(components.T.astype(sums.dtypes[0]), variances / (n - 1))

    def _check_components(self) -> None:
        if self.n_components < 1:
            raise ValueError(f"n_components is {self.n_components}: it must be at least 1")

    def _column_blocks(self, X: NDArray[Any]) -> Iterator[NDArray[Any]]:
        size = max(1, _BLOCK_VALUES // len(X))
        for start in range(0, X.shape[1], size):
            yield X[:, start : start + size] - self.mean_[start : start + size]

    def _from_left(self, X: NDArray[Any], left: NDArray[np.float64]) -> NDArray[Any]:
        """Right singular vectors from left ones: each is X^T u, of length one."""
        components = np.concatenate([left.T.astype(X.dtype) @ block for block in self._column_blocks(X)], axis=1)
        norms = np.linalg.norm(components, axis=1, keepdims=True)
        return components / np.where(norms > 0, norms, 1)


class KroneckerPCA(SaveMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """PCA of unrolled matrices whose covariance is taken to be a Kronecker product: far cheaper than `GramPCA`.

    A Fisher vector is a matrix FV, errors times hidden states. With the covariance a product of one for its rows and
    one for its columns, the components are outer products of their eigenvectors, and the strongest are those
    whose eigenvalues have the largest products. For 9,537 vectors of 100,500 numbers this takes seconds where the
    exact one takes minutes; it needs more components for the same accuracy. Made for judging an epoch (SPEC S10).

    Parameters
    ----------
    n_components : int, default=3000
        Components to keep, at most d.
    n_samples : int, default=1000
        Vectors, evenly spaced, from which the two covariances are taken.
    n_outputs : int, optional
        Rows of FV. Vectors that come straight from `RNNFisherVector` carry it.

    Attributes
    ----------
    mean_ : ndarray of shape (d,)
    row_directions_, column_directions_ : ndarray of shape (rows, a) and (columns, b)
        Eigenvectors (columns), as many of either side as are used.
    places_ : ndarray of shape (k,), int64
        Component i is the outer product of row direction ``places_[i] // b`` and column direction ``places_[i] % b``.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv import KroneckerPCA
    >>> X = np.random.default_rng(0).normal(size=(30, 400))
    >>> KroneckerPCA(n_components=5, n_outputs=20).fit_transform(X).shape
    (30, 5)
    """

    def __init__(self, n_components: int = 3000, n_samples: int = 1000, n_outputs: int | None = None) -> None:
        self.n_components = n_components
        self.n_samples = n_samples
        self.n_outputs = n_outputs

    def fit(self, X: Any, y: Any = None) -> KroneckerPCA:
        """Find the directions of rows and columns, and the strongest pairs.

        Parameters
        ----------
        X : array-like or memory map of shape (n, d), n at least 2
        y : ignored

        Raises
        ------
        ValueError
            If a parameter is not usable, or it is not known how the vectors fold.
        """
        for name in ("n_components", "n_samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1")
        n_outputs = self.n_outputs or getattr(X, "n_outputs", None)  # the check drops it
        X = validate_data(self, X, dtype=_DTYPES, ensure_min_samples=2)
        n_rows = checked_n_outputs(X, n_outputs)
        self.mean_ = X.mean(axis=0, dtype=np.float64).astype(X.dtype)
        row_side: Any = 0.0
        side: Any = 0.0
        for _, block in _centred_rows(X[:: -(-len(X) // self.n_samples)], self.mean_):
            matrices = block.reshape(len(block), n_rows, -1)
            row_side = row_side + np.tensordot(matrices, matrices, axes=([0, 2], [0, 2]))
            side = side + np.tensordot(matrices, matrices, axes=([0, 1], [0, 1]))
        (row_values, row_vectors), (values, vectors) = _descending(row_side), _descending(side)
        strongest = np.argsort(-np.outer(row_values, values), axis=None, kind="stable")[: self.n_components]
        i, j = np.divmod(strongest, len(values))
        a, b = i.max() + 1, j.max() + 1
        self.row_directions_ = np.ascontiguousarray(row_vectors[:, :a], X.dtype)
        self.column_directions_ = np.ascontiguousarray(vectors[:, :b], X.dtype)
        self.places_ = i * b + j
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Coordinates along the components.

        Parameters
        ----------
        X : array-like of shape (n, d)

        Returns
        -------
        ndarray of shape (n, k)
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        left, right = self.row_directions_, self.column_directions_
        reduced = np.empty((len(X), len(self.places_)), X.dtype)
        for rows, block in _centred_rows(X, self.mean_):
            matrices = block.reshape(len(block), len(left), len(right))
            reduced[rows] = np.matmul(left.T, matrices @ right).reshape(len(block), -1)[:, self.places_]
        return reduced

    @property
    def _n_features_out(self) -> int:
        return len(self.places_)


def _descending(side: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues, largest first and none below zero, and their vectors (columns)."""
    values, vectors = np.linalg.eigh(_double(side))
    return np.maximum(values[::-1], 0), vectors[:, ::-1]


def _centred_rows(X: NDArray[Any], mean: NDArray[Any]) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Blocks of centred rows, and which rows they are."""
    size = max(1, _BLOCK_VALUES // X.shape[1])
    for start in range(0, len(X), size):
        rows = slice(start, start + size)
        yield rows, X[rows] - mean


def _double(block: NDArray[Any]) -> NDArray[np.float64]:
    return block.astype(np.float64, copy=False)


def _strongest(matrix: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The k largest eigenvalues and their vectors (columns), largest first.

    Only the lower triangle of the matrix is read; in Fortran's order it is overwritten, and not copied.
    """
    n = len(matrix)
    values, vectors = scipy.linalg.eigh(matrix, lower=True, overwrite_a=True, subset_by_index=[n - k, n - 1])
    return np.maximum(values[::-1], 0), vectors[:, ::-1]
