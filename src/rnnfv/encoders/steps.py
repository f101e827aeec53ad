"""Preparing the steps of sequences before they are encoded."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.encoders._base import SequenceEncoder
from rnnfv.sequences import Sequences

_BASES = ("raw", "standardize", "pca", "whiten")
_BLOCK_VALUES = 1 << 23  # values looked at together: 64 MiB
_RANK = 1e-6  # directions with less than this share of the strongest one's variance are noise


class StepPreprocessor(SequenceEncoder, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Scale, differentiate and rotate the steps of sequences; sequences in, sequences out.

    For narrow features, such as skeletons and sensors, this choice moves every pooling by several points: choose it on
    validation data for each. Wide ones, such as those of a net for images, want ``basis="pca"``, 500 components and
    ``unit_steps`` (SPEC S7). In memory is the result and one block of steps; rotation also needs the covariance.

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
    unit_steps : bool
        Scale every prepared step to one length (SPEC S7: L2), the root of its width, so that its values are around one,
        as nets want them; no pooling notices the common factor once its vectors are normalised.

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
        self,
        scale_sequences: bool = False,
        deltas: int = 0,
        basis: str = "whiten",
        n_components: int | None = None,
        unit_steps: bool = False,
    ) -> None:
        self.scale_sequences = scale_sequences
        self.deltas = deltas
        self.basis = basis
        self.n_components = n_components
        self.unit_steps = unit_steps

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
        total = len(seqs.values)
        self.delta_weight_ = 1.0
        mean = sum(block.sum(axis=0) for _, block in self._joined(seqs)) / total
        rotates = self.basis in ("pca", "whiten")
        spread: Any = 0.0  # the covariance, or its diagonal
        for _, block in self._joined(seqs):
            centred = block - mean
            spread = spread + (centred.T @ centred if rotates else np.einsum("ij,ij->j", centred, centred))
        self._set_delta_weight(np.diag(spread) if rotates else spread)
        weights = np.ones(len(mean))
        weights[seqs.dim :] = self.delta_weight_
        self.mean_ = mean * weights
        self.projection_ = self._projection(spread / total * (np.outer(weights, weights) if rotates else weights**2))
        return self

    def _set_delta_weight(self, variances: NDArray[np.float64]) -> None:
        still, moved = variances[: self.n_features_in_].sum(), variances[self.n_features_in_ :].sum()
        self.delta_weight_ = float(np.sqrt(still / moved)) if moved > 0 else 1.0

    def _projection(self, spread: NDArray[np.float64]) -> NDArray[np.float64]:
        """From the covariance (for a rotation) or the variances of the joined steps."""
        if self.basis == "raw":
            return np.eye(len(spread)) / _root(spread.mean())
        if self.basis == "standardize":
            return np.diag(1 / _root(spread))
        values, directions = np.linalg.eigh(spread)
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
        prepared = np.empty((len(seqs.values), self._n_features_out), np.float32)
        for rows, block in self._joined(seqs):
            prepared[rows] = self._projected(block)
        return Sequences(prepared, seqs.offsets)

    def transform_next(
        self, steps: NDArray[Any], before: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Prepare the next steps of one sequence that is still going on, as `transform` would the whole.

        Parameters
        ----------
        steps : ndarray of shape (n, D)
            At least one; finite.
        before : ndarray of shape (deltas, D), optional
            What the call for the steps before them returned; None at the sequence's beginning.

        Returns
        -------
        prepared : ndarray of shape (n, k), float32
        before : ndarray of shape (deltas, D), float64
            For the next call.

        Raises
        ------
        ValueError
            If ``scale_sequences`` is set: the size of a sequence is known at its end only.
        """
        if self.scale_sequences:
            raise ValueError(
                "scale_sequences=True needs the whole sequence, not one step after another: "
                "fit a preparation with scale_sequences=False"
            )
        steps = steps.astype(np.float64, copy=False)
        if before is None:  # differences reach back to the first step at most
            before = np.repeat(steps[:1], self.deltas, axis=0)
        joined = np.concatenate([before, steps])
        before = joined[len(steps) :].copy()
        if self.deltas:
            steps = np.concatenate([steps, self.delta_weight_ * (steps - joined[: len(steps)])], axis=1)
        return self._projected(steps).astype(np.float32), before

    def after(self, rotation: StepPreprocessor) -> StepPreprocessor:
        """This preparation of rotated steps as one preparation of the steps before that rotation.

        Parameters
        ----------
        rotation : StepPreprocessor
            Fitted; this preparation was fitted on what it gives. It centres and projects, and nothing else.

        Returns
        -------
        StepPreprocessor
            Does to a sequence what ``rotation`` and then this preparation do.

        Raises
        ------
        ValueError
            If either does more to the steps, so that the two are not one projection.
        """
        if rotation.deltas or rotation.scale_sequences or rotation.unit_steps or self.scale_sequences:
            raise ValueError(
                "the preparations cannot be joined: fit the first with deltas=0, scale_sequences=False and "
                "unit_steps=False, the second with scale_sequences=False"
            )
        joined = copy.copy(self)
        # A rotation of steps is one of their differences, too.
        blocks = np.eye(2 if self.deltas else 1)
        joined.projection_ = np.kron(blocks, rotation.projection_) @ self.projection_
        joined.mean_ = self.mean_ @ np.kron(blocks, np.linalg.pinv(rotation.projection_))
        joined.mean_[: rotation.n_features_in_] += rotation.mean_
        joined.n_features_in_ = rotation.n_features_in_
        return joined

    def _projected(self, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        """Joined steps (n, d) to prepared ones (n, k)."""
        projected = (steps - self.mean_) @ self.projection_
        if self.unit_steps:
            projected /= _root(np.square(projected).mean(axis=1))[:, None]
        return projected

    def _joined(self, seqs: Sequences) -> Iterator[tuple[slice, NDArray[np.float64]]]:
        """Blocks of whole sequences: which rows they are, and the steps beside their weighted differences."""
        for some in seqs.blocks(max(1, _BLOCK_VALUES // (2 * self.n_features_in_))):
            part = seqs[some]
            steps = self._scaled(part)
            if self.deltas:
                steps = np.concatenate([steps, self.delta_weight_ * self._differences(part, steps)], axis=1)
            yield slice(int(seqs.offsets[some.start]), int(seqs.offsets[some.stop])), steps

    def _scaled(self, seqs: Sequences) -> NDArray[np.float64]:
        steps = seqs.steps().astype(np.float64)
        if not self.scale_sequences:
            return steps
        squares = np.add.reduceat(np.square(steps).mean(axis=1), seqs.offsets[:-1]) / seqs.lengths
        return steps / np.repeat(_root(squares), seqs.lengths)[:, None]

    def _differences(self, seqs: Sequences, steps: NDArray[np.float64]) -> NDArray[np.float64]:
        first = np.repeat(seqs.offsets[:-1], seqs.lengths)
        return steps - steps[np.maximum(np.arange(len(steps)) - self.deltas, first)]

    @property
    def _n_features_out(self) -> int:
        return self.projection_.shape[1]

    def set_output(self, *, transform: str | None = None) -> StepPreprocessor:
        """Do nothing: the result is sequences, whatever a pipeline asks of its other steps."""
        return self


def _root(variance: Any) -> Any:
    """Square root; 1 where there is nothing to scale."""
    return np.sqrt(np.where(variance > 0, variance, 1.0))
