"""One segment of a vector index: a faiss index and its ids, which were written together and are never changed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rnnfv.extras import wanted
from rnnfv.storage._faiss_layout import check_layout
from rnnfv.storage.atomic import atomic_folder
from rnnfv.storage.features import id_column, one_line
from rnnfv.storage.identity import file_identity

__all__ = ["Blocks", "Segment", "import_faiss", "row_blocks", "write_segment"]

Blocks = Callable[[], Iterator[NDArray[np.float32]]]  # gives all vectors in order, each time it is called

_VECTORS, _IDS = "vectors.faiss", "ids.parquet"
_BLOCK = 8192  # vectors taken at once
_SAMPLE = 64  # vectors a cell is trained on; faiss wants 39 to 256


def import_faiss() -> Any:
    """The library, or an ImportError that says how to get it."""
    with wanted("search", "searching needs faiss"):
        import faiss
    return faiss


# -- writing ---------------------------------------------------------------------------------------


def row_blocks(vectors: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
    """The rows of an array, which may be mapped, some thousands at a time."""
    for start in range(0, len(vectors), _BLOCK):
        yield np.ascontiguousarray(vectors[start : start + _BLOCK], dtype=np.float32)


def write_segment(folder: Path, ids: pa.Array, blocks: Blocks, dim: int, exact_up_to: int) -> dict[str, str]:
    """Write a segment's folder, which appears whole or not at all; give the SHA-256 of each file."""
    faiss = import_faiss()
    index = faiss.IndexFlatIP(dim) if len(ids) <= exact_up_to else _trained(blocks, len(ids), dim)
    for block in blocks():
        index.add(block)
    with atomic_folder(folder) as new:
        # Not by faiss's own way to a file, which overlooks a disk that is full at the very end.
        with (new / _VECTORS).open("wb") as file:
            faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
        pq.write_table(pa.table({"id": ids}), new / _IDS, use_dictionary=False)
        return {name: file_identity(new / name)["sha256"] for name in (_VECTORS, _IDS)}


def _trained(blocks: Blocks, n: int, dim: int) -> Any:
    """An empty index with cells. The same vectors always give the same cells: faiss's seed is a constant."""
    faiss = import_faiss()
    # Twice the root of n: choosing cells then costs about as much as looking into some.
    count = min(n, round(2 * n**0.5))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, count, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1  # small indexes have no more, and need no warning
    sample = np.sort(np.random.default_rng(0).choice(n, min(n, _SAMPLE * count), replace=False))
    taken, start = [], 0
    for block in blocks():
        taken.append(block[sample[slice(*np.searchsorted(sample, [start, start + len(block)]))] - start])
        start += len(block)
    index.train(np.concatenate(taken))
    return index


# -- reading and searching -------------------------------------------------------------------------


class Segment:
    """An open segment: vectors mapped from the disk, ids in memory.

    Raises
    ------
    ValueError
        If a file is missing, is not as it was written, or not what it should be; one line that names it.
    """

    def __init__(self, folder: Path, sha256: dict[str, str], dim: int) -> None:
        self.folder, self.sha256 = folder, sha256
        for name in (_VECTORS, _IDS):
            _verify(folder / name, sha256.get(name))
        self.index = _read_index(folder / _VECTORS, dim)
        self.ids = _read_ids(folder / _IDS, self.index.ntotal)
        if self.ids.null_count:
            raise ValueError(f"{folder} has not one id for each vector: make the index again")

    def __len__(self) -> int:
        return len(self.ids)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """All vectors in order, some thousands at a time."""
        # From memory: faiss maps a file for reading here and there, and all of it from a cold disk would take minutes.
        index = import_faiss().read_index(str(self.folder / _VECTORS))
        for start in range(0, len(self), _BLOCK):
            yield index.reconstruct_n(start, min(_BLOCK, len(self) - start))

    def search(
        self, queries: NDArray[np.float32], top: int, probes: int | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scores and rows of the best vectors, both of shape (q, min(top, n)).

        Where the nearest cells hold too few vectors for a query, it is compared with all.
        """
        faiss, top = import_faiss(), min(top, len(self))
        if not isinstance(self.index, faiss.IndexIVFFlat):
            found: tuple[NDArray[np.float32], NDArray[np.int64]] = self.index.search(queries, top)
            return found
        cells = self.index.nlist
        nearest = faiss.SearchParametersIVF(nprobe=min(probes or cells, cells))
        scores, rows = self.index.search(queries, top, params=nearest)
        short = (rows < 0).any(axis=1)
        if short.any():
            every = faiss.SearchParametersIVF(nprobe=cells)
            scores[short], rows[short] = self.index.search(queries[short], top, params=every)
        return scores, rows


def _verify(path: Path, sha256: str | None) -> None:
    """See that a file is as it was written: faiss must not be given a damaged one, which could end the process."""
    if path.is_symlink() or path.parent.is_symlink():
        raise ValueError(f"{path} is a link: copy what it leads to into the folder")
    if not path.is_file():
        raise ValueError(f"{path} is missing: open the index again, or copy that file again from where it came")
    if file_identity(path)["sha256"] != sha256:
        raise ValueError(f"{path} is not as it was written: copy it again from where it came")


def _read_index(path: Path, dim: int) -> Any:
    faiss = import_faiss()
    check_layout(path, dim)
    try:
        return faiss.read_index(str(path), 0 if sys.platform == "darwin" else faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise ValueError(f"{path} is not an index that faiss can read: make the index again") from error


def _read_ids(path: Path, count: int) -> pa.Array:
    """As many ids as there are vectors."""
    try:
        with pq.ParquetFile(path, read_dictionary=["id"]) as file:
            if file.metadata.num_rows != count:
                raise ValueError("there is not one id for each vector")
            ids = id_column(path, file.read(["id"]))
            ids.validate(full=True)
    except (pa.ArrowException, KeyError, OSError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not a file of ids that rnnfv wrote ({one_line(error)}): make the index again"
        ) from error
    return ids.cast(pa.large_string())
