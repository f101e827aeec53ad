"""The linear SVM of the probe against scikit-learn's `LinearSVC`, one class against the others, at UCF101's size.

9,537 made vectors of 1,000 numbers in 101 classes, power and L2 normalised as Fisher vectors are (`--full`; without
it 3,000 of 300 in 51), and a test part of the same source. Both have the same objective and C = 1, so that the
accuracy has to be the same. Both are told to be as exact as they are by default.

    python benchmarks/svm_speed.py [--full] [--json FILE]
"""

from __future__ import annotations

import sys
from typing import Any

import _common as common
import numpy as np
from sklearn.svm import LinearSVC

from rnnfv import LinearSVM, PowerNormalizer

SAME = 0.5  # percent of the test part that the two accuracies may differ by
PREDICTION = "A visit of LinearSVC to a sample costs one product of two vectors a class; ours are matrix products."
LIMITED_BY = "Matrix products with the data, 10 to 30 of them a Newton step; elementwise work on (samples, classes)."


def made(n: int, d: int, classes: int) -> tuple[Any, Any]:
    """Vectors and labels: class means that overlap, values that fall off as those of principal components do."""
    rng = np.random.default_rng(0)
    y = rng.integers(classes, size=n)
    spread = 1 / np.sqrt(1 + np.arange(d) / 20)
    means = np.random.default_rng(1).standard_normal((classes, d))
    X = (0.2 * means[y] + rng.standard_normal((n, d))) * spread
    return PowerNormalizer().fit_transform(X.astype(np.float32)), y


class Counting(np.ndarray):
    """Data that counts the operations of its products."""

    operations = 0

    def __matmul__(self, other: Any) -> Any:
        Counting.operations += 2 * self.size * other.shape[1]
        return np.asarray(self) @ other


class CountedSVM(LinearSVM):
    """The same model, whose data counts."""

    def _solve(self, X: Any, signs: Any) -> Any:
        return super()._solve(X.view(Counting), signs)


def main() -> int:
    args = common.options(__doc__).parse_args()
    n, d, classes = (9_537, 1_000, 101) if args.full else (3_000, 300, 51)
    common.limit_threads(args.threads)
    X, y = made(n + n // 3, d, classes)
    models = {"rnnfv": LinearSVM(), "LinearSVC": LinearSVC(C=1.0, max_iter=10_000)}
    fits = {name: (lambda model=model: model.fit(X[:n], y[:n])) for name, model in models.items()}
    times = common.in_turns(fits, 1 if args.full else 3)
    accuracy = {name: 100 * model.score(X[n:], y[n:]) for name, model in models.items()}
    if abs(accuracy["rnnfv"] - accuracy["LinearSVC"]) > SAME:
        raise SystemExit(f"the accuracies differ: {accuracy}")
    CountedSVM().fit(X[:n], y[:n])
    report = common.Report("Linear SVM, one class against the others", PREDICTION, LIMITED_BY)
    report.add(
        f"{n:,} vectors of {d:,} numbers, {classes} classes",
        common.seconds_text(times["rnnfv"].median),
        peer="scikit-learn LinearSVC",
        theirs=common.seconds_text(times["LinearSVC"].median),
        ratio=times["LinearSVC"].median / times["rnnfv"].median,
        share=Counting.operations / times["rnnfv"].median / common.product_rate(),
        limit="matrix products",
        note=f"accuracy {accuracy['rnnfv']:.2f} and {accuracy['LinearSVC']:.2f} %",
    )
    return common.finish(report, args)


if __name__ == "__main__":
    sys.exit(main())
