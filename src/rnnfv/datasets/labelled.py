"""Sequences with their labels, groups and splits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rnnfv.datasets.manifest import Manifest, read_manifest
from rnnfv.sequences import Sequences
from rnnfv.storage import read_all_features


@dataclass(frozen=True)
class LabelledSequences:
    """A data set for classification.

    Attributes
    ----------
    sequences : Sequences
    manifest : Manifest
        Row i belongs to sequence i.
    """

    sequences: Sequences
    manifest: Manifest

    def part(self, split: str, which: str) -> tuple[Sequences, NDArray[np.str_], NDArray[np.str_]]:
        """Sequences, labels and groups of one side of a split.

        Parameters
        ----------
        split : str
            Such as "split1".
        which : {"train", "test"}
        """
        rows = np.flatnonzero(self.manifest.splits[split] == which)
        return self.sequences[rows], self.manifest.labels[rows], self.manifest.groups[rows]


def load_labelled(
    features: Path | str, manifest: Path | str | Manifest, *, skip_missing: bool = False
) -> LabelledSequences:
    """Read feature shards and the manifest that goes with them.

    Parameters
    ----------
    features : Path or str
        A folder of Parquet shards, or one shard.
    manifest : Path, str or Manifest
        A CSV, or what was read from one; sequences come in its order, those it does not name are left out.
    skip_missing : bool
        Leave out items of the manifest that have no usable features, such as videos that could not be read.

    Raises
    ------
    ValueError
        If an item of the manifest has no usable features (the message names it and the reason), or none has.
    """
    shard = read_all_features(features)
    listed = manifest if isinstance(manifest, Manifest) else read_manifest(manifest)
    row_of = {name: row for row, name in enumerate(shard.ids)}
    has_features = np.array([name in row_of for name in listed.ids.tolist()], dtype=bool)
    if not has_features.all():
        first = str(listed.ids[np.argmin(has_features)])
        reason = dict(shard.failures).get(first, "it is not there")
        if not (skip_missing and has_features.any()):
            raise ValueError(
                f"{features}: no features for {(~has_features).sum()} of {len(listed.ids)} items of the manifest, "
                f"the first {first!r}: {reason}"
            )
        listed = listed.part(has_features)
    return LabelledSequences(shard.sequences[[row_of[name] for name in listed.ids.tolist()]], listed)
