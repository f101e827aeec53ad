"""Atomic writing: a file or a folder is seen whole, or not at all, and is written by one program at a time."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from rnnfv.storage.remote import as_path, is_remote, upload_file, upload_folder

if sys.platform != "win32":
    import fcntl

__all__ = ["atomic_file", "atomic_folder", "move_file", "one_writer", "remove_folder"]

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
_FULL = {errno.ENOSPC, errno.EDQUOT}
_OF_A_DISK = {errno.EROFS, errno.EIO}  # no connection, for one, fails with these
_NO_LOCKS = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary path in the same folder to write to; put it in place when the block ends well.

    Where the block raises, the temporary file is removed and what was at ``path`` stays as it was. What a program that
    was killed has left is taken over by the next one that writes to ``path``.

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
    BlockingIOError
        If another program is writing to ``path``.
    OSError
        If it cannot be written, such as when the disk is full; the message names ``path``.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rnnfv.storage import atomic_file
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "notes.txt"
    >>> with atomic_file(path) as temporary:
    ...     _ = temporary.write_text("all of it")
    ...     path.exists()
    False
    >>> path.read_text()
    'all of it'
    """
    path = as_path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give a file")
    if is_remote(path):
        with upload_file(path) as temporary:
            yield temporary
        return
    target = Path(os.path.realpath(path))
    with _telling_of(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary, hold = _claim(target)
        try:
            yield temporary
            _sync(temporary)
            move_file(temporary, target)
        finally:
            # Once it is in place, the name may be another writer's.
            if hold is None or _is_at(temporary, hold):
                temporary.unlink(missing_ok=True)
            if hold is not None:
                os.close(hold)


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

    Raises
    ------
    BlockingIOError
        If another program is writing to ``path``.
    OSError
        If it cannot be written, such as when the disk is full; the message names ``path``.
    """
    path = as_path(path)
    if is_remote(path):
        with upload_folder(path) as temporary:
            yield temporary
        return
    target = Path(os.path.realpath(path))
    with _telling_of(target), one_writer(target.with_name(f".{target.name}.lock"), target):
        _tidy(target)
        temporary = _temporary(target)
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


@contextmanager
def one_writer(lock: Path, what: Path) -> Iterator[None]:
    """Keep other programs from writing to the same output while the block runs.

    The system frees the lock of a program that ends in any way, so that a crash leaves none behind.

    Parameters
    ----------
    lock : Path
        The file that stands for the lock. Its folder is made where missing; the file is removed at the end.
    what : Path
        What is written to, in the message.

    Raises
    ------
    BlockingIOError
        If another program holds the lock.
    """
    if is_remote(lock):  # a store has no locks
        yield
        return
    held = FileLock(lock)
    try:
        with _telling_of(what):
            lock.parent.mkdir(parents=True, exist_ok=True)
            held.acquire(timeout=0)
    except Timeout as error:
        raise _busy(what) from error
    try:
        yield
    finally:
        # While it is held: who has opened this file and waits sees that it is gone, and starts over. Windows
        # removes it when it is let go.
        with contextlib.suppress(OSError):
            lock.unlink()
        held.release()


@contextmanager
def _telling_of(target: Path) -> Iterator[None]:
    """Errors of writing to a file, or to a folder, name it in one line, and say when the disk is full."""
    try:
        yield
    except OSError as error:
        if error.strerror is None or not _is_of_writing(target, error):
            raise  # it says enough by itself, or is of a file that was to be read
        why = "the disk is full; make room, then start again" if error.errno in _FULL else error.strerror
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            why = f"{error.filename} is not a folder"
        told = type(error)(f"{target} cannot be written: {why}")
        told.errno = error.errno
        raise told from error


def move_file(source: Path, target: Path) -> None:
    """Rename a file over another one of the same disk, and make the new name last through a power cut."""
    if is_remote(target):
        remote: Any = target
        remote.fs.mv(str(source), str(target))
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


# -- temporary files -------------------------------------------------------------------------------


def _temporary(target: Path) -> Path:
    """Always the same name, so that there is at most one, however often programs are killed."""
    return target.with_name(f".{target.name}.rnnfv.tmp")


def _claim(target: Path) -> tuple[Path, int | None]:
    """An empty file beside the target that no other program has, and what holds it: a descriptor with a lock.

    Where there are no locks (Windows, some network disks) it has a random name, and nothing holds it.
    """
    while sys.platform != "win32":
        temporary = _temporary(target)
        hold = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(hold, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(temporary, hold):
                os.ftruncate(hold, 0)
                return temporary, hold
        except OSError as error:
            os.close(hold)
            if isinstance(error, BlockingIOError):
                raise _busy(target) from error
            if error.errno not in _NO_LOCKS:
                raise
            temporary.unlink(missing_ok=True)
            break
        os.close(hold)  # meanwhile another program has put it in place: begin again
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp"), None


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one of that name."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _busy(what: Path) -> BlockingIOError:
    return BlockingIOError(f"another program is writing to {what}: try again when it is done")


def _is_of_writing(target: Path, error: OSError) -> bool:
    """Whether an error's file is the target, one on the way to it, or a temporary one of it. Where it has none, it is
    of the disk, or something else."""
    if error.errno in _FULL:
        return True
    if error.filename is None or isinstance(error.filename, int):
        return error.errno in _OF_A_DISK
    path = Path(os.fsdecode(error.filename))
    own = path in (target, *target.parents) or path.parent == target
    return own or any(part.lstrip(".").startswith(f"{target.name}.") for part in path.parts)


# -- folders ---------------------------------------------------------------------------------------


def _tidy(target: Path) -> None:
    """Remove what a killed program left beside a folder; an old folder that it moved aside comes back."""
    aside = _aside(target)
    if aside.exists() and not target.exists():
        aside.rename(target)
    for path in (aside, _temporary(target)):
        if path.exists():
            shutil.rmtree(path)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old.tmp")


def _put_folder(temporary: Path, target: Path) -> None:
    if not target.exists():
        temporary.rename(target)
    elif not _exchange(temporary, target):
        aside = _aside(target)
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


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name != "posix":
        return  # Windows opens no folders
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
