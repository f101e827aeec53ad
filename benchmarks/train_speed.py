"""How fast is a training step, against a plain padded `nn.LSTM` loop and against the step's matrix products alone?

The paper's net for videos: D = 500, projection and H = 200, dropout 0.5, batches of 16 sequences of 3 to 60 steps.
Timed is an epoch; every contender sees the same sequences once, in batches of the same size.

- plain loop: random batches, each padded to its longest sequence, the whole net over the padding, a masked loss;
  projection, `nn.Dropout`, `nn.LSTM`, output layer, clipping and fused Adam are all torch's own.
- rnnfv with nn.Dropout: as rnnfv, but torch draws the masks of dropout.
- matrix products: those of forward and backward pass of the batches that rnnfv makes, in their own shapes, the
  recurrent ones step by step, and nothing else. No training of this net with these batches can be faster.

    python benchmarks/train_speed.py [--full] [--device cuda] [--json FILE]
"""

from __future__ import annotations

import sys
from typing import Any

import _common as common
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rnnfv import Sequences
from rnnfv.networks import NextStepNetwork, shift
from rnnfv.training import Batcher, Schedule, train

D, P, H, BATCH, DROPOUT = 500, 200, 200, 16, 0.5
RATE, DECAY, CLIP = 1e-3, 1e-4, 1.0
PREDICTION = (
    "Sorting by length saves about 45 % of the steps. Of the rest, matrix products are three quarters; what is "
    "above them is mostly the gates' functions, random numbers of dropout, and Adam."
)
LIMITED_BY = (
    "oneDNN's LSTM, which is 53 to 62 % of an epoch, 16 rows at a time; the other products are 20 to 22 %, dropout's "
    "random numbers and masks 3 %, Adam and clipping 4 to 6 %. How near that is to the products alone depends on the "
    "processor: a step took 1.26 times its products on an AMD EPYC that makes 73 GFLOP/s, and 1.6 to 1.8 on an Intel "
    "Xeon that makes 95 to 134, where the products are quicker and the LSTM's functions, gates and memory are not. "
    "torch's own LSTM takes 1.4 times as long as oneDNN's there."
)


def plain_epoch(
    network: NextStepNetwork, optimizer: torch.optim.Optimizer, sequences: list[Tensor], rng: np.random.Generator
) -> None:
    """One epoch as most people write it."""
    network.train()
    order = rng.permutation(len(sequences))
    for start in range(0, len(order), BATCH):
        chosen = [sequences[i] for i in order[start : start + BATCH]]
        padded = nn.utils.rnn.pad_sequence(chosen, batch_first=True)
        lengths = torch.tensor([len(sequence) for sequence in chosen], device=padded.device)
        mask = torch.arange(padded.shape[1], device=padded.device) < lengths[:, None]
        squares = (network(shift(padded)) - padded).square().mean(dim=-1)
        loss = (squares * mask).sum() / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()


class Products:
    """The matrix products of a training step, in the shapes of given batches."""

    def __init__(self, seqs: Sequences, device: str) -> None:
        lengths = seqs.lengths
        batches = seqs.batches(batch_size=BATCH, rng=np.random.default_rng(0))
        self.shapes = [(len(b), int(lengths[b].max()), int(lengths[b].sum())) for b in batches]
        most = max(rows * steps for rows, steps, _ in self.shapes)
        self.wide, self.narrow = (torch.rand(most, width, device=device) for width in (D, P))
        self.hidden, self.gates = (torch.rand(most, width, device=device) for width in (H, 4 * H))
        self.project, self.enter = torch.rand(D, P, device=device), torch.rand(P, 4 * H, device=device)
        self.recur, self.leave = torch.rand(H, 4 * H, device=device), torch.rand(H, D, device=device)

    def __call__(self) -> None:
        for rows, steps, real in self.shapes:
            wide, narrow = self.wide[: rows * steps], self.narrow[: rows * steps]
            hidden, gates = self.hidden[: rows * steps], self.gates[: rows * steps]
            wide @ self.project
            narrow @ self.enter
            for _ in range(steps):
                hidden[:rows] @ self.recur
            hidden[:real] @ self.leave
            wide[:real] @ self.leave.T
            hidden[:real].T @ wide[:real]
            for _ in range(steps):
                gates[:rows] @ self.recur.T
            hidden.T @ gates
            narrow.T @ gates
            gates @ self.enter.T
            wide.T @ narrow

    @property
    def operations(self) -> float:
        """Multiplications and additions, padding not counted."""
        a_step = 2 * D * P + 3 * 4 * H * (P + H) + 3 * H * D
        return 2.0 * a_step * sum(real for _, _, real in self.shapes)


def agree(network: NextStepNetwork, seqs: Sequences, batcher: Batcher) -> None:
    """Both losses of one batch have to be the same number."""
    from rnnfv.training import mean_loss

    network.eval()
    batch = batcher(np.arange(BATCH))
    whole = functional.mse_loss(network(batch.inputs)[batch.mask], batch.targets[batch.mask])
    if not torch.isclose(whole, mean_loss(network, batch), rtol=1e-4):
        raise SystemExit("the two losses differ")


def main() -> int:
    args = common.options(__doc__, has_device=True).parse_args()
    n, repeats = (4000, 5) if args.full else (640, 3)
    common.limit_threads(args.threads)
    device, rng = torch.device(args.device), np.random.default_rng(0)
    lengths = rng.integers(3, 61, size=n)
    seqs = Sequences.from_list([rng.normal(size=(k, D)).astype(np.float32) for k in lengths])
    batcher = Batcher(seqs, None, device, torch.float32)
    ours, plain, torch_s = (NextStepNetwork(D, D, H, P, dropout=DROPOUT).to(device) for _ in range(3))
    plain.dropout, torch_s.dropout = nn.Dropout(DROPOUT), nn.Dropout(DROPOUT)
    agree(ours, seqs, batcher)
    optimizer = torch.optim.Adam(plain.parameters(), RATE, weight_decay=DECAY, fused=True)
    tensors = [torch.from_numpy(sequence).to(device) for sequence in seqs]
    products, schedule = Products(seqs, args.device), Schedule(1, BATCH, RATE, DECAY, CLIP, None)
    times = common.in_turns(
        {
            "rnnfv": lambda: train(ours, batcher, schedule, rng),
            "plain": lambda: plain_epoch(plain, optimizer, tensors, rng),
            "torch's dropout": lambda: train(torch_s, batcher, schedule, rng),
            "products": products,
        },
        repeats,
        args.device,
    )
    own, share = times["rnnfv"].median, products.operations / times["rnnfv"].median / common.product_rate(args.device)
    report = common.Report(f"Training, D = {D}, H = {H}, batches of {BATCH}, {args.device}", PREDICTION, LIMITED_BY)
    work, ms = f"an epoch of {n:,} sequences", common.seconds_text(own)
    aim, note = (
        "above 0.77 (under 1.3 times them)",
        f"a step takes {own / times['products'].median:.2f} times its products",
    )
    told: dict[str, tuple[str, dict[str, Any]]] = {
        "plain": ("plain padded loop, random batches", {"share": share, "limit": "matrix products"}),
        "torch's dropout": ("rnnfv with nn.Dropout", {}),
        "products": ("the same step's matrix products alone", {"aim": aim, "note": note}),
    }
    for name, (peer, more) in told.items():
        theirs = times[name].median
        report.add(work, ms, peer=peer, theirs=common.seconds_text(theirs), ratio=theirs / own, **more)
    return common.finish(report, args)


if __name__ == "__main__":
    sys.exit(main())
