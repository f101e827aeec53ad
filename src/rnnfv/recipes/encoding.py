"""A folder of features to one array of vectors, shard by shard: what is finished survives a stop."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.progress import ProgressColumn, Task
from rich.text import Text
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from rnnfv.distributed import LOCAL, Engine, Tell, Worker
from rnnfv.encoders.steps import StepPreprocessor
from rnnfv.recipes._job import is_sealed, progress_bar, read_json, sealed, write_json
from rnnfv.sequences import Sequences
from rnnfv.storage import (
    as_path,
    atomic_file,
    count_sequences,
    ends_identity,
    feature_shards,
    file_identity,
    load,
    model_checksum,
    move_file,
    one_writer,
    read_features,
    refuse_repeated_ids,
    remove_folder,
    write_npy,
)

__all__ = ["EncodingSummary", "encode_features"]

_BLOCK = 256  # sequences transformed together, so that a large shard shows progress
_CHUNK = 1 << 20  # bytes of vectors that are joined together
_HEADER = ["id", "row", "status", "reason"]


@dataclass(frozen=True)
class EncodingSummary:
    """What one call of `encode_features` left behind.

    Attributes
    ----------
    out : Path
        The vectors, .npy, shape (encoded, dim).
    table : Path
        The CSV beside it: ``id,row,status,reason``.
    encoded : int
        Sequences with a vector, which are the rows of ``out``.
    failed : int
        Lines of the table without one: sequences, and shards that could not be read at all.
    dim : int
        Numbers a vector.
    was_finished : bool
        Whether an earlier call had done everything, so that nothing was done now.
    """

    out: Path
    table: Path
    encoded: int
    failed: int
    dim: int
    was_finished: bool


def encode_features(
    features: str | Path, model: str | Path, out: str | Path, *, engine: Engine = LOCAL, progress: bool = False
) -> EncodingSummary:
    """Encode every sequence of a folder of features with a saved model.

    Each shard becomes a finished part in ``<out>.parts`` beside the output; at the end the parts are joined and
    removed. A call after a stop (Ctrl-C, kill, power cut) goes on behind the last finished part and gives the
    same bytes; after the end it does nothing. In memory is one shard and its vectors, however many there are.

    Parameters
    ----------
    features : str or Path
        A folder of shards (`rnnfv.storage.write_features`), or one shard.
    model : str or Path
        The model folder of a fitted transformer.
    out : str or Path
        The .npy file to write. A ``.csv`` of the same name tells each id's row, or why it has none.
    engine : Engine
        Where shards are read and encoded. The vectors come back to be written here.
    progress : bool
        Show a bar on stderr: sequences done, rate, time left.

    Returns
    -------
    EncodingSummary
        Sequences that cannot be read, and shards that cannot be read, are counted there and listed in the CSV.

    Raises
    ------
    ModelFolderError
        If the model cannot be loaded.
    FileNotFoundError
        If there are no features.
    ValueError
        If the model cannot transform, an id occurs twice, no sequence at all could be encoded, or the output or
        the parts are of another model or of other features.
    BlockingIOError
        If another program writes the same output.
    """
    job = _Job(as_path(features), as_path(model), as_path(out))
    if job.is_finished() and not (job.parts.exists() or job.lock.exists()):
        return job.summary(was_finished=True)
    with one_writer(job.lock, job.out):
        return _finish(job, as_path(model), engine, progress)


def _finish(job: _Job, model: Path, engine: Engine, progress: bool) -> EncodingSummary:
    """Do what is not done yet."""
    if job.is_finished():
        remove_folder(job.parts)  # left by a stop after the very last step
        return job.summary(was_finished=True)
    refuse_repeated_ids(job.shards)
    estimator = _load_transformer(model)
    job.open_parts()
    waiting = [i for i in range(len(job.shards)) if not job.has_part(i)]
    with progress_bar(progress, _Rate()) as bar:
        total = sum(count_sequences(job.shards[i]) for i in waiting) if progress else None
        task = bar.add_task("encoding", total=total)
        worker, shards = partial(_worker, estimator), [job.shards[i] for i in waiting]
        with closing(engine.map(worker, shards, batch=1, tell=lambda n: bar.advance(task, n))) as encoded:
            for k, shard in encoded:
                job.write_part(waiting[k], shard)
    job.join()
    return job.summary(was_finished=False)


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


# -- one shard -------------------------------------------------------------------------------------


def _load_transformer(model: Path) -> Any:
    estimator = load(model)
    if not hasattr(estimator, "transform"):
        raise ValueError(f"{model} holds a {type(estimator).__name__}, which has no transform: give an encoder")
    if isinstance(estimator[-1] if isinstance(estimator, Pipeline) else estimator, StepPreprocessor):
        raise ValueError(f"{model} makes sequences of sequences, not vectors: it must end with an encoder")
    check_is_fitted(estimator)
    return estimator


class _Encoded(NamedTuple):
    """What came of a shard: the ids, the reasons why others have none, and the vectors, None where none was tried."""

    ids: list[str]
    failures: list[tuple[str, str]]
    vectors: NDArray[Any] | None


def _worker(estimator: Any) -> Worker:
    """See `Engine.map`; the items are shards."""

    def encode(shards: Sequence[Path], tell: Tell) -> Iterator[tuple[int, _Encoded]]:
        for i, shard in enumerate(shards):
            yield i, _encode_shard(estimator, shard, tell)

    return encode


def _encode_shard(estimator: Any, shard: Path, tell: Tell) -> _Encoded:
    try:
        read = read_features(shard, getattr(estimator, "n_features_in_", None))
    except (OSError, ValueError) as error:
        return _Encoded([], [(shard.name, str(error))], None)
    tell(len(read.failures))
    ids, failures = read.ids, list(read.failures)
    if not ids:
        return _Encoded(ids, failures, None)
    vectors = _transform(estimator, read.sequences, tell)
    finite = np.isfinite(vectors).all(axis=1)
    failures += [(ids[i], "the vector has a NaN or infinite value") for i in np.flatnonzero(~finite)]
    kept = [ids[i] for i in np.flatnonzero(finite)]
    return _Encoded(kept, failures, vectors if finite.all() else vectors[finite])


def _transform(estimator: Any, seqs: Sequences, tell: Tell) -> NDArray[Any]:
    blocks = []
    for start in range(0, len(seqs), _BLOCK):
        blocks.append(np.asarray(estimator.transform(seqs[start : start + _BLOCK])))
        tell(len(blocks[-1]))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


# -- the job: its files, and whether they belong to it ---------------------------------------------


class _Job:
    """Which model and which features make an output, and where its parts are."""

    def __init__(self, features: Path, model: Path, out: Path) -> None:
        if out.suffix != ".npy":
            raise ValueError(f"the output must be a .npy file; got {out}")
        self.out, self.table = out, out.with_suffix(".csv")
        self.parts, self.record = out.with_name(f"{out.name}.parts"), out.with_name(f"{out.name}.job.json")
        self.lock = out.with_name(f".{out.name}.lock")
        self.shards = feature_shards(features)
        self.description = {
            "format": "rnnfv-encoding",
            "format_version": 1,
            "model": model_checksum(model),
            "shards": [[shard.name, *ends_identity(shard)] for shard in self.shards],
        }

    def part(self, i: int) -> Path:
        """The JSON of part i; its vectors are beside it."""
        return self.parts / f"part-{i:05d}.json"

    def has_part(self, i: int) -> bool:
        """Whether part i is done, and its JSON as it was written."""
        return is_sealed(read_json(self.part(i)), self.description)

    def write_part(self, i: int, shard: _Encoded) -> None:
        """Write part i: the vectors, then the JSON of ids and failures, whose presence says it is finished."""
        checksum, path = None, self.part(i).with_suffix(".npy")
        if shard.vectors is not None:
            with atomic_file(path) as temporary:
                write_npy(temporary, shard.vectors.shape, shard.vectors.dtype, [shard.vectors])
            checksum = file_identity(path)["sha256"]
        note = {"ids": shard.ids, "failures": shard.failures, "sha256": checksum}
        write_json(self.part(i), sealed(note, self.description))

    def is_finished(self) -> bool:
        """Whether the output is there already. One of another job is refused."""
        if not self.out.exists():
            return False
        if not self.table.exists() or read_json(self.record) != self.description:
            raise ValueError(
                f"{self.out} exists and is not of this model and these features: delete it or give another output"
            )
        return True

    def open_parts(self) -> None:
        """Make the folder of parts, or find it as an earlier call of this job left it."""
        if self.table.exists():
            with self.table.open(encoding="utf-8", newline="") as file:
                if next(csv.reader(file), None) != _HEADER:
                    raise ValueError(f"{self.table} exists and would be overwritten: move it or give another output")
        record = self.parts / "job.json"
        if record.exists() or any(self.parts.glob("part-*")):
            if read_json(record) != self.description:
                raise ValueError(
                    f"{self.parts} holds parts of another model or of other features: "
                    "delete that folder or give another output"
                )
        else:
            write_json(record, self.description)

    def join(self) -> None:
        """Join the parts. The output appears last, so that its presence says that all is done."""
        first_reason = self._write_table()
        counts = {i: len(ids) for i in range(len(self.shards)) if (ids := self._read_part(i)[0])}
        if not counts:
            remove_folder(self.parts)
            raise ValueError(f"no sequence could be encoded (the first: {first_reason}); {self.table} lists them")
        write_json(self.record, self.description)
        joined = self.parts / "joined.npy"
        dim, dtype = self._layout(next(iter(counts)))
        blocks = (block for i, n in counts.items() for block in self._vectors(i, n, dim, dtype))
        with atomic_file(joined) as temporary:
            write_npy(temporary, (sum(counts.values()), dim), dtype, blocks)
        move_file(joined, self.out)
        remove_folder(self.parts)

    def summary(self, was_finished: bool) -> EncodingSummary:
        (encoded, dim), _ = _header(self.out)
        with self.table.open(encoding="utf-8", newline="") as file:
            failed = sum(line["status"] == "failed" for line in csv.DictReader(file))
        return EncodingSummary(self.out, self.table, encoded, failed, dim, was_finished)

    def _layout(self, i: int) -> tuple[int, np.dtype[Any]]:
        """Numbers a vector and their type, as part i has them."""
        path = self.part(i).with_suffix(".npy")
        try:
            (_, dim), dtype = _header(path)
            if dtype.hasobject or not 0 < dim * dtype.itemsize <= path.stat().st_size:
                raise ValueError("its header is not what was written")
        except (FileNotFoundError, ValueError) as error:
            raise self._damaged(i) from error
        return dim, dtype

    def _vectors(self, i: int, n: int, dim: int, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
        """The n vectors of part i, a few at a time in one place; at their end it is known that they are as written."""
        block = np.empty((max(1, _CHUNK // (dim * dtype.itemsize)), dim), dtype)
        try:
            with self.part(i).with_suffix(".npy").open("rb") as file:
                _read_header(file)
                start = file.tell()
                file.seek(0)
                digest = sha256(file.read(start))
                for first in range(0, n, len(block)):
                    rows = block[: n - first]
                    file.readinto(rows.data.cast("B"))
                    digest.update(rows.data)
                    yield rows
                digest.update(file.read(1))
        except (FileNotFoundError, ValueError) as error:
            raise self._damaged(i) from error
        if digest.hexdigest() != read_json(self.part(i))["sha256"]:
            raise self._damaged(i)

    def _damaged(self, i: int) -> ValueError:
        """Give up part i."""
        self.part(i).unlink()
        path = self.part(i).with_suffix(".npy")
        return ValueError(f"{path} is damaged: start the same command again, and that part is made anew")

    def _read_part(self, i: int) -> tuple[list[str], list[tuple[str, str]]]:
        note = read_json(self.part(i))
        return note["ids"], note["failures"]

    def _write_table(self) -> str | None:
        """Write the table of all parts; return the first reason for a failure."""
        row, first_reason = 0, None
        with atomic_file(self.table) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_HEADER)
            for i in range(len(self.shards)):
                ids, failures = self._read_part(i)
                writer.writerows([name, row + k, "ok", ""] for k, name in enumerate(ids))
                writer.writerows([name, "", "failed", reason] for name, reason in failures)
                row += len(ids)
                if failures and first_reason is None:
                    first_reason = failures[0][1]
        return first_reason


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an .npy file."""
    with path.open("rb") as file:
        return _read_header(file)


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    np.lib.format.read_magic(file)  # always version 1: vectors have no names
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, dtype
