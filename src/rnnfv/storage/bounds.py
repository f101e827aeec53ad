"""What a file says of its own size, against what it is: no few bytes may ask for gigabytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["one_line", "refuse_inflated", "text_array"]

_FREE = 1 << 26  # bytes that anything may take
_MOST_INFLATED = 100  # times: vectors of a net, half of them zeros, shrink to a tenth; a bomb, to a thousandth
_SHOWN = 40  # characters of a text in a message
_LINE = 200  # of what a library says


def one_line(error: Exception) -> str:
    """What an error of a library says, in one line of at most 200 characters."""
    return " ".join(str(error).split())[:_LINE]


def refuse_inflated(where: str, declared: int, actual: int) -> None:
    """Refuse a file that says it holds over 100 times its own size, beyond 64 MiB.

    Parameters
    ----------
    where : str
        The file, for the message.
    declared : int
        Bytes of memory for what it says it holds.
    actual : int
        Bytes of the file.

    Raises
    ------
    ValueError
        Naming both sizes.

    Examples
    --------
    >>> refuse_inflated("feats.mat", 1 << 40, 5000)
    Traceback (most recent call last):
        ...
    ValueError: feats.mat says it holds 1,048,576 MiB, but has 5,000 bytes: it is damaged, or write it uncompressed
    """
    if declared > max(_FREE, _MOST_INFLATED * actual):
        raise ValueError(
            f"{where} says it holds {declared >> 20:,} MiB, but has {actual:,} bytes: "
            "it is damaged, or write it uncompressed"
        )


def text_array(where: str, values: Sequence[str], width: int = 0) -> NDArray[np.str_]:
    """Strings as an array, in which every one takes the room of the longest.

    Parameters
    ----------
    where : str
        Where they come from, for the message.
    values : sequence of str, n of them
    width : int
        Characters of the array's dtype, if that is to be more than the longest has.

    Returns
    -------
    ndarray of shape (n,), str

    Raises
    ------
    ValueError
        If a string is so much longer than most that the array would take over 64 MiB and over 100 times their size,
        or ends with a NUL character, which the array would lose.

    Examples
    --------
    >>> text_array("labels.csv", ["run", "walk"])
    array(['run', 'walk'], dtype='<U4')
    """
    longest = max(values, key=len, default="")
    width = max(width, len(longest))
    if len(values) * width * 4 > max(_FREE, 4 * _MOST_INFLATED * sum(map(len, values))):
        raise ValueError(
            f"{where}: {longest[:_SHOWN]!r}... has {len(longest):,} characters, far more than the others: shorten it"
        )
    for value in values:
        if value.endswith("\0"):
            raise ValueError(f"{where}: {value[:_SHOWN]!r} ends with a NUL character: remove it")
    kind: Any = f"U{width}" if width else np.str_
    return np.array(values, dtype=kind)
