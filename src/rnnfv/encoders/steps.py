"""Preparing the steps of sequences before they are encoded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.encoders._base import SequenceEncoder
from rnnfv.sequences import Sequences

_BASES = ("raw", "standardize", "pca", "whiten")
_RANK = 1e-6  # directions with less than this share of the strongest one's variance are noise


class StepPreprocessor(SequenceEncoder, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Scale, differentiate and rotate the steps of sequences; sequences in, sequences out.

    For narrow features, such as skeletons and sensors (`SPEC S7` covers wide ones), where this choice moves every
    pooling by several points: choose it on validation data for each.

    Parameters
    ----------
    scale_sequences : bool
        Divide each sequence by its root mean square first: removes the size of a person, the gain of a sensor.
    deltas : int
        Append to each step its difference to the step so many before it (to the first step, before that), scaled as a
        whole to the total variance of the steps. 0 appends nothing.
    basis : {"raw", "standardize", "pca", "whiten"}
        What comes last. All centre the steps. "raw" divides them by one number; "standardize" each value by its
        standard deviation; "pca" rotates to principal components and divides by one number; "whiten" rotates and
        gives every component variance one.
    n_components : int or None
        Principal components kept by "pca" and "whiten"; None keeps all. Those of no variance never are.

    Attributes
    ----------
    delta_weight_ : float
    mean_ : ndarray of shape (d,), float64
    projection_ : ndarray of shape (d, k), float64
        A step becomes ``(step - mean_) @ projection_``, d being D, or 2 D with differences.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv import StepPreprocessor
    >>> seqs = np.random.default_rng(0).normal(size=(5, 9, 4))
    >>> StepPreprocessor(deltas=1, n_components=6).fit_transform(seqs)
    Sequences(n=5, steps=45, dim=6, dtype=float32)
    """

    def __init__(
        self, scale_sequences: bool = False, deltas: int = 0, basis: str = "whiten", n_components: int | None = None
    ) -> None:
        self.scale_sequences = scale_sequences
        self.deltas = deltas
        self.basis = basis
        self.n_components = n_components

    def fit(self, X: Any, y: Any = None) -> StepPreprocessor:
        """Learn the weights of the differences, the mean and the projection from all steps.

        Parameters
        ----------
        X : Sequences, list of ndarray of shape (N_i, D), or ndarray of shape (n, N, D)
        y : ignored

        Raises
        ------
        ValueError
            If a parameter or a sequence is not usable.
        """
        if self.basis not in _BASES:
            raise ValueError(f"basis is {self.basis!r}: it must be one of {', '.join(map(repr, _BASES))}")
        if self.deltas < 0:
            raise ValueError(f"deltas is {self.deltas!r}: it must be at least 0")
        if self.n_components is not None and self.n_components < 1:
            raise ValueError(f"n_components is {self.n_components!r}: it must be at least 1, or None")
        seqs = self._check_fit(X)
        steps = self._scaled(seqs)
        differences = self._differences(seqs, steps)
        moved = differences.var(axis=0).sum() if self.deltas else 0.0
        self.delta_weight_ = float(np.sqrt(steps.var(axis=0).sum() / moved)) if moved > 0 else 1.0
        steps = self._joined(steps, differences)
        self.mean_ = steps.mean(axis=0)
        self.projection_ = self._projection(steps - self.mean_)
        return self

    def _projection(self, centred: NDArray[np.float64]) -> NDArray[np.float64]:
        variances = centred.var(axis=0)
        if self.basis == "raw":
            return np.eye(len(variances)) / _root(variances.mean())
        if self.basis == "standardize":
            return np.diag(1 / _root(variances))
        values, directions = np.linalg.eigh(centred.T @ centred / len(centred))
        values, directions = values[::-1], directions[:, ::-1]
        kept = max(1, int((values > _RANK * values[0]).sum()))
        kept = min(kept, self.n_components or kept)
        values, directions = values[:kept], directions[:, :kept]
        return directions / _root(values if self.basis == "whiten" else values.mean())

    def transform(self, X: Any) -> Sequences:
        """Prepare sequences: the same number of steps, another width.

        Parameters
        ----------
        X : Sequences, list of ndarray of shape (N_i, D), or ndarray of shape (n, N, D)

        Returns
        -------
        Sequences
            float32.
        """
        seqs = self._check_transform(X)
        steps = self._scaled(seqs)
        steps = self._joined(steps, self._differences(seqs, steps))
        return Sequences(((steps - self.mean_) @ self.projection_).astype(np.float32), seqs.offsets)

    def _scaled(self, seqs: Sequences) -> NDArray[np.float64]:
        steps = seqs.steps().astype(np.float64)
        if not self.scale_sequences:
            return steps
        squares = np.add.reduceat(np.square(steps).mean(axis=1), seqs.offsets[:-1]) / seqs.lengths
        return steps / np.repeat(_root(squares), seqs.lengths)[:, None]

    def _differences(self, seqs: Sequences, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        first = np.repeat(seqs.offsets[:-1], seqs.lengths)
        return steps - steps[np.maximum(np.arange(len(steps)) - self.deltas, first)]

    def _joined(self, steps: NDArray[np.float64], differences: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([steps, self.delta_weight_ * differences], axis=1) if self.deltas else steps

    @property
    def _n_features_out(self) -> int:
        return self.projection_.shape[1]

    def set_output(self, *, transform: str | None = None) -> StepPreprocessor:
        """Do nothing: the result is sequences, whatever a pipeline asks of its other steps."""
        return self


def _root(variance: Any) -> Any:
    """Square root; 1 where there is nothing to scale."""
    return np.sqrt(np.where(variance > 0, variance, 1.0))
