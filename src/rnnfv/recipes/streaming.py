"""Recognising while a sequence is still going on: every step is used once, as it comes, and nothing is kept of it."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from rnnfv.encoders import _gradients as gradients
from rnnfv.encoders.recurrent import RNNFisherVector
from rnnfv.networks import State
from rnnfv.normalization import fold
from rnnfv.recipes._scores import by_class
from rnnfv.video.clips import ClipCutter

if TYPE_CHECKING:
    from rnnfv.video.backbones import Backbone

__all__ = ["ActionStream", "follow"]

_BLOCK = 256  # steps that go through the net together
_WORK_VALUES = 1 << 21  # values of the widest array made at once: 8 MiB in float32


class ActionStream:
    """A fitted pipeline that takes the steps of one sequence as they come.

    The Fisher vector is a sum over steps (SPEC S4), each of which needs the recurrent part's state and no step before
    the last, so that the vector of what was seen until now is always at hand. Work and memory of a step do not grow:
    kept are the state, the last ``deltas`` steps and the sum, in float64. At the end the result is that of the
    pipeline for the whole sequence.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted: perhaps a `StepPreprocessor`, then an `RNNFisherVector` of vectors and their output layer's gradient,
        then anything that works on vectors, such as `rnnfv.recipes.action.fit_action` gives.

    Attributes
    ----------
    n_steps : int
        Steps seen since the beginning.

    Raises
    ------
    ValueError
        If the pipeline's encoder is another one, or its preparation needs whole sequences.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from rnnfv import LinearSVM, PowerNormalizer, RNNFisherVector
    >>> from rnnfv.recipes.streaming import ActionStream
    >>> seqs = np.random.default_rng(0).normal(size=(6, 9, 3)).astype("float32")
    >>> encoder = RNNFisherVector(hidden_size=4, max_epochs=1, early_stopping=None, random_state=0)
    >>> pipeline = make_pipeline(encoder, PowerNormalizer(), LinearSVM()).fit(seqs, list("aabbcc"))
    >>> stream = ActionStream(pipeline)
    >>> for step in seqs[0]:
    ...     scores = stream.push(step).scores()
    >>> bool(np.allclose(scores, pipeline.decision_function(seqs[:1])[0], rtol=1e-4, atol=1e-6))
    True
    """

    def __init__(self, pipeline: Pipeline) -> None:
        check_is_fitted(pipeline)
        steps = [step for _, step in pipeline.steps if step not in (None, "passthrough")]
        self._prepare = steps.pop(0) if steps and hasattr(steps[0], "transform_next") else None
        self._encoder = _checked_encoder(steps.pop(0) if steps else None)
        self._pipeline, self._behind = pipeline, steps
        self._network = self._encoder.network_
        self._width = (self._encoder if self._prepare is None else self._prepare).n_features_in_
        if self._prepare is not None:
            self._prepare.transform_next(np.zeros((1, self._width)))  # refuses now what no push could do
        self._places: tuple[Tensor, ...] = ()  # of the sampled coordinates in the output layer's gradient
        if self._encoder.coordinates_ is not None:
            places = np.divmod(np.asarray(self._encoder.coordinates_), self._network.output.in_features + 1)
            self._places = tuple(torch.from_numpy(side).to(self._network.output.weight.device) for side in places)
        self.reset()

    def reset(self) -> ActionStream:
        """Forget all steps: what is pushed next begins another sequence."""
        output = self._network.output
        self.n_steps = 0
        self._before: NDArray[np.float64] | None = None  # the last steps, as they came
        self._last = output.weight.new_zeros(1, 1, self._encoder.n_features_in_)  # the last step, prepared
        self._state: State = self._network.start(self._last)
        shape = (len(self._places[0]),) if self._places else (output.out_features, output.in_features + 1)
        self._sum = output.weight.new_zeros(shape, dtype=torch.float64)
        self._product = output.weight.new_empty(shape)  # of one block, before it is added to the sum
        return self

    def push(self, steps: Any) -> ActionStream:
        """Take the next steps. It does not matter how a sequence is cut into pushes.

        Parameters
        ----------
        steps : array-like of shape (n, D), or (D,) for one step
            As the pipeline was fitted on.

        Returns
        -------
        ActionStream
            This one.

        Raises
        ------
        ValueError
            If a step has another width, or a value that is NaN or infinite. The message says which step, counted from
            0 at the beginning of the sequence. Then none of these steps is taken, and the stream can go on.
        """
        steps = self._checked(steps)
        block = min(_BLOCK, max(1, _WORK_VALUES // self._product.numel())) if self._places else _BLOCK
        for start in range(0, len(steps), block):
            self._take(steps[start : start + block].astype(np.float64))
        return self

    @torch.inference_mode()
    def vector(self) -> NDArray[Any]:
        """The Fisher vector of all steps until now.

        Returns
        -------
        ndarray of shape (F,)
            In the dtype and with the pooling of the encoder, before the rest of the pipeline.

        Raises
        ------
        ValueError
            If there was no step.
        """
        if self.n_steps == 0:
            raise ValueError("there is no vector before the first step: push a step")
        total = self._sum / (self.n_steps if self._encoder.pooling == "mean" else 1)
        return total.flatten().to(self._product.dtype).cpu().numpy()

    @property
    def classes(self) -> NDArray[Any]:
        """The classes, in the order of `scores`: shape (C,)."""
        return self._pipeline.classes_

    def scores(self) -> NDArray[np.floating[Any]]:
        """The classifier's decision value for every class at this moment.

        Returns
        -------
        ndarray of shape (C,)
            Above 0 speaks for the class. Where there are two, the first is the second's negative.

        Raises
        ------
        ValueError
            If there was no step, or the pipeline does not end with a classifier that has such values.
        """
        if not hasattr(self._pipeline, "decision_function"):
            raise ValueError("the pipeline does not end with a classifier that has decision_function: use vector()")
        vectors: Any = self.vector()[None]
        if not self._places:
            vectors = fold(vectors, self._network.output.out_features)
        for step in self._behind[:-1]:
            vectors = step.transform(vectors)
        return by_class(self._behind[-1].decision_function(vectors))[0]

    # -- one block -------------------------------------------------------------------------------

    def _checked(self, steps: Any) -> NDArray[Any]:
        try:
            array = np.asarray(steps)
        except ValueError as error:
            raise ValueError(f"the steps from {self.n_steps} on are not of one width") from error
        array = array[None] if array.ndim == 1 else array
        if array.ndim != 2 or not (np.issubdtype(array.dtype, np.number) and np.isrealobj(array)):
            raise ValueError(
                f"steps must be real numbers of shape (n, {self._width}) or ({self._width},); "
                f"got shape {np.shape(steps)} and dtype {array.dtype} at step {self.n_steps}"
            )
        if array.shape[1] != self._width:
            raise ValueError(f"step {self.n_steps} has {array.shape[1]} values: the model takes {self._width}")
        is_finite = np.isfinite(array).all(axis=1)
        if not is_finite.all():
            raise ValueError(f"step {self.n_steps + int(np.argmin(is_finite))} has NaN or an infinite value")
        return array

    @torch.inference_mode()
    def _take(self, steps: NDArray[np.float64]) -> None:
        """Advance by the given steps (n, D), float64. All is computed before anything is changed."""
        before: NDArray[np.float64] | None = None
        prepared: NDArray[Any] = steps
        if self._prepare is not None:
            prepared, before = self._prepare.transform_next(steps, self._before)
        elements = torch.from_numpy(prepared).to(self._last.device, self._last.dtype)[None]
        inputs = torch.cat([self._last, elements[:, :-1]], dim=1)
        hidden, state = self._network.advance(inputs, self._state)
        errors = self._network.output(hidden).sub_(elements)
        hidden = gradients.with_bias(hidden)
        if self._places:
            self._product = gradients.sampled_output_gradient(errors, hidden, *self._places)[0]
        else:
            gradients.linear_gradient(errors, hidden, [len(steps)], [self._product])
        self._sum += self._product
        self._before, self._last, self._state = before, elements[:, -1:].clone(), state
        self.n_steps += len(steps)


def follow(
    frames: Iterable[tuple[float, NDArray[np.uint8]]], backbone: Backbone, stream: ActionStream
) -> Generator[float]:
    """Push a video into a stream as its frames come.

    Parameters
    ----------
    frames : iterable of (float, ndarray of shape (h, w, 3), uint8)
        Time in seconds, and frame, one at a time (`rnnfv.video.live.LiveVideo`).
    backbone : Backbone
        One of clips gets those that `ClipCutter` cuts.
    stream : ActionStream

    Yields
    ------
    float
        The time of each frame, after it was used.

    Raises
    ------
    ValueError
        If the frames change size, or what the backbone makes of them is no step of the stream.
    """
    cutter = ClipCutter() if backbone.input == "clips" else None
    shape: tuple[int, ...] | None = None
    time = 0.0
    for time, frame in frames:
        prepared = backbone.prepare(frame)
        shape = shape or prepared.shape
        if prepared.shape != shape:
            raise ValueError(f"the frames change size, from {shape[:2]} to {prepared.shape[:2]}: split the video")
        batch = prepared[None] if cutter is None else cutter.push(prepared[None])
        if len(batch):
            stream.push(backbone(batch))
        yield time
    if cutter is not None and len(batch := cutter.finish()):
        stream.push(backbone(batch))
        yield time


def _checked_encoder(encoder: Any) -> RNNFisherVector:
    if not isinstance(encoder, RNNFisherVector):
        raise ValueError(
            f"a stream needs RNNFisherVector, but this pipeline has {type(encoder).__name__}: fit one with the pooling "
            "rnn-fv or rnn-fv-kron"
        )
    if encoder.objective != "regression":
        raise ValueError("a stream needs RNNFisherVector with objective='regression': symbols are for whole sentences")
    if encoder.gradient != "output":
        raise ValueError("a stream needs RNNFisherVector with gradient='output': others need the whole sequence")
    check_is_fitted(encoder)
    return encoder
