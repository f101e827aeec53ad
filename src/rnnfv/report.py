"""The demo's page: a table and three pictures in one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.manifold import TSNE
from sklearn.metrics import confusion_matrix

from rnnfv.extras import wanted
from rnnfv.recipes.demo import BEST, TITLES, DemoOutcome
from rnnfv.storage import atomic_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>rnnfv demo: Japanese Vowels</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2733; background: #fff; max-width: 60rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } th, td { padding: .35rem .7rem; text-align: right; }
th { border-bottom: 2px solid #1d2733; font-weight: 600; } td { border-bottom: 1px solid #d9dee4; }
td:nth-child(2) { white-space: nowrap; }
th:first-child, td:first-child, th:last-child, td:last-child { text-align: left; }
tr.best td { background: #e8f1fb; font-weight: 600; } tr.changed td { color: #5a6673; }
img { max-width: 100%; height: auto; } p.note { color: #5a6673; font-size: .9rem; }
</style>
</head>
<body>
<h1>Who is speaking?</h1>
<p>Nine speakers, each saying two vowels in a row: series of 7 to 29 frames of 12 numbers. Every pooling turns a
series into one vector; a linear SVM names the speaker. 270 utterances to learn from, 370 to test on.</p>
<div class="table"><table>
<thead><tr><th scope="col">pooling</th><th scope="col">accuracy&nbsp;%</th><th scope="col">numbers</th>
<th scope="col">fit&nbsp;s</th><th scope="col">encode&nbsp;s</th><th scope="col">chosen on validation data</th>
</tr></thead>
<tbody>
$rows
</tbody></table></div>
<p class="note">Accuracy on the test part, $repeated; in every row power and L2 normalisation and a
linear SVM with C = 1. Preparation and sizes were chosen for each pooling by cross-validation within the training part.
<i>deltas</i>: the difference to so many frames before is appended, a glimpse of order for the orderless poolings too.
The last two rows take order away from the row above: <i>shuffled</i> is fitted and tested with every utterance's frames
in random order, <i>backwards</i> is the same fitted model, tested on utterances played backwards.</p>
$figures
<p class="note">Data: Kudo, Toyama, Shimbo: Japanese Vowels, UCI Machine Learning Repository, 1999 (CC BY 4.0).</p>
</body>
</html>
""")


def write_report(path: Path, outcome: DemoOutcome, seeds: int) -> Path:
    """Write the demo's page.

    Parameters
    ----------
    path : Path
        The HTML file.
    outcome : DemoOutcome
    seeds : int

    Raises
    ------
    ImportError
        If matplotlib is not there; the message names the extra that brings it.
    """
    pictures = {
        "Who is taken for whom": (_confusion(outcome), "confusion matrix of the test part"),
        "When to stop training": (_curve(outcome), "accuracy of the probe after every epoch"),
        "The vectors on a map": (_map(outcome), "two-dimensional map of the test utterances' vectors"),
    }
    figures = "\n".join(
        f'<h2>{title}</h2>\n<img alt="{alt}" src="data:image/png;base64,{_png(figure)}">'
        for title, (figure, alt) in pictures.items()
    )
    with atomic_file(path) as temporary:
        temporary.write_text(
            _PAGE.substitute(
                rows=_rows(outcome),
                figures=figures,
                repeated="one seed" if seeds == 1 else f"mean and deviation of {seeds} seeds",
            ),
            encoding="utf-8",
        )
    return path


def _rows(outcome: DemoOutcome) -> str:
    lines = []
    for row in outcome.rows:
        kind = "best" if row.name == BEST else "changed" if row.choice is None else ""
        spread = f" ± {row.std:.2f}" if len(row.accuracies) > 1 else ""
        times = ("", "") if row.choice is None else (f"{row.fit_seconds:.2f}", f"{row.encode_seconds:.3f}")
        chosen = (
            ""
            if row.choice is None
            else ", ".join(f"{name.split('__')[1]} = {value}" for name, value in sorted(row.choice.parameters.items()))
        )
        cells = (TITLES[row.name], f"{row.mean:.2f}{spread}", str(row.dim), *times, chosen)
        lines.append(f'<tr class="{kind}">' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return "\n".join(lines)


def _new_figure(width: float, height: float) -> tuple[Figure, Any]:
    with wanted("plots", "the report needs matplotlib"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _png(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _confusion(outcome: DemoOutcome) -> Figure:
    labels = outcome.test[1]
    names = np.unique(labels)
    counts = confusion_matrix(labels, outcome.first[BEST].predictions, labels=names)
    figure, axes = _new_figure(6, 5)
    axes.imshow(counts, cmap="Blues")
    axes.set_xticks(range(len(names)), [name.split()[-1] for name in names])
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("named by the model as speaker")
    for (true, named), count in np.ndenumerate(counts):
        if count:
            dark = count > counts.max() / 2
            axes.text(named, true, count, ha="center", va="center", color="white" if dark else "#1d2733")
    return figure


def _curve(outcome: DemoOutcome) -> Figure:
    figure, axes = _new_figure(8, 3.4)
    # Curves that lie on each other stay visible: the later ones are thinner.
    for name, color, width in (("hidden", "#8c96a0", 2), ("rnn-fv", "#ef8a62", 6), (BEST, "#2166ac", 2)):
        encoder = outcome.first[name].pipeline["encoder"]
        accuracies = 100 * np.array(encoder.history_["validation"])
        epochs = np.arange(1, len(accuracies) + 1)
        axes.plot(epochs, accuracies, color=color, marker=".", linewidth=width, label=TITLES[name])
        axes.plot(encoder.best_epoch_, accuracies[encoder.best_epoch_ - 1], "o", color=color, markersize=8 + width)
    axes.plot([], [], "ko", markersize=11, label="epoch that was kept")
    axes.set_xticks(epochs)
    axes.set_xlabel("epoch")
    axes.set_ylabel("probe's accuracy on validation, %")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _map(outcome: DemoOutcome) -> Figure:
    seqs, labels, _ = outcome.test
    vectors = outcome.first[BEST].pipeline[:-1].transform(seqs)
    places = TSNE(metric="cosine", init="pca", random_state=0).fit_transform(vectors)
    figure, axes = _new_figure(6.5, 5)
    for i, name in enumerate(np.unique(labels)):
        axes.scatter(*places[labels == name].T, s=14, color=f"C{i}", label=name)
    axes.set_axis_off()
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
