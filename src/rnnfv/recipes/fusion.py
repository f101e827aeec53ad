"""Early fusion: the vectors of several runs side by side, one classifier (SPEC S12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.classification import LinearSVM
from rnnfv.datasets.manifest import Manifest
from rnnfv.storage import atomic_file

_ARRAYS = ("train_ids", "train", "test_ids", "test")


@dataclass(frozen=True)
class SplitVectors:
    """The normalised vectors of one split, as a classifier would see them.

    Attributes
    ----------
    train_ids, test_ids : ndarray of shape (n,), str
    train, test : ndarray of shape (n, d)
    """

    train_ids: NDArray[np.str_]
    train: NDArray[Any]
    test_ids: NDArray[np.str_]
    test: NDArray[Any]


def write_vectors(run: Path | str, split: str, seed: int, vectors: SplitVectors) -> Path:
    """Write the vectors of a split to the folder of a run: ``<run>/<split>-seed<seed>.npz``.

    The first seed begins a new run: other seeds of that split are removed.
    """
    if seed == 0:
        for old in Path(run).glob(f"{split}-seed*.npz"):
            old.unlink()
    path = Path(run) / f"{split}-seed{seed}.npz"
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **{name: getattr(vectors, name) for name in _ARRAYS})
    return path


def read_vectors(run: Path | str, split: str, seed: int) -> SplitVectors:
    """Read what `write_vectors` wrote.

    Raises
    ------
    FileNotFoundError
        If the run has no such split or seed.
    ValueError
        If the file is damaged or holds something else.
    """
    path = Path(run) / f"{split}-seed{seed}.npz"
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: evaluate that run with --vectors, for this split and seed")
    try:
        with np.load(path, allow_pickle=False) as file:
            return SplitVectors(**{name: file[name] for name in _ARRAYS})
    # zipfile, zlib, NumPy and KeyError each have their own word for it
    except Exception as error:
        raise ValueError(f"{path} is damaged or holds no vectors of a run: make it again") from error


def fuse(runs: Sequence[Path | str], manifest: Manifest, seeds: int = 1) -> dict[str, list[float]]:
    """Accuracy of one linear SVM on the joined vectors of several runs.

    Parameters
    ----------
    runs : sequence of Path
        Folders of vectors, each written by `write_vectors`.
    manifest : Manifest
        Labels; its splits are those that are fused.
    seeds : int
        Seeds 0, 1, ... of each run are joined with each other; a run that has seed 0 alone gives that to all.

    Returns
    -------
    dict of list of float
        By split, one accuracy a seed, in percent.

    Raises
    ------
    ValueError
        If the runs are of different items, or their parts are not those of the manifest.
    """
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}: it must be at least 1")
    return {
        split: [
            svm_accuracy(_joined([_seed_of(run, manifest, split, seed) for run in runs], runs), manifest)
            for seed in range(seeds)
        ]
        for split in manifest.splits
    }


def svm_accuracy(vectors: SplitVectors, manifest: Manifest) -> float:
    """Accuracy on the test part, in percent, of a linear SVM that learnt from the training part."""
    labels = dict(zip(manifest.ids.tolist(), manifest.labels.tolist(), strict=True))
    classifier = LinearSVM().fit(vectors.train, [labels[name] for name in vectors.train_ids.tolist()])
    return 100 * float(classifier.score(vectors.test, [labels[name] for name in vectors.test_ids.tolist()]))


def _seed_of(run: Path | str, manifest: Manifest, split: str, seed: int) -> SplitVectors:
    is_single = not (Path(run) / f"{split}-seed1.npz").exists()
    vectors = read_vectors(run, split, 0 if is_single else seed)
    for part, ids in (("train", vectors.train_ids), ("test", vectors.test_ids)):
        listed = set(manifest.ids[manifest.splits[split] == part].tolist())
        for name in ids.tolist():
            if name not in listed:
                raise ValueError(f"{run} has {name!r} in the {part} part of {split}, but the manifest has not")
    return vectors


def _joined(parts: list[SplitVectors], runs: Sequence[Path | str]) -> SplitVectors:
    """The runs' vectors side by side, in the order of the first run's items."""
    first = parts[0]
    train, test = [first.train], [first.test]
    for run, part in zip(runs[1:], parts[1:], strict=True):
        train.append(part.train[_rows(part.train_ids, first.train_ids, run, runs[0])])
        test.append(part.test[_rows(part.test_ids, first.test_ids, run, runs[0])])
    return SplitVectors(first.train_ids, np.concatenate(train, axis=1), first.test_ids, np.concatenate(test, axis=1))


def _rows(ids: NDArray[np.str_], wanted: NDArray[np.str_], run: Path | str, first: Path | str) -> list[int]:
    row_of = {name: row for row, name in enumerate(ids.tolist())}
    if set(row_of) != set(wanted.tolist()):
        odd = sorted(set(row_of) ^ set(wanted.tolist()))[0]
        raise ValueError(f"{run} and {first} are not of the same items: only one of them has {odd!r}")
    return [row_of[name] for name in wanted.tolist()]
