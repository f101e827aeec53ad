"""The rows of the paper's Table 3 that the data at hand allows, on Flickr8k, and an order test.

Every row is chosen on one half of the development images and reported on the other half (or, with --split test,
chosen on all of them and reported on the test images, where the data set has them). Word vectors are word2vec and
GloVe joined; image vectors are those of the folder. The peers are in the same table: mean pooling, and a tf-idf bag of
words by scikit-learn.

The order test exchanges two nouns of a sentence ("a dog chases a cat"). "Told apart": the share of such pairs whose
vectors differ at all; encoders without order cannot tell them apart. "Prefers the true": the share for which the image
is nearer to the true sentence than to the exchanged one; a guess is right in half.

Models are kept in --models, and a run that was stopped goes on. All rows take about two hours on two cores.

    RNNFV_DATA=../shared/data python benchmarks/retrieval_real.py --full --models models --json retrieval_real.json
    python benchmarks/retrieval_real.py                 # mean pooling and GMM-FV: a few minutes
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import _common as common
import numpy as np
from rich.console import Console
from rich.table import Table

from rnnfv.datasets.captions import read_captions
from rnnfv.datasets.image_vectors import read_image_vectors
from rnnfv.recipes.evaluation import Combination, Parts, fit_models, parts_of
from rnnfv.recipes.published import published_reports
from rnnfv.recipes.retrieval import RetrievalModel, load_retrieval, report_of, total_recall
from rnnfv.recipes.sentence_settings import SentenceSettings

FILES = ("dataset_flickr8k.json", "mobilenet_edgetpu.npy", "word2vec_googlenews.bin", "glove6B_50d.txt")
CCA_WORDS = "cca words"  # the vectors of the model mm-ens, in place of those of the files
ROWS: dict[str, tuple[SentenceSettings, str]] = {
    "mean": (SentenceSettings("mean"), "files"),
    "tf-idf": (SentenceSettings("tf-idf"), "files"),
    "gmm-fv": (SentenceSettings("gmm-fv"), "files"),
    "mm-ens": (SentenceSettings("mm-ens"), "files"),
    "rnn-fv": (SentenceSettings("rnn-fv"), "files"),
    "rnn-fv reversed": (SentenceSettings("rnn-fv", reverse=True), "files"),
    "rnn-fv-clsf": (SentenceSettings("rnn-fv-clsf"), "files"),
    "rnn-fv, cca words": (SentenceSettings("rnn-fv"), CCA_WORDS),
    "rnn-fv, cca words, reversed": (SentenceSettings("rnn-fv", reverse=True), CCA_WORDS),
}
COMBINATIONS = (
    ("rnn-fv", "rnn-fv reversed"),
    ("rnn-fv", "tf-idf"),
    ("rnn-fv, cca words", "rnn-fv, cca words, reversed"),
    ("rnn-fv, cca words", "mm-ens"),
    ("rnn-fv, cca words", "tf-idf"),
    ("rnn-fv", "rnn-fv reversed", "tf-idf"),
    ("rnn-fv, cca words", "rnn-fv, cca words, reversed", "tf-idf"),
    tuple(ROWS),
)
_NOUNS = """dog dogs cat horse bird man men woman women boy boys girl girls child children person people baby player
crowd ball bike bicycle car boat skateboard frisbee stick toy hat shirt jacket water pool ocean lake river snow grass
field beach sand street road sidewalk mountain hill rock rocks tree trees fence wall building bench"""
NOUNS = frozenset(_NOUNS.split())


def exchanged(tokens: list[str]) -> list[str] | None:
    """The sentence with its first two different nouns exchanged; None where there are not two."""
    places = [i for i, token in enumerate(tokens) if token in NOUNS]
    second = next((i for i in places[1:] if tokens[i] != tokens[places[0]]), None)
    if second is None:
        return None
    swapped = list(tokens)
    swapped[places[0]], swapped[second] = tokens[second], tokens[places[0]]
    return swapped


def order_test(model: Any, parts: Parts) -> dict[str, float]:
    """Shares of pairs in percent, see above."""
    chosen = [(i, other) for i, text in enumerate(parts.test.texts) if (other := exchanged(text)) is not None]
    rows = [i for i, _ in chosen]
    true = model.encode_sentences([parts.test.texts[i] for i in rows])
    false = model.encode_sentences([other for _, other in chosen])
    images = model.encode_images(parts.test.images)[parts.test.image_of_sentence[rows]]
    margin = ((true - false) * images).sum(axis=1)
    apart = np.abs(true - false).max(axis=1) > 1e-4
    return {
        "pairs": len(rows),
        "told_apart": 100 * float(apart.mean()),
        "prefers_true": 100 * float(np.where(apart, margin > 0, 0.5).mean()),
    }


def model_of(name: str, parts: Parts, root: Path, models: Path, seed: int, console: Console) -> RetrievalModel:
    """The model of a row: from its folder, or fitted and kept there. What was chosen on differs from split to split."""
    folder = models / f"{name.replace(', ', '_').replace(' ', '_')}_{seed}"
    if folder.exists():
        return load_retrieval(folder)
    settings, words = ROWS[name]
    source: Any = [str(root / file) for file in FILES[2:]]
    if words == CCA_WORDS:
        source = model_of("mm-ens", parts, root, models, seed, console)
    started = time.perf_counter()
    (model,) = fit_models(parts, settings, source, seeds=[seed], report=lambda text: console.log(f"{name}: {text}"))
    console.log(f"{name}: fitted in {time.perf_counter() - started:.0f} s")
    model.save(folder)
    return model


def figures_of(model: Any, parts: Parts) -> dict[str, Any]:
    sentences, images = model.encode_sentences(parts.test.texts), model.encode_images(parts.test.images)
    return report_of(sentences, images, parts.test.image_of_sentence) | {"order": order_test(model, parts)}


def show(console: Console, title: str, rows: dict[str, dict[str, Any]]) -> None:
    table = Table(title=title, caption="Recall at 1/5/10 in percent, median rank; order test in percent")
    for name in ("", "annotation", "search", "sentence", "sum", "told apart", "prefers true"):
        table.add_column(name, justify="right" if name else "left")
    for name, row in rows.items():
        tasks = [[row[task][key] for key in ("r@1", "r@5", "r@10", "median_rank")] for task in ("annotation", "search")]
        cells = ["/".join(f"{v:.1f}" for v in task[:3]) + f", {task[3]:g}" for task in tasks]
        order = row.get("order")
        told = ["", ""] if order is None else [f"{order['told_apart']:.0f}", f"{order['prefers_true']:.0f}"]
        table.add_row(name, *cells, f"{row['sentence']['mean_rank']:.1f}", f"{total_recall(row):.1f}", *told)
    console.print(table)


def main() -> int:
    parser = common.options(__doc__)
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help="default: two; with --full all")
    parser.add_argument("--split", default="val", help="report on this split; of val, on one half")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=Path, help="keep fitted models here (default: a temporary folder)")
    parser.add_argument("--published", action="store_true", help="show the paper's rows too (other image vectors)")
    args = parser.parse_args()
    rows = args.rows or (list(ROWS) if args.full else ["mean", "gmm-fv"])
    console = Console()
    root = common.DATA / "flickr8k"
    report = common.Report("Images and sentences: Flickr8k")
    lacking = next((root / file for file in FILES if not (root / file).exists()), None)
    if lacking is not None:
        report.skip("Flickr8k", f"there is no {lacking}; set RNNFV_DATA to the folder that holds flickr8k/")
        return common.finish(report, args)
    captions = read_captions(root / FILES[0])
    parts = parts_of(captions, read_image_vectors(root / FILES[1], captions), args.split)
    figures = report.figures
    with common.folder_for(args.models) as folder:
        models = folder / args.split
        combinations = [names for names in COMBINATIONS if set(names) <= set(rows)]
        for names in [(name,) for name in rows] + combinations:
            chosen = tuple(model_of(name, parts, root, models, args.seed, console) for name in names)
            label = "all" if names == tuple(ROWS) else " + ".join(names)
            figures[label] = figures_of(chosen[0] if len(chosen) == 1 else Combination(chosen), parts)
            figures[label]["chosen"] = [model.note["chosen"] for model in chosen]
    show(console, f"Flickr8k, {len(parts.test.images)} images of {args.split}", figures)
    if args.published:
        show(console, "The paper's Table 3 (VGG-19, test)", published_reports("flickr8k"))
    if "mean" in figures:
        theirs = f"{total_recall(figures['mean']):.1f}"
        for label in [label for label in figures if label != "mean"]:
            ours = f"{total_recall(figures[label]):.1f}"
            report.add(f"sum of recalls, {label}", ours, peer="mean pooling", theirs=theirs)
    return common.finish(report, args)


if __name__ == "__main__":
    sys.exit(main())
