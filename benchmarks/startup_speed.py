"""Cold start: the help page against a bare Python, and importing rnnfv against importing what it stands on.

Every figure is the median of new processes, the contenders by turns, files in the system's memory.

    python benchmarks/startup_speed.py [--full] [--json FILE]
"""

from __future__ import annotations

import subprocess
import sys

import _common as common

PREDICTION = (
    "A kept page needs Python's own start and the reading of one file; a page made by the command library does not."
)
LIMITED_BY = "Python's own start, and for the encoders the import of torch and scikit-learn."
WORKS = {
    "rnnfv --help": ["-m", "rnnfv", "--help"],
    "rnnfv encode --help": ["-m", "rnnfv", "encode", "--help"],
    "bare": ["-c", ""],
    "import rnnfv": ["-c", "import rnnfv"],
    "its encoders": ["-c", "from rnnfv import RNNFisherVector, LinearSVM"],
    "torch, sklearn": ["-c", "import torch, sklearn"],
}
LINES = [
    ("rnnfv --help", "bare", 'python -c ""', "above 0.2 (at most 5 times it)"),
    ("rnnfv encode --help", "bare", 'python -c ""', ""),
    ("import rnnfv", "torch, sklearn", "import torch, sklearn", "above 0.83 (at most 1.2 times it)"),
    ("its encoders", "torch, sklearn", "import torch, sklearn", ""),
]


def start(arguments: list[str]) -> None:
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    args = common.options(__doc__).parse_args()
    functions = {name: (lambda arguments=arguments: start(arguments)) for name, arguments in WORKS.items()}
    times = common.in_turns(functions, 21 if args.full else 5)
    report = common.Report("Cold start", PREDICTION, LIMITED_BY)
    for work, peer, label, aim in LINES:
        own, theirs = times[work].median, times[peer].median
        ours, other = common.seconds_text(own), common.seconds_text(theirs)
        report.add(
            work, ours, peer=label, theirs=other, ratio=theirs / own, aim=aim, note=f"{own / theirs:.2f} times it"
        )
    return common.finish(report, args)


if __name__ == "__main__":
    sys.exit(main())
