"""The single choices and fits of an evaluation of actions, each independent of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline

from rnnfv.datasets.labelled import LabelledSequences
from rnnfv.distributed import LOCAL, Engine, Tell, Worker
from rnnfv.encoders.canonical import CanonicalSteps
from rnnfv.recipes._action_chain import Chain, Part
from rnnfv.recipes._work import NO_WORK, Work
from rnnfv.recipes.comparison import Choice, Result, evaluate

if TYPE_CHECKING:
    from rnnfv.recipes.action import Settings

__all__ = ["Cell", "Cells"]


@dataclass(frozen=True)
class Cell:
    """One thing to do: to choose the parameters of a pooling on a split, or where they are given, to fit and test."""

    split: str
    pooling: str
    choice: Choice | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """Under which its figures are kept, among those of the split."""
        return f"{self.pooling} choice" if self.choice is None else f"{self.pooling} seed {self.seed}"

    def __str__(self) -> str:
        return f"{self.split}: {self.name}"


class _Done(NamedTuple):
    """What became of a cell: plain figures, and where it is wanted the whole chain with its result."""

    figures: dict[str, Any]
    fitted: tuple[Pipeline, Result] | None = None


@dataclass(frozen=True)
class Cells:
    """Does cells, here or elsewhere; it is itself what makes a worker of an engine (`Engine.map`).

    Attributes
    ----------
    data, settings, transfer, through, reverse_test
        See `rnnfv.recipes.action.evaluate_actions`.
    hands_on : bool
        Whether fitted chains come back from where they were fitted.
    work : Work
        Keeps the figures of every cell; and what is finished of one under way, where it is done here.
    """

    data: LabelledSequences
    settings: Settings
    transfer: Pipeline | None
    through: CanonicalSteps | None
    reverse_test: bool
    hands_on: bool
    work: Work

    def do(
        self,
        cells: Sequence[Cell],
        engine: Engine,
        report: Callable[[str], None],
        hand_on: Callable[[Cell, tuple[Pipeline, Result]], None] = lambda cell, fitted: None,
    ) -> list[dict[str, Any]]:
        """The figures of each cell, in their order; those that are kept are not made again."""
        figures = [self.work.part(cell.split).found(cell.name) for cell in cells]
        missing = [i for i, found in enumerate(figures) if found is None]
        worker = self if engine is LOCAL else replace(self, work=NO_WORK)
        with closing(engine.map(worker, [cells[i] for i in missing], batch=1)) as outcomes:
            for n, (k, done) in enumerate(outcomes, start=1):
                cell = cells[missing[k]]
                if done.fitted is not None:
                    hand_on(cell, done.fitted)
                self.work.part(cell.split).keep(cell.name, done.figures)
                figures[missing[k]] = done.figures
                report(f"{cell} is done, {n} of {len(missing)}")
        return figures

    def __call__(self) -> Worker:
        chains: dict[str, Chain] = {}

        def work(cells: Sequence[Cell], tell: Tell) -> Iterator[tuple[int, Any]]:
            split = None
            for i, cell in enumerate(cells):
                if cell.split != split:  # the prepared sequences of one split at a time are in memory
                    split = cell.split
                    train, test = (self.data.part(split, which) for which in ("train", "test"))
                    if split not in chains:
                        part = self.work.part(split)
                        chains[split] = Chain(self.settings, train, self.transfer, self.through, part)
                    chain = chains[split]
                    prepared = chain.prepare(train), chain.prepare(test)
                yield i, self._done(chain, cell, prepared, test)

        return work

    def _done(self, chain: Chain, cell: Cell, prepared: tuple[Part, Part], test: Part) -> _Done:
        work = self.work.part(cell.split).part(cell.name)
        if cell.choice is None:
            return _Done(asdict(chain.choose(cell.pooling, prepared[0], work)))
        result = evaluate(chain.candidate(cell.pooling), cell.choice, *prepared, cell.seed, work)
        pipeline = chain.whole(result.pipeline)
        figures: dict[str, Any] = {"accuracy": result.accuracy, "dim": result.dim}
        if self.reverse_test:
            backwards = pipeline.predict(test[0].reversed())
            figures["reversed"] = 100 * float(np.mean(backwards == test[1]))
            figures["changed"] = 100 * float(np.mean(backwards != result.predictions))
        return _Done(figures, (pipeline, result) if self.hands_on else None)
