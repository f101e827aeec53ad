"""Figures that say how good a representation is."""

from __future__ import annotations

from typing import Any

import numpy as np


def mean_accuracy(accuracies: Any) -> tuple[float, float]:
    """Mean over splits of the mean over seeds, and the standard deviation over seeds of the mean over splits.

    Parameters
    ----------
    accuracies : array-like of shape (splits, seeds)

    Returns
    -------
    mean : float
    std : float
        0 for a single seed.

    Examples
    --------
    >>> mean_accuracy([[80.0, 82.0], [90.0, 92.0]])
    (86.0, 1.0)
    """
    per_seed = np.asarray(accuracies, dtype=np.float64).mean(axis=0)
    return float(per_seed.mean()), float(per_seed.std())
