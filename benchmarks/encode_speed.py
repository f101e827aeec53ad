"""How fast is encoding, against backward passes and against the machine's own matrix products?

The paper's size for videos: D = 500, H = 200, sequences of 8 to 40 steps. Peers, all measured here and now:

- backward: the paper's own way, a forward and a full backward pass for each sequence;
- grad of output: `torch.autograd.grad` of each sequence's loss with regard to the output layer alone;
- matrix product: the rate of a large one, of which the encoder's own operations are a fraction.

    python benchmarks/encode_speed.py --json encode_speed.json
    python benchmarks/encode_speed.py --quick
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from rnnfv import RNNFisherVector, Sequences

D, H = 500, 200


def seconds(function, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    function()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def one_by_one(encoder: RNNFisherVector, seqs: Sequences, wanted: str) -> np.ndarray:
    """Gradients of the output layer by torch's own differentiation, a sequence at a time."""
    network, output = encoder.network_, encoder.network_.output
    rows = np.empty((len(seqs), D * (H + 1)), np.float32)
    for row, sequence in zip(rows, seqs, strict=True):
        targets = torch.tensor(sequence, device=output.weight.device)
        inputs = torch.cat([torch.zeros_like(targets[:1]), targets[:-1]])
        loss = (network(inputs[None])[0] - targets).square().sum() / (2 * len(targets))
        if wanted == "all":
            network.zero_grad()
            loss.backward()
            weight, bias = output.weight.grad, output.bias.grad
        else:
            weight, bias = torch.autograd.grad(loss, [output.weight, output.bias])
        row[:] = torch.cat([weight, bias[:, None]], dim=1).flatten().cpu().numpy()
    return rows


def product_rate(device: str, n: int = 3000) -> float:
    """Operations a second of a large float32 matrix product: the best of five."""
    a, b = torch.rand(n, n, device=device), torch.rand(n, n, device=device)
    a @ b
    return 2 * n**3 / min(seconds(lambda: a @ b, device) for _ in range(5))


def operations(seqs: Sequences) -> float:
    """Multiplications and additions of projection, LSTM, output layer and outer products, padding not counted."""
    a_step = D * H + 4 * H * (H + H) + H * D + D * (H + 1)
    return 2.0 * a_step * int(seqs.lengths.sum())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sequences", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer sequences and repeats")
    args = parser.parse_args()
    if args.quick:
        args.sequences, args.repeats = 200, 3
    torch.set_num_threads(args.threads)
    rng = np.random.default_rng(0)
    lengths = rng.integers(8, 41, size=args.sequences)
    seqs = Sequences.from_list([rng.normal(size=(n, D)).astype(np.float32) for n in lengths])
    encoder = RNNFisherVector(max_epochs=0, early_stopping=None, random_state=0, device=args.device).fit(seqs[:2])
    peers = {
        "closed form (rnnfv)": lambda: encoder.transform(seqs),
        "backward": lambda: one_by_one(encoder, seqs, "all"),
        "grad of output": lambda: one_by_one(encoder, seqs, "output"),
    }
    vectors = {name: peer() for name, peer in peers.items()}
    reference = vectors.pop("backward")
    largest = {name: float(np.abs(v - reference).max() / np.abs(reference).max()) for name, v in vectors.items()}
    times = {name: [] for name in peers}
    rates = []
    for _ in range(args.repeats):  # in turn, so that a slow moment of the machine hits all alike
        rates.append(product_rate(args.device))
        for name, peer in peers.items():
            peer()  # a virtual machine may have to fetch the result's memory from its host first: not the peers' doing
            times[name].append(seconds(peer, args.device))
    medians = {name: statistics.median(values) for name, values in times.items()}
    ours = medians["closed form (rnnfv)"]
    share = operations(seqs) / ours / statistics.median(rates)
    table = Table(title=f"Encoding {args.sequences} sequences, D={D}, H={H}, {args.device}, {args.threads} threads")
    for name in ("way", "sequences/s", "rnnfv is faster by", "largest difference"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for name, value in medians.items():
        table.add_row(name, f"{args.sequences / value:.0f}", f"{value / ours:.2f}", f"{largest.get(name, 0):.1e}")
    console = Console()
    console.print(table)
    console.print(f"share of the machine's matrix-product rate: {share:.2f}", highlight=False)
    if args.json:
        figures = {
            "device": args.device,
            "threads": args.threads,
            "torch": torch.__version__,
            "faster_than": {name: value / ours for name, value in medians.items() if value != ours},
            "share_of_product_rate": share,
            "largest_difference": largest,
        }
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
