"""Feature shards: folders of Parquet files, one row a sequence, that other programs can read and write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rnnfv.sequences import Sequences, as_sequences, offsets_of
from rnnfv.storage._parquet_sizes import declared_size
from rnnfv.storage.atomic import atomic_file
from rnnfv.storage.bounds import one_line, refuse_inflated
from rnnfv.storage.remote import as_path, opened

__all__ = [
    "FeatureShard",
    "count_sequences",
    "feature_shards",
    "read_all_features",
    "read_features",
    "refuse_repeated_ids",
    "write_features",
]

_METADATA_KEY = b"rnnfv"
_CHECKSUM = "sha256"


class FeatureShard(NamedTuple):
    """The sequences of one shard, or of several.

    Attributes
    ----------
    ids : list of str
        The id of each sequence.
    sequences : Sequences
        Those that could be read. The arrays may be read-only: they are Arrow's own memory where possible.
    failures : list of (str, str)
        Id and reason of each item that was left out.
    """

    ids: list[str]
    sequences: Sequences
    failures: list[tuple[str, str]]


# -- writing ---------------------------------------------------------------------------------------


def write_features(
    folder: str | Path,
    ids: Sequence[str],
    seqs: Any,
    *,
    shard: int = 0,
    dtype: Literal["float16", "float32"] = "float32",
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write one shard, ``part-<shard>.parquet``, which appears whole or not at all.

    Parameters
    ----------
    folder : str or Path
        Made where missing.
    ids : sequence of str, n of them, all different
    seqs : Sequences, list of ndarray of shape (N_i, D), or ndarray of shape (n, N, D)
        About 250 sequences a shard keep it small enough to read at once. Symbols are written as their vectors.
    shard : int
        Number of the shard in the folder, from 0. A shard with this number is replaced.
    dtype : "float32" or "float16"
        How values are stored.
    metadata : mapping, optional
        Where the features come from; kept as JSON in the file's own metadata.

    Returns
    -------
    Path
        The shard.

    Raises
    ------
    ValueError
        If ids repeat or are too few, or a value is too large for the dtype.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from rnnfv.storage import feature_shards, read_features, write_features
    >>> folder = tempfile.mkdtemp()
    >>> path = write_features(folder, ["a", "b"], [np.ones((3, 2)), np.zeros((5, 2))])
    >>> path.name, feature_shards(folder) == [path]
    ('part-00000.parquet', True)
    >>> read_features(path).ids
    ['a', 'b']
    """
    seqs, ids = as_sequences(seqs), list(ids)
    if len(ids) != len(seqs):
        raise ValueError(f"there are {len(ids)} ids for {len(seqs)} sequences")
    _refuse_repeated(ids)
    if seqs.dim is None:
        raise ValueError("sequences of symbols have no features: give the table with Sequences.from_list(ids, vectors)")
    with np.errstate(over="ignore"):
        values = seqs.steps().astype(dtype, copy=False)
    if not np.isfinite(values).all():
        step = int(np.argmin(np.isfinite(values).all(axis=1)))
        i = int(np.searchsorted(seqs.offsets, step, side="right")) - 1
        raise ValueError(f"sequence {ids[i]!r} has a value too large for {dtype}: scale it, or store another dtype")
    steps = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), seqs.dim)
    table = pa.table({"id": pa.array(ids, pa.string()), "features": pa.ListArray.from_arrays(seqs.offsets, steps)})
    note = json.loads(json.dumps({"format": "rnnfv-features", "format_version": 1, **(metadata or {})}))
    note[_CHECKSUM] = _digest(note, ids, seqs.lengths, values)
    table = table.replace_schema_metadata({_METADATA_KEY: json.dumps(note).encode()})
    path = as_path(folder) / f"part-{shard:05d}.parquet"
    with atomic_file(path) as temporary:
        # A dictionary of floating-point values only costs; the checksums let a reader find damaged pages.
        pq.write_table(table, temporary, use_dictionary=False, write_page_checksum=True)
    return path


# -- finding and reading ---------------------------------------------------------------------------


def feature_shards(folder: str | Path) -> list[Path]:
    """The shards of a folder, sorted by name; hidden files are passed by.

    Parameters
    ----------
    folder : str or Path
        A folder of ``*.parquet`` files, or one such file.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no shard in it.
    """
    folder = as_path(folder)
    if folder.is_file() and folder.suffix == ".parquet":
        return [folder]
    shards = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith((".", "_")))
    if not shards:
        what = "holds no .parquet file" if folder.is_dir() else "is not a folder of features, nor a .parquet file"
        raise FileNotFoundError(f"{folder} {what}")
    return shards


def count_sequences(path: str | Path) -> int:
    """Rows of a shard, from its footer alone; 0 where the file cannot be read."""
    try:
        return int(pq.read_metadata(opened(as_path(path))).num_rows)
    except (pa.ArrowException, OSError, ValueError):
        return 0


