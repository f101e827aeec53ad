"""What a fuzz target is, and the rule that all of them are held to."""

from __future__ import annotations

import resource
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LONGEST", "MOST_MEMORY", "Finding", "Target", "bundle", "check", "file_as", "files_as", "unbundled"]

MOST_MEMORY = 1 << 30  # bytes that reading one small file may add to the process
LONGEST = 10.0  # seconds that reading one small file may take

_BETWEEN = b"\n=====8<=====\n"  # between the files of a folder that is one input


class Finding(AssertionError):  # noqa: N818, it is no error of ours
    """The rule is broken; the text says how."""


@dataclass(frozen=True)
class Target:
    """One kind of file or folder, and the code that reads it.

    Attributes
    ----------
    seeds : callable
        Gives valid inputs, made by the project's own writers, to start from.
    place : callable
        Writes an input below an empty folder, and gives the path to read.
    read : callable
        What is tested.
    tokens : tuple of bytes
        Words of the format.
    most_memory : int
        Bytes that one reading may add to the process.
    """

    seeds: Callable[[], list[bytes]]
    place: Callable[[Path, bytes], Path]
    read: Callable[[Path], object]
    tokens: tuple[bytes, ...] = ()
    most_memory: int = MOST_MEMORY


def check(target: Target, data: bytes, folder: Path) -> None:
    """Read an input by a target: it must give a result, or an error of one line that names the file.

    Raises
    ------
    Finding
        If the error is of another kind, or memory is not in proportion. How long it takes `fuzz.engine` sees.
    Exception
        Any other that the code under test lets through.
    """
    work = folder / "case"
    shutil.rmtree(work, ignore_errors=True)  # new files: an old one may still be mapped
    work.mkdir()
    path = target.place(work, data)
    before = _peak_memory()
    try:
        with warnings.catch_warnings(action="ignore"):
            target.read(path)
    except (ValueError, OSError) as error:
        _judge(error, path)
    memory = _peak_memory() - before
    if memory > target.most_memory:
        raise Finding(f"it took {memory / 2**20:.0f} MiB of memory")


def _judge(error: Exception, path: Path) -> None:
    text = str(error)
    if str(path) not in text:
        raise Finding(f"the error does not name the file: {text[:300]!r}") from error
    if len(text.splitlines()) != 1 or len(text) > 2000:
        raise Finding(f"the error is not one short line: {text[:2000]!r}") from error
    cause: BaseException | None = error
    while cause is not None:
        # FFmpeg's has a number: it refuses a size by itself, before it asks the system for it.
        if isinstance(cause, MemoryError) and not hasattr(cause, "errno"):
            raise Finding("it asked for more memory than there is") from error
        cause = cause.__cause__ or cause.__context__


def _peak_memory() -> int:
    """Bytes that this process has ever held at once."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# -- inputs as files -------------------------------------------------------------------------------


def file_as(name: str) -> Callable[[Path, bytes], Path]:
    """A placer of inputs that are one file of this name."""

    def place(folder: Path, data: bytes) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return place


def files_as(*names: str) -> Callable[[Path, bytes], Path]:
    """A placer of inputs that are the files of one folder."""

    def place(folder: Path, data: bytes) -> Path:
        for name, content in unbundled(data, names).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder

    return place


def bundle(folder: Path, *names: str) -> bytes:
    """The files of a folder as one input."""
    return _BETWEEN.join((folder / name).read_bytes() for name in names)


def unbundled(data: bytes, names: tuple[str, ...]) -> dict[str, bytes]:
    """What `bundle` put together; files without a part are missing."""
    return dict(zip(names, data.split(_BETWEEN, len(names) - 1), strict=False))
