"""How sentences become vectors: the rows of the paper's Table 3 (SPEC S14 to S18)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import FastICA
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import normalize

from rnnfv.encoders.mean import MeanPooling
from rnnfv.encoders.mixture import MixtureFisherVector
from rnnfv.encoders.recurrent import RNNFisherVector
from rnnfv.normalization import PowerNormalizer
from rnnfv.sequences import Sequences
from rnnfv.text.bag import BagOfWords
from rnnfv.text.sentences import SentenceReader

__all__ = [
    "ENCODERS",
    "SentenceSettings",
    "Texts",
    "block_rows",
    "encode",
    "encoded_blocks",
    "fit_sentence_side",
    "is_net",
]

ENCODERS = ("mean", "tf-idf", "gmm-fv", "lmm-fv", "hglmm-fv", "mm-ens", "rnn-fv", "rnn-fv-clsf")
_FAMILIES = {
    "gmm-fv": ["gaussian"],
    "lmm-fv": ["laplacian"],
    "hglmm-fv": ["hybrid"],
    "mm-ens": ["gaussian", "hybrid"],
}
_ICA_SAMPLE, _ICA_ITERATIONS = 50_000, 200  # running words, and rounds at most
_CLASSIFICATION_COORDINATES = 72_000
_ICA_SCALE = 10.0  # SPEC S2: [18] multiplied its vectors by it
_BLOCK_VALUES = 1 << 27  # numbers of the vectors made together: 512 MiB in float32

Texts = Any  # sentences that can be counted and sliced, such as a list; each a string, or a list of words


@dataclass(frozen=True)
class SentenceSettings:
    """How sentences are encoded.

    Parameters
    ----------
    encoder : str
        One of `ENCODERS`.
    is_reversed : bool
        Read the words from the last to the first; the end stays the end (SPEC S18).
    has_ica : bool
        Turn the word vectors to independent components, of length one, times 10, as [18] did for its mixtures.
    n_components : int
        Of a mixture (SPEC S2: 30).
    hidden_size : int, optional
        Of a net. Default: 100, and 512 for "rnn-fv-clsf" (SPEC S14).
    coordinates : int, optional
        Keep so many random numbers of a net's vectors (SPEC S21). Default: all; 72,000 for "rnn-fv-clsf" (S5).
    max_epochs : int
        Of a net.
    dropout, weight_decay, learning_rate : float
        Of a net.
    batch_size : int
        Sentences of one training step.
    device : str
        Where nets and mixtures are trained.
    """

    encoder: str = "rnn-fv"
    is_reversed: bool = False
    has_ica: bool = False
    n_components: int = 30
    hidden_size: int | None = None
    coordinates: int | None = None
    max_epochs: int = 8
    dropout: float = 0.0
    weight_decay: float = 0.0
    learning_rate: float = 1e-3
    batch_size: int = 16
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.encoder not in ENCODERS:
            raise ValueError(f"there is no encoder {self.encoder!r}: choose among {', '.join(ENCODERS)}")
        for name in ("n_components", "hidden_size", "coordinates", "max_epochs", "batch_size"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} is {value}: it must be at least 1")
        if self.is_reversed and not is_net(self.encoder):
            raise ValueError(f"{self.encoder} does not see the order of words: reversing them changes nothing")
        if self.has_ica and (is_net(self.encoder) or self.encoder == "tf-idf"):
            raise ValueError(f"ICA is for mean pooling and mixtures, not for {self.encoder}")


def is_net(encoder: str) -> bool:
    """Whether the encoder is a recurrent net."""
    return encoder.startswith("rnn-fv")


def fit_sentence_side(
    settings: SentenceSettings,
    reader: SentenceReader | None,
    texts: Texts,
    *,
    seed: int = 0,
    judge: Callable[[Pipeline], float] | None = None,
) -> Pipeline:
    """Fit the chain from sentences to vectors.

    Parameters
    ----------
    settings : SentenceSettings
    reader : SentenceReader or None
        Fitted on all sentences whose words it is to know, those that are learnt from first. None for "tf-idf".
    texts : list of sentences, or a `rnnfv.text.corpora.Corpus`
        What mixtures and nets learn from.
    seed : int
    judge : callable, optional
        Called with the whole chain after every epoch of a net; the epoch to which it gives the highest value is kept.

    Returns
    -------
    Pipeline
        Steps "words" (not for "tf-idf"), "encoder", and "normalizer" behind one Fisher vector.
    """
    if settings.encoder == "tf-idf":
        return Pipeline([("encoder", BagOfWords().fit(texts))])
    if reader is None:
        raise ValueError(f"{settings.encoder} needs word vectors")
    reader = reader.with_order(end_token=is_net(settings.encoder), reverse=settings.is_reversed)
    if settings.has_ica:
        reader = reader.with_vectors(_independent(reader, texts, seed))
    seqs = reader.transform(texts)
    encoder = _encoder(settings, seed)
    side = Pipeline([("words", reader), ("encoder", encoder)])
    if settings.encoder not in ("mean", "mm-ens"):
        side.steps.append(("normalizer", PowerNormalizer()))
    if settings.encoder == "rnn-fv-clsf":
        encoder.set_params(n_symbols=int(seqs.values.max()) + 1)  # words that only other sentences have come behind
    if is_net(settings.encoder):
        encoder.fit(seqs, judge=None if judge is None else lambda _: judge(side))
    else:
        encoder.fit(seqs)
    return side


def encoded_blocks(side: Pipeline, texts: Texts | Sequences) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Encode sentences, a block of bounded size at a time: which rows they are, and their vectors.

    Parameters
    ----------
    side : Pipeline
        As `fit_sentence_side` gives it.
    texts : sentences; or, for a side with "words", the sequences that its reader made of them
    """
    items: Any = texts
    if "words" in side.named_steps:
        items, side = texts if isinstance(texts, Sequences) else side["words"].transform(texts), side[1:]
    size = block_rows(side.transform(items[:1]).shape[1])
    for start in range(0, len(items), size):
        rows = slice(start, min(start + size, len(items)))
        yield rows, side.transform(items[rows])


