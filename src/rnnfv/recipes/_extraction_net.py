"""What extraction from videos and from pictures have in common: the net's side of it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.distributed import Tell, Worker
from rnnfv.recipes._extraction_job import VideoFeatures
from rnnfv.video.ahead import End

if TYPE_CHECKING:
    from rnnfv.video.backbones import Backbone

__all__ = ["NetWorker", "count_workers", "decoder_version", "outcome_of", "vectors_of"]

_MOST_WORKERS = 4  # by default; each decodes over a thousand small frames a second


@dataclass(frozen=True)
class NetWorker:
    """Makes, in whatever process it is called, the backbone and what reads files with it (`Engine.map`).

    Attributes
    ----------
    make_backbone : callable
    description : dict
        Of the backbone that is wanted.
    read : callable
        Takes the backbone, paths, and a callable to which it tells how many more frames were seen.
    """

    make_backbone: Callable[[], Backbone]
    description: dict[str, Any]
    read: Callable[[Backbone, Sequence[Path], Tell], Generator[tuple[int, VideoFeatures]]]

    def __call__(self) -> Worker:
        backbone = self.make_backbone()
        if (made := backbone.description()) != self.description:
            raise ValueError(
                f"the {backbone.name} of {platform.node()} is not the one asked for, but {made}: "
                "put the same file of weights on every machine"
            )
        return partial(self.read, backbone)


def vectors_of(backbone: Backbone, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the backbone makes of a batch of n frames or clips: shape (n, dim).

    Raises
    ------
    ValueError
        If it is of another shape.
    """
    vectors, wanted = backbone(batch), (len(batch), backbone.dim)
    if vectors.shape != wanted:
        raise ValueError(f"the backbone {backbone.name} gave an array of {vectors.shape}, not {wanted}")
    return vectors


def outcome_of(end: End, features: NDArray[np.float32]) -> VideoFeatures:
    """What came of a video that was read to its end, or of a picture."""
    declared, decoded = end.frames_declared, end.frames_decoded
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        reason = f"the backbone's output for step {np.argmin(finite)} has a NaN or infinite value"
        return VideoFeatures("failed", reason, declared, decoded)
    if not end.is_short:
        return VideoFeatures("ok", "", declared, decoded, features)
    is_less = declared is not None and decoded < declared
    reason = f"{decoded} of {declared} frames could be decoded" if is_less else "a part is missing or damaged"
    return VideoFeatures("short", reason, declared, decoded, features)


def count_workers(workers: int | None) -> int:
    """So many processes as were asked for; else as many as processors, at most 4."""
    return min(_MOST_WORKERS, os.cpu_count() or 1) if workers is None else workers


def decoder_version(name: str, package: str) -> str | None:
    """Such as "PyAV 17.0"; None where it is not installed."""
    try:
        return f"{name} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return None
