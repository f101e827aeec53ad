"""What recall in validation chooses for images and sentences: the power of images, and the epoch of a net."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import normalize

from rnnfv.cca import RegularizedCCA, cca_path
from rnnfv.datasets.captions import Captions
from rnnfv.local_scaling import LocalScaling
from rnnfv.metrics import Cosines, retrieval_report
from rnnfv.normalization import PowerNormalizer
from rnnfv.recipes.sentences import Texts, encoded_blocks
from rnnfv.text.bag import BagOfWords

__all__ = [
    "EpochJudge",
    "Pairs",
    "best_image_power",
    "best_scaling",
    "common",
    "common_of_texts",
    "pairs_of",
    "recall_of",
    "total_recall",
]

_IMAGE_POWERS = (1.0, 0.5)  # to choose from: lengths made equal alone, or large values reined in, too
_NEIGHBOURS, _BANK = 10, 5000  # of local scaling: that of its authors, and of how many sentences and images at most
_QUICK_COORDINATES, _QUICK_SENTENCES = 3000, 30_000  # of the vectors by which something is judged, and how many at most


@dataclass(frozen=True)
class Pairs:
    """Sentences and the images that they describe.

    Attributes
    ----------
    texts : list of sentences, m of them
        Raw, or cut into words.
    images : ndarray of shape (n, d)
        Image vectors.
    image_of_sentence : ndarray of shape (m,), int64
    """

    texts: Texts
    images: NDArray[Any]
    image_of_sentence: NDArray[np.int64]

    def images_of(self, sentences: slice = slice(None)) -> NDArray[Any]:
        """The image vector of each sentence: (m, d).

        Parameters
        ----------
        sentences : slice
            Which. Default: all.

        Returns
        -------
        ndarray of shape (m, d)
        """
        return self.images[self.image_of_sentence[sentences]]

    def normalized(self, normalizer: PowerNormalizer) -> Pairs:
        """The same pairs with normalised image vectors.

        Parameters
        ----------
        normalizer : PowerNormalizer

        Returns
        -------
        Pairs
        """
        return replace(self, images=normalizer.transform(self.images))


def pairs_of(captions: Captions, vectors: NDArray[Any]) -> Pairs:
    """The pairs of a part of a data set.

    Parameters
    ----------
    captions : Captions
        The part.
    vectors : ndarray of shape (N, d)
        Of all images of the data set.
    """
    return Pairs(captions.sentences, np.asarray(vectors[captions.rows], np.float32), captions.image_of_sentence)


def total_recall(report: dict[str, Any]) -> float:
    """The sum of the six recalls of annotation and search: the figure by which everything is chosen."""
    return float(sum(report[task][f"r@{k}"] for task in ("annotation", "search") for k in (1, 5, 10)))


def recall_of(
    cca: RegularizedCCA, vectors: NDArray[np.float32], pairs: Pairs, scaling: LocalScaling | None = None
) -> float:
    """The total recall of pairs whose sentences have these vectors."""
    sentences, images = common(cca, cca.transform(vectors)), common(cca, cca.transform_y(pairs.images))
    if scaling is not None:
        sentences, images = scaling.transform(sentences), scaling.transform_y(images)
    return total_recall(retrieval_report(Cosines(sentences, images), pairs.image_of_sentence))


def common(cca: RegularizedCCA, variables: NDArray[np.float32]) -> NDArray[np.float32]:
    """Canonical variables as they are compared: times their correlations, of length one (SPEC S19)."""
    scaled: NDArray[np.float32] = normalize(variables * cca.correlations_.astype(np.float32))
    return scaled


def common_of_texts(side: Pipeline, cca: RegularizedCCA, texts: Texts) -> NDArray[np.float32]:
    """Unit vectors of sentences in the space of the CCA; those of the encoder are in memory block by block."""
    return np.concatenate([common(cca, cca.transform(block)) for _, block in encoded_blocks(side, texts)])


def best_image_power(train: Pairs, validation: Pairs, etas: Sequence[float]) -> float:
    """The power with which a bag of words finds images best, which takes little time and any encoder shares."""
    quick = _some_sentences(train)
    bag = Pipeline([("encoder", BagOfWords().fit(quick.texts))])
    vectors = _sampled(bag, quick.texts), _sampled(bag, validation.texts)

    def recall(power: float) -> float:
        normalizer = PowerNormalizer(power).fit(train.images)
        return _quick_recall(*vectors, quick.normalized(normalizer), validation.normalized(normalizer), etas)

    return max(_IMAGE_POWERS, key=recall)


def best_scaling(
    side: Pipeline,
    cca: RegularizedCCA,
    train: Pairs,
    validation: Pairs,
    vectors: NDArray[np.float32],
    recall: float,
) -> tuple[LocalScaling, float]:
    """Local scaling by what was fitted on, or none where recall of validation is no better with it; and that recall.

    Given are the vectors of the validation sentences, and the recall without.
    """
    some = _some_sentences(train, _BANK)
    images = train.images[:: -(-len(train.images) // _BANK)]
    bank = common_of_texts(side, cca, some.texts), common(cca, cca.transform_y(images))
    scaling = LocalScaling(min(_NEIGHBOURS, *map(len, bank))).fit(*bank)
    scaled = recall_of(cca, vectors, validation, scaling)
    return (scaling, scaled) if scaled > recall else (LocalScaling(0).fit(*bank), recall)


def _some_sentences(pairs: Pairs, most: int = _QUICK_SENTENCES) -> Pairs:
    """Of many sentences an evenly spaced part."""
    chosen = range(0, len(pairs.texts), -(-len(pairs.texts) // most))
    return Pairs([pairs.texts[i] for i in chosen], pairs.images, pairs.image_of_sentence[chosen])


def _quick_recall(
    fits: NDArray[np.float32], tests: NDArray[np.float32], train: Pairs, validation: Pairs, etas: Sequence[float]
) -> float:
    """The highest recall in validation of any eta, from vectors of the sentences of both."""
    return max(recall_of(cca, tests, validation) for cca in cca_path(fits, train.images_of(), etas))


class EpochJudge:
    """The recall in validation after every epoch whose number is a power of two, and after the last one.

    By a random sample of the vectors' numbers, and of the sentences, for which the CCA is quick.
    """

    def __init__(
        self, train: Pairs, validation: Pairs, epochs: int, etas: Sequence[float], report: Callable[[str], None]
    ) -> None:
        self.validation, self.epochs, self.etas, self.report = validation, epochs, etas, report
        self.train = _some_sentences(train)

    def __call__(self, side: Pipeline) -> float:
        epoch = len(side["encoder"].history_["loss"])
        if epoch & (epoch - 1) and epoch < self.epochs:
            return math.nan
        vectors = _sampled(side, self.train.texts), _sampled(side, self.validation.texts)
        recall = _quick_recall(*vectors, self.train, self.validation, self.etas)
        self.report(f"epoch {epoch} of {self.epochs}: recalls sum to {recall:.1f} in validation, by a sample")
        return recall


def _sampled(side: Pipeline, texts: Texts) -> NDArray[np.float32]:
    """A few columns of the sentences' vectors, always the same."""
    parts = []
    for _, block in encoded_blocks(side, texts):
        width = block.shape[1]
        columns = np.random.default_rng(0).choice(width, min(width, _QUICK_COORDINATES), replace=False)
        parts.append(block[:, np.sort(columns)])
    return np.concatenate(parts)
