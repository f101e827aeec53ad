"""Gradients of every layer: the net unrolled into its linear maps, with what goes into each and what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from rnnfv.encoders._gradients import linear_gradient, step_losses
from rnnfv.networks import NextStepNetwork
from rnnfv.training import Batch


@dataclass(frozen=True, eq=False)
class _Map:
    """One linear map of the net, at every step: its parameters' names, what goes in, and what comes out.

    A recurrent one has a tensor for every step, (batch, in) and (batch, out); the others one for all, of which the
    second dimension is time.
    """

    weight: str
    bias: str
    inputs: list[Tensor]
    outputs: list[Tensor]


def parameter_gradients(
    network: NextStepNetwork, names: list[str], batch: Batch, weights: Tensor, lengths: list[int], out: list[Tensor]
) -> None:
    """Gradients of each sequence's summed loss with regard to named parameters (SPEC S13b).

    A weight multiplies something at every step. Its gradient is the sum over steps of the outer product of the
    loss's derivative behind it with what it multiplies, as in the output layer. One backward pass for all
    sequences of a batch finds the derivatives; they are of one sequence each, for none sees another.

    Parameters
    ----------
    network : NextStepNetwork
        In evaluation mode.
    names : list of str
        Of its parameters.
    batch : Batch
    weights : Tensor of shape (batch,)
        What each sequence's gradient is multiplied with.
    lengths : list of int
        Steps of each sequence.
    out : list of Tensor of shape (sum of the parameters' sizes,)
        Where each sequence's gradients are written, parameter after parameter, each row by row.
    """
    # What was made for inference cannot be differentiated, and the result is to be of the net's own kind.
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(batch.inputs.device.type, enabled=False):
        inputs, targets, mask, weights = (each.clone() for each in (batch.inputs, batch.targets, batch.mask, weights))
        predictions, maps = _unrolled(network, inputs, names)
        loss = (step_losses(predictions, Batch(inputs, targets, mask)).sum(dim=1) * weights).sum()
        found = dict(zip(maps, _derivatives(loss, maps), strict=True))
    starts, start = {}, 0
    for name in names:
        starts[name] = start
        start += network.get_parameter(name).numel()
    with torch.no_grad():
        for one, behind in found.items():
            if (start := starts.get(one.weight, -1)) >= 0:
                before = _joined(one.inputs)
                shape = (behind.shape[2], before.shape[2])
                rows = [row[start : start + shape[0] * shape[1]].view(shape) for row in out]
                linear_gradient(behind, before, lengths, rows)
            if (start := starts.get(one.bias, -1)) >= 0:
                for gradient, row in zip(behind.sum(dim=1).to(out[0].device), out, strict=True):
                    row[start : start + len(gradient)] = gradient


def _derivatives(loss: Tensor, maps: list[_Map]) -> Iterator[Tensor]:
    """Of the loss, behind each map: (batch, time, out)."""
    found = iter(torch.autograd.grad(loss, [each for one in maps for each in one.outputs]))
    return (_joined([next(found) for _ in one.outputs]) for one in maps)


def _joined(steps: list[Tensor]) -> Tensor:
    return steps[0] if steps[0].ndim == 3 else torch.stack(steps, dim=1)


class _Unrolling:
    """Applies linear maps, and notes those that have a wanted parameter."""

    def __init__(self, network: NextStepNetwork, wanted: list[str]) -> None:
        self._weights = {
            name: each.clone() if each.is_inference() else each.detach() for name, each in network.named_parameters()
        }
        self._wanted = set(wanted)
        self.maps: list[_Map] = []

    def begin(self, weight: str, bias: str) -> _Map:
        one = _Map(weight, bias, [], [])
        if self._wanted & {weight, bias}:
            self.maps.append(one)
        return one

    def apply(self, one: _Map, inputs: Tensor) -> Tensor:
        outputs = functional.linear(inputs, self._weights[one.weight], self._weights[one.bias])
        if self._wanted & {one.weight, one.bias}:
            if not outputs.requires_grad:  # nothing that was noted led to it
                outputs.requires_grad_()
            one.inputs.append(inputs.detach())
            one.outputs.append(outputs)
        return outputs


def _unrolled(network: NextStepNetwork, inputs: Tensor, wanted: list[str]) -> tuple[Tensor, list[_Map]]:
    """Predictions (batch, time, out) of a net without dropout, and its linear maps with a wanted parameter."""
    unrolling, values = _Unrolling(network, wanted), inputs
    if isinstance(network.projection, nn.Sequential):
        values = unrolling.apply(unrolling.begin("projection.0.weight", "projection.0.bias"), values)
        values = network.projection[1](values)
    step = _lstm_step if isinstance(network.recurrent, nn.LSTM) else _gru_step
    for layer in range(network.recurrent.num_layers):
        enter, recur = (
            unrolling.begin(f"recurrent.weight_{kind}_l{layer}", f"recurrent.bias_{kind}_l{layer}")
            for kind in ("ih", "hh")
        )
        hidden = cell = inputs.new_zeros(len(inputs), network.recurrent.hidden_size)
        states = []
        for entered in unrolling.apply(enter, values).unbind(dim=1):
            hidden, cell = step(entered, unrolling.apply(recur, hidden), hidden, cell)
            states.append(hidden)
        values = torch.stack(states, dim=1)
    return unrolling.apply(unrolling.begin("output.weight", "output.bias"), values), unrolling.maps


def _lstm_step(entered: Tensor, recurred: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """The next hidden state and cell, from what an LSTM's two maps give (torch's order of gates)."""
    take, forget, new, give = (entered + recurred).chunk(4, dim=1)
    cell = forget.sigmoid() * cell + take.sigmoid() * new.tanh()
    return give.sigmoid() * cell.tanh(), cell


def _gru_step(entered: Tensor, recurred: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """As `_lstm_step` for a GRU, which has no cell."""
    (reset, keep, new), (reset_too, keep_too, old) = entered.chunk(3, dim=1), recurred.chunk(3, dim=1)
    candidate = (new + (reset + reset_too).sigmoid() * old).tanh()
    return torch.lerp(candidate, hidden, (keep + keep_too).sigmoid()), cell
