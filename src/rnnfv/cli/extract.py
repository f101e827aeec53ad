"""What `rnnfv extract` prints."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rnnfv.cli.engine import HERE, Where, open_where
from rnnfv.cli.terminal import notes
from rnnfv.cli.usage import UsageError, at_least_one, check_workers, usage
from rnnfv.recipes.extraction import ExtractionSummary, extract_features
from rnnfv.recipes.idt_features import extract_trajectories
from rnnfv.recipes.picture_features import extract_pictures
from rnnfv.storage import as_path
from rnnfv.video.backbones import check_backbone, make_backbone
from rnnfv.video.decode import Sampling

_MOST_SHOWN = 20


def run_extract(
    source: Path,
    backbone: str,
    out: Path,
    *,
    weights: Path | None = None,
    manifest: Path | None = None,
    images: bool = False,
    every: int | None = None,
    fps: float | None = None,
    workers: int | None = None,
    device: str = "auto",
    where: Where = HERE,
    as_json: bool = False,
    **options: Any,
) -> int:
    """Extract, print a summary and the failures, on stderr or as JSON, and return how many videos, or pictures, failed.

    The options are those of the backbone (`rnnfv.video.backbones.make_backbone`), or ``max_steps`` for "idt"; None
    stands for the default.
    """
    check_workers(workers)
    if backbone == "idt":
        if where != HERE:
            raise UsageError("improved dense trajectories are read on one machine: leave --engine out")
        given = {"weights": weights, "images": images or None, "every": every, "fps": fps, "workers": workers}
        _only_max_steps(options | given | {"device": None if device == "auto" else device})
        steps = options.get("max_steps")
        at_least_one(max_steps=steps)
        summary = extract_trajectories(source, out, manifest=manifest, max_steps=steps, progress=True)
        _tell(summary, "videos", as_json)
        return summary.failed
    if images and (every is not None or fps is not None):
        raise UsageError("--every and --fps are of videos: leave them out with --images")
    with usage():
        sampling = _sampling(every, fps)
        check_backbone(backbone, weights, **options)
    if not as_path(source).exists():  # said before a backbone is loaded, or fetched
        what = "pictures" if images else "videos, or one video"
        raise FileNotFoundError(f"{source} is not there: give a folder of {what}")
    make = partial(make_backbone, backbone, weights, device=device, **options)
    with open_where(where) as engine:
        there: dict[str, Any] = {"workers": workers, "engine": engine, "make_backbone": make, "progress": True}
        if images:
            summary = extract_pictures(source, make(), out, manifest=manifest, **there)
        else:
            summary = extract_features(source, make(), out, manifest=manifest, sampling=sampling, **there)
    _tell(summary, "pictures" if images else "videos", as_json)
    return summary.failed


def _sampling(every: int | None, fps: float | None) -> Sampling | None:
    if every is not None and fps is not None:
        raise UsageError("give --every or --fps, not both")
    if every is not None:
        return Sampling(every=every)
    return None if fps is None else Sampling(fps=fps)


def _only_max_steps(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if name != "max_steps" and value is not None:
            raise UsageError(f"idt has no option {name!r}: it has max_steps")


def _tell(summary: ExtractionSummary, items: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(summary), indent=2, default=str))
        return
    console = notes()
    if summary.was_finished:
        console.print(f"{summary.out} is finished already; nothing to do.")
    console.print(
        f"{summary.ok + summary.short} {items} have features in {summary.out}; all are listed in {summary.report}"
    )
    if summary.short:
        console.print(f"{summary.short} of them are short: frames are missing")
    if summary.failed:
        console.print(f"{summary.failed} {items} failed:")
        for name, reason in summary.failures[:_MOST_SHOWN]:
            console.print(f"  {name}: {reason}")
        if summary.failed > _MOST_SHOWN:
            console.print(f"  ... the others: {summary.report}")
