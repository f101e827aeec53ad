"""``index.json``: what a vector index holds. Replacing it is the one step by which an index changes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rnnfv.storage.atomic import atomic_file

__all__ = ["IndexRecord", "SegmentEntry"]

_NAME = "index.json"
_FORMAT, _FORMAT_VERSION = "rnnfv-index", 1


@dataclass(frozen=True)
class SegmentEntry:
    """One segment: its number, which names its folder; its rows; and each file's size in bytes."""

    number: int
    rows: int
    files: dict[str, int]


@dataclass(frozen=True)
class IndexRecord:
    """The content of ``index.json``."""

    dim: int
    exact_up_to: int
    metadata: dict[str, Any]
    segments: tuple[SegmentEntry, ...] = ()

    def write(self, folder: Path) -> None:
        """Put the record in place of the one there."""
        content = {"format": _FORMAT, "format_version": _FORMAT_VERSION, **asdict(self)}
        try:
            text = json.dumps(content, indent=1, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(f"the metadata cannot be written as JSON: {error}") from error
        with atomic_file(folder / _NAME) as temporary:
            temporary.write_text(text + "\n", encoding="ascii")

    @classmethod
    def read(cls, folder: Path) -> IndexRecord:
        """Read a folder's record.

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If it is damaged, of something else, or of a newer format.
        """
        path = folder / _NAME
        if not path.is_file():
            raise FileNotFoundError(f"{folder} is not the folder of a vector index: it has no file {_NAME}")
        try:
            content = json.loads(path.read_bytes())
            is_index = content["format"] == _FORMAT
            version = int(content["format_version"])
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged or not of a vector index: copy it again from where it came") from error
        if not is_index or version > _FORMAT_VERSION:
            what = f"is of format {version}, but this rnnfv reads up to {_FORMAT_VERSION}: install a newer rnnfv"
            raise ValueError(f"{path} {what if is_index else 'is not the record of a vector index'}")
        try:
            return cls._of(content)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} lacks a field or holds a wrong one: copy it again from where it came") from error

    @classmethod
    def _of(cls, content: dict[str, Any]) -> IndexRecord:
        segments = tuple(
            SegmentEntry(
                _count(entry["number"]), _count(entry["rows"]), {k: _count(v) for k, v in entry["files"].items()}
            )
            for entry in content["segments"]
        )
        return cls(_count(content["dim"]), _count(content["exact_up_to"]), dict(content["metadata"]), segments)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value
