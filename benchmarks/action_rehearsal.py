"""One split of UCF101 at full size, on made features: does the paper's pipeline fit on a small machine, and what costs?

13,320 sequences of 3-60 steps and 500 values, the official split lists where RNNFV_DATA (default ../shared/data) has
them, else lists made in their shape. A sequence is a class's mean, a clip's own mean and noise, the strengths of the
500 values falling as those of principal components do. The whole of it runs: PCA to 500 and L2, five epochs with the
probe after each, PCA to 1000 of the 100,500 numbers, linear SVM on 101 classes. Printed are the time of each part and
its ratio to an epoch of training, the accuracy with the probe's PCA and with the exact one, the SVM against
scikit-learn's LinearSVC, and the peak of memory.

    python benchmarks/action_rehearsal.py --full
    python benchmarks/action_rehearsal.py                # a tenth of the classes and a fifth of the width
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import _common as common
import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from rnnfv import GramPCA, KroneckerPCA, LinearSVM, PowerNormalizer, RNNFisherVector, Sequences, StepPreprocessor
from rnnfv.datasets.ucf101 import ucf101_manifest
from rnnfv.encoders._probe import validation_split
from rnnfv.sequences import offsets_of


def labels_and_split(n_classes: int) -> tuple[Any, Any, Any, str]:
    """Labels, groups, which are for training, and where they are from."""
    lists = common.DATA / "splits" / "ucf101"
    if lists.is_dir():
        manifest = ucf101_manifest(lists)
        labels, groups, train = manifest.labels, manifest.groups, manifest.splits["split1"] == "train"
        where = "the official lists"
    else:
        group = np.tile(np.repeat(np.arange(25), 5), 101)
        labels = np.char.add("class", np.repeat(np.arange(101), 125).astype(str))
        groups, train, where = np.char.add(labels, group.astype(str)), group >= 7, "lists made in their shape"
    kept = np.isin(labels, np.unique(labels)[:n_classes])
    return labels[kept], groups[kept], train[kept], where


def made_sequences(labels: Any, dim: int, rng: np.random.Generator) -> Sequences:
    lengths = rng.integers(3, 61, len(labels))
    classes, codes = np.unique(labels, return_inverse=True)
    means = 0.25 * rng.standard_normal((len(classes), dim), dtype=np.float32)
    clips = means[codes] + 0.8 * rng.standard_normal((len(labels), dim), dtype=np.float32)
    values = 0.6 * rng.standard_normal((lengths.sum(), dim), dtype=np.float32) + np.repeat(clips, lengths, axis=0)
    return Sequences(values / np.sqrt(1 + np.arange(dim) / 20, dtype=np.float32), offsets_of(lengths))


class Clock:
    """Times named parts."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        self.seconds[name] = time.perf_counter() - started
        return result


def rehearse(n_classes: int, dim: int, epochs: int) -> dict[str, Any]:
    labels, groups, is_train, where = labels_and_split(n_classes)
    seqs, clock = made_sequences(labels, dim, np.random.default_rng(0)), Clock()
    train, test, y, z = seqs[is_train], seqs[~is_train], labels[is_train], labels[~is_train]
    step = StepPreprocessor(basis="pca", n_components=500, unit_steps=True)
    train = clock("PCA and L2 of the steps", lambda: step.fit_transform(train))
    test = step.transform(test)

    # One epoch, and one probe in its parts, on the sequences that the probe's split would give them.
    fit_rows, _ = validation_split(len(y), y, groups[is_train], 0.2, 0)
    net: dict[str, Any] = {"random_state": 0}
    RNNFisherVector(**net, max_epochs=1, early_stopping=None).fit(train[:16])  # what torch loads at first is not timed
    one = clock(
        "an epoch of training",
        lambda: RNNFisherVector(**net, max_epochs=1, early_stopping=None).fit(train[fit_rows]),
    )
    vectors = clock("probe: encoding", lambda: one.transform(train[fit_rows]))
    power, quick, svm = PowerNormalizer(), LinearSVM(tol=1e-3), LinearSVM()
    reduced = clock("probe: PCA", lambda: power.fit_transform(KroneckerPCA().fit_transform(vectors)))
    clock("probe: SVM", lambda: quick.fit(reduced, y[fit_rows]))

    probe = make_pipeline(KroneckerPCA(), PowerNormalizer(), LinearSVM(tol=1e-3))
    encoder = RNNFisherVector(**net, max_epochs=epochs, early_stopping="probe", probe=probe)
    clock(f"{epochs} epochs with their probes", lambda: encoder.fit(train, y, groups[is_train]))
    vectors = clock("encoding the training part", lambda: encoder.transform(train))
    accuracies = {"KroneckerPCA": probe.fit(vectors, y).score(encoder.transform(test), z)}
    pca = GramPCA(1000)
    reduced = clock("exact PCA to 1000", lambda: power.fit_transform(pca.fit_transform(vectors)))
    vectors = clock("encoding the test part", lambda: encoder.transform(test))
    tested = power.transform(pca.transform(vectors))
    clock("SVM", lambda: svm.fit(reduced, y))
    accuracies["exact PCA"] = svm.score(tested, z)
    theirs = clock("scikit-learn's LinearSVC", lambda: LinearSVC(C=1.0, max_iter=10_000).fit(reduced, y))
    accuracies["exact PCA, LinearSVC"] = theirs.score(tested, z)
    seconds = clock.seconds
    return {
        "split": where,
        "sequences": [len(train), len(test)],
        "steps": len(seqs.values),
        "seconds": seconds,
        "probe / epoch": (seconds["probe: PCA"] + seconds["probe: SVM"]) / seconds["an epoch of training"],
        "LinearSVC / LinearSVM": seconds["scikit-learn's LinearSVC"] / seconds["SVM"],
        "probe accuracies": [100 * a for a in encoder.history_["validation"]],
        "test accuracies": {name: 100 * accuracy for name, accuracy in accuracies.items()},
        "peak GiB": common.peak_gib(),
    }


def show(console: Console, found: dict[str, Any]) -> None:
    epoch = found["seconds"]["an epoch of training"]
    table = Table(title=f"{found['sequences'][0]} + {found['sequences'][1]} sequences, {found['steps']} steps")
    table.add_column("part")
    table.add_column("seconds", justify="right")
    table.add_column("of an epoch", justify="right")
    for name, seconds in found["seconds"].items():
        table.add_row(name, f"{seconds:.1f}", f"{seconds / epoch:.2f}")
    console.print(table)
    for name in ("split", "probe / epoch", "LinearSVC / LinearSVM", "probe accuracies", "test accuracies", "peak GiB"):
        console.print(f"{name}: {found[name]}", highlight=False)


def main() -> int:
    parser = common.options(__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args()
    found = rehearse(101, 500, args.epochs) if args.full else rehearse(10, 100, 2)
    show(Console(), found)
    report = common.Report("A split of UCF101, rehearsed on made features", figures=found)
    epoch = found["seconds"]["an epoch of training"]
    theirs = common.seconds_text(epoch)
    for name, seconds in found["seconds"].items():
        if name == "an epoch of training":
            report.add(name, theirs)
        elif "LinearSVC" not in name:
            text = common.seconds_text(seconds)
            report.add(name, text, peer="an epoch of training", theirs=theirs, ratio=epoch / seconds)
    report.add("peak memory of all of it", f"{found['peak GiB']:.2f} GiB")
    return common.finish(report, args)


if __name__ == "__main__":
    sys.exit(main())
