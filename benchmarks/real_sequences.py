"""Every encoder on real skeletons, under the data sets' own protocols: does order-awareness pay?

MSRAction3D (odd subjects train, even ones test) and JHMDB's 14 single-verb classes (three official splits), hip-centred
coordinates with velocities. Every pooling is prepared as cross-validation within the training part says, no subject on
both sides, and nothing is chosen on test data. The data is read from the folder named by RNNFV_DATA (default
../shared/data): `msraction3d` and `jhmdb_pose14`, each with `features/` and `manifest.csv`.

    python benchmarks/real_sequences.py --full --seeds 3 --json real_sequences.json
    python benchmarks/real_sequences.py                  # one seed, two poolings, MSRAction3D
"""

from __future__ import annotations

import os
import sys
import time
from itertools import pairwise

import _common as common
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.preprocessing import StandardScaler

from rnnfv.datasets.labelled import LabelledSequences, load_labelled
from rnnfv.encoders.mean import MeanPooling
from rnnfv.metrics import mean_accuracy
from rnnfv.normalization import PowerNormalizer
from rnnfv.recipes.action import NARROW_DELTAS, NARROW_EPOCHS, NARROW_PREPARATIONS
from rnnfv.recipes.comparison import POOLINGS, Candidate, candidate, choose, evaluate

SETS = {"msraction3d": "MSRAction3D", "jhmdb_pose14": "JHMDB-14"}
PREPARATIONS = {**NARROW_PREPARATIONS, "deltas": list(NARROW_DELTAS)}
NET = {"hidden_size": 100, "projection_size": 100, "early_stopping": None}


class SegmentStatistics(MeanPooling):
    """Mean and standard deviation in ordered segments of about equal length: the strong simple rival."""

    def __init__(self, n_segments: int = 1) -> None:
        self.n_segments = n_segments

    def transform(self, X):
        rows = []
        for steps in self._check_transform(X):
            # A sequence with fewer steps than segments repeats steps.
            edges = np.linspace(0, len(steps), self.n_segments + 1)
            parts = [steps[int(start) : max(int(start) + 1, int(stop))] for start, stop in pairwise(edges)]
            rows.append(np.concatenate([f for part in parts for f in (part.mean(axis=0), part.std(axis=0))]))
        return np.array(rows)

    @property
    def _n_features_out(self):
        return 2 * self.n_segments * self.n_features_in_


class SecondOrder(MeanPooling):
    """Mean of outer(x_{i+1}, [x_i, 1]), x_0 = 0: the RNN-FV without a net, to see what the net adds."""

    def transform(self, X):
        rows = []
        for steps in self._check_transform(X):
            before = np.concatenate([np.zeros_like(steps[:1]), steps[:-1]])
            rows.append((steps.T @ np.c_[before, np.ones(len(steps))]).ravel() / len(steps))
        return np.array(rows)

    @property
    def _n_features_out(self):
        return self.n_features_in_ * (self.n_features_in_ + 1)


RIVALS = {
    "mean+std": SegmentStatistics(1),
    "mean+std, 3 segments": SegmentStatistics(3),
    "no net, plain": SecondOrder(),
}
UNTRAINED = "rnn-fv-kron, untrained"


def of(name: str) -> Candidate:
    """A pooling's pipeline and grid; the number of epochs is chosen together with the preparation."""
    made = candidate(RIVALS.get(name, name.removesuffix(", untrained")), PREPARATIONS, **NET)
    if made.is_trained_net:
        made.grid["encoder__max_epochs"] = [0] if name == UNTRAINED else list(NARROW_EPOCHS)
    if name.startswith(("mean", "hidden")):
        # Plain statistics may also be standardised instead of power and L2 normalised.
        made.grid["normalizer"] = [PowerNormalizer(), StandardScaler()]
    return made


EVERY = [*RIVALS, *POOLINGS, UNTRAINED]


def run(data: LabelledSequences, name: str, seeds: int, jobs: int) -> dict:
    """Accuracies of one pooling: {"split1": [per seed], ...}, what was chosen, and the time."""
    started = time.perf_counter()
    accuracies, choices = {}, {}
    for split in data.manifest.splits:
        train, test = data.part(split, "train"), data.part(split, "test")
        choice = choose(of(name), *train, n_jobs=jobs)
        results = [evaluate(of(name), choice, train, test, seed) for seed in range(seeds)]
        accuracies[split] = [result.accuracy for result in results]
        choices[split] = {"validation": choice.validation_accuracy, **{k: str(v) for k, v in choice.parameters.items()}}
    mean, std = mean_accuracy(list(accuracies.values()))
    return accuracies | {
        "mean": mean,
        "std": std,
        "dim": results[0].dim,
        "chosen": choices,
        "seconds": time.perf_counter() - started,
    }


def show(console: Console, title: str, rows: dict[str, dict]) -> None:
    table = Table(title=title)
    table.add_column("pooling")
    for column in ("accuracy %", "± seeds", "validation %", "numbers"):
        table.add_column(column, justify="right")
    for name, row in rows.items():
        validation = np.mean([chosen["validation"] for chosen in row["chosen"].values()])
        table.add_row(name, f"{row['mean']:.2f}", f"{row['std']:.2f}", f"{validation:.2f}", str(row["dim"]))
    console.print(table)


def main() -> int:
    parser = common.options(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--poolings", nargs="+", choices=EVERY, default=EVERY)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    args = parser.parse_args()
    if not args.full:
        args.seeds, args.sets, args.poolings = 1, ["msraction3d"], ["mean", "rnn-fv-kron"]
    console, root = Console(), common.DATA
    report = common.Report("Every encoder on real skeletons")
    figures = report.figures
    for folder in args.sets:
        if not (root / folder).is_dir():
            report.skip(folder, f"there is no {root / folder}; set RNNFV_DATA to the folder that holds it")
            continue
        data = load_labelled(root / folder / "features", root / folder / "manifest.csv")
        figures[folder] = {}
        for name in args.poolings:
            figures[folder][name] = row = run(data, name, args.seeds, args.jobs)
            console.print(f"{SETS[folder]}, {name}: {row['mean']:.2f} % in {row['seconds']:.0f} s", highlight=False)
        show(console, f"{SETS[folder]}, mean of {args.seeds} seeds", figures[folder])
        report.add_accuracies(SETS[folder], figures[folder], "rnn-fv-kron" if "rnn-fv-kron" in args.poolings else name)
    return common.finish(report, args)


if __name__ == "__main__":
    torch.set_num_threads(1)  # the parallel processes take the cores
    sys.exit(main())
