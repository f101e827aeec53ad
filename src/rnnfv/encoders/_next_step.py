"""Training a next-step predictor, and looking at a sequence through it."""

from __future__ import annotations

import copy
import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from numbers import Integral
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_random_state

from rnnfv.devices import pick_device
from rnnfv.encoders import _gradients as gradients
from rnnfv.encoders._base import SequenceEncoder
from rnnfv.encoders._parameters import check_parameters
from rnnfv.encoders._probe import default_probe, validation_split
from rnnfv.encoders._progress import epoch_progress
from rnnfv.networks import NextStepNetwork
from rnnfv.processes import Group, join
from rnnfv.sequences import Sequences, as_sequences
from rnnfv.storage import data_identity
from rnnfv.training import Batch, Batcher, Checkpoint, Schedule, train

_WORK_VALUES = 1 << 21  # values of the widest array made at once: 8 MiB in float32


class NextStepEncoder(SequenceEncoder):
    """An encoder that first trains a net, without labels, to predict each sequence's next element.

    It holds the parameters (documented in `RNNFisherVector`), the training, the choice of an epoch and what a
    trained net tells of single steps. A subclass says in ``_encode`` how the net represents sequences and names
    its width in ``_n_features_out``.
    """

    _poolings: tuple[str, ...]

    def __init__(
        self,
        objective: str = "regression",
        hidden_size: int = 200,
        projection_size: int | None = 200,
        cell: str = "lstm",
        num_layers: int = 1,
        dropout: float = 0.5,
        weight_decay: float = 1e-4,
        learning_rate: float = 1e-3,
        max_grad_norm: float = 1.0,
        batch_size: int = 16,
        max_epochs: int = 8,
        early_stopping: str | None = "auto",
        patience: int | None = None,
        validation_fraction: float = 0.2,
        probe: Any = None,
        gradient: str | list[str] = "output",
        pooling: str = "mean",
        vectors: Any = None,
        n_symbols: int | None = None,
        coordinates: int | None = None,
        device: str = "auto",
        dtype: str = "float32",
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.objective = objective
        self.hidden_size = hidden_size
        self.projection_size = projection_size
        self.cell = cell
        self.num_layers = num_layers
        self.dropout = dropout
        self.weight_decay = weight_decay
        self.learning_rate = learning_rate
        self.max_grad_norm = max_grad_norm
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.probe = probe
        self.gradient = gradient
        self.pooling = pooling
        self.vectors = vectors
        self.n_symbols = n_symbols
        self.coordinates = coordinates
        self.device = device
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    # -- learning --------------------------------------------------------------------------------

    def fit(
        self,
        X: Any,
        y: Any = None,
        groups: Any = None,
        judge: Callable[[Self], float] | None = None,
        checkpoint: str | Path | None = None,
    ) -> Self:
        """Train the net.

        Parameters
        ----------
        X : Sequences, list of ndarray of shape (N_i, D) or (N_i,) int, or ndarray of shape (n, N, D)
        y : array-like of shape (n,), optional
            Labels; they only decide which epoch is kept (``early_stopping``).
        groups : array-like of shape (n,), optional
            Sequences of one group (one film, one person) are kept on one side of the validation split.
        judge : callable, optional
            Called with the encoder after every epoch; the epoch to which it gives the highest value is kept, the first
            of equals, whatever ``early_stopping`` says, and all sequences train. NaN leaves an epoch unjudged.
        checkpoint : str or Path, optional
            A file that is written after every epoch. Where it is there already, from a ``fit`` of the same data and
            parameters that was stopped, this one goes on behind the last epoch, and on a CPU gives the same result to
            the bit as if nothing had happened. It stays when training is over; then nothing is left to do.

        Raises
        ------
        ValueError
            If a parameter or a sequence is not usable; the message says which.
        FloatingPointError
            If training diverges.

        Notes
        -----
        Started by torchrun, all processes call ``fit`` with the same data and parameters, and each takes its share of
        every batch: gradients are means over the steps of all of them. Dropout's masks are drawn by each process for
        its own share. All end with the same net. The first one judges epochs and writes the checkpoint.
        """
        seqs = as_sequences(X, self.vectors)
        check_parameters(self, self._poolings, seqs, y)
        self._check_fit(seqs)
        if checkpoint is not None and not isinstance(self.random_state, Integral):
            raise ValueError("checkpoint needs random_state to be an integer, so that a later fit draws the same")
        try:
            return self._train(seqs, y, groups, judge, None if checkpoint is None else Path(checkpoint))
        except BaseException:  # half a training must not pass for a fitted encoder
            for name in [name for name in self.__dict__ if name.endswith("_")]:
                del self.__dict__[name]
            raise

    def _train(
        self, seqs: Sequences, y: Any, groups: Any, own_judge: Callable[[Self], float] | None, path: Path | None
    ) -> Self:
        group = join()
        seed = group.from_first(lambda: int(check_random_state(self.random_state).randint(2**31)))
        rng = np.random.default_rng(seed)
        part, held_out = seqs, None
        if own_judge is None and self._stopping(y) is not None and self.max_epochs > 0:
            train_rows, rows = validation_split(len(seqs), y, groups, self.validation_fraction, seed)
            part, held_out = seqs[train_rows], seqs[rows]
        device = pick_device(self.device)
        settings = {**self._settings(), "device": device.type, "processes": group.count}
        if group.count > 1:
            # Without an integer the first process has drawn the seed for all: generators need not be alike.
            given = self.random_state if isinstance(self.random_state, Integral) else None
            lengths = data_identity(seqs.offsets)
            group.check_agreement({**settings, "random_state": given, "lengths of the sequences": lengths})
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            outputs = self.n_features_in_
            if self.objective == "classification":
                outputs = self.n_symbols or len(np.asarray(seqs.vectors))  # there is a table: its width was checked
            self.network_ = self._new_network(outputs).to(device).eval()
            self.coordinates_ = self._sample_coordinates(rng)
            batcher = self._batcher(part)
            judge = None if own_judge is None else lambda: own_judge(self)
            if held_out is not None and self._stopping(y) == "probe":
                labels = np.asarray(y)
                judge = self._probe_judge(part, labels[train_rows], held_out, labels[rows])
            elif held_out is not None:
                judge = self._loss_judge(held_out)
            checkpoint = None
            if path is not None:
                data = _identity(seqs, y, groups)
                checkpoint = Checkpoint(path, {**settings, "data": data, "own judge": own_judge is not None})
            if not group.is_first:  # masks of its own for its share; the net was drawn alike
                torch.manual_seed(seed + group.rank)
            self._run_epochs(batcher, rng, judge, checkpoint, group)
        self.best_epoch_ = _kept_epoch(self.history_)
        self.n_left_out_ = 0 if batcher.n_symbols is None else int((seqs.values >= batcher.n_symbols).sum())
        return self

    def _run_epochs(
        self, batcher: Batcher, rng: np.random.Generator, judge: Any, checkpoint: Checkpoint | None, group: Group
    ) -> None:
        schedule = Schedule(
            self.max_epochs,
            self.batch_size,
            self.learning_rate,
            self.weight_decay,
            self.max_grad_norm,
            self.patience,
        )
        self.history_: dict[str, list[float]] = {}
        with epoch_progress(self.max_epochs, enabled=self.verbose and group.is_first) as report:
            train(
                self.network_,
                batcher,
                schedule,
                rng,
                judge,
                report,
                history=self.history_,
                checkpoint=checkpoint,
                group=group,
            )

    def _settings(self) -> dict[str, Any]:
        """The parameters that decide what training gives, as plain JSON values."""
        parameters = self.get_params(deep=False)
        return {
            name: value if value is None or isinstance(value, (bool, int, float, str)) else data_identity(value)
            for name, value in parameters.items()
            if name not in ("device", "vectors", "verbose")
        }

    def _stopping(self, y: Any) -> str | None:
        if self.early_stopping == "auto":
            labelled = y is not None and type_of_target(y) in ("binary", "multiclass") and len(np.unique(y)) > 1
            return "probe" if labelled else "loss"
        return self.early_stopping

    def _probe_judge(self, part: Sequences, y_part: Any, held_out: Sequences, y_held_out: Any) -> Any:
        probe = default_probe() if self.probe is None else self.probe

        def accuracy() -> float:
            classifier = clone(probe).fit(self._encode(part), y_part)
            return float(classifier.score(self._encode(held_out), y_held_out))

        return accuracy

    def _loss_judge(self, held_out: Sequences) -> Any:
        return lambda: float(np.concatenate(self._losses(held_out)).mean()) * -1

    # What was fitted counts, not what a parameter may have been set to since.

    @property
    def _n_outputs(self) -> int:
        return self.network_.output.out_features

    @property
    def _n_hidden(self) -> int:
        return self.network_.output.in_features

    def _new_network(self, outputs: int) -> NextStepNetwork:
        return NextStepNetwork(
            self.n_features_in_,
            int(outputs),
            int(self.hidden_size),
            None if self.projection_size is None else int(self.projection_size),
            self.cell,
            int(self.num_layers),
            self.dropout,
        ).to(getattr(torch, self.dtype))

    def _sample_coordinates(self, rng: np.random.Generator) -> NDArray[np.int64] | None:
        total = self._n_outputs * (self._n_hidden + 1)
        if self.coordinates is None or self.coordinates >= total:
            return None
        return np.sort(rng.choice(total, self.coordinates, replace=False))

    # -- encoding --------------------------------------------------------------------------------

    def transform(self, X: Any) -> NDArray[Any]:
        """Encode sequences.

        Parameters
        ----------
        X : Sequences, list of ndarray of shape (N_i, D) or (N_i,) int, or ndarray of shape (n, N, D)

        Returns
        -------
        ndarray of shape (n, features), float32 unless ``dtype`` says otherwise
            In the order of X.
        """
        return self._encode(self._check_transform(X, self.vectors))

    @abstractmethod
    def _encode(self, seqs: Sequences) -> NDArray[Any]:
        """Represent checked sequences with the net as it is."""

    # -- looking inside --------------------------------------------------------------------------

    def hidden_states(self, X: Any) -> list[NDArray[Any]]:
        """What the output layer sees at each step: a list of (N_i, H) (SPEC S13).

        Parameters
        ----------
        X : as for `transform`
        """
        return self._per_step(self._check_transform(X, self.vectors), lambda batch: self.network_.hidden(batch.inputs))

    def surprisal(self, X: Any) -> list[NDArray[Any]]:
        """Negative log likelihood of each step given those before it: a list of (N_i,), in nats.

        Regression takes a Gaussian of unit variance around the prediction (SPEC S4). A step whose symbol is
        no target has surprisal 0.

        Parameters
        ----------
        X : as for `transform`
        """
        constant = self.n_features_in_ / 2 * math.log(2 * math.pi) if self.objective == "regression" else 0.0
        return [losses + constant for losses in self._losses(self._check_transform(X, self.vectors))]

    def score_samples(self, X: Any) -> NDArray[np.float64]:
        """Log likelihood of each sequence, summed over its steps: shape (n,), float64, in nats.

        Parameters
        ----------
        X : Sequences, list of ndarray of shape (N_i, D) or (N_i,) int, or ndarray of shape (n, N, D)

        Returns
        -------
        ndarray of shape (n,), float64
        """
        return np.array([-steps.sum(dtype=np.float64) for steps in self.surprisal(X)])

    def _losses(self, seqs: Sequences) -> list[NDArray[Any]]:
        return self._per_step(seqs, lambda batch: gradients.step_losses(self.network_(batch.inputs), batch))

    @torch.inference_mode()
    def _per_step(self, seqs: Sequences, function: Any) -> list[NDArray[Any]]:
        """Apply a function (batch, time, ...) to batches; cut its result to the sequences' lengths."""
        results: list[Any] = [None] * len(seqs)
        for indices, batch in self._each_batch(seqs):
            for i, padded, length in zip(indices, function(batch).cpu().numpy(), seqs.lengths[indices], strict=True):
                results[i] = padded[:length].copy()
        return results

    def _batcher(self, seqs: Sequences) -> Batcher:
        weights = self.network_.output.weight
        n_symbols = self._n_outputs if self.objective == "classification" else None
        return Batcher(seqs, n_symbols, weights.device, weights.dtype)

    def _each_batch(self, seqs: Sequences, values_each: int = 0) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        """Batches that keep the widest array small, be it a step's or the given number of values of a sequence."""
        batcher = self._batcher(seqs)
        max_steps = max(1, _WORK_VALUES // max(self._n_outputs, 4 * self._n_hidden))
        for indices in seqs.batches(max_steps, batch_size=max(1, _WORK_VALUES // max(1, values_each))):
            yield indices, batcher(indices)

    # -- storage ---------------------------------------------------------------------------------

    def _get_state(self) -> dict[str, Any]:
        state = super()._get_state()
        if "network_" in state:
            state["network_"] = {name: weights.cpu().numpy() for name, weights in self.network_.state_dict().items()}
        return state

    def _set_state(self, state: dict[str, Any]) -> None:
        arrays = state.pop("network_", None)
        super()._set_state(state)
        if arrays is None:
            return
        weights = {name: torch.tensor(array, dtype=getattr(torch, self.dtype)) for name, array in arrays.items()}
        if self.num_layers > len(weights):
            raise ValueError(f"there are no weights for {self.num_layers} layers")
        with torch.device("meta"):  # no memory for sizes that the weights may not have
            network = self._new_network(len(weights["output.bias"]))
        network.load_state_dict(weights, assign=True)
        self.network_ = network.to(self._device_here()).eval()

    def __getstate__(self) -> dict[str, Any]:
        """For pickle, copy and other processes: the net in the memory of the CPU, which every machine has."""
        state = dict(super().__getstate__())
        if "network_" in state:
            state["network_"] = copy.deepcopy(self.network_).cpu()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "network_" in vars(self):
            self.network_ = self.network_.to(self._device_here())

    def _device_here(self) -> torch.device:
        """Where the net of an encoder that comes from elsewhere is to be."""
        try:
            return pick_device(self.device)
        except ValueError as error:
            warnings.warn(f"{error}; the net is on the CPU", UserWarning, stacklevel=3)
            return torch.device("cpu")


def _kept_epoch(history: dict[str, list[float]]) -> int:
    """The epoch that training kept, from 1: the first of the best, or the last."""
    judged = np.array(history.get("validation", []))
    return len(history["loss"]) if np.isnan(judged).all() else 1 + int(np.nanargmax(judged))


def _identity(seqs: Sequences, y: Any, groups: Any) -> str:
    """A checksum of training data."""
    labels = [None if part is None else np.asarray(part).tolist() for part in (y, groups)]
    return data_identity([seqs.values, seqs.offsets, seqs.vectors, *labels])
