"""Speed of MixtureFisherVector next to scikit-image, VLFeat and scikit-learn, on the CPU.

    python benchmarks/mixture_speed.py [--full] [--threads N] [--json FILE]

Fisher vectors (K = 30, D = 300, float32) of short sentences and of long sequences, against scikit-image's
`fisher_vector` and VLFeat's `vl_fisher_encode`; and ten EM iterations against scikit-learn's GaussianMixture.
All libraries get the same threads and the same parameters, and must agree before any of them is timed. The
repeats take turns, and the median of each counts. Both peers take one sequence a call: their loop over the
sequences is part of their time, as filling the whole output array is part of everybody's.

Posteriors are "sharp" where components lie apart (a step belongs to one or two of them, as is usual in 300
dimensions) and "soft" where they overlap (a step belongs to nearly all). Sharp ones are what an encoder that
skips small posteriors likes: VLFeat skips those below 1e-6, we skip those below 1.4e-14, scikit-image none.

VLFeat is looked for as a shared library (Debian and Ubuntu: `apt-get install libvlfeat1`), and left out,
saying so, where there is none; scikit-image likewise (`pip install 'rnnfv[oracles]'`).
"""

from __future__ import annotations

import argparse
import ctypes
import ctypes.util
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import _common as common
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from rnnfv import MixtureFisherVector, Sequences

K, D = 30, 300
SPREADS = {"sharp": 1.0, "soft": 0.1}  # standard deviation of the components' means, next to their own of about 1
PRODUCTS = {"sharp": 2, "soft": 4}  # (steps, D) x (D, K) that are needed: posteriors', and gradients' of all components
TOLERANCE = 1e-3  # of the largest entry of a vector; every library computes in float32

LIMITED_BY = (
    "Memory more than arithmetic. Products are 40 % of the time of long soft sequences, and a quarter of that of sharp "
    "ones; the rest passes over (steps, K) and (steps, D) numbers one operation at a time. For a sentence the 18,000 "
    "numbers of its vector, which are written and scaled in several passes, are more than half of the time."
)
Encoder = Callable[[Sequences], NDArray[Any]]


class Result(NamedTuple):
    """One line of the table."""

    work: str
    library: str
    seconds: float
    items: int
    speedup: float | None  # the peer's time over ours
    error: float | None  # largest difference from ours, relative to a vector's largest entry
    operations: float  # of the matrix products that no way to the result can do without


def main() -> int:
    args = common.options(__doc__).parse_args()
    common.limit_threads(args.threads)
    report = common.Report(f"Mixtures, K = {K}, D = {D}, float32", limited_by=LIMITED_BY)
    rows, rate = [row for work in workloads(args) for row in work(report)], common.product_rate()
    ours = {row.work: row for row in rows if row.library == "rnnfv, gaussian"}
    for row in rows:
        if row.speedup is not None or row.library == "rnnfv, hybrid":
            report.add(
                row.work,
                per_item(ours[row.work]),
                peer=row.library,
                theirs=per_item(row),
                ratio=row.seconds / ours[row.work].seconds,
                share=ours[row.work].operations / ours[row.work].seconds / rate,
                limit="matrix products",
                note="" if row.error is None else f"largest difference {row.error:.0e}",
            )
    return common.finish(report, args)


def per_item(row: Result) -> str:
    return f"{common.seconds_text(row.seconds / row.items)} each"


def workloads(arguments: argparse.Namespace) -> list[Callable[[common.Report], list[Result]]]:
    """What is measured, in order."""
    rng = np.random.default_rng(0)
    quick, threads = not arguments.full, arguments.threads
    short = rng.integers(8, 21, 300 if quick else 2000)
    long = np.full(20 if quick else 100, 300)
    works: list[Callable[[common.Report], list[Result]]] = []
    for name, lengths in (("sentence of 8-20 words", short), ("sequence of 300 steps", long)):
        for sharpness, spread in SPREADS.items():
            data, options = make_data(lengths, spread), {"threads": threads, "repeats": 3 if quick else 7}
            works.append(partial(encoding, f"{name}, {sharpness}", *data, products=PRODUCTS[sharpness], **options))
    works.append(partial(expectation_maximisation, 30_000 if quick else 100_000, 3 if quick else 5))
    return works


