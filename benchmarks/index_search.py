"""Search among a million vectors: recall, time a query, time to build, memory and disk, next to exact search.

    python benchmarks/index_search.py [--full] [--folder DIR] [--json FILE]

The vectors are made: 300 numbers, length one. A million of them is 20,000 topics of very unequal size (topic t has a
share of about 1 / (t + 10)), and topics lie in 200 themes. A vector is its theme, plus as much of its topic's own
direction, plus as much noise again, whose spread falls from direction to direction (as one over the square root of its
number), as that of real embeddings does. Vectors of one topic have a cosine of about 0.67, of one theme 0.33. The
queries are further draws from the same source. Everything runs on one thread, one query at a time.

The index is appended to in pieces of 50,000 and then packed, as `rnnfv retrieval index-images` does. Recall@10 is the
share of the ten best of exact search with NumPy that is among the ten found. Without `--full` there are
100,000 vectors. Both the
clock's time of a query and its processor time are told, which other work on the machine changes less. Peak memory is
that of the whole process, with the pages of mapped files, which the system can take back; it is told before faiss's
flat index, which holds all vectors in memory.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import _common as common
import faiss
import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from rnnfv.storage.index import VectorIndex, open_index

DIM, TOP = 300, 10
BLOCK = 10_000  # vectors made at a time
PIECE = 50_000  # vectors appended at a time
EXACT_QUERIES, QUERIES = 100, 500
PROBES = (8, 16, 32, 64)
LIMITED_BY = "Exact search reads all vectors: the memory's rate. The index reads the cells nearest to the query."


def main() -> int:
    parser = common.options(__doc__)
    parser.add_argument(
        "--folder", type=Path, help="where to put 3.7 GB for the time of the run (default: the system's)"
    )
    args = parser.parse_args()
    n = 1_000_000 if args.full else 100_000
    report = common.Report(f"Search among {n:,} vectors of {DIM} numbers", limited_by=LIMITED_BY)
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        report.figures = found = measure(n, Path(folder))
    exact = found["exact, NumPy, ms a query"]
    for probes in PROBES:
        taken, recalled = found[f"{probes} probes, ms a query"], found[f"{probes} probes, recall@{TOP}"]
        report.add(
            f"a query, {probes} cells looked into",
            f"{taken:.2f} ms",
            peer="exact search, NumPy",
            theirs=f"{exact:.2f} ms",
            ratio=exact / taken,
            note=f"recall@{TOP} of {recalled:.4f}",
        )
    return common.finish(report, args)


def measure(n: int, folder: Path) -> dict[str, Any]:
    """All figures for n vectors; they are printed as they come."""
    result: dict[str, Any] = {"n": n, "dim": DIM}
    source = Source(n)
    vectors = write_vectors(source, n, folder / "made.npy")
    queries = source.draw(QUERIES)
    index = build(result, vectors, folder / "index")

    exact, times = one_by_one(lambda query: numpy_search(vectors, query), queries[:EXACT_QUERIES])
    tell_times(result, "exact, NumPy", times)
    found, times = one_by_one(lambda query: index.search(query, TOP, probes=None), queries[:EXACT_QUERIES])
    tell(result, f"all cells, recall@{TOP}", recall(found, exact))
    tell_times(result, "all cells", times)
    for probes in PROBES:
        found, times = one_by_one(lambda query, probes=probes: index.search(query, TOP, probes=probes), queries)
        tell(result, f"{probes} probes, recall@{TOP}", recall(found, exact))
        tell_times(result, f"{probes} probes", times)
    tell(result, "peak memory, MB", 1024 * common.peak_gib())

    flat = faiss.IndexFlatIP(DIM)
    for start in range(0, n, PIECE):
        flat.add(vectors[start : start + PIECE])
    _, times = one_by_one(lambda query: flat.search(query, TOP), queries[:EXACT_QUERIES])
    tell_times(result, "exact, faiss flat", times)
    return result


def build(result: dict[str, Any], vectors: NDArray[Any], folder: Path) -> VectorIndex:
    index = VectorIndex.create(folder, DIM)
    start = time.perf_counter()
    for row in range(0, len(vectors), PIECE):
        piece = vectors[row : row + PIECE]
        index.append([name(i) for i in range(row, row + len(piece))], piece)
    tell(result, "append, s", time.perf_counter() - start)
    start = time.perf_counter()
    index.pack()
    tell(result, "pack, s", time.perf_counter() - start)
    tell(result, "peak memory of building, MB", 1024 * common.peak_gib())
    start = time.perf_counter()
    index = open_index(folder)
    tell(result, "open, s", time.perf_counter() - start)
    tell(result, "on disk, MB", sum(path.stat().st_size for path in folder.rglob("*")) / 1e6)
    return index


def name(i: int) -> str:
    return f"{i:07d}.jpg"


def numpy_search(vectors: NDArray[Any], query: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores and names of the best vectors, by a product with all."""
    scores = vectors @ query[0]
    best = np.argpartition(scores, -TOP)[-TOP:]
    return scores[best], np.array([[name(i) for i in best]])


