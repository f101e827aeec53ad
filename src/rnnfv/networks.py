"""The next-step predictors: torch modules, nothing else."""

from __future__ import annotations

from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

_PIECE = 2048  # steps
CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}

State: TypeAlias = Tensor | tuple[Tensor, Tensor]  # of the recurrent part: (layers, batch, H), an LSTM's twice


class _Dropout(nn.Dropout):
    """torch's dropout. On a CPU it draws 16 random bits a value, and ``p`` is rounded to the nearest 65,536th below 1.

    torch's own masks can take a tenth of a whole training step there (`benchmarks/train_speed.py`).
    """

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training or self.p in (0, 1) or inputs.device.type != "cpu":
            return super().forward(inputs)
        words = torch.empty(-(-inputs.numel() // 4), dtype=torch.int64, device=inputs.device).random_(-(2**63), None)
        bits = words.view(torch.int16)[: inputs.numel()].view(inputs.shape)
        dropped = min(round(self.p * 2**16), 2**16 - 1)  # of 2**16
        return inputs * (bits >= dropped - 2**15).to(inputs.dtype).div_(1 - dropped / 2**16)


class NextStepNetwork(nn.Module):
    """Predicts each next element of a sequence from those before it (SPEC S10, S14).

    Optional ``Linear`` + ``LeakyReLU(0.1)``, a recurrent part, and a linear output layer whose gradient is
    the Fisher vector. Dropout acts on the input and on the output of the recurrent part, and between its
    layers; it is what keeps single weights, and so single gradients, discriminative (paper, section 5.2).

    Parameters
    ----------
    dim : int
        Values of an input step, D.
    out : int
        Outputs: D for regression, the number of symbols M for classification.
    hidden_size : int
        Units of the recurrent part, H.
    projection_size : int or None
        Units of the layer before it; None leaves that layer out.
    cell : {"lstm", "gru"}
    num_layers : int
    dropout : float
        Share of units dropped, 0 to 1.
    """

    def __init__(
        self,
        dim: int,
        out: int,
        hidden_size: int = 200,
        projection_size: int | None = 200,
        cell: str = "lstm",
        num_layers: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.projection = (
            nn.Identity()
            if projection_size is None
            else nn.Sequential(nn.Linear(dim, projection_size), nn.LeakyReLU(0.1))
        )
        self.recurrent = CELLS[cell](
            dim if projection_size is None else projection_size,
            hidden_size,
            num_layers,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,
        )
        self.dropout = _Dropout(dropout)
        self.output = nn.Linear(hidden_size, out)

    def hidden(self, inputs: Tensor) -> Tensor:
        """What the output layer sees: (batch, time, D) -> (batch, time, H)."""
        state = self.start(inputs)
        if torch.is_grad_enabled() or inputs.shape[1] <= _PIECE:
            return self.advance(inputs, state)[0]
        states = []  # a long sequence goes through the caches piece by piece
        for piece in inputs.split(_PIECE, dim=1):
            piece_states, state = self.advance(piece, state)
            states.append(piece_states)
        return torch.cat(states, dim=1)

    def start(self, inputs: Tensor) -> State:
        """The recurrent part's state before the first of ``inputs`` (batch, time, D), all zeros."""
        zeros = inputs.new_zeros(self.recurrent.num_layers, len(inputs), self.recurrent.hidden_size)
        return (zeros, zeros) if isinstance(self.recurrent, nn.LSTM) else zeros

    def advance(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """`hidden` of inputs (batch, time, D) that go on from a state, and the state behind them."""
        states, state = self.recurrent(self.dropout(self.projection(inputs)), state)
        return self.dropout(states), state

    def forward(self, inputs: Tensor) -> Tensor:
        """Predictions of the next elements: (batch, time, D) -> (batch, time, out)."""
        return cast("Tensor", self.output(self.hidden(inputs)))


def shift(elements: Tensor) -> Tensor:
    """The inputs whose targets are ``elements`` (batch, time, D): one step later, beginning with zeros."""
    return torch.cat([torch.zeros_like(elements[:, :1]), elements[:, :-1]], dim=1)
