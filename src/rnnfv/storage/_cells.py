"""Cells: groups of unit vectors that point about the same way, so that a search need look at a few groups only.

The way to find them is spherical k-means (Dhillon and Modha, 2001).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cell_count", "nearest_cell", "train_cells"]

_BLOCK = 8192  # vectors compared with all cells at once
_ROUNDS = 10


def cell_count(n: int) -> int:
    """Twice the root of the number of vectors: choosing cells then costs about as much as looking into some."""
    return max(1, round(2 * n**0.5))


def train_cells(sample: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Find directions around which the sample gathers; the same sample always gives the same directions.

    Parameters
    ----------
    sample : ndarray of shape (m, dim), float32
        Unit vectors, at least ``count`` of them.
    count : int
        How many cells to make.

    Returns
    -------
    ndarray of shape (count, dim), float32
        The cells' directions, of length one. A cell whose vectors cancel each other keeps the direction it had.
    """
    cells = sample[np.random.default_rng(0).choice(len(sample), count, replace=False)].copy()
    for _ in range(_ROUNDS):
        cell, nearness = nearest_cell(sample, cells)
        order = np.argsort(cell, kind="stable")
        taken, first = np.unique(cell[order], return_index=True)
        sums = np.add.reduceat(sample[order], first, axis=0)
        lengths = np.linalg.norm(sums, axis=1)
        cells[taken[lengths > 0]] = (sums / np.maximum(lengths, np.finfo(np.float32).tiny)[:, None])[lengths > 0]
        # A cell without vectors goes to where a vector is served worst.
        empty = np.setdiff1d(np.arange(count), taken)
        cells[empty] = sample[np.argsort(nearness, kind="stable")[: len(empty)]]
    return cells


def nearest_cell(
    vectors: NDArray[np.float32], cells: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The cell of the largest inner product with each vector, and that product; shapes (n,) and (n,)."""
    cell = np.empty(len(vectors), np.int64)
    nearness = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _BLOCK):
        products = vectors[start : start + _BLOCK] @ cells.T
        best = products.argmax(axis=1)
        cell[start : start + _BLOCK] = best
        nearness[start : start + _BLOCK] = products[np.arange(len(best)), best]
    return cell, nearness
