"""The way from features to classes on one split of action data: which part of it is fitted when (SPEC S7-S13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from rnnfv.encoders.canonical import CanonicalSteps
from rnnfv.encoders.steps import StepPreprocessor
from rnnfv.recipes._work import NO_WORK, Work
from rnnfv.recipes.comparison import Candidate, Choice, candidate, choose

if TYPE_CHECKING:
    from rnnfv.recipes.action import Settings

__all__ = ["EPOCHS", "NARROW_DELTAS", "NARROW_PREPARATIONS", "Chain", "Part"]

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


class Chain:
    """The way from features to classes on one split: which part of it is fitted when.

    Parameters
    ----------
    settings : Settings
    train : tuple of (Sequences, labels, groups)
        What all poolings share is fitted on it.
    transfer : Pipeline, optional
    through : CanonicalSteps, optional
        See `evaluate_actions`.
    work : Work
        Keeps what all poolings share.
    """

    def __init__(
        self,
        settings: Settings,
        train: Part,
        transfer: Pipeline | None = None,
        through: CanonicalSteps | None = None,
        work: Work = NO_WORK,
    ) -> None:
        if transfer is not None and through is not None:
            raise ValueError("a transferred recogniser has its own preparation: leave through out")
        self.settings = settings
        self._is_wide = (train[0].dim or 0) >= WIDE
        self._is_large = len(train[1]) >= _LARGE
        self._as_paper = self._is_wide and self._is_large
        self._encoder = None if transfer is None else FrozenEstimator(transfer["encoder"])
        self._preparation, self._choices = self._shared(train, transfer, through, work)

    def _shared(
        self, train: Part, transfer: Pipeline | None, through: CanonicalSteps | None, work: Work
    ) -> tuple[StepPreprocessor | CanonicalSteps | None, dict[str, list[Any]]]:
        """The preparation that all poolings share, and what may be chosen for each behind it."""
        if transfer is not None:
            return transfer["prepare"], {}
        if through is not None:
            return through.fit(train[0]), {}
        choices = self._preparations()
        if all(len(values) == 1 for values in choices.values()):
            made = StepPreprocessor(**{name: values[0] for name, values in choices.items()})
            return work.estimator("preparation", lambda: made.fit(train[0])), {}
        if self._is_wide:  # once, because to rotate thousands of values at every choice takes hours
            made = StepPreprocessor(basis="pca", n_components=max(choices["n_components"]))
            return work.estimator("preparation", lambda: made.fit(train[0])), choices
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

    def choose(self, pooling: str, train: Part, work: Work = NO_WORK) -> Choice:
        """Choose the pooling's parameters within the training part."""
        folds = 1 if self._is_large else 3
        seqs, labels, groups = train
        return choose(self.candidate(pooling), seqs, labels, groups, folds, self.settings.jobs, work)

    def whole(self, pipeline: Pipeline) -> Pipeline:
        """The fitted pipeline with the preparation in front of it, and no frozen step."""
        steps = {name: step.estimator if isinstance(step, FrozenEstimator) else step for name, step in pipeline.steps}
        if self._preparation is not None:
            steps["prepare"] = steps["prepare"].after(self._preparation) if self._choices else self._preparation
        return Pipeline(list(steps.items()))
