"""
A data set of one's own
=======================

Two things make a data set: a folder of features, and a CSV that says what each item is. With them the commands of
``rnnfv action`` work on your data, and so does everything in Python.

* **Features**: Parquet shards with the columns ``id`` and ``features``, a list of vectors; ``write_features`` makes
  them from arrays, and ``rnnfv extract`` from videos.
* **Manifest**: a CSV with ``id``, ``label``, ``group``, and ``split1``, ``split2``, ... that say ``train`` or
  ``test``. Clips of one group (one person, one film, one day) are never on two sides of a validation; if they are on
  both sides of a *test*, the commands refuse.
"""

import csv
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from rnnfv.cli import main
from rnnfv.datasets.labelled import load_labelled
from rnnfv.recipes.action import Settings, evaluate_actions
from rnnfv.recipes.demo import TITLES
from rnnfv.storage import write_features
from rnnfv.tables import as_markdown

rng = np.random.default_rng(0)
folder = Path(tempfile.mkdtemp())

# %%
# Your arrays
# -----------
# Six pens write two strokes, in one order or the other: "up, right", "right, up", and so on. An array has a row for
# every moment, and three columns: the speed to the right, the speed upwards, the pressure.

STROKES = {"right": (1, 0), "up": (0, 1), "left": (-1, 0)}
arrays = {}
for pen in range(6):
    hand = 1 + 0.2 * rng.normal()
    for first in STROKES:
        for second in STROKES:
            for k in range(5 if first != second else 0):
                strokes = [np.tile(STROKES[s], (rng.integers(6, 12), 1)) for s in (first, second)]
                speed = hand * np.concatenate(strokes) + rng.normal(0, 0.3, (sum(map(len, strokes)), 2))
                pressure = 0.5 + rng.normal(0, 0.1, (len(speed), 1))
                arrays[f"pen{pen}_{first}-{second}_{k}"] = np.hstack([speed, pressure]).astype(np.float32)
print(f"{len(arrays)} arrays, such as {next(iter(arrays))} of shape {next(iter(arrays.values())).shape}")

# %%
# Two files
# ---------

write_features(folder / "features", list(arrays), list(arrays.values()))
with (folder / "pens.csv").open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["id", "label", "group", "split1", "split2"])
    for name in arrays:
        pen, label, _ = name.split("_")
        parts = ["test" if pen in test else "train" for test in (("pen0", "pen1"), ("pen2",))]
        table.writerow([name, label, pen, *parts])
print("".join((folder / "pens.csv").read_text().splitlines(keepends=True)[:3]))

# %%
# The comparison, in Python
# -------------------------
# Every pooling is prepared as cross-validation within the training part says. The settings here are small ones, so that
# this page is quick; without them you get the defaults.

data = load_labelled(folder / "features", folder / "pens.csv")
settings = Settings(
    poolings=("mean", "gmm-fv", "rnn-fv-kron"),
    deltas=(0,),  # differences of neighbours would show even the mean where a sequence began and ended
    components=(8,),
    hidden_size=24,
    projection_size=24,
    max_epochs=2,
    jobs=1,
)
rows = evaluate_actions(data, settings, reverse_test=True)
header = ["pooling", *data.manifest.splits, "mean", "played backwards"]
lines = []
for name, row in rows.items():
    backwards = np.mean([np.mean(values) for values in row.reversed_accuracies.values()])
    splits = [f"{np.mean(values):.1f}" for values in row.accuracies.values()]
    lines.append([TITLES[name], *splits, f"{row.mean:.1f}", f"{backwards:.1f}"])
print(as_markdown(header, lines))

figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
for label in sorted(set(data.manifest.labels))[:6]:
    chosen = int(np.flatnonzero(data.manifest.labels == label)[0])
    place = np.cumsum(data.sequences[chosen][:, :2], axis=0)
    axis.plot(*place.T, marker=".", label=label)
    axis.plot(*place[-1], marker="o", color=axis.lines[-1].get_color())
axis.set(title="One item of each class, drawn as a path; the disc is its end", aspect="equal", xticks=[], yticks=[])
axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))

# %%
# The same by the command line
# ----------------------------
# ``main`` is what the program ``rnnfv`` calls. In a shell it is
# ``rnnfv action evaluate --features features/ --manifest pens.csv --poolings mean``.

command = ["action", "evaluate", "--features", str(folder / "features"), "--manifest", str(folder / "pens.csv")]
try:
    main([*command, "--poolings", "mean", "--jobs", "1"])
except SystemExit as end:
    print("exit code", end.code)
plt.show()

# %%
# Here even the mean is right, and it is worth knowing why. Without ``--deltas 0`` the commands append to each step its
# difference to an earlier one, as suits skeletons and sensors. The mean of the differences is about the last step minus
# the first, over their number: it says where the sequence began and where it ended, and with two strokes that is all
# there is to know.
