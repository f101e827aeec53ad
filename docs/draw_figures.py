"""Draw the figures of how_it_works.md from what the library computes: nothing in them is sketched.

python docs/draw_figures.py FOLDER
"""

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rnnfv import MeanPooling, PowerNormalizer, RNNFisherVector, StepPreprocessor
from rnnfv.datasets.japanese_vowels import load_japanese_vowels

BLUE, RED, GREEN, INK, GREY = "#2166ac", "#b3432b", "#3b7d4f", "#1d2733", "#8c96a0"
DIVERGING = "RdBu_r"


def movements() -> tuple[RNNFisherVector, list[np.ndarray]]:
    """A small net, and three sequences of three values and different lengths that it was trained on with others."""
    rng = np.random.default_rng(3)
    phases = [np.linspace(0, rng.uniform(4, 7), n) + rng.uniform(0, 2) for n in rng.integers(12, 25, 60)]
    seqs = [np.c_[np.sin(p), np.cos(p), np.sin(2 * p)] + rng.normal(0, 0.05, (len(p), 3)) for p in phases]
    shown = [seqs[int(i)] for i in np.argsort([len(s) for s in seqs])[[0, 30, 59]]]
    return small_net().fit(seqs), shown


def small_net() -> RNNFisherVector:
    """Six units, so that all of it can be drawn."""
    training = {"dropout": 0.0, "max_epochs": 40, "batch_size": 4, "learning_rate": 0.01, "early_stopping": None}
    return RNNFisherVector(hidden_size=6, projection_size=None, random_state=0, **training)


def inside(net: RNNFisherVector, seq: np.ndarray) -> dict[str, np.ndarray]:
    """Prediction, error and hidden state of every step of a sequence."""
    import torch

    hidden = net.hidden_states([seq])[0]
    with torch.inference_mode():
        predicted = net.network_.output(torch.from_numpy(hidden)).numpy()
    return {"hidden": hidden, "predicted": predicted, "error": predicted - seq}


def draw_sequences() -> Figure:
    """Step 1 and 2: three sequences, and one of them as the net foresees it."""
    net, shown = movements()
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    (top, bottom) = figure.subfigures(2, 1, height_ratios=[1, 1.15])
    axes = top.subplots(1, 3, sharey=True)
    for axis, seq in zip(axes, shown, strict=True):
        for column, colour in zip(seq.T, (BLUE, RED, GREEN), strict=True):
            axis.plot(column, color=colour, marker=".", lw=1)
        axis.set(title=f"{len(seq)} steps of 3 values", xlim=(-1, 24))
        _plain(axis)
    axis = bottom.subplots()
    seq = shown[1]
    predicted = inside(net, seq)["predicted"]
    for column, foreseen, colour in zip(seq.T, predicted.T, (BLUE, RED, GREEN), strict=True):
        axis.plot(column, color=colour, marker=".", lw=1)
        axis.plot(foreseen, color=colour, ls=":", lw=1.6)
        axis.vlines(range(len(seq)), column, foreseen, color=colour, lw=0.7, alpha=0.6)
    axis.set(title="the second one: what came (dots), what the net foresaw (dotted), the errors between")
    axis.set(xlabel="step", xlim=(-1, len(seq)), xticks=range(0, len(seq), 4))
    _plain(axis)
    return figure


def draw_gradient() -> Figure:
    """Step 3 and 4: errors times hidden states, summed over the steps, folded out to a vector."""
    net, shown = movements()
    seq = shown[1]
    parts = inside(net, seq)
    inputs = np.c_[parts["hidden"], np.ones(len(seq))]
    gradient = parts["error"].T @ inputs / len(seq)
    vector = net.transform([seq])[0]
    if not np.allclose(gradient.ravel(), vector, atol=1e-5):
        raise AssertionError("the figure's gradient is not the encoder's vector")
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    rows = figure.subfigures(2, 1, height_ratios=[1.2, 1])
    left, middle, right = rows[0].subplots(1, 3, width_ratios=[1.6, 1.6, 1])
    _map(left, parts["error"].T, "errors e, 3 x steps", "step")
    _map(middle, inputs.T, "hidden states h and a 1, 7 x steps", "step")
    _map(right, gradient, "mean of e hᵀ, 3 x 7", "")
    axis = rows[1].subplots()
    normal = PowerNormalizer().fit_transform(vector[None])[0]
    axis.bar(range(len(normal)), normal, color=np.where(normal > 0, RED, BLUE))
    axis.set(title=f"row after row, normalised: the vector of {len(normal)} numbers, whatever the length")
    axis.axhline(0, color=INK, lw=0.8)
    _plain(axis)
    return figure


