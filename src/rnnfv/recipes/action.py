"""Action recognition as the paper measures it: every pooling on the same features, split by split (SPEC S7-S13)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from sklearn.pipeline import Pipeline

from rnnfv.datasets.labelled import LabelledSequences
from rnnfv.datasets.manifest import check_splits
from rnnfv.distributed import LOCAL, Engine
from rnnfv.encoders.canonical import CanonicalSteps
from rnnfv.metrics import mean_accuracy
from rnnfv.processes import refuse_several
from rnnfv.recipes._action_cells import Cell, Cells
from rnnfv.recipes._action_chain import Chain, Part
from rnnfv.recipes._work import NO_WORK, Work
from rnnfv.recipes.comparison import POOLINGS, Choice, Result, candidate, fit

_RUNNING = ("poolings", "seeds", "device", "jobs")  # settings that say how much is fitted, and where


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
        twice = [name for i, name in enumerate(self.poolings) if name in self.poolings[:i]]
        if twice:
            raise ValueError(f"the pooling {twice[0]!r} is named twice: name it once")
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

    @property
    def fitting(self) -> dict[str, Any]:
        """What decides the result of a fit of one pooling with one seed."""
        return {name: value for name, value in asdict(self).items() if name not in _RUNNING}


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
    through: CanonicalSteps | None = None,
    allow_overlap: bool = False,
    reverse_test: bool = False,
    engine: Engine = LOCAL,
    report: Callable[[str], None] = lambda text: None,
    keep: Callable[[Fitted], None] | None = None,
    work: Work = NO_WORK,
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
    through : CanonicalSteps, optional
        Not fitted; its CCA is of image vectors that the features' backbone made. It maps every step, in place of the
        usual preparation (SPEC S8).
    allow_overlap : bool
        Go on where a group is in both parts of a split.
    reverse_test : bool
        Also test on the test part played backwards.
    engine : Engine
        Where choices, and then fits, are made: each split, pooling and seed apart from the others.
    report : callable
        Is told what is done.
    keep : callable, optional
        Is handed every pooling that is fitted in this call. Those whose figures ``work`` has kept from an earlier call
        are not fitted again, and not handed on.
    work : Work
        Keeps the figures of every fit, which is then done once; and where it is done in this process, what is finished
        of the fit under way.

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
    todo = Cells(data, settings, transfer, through, reverse_test, keep is not None, work)
    places = [(split, name) for split in data.manifest.splits for name in settings.poolings]
    chosen = todo.do([Cell(*place) for place in places], engine, report)
    choices = {place: Choice(**figures) for place, figures in zip(places, chosen, strict=True)}
    cells = [Cell(*place, choices[place], seed) for place in places for seed in range(settings.seeds)]

    def hand_on(cell: Cell, fitted: tuple[Pipeline, Result]) -> None:
        if keep is not None:
            train, test = (data.part(cell.split, which) for which in ("train", "test"))
            keep(Fitted(cell.pooling, cell.split, cell.seed, *fitted, train, test))

    rows = {name: Row() for name in settings.poolings}
    for cell, figures in zip(cells, todo.do(cells, engine, report, hand_on), strict=True):
        row, split, choice = rows[cell.pooling], cell.split, choices[cell.split, cell.pooling]
        row.chosen[split] = {**choice.parameters, "validation": choice.validation_accuracy}
        row.accuracies.setdefault(split, []).append(figures["accuracy"])
        row.dim = figures["dim"]
        if reverse_test:
            row.reversed_accuracies.setdefault(split, []).append(figures["reversed"])
            row.changed.setdefault(split, []).append(figures["changed"])
    return rows


def fit_action(
    train: Part,
    settings: Settings,
    seed: int = 0,
    through: CanonicalSteps | None = None,
    work: Work = NO_WORK,
) -> Pipeline:
    """Fit one pooling, the first of the settings, on all the given sequences.

    Parameters
    ----------
    train : tuple of (Sequences, labels, groups)
    settings : Settings
    seed : int
    through : CanonicalSteps, optional
        See `evaluate_actions`.
    work : Work
        Keeps what was chosen, the preparation and the encoder.

    Returns
    -------
    Pipeline
        From sequences of features to classes.
    """
    name = settings.poolings[0]
    if not candidate(name, {}).is_trained_net:
        refuse_several(f"{name} trains no net")
    chain = Chain(settings, train, through=through, work=work)
    prepared = chain.prepare(train)
    choice = Choice(**work.figures("choice", lambda part: asdict(chain.choose(name, prepared, part))))
    return chain.whole(fit(chain.candidate(name), choice, prepared, seed, work))


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
