"""The paper's protocol for images and sentences: which part of a data set fits, chooses and tests (SPEC S20)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.datasets.captions import Captions
from rnnfv.distributed import LOCAL, Engine
from rnnfv.metrics import Cosines, retrieval_ranks
from rnnfv.recipes._work import NO_WORK, Work
from rnnfv.recipes.retrieval import ETAS, Pairs, RetrievalModel, fit_retrieval, pairs_of, words_of
from rnnfv.recipes.sentence_settings import SentenceSettings
from rnnfv.recipes.sentences import Texts
from rnnfv.text.sentences import SentenceReader

__all__ = ["Combination", "Parts", "fit_models", "mean_report", "parts_of", "query_rows", "reader_of", "seen_images"]

_EXTRA_WORDS = 20_000  # of each file's most frequent ones: for sentences that come after fitting


@dataclass(frozen=True)
class Parts:
    """The parts of a data set: what fits, what chooses, and what is reported on.

    Attributes
    ----------
    train, validation, test : Pairs
    test_captions : Captions
        Names and sentences of ``test``.
    seen : dict of list of str
        Names of the images that models are "fitted on" and "chosen by". They are kept with a model, so that it is not
        reported on them later.
    """

    train: Pairs
    validation: Pairs
    test: Pairs
    test_captions: Captions
    seen: dict[str, list[str]] = field(default_factory=dict)


def parts_of(captions: Captions, vectors: NDArray[Any], split: str = "test") -> Parts:
    """Cut a data set by its own splits.

    Parameters
    ----------
    captions : Captions
    vectors : ndarray of shape (n, d)
    split : str
        What to report on. "train" fits and "val" chooses; with "val" here, its images of even number choose, and
        those of odd number are reported on.
    """
    if split == "train":
        raise ValueError("models are fitted on the split train: report on another")
    test, validation = captions.part(split), captions.part("val")
    if split == "val":
        images = np.arange(len(validation.filenames))
        test, validation = validation.take(images % 2 == 1), validation.take(images % 2 == 0)
    train = captions.part("train")
    fits, chooses, tests = (pairs_of(part, vectors) for part in (train, validation, test))
    seen = {"fitted on": train.filenames.tolist(), "chosen by": validation.filenames.tolist()}
    return Parts(fits, chooses, tests, test, seen)


def seen_images(model: RetrievalModel, names: Iterable[str]) -> tuple[str, list[str]] | None:
    """How a model has seen images before, "fitted on" or "chosen by", and which of the names those are.

    Parameters
    ----------
    model : RetrievalModel
        With a note of what it has seen, such as `fit_models` gives it.
    names : iterable of str

    Returns
    -------
    (str, list of str) or None
        None where it has seen none of them.
    """
    names = list(names)
    for how, seen in model.note.get("seen", {}).items():
        known = set(seen)
        if found := [name for name in names if name in known]:
            return how, found
    return None


def reader_of(words: Sequence[str], learnt_from: Iterable[Any], others: Iterable[Any]) -> SentenceReader:
    """A reader of the words of all sentences given, and of the most frequent ones of the files.

    Parameters
    ----------
    words : sequence of str
        Paths of files of word vectors.
    learnt_from : iterable of sentences
        What encoders are fitted on: only its words are targets of a net that predicts symbols, and the end token is
        their mean where the files have none.
    others : iterable of sentences
        Their words are looked up, and nothing else is learnt from them.
    """
    return SentenceReader(list(words), extra_words=_EXTRA_WORDS).fit(learnt_from, others=others)


def fit_models(
    parts: Parts,
    settings: SentenceSettings,
    words: Sequence[str] | RetrievalModel,
    *,
    seeds: Iterable[int] = (0,),
    corpus: Texts | None = None,
    others: Texts = (),
    etas: Sequence[float] = ETAS,
    local_scaling: bool = True,
    engine: Engine = LOCAL,
    report: Callable[[str], None] = lambda text: None,
    work: Work = NO_WORK,
) -> Iterator[RetrievalModel]:
    """Fit models with several seeds, one at a time.

    Parameters
    ----------
    parts : Parts
    settings : SentenceSettings
    words : sequence of str, or RetrievalModel
        Files of word vectors; or the model that every word is encoded with (SPEC S15).
    seeds : iterable of int
    others : sentences
        Whose words the models are to know too; nothing is learnt from them.
    corpus, etas, local_scaling, engine, report
        As for `rnnfv.recipes.retrieval.fit_retrieval`.
    work : Work
        Its part ``"seed N"`` keeps what is finished of that seed.
    """
    reader = None
    if isinstance(words, RetrievalModel):
        reader = words_of(words)
    elif settings.encoder != "tf-idf":
        report("reading word vectors")
        learnt_from = parts.train.texts if corpus is None else corpus
        reader = reader_of(
            words, learnt_from, chain(parts.train.texts, parts.validation.texts, parts.test.texts, others)
        )
    seen = dict(parts.seen)
    if isinstance(words, RetrievalModel):
        for how, names in words.note.get("seen", {}).items():
            seen[how] = list(dict.fromkeys([*seen.get(how, []), *names]))
    image_power = None
    for seed in seeds:
        model = fit_retrieval(
            parts.train,
            parts.validation,
            settings,
            reader,
            corpus=corpus,
            etas=etas,
            image_power=image_power,
            local_scaling=local_scaling,
            seed=seed,
            engine=engine,
            report=report,
            work=work.part(f"seed {seed}"),
        )
        image_power = model.note["chosen"]["image power"]  # no seed has a part in it
        model.note["seen"] = seen
        yield model


@dataclass(frozen=True)
class Combination:
    """Several models as one: the mean of their similarities (SPEC S22).

    That mean is the product of the models' unit vectors put side by side, so that a combination is used as one model.
    It is a weighted one: products of a model with local scaling are made of halved cosines, and count twice.
    """

    models: tuple[RetrievalModel, ...]

    def encode_sentences(self, texts: Texts) -> NDArray[np.float32]:
        """Unit vectors of sentences in the joint space: (n, sum of k)."""
        return self.join([model.encode_sentences(texts) for model in self.models])

    def encode_images(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """Unit vectors of images in the joint space: (n, sum of k)."""
        return self.join([model.encode_images(vectors) for model in self.models])

    def join(self, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Unit vectors (n, k) of every model side by side, of length one again."""
        counts = np.array([2 if model.scaling.neighbours else 1 for model in self.models], np.float32)
        weights = np.sqrt(counts / counts.sum())
        return np.hstack([weight * part for weight, part in zip(weights, parts, strict=True)])


def mean_report(reports: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The mean of every figure over reports, such as those of several seeds."""
    return {
        task: {
            name: None if value is None else float(np.mean([report[task][name] for report in reports]))
            for name, value in figures.items()
        }
        for task, figures in reports[0].items()
    }


def query_rows(
    sentences: NDArray[np.float32], images: NDArray[np.float32], captions: Captions
) -> Iterator[tuple[str, str, int, str]]:
    """For every query: task, query, rank of the first true result, and what was found first.

    Parameters
    ----------
    sentences, images : ndarray of shape (m, k) and (n, k)
        Unit vectors.
    captions : Captions
        Whose sentences and images they are.
    """
    annotation, search = retrieval_ranks(Cosines(sentences, images), captions.image_of_sentence)
    for i, rank in enumerate(annotation.tolist()):
        first = int(np.argmax(sentences @ images[i]))
        yield "annotation", captions.filenames[i], rank, captions.raw[first]
    for i, rank in enumerate(search.tolist()):
        first = int(np.argmax(images @ sentences[i]))
        yield "search", captions.raw[i], rank, captions.filenames[first]
