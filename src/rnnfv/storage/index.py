"""A folder of unit vectors with ids, and the nearest of them to a query: exact for thousands, quick for millions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from rnnfv.storage._index_record import IndexRecord
from rnnfv.storage._segment import Blocks, Segment, import_faiss, row_blocks, write_segment
from rnnfv.storage.atomic import one_writer
from rnnfv.storage.remote import as_path, is_remote

__all__ = ["VectorIndex", "local_folder", "open_index"]

_LENGTH_TOLERANCE = 1e-3  # what is left of length one after storage as float16
_BLOCK = 8192  # vectors checked at once


class VectorIndex:
    """Unit vectors with an id each, in a folder that can grow. Made by `VectorIndex.create` or `open_index`.

    Every call of `append` adds one segment: a folder with ``vectors.faiss``, an index of the faiss library, and
    ``ids.parquet``, whose row i is the id of vector i. Nothing there is ever rewritten; a kill in the middle leaves the
    index as it was. `search` maps the vectors from the disk (on macOS, faiss reads them into memory).

    A segment of up to ``exact_up_to`` vectors is searched whole. A larger one has cells: groups of neighbours, found by
    k-means, about two times the root of n of them (an inverted file; Sivic and Zisserman, 2003). A search looks into
    the cells nearest to the query only, and a near vector may be missed.

    The SHA-256 of each file is in ``index.json`` and is checked when the index is opened, which takes about a second a
    gigabyte: damage is an error then, not a wrong result later. It does not say who wrote the files.

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
        cls, folder: str | Path, dim: int, *, exact_up_to: int = 50_000, metadata: Mapping[str, Any] | None = None
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
            If the folder holds something or is a URL, or a number is too small.
        TypeError
            If the metadata cannot be written as JSON.
        ImportError
            If faiss is not installed.
        """
        folder = local_folder(folder)
        if not cls.can_begin(folder):
            raise ValueError(f"{folder} is there already: give a new or an empty folder, or open the index in it")
        import_faiss()  # said now, not after hours of making vectors
        IndexRecord(dim, exact_up_to, dict(metadata or {})).write(folder)
        return open_index(folder)

    @staticmethod
    def can_begin(folder: str | Path) -> bool:
        """Whether a folder is new or empty. Hidden files count for nothing: a kill in `create` leaves one.

        Parameters
        ----------
        folder : str or Path

        Returns
        -------
        bool
        """
        folder = local_folder(folder)
        if not folder.is_dir():
            return not folder.exists()
        return all(path.name.startswith(".") and path.is_file() for path in folder.iterdir())

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self) -> list[str]:
        """All ids, in the order in which they were appended."""
        return list(self._ids.to_pylist())

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
        with self._one_writer():
            known = self._ids.filter(pc.is_in(self._ids, value_set=names))
            if len(known):
                raise ValueError(f"the id {known[0].as_py()!r} is in {self.folder} already: leave it out, or rename it")
            self._commit(self._segments, names, lambda: row_blocks(vectors))

    def pack(self) -> None:
        """Join small segments, so that a search looks into few: each is then larger than all behind it together.

        A call after every `append` costs little, as large segments are left alone until as much is behind them. What is
        joined is written anew, beside the old files, and is in memory while that is done.

        Raises
        ------
        BlockingIOError
            If another program writes to the index.
        """
        with self._one_writer():
            sizes = [len(segment) for segment in self._segments]
            first = len(sizes) - 1
            while first > 0 and sizes[first - 1] <= sum(sizes[first:]):
                first -= 1
            small = self._segments[first:]
            if len(small) > 1:
                ids = pa.concat_arrays([segment.ids for segment in small])
                self._commit(self._segments[:first], ids, lambda: chain.from_iterable(it.blocks() for it in small))

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """Keep other writers out, and see what they wrote before."""
        with one_writer(self.folder / ".lock", self.folder):
            self._use(IndexRecord.read(self.folder))
            self._tidy()
            yield

    def _commit(self, kept: Sequence[Segment], ids: pa.Array, blocks: Blocks) -> None:
        """Write a segment, then the record, which makes it part of the index; then remove what no record names."""
        last = max((int(name.removeprefix("segment-")) for name in self._record.segments), default=-1)
        folder = self.folder / f"segment-{last + 1:05d}"
        sha256 = write_segment(folder, ids, blocks, self.dim, self.exact_up_to)
        segments = {segment.folder.name: segment.sha256 for segment in kept} | {folder.name: sha256}
        record = replace(self._record, segments=segments)
        record.write(self.folder)
        self._use(record)
        self._tidy()

    def _tidy(self) -> None:
        """Remove what no record names: segments that were joined, and what a program that was killed has left."""
        for path in [*self.folder.glob("segment-*"), *self.folder.glob(".segment-*")]:
            if path.is_dir() and path.name not in self._record.segments:
                shutil.rmtree(path, ignore_errors=True)
            elif not path.is_dir():
                path.unlink(missing_ok=True)

    # -- searching ---------------------------------------------------------------------------------

    def search(
        self, queries: ArrayLike, top: int = 10, *, probes: int | None = 32
    ) -> tuple[NDArray[np.float32], NDArray[np.object_]]:
        """Find the vectors of the largest inner product, which is the cosine, with each query.

        Vectors of the same score come in the order in which they were appended; where not all of them fit, which are
        left out is open.

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
        given = np.ascontiguousarray(_checked(queries, self.dim, "query"), dtype=np.float32)
        scores, positions = np.empty((len(given), 0), np.float32), np.empty((len(given), 0), np.int64)
        first = 0
        for segment in self._segments:
            of_segment, rows = segment.search(given, top, probes)
            scores, positions = np.hstack([scores, of_segment]), np.hstack([positions, first + rows])
            first += len(segment)
        order = np.lexsort((positions, -scores))[:, :top]
        best = np.take_along_axis(positions, order, axis=1)
        ids = self._ids.take(pa.array(best.ravel())).to_numpy(zero_copy_only=False)
        return np.take_along_axis(scores, order, axis=1), ids.reshape(best.shape)

    def _use(self, record: IndexRecord) -> None:
        """Hold what a record names; segments that are open stay open."""
        opened = {segment.folder.name: segment for segment in self._segments}
        segments = []
        for name, sha256 in record.segments.items():
            segment = opened.get(name)
            if segment is None or segment.sha256 != sha256:
                segment = Segment(self.folder / name, sha256, self.dim)
            segments.append(segment)
        self._record, self._segments = record, segments
        self._ids = pa.concat_arrays([pa.array([], pa.large_string()), *(segment.ids for segment in segments)])


def open_index(folder: str | Path) -> VectorIndex:
    """Open an index as it is now; what is appended later is seen by an index that is opened later.

    Parameters
    ----------
    folder : str or Path
        On a disk of this machine.

    Raises
    ------
    FileNotFoundError
        If the folder is not that of an index.
    ValueError
        If a file is missing or damaged, or the folder is a URL.
    ImportError
        If faiss is not installed.
    """
    folder = local_folder(folder)
    return VectorIndex(folder, IndexRecord.read(folder))


def local_folder(folder: str | Path) -> Path:
    """The folder of an index, whose vectors are mapped from the disk.

    Raises
    ------
    ValueError
        If it is a URL.
    """
    path = as_path(folder)
    if is_remote(path):
        raise ValueError(f"{path} is a URL, but an index is a folder on this machine: give one")
    return path


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
