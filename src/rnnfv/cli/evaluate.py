"""What `rnnfv action evaluate` and `rnnfv action fuse` show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rnnfv import __version__
from rnnfv.cli.engine import HERE, Where, open_where
from rnnfv.cli.terminal import print_table, write_text
from rnnfv.cli.usage import UsageError, at_least_one, check_outputs
from rnnfv.datasets.labelled import load_labelled
from rnnfv.datasets.manifest import Manifest, read_manifest
from rnnfv.metrics import mean_accuracy
from rnnfv.recipes._work import job_of, open_work
from rnnfv.recipes.action import Fitted, Row, Settings, as_json, evaluate_actions
from rnnfv.recipes.fusion import SplitVectors, fuse, write_vectors
from rnnfv.recipes.recognizer import load_recognizer
from rnnfv.recipes.retrieval import image_side
from rnnfv.tables import as_latex, as_markdown


def run_evaluate(
    features: Path,
    manifest: Path,
    settings: Settings,
    *,
    splits: tuple[str, ...] | None = None,
    transfer: Path | None = None,
    through: Path | None = None,
    vectors: Path | None = None,
    allow_overlap: bool = False,
    reverse_test: bool = False,
    skip_missing: bool = False,
    where: Where = HERE,
    figures: Path | None = None,
    markdown: Path | None = None,
    latex: Path | None = None,
) -> None:
    """Evaluate, print the table, and write what was asked for."""
    check_outputs(figures, markdown, latex)
    listed = with_splits(read_manifest(manifest), splits)
    data = load_labelled(features, listed, skip_missing=skip_missing)
    keep = (lambda fitted: _keep_vectors(vectors, data.manifest, fitted)) if vectors else None
    left_out = len(listed.ids) - len(data.manifest.ids)
    protocol = {
        "features": str(features),
        "manifest": str(manifest),
        "splits": {split: _sizes(data.manifest, split) for split in data.manifest.splits},
        "seeds": list(range(settings.seeds)),
        "left_out": left_out,
        "groups_overlap_allowed": allow_overlap,
        "transfer": None if transfer is None else str(transfer),
        "through": None if through is None else str(through),
        "rnnfv": __version__,
    }
    # The folder of vectors is a part of what is done, and not only where it ends: what is done already lies there.
    kept_in = None if vectors is None else vectors.resolve()
    decides = {**settings.fitting, "reverse_test": reverse_test, "vectors": kept_in}
    files = {"features": features, "manifest": manifest, "transfer": transfer, "through": through}
    with open_work(figures, job_of("action evaluate", decides, files)) as work:
        with open_where(where) as engine, Console(stderr=True).status("") as spinner:
            rows = evaluate_actions(
                data,
                settings,
                transfer=None if transfer is None else load_recognizer(transfer).pipeline,
                through=None if through is None else image_side(through, features),
                allow_overlap=allow_overlap,
                reverse_test=reverse_test,
                engine=engine,
                report=spinner.update,
                keep=keep,
                work=work,
            )
        write_text(figures, json.dumps(as_json(rows, protocol, settings), indent=2) + "\n")
    header, lines = table_of(rows, settings.seeds)
    title = f"{manifest.stem}: {len(data.manifest.ids)} sequences, {len(np.unique(data.manifest.labels))} classes"
    print_table(f"{title}, {left_out} without features" if left_out else title, header, lines)
    write_text(markdown, as_markdown(header, lines))
    write_text(latex, as_latex(header, lines))


def run_fuse(
    runs: tuple[Path, ...], manifest: Path, seeds: int, splits: tuple[str, ...] | None, figures: Path | None
) -> None:
    """Fuse runs, print the accuracies, and write them if asked."""
    at_least_one(seeds=seeds)
    check_outputs(figures)
    accuracies = fuse(runs, with_splits(read_manifest(manifest), splits), seeds)
    mean, std = mean_accuracy(list(accuracies.values()))
    name = " + ".join(run.name for run in runs)
    print_table("Early fusion", *table_of({name: Row(accuracies)}, seeds))
    protocol = {"runs": list(map(str, runs)), "manifest": str(manifest), "seeds": list(range(seeds))}
    content = {"protocol": {**protocol, "rnnfv": __version__}, "fusion": {**accuracies, "mean": mean, "std": std}}
    write_text(figures, json.dumps(content, indent=2) + "\n")


def with_splits(manifest: Manifest, splits: tuple[str, ...] | None) -> Manifest:
    """The manifest with the named splits alone."""
    if splits is None:
        return manifest
    unknown = [name for name in splits if name not in manifest.splits]
    if unknown:
        raise UsageError(f"there is no split {unknown[0]!r}: choose among {', '.join(manifest.splits)}")
    chosen = {name: manifest.splits[name] for name in splits}
    return Manifest(manifest.ids, manifest.labels, manifest.groups, chosen, manifest.paths)


def table_of(rows: dict[str, Row], seeds: int) -> tuple[list[str], list[list[str]]]:
    """Header and lines: a pooling a line, its accuracy on each split, and over all."""
    first = next(iter(rows.values()))
    header = ["pooling", *first.accuracies, "mean" if seeds == 1 else "mean ± seeds"]
    header += ["numbers"] if first.dim else []
    header += ["played backwards", "predictions changed"] if first.changed else []
    lines = []
    for name, row in rows.items():
        line = [name, *(f"{np.mean(values):.2f}" for values in row.accuracies.values())]
        line.append(f"{row.mean:.2f}" if seeds == 1 else f"{row.mean:.2f} ± {row.std:.2f}")
        line += [str(row.dim)] if row.dim else []
        if row.changed:
            line += [f"{np.mean(list(v.values())):.2f}" for v in (row.reversed_accuracies, row.changed)]
        lines.append(line)
    return header, lines


def _sizes(manifest: Manifest, split: str) -> dict[str, int]:
    return {which: int((manifest.splits[split] == which).sum()) for which in ("train", "test")}


def _keep_vectors(folder: Path, manifest: Manifest, fitted: Fitted) -> None:
    parts: dict[str, Any] = {}
    for which, part in (("train", fitted.train), ("test", fitted.test)):
        parts[f"{which}_ids"] = manifest.ids[manifest.splits[fitted.split] == which]
        parts[which] = np.asarray(fitted.pipeline[:-1].transform(part[0]))
    write_vectors(folder / fitted.pooling, fitted.split, fitted.seed, SplitVectors(**parts))
