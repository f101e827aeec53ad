"""The paper's protocol for images and sentences: which part of a data set fits, chooses and tests (SPEC S20)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.datasets.captions import Captions
from rnnfv.distributed import LOCAL, Engine, LocalEngine, Tell
from rnnfv.metrics import Cosines, retrieval_ranks
from rnnfv.recipes._work import NO_WORK, Work
from rnnfv.recipes.retrieval import ETAS, Pairs, RetrievalModel, fit_retrieval, pairs_of, report_of, words_of
from rnnfv.recipes.sentence_settings import SentenceSettings
from rnnfv.recipes.sentences import Texts
from rnnfv.text.sentences import SentenceReader

__all__ = [
    "Combination",
    "Parts",
    "Trial",
    "encoded",
    "evaluate_models",
    "fit_models",
    "mean_report",
    "parts_of",
    "query_rows",
    "reader_of",
    "seen_images",
    "words_known",
]

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


@dataclass(frozen=True)
class Trial:
    """One of several models that are fitted alike, but for what is told here.

    Attributes
    ----------
    name : str
        Of its own among them, and of the part of the work that keeps what is finished of it.
    settings : SentenceSettings
    seed : int
    corpus : sentences, optional
        As for `rnnfv.recipes.retrieval.fit_retrieval`.
    """

    name: str
    settings: SentenceSettings
    seed: int = 0
    corpus: Texts | None = None


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
    trials = [Trial(f"seed {seed}", settings, seed, corpus) for seed in seeds]
    fitter = _fitter(parts, trials, words, others, etas, local_scaling, report)
    yield from fitter.models(trials, engine, report, work)


def evaluate_models(
    parts: Parts,
    trials: Sequence[Trial],
    words: Sequence[str] | RetrievalModel,
    *,
    ranked: Sequence[str] = (),
    etas: Sequence[float] = ETAS,
    local_scaling: bool = True,
    engine: Engine = LOCAL,
    report: Callable[[str], None] = lambda text: None,
    work: Work = NO_WORK,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Fit models, each independent of the others, and report on them.

    Parameters
    ----------
    parts, words, etas, local_scaling, report
        As for `fit_models`.
    trials : sequence of Trial
        The file of a corpus is read where a model is fitted.
    ranked : sequence of str
        Names of trials whose single queries are wanted, too.
    engine : Engine
        Fits the models: on a cluster as many at once as it has workers.
    work : Work
        Its part of a trial's name keeps what is finished of one that is fitted in this process.

    Yields
    ------
    (str, dict)
        As they are done: the trial's name; its ``"report"`` (`report_of`), what was ``"chosen"``, `words_known` as
        ``"words"`` (None but for seed 0), and ``"ranks"``, rows of `query_rows` (None but for those of ``ranked``).
    """
    if not trials:
        return
    fitter = _fitter(parts, trials, words, (), etas, local_scaling, report)
    is_here = isinstance(engine, LocalEngine)
    evaluator = _Evaluator(fitter, ranked, report, work) if is_here else _Evaluator(fitter, ranked)
    with closing(engine.map(lambda: evaluator, trials, batch=1)) as outcomes:
        for n, (i, figures) in enumerate(outcomes):
            report(f"{trials[i].name} is done, {n + 1} of {len(trials)}")
            yield trials[i].name, figures


@dataclass(frozen=True)
class _Fitter:
    """What all trials share, and the reader of each, which those of one corpus share."""

    parts: Parts
    readers: dict[str, SentenceReader | None]
    fit: Callable[..., RetrievalModel]
    seen: dict[str, list[str]]

    def models(
        self, trials: Iterable[Trial], engine: Engine, report: Callable[[str], None], work: Work
    ) -> Iterator[RetrievalModel]:
        image_power = None
        for trial in trials:
            model = self.fit(
                trial.settings,
                self.readers[trial.name],
                corpus=trial.corpus,
                image_power=image_power,
                seed=trial.seed,
                engine=engine,
                report=report,
                work=work.part(trial.name),
            )
            image_power = model.note["chosen"]["image power"]  # sentences have no part in it
            model.note["seen"] = self.seen
            yield model


def _fitter(
    parts: Parts,
    trials: Iterable[Trial],
    words: Sequence[str] | RetrievalModel,
    others: Texts,
    etas: Sequence[float],
    local_scaling: bool,
    report: Callable[[str], None],
) -> _Fitter:
    from_model = words_of(words) if isinstance(words, RetrievalModel) else None
    by_corpus: dict[int, SentenceReader] = {}

    def reader(trial: Trial) -> SentenceReader | None:
        if isinstance(words, RetrievalModel) or trial.settings.encoder == "tf-idf":
            return from_model
        if id(trial.corpus) not in by_corpus:
            report("reading word vectors")
            learnt_from = parts.train.texts if trial.corpus is None else trial.corpus
            known = chain(parts.train.texts, parts.validation.texts, parts.test.texts, others)
            by_corpus[id(trial.corpus)] = reader_of(words, learnt_from, known)
        return by_corpus[id(trial.corpus)]

    seen = dict(parts.seen)
    if isinstance(words, RetrievalModel):
        for how, names in words.note.get("seen", {}).items():
            seen[how] = list(dict.fromkeys([*seen.get(how, []), *names]))
    fit = partial(fit_retrieval, parts.train, parts.validation, etas=etas, local_scaling=local_scaling)
    return _Fitter(parts, {trial.name: reader(trial) for trial in trials}, fit, seen)


@dataclass(frozen=True)
class _Evaluator:
    """Fits models and reports on them, in one process."""

    fitter: _Fitter
    ranked: Sequence[str]
    report: Callable[[str], None] = lambda text: None
    work: Work = NO_WORK

    def __call__(self, trials: Sequence[Trial], tell: Tell) -> Iterator[tuple[int, dict[str, Any]]]:
        parts = self.fitter.parts
        for i, model in enumerate(self.fitter.models(trials, LOCAL, self.report, self.work)):
            vectors = encoded(model, parts)
            is_ranked = trials[i].name in self.ranked
            yield (
                i,
                {
                    "report": report_of(*vectors, parts.test.image_of_sentence),
                    "chosen": model.note["chosen"],
                    "words": words_known(model, parts) if trials[i].seed == 0 else None,
                    "ranks": list(query_rows(*vectors, parts.test_captions)) if is_ranked else None,
                },
            )


def encoded(model: RetrievalModel | Combination, parts: Parts) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Unit vectors of the sentences and of the images that are reported on: (m, k) and (n, k)."""
    return model.encode_sentences(parts.test.texts), model.encode_images(parts.test.images)


def words_known(model: RetrievalModel, parts: Parts) -> dict[str, str] | None:
    """Which words of the sentences that fit and of those reported on have vectors, in words; None for tf-idf."""
    if "words" not in model.sentences.named_steps:
        return None
    of = {"train": parts.train, "reported on": parts.test}
    return {name: str(model.sentences["words"].read(pairs.texts)[1]) for name, pairs in of.items()}


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
