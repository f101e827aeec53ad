"""Every pooling at its own best on one data set: prepared as its own validation says, then power, L2, linear SVM."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import ParameterGrid, StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.parallel import Parallel, delayed

from rnnfv.classification import LinearSVM
from rnnfv.decomposition import GramPCA, KroneckerPCA
from rnnfv.encoders.mean import MeanPooling
from rnnfv.encoders.mixture import MixtureFisherVector
from rnnfv.encoders.recurrent import RNNFisherVector, RNNHiddenState
from rnnfv.encoders.steps import StepPreprocessor
from rnnfv.normalization import FisherInformationScaler, PowerNormalizer
from rnnfv.processes import place
from rnnfv.recipes._work import NO_WORK, Work
from rnnfv.sequences import Sequences

_PROBE_TOLERANCE = 1e-3  # of the SVM that judges epochs: its accuracy is that of the exact one
POOLINGS = ("mean", "gmm-fv", "hglmm-fv", "hidden", "rnn-fv", "rnn-fv-kron")


@dataclass(frozen=True)
class Candidate:
    """A pooling and what may be chosen for it on validation data.

    Attributes
    ----------
    pipeline : Pipeline
        Steps "prepare", "encoder", perhaps "scaler" and "reduce", "normalizer", "classifier".
    grid : dict
        Values to try, by parameter, in scikit-learn's notation.
    """

    pipeline: Pipeline
    grid: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def is_trained_net(self) -> bool:
        return hasattr(self.pipeline["encoder"], "early_stopping")


def candidate(
    pooling: str | BaseEstimator,
    preparations: dict[str, list[Any]],
    components: Sequence[int] = (1, 2, 4, 8, 16, 32),
    n_reduced: int | None = None,
    **net: Any,
) -> Candidate:
    """The pipeline of a pooling and its grid.

    Parameters
    ----------
    pooling : str or estimator
        One of ``POOLINGS``, or another encoder of sequences.
    preparations : dict
        Values of `StepPreprocessor`'s parameters to choose from. Empty: the sequences come prepared.
    components : sequence of int
        Sizes of a mixture to choose from (paper, section 7.1).
    n_reduced : int, optional
        Reduce the RNN-FV to so many numbers by PCA (SPEC S10: 1000); epochs are judged after a cheaper `KroneckerPCA`.
    **net
        Parameters of `RNNFisherVector`, for the poolings that train a net.
    """
    grid = {f"prepare__{name}": values for name, values in preparations.items()}
    between: list[tuple[str, Any]] = []
    match pooling:
        case "mean":
            encoder: Any = MeanPooling()
        case "gmm-fv" | "hglmm-fv":
            encoder = MixtureFisherVector(family="gaussian" if pooling == "gmm-fv" else "hybrid")
            grid["encoder__n_components"] = list(components)
        case "hidden":
            encoder = RNNHiddenState(**net)
            grid["encoder__pooling"] = ["mean", "last"]
        case "rnn-fv" | "rnn-fv-kron":
            between = [("scaler", FisherInformationScaler("kronecker"))] if pooling == "rnn-fv-kron" else []
            probe = [clone(step) for _, step in between]
            if n_reduced is not None:
                between.append(("reduce", GramPCA(n_reduced)))
                probe.append(KroneckerPCA())
            judge = LinearSVM(tol=_PROBE_TOLERANCE)
            encoder = RNNFisherVector(**net, probe=make_pipeline(*probe, PowerNormalizer(), judge))
        case str():
            raise ValueError(f"there is no pooling {pooling!r}: choose among {', '.join(POOLINGS)}")
        case _:
            encoder = pooling
    prepare = StepPreprocessor(n_components=40) if preparations else "passthrough"
    steps = [("prepare", prepare), ("encoder", encoder), *between]
    return Candidate(Pipeline([*steps, ("normalizer", PowerNormalizer()), ("classifier", LinearSVM())]), grid)


@dataclass(frozen=True)
class Choice:
    """What validation chose: the parameters, and the accuracy in percent that they had there (None: no choice)."""

    parameters: dict[str, Any]
    validation_accuracy: float | None


def choose(
    chosen_from: Candidate,
    X: Sequences,
    y: Any,
    groups: Any,
    folds: int = 3,
    n_jobs: int | None = None,
    work: Work = NO_WORK,
) -> Choice:
    """Choose a candidate's parameters within training data, no group on two sides.

    Where there is nothing to choose, nothing is fitted.

    Parameters
    ----------
    chosen_from : Candidate
    X : Sequences
        Training sequences, and no others.
    y, groups : ndarray of shape (n,)
    folds : int
        Of the cross-validation; 1 is a single validation part, a fifth of the sequences.
    n_jobs : int, optional
        Processes.
    work : Work
        Keeps the accuracy of every fit.
    """
    if not chosen_from.grid:
        return Choice({}, None)
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ValueError("all training sequences are of one group: no validation part can be cut from them")
    splitter: Any = StratifiedGroupKFold(min(5 if folds == 1 else folds, n_groups), shuffle=True, random_state=0)
    if place()[1] > 1 and n_jobs not in (None, 1):
        raise ValueError("processes that train together choose together: leave --jobs (n_jobs) out")
    parts = list(splitter.split(np.zeros(len(y)), y, groups))[: 1 if folds == 1 else None]
    pipeline = clone(chosen_from.pipeline)
    if "encoder__random_state" in pipeline.get_params():
        pipeline.set_params(encoder__random_state=0)
    grid = list(ParameterGrid(chosen_from.grid))
    fits = [(parameters, part) for parameters in grid for part in parts]
    scores = Parallel(n_jobs)(
        delayed(_validated)(chosen_from, clone(pipeline).set_params(**parameters), (X, y, groups), part, work, i)
        for i, (parameters, part) in enumerate(fits)
    )
    means = np.reshape(scores, (len(grid), len(parts))).mean(axis=1)
    best = int(means.argmax())  # the first of equals
    return Choice(grid[best], 100 * float(means[best]))


def _validated(chosen_from: Candidate, pipeline: Pipeline, train: Any, part: Any, work: Work, i: int) -> float:
    """Accuracy of one fit on its validation part, both given as rows."""
    X, y, groups = train

    def score(within: Work) -> float:
        parameters = _fit_parameters(chosen_from, groups, within)
        named = {f"encoder__{name}": value for name, value in parameters.items()}
        return float(cross_val_score(pipeline, X, y, cv=[part], params=named, error_score="raise")[0])

    return work.figures(f"fit {i}", score)


@dataclass(frozen=True)
class Result:
    """A fitted pipeline and how it did on the test part.

    Attributes
    ----------
    pipeline : Pipeline
    accuracy : float
        Percent.
    dim : int
        Numbers of a vector.
    fit_seconds, encode_seconds : float
        Wall time of fitting all on the training part, and of encoding the test part.
    predictions : ndarray of shape (n_test,)
    """

    pipeline: Pipeline
    accuracy: float
    dim: int
    fit_seconds: float
    encode_seconds: float
    predictions: NDArray[Any]


def evaluate(chosen_from: Candidate, choice: Choice, train: Any, test: Any, seed: int, work: Work = NO_WORK) -> Result:
    """Fit on all training sequences with the chosen parameters, and test.

    A net is trained on a part of them, its epoch chosen on the rest; the SVM then sees them all (SPEC S10).

    Parameters
    ----------
    chosen_from : Candidate
    choice : Choice
    train, test : tuple of (Sequences, labels, groups)
        Parts of a split, as `LabelledSequences.part` gives them.
    seed : int
    work : Work
        Keeps the encoder.
    """
    started = time.perf_counter()
    pipeline = fit(chosen_from, choice, train, seed, work)
    fitted = time.perf_counter()
    vectors = pipeline[:-1].transform(test[0])
    encoded = time.perf_counter()
    predictions = pipeline[-1].predict(vectors)
    accuracy = 100 * float(np.mean(predictions == test[1]))
    return Result(pipeline, accuracy, vectors.shape[1], fitted - started, encoded - fitted, predictions)


def fit(chosen_from: Candidate, choice: Choice, train: Any, seed: int, work: Work = NO_WORK) -> Pipeline:
    """Fit on all training sequences with the chosen parameters.

    Parameters
    ----------
    chosen_from, choice, train, seed, work
        As for `evaluate`.

    Returns
    -------
    Pipeline
        Under torchrun, with the work of a command, only the first process returns: the others have done their share.
    """
    X, y, groups = train
    pipeline = clone(chosen_from.pipeline).set_params(**choice.parameters)
    if "encoder__random_state" in pipeline.get_params():
        pipeline.set_params(encoder__random_state=seed)
    prepared = pipeline[:1].fit_transform(X)
    encoder = pipeline["encoder"]
    if chosen_from.is_trained_net:
        encoder.fit(prepared, y, **_fit_parameters(chosen_from, groups, work))
    elif isinstance(encoder, MixtureFisherVector):
        pipeline.set_params(encoder=work.estimator("mixture", lambda: encoder.fit(prepared)))
    else:
        encoder.fit(prepared, y)
    work.leave_unless_first()
    pipeline[2:].fit(pipeline["encoder"].transform(prepared), y)
    return pipeline


def shuffle_steps(seqs: Sequences, seed: int) -> Sequences:
    """The same sequences, the steps of each in random order."""
    keys = np.random.default_rng(seed).random(len(seqs.values))
    owners = np.repeat(np.arange(len(seqs)), seqs.lengths)
    return Sequences(seqs.values[np.lexsort((keys, owners))], seqs.offsets, seqs.vectors)


def _fit_parameters(chosen_from: Candidate, groups: Any, work: Work) -> dict[str, Any]:
    """What the encoder's fit takes besides sequences and labels."""
    return {"groups": groups, "checkpoint": work.checkpoint("net")} if chosen_from.is_trained_net else {}
