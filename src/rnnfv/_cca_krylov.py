"""A few directions of a wide side that are enough for its canonical correlations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.linalg.blas import dtrsm

from rnnfv._cca_solve import Side
from rnnfv._cca_sums import Symmetric, add_product, largest_eigenvalue, row_blocks

__all__ = ["Centred", "WideSide"]

_CACHED_VALUES = 1 << 19  # numbers of a block that stays in a processor's cache
_ROUNDING = 16  # units of rounding below which a residual is not looked into
_NEW = 0.7  # of its length, at least, a direction must keep outside the basis: the others were rounding


class Centred:
    """Rows of X less their mean, made block by block in the dtype asked for.

    Parameters
    ----------
    X : ndarray or memory map of shape (n, d)
    mean : ndarray of shape (d,)
    dtype : float32 or float64
        Of the blocks and of products with them.
    """

    def __init__(self, X: NDArray[Any], mean: NDArray[np.float64], dtype: Any) -> None:
        self._x, self._mean, self.dtype = X, mean.astype(X.dtype), np.dtype(dtype)
        self.shape = X.shape

    def _block(self, rows: slice) -> NDArray[Any]:
        return np.subtract(self._x[rows], self._mean, dtype=self.dtype)

    def project(self, V: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """X V and X^T X V of directions V (d, m), in one pass over the data."""
        projected = np.empty((self.shape[0], V.shape[1]), self.dtype)
        back = np.zeros(V.shape)
        for rows in row_blocks(self._x):
            block = self._block(rows)
            np.matmul(block, V, out=projected[rows])
            add_product(back, block, projected[rows])
        return projected, back.astype(self.dtype)

    def largest(self) -> float:
        """The largest eigenvalue of X^T X: to 1e-10 of itself in float64, 1e-5 or better in float32."""

        def product(v: NDArray[np.float64]) -> NDArray[np.float64]:
            v = v.astype(self.dtype)
            total = np.zeros(len(v))
            for rows in row_blocks(self._x, _CACHED_VALUES):
                block = self._block(rows)
                total += (block @ v) @ block
            return total

        return largest_eigenvalue(self.shape[1], product, 1e-10 if self.dtype == np.float64 else 1e-5)


class WideSide:
    """A wide side in a basis of its own, which grows as smaller regularisations are asked for.

    What is sought is W with (X^T X + s I) W = C: C the summed products with the other side, whitened there, and
    s = eta times the largest eigenvalue. The best W in the basis so far is known from small matrices. What the
    equation then lacks, its residual R, gives the directions that the basis grows by: this is a block Krylov
    method, which leaves out directions as they converge. The squared correlations are too small by
    |R|^2 / s at most (the energy norm of the error), so that growth ends when that is below a unit of rounding of the
    largest one in every direction, or R is rounding. A larger eta converges sooner in the same space. At
    min(n - 1, d) directions the basis is exact.

    Parameters
    ----------
    X : Centred of shape (n, d)
    largest : float
        The largest eigenvalue of X^T X.
    cross : ndarray of shape (d, b), float64
    other : Side with b columns
    limit : int
        Directions at most.
    """

    def __init__(self, X: Centred, largest: float, cross: NDArray[np.float64], other: Side, limit: int) -> None:
        self._x, self._largest, self._cross, self._other, self._limit = X, largest, cross, other, limit
        self._basis: list[NDArray[Any]] = []
        self._images: list[NDArray[Any]] = []  # X^T X times the basis
        self._projected: list[NDArray[Any]] = []  # X times the basis
        self._products = np.empty((0, 0))
        self._reduced_cross = np.empty((0, cross.shape[1]))

    def reduced(self, eta: float) -> tuple[Symmetric, NDArray[np.float64]] | None:
        """Summed products of the m coordinates in the basis, and with the other side, (m, b), exact for ``eta``.

        Parameters
        ----------
        eta : float
            Above 0. What has been asked for before stays as exact.

        Returns
        -------
        tuple or None
            None where more directions than the limit would be needed.
        """
        shift = eta * self._largest
        factor = self._other.products.factor(eta * self._other.largest)
        wanted = _whitened(self._cross, factor).astype(self._x.dtype)
        # The largest correlation is at least |wanted| / sqrt(largest + shift). Below a few units of rounding of what
        # is wanted, a residual is rounding alone.
        unit = np.finfo(self._x.dtype).eps
        threshold = _norm(wanted) * max(_ROUNDING * unit, np.sqrt(unit * shift / (self._largest + shift)))
        residual = self._residual(wanted, factor, shift)
        # What is left out now is well below what would have to be fetched later.
        while (new := self._outside(_main_directions(residual, threshold, threshold / 4))).shape[1]:
            if len(self._products) + new.shape[1] > self._limit:
                return None
            self._grow(new)
            residual = self._residual(wanted, factor, shift)
        products = Symmetric(len(self._products))
        products.upper[:] = self._products
        return products, self._reduced_cross

    def lift(self, weights: NDArray[Any]) -> NDArray[Any]:
        """From weights of the coordinates in the basis (m, k) to those of the columns (d, k)."""
        lifted = np.zeros((self._x.shape[1], weights.shape[1]), self._x.dtype)
        for vectors, part in self._parts(weights):
            lifted += vectors @ part
        return lifted

    def _grow(self, new: NDArray[Any]) -> None:
        projected, image = self._x.project(new)
        self._basis.append(new)
        self._images.append(image)
        self._projected.append(projected)
        column = np.vstack([_product(old, projected) for old in self._projected])
        old = len(self._products)
        self._products = np.block([[self._products, column[:old]], [column[:old].T, column[old:]]])
        self._reduced_cross = np.vstack([self._reduced_cross, _product(new, self._cross)])

    def _residual(self, wanted: NDArray[Any], factor: NDArray[np.float64], shift: float) -> NDArray[Any]:
        """What the equation lacks with the best W in the basis."""
        if not self._basis:
            return wanted
        right_side = _whitened(self._reduced_cross, factor)
        weights = scipy.linalg.solve(self._products + shift * np.eye(len(self._products)), right_side, assume_a="pos")
        residual = wanted.copy()
        for (vectors, part), image in zip(self._parts(weights), self._images, strict=True):
            residual -= (image + vectors.dtype.type(shift) * vectors) @ part
        return residual

    def _outside(self, new: NDArray[Any]) -> NDArray[Any]:
        """The part of new unit vectors that is not in the space yet, made orthonormal."""
        for vectors in self._basis:
            new = new - vectors @ (vectors.T @ new)
        return _main_directions(new, _NEW, _NEW)

    def _parts(self, weights: NDArray[Any]) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """The blocks of the basis, each with its rows of the weights."""
        start = 0
        for block in self._basis:
            yield block, weights[start : start + block.shape[1]].astype(self._x.dtype)
            start += block.shape[1]


def _whitened(cross: NDArray[np.float64], factor: NDArray[np.float64]) -> NDArray[np.float64]:
    """The products with the other side (d, b) as they are once that side is whitened by its Cholesky factor."""
    whitened: NDArray[np.float64] = dtrsm(1.0, factor, cross.T, trans_a=1).T
    return whitened


def _main_directions(vectors: NDArray[Any], enough: float, least: float) -> NDArray[Any]:
    """Left singular vectors of (d, m) vectors, down to the singular value ``least``; none if none is ``enough``."""
    squares, turn = np.linalg.eigh(_gram(vectors))
    kept = (squares > least**2) & (squares[-1:] > enough**2)
    return vectors @ (turn[:, kept] / np.sqrt(squares[kept])).astype(vectors.dtype)


def _norm(vectors: NDArray[Any]) -> float:
    """The largest singular value."""
    last = vectors.shape[1] - 1
    return float(np.sqrt(scipy.linalg.eigvalsh(_gram(vectors), subset_by_index=[last, last])[0]))


def _gram(vectors: NDArray[Any]) -> NDArray[np.float64]:
    gram = np.zeros((vectors.shape[1], vectors.shape[1]))
    for rows in row_blocks(vectors):
        block = vectors[rows].astype(np.float64)
        gram += block.T @ block
    return gram


def _product(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """left^T right, in float64 over blocks of rows."""
    total = np.zeros((left.shape[1], right.shape[1]))
    for rows in row_blocks(left):
        total += left[rows].T @ right[rows]
    return total
