"""Action recognition as the paper measures it: every pooling on the same features, split by split (SPEC S7-S13)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from rnnfv.cca import RegularizedCCA
from rnnfv.datasets.labelled import LabelledSequences
from rnnfv.datasets.manifest import check_splits
from rnnfv.distributed import LOCAL, Engine, Tell, Worker
from rnnfv.encoders.canonical import CanonicalSteps
from rnnfv.encoders.steps import StepPreprocessor
from rnnfv.metrics import mean_accuracy
from rnnfv.recipes.comparison import POOLINGS, Candidate, Choice, Result, candidate, choose, evaluate

WIDE = 500  # values a step from which on features are those of a net for images, and treated as the paper does
NARROW_PREPARATIONS: dict[str, list[Any]] = {
    "scale_sequences": [False, True],
    "basis": ["standardize", "pca", "whiten"],
}
NARROW_DELTAS = (1, 3)
WIDE_PREPARATION: dict[str, list[Any]] = {"basis": ["pca"], "n_components": [500], "unit_steps": [True]}
SMALL_COMPONENTS = (40, 500)
SMALL_DELTAS = (0, 1)
EPOCHS = (1, 4, 8)
_LARGE = 2000  # training sequences from which on nothing is chosen that would need many fits

Part = Any  # (Sequences, labels, groups)


@dataclass(frozen=True)
class Settings:
    """How poolings are fitted. None stands for what the width of the features asks for.

    *Wide* features, 500 values a step or more: PCA to 500 and L2 on the training frames, a net of 200 + 200 units whose
    epoch the probe chooses on a validation part without common groups, PCA to 1000 behind it (SPEC S7, S10). *Narrow*
    ones, such as skeletons and sensors: scaling, rotation, differences and the number of epochs are chosen for each
    pooling by cross-validation within the training part, no group on both sides; a net of 100 + 100 units, no PCA
    behind it. *Small sets* of wide features, less than 2000 training sequences: as narrow ones, but what is chosen is
    whether PCA keeps 40 or 500 components, whether differences are appended, and the number of epochs.

    Parameters
    ----------
    poolings : tuple of str
        Of `rnnfv.recipes.comparison.POOLINGS`.
    seeds : int
        Fits of each pooling, with the seeds 0, 1, ...
    deltas : tuple of int, optional
        Lags of the differences to choose from, 0 for none. Default: 1 and 3 for narrow features; 0 and 1 for small
        sets of wide ones; 0 for large ones.
    components : tuple of int
        Sizes of the mixtures to choose from (paper, section 7.1).
    hidden_size, projection_size : int, optional
    max_epochs : int, optional
        Default: 8; for narrow features and small sets 1, 4 and 8 to choose from.
    dropout, weight_decay, learning_rate : float
    n_reduced : int
        Numbers to which PCA reduces the RNN-FV of large sets of wide features.
    is_streamed : bool
        Choose only what `rnnfv.recipes.streaming.ActionStream` can do: no scaling by a whole sequence.
    device : str
        Where nets and mixtures are trained.
    jobs : int, optional
        Processes for choosing parameters.
    """

    poolings: tuple[str, ...] = POOLINGS
    seeds: int = 1
    deltas: tuple[int, ...] | None = None
    components: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    hidden_size: int | None = None
    projection_size: int | None = None
    max_epochs: int | None = None
    dropout: float = 0.5
    weight_decay: float = 1e-4
    learning_rate: float = 1e-3
    n_reduced: int = 1000
    is_streamed: bool = False
    device: str = "auto"
    jobs: int | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.poolings if name not in POOLINGS]
        if unknown:
            raise ValueError(f"there is no pooling {unknown[0]!r}: choose among {', '.join(POOLINGS)}")
        if self.is_streamed and not set(self.poolings) <= {"rnn-fv", "rnn-fv-kron"}:
            raise ValueError("only rnn-fv and rnn-fv-kron can be streamed: choose one of them")
        for name in ("seeds", "hidden_size", "projection_size", "max_epochs", "n_reduced"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} is {value}: it must be at least 1")
        for name, least in (("deltas", 0), ("components", 1)):
            if min(getattr(self, name) or [least]) < least:
                raise ValueError(f"{name} are {getattr(self, name)}: they must be at least {least}")


@dataclass
class Row:
    """One pooling's figures.

    Attributes
    ----------
    accuracies, reversed_accuracies, changed : dict of list of float
        By split, one value a seed, in percent: accuracy on the test part; on the test part played backwards; and the
        share of predictions that playing backwards changes. The last two are empty where they were not asked for.
    chosen : dict of dict
        By split: the parameters, and the accuracy that they had in validation.
    dim : int
        Numbers of a vector.
    """

    accuracies: dict[str, list[float]] = field(default_factory=dict)
    reversed_accuracies: dict[str, list[float]] = field(default_factory=dict)
    changed: dict[str, list[float]] = field(default_factory=dict)
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    dim: int = 0

    @property
    def mean(self) -> float:
        return mean_accuracy(list(self.accuracies.values()))[0]

    @property
    def std(self) -> float:
        return mean_accuracy(list(self.accuracies.values()))[1]


@dataclass(frozen=True)
class Fitted:
    """One fitted pooling, as `evaluate_actions` hands it on.

    Attributes
    ----------
    pooling, split : str
    seed : int
    pipeline : Pipeline
        The whole chain, from features to classes.
    result : Result
    train, test : tuple of (Sequences, labels, groups)
        As they were before preparation.
    """

    pooling: str
    split: str
    seed: int
    pipeline: Pipeline
    result: Result
    train: Part
    test: Part


def evaluate_actions(
    data: LabelledSequences,
    settings: Settings,
    *,
    transfer: Pipeline | None = None,
    through: RegularizedCCA | None = None,
    allow_overlap: bool = False,
    reverse_test: bool = False,
    engine: Engine = LOCAL,
    report: Callable[[str], None] = lambda text: None,
    keep: Callable[[Fitted], None] | None = None,
) -> dict[str, Row]:
    """Fit every pooling on each split's training part, and test it on the test part.

    Nothing is chosen or fitted on test data.

    Parameters
    ----------
    data : LabelledSequences
    settings : Settings
    transfer : Pipeline, optional
        A fitted recogniser of another data set, whose preparation and net are taken as they are; only what stands
        behind the net is fitted (SPEC S12).
    through : RegularizedCCA, optional
        Of image vectors (its Y) that the features' backbone made: every step is mapped by it, in place of the usual
        preparation (SPEC S8).
    allow_overlap : bool
        Go on where a group is in both parts of a split.
    reverse_test : bool
        Also test on the test part played backwards.
    engine : Engine
        Where choices, and then fits, are made: each split, pooling and seed apart from the others.
    report : callable
        Is told what is done.
    keep : callable, optional
        Is handed every fitted pooling.

    Returns
    -------
    dict of Row
        By pooling, in the order of the settings.

    Raises
    ------
    ValueError
        If a split's parts share a group, a part is empty, or the transferred recogniser has another encoder.
    """
    check_splits(data.manifest, allow_overlap)
    if transfer is not None:
        _check_transfer(transfer, settings)
    worker = _Cells(data, settings, transfer, through, reverse_test, keep is not None)
    places = [(split, name) for split in data.manifest.splits for name in settings.poolings]
    choices = dict(
        zip(places, _all(engine, worker, [_Cell(*p) for p in places], "choosing parameters", report), strict=True)
    )
    cells = [_Cell(*place, choices[place], seed) for place in places for seed in range(settings.seeds)]
    rows = {name: Row() for name in settings.poolings}
    for cell, tested in zip(cells, _all(engine, worker, cells, "fitting and testing", report), strict=True):
        row, split, choice = rows[cell.pooling], cell.split, choices[cell.split, cell.pooling]
        row.chosen[split] = {**choice.parameters, "validation": choice.validation_accuracy}
        row.accuracies.setdefault(split, []).append(tested.accuracy)
        row.dim = tested.dim
        if reverse_test:
            row.reversed_accuracies.setdefault(split, []).append(tested.reversed_accuracy)
            row.changed.setdefault(split, []).append(tested.changed)
        if keep is not None:
            train, test = (data.part(split, which) for which in ("train", "test"))
            pipeline, result = tested.fitted
            keep(Fitted(cell.pooling, split, cell.seed, pipeline, result, train, test))
    return rows


def _all(engine: Engine, worker: _Cells, cells: Sequence[_Cell], what: str, report: Callable[[str], None]) -> list[Any]:
    """What becomes of each cell, in their order; they are done in any."""
    results: dict[int, Any] = {}
    report(f"{what}: {len(cells)} to do")
    with closing(engine.map(worker, cells, batch=1)) as outcomes:
        for i, outcome in outcomes:
            results[i] = outcome
            report(f"{what}: {cells[i]} is done, {len(results)} of {len(cells)}")
    return [results[i] for i in range(len(cells))]


@dataclass(frozen=True)
class _Cell:
    """One thing to do: to choose the parameters of a pooling on a split, or where they are given, to fit and test."""

    split: str
    pooling: str
    choice: Choice | None = None
    seed: int = 0

    def __str__(self) -> str:
        return f"{self.split}: {self.pooling}" + (f", seed {self.seed}" if self.choice else "")


class _Tested(NamedTuple):
    """What is told of a fit; ``fitted`` is the whole chain and its result, where they are kept."""

    accuracy: float
    dim: int
    reversed_accuracy: float | None
    changed: float | None
    fitted: tuple[Pipeline, Result] | None


@dataclass(frozen=True)
class _Cells:
    """Makes what does cells (`Engine.map`)."""

    data: LabelledSequences
    settings: Settings
    transfer: Pipeline | None
    through: RegularizedCCA | None
    reverse_test: bool
    is_kept: bool

    def __call__(self) -> Worker:
        chains: dict[str, Chain] = {}

        def work(cells: Sequence[_Cell], tell: Tell) -> Iterator[tuple[int, Any]]:
            split = None
            for i, cell in enumerate(cells):
                if cell.split != split:  # the prepared sequences of one split at a time are in memory
                    split = cell.split
                    train, test = (self.data.part(split, which) for which in ("train", "test"))
                    if split not in chains:
                        chains[split] = Chain(self.settings, train, self.transfer, self.through)
                    chain = chains[split]
                    prepared = chain.prepare(train), chain.prepare(test)
                if cell.choice is None:
                    yield i, chain.choose(cell.pooling, prepared[0])
                else:
                    yield i, self._test(chain, cell, cell.choice, prepared, test)

        return work

    def _test(self, chain: Chain, cell: _Cell, choice: Choice, prepared: tuple[Part, Part], test: Part) -> _Tested:
        result = evaluate(chain.candidate(cell.pooling), choice, *prepared, cell.seed)
        pipeline = chain.whole(result.pipeline)
        reversed_accuracy = changed = None
        if self.reverse_test:
            backwards = pipeline.predict(test[0].reversed())
            reversed_accuracy = 100 * float(np.mean(backwards == test[1]))
            changed = 100 * float(np.mean(backwards != result.predictions))
        fitted = (pipeline, result) if self.is_kept else None
        return _Tested(result.accuracy, result.dim, reversed_accuracy, changed, fitted)


def fit_action(train: Part, settings: Settings, seed: int = 0, through: RegularizedCCA | None = None) -> Pipeline:
    """Fit one pooling, the first of the settings, on all the given sequences.

    Parameters
    ----------
    train : tuple of (Sequences, labels, groups)
    settings : Settings
    seed : int
    through : RegularizedCCA, optional
        See `evaluate_actions`.

    Returns
    -------
    Pipeline
        From sequences of features to classes.
    """
    chain, name = Chain(settings, train, through=through), settings.poolings[0]
    prepared = chain.prepare(train)
    choice = chain.choose(name, prepared)
    return chain.whole(evaluate(chain.candidate(name), choice, prepared, prepared, seed).pipeline)


class Chain:
    """The way from features to classes on one split: which part of it is fitted when.

    Parameters
    ----------
    settings : Settings
    train : tuple of (Sequences, labels, groups)
        What all poolings share is fitted on it.
    transfer : Pipeline, optional
    through : RegularizedCCA, optional
        See `evaluate_actions`.
    """

    def __init__(
        self,
        settings: Settings,
        train: Part,
        transfer: Pipeline | None = None,
        through: RegularizedCCA | None = None,
    ) -> None:
        if transfer is not None and through is not None:
            raise ValueError("a transferred recogniser has its own preparation: leave through out")
        self.settings = settings
        self._is_wide = (train[0].dim or 0) >= WIDE
        self._is_large = len(train[1]) >= _LARGE
        self._as_paper = self._is_wide and self._is_large
        self._encoder = None if transfer is None else FrozenEstimator(transfer["encoder"])
        self._preparation, self._choices = self._shared(train, transfer, through)

    def _shared(
        self, train: Part, transfer: Pipeline | None, through: RegularizedCCA | None
    ) -> tuple[StepPreprocessor | CanonicalSteps | None, dict[str, list[Any]]]:
        """The preparation that all poolings share, and what may be chosen for each behind it."""
        if transfer is not None:
            return transfer["prepare"], {}
        if through is not None:
            return CanonicalSteps(through).fit(train[0]), {}
        choices = self._preparations()
        if all(len(values) == 1 for values in choices.values()):
            return StepPreprocessor(**{name: values[0] for name, values in choices.items()}).fit(train[0]), {}
        if self._is_wide:  # once, because to rotate thousands of values at every choice takes hours
            return StepPreprocessor(basis="pca", n_components=max(choices["n_components"])).fit(train[0]), choices
        return None, choices

    def _preparations(self) -> dict[str, list[Any]]:
        """Values of the preparation's parameters."""
        deltas = self.settings.deltas
        if self._as_paper:
            return {**WIDE_PREPARATION, "deltas": list(deltas or (0,))}
        if self._is_wide:
            small = {"n_components": list(SMALL_COMPONENTS), "deltas": list(deltas or SMALL_DELTAS)}
            return {**WIDE_PREPARATION, **small}
        scaled = {"scale_sequences": [False]} if self.settings.is_streamed else {}
        return {**NARROW_PREPARATIONS, "deltas": list(deltas or NARROW_DELTAS), **scaled}

    def prepare(self, part: Part) -> Part:
        """The part as `candidate` wants it: what all poolings share is done."""
        return part if self._preparation is None else (self._preparation.transform(part[0]), *part[1:])

    def candidate(self, pooling: str) -> Candidate:
        """The pooling behind `prepare`, and what may be chosen for it."""
        settings = self.settings
        units = 200 if self._as_paper else 100
        made = candidate(
            pooling,
            self._choices,
            settings.components,
            settings.n_reduced if self._as_paper else None,
            hidden_size=settings.hidden_size or units,
            projection_size=settings.projection_size or units,
            max_epochs=settings.max_epochs or max(EPOCHS),
            early_stopping="probe" if self._as_paper else None,
            dropout=settings.dropout,
            weight_decay=settings.weight_decay,
            learning_rate=settings.learning_rate,
            device=settings.device,
        )
        if made.is_trained_net and self._encoder is not None:
            made.pipeline.set_params(encoder=self._encoder)
            made.grid.clear()
        elif made.is_trained_net and not self._as_paper and settings.max_epochs is None:
            made.grid["encoder__max_epochs"] = list(EPOCHS)
        return made

    def choose(self, pooling: str, train: Part) -> Choice:
        """Choose the pooling's parameters within the training part."""
        folds = 1 if self._is_large else 3
        seqs, labels, groups = train
        return choose(self.candidate(pooling), seqs, labels, groups, folds, self.settings.jobs)

    def whole(self, pipeline: Pipeline) -> Pipeline:
        """The fitted pipeline with the preparation in front of it, and no frozen step."""
        steps = {name: step.estimator if isinstance(step, FrozenEstimator) else step for name, step in pipeline.steps}
        if self._preparation is not None:
            steps["prepare"] = steps["prepare"].after(self._preparation) if self._choices else self._preparation
        return Pipeline(list(steps.items()))


def as_json(rows: dict[str, Row], protocol: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Figures, configuration and seeds, ready to be written as JSON (accuracies in percent)."""
    return {
        "protocol": {**protocol, "settings": asdict(settings)},
        "poolings": {
            name: {
                **row.accuracies,
                "mean": row.mean,
                "std": row.std,
                "dim": row.dim,
                "chosen": row.chosen,
                **({"reversed": row.reversed_accuracies, "changed": row.changed} if row.changed else {}),
            }
            for name, row in rows.items()
        },
    }


def _check_transfer(transfer: Pipeline, settings: Settings) -> None:
    found = type(transfer["encoder"])
    for name in settings.poolings:
        made = candidate(name, {})
        if made.is_trained_net and type(made.pipeline["encoder"]) is not found:
            raise ValueError(
                f"the transferred recogniser has the encoder {found.__name__}, which is not that of {name}: "
                "choose other poolings, or another recogniser"
            )
