"""What the parameters of a net's encoder may be."""

from __future__ import annotations

from typing import Any

import numpy as np

from rnnfv.networks import CELLS
from rnnfv.sequences import Sequences

__all__ = ["check_parameters"]

_CHOICES = {
    "objective": ("regression", "classification"),
    "cell": tuple(CELLS),
    "early_stopping": ("auto", "probe", "loss", None),
    "dtype": ("float32", "float64"),
}


def check_parameters(encoder: Any, poolings: tuple[str, ...], seqs: Sequences, y: Any) -> None:
    """Refuse what a net cannot be trained with, before it is begun.

    Parameters
    ----------
    encoder : NextStepEncoder
        Its parameters are looked at, and nothing else of it.
    poolings : tuple of str
        Those that it knows.
    seqs : Sequences
    y : array-like of shape (n,) or None

    Raises
    ------
    ValueError
        If a parameter is not usable, or does not go with the sequences and labels; the message says which.
    """
    for name, allowed in {**_CHOICES, "pooling": poolings}.items():
        if (value := getattr(encoder, name)) not in allowed:
            raise ValueError(f"{name} is {value!r}: it must be one of {', '.join(map(repr, allowed))}")
    for name, least in {"hidden_size": 1, "num_layers": 1, "batch_size": 1, "max_epochs": 0}.items():
        if not getattr(encoder, name) >= least:
            raise ValueError(f"{name} is {getattr(encoder, name)!r}: it must be at least {least}")
    for name in ("learning_rate", "max_grad_norm"):
        if not getattr(encoder, name) > 0:
            raise ValueError(f"{name} is {getattr(encoder, name)!r}: it must be above 0")
    if not 0 <= encoder.dropout < 1:
        raise ValueError(f"dropout is {encoder.dropout!r}: it must be at least 0 and below 1")
    if encoder.objective == "classification" and not seqs.is_symbolic:
        raise ValueError("objective='classification' needs sequences of integer symbols, each of shape (N_i,)")
    if encoder.early_stopping == "probe" and y is None:
        raise ValueError("early_stopping='probe' needs labels: call fit(X, y), or choose 'loss' or None")
    if encoder.early_stopping == "probe" and len(np.unique(y)) < 2:
        raise ValueError("early_stopping='probe' needs labels of two classes or more: choose 'loss' or None")
    if y is not None and len(y) != len(seqs):
        raise ValueError(f"there are {len(seqs)} sequences but {len(y)} labels")
