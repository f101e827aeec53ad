"""
A backbone of one's own
=======================

A backbone makes a vector of a frame. It is any object with the attributes and methods of
:class:`~rnnfv.video.backbones.Backbone`; no base class, nothing to register. Extraction then gives it what the others
have: frames decoded in processes of their own, shards that survive a stop, a line in a report for every video.

This one describes a frame by the mean colour of each cell of a grid, and needs no weights. Put your net in
``__call__``.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline

from rnnfv import (
    FisherInformationScaler,
    LinearSVM,
    MeanPooling,
    PowerNormalizer,
    RNNFisherVector,
    StepPreprocessor,
)
from rnnfv.recipes.extraction import extract_features
from rnnfv.storage import read_all_features
from rnnfv.video.backbones.preprocessing import ResizeTo
from rnnfv.video.decode import Sampling

# %%
# The backbone
# ------------
# ``prepare`` runs where frames are decoded and is sent there by pickle, so that it should be small. ``description``
# goes into the features' folder: an extraction that is continued with another one is refused.


@dataclass(frozen=True)
class ColourGrid:
    """The mean colour of each cell of a grid of ``cells`` x ``cells``."""

    cells: int = 6
    input: Literal["frames", "clips"] = "frames"

    @property
    def name(self):
        return f"colour-grid-{self.cells}"

    @property
    def dim(self):
        return 3 * self.cells**2

    @property
    def prepare(self):
        return ResizeTo(self.cells, self.cells)  # resizing averages what falls into a cell

    def __call__(self, batch):
        return (batch.reshape(len(batch), -1) / np.float32(255)).astype(np.float32)

    def description(self):
        return {"name": self.name, "dim": self.dim, "settings": {"cells": self.cells}, "weights": {}}


backbone = ColourGrid()

# %%
# Videos to try it on
# -------------------
# A ball crosses the picture from left to right or from right to left, at any height and speed. The last file is no
# video, and costs nothing but its line in the report.

rng = np.random.default_rng(0)
folder = Path(tempfile.mkdtemp())
(folder / "videos").mkdir()


def write_video(path, leftwards):
    speed, row = rng.uniform(4, 8), rng.integers(14, 50)
    colour = rng.integers(120, 255, 3)
    places = np.arange(8, 88, speed)
    down, across = np.mgrid[:64, :96]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=10)  # without loss: what a codec leaves out may depend on the direction
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for x in places[::-1] if leftwards else places:
            image = np.full((64, 96, 3), 30, np.uint8)
            image[(across - x) ** 2 + (down - row) ** 2 < 64] = colour
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        file.mux(stream.encode())


for k in range(40):
    write_video(folder / "videos" / f"{'left' if k % 2 else 'right'}_{k:02}.mkv", bool(k % 2))
(folder / "videos" / "broken.mkv").write_bytes(b"this is no video")

done = extract_features(folder / "videos", backbone, folder / "features", sampling=Sampling(every=1), workers=0)
print(f"{done.ok} read, {done.failed} failed: {done.failures[0][0]}")
print(json.dumps(backbone.description()))

# %%
# What it sees
# ------------

features = read_all_features(folder / "features")
labels = np.array([name.split("_")[0] for name in features.ids])
shown = features.sequences[int(np.flatnonzero(labels == "right")[0])]
figure, axes = plt.subplots(1, 6, figsize=(9, 2.2), layout="constrained")
for axis, vector in zip(axes, shown[np.linspace(0, len(shown) - 1, 6).astype(int)], strict=True):
    axis.imshow(vector.reshape(backbone.cells, backbone.cells, 3).clip(0, 1), aspect=2 / 3)
    axis.set(xticks=[], yticks=[])
figure.suptitle("One video, as the backbone sees it")

# %%
# To the left, or to the right?
# -----------------------------

folds = StratifiedKFold(4, shuffle=True, random_state=0)
encoder = RNNFisherVector(hidden_size=24, projection_size=None, max_epochs=4, early_stopping=None, random_state=0)
for title, pooling in {
    "mean pooling": [MeanPooling()],
    "RNN-FV": [encoder, FisherInformationScaler("kronecker")],
}.items():
    model = make_pipeline(StepPreprocessor(basis="pca", n_components=16), *pooling, PowerNormalizer(), LinearSVM())
    accuracy = cross_val_score(model, list(features.sequences), labels, cv=folds)
    print(f"{title:13} {100 * accuracy.mean():5.1f} % in four-fold cross-validation")
plt.show()
