"""
Activity from a smartwatch
==========================

A watch gives three accelerations, fifty times a second, without end. Cut the stream into windows, and each window is
a sequence. Some activities differ in *what* is felt, such as walking and rest; others only in the *order*: sitting
down and standing up, opening and closing a door, are nearly each other's mirror in time.

The streams are made in this script: gravity turns with the wrist, movements push on it, and every wearer has a tempo
and a way of wearing the watch. For yours, make arrays (samples, 3) and cut them the same way.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import accuracy_score
from sklearn.pipeline import make_pipeline

from rnnfv import (
    FisherInformationScaler,
    LinearSVM,
    MeanPooling,
    MixtureFisherVector,
    PowerNormalizer,
    RNNFisherVector,
    StepPreprocessor,
)

rng = np.random.default_rng(0)
RATE = 50  # samples a second
ACTIVITIES = ["rest", "walk", "sit down", "stand up", "open a door", "close a door"]

# %%
# Made streams
# ------------


def moved(name, seconds, tempo):
    """Three accelerations in units of gravity, without the wearer's way of wearing the watch."""
    t = np.arange(int(seconds * RATE)) / RATE
    gravity = np.tile([0.0, 0.0, 1.0], (len(t), 1))
    if name == "walk":
        beat = 2 * np.pi * 1.8 * tempo * t + rng.uniform(0, 6)
        gravity[:, 0] += 0.25 * np.sin(beat / 2)
        gravity[:, 2] += 0.35 * np.sin(beat) + 0.15 * np.sin(2 * beat + 0.8)
    elif name != "rest":
        backwards = name in ("stand up", "close a door")
        u = np.clip((t / t[-1] - rng.uniform(0.08, 0.295)) * 1.6, 0, 1)
        turned = (0.5 - 0.5 * np.cos(np.pi * u)) * (0.9 if "door" in name else 0.6)
        bump = np.sin(np.pi * u) ** 2 * np.sin(2 * np.pi * u * 1.5)
        turned, bump = (turned[::-1], bump[::-1]) if backwards else (turned, bump)
        side = 0 if "door" in name else 1
        gravity[:, side] += np.sin(turned) + 0.25 * bump
        gravity[:, 2] += np.cos(turned) - 1
    return gravity + rng.normal(0, 0.04, gravity.shape)


def wearer():
    """A tempo, and a rotation of the watch on the wrist."""
    turn = np.linalg.qr(np.eye(3) + rng.normal(0, 0.12, (3, 3)))[0]
    return rng.uniform(0.85, 1.15), turn * np.sign(np.diag(turn))


WINDOW = 2.0  # seconds


def windows(n_wearers, each):
    cut, names = [], []
    for _ in range(n_wearers):
        tempo, turn = wearer()
        for name in ACTIVITIES * each:
            cut.append((moved(name, WINDOW * rng.uniform(0.8, 1.2), tempo) @ turn)[::2])  # 25 samples a second will do
            names.append(name)
    return cut, np.array(names)


train, names = windows(12, 6)
test, truth = windows(6, 4)
print(f"{len(train)} windows to learn from, {len(test)} of other wearers to test on")

figure, axes = plt.subplots(2, 3, figsize=(9, 4), sharex=True, sharey=True, layout="constrained")
for axis, name in zip(axes.T.flat, ACTIVITIES, strict=True):
    sample = train[int(np.flatnonzero(names == name)[0])]
    axis.plot(np.arange(len(sample)) / 25, sample)
    axis.set(title=name, xlabel="seconds")
figure.supylabel("acceleration, g")

# %%
# Three poolings
# --------------


def chain(*pooling):
    return make_pipeline(StepPreprocessor(basis="standardize"), *pooling, PowerNormalizer(), LinearSVM())


encoder = RNNFisherVector(hidden_size=32, projection_size=32, max_epochs=4, random_state=0)
model = chain(encoder, FisherInformationScaler("kronecker"))
blind = chain(MixtureFisherVector(8, family="gaussian", random_state=0))
for title, fitted in {"mean pooling": chain(MeanPooling()), "GMM Fisher vector": blind, "RNN-FV": model}.items():
    predicted = fitted.fit(train, names).predict(test)
    by_class = [100 * (predicted[truth == name] == name).mean() for name in ACTIVITIES]
    print(f"{title:17} {100 * accuracy_score(truth, predicted):5.1f} %:", end=" ")
    print(", ".join(f"{name} {share:.0f}" for name, share in zip(ACTIVITIES, by_class, strict=True)))

# %%
# The mean of a window says how the wrist was held on the whole. The mixture also knows how much it moved, and so
# tells a walk from rest; which of the two mirrored movements it was, it has to guess.

# %%
# A stream, window by window
# --------------------------
# A new wearer does one thing after the other. Windows of two seconds begin every second; between two activities they
# hold parts of both, and the answer is one of the two, or neither.

tempo, turn = wearer()
played = ["rest", "open a door", "walk", "walk", "close a door", "sit down", "rest", "stand up", "walk"]
stream = np.concatenate([moved(name, WINDOW, tempo) @ turn for name in played])[::2]
starts = np.arange(0, len(stream) - 49, 25)
scores = model.decision_function([stream[start : start + 50] for start in starts])
order = [list(model.classes_).index(name) for name in ACTIVITIES]

figure, (top, bottom) = plt.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
top.plot(np.arange(len(stream)) / 25, stream, lw=0.8)
for k, name in enumerate(played):
    top.text(2 * k + 1, 1.9, name, ha="center", fontsize=8)
    top.axvline(2 * k, color="0.8", lw=0.8)
top.set(ylabel="acceleration, g", ylim=(-1.2, 2.3), title="what was done")
bottom.imshow(
    scores[:, order].T, aspect="auto", extent=(0.5, starts[-1] / 25 + 1.5, 5.5, -0.5), cmap="RdBu_r", vmin=-2, vmax=2
)
bottom.set(yticks=range(6), yticklabels=ACTIVITIES, xlabel="seconds, middle of the window", title="decision values")
plt.show()
