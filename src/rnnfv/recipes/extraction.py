"""A folder of videos to a folder of features: what is finished survives a stop, and every video has its row."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress, TextColumn

from rnnfv import __version__
from rnnfv.recipes._job import progress_bar, read_json, write_json
from rnnfv.recipes._videos import Video, list_videos
from rnnfv.storage import atomic_file, write_features
from rnnfv.video.ahead import Block, End, Failed, decode_ahead
from rnnfv.video.clips import ClipCutter
from rnnfv.video.decode import Sampling

if TYPE_CHECKING:
    from rnnfv.video.backbones import Backbone

__all__ = ["ExtractionSummary", "extract_features"]

_HEADER = ["id", "path", "status", "reason", "frames_declared", "frames_decoded", "steps"]
_MOST_WORKERS = 4  # by default; each decodes over a thousand small frames a second


@dataclass(frozen=True)
class ExtractionSummary:
    """What one call of `extract_features` left behind.

    Attributes
    ----------
    out : Path
        The folder of features.
    report : Path
        The CSV in it: ``id,path,status,reason,frames_declared,frames_decoded,steps``, one line a video.
    ok, short, failed : int
        Videos read to their end; those with frames missing, which have features of the others; those without features.
    failures : list of (str, str)
        Id and reason of the failed ones.
    was_finished : bool
        Whether an earlier call had done everything, so that nothing was done now.
    """

    out: Path
    report: Path
    ok: int
    short: int
    failed: int
    failures: list[tuple[str, str]]
    was_finished: bool


def extract_features(
    source: str | Path,
    backbone: Backbone,
    out: str | Path,
    *,
    manifest: str | Path | None = None,
    sampling: Sampling | None = None,
    workers: int | None = None,
    shard_size: int = 50,
    progress: bool = False,
) -> ExtractionSummary:
    """Extract the features of every video with a backbone.

    Videos are sorted by id and cut into fixed shards. Shard k is ``part-<k>.parquet`` (`rnnfv.storage`), absent where
    all its videos failed, and then ``part-<k>.json``, whose presence says that the shard is finished. A call after a
    stop (Ctrl-C, kill, power cut) does the unfinished shards and gives the same bytes; after the end it does nothing.
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
        Processes that decode; 0 decodes in this one. Default: as many as processors, at most 4.
    shard_size : int
        Videos a shard.
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
    workers = min(_MOST_WORKERS, os.cpu_count() or 1) if workers is None else workers
    videos = list_videos(Path(source), None if manifest is None else Path(manifest))
    job = _Job(videos, backbone, sampling, Path(out), shard_size)
    job.open()
    waiting = job.waiting()
    if job.report.exists() and not waiting:
        return job.summary(was_finished=True)
    with progress_bar(progress, TextColumn("{task.fields[note]}")) as bar:
        tally = _Tally(bar, len(waiting))
        paths = [job.videos[i].path for i in waiting]
        with closing(_extract(paths, backbone, sampling, workers, tally.add_frames)) as outcomes:
            for k, outcome in outcomes:
                job.add(waiting[k], outcome)
                tally.add_video(outcome.status == "failed")
    job.write_report()
    return job.summary(was_finished=False)


class _Tally:
    """What the bar shows."""

    def __init__(self, bar: Progress, total: int) -> None:
        self._bar, self._task = bar, bar.add_task("extracting", total=total, note="")
        self._began = time.monotonic()
        self._frames = self._failed = 0

    def add_frames(self, count: int) -> None:
        self._frames += count
        self._update()

    def add_video(self, failed: bool) -> None:
        self._failed += failed
        self._bar.advance(self._task)
        self._update()

    def _update(self) -> None:
        rate = self._frames / (time.monotonic() - self._began)
        self._bar.update(self._task, note=f"{rate:.0f} frames/s, {self._failed} failed")


# -- videos to features ----------------------------------------------------------------------------


class _Outcome(NamedTuple):
    status: str
    reason: str
    frames_declared: int | None = None
    frames_decoded: int | None = None
    features: NDArray[np.float32] | None = None


def _extract(
    paths: list[Path], backbone: Backbone, sampling: Sampling, workers: int, on_frames: Callable[[int], None]
) -> Generator[tuple[int, _Outcome]]:
    """The index and the outcome of each video, as they end."""
    under_way: dict[int, _Features] = {}
    with closing(decode_ahead(paths, sampling, backbone.prepare, workers=workers)) as events:
        for event in events:
            if isinstance(event, Block):
                under_way.setdefault(event.index, _Features(backbone)).push(event.frames)
                on_frames(len(event.frames))
            elif isinstance(event, Failed):
                under_way.pop(event.index, None)
                yield event.index, _Outcome("failed", event.reason)
            else:
                yield event.index, _outcome(event, under_way.pop(event.index).finish())


