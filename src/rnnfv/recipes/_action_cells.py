"""The single choices and fits of an evaluation of actions, each independent of the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.pipeline import Pipeline

from rnnfv.datasets.labelled import LabelledSequences
from rnnfv.distributed import Engine, LocalEngine, Tell
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
    """Does cells, here or elsewhere.

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
        is_here = isinstance(engine, LocalEngine)
        make_worker = (lambda: self._worker) if is_here else partial(_Worker, replace(self, work=NO_WORK))
        with closing(engine.map(make_worker, [cells[i] for i in missing], batch=1)) as outcomes:
            for n, (k, done) in enumerate(outcomes, start=1):
                cell = cells[missing[k]]
                if done.fitted is not None:
                    hand_on(cell, done.fitted)
                self.work.part(cell.split).keep(cell.name, done.figures)
                figures[missing[k]] = done.figures
                report(f"{cell} is done, {n} of {len(missing)}")
        return figures

    @cached_property
    def _worker(self) -> _Worker:
        """The one of this process, which keeps what it has prepared from one call of `do` to the next."""
        return _Worker(self)


class _Worker:
    """Does cells in one process.

    What all poolings of a split share is fitted once; its prepared sequences are in memory for one split at a time.
    """

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._chains: dict[str, Chain] = {}
        self._split, self._prepared = "", dict[str, Part]()

    def __call__(self, cells: Sequence[Cell], tell: Tell) -> Iterator[tuple[int, _Done]]:
        for i, cell in enumerate(cells):
            yield i, self._done(cell)

    def _chain(self, split: str) -> Chain:
        if split not in self._chains:
            to_do = self._cells
            train, work = to_do.data.part(split, "train"), to_do.work.part(split)
            self._chains[split] = Chain(to_do.settings, train, to_do.transfer, to_do.through, work)
        return self._chains[split]

    def _part(self, split: str, which: str) -> Part:
        """A part of a split, prepared."""
        if split != self._split:
            self._split, self._prepared = split, {}
        if which not in self._prepared:
            self._prepared[which] = self._chain(split).prepare(self._cells.data.part(split, which))
        return self._prepared[which]

    def _done(self, cell: Cell) -> _Done:
        to_do, chain, train = self._cells, self._chain(cell.split), self._part(cell.split, "train")
        work = to_do.work.part(cell.split).part(cell.name)
        if cell.choice is None:
            return _Done(asdict(chain.choose(cell.pooling, train, work)))
        test = self._part(cell.split, "test")
        result = evaluate(chain.candidate(cell.pooling), cell.choice, train, test, cell.seed, work)
        pipeline = chain.whole(result.pipeline)
        figures: dict[str, Any] = {"accuracy": result.accuracy, "dim": result.dim}
        if to_do.reverse_test:
            seqs, labels, _ = to_do.data.part(cell.split, "test")
            backwards = pipeline.predict(seqs.reversed())
            figures["reversed"] = 100 * float(np.mean(backwards == labels))
            figures["changed"] = 100 * float(np.mean(backwards != result.predictions))
        return _Done(figures, (pipeline, result) if to_do.hands_on else None)
