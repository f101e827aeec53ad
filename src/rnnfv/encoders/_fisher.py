"""Fisher vectors of sequences under a mixture (SPEC S2)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from rnnfv.encoders._mixture import Densities, Mixture, to_tensor, with_squares
from rnnfv.sequences import Sequences

_MAX_STEPS = 1024  # steps of one block: its arrays stay in the processor's cache
_DENSE = 1 / 3  # share of the (step, component) pairs that count from which a matrix product is faster
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
        self._curvatures = (0.5**0.5 / mixture.variances).to(dtype)
        self._flags = mixture.is_laplacian
        self._any_laplacian = self._flags.any(1).tolist()
        narrow = self._densities.narrow
        self._direct = [k for k, laplacian in enumerate(self._any_laplacian) if laplacian or narrow[k]]
        self._any_wide = any(not row.all() and not narrow[k] for k, row in enumerate(self._flags))
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
        posteriors, _ = self._densities.responsibilities(moments)
        counts = posteriors > self._smallest
        weights = posteriors.mul_(self._prior_factors).mul_(lengths.rsqrt())
        if not self._direct and int(counts.sum()) > _DENSE * counts.numel():
            return self._dense(moments, weights, owners)
        components, rows = counts.nonzero(as_tuple=True)
        # Pairs come component by component and in each step by step: those of one sequence are neighbours.
        pairs = _Pairs(rows, components, weights[components, rows], _run_starts(components, owners[rows]))
        return owners[rows[pairs.starts]], components[pairs.starts], *self._sparse(moments, pairs)

    def _dense(self, moments: Tensor, weights: Tensor, owners: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All components of all sequences, by one matrix product a sequence."""
        starts, n_components = _run_starts(owners), len(weights)
        sums = moments.new_empty(len(starts), n_components, moments.shape[1])
        for out, (start, stop) in zip(sums, pairwise([*starts.tolist(), len(owners)]), strict=True):
            torch.mm(weights[:, start:stop], moments[start:stop], out=out)
        masses = _sums(weights.T.contiguous(), torch.arange(len(owners), device=owners.device), starts)
        locations, deviations = self._from_sums(sums, masses[..., None])
        sequences = owners[starts].repeat_interleave(n_components)
        components = torch.arange(n_components, device=owners.device).repeat(len(starts))
        return sequences, components, locations.flatten(0, 1), deviations.flatten(0, 1)

    def _sparse(self, moments: Tensor, pairs: _Pairs) -> tuple[Tensor, Tensor]:
        """The gradients of each run of pairs."""
        masses = _sums(pairs.weights[:, None], torch.arange(len(pairs.rows), device=moments.device), pairs.starts)
        if self._any_wide:
            sums = _sums(moments, pairs.rows, pairs.starts, pairs.weights)
            locations, deviations = self._from_sums(sums, masses, pairs.components[pairs.starts])
        else:
            locations, deviations = moments.new_empty(2, len(pairs.starts), moments.shape[1] // 2)
        if self._direct:
            self._from_differences(moments, pairs, masses, locations, deviations)
        return locations, deviations

    def _from_sums(self, sums: Tensor, masses: Tensor, components: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Gaussian gradients from weighted sums of x and x^2; of all components, or of one each row."""
        means, inverse_sigmas, curvatures = self._densities.means, self._densities.inverse_sigmas, self._curvatures
        if components is not None:
            means, inverse_sigmas = means.index_select(0, components), inverse_sigmas.index_select(0, components)
            curvatures = curvatures.index_select(0, components)
        first, second = sums.chunk(2, -1)
        locations = torch.addcmul(first, masses, means, value=-1)
        squares = torch.addcmul(second, means, first + locations, value=-1)
        deviations = torch.addcmul(masses * -(0.5**0.5), squares, curvatures)
        return locations.mul_(inverse_sigmas), deviations

    def _from_differences(
        self, moments: Tensor, pairs: _Pairs, masses: Tensor, locations: Tensor, deviations: Tensor
    ) -> None:
        """Overwrite the gradients of Laplacian dimensions, and of narrow components, with those from x - m itself."""
        bounds = torch.arange(len(self._flags) + 1, device=moments.device)
        from_pair = torch.searchsorted(pairs.components, bounds).tolist()
        from_run = torch.searchsorted(pairs.components[pairs.starts], bounds).tolist()
        for k in self._direct:  # one after the other: what belongs to one component stays in the cache
            inside, into = slice(*from_pair[k : k + 2]), slice(*from_run[k : k + 2])
            vectors = moments[:, : moments.shape[1] // 2].index_select(0, pairs.rows[inside])
            runs = (torch.arange(len(vectors), device=moments.device), pairs.starts[into] - from_pair[k])
            weights, mass, flags = pairs.weights[inside], masses[into], self._flags[k]
            if self._densities.narrow[k]:
                z = (vectors - self._densities.means[k]).mul_(self._densities.inverse_sigmas[k])
                locations[into] = _sums(z, *runs, weights)
                deviations[into] = _sums(z.square_(), *runs, weights).sub_(mass).mul_(0.5**0.5)
            if self._any_laplacian[k]:
                differences = vectors.sub_(self._densities.medians[k])
                # x - m is never -0.0, so that sign(0) = +1
                signs = _sums(torch.copysign(differences.new_ones(()), differences), *runs, weights)
                scaled = _sums(differences.abs_(), *runs, weights).mul_(self._densities.inverse_scales[k])
                locations[into] = torch.where(flags, signs, locations[into])
                deviations[into] = torch.where(flags, scaled.sub_(mass), deviations[into])


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


def _run_starts(*keys: Tensor) -> Tensor:
    """Where each run of equal keys begins."""
    begins = torch.ones_like(keys[0], dtype=torch.bool)
    begins[1:] = torch.stack([key[1:] != key[:-1] for key in keys]).any(0)
    return begins.nonzero().squeeze(1)


def _sums(table: Tensor, rows: Tensor, starts: Tensor, weights: Tensor | None = None) -> Tensor:
    """Weighted sums of runs of rows of a table: run r is ``rows[starts[r]:starts[r + 1]]``."""
    return embedding_bag(rows, table, starts, mode="sum", per_sample_weights=weights)
