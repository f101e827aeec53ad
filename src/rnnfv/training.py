"""The training loop: batches of about one length, a judgement after every epoch, the best epoch kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rnnfv.networks import NextStepNetwork, shift
from rnnfv.sequences import Sequences

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


def train(
    network: NextStepNetwork,
    batcher: Batcher,
    schedule: Schedule,
    rng: np.random.Generator,
    judge: Callable[[], float] | None = None,
    report: Callable[[int, dict[str, list[float]]], None] = lambda epoch, history: None,
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

    Returns
    -------
    dict of list of float
        ``"loss"``, the mean training loss of each epoch, and ``"validation"``, the judgement, if any.

    Raises
    ------
    FloatingPointError
        If the loss becomes NaN or infinite.
    """
    optimizer = torch.optim.Adam(
        network.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True
    )
    history: dict[str, list[float]] = {"loss": []}
    best, best_epoch, best_state = -math.inf, 0, None
    for epoch in range(schedule.max_epochs):
        history["loss"].append(_one_epoch(network, batcher, schedule, optimizer, rng, epoch))
        if judge is not None:
            value = judge()
            history.setdefault("validation", []).append(value)
            if value > best:  # never so for NaN
                best, best_epoch, best_state = value, epoch, copy.deepcopy(network.state_dict())
        report(epoch, history)
        if judge is not None and schedule.patience is not None and epoch - best_epoch >= schedule.patience:
            break
    if best_state is not None:
        network.load_state_dict(best_state)
    return history


def _one_epoch(
    network: NextStepNetwork,
    batcher: Batcher,
    schedule: Schedule,
    optimizer: torch.optim.Optimizer,
    rng: np.random.Generator,
    epoch: int,
) -> float:
    network.train()
    losses, steps = 0.0, 0
    for indices in batcher.seqs.batches(batch_size=schedule.batch_size, rng=rng):
        batch = batcher(indices)
        count = int(batch.mask.sum())
        if count == 0:  # every symbol of the batch is outside the alphabet
            continue
        loss = mean_loss(network, batch)
        if not math.isfinite(loss.item()):
            raise FloatingPointError(
                f"the training loss became {loss.item()} in epoch {epoch + 1}: "
                "lower learning_rate, or scale the sequences (StandardScaler over their steps)"
            )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), schedule.max_grad_norm)
        optimizer.step()
        losses, steps = losses + loss.item() * count, steps + count
    network.eval()
    if steps == 0:
        raise ValueError("no step of the training sequences has a target: every symbol is outside the alphabet")
    return losses / steps
