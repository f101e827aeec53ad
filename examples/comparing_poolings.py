"""
Comparing poolings
==================

Which pooling is right for your sequences? Put each into the same pipeline, and let the data say. This is real data that
comes with the package: nine speakers, each saying two vowels in a row (Japanese Vowels). How much of each pooling's
answer rests on order, two tests tell: play the test utterances backwards, and shuffle their frames.

``rnnfv demo`` does this with everything chosen by cross-validation. Here the settings are fixed, to keep it short.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline

from rnnfv import (
    FisherInformationScaler,
    LinearSVM,
    MeanPooling,
    MixtureFisherVector,
    PowerNormalizer,
    RNNFisherVector,
    RNNHiddenState,
    StepPreprocessor,
)
from rnnfv.datasets.japanese_vowels import load_japanese_vowels

vowels = load_japanese_vowels()
seqs, speakers, _ = vowels.part("split1", "train")
test, truth, _ = vowels.part("split1", "test")
print(
    f"{len(seqs)} utterances to learn from, {len(test)} to test on, {seqs.lengths.min()} to {seqs.lengths.max()} steps"
)

# %%
# One pipeline each
# -----------------

net = {"hidden_size": 64, "projection_size": 64, "max_epochs": 4, "random_state": 0}
poolings = {
    "mean pooling": [MeanPooling()],
    "GMM Fisher vector": [MixtureFisherVector(8, family="gaussian", random_state=0)],
    "HGLMM Fisher vector": [MixtureFisherVector(8, family="hybrid", random_state=0)],
    "hidden state": [RNNHiddenState(**net)],
    "RNN-FV": [RNNFisherVector(**net)],
    "RNN-FV, Kronecker": [RNNFisherVector(**net), FisherInformationScaler("kronecker")],
}
rng = np.random.default_rng(0)
shuffled = [s[rng.permutation(len(s))] for s in test]
accuracies = {}
for title, steps in poolings.items():
    model = make_pipeline(StepPreprocessor(basis="standardize"), *steps, PowerNormalizer(), LinearSVM())
    model.fit(seqs, speakers)
    parts = {"as spoken": test, "backwards": test.reversed(), "shuffled": shuffled}
    accuracies[title] = {name: 100 * model.score(part, truth) for name, part in parts.items()}
    print(f"{title:20}", ", ".join(f"{name} {value:5.1f} %" for name, value in accuracies[title].items()))

# %%
# The mean and the mixtures give the same vector whatever the order of the frames, so that their bars are all of one
# height. The others lose when order is taken away: they were using it. On data as easy as this, all of them are good
# as spoken; `the skeletons of MSRAction3D <../fisher_information.html>`_ are a harder case.

figure, axis = plt.subplots(figsize=(9, 4.5), layout="constrained")
for k, name in enumerate(["as spoken", "backwards", "shuffled"]):
    heights = [row[name] for row in accuracies.values()]
    axis.bar(np.arange(len(accuracies)) + 0.27 * (k - 1), heights, 0.25, label=name)
axis.set_xticks(range(len(accuracies)), [title.replace(" ", "\n", 1) for title in accuracies])
axis.set(ylabel="accuracy %", title="Nine speakers, 370 test utterances")
axis.axhline(100 / 9, color="0.6", ls="--", lw=1)
axis.text(len(accuracies) - 0.55, 100 / 9, "chance", va="center", color="0.4")
axis.set_xlim(-0.6, len(accuracies) - 0.1)
axis.set_ylim(0, 118)
axis.legend(loc="upper left", ncols=3)
plt.show()
