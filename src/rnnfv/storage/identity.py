"""Which file, or which data, it is, whatever folder it is in."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

__all__ = ["check_same_job", "data_identity", "ends_identity", "file_identity"]

_EDGE = 1 << 16  # bytes at each end that tell a file from another of the same size


def file_identity(path: Path) -> dict[str, str]:
    """Name and SHA-256 of a file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    with path.open("rb") as file:
        return {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def ends_identity(path: Path) -> list[Any]:
    """Size, and the SHA-256 of both ends of a file, where to read all of it takes too long.

    Parquet keeps at its end where all its pages lie.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_EDGE))
        file.seek(max(0, size - _EDGE))
        digest.update(file.read(_EDGE))
    return [size, digest.hexdigest()]


def check_same_job(found: Any, wanted: dict[str, Any], of_another: str, way_out: str) -> None:
    """See that what an earlier call left is of the job that is to go on.

    Parameters
    ----------
    found : object
        The record that was left, as it was read; it may be damaged.
    wanted : dict
        The record of the job that is to go on.
    of_another, way_out : str
        What is there and whose it is, and what to do, for the message.

    Raises
    ------
    ValueError
        If the records differ. The message names the entries.

    Examples
    --------
    >>> from rnnfv.storage import check_same_job
    >>> check_same_job({"seed": 1, "epochs": 3}, {"seed": 2, "epochs": 3}, "c.net is of another fit", "delete it")
    Traceback (most recent call last):
    ValueError: c.net is of another fit (other seed): delete it
    """
    if found != wanted:
        entries, nothing = found if isinstance(found, dict) else {}, object()
        other = [name for name in {**entries, **wanted} if entries.get(name, nothing) != wanted.get(name, nothing)]
        raise ValueError(f"{of_another} (other {', '.join(other)}): {way_out}")


def data_identity(value: Any) -> str:
    """A checksum of what is in memory: arrays, mapped from the disk or not, strings, lists, estimators.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv.storage import data_identity
    >>> data_identity([np.ones(3), "run"]) == data_identity([np.ones(3), "run"])
    True
    """
    import joblib

    return str(joblib.hash(value, coerce_mmap=True))
