"""The paper's comparison on real actions: every pooling on the same features, through `evaluate_actions`.

- fight_surv: 300 clips of surveillance cameras, fight or not, five folds without a common film. The whole way from the
  video files: ten frames a second (the clips have 10 to 30, so that a step is the same time in all), GoogLeNet's pool5,
  the treatment of small sets of wide features.
- MSRAction3D and JHMDB-14: skeletons, the treatment of narrow features.

Nothing is chosen on test data. The data is read from the folder named by RNNFV_DATA (default ../shared/data). Decoding
and GoogLeNet take about ten minutes on one core; with --cache the features are kept, and an interrupted run goes on.

    python benchmarks/action_real.py --full --seeds 3 --cache features --json action_real.json
    python benchmarks/action_real.py                     # MSRAction3D, one seed, two poolings
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _common as common
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from rnnfv.datasets.labelled import LabelledSequences, load_labelled
from rnnfv.recipes.action import Fitted, Settings, as_json, evaluate_actions
from rnnfv.recipes.comparison import POOLINGS
from rnnfv.recipes.extraction import extract_features
from rnnfv.video.backbones import make_backbone
from rnnfv.video.decode import Sampling

VIDEOS = "fight_surv"
SETS = {VIDEOS: "surveillance fights, GoogLeNet", "msraction3d": "MSRAction3D", "jhmdb_pose14": "JHMDB-14"}
FRAMES_A_SECOND = 10.0


def missing(root: Path, folder: str) -> Path | None:
    """What a set lacks, or None."""
    needed = [root / folder / "manifest.csv"]
    needed += [root / "models" / "googlenet.onnx"] if folder == VIDEOS else [root / folder / "features"]
    return next((path for path in needed if not path.exists()), None)


def load(root: Path, folder: str, cache: Path) -> LabelledSequences:
    """Features, labels and splits of a set; those of videos are extracted into the cache first."""
    manifest, features = root / folder / "manifest.csv", root / folder / "features"
    if folder == VIDEOS:
        features = cache / folder
        backbone = make_backbone(f"onnx:{root / 'models' / 'googlenet.onnx'}:pool5")
        sampling = Sampling(fps=FRAMES_A_SECOND)
        extract_features(
            root / folder, backbone, features, manifest=manifest, sampling=sampling, workers=0, progress=True
        )
    return load_labelled(features, manifest)


def tell(console: Console, fitted: Fitted) -> None:
    accuracy = f"{fitted.result.accuracy:.2f} %"
    console.print(f"{fitted.split}, {fitted.pooling}, seed {fitted.seed}: {accuracy}", highlight=False)


def show(console: Console, title: str, figures: dict[str, Any]) -> None:
    table = Table(title=title)
    table.add_column("pooling")
    for column in ("accuracy %", "± seeds", "validation %", "numbers"):
        table.add_column(column, justify="right")
    for name, row in figures["poolings"].items():
        validation = [chosen["validation"] for chosen in row["chosen"].values()]
        # Nothing was chosen for this pooling: it has no accuracy in validation.
        shown = "" if None in validation else f"{np.mean(validation):.2f}"
        table.add_row(name, f"{row['mean']:.2f}", f"{row['std']:.2f}", shown, str(row["dim"]))
    console.print(table)


def main() -> int:
    parser = common.options(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--poolings", nargs="+", choices=POOLINGS, default=POOLINGS)
    parser.add_argument("--cache", type=Path, help="keep the features of videos here (default: a temporary folder)")
    parser.add_argument("--jobs", type=int, default=1, help="processes for choosing parameters")
    args = parser.parse_args()
    if not args.full:
        args.seeds, args.sets, args.poolings = 1, ["msraction3d"], ["mean", "rnn-fv-kron"]
    console, root = Console(), common.DATA
    report = common.Report("Actions: real data by the recipe of the command")
    settings = Settings(tuple(args.poolings), args.seeds, jobs=args.jobs)
    figures = report.figures
    with tempfile.TemporaryDirectory() as temporary:
        for folder in args.sets:
            if (lacking := missing(root, folder)) is not None:
                report.skip(folder, f"there is no {lacking}; set RNNFV_DATA to the folder that holds it")
                continue
            data, started = load(root, folder, args.cache or Path(temporary)), time.perf_counter()
            rows = evaluate_actions(data, settings, keep=lambda fitted: tell(console, fitted))
            protocol = {"data": folder, "splits": list(data.manifest.splits), "seconds": time.perf_counter() - started}
            figures[folder] = as_json(rows, protocol, settings)
            show(console, f"{SETS[folder]}, mean of {args.seeds} seeds", figures[folder])
            poolings = figures[folder]["poolings"]
            report.add_accuracies(
                SETS[folder], poolings, "rnn-fv-kron" if "rnn-fv-kron" in poolings else list(poolings)[-1]
            )
    return common.finish(report, args)


if __name__ == "__main__":
    torch.set_num_threads(1)  # with --jobs, processes take the cores
    sys.exit(main())
