"""Which file, or which data, it is, whatever folder it is in."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

__all__ = ["data_identity", "file_identity"]


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