def refuse_repeated_ids(shards: Sequence[Path]) -> None:
    """See from the id columns alone that no id occurs twice. A shard that cannot be read is passed by.

    Raises
    ------
    ValueError
        Naming the id and the shard in which it is found again.
    """
    seen: set[str] = set()
    for path in shards:
        try:
            source = opened(path)
            with pq.ParquetFile(source, read_dictionary=["id"]) as file:
                _refuse_inflated(path, source, ["id"])
                ids = [name for name in _names(id_column(path, file.read(["id"]))) if name]
        except (pa.ArrowException, KeyError, OSError, TypeError, ValueError):
            continue
        try:
            _refuse_repeated(ids, seen)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def read_features(path: str | Path, dim: int | None = None) -> FeatureShard:
    """Read one shard, written by `write_features` or by another program.

    The column "id" holds strings, the column "features" lists of lists of numbers, one inner list a step,
    of fixed or variable size. The shard is in memory as a whole.

    Parameters
    ----------
    path : str or Path
    dim : int, optional
        Values a step, D. Without it: that of the column's type, or the most frequent one.

    Returns
    -------
    FeatureShard
        Items that are empty, null, not finite or of another width are among its failures.

    Raises
    ------
    ValueError
        If the file is damaged, is not Parquet or lacks the columns; the message names it.
    """
    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    try:
        source = opened(path, whole=True)
        with pq.ParquetFile(source, page_checksum_verification=True, read_dictionary=["id"]) as file:
            _refuse_inflated(path, source, ["id", "features"])
            table = file.read(["id", "features"])
        ids = id_column(path, table)
        rows = table.column("features").combine_chunks()
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        missing = isinstance(error, KeyError)
        what = "has no columns id and features" if missing else "is damaged or not a Parquet file"
        raise ValueError(f"{path} {what} ({one_line(error)}): write it again, or move it away") from error
    try:
        names, steps = _names(ids), _Steps(rows)
        _verify((table.schema.metadata or {}).get(_METADATA_KEY), names, steps)
        return _to_shard(names, steps, dim)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def read_all_features(folder: str | Path) -> FeatureShard:
    """Read every shard of a folder into memory.

    Parameters
    ----------
    folder : str or Path
        A folder of shards, or one shard.

    Raises
    ------
    ValueError
        If a shard cannot be read, shards differ in width, or an id occurs twice.
    """
    ids: list[str] = []
    failures: list[tuple[str, str]] = []
    filled: list[Sequences] = []
    for path in feature_shards(folder):
        shard = read_features(path)
        ids += shard.ids
        failures += shard.failures
        if len(shard.sequences) == 0:
            continue
        if filled and shard.sequences.dim != filled[0].dim:
            raise ValueError(f"{path} has {shard.sequences.dim} values a step, but shards before it {filled[0].dim}")
        filled.append(shard.sequences)
    _refuse_repeated(ids + [name for name, _ in failures])
    if not filled:
        return FeatureShard(ids, shard.sequences, failures)
    offsets = offsets_of(np.concatenate([seqs.lengths for seqs in filled]))
    values = filled[0].values if len(filled) == 1 else np.concatenate([seqs.values for seqs in filled])
    return FeatureShard(ids, Sequences(values, offsets), failures)


# -- from Arrow ------------------------------------------------------------------------------------


