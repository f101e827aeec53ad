"""What moves the recall of an RNN-FV of sentences, on Flickr8k: each row changes one thing of the first.

Everything is chosen on one half of the development images and reported on the other half, as in retrieval_real.py. To
be quick, 4,000 of the vectors' numbers are kept and the net is trained for two epochs at most; the figures are for
comparing the rows, and with one seed differences below ten are noise.

    RNNFV_DATA=../shared/data python benchmarks/retrieval_remedies.py --full --json remedies.json   # an hour
    python benchmarks/retrieval_remedies.py --rows "dropout 0.2"
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import _common as common
import numpy as np

from rnnfv.datasets.captions import read_captions
from rnnfv.datasets.image_vectors import read_image_vectors
from rnnfv.recipes.evaluation import Parts, fit_models, parts_of
from rnnfv.recipes.retrieval import report_of, total_recall
from rnnfv.recipes.sentence_settings import SentenceSettings

FILES = ("dataset_flickr8k.json", "mobilenet_edgetpu.npy", "word2vec_googlenews.bin", "glove6B_50d.txt")
BASE = "as it is"
PLAIN = SentenceSettings("rnn-fv", coordinates=4000, epochs=2)


@dataclass(frozen=True)
class Row:
    """A fit: its settings, its files of word vectors, every how many-th sentence trains the net, the last step."""

    settings: SentenceSettings = PLAIN
    words: tuple[str, ...] = FILES[2:]
    every: int = 1
    local_scaling: bool = True


ROWS = {
    BASE: Row(),
    "four epochs": Row(replace(PLAIN, epochs=4)),
    "dropout 0.2": Row(replace(PLAIN, dropout=0.2)),
    "dropout 0.5, four epochs": Row(replace(PLAIN, dropout=0.5, epochs=4)),
    "batches of 64": Row(replace(PLAIN, batch_size=64)),
    "batches of 256, four epochs": Row(replace(PLAIN, batch_size=256, epochs=4)),
    "200 units": Row(replace(PLAIN, hidden_size=200)),
    "net of every 4th sentence": Row(every=4),
    "word2vec alone": Row(words=FILES[2:3]),
    "GloVe alone": Row(words=FILES[3:]),
    "no local scaling": Row(local_scaling=False),
}


def recalls(row: Row, parts: Parts, root: Path, seeds: int) -> float:
    """The sum of the six recalls, its mean over seeds."""
    corpus = parts.train.texts[:: row.every] if row.every > 1 else None
    words = [str(root / file) for file in row.words]
    test = parts.test
    models = fit_models(
        parts, row.settings, words, seeds=range(seeds), corpus=corpus, local_scaling=row.local_scaling, report=print
    )
    reports = [
        report_of(model.encode_sentences(test.texts), model.encode_images(test.images), test.image_of_sentence)
        for model in models
    ]
    return float(np.mean([total_recall(report) for report in reports]))


def main() -> int:
    parser = common.options(__doc__)
    parser.add_argument("--rows", nargs="+", choices=ROWS, metavar="ROW", help="default: two; with --full all")
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    root = common.DATA / "flickr8k"
    report = common.Report("What moves the recall of images and sentences: Flickr8k")
    lacking = next((root / file for file in FILES if not (root / file).exists()), None)
    if lacking is not None:
        report.skip("Flickr8k", f"there is no {lacking}; set RNNFV_DATA to the folder that holds flickr8k/")
        return common.finish(report, args)
    captions = read_captions(root / FILES[0])
    parts = parts_of(captions, read_image_vectors(root / FILES[1], captions), "val")
    wanted = args.rows or (list(ROWS) if args.full else [BASE, "dropout 0.2"])
    for name in dict.fromkeys([BASE, *wanted]):
        print(f"== {name}", flush=True)
        report.figures[name] = recalls(ROWS[name], parts, root, args.seeds)
        ours, theirs = report.figures[name], report.figures[BASE]
        print(f"{name}: {ours:.1f}", flush=True)
        report.add(f"sum of recalls, {name}", f"{ours:.1f}", peer=BASE, theirs=f"{theirs:.1f}")
    return common.finish(report, args)


if __name__ == "__main__":
    sys.exit(main())
