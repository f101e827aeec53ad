"""Canonical directions from the summed products of two sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk, dtrsm

from rnnfv._cca_sums import Symmetric

__all__ = ["Side", "Solution", "solve"]


class Side(NamedTuple):
    """One of the two sides: its name in messages, its summed products, and their largest eigenvalue."""

    name: str
    products: Symmetric
    largest: float


class Solution(NamedTuple):
    """Correlations (k,), largest first, and weights (a, k) and (b, k) that give variables of unit square sum."""

    correlations: NDArray[np.float64]
    x_weights: NDArray[np.float64]
    y_weights: NDArray[np.float64]


def solve(
    x: Side,
    xy: NDArray[np.float64],
    y: Side,
    regularizations: Sequence[float],
    k: int,
    consume: bool = False,
) -> Iterator[Solution]:
    """Solve for one regularisation after another; each needs a Cholesky factor of either side.

    With Sxx + eta lambda_max(Sxx) I = Ux^T Ux and the same for y, the singular vectors of Ux^-T Sxy Uy^-1 are
    the canonical directions (SPEC S19). They are found from its Gram matrix of the narrower side.
    Directions whose correlation is rounding alone are left out. With ``consume`` the last regularisation works in the
    memory of the sums, which are then worth nothing; else it takes that much more.

    Raises
    ------
    ValueError
        If a side cannot be inverted; it is named, with the column.
    """
    if len(x.products) < len(y.products):
        for solution in solve(y, xy.T, x, regularizations, k, consume):
            yield Solution(solution.correlations, solution.y_weights, solution.x_weights)
        return
    k = min(k, len(y.products))
    for i, eta in enumerate(regularizations, 1):
        in_place = consume and i == len(regularizations)
        x_factor, y_factor = _factor(x, eta), _factor(y, eta)
        # Transposed, because LAPACK works by columns: Uy^-T Syx Ux^-1.
        coupling = dtrsm(1.0, x_factor, xy.T, side=1, overwrite_b=in_place)
        coupling = dtrsm(1.0, y_factor, coupling, trans_a=1, overwrite_b=1)
        b = len(coupling)
        # The factor beside the sum of y keeps its triangle: neither product nor solver touches it.
        room = y.products.upper.T if in_place else np.empty((b, b), order="F")
        gram = dsyrk(1.0, coupling, c=room, lower=1, overwrite_c=1)
        squares, right = scipy.linalg.eigh(gram, subset_by_index=[b - k, b - 1], overwrite_a=True, check_finite=False)
        correlations = np.sqrt(np.maximum(squares[::-1], 0))
        correlations = correlations[correlations > correlations[0] * np.sqrt(b * np.finfo(float).eps)]
        right = right[:, ::-1][:, : len(correlations)]
        left = ((coupling.T @ right) / correlations).T
        x_weights = dtrsm(1.0, x_factor, left, side=1, trans_a=1, overwrite_b=1).T
        y_weights = dtrsm(1.0, y_factor, right)
        yield Solution(np.minimum(correlations, 1), x_weights, y_weights)


def _factor(side: Side, eta: float) -> NDArray[Any]:
    try:
        return side.products.factor(eta * side.largest)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"column {error.args[0]} of {side.name} is constant or a combination of other columns, "
            f"and regularization={eta:g} is too small to tell them apart: raise it"
        ) from None
