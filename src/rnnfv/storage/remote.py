"""Paths on object stores and other remote file systems, such as s3://bucket/folder, by way of fsspec."""

from __future__ import annotations

import atexit
import functools
import io
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rnnfv.extras import how_to_install

__all__ = ["as_path", "is_remote", "local_copy", "opened", "upload_file", "upload_folder"]

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(.+?)/*")  # two letters or more: C:/ is a disk of Windows
_OF_THIS_MACHINE = re.compile(r"(?:file|local):(?://(?=/))?(/.*)")
# What goes to the store: of a file system, and of a file that it has opened.
_CALLS = (
    *("cat_file", "created", "exists", "find", "get", "get_file", "glob", "info", "isdir", "isfile", "ls", "makedirs"),
    *("mkdir", "modified", "mv", "open", "pipe_file", "put", "put_file", "rm", "rm_file", "touch", "walk"),
)
_CALLS_OF_FILE = ("read", "readinto", "write", "flush", "close")
_CLEAR = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)


def as_path(path: str | Path) -> Path:
    """A path of this machine, or of a remote file system where it is a URL.

    Parameters
    ----------
    path : str or Path
        Such as "features", "s3://bucket/features", "gs://...", "hf://datasets/...". A Path that was made of a URL is
        read as that URL. Where a store is, and with which rights it is entered, its own library finds in the
        environment and its own files, such as AWS_ENDPOINT_URL and AWS_ACCESS_KEY_ID. "file:///a" is "/a".

    Returns
    -------
    Path or upath.UPath
        The latter has the methods of the former; whatever fails in it, in the store's library, too, is an OSError.

    Raises
    ------
    ImportError
        If the library for that kind of URL is not installed.
    OSError
        If the store's library finds no way to enter.
    ValueError
        If there is no such kind of URL.

    Examples
    --------
    >>> from rnnfv.storage.remote import as_path, is_remote
    >>> as_path("features").name, is_remote(as_path("features"))
    ('features', False)
    """
    if is_remote(path):
        made: Any = path
        _tell_failures(made.fs)  # in another process the file system is made anew
        return made
    if here := _OF_THIS_MACHINE.fullmatch(str(path)):
        return Path(here.group(1))
    url = _URL.fullmatch(str(path))
    if url is None:
        return Path(path)
    scheme, rest = url.groups()
    try:
        from upath import UPath

        # Listings are not kept: other machines write, too.
        made = UPath(f"{scheme}://{rest}", use_listings_cache=False)
        _tell_failures(made.fs)  # imports what the scheme needs
    except ImportError as error:
        raise ImportError(
            f"{scheme}://{rest} needs more packages ({error}): {how_to_install('remote')}, or that of its scheme"
        ) from error
    except ValueError as error:
        raise ValueError(f"{scheme}://{rest} cannot be opened: {error}") from None
    except Exception as error:
        raise _told(error, f"{scheme}://{rest}") from error
    return made


def is_remote(path: Any) -> bool:
    """Whether it is a remote path, as `as_path` makes it."""
    return not isinstance(path, (str, Path))


def opened(path: Path, *, whole: bool = False) -> Any:
    """What Arrow reads: the path itself; of a remote file its content, or where that is not needed as a whole, a file
    of which only the parts are fetched that are asked for."""
    if not is_remote(path):
        return path
    file: IO[bytes] = io.BytesIO(path.read_bytes()) if whole else path.open("rb")
    return file


def local_copy(path: Path) -> Path:
    """The path itself; of a remote file or folder a copy on this machine, which ends with the process.

    Raises
    ------
    FileNotFoundError
        If there is no such remote file or folder.
    """
    if not is_remote(path):
        return path
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    folder = tempfile.mkdtemp(prefix="rnnfv-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    copy = Path(folder) / path.name
    remote: Any = path
    remote.fs.get(remote.path, str(copy), recursive=path.is_dir())
    return copy


@contextmanager
def upload_file(path: Path) -> Iterator[Path]:
    """Give a local path to write to; upload the file, which is seen whole or not at all, when the block ends well."""
    with tempfile.TemporaryDirectory(prefix="rnnfv-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        _put(temporary, path)


@contextmanager
def upload_folder(path: Path) -> Iterator[Path]:
    """Give a local folder to fill; upload it when the block ends well, the files that tell of others behind those.

    A store has no way to replace a folder in one step. While one is uploaded over another, who reads it finds
    checksums that do not fit.
    """
    with tempfile.TemporaryDirectory(prefix="rnnfv-") as folder:
        temporary = Path(folder) / path.name
        temporary.mkdir()
        yield temporary
        files = [file.relative_to(temporary) for file in temporary.rglob("*") if file.is_file()]
        old = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()}
        for file in sorted(files, key=lambda file: (-len(file.parts), file.suffix == ".json", file)):
            _put(temporary / file, path / file.as_posix())
        for name in old - {file.as_posix() for file in files}:
            (path / name).unlink()


def _put(source: Path, target: Any) -> None:
    target.fs.put_file(str(source), target.path)


# -- what a store's library raises -----------------------------------------------------------------


def _tell_failures(fs: Any) -> None:
    """Let every call of a file system fail with an OSError that names the URL: libraries have errors of their own."""
    if getattr(fs, "_rnnfv_tells", False):
        return
    fs._rnnfv_tells = True
    for name in _CALLS:
        if hasattr(fs, name):
            setattr(fs, name, _telling(getattr(fs, name), name, fs))


def _telling(call: Callable[..., Any], name: str, fs: Any, url: str | None = None) -> Callable[..., Any]:
    @functools.wraps(call)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            result = call(*args, **kwargs)
        except Exception as error:
            of = url or _url_of(fs, name, args)
            if not _is_own(error, of):
                raise
            raise _told(error, of) from error
        if name == "open":
            for part in _CALLS_OF_FILE:
                if hasattr(result, part):
                    setattr(result, part, _telling(getattr(result, part), part, fs, _url_of(fs, name, args)))
        return result

    return told


def _url_of(fs: Any, call: str, args: tuple[Any, ...]) -> str:
    """The remote one of a call's paths."""
    paths = args[1:] if call in ("put", "put_file") else args
    return str(fs.unstrip_protocol(paths[0])) if paths and isinstance(paths[0], str) else "the remote path"


def _is_own(error: Exception, url: str) -> bool:
    """Whether it is an error of a store's library, or one that does not say what it is about."""
    if isinstance(error, OSError):
        return not isinstance(error, _CLEAR) and url not in str(error)
    return type(error).__module__ != "builtins"


def _told(error: Exception, url: str) -> OSError:
    kind = type(error) if isinstance(error, OSError) and type(error).__module__ == "builtins" else OSError
    why = " ".join(str(error).split())[:200] or type(error).__name__
    return kind(f"{url} cannot be reached: {why}")
