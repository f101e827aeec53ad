"""Search among a million vectors: recall, time a query, time to build, memory and disk, next to exact search.

    python benchmarks/index_search.py [--quick] [--faiss] [--folder DIR] [--json FILE]

The vectors are made: 300 numbers, length one. A million of them is 20,000 topics of very unequal size (topic t has a
share of about 1 / (t + 10)), and topics lie in 200 themes. A vector is its theme, plus as much of its topic's own
direction, plus as much noise again, whose spread falls from direction to direction (as one over the square root of its
number), as that of real embeddings does. Vectors of one topic have a cosine of about 0.67, of one theme 0.33. The
queries are further draws from the same source. Everything runs on one thread, one query at a time.

Recall@10 is the share of the ten best of exact search that is among the ten found. `--quick` takes 100,000 vectors.
`--faiss` adds faiss's flat search and inverted file (`pip install faiss-cpu`), with as many cells and probes.
Both the clock's time of a query and its processor time are told, which other work on the machine changes less.
Peak memory is that of the whole process, with the pages of mapped files, which the system can take back. It is told
before faiss.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import argparse
import json
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from rnnfv.storage.index import VectorIndex, open_index

DIM, TOP = 300, 10
BLOCK = 10_000  # vectors made at a time
EXACT_QUERIES, QUERIES = 100, 500
PROBES = (8, 16, 32, 64)


def main() -> None:
    arguments = parse_arguments()
    n = 100_000 if arguments.quick else 1_000_000
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        result = measure(n, Path(folder), with_faiss=arguments.faiss)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100,000 vectors in place of a million")
    parser.add_argument("--faiss", action="store_true", help="measure faiss too")
    parser.add_argument(
        "--folder", type=Path, help="where to put 2.4 GB for the time of the run (default: the system's)"
    )
    parser.add_argument("--json", type=Path, help="write the figures here")
    return parser.parse_args()


def measure(n: int, folder: Path, *, with_faiss: bool) -> dict[str, Any]:
    """All figures for n vectors; they are printed as they come."""
    result: dict[str, Any] = {"n": n, "dim": DIM, "machine": platform.machine(), "numpy": np.__version__}
    source = Source(n)
    vectors = write_vectors(source, n, folder / "made.npy")
    queries = source.draw(QUERIES)

    start = time.perf_counter()
    VectorIndex.create(folder / "index", DIM).append([f"{i:07d}.jpg" for i in range(n)], vectors)
    tell(result, "build, s", time.perf_counter() - start)
    start = time.perf_counter()
    index = open_index(folder / "index")
    tell(result, "open, s", time.perf_counter() - start)
    tell(result, "on disk, MB", sum(path.stat().st_size for path in (folder / "index").rglob("*")) / 1e6)

    exact, of_exact = one_by_one(lambda query: index.search(query, TOP, probes=None), queries[:EXACT_QUERIES])
    tell_times(result, "exact", of_exact)
    for probes in PROBES:
        found, times = one_by_one(lambda query, probes=probes: index.search(query, TOP, probes=probes), queries)
        tell(result, f"{probes} probes, recall@{TOP}", recall(found, exact))
        tell_times(result, f"{probes} probes", times)
        tell(result, f"{probes} probes, times as fast as exact (CPU)", of_exact.cpu / times.cpu)
    tell(result, "peak memory, MB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    if with_faiss:
        measure_faiss(result, vectors, queries, exact)
    return result


def measure_faiss(result: dict[str, Any], vectors: NDArray[Any], queries: NDArray[Any], exact: list[set[str]]) -> None:
    """The same with faiss's indexes in memory."""
    import faiss

    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(DIM)
    add_blocks(flat, vectors)
    _, times = one_by_one(lambda query: flat.search(query, TOP), queries[:EXACT_QUERIES])
    tell_times(result, "faiss flat", times)
    flat.reset()
    cells = round(2 * len(vectors) ** 0.5)
    index = faiss.index_factory(DIM, f"IVF{cells},Flat", faiss.METRIC_INNER_PRODUCT)
    start = time.perf_counter()
    rows = np.sort(np.random.default_rng(0).choice(len(vectors), min(len(vectors), 64 * cells), replace=False))
    index.train(np.ascontiguousarray(vectors[rows]))
    add_blocks(index, vectors)
    tell(result, "faiss inverted file, build, s", time.perf_counter() - start)
    for probes in PROBES:
        index.nprobe = probes
        found, times = one_by_one(lambda query: index.search(query, TOP), queries)
        names = [{f"{row:07d}.jpg" for row in some} for some in found]
        tell(result, f"faiss inverted file, {probes} probes, recall@{TOP}", recall(names, exact))
        tell_times(result, f"faiss inverted file, {probes} probes", times)


def add_blocks(index: Any, vectors: NDArray[Any]) -> None:
    for start in range(0, len(vectors), BLOCK):
        index.add(np.ascontiguousarray(vectors[start : start + BLOCK]))


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
    main()