def draw_order() -> Figure:
    """A sequence and its mirror in time, as the mean and as the RNN-FV see them."""
    net, shown = movements()
    both = [shown[1], shown[1][::-1]]
    means = MeanPooling().fit(both).transform(both)
    vectors = PowerNormalizer().fit_transform(net.transform(both))
    figure = Figure(figsize=(6.6, 4.4), layout="constrained")
    grid = figure.subplots(2, 3, width_ratios=[1, 0.7, 2])
    for row, title, seq, mean, vector in zip(grid, ("forwards", "backwards"), both, means, vectors, strict=True):
        row[0].scatter(*seq.T[:2], c=np.linspace(0.25, 1, len(seq)), cmap="Blues", vmin=0, zorder=3)
        for a, b in pairwise(seq):
            row[0].annotate("", b[:2], a[:2], arrowprops={"arrowstyle": "->", "color": GREY})
        row[0].set(xticks=[], yticks=[], title=f"a path, {title}")
        row[1].bar(range(3), mean, color=GREY)
        row[1].set(ylim=(-0.6, 0.6), xticks=[], title="its mean")
        row[1].axhline(0, color=INK, lw=0.8)
        row[2].bar(range(len(vector)), vector, color=np.where(vector > 0, RED, BLUE))
        row[2].set(xticks=[], ylim=(-0.6, 0.6), title="its RNN-FV")
        row[2].axhline(0, color=INK, lw=0.8)
        for axis in row:
            _plain(axis)
    cosine = float(vectors[0] @ vectors[1])
    figure.supxlabel(f"cosine of the two RNN-FVs: {cosine:.2f}. Of the two means: they are equal.", fontsize=10)
    return figure


def draw_surprise() -> Figure:
    """Surprise of each step of a real utterance."""
    vowels = load_japanese_vowels()
    seqs = vowels.part("split1", "train")[0]
    prepared = StepPreprocessor(basis="standardize").fit_transform(seqs)
    net = RNNFisherVector(hidden_size=32, projection_size=None, max_epochs=8, random_state=0).fit(prepared)
    surprise = net.surprisal(prepared[:1])[0]
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.3, 1])
    top.imshow(np.asarray(prepared[0]).T, aspect="auto", cmap=DIVERGING, vmin=-3, vmax=3)
    top.set(yticks=[])
    top.set_title("an utterance: 12 coefficients a frame", fontsize=10)
    bottom.bar(range(len(surprise)), surprise, color=BLUE)
    bottom.set(title="surprise of each frame, nats", xlabel="frame", xticks=range(0, len(surprise), 4))
    _plain(bottom)
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "sequences.svg": draw_sequences,
    "gradient.svg": draw_gradient,
    "order.svg": draw_order,
    "surprise.svg": draw_surprise,
}


def draw(folder: Path) -> None:
    """Write those that are not there, or older than this file."""
    source = Path(__file__).stat().st_mtime
    for name, make in FIGURES.items():
        path = folder / name
        if not path.is_file() or path.stat().st_mtime < source:
            make().savefig(path, facecolor="white", metadata={"Date": None})


def _map(axis: Any, values: np.ndarray, title: str, label: str) -> None:
    most = float(np.abs(values).max())
    axis.imshow(values, cmap=DIVERGING, vmin=-most, vmax=most, aspect="auto")
    axis.set(xticks=[], yticks=[], xlabel=label)
    axis.set_title(title, fontsize=10)


def _plain(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.title.set_fontsize(10)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