def make_data(lengths: NDArray[np.int64], spread: float) -> tuple[Sequences, dict[str, NDArray[Any]]]:
    """Sequences from a mixture of heavy-tailed components, and parameters near that mixture's."""
    rng = np.random.default_rng(1)
    means = rng.normal(scale=spread, size=(K, D))
    scales = rng.uniform(0.8, 1.2, (K, D))
    chosen = rng.integers(K, size=lengths.sum())
    values = means[chosen] + scales[chosen] * rng.standard_t(6, (len(chosen), D)) * (2 / 3) ** 0.5
    parameters: dict[str, NDArray[Any]] = {"weights": rng.dirichlet(np.full(K, 20.0)), "means": means}
    parameters |= {
        "variances": scales**2,
        "medians": means,
        "scales": scales / 2**0.5,
        "is_laplacian": rng.random((K, D)) < 0.5,
    }
    return Sequences(values.astype(np.float32), np.concatenate([[0], np.cumsum(lengths)])), parameters


# -- Fisher vectors --------------------------------------------------------------------------------


def encoding(
    work: str,
    seqs: Sequences,
    p: dict[str, NDArray[Any]],
    report: common.Report,
    *,
    products: int,
    threads: int,
    repeats: int,
) -> list[Result]:
    """Time all encoders on the same sequences, once they agree."""
    encoders: dict[str, Encoder] = {
        "rnnfv, gaussian": MixtureFisherVector(K, "gaussian", device="cpu").set_parameters(**p).transform,
        "rnnfv, hybrid": MixtureFisherVector(K, "hybrid", device="cpu").set_parameters(**p).transform,
    }
    for name, peer in (("scikit-image", scikit_image(p)), ("VLFeat", vlfeat(p, threads))):
        if peer is None:
            report.skip(f"{name} in '{work}'", "it is not installed")
        else:
            encoders[name] = peer
    ours = encoders["rnnfv, gaussian"](seqs)
    errors = {name: difference(encode(seqs), ours) for name, encode in encoders.items() if "rnnfv" not in name}
    for name, error in errors.items():
        if error > TOLERANCE:
            raise SystemExit(f"{name} and rnnfv disagree on '{work}': {error:.1e}")
    seconds = medians({name: partial(encode, seqs) for name, encode in encoders.items()}, repeats)
    base, needed = seconds["rnnfv, gaussian"], operations(products, len(seqs.steps()))
    return [
        Result(work, name, taken, len(seqs), taken / base if name in errors else None, errors.get(name), needed)
        for name, taken in seconds.items()
    ]


def scikit_image(p: dict[str, NDArray[Any]]) -> Encoder | None:
    """Its encoder, brought to our layout and normalisation; None where it is not installed."""
    if not common.is_installed("skimage"):
        return None
    from skimage.feature import fisher_vector

    mixture = GaussianMixture(K, covariance_type="diag")
    mixture.weights_, mixture.means_, mixture.covariances_ = p["weights"], p["means"], p["variances"]
    mixture.precisions_cholesky_ = 1 / np.sqrt(p["variances"])

    def encode(seqs: Sequences) -> NDArray[np.float32]:
        out = np.empty((len(seqs), 2 * K * D), np.float32)
        for row, sequence in zip(out, seqs, strict=True):
            row[:] = fisher_vector(sequence, mixture)[K:]  # without the weights' gradients
        out[:, K * D :] *= -1  # its deviations have the other sign
        out *= np.sqrt(seqs.lengths, dtype=np.float32)[:, None]  # and it divides by N
        return out

    return encode


