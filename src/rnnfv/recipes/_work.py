"""What of a long job is done already, kept in a folder beside its output until all of it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from rnnfv import __version__
from rnnfv.processes import join, place
from rnnfv.recipes._job import read_json, write_json
from rnnfv.storage import (
    ModelFolderError,
    as_path,
    check_same_job,
    ends_identity,
    file_identity,
    is_remote,
    load,
    one_writer,
    parse_checkpoint,
    save,
    write_checkpoint,
)

__all__ = ["NO_WORK", "Work", "job_of", "open_work"]

_RECORD = "job.json"  # of which job the folder is
_LARGE = 1 << 26  # bytes from which on a file is not read as a whole to know it again

T = TypeVar("T")


@dataclass(frozen=True)
class Work:
    """Finished stages of a job, by name. What was finished before a stop is read, the rest is made and kept.

    Where processes train together all of them ask for the same stages; only the first one writes.

    Parameters
    ----------
    folder : Path or None
        None keeps nothing.
    ends_others : bool
        Whether the first process goes on alone when there is nothing to train together any more, as in a command.
    """

    folder: Path | None
    ends_others: bool = False

    def part(self, name: str) -> Work:
        """A part of the job, whose stages have names of their own."""
        return replace(self, folder=None if self.folder is None else self.folder / quote(name, safe=""))

    def found(self, name: str) -> Any:
        """The figures kept under this name; None where there are none.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        if self.folder is None:
            return None
        path = self._figures_file(name)
        data = join().from_first(lambda: path.read_bytes() if path.exists() else None)
        if data is None:
            return None
        record = parse_checkpoint(data, path)[1]
        if not isinstance(record, dict) or "figures" not in record:
            raise ValueError(f"{path} holds no figures: delete it to have them made anew")
        return record["figures"]

    def keep(self, name: str, figures: Any) -> None:
        """Keep plain JSON values, and delete the part of the same name, which led to them."""
        if self.folder is None or place()[0] > 0:
            return
        write_checkpoint(self._figures_file(name), {}, {"figures": figures})
        part = self.part(name).folder
        if part is not None and part.exists():
            shutil.rmtree(part)

    def figures(self, name: str, make: Callable[[Work], T]) -> T:
        """Plain JSON values: those that are kept, or those that the function makes, given the part of this name."""
        value: T | None = self.found(name)
        if value is not None:
            return value
        made = make(self.part(name))
        made = join().from_first(lambda: made)  # all processes must choose alike by it
        self.keep(name, made)
        return made

    def estimator(self, name: str, make: Callable[[], T]) -> T:
        """A fitted estimator: the one that is kept, or the one that the function makes."""
        if self.folder is None:
            return make()
        path = self.folder / quote(name, safe="")
        if path.exists():
            try:
                kept: T = load(path)
                return kept
            except ModelFolderError as error:
                raise ValueError(f"{path} is damaged: delete it to fit that part anew") from error
        made = make()
        if place()[0] == 0:
            save(made, path)
        return made

    def checkpoint(self, name: str) -> Path | None:
        """Where the training of a net is kept."""
        return None if self.folder is None else self.folder / f"{quote(name, safe='')}.checkpoint"

    def leave_unless_first(self) -> None:
        """From here on nothing is trained together: where one goes on, end this process well unless it is the first."""
        if self.ends_others and place()[0] > 0:
            raise SystemExit(0)

    def _figures_file(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{quote(name, safe='')}.figures"


NO_WORK = Work(None)


@contextmanager
def open_work(output: Path | None, job: dict[str, Any]) -> Iterator[Work]:
    """Open the folder of a command's unfinished work, `OUTPUT.unfinished`; delete it when the block ends well.

    Of several processes the first goes on alone when a net is trained (`Work.leave_unless_first`), kept or not.

    Parameters
    ----------
    output : Path, optional
        What the job writes at its end. Nothing is kept for None, nor on an object store.
    job : dict
        As `job_of` gives it.

    Raises
    ------
    ValueError
        If the folder holds another job's work.
    BlockingIOError
        If another program is at it.
    """
    if output is None or is_remote(as_path(output)):
        yield Work(None, ends_others=True)
        return
    folder = Path(f"{output.resolve()}.unfinished")
    if place()[0] > 0:
        yield Work(folder, ends_others=True)
        return
    with one_writer(folder / ".lock", output):
        _check_job(folder, job)
        yield Work(folder, ends_others=True)
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in (".lock", _RECORD):
                path.unlink()
        (folder / _RECORD).unlink()  # last: without it, what a kill left would be a stranger's
    with suppress(OSError):  # another program may have begun here since the lock was let go
        folder.rmdir()


def job_of(command: str, settings: dict[str, Any], files: Mapping[str, Path | None]) -> dict[str, Any]:
    """What tells a job from others, in plain JSON values.

    Parameters
    ----------
    command : str
    settings : dict
        All options that decide the result.
    files : dict
        Files, and folders of files, by their role; large and remote files are known by their size and both ends.
    """
    known = {role: _identity(as_path(path)) for role, path in files.items() if path is not None}
    job = {"format": "rnnfv-work", "format_version": 1, "command": command, "rnnfv": __version__, **settings, **known}
    plain: dict[str, Any] = json.loads(json.dumps(job, default=str))
    return plain


def _identity(path: Path) -> list[Any]:
    if path.is_dir():
        return [[str(file.relative_to(path)), *_identity(file)] for file in sorted(path.rglob("*")) if file.is_file()]
    size = path.stat().st_size
    whole = size <= _LARGE and not is_remote(path)
    return [size, file_identity(path)["sha256"]] if whole else ends_identity(path)


def _check_job(folder: Path, job: dict[str, Any]) -> None:
    """Note which job it is, or see that it is the same."""
    record = folder / _RECORD
    found = read_json(record)
    if found is None:
        strangers = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
        if strangers:
            raise ValueError(f"{folder} holds files that are not of this job ({strangers[0]}): move them away")
        write_json(record, job)
    else:
        of_another = f"{folder} holds the unfinished work of another job"
        check_same_job(found, job, of_another, "delete that folder, or give another output")
