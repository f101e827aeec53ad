"""Decision values, a column for every class."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["by_class"]


def by_class(values: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """What `decision_function` gives, with two columns where it gives one number for two classes.

    Parameters
    ----------
    values : ndarray of shape (n, C), or (n,) for two classes

    Returns
    -------
    ndarray of shape (n, C)
        Of two classes, one column is the other's negative.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv.recipes._scores import by_class
    >>> by_class(np.array([0.5, -2.0])).tolist()
    [[-0.5, 0.5], [2.0, -2.0]]
    """
    return values if values.ndim == 2 else np.column_stack([-values, values])
