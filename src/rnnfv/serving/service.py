"""Models and indexes, opened once, and what they can tell: plain functions of many questions at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from rnnfv.encoders._base import SequenceEncoder
from rnnfv.recipes.explaining import check_explainable
from rnnfv.recipes.picture_features import through_net
from rnnfv.recipes.prediction import Prediction, predict_videos
from rnnfv.recipes.recognizer import FOLDER as ACTION
from rnnfv.recipes.recognizer import ActionRecognizer, load_recognizer
from rnnfv.recipes.retrieval import FOLDER as RETRIEVAL
from rnnfv.recipes.search import IMAGES, SENTENCES, Searcher, nearest, pictures_of
from rnnfv.serving.limits import Limits, TooLargeError
from rnnfv.storage import MODEL_FILES, VectorIndex, load, open_index
from rnnfv.video._sources import check_file
from rnnfv.video.backbones import Backbone
from rnnfv.video.decode import VideoError
from rnnfv.video.pictures import read_picture

__all__ = ["Hits", "ReadText", "Service"]

_NO_SEARCHER = "a model of images and sentences (`rnnfv retrieval fit`)"

Hits = list[tuple[str, float]]  # what was found, and how similar it is, best first


@dataclass(frozen=True)
class ReadText:
    """A sentence in the common space, and the images near it.

    Attributes
    ----------
    vector : ndarray of shape (k,), float32
    hits : list of (str, float)
    """

    vector: NDArray[np.float32]
    hits: Hits


class Service:
    """What was given, opened.

    Parameters
    ----------
    models : sequence of Path
        Folders, each of a model of images and sentences (several are averaged), of a recogniser of actions, or of an
        encoder of sequences.
    indexes : sequence of Path
        Folders, one of images and one of sentences at most.
    weights : Path, optional
        Of the backbone of the images.
    device : str
        Of backbones.
    limits : Limits, optional

    Attributes
    ----------
    searcher : Searcher or None
    images, sentences : VectorIndex or None
    recognizer : ActionRecognizer or None
    encoder : estimator or None
    lacks : dict of str
        For each of "search", "annotate", "actions", "encode text" and "encode sequence": what is missing for it; empty
        where nothing is.

    Raises
    ------
    ValueError
        If a folder is none of these, is damaged, or is one too many; an index is of other models.
    ImportError
        If something is not installed that a model or an index needs.
    """

    def __init__(
        self,
        models: Sequence[Path],
        indexes: Sequence[Path] = (),
        *,
        weights: Path | None = None,
        device: str = "auto",
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        kinds: dict[str, list[Path]] = {RETRIEVAL.record: [], ACTION.record: [], MODEL_FILES[0]: []}
        for folder in models:
            kinds[_record_in(folder, list(kinds))].append(folder)
        searched, acted, encoded = kinds.values()
        self.searcher = Searcher(searched) if searched else None
        action, encoder = _one(acted, "recogniser of actions"), _one(encoded, "encoder")
        self.recognizer: ActionRecognizer | None = None if action is None else load_recognizer(action)
        self.encoder = None if encoder is None else _sequence_encoder(encoder)
        self.images, self.sentences = self._open(indexes)
        self.pictures = "" if self.images is None else pictures_of(self.images)
        self._eye: Backbone | None = None
        self._video_net: Backbone | None = None
        self.lacks = {
            "search": self._why_no_search(),
            "annotate": self._why_no_annotation(weights, device),
            "actions": self._why_no_actions(device),
            "encode text": "" if self.searcher else _NO_SEARCHER,
            "encode sequence": "" if self.encoder else "an encoder, as its `save` writes it",
        }

    def _open(self, folders: Sequence[Path]) -> tuple[VectorIndex | None, VectorIndex | None]:
        found: dict[str, VectorIndex] = {}
        for folder in folders:
            kind = open_index(folder).metadata.get("kind")
            if self.searcher is None:
                raise ValueError(f"{folder} is an index of a retrieval model: give the folder of that model, too")
            if kind in found:
                raise ValueError(f"{folder} is a second index of {kind}: give one of images and one of sentences")
            found[str(kind)] = self.searcher.open(folder, SENTENCES if kind == SENTENCES else IMAGES)
        return found.get(IMAGES), found.get(SENTENCES)

    # -- what is missing ---------------------------------------------------------------------------

    def _why_no_search(self) -> str:
        if self.searcher is None:
            return _NO_SEARCHER
        return "" if self.images is not None else "an index of images (`--index`, `rnnfv retrieval index-images`)"

    def _why_no_annotation(self, weights: Path | None, device: str) -> str:
        if self.searcher is None:
            return _NO_SEARCHER
        if self.sentences is None:
            return "an index of sentences (`--index`, `rnnfv retrieval index-sentences`)"
        try:
            self._eye = self.searcher.picture_backbone(weights, device)
        except ValueError as error:
            if weights is not None:  # then it was asked for
                raise
            return f"what sees pictures ({error})"
        return ""

    def _why_no_actions(self, device: str) -> str:
        if self.recognizer is None:
            return "a recogniser of actions (`rnnfv action fit`)"
        try:
            self._video_net = self.recognizer.backbone(device)
        except ValueError as error:
            return f"what sees videos ({error})"
        return ""

    @property
    def unexplained(self) -> str:
        """Why there is no curve over time; empty where there is one."""
        if self.recognizer is None:
            return ""
        try:
            check_explainable(self.recognizer)
        except ValueError as error:
            return str(error)
        return ""

    # -- what is told ------------------------------------------------------------------------------

    def read_texts(self, questions: list[tuple[str, int]]) -> list[ReadText | Exception]:
        """Sentences to their vectors, and to so many images each, in one pass.

        Parameters
        ----------
        questions : list of (str, int)
            Sentences, and how many images are wanted.
        """
        assert self.searcher is not None
        texts = [text for text, _ in questions]
        unknown, vectors = self.searcher.without_words(texts), self.searcher.model.encode_sentences(texts)
        top = max(top for _, top in questions)
        found: list[Hits] = [[]] * len(texts)
        if top and self.images is not None:
            found = nearest(self.images, vectors, top)
        return [
            ValueError("no word of the sentence is known: say it in other words")
            if i in unknown
            else ReadText(vectors[i], hits[:wanted])
            for i, ((_, wanted), hits) in enumerate(zip(questions, found, strict=True))
        ]

    def find_sentences(self, questions: list[tuple[Path, int]]) -> list[Hits | Exception]:
        """Picture files to so many sentences each, in one pass."""
        assert self.searcher is not None
        assert self.sentences is not None
        answers: dict[int, Hits | Exception] = {}
        frames: dict[int, NDArray[np.uint8]] = {}
        vectors: dict[int, NDArray[np.float32]] = {}
        eye: Any = self._eye
        for i, (path, _) in enumerate(questions):
            try:
                frames[i] = eye.prepare(read_picture(path, self.limits.pixels))[None]
            except VideoError as error:
                answers[i] = unnamed(error, path)
        for i, outcome in through_net(frames, eye):
            if outcome.features is None:
                answers[i] = ValueError(outcome.reason)
            else:
                vectors[i] = outcome.features[0]
        if vectors:
            places = self.searcher.model.encode_images(np.stack(list(vectors.values())))
            found = nearest(self.sentences, places, max(top for _, top in questions))
            answers |= {i: hits[: questions[i][1]] for i, hits in zip(vectors, found, strict=True)}
        return [answers[i] for i in range(len(questions))]

    def name_actions(self, paths: list[Path]) -> list[Prediction | Exception]:
        """What is seen in video files, and, where the recogniser can explain it, when.

        A video is decoded by a process of its own, and its frames go through the net in blocks.
        """
        return [self._name_action(path) for path in paths]

    def _name_action(self, path: Path) -> Prediction | Exception:
        assert self.recognizer is not None
        try:
            check_file(path, "a video file")  # before a process is started for it
        except VideoError as error:
            return unnamed(error, path)
        seen, end = 0, time.monotonic() + self.limits.seconds

        def on_frames(count: int) -> None:
            nonlocal seen
            seen += count
            if seen > self.limits.frames:
                raise TooLargeError(f"the video has more than the {self.limits.frames:,} frames that are looked at")
            if time.monotonic() > end:
                raise TimeoutError(f"the video takes longer than {self.limits.seconds:g} seconds")

        options: dict[str, Any] = {"backbone": self._video_net, "workers": 1, "on_frames": on_frames}
        explained = not self.unexplained
        with closing(predict_videos(self.recognizer, [path], explained=explained, **options)) as predictions:
            (_, prediction) = next(predictions)
        return unnamed(VideoError(prediction.reason), path) if prediction.has_failed else prediction

    def encode_sequences(self, sequences: list[NDArray[np.float32]]) -> list[NDArray[Any] | Exception]:
        """Sequences of shape (N_i, D) to their vectors, in one pass."""
        assert self.encoder is not None
        return list(np.asarray(self.encoder.transform(sequences)))


def unnamed(error: Exception, path: Path) -> ValueError:
    """The error without our name of the upload; a bomb is one that is too large."""
    text = str(error).replace(str(path), "the upload")
    is_bomb = "pixels" in text and ("most that are read" in text or "exceeds limit" in text)
    return TooLargeError(text) if is_bomb else ValueError(text)


def _record_in(folder: Path, records: list[str]) -> str:
    for record in records:
        if (folder / record).is_file():
            return record
    raise ValueError(
        f"{folder} is no model: give a folder that `rnnfv retrieval fit`, `rnnfv action fit` or an encoder's save wrote"
    )


def _one(folders: list[Path], what: str) -> Path | None:
    if len(folders) > 1:
        raise ValueError(f"{folders[1]} is a second {what}: give one")
    return folders[0] if folders else None


def _sequence_encoder(folder: Path) -> Any:
    encoder = load(folder)
    steps = [step for _, step in encoder.steps] if isinstance(encoder, Pipeline) else [encoder]
    if not isinstance(steps[0], SequenceEncoder) or not hasattr(encoder, "transform"):
        raise ValueError(f"{folder} holds a {type(steps[-1]).__name__}: give an encoder from sequences to vectors")
    return encoder
