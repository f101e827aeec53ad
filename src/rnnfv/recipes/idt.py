"""What Fisher vectors of improved dense trajectories reach: the paper's "idt", beside its own vectors (SPEC S12)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rnnfv.datasets.manifest import Manifest, check_splits
from rnnfv.recipes.action import Row
from rnnfv.recipes.fusion import SplitVectors, svm_accuracy, write_vectors
from rnnfv.recipes.trajectories import TrajectoryFisherVector
from rnnfv.video.trajectories import read_trajectories

__all__ = ["check_trajectories", "evaluate_trajectories"]


def check_trajectories(
    files: Mapping[str, Path],
    manifest: Manifest,
    *,
    allow_overlap: bool = False,
    skip_missing: bool = False,
    report: Callable[[str], None] = lambda text: None,
) -> tuple[Manifest, list[tuple[str, str]]]:
    """See that a manifest can be evaluated: its splits first, then every file, read once from end to end.

    Parameters
    ----------
    files : dict of str to Path
        By id, as `rnnfv.recipes.idt_features.find_trajectories` gives them.
    manifest : Manifest
        Items that are in none of its splits are passed over.
    allow_overlap : bool
        Go on where a group is in both parts of a split.
    skip_missing : bool
        Leave out items without a file that can be read, instead of raising an error.
    report : callable
        Is told what is being done.

    Returns
    -------
    Manifest
        The items that can be used.
    list of (str, str)
        Id and reason of each item that was left out.

    Raises
    ------
    ValueError
        If a split's parts share a group or a part is empty. If an item has no file, or none that can be read: the first
        one is named, and how many there are. With ``skip_missing``: if that is so of all items.
    """
    check_splits(manifest, allow_overlap)
    used = manifest.part(np.any([parts != "" for parts in manifest.splits.values()], axis=0))
    names = used.ids.tolist()
    reasons = {name: "there is no file of it" for name in names if name not in files}
    if skip_missing or not reasons:  # else there is no need to read the others
        for i, name in enumerate(names):
            report(f"checking file {i + 1} of {len(names)}")
            if name in files and (reason := _failure(files[name])):
                reasons[name] = reason
    failures = [(name, reasons[name]) for name in names if name in reasons]
    if failures and (not skip_missing or len(failures) == len(names)):
        _refuse(failures, len(names))
    return used.part([i for i, name in enumerate(names) if name not in reasons]), failures


def evaluate_trajectories(
    files: Mapping[str, Path],
    manifest: Manifest,
    *,
    n_components: int = 256,
    sample: int = 256_000,
    seeds: int = 1,
    allow_overlap: bool = False,
    report: Callable[[str], None] = lambda text: None,
    vectors: Path | str | None = None,
) -> Row:
    """Accuracy of the Fisher vectors of trajectories with a linear SVM, split by split (SPEC S12).

    Reductions and mixtures are learnt from a split's training files alone. The vectors of all its items are in memory,
    and those of the training part a second time for the SVM: with the default mixtures 109,056 float32 numbers an item,
    436 kB, so that a split of UCF101 takes 10 GB. For each split and seed the training files are read twice, the
    test files once.

    Parameters
    ----------
    files : dict of str to Path
        By id, as `rnnfv.recipes.idt_features.find_trajectories` gives them.
    manifest : Manifest
        Labels, groups and splits. `check_trajectories` tells beforehand whether it can be evaluated.
    n_components, sample : int
        See `TrajectoryFisherVector`.
    seeds : int
        Fits on each split, with the seeds 0, 1, ...
    allow_overlap : bool
        Go on where a group is in both parts of a split.
    report : callable
        Is told what is being done.
    vectors : Path or str, optional
        Keep the vectors in the folder "idt" in this one, for `rnnfv.recipes.fusion.fuse`.

    Returns
    -------
    Row

    Raises
    ------
    ValueError
        If a split's parts share a group, a part is empty, an item has no file or one that cannot be read, or there are
        too few trajectories to learn from.
    """
    if seeds < 1:
        raise ValueError(f"seeds is {seeds}: it must be at least 1")
    check_splits(manifest, allow_overlap)
    row = Row()
    for split in manifest.splits:
        _check_files(files, manifest, split)
        for seed in range(seeds):
            encoder = TrajectoryFisherVector(n_components, sample, random_state=seed)
            tell = _prefixed(report, f"{split}, seed {seed}")
            encoded = _encode(encoder, files, manifest, split, tell)
            if vectors is not None:
                write_vectors(Path(vectors) / "idt", split, seed, encoded)
            tell("classifying")
            row.accuracies.setdefault(split, []).append(svm_accuracy(encoded, manifest))
            row.dim = encoded.train.shape[1]
            del encoded  # or the next ones would be in memory beside them
    return row


# -- vectors and accuracy --------------------------------------------------------------------------


def _encode(
    encoder: TrajectoryFisherVector,
    files: Mapping[str, Path],
    manifest: Manifest,
    split: str,
    tell: Callable[[str], None],
) -> SplitVectors:
    """Learn from the training files, encode both parts."""
    ids = {which: manifest.ids[manifest.splits[split] == which] for which in ("train", "test")}
    train, test = ([files[name] for name in ids[which].tolist()] for which in ("train", "test"))
    tell("learning")
    encoder.fit(train)
    return SplitVectors(
        ids["train"],
        _transform(encoder, train, "training", tell),
        ids["test"],
        _transform(encoder, test, "test", tell),
    )


def _transform(
    encoder: TrajectoryFisherVector, files: Sequence[Path], part: str, tell: Callable[[str], None]
) -> NDArray[np.float32]:
    """One file at a time: it takes hours for a large set, and somebody is watching."""
    vectors = np.empty((len(files), len(encoder.get_feature_names_out())), np.float32)
    for i, file in enumerate(files):
        tell(f"encoding {part} file {i + 1} of {len(files)}")
        vectors[i] = encoder.transform([file])[0]
    return vectors


def _prefixed(report: Callable[[str], None], where: str) -> Callable[[str], None]:
    return lambda text: report(f"{where}: {text}")


# -- what is refused -------------------------------------------------------------------------------


def _check_files(files: Mapping[str, Path], manifest: Manifest, split: str) -> None:
    names = manifest.ids[manifest.splits[split] != ""].tolist()
    missing = [(name, "there is no file of it") for name in names if name not in files]
    if missing:
        _refuse(missing, len(names))


def _refuse(failures: list[tuple[str, str]], total: int) -> None:
    (first, reason), count = failures[0], len(failures)
    raise ValueError(f"no trajectories for {count} of {total} items of the manifest, the first {first!r}: {reason}")


def _failure(path: Path) -> str:
    """Why a file cannot be read; empty where it can."""
    try:
        for _ in read_trajectories(path):
            pass
    except (OSError, ValueError) as error:
        return str(error)
    return ""