class Times(NamedTuple):
    """Of the middle query, in milliseconds: as the clock goes, and what the processor gave to it."""

    wall: float
    cpu: float


def one_by_one(search: Callable[[NDArray[Any]], Any], queries: NDArray[Any]) -> tuple[list[set[Any]], Times]:
    """What is found for each query, and how long it took."""
    found, times = [], []
    for query in queries:
        wall, cpu = time.perf_counter(), time.process_time()
        _, ids = search(query[None])
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
        found.append(set(ids[0].tolist()))
    return found, Times(*(1000 * float(median) for median in np.median(times, axis=0)))


def recall(found: list[set[Any]], exact: list[set[Any]]) -> float:
    return statistics.fmean(len(some & best) / len(best) for some, best in zip(found, exact, strict=False))


def tell(result: dict[str, Any], name: str, value: float) -> None:
    result[name] = value
    print(f"{name:52} {value:10.3f}", flush=True)


def tell_times(result: dict[str, Any], name: str, times: Times) -> None:
    tell(result, f"{name}, ms a query", times.wall)
    tell(result, f"{name}, CPU ms a query", times.cpu)


class Source:
    """Draws unit vectors as the top of this file says."""

    def __init__(self, n: int) -> None:
        self.random = np.random.default_rng(5)
        topics, themes = n // 50, max(1, n // 5000)
        theme = unit(self.random.standard_normal((themes, DIM)))
        own = unit(self.random.standard_normal((topics, DIM)))
        self.directions = (theme[self.random.integers(themes, size=topics)] + own).astype(np.float32)
        share = 1 / (np.arange(topics) + 10)
        self.share = share / share.sum()
        turn = np.linalg.qr(self.random.standard_normal((DIM, DIM)))[0]
        spread = 1 / np.sqrt(np.arange(1, DIM + 1))
        self.noise = (turn * (spread / np.linalg.norm(spread))[:, None]).astype(np.float32)

    def draw(self, n: int) -> NDArray[np.float32]:
        """n vectors, shape (n, 300)."""
        topic = self.random.choice(len(self.share), size=n, p=self.share)
        noise = self.random.standard_normal((n, DIM), dtype=np.float32) @ self.noise
        return unit(self.directions[topic] + noise)


def write_vectors(source: Source, n: int, path: Path) -> NDArray[Any]:
    vectors = open_memmap(path, mode="w+", dtype=np.float32, shape=(n, DIM))
    for start in range(0, n, BLOCK):
        vectors[start : start + BLOCK] = source.draw(BLOCK)
    vectors.flush()
    return np.load(path, mmap_mode="r")


def unit(rows: NDArray[Any]) -> NDArray[Any]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    sys.exit(main())
