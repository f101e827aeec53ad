"""The training loop: batches of about one length, a judgement after every epoch, the best epoch kept.

It goes on from a checkpoint as if it had never stopped, and several processes may share it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rnnfv.networks import NextStepNetwork, shift
from rnnfv.processes import ALONE, Group
from rnnfv.sequences import Sequences
from rnnfv.storage import check_same_job, parse_checkpoint, write_checkpoint

LEFT_OUT = -100  # the target of a step that counts nowhere: torch's own mark


@dataclass(frozen=True)
class Batch:
    """A padded batch on the device: what the net sees, what it should say, and which steps are real."""

    inputs: Tensor  # (batch, time, D)
    targets: Tensor  # (batch, time, D) vectors, or (batch, time) symbols
    mask: Tensor  # (batch, time) bool: a step that exists and has a target


class Batcher:
    """Turns chosen sequences into padded batches on a device.

    Parameters
    ----------
    seqs : Sequences
        Vectors, or symbols with their table.
    n_symbols : int or None
        None: the targets are the next vectors. Otherwise they are the next symbols, of which those from
        ``n_symbols`` on are no targets: their steps are left out (SPEC S5).
    """

    def __init__(self, seqs: Sequences, n_symbols: int | None, device: torch.device, dtype: torch.dtype) -> None:
        self.seqs, self.n_symbols, self.device, self.dtype = seqs, n_symbols, device, dtype
        self.table = None if seqs.vectors is None else torch.as_tensor(seqs.vectors).to(device, dtype)

    def __call__(self, indices: Any) -> Batch:
        padded = self.seqs.padded(indices)
        # Symbols of every integer type become torch's own index type.
        padded = padded.astype(np.int64, copy=False) if self.seqs.is_symbolic else padded
        steps = torch.from_numpy(padded).to(self.device)
        lengths = torch.from_numpy(self.seqs.lengths[indices]).to(self.device)
        mask = torch.arange(steps.shape[1], device=self.device) < lengths[:, None]
        vectors = steps.to(self.dtype) if self.table is None else self.table[steps]
        if self.n_symbols is None:
            return Batch(shift(vectors), vectors, mask)
        return Batch(shift(vectors), steps, mask & (steps < self.n_symbols))


def mean_loss(network: NextStepNetwork, batch: Batch) -> Tensor:
    """Mean squared error, or mean cross-entropy, over the real steps of a batch."""
    hidden = network.hidden(batch.inputs)[batch.mask]  # the output layer never sees padding
    targets = batch.targets[batch.mask]
    predictions = network.output(hidden)
    if targets.is_floating_point():
        return functional.mse_loss(predictions, targets)
    return functional.cross_entropy(predictions, targets)


@dataclass(frozen=True)
class Schedule:
    """How a net is trained."""

    max_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    max_grad_norm: float
    patience: int | None


@dataclass(frozen=True)
class Checkpoint:
    """Where a training is kept from epoch to epoch.

    Parameters
    ----------
    path : Path
        The file.
    training : dict
        Plain JSON values that tell this training from others: its data and its settings.
    """

    path: Path
    training: dict[str, Any]

    def read(self, group: Group) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Arrays and record; None where there is no file. The first process reads for all of them.

        Raises
        ------
        ValueError
            If the file is damaged, or of another training.
        """
        data = group.from_first(lambda: self.path.read_bytes() if self.path.exists() else None)
        if data is None:
            return None
        arrays, record = parse_checkpoint(data, self.path)
        check_same_job(
            record.get("training"),
            self.training,
            f"{self.path} is the checkpoint of another training",
            "give another file, or delete it to begin anew",
        )
        return arrays, record

    def write(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        """Write tensors and a record of plain values, in place of what was there."""
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        write_checkpoint(self.path, arrays, {**record, "training": self.training})


@dataclass
class _Run:
    """A training under way: all that decides how it goes on."""

    network: NextStepNetwork
    schedule: Schedule
    rng: np.random.Generator
    group: Group
    history: dict[str, list[float]]
    is_judged: bool
    best: tuple[float, int] = (-math.inf, 0)  # the highest judgement and its epoch, from 0
    best_state: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        schedule = self.schedule
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True
        )
        self.device = self.network.output.weight.device
        self.history.setdefault("loss", [])

    @property
    def epochs(self) -> int:
        return len(self.history["loss"])

    @property
    def awaits_judge(self) -> bool:
        return self.is_judged and len(self.history.get("validation", [])) < self.epochs

    @property
    def is_over(self) -> bool:
        patience = self.schedule.patience
        had_enough = self.is_judged and patience is not None and self.epochs - 1 - self.best[1] >= patience
        return not self.awaits_judge and (self.epochs >= self.schedule.max_epochs or (self.epochs > 0 and had_enough))

    def take_value(self, value: float) -> None:
        """Take the judgement of the last epoch."""
        self.history.setdefault("validation", []).append(value)
        if value > self.best[0]:  # never so for NaN
            self.best, self.best_state = (value, self.epochs - 1), copy.deepcopy(self.network.state_dict())

    def end(self) -> None:
        """Leave the best epoch's net, the same in all processes."""
        if self.best_state:
            self.network.load_state_dict(self.best_state)
        self.group.take_from_first([parameter.data for parameter in self.network.parameters()])

    def keep(self, checkpoint: Checkpoint | None) -> None:
        """Write the checkpoint. All processes take part, because each has its own random state; one writes."""
        if checkpoint is None:
            return
        states = self.group.gather(self._random_state())
        if not self.group.is_first:
            return
        tensors = {f"net.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best_state.items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{name}": tensor for name, tensor in state.items()}
        tensors |= {f"random.{rank}": state for rank, state in enumerate(states)}
        numpy_state = self.rng.bit_generator.state
        checkpoint.write(tensors, {"history": self.history, "best": self.best, "numpy": numpy_state})

    def resume(self, checkpoint: Checkpoint | None) -> None:
        """Go to where the checkpoint's training stood, if there is one."""
        found = None if checkpoint is None else checkpoint.read(self.group)
        if found is None:
            return
        arrays, record = found
        tensors: dict[str, dict[str, Tensor]] = {}
        for name, array in arrays.items():
            kind, _, short = name.partition(".")
            tensors.setdefault(kind, {})[short] = torch.tensor(array)
        self.history.update(record["history"])
        self.best = (record["best"][0], record["best"][1])
        self.network.load_state_dict(tensors["net"])
        self.best_state = {name: tensor.to(self.device) for name, tensor in tensors.get("best", {}).items()}
        states: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.get("optimizer", {}).items():
            i, _, short = name.partition(".")
            states.setdefault(int(i), {})[short] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": states})
        self.rng.bit_generator.state = record["numpy"]
        self._set_random_state(tensors["random"][str(self.group.rank)])

    def _random_state(self) -> Tensor:
        """Of the generator that dropout draws from."""
        is_gpu = self.device.type == "cuda"
        return torch.cuda.get_rng_state(self.device) if is_gpu else torch.get_rng_state()

    def _set_random_state(self, state: Tensor) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state, self.device)
        else:
            torch.set_rng_state(state)


