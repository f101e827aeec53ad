"""Images and sentences that find each other: fitting, choosing and measuring as the paper does (SPEC S14 to S22)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import normalize

from rnnfv.cca import RegularizedCCA, cca_path
from rnnfv.distributed import LOCAL, Engine
from rnnfv.encoders.canonical import CanonicalSteps
from rnnfv.local_scaling import LocalScaling
from rnnfv.metrics import Cosines, rank_figures, retrieval_report, sibling_ranks
from rnnfv.normalization import PowerNormalizer
from rnnfv.processes import refuse_several
from rnnfv.recipes._chain_folder import ChainFolder
from rnnfv.recipes._retrieval_choices import (
    EpochJudge,
    Pairs,
    best_image_power,
    best_scaling,
    common,
    common_of_texts,
    pairs_of,
    recall_of,
    total_recall,
)
from rnnfv.recipes._work import NO_WORK, Work
from rnnfv.recipes.recognizer import backbone_of_features
from rnnfv.recipes.sentence_settings import SentenceSettings, is_net
from rnnfv.recipes.sentences import Texts, block_rows, encode, encoded_blocks, fit_sentence_side, with_pca
from rnnfv.sequences import Sequences
from rnnfv.text.sentences import SentenceReader

__all__ = [
    "ETAS",
    "FOLDER",
    "Pairs",
    "RetrievalModel",
    "fit_retrieval",
    "image_side",
    "load_retrieval",
    "pairs_of",
    "report_of",
    "total_recall",
    "words_of",
]

_PARTS = {"sentences": Pipeline, "cca": RegularizedCCA, "images": PowerNormalizer, "scaling": LocalScaling}
FOLDER = ChainFolder("a retrieval model", "rnnfv retrieval fit", "retrieval.json", _PARTS)
ETAS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
_FALLS, _FALLEN = 2, 0.99  # so many etas in a row that are no better, or one below that share of the best, end a search
_IN_MEMORY = 8 << 30  # bytes of all vectors up to which they are kept; beyond it smaller sums of them are streamed


@dataclass(frozen=True)
class RetrievalModel:
    """What maps sentences and images to unit vectors of one space, whose inner product says how well they fit.

    Attributes
    ----------
    sentences : Pipeline
        From sentences to vectors, as `rnnfv.recipes.sentences.fit_sentence_side` gives it.
    cca : RegularizedCCA
        Sentences are its X, images its Y.
    images : PowerNormalizer
        What image vectors go through before the CCA.
    scaling : LocalScaling
        What the common space of the CCA goes through in the end; without neighbours, likeness is the cosine there.
    note : dict
        Plain JSON values: how the model was fitted and what was chosen.
    """

    sentences: Pipeline
    cca: RegularizedCCA
    images: PowerNormalizer
    scaling: LocalScaling
    note: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: str | Path) -> None:
        """Write all of it to a folder, which appears whole or not at all; `load_retrieval` reads it.

        Parameters
        ----------
        folder : str or Path
            A new or empty folder, or one of a retrieval model, which is replaced.

        Raises
        ------
        ModelFolderError
            If the folder holds other things.
        """
        FOLDER.write(Path(folder), {name: getattr(self, name) for name in _PARTS}, {"note": self.note})

    def encode_sentences(self, texts: Texts) -> NDArray[np.float32]:
        """Unit vectors of sentences in the common space.

        Parameters
        ----------
        texts : list of n sentences
            Raw, or cut into words.

        Returns
        -------
        ndarray of shape (n, k), float32
            (n, k + 4) with local scaling.
        """
        return self.scaling.transform(common_of_texts(self.sentences, self.cca, texts))

    def encode_images(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """Unit vectors of images in the common space.

        Parameters
        ----------
        vectors : ndarray of shape (n, d)

        Returns
        -------
        ndarray of shape (n, k), float32
            (n, k + 4) with local scaling.

        Raises
        ------
        ValueError
            If the vectors have another width than those that were fitted on.
        """
        if (width := vectors.shape[1]) != (fitted := len(self.cca.y_mean_)):
            raise ValueError(f"image vectors have {width} values, but the model was fitted on {fitted}")
        vectors = self.images.transform(np.asarray(vectors, np.float32))
        return self.scaling.transform_y(common(self.cca, self.cca.transform_y(vectors)))


def report_of(sentences: NDArray[Any], images: NDArray[Any], image_of_sentence: NDArray[Any]) -> dict[str, Any]:
    """All figures of the paper's Table 3 from unit vectors (SPEC S20).

    Sentences are compared with sentences by these vectors, too: with local scaling, almost as by their cosine.

    Returns
    -------
    dict
        As `rnnfv.metrics.retrieval_report`, and ``"sentence": {"mean_rank": ...}``, the mean rank None where no image
        has two sentences.
    """
    report: dict[str, Any] = retrieval_report(Cosines(sentences, images), image_of_sentence)
    siblings = sibling_ranks(Cosines(sentences, sentences), image_of_sentence)
    report["sentence"] = {"mean_rank": rank_figures(siblings)["mean_rank"] if siblings.any() else None}
    return report


def load_retrieval(folder: str | Path) -> RetrievalModel:
    """Read a model from the folder that `RetrievalModel.save` wrote. No code comes from there.

    Parameters
    ----------
    folder : str or Path
        Or a URL of fsspec.

    Raises
    ------
    ModelFolderError
        If the folder is missing, damaged, changed, of another kind, or of a newer format.
    """
    estimators, record, _ = FOLDER.read(Path(folder))
    note = record.get("note")
    if not isinstance(note, dict):
        FOLDER.fail(Path(folder), f"{FOLDER.record} does not tell how the model was fitted")
    return RetrievalModel(**estimators, note=note)


def image_side(folder: str | Path, features: str | Path) -> CanonicalSteps:
    """What maps frames as a saved model maps images (SPEC S8), if the same backbone made both.

    Parameters
    ----------
    folder : str or Path
        Of the model.
    features : str or Path
        Features of the frames.

    Raises
    ------
    ValueError
        If it is known that another backbone made the features.
    """
    model = load_retrieval(folder)
    made, wanted = backbone_of_features(features)[0], model.note.get("backbone")
    if made is not None and wanted is not None and made != wanted:
        raise ValueError(
            f"{made['name']} made {features}, but {wanted['name']} the images of {folder}, or other settings"
        )
    return CanonicalSteps(model.cca, normalizer=model.images)


# -- fitting ---------------------------------------------------------------------------------------


def fit_retrieval(
    train: Pairs,
    validation: Pairs,
    settings: SentenceSettings,
    reader: SentenceReader | None = None,
    *,
    corpus: Texts | None = None,
    etas: Sequence[float] = ETAS,
    image_power: float | None = None,
    local_scaling: bool = True,
    seed: int = 0,
    engine: Engine = LOCAL,
    report: Callable[[str], None] = lambda text: None,
    work: Work = NO_WORK,
) -> RetrievalModel:
    """Fit a sentence encoder and the CCA with images.

    The epoch, eta and the power of the image vectors are those of the highest recall in validation.

    Parameters
    ----------
    train, validation : Pairs
        The latter only choose.
    settings : SentenceSettings
    reader : SentenceReader or None
        Fitted on all sentences whose words it is to know, those that are learnt from first. None for "tf-idf".
    corpus : sentences, optional
        Mixtures and nets learn from these instead of the training sentences (SPEC S17).
    etas : sequence of float
        Regularisations of the CCA to choose from. They are tried from the largest on, until recall has fallen.
    image_power : float, optional
        Of the image vectors, where it was chosen before.
    local_scaling : bool
        Whether cosines may be scaled by what is usual near both sides; they are where recall in validation rises by it.
        False is the paper's way.
    seed : int
    engine : Engine
        Where vectors are made and summed that do not fit in memory together.
    report : callable
        Told what is going on.
    work : Work
        Keeps the power and the encoder. Under torchrun, with the work of a command, only the first process returns.

    Returns
    -------
    RetrievalModel
        Its note has ``"chosen"``: eta, the recall in validation of each that was tried, the power, the neighbours of
        the local scaling, the recall with all that, and the epoch.
    """
    if not etas:
        raise ValueError("there is no eta to choose from: give one or more")
    if not is_net(settings.encoder):
        refuse_several(f"{settings.encoder} trains no net")
    if image_power is None:
        report("choosing the power of the image vectors")
        image_power = work.figures("image power", lambda part: best_image_power(train, validation, etas))
    normalizer = PowerNormalizer(image_power).fit(train.images)
    train, validation = train.normalized(normalizer), validation.normalized(normalizer)
    judge = None
    if is_net(settings.encoder) and settings.epochs > 1:
        judge = EpochJudge(train, validation, settings.epochs, etas, report)
    report("fitting the encoder")
    learnt_from = train.texts if corpus is None else corpus
    side = fit_sentence_side(settings, reader, learnt_from, seed=seed, judge=judge, work=work)
    work.leave_unless_first()
    if settings.pca is not None:
        report(f"PCA to {settings.pca} numbers")
        side = with_pca(side, train.texts, settings.pca, seed, work)
    vectors = encode(side, validation.texts)
    path = _path(side, train, sorted(etas, reverse=True), engine, report)
    best, recalls = _best_of(path, vectors, validation, report)
    scaling = LocalScaling(0).fit(best.x_weights_[:0], best.x_weights_[:0])
    recall = max(recall for _, recall in recalls)
    if local_scaling:
        report("local scaling")
        scaling, recall = best_scaling(side, best, train, validation, vectors, recall)
        how = f"by {scaling.neighbours} neighbours" if scaling.neighbours else "gains nothing and is left out"
        report(f"local scaling {how}: recalls sum to {recall:.1f} in validation")
    chosen: dict[str, Any] = {"eta": best.regularization, "recalls": recalls, "image power": normalizer.alpha}
    chosen |= {"neighbours": scaling.neighbours, "recall": recall}
    if is_net(settings.encoder):
        chosen["epoch"] = side["encoder"].best_epoch_
    return RetrievalModel(
        side, best, normalizer, scaling, {"settings": asdict(settings), "seed": seed, "chosen": chosen}
    )


def words_of(model: RetrievalModel, dim: int = 300) -> SentenceReader:
    """A reader whose word vectors come from a fitted model: every word as a sentence of its own (SPEC S15).

    Parameters
    ----------
    model : RetrievalModel
        With word vectors of its own, such as one of "mm-ens".
    dim : int
        Canonical dimensions to keep, the most correlated first. The vectors are then scaled to length one.
    """
    if "words" not in model.sentences.named_steps:
        raise ValueError("this model has no word vectors: fit one with another encoder than tf-idf")
    reader: SentenceReader = model.sentences["words"]
    n_words = len(reader.vectors_)
    words = Sequences(np.arange(n_words), np.arange(n_words + 1), reader.vectors_)
    blocks = (model.cca.transform(block)[:, :dim] for _, block in encoded_blocks(model.sentences, words))
    return reader.with_vectors(normalize(np.concatenate(list(blocks))))


def _best_of(
    path: Iterator[RegularizedCCA], vectors: NDArray[np.float32], validation: Pairs, report: Callable[[str], None]
) -> tuple[RegularizedCCA, list[tuple[float, float]]]:
    """The CCA of the highest recall in validation, and the eta and recall of each that was tried.

    The path goes from strong regularisation to weak, which takes longer, and recall rises along it, then falls. Where
    it has clearly fallen the rest is left out.
    """
    recalls: list[tuple[float, float]] = []
    highest, since = -math.inf, 0
    for cca in path:
        recall = recall_of(cca, vectors, validation)
        report(f"eta {cca.regularization:g}: recalls sum to {recall:.1f} in validation")
        recalls.append((cca.regularization, recall))
        since += 1
        if recall > highest:
            best, highest, since = cca, recall, 0
        if since == _FALLS or recall < _FALLEN * highest:
            break
    return best, recalls


def _path(
    side: Pipeline, train: Pairs, etas: Sequence[float], engine: Engine, report: Callable[[str], None]
) -> Iterator[RegularizedCCA]:
    """CCAs of all etas, one at a time: of all vectors together, or where they are too large, of their sums."""
    width = encode(side, train.texts[:1]).shape[1]
    together = 4 * len(train.texts) * (width + train.images.shape[1])  # float32
    sums = 8 * width**2  # float64
    if together <= max(_IN_MEMORY, sums):
        report("encoding the training sentences")
        vectors = encode(side, train.texts)
        report("canonical correlations")
        yield from cca_path(vectors, train.images_of(), etas)
        return
    n, size, seen = len(train.texts), block_rows(width), 0

    def tell(blocks: int) -> None:
        nonlocal seen
        seen += blocks * size
        report(f"canonical correlations: sentence {min(seen, n)} of {n}")

    parts = [slice(start, start + size) for start in range(0, n, size)]
    cca = RegularizedCCA(min(etas))
    yield from engine.fit_parts(cca, parts, _Encoded(side, train), batch=-(-width // size), tell=tell).path(etas)


@dataclass(frozen=True)
class _Encoded:
    """Vectors of some training sentences, and of their images, in blocks."""

    side: Pipeline
    train: Pairs

    def __call__(self, part: slice) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        images = self.train.images_of(part)
        for rows, block in encoded_blocks(self.side, self.train.texts[part]):
            yield block, images[rows]