def _outcome(end: End, features: NDArray[np.float32]) -> _Outcome:
    declared, decoded = end.frames_declared, end.frames_decoded
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        reason = f"the backbone's output for step {np.argmin(finite)} has a NaN or infinite value"
        return _Outcome("failed", reason, declared, decoded)
    if not end.is_short:
        return _Outcome("ok", "", declared, decoded, features)
    is_less = declared is not None and decoded < declared
    reason = f"{decoded} of {declared} frames could be decoded" if is_less else "a part is missing or damaged"
    return _Outcome("short", reason, declared, decoded, features)


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
        vectors = self._backbone(batch)
        if vectors.shape != (len(batch), self._backbone.dim):
            wanted = (len(batch), self._backbone.dim)
            raise ValueError(f"the backbone {self._backbone.name} gave an array of {vectors.shape}, not {wanted}")
        self._vectors.append(vectors)


# -- the job: its files, and whether they belong to it ---------------------------------------------


class _Job:
    """Which videos, backbone and settings make a folder of features, and what of it is there."""

    def __init__(self, videos: list[Video], backbone: Backbone, sampling: Sampling, out: Path, shard_size: int) -> None:
        if shard_size < 1:
            raise ValueError(f"shard_size must be at least 1; got {shard_size}")
        self.videos, self.out, self.report = videos, out, out / "report.csv"
        self._shards = [range(i, min(i + shard_size, len(videos))) for i in range(0, len(videos), shard_size)]
        self._under_way: dict[int, dict[int, _Outcome]] = {}
        origin = {"backbone": backbone.description(), "sampling": asdict(sampling)}
        self._metadata = {**origin, "rnnfv": __version__, "decoder": _decoder()}
        sizes = [[video.id, video.name, video.size()] for video in videos]
        description = {"format": "rnnfv-extraction", "format_version": 1, "shard size": shard_size, **origin}
        self._description = json.loads(json.dumps({**description, "videos": sizes}))

    def open(self) -> None:
        """Make the folder, or see that it is of this job."""
        record = self.out / "job.json"
        found = read_json(record)
        if found is None:
            if self.report.exists() or any(self.out.glob("part-*")):
                raise ValueError(f"{self.out} holds files that are not of this job: give another output")
            write_json(record, self._description)
        elif found != self._description:
            keys = self._description if isinstance(found, dict) else ()
            other = ", ".join(key for key in keys if found.get(key) != self._description[key])
            raise ValueError(
                f"{self.out} holds another job's features (other {other}): give another output, or delete that folder"
            )

    def waiting(self) -> list[int]:
        """The videos of the shards that are not finished."""
        return [i for k, shard in enumerate(self._shards) if not self._is_finished(k) for i in shard]

    def add(self, i: int, outcome: _Outcome) -> None:
        """Take a video's outcome, and write its shard if it was the last one."""
        k = i // len(self._shards[0])
        outcomes = self._under_way.setdefault(k, {})
        outcomes[i] = outcome
        if len(outcomes) == len(self._shards[k]):
            self._write_shard(k, self._under_way.pop(k))

    def write_report(self) -> None:
        with atomic_file(self.report) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, _HEADER, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows())

    def summary(self, was_finished: bool) -> ExtractionSummary:
        rows = self._rows()
        count = Counter(row["status"] for row in rows)
        failures = [(row["id"], row["reason"]) for row in rows if row["status"] == "failed"]
        if len(failures) == len(rows):
            raise ValueError(f"no video could be read (the first: {failures[0][1]}); {self.report} lists them")
        return ExtractionSummary(
            self.out, self.report, count["ok"], count["short"], count["failed"], failures, was_finished
        )

    def _write_shard(self, k: int, outcomes: dict[int, _Outcome]) -> None:
        rows, ids, features = [], [], []
        for i in self._shards[k]:
            video, (*told, vectors) = self.videos[i], outcomes[i]
            steps = 0 if vectors is None else len(vectors)
            rows.append(dict(zip(_HEADER, [video.id, video.name, *told, steps], strict=True)))
            if vectors is not None:
                ids.append(video.id)
                features.append(vectors)
        if features:
            write_features(self.out, ids, features, shard=k, metadata=self._metadata)
        else:
            self._part(k).with_suffix(".parquet").unlink(missing_ok=True)
        write_json(self._part(k), rows)

    def _is_finished(self, k: int) -> bool:
        rows = read_json(self._part(k))
        if rows is None:
            return False
        return self._part(k).with_suffix(".parquet").exists() or not any(row["steps"] for row in rows)

    def _part(self, k: int) -> Path:
        return self.out / f"part-{k:05d}.json"

    def _rows(self) -> list[dict[str, Any]]:
        return [row for k in range(len(self._shards)) for row in read_json(self._part(k))]


def _decoder() -> str | None:
    try:
        return f"PyAV {importlib.metadata.version('av')}"
    except importlib.metadata.PackageNotFoundError:
        return None
