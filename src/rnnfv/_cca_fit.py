"""Which way a regularised CCA goes, from pairs of rows or from their sums to what is learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rnnfv._cca_krylov import Centred, WideSide
from rnnfv._cca_solve import Side, Solution, solve
from rnnfv._cca_sums import PairSums, Symmetric

__all__ = ["Learnt", "fit_pairs", "fit_sums", "product_dtype"]

_WIDE = 2000  # columns; below, the products of a side with itself cost next to nothing
_STEPS = 4  # blocks of directions that a wide side usually needs
_SMALLEST = 1e-10  # regularisation below which only the side's own factor shows whether it can be inverted
_SINGLE = 1e-5  # regularisation below which products in float32 would be too inexact


class Learnt(NamedTuple):
    """The fitted attributes of `RegularizedCCA`, without their underscores."""

    correlations: NDArray[np.float64]
    x_weights: NDArray[Any]
    y_weights: NDArray[Any]
    x_mean: NDArray[Any]
    y_mean: NDArray[Any]


def fit_pairs(
    X: NDArray[Any], Y: NDArray[Any], regularizations: Sequence[float], n_components: int | None, device: str
) -> Iterator[Learnt]:
    """One result after another, from all the rows."""
    (n, a), b = X.shape, Y.shape[1]
    k = _checked_components(n_components, n, a, b)

    def whole(etas: Sequence[float]) -> Iterator[Learnt]:
        sums = PairSums(a, b, product_dtype(min(etas)))
        sums.add(X, Y, device)
        return fit_sums(sums, etas, n_components, consume=True)

    if device != "cpu" or not _directions_pay(n, max(a, b), min(a, b), regularizations):
        return whole(regularizations)
    if a >= b:
        return _fit_wide(X, Y, "XY", regularizations, k, whole)
    swapped = _fit_wide(Y, X, "YX", regularizations, k, lambda etas: map(_swapped, whole(etas)))
    return map(_swapped, swapped)


def fit_sums(
    sums: PairSums, regularizations: Sequence[float], n_components: int | None, consume: bool = False
) -> Iterator[Learnt]:
    """One result after another, from sums over pairs of rows; with ``consume`` the last one uses the sums up."""
    k = _checked_components(n_components, sums.n, len(sums.x_mean), len(sums.y_mean))
    sums.whole()
    x, y = _side("X", sums.xx), _side("Y", sums.yy)
    _refuse_unrelated(sums)
    return (_learnt(solution, sums, sums.dtypes) for solution in solve(x, sums.xy, y, regularizations, k, consume))


def product_dtype(regularization: float) -> np.dtype[Any]:
    """In what the products of rows have to be made at least, for this regularisation or a larger one."""
    return np.dtype(np.float64 if regularization < _SINGLE else np.float32)


def _checked_components(n_components: int | None, n: int, a: int, b: int) -> int:
    if n < 2:
        raise ValueError(f"there is {n} pair of rows: correlations need at least 2")
    most = min(n - 1, a, b)
    if n_components is None:
        return most
    if not 1 <= n_components <= most:
        raise ValueError(f"n_components is {n_components}: it must be 1 to {most} with {n} rows of {a} and {b} columns")
    return n_components


def _directions_pay(n: int, wide: int, narrow: int, regularizations: Sequence[float]) -> bool:
    """Whether fewer operations are expected than with the products of the wide side and their factors."""
    if wide < _WIDE or min(regularizations) < _SMALLEST:
        return False
    # A factor is made in float64, at half the speed.
    whole = n * wide**2 + len(regularizations) * 2 * wide**3 / 3
    return 4 * n * wide * min(n, _STEPS * narrow) < whole


def _fit_wide(
    wide: NDArray[Any],
    narrow: NDArray[Any],
    names: str,
    regularizations: Sequence[float],
    k: int,
    whole: Callable[[Sequence[float]], Iterator[Learnt]],
) -> Iterator[Learnt]:
    """By way of directions of the wide side, as many as a regularisation needs; ``whole`` does what needs too many."""
    dtype = np.promote_types(wide.dtype, product_dtype(min(regularizations)))
    sums = PairSums(wide.shape[1], narrow.shape[1], dtype, x_products=False)
    sums.add(wide, narrow)
    y = _side(names[1], sums.yy)
    rows = Centred(wide, sums.x_mean, dtype)
    largest = rows.largest()
    _refuse_constant(names[0], largest)
    _refuse_unrelated(sums)

    def learnt() -> Iterator[Learnt]:
        side, done = WideSide(rows, largest, sums.xy, y, limit=wide.shape[1] // 2), 0
        for eta in regularizations:
            if (reduced := side.reduced(eta)) is None:
                break
            (solution,) = solve(Side(names[0], reduced[0], largest), reduced[1], y, [eta], k)
            solution = solution._replace(x_weights=side.lift(solution.x_weights))
            yield _learnt(solution, sums, (wide.dtype, narrow.dtype))
            done += 1
        del side  # before the products of the wide side take its place in memory
        if done < len(regularizations):
            yield from whole(regularizations[done:])

    return learnt()


def _side(name: str, products: Symmetric) -> Side:
    largest = products.largest()
    _refuse_constant(name, largest)
    return Side(name, products, largest)


def _refuse_constant(name: str, largest: float) -> None:
    if largest <= 0:
        raise ValueError(f"all rows of {name} are equal: there is nothing to correlate")


def _refuse_unrelated(sums: PairSums) -> None:
    if not sums.xy.any():
        raise ValueError("X and Y have a covariance of zero: there is nothing to correlate")


def _learnt(solution: Solution, sums: PairSums, dtypes: tuple[Any, Any]) -> Learnt:
    """Weights for unit variance instead of a unit sum of squares, in the sides' dtypes."""
    scale = np.sqrt(sums.n - 1)
    return Learnt(
        solution.correlations,
        (solution.x_weights * scale).astype(dtypes[0]),
        (solution.y_weights * scale).astype(dtypes[1]),
        sums.x_mean.astype(dtypes[0]),
        sums.y_mean.astype(dtypes[1]),
    )


def _swapped(learnt: Learnt) -> Learnt:
    return Learnt(learnt.correlations, learnt.y_weights, learnt.x_weights, learnt.y_mean, learnt.x_mean)
