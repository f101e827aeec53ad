"""Expectation maximisation of a mixture of Gaussian and Laplacian components (SPEC S2)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor
from torch.nn.functional import embedding_bag

from rnnfv.encoders._mixture import Densities, Mixture, to_tensor, with_squares
from rnnfv.sequences import Sequences

_BLOCK = 1024  # vectors of one block: small enough for the caches, large enough for several threads
_MAX_RANKED = 1 << 20  # values sorted together in the search for medians
_MAX_ORDER = 1 << 28  # positions of sorted columns that are kept (1 GiB); beyond that columns are sorted anew
_SAMPLE = 500  # vectors a component that k-means looks at
_EMPTY = 1e-6  # a component that holds less than this many vectors keeps its parameters


class TrainingVectors:
    """All steps of a batch as one table of vectors to learn from.

    Sequences of symbols stand for few distinct vectors, each of them repeated: the indices of those in use
    are kept, with their counts, and only a block of vectors is looked up at a time.

    Parameters
    ----------
    seqs : Sequences
    dtype : torch.dtype
        float32 or float64: that of the computation.
    device : torch.device
    """

    def __init__(self, seqs: Sequences, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.device = dtype, device
        self.total = len(seqs.values)
        self.counts: NDArray[np.intp] | None = None
        self._table, self._used = seqs.values, None
        if seqs.vectors is not None:
            self._table = seqs.vectors
            self._used, self.counts = np.unique(seqs.values, return_counts=True)
        self._orders: list[Tensor] = []  # of the columns, block after block, once they were sorted

    def __len__(self) -> int:
        return len(self._table) if self._used is None else len(self._used)

    @property
    def dim(self) -> int:
        """Values a vector, D."""
        return int(self._table.shape[1])

    def rows(self, index: slice | NDArray[np.intp]) -> NDArray[Any]:
        """The chosen vectors, (n, D)."""
        rows: NDArray[Any] = self._table[index if self._used is None else self._used[index]]
        return rows

    def blocks(self) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
        """Which vectors, the vectors (n, D) and their counts (n,), if any; block after block."""
        for start in range(0, len(self), _BLOCK):
            part = slice(start, min(start + _BLOCK, len(self)))
            counts = None if self.counts is None else to_tensor(self.counts[part], self.dtype, self.device)
            yield part, to_tensor(self.rows(part), self.dtype, self.device), counts

    def orders(self, width: int) -> Iterator[tuple[slice, Tensor]]:
        """Which dimensions, and the vectors in rising order of each, (width, n) int32; block after block.

        The width must stay the same from call to call.
        """
        for i, start in enumerate(range(0, self.dim, width)):
            dims = slice(start, min(start + width, self.dim))
            if i < len(self._orders):
                yield dims, self._orders[i]
                continue
            columns = self._table[:, dims] if self._used is None else self._table[self._used, dims]
            order = torch.argsort(to_tensor(columns.T, self.dtype, self.device).contiguous(), dim=1).int()
            if len(self) * self.dim <= _MAX_ORDER:
                self._orders.append(order)
            yield dims, order

    def values(self, index: Tensor) -> Tensor:
        """One value of each dimension for each component: of the vector whose index (K, D) is given."""
        rows = index.cpu().numpy() if self._used is None else self._used[index.cpu().numpy()]
        return to_tensor(self._table[rows, np.arange(rows.shape[1])], torch.float64, self.device)


class Posterior(Protocol):
    """What shares vectors out among components."""

    centre: Tensor
    means: Tensor
    narrow: list[bool]

    def responsibilities(self, moments: Tensor) -> tuple[Tensor, Tensor]: ...


class NearestCentre:
    """Each vector belongs to the centre nearest to it, altogether.

    Parameters
    ----------
    centres : Tensor of shape (K, D)
        In the dtype of the computation.
    """

    def __init__(self, centres: Tensor) -> None:
        self.centre = centres.mean(0)
        self.means, self.narrow = centres - self.centre, [False] * len(centres)
        self._factors = torch.cat([self.means, torch.full_like(centres, -0.5)], 1)
        self._constants = -0.5 * (self.means**2).sum(1, keepdim=True)

    def responsibilities(self, moments: Tensor) -> tuple[Tensor, Tensor]:
        """One for the nearest centre, zero for the others (K, n); and minus half the squared distance (n,)."""
        scores = torch.addmm(self._constants, self._factors, moments.T)
        best, nearest = scores.max(0)
        return torch.zeros_like(scores).scatter_(0, nearest[None], 1.0), best.double()


class Statistics(NamedTuple):
    """What one pass over the vectors leaves of them. Sums are float64."""

    origins: Tensor  # (K, D): what each component's sums are about
    masses: Tensor  # (K,): sums of the responsibilities
    first: Tensor  # (K, D): responsibility-weighted sums of x - origin
    second: Tensor  # (K, D): and of its squares
    log_likelihood: float
    responsibilities: Tensor | None  # (n, K), times the counts; only where medians need them


def collect(vectors: TrainingVectors, posterior: Posterior, n_components: int, keep: bool) -> Statistics:
    """Pass once over the vectors; ``keep`` the responsibilities or not."""
    device = vectors.device
    masses = torch.zeros(n_components, dtype=torch.float64, device=device)
    sums = torch.zeros(n_components, 2 * len(posterior.centre), dtype=torch.float64, device=device)
    total = torch.zeros((), dtype=torch.float64, device=device)
    kept = torch.empty(len(vectors), n_components, dtype=vectors.dtype, device=device) if keep else None
    for part, block, counts in vectors.blocks():
        moments = with_squares(block, posterior.centre)
        weights, logs = posterior.responsibilities(moments)
        if counts is not None:
            weights, logs = weights * counts, logs * counts
        masses += weights.sum(1)
        sums += _weighted_sums(weights, moments, posterior)
        total += logs.sum()
        if kept is not None:
            kept[part] = weights.T
    about_mean = torch.tensor(posterior.narrow, device=device)[:, None]
    origins = posterior.centre.double() + torch.where(about_mean, posterior.means.double(), 0.0)
    first, second = sums.chunk(2, 1)
    return Statistics(origins, masses, first, second, float(total), kept)


def _weighted_sums(weights: Tensor, moments: Tensor, posterior: Posterior) -> Tensor:
    """Sums of centred x and x^2, (K, 2 * D); for narrow components of x - mu, lest the squares cancel."""
    sums = weights @ moments
    dim = moments.shape[1] // 2
    for k, narrow in enumerate(posterior.narrow):
        if narrow:
            differences = moments[:, :dim] - posterior.means[k]
            sums[k, :dim] = weights[k] @ differences
            sums[k, dim:] = weights[k] @ differences.square_()
    return sums


def maximise(vectors: TrainingVectors, seen: Statistics, previous: Mixture, family: str, floor: float) -> Mixture:
    """The parameters that the responsibilities ask for (the M-step); an empty component keeps its own."""
    held = (seen.masses < _EMPTY)[:, None]
    masses = seen.masses.clamp_min(_EMPTY)[:, None]
    weights = (masses / masses.sum()).squeeze(1)
    shifts = seen.first / masses
    raw = seen.second / masses - shifts**2
    means = torch.where(held, previous.means, shifts + seen.origins)
    variances = torch.where(held, previous.variances, raw.clamp_min(floor))
    if seen.responsibilities is None:
        return Mixture.gaussian(weights, means, variances)
    medians = torch.where(held, previous.medians, weighted_medians(vectors, seen.responsibilities))
    deviations = mean_deviations(vectors, seen.responsibilities, medians) / masses
    scales = torch.where(held, previous.scales, deviations.clamp_min(floor))
    if family == "laplacian":
        return Mixture.laplacian(weights, medians, scales)
    # Mean log likelihoods under either density; with a floor in force they are not its entropy alone.
    laplacian = -torch.log(2 * scales) - deviations / scales
    gaussian = -0.5 * (torch.log(2 * math.pi * variances) + raw / variances)
    flags = torch.where(held, previous.is_laplacian, laplacian > gaussian)
    return Mixture(weights, means, variances, medians, scales, flags)


def weighted_medians(vectors: TrainingVectors, responsibilities: Tensor) -> Tensor:
    """First value of each sorted dimension at which a component's cumulated weight reaches half: (K, D).

    The sorted weights are summed in runs of about sqrt(n) first: half is reached inside one of them, and the
    weights themselves are looked at only there.
    """
    n, n_components = responsibilities.shape
    device = responsibilities.device
    run = math.isqrt(n - 1) + 1
    found = torch.empty(n_components, vectors.dim, dtype=torch.int64, device=device)
    for dims, order in vectors.orders(width=max(1, _MAX_RANKED // (n + run * n_components))):
        column = torch.arange(len(order), device=device)[:, None, None]
        starts = column[:, 0] * n + torch.arange(0, n, run, device=device)
        sums = embedding_bag(order.flatten(), responsibilities, starts.flatten().int(), mode="sum")
        cumulated = sums.view(*starts.shape, n_components).transpose(1, 2).double().cumsum(2)  # (d, K, runs)
        half = cumulated[..., -1:] / 2
        chosen = (cumulated < half).sum(2, keepdim=True)
        before = torch.where(chosen > 0, cumulated.gather(2, (chosen - 1).clamp_min(0)), 0.0)
        places = (chosen * run + torch.arange(run, device=device)).clamp_max(n - 1)
        members = order[column, places]
        weights = responsibilities[members, torch.arange(n_components, device=device)[:, None]]
        place = (before + weights.double().cumsum(2) < half).sum(2, keepdim=True).clamp_max(run - 1)
        found[:, dims] = members.gather(2, place).squeeze(2).T.long()
    return vectors.values(found)


def mean_deviations(vectors: TrainingVectors, responsibilities: Tensor, medians: Tensor) -> Tensor:
    """Responsibility-weighted sums of |x - m|, (K, D) float64."""
    sums = torch.zeros_like(medians)
    locations = medians.to(responsibilities.dtype)
    for part, block, _ in vectors.blocks():
        weights = responsibilities[part].T.contiguous()
        for k, location in enumerate(locations):
            sums[k] += weights[k] @ (block - location).abs_()
    return sums


def start_mixture(
    vectors: TrainingVectors,
    n_components: int,
    *,
    family: str,
    strategy: str,
    floor: float,
    rng: np.random.RandomState,
) -> Mixture:
    """Parameters to begin from: choose centres, give every vector to the nearest, take an M-step."""
    centres = torch.from_numpy(choose_centres(vectors, n_components, strategy, rng)).to(vectors.device)
    seen = collect(vectors, NearestCentre(centres.to(vectors.dtype)), n_components, keep=family != "gaussian")
    mean = seen.first.sum(0) / vectors.total
    spread = (seen.second.sum(0) / vectors.total - mean**2).clamp_min(floor)  # all have one origin here
    weights, variances = seen.masses / vectors.total, spread.expand_as(centres)
    # Only a component that no vector is nearest to keeps any of this.
    if family == "laplacian":
        empty = Mixture.laplacian(weights, centres, torch.sqrt(variances / 2))
    else:
        empty = Mixture.gaussian(weights, centres, variances)
    return maximise(vectors, seen, empty, family, floor)


def choose_centres(
    vectors: TrainingVectors, n_components: int, strategy: str, rng: np.random.RandomState
) -> NDArray[np.float64]:
    """Centres of a random sample, (K, D): vectors of it, or where k-means takes them."""
    n = len(vectors)
    size = n_components if strategy == "random" else max(n_components, min(n, _SAMPLE * n_components))
    index = np.sort(rng.choice(n, size, replace=size > n))
    sample: NDArray[np.float64] = vectors.rows(index).astype(np.float64)
    if strategy == "random":
        return sample
    counts = None if vectors.counts is None else vectors.counts[index]
    if strategy == "k-means++":
        sample, _ = kmeans_plusplus(sample, n_components, sample_weight=counts, random_state=rng)
        return sample
    model = KMeans(n_components, n_init=1, random_state=rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of duplicates: empty components are reported later
        centres: NDArray[np.float64] = model.fit(sample, sample_weight=counts).cluster_centers_
    return centres


class Fit(NamedTuple):
    """A fitted mixture and how it came about."""

    mixture: Mixture
    log_likelihoods: list[float]  # of all vectors: at the start, then after each iteration
    converged: bool


def fit_mixture(
    vectors: TrainingVectors,
    start: Mixture,
    *,
    family: str,
    floor: float,
    max_iter: int,
    tol: float | None,
    report: Callable[[int, float], None],
) -> Fit:
    """Iterate EM from a start, until the gain in mean log likelihood falls below ``tol`` where that is given."""
    mixture, history = start, list[float]()
    while True:
        densities = Densities(mixture, vectors.dtype)
        seen = collect(vectors, densities, len(mixture.weights), keep=family != "gaussian")
        history.append(seen.log_likelihood)
        report(len(history) - 1, seen.log_likelihood / vectors.total)
        converged = tol is not None and len(history) > 1 and history[-1] - history[-2] < tol * vectors.total
        if converged or len(history) > max_iter:
            break
        mixture = maximise(vectors, seen, mixture, family, floor)
    if empty := (seen.masses < _EMPTY).nonzero().flatten().tolist():
        warnings.warn(f"components {empty} hold no vectors and were left as they were: use fewer", stacklevel=3)
    return Fit(mixture, history, converged)