class _Steps:
    """A column of lists of lists, laid flat: numbers, and where each step and each row begins."""

    def __init__(self, rows: pa.Array) -> None:
        steps, self.row_offsets, self.row_is_null = _unfold(rows)
        numbers, step_offsets, step_is_null = _unfold(steps)
        if not (pa.types.is_floating(numbers.type) or pa.types.is_integer(numbers.type)):
            raise TypeError(f"the column features holds {numbers.type}, not numbers")
        # Only what the rows refer to: a slice of a larger column has more before and behind.
        first, last = self.row_offsets[[0, -1]]
        self.row_offsets = self.row_offsets - first
        self.step_offsets = step_offsets[first : last + 1]
        self.step_is_null = step_is_null[first:last]
        first, last = self.step_offsets[[0, -1]]
        self.step_offsets = self.step_offsets - first
        self.numbers: NDArray[Any] = numbers.slice(first, last - first).to_numpy(zero_copy_only=False)
        self.declared_dim: int | None = steps.type.list_size if pa.types.is_fixed_size_list(steps.type) else None

    @property
    def widths(self) -> NDArray[np.int64]:
        return np.diff(self.step_offsets)

    def usual_dim(self) -> int:
        """The column's own width, or the most frequent one; 1 where there is no step to tell."""
        if self.declared_dim is not None:
            return max(1, self.declared_dim)
        widths, counts = np.unique(self.widths[self.widths > 0], return_counts=True)
        return int(widths[np.argmax(counts)]) if widths.size else 1

    def first_in_rows(self, steps: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
        """Row, step within the row, and step, of the first of the given (sorted) steps in each row."""
        rows, first = np.unique(np.searchsorted(self.row_offsets, steps, side="right") - 1, return_index=True)
        for row, step in zip(rows.tolist(), steps[first].tolist(), strict=True):
            yield row, step - int(self.row_offsets[row]), step

    def reasons(self, dim: int) -> dict[int, str]:
        """Why rows cannot be sequences of width ``dim``: one reason for each such row."""
        lengths = np.diff(self.row_offsets)
        found = dict.fromkeys(np.flatnonzero(self.row_is_null).tolist(), "the features are null")
        for row in np.flatnonzero(lengths == 0).tolist():
            found.setdefault(row, "there are no steps")
        for row, at, _ in self.first_in_rows(np.flatnonzero(self.step_is_null)):
            found.setdefault(row, f"step {at} is null")
        for row, at, step in self.first_in_rows(np.flatnonzero(self.widths != dim)):
            found.setdefault(row, f"step {at} has {self.widths[step]} values, not {dim}")
        bad = np.flatnonzero(~np.isfinite(self.numbers))
        for row, at, _ in self.first_in_rows(np.searchsorted(self.step_offsets, bad, side="right") - 1):
            found.setdefault(row, f"step {at} has a missing, NaN or infinite value")
        return found


def _unfold(array: pa.Array) -> tuple[pa.Array, NDArray[np.int64], NDArray[np.bool_]]:
    """The items of a list array, where each list begins among them (n + 1), and which lists are null."""
    if pa.types.is_fixed_size_list(array.type):
        offsets = (np.arange(len(array) + 1) + array.offset) * array.type.list_size
    elif pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        offsets = array.offsets.to_numpy().astype(np.int64)
    else:
        raise TypeError(f"the column features must hold lists of lists of numbers, one list a step; got {array.type}")
    return array.values, offsets, array.is_null().to_numpy(zero_copy_only=False)


def id_column(path: Path, table: pa.Table) -> pa.Array:
    """The column "id" of a file that was read with ``read_dictionary=["id"]``, so that one text for many rows is one.

    Raises
    ------
    ValueError
        If the ids, each with its own text, are much larger than the file.
    """
    ids = table.column("id").combine_chunks()
    if not pa.types.is_dictionary(ids.type):
        return ids
    if pa.types.is_string(ids.type.value_type) or pa.types.is_large_string(ids.type.value_type):
        lengths = pc.binary_length(ids.dictionary).take(ids.indices)
        refuse_inflated("its column id", pc.sum(lengths).as_py() or 0, path.stat().st_size)
    return ids.dictionary_decode()


def _refuse_inflated(path: Path, source: Any, columns: Sequence[str]) -> None:
    with path.open("rb") if source is path else nullcontext(source) as file:
        refuse_inflated("it", declared_size(file, columns), path.stat().st_size)


def _names(ids: pa.Array) -> list[str | None]:
    if not (pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type)):
        raise TypeError(f"the column id must hold strings; got {ids.type}")
    return list(ids.to_pylist())


def _verify(note: bytes | None, names: list[str | None], steps: _Steps) -> None:
    """See that a shard of ours is what was written: the checksums of its pages leave out what tells where they are."""
    try:
        content = json.loads(note or b"{}")
        wanted = content.pop(_CHECKSUM, None)
    except (AttributeError, ValueError) as error:
        raise ValueError("it is damaged: write it again, or move it away") from error
    if wanted is not None and wanted != _digest(content, names, np.diff(steps.row_offsets), steps.numbers):
        raise ValueError("it is damaged (its checksum is wrong): write it again, or move it away")


def _digest(note: dict[str, Any], ids: list[Any], lengths: NDArray[np.int64], values: NDArray[Any]) -> str:
    """The SHA-256 of all that a shard holds."""
    digest = hashlib.sha256(json.dumps([note, ids, str(values.dtype), values.size], sort_keys=True).encode())
    for array in (lengths.astype("<i8"), values):
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _to_shard(names: list[str | None], steps: _Steps, dim: int | None) -> FeatureShard:
    dim = dim or steps.usual_dim()
    reasons = steps.reasons(dim) | {row: "the id is missing" for row, name in enumerate(names) if not name}
    failures = [(names[row] or f"row {row}", reasons[row]) for row in sorted(reasons)]
    lengths = np.diff(steps.row_offsets)
    good = np.ones(len(names), dtype=bool)
    good[list(reasons)] = False
    numbers = steps.numbers
    if reasons:
        numbers = numbers[np.repeat(np.repeat(good, lengths), steps.widths)]
    ids = [name for row, name in enumerate(names) if name and row not in reasons]
    return FeatureShard(ids, Sequences(numbers.reshape(-1, dim), offsets_of(lengths[good])), failures)


def _refuse_repeated(ids: list[str], seen: set[str] | None = None) -> None:
    """Refuse an id that occurs twice, or is among those seen, to which the ids are added."""
    seen = set() if seen is None else seen
    for name in ids:
        if name in seen:
            raise ValueError(f"the id {name!r} occurs twice: every sequence needs an id of its own")
        seen.add(name)
