"""The folder that an extraction writes: shards, their rows, the report, and whether they belong to the job."""

from __future__ import annotations

import contextlib
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
from rnnfv.recipes._job import is_sealed, progress_bar, read_json, sealed, write_json
from rnnfv.recipes._videos import Video
from rnnfv.storage import (
    atomic_file,
    check_same_job,
    file_identity,
    one_writer,
    read_features,
    remove_folder,
    write_features,
)

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

    A run that ends early leaves what is done of unfinished shards in ``out/.unfinished``, sealed by a checksum. The
    next one takes it up, and removes it at its end.

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
    together : int
        So many videos of a shard, one after another, are done or not done together; it divides the shard's size.
    """

    def __init__(
        self,
        videos: list[Video],
        origin: dict[str, Any],
        versions: dict[str, Any],
        out: Path,
        shard_size: int,
        dtype: Literal["float16", "float32"] = "float32",
        together: int = 1,
    ) -> None:
        if shard_size < 1:
            raise ValueError(f"shard_size must be at least 1; got {shard_size}")
        self._videos, self._out, self._report, self._dtype = videos, out, out / "report.csv", dtype
        self._shards = [range(i, min(i + shard_size, len(videos))) for i in range(0, len(videos), shard_size)]
        self._together, self._unfinished = together, out / ".unfinished"
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
        self._take_up()
        waiting = [
            i
            for k, shard in enumerate(self._shards)
            if not self._is_finished(k)
            for i in shard
            if i not in self._under_way.get(k, ())
        ]
        if self._report.exists() and not waiting:
            return self._summary(was_finished=True)
        try:
            self._extract(waiting, extract, unit, progress)
        except BaseException:  # Ctrl-C, too
            self._put_by()
            raise
        remove_folder(self._unfinished)
        self._write_report()
        return self._summary(was_finished=False)

    def _extract(self, waiting: list[int], extract: Extract, unit: str, progress: bool) -> None:
        with progress_bar(progress, TextColumn("{task.fields[note]}")) as bar:
            tally = _Tally(bar, len(waiting), unit)
            with closing(extract([self._videos[i].path for i in waiting], tally.add_units)) as outcomes:
                for k, outcome in outcomes:
                    self._add(waiting[k], outcome)
                    tally.add_video(outcome.status == "failed")

    def _open(self) -> None:
        """Make the folder, or see that it is of this job."""
        record = self._out / "job.json"
        found = read_json(record)
        if found is None:
            if self._report.exists() or any(self._out.glob("part-*")):
                raise ValueError(f"{self._out} holds files that are not of this job: give another output")
            write_json(record, self._description)
        else:
            of_another = f"{self._out} holds another job's features"
            check_same_job(found, self._description, of_another, "give another output, or delete that folder")

    def _add(self, i: int, outcome: VideoFeatures) -> None:
        """Take a video's outcome, and write its shard if it was the last one."""
        k = i // len(self._shards[0])
        outcomes = self._under_way.setdefault(k, {})
        outcomes[i] = outcome
        if len(outcomes) == len(self._shards[k]):
            write_json(self._part(k), self._write(self._part(k), k, outcomes))
            del self._under_way[k]

    def _write(self, part: Path, k: int, outcomes: dict[int, VideoFeatures]) -> list[dict[str, Any]]:
        """Write the features of videos of a shard beside where their rows are to be; the rows."""
        rows, ids, features = [], [], []
        for i in sorted(outcomes):
            video, (*told, vectors) = self._videos[i], outcomes[i]
            steps = 0 if vectors is None else len(vectors)
            rows.append(dict(zip(_HEADER, [video.id, video.name, *told, steps], strict=True)))
            if vectors is not None:
                ids.append(video.id)
                features.append(vectors)
        if features:
            write_features(part.parent, ids, features, shard=k, dtype=self._dtype, metadata=self._metadata)
        else:
            part.with_suffix(".parquet").unlink(missing_ok=True)
        return rows

    def _put_by(self) -> None:
        """Keep what is done of unfinished shards for the next call."""
        for k, outcomes in self._under_way.items():
            part, together = self._unfinished / self._part(k).name, self._together
            done = Counter(i // together for i in outcomes)
            groups = {g for g in done if done[g] == len(self._videos[g * together : (g + 1) * together])}
            whole = {i: outcome for i, outcome in outcomes.items() if i // together in groups}
            # What ended the run is to be told, not that a shard could not be kept: that one is made again.
            with contextlib.suppress(OSError, ValueError):
                if whole:
                    write_json(part, sealed(self._with_checksum(part, self._write(part, k, whole)), self._description))

    def _take_up(self) -> None:
        """Take what an earlier call has put by. Where its seal is broken, or another job's, it is made again."""
        number = {video.id: i for i, video in enumerate(self._videos)}
        for k in range(len(self._shards)):
            part = self._unfinished / self._part(k).name
            record = read_json(part)
            if self._is_finished(k) or not is_sealed(record, self._description):
                continue
            rows = record["rows"]
            if record["features"] != self._with_checksum(part, rows)["features"]:
                continue
            has_features = any(row["steps"] for row in rows)
            features = iter(read_features(part.with_suffix(".parquet")).sequences if has_features else ())
            for row in rows:
                told = {name: row[name] for name in VideoFeatures._fields if name in row}
                vectors = next(features) if row["steps"] else None
                self._add(number[row["id"]], VideoFeatures(**told, features=vectors))

    @staticmethod
    def _with_checksum(part: Path, rows: Any) -> dict[str, Any]:
        """Rows, and the checksum of the features beside them."""
        features = part.with_suffix(".parquet")
        return {"rows": rows, "features": file_identity(features)["sha256"] if features.exists() else None}

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
