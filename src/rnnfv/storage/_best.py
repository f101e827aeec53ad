"""The best of many vectors for one query, found piece by piece."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Best"]


class Best:
    """The best rows found so far for one query.

    Single precision finds the candidates; the order is by inner products in double precision, then by position. So
    neither the cut into blocks and segments nor the other queries can change a result.

    Attributes
    ----------
    scores : ndarray of shape (at most top,), float64
        Falling.
    positions : ndarray of int64
        The vectors' positions in the index.
    places : ndarray of shape (at most top, 2), int64
        Where they are: the segment's number in the list of segments, and the row in it.
    """

    def __init__(self, query: NDArray[np.float32], top: int) -> None:
        self.query, self.top = query, top
        self.scores = np.empty(0)
        self.positions, self.places = np.empty(0, np.int64), np.empty((0, 2), np.int64)
        # Twice the bound on the rounding error of a float32 inner product of unit vectors, dim 2^-24.
        self._margin = len(query) * 2.0**-23

    def offer(
        self,
        approximate: NDArray[np.float32],
        rows: NDArray[np.int64],
        vectors: NDArray[np.float32],
        positions: NDArray[np.int64],
        number: int,
    ) -> None:
        """Take in some rows of a segment, the number-th, by their inner products in single precision."""
        floor = self.scores[-1] - self._margin if len(self.scores) == self.top else -np.inf
        near = np.flatnonzero(approximate >= floor)
        if len(near) > self.top:
            kth = np.partition(approximate[near], -self.top)[-self.top]
            near = near[approximate[near] >= kth - 2 * self._margin]
        if len(near) == 0:
            return
        rows = rows[near]
        # Products of float32 are exact in float64, and NumPy adds each row up in the same way, however many there are.
        scores = (vectors[rows] * self.query.astype(np.float64)).sum(axis=1)
        self._merge(scores, positions[rows], np.stack([np.full_like(rows, number), rows], axis=1))

    def _merge(self, scores: NDArray[Any], positions: NDArray[np.int64], places: NDArray[np.int64]) -> None:
        scores, positions = np.concatenate([self.scores, scores]), np.concatenate([self.positions, positions])
        order = np.lexsort([positions, -scores])[: self.top]
        self.scores, self.positions = scores[order], positions[order]
        self.places = np.concatenate([self.places, places])[order]
