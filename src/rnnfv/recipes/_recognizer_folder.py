"""The folder of a recogniser: its pipeline, the files of its backbone, and a record that tells of both."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, NoReturn

from sklearn.pipeline import Pipeline

from rnnfv import __version__
from rnnfv.recipes._job import read_json, write_json
from rnnfv.storage import ModelFolderError, atomic_file, atomic_folder, file_identity, load, model_checksum, save

__all__ = ["check_replaceable", "fail", "read_folder", "write_folder"]

_FORMAT, _FORMAT_VERSION = "rnnfv-action", 1
_RECORD, _PIPELINE, _BACKBONE = "action.json", "recognizer", "backbone"
_OUR_FILES = {_RECORD, f"{_PIPELINE}/config.json", f"{_PIPELINE}/arrays.safetensors"}
_FIT_AGAIN = "the folder is damaged or was changed: fit the recogniser again"
_GIVE_OURS = "give a folder that `rnnfv action fit` wrote"
_GIVE_NEW = "give a new or an empty folder"


def write_folder(folder: Path, pipeline: Pipeline, note: dict[str, Any], files: dict[str, tuple[Path, str]]) -> None:
    """Write the folder, which appears whole or not at all.

    Parameters
    ----------
    folder : Path
    pipeline : Pipeline
    note : dict
        Plain JSON values.
    files : dict of (Path, str)
        By role, the files to copy to ``backbone/``, and their names there.
    """
    check_replaceable(folder)
    with atomic_folder(folder) as new:
        save(pipeline, new / _PIPELINE)
        record = {
            "format": _FORMAT,
            "format_version": _FORMAT_VERSION,
            "rnnfv": __version__,
            **note,
            "recognizer": model_checksum(new / _PIPELINE),
            "files": {role: _copy(source, new / _BACKBONE / name) for role, (source, name) in files.items()},
        }
        write_json(new / _RECORD, {**record, "checksum": _checksum(record)})


def read_folder(folder: Path) -> tuple[Pipeline, dict[str, Any], dict[str, Path]]:
    """The pipeline, the note (with more in it) and the copied files by role.

    Raises
    ------
    ModelFolderError
        If the folder is missing, damaged, changed, of another kind, or of a newer format.
    """
    record = _read_record(folder)
    pipeline = load(folder / _PIPELINE)
    if model_checksum(folder / _PIPELINE) != record.get("recognizer") or not isinstance(pipeline, Pipeline):
        fail(folder, f"{_PIPELINE} is not the one that {_RECORD} tells of")
    return pipeline, record, {role: _own_file(folder, entry) for role, entry in _files(record).items()}


def check_replaceable(folder: str | Path) -> None:
    """Refuse to write a recogniser over anything but an empty folder or another recogniser.

    Raises
    ------
    ModelFolderError
        Naming what is in the way.
    """
    folder = Path(folder)
    if folder.is_dir():
        record = read_json(folder / _RECORD)
        ours = set()
        if isinstance(record, dict) and record.get("format") == _FORMAT:
            ours = _OUR_FILES | {f"{_BACKBONE}/{entry['file']}" for entry in _files(record).values()}
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        strangers = there - ours
        if strangers:
            fail(folder, f"a recogniser would replace what is there ({min(strangers)})", _GIVE_NEW)
    elif folder.exists() or folder.is_symlink():
        fail(folder, "it is not a folder", _GIVE_NEW)


def fail(folder: Path, what: str, remedy: str = _FIT_AGAIN, cause: Exception | None = None) -> NoReturn:
    """Raise a ModelFolderError of one line."""
    raise ModelFolderError(" ".join(f"{folder}: {what}; {remedy}".split())) from cause


def _read_record(folder: Path) -> dict[str, Any]:
    if not (folder / _RECORD).is_file():
        fail(folder, f"it has no file {_RECORD}", _GIVE_OURS)
    record = read_json(folder / _RECORD)
    if record is None:
        fail(folder, f"{_RECORD} is not JSON")
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        fail(folder, "it is not a recogniser of rnnfv", _GIVE_OURS)
    version = record.get("format_version")
    if type(version) is int and version > _FORMAT_VERSION:
        what = f"rnnfv {record.get('rnnfv')} wrote it in format {version}, but this rnnfv reads up to {_FORMAT_VERSION}"
        fail(folder, what, "install that or a newer rnnfv")
    if version != _FORMAT_VERSION or record.pop("checksum", None) != _checksum(record):
        fail(folder, f"the checksum of {_RECORD} is wrong")
    return record


def _files(record: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The entries of copied files; those that are none are passed by."""
    files = record.get("files")
    entries = files.items() if isinstance(files, dict) else ()
    return {role: entry for role, entry in entries if isinstance(entry, dict) and isinstance(entry.get("file"), str)}


def _own_file(folder: Path, entry: dict[str, str]) -> Path:
    """The path of a copied file, whose content is checked. A name or a link that leads elsewhere is refused."""
    path = folder / _BACKBONE / entry["file"]
    if path.resolve().parent != folder.resolve() / _BACKBONE or not path.is_file():
        fail(folder, f"it has no file {_BACKBONE}/{entry['file']}")
    if file_identity(path)["sha256"] != entry.get("sha256"):
        fail(folder, f"the checksum of {_BACKBONE}/{path.name} is wrong")
    return path


def _copy(source: Path, target: Path) -> dict[str, str]:
    with atomic_file(target) as temporary:
        shutil.copyfile(source, temporary)
    return file_identity(target)


def _checksum(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode("ascii")).hexdigest()
