"""Which file it is, whatever folder it is in."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["file_identity"]


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
