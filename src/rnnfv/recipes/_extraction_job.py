"""The folder that an extraction writes: shards, their rows, the report, and whether they belong to the job."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from numpy.typing import NDArray
from rich.progress import Progress, TextColumn

from rnnfv import __version__
from rnnfv.recipes._job import progress_bar, read_json, write_json
from rnnfv.recipes._videos import Video
from rnnfv.storage import atomic_file, one_writer, write_features

__all__ = ["ExtractionJob", "ExtractionSummary", "VideoFeatures"]

_HEADER = ["id", "path", "status", "reason", "frames_declared", "frames_decoded", "steps"]


@dataclass(frozen=True)
class ExtractionSummary:
    """What one call of `extract_features`, or of its like for pictures and trajectories, left behind.

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


class VideoFeatures(NamedTuple):
    """What came of one video.

    Attributes
    ----------
    status : {"ok", "short", "failed"}
    reason : str
        Why it is short or has failed; else empty.
    frames_declared, frames_decoded : int or None
        As in `rnnfv.video.decode.Frames`.
    features : ndarray of shape (N, dim), float32 (float16 for trajectories), or None
        None where it has failed.
    """

    status: str
    reason: str
    frames_declared: int | None = None
    frames_decoded: int | None = None
    features: NDArray[Any] | None = None


Extract = Callable[[list[Path], Callable[[int], None]], Generator[tuple[int, VideoFeatures]]]


class ExtractionJob:
    """Which videos and settings make a folder of features, and what of it is there.

    Parameters
    ----------
    videos : list of Video
    origin : dict
        What makes the features, in plain JSON values; kept in the shards. With another origin it is another job.
    versions : dict
        What else the shards are to tell; it may change between calls.
    out : Path
    shard_size : int
    dtype : {"float32", "float16"}
        How values are stored.
    """

    def __init__(
        self,
        videos: list[Video],
        origin: dict[str, Any],
        versions: dict[str, Any],
        out: Path,
        shard_size: int,
        dtype: Literal["float16", "float32"] = "float32",
    ) -> None:
        if shard_size < 1:
            raise ValueError(f"shard_size must be at least 1; got {shard_size}")
        self._videos, self._out, self._report, self._dtype = videos, out, out / "report.csv", dtype
        self._shards = [range(i, min(i + shard_size, len(videos))) for i in range(0, len(videos), shard_size)]
        self._under_way: dict[int, dict[int, VideoFeatures]] = {}
        self._metadata = {**origin, "rnnfv": __version__, **versions}
        sizes = [[video.id, video.name, video.size()] for video in videos]
        description = {"format": "rnnfv-extraction", "format_version": 1, "shard size": shard_size, **origin}
        self._description = json.loads(json.dumps({**description, "videos": sizes}))

    def run(self, extract: Extract, unit: str, progress: bool) -> ExtractionSummary:
        """Do what is not done yet.

        Parameters
        ----------
        extract : callable
            Takes paths and yields the index and the features of each, in any order; tells the second argument how
            many more units it has seen.
        unit : str
            Such as "frames", for the bar.
        progress : bool
            Show the bar.
        """
        if self._out.exists() and not self._out.is_dir():
            raise ValueError(f"{self._out} is not a folder: give another output")
        with one_writer(self._out / ".lock", self._out):
            return self._run(extract, unit, progress)

    def _run(self, extract: Extract, unit: str, progress: bool) -> ExtractionSummary:
        self._open()
        waiting = [i for k, shard in enumerate(self._shards) if not self._is_finished(k) for i in shard]
        if self._report.exists() and not waiting:
            return self._summary(was_finished=True)
        with progress_bar(progress, TextColumn("{task.fields[note]}")) as bar:
            tally = _Tally(bar, len(waiting), unit)
            with closing(extract([self._videos[i].path for i in waiting], tally.add_units)) as outcomes:
                for k, outcome in outcomes:
                    self._add(waiting[k], outcome)
                    tally.add_video(outcome.status == "failed")
        self._write_report()
        return self._summary(was_finished=False)

    def _open(self) -> None:
        """Make the folder, or see that it is of this job."""
        record = self._out / "job.json"
        found = read_json(record)
        if found is None:
            if self._report.exists() or any(self._out.glob("part-*")):
                raise ValueError(f"{self._out} holds files that are not of this job: give another output")
            write_json(record, self._description)
        elif found != self._description:
            keys = self._description if isinstance(found, dict) else ()
            other = ", ".join(key for key in keys if found.get(key) != self._description[key])
            raise ValueError(
                f"{self._out} holds another job's features (other {other}): give another output, or delete that folder"
            )

    def _add(self, i: int, outcome: VideoFeatures) -> None:
        """Take a video's outcome, and write its shard if it was the last one."""
        k = i // len(self._shards[0])
        outcomes = self._under_way.setdefault(k, {})
        outcomes[i] = outcome
        if len(outcomes) == len(self._shards[k]):
            self._write_shard(k, self._under_way.pop(k))

    def _write_shard(self, k: int, outcomes: dict[int, VideoFeatures]) -> None:
        rows, ids, features = [], [], []
        for i in self._shards[k]:
            video, (*told, vectors) = self._videos[i], outcomes[i]
            steps = 0 if vectors is None else len(vectors)
            rows.append(dict(zip(_HEADER, [video.id, video.name, *told, steps], strict=True)))
            if vectors is not None:
                ids.append(video.id)
                features.append(vectors)
        if features:
            write_features(self._out, ids, features, shard=k, dtype=self._dtype, metadata=self._metadata)
        else:
            self._part(k).with_suffix(".parquet").unlink(missing_ok=True)
        write_json(self._part(k), rows)

    def _write_report(self) -> None:
        with atomic_file(self._report) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, _HEADER, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows())

    def _summary(self, was_finished: bool) -> ExtractionSummary:
        rows = self._rows()
        count = Counter(row["status"] for row in rows)
        failures = [(row["id"], row["reason"]) for row in rows if row["status"] == "failed"]
        if len(failures) == len(rows):
            raise ValueError(f"nothing could be read (the first: {failures[0][1]}); {self._report} lists them")
        return ExtractionSummary(
            self._out, self._report, count["ok"], count["short"], count["failed"], failures, was_finished
        )

    def _is_finished(self, k: int) -> bool:
        rows = read_json(self._part(k))
        if rows is None:
            return False
        return self._part(k).with_suffix(".parquet").exists() or not any(row["steps"] for row in rows)

    def _part(self, k: int) -> Path:
        return self._out / f"part-{k:05d}.json"

    def _rows(self) -> list[dict[str, Any]]:
        return [row for k in range(len(self._shards)) for row in read_json(self._part(k))]


class _Tally:
    """What the bar shows."""

    def __init__(self, bar: Progress, total: int, unit: str) -> None:
        self._bar, self._task, self._unit = bar, bar.add_task("extracting", total=total, note=""), unit
        self._began = time.monotonic()
        self._units = self._failed = 0

    def add_units(self, count: int) -> None:
        self._units += count
        self._update()

    def add_video(self, failed: bool) -> None:
        self._failed += failed
        self._bar.advance(self._task)
        self._update()

    def _update(self) -> None:
        rate = self._units / (time.monotonic() - self._began)
        self._bar.update(self._task, note=f"{rate:.0f} {self._unit}/s, {self._failed} failed")
