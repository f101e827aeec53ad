"""The main job on real sequences: every pooling on Japanese Vowels, and what becomes of it when order goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rnnfv.datasets.japanese_vowels import load_japanese_vowels
from rnnfv.metrics import mean_accuracy
from rnnfv.recipes.comparison import POOLINGS, Choice, Result, candidate, choose, evaluate, shuffle_steps

SPLIT = "split1"
BEST = "rnn-fv-kron"
TITLES = {
    "mean": "mean pooling",
    "gmm-fv": "GMM Fisher vector",
    "hglmm-fv": "HGLMM Fisher vector",
    "hidden": "hidden state",
    "rnn-fv": "RNN-FV",
    "rnn-fv-kron": "RNN-FV, Kronecker",
    "shuffled": "... time steps shuffled",
    "reversed": "... test played backwards",
}

# What validation chooses from, for every pooling alike. Mixtures and nets are small, like the data.
PREPARATIONS: dict[str, list[Any]] = {"basis": ["raw", "standardize", "whiten"], "deltas": [0, 1]}
COMPONENTS = [2, 4, 8, 16]
NET: dict[str, Any] = {
    "hidden_size": 100,
    "projection_size": 100,
    "max_epochs": 4,
}


@dataclass(frozen=True)
class Row:
    """One line of the demo's table.

    Attributes
    ----------
    name : str
        A key of ``TITLES``.
    accuracies : list of float
        Percent of the test part, one for each seed.
    dim : int
        Numbers of a vector.
    fit_seconds, encode_seconds : float
        Of the first seed: fitting on 270 utterances, encoding 370.
    choice : Choice or None
        What validation chose; None for the rows that take order away from the pooling above them.
    """

    name: str
    accuracies: list[float]
    dim: int
    fit_seconds: float
    encode_seconds: float
    choice: Choice | None

    @property
    def mean(self) -> float:
        return mean_accuracy([self.accuracies])[0]

    @property
    def std(self) -> float:
        return mean_accuracy([self.accuracies])[1]


@dataclass(frozen=True)
class DemoOutcome:
    """Everything the demo shows.

    Attributes
    ----------
    rows : list of Row
    first : dict of Result
        The first seed's fitted pipeline of each pooling.
    test : tuple of (Sequences, labels, groups)
        What they were tested on.
    """

    rows: list[Row]
    first: dict[str, Result]
    test: Any


def compare_on_vowels(seeds: int, report: Callable[[str], None] = lambda name: None) -> DemoOutcome:
    """Choose, fit and test every pooling on the official split, then take order away from the best.

    The test part is used once a seed, at the end.

    Parameters
    ----------
    seeds : int
        Fits of each pooling, with random states 0, 1, ...
    report : callable
        Called with a row's name before it is begun.
    """
    vowels = load_japanese_vowels()
    train, test = vowels.part(SPLIT, "train"), vowels.part(SPLIT, "test")
    rows, first = [], {}
    for name in POOLINGS:
        report(name)
        candidates = candidate(name, PREPARATIONS, COMPONENTS, **NET)
        choice = choose(candidates, *train, n_jobs=os.cpu_count())
        results = [evaluate(candidates, choice, train, test, seed) for seed in range(seeds)]
        rows.append(_row(name, results, choice))
        first[name] = results[0]
        if name == BEST:
            report("shuffled")
            shuffled = [
                evaluate(candidates, choice, _shuffled(train, seed), _shuffled(test, seed), seed)
                for seed in range(seeds)
            ]
            backwards = [100 * result.pipeline.score(test[0].reversed(), test[1]) for result in results]
            ordered = [
                _row("shuffled", shuffled, None),
                replace(rows[-1], name="reversed", accuracies=backwards, choice=None),
            ]
    return DemoOutcome(rows + ordered, first, test)


def _row(name: str, results: list[Result], choice: Choice | None) -> Row:
    accuracies = [result.accuracy for result in results]
    return Row(name, accuracies, results[0].dim, results[0].fit_seconds, results[0].encode_seconds, choice)


def _shuffled(part: Any, seed: int) -> Any:
    return (shuffle_steps(part[0], seed), *part[1:])
