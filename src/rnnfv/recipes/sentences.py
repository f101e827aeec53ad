"""How sentences become vectors: the rows of the paper's Table 3 (SPEC S14 to S18)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import FastICA
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import normalize

from rnnfv.decomposition import GramPCA
from rnnfv.encoders.mean import MeanPooling
from rnnfv.encoders.mixture import MixtureFisherVector
from rnnfv.encoders.recurrent import RNNFisherVector
from rnnfv.normalization import PowerNormalizer
from rnnfv.recipes._work import NO_WORK, Work
from rnnfv.recipes.sentence_settings import SentenceSettings, is_net
from rnnfv.sequences import Sequences
from rnnfv.text.bag import BagOfWords
from rnnfv.text.sentences import SentenceReader

__all__ = ["Texts", "block_rows", "encode", "encoded_blocks", "fit_sentence_side", "with_pca"]

_FAMILIES = {
    "gmm-fv": ["gaussian"],
    "lmm-fv": ["laplacian"],
    "hglmm-fv": ["hybrid"],
    "mm-ens": ["gaussian", "hybrid"],
}
_ICA_SAMPLE, _ICA_ITERATIONS = 50_000, 200  # running words, and rounds at most
_CLASSIFICATION_COORDINATES = 72_000
_ICA_SCALE = 10.0  # SPEC S2: [18] multiplied its vectors by it
_PCA_SENTENCES = 300_000  # that PCA is fitted on, at most (SPEC S21)
_BLOCK_VALUES = 1 << 27  # numbers of the vectors made together: 512 MiB in float32

Texts = Any  # sentences that can be counted and sliced, such as a list; each a string, or a list of words


def fit_sentence_side(
    settings: SentenceSettings,
    reader: SentenceReader | None,
    texts: Texts,
    *,
    seed: int = 0,
    judge: Callable[[Pipeline], float] | None = None,
    work: Work = NO_WORK,
) -> Pipeline:
    """Fit the chain from sentences to vectors.

    Parameters
    ----------
    settings : SentenceSettings
        But for ``pca``, which `with_pca` does.
    reader : SentenceReader or None
        Fitted on all sentences whose words it is to know, those that are learnt from first. None for "tf-idf".
    texts : list of sentences, or a `rnnfv.text.corpora.Corpus`
        What mixtures and nets learn from.
    seed : int
    judge : callable, optional
        Called with the whole chain after every epoch of a net; the epoch to which it gives the highest value is kept.
    work : Work
        Keeps the encoder.

    Returns
    -------
    Pipeline
        Steps "words" (not for "tf-idf"), "encoder", and "normalizer" behind one Fisher vector.
    """
    if settings.encoder == "tf-idf":
        return Pipeline([("encoder", BagOfWords().fit(texts))])
    if reader is None:
        raise ValueError(f"{settings.encoder} needs word vectors")
    reader = reader.with_order(end_token=is_net(settings.encoder), reverse=settings.reverse)
    if settings.ica:
        reader = reader.with_vectors(_independent(reader, texts, seed))
    seqs = reader.transform(texts)
    encoder = _encoder(settings, seed)
    side = Pipeline([("words", reader), ("encoder", encoder)])
    if settings.encoder not in ("mean", "mm-ens"):
        side.steps.append(("normalizer", PowerNormalizer()))
    if settings.encoder == "rnn-fv-clsf":
        encoder.set_params(n_symbols=int(seqs.values.max()) + 1)  # words that only other sentences have come behind
    if is_net(settings.encoder):
        own = None if judge is None else lambda _: judge(side)
        encoder.fit(seqs, judge=own, checkpoint=work.checkpoint("net"))
    else:
        side.set_params(encoder=work.estimator("encoder", lambda: encoder.fit(seqs)))
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
    width = len(side["pca"].mean_) if "pca" in side.named_steps else side.transform(items[:1]).shape[1]
    size = block_rows(width)
    for start in range(0, len(items), size):
        rows = slice(start, min(start + size, len(items)))
        yield rows, side.transform(items[rows])


def block_rows(width: int) -> int:
    """Sentences whose vectors of this width are made together."""
    return max(1, _BLOCK_VALUES // width)


def with_pca(side: Pipeline, texts: Texts, n_components: int, seed: int = 0, work: Work = NO_WORK) -> Pipeline:
    """The chain with a PCA of its vectors behind it (SPEC S21), fitted on a random sample of the training sentences.

    Of n sentences and vectors of d numbers, with n above d, the vectors come in blocks and are never together:
    see `rnnfv.GramPCA.fit_blocks` for memory and time. Else they are held, in less memory than that takes.

    Parameters
    ----------
    side : Pipeline
        As `fit_sentence_side` gives it.
    texts : list of sentences
        Of which 300,000 are sampled, where there are more.
    n_components : int
    seed : int
    work : Work
        Keeps the PCA.

    Raises
    ------
    ValueError
        If the vectors have no more numbers than that, or the sentences are not more.
    """
    width = encode(side, texts[:1]).shape[1]
    if n_components >= min(width, len(texts)):
        raise ValueError(
            f"PCA to {n_components} numbers needs more than so many sentences, and vectors of more numbers: there are "
            f"{len(texts)} sentences and {width} numbers"
        )
    if len(texts) > _PCA_SENTENCES:
        chosen = np.random.default_rng(seed).choice(len(texts), _PCA_SENTENCES, replace=False)
        texts = [texts[i] for i in np.sort(chosen)]

    def fitted() -> GramPCA:
        pca = GramPCA(n_components)
        if len(texts) > width:
            return pca.fit_blocks(block for _, block in encoded_blocks(side, texts))
        return pca.fit(encode(side, texts))

    return Pipeline([*side.steps, ("pca", work.estimator("pca", fitted))])


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
            MixtureFisherVector(settings.components, family, random_state=seed, device=settings.device)
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
        max_epochs=settings.epochs,
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
