"""``index.json``: what a vector index holds. Replacing it is the one step by which an index changes."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rnnfv.storage.atomic import atomic_file

__all__ = ["IndexRecord"]

_NAME = "index.json"
_FORMAT, _FORMAT_VERSION = "rnnfv-index", 1


@dataclass(frozen=True)
class IndexRecord:
    """The content of ``index.json``.

    Attributes
    ----------
    dim : int
    exact_up_to : int
    metadata : dict
    segments : dict of str to (dict of str to str)
        Of each segment's folder, in order: the SHA-256 of each file in it.
    """

    dim: int
    exact_up_to: int
    metadata: dict[str, Any]
    segments: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(type(number) is int and number > 0 for number in (self.dim, self.exact_up_to)):
            raise ValueError(f"dim and exact_up_to must be integers, 1 or more; got {self.dim} and {self.exact_up_to}")
        if not isinstance(self.metadata, dict):
            raise ValueError("the metadata must be a dict")
        for name, sha256 in self.segments.items():
            # No other name: it could lead to another folder.
            if not re.fullmatch(r"segment-[0-9]{5,}", name) or not isinstance(sha256, dict):
                raise ValueError(f"{name!r} is not a segment")

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
            if content.pop("format") != _FORMAT:
                raise ValueError(f"it is not of the format {_FORMAT}")
            newer = content.pop("format_version") > _FORMAT_VERSION
            record = None if newer else cls(**content)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged or not of a vector index: copy it again from where it came") from error
        if record is None:
            raise ValueError(f"{path} was written by a newer rnnfv: install that one")
        return record
