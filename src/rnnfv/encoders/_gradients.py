"""Gradients of a sequence's loss with regard to the net's weights: the Fisher vector itself (SPEC S4, S5)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from rnnfv.training import Batch


def output_errors(predictions: Tensor, batch: Batch) -> Tensor:
    """Derivative of the loss with regard to the output: (batch, time, out), zero where a step does not count.

    Regression: v_i - x_{i+1}. Classification: p_i - onehot(w_{i+1}). Overwrites ``predictions``.
    """
    if batch.targets.is_floating_point():
        errors = predictions.sub_(batch.targets)
    else:
        errors = predictions.softmax(dim=-1)
        symbols = (batch.targets * batch.mask)[..., None]
        errors.scatter_add_(-1, symbols, errors.new_full(symbols.shape, -1.0))
    return errors.mul_(batch.mask[..., None])


def with_bias(hidden: Tensor) -> Tensor:
    """The output layer's input and the 1 that its bias multiplies: (batch, time, H + 1)."""
    return functional.pad(hidden, (0, 1), value=1.0)


def linear_gradient(errors: Tensor, hidden: Tensor, lengths: list[int], out: list[Tensor]) -> None:
    """dL/dW of a linear layer, in closed form: sum over steps of outer(error, hidden); [dL/dW, dL/db] `with_bias`.

    Parameters
    ----------
    errors : Tensor of shape (batch, time, out)
        Derivative of the loss behind the layer, zero where a step does not count.
    hidden : Tensor of shape (batch, time, in)
        The layer's input.
    lengths : list of int
        Steps of each sequence.
    out : list of Tensor of shape (out, in)
        Where each sequence's gradient is written.
    """
    if errors.device == out[0].device:
        # One product a sequence, straight to its place: a batched product would have to be copied there, and the
        # copy of these large results costs about as much as the products do.
        for error, state, length, place in zip(errors, hidden, lengths, out, strict=True):
            torch.mm(error[:length].T, state[:length], out=place)
    else:  # on a GPU one call for all is what counts
        for gradient, place in zip(torch.bmm(errors.transpose(1, 2), hidden).cpu(), out, strict=True):
            place.copy_(gradient)


def sampled_output_gradient(errors: Tensor, hidden: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The entries (rows[s], columns[s]) of the output layer's `linear_gradient`, and no others: shape (batch, s)."""
    # Time goes last: an entry is then the product of two contiguous rows.
    errors, hidden = errors.transpose(1, 2).contiguous(), hidden.transpose(1, 2).contiguous()
    return torch.stack([(e[rows] * h[columns]).sum(dim=-1) for e, h in zip(errors, hidden, strict=True)])


def step_losses(predictions: Tensor, batch: Batch) -> Tensor:
    """L of every step, without the constant: (batch, time), zero where a step does not count."""
    if batch.targets.is_floating_point():
        losses = (predictions - batch.targets).square().sum(dim=-1) / 2
    else:
        losses = functional.cross_entropy(predictions.movedim(-1, 1), batch.targets * batch.mask, reduction="none")
    return losses * batch.mask
