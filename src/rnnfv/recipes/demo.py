"""The main job on real sequences: every pooling on Japanese Vowels, and what becomes of it when order goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    "shuffled": "RNN-FV, Kronecker: test steps shuffled",
    "reversed": "RNN-FV, Kronecker: test steps reversed",
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
        What validation chose; None for rows that test a fitted pipeline on other sequences.
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
    """Everything the demo shows: its rows, and the first seed's fitted pipeline with what it was tested on."""

    rows: list[Row]
    best: Result
    test: Any


def compare_on_vowels(seeds: int, report: Callable[[str], None] = lambda name: None) -> DemoOutcome:
    """Choose, fit and test every pooling on the official split.

    The test part is used once a seed, at the end.

    Parameters
    ----------
    seeds : int
        Fits of each pooling, with random states 0, 1, ...
    report : callable
        Called with a pooling's name before it is begun.
    """
    vowels = load_japanese_vowels()
    train, test = vowels.part(SPLIT, "train"), vowels.part(SPLIT, "test")
    rows, best = [], []
    for name in POOLINGS:
        report(name)
        candidates = candidate(name, PREPARATIONS, COMPONENTS, **NET)
        choice = choose(candidates, *train, n_jobs=os.cpu_count())
        results = [evaluate(candidates, choice, train, test, seed) for seed in range(seeds)]
        first = results[0]
        accuracies = [result.accuracy for result in results]
        rows.append(Row(name, accuracies, first.dim, first.fit_seconds, first.encode_seconds, choice))
        if name == BEST:
            best = results
    return DemoOutcome(rows + _order_rows(best, test, rows[-1]), best[0], test)


def _order_rows(results: list[Result], test: Any, source: Row) -> list[Row]:
    """The same fitted pipelines on test sequences whose steps come in another order."""
    seqs, labels, _ = test
    changed = {
        "shuffled": [shuffle_steps(seqs, seed) for seed in range(len(results))],
        "reversed": [seqs.reversed()] * len(results),
    }
    return [
        Row(
            name,
            [
                100 * float(np.mean(result.pipeline.predict(X) == labels))
                for result, X in zip(results, batches, strict=True)
            ],
            source.dim,
            source.fit_seconds,
            source.encode_seconds,
            None,
        )
        for name, batches in changed.items()
    ]
