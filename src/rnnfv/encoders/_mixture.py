"""Mixtures of diagonal Gaussian and Laplacian components: parameters and responsibilities (SPEC S2)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MAX_ROUNDING = 5e-4  # rounding that cancelling squares may leave in a log density


class Mixture(NamedTuple):
    """The parameters, float64 on the computing device; ``is_laplacian`` is boolean.

    ``weights`` is (K,), all others are (K, D). Every (k, d) has both its Gaussian (``means``, ``variances``)
    and its Laplacian (``medians``, ``scales``); ``is_laplacian`` says which of the two is its density.
    """

    weights: Tensor
    means: Tensor
    variances: Tensor
    medians: Tensor
    scales: Tensor
    is_laplacian: Tensor

    @classmethod
    def gaussian(cls, weights: Tensor, means: Tensor, variances: Tensor) -> Mixture:
        """A Gaussian mixture. Its Laplacian half is implied: median mu, mean absolute deviation sqrt(2/pi) sigma."""
        flags = torch.zeros_like(means, dtype=torch.bool)
        return cls(weights, means, variances, means, torch.sqrt(variances * (2 / math.pi)), flags)

    @classmethod
    def laplacian(cls, weights: Tensor, medians: Tensor, scales: Tensor) -> Mixture:
        """A Laplacian mixture. Its Gaussian half is implied: mean m, variance 2 s^2."""
        return cls(weights, medians, 2 * scales**2, medians, scales, torch.ones_like(medians, dtype=torch.bool))

    @property
    def centre(self) -> Tensor:
        """Mean of the mixture, (D,): subtracted from the data before squares are taken."""
        return self.weights @ self.means


class Densities:
    """The mixture prepared for evaluation on blocks of vectors.

    The Gaussian part of all components is one matrix product, -x^2/(2 sigma^2) + x mu/sigma^2 + const, so no
    (n, K, D) array is made. Its terms cancel where x lies far from the origin: the data are centred first.
    Components too narrow for that, and all Laplacian dimensions, are evaluated from the differences x - mu.

    Parameters
    ----------
    mixture : Mixture
    dtype : torch.dtype
        float32 or float64: that of the computation.

    Attributes
    ----------
    centre : Tensor of shape (D,)
    means, medians : Tensor of shape (K, D)
        Less the centre.
    inverse_sigmas, inverse_scales : Tensor of shape (K, D)
    narrow : list of bool, length K
        Which components have Gaussians so narrow that their squares must not be left to cancel.
    """

    def __init__(self, mixture: Mixture, dtype: torch.dtype) -> None:
        flags = mixture.is_laplacian
        self.centre = mixture.centre.to(dtype)
        means = mixture.means - self.centre.double()
        self.means = means.to(dtype)
        # In the working precision, as the data are: a datum that is its component's median stays equal to it.
        self.medians = mixture.medians.to(dtype) - self.centre
        self.inverse_sigmas, self.inverse_scales = mixture.variances.rsqrt().to(dtype), (1 / mixture.scales).to(dtype)
        precisions = torch.where(flags, 0.0, 1 / mixture.variances)
        # What cancels is as large as sum_d spread_d / sigma_kd^2, the spread being the whole mixture's variance.
        spread = mixture.weights @ (mixture.variances + means**2)
        narrow = precisions @ spread * torch.finfo(dtype).eps > _MAX_ROUNDING
        self.narrow = narrow.tolist()
        offsets = torch.where(narrow[:, None], 0.0, means**2 * precisions)
        gaussian = -0.5 * (torch.log(2 * math.pi * mixture.variances) + offsets)
        logs = torch.where(flags, -torch.log(2 * mixture.scales), gaussian).sum(1)
        self._constants = (torch.log(mixture.weights) + logs).to(dtype)[:, None]
        precisions_here = torch.where(narrow[:, None], 0.0, precisions)
        self._factors = torch.cat([means * precisions_here, -precisions_here / 2], 1).to(dtype)
        self._any_product = bool(precisions_here.any())
        self._laplacian = [row.nonzero().squeeze(1) for row in flags]
        self._narrow = [row.nonzero().squeeze(1) for row in ~flags & narrow[:, None]]
        self._any_partial = any(0 < len(dims) < flags.shape[1] for dims in (*self._laplacian, *self._narrow))
        self._lowest = 0.8 * math.log(torch.finfo(dtype).tiny)  # arithmetic on denormal numbers is slow

    def responsibilities(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior of each component, and the log likelihood, of each vector.

        Parameters
        ----------
        moments : Tensor of shape (n, 2 * D)
            As `with_squares` makes them from the vectors and `centre`.

        Returns
        -------
        responsibilities : Tensor of shape (K, n)
            Columns sum to one.
        log_likelihoods : Tensor of shape (n,), float64

        Raises
        ------
        ValueError
            If the values are too large for the precision.
        """
        logs = self._constants.expand(-1, len(moments))
        if self._any_product:
            logs = torch.addmm(logs, self._factors, moments.T)
        if any(len(dims) for dims in (*self._laplacian, *self._narrow)):
            logs = logs - self._distances(moments)
        top = logs.amax(0)
        posteriors = (logs - top).clamp_min_(self._lowest).exp_()
        total = posteriors.sum(0)
        if not bool(torch.isfinite(total).all()):
            raise ValueError(f"values are too large for {moments.dtype}: scale the data")
        return posteriors.div_(total), top.double() + torch.log(total.double())

    def _distances(self, moments: Tensor) -> Tensor:
        """What is evaluated from differences, (K, n): sums of |x - m| / s and of (x - mu)^2 / (2 sigma^2)."""
        distances = moments.new_zeros(len(self._narrow), len(moments))
        vectors = moments[:, : moments.shape[1] // 2]
        # Where a component wants some dimensions only: as rows they are copied fast.
        columns = vectors.T.contiguous() if self._any_partial else vectors.T
        for k, (laplacian, narrow) in enumerate(zip(self._laplacian, self._narrow, strict=True)):
            if len(laplacian):
                differences = _differences(vectors, columns, laplacian, self.medians[k]).abs_()
                distances[k].addmv_(differences, self.inverse_scales[k, laplacian])
            if len(narrow):
                differences = _differences(vectors, columns, narrow, self.means[k]).square_()
                distances[k].addmv_(differences, self.inverse_sigmas[k, narrow].square(), alpha=0.5)
        return distances


def _differences(vectors: Tensor, columns: Tensor, dims: Tensor, locations: Tensor) -> Tensor:
    """Some dimensions of vectors, less a component's locations there: (n, len(dims))."""
    if len(dims) == len(columns):
        return vectors - locations
    return columns.index_select(0, dims).sub_(locations[dims, None]).T


def to_tensor(array: NDArray[Any], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of an array, without a copy where none is needed (torch refuses memory that is read-only)."""
    return torch.from_numpy(np.require(array, requirements="W")).to(device, dtype)


def with_squares(vectors: Tensor, centre: Tensor) -> Tensor:
    """Centred vectors and their squares side by side: (n, D) to (n, 2 * D)."""
    dim = vectors.shape[1]
    moments = vectors.new_empty(len(vectors), 2 * dim)
    centred = torch.sub(vectors, centre, out=moments[:, :dim])
    torch.mul(centred, centred, out=moments[:, dim:])
    return moments
