"""A few directions of a wide side that are enough for its canonical correlations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.linalg.blas import dtrsm

from rnnfv._cca_solve import Side
from rnnfv._cca_sums import Symmetric, add_product, largest_eigenvalue, row_blocks

__all__ = ["Centred", "Reduced", "reduce_side"]

_CACHED_VALUES = 1 << 19  # numbers of a block that stays in a processor's cache
_TOLERANCE = 1e-8  # error of what is sought, next to the largest correlation
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


class Reduced(NamedTuple):
    """A wide side in a basis (d, m) of its own: the summed products of the m coordinates, and with the other side."""

    basis: NDArray[Any]
    products: Symmetric
    cross: NDArray[np.float64]


def reduce_side(
    X: Centred, largest: float, cross: NDArray[np.float64], other: Side, eta: float, limit: int
) -> Reduced | None:
    """Find directions in which the regularised solution lies, for ``eta`` and for anything larger.

    What is sought is W with (X^T X + s I) W = C: C the summed products with the other side, whitened there, and
    s = eta times the largest eigenvalue. The best W in the basis so far is known from small matrices. What the
    equation then lacks, its residual R, gives the directions that the basis grows by: this is a block Krylov
    method, which leaves out directions as they converge. The squared correlations are too small by
    |R|^2 / s at most (the energy norm of the error), so that growth ends when |R| / sqrt(s) is below 1e-8 of the
    largest correlation in every direction, or R is rounding, which in float32 is sooner. A larger shift
    converges sooner in the same space. At min(n - 1, d) directions the basis is exact.

    Parameters
    ----------
    X : Centred of shape (n, d)
    largest : float
        The largest eigenvalue of X^T X.
    cross : ndarray of shape (d, b), float64
    other : Side with b columns
    eta : float
        The smallest regularisation that will be asked for, above 0.
    limit : int
        Directions at most.

    Returns
    -------
    Reduced or None
        None where more than ``limit`` directions would be needed.
    """
    shift = eta * largest
    factor = other.products.factor(eta * other.largest)
    wanted = dtrsm(1.0, factor, cross.T, trans_a=1).T.astype(X.dtype)
    # The largest correlation is at least |wanted| / sqrt(largest + shift). Below a few units of rounding of what
    # is wanted, a residual is rounding alone.
    rounding = _ROUNDING * np.finfo(X.dtype).eps
    threshold = _norm(wanted) * max(rounding, _TOLERANCE * np.sqrt(shift / (largest + shift)))
    space = _Space(X, wanted)
    residual = wanted
    # What is left out now is well below what would have to be fetched later.
    while (new := space.outside(_main_directions(residual, threshold, threshold / 4))).shape[1]:
        if len(space.products) + new.shape[1] > limit:
            return None
        space.grow(new)
        residual = space.residual(shift)
    products = Symmetric(len(space.products))
    products.upper[:] = space.products
    basis = np.hstack(space.basis)
    return Reduced(basis, products, _product(basis, cross))


class _Space:
    """An orthonormal basis in blocks, what X^T X makes of it, and the small matrices of the equation within it."""

    def __init__(self, X: Centred, wanted: NDArray[Any]) -> None:
        self._x, self._wanted = X, wanted
        self.basis: list[NDArray[Any]] = []
        self._images: list[NDArray[Any]] = []
        self._projected: list[NDArray[Any]] = []
        self.products = np.empty((0, 0))
        self._right_side = np.empty((0, wanted.shape[1]))

    def grow(self, new: NDArray[Any]) -> None:
        projected, image = self._x.project(new)
        self.basis.append(new)
        self._images.append(image)
        self._projected.append(projected)
        column = np.vstack([_product(old, projected) for old in self._projected])
        old = len(self.products)
        self.products = np.block([[self.products, column[:old]], [column[:old].T, column[old:]]])
        self._right_side = np.vstack([self._right_side, _product(new, self._wanted)])

    def residual(self, shift: float) -> NDArray[Any]:
        """What the equation lacks with the best W of the space."""
        weights = scipy.linalg.solve(
            self.products + shift * np.eye(len(self.products)), self._right_side, assume_a="pos"
        )
        weights, residual, start = weights.astype(self._x.dtype), self._wanted.copy(), 0
        for vectors, image in zip(self.basis, self._images, strict=True):
            part = weights[start : start + vectors.shape[1]]
            residual -= image @ part
            residual -= vectors @ (shift * part).astype(part.dtype)
            start += len(part)
        return residual

    def outside(self, new: NDArray[Any]) -> NDArray[Any]:
        """The part of new unit vectors that is not in the space yet, made orthonormal."""
        for vectors in self.basis:
            new = new - vectors @ (vectors.T @ new)
        return _main_directions(new, _NEW, _NEW)


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
