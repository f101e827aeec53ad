"""A folder of unit vectors with ids, and the nearest of them to a query: exact for thousands, quick for millions."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from rnnfv.storage._best import Best
from rnnfv.storage._index_record import IndexRecord, SegmentEntry
from rnnfv.storage._lock import one_writer
from rnnfv.storage._segment import Rows, Segment, segment_folder, write_segment

__all__ = ["VectorIndex", "open_index"]

_LENGTH_TOLERANCE = 1e-3  # what is left of length one after storage as float16
_BLOCK = 8192  # vectors checked at once
_QUERIES = 256  # queries answered together


class VectorIndex:
    """Unit vectors with an id each, in a folder that can grow. Made by `VectorIndex.create` or `open_index`.

    Every call of `append` adds one segment: ``vectors.npy`` (n, dim), float32, and ``ids.parquet``, whose row i is the
    id of vector i and its position, which counts appended vectors from 0. What is there is never rewritten, and a
    kill in the middle leaves the index as it was. `search` maps the vectors from the disk.

    A segment of more than ``exact_up_to`` vectors also gets cells: groups of neighbours, found by spherical k-means,
    about two times the root of n of them. A search then looks into the cells nearest to the query only (an inverted
    file; Sivic and Zisserman, 2003). The scores it gives are exact, but a near vector may be missed.

    Attributes
    ----------
    folder : Path
    dim : int
        Numbers a vector.
    exact_up_to : int
        The largest segment that is searched whole.
    metadata : dict
        What was given to `create`, such as the checksum of the model that made the vectors.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from rnnfv.storage.index import VectorIndex, open_index
    >>> folder = tempfile.mkdtemp()
    >>> index = VectorIndex.create(folder, dim=2, metadata={"model": "6f1e"})
    >>> index.append(["beach.jpg", "dog.jpg"], [[1, 0], [0, 1]])
    >>> index.append(["pier.jpg"], [[0.8, 0.6]])
    >>> scores, ids = open_index(folder).search([[1, 0]], top=2)
    >>> print(scores, ids)
    [[1.  0.8]] [['beach.jpg' 'pier.jpg']]
    """

    def __init__(self, folder: Path, record: IndexRecord) -> None:
        self.folder, self.dim = folder, record.dim
        self.exact_up_to, self.metadata = record.exact_up_to, record.metadata
        self._segments: list[Segment] = []
        self._use(record)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        dim: int,
        *,
        exact_up_to: int = 50_000,
        metadata: Mapping[str, Any] | None = None,
    ) -> VectorIndex:
        """Begin an empty index.

        Parameters
        ----------
        folder : str or Path
            A new or empty folder.
        dim : int
            Numbers a vector.
        exact_up_to : int
            A segment of more vectors gets cells. To look at 50,000 vectors of 300 numbers takes some milliseconds.
        metadata : mapping, optional
            Kept as JSON in ``index.json``.

        Raises
        ------
        ValueError
            If the folder holds something, or a number is too small.
        TypeError
            If the metadata cannot be written as JSON.
        """
        folder = Path(folder)
        if dim < 1 or exact_up_to < 1:
            raise ValueError(f"dim and exact_up_to must be 1 or more; got {dim} and {exact_up_to}")
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise ValueError(f"{folder} is there already: give a new or an empty folder, or open the index in it")
        IndexRecord(int(dim), int(exact_up_to), dict(metadata or {})).write(folder)
        return open_index(folder)

    def __len__(self) -> int:
        return sum(len(segment) for segment in self._segments)

    def ids(self) -> list[str]:
        """All ids, in the order in which they were appended."""
        if len(self) == 0:
            return []
        positions = np.concatenate([segment.positions for segment in self._segments])
        ids = pa.concat_arrays([segment.ids for segment in self._segments])
        return list(ids.take(pa.array(np.argsort(positions))).to_pylist())

    # -- writing -----------------------------------------------------------------------------------

    def append(self, ids: Sequence[str], vectors: ArrayLike) -> None:
        """Add vectors as one segment, which is seen whole or not at all.

        Many small segments make a search slow: append thousands at a time where there are so many, or `pack` after.

        Parameters
        ----------
        ids : sequence of str, n of them
            None may be in the index already.
        vectors : array-like of shape (n, dim)
            Of length one; stored as float32. An array mapped from the disk is read block by block.

        Raises
        ------
        ValueError
            If an id is not a string, is empty or repeated, or a vector is of another width, not finite or not of
            length one. The message names the row; nothing is written.
        BlockingIOError
            If another program writes to the index.
        """
        vectors = _checked(vectors, self.dim, "vector")
        names = _checked_ids(ids, len(vectors))
        if len(names) == 0:
            return
        with one_writer(self.folder):
            self._use(IndexRecord.read(self.folder))
            self._refuse_known(names)
            positions = len(self) + np.arange(len(vectors))
            self._commit(Rows([vectors]), names, positions, self._record.segments)

    def pack(self) -> None:
        """Put all segments together into one, with cells if it is large enough.

        Writes all vectors anew, beside the old ones, and so needs as much room again until it ends.

        Raises
        ------
        BlockingIOError
            If another program writes to the index.
        """
        with one_writer(self.folder):
            self._use(IndexRecord.read(self.folder))
            if len(self._segments) > 1:
                ids = pa.concat_arrays([segment.ids for segment in self._segments])
                positions = np.concatenate([segment.positions for segment in self._segments])
                self._commit(Rows([segment.vectors for segment in self._segments]), ids, positions, ())

    def _commit(self, rows: Rows, ids: pa.Array, positions: NDArray[np.int64], kept: tuple[SegmentEntry, ...]) -> None:
        """Write a segment, then the record, which makes it part of the index; then remove what no record names."""
        number = max((entry.number for entry in self._record.segments), default=-1) + 1
        folder = segment_folder(self.folder, number)
        files = write_segment(folder, rows, ids, positions, with_cells=len(ids) > self.exact_up_to)
        record = replace(self._record, segments=(*kept, SegmentEntry(number, len(ids), files)))
        record.write(self.folder)
        self._use(record)
        named = {segment_folder(self.folder, entry.number) for entry in record.segments}
        for path in [*self.folder.glob("segment-*"), *self.folder.glob(".segment-*.tmp")]:
            if path not in named:
                shutil.rmtree(path, ignore_errors=True)

    def _refuse_known(self, names: pa.Array) -> None:
        for segment in self._segments:
            known = segment.ids.filter(pc.is_in(segment.ids, value_set=names))
            if len(known):
                raise ValueError(f"the id {known[0].as_py()!r} is in {self.folder} already: leave it out, or rename it")

    # -- searching ---------------------------------------------------------------------------------

    def search(
        self, queries: ArrayLike, top: int = 10, *, probes: int | None = 32
    ) -> tuple[NDArray[np.float32], NDArray[np.object_]]:
        """Find the vectors of the largest inner product, which is the cosine, with each query.

        A result depends on the query and the vectors alone, not on the other queries. Vectors of the same score come in
        the order in which they were appended.

        Parameters
        ----------
        queries : array-like of shape (q, dim)
            Of length one.
        top : int
            How many to give a query; all, where the index has fewer.
        probes : int or None
            How many cells of a large segment to look into. More find more and take longer; None looks at every vector.

        Returns
        -------
        scores : ndarray of shape (q, min(top, n)), float32
            Falling from left to right.
        ids : ndarray of shape (q, min(top, n)) of str

        Raises
        ------
        ValueError
            If a query is of another width, not finite or not of length one, or a number is less than 1.
        """
        if top < 1 or (probes is not None and probes < 1):
            raise ValueError(f"top and probes must be 1 or more; got {top} and {probes}")
        given = _checked(queries, self.dim, "query").astype(np.float32)
        best = [Best(query, min(top, len(self))) for query in given]
        if len(self):
            for start in range(0, len(given), _QUERIES):
                some = slice(start, start + _QUERIES)
                for number, segment in enumerate(self._segments):
                    segment.search(given[some], best[some], probes, number)
        scores = np.empty((len(given), min(top, len(self))), np.float32)
        ids = np.empty(scores.shape, object)
        for i, found in enumerate(best):
            scores[i] = found.scores
            ids[i] = [self._segments[number].ids[row].as_py() for number, row in found.places.tolist()]
        return scores, ids

    def _use(self, record: IndexRecord) -> None:
        """Hold what a record names; segments that are open stay open."""
        opened = {segment.entry.number: segment for segment in self._segments}
        segments = []
        for entry in record.segments:
            segment = opened.get(entry.number)
            if segment is None or segment.entry != entry:
                segment = Segment(segment_folder(self.folder, entry.number), entry, self.dim)
            segments.append(segment)
        self._record, self._segments = record, segments


def open_index(folder: str | Path) -> VectorIndex:
    """Open an index as it is now; what is appended later is seen by an index that is opened later.

    Raises
    ------
    FileNotFoundError
        If the folder is not that of an index.
    ValueError
        If a file is missing, damaged or of another size than recorded. The content of ``vectors.npy`` is not read.
    """
    folder = Path(folder)
    return VectorIndex(folder, IndexRecord.read(folder))


# -- checks ----------------------------------------------------------------------------------------


def _checked(vectors: ArrayLike, dim: int, what: str) -> NDArray[Any]:
    """The vectors as they are, mapped or not, seen to be of width dim, finite and of length one."""
    array = np.asarray(vectors)
    if array.ndim != 2 or array.shape[1] != dim or array.dtype.kind not in "fiu":
        raise ValueError(
            f"give an array of numbers of shape (n, {dim}), one {what} a row; got {array.dtype} of shape {array.shape}"
        )
    for start in range(0, len(array), _BLOCK):
        block = array[start : start + _BLOCK].astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        # Negated, so that NaN is among the wrong ones.
        wrong = np.flatnonzero(~(np.abs(lengths - 1) <= _LENGTH_TOLERANCE))
        if len(wrong):
            row, length = wrong[0], lengths[wrong[0]]
            fault = f"has length {length:.6g}, not 1: divide it by its length"
            if not np.isfinite(block[row]).all():
                fault = "has a NaN or infinite value: leave it out"
            raise ValueError(f"{what} {start + row} {fault}")
    return array


def _checked_ids(ids: Sequence[str], n: int) -> pa.Array:
    names = list(ids)
    if len(names) != n:
        raise ValueError(f"there are {len(names)} ids for {n} vectors")
    seen: set[str] = set()
    for row, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise ValueError(f"the id of vector {row} must be a string that is not empty; got {name!r}")
        if name in seen:
            raise ValueError(f"the id {name!r} of vector {row} occurs twice: every vector needs an id of its own")
        seen.add(name)
    try:
        return pa.array(names, pa.large_string())
    except UnicodeEncodeError as error:
        raise ValueError(f"the id {error.object!r} is not text that UTF-8 can hold: rename it") from None
