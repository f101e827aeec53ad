"""Manifests: every item's label, group and part in each split, from a CSV or from a data set's own lists."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.storage import atomic_file
from rnnfv.storage.bounds import text_array
from rnnfv.storage.lines import read_text

_PARTS = ("train", "test", "")


@dataclass(frozen=True)
class Manifest:
    """The rows of a manifest, column by column.

    Attributes
    ----------
    ids, labels, groups : ndarray of shape (n,), str
        A row without a group is a group of its own: its group is its id.
    splits : dict of ndarray of shape (n,), str
        For each split "train", "test" or "" (not used).
    paths : ndarray of shape (n,), str, or None
        Each item's video, relative to the folder of videos; None where the manifest does not say.
    """

    ids: NDArray[np.str_]
    labels: NDArray[np.str_]
    groups: NDArray[np.str_]
    splits: dict[str, NDArray[np.str_]]
    paths: NDArray[np.str_] | None = None

    def part(self, rows: Any) -> Manifest:
        """The chosen rows alone (indices, or a mask of shape (n,)).

        Parameters
        ----------
        rows : array-like of int or bool
            Indices, or a mask of shape (n,).

        Returns
        -------
        Manifest
        """
        return Manifest(
            self.ids[rows],
            self.labels[rows],
            self.groups[rows],
            {name: parts[rows] for name, parts in self.splits.items()},
            None if self.paths is None else self.paths[rows],
        )


def read_manifest(path: Path | str) -> Manifest:
    """Read a manifest: ``id``, ``label``, ``group`` (optional), ``split1``, ``split2``, ..., ``path`` (optional).

    Parameters
    ----------
    path : str or Path
        A CSV file with these columns.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not UTF-8, a column is missing, an id comes twice, or a split holds another word than train or test;
        the message names the file and the line.
    """
    columns, rows = read_table(path, "id, label, group, split1, ...")
    missing = [name for name in ("id", "label", "split1") if name not in columns]
    if missing:
        raise ValueError(f"{path}: the column {missing[0]!r} is missing; columns are id, label, group, split1, ...")
    splits = sorted((name for name in columns if re.fullmatch(r"split\d+", name)), key=lambda name: (len(name), name))
    seen: set[str] = set()
    for line, row in rows:
        if not row["id"] or row["id"] in seen:
            raise ValueError(f"{path}, line {line}: the id {row['id']!r:.100} is empty or comes a second time")
        seen.add(row["id"])
        if row["label"] is None:
            raise ValueError(f"{path}, line {line} ends before its label")
        for name in splits:
            if row[name] not in _PARTS:
                raise ValueError(f"{path}, line {line}: {name} is {row[name]!r:.100}; it must be train, test or empty")
    return Manifest(
        text_array(str(path), [row["id"] for _, row in rows]),
        text_array(str(path), [row["label"] for _, row in rows]),
        text_array(str(path), [row.get("group") or row["id"] for _, row in rows]),
        {name: np.array([row[name] for _, row in rows], dtype=np.str_) for name in splits},
        text_array(str(path), [row["path"] or "" for _, row in rows]) if "path" in columns else None,
    )


def read_table(path: Path | str, columns: str) -> tuple[list[str], list[tuple[int, dict[str, Any]]]]:
    """Read a CSV.

    Parameters
    ----------
    path : Path or str
    columns : str
        What it should have, for the message.

    Returns
    -------
    columns : list of str
    rows : list of (int, dict)
        Each row's last line in the file, and its values; None where the row is too short.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not UTF-8, or a value has over 131,072 characters, as behind a quotation mark that is never closed.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} is not a file: give a CSV with the columns {columns}")
    reader = csv.DictReader(io.StringIO(read_text(path, "save it as CSV in UTF-8")))
    try:
        return list(reader.fieldnames or ()), [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}: is a quotation mark not closed?") from error


def write_manifest(path: Path | str, manifest: Manifest) -> None:
    """Write a manifest as a CSV that `read_manifest` reads. The file appears whole or not at all.

    Parameters
    ----------
    path : Path or str
        A file that is there is replaced.
    manifest : Manifest

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np
    >>> from rnnfv.datasets.manifest import Manifest, overlapping_groups, read_manifest, write_manifest
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "manifest.csv"
    >>> ids, labels, groups = np.array(["a", "b"]), np.array(["run", "walk"]), np.array(["film", "film"])
    >>> write_manifest(file, Manifest(ids, labels, groups, {"split1": np.array(["train", "test"])}))
    >>> print(file.read_text(), end="")
    id,label,group,split1
    a,run,film,train
    b,walk,film,test
    >>> overlapping_groups(read_manifest(file), "split1")
    ['film']
    """
    columns = {"id": manifest.ids, "label": manifest.labels, "group": manifest.groups, **manifest.splits}
    if manifest.paths is not None:
        columns["path"] = manifest.paths
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


