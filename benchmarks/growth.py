"""How encoding grows: time with the steps of a sequence, memory with the number of sequences. Both as a plot.

- Time: 4 sequences of 100 to 6,400 steps (`--full`: 25,600), D = 500, H = 200. Linear growth is a slope of 1 in a plot
  of logarithms; it is fitted over the longest, each of which is a batch of its own.
- Memory: sequences of 10 to 40 steps in blocks, each block's vectors written to a memory map as `rnnfv encode` does.
  Every number of sequences is a process of its own that tells its peak memory, with the libraries; the map's written
  pages are given back to the system. Flat growth is a slope of 0.

    python benchmarks/growth.py [--full] [--json FILE] [--plot FILE]
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import _common as common
import numpy as np

D, H = 500, 200
ROWS, BLOCK = 4, 100  # sequences of one timing; sequences whose vectors are in memory at once
FITTED = 3  # sizes, the largest, over which slopes are fitted
PREDICTION = "Time with a slope of 1, memory with a slope of 0."
LIMITED_BY = (
    "Steps: the recurrent products, one after another; the rows of a batch make little difference. Memory: the "
    "libraries and one block of vectors; what still grows, ever slower, is oneDNN's cache of kernels, one for every "
    "shape of a batch, at most 1,024 (with ONEDNN_PRIMITIVE_CACHE_CAPACITY=16 it stays within 30 MiB)."
)


def encoder_of(dim: int, hidden: int) -> Any:
    from rnnfv import RNNFisherVector

    net = RNNFisherVector(hidden_size=hidden, max_epochs=0, early_stopping=None, random_state=0, device="cpu")
    return net.fit([np.zeros((2, dim), np.float32)] * 2)


def times_of(steps: list[int], repeats: int) -> list[float]:
    """Seconds of encoding so many steps each, in all sequences together."""
    from rnnfv import Sequences

    encoder, rng = encoder_of(D, H), np.random.default_rng(0)
    made = {str(k): Sequences.from_array(rng.standard_normal((ROWS, k, D), np.float32)) for k in steps}
    functions = {name: (lambda seqs=seqs: encoder.transform(seqs)) for name, seqs in made.items()}
    return [taken.median for taken in common.in_turns(functions, repeats).values()]


def memory_of(n: int) -> dict[str, float]:
    """In a process of its own: MiB that encoding n sequences took at most, and that all vectors would take."""
    import mmap

    from rnnfv import Sequences

    encoder, rng = encoder_of(100, 50), np.random.default_rng(0)

    def block() -> Any:
        lengths = rng.integers(10, 41, BLOCK)
        values = rng.standard_normal((int(lengths.sum()), 100), np.float32)
        return encoder.transform(Sequences(values, np.concatenate([[0], np.cumsum(lengths)])))

    with tempfile.TemporaryDirectory() as folder:
        out = np.lib.format.open_memmap(Path(folder) / "v.npy", "w+", np.float32, (n, 100 * 51))
        for start in range(0, n, BLOCK):
            out[start : start + BLOCK] = block()[: n - start]
            out.flush()
            if hasattr(mmap, "MADV_DONTNEED"):
                out._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]
    return {"MiB": 1024 * common.peak_gib(), "all": n * 100 * 51 * 4 / 2**20}


def slope(x: list[int], y: list[float]) -> float:
    """Of the logarithms, over the largest sizes."""
    return float(np.polyfit(np.log(x[-FITTED:]), np.log(y[-FITTED:]), 1)[0])


def draw(path: Path, steps: list[int], seconds: list[float], numbers: list[int], rows: list[dict[str, float]]) -> None:
    """Two plots side by side, both with logarithmic axes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    milliseconds = 1e3 * np.array(seconds) / ROWS
    left.plot(steps, milliseconds, "o-", color="#1f5aa6", label="measured")
    left.plot(steps, milliseconds[-1] * np.array(steps) / steps[-1], "--", color="0.6", label="linear")
    left.set(xlabel="steps of a sequence", ylabel="milliseconds a sequence", title="Time grows with the steps")
    right.plot(numbers, [row["all"] for row in rows], "--", color="0.6", label="all vectors")
    right.plot(numbers, [row["MiB"] for row in rows], "o-", color="#b5452c", label="peak memory of the process")
    right.set(xlabel="sequences", ylabel="MiB", title="Memory hardly grows with the sequences")
    for axes, sizes in ((left, steps[::2]), (right, numbers)):
        axes.set(xscale="log", yscale="log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    with rc_context({"svg.hashsalt": path.name}):  # the same ids and no date: a new run changes what it has to
        figure.savefig(path, dpi=130, facecolor="white", metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> int:
    parser = common.options(__doc__)
    parser.add_argument("--plot", type=Path, help="draw the plot here (.svg or .png)")
    args = parser.parse_args()
    common.limit_threads(args.threads)
    if args.job:
        print(json.dumps(memory_of(json.loads(args.job))))
        return 0
    steps = [100, 200, 400, 800, 1600, 3200, 6400] + ([12_800, 25_600] if args.full else [])
    numbers = [800, 3200, 12_800, 51_200] + ([204_800] if args.full else [])
    seconds = times_of(steps, 3)
    rows: list[Any] = [common.in_process(__file__, n, args.threads) for n in numbers]
    report = common.Report("How encoding grows", PREDICTION, LIMITED_BY)
    report.figures = {"steps": steps, "seconds": seconds, "sequences": numbers, "memory": rows}
    report.add(
        f"{ROWS} sequences of {steps[0]} to {steps[-1]:,} steps",
        f"{common.seconds_text(seconds[0])} to {common.seconds_text(seconds[-1])}",
        aim="slope 1 in logarithms",
        note=f"slope {slope(steps, seconds):.2f} over the last {FITTED}",
    )
    memory = [row["MiB"] for row in rows]
    report.add(
        f"{numbers[0]} to {numbers[-1]:,} sequences",
        f"{memory[0]:.0f} to {memory[-1]:.0f} MiB",
        peer="all vectors in memory",
        theirs=f"{rows[0]['all']:.0f} to {rows[-1]['all']:,.0f} MiB",
        ratio=rows[-1]["all"] / memory[-1],
        aim="slope 0",
        note=f"slope {slope(numbers, memory):.2f} over the last {FITTED}",
    )
    if args.plot and common.is_installed("matplotlib"):
        draw(args.plot, steps, seconds, numbers, rows)
    elif args.plot:
        report.skip("the plot", "matplotlib is not installed (pip install 'rnnfv[plots]')")
    return common.finish(report, args)


if __name__ == "__main__":
    sys.exit(main())
