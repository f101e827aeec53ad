"""What `rnnfv extract` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from rnnfv.recipes.extraction import extract_features
from rnnfv.video.backbones import make_backbone
from rnnfv.video.decode import Sampling

_MOST_SHOWN = 20


def run_extract(
    source: Path,
    backbone: str,
    out: Path,
    *,
    weights: Path | None = None,
    manifest: Path | None = None,
    every: int | None = None,
    fps: float | None = None,
    workers: int | None = None,
    device: str = "auto",
    **options: Any,
) -> int:
    """Extract, print a summary and the failures on stderr, and return how many videos failed.

    The options are those of the backbone (`rnnfv.video.backbones.make_backbone`); None stands for the default.
    """
    if every is not None and fps is not None:
        raise ValueError("give --every or --fps, not both")
    sampling = None
    if every is not None:
        sampling = Sampling(every=every)
    elif fps is not None:
        sampling = Sampling(fps=fps)
    net = make_backbone(backbone, weights, device=device, **options)
    summary = extract_features(source, net, out, manifest=manifest, sampling=sampling, workers=workers, progress=True)
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    if summary.was_finished:
        console.print(f"{summary.out} is finished already; nothing to do.")
    console.print(
        f"{summary.ok + summary.short} videos have features in {summary.out}; all are listed in {summary.report}"
    )
    if summary.short:
        console.print(f"{summary.short} of them are short: frames are missing")
    if summary.failed:
        console.print(f"{summary.failed} videos failed:")
        for name, reason in summary.failures[:_MOST_SHOWN]:
            console.print(f"  {name}: {reason}")
        if summary.failed > _MOST_SHOWN:
            console.print(f"  ... the others: {summary.report}")
    return summary.failed
