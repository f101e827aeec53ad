"""The probe: how well would a linear classifier do on the vectors of this epoch? (SPEC S10)"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedGroupKFold, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline

from rnnfv.classification import LinearSVM
from rnnfv.normalization import PowerNormalizer


def default_probe() -> Any:
    """Power and L2 normalisation, and the paper's one-vs-all linear SVM with C = 1."""
    return make_pipeline(PowerNormalizer(), LinearSVM())


def validation_split(
    n: int, y: Any, groups: Any, fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of a training and a validation part that share no group.

    Classes are spread evenly over both where that is possible.

    Raises
    ------
    ValueError
        If there are too few sequences or groups to make two parts.
    """
    y = None if y is None else np.asarray(y)
    few = "sequences" if n < 2 else "groups" if groups is not None and len(np.unique(groups)) < 2 else None
    if few is not None:
        raise ValueError(f"a validation part needs at least two {few}: give more, or pass early_stopping=None")
    if groups is None and (y is None or np.unique(y, return_counts=True)[1].min() < 2):
        splitter: Any = ShuffleSplit(1, test_size=fraction, random_state=seed)
    elif groups is None:
        splitter = StratifiedShuffleSplit(1, test_size=max(fraction, len(np.unique(y)) / n), random_state=seed)
    elif y is None:
        splitter = GroupShuffleSplit(1, test_size=fraction, random_state=seed)
    else:
        largest = int(np.unique(y, return_counts=True)[1].max())
        folds = max(2, min(round(1 / fraction), len(np.unique(groups)), largest))
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    train, validation = next(iter(splitter.split(np.zeros(n), y, groups)))
    return train, validation
