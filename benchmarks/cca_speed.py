"""Time, peak memory and accuracy of RegularizedCCA next to cca-zoo and scikit-learn.

    python benchmarks/cca_speed.py [--full] [--threads N] [--device cuda] [--json FILE]

Every line is a process of its own, which makes its data, fits and tells its time (without the making), its peak memory
(with everything) and how much of that came with the fit. By default sizes are small: a minute or two. `--full` takes
the sizes of image-sentence retrieval, up to 13 GiB of memory and an hour or so.

- Peers: cca-zoo's `RidgeCCA` with the same ridge (`pip install cca-zoo`), and scikit-learn's `CCA`, which has none and
  is compared with regularisation 0. All must find the same first correlation. Either is left out, saying so, where
  it is not installed or does not finish in `--limit` seconds. The largest size of each is about what it can do in that.
- Path: five regularisations of a wide side by way of its few main directions, and by its whole covariance.
- Stream: blocks that are made on the fly and never are in memory together, float32.
- Accuracy: products of float32 blocks summed in float64, against everything in float64.
- On another device than the CPU: the ridge by that device, by the CPU, and by cca-zoo; and a stream as long as COCO's
  training sentences, with the share of the device's product rate that its products reach.

The data has 200 hidden variables of falling strength that both sides share, and noise of falling strength.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import _common as common

HIDDEN = 200
RIDGE = 0.1
PATH = [1.0, 1e-1, 1e-2, 1e-3, 1e-4]
BLOCK = 2000  # rows made at a time
MADE_IN = {"no ridge": "float64", "ridge": "float32", "accuracy": "float32"}  # what products of the rows are made in
TOLERANCE = 1e-3  # of the first correlation; data is float32
CPU = "rnnfv on the CPU"
MODULES = {"cca-zoo": "cca_zoo", "scikit-learn": "sklearn"}
PREDICTION = "The eigenvalues of a 4,096 x 4,096 matrix in float64 dominate; the products come second."
LIMITED_BY = (
    "The prediction was wrong. On an AMD EPYC, at 20,000 x (4,096 + 4,096), the three products of the data are 57 % "
    "of the time, at 0.8 of the rate of a float32 product; the float64 solution (two Cholesky factors, two triangular "
    "solves, a product) is 22 %, and the tridiagonal form of the 4,096 x 4,096 eigenvalue problem 21 %. cca-zoo needs "
    "twice our operations for the products, so that 3 times its speed is out of reach there on one core while "
    "products stay exact; of a wider side it solves the eigenvalue problem, where we need no more than a factor. "
    "Krylov methods do not shorten the eigenvalue problem: the last of the wanted directions lie in noise, whose "
    "eigenvalues are dense. Memory: three float64 matrices (both sides with their factors, and the one between them) "
    "beside the data, a third of what cca-zoo takes beside it. Half of its whole is out of reach at that size: the "
    "data and the libraries are 40 % of that already."
)
PREDICTION_DEVICE = (
    "Of the stream 97 % of the operations are products of its rows, which a GPU makes in less time than the CPU needs "
    "to centre them; solving on the CPU is then the longest part. At 20,000 x (4,096 + 4,096) what is solved there "
    "remains, near half of the CPU's time."
)


class Job(NamedTuple):
    """One process: what is done, by whom, with how much data, and where."""

    work: str
    library: str
    n: int
    a: int
    b: int
    components: int
    device: str = "cpu"


QUICK = [
    *(Job("no ridge", library, 2_000, 100, 50, 10) for library in ("rnnfv", "scikit-learn")),
    *(Job("ridge", library, 4_000, 1_000, 1_000, 256) for library in ("rnnfv", "cca-zoo")),
    *(Job("path of 5", library, 3_000, 4_000, 200, 200) for library in ("rnnfv", "rnnfv, whole")),
    Job("stream", "rnnfv", 10_000, 3_000, 500, 500),
    Job("accuracy", "rnnfv", 10_000, 500, 200, 200),
]
FULL = [
    *(Job("no ridge", library, 4_000, 200, 100, 20) for library in ("rnnfv", "scikit-learn")),
    *(Job("no ridge", library, 20_000, 1_000, 1_000, 2) for library in ("rnnfv", "scikit-learn")),
    *(Job("no ridge", library, 20_000, 4_096, 4_096, 2) for library in ("rnnfv", "scikit-learn")),
    *(Job("ridge", library, 20_000, 4_096, 4_096, 256) for library in ("rnnfv", "cca-zoo")),
    *(Job("ridge", library, 30_000, 12_000, 4_096, 256) for library in ("rnnfv", "cca-zoo")),
    *(Job("path of 5", library, 10_000, 12_000, 1_280, 1_280) for library in ("rnnfv", "rnnfv, whole")),
    Job("path of 5", "rnnfv", 30_000, 35_350, 1_280, 1_280),
    Job("stream", "rnnfv", 30_000, 30_300, 4_096, 500),
    Job("accuracy", "rnnfv", 100_000, 1_000, 500, 500),
]
QUICK_DEVICE = [
    *(Job("ridge", library, 4_000, 1_000, 1_000, 256) for library in ("rnnfv", CPU, "cca-zoo")),
    Job("stream", "rnnfv", 10_000, 3_000, 500, 500),
]
FULL_DEVICE = [
    *(Job("ridge", library, 20_000, 4_096, 4_096, 256) for library in ("rnnfv", CPU, "cca-zoo")),
    Job("stream", "rnnfv", 566_000, 30_300, 4_096, 500),
]


def main() -> int:
    parser = common.options(__doc__, has_device=True)
    parser.add_argument("--limit", type=float, default=1800, help="seconds after which a process is given up")
    args = parser.parse_args()
    if args.job:
        print(json.dumps(run(Job(*json.loads(args.job)))))
        return 0
    title, texts = "Regularised CCA, float32 data", (PREDICTION, LIMITED_BY)
    jobs = FULL if args.full else QUICK
    if args.device != "cpu":
        title, texts = f"{title}, {args.device}", (PREDICTION_DEVICE, "")
        jobs = FULL_DEVICE if args.full else QUICK_DEVICE
        jobs = [job._replace(device=args.device) if job.library == "rnnfv" else job for job in jobs]
    report = common.Report(title, *texts)
    results = []
    for job in jobs:
        try:
            results.append(job._asdict() | measure(job, args.threads, args.limit))
        except common.UnmeasuredError as why:
            report.skip(f"{job.library} in '{job.work}'", str(why))
    refuse_disagreement(results)
    common.limit_threads(args.threads)
    tell(report, results, {work: common.product_rate(args.device, dtype) for work, dtype in MADE_IN.items()})
    return common.finish(report, args)


def measure(job: Job, threads: int, limit: float) -> dict[str, Any]:
    """What a process of its own tells of a job."""
    if not common.is_installed(MODULES.get(job.library, "rnnfv")):
        raise common.UnmeasuredError("it is not installed")
    return common.in_process(__file__, job, threads, limit)


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
    return told | {"peak": common.peak_gib()}


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


def no_ridge(job: Job) -> dict[str, Any]:
    import numpy as np
    from sklearn.cross_decomposition import CCA

    from rnnfv import RegularizedCCA

    X, Y = whole(job)
    model = RegularizedCCA(0, job.components) if job.library == "rnnfv" else CCA(job.components, max_iter=10_000)
    seconds, _ = common.clocked(lambda: model.fit(X, Y))
    x, y = model.transform(X, Y)
    return {"seconds": seconds, "correlation": float(abs(np.corrcoef(x[:, 0], y[:, 0])[0, 1]))}


def ridge(job: Job) -> dict[str, Any]:
    import numpy as np

    X, Y = whole(job)
    before = common.peak_gib()
    if job.library in ("rnnfv", CPU):
        from rnnfv import RegularizedCCA

        model = RegularizedCCA(RIDGE, job.components, device=job.device)
        # What a device needs before its first work is not timed.
        RegularizedCCA(device=job.device).fit(X[:99, :9], Y[:99, :9])
        seconds, _ = common.clocked(lambda: model.fit(X, Y))
        return {"seconds": seconds, "correlation": float(model.correlations_[0]), "before": before}
    from cca_zoo.linear import RidgeCCA

    # (1 - c) S + c I is S + s I but for a factor.
    shifts = [RIDGE * np.linalg.eigvalsh(np.cov(side, rowvar=False, dtype=np.float32))[-1] for side in (X, Y)]
    model = RidgeCCA(n_components=job.components, shrinkage=[float(s / (1 + s)) for s in shifts])
    seconds, _ = common.clocked(lambda: model.fit([X, Y]))
    weights = [w[:, 0].astype(float) for w in model.weights_]
    x, y = ((side - side.mean(axis=0)) @ w for side, w in zip((X, Y), weights, strict=True))
    lengths = [v @ v + (job.n - 1) * s * (w @ w) for v, s, w in zip((x, y), shifts, weights, strict=True)]
    correlation = float(abs(x @ y) / np.sqrt(lengths[0] * lengths[1]))
    return {"seconds": seconds, "correlation": correlation, "before": before}


def path(job: Job) -> dict[str, Any]:
    from rnnfv import RegularizedCCA
    from rnnfv.cca import cca_path

    X, Y = whole(job)
    if job.library == "rnnfv":
        seconds, firsts = common.clocked(lambda: [c.correlations_[0] for c in cca_path(X, Y, PATH, job.components)])
    else:
        summed = RegularizedCCA(PATH[-1], job.components)
        seconds, firsts = common.clocked(lambda: [c.correlations_[0] for c in summed.partial_fit(X, Y).path(PATH)])
    return {"seconds": seconds, "correlation": float(firsts[-1])}


def stream(job: Job) -> dict[str, Any]:
    from rnnfv import RegularizedCCA

    model = RegularizedCCA(RIDGE, job.components, device=job.device)
    rate = common.product_rate(job.device)
    # A device is still at work when a block was given to it: waiting for it at each makes its time known.
    summing = sum(common.clocked(lambda pair=pair: model.partial_fit(*pair), job.device)[0] for pair in blocks(job))
    solving, correlations = common.clocked(lambda: model.correlations_)
    return {
        "seconds": summing + solving,
        "correlation": float(correlations[0]),
        "note": f"solved in {solving:,.0f} s",
        "share": operations(job.n, job.a, job.b) / summing / rate,
    }


def accuracy(job: Job) -> dict[str, Any]:
    import numpy as np

    from rnnfv import RegularizedCCA

    X, Y = whole(job)
    seconds, ours = common.clocked(lambda: RegularizedCCA(1e-3, job.components).fit(X, Y))
    exact = RegularizedCCA(1e-3, job.components).fit(X.astype(np.float64), Y.astype(np.float64))
    error = abs(ours.correlations_ - exact.correlations_).max()
    cosine = abs(ours.similarity(X[:1000], Y[:1000]) - exact.similarity(X[:1000], Y[:1000])).max()
    note = f"correlations differ by {error:.0e}, cosines by {cosine:.0e}"
    return {"seconds": seconds, "correlation": float(ours.correlations_[0]), "note": note}


# -- telling ---------------------------------------------------------------------------------------


def operations(n: int, a: int, b: int) -> int:
    """Multiplications and additions of the products of n pairs, of a symmetric one only half."""
    return n * (a + b) ** 2


def tell(report: common.Report, results: list[dict[str, Any]], rates: dict[str, float]) -> None:
    """A line for every peer, and for what is ours alone; with more memory than its data where that is known.

    A line's share is that of the products of the rows alone, at the measured rate, in the time of the whole fit; of a
    stream, in the time of its sums.
    """
    ours: dict[tuple[Any, ...], dict[str, Any]] = {}
    alone = [row for row in results if row["library"] == "rnnfv"]
    for row in alone:
        if row["work"] in rates:
            row["share"] = operations(row["n"], row["a"], row["b"]) / row["seconds"] / rates[row["work"]]
    for row in results:
        size = (row["work"], row["n"], row["a"])
        base = ours.setdefault(size, row)
        if row is base:
            continue
        if base in alone:
            alone.remove(base)
        rest = compared(base, row) | share_of(base)
        report.add(text_of(row), figures_of(base), peer=row["library"], theirs=figures_of(row), **rest)
    for row in alone:
        report.add(text_of(row), figures_of(row), note=row.get("note", ""), **share_of(row))


def share_of(row: dict[str, Any]) -> dict[str, Any]:
    return {"share": row["share"], "limit": "matrix products"} if "share" in row else {}


def compared(base: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    memory = f"memory {row['peak'] / base['peak']:.2f} times ours"
    if "before" in row:
        ratio = (row["peak"] - row["before"]) / (base["peak"] - base["before"])
        memory += f", {ratio:.1f} times beyond the data"
    aim = "3, and twice the memory" if row["library"] == "cca-zoo" else ""
    return {"ratio": row["seconds"] / base["seconds"], "aim": aim, "note": memory}


def text_of(row: dict[str, Any]) -> str:
    return f"{row['work']}, {row['n']:,} x ({row['a']:,} + {row['b']:,})"


def figures_of(row: dict[str, Any]) -> str:
    return f"{common.seconds_text(row['seconds'])}, {row['peak']:.2f} GiB"


if __name__ == "__main__":
    sys.exit(main())
