"""Fisher vectors of improved dense trajectories: what the paper puts beside its own vectors as "idt" (SPEC S12)."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from rnnfv.decomposition import GramPCA
from rnnfv.encoders.mixture import MixtureFisherVector
from rnnfv.normalization import PowerNormalizer
from rnnfv.storage import SaveMixin
from rnnfv.video.trajectories import DESCRIPTORS, read_trajectories, sample_descriptors

_FLOOR = 1e-4  # smallest variance of a component, as a share of the largest variance of the reduced descriptors


class TrajectoryFisherVector(SaveMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Files of improved dense trajectories to Fisher vectors (SPEC S12).

    Each of the five descriptors (trajectory, HOG, HOF, MBHx, MBHy) is reduced to half its width by PCA and modelled
    by a Gaussian mixture, both learnt from a random sample of the training files' trajectories. A file becomes five
    Fisher vectors, each with power and L2 normalisation, one after another: 2 * K * 213 numbers, 109,056 with the
    default K.

    Files are read as streams. A fit holds the sample, up to 6 kB a trajectory; encoding holds a thousand lines at a
    time, however long the file.

    Parameters
    ----------
    n_components : int, default=256
        Gaussians of each mixture, K [1]_.
    sample : int, default=256_000
        Trajectories to learn from, drawn from all training files alike [1]_.
    random_state : int, RandomState instance, optional
        Of the sample and the mixtures.

    Attributes
    ----------
    reductions_ : dict of str to GramPCA
        By descriptor.
    mixtures_ : dict of str to MixtureFisherVector

    References
    ----------
    .. [1] H. Wang, C. Schmid, "Action Recognition with Improved Trajectories", ICCV 2013.
       https://doi.org/10.1109/ICCV.2013.441

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from rnnfv.recipes.trajectories import TrajectoryFisherVector
    >>> rng = np.random.default_rng(0)
    >>> files = [f"{tempfile.mkdtemp()}/clip.txt" for _ in range(2)]
    >>> for file in files:
    ...     np.savetxt(file, rng.random((60, 436)))
    >>> TrajectoryFisherVector(n_components=2, random_state=0).fit_transform(files).shape  # 2 * 2 * 213
    (2, 852)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "sample": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, n_components: int = 256, sample: int = 256_000, random_state: Any = None) -> None:
        self.n_components = n_components
        self.sample = sample
        self.random_state = random_state

    def fit(self, X: Sequence[Path | str], y: Any = None) -> TrajectoryFisherVector:
        """Learn the reductions and the mixtures.

        Parameters
        ----------
        X : sequence of Path or str
            Files, as `rnnfv.video.trajectories.read_trajectories` takes them.
        y : ignored

        Raises
        ------
        ValueError
            If there are no files or too few trajectories, a descriptor is the same in all of them, or a file cannot be
            read; the message names the file and the line.
        """
        self._validate_params()
        rng = check_random_state(self.random_state)
        descriptors = sample_descriptors(_files(X), self.sample, rng)
        needed, found = max(self.n_components, max(DESCRIPTORS.values()) // 2 + 1), len(descriptors["hog"])
        if found < needed:
            raise ValueError(
                f"there are {found} trajectories to learn from, but {needed} are needed: "
                "give more files, a larger sample or fewer components"
            )
        reductions, mixtures = {}, {}
        for name, width in DESCRIPTORS.items():
            values = descriptors.pop(name)
            reductions[name] = GramPCA(width // 2).fit(values)
            variance = float(reductions[name].explained_variance_[0])
            if not variance > 0:
                raise ValueError(
                    f"the descriptor {name!r} is the same in all trajectories: nothing can be learnt from it"
                )
            mixtures[name] = MixtureFisherVector(
                self.n_components,
                family="gaussian",
                random_state=rng.randint(np.iinfo(np.int32).max),
                variance_floor=_FLOOR * variance,
            ).fit([reductions[name].transform(values)])
        self.reductions_, self.mixtures_ = reductions, mixtures
        return self

    def transform(self, X: Sequence[Path | str]) -> NDArray[np.float32]:
        """Fisher vector of each file.

        Parameters
        ----------
        X : sequence of Path or str

        Returns
        -------
        ndarray of shape (n, 2 * K * 213), float32
            The descriptors' vectors in the order of `rnnfv.video.trajectories.DESCRIPTORS`, each of length one.

        Raises
        ------
        ValueError
            If there are no files, or one cannot be read; the message names the file and the line.
        """
        check_is_fitted(self)
        files = _files(X)
        vectors = np.empty((len(files), self._n_features_out), np.float32)
        for row, file in zip(vectors, files, strict=True):
            self._encode(file, row)
        start = 0
        for mixture in self.mixtures_.values():
            stop = start + 2 * mixture.means_.size
            vectors[:, start:stop] = PowerNormalizer().fit_transform(vectors[:, start:stop])
            start = stop
        return vectors

    def _encode(self, file: Path | str, row: NDArray[np.float32]) -> None:
        """Write a file's Fisher vectors, not of length one yet.

        They are sums over trajectories, divided by the root of their number: blocks add up once that is undone. It is
        not done again for the whole, where it would only change the length.
        """
        total = np.zeros(len(row))
        for block in read_trajectories(file):
            parts = [
                mixture.transform([self.reductions_[name].transform(np.ascontiguousarray(block[name]))])[0]
                for name, mixture in self.mixtures_.items()
            ]
            total += np.sqrt(len(block)) * np.concatenate(parts)
        row[:] = total

    @property
    def _n_features_out(self) -> int:
        return sum(2 * mixture.means_.size for mixture in self.mixtures_.values())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        return tags


def _files(X: Any) -> list[Path | str]:
    if isinstance(X, (str, Path)):
        raise ValueError(f"give a list of files, not one file: [{str(X)!r}]")
    if len(X) == 0:
        raise ValueError("there are no files: the list is empty")
    return list(X)
