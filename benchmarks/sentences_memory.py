"""Memory of training on many sentences: ids are kept, vectors are looked up a batch at a time (SPEC S17).

Made sentences (words drawn by Zipf's law from 50,000, 20 a sentence on average) are read from a file in the format of
the Leipzig corpora and train a net for one epoch, in a process of their own, once with all of them and once with a
tenth.
Told is the peak of resident memory, and as ratios: what reading adds to the ids' own size (4 bytes a word and 8 a
sentence), what training adds to it, and what the vectors of all words would take if they were looked up at once.

    python benchmarks/sentences_memory.py              # 1,000,000 sentences: half an hour on one core
    python benchmarks/sentences_memory.py --quick      # 50,000
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

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
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="50,000 sentences")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(Path(args.measure[0]), int(args.measure[1]))))
        return 0
    n = 50_000 if args.quick else 1_000_000
    table = Table(title="Memory of training on sentences", caption="MiB; ratios to the ids' own size")
    for name in ("sentences", "ids", "reading adds", "ratio", "training adds", "all vectors at once", "ratio"):
        table.add_column(name, justify="right")
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), n)
        for limit in (n // 10, n):
            command = [sys.executable, __file__, "--measure", folder, str(limit)]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            figures[limit] = row
            read, trained = row["read"] - row["before"], row["trained"] - row["read"]
            sizes = [f"{value / 2**20:.1f}" for value in (row["ids"], read, trained, row["vectors"])]
            ratios = [f"{value / row['ids']:.1f}" for value in (read, row["vectors"])]
            table.add_row(f"{limit:,}", sizes[0], sizes[1], ratios[0], sizes[2], sizes[3], ratios[1])
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
