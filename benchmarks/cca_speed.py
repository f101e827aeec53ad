"""Time, peak memory and accuracy of RegularizedCCA next to cca-zoo and scikit-learn, on the CPU.

    python benchmarks/cca_speed.py [--full] [--threads N] [--json FILE]

Every line of the table is a process of its own, which makes its data, fits and tells its time (without the making)
and its peak memory (with everything). By default sizes are small: about a minute. `--full` takes the sizes of
image-sentence retrieval, up to 13 GiB of memory and half an hour or more.

- Peers: cca-zoo's `RidgeCCA` with the same ridge (`pip install cca-zoo`), and scikit-learn's `CCA`, which has none and
  is compared with regularisation 0. All must find the same first correlation. Either is left out, saying so, where
  it is not installed or does not finish in `--limit` seconds.
- Path: five regularisations of a wide side by way of its few main directions, and by its whole covariance.
- Stream: blocks that are made on the fly and never are in memory together, float32.
- Accuracy: products of float32 blocks summed in float64, against everything in float64.

The data has 200 hidden variables of falling strength that both sides share, and noise of falling strength.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

HIDDEN = 200
RIDGE = 0.1
PATH = [1.0, 1e-1, 1e-2, 1e-3, 1e-4]
BLOCK = 2000  # rows made at a time
TOLERANCE = 1e-3  # of the first correlation; data is float32


class Job(NamedTuple):
    """One process: what is done, by whom, with how much data."""

    work: str
    library: str
    n: int
    a: int
    b: int
    components: int


QUICK = [
    *(Job("no ridge", library, 2_000, 100, 50, 10) for library in ("rnnfv", "scikit-learn")),
    *(Job("ridge", library, 4_000, 1_000, 1_000, 256) for library in ("rnnfv", "cca-zoo")),
    *(Job("path of 5", library, 3_000, 4_000, 200, 200) for library in ("rnnfv", "rnnfv, whole")),
    Job("stream", "rnnfv", 10_000, 3_000, 500, 500),
    Job("accuracy", "rnnfv", 10_000, 500, 200, 200),
]
FULL = [
    *(Job("no ridge", library, 4_000, 200, 100, 20) for library in ("rnnfv", "scikit-learn")),
    *(Job("ridge", library, 20_000, 4_096, 4_096, 256) for library in ("rnnfv", "cca-zoo")),
    *(Job("path of 5", library, 10_000, 12_000, 1_280, 1_280) for library in ("rnnfv", "rnnfv, whole")),
    Job("path of 5", "rnnfv", 30_000, 35_350, 1_280, 1_280),
    Job("stream", "rnnfv", 30_000, 30_300, 4_096, 500),
    Job("accuracy", "rnnfv", 100_000, 1_000, 500, 500),
]


def main() -> None:
    arguments = parse_arguments()
    if arguments.job is not None:
        print(json.dumps(run(Job(*json.loads(arguments.job)))))
        return
    from rich.console import Console

    console = Console(width=120)
    results = []
    for job in FULL if arguments.full else QUICK:
        found = measure(job, arguments.threads, arguments.limit)
        if isinstance(found, str):
            console.print(f"{job.library} is left out of '{job.work}': {found}")
        else:
            results.append(job._asdict() | found)
    refuse_disagreement(results)
    console.print(as_table(results, arguments.threads))
    if arguments.json:
        report = {"threads": arguments.threads, "full": arguments.full, "machine": platform.machine()}
        arguments.json.write_text(json.dumps(report | {"results": results}, indent=1) + "\n", encoding="utf-8")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, which is the default")
    parser.add_argument("--full", action="store_true", help="the sizes of image-sentence retrieval")
    parser.add_argument("--threads", type=int, default=1, help="threads of every library (default 1)")
    parser.add_argument("--limit", type=float, default=1800, help="seconds after which a process is given up")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--job", help=argparse.SUPPRESS)  # how this script starts itself
    return parser.parse_args()


def measure(job: Job, threads: int, limit: float) -> dict[str, Any] | str:
    """What a process of its own tells of a job, or why there is nothing to tell."""
    module = {"cca-zoo": "cca_zoo", "scikit-learn": "sklearn"}.get(job.library, "rnnfv")
    if importlib.util.find_spec(module) is None:
        return "it is not installed"
    environment = os.environ | {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")}
    command = [sys.executable, __file__, "--job", json.dumps(job)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return f"it did not finish in {limit:,.0f} s"
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def refuse_disagreement(results: list[dict[str, Any]]) -> None:
    """Every library has to find the same first correlation on the same data."""
    found: dict[tuple[Any, ...], float] = {}
    for row in results:
        size = (row["work"], row["n"], row["a"], row["b"])
        first = found.setdefault(size, row["correlation"])
        if abs(row["correlation"] - first) > TOLERANCE:
            raise SystemExit(f"{row['library']} disagrees on {size}: {row['correlation']} and {first}")


# -- in a process of its own -----------------------------------------------------------------------


def run(job: Job) -> dict[str, Any]:
    """Do one job: seconds, peak memory in GiB, the first correlation, and what else the job has to tell."""
    works: dict[str, Callable[[Job], dict[str, Any]]] = {
        "no ridge": no_ridge,
        "ridge": ridge,
        "path of 5": path,
        "stream": stream,
        "accuracy": accuracy,
    }
    told = works[job.work](job)
    return told | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}


def blocks(job: Job) -> Iterator[tuple[Any, Any]]:
    """Pairs of float32 rows, some at a time."""
    import numpy as np

    rng = np.random.default_rng(0)
    loadings = [rng.standard_normal((HIDDEN, d), np.float32) for d in (job.a, job.b)]
    strengths = np.float32(1) / np.arange(1, HIDDEN + 1, dtype=np.float32) ** 0.5
    for start in range(0, job.n, BLOCK):
        hidden = rng.standard_normal((min(BLOCK, job.n - start), HIDDEN), np.float32) * strengths
        pair = []
        for loading in loadings:
            noise = rng.standard_normal((len(hidden), loading.shape[1]), np.float32)
            noise *= (3 * np.arange(1, loading.shape[1] + 1) ** -0.3).astype(np.float32)
            pair.append(hidden @ loading + noise + np.float32(2))
        yield pair[0], pair[1]


def whole(job: Job) -> tuple[Any, Any]:
    """All pairs of rows in memory, once."""
    import numpy as np

    X, Y = np.empty((job.n, job.a), np.float32), np.empty((job.n, job.b), np.float32)
    for i, (x, y) in enumerate(blocks(job)):
        X[i * BLOCK : i * BLOCK + len(x)], Y[i * BLOCK : i * BLOCK + len(x)] = x, y
    return X, Y


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = function()
    return time.perf_counter() - begun, result


def no_ridge(job: Job) -> dict[str, Any]:
    import numpy as np
    from sklearn.cross_decomposition import CCA

    from rnnfv import RegularizedCCA

    X, Y = whole(job)
    model = RegularizedCCA(0, job.components) if job.library == "rnnfv" else CCA(job.components, max_iter=10_000)
    seconds, _ = timed(lambda: model.fit(X, Y))
    x, y = model.transform(X, Y)
    return {"seconds": seconds, "correlation": float(abs(np.corrcoef(x[:, 0], y[:, 0])[0, 1]))}


def ridge(job: Job) -> dict[str, Any]:
    import numpy as np

    X, Y = whole(job)
    if job.library == "rnnfv":
        from rnnfv import RegularizedCCA

        seconds, model = timed(lambda: RegularizedCCA(RIDGE, job.components).fit(X, Y))
        return {"seconds": seconds, "correlation": float(model.correlations_[0])}
    from cca_zoo.linear import RidgeCCA

    # (1 - c) S + c I is S + s I but for a factor.
    shifts = [RIDGE * np.linalg.eigvalsh(np.cov(side, rowvar=False, dtype=np.float32))[-1] for side in (X, Y)]
    model = RidgeCCA(n_components=job.components, shrinkage=[float(s / (1 + s)) for s in shifts])
    seconds, _ = timed(lambda: model.fit([X, Y]))
    weights = [w[:, 0].astype(float) for w in model.weights_]
    x, y = ((side - side.mean(axis=0)) @ w for side, w in zip((X, Y), weights, strict=True))
    lengths = [v @ v + (job.n - 1) * s * (w @ w) for v, s, w in zip((x, y), shifts, weights, strict=True)]
    return {"seconds": seconds, "correlation": float(abs(x @ y) / np.sqrt(lengths[0] * lengths[1]))}


def path(job: Job) -> dict[str, Any]:
    from rnnfv import RegularizedCCA
    from rnnfv.cca import cca_path

    X, Y = whole(job)
    if job.library == "rnnfv":
        seconds, firsts = timed(lambda: [c.correlations_[0] for c in cca_path(X, Y, PATH, job.components)])
    else:
        summed = RegularizedCCA(PATH[-1], job.components)
        seconds, firsts = timed(lambda: [c.correlations_[0] for c in summed.partial_fit(X, Y).path(PATH)])
    return {"seconds": seconds, "correlation": float(firsts[-1])}


def stream(job: Job) -> dict[str, Any]:
    from rnnfv import RegularizedCCA

    model = RegularizedCCA(RIDGE, job.components)
    seconds = sum(timed(lambda pair=pair: model.partial_fit(*pair))[0] for pair in blocks(job))
    solving, correlations = timed(lambda: model.correlations_)
    return {"seconds": seconds + solving, "correlation": float(correlations[0]), "note": f"solved in {solving:,.0f} s"}


def accuracy(job: Job) -> dict[str, Any]:
    import numpy as np

    from rnnfv import RegularizedCCA

    X, Y = whole(job)
    seconds, ours = timed(lambda: RegularizedCCA(1e-3, job.components).fit(X, Y))
    exact = RegularizedCCA(1e-3, job.components).fit(X.astype(np.float64), Y.astype(np.float64))
    error = abs(ours.correlations_ - exact.correlations_).max()
    cosine = abs(ours.similarity(X[:1000], Y[:1000]) - exact.similarity(X[:1000], Y[:1000])).max()
    note = f"correlations differ by {error:.0e}, cosines by {cosine:.0e}"
    return {"seconds": seconds, "correlation": float(ours.correlations_[0]), "note": note}


# -- telling ---------------------------------------------------------------------------------------


def as_table(results: list[dict[str, Any]], threads: int) -> Any:
    from rich.table import Table

    table = Table(title=f"regularised CCA, float32 data, {threads} thread(s); times ours: its figure / that of rnnfv")
    for heading in ("work", "library", "rows x columns"):
        table.add_column(heading, no_wrap=True)
    for heading in ("seconds", "times ours", "GiB", "times ours"):
        table.add_column(heading, justify="right")
    table.add_column("")
    ours: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in results:
        base = ours.setdefault((row["work"], row["n"], row["a"]), row)
        ratios = ["" if row is base else f"{row[name] / base[name]:.1f}" for name in ("seconds", "peak")]
        table.add_row(
            row["work"],
            row["library"],
            f"{row['n']:,} x {row['a']:,} / {row['b']:,}",
            f"{row['seconds']:,.1f}",
            ratios[0],
            f"{row['peak']:.2f}",
            ratios[1],
            row.get("note", ""),
        )
    return table


if __name__ == "__main__":
    main()
