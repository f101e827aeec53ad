"""A folder of videos to a folder of features: what is finished survives a stop, and every video has its row."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rnnfv.distributed import LOCAL, Engine, LocalEngine, Tell
from rnnfv.recipes._extraction_job import ExtractionJob, ExtractionSummary, VideoFeatures
from rnnfv.recipes._extraction_net import NetWorker, count_workers, decoder_version, outcome_of, vectors_of
from rnnfv.recipes._videos import list_videos
from rnnfv.storage import as_path
from rnnfv.video.ahead import Block, Failed, decode_ahead
from rnnfv.video.clips import ClipCutter
from rnnfv.video.decode import Sampling

if TYPE_CHECKING:
    from rnnfv.video.backbones import Backbone

__all__ = ["ExtractionSummary", "VideoFeatures", "extract_features", "read_features_of"]

_AT_ONCE = 16  # videos that one of several workers takes; processes that decode start anew for them


def extract_features(
    source: str | Path,
    backbone: Backbone,
    out: str | Path,
    *,
    manifest: str | Path | None = None,
    sampling: Sampling | None = None,
    workers: int | None = None,
    shard_size: int = 50,
    engine: Engine = LOCAL,
    make_backbone: Callable[[], Backbone] | None = None,
    progress: bool = False,
) -> ExtractionSummary:
    """Extract the features of every video with a backbone.

    Videos are sorted by id and cut into fixed shards. Shard k is ``part-<k>.parquet`` (`rnnfv.storage`), absent where
    all its videos failed, and then ``part-<k>.json``, whose presence says that the shard is finished. A call after a
    stop goes on and gives the same bytes; after the end it does nothing. Ctrl-C or an error costs the videos that were
    being decoded; a kill or a power cut costs the shards under way.
    In memory are the shards under way (one, or a few where one video is much longer than others) and two blocks of
    frames a process.

    Parameters
    ----------
    source : str or Path
        A folder of videos (`rnnfv.video.files.find_videos`), or one video.
    backbone : Backbone
        See `rnnfv.video.backbones.make_backbone`. It gets the frames of one video at a time, in blocks, or the clips
        of 16 frames cut from them, every 8 (SPEC S9).
    out : str or Path
        The folder to write.
    manifest : str or Path, optional
        A CSV whose columns ``id`` and ``path`` name the videos; paths are relative to the source, or to the manifest.
    sampling : Sampling, optional
        Default: one frame in 10 for a net of frames (SPEC S7), every frame for a net of clips (S9).
    workers : int, optional
        Processes that decode; 0 decodes in this one. Default: as many as processors, at most 4. Where an engine has
        several workers, each has so many; default: as many as the processors that it reserves.
    shard_size : int
        Videos a shard.
    engine : Engine
        Where videos are decoded and go through the net.
    make_backbone : callable, optional
        Makes the backbone in the processes of an engine with several. Default: it is sent to them.
    progress : bool
        Show a bar on stderr: videos done, frames a second, failures, time left.

    Returns
    -------
    ExtractionSummary
        Videos that cannot be read, and those with an output that is not finite, are listed there and in the CSV.

    Raises
    ------
    FileNotFoundError
        If there is no source or no manifest.
    ValueError
        If there is no video, an id occurs twice, no video at all could be read, or the folder holds features of
        another backbone, other settings or other videos.
    ImportError
        If PyAV, or Pillow, is needed and not installed.
    """
    if sampling is None:
        sampling = Sampling(every=1 if backbone.input == "clips" else 10)
    videos = list_videos(Path(source), None if manifest is None else Path(manifest))
    origin = {"backbone": backbone.description(), "sampling": asdict(sampling)}
    job = ExtractionJob(videos, origin, {"decoder": decoder_version("PyAV", "av")}, as_path(out), shard_size)
    make = (lambda: backbone) if make_backbone is None or isinstance(engine, LocalEngine) else make_backbone
    workers = engine.processes if workers is None else workers
    worker = NetWorker(make, backbone.description(), partial(_read, sampling, workers))
    return job.run(lambda paths, tell: engine.map(worker, paths, batch=_AT_ONCE, tell=tell), "frames", progress)


# -- videos to features ----------------------------------------------------------------------------


def _read(
    sampling: Sampling, workers: int | None, backbone: Backbone, paths: Sequence[Path], tell: Tell
) -> Generator[tuple[int, VideoFeatures]]:
    return read_features_of(paths, backbone, sampling, workers, tell)


def read_features_of(
    paths: Sequence[Path],
    backbone: Backbone,
    sampling: Sampling,
    workers: int | None = None,
    on_frames: Callable[[int], None] = lambda count: None,
) -> Generator[tuple[int, VideoFeatures]]:
    """Make the features of videos, without writing them.

    Parameters
    ----------
    paths : sequence of Path
    backbone, sampling, workers
        As for `extract_features`.
    on_frames : callable
        Is told how many more frames were seen by the backbone.

    Yields
    ------
    (int, VideoFeatures)
        The index of each video and what came of it, as they end.
    """
    under_way: dict[int, _Features] = {}
    with closing(decode_ahead(paths, sampling, backbone.prepare, workers=count_workers(workers))) as events:
        for event in events:
            if isinstance(event, Block):
                under_way.setdefault(event.index, _Features(backbone)).push(event.frames)
                on_frames(len(event.frames))
            elif isinstance(event, Failed):
                under_way.pop(event.index, None)
                yield event.index, VideoFeatures("failed", event.reason)
            else:
                yield event.index, outcome_of(event, under_way.pop(event.index).finish())


class _Features:
    """The vectors of one video, made as its frames come."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._cutter = ClipCutter() if backbone.input == "clips" else None
        self._vectors: list[NDArray[np.float32]] = []

    def push(self, frames: NDArray[np.uint8]) -> None:
        self._add(frames if self._cutter is None else self._cutter.push(frames))

    def finish(self) -> NDArray[np.float32]:
        if self._cutter is not None:
            self._add(self._cutter.finish())
        return np.concatenate(self._vectors)

    def _add(self, batch: NDArray[np.uint8]) -> None:
        if len(batch) == 0:
            return
        self._vectors.append(vectors_of(self._backbone, batch))
