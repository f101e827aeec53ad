"""Fisher vectors of Gaussian, Laplacian and hybrid mixtures: the paper's order-blind baselines (SPEC S2, S16)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from rnnfv.devices import pick_device
from rnnfv.encoders._base import SequenceEncoder
from rnnfv.encoders._em import TrainingVectors, fit_mixture, start_mixture
from rnnfv.encoders._fisher import fisher_vectors
from rnnfv.encoders._mixture import Mixture
from rnnfv.sequences import Sequences

# What each family is made of; the rest of the parameters it implies.
_NEEDED = {
    "gaussian": ("weights", "means", "variances"),
    "laplacian": ("weights", "medians", "scales"),
    "hybrid": Mixture._fields,
}
_POSITIVE = ("weights", "variances", "scales")


class MixtureFisherVector(SequenceEncoder):
    """Fisher vector of the steps of a sequence under a mixture model with diagonal components (SPEC S2).

    A mixture of K components over the D values of a step is fitted by expectation maximisation to the steps
    of all training sequences. A sequence becomes the gradient of its log likelihood with regard to the
    components' locations and deviations, normalised by the Fisher information: 2 * K * D numbers. The order
    of the steps plays no part.

    With responsibilities gamma and N steps, a Gaussian (k, d) gives::

        sum_i gamma_ik (x_id - mu_kd) / sigma_kd                  / sqrt(N pi_k)
        sum_i gamma_ik ((x_id - mu_kd)^2 / sigma_kd^2 - 1)        / sqrt(2 N pi_k)

    and a Laplacian one, with median m and scale s::

        sum_i gamma_ik sign(x_id - m_kd)                          / sqrt(N pi_k)      sign(0) = +1
        sum_i gamma_ik (|x_id - m_kd| / s_kd - 1)                 / sqrt(N pi_k)

    A hybrid mixture chooses one of the two densities for every (k, d), anew in each iteration.

    Parameters
    ----------
    n_components : int, default=30
        K; 30 in [1]_.
    family : {"gaussian", "laplacian", "hybrid"}, default="hybrid"
        GMM, LMM or HGLMM.
    max_iter : int, default=10
        EM iterations; 10 in [1]_.
    tol : float, optional
        Stop when an iteration raises the mean log likelihood of a step by less than this.
    random_state : int, RandomState instance, optional
        Of the choice of the start.
    init_params : {"k-means", "k-means++", "random"}, default="k-means"
        Centres of the start, to the nearest of which each vector belongs at first: those of k-means on a
        sample, vectors chosen far from one another, or any vectors.
    variance_floor : float, default=1e-3
        Smallest variance, and smallest scale, of a component. Unlike scikit-learn's ``reg_covar`` it is not
        added to the variances.
    dtype : {"float32", "float64"}, default="float32"
        Of the vectors that come out. The computation runs in the wider of this and the sequences' dtype.
    device : str, default="auto"
        A torch device; "auto" takes a CUDA device where there is one, else the CPU.
    verbose : bool, default=False
        Print the log likelihood of each iteration to the standard error stream.

    Attributes
    ----------
    weights_ : ndarray of shape (K,), float64
        Priors; they sum to 1.
    means_, variances_ : ndarray of shape (K, D), float64
        Gaussian parameters. A Laplacian mixture has those that it implies, m and 2 s^2.
    medians_, scales_ : ndarray of shape (K, D), float64
        Laplacian parameters. A Gaussian mixture has those that it implies, mu and sqrt(2 / pi) sigma.
    is_laplacian_ : ndarray of shape (K, D), bool
        Which density each (k, d) has.
    log_likelihood_ : ndarray of shape (n_iter + 1,), float64
        Log likelihood of all training steps together: first at the start parameters, then after each
        iteration; the last belongs to the fitted parameters. Empty after `set_parameters`.
    n_iter_ : int
        EM iterations done.
    converged_ : bool
        Whether ``tol`` ended them; False where it is not given.
    n_features_in_ : int
        Values a step, D.

    Notes
    -----
    Vectors are taken a block at a time; a fit keeps, beside the data, n * K responsibilities, and for the
    Laplacian families up to 1 GiB of sorted positions. One iteration and the encoding cost O(n * K * D).

    References
    ----------
    .. [1] B. Klein, G. Lev, G. Sadeh, L. Wolf, "Associating Neural Word Embeddings with Deep Image
       Representations using Fisher Vectors", CVPR 2015. https://doi.org/10.1109/CVPR.2015.7299073

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv import MixtureFisherVector
    >>> rng = np.random.default_rng(0)
    >>> sequences = [rng.normal(size=(length, 4)) for length in (5, 9, 7, 12)]
    >>> encoder = MixtureFisherVector(n_components=3, random_state=0)
    >>> encoder.fit_transform(sequences).shape  # 2 * 3 * 4
    (4, 24)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "family": [StrOptions(set(_NEEDED))],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "tol": [None, Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
        "init_params": [StrOptions({"k-means", "k-means++", "random"})],
        "variance_floor": [Interval(Real, 0, None, closed="neither")],
        "dtype": [StrOptions({"float32", "float64"})],
        "device": [str],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components: int = 30,
        family: str = "hybrid",
        max_iter: int = 10,
        tol: float | None = None,
        random_state: Any = None,
        *,
        init_params: str = "k-means",
        variance_floor: float = 1e-3,
        dtype: str = "float32",
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.n_components = n_components
        self.family = family
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state
        self.init_params = init_params
        self.variance_floor = variance_floor
        self.dtype = dtype
        self.device = device
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, init: Mapping[str, ArrayLike] | None = None) -> MixtureFisherVector:
        """Fit the mixture to the steps of all sequences.

        Parameters
        ----------
        X : Sequences, list of ndarray of shape (N_i, D), or ndarray of shape (n, N, D)
        y : ignored
        init : dict, optional
            Parameters to begin from, named and shaped as `set_parameters` takes them, instead of a start
            chosen by ``init_params``.

        Returns
        -------
        MixtureFisherVector
            Itself.

        Raises
        ------
        ValueError
            If there are fewer steps than components, or ``init`` does not fit the sequences, the number of
            components or the family.

        Warns
        -----
        UserWarning
            If components hold no vectors, as where there are fewer distinct vectors than components.
        """
        self._validate_params()
        seqs = self._check_fit(X)
        if init is None and len(seqs.values) < self.n_components:
            raise ValueError(
                f"n_components is {self.n_components}, but there are only {len(seqs.values)} steps: "
                "give more sequences or take fewer components"
            )
        dtype, device = self._working_dtype(seqs), pick_device(self.device)
        vectors = TrainingVectors(seqs, dtype, device)
        if init is None:
            rng = check_random_state(self.random_state)
            start = start_mixture(
                vectors,
                self.n_components,
                family=self.family,
                strategy=self.init_params,
                floor=self.variance_floor,
                rng=rng,
            )
        else:
            start = self._to_device(self._check_parameters(init, (self.n_components, self.n_features_in_)))
        result = fit_mixture(
            vectors,
            start,
            family=self.family,
            floor=self.variance_floor,
            max_iter=self.max_iter,
            tol=self.tol,
            report=self._report,
        )
        self._store(result.mixture, np.array(result.log_likelihoods), result.converged)
        return self

    def set_parameters(
        self,
        *,
        weights: ArrayLike | None = None,
        means: ArrayLike | None = None,
        variances: ArrayLike | None = None,
        medians: ArrayLike | None = None,
        scales: ArrayLike | None = None,
        is_laplacian: ArrayLike | None = None,
    ) -> MixtureFisherVector:
        """Take the parameters of a mixture fitted elsewhere.

        Parameters
        ----------
        weights : array-like of shape (K,)
            Positive, of sum 1. K need not be ``n_components``, which is for `fit`.
        means, variances : array-like of shape (K, D)
            Needed by the Gaussian and the hybrid family.
        medians, scales : array-like of shape (K, D)
            Needed by the Laplacian and the hybrid family.
        is_laplacian : array-like of shape (K, D), bool
            Needed by the hybrid family.

        Returns
        -------
        MixtureFisherVector
            Itself, fitted. What the family does not use is ignored.

        Raises
        ------
        ValueError
            If a parameter that the family needs is missing, has the wrong shape, is not finite, or is not
            positive where it must be.
        """
        self._validate_params()
        given = {"weights": weights, "means": means, "variances": variances}
        given |= {"medians": medians, "scales": scales, "is_laplacian": is_laplacian}
        mixture = self._check_parameters({name: value for name, value in given.items() if value is not None})
        self.n_features_in_ = mixture.means.shape[1]
        self._store(mixture, np.zeros(0), converged=False)
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Fisher vector of each sequence.

        Parameters
        ----------
        X : Sequences, list of ndarray of shape (N_i, D), or ndarray of shape (n, N, D)

        Returns
        -------
        ndarray of shape (n, 2 * K * D), float32 unless ``dtype`` says otherwise
            Location gradients, component after component, then all deviation gradients. Neither power nor L2
            normalised: see `PowerNormalizer`.
        """
        seqs = self._check_transform(X)
        mixture = self._to_device(self._mixture())
        vectors = np.zeros((len(seqs), self._n_features_out), self.dtype)
        fisher_vectors(seqs, mixture, self._working_dtype(seqs), vectors)
        return vectors

    def _check_parameters(self, given: Mapping[str, Any], shape: tuple[int, int] | None = None) -> Mixture:
        """Validate parameters against the family, one another, and the shape (K, D) where it is known."""
        needed = _NEEDED[self.family]
        if unknown := sorted(set(given) - set(Mixture._fields)):
            raise ValueError(f"unknown parameters {unknown}: there are {list(Mixture._fields)}")
        if missing := [name for name in needed if name not in given]:
            raise ValueError(f"a {self.family} mixture needs {', '.join(needed)}; missing: {', '.join(missing)}")
        arrays = {name: np.array(given[name], dtype=np.float64) for name in needed}
        shape = shape or (arrays["weights"].size, np.atleast_2d(arrays[needed[1]]).shape[1])
        for name, array in arrays.items():
            wanted = shape[:1] if name == "weights" else shape
            if array.shape != wanted:
                raise ValueError(f"{name} has shape {array.shape}, but (K, D) is {shape}: it must be {wanted}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds NaN or an infinite value")
            if name in _POSITIVE and array.min() <= 0:
                raise ValueError(f"{name} must be positive; the smallest is {array.min():g}")
        if abs(arrays["weights"].sum() - 1) > 1e-3:
            raise ValueError(f"weights must sum to 1; they sum to {arrays['weights'].sum():g}")
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self.family == "gaussian":
            return Mixture.gaussian(**tensors)
        if self.family == "laplacian":
            return Mixture.laplacian(**tensors)
        return Mixture(**tensors | {"is_laplacian": tensors["is_laplacian"].bool()})

    def _store(self, mixture: Mixture, log_likelihood: NDArray[np.float64], converged: bool) -> None:
        self.weights_ = mixture.weights.cpu().numpy()
        self.means_, self.variances_ = mixture.means.cpu().numpy(), mixture.variances.cpu().numpy()
        self.medians_, self.scales_ = mixture.medians.cpu().numpy(), mixture.scales.cpu().numpy()
        self.is_laplacian_ = mixture.is_laplacian.cpu().numpy()
        self.log_likelihood_ = log_likelihood
        self.n_iter_ = max(0, len(log_likelihood) - 1)
        self.converged_ = converged

    def _mixture(self) -> Mixture:
        return Mixture(*(torch.tensor(getattr(self, f"{name}_")) for name in Mixture._fields))

    def _to_device(self, mixture: Mixture) -> Mixture:
        return Mixture(*(tensor.to(pick_device(self.device)) for tensor in mixture))

    def _working_dtype(self, seqs: Sequences) -> torch.dtype:
        """The wider of the sequences' dtype and that of the output."""
        return torch.float64 if np.float64 in (seqs.dtype, np.dtype(self.dtype)) else torch.float32

    def _report(self, iteration: int, log_likelihood: float) -> None:
        if self.verbose:
            print(f"EM iteration {iteration}: log likelihood {log_likelihood:.4f} a step", file=sys.stderr)

    @property
    def _n_features_out(self) -> int:
        return 2 * int(self.means_.size)
