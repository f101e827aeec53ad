"""Why a recogniser decides as it does: what each step of a sequence adds, and which moments of the video those are."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.encoders.recurrent import RNNFisherVector
from rnnfv.recipes.recognizer import ActionRecognizer
from rnnfv.video.backbones import Backbone
from rnnfv.video.backbones.preprocessing import resize
from rnnfv.video.clips import ClipCutter
from rnnfv.video.decode import Sampling, VideoError, read_frames

__all__ = ["Explanation", "Moments", "check_explainable", "explain", "find_moments"]

_HEIGHT = 240  # pixels of a kept frame's shorter side: enough for a picture


@dataclass(frozen=True)
class Explanation:
    """A decision for the top class as a sum over the steps of a sequence.

    Attributes
    ----------
    label : str or int
        The class with the highest score.
    decision : float
        Its score: ``shares.sum() + constant``.
    shares : ndarray of shape (N,), float64
        What each step adds, by the way in which it differs from what the net expected after the steps before it.
    constant : float
        What no step adds: the classifier's intercept, and the mean vector that PCA takes away.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv.recipes.explaining import Explanation
    >>> why = Explanation("jump", 1.25, np.array([0.25, -0.5, 0.75, 1.0]), -0.25)
    >>> why.strongest(2).tolist()
    [2, 3]
    """

    label: Any
    decision: float
    shares: NDArray[np.float64]
    constant: float

    def strongest(self, count: int = 8) -> NDArray[np.int64]:
        """The steps that spoke most for the class, at most so many, in the order of time."""
        return np.sort(np.argsort(-self.shares, kind="stable")[:count])


def explain(recognizer: ActionRecognizer, sequence: Any) -> Explanation:
    """Split the decision for the top class into shares of the steps.

    Parameters
    ----------
    recognizer : ActionRecognizer
        Of the RNN Fisher vector: only there is a decision a sum over steps that knows their order.
    sequence : ndarray of shape (N, D)
        Features, as for `ActionRecognizer.scores`.

    Returns
    -------
    Explanation

    Raises
    ------
    ValueError
        If the recogniser has another pooling.
    """
    check_explainable(recognizer)
    (_, prepare), (_, encoder), *between, (_, classifier) = recognizer.pipeline.steps
    scores = recognizer.scores([sequence])[0]
    top = int(np.argmax(scores))
    weights = classifier.coef_[top] if len(scores) > 2 else classifier.coef_[0] * (2 * top - 1)
    shares = encoder.explain(prepare.transform([sequence])[0], weights, [step for _, step in between])
    decision = float(scores[top])
    return Explanation(recognizer.classes.tolist()[top], decision, shares, decision - float(shares.sum()))


def check_explainable(recognizer: ActionRecognizer) -> None:
    """Refuse recognisers whose decisions are no sum over steps."""
    encoder = recognizer.pipeline["encoder"]
    if not isinstance(encoder, RNNFisherVector):
        raise ValueError(
            f"{type(encoder).__name__} does not tell what each step adds: fit a recogniser with the pooling rnn-fv or "
            "rnn-fv-kron to explain its decisions"
        )


@dataclass(frozen=True)
class Moments:
    """Where in a video the steps of its sequence are.

    Attributes
    ----------
    frames : ndarray of shape (N,), int64
        The frame, from 0, that a step is, or with which its clip begins.
    seconds : ndarray of shape (N,), float64, or None
        The same as times, since the first frame; None for a folder of images.
    images : dict of ndarray of shape (h, w, 3), uint8
        By step, the frames that were asked for; a shorter side above 240 pixels is reduced to that.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv.recipes.explaining import Moments
    >>> Moments(np.array([0, 1880]), np.array([0.0, 75.2]), {}).place(1)
    '1:15.2'
    """

    frames: NDArray[np.int64]
    seconds: NDArray[np.float64] | None
    images: dict[int, NDArray[np.uint8]]

    def place(self, step: int) -> str:
        """Where a step is, to be read: "0:04.3" (minutes and seconds), or "frame 43"."""
        if self.seconds is None:
            return f"frame {self.frames[step]}"
        minutes, tenths = divmod(round(10 * float(self.seconds[step])), 600)
        return f"{minutes}:{tenths / 10:04.1f}"


def find_moments(
    path: str | Path, backbone: Backbone, sampling: Sampling, n_steps: int, wanted: Collection[int]
) -> Moments:
    """Read a video again, to see which of its frames the steps are.

    Parameters
    ----------
    path : str or Path
    backbone : Backbone
    sampling : Sampling
        With which the sequence was made.
    n_steps : int
        Steps of the sequence, N.
    wanted : collection of int
        The steps whose frames are to be kept.

    Returns
    -------
    Moments

    Raises
    ------
    VideoError
        If the video cannot be read, or no longer has so many steps.
    """
    stride = ClipCutter().stride if backbone.input == "clips" else 1
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1

    frames: list[int] = []
    seconds: list[float] = []
    images: dict[int, NDArray[np.uint8]] = {}
    with closing(read_frames(path, sampling, on_frame=count)) as kept:
        for i, image in enumerate(kept):
            step, rest = divmod(i, stride)
            if rest == 0:
                frames.append(seen - 1)
                seconds += [] if kept.seconds is None else [kept.seconds]
                if step in wanted:
                    images[step] = resize(image, min(_HEIGHT, *image.shape[:2]))
    if len(frames) < n_steps:
        raise VideoError(f"{path}: has fewer frames than when it was read before: leave it as it is meanwhile")
    # Frames at the end may fill no clip.
    return Moments(np.array(frames[:n_steps]), np.array(seconds[:n_steps]) if seconds else None, images)
