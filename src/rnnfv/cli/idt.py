"""What `rnnfv action idt` prints and writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from rich.console import Console

from rnnfv import __version__
from rnnfv.cli.evaluate import table_of, with_splits
from rnnfv.cli.terminal import notes, print_table, write_text
from rnnfv.cli.usage import at_least_one, check_outputs
from rnnfv.datasets.manifest import read_manifest
from rnnfv.recipes.idt import check_trajectories, evaluate_trajectories
from rnnfv.recipes.idt_features import find_trajectories

_MOST_SHOWN = 20


def run_idt(
    trajectories: Path,
    manifest: Path,
    *,
    components: int = 256,
    seeds: int = 1,
    splits: tuple[str, ...] | None = None,
    vectors: Path | None = None,
    allow_overlap: bool = False,
    skip_missing: bool = False,
    figures: Path | None = None,
) -> None:
    """Evaluate, print the table, list on stderr what was left out, and write what was asked for."""
    at_least_one(components=components, seeds=seeds)  # said here, before hours of reading
    check_outputs(figures)
    listed, files = with_splits(read_manifest(manifest), splits), find_trajectories(trajectories)
    console = notes()
    with console.status("") as spinner:
        usable, left_out = check_trajectories(
            files, listed, allow_overlap=allow_overlap, skip_missing=skip_missing, report=spinner.update
        )
        row = evaluate_trajectories(
            files,
            usable,
            n_components=components,
            seeds=seeds,
            allow_overlap=allow_overlap,
            report=spinner.update,
            vectors=vectors,
        )
    _tell(console, left_out)
    title = f"{manifest.stem}: {len(usable.ids)} files, {len(np.unique(usable.labels))} classes"
    print_table(title, *table_of({"idt": row}, seeds))
    protocol = {
        "trajectories": str(trajectories),
        "manifest": str(manifest),
        "splits": {
            split: {which: int((parts == which).sum()) for which in ("train", "test")}
            for split, parts in usable.splits.items()
        },
        "seeds": list(range(seeds)),
        "components": components,
        "left_out": dict(left_out),
        "groups_overlap_allowed": allow_overlap,
        "rnnfv": __version__,
    }
    pooling = {**row.accuracies, "mean": row.mean, "std": row.std, "dim": row.dim}
    write_text(figures, json.dumps({"protocol": protocol, "poolings": {"idt": pooling}}, indent=2) + "\n")


def _tell(console: Console, left_out: list[tuple[str, str]]) -> None:
    if left_out:
        console.print(f"{len(left_out)} items were left out:")
    for name, reason in left_out[:_MOST_SHOWN]:
        console.print(f"  {name}: {reason}")
    if len(left_out) > _MOST_SHOWN:
        console.print(f"  ... and {len(left_out) - _MOST_SHOWN} more; --json writes them all")
