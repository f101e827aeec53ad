"""The folder of a whole chain: its estimators, the files of its backbone, and a record that tells of both."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from rnnfv import __version__
from rnnfv.recipes._job import read_json, write_json
from rnnfv.storage import (
    MODEL_FILES,
    ModelFolderError,
    as_path,
    atomic_file,
    atomic_folder,
    file_identity,
    is_remote,
    load,
    local_copy,
    model_checksum,
    save,
)

__all__ = ["ChainFolder"]

_FORMAT_VERSION = 1
_BACKBONE = "backbone"
_GIVE_NEW = "give a new or an empty folder"


@dataclass(frozen=True)
class ChainFolder:
    """One kind of folder, such as that of an action recogniser.

    Attributes
    ----------
    noun : str
        What it holds, in messages.
    command : str
        The command that writes it.
    record : str
        Name of the record; without its suffix it names the format.
    parts : dict of str to type
        The estimators, each in a model folder of that name, and their classes.
    """

    noun: str
    command: str
    record: str
    parts: dict[str, type]

    @property
    def _format(self) -> str:
        return f"rnnfv-{Path(self.record).stem}"

    @property
    def files(self) -> tuple[str, ...]:
        """The files that can be in it; * is any one name."""
        return (self.record, *(f"{part}/{file}" for part in self.parts for file in MODEL_FILES), f"{_BACKBONE}/*")

    def write(
        self,
        folder: Path,
        estimators: dict[str, Any],
        note: dict[str, Any],
        files: dict[str, tuple[Path, str]] | None = None,
    ) -> None:
        """Write the folder, which appears whole or not at all.

        Parameters
        ----------
        folder : Path
        estimators : dict
            By the names of ``parts``.
        note : dict
            Plain JSON values.
        files : dict of (Path, str), optional
            By role, the files to copy to ``backbone/``, and their names there.
        """
        folder = as_path(folder)
        self.check_replaceable(folder)
        with atomic_folder(folder) as new:
            for name, estimator in estimators.items():
                save(estimator, new / name)
            copies = {role: _copy(source, new / _BACKBONE / name) for role, (source, name) in (files or {}).items()}
            record = {
                "format": self._format,
                "format_version": _FORMAT_VERSION,
                "rnnfv": __version__,
                **note,
                **{name: model_checksum(new / name) for name in estimators},
                "files": copies,
            }
            write_json(new / self.record, {**record, "checksum": _checksum(record)})

    def read(self, folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Path]]:
        """The estimators, the note (with more in it) and the copied files by role.

        Raises
        ------
        ModelFolderError
            If the folder is missing, damaged, changed, of another kind, or of a newer format.
        """
        folder = local_copy(as_path(folder))
        record = self._read_record(folder)
        estimators = {}
        for name, kind in self.parts.items():
            self._refuse_link(folder, name)
            estimators[name] = load(folder / name)
            if model_checksum(folder / name) != record.get(name) or not isinstance(estimators[name], kind):
                self.fail(folder, f"{name} is not the one that {self.record} tells of")
        return estimators, record, {role: self._own_file(folder, entry) for role, entry in _files(record).items()}

    def check_replaceable(self, folder: str | Path) -> None:
        """Refuse to write over anything but an empty folder or another of this kind.

        Raises
        ------
        ModelFolderError
            Naming what is in the way.
        """
        folder = as_path(folder)
        if folder.is_dir():
            record = read_json(folder / self.record)
            ours = set()
            if isinstance(record, dict) and record.get("format") == self._format:
                ours = {self.record} | {f"{_BACKBONE}/{entry['file']}" for entry in _files(record).values()}
                ours |= {f"{name}/{file}" for name in self.parts for file in MODEL_FILES}
            there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
            strangers = there - ours
            if strangers:
                self.fail(folder, f"{self.noun} would replace what is there ({min(strangers)})", _GIVE_NEW)
        elif is_remote(folder):
            return  # a store has no folders, and nothing is in the way of one
        elif folder.exists() or folder.is_symlink() or any(parent.is_file() for parent in folder.parents):
            self.fail(folder, "it is not a folder, or not in one", _GIVE_NEW)

    def fail(self, folder: Path, what: str, remedy: str | None = None, cause: Exception | None = None) -> NoReturn:
        """Raise a ModelFolderError of one line."""
        remedy = remedy or "the folder is damaged or was changed: fit it again"
        raise ModelFolderError(" ".join(f"{folder}: {what}; {remedy}".split())) from cause

    def _read_record(self, folder: Path) -> dict[str, Any]:
        give_ours = f"give a folder that `{self.command}` wrote"
        if not (folder / self.record).is_file():
            self.fail(folder, f"it has no file {self.record}", give_ours)
        self._refuse_link(folder, self.record)
        record = read_json(folder / self.record)
        if record is None:
            self.fail(folder, f"{self.record} is not JSON")
        if not isinstance(record, dict) or record.get("format") != self._format:
            self.fail(folder, f"it is not {self.noun} of rnnfv", give_ours)
        version = record.get("format_version")
        if type(version) is int and version > _FORMAT_VERSION:
            wrote = f"rnnfv {record.get('rnnfv')} wrote it in format {version}"
            self.fail(folder, f"{wrote}, but this rnnfv reads up to {_FORMAT_VERSION}", "install that or a newer rnnfv")
        if version != _FORMAT_VERSION or record.pop("checksum", None) != _checksum(record):
            self.fail(folder, f"the checksum of {self.record} is wrong")
        return record

    def _refuse_link(self, folder: Path, name: str) -> None:
        if (folder / name).resolve() != folder.resolve() / name:
            self.fail(folder, f"{name} is a link", "copy what it leads to into the folder")

    def _own_file(self, folder: Path, entry: dict[str, str]) -> Path:
        """The path of a copied file, whose content is checked. A name or a link that leads elsewhere is refused."""
        path = folder / _BACKBONE / entry["file"]
        if "\0" in entry["file"] or path.resolve().parent != folder.resolve() / _BACKBONE or not path.is_file():
            self.fail(folder, f"it has no file {_BACKBONE}/{entry['file']}")
        if file_identity(path)["sha256"] != entry.get("sha256"):
            self.fail(folder, f"the checksum of {_BACKBONE}/{path.name} is wrong")
        return path


def _files(record: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The entries of copied files; those that are none are passed by."""
    files = record.get("files")
    entries = files.items() if isinstance(files, dict) else ()
    return {role: entry for role, entry in entries if isinstance(entry, dict) and isinstance(entry.get("file"), str)}


def _copy(source: Path, target: Path) -> dict[str, str]:
    with atomic_file(target) as temporary:
        shutil.copyfile(source, temporary)
    return file_identity(target)


def _checksum(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode("ascii")).hexdigest()
