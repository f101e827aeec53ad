"""One writer at a time in a folder. The system frees the lock when a process ends, however it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["one_writer"]

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder while the block runs.

    Parameters
    ----------
    folder : Path
        An existing folder. A file ``.lock`` is left in it; it is empty and may stay.

    Raises
    ------
    BlockingIOError
        If another process, or another thread of this one, holds the lock.
    """
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            _take(descriptor)
        except OSError as error:
            raise BlockingIOError(
                f"{folder} is being written to by another program: try again when it is done"
            ) from error
        yield
    finally:
        os.close(descriptor)
