"""
Choosing the hidden size
========================

Every encoder is a scikit-learn transformer, so that ``GridSearchCV`` chooses its parameters by cross-validation, like
those of anything else. A vector has D (H + 1) numbers: D values a step, H hidden units. More units cost time and
memory, and do not always help.

The data is real, nine speakers and their vowels. The test part is used once, at the end.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline

from rnnfv import FisherInformationScaler, LinearSVM, PowerNormalizer, RNNFisherVector, StepPreprocessor
from rnnfv.datasets.japanese_vowels import load_japanese_vowels

vowels = load_japanese_vowels()
seqs, speakers, _ = vowels.part("split1", "train")
test, truth, _ = vowels.part("split1", "test")

# %%
# Search
# ------
# With ``early_stopping=None`` all sequences of a fold train the net, and the number of epochs is one more parameter
# to choose. A list of arrays is what scikit-learn can cut into folds. Where sequences of one person or one film
# belong together, take ``GroupKFold`` and hand their ``groups`` to ``fit``.

model = Pipeline(
    [
        ("prepare", StepPreprocessor(deltas=1)),
        ("encode", RNNFisherVector(projection_size=None, early_stopping=None, random_state=0)),
        ("scale", FisherInformationScaler("kronecker")),
        ("normalize", PowerNormalizer()),
        ("classify", LinearSVM()),
    ]
)
grid = {"encode__hidden_size": [2, 8, 32], "encode__max_epochs": [0, 2]}
search = GridSearchCV(model, grid, cv=StratifiedKFold(3, shuffle=True, random_state=0))
search.fit(list(seqs), speakers)
print("chosen:", search.best_params_)
print(f"in validation {100 * search.best_score_:.1f} %, on the test part {100 * search.score(list(test), truth):.1f} %")

# %%
# What it found
# -------------
# Zero epochs is a net as it was drawn, and with the Kronecker-factored normalisation it is a good encoder already.

results = search.cv_results_
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for epochs in grid["encode__max_epochs"]:
    rows = np.flatnonzero(results["param_encode__max_epochs"] == epochs)
    sizes = [int(results["param_encode__hidden_size"][row]) for row in rows]
    mean, spread = 100 * results["mean_test_score"][rows], 100 * results["std_test_score"][rows]
    left.errorbar(sizes, mean, spread, marker="o", capsize=3, label=f"{epochs} epochs")
    right.plot(sizes, results["mean_fit_time"][rows], marker="o", label=f"{epochs} epochs")
left.set(ylabel="accuracy in validation, %", title="What it is worth")
right.set(ylabel="seconds a fit", title="What it costs")
for axis in (left, right):
    axis.set_xscale("log", base=2)
    axis.set_xticks(grid["encode__hidden_size"], grid["encode__hidden_size"])
    axis.set_xlabel("hidden units, H")
    axis.legend()
plt.show()
