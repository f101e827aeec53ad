"""How fast is encoding, against other ways to the same gradients and against the machine's own matrix products?

The paper's size for videos: D = 500, H = 200, sequences of 8 to 40 steps. What is wanted is the gradient of each
sequence's loss with regard to the output layer. Peers, all measured here and now and all giving the same numbers:

- backward: the paper's own way, a forward and a full backward pass for each sequence;
- grad of output: `torch.autograd.grad` of each sequence's loss with regard to the output layer alone;
- torch.func: `vmap(grad(...))` of the output layer, on padded batches of sequences of about one length;
- Opacus's `GradSampleModule` (`pip install 'rnnfv[oracles]'`) and BackPACK's `BatchGrad` (`pip install
  backpack-for-pytorch`, which brings torchvision), likewise. Neither takes part in the recurrent layer, which they
  get from torch as rnnfv does.

One line more is of the gradients of all layers (``gradient="all"``), 522,300 numbers a sequence, against `backward`.

    python benchmarks/encode_speed.py [--full] [--device cuda] [--json FILE]

On a GPU there are two more lines: the same in TF32 and in bfloat16, with how far the vectors are from float32's.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import _common as common
import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from rnnfv import RNNFisherVector, Sequences
from rnnfv.networks import shift

D, H = 500, 200
BATCH = 64  # sequences of one batch of torch.func, BackPACK and Opacus
TOLERANCE = 1e-4  # of the largest number of a vector
PREDICTION = "The outer products and the writing of 100,500 numbers a sequence (0.4 MB) cost as much as the net itself."
LIMITED_BY = (
    "About half is torch's LSTM over few rows at a time, half the outer products, whose inner size is only the "
    "sequence's 8 to 40 steps: each result is written once, and fetching its memory costs as much as computing "
    "it."
)


def losses_of(network: nn.Module, seqs: Sequences) -> Iterator[Tensor]:
    """The mean loss of each sequence's steps, to be differentiated."""
    for sequence in seqs:
        targets = torch.tensor(sequence, device=network.output.weight.device)
        yield (network(shift(targets[None]))[0] - targets).square().sum() / (2 * len(targets))


def one_by_one(encoder: RNNFisherVector, seqs: Sequences, wanted: str) -> np.ndarray:
    """Gradients of the output layer by torch's own differentiation, a sequence at a time."""
    network, output = encoder.network_, encoder.network_.output
    rows = np.empty((len(seqs), D * (H + 1)), np.float32)
    for row, loss in zip(rows, losses_of(network, seqs), strict=True):
        if wanted == "all":
            network.zero_grad()
            loss.backward()
            weight, bias = output.weight.grad, output.bias.grad
        else:
            weight, bias = torch.autograd.grad(loss, [output.weight, output.bias])
        row[:] = torch.cat([weight, bias[:, None]], dim=1).flatten().cpu().numpy()
    return rows


def by_batches(encoder: RNNFisherVector, seqs: Sequences, gradients: Callable[..., Any]) -> np.ndarray:
    """The same from a library that takes batches: the net up to its output layer is torch's, without gradients."""
    rows = np.empty((len(seqs), D * (H + 1)), np.float32)
    for indices, hidden, targets, weights in _padded(encoder, seqs):
        weight, bias = gradients(hidden, targets, weights)
        rows[indices] = torch.cat([weight, bias[..., None]], dim=-1).flatten(start_dim=1).cpu().numpy()
    return rows


def _padded(encoder: RNNFisherVector, seqs: Sequences) -> Iterator[tuple[np.ndarray, Tensor, Tensor, Tensor]]:
    """Indices, hidden states, targets, and 1 / steps where there is a step and 0 where there is none."""
    device = encoder.network_.output.weight.device
    for indices in seqs.batches(batch_size=BATCH):
        targets = torch.from_numpy(seqs.padded(indices)).to(device)
        lengths = torch.from_numpy(seqs.lengths[indices]).to(device)
        inside = torch.arange(targets.shape[1], device=device) < lengths[:, None]
        with torch.no_grad():
            hidden = encoder.network_.hidden(shift(targets))
        yield indices, hidden, targets, inside / lengths[:, None]


