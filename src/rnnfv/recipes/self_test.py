"""A test of a few seconds that what is installed computes rightly."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rnnfv.classification import LinearSVM
from rnnfv.encoders.recurrent import RNNFisherVector
from rnnfv.normalization import PowerNormalizer

__all__ = ["SelfTest", "self_test"]

_TOLERANCE = 1e-9  # relative, of float64: some 10,000 sums of rounding
_LEARNT = 0.9  # of test sequences; chance is 0.5


@dataclass(frozen=True)
class SelfTest:
    """What came of the test.

    Attributes
    ----------
    difference : float
        The largest difference between closed form and automatic differentiation, relative to the largest gradient.
    accuracy : float
        Share of test sequences whose order was recognised, from 0 to 1.
    seconds : float
    """

    difference: float
    accuracy: float
    seconds: float

    @property
    def has_passed(self) -> bool:
        """Whether both are as they should be."""
        return self.difference <= _TOLERANCE and self.accuracy >= _LEARNT


def self_test(device: str = "auto") -> SelfTest:
    """Train a tiny net, compare its Fisher vectors with automatic differentiation, and tell rising from falling.

    Parameters
    ----------
    device : str
        Where the net is trained.

    Returns
    -------
    SelfTest

    Examples
    --------
    >>> from rnnfv.recipes.self_test import self_test
    >>> self_test("cpu").has_passed
    True
    """
    started = time.monotonic()
    rng = np.random.default_rng(0)
    walks = [np.sort(rng.normal(size=(n, 3)), axis=0) for n in rng.integers(4, 8, 60)]
    seqs = [walk[::-1].copy() if i % 2 else walk for i, walk in enumerate(walks)]
    falls = np.arange(len(seqs)) % 2
    encoder = RNNFisherVector(
        hidden_size=16, projection_size=None, max_epochs=5, dtype="float64", device=device, random_state=0
    ).fit(seqs)
    vectors = np.asarray(encoder.transform(seqs))
    wanted = _by_differentiation(encoder, seqs)
    difference = float(np.abs(vectors - wanted).max() / np.abs(wanted).max())
    vectors = PowerNormalizer().fit_transform(vectors)
    train = np.arange(len(seqs)) < len(seqs) // 2
    accuracy = LinearSVM().fit(vectors[train], falls[train]).score(vectors[~train], falls[~train])
    return SelfTest(difference, float(accuracy), time.monotonic() - started)


def _by_differentiation(encoder: RNNFisherVector, seqs: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The same vectors by torch's backward pass, a sequence at a time."""
    output, rows = encoder.network_.output, []
    for seq in seqs:
        steps = torch.as_tensor(seq).to(output.weight)
        inputs = torch.cat([torch.zeros_like(steps[:1]), steps[:-1]])
        loss = (encoder.network_(inputs[None])[0] - steps).square().sum() / 2 / len(steps)
        weight, bias = torch.autograd.grad(loss, [output.weight, output.bias])
        rows.append(torch.cat([weight, bias[:, None]], dim=1).flatten().cpu().numpy())
    return np.stack(rows)
