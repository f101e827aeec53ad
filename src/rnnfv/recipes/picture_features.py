"""A folder of pictures to a folder of features: one vector a picture (SPEC S19)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rnnfv.distributed import LOCAL, Engine, LocalEngine
from rnnfv.recipes._extraction_job import ExtractionJob, ExtractionSummary, VideoFeatures
from rnnfv.recipes._extraction_net import NetWorker, count_workers, decoder_version, outcome_of, vectors_of
from rnnfv.recipes._videos import list_videos
from rnnfv.storage import as_path
from rnnfv.video.ahead import Block, End, Failed, decode_ahead

if TYPE_CHECKING:
    from rnnfv.video.backbones import Backbone

__all__ = ["extract_pictures", "through_net"]

_AT_ONCE = 32  # pictures handed to the backbone, at most


def extract_pictures(
    source: str | Path,
    backbone: Backbone,
    out: str | Path,
    *,
    manifest: str | Path | None = None,
    workers: int | None = None,
    shard_size: int = 250,
    engine: Engine = LOCAL,
    make_backbone: Callable[[], Backbone] | None = None,
    progress: bool = False,
) -> ExtractionSummary:
    """Extract the features of every picture with a backbone: sequences of one step.

    A picture's id is its path below the source, with the suffix. `rnnfv.video.pictures.read_picture` says how pictures
    are read. The folder, and what happens after a stop, are as of `rnnfv.recipes.extraction.extract_features`; in
    memory are, of the shards under way, the pictures as the backbone takes them.

    Parameters
    ----------
    source : str or Path
        A folder of pictures (`rnnfv.video.files.find_pictures`), or one picture.
    backbone : Backbone
        One of frames. It gets several pictures of one shape at a time.
    out : str or Path
        The folder to write.
    manifest : str or Path, optional
        A CSV whose columns ``id`` and ``path`` name the pictures; paths are relative to the source, or to the manifest.
    workers : int, optional
        Processes that decode; 0 decodes in this one. Default: as many as processors, at most 4. Where an engine has
        several workers, each has so many; default: as many as the processors that it reserves.
    shard_size : int
        Pictures a shard.
    engine : Engine
        Where pictures are decoded and go through the net.
    make_backbone : callable, optional
        Makes the backbone in the processes of an engine with several. Default: it is sent to them.
    progress : bool
        Show a bar on stderr: pictures done, pictures a second, failures, time left.

    Returns
    -------
    ExtractionSummary
        Pictures that cannot be read, and those with an output that is not finite, are listed there and in the CSV.

    Raises
    ------
    FileNotFoundError
        If there is no source or no manifest.
    ValueError
        If the backbone takes clips, there is no picture, an id occurs twice, no picture at all could be read, or the
        folder holds features of another backbone, of videos or of other pictures.
    ImportError
        If Pillow is not installed.
    """
    if backbone.input == "clips":
        raise ValueError(f"{backbone.name} takes clips of 16 frames, and a picture is one: choose another backbone")
    pictures = list_videos(Path(source), None if manifest is None else Path(manifest), pictures=True)
    origin = {"backbone": backbone.description(), "kind": "pictures"}
    versions = {"decoder": decoder_version("Pillow", "pillow")}
    together = max(n for n in range(1, _AT_ONCE + 1) if shard_size % n == 0)
    job = ExtractionJob(pictures, origin, versions, as_path(out), shard_size, together=together)
    make = (lambda: backbone) if make_backbone is None or isinstance(engine, LocalEngine) else make_backbone
    workers = engine.processes if workers is None else workers
    worker = NetWorker(make, backbone.description(), partial(_read, workers, together))
    return job.run(lambda paths, tell: engine.map(worker, paths, batch=shard_size, tell=tell), "pictures", progress)


def _read(
    workers: int | None, together: int, backbone: Backbone, paths: Sequence[Path], tell: Callable[[int], None]
) -> Generator[tuple[int, VideoFeatures]]:
    """The index of each picture and what came of it.

    Batches are made within groups of ``together`` pictures. So they do not depend on which picture was decoded first,
    nor on what an earlier call has done; nor do the last bits of the vectors.
    """
    frames: dict[int, NDArray[np.uint8]] = {}  # shape (1, height, width, 3) each
    left = [min(together, len(paths) - start) for start in range(0, len(paths), together)]
    with closing(decode_ahead(paths, None, backbone.prepare, workers=count_workers(workers))) as events:
        for event in events:
            if isinstance(event, Block):
                frames[event.index] = event.frames
                continue
            if isinstance(event, Failed):
                frames.pop(event.index, None)
                yield event.index, VideoFeatures("failed", event.reason)
            k = event.index // together
            left[k] -= 1
            if left[k] == 0:
                group = {i: frames.pop(i) for i in range(k * together, (k + 1) * together) if i in frames}
                yield from through_net(group, backbone, tell)


def through_net(
    frames: dict[int, NDArray[np.uint8]], backbone: Backbone, tell: Callable[[int], None] = lambda count: None
) -> Generator[tuple[int, VideoFeatures]]:
    """Make the vectors of prepared pictures; those of one shape are a batch.

    Parameters
    ----------
    frames : dict of ndarray of shape (1, h, w, 3), uint8
        By number, as ``backbone.prepare`` made them.
    backbone : Backbone
    tell : callable
        Told how many more pictures were seen by the backbone.

    Yields
    ------
    (int, VideoFeatures)
        The number of each picture and what came of it: features of shape (1, dim), or a reason.
    """
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, frame in frames.items():
        by_shape.setdefault(frame.shape, []).append(i)
    for batch in by_shape.values():
        vectors = vectors_of(backbone, np.concatenate([frames[i] for i in batch]))
        tell(len(batch))
        for i, vector in zip(batch, vectors, strict=True):
            yield i, outcome_of(End(i, 1, 1, is_short=False), vector[None])