def loss_of(predictions: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    return ((predictions - targets).square().sum(dim=-1) * weights).sum() / 2


def torch_func(output: nn.Linear) -> Callable[..., Any]:
    """torch.func's gradients of the output layer."""

    def loss(parameters: dict[str, Tensor], hidden: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        return loss_of(functional_call(output, parameters, (hidden,)), targets, weights)

    each = vmap(grad(loss), in_dims=(None, 0, 0, 0))
    parameters = {name: value.detach() for name, value in output.named_parameters()}

    def gradients(*batch: Tensor) -> tuple[Tensor, Tensor]:
        found = each(parameters, *batch)
        return found["weight"], found["bias"]

    return gradients


def backpack(output: nn.Linear) -> Callable[..., Any]:
    """BackPACK's gradients of the output layer, of each sample of a summed loss."""
    from backpack import backpack as extended
    from backpack import extend
    from backpack.extensions import BatchGrad

    layer = extend(_copied(output))

    def gradients(hidden: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        layer.zero_grad()
        loss = loss_of(layer(hidden), targets, weights)
        with extended(BatchGrad()):
            loss.backward()
        return layer.weight.grad_batch, layer.bias.grad_batch

    return gradients


def opacus(output: nn.Linear) -> Callable[..., Any]:
    """Opacus's gradients of the output layer, of each sample of a summed loss."""
    from opacus import GradSampleModule

    layer = GradSampleModule(_copied(output), batch_first=True, loss_reduction="sum")

    def gradients(hidden: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        layer.zero_grad(set_to_none=True)
        loss_of(layer(hidden), targets, weights).backward()
        weight, bias = layer._module.weight, layer._module.bias
        return weight.grad_sample, bias.grad_sample

    return gradients


def _copied(output: nn.Linear) -> nn.Linear:
    layer = nn.Linear(H, D, device=output.weight.device)
    layer.load_state_dict(output.state_dict())
    return layer


def operations(seqs: Sequences, *, all_layers: bool = False) -> float:
    """Multiplications and additions of projection, LSTM, output layer and outer products, padding not counted.

    Of all layers also what goes back through output layer and LSTM, and the outer products of each.
    """
    lstm = 4 * H * (H + H)
    a_step = D * H + lstm + H * D + D * (H + 1)
    if all_layers:
        a_step += H * D + lstm + D * H + lstm
    return 2.0 * a_step * int(seqs.lengths.sum())


def ways(encoder: RNNFisherVector, seqs: Sequences, report: common.Report) -> dict[str, Callable[[], np.ndarray]]:
    """Every way to the vectors that is installed; ours comes first."""
    output = encoder.network_.output
    found: dict[str, Callable[[], np.ndarray]] = {
        "rnnfv": lambda: encoder.transform(seqs),
        "backward, one by one": lambda: one_by_one(encoder, seqs, "all"),
        "grad of output, one by one": lambda: one_by_one(encoder, seqs, "output"),
        "torch.func, batched": partial(by_batches, encoder, seqs, torch_func(output)),
    }
    for name, module, make in (("BackPACK", "backpack", backpack), ("Opacus", "opacus", opacus)):
        if common.is_installed(module):
            found[f"{name}, batched"] = partial(by_batches, encoder, seqs, make(output))
        else:
            report.skip(name, "it is not installed")
    return found


def largest_differences(found: dict[str, Callable[[], np.ndarray]]) -> dict[str, float]:
    """From the backward pass, next to its largest number."""
    reference = found["backward, one by one"]()
    differences = {
        name: float(np.abs(way() - reference).max() / np.abs(reference).max()) for name, way in found.items()
    }
    for name, difference in differences.items():
        if difference > TOLERANCE:
            raise SystemExit(f"{name} and the backward pass disagree: {difference:.1e}")
    return differences


def lower_precision(
    encoder: RNNFisherVector, seqs: Sequences, report: common.Report, device: str, repeats: int
) -> None:
    """TF32 and bfloat16 on a GPU: how much faster, and how far off."""
    exact = encoder.transform(seqs)

    def tf32() -> np.ndarray:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        try:
            return encoder.transform(seqs)
        finally:
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    def bfloat16() -> np.ndarray:
        with torch.autocast("cuda", torch.bfloat16):
            return encoder.transform(seqs)

    times = common.in_turns(
        {"float32": lambda: encoder.transform(seqs), "TF32": tf32, "bfloat16": bfloat16}, repeats, device
    )
    for name, way in (("TF32", tf32), ("bfloat16", bfloat16)):
        vectors = way()
        cosine = (vectors * exact).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(exact, axis=1)
        report.add(
            f"the same in {name}",
            common.seconds_text(times[name].median),
            peer="rnnfv, float32",
            theirs=common.seconds_text(times["float32"].median),
            ratio=times["float32"].median / times[name].median,
            note=f"least cosine to float32's vectors {cosine.min():.6f}",
        )


def all_layers(seqs: Sequences, report: common.Report, device: str, repeats: int) -> None:
    """Gradients of all parameters, against a backward pass for each sequence."""
    encoder = RNNFisherVector(gradient="all", max_epochs=0, early_stopping=None, random_state=0, device=device)
    network = encoder.fit(seqs[:2]).network_

    def backward() -> np.ndarray:
        rows = np.empty((len(seqs), sum(each.numel() for each in network.parameters())), np.float32)
        for row, loss in zip(rows, losses_of(network, seqs), strict=True):
            network.zero_grad()
            loss.backward()
            row[:] = torch.cat([each.grad.flatten() for each in network.parameters()]).cpu().numpy()
        return rows

    exact = backward()
    difference = float(np.abs(encoder.transform(seqs) - exact).max() / np.abs(exact).max())
    if difference > TOLERANCE:
        raise SystemExit(f"gradients of all layers and the backward pass disagree: {difference:.1e}")
    ways = {"rnnfv": lambda: encoder.transform(seqs), "backward": backward}
    ours, theirs = (taken.median for taken in common.in_turns(ways, repeats, device).values())
    report.add(
        f"{len(seqs)} sequences, all layers",
        f"{len(seqs) / ours:,.0f} a second",
        peer="backward, one by one",
        theirs=f"{len(seqs) / theirs:,.0f} a second",
        ratio=theirs / ours,
        share=operations(seqs, all_layers=True) / ours / common.product_rate(device),
        limit="matrix products",
        note=f"largest difference {difference:.0e}",
    )


def main() -> int:
    parser = common.options(__doc__, has_device=True)
    args = parser.parse_args()
    n, repeats = (400, 5) if args.full else (200, 3)
    common.limit_threads(args.threads)
    warnings.filterwarnings("ignore", category=UserWarning)  # Opacus's and BackPACK's, about hooks
    rng = np.random.default_rng(0)
    seqs = Sequences.from_list([rng.normal(size=(k, D)).astype(np.float32) for k in rng.integers(8, 41, size=n)])
    encoder = RNNFisherVector(max_epochs=0, early_stopping=None, random_state=0, device=args.device).fit(seqs[:2])
    report = common.Report(f"Encoding, D = {D}, H = {H}, 8 to 40 steps, {args.device}", PREDICTION, LIMITED_BY)
    found = ways(encoder, seqs, report)
    differences = largest_differences(found)
    times = common.in_turns(found, repeats, args.device)
    ours = times["rnnfv"].median
    share = operations(seqs) / ours / common.product_rate(args.device)
    for name, taken in times.items():
        if name != "rnnfv":
            report.add(
                f"{n} sequences",
                f"{n / ours:,.0f} a second",
                peer=name,
                theirs=f"{n / taken.median:,.0f} a second",
                ratio=taken.median / ours,
                share=share,
                limit="matrix products",
                note=f"largest difference {max(differences[name], differences['rnnfv']):.0e}",
            )
    all_layers(seqs[: n // 4], report, args.device, repeats)
    if args.device != "cpu":
        lower_precision(encoder, seqs, report, args.device, repeats)
    return common.finish(report, args)


if __name__ == "__main__":
    sys.exit(main())
