"""Fisher vectors of sequences under a mixture (SPEC S2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from rnnfv.encoders._mixture import Densities, Mixture, to_tensor, with_squares
from rnnfv.sequences import Sequences

_MAX_STEPS = 1024  # steps of one block: its arrays stay in the processor's cache
_MAX_VALUES = 1 << 23  # values of one block's (step, component, dimension) array, should every pair count


class FisherKernel:
    """The gradients of the log likelihood, prepared for blocks of steps.

    A step counts only for the components that have a responsibility for it above eps^2 (eps the rounding
    unit): even after the square root of the power normalisation the rest lies below rounding. With many
    dimensions that leaves a few components a step out of K.

    Parameters
    ----------
    mixture : Mixture
    dtype : torch.dtype
        float32 or float64: that of the computation.
    """

    def __init__(self, mixture: Mixture, dtype: torch.dtype) -> None:
        self._densities = Densities(mixture, dtype)
        self._prior_factors = mixture.weights.rsqrt().to(dtype)[:, None]
        self._flags = mixture.is_laplacian
        # By component: whether any dimension is Laplacian, and whether any is Gaussian.
        self._laplacian = self._flags.any(1).tolist()
        self._gaussian = (~self._flags).any(1).tolist()
        self._smallest = torch.finfo(dtype).eps ** 2

    def __call__(self, steps: Tensor, owners: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sum the gradients of a block of steps over each sequence.

        Parameters
        ----------
        steps : Tensor of shape (n, D)
        owners : Tensor of shape (n,), int64
            Sequence of each step, never falling.
        lengths : Tensor of shape (n,)
            Steps of that whole sequence.

        Returns
        -------
        sequences, components : Tensor of shape (m,), int64
            The pairs that got a gradient, each once.
        locations, deviations : Tensor of shape (m, D)
            Their gradients with regard to the mean (or median) and to the deviation (or scale).
        """
        moments = with_squares(steps, self._densities.centre)
        posteriors = self._densities.responsibilities(moments)[0]
        counts = posteriors > self._smallest
        weights = posteriors.mul_(self._prior_factors).mul_(lengths.rsqrt())
        components, rows = counts.nonzero(as_tuple=True)
        direct = [k for k in range(len(self._flags)) if self._laplacian[k] or self._densities.narrow[k]]
        if not direct and len(rows) > _DENSE * counts.numel():
            return self._dense(moments, weights, owners)
        # Pairs come component by component and in each step by step: those of one sequence are neighbours.
        pairs = _Pairs(rows, components, weights[components, rows], _run_starts(components, owners[rows]))
        masses = _sums(pairs.weights[:, None], torch.arange(len(rows), device=rows.device), pairs.starts)
        gradients = moments.new_empty(2, len(pairs.starts), steps.shape[1])
        of_runs = components[pairs.starts]
        if any(self._gaussian[k] and not self._densities.narrow[k] for k in range(len(self._flags))):
            sums = _sums(moments, rows, pairs.starts, pairs.weights)
            self._from_sums(sums, masses, of_runs, gradients)
        self._from_differences(moments, pairs, masses, direct, gradients)
        return owners[rows[pairs.starts]], of_runs, *gradients


class _Pairs(NamedTuple):
    """The (step, component) pairs that count, and where each run of one component and one sequence begins."""

    rows: Tensor
    components: Tensor
    weights: Tensor  # gamma / sqrt(N pi)
    starts: Tensor


def fisher_vectors(seqs: Sequences, mixture: Mixture, dtype: torch.dtype, out: NDArray[Any]) -> None:
    """Add the Fisher vectors of all sequences to an array of zeros.

    Parameters
    ----------
    seqs : Sequences
    mixture : Mixture
        Its device is that of the computation.
    dtype : torch.dtype
        float32 or float64: that of the computation.
    out : ndarray of shape (n, 2 * K * D), float32 or float64
    """
    n_components, dim = mixture.means.shape
    kernel = FisherKernel(mixture, dtype)
    target = torch.from_numpy(out).view(-1, dim)  # row (sequence * 2 + part) * K + component
    for steps, owners, lengths in _blocks(seqs, n_components, dtype, mixture.means.device):
        sequences, components, locations, deviations = kernel(steps, owners, lengths)
        rows = (sequences * (2 * n_components) + components).cpu()
        target.index_add_(0, rows, locations.to("cpu", target.dtype))
        target.index_add_(0, rows + n_components, deviations.to("cpu", target.dtype))


def _blocks(
    seqs: Sequences, n_components: int, dtype: torch.dtype, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Steps, their sequences and those sequences' lengths, block after block; a long sequence may be cut."""
    size = max(1, min(_MAX_STEPS, _MAX_VALUES // (n_components * int(seqs.dim or 1))))
    lengths, total = seqs.lengths, int(seqs.offsets[-1])
    for start in range(0, total, size):
        stop = min(start + size, total)
        owners = np.searchsorted(seqs.offsets, np.arange(start, stop), side="right") - 1
        yield (
            to_tensor(seqs.steps(start, stop), dtype, device),
            torch.from_numpy(owners).to(device),
            torch.from_numpy(lengths[owners]).to(device, dtype),
        )


def _run_starts(components: Tensor, owners: Tensor) -> Tensor:
    """Where each run of one component and one sequence begins."""
    begins = torch.ones_like(owners, dtype=torch.bool)
    begins[1:] = (owners[1:] != owners[:-1]) | (components[1:] != components[:-1])
    return begins.nonzero().squeeze(1)


def _sums(table: Tensor, rows: Tensor, starts: Tensor, weights: Tensor | None = None) -> Tensor:
    """Weighted sums of runs of rows of a table: run r is ``rows[starts[r]:starts[r + 1]]``."""
    return embedding_bag(rows, table, starts, mode="sum", per_sample_weights=weights)
