"""Frames in the space that sentences and images share (SPEC S8)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import normalize

from rnnfv.cca import RegularizedCCA
from rnnfv.encoders._base import SequenceEncoder
from rnnfv.normalization import PowerNormalizer
from rnnfv.sequences import Sequences

_BLOCK_VALUES = 1 << 23  # values looked at together: 32 MiB in float32


class CanonicalSteps(SequenceEncoder, auto_wrap_output_keys=None):  # type: ignore[call-arg]
    """Maps every step by the image side of a fitted CCA; sequences in, sequences out (SPEC S8).

    What sentences say of images decides which directions of a frame's vector count. Nothing is learnt from the
    sequences themselves.

    Parameters
    ----------
    cca : RegularizedCCA
        Fitted; images are its Y.
    n_components : int
        Canonical dimensions to keep, the most correlated first (paper: 500).
    normalizer : PowerNormalizer, optional
        Fitted; what the images went through before the CCA.

    Notes
    -----
    Steps are scaled to one length (SPEC S8: L2), the root of their width, as `StepPreprocessor` does with
    ``unit_steps``: their values are then around one, as nets want them.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv import CanonicalSteps, RegularizedCCA
    >>> rng = np.random.default_rng(0)
    >>> images = rng.normal(size=(50, 6))
    >>> cca = RegularizedCCA(0.1).fit(images @ rng.normal(size=(6, 4)), images)
    >>> CanonicalSteps(cca, n_components=3).fit_transform([images[:5], images[5:12]])
    Sequences(n=2, steps=12, dim=3, dtype=float32)
    """

    def __init__(self, cca: RegularizedCCA, n_components: int = 500, normalizer: PowerNormalizer | None = None) -> None:
        self.cca = cca
        self.n_components = n_components
        self.normalizer = normalizer

    def fit(self, X: Any, y: Any = None) -> CanonicalSteps:
        """Check that the CCA takes such steps.

        Parameters
        ----------
        X : Sequences, list of ndarray of shape (N_i, D), or ndarray of shape (n, N, D)
        y : ignored

        Raises
        ------
        ValueError
            If the CCA maps images of another width, or n_components is below 1.
        """
        if self.n_components < 1:
            raise ValueError(f"n_components is {self.n_components!r}: it must be at least 1")
        width = len(self.cca.y_mean_)
        seqs = self._check_fit(X)
        if seqs.dim != width:
            raise ValueError(
                f"steps have {seqs.dim} values, but the CCA was fitted on image vectors of {width}: "
                "extract both with the same backbone"
            )
        return self

    def transform(self, X: Any) -> Sequences:
        """Map sequences: the same number of steps, another width.

        Parameters
        ----------
        X : Sequences, list of ndarray of shape (N_i, D), or ndarray of shape (n, N, D)

        Returns
        -------
        Sequences
            float32.
        """
        seqs = self._check_transform(X)
        mapped = np.empty((len(seqs.values), self._n_features_out), np.float32)
        size = max(1, _BLOCK_VALUES // self.n_features_in_)
        for start in range(0, len(mapped), size):
            mapped[start : start + size] = self._mapped(seqs.steps(start, start + size))
        return Sequences(mapped, seqs.offsets)

    def transform_next(self, steps: NDArray[Any], before: Any = None) -> tuple[NDArray[np.float32], None]:
        """Map the next steps (n, D) of one sequence that is still going on; nothing need be remembered.

        Parameters
        ----------
        steps : ndarray of shape (n, D)
        before : None
            What other preprocessors remember of earlier steps.

        Returns
        -------
        ndarray of shape (n, k), float32
            The mapped steps.
        None
            What to remember.
        """
        return self._mapped(steps), None

    def _mapped(self, steps: NDArray[Any]) -> NDArray[np.float32]:
        images = steps.astype(np.float32)
        if self.normalizer is not None:
            images = self.normalizer.transform(images)
        variables = self.cca.transform_y(images)[:, : self.n_components]
        return (normalize(variables) * np.sqrt(variables.shape[1])).astype(np.float32)

    @property
    def _n_features_out(self) -> int:
        return min(self.n_components, len(self.cca.correlations_))

    def set_output(self, *, transform: str | None = None) -> CanonicalSteps:
        """Do nothing: the result is sequences, whatever a pipeline asks of its other steps."""
        return self
