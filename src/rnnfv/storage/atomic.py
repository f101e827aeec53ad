"""Atomic writing: a file or a folder is seen whole, or not at all."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnnfv.storage.remote import as_path, is_remote, upload_file, upload_folder

__all__ = ["atomic_file", "atomic_folder", "move_file", "remove_folder"]

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the same folder to write to; put it in place when the block ends well.

    Where the block raises, the temporary file is removed and what was at ``path`` stays as it was.

    Parameters
    ----------
    path : str or Path
        The file to write; its folder is made where missing. A symbolic link is followed.

    Yields
    ------
    Path
        Where to write. It begins with a dot, so that readers of the folder pass it by.

    Raises
    ------
    IsADirectoryError
        If there is a folder at ``path``.
    """
    path = as_path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give a file")
    if is_remote(path):
        with upload_file(path) as temporary:
            yield temporary
        return
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(target)
    try:
        yield temporary
        _sync(temporary)
        move_file(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Give a temporary folder to fill; put it in the place of ``path`` when the block ends well.

    Where the block raises, the temporary folder is removed and what was at ``path`` stays as it was.
    On Linux an old folder and the new one change places in one step; elsewhere the old one is moved
    aside first, and back again if the new one cannot be moved in.

    Parameters
    ----------
    path : str or Path
        The folder to write. What it held before is deleted. A symbolic link is followed.
    """
    path = as_path(path)
    if is_remote(path):
        with upload_folder(path) as temporary:
            yield temporary
        return
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_name(target)
    temporary.mkdir()
    try:
        yield temporary
        for file in [*temporary.iterdir(), temporary]:
            _sync(file)
        _put_folder(temporary, target)
        _sync(target.parent)
    finally:
        # After an exchange this is the old folder.
        shutil.rmtree(temporary, ignore_errors=True)


def move_file(source: Path, target: Path) -> None:
    """Rename a file over another one of the same disk, and make the new name last through a power cut."""
    if is_remote(target):
        remote_source: Any = source
        remote: Any = target
        remote.fs.mv(remote_source.path, remote.path)
        return
    source.replace(target)
    _sync(target.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder with all that is in it, where there is one."""
    if not is_remote(path):
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        remote: Any = path
        remote.fs.rm(remote.path, recursive=True)


def _put_folder(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.rename(target)
    elif not _exchange(temporary, target):
        aside = _temporary_name(target)
        target.rename(aside)
        try:
            temporary.rename(target)
        except BaseException:
            aside.rename(target)
            raise
        shutil.rmtree(aside)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False where the system or the disk cannot."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    return (
        rename is not None and rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
    )


def _temporary_name(target: Path) -> Path:
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name != "posix":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
