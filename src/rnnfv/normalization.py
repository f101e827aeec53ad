"""What stands between an encoder and a linear classifier: power, L2 and Fisher information."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from rnnfv.storage import SaveMixin

_BLOCK_VALUES = 1 << 22  # values of a block of rows: 16 MiB in float32
_DTYPES = [np.float32, np.float64]


class FoldedVectors(np.ndarray[Any, Any]):
    """Rows that are matrices unrolled row after row, and know how many rows that matrix had.

    An encoder's Fisher vectors are such; `FisherInformationScaler` reads ``n_outputs`` off them, so that a
    pipeline need not repeat it. In every other way an ordinary array.
    """

    n_outputs: int | None = None

    def __array_finalize__(self, source: Any) -> None:
        same_width = self.ndim == 2 and np.ndim(source) == 2 and self.shape[1] == source.shape[1]
        self.n_outputs = getattr(source, "n_outputs", None) if same_width else None

    def __reduce__(self) -> Any:
        return fold, (np.asarray(self), self.n_outputs)


def fold(vectors: NDArray[Any], n_outputs: int | None) -> NDArray[Any]:
    """Mark the rows of an array (n, n_outputs * width) as unrolled matrices. No copy."""
    folded = vectors.view(FoldedVectors)
    folded.n_outputs = n_outputs
    return folded


def checked_n_outputs(X: NDArray[Any], n_outputs: int | None) -> int:
    """The number of rows into which vectors (n, d) are folded; a ValueError where that is not known or not possible."""
    if n_outputs is None:
        raise ValueError(
            "it must be known how many outputs the net has, to fold a vector into a matrix: "
            "pass n_outputs, or vectors straight from RNNFisherVector.transform"
        )
    if n_outputs < 1 or X.shape[1] % n_outputs:
        raise ValueError(f"vectors of {X.shape[1]} values cannot be folded into n_outputs={n_outputs} equal rows")
    return n_outputs


class PowerNormalizer(SaveMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Power, then L2: ``sign(z) |z|^alpha``, and each row to length one (SPEC S3).

    Rows of zeros stay zeros.

    Parameters
    ----------
    alpha : float, default=0.5
        The power, above 0; 1 leaves L2 alone (paper, section 7: 1/2).

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv import PowerNormalizer
    >>> PowerNormalizer().fit_transform(np.array([[-9.0, 16.0], [0.0, 0.0]]))
    array([[-0.6,  0.8],
           [ 0. ,  0. ]])
    """

    def __init__(self, alpha: float = 0.5) -> None:
        self.alpha = alpha

    def fit(self, X: Any, y: Any = None) -> PowerNormalizer:
        """Check the input; nothing is learnt.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : ignored

        Raises
        ------
        ValueError
            If ``alpha`` is not above 0.
        """
        if not self.alpha > 0:
            raise ValueError(f"alpha is {self.alpha!r}: it must be above 0")
        validate_data(self, X, dtype=_DTYPES)
        return self

    def transform(self, X: Any) -> NDArray[Any]:
        """Normalise rows: (n, d) -> (n, d), in the dtype of X.

        Parameters
        ----------
        X : array-like of shape (n, d)

        Returns
        -------
        ndarray of shape (n, d)
        """
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        powered = np.abs(X)
        largest = powered.max(axis=1, keepdims=True)
        # Relative to its largest value no row under- or overflows on the way; L2 makes the scale vanish.
        np.divide(powered, largest, out=powered, where=largest > 0)
        np.power(powered, self.alpha, out=powered)
        np.copysign(powered, X, out=powered)
        lengths = np.sqrt(np.einsum("ij,ij->i", powered, powered, dtype=np.float64))
        powered /= np.where(lengths > 0, lengths, 1).astype(powered.dtype)[:, None]
        return powered

    def pull_back(self, vector: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
        """Weights on a vector that give what the given weights do on its normalised form.

        Parameters
        ----------
        vector : ndarray of shape (d,)
            Before normalisation.
        weights : ndarray of shape (C, d)
            Of a linear decision behind it.

        Returns
        -------
        ndarray of shape (C, d)
            W' with ``W' @ vector == weights @ transform(vector)``.
        """
        normalised = self.transform(vector[None])[0].astype(np.float64)
        ratio = np.divide(normalised, vector, out=np.zeros_like(normalised), where=vector != 0)
        return weights * ratio

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


class FisherInformationScaler(SaveMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Divide Fisher vectors by the root of their information, as estimated from training vectors.

    ``"diagonal"`` takes every coordinate alone: F_w = mean of (dL/dw)^2, and divides by sqrt(F_w) (SPEC S6).

    ``"kronecker"`` goes beyond the paper. A vector is the matrix FV = sum_i e_i h_i^T of errors and hidden
    states; the information of such a matrix is close to a Kronecker product of an error side
    G_e = E[FV FV^T] and a hidden side G_h = E[FV^T FV], so G_e^-1/2 . FV . G_h^-1/2 is nearly white: correlated
    outputs and correlated hidden units no longer count twice. K-FAC takes the two factors from single steps; from
    whole vectors they come out as well or better, and need nothing but the vectors.

    Parameters
    ----------
    structure : {"diagonal", "kronecker"}
    ridge : float, default=0.3
        Added to both factors as a share of their mean eigenvalue ("kronecker" only).
    n_outputs : int, optional
        Rows of FV, D ("kronecker" only). Vectors that come straight from `RNNFisherVector` carry it.

    Attributes
    ----------
    information_ : ndarray of shape (d,), float64
        "diagonal": F_w. Coordinates that are always zero stay zero.
    error_information_, hidden_information_ : ndarray of shape (D, D) and (H + 1, H + 1), float64
        "kronecker": G_e, and G_h divided by its trace; their Kronecker product estimates the information.
    error_whitener_, hidden_whitener_ : ndarray of the same shapes
        Their inverse square roots, ridge included.
    n_samples_seen_ : int

    References
    ----------
    J. Martens, R. Grosse. Optimizing Neural Networks with Kronecker-factored Approximate Curvature.
    ICML 2015. arXiv:1503.05671.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv import FisherInformationScaler
    >>> X = np.random.default_rng(0).normal(size=(50, 6)) * [1, 2, 3, 10, 20, 30]
    >>> FisherInformationScaler().fit_transform(X).std(axis=0).round(1)
    array([1., 1., 1., 1., 1., 1.])
    >>> FisherInformationScaler("kronecker", n_outputs=2).fit(X).hidden_information_.shape
    (3, 3)
    """

    n_samples_seen_: int
    information_: NDArray[np.float64]
    error_information_: NDArray[np.float64]
    hidden_information_: NDArray[np.float64]

    def __init__(self, structure: str = "diagonal", ridge: float = 0.3, n_outputs: int | None = None) -> None:
        self.structure = structure
        self.ridge = ridge
        self.n_outputs = n_outputs

    def fit(self, X: Any, y: Any = None) -> FisherInformationScaler:
        """Estimate the information from training vectors.

        Parameters
        ----------
        X : array-like or memory map of shape (n, d)
        y : ignored

        Raises
        ------
        ValueError
            If a parameter is not usable, or "kronecker" is not told how the vectors fold.
        """
        for name in ("n_samples_seen_", "information_", "error_information_", "hidden_information_"):
            self.__dict__.pop(name, None)
        return self.partial_fit(X)

    def partial_fit(self, X: Any, y: Any = None) -> FisherInformationScaler:
        """Take more training vectors into account; as `fit` on all of them together.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : None
            Not used.
        """
        self._check_parameters()
        n_outputs = self.n_outputs or getattr(X, "n_outputs", None)  # the check drops it
        first = not hasattr(self, "n_samples_seen_")
        X = validate_data(self, X, dtype=_DTYPES, reset=first)
        share = 1.0 if first else len(X) / (self.n_samples_seen_ + len(X))
        if self.structure == "diagonal":
            squares = sum(np.einsum("ij,ij->j", rows, rows, dtype=np.float64) for rows in _row_blocks(X)) / len(X)
            self.information_ = _mixed(getattr(self, "information_", 0.0), squares, share)
        else:
            self._update_factors(X, checked_n_outputs(X, n_outputs), share)
        self.n_samples_seen_ = len(X) + (0 if first else self.n_samples_seen_)
        return self

    def _check_parameters(self) -> None:
        if self.structure not in ("diagonal", "kronecker"):
            raise ValueError(f"structure is {self.structure!r}: it must be 'diagonal' or 'kronecker'")
        if not self.ridge >= 0:
            raise ValueError(f"ridge is {self.ridge!r}: it must be at least 0")

    def _update_factors(self, X: NDArray[Any], n_outputs: int, share: float) -> None:
        error_side: Any = 0.0
        hidden_side: Any = 0.0
        for rows in _row_blocks(X):
            matrices = rows.reshape(len(rows), n_outputs, -1)
            error_side = error_side + np.tensordot(matrices, matrices, axes=([0, 2], [0, 2])).astype(np.float64)
            hidden_side = hidden_side + np.tensordot(matrices, matrices, axes=([0, 1], [0, 1])).astype(np.float64)
        error_side, hidden_side = error_side / len(X), hidden_side / len(X)
        # The hidden side is kept with trace one: the trace of either is the vectors' mean squared length.
        old_trace = np.trace(self.error_information_) if hasattr(self, "error_information_") else 0.0
        self.error_information_ = _mixed(getattr(self, "error_information_", 0.0), error_side, share)
        hidden_side = _mixed(getattr(self, "hidden_information_", 0.0) * old_trace, hidden_side, share)
        trace = np.trace(hidden_side)
        self.hidden_information_ = hidden_side / trace if trace > 0 else hidden_side
        self.error_whitener_ = _inverse_root(self.error_information_, self.ridge)
        self.hidden_whitener_ = _inverse_root(self.hidden_information_, self.ridge)

    def transform(self, X: Any) -> NDArray[Any]:
        """Scale vectors: (n, d) -> (n, d), in the dtype of X.

        Parameters
        ----------
        X : array-like of shape (n, d)

        Returns
        -------
        ndarray of shape (n, d)
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_DTYPES, reset=False)
        if self.structure == "diagonal":
            return X * self._diagonal().astype(X.dtype)
        error_whitener, hidden_whitener = (w.astype(X.dtype) for w in (self.error_whitener_, self.hidden_whitener_))
        scaled = fold(np.empty(X.shape, X.dtype), len(error_whitener))
        start = 0
        for rows in _row_blocks(X):
            matrices = rows.reshape(len(rows), len(error_whitener), -1)
            white = np.matmul(error_whitener, matrices @ hidden_whitener)
            scaled[start : start + len(rows)] = white.reshape(len(rows), -1)
            start += len(rows)
        return scaled

    def pull_back(self, vector: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
        """Weights on a vector that give what the given weights do on its scaled form; see `PowerNormalizer.pull_back`.

        The scaling is linear: ``vector`` does not matter.

        Parameters
        ----------
        vector : ndarray of shape (d,)
        weights : ndarray of shape (C, d)

        Returns
        -------
        ndarray of shape (C, d)
        """
        if self.structure == "diagonal":
            return weights * self._diagonal()
        matrices = weights.reshape(len(weights), len(self.error_whitener_), -1)
        return (self.error_whitener_ @ matrices @ self.hidden_whitener_).reshape(weights.shape)

    def _diagonal(self) -> NDArray[np.float64]:
        root = np.sqrt(self.information_)
        return np.divide(1.0, root, out=np.zeros_like(root), where=root > 0)


def _row_blocks(X: NDArray[Any]) -> Iterator[NDArray[Any]]:
    size = max(1, _BLOCK_VALUES // X.shape[1])
    return (X[start : start + size] for start in range(0, len(X), size))


def _mixed(old: Any, new: Any, share: float) -> Any:
    """The mean of old and new samples, of which the new are the given share."""
    return (1 - share) * old + share * new


def _inverse_root(information: NDArray[np.float64], ridge: float) -> NDArray[np.float64]:
    """(G + ridge * mean eigenvalue * I)^-1/2; directions without information, and without ridge, become zero."""
    values, vectors = np.linalg.eigh(information)
    values = np.maximum(values, 0) + ridge * values.mean()
    floor = len(values) * np.finfo(np.float64).eps * values.max(initial=0.0)
    roots = np.divide(1.0, np.sqrt(values), out=np.zeros_like(values), where=values > floor)
    return (vectors * roots) @ vectors.T
