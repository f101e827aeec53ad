"""
Gestures from skeletons
=======================

A skeleton is a list of joints a frame; a gesture is a sequence of them. Here are three movements, each played forwards
and backwards: raising and lowering an arm, pushing and pulling, stepping left and stepping right. A gesture and its
mirror in time show the *same poses*, so that only their order tells them apart.

The skeletons are made in this script, with a body size, a tempo and a shaking of their own for each of eight persons.
Half of the persons are learnt from, the others are tested. For yours, make a list of arrays (frames, 3 x joints).
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay
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

# %%
# Made skeletons
# --------------
# Eleven joints: head, neck, hip, and on either side shoulder or hip joint, elbow or knee, hand or foot. A pose
# depends on one number between 0 and 1, how far the gesture is; a gesture goes through it once.

JOINTS = ["head", "neck", "hip", "elbow_l", "hand_l", "elbow_r", "hand_r", "knee_l", "foot_l", "knee_r", "foot_r"]
BONES = [(0, 1), (1, 2), (1, 3), (3, 4), (1, 5), (5, 6), (2, 7), (7, 8), (2, 9), (9, 10)]
REST = np.array(
    [
        *([0, 1.7, 0], [0, 1.45, 0], [0, 0.95, 0]),
        *([-0.25, 1.2, 0], [-0.3, 0.95, 0], [0.25, 1.2, 0], [0.3, 0.95, 0]),
        *([-0.12, 0.5, 0], [-0.14, 0, 0], [0.12, 0.5, 0], [0.14, 0, 0]),
    ]
)
ENDS = {
    "arm": {"elbow_r": [0.3, 1.5, 0], "hand_r": [0.32, 1.85, 0]},
    "push": {"elbow_l": [-0.2, 1.25, 0.25], "hand_l": [-0.15, 1.3, 0.6], "elbow_r": [0.2, 1.25, 0.25]}
    | {"hand_r": [0.15, 1.3, 0.6]},
    "step": {"knee_r": [0.35, 0.55, 0], "foot_r": [0.5, 0, 0], "hip": [0.15, 0.93, 0], "neck": [0.12, 1.43, 0]}
    | {"head": [0.12, 1.68, 0]},
}
NAMES = {
    "arm": ("raise the arm", "lower the arm"),
    "push": ("push", "pull"),
    "step": ("step right", "step left"),
}


def gesture(kind, backwards, size, tempo):
    """One gesture: frames x 33 coordinates in metres."""
    target = REST.copy()
    for joint, place in ENDS[kind].items():
        target[JOINTS.index(joint)] = place
    frames = int(rng.integers(14, 22) / tempo)
    along = 0.5 - 0.5 * np.cos(np.pi * np.linspace(0, 1, frames))  # slow, quick, slow: the same in both directions
    along = along[::-1] if backwards else along
    poses = REST + along[:, None, None] * (target - REST)
    sway = np.cumsum(rng.normal(0, 0.004, (frames, 1, 3)), axis=0)
    sway -= sway.mean(axis=0)  # else its growth would tell the direction
    return (size * poses + sway + rng.normal(0, 0.01, poses.shape)).reshape(frames, -1)


seqs, labels, persons = [], [], []
for person in range(8):
    size, tempo = rng.uniform(0.85, 1.15), rng.uniform(0.7, 1.3)
    for kind, names in NAMES.items():
        for backwards in (False, True):
            for _ in range(6):
                seqs.append(gesture(kind, backwards, size, tempo))
                labels.append(names[backwards])
                persons.append(person)
labels, persons = np.array(labels), np.array(persons)
train, test = np.flatnonzero(persons < 4), np.flatnonzero(persons >= 4)

figure, axes = plt.subplots(2, 6, figsize=(9, 4), sharex=True, sharey=True, layout="constrained")
for row, name in zip(axes, NAMES["arm"], strict=True):
    frames = seqs[int(np.flatnonzero(labels == name)[0])].reshape(-1, 11, 3)
    for axis, frame in zip(row, frames[np.linspace(0, len(frames) - 1, 6).astype(int)], strict=True):
        for a, b in BONES:
            axis.plot(*frame[[a, b], :2].T, color="#2f5d8a", lw=2)
        axis.set(aspect="equal", xticks=[], yticks=[])
    row[0].set_ylabel(name)
figure.suptitle("The same poses, in two orders")

# %%
# Three poolings, one classifier
# ------------------------------
# Skeletons are narrow features: scale out the size of the body, and rotate. What follows a pooling is always the same,
# power normalisation and a linear SVM.


def chain(*pooling):
    return make_pipeline(
        StepPreprocessor(scale_sequences=True, basis="whiten", n_components=12),
        *pooling,
        PowerNormalizer(),
        LinearSVM(),
    )


chains = {
    "mean pooling": chain(MeanPooling()),
    "GMM Fisher vector": chain(MixtureFisherVector(8, family="gaussian", random_state=0)),
    "RNN-FV": chain(
        RNNFisherVector(hidden_size=32, projection_size=32, max_epochs=4, random_state=0),
        FisherInformationScaler("kronecker"),
    ),
}
direction = {name: backwards for names in NAMES.values() for backwards, name in enumerate(names)}
movement = {name: kind for kind, names in NAMES.items() for name in names}
predictions = {}
for title, model in chains.items():
    model.fit([seqs[i] for i in train], labels[train])
    predicted = predictions[title] = model.predict([seqs[i] for i in test])
    right = predicted == labels[test]
    same = np.array([movement[a] == movement[b] for a, b in zip(predicted, labels[test], strict=True)])
    print(f"{title:18} gesture {100 * right.mean():5.1f} %, movement {100 * same.mean():5.1f} %", end=", ")
    print(f"its direction, where the movement is right, {100 * right[same].mean():5.1f} %")

# %%
# The order-blind poolings know the movement and guess its direction. (No difference of frames was appended. Differences
# carry the direction of the movement from one frame to the next, and with them a mixture can see it, too: try
# ``deltas=1``.)

figure, axes = plt.subplots(1, 3, figsize=(12, 5.2), sharey=True, layout="constrained")
order = [name for names in NAMES.values() for name in names]
for axis, (title, predicted) in zip(axes, predictions.items(), strict=True):
    ConfusionMatrixDisplay.from_predictions(
        labels[test], predicted, labels=order, ax=axis, colorbar=False, cmap="Blues", xticks_rotation=60
    )
    axis.set(title=title, ylabel="" if axis is not axes[0] else "true gesture", xlabel="predicted")
plt.show()
