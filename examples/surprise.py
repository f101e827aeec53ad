"""
Anomalies by surprise
=====================

The net predicts the next element, so that what it did not foresee is a *surprise*: ``surprisal`` gives it for each
step, and ``score_samples`` the log likelihood of a whole sequence. Fit it on sequences that are as they should be,
without any labels, and the least likely of the new ones are those to look at.

Here a machine goes through a cycle of five phases, and is recorded by three sensors. In half of the faulty cycles two
phases are exchanged: every value is one that occurs in good cycles too, and as often. Only the order is wrong.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import RocCurveDisplay, roc_auc_score
from sklearn.mixture import GaussianMixture

from rnnfv import RNNFisherVector, StepPreprocessor

rng = np.random.default_rng(0)

# %%
# Made cycles
# -----------

LEVELS = np.array([[0, 0, 0], [1, 0, 0.3], [1, 1, 0.6], [0.2, 1, 1], [0, 0.4, 0.5]])


def cycle(order=(0, 1, 2, 3, 4), stuck=False):
    """One cycle: (steps, 3)."""
    steps = [np.repeat(LEVELS[k][None], rng.integers(5, 9), axis=0) for k in order]
    values = np.concatenate(steps)
    values += rng.normal(0, 0.08, values.shape)
    if stuck:
        at = rng.integers(10, len(values) - 12)
        values[at : at + 10, 1] = values[at, 1]
    return values


good = [cycle() for _ in range(300)]
exchanged = [cycle(order) for order in [(0, 2, 1, 3, 4), (0, 1, 3, 2, 4), (0, 1, 2, 4, 3)] * 13]
stuck = [cycle(stuck=True) for _ in range(39)]
new = [cycle() for _ in range(200)]

# %%
# Learn the good ones, and look at the new
# ----------------------------------------
# Long cycles have more steps to be surprised at, so a cycle's score is the mean surprise of its steps. Beside it
# stand two order-blind scores: a mixture of Gaussians of the single steps, and an isolation forest of each cycle's
# mean and deviation.

preparation = StepPreprocessor(basis="standardize").fit(good)
net = RNNFisherVector(hidden_size=32, projection_size=None, dropout=0.0, max_epochs=20, random_state=0)
net.fit(preparation.transform(good))
mixture = GaussianMixture(8, random_state=0).fit(np.concatenate(good))


def summary(seqs):
    return np.array([np.r_[s.mean(axis=0), s.std(axis=0)] for s in seqs])


forest = IsolationForest(random_state=0).fit(summary(good))


def scores(seqs):
    lengths = np.array([len(s) for s in seqs])
    return {
        "surprise of the net": -net.score_samples(preparation.transform(seqs)) / lengths,
        "mixture of the steps": np.array([-mixture.score(s) for s in seqs]),
        "isolation forest": -forest.score_samples(summary(seqs)),
    }


usual, kinds = scores(new), {"exchanged phases": scores(exchanged), "a sensor that sticks": scores(stuck)}
figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
for axis, (kind, faulty) in zip(axes, kinds.items(), strict=True):
    for name, values in faulty.items():
        truth = np.repeat([0, 1], [len(new), len(values)])
        found = np.concatenate([usual[name], values])
        print(f"{kind:21} {name:21} area under the curve {roc_auc_score(truth, found):.3f}")
        RocCurveDisplay.from_predictions(truth, found, ax=axis, name=name)
    axis.set(title=kind, xlabel="good cycles reported", ylabel="faults found")

# %%
# Exchanged phases are invisible to the order-blind scores, and plain to the net. A sensor that sticks shows
# combinations of values that never occur: for that the mixture is the better score here. Neither replaces the other.

# %%
# Where it happened
# -----------------
# The curve of one cycle says at which step the net was surprised.

faulty = exchanged[0]
surprise = net.surprisal(preparation.transform([faulty]))[0]
expected = np.median([net.surprisal(preparation.transform([s]))[0].mean() for s in new[:50]])

figure, (top, bottom) = plt.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
top.plot(faulty)
top.set(ylabel="three sensors", title="the second and the third phase are exchanged")
bottom.plot(surprise, color="#b3432b")
bottom.axhline(expected, color="0.6", ls="--", label="a good cycle's mean")
bottom.set(xlabel="step", ylabel="surprise, nats")
bottom.legend()
plt.show()
