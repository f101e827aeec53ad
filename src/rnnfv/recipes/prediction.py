"""Videos to classes, with a recogniser. A video that cannot be read has its reason, and stops nothing."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.progress import TextColumn

from rnnfv.recipes._job import progress_bar
from rnnfv.recipes.explaining import Explanation, Moments, check_explainable, explain, find_moments
from rnnfv.recipes.extraction import VideoFeatures, read_features_of
from rnnfv.recipes.recognizer import ActionRecognizer
from rnnfv.video.backbones import Backbone
from rnnfv.video.decode import Sampling, VideoError

__all__ = ["Prediction", "predict_videos"]


@dataclass(frozen=True)
class Prediction:
    """What is seen in one video.

    Attributes
    ----------
    path : Path
    classes : list
        All of them, the one with the highest score first; none where the video has failed.
    scores : list of float
        The classifier's decision values, in the same order: above 0 speaks for a class. They are no probabilities.
    reason : str
        Why the video has failed, or what is missing of it; empty where all is well.
    explanation : Explanation or None
    moments : Moments or None
        Of the steps, with the frames of the strongest. Both only where they were asked for, and the video could be
        read a second time.
    """

    path: Path
    classes: list[Any]
    scores: list[float]
    reason: str = ""
    explanation: Explanation | None = None
    moments: Moments | None = None

    @property
    def has_failed(self) -> bool:
        return not self.classes


def predict_videos(
    recognizer: ActionRecognizer,
    paths: Sequence[str | Path],
    *,
    explained: bool = False,
    device: str = "auto",
    workers: int | None = None,
    progress: bool = False,
    backbone: Backbone | None = None,
    on_frames: Callable[[int], None] = lambda count: None,
) -> Generator[tuple[int, Prediction]]:
    """Name the actions in videos.

    In memory are the features of a few videos at a time, however many there are.

    Parameters
    ----------
    recognizer : ActionRecognizer
        With a backbone.
    paths : sequence of str or Path
        Video files, or folders of images.
    explained : bool
        Also tell what each step of each video adds; the videos are decoded a second time for it. Each prediction holds
        the frames of the strongest moments, at most eight.
    device : str
        Of the backbone.
    workers : int, optional
        As for `rnnfv.recipes.extraction.extract_features`.
    progress : bool
        Show a bar on stderr.
    backbone : Backbone, optional
        As ``recognizer.backbone(device)`` gave it, where that is not to be made anew.
    on_frames : callable
        Is told how many more frames were seen by the backbone. What it raises ends everything.

    Yields
    ------
    (int, Prediction)
        The index of each path and what is seen there, as the videos end.

    Raises
    ------
    ValueError
        If the recogniser has no backbone, lacks its weights, or cannot explain.
    ImportError
        If something to read videos with, or for the backbone, is not installed.
    """
    if explained:
        check_explainable(recognizer)
    videos = [Path(path) for path in paths]
    net = recognizer.backbone(device) if backbone is None else backbone
    sampling = cast(Sampling, recognizer.sampling)  # a recogniser with a backbone has it
    with progress_bar(progress, TextColumn("")) as bar:
        task = bar.add_task("recognising", total=len(videos))
        with closing(read_features_of(videos, net, sampling, workers, on_frames)) as outcomes:
            for i, outcome in outcomes:
                yield i, _predict(recognizer, net, videos[i], outcome, explained)
                bar.advance(task)


def _predict(
    recognizer: ActionRecognizer, backbone: Backbone, path: Path, outcome: VideoFeatures, explained: bool
) -> Prediction:
    if outcome.features is None:
        return Prediction(path, [], [], outcome.reason)
    scores = recognizer.scores([outcome.features])[0]
    order = np.argsort(-scores, kind="stable")
    classes = recognizer.classes[order].tolist()
    prediction = Prediction(path, classes, scores[order].tolist(), outcome.reason)
    if not explained:
        return prediction
    explanation = explain(recognizer, outcome.features)
    sampling, wanted = cast(Sampling, recognizer.sampling), explanation.strongest().tolist()
    try:
        moments = find_moments(path, backbone, sampling, len(explanation.shares), wanted)
    except VideoError as error:
        return replace(prediction, reason="; ".join(filter(None, (outcome.reason, f"not explained: {error}"))))
    return replace(prediction, explanation=explanation, moments=moments)
