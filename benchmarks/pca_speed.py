"""PCA of very wide matrices: `GramPCA` against scikit-learn's randomized and incremental PCA.

100,500 columns (the Fisher vectors of SPEC S10) of 3,000 rows, 500 components (`--full`; without it 20,100 columns of
800 rows, 100 components). The data has singular values that fall slowly, as those of Fisher vectors do, so that what
a quick method loses shows. An equal subspace is one that keeps an equal share of the variance that the exact one
keeps; randomized PCA is given power iterations until it keeps 99.99 %, or 20 of them.

Every line is a process of its own, so that peak memory is its own too; "above the data" leaves out the matrix.

    python benchmarks/pca_speed.py [--full] [--json FILE]
"""

from __future__ import annotations

import json
import sys
from typing import Any

import _common as common
import numpy as np

ENOUGH = 0.9999  # of the exact subspace's variance
POWERS = (2, 5, 10, 20)
PREDICTION = "One pass for the Gram matrix in float64 (half the rate of float32) and one for the components."
LIMITED_BY = (
    "The Gram matrix's float64 products, then the components' float32 products. Randomized PCA reads the data "
    "twice for every power iteration; incremental PCA makes an SVD of every batch."
)


def made(n: int, d: int) -> Any:
    """n rows of d numbers, float32; the strength of direction i falls as 1 / sqrt(i)."""
    rng = np.random.default_rng(0)
    mixing = rng.standard_normal((n, n), np.float32) / np.sqrt(1 + np.arange(n), dtype=np.float32)
    X = np.empty((n, d), np.float32)
    for start in range(0, d, 5000):
        X[:, start : start + 5000] = mixing @ rng.standard_normal((n, min(5000, d - start)), np.float32)
    return X


def kept(X: Any, components: Any) -> float:
    """Variance in a subspace, whatever its basis."""
    basis = np.linalg.qr(components.T.astype(np.float32))[0]
    centred = X - X.mean(axis=0)
    return float(np.square(centred @ basis, dtype=np.float64).sum())


def run(job: list[Any]) -> dict[str, float]:
    """In a process of its own: seconds, memory, and the variance that is kept."""
    name, n, d, k = job
    from sklearn.decomposition import PCA, IncrementalPCA

    from rnnfv import GramPCA

    X = made(n, d)
    before = common.peak_gib()
    if name == "rnnfv":
        model = GramPCA(k)
    elif name == "incremental":
        model = IncrementalPCA(k, batch_size=2 * k)
    else:
        powers = int(name.split()[-1])
        model = PCA(k, svd_solver="randomized", iterated_power=powers, random_state=0)
    seconds = common.clocked(lambda: model.fit(X))[0]
    peak = common.peak_gib()
    return {"seconds": seconds, "peak": peak, "above": peak - before, "kept": kept(X, model.components_)}


def main() -> int:
    parser = common.options(__doc__)
    args = parser.parse_args()
    common.limit_threads(args.threads)
    if args.job:
        print(json.dumps(run(json.loads(args.job))))
        return 0
    n, d, k = size = [3_000, 100_500, 500] if args.full else [800, 20_100, 100]
    report = common.Report("PCA of few rows and very many columns", PREDICTION, LIMITED_BY)
    ours = common.in_process(__file__, ["rnnfv", *size], args.threads)
    peers = {"incremental": common.in_process(__file__, ["incremental", *size], args.threads)}
    for powers in POWERS:
        name = f"randomized {powers}"
        peers[name] = common.in_process(__file__, [name, *size], args.threads)
        if peers[name]["kept"] >= ENOUGH * ours["kept"]:
            break
    # The Gram matrix, of which one triangle is made, and the components.
    least = n**2 * d / common.product_rate(dtype="float64") + 2 * n * d * k / common.product_rate()
    for name, theirs in peers.items():
        label = f"scikit-learn {name}" + (" power iterations" if name != "incremental" else "")
        report.add(
            f"{n:,} x {d:,}, {k} components",
            f"{common.seconds_text(ours['seconds'])}, {ours['above']:.2f} GiB above the data",
            peer=label,
            theirs=f"{common.seconds_text(theirs['seconds'])}, {theirs['above']:.2f} GiB",
            ratio=theirs["seconds"] / ours["seconds"],
            share=least / ours["seconds"],
            limit="matrix products",
            note=f"it keeps {100 * theirs['kept'] / ours['kept']:.3f} % of our variance",
        )
    return common.finish(report, args)


if __name__ == "__main__":
    sys.exit(main())