def train(
    network: NextStepNetwork,
    batcher: Batcher,
    schedule: Schedule,
    rng: np.random.Generator,
    judge: Callable[[], float] | None = None,
    report: Callable[[int, dict[str, list[float]]], None] = lambda epoch, history: None,
    *,
    history: dict[str, list[float]] | None = None,
    checkpoint: Checkpoint | None = None,
    group: Group = ALONE,
) -> dict[str, list[float]]:
    """Train a net, and leave it as it was after its best epoch.

    Parameters
    ----------
    network : NextStepNetwork
        Changed in place.
    batcher : Batcher
        Over the training sequences.
    schedule : Schedule
    rng : numpy.random.Generator
        Orders the batches. Dropout draws from torch's global generator.
    judge : callable, optional
        Called after every epoch; the epoch with the highest value is kept, the first of equals; NaN is no value.
        Without any value the last epoch is kept.
    report : callable, optional
        Called after every epoch with its number, from 0, and the history so far.
    history : dict, optional
        Filled while training goes on; an empty one.
    checkpoint : Checkpoint, optional
        Written after every epoch, and again after its judgement. Where it is there already, training goes on from it.
    group : Group
        Processes that share every batch. They make the same net and have generators of one state; the first judges.

    Returns
    -------
    dict of list of float
        ``"loss"``, the mean training loss of each epoch, and ``"validation"``, the judgement, if any.

    Raises
    ------
    FloatingPointError
        If the loss becomes NaN or infinite.
    ValueError
        If the checkpoint is damaged or of another training, or no step has a target.
    """
    history = {} if history is None else history
    run = _Run(network, schedule, rng, group, history, judge is not None)
    run.resume(checkpoint)
    if run.epochs:
        report(run.epochs - 1, history)
    while not run.is_over:
        if not run.awaits_judge:
            history["loss"].append(_one_epoch(run, batcher))
            run.keep(checkpoint)
        if judge is not None:
            run.take_value(group.from_first(judge))
            run.keep(checkpoint)
        report(run.epochs - 1, history)
    run.end()
    return history


def _one_epoch(run: _Run, batcher: Batcher) -> float:
    network, losses, steps = run.network, 0.0, 0
    network.train()
    for indices in batcher.seqs.batches(batch_size=run.schedule.batch_size, rng=run.rng):
        loss, count = _gradients(run, batcher, indices)
        if count == 0:  # every symbol of the batch is outside the alphabet
            continue
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the training loss became {loss} in epoch {run.epochs + 1}: "
                "lower learning_rate, or scale the sequences (StandardScaler over their steps)"
            )
        nn.utils.clip_grad_norm_(network.parameters(), run.schedule.max_grad_norm)
        run.optimizer.step()
        losses, steps = losses + loss * count, steps + count
    network.eval()
    if steps == 0:
        raise ValueError("no step of the training sequences has a target: every symbol is outside the alphabet")
    return losses / steps


def _gradients(run: _Run, batcher: Batcher, indices: NDArray[np.int64]) -> tuple[float, int]:
    """Fill in the gradients of a batch's mean loss; that loss, and the real steps behind it, of all processes."""
    run.optimizer.zero_grad()
    share, loss, count = run.group.share(indices), 0.0, 0
    if len(share):
        batch = batcher(share)
        count = int(batch.mask.sum())
        if count:
            mean = mean_loss(run.network, batch)
            loss = mean.item()
            (mean if run.group.count == 1 else mean * count).backward()
    return (loss, count) if run.group.count == 1 else _sum_gradients(run, loss, count)


def _sum_gradients(run: _Run, loss: float, count: int) -> tuple[float, int]:
    """Replace the gradients of summed losses by those of the mean over the real steps of all processes."""
    parameters = list(run.network.parameters())
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    totals = torch.tensor([loss * count, count], dtype=torch.float64, device=run.device)
    run.group.add_up(totals)
    total, steps = totals.tolist()
    flat = torch.cat([part.flatten() for part in parts])
    run.group.add_up(flat)
    flat.div_(max(steps, 1))
    for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter)
    return total / max(steps, 1), int(steps)