def block_rows(width: int) -> int:
    """Sentences whose vectors of this width are made together."""
    return max(1, _BLOCK_VALUES // width)


def encode(side: Pipeline, texts: Texts | Sequences) -> NDArray[np.float32]:
    """The vectors of sentences in one array (n, d); beside it there is one block of them."""
    vectors = np.empty((len(texts), 0), np.float32)
    for rows, block in encoded_blocks(side, texts):
        if rows.start == 0:
            vectors = np.empty((len(texts), block.shape[1]), np.float32)
        vectors[rows] = block
    return vectors


def _encoder(settings: SentenceSettings, seed: int) -> Any:
    """The encoder of sequences of words."""
    if settings.encoder == "mean":
        return MeanPooling()
    if settings.encoder in _FAMILIES:
        mixtures = [
            MixtureFisherVector(settings.n_components, family, random_state=seed, device=settings.device)
            for family in _FAMILIES[settings.encoder]
        ]
        if len(mixtures) == 1:
            return mixtures[0]
        return FeatureUnion([(mixture.family, make_pipeline(mixture, PowerNormalizer())) for mixture in mixtures])
    is_regression = settings.encoder == "rnn-fv"
    return RNNFisherVector(
        objective="regression" if is_regression else "classification",
        hidden_size=settings.hidden_size or (100 if is_regression else 512),
        projection_size=None,
        coordinates=settings.coordinates or (None if is_regression else _CLASSIFICATION_COORDINATES),
        max_epochs=settings.max_epochs,
        early_stopping=None,
        dropout=settings.dropout,
        weight_decay=settings.weight_decay,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        device=settings.device,
        random_state=seed,
    )


def _independent(reader: SentenceReader, texts: Texts, seed: int) -> NDArray[np.float32]:
    """The table of word vectors, turned to the independent components of running words."""
    words = reader.transform(texts).values
    sample = np.random.default_rng(seed).choice(words, min(_ICA_SAMPLE, len(words)), replace=False)
    ica = FastICA(whiten="unit-variance", random_state=seed, max_iter=_ICA_ITERATIONS, tol=1e-3)
    ica.fit(reader.vectors_[sample].astype(np.float64))
    table: NDArray[np.float32] = normalize(ica.transform(reader.vectors_.astype(np.float64))).astype(np.float32)
    return _ICA_SCALE * table