def overlapping_groups(manifest: Manifest, split: str) -> list[str]:
    """The groups, such as films, that have items on both sides of a split, in alphabetical order.

    Parameters
    ----------
    manifest : Manifest
    split : str
        Such as "split1".
    """
    parts = manifest.splits[split]
    train, test = (set(manifest.groups[parts == part].tolist()) for part in ("train", "test"))
    return sorted(train & test)


def check_splits(manifest: Manifest, allow_overlap: bool = False) -> None:
    """See that every split has two parts, all of whose items have a label, and that they share no group.

    Raises
    ------
    ValueError
        Naming the split, and one of the groups that are in both its parts.
    """
    for split, parts in manifest.splits.items():
        for which in ("train", "test"):
            if not (parts == which).any():
                raise ValueError(f"{split} has no {which} items")
        unlabelled = manifest.ids[(parts != "") & (manifest.labels == "")]
        if unlabelled.size:
            raise ValueError(
                f"{str(unlabelled[0])!r} is in {split} but has no label: give it one, or empty its {split}"
            )
        shared = overlapping_groups(manifest, split)
        if shared and not allow_overlap:
            raise ValueError(
                f"{split} has {len(shared)} groups in both its training and its test part (such as {shared[0]!r}): "
                "what is learnt of them would count as accuracy. If that is the data set's protocol, allow overlap"
            )


# -- a data set's own lists ------------------------------------------------------------------------


class ClipLists:
    """Gathers the clips of a data set of videos from its official lists, split after split.

    A clip is known by its path whatever its upper and lower case: lists and disks do not always agree on it.

    Parameters
    ----------
    folder : Path
        Of the lists, for messages.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._rows: dict[str, dict[str, str]] = {}
        self._splits: dict[str, dict[str, str]] = {}

    def add(self, where: str, path: str, label: str, group: str, split: str, part: str) -> None:
        """Take one line of a list.

        Parameters
        ----------
        where : str
            File and line, for the message.
        path : str
            Relative, with its suffix: without it, it is the clip's id. The first spelling seen is kept.
        label, group, split : str
        part : {"train", "test", ""}

        Raises
        ------
        ValueError
            If the clip has a part in this split already.
        """
        key = path.lower()
        parts = self._splits.setdefault(split, {})
        if key in parts:
            raise ValueError(f"{where}: {path} comes a second time in {split}")
        parts[key] = part
        self._rows.setdefault(key, {"path": path, "label": label, "group": group})

    def manifest(self, videos: Path | str | None) -> Manifest:
        """All clips as a manifest, in alphabetical order whatever the case.

        Parameters
        ----------
        videos : Path, str or None
            The folder of the classes' folders: paths are then spelt as they are there.

        Raises
        ------
        FileNotFoundError
            If a clip is not among the videos; the first one is named, and how many there are.
        """
        keys = sorted(self._rows)
        paths, labels, groups = ([self._rows[key][name] for key in keys] for name in ("path", "label", "group"))
        where = str(self._folder)
        return Manifest(
            text_array(where, [path.rpartition(".")[0] for path in paths]),
            text_array(where, labels),
            text_array(where, groups),
            {name: np.array([parts.get(key, "") for key in keys], np.str_) for name, parts in self._splits.items()},
            text_array(where, paths if videos is None else _found(Path(videos), paths)),
        )


def list_lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """File and line number, for messages, and the words of each line that has any."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give the folder of the data set's official split lists")
    for number, line in enumerate(read_text(path, "fetch the lists again").split("\n"), start=1):
        if words := line.split():
            yield f"{path}, line {number}", words


def _found(videos: Path, paths: list[str]) -> list[str]:
    """The paths as they are spelt in the folder."""
    there = {path.relative_to(videos).as_posix() for path in videos.glob("*/*")}
    by_lower = {path.lower(): path for path in there}
    found = [path if path in there else by_lower.get(path.lower()) for path in paths]
    missing = [path for path, real in zip(paths, found, strict=True) if real is None]
    if missing:
        raise FileNotFoundError(
            f"{videos}: {len(missing)} of {len(paths)} videos are missing, the first is {missing[0]}: "
            "give the folder that holds one folder for each class"
        )
    return [path for path in found if path is not None]
