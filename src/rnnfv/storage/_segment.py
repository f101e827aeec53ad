"""One segment of a vector index: vectors and ids that were written together and are never changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy
from numpy.typing import NDArray

from rnnfv.storage._best import Best
from rnnfv.storage._cells import cell_count, nearest_cell, train_cells
from rnnfv.storage._index_record import SegmentEntry
from rnnfv.storage.atomic import atomic_folder

__all__ = ["Rows", "Segment", "segment_folder", "write_segment"]

_VECTORS, _IDS, _CELLS, _STARTS = "vectors.npy", "ids.parquet", "cells.npy", "starts.npy"
_BLOCK = 8192  # rows read at once
_SAMPLE = 64  # vectors a cell is trained on


# -- writing ---------------------------------------------------------------------------------------


def segment_folder(index: Path, number: int) -> Path:
    """Where in an index's folder a segment is."""
    return index / f"segment-{number:05d}"


class Rows:
    """The rows of several arrays, one behind the other, without putting them together in memory."""

    def __init__(self, parts: Sequence[NDArray[Any]]) -> None:
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The given rows, in the given order."""
        taken = np.empty((len(rows), self.parts[0].shape[1]), np.float32)
        part_of = np.searchsorted(self.ends, rows, side="right")
        for i in np.unique(part_of):
            here = part_of == i
            taken[here] = self.parts[i][rows[here] - (self.ends[i] - len(self.parts[i]))]
        return taken


def write_segment(
    folder: Path, rows: Rows, ids: pa.Array, positions: NDArray[np.int64], *, with_cells: bool
) -> dict[str, int]:
    """Write a segment's folder, which appears whole or not at all.

    Rows are in order of position, or cell by cell and in order of position within each cell.

    Returns
    -------
    dict of str to int
        Name and size in bytes of each file.
    """
    order = np.argsort(positions, kind="stable")
    with atomic_folder(folder) as new:
        if with_cells:
            cells = _train(rows)
            cell = np.concatenate([nearest_cell(rows.take(block), cells)[0] for block in _blocks(order)])
            order = order[np.argsort(cell, kind="stable")]
            np.save(new / _CELLS, cells)
            np.save(new / _STARTS, np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=len(cells)))]))
        _write_vectors(new / _VECTORS, rows, order)
        table = pa.table({"id": ids.take(pa.array(order)), "position": positions[order]})
        pq.write_table(table, new / _IDS, use_dictionary=False, write_page_checksum=True)
        return {path.name: path.stat().st_size for path in sorted(new.iterdir())}


def _train(rows: Rows) -> NDArray[np.float32]:
    n = int(rows.ends[-1])
    count = cell_count(n)
    sample = np.random.default_rng(0).choice(n, min(n, _SAMPLE * count), replace=False)
    return train_cells(rows.take(np.sort(sample)), min(count, n))


def _write_vectors(path: Path, rows: Rows, order: NDArray[np.int64]) -> None:
    # Written, not mapped: a full disk then is an error that can be told, not the end of the process.
    with path.open("wb") as file:
        shape = (len(order), rows.parts[0].shape[1])
        npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        for block in _blocks(order):
            file.write(rows.take(block).astype("<f4", copy=False).data)


def _blocks(order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(order), _BLOCK):
        yield order[start : start + _BLOCK]


# -- searching -------------------------------------------------------------------------------------


class Segment:
    """An open segment: vectors mapped from the disk, ids and cells in memory.

    Raises
    ------
    ValueError
        If a file is missing, of another size than recorded, or not what it should be; one line that names it.
    """

    def __init__(self, folder: Path, entry: SegmentEntry, dim: int) -> None:
        self.entry, n = entry, entry.rows
        with_cells = _CELLS in entry.files
        for name in (_VECTORS, _IDS, _CELLS, _STARTS) if with_cells else (_VECTORS, _IDS):
            _check_size(folder / name, entry.files.get(name))
        self.vectors = _array(folder / _VECTORS, np.float32, (n, dim))
        self.ids, self.positions = _read_ids(folder / _IDS, n)
        self.cells: NDArray[np.float32] | None = None
        if with_cells:
            self.cells = np.array(_array(folder / _CELLS, np.float32, (None, dim)))
            self.starts = np.array(_array(folder / _STARTS, np.int64, (len(self.cells) + 1,)))
            if self.starts[0] != 0 or self.starts[-1] != n or (np.diff(self.starts) < 0).any():
                raise ValueError(f"{folder / _STARTS} is damaged: make the index again")

    def __len__(self) -> int:
        return len(self.positions)

    def search(self, queries: NDArray[np.float32], best: Sequence[Best], probes: int | None, number: int) -> None:
        """Offer to each query's best the rows of the cells nearest to it, or all rows."""
        if self.cells is None or probes is None:
            for start in range(0, len(self), _BLOCK):
                block = self.vectors[start : start + _BLOCK]
                rows = np.arange(start, start + len(block))
                for of_query, scores in zip(best, queries @ block.T, strict=True):
                    of_query.offer(scores, rows, self.vectors, self.positions, number)
            return
        for query, of_query in zip(queries, best, strict=True):
            spans = self._spans(self.cells @ query, probes, of_query.top)
            scores = np.concatenate([self.vectors[first:last] @ query for first, last in spans])
            rows = np.concatenate([np.arange(first, last) for first, last in spans])
            of_query.offer(scores, rows, self.vectors, self.positions, number)

    def _spans(self, nearness: NDArray[np.float32], probes: int, top: int) -> list[tuple[int, int]]:
        """First and last row of the nearest cells: as many as asked for, and more where they hold too few rows."""
        order = np.argsort(-nearness, kind="stable")
        filled = np.cumsum(self.starts[order + 1] - self.starts[order])
        enough = int(np.searchsorted(filled, min(top, len(self)))) + 1
        cells = np.sort(order[: max(probes, enough)])
        return list(zip(self.starts[cells].tolist(), self.starts[cells + 1].tolist(), strict=True))


# -- opening ---------------------------------------------------------------------------------------


def _check_size(path: Path, size: int | None) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is missing: open the index again, or copy that file again from where it came")
    if path.stat().st_size != size:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes, not {size}: it was cut short or changed; copy it again"
        )


def _array(path: Path, dtype: type, shape: tuple[int | None, ...]) -> NDArray[Any]:
    try:
        array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or not an array of NumPy: make the index again") from error
    if (
        array.dtype != dtype
        or array.ndim != len(shape)
        or any(wanted not in {None, found} for wanted, found in zip(shape, array.shape, strict=True))
    ):
        raise ValueError(f"{path} holds {array.dtype} of shape {array.shape}: it belongs to another index")
    return array


def _read_ids(path: Path, n: int) -> tuple[pa.Array, NDArray[np.int64]]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read(["id", "position"])
        ids = table.column("id").cast(pa.large_string()).combine_chunks()
        positions = table.column("position").to_numpy().astype(np.int64, casting="safe")
    except (pa.ArrowException, KeyError, OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or lacks the columns id and position: make the index again") from error
    if len(positions) != n or ids.null_count:
        raise ValueError(f"{path} has {len(positions) - ids.null_count} ids for {n} vectors: make the index again")
    return ids, positions
