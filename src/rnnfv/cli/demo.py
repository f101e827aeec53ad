"""What `rnnfv demo` shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rnnfv import __version__
from rnnfv.cli.usage import UsageError
from rnnfv.recipes.comparison import POOLINGS
from rnnfv.recipes.demo import NET, PREPARATIONS, SPLIT, TITLES, DemoOutcome, Row, compare_on_vowels
from rnnfv.recipes.scenes import make_scene_search
from rnnfv.report import write_report
from rnnfv.storage import atomic_file
from rnnfv.strip import import_figure


def run_demo(out: Path, seeds: int, figures: Path | None) -> None:
    """Run the comparison, print its table, write the page and, if asked, the figures as JSON."""
    import_figure()  # what is missing is told before the work
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is not a folder: give another for --out")
    out.mkdir(parents=True, exist_ok=True)
    status = Console(stderr=True)
    with status.status("") as spinner:
        outcome = compare_on_vowels(
            seeds, lambda name: spinner.update(f"{list(TITLES).index(name) + 1} of {len(TITLES)}: {TITLES[name]}")
        )
        spinner.update("drawing the report")
        page = write_report(out / "report.html", outcome, seeds)
    console = Console()
    console.print(_table(outcome.rows, seeds))
    console.print(f"Report: {page}", highlight=False, soft_wrap=True)
    console.print(f"Pictures to search: rnnfv demo --pictures --out {out}", highlight=False, soft_wrap=True)
    if figures is not None:
        with atomic_file(figures) as temporary:
            temporary.write_text(json.dumps(_as_json(outcome, seeds), indent=2) + "\n")


def run_pictures(folder: Path) -> None:
    """Make the search of drawn pictures, and say how good it is and how to see it."""
    with Console(stderr=True).status("") as spinner:
        made = make_scene_search(folder, spinner.update)
    right, blind = (made.recalls[name] for name in ("rnn-fv", "mean"))
    print(
        f"{made.n_pictures} drawn pictures, such as of a red circle left of a blue square. A sentence about two shapes "
        f"that were never together in training finds its picture first in {right:.0f} of 100 cases; with mean pooling, "
        f"which does not see the order of words, in {blind:.0f}."
    )
    images, sentences = made.indexes
    print(f"See it: rnnfv serve {made.model} --index {images} --index {sentences} --weights {made.weights}")


def _table(rows: list[Row], seeds: int) -> Table:
    table = Table(title="Japanese Vowels: nine speakers, 370 test utterances", caption=_caption(seeds))
    table.add_column("pooling")
    for name in ("accuracy %", "numbers", "fit s", "encode s"):
        table.add_column(name, justify="right")
    for row in rows:
        accuracy = f"{row.mean:.2f}" if seeds == 1 else f"{row.mean:.2f} ± {row.std:.2f}"
        times = ("", "") if row.choice is None else (f"{row.fit_seconds:.2f}", f"{row.encode_seconds:.3f}")
        table.add_row(TITLES[row.name], accuracy, str(row.dim), *times)
        if row.name == POOLINGS[-1]:
            table.add_section()
    return table


def _caption(seeds: int) -> str:
    repeated = "" if seeds == 1 else f" Mean and deviation of {seeds} seeds."
    return (
        "Power and L2 normalised, linear SVM with C = 1. Preparation and sizes chosen for each pooling on "
        f"validation data, the test part used once.{repeated}"
    )


def _as_json(outcome: DemoOutcome, seeds: int) -> dict[str, Any]:
    return {
        "protocol": {
            "data": "Japanese Vowels, official split 270/370",
            "choices": {"preparation": PREPARATIONS, "net": NET},
            "seeds": seeds,
            "rnnfv": __version__,
        },
        "poolings": {
            row.name: {
                SPLIT: row.accuracies,
                "mean": row.mean,
                "std": row.std,
                "dim": row.dim,
                "fit_seconds": row.fit_seconds,
                "encode_seconds": row.encode_seconds,
                "chosen": None if row.choice is None else row.choice.parameters,
                "validation": None if row.choice is None else row.choice.validation_accuracy,
            }
            for row in outcome.rows
        },
    }
