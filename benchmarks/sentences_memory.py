"""Memory of training on many sentences: ids are kept, vectors are looked up a batch at a time (SPEC S17).

Made sentences (words drawn by Zipf's law from 50,000, 20 a sentence on average) are read from a file in the format of
the Leipzig corpora and train a net for one epoch, in a process of their own, once with all of them and once with a
tenth.
Told is the peak of resident memory, and as ratios: what reading adds to the ids' own size (4 bytes a word and 8 a
sentence), what training adds to it, and what the vectors of all words would take if they were looked up at once.

    python benchmarks/sentences_memory.py --full       # 1,000,000 sentences: half an hour on one core
    python benchmarks/sentences_memory.py              # 50,000
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import _common as common
import numpy as np

VOCABULARY, DIM, WORDS = 50_000, 300, 20


def write_files(folder: Path, n: int) -> None:
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, VOCABULARY + 1)
    cumulated = np.cumsum(weights / weights.sum())
    with (folder / "words.txt").open("w") as file:
        for i in range(VOCABULARY):
            file.write(f"w{i} {' '.join(f'{value:.3f}' for value in rng.normal(size=DIM))}\n")
    with (folder / "corpus.txt").open("w") as file:
        for number in range(1, n + 1):
            ids = np.searchsorted(cumulated, rng.random(rng.integers(WORDS // 2, 3 * WORDS // 2 + 1)))
            file.write(f"{number}\t{' '.join(f'w{min(i, VOCABULARY - 1)}' for i in ids)}\n")


def peak() -> int:
    return int(2**30 * common.peak_gib())


def measure(folder: Path, limit: int) -> dict[str, int]:
    """In a process of its own: the peak after each part of the work."""
    import torch

    from rnnfv import RNNFisherVector, SentenceReader
    from rnnfv.text.corpora import Corpus

    torch.set_num_threads(1)
    corpus = Corpus(folder / "corpus.txt", limit)
    reader = SentenceReader(str(folder / "words.txt")).fit(corpus)
    before = peak()
    seqs = reader.transform(corpus)
    read = peak()
    net = RNNFisherVector(
        hidden_size=100, projection_size=None, max_epochs=1, early_stopping=None, batch_size=64, random_state=0
    )
    net.fit(seqs)
    return {
        "ids": seqs.values.nbytes + seqs.offsets.nbytes,
        "vectors": len(seqs.values) * DIM * 4,
        "before": before,
        "read": read,
        "trained": peak(),
    }


def main() -> int:
    args = common.options(__doc__).parse_args()
    if args.job:
        folder, limit = json.loads(args.job)
        print(json.dumps(measure(Path(folder), limit)))
        return 0
    n = 1_000_000 if args.full else 50_000
    report = common.Report("Memory of training on sentences", limited_by="The ids: 4 bytes a word, 8 a sentence.")
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), n)
        for limit in (n // 10, n):
            row = report.figures[str(limit)] = common.in_process(__file__, [folder, limit], args.threads)
            read, trained = row["read"] - row["before"], row["trained"] - row["read"]
            report.add(
                f"{limit:,} sentences, ids of {row['ids'] / 2**20:.1f} MiB",
                f"reading adds {read / 2**20:.1f} MiB",
                peer="all vectors looked up at once",
                theirs=f"{row['vectors'] / 2**20:.1f} MiB",
                ratio=row["vectors"] / max(read, row["ids"]),
                note=f"training adds {trained / 2**20:.1f} MiB",
            )
    return common.finish(report, args)


if __name__ == "__main__":
    sys.exit(main())
