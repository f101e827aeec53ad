"""Manifests: a CSV that gives every item its label, its group and its part in each split."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

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
    """

    ids: NDArray[np.str_]
    labels: NDArray[np.str_]
    groups: NDArray[np.str_]
    splits: dict[str, NDArray[np.str_]]


def read_manifest(path: Path | str) -> Manifest:
    """Read a manifest with the columns ``id``, ``label``, ``group`` (optional) and ``split1``, ``split2``, ...

    Raises
    ------
    ValueError
        If a column is missing, an id comes twice, or a split holds another word than train or test; the message
        names the file and the line.
    """
    with Path(path).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        missing = [name for name in ("id", "label", "split1") if name not in columns]
        if missing:
            raise ValueError(f"{path}: the column {missing[0]!r} is missing; columns are id, label, group, split1, ...")
        rows = list(reader)
    splits = sorted((name for name in columns if name.startswith("split")), key=lambda name: (len(name), name))
    seen: set[str] = set()
    for line, row in enumerate(rows, start=2):
        if not row["id"] or row["id"] in seen:
            raise ValueError(f"{path}, line {line}: the id {row['id']!r} is empty or comes a second time")
        seen.add(row["id"])
        for name in splits:
            if row[name] not in _PARTS:
                raise ValueError(f"{path}, line {line}: {name} is {row[name]!r}; it must be train, test or empty")
    return Manifest(
        np.array([row["id"] for row in rows], dtype=np.str_),
        np.array([row["label"] for row in rows], dtype=np.str_),
        np.array([row.get("group") or row["id"] for row in rows], dtype=np.str_),
        {name: np.array([row[name] for row in rows], dtype=np.str_) for name in splits},
    )