def vlfeat(p: dict[str, NDArray[Any]], threads: int) -> Encoder | None:
    """VLFeat's encoder, brought to our normalisation; None where it is not installed."""
    name = ctypes.util.find_library("vl")
    if name is None:
        return None
    library = ctypes.CDLL(name)
    library.vl_set_num_threads(ctypes.c_ulonglong(threads))
    pointer, size, is_float = ctypes.c_void_p, ctypes.c_ulonglong, 1
    function = library.vl_fisher_encode
    function.argtypes = [pointer, ctypes.c_uint32, pointer, size, size, pointer, pointer, pointer, size, ctypes.c_int]
    function.restype = size
    arrays = [np.ascontiguousarray(p[key], np.float32) for key in ("means", "variances", "weights")]
    means, variances, weights = (array.ctypes.data for array in arrays)

    def encode(seqs: Sequences) -> NDArray[np.float32]:
        out = np.empty((len(seqs), 2 * K * D), np.float32)
        address, step = out.ctypes.data, out.strides[0]
        for i, x in enumerate(seqs):
            function(address + i * step, is_float, means, D, K, variances, weights, x.ctypes.data, len(x), 0)
        out *= np.sqrt(seqs.lengths, dtype=np.float32)[:, None]  # it divides by N
        return out

    encode.keeps = arrays  # type: ignore[attr-defined]  # the addresses above are theirs
    return encode


def difference(theirs: NDArray[Any], ours: NDArray[Any]) -> float:
    """Largest difference, relative to the largest entry of its vector."""
    return float((abs(theirs - ours).max(1) / abs(ours).max(1)).max())


# -- EM --------------------------------------------------------------------------------------------


def expectation_maximisation(n: int, repeats: int, _: common.Report) -> list[Result]:
    """Ten iterations of a Gaussian mixture from one start. No floor comes into force here."""
    seqs = make_data(np.full(n // 100, 100), SPREADS["soft"])[0]
    x = seqs.steps()
    start = {"weights": np.full(K, 1 / K), "means": x[:K], "variances": np.ones((K, D))}
    ours = MixtureFisherVector(K, "gaussian", max_iter=10, variance_floor=1e-6, device="cpu")
    theirs = GaussianMixture(
        K,
        covariance_type="diag",
        max_iter=10,
        tol=0,
        reg_covar=0,
        weights_init=start["weights"].astype(np.float32),
        means_init=start["means"],
        precisions_init=np.ones((K, D), np.float32),
        init_params="random_from_data",  # not used, but k-means would cost it time
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # ten iterations are meant to be ten
        ours.fit(seqs, init=start)
        theirs.fit(x)
        error = abs(ours.means_ - theirs.means_).max() / abs(ours.means_).max()
        if error > TOLERANCE * 10:  # ten iterations in float32 amplify the rounding
            raise SystemExit(f"scikit-learn and rnnfv disagree on the means: {error:.1e}")
        fits: dict[str, Callable[[], Any]] = {
            "rnnfv, gaussian": partial(ours.fit, seqs, init=start),
            "scikit-learn": partial(theirs.fit, x),
        }
        seconds = medians(fits, repeats)
    work = f"10 EM iterations, {n:,} vectors"
    needed = 10 * operations(PRODUCTS["soft"], n)
    speedup = seconds["scikit-learn"] / seconds["rnnfv, gaussian"]
    return [
        Result(work, "rnnfv, gaussian", seconds["rnnfv, gaussian"], n, None, None, needed),
        Result(work, "scikit-learn", seconds["scikit-learn"], n, speedup, float(error), needed),
    ]


def operations(products: int, steps: int) -> float:
    """Multiplications and additions of products of all steps with all components."""
    return 2.0 * products * steps * K * D


def medians(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    return {name: taken.median for name, taken in common.in_turns(functions, repeats).items()}


if __name__ == "__main__":
    sys.exit(main())
