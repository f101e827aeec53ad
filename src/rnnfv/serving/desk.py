"""Where requests of the API and of the page meet the models."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rnnfv.recipes.prediction import Prediction
from rnnfv.serving.batching import Batcher
from rnnfv.serving.limits import Limits, NotServedError
from rnnfv.serving.metrics import Metrics
from rnnfv.serving.service import Hits, ReadText, Service

__all__ = ["Desk"]

_Q = TypeVar("_Q")
_A = TypeVar("_A")


class Desk:
    """Asks the service, many at a time.

    Parameters
    ----------
    service : Service
    limits : Limits
    metrics : Metrics
    """

    def __init__(self, service: Service, limits: Limits, metrics: Metrics) -> None:
        self.service, self.limits, self.metrics = service, limits, metrics
        together = limits.together
        self._texts: Batcher[tuple[str, int], ReadText] = self._batcher("texts", service.read_texts, together)
        self._images: Batcher[tuple[Path, int], Hits] = self._batcher("images", service.find_sentences, together)
        self._videos: Batcher[Path, Prediction] = self._batcher("videos", service.name_actions, 1)
        self._sequences: Batcher[NDArray[np.float32], NDArray[Any]] = self._batcher(
            "sequences", service.encode_sequences, together
        )

    def _batcher(self, name: str, work: Any, together: int) -> Batcher[Any, Any]:
        tell = self.metrics.batches.labels(name).observe
        made: Batcher[Any, Any] = Batcher(
            work, together=together, waiting=self.limits.waiting, seconds=self.limits.seconds, tell=tell
        )
        self.metrics.waiting.labels(name).set_function(lambda: made.waiting)
        return made

    async def __aenter__(self) -> Desk:
        self._stack = AsyncExitStack()
        for batcher in (self._texts, self._images, self._videos, self._sequences):
            await self._stack.enter_async_context(batcher)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def search(self, sentence: str, top: int) -> Hits:
        """The images nearest to a sentence."""
        self._check("search")
        return (await self._texts.ask((sentence, top))).hits

    async def annotate(self, picture: Path, top: int) -> Hits:
        """The sentences nearest to a picture file."""
        self._check("annotate")
        return await self._images.ask((picture, top))

    async def actions(self, video: Path) -> Prediction:
        """What is seen in a video file."""
        self._check("actions")
        return await self._videos.ask(video)

    async def encode_text(self, text: str) -> NDArray[np.float32]:
        """A sentence in the space that images and sentences share: shape (k,)."""
        self._check("encode text")
        return (await self._texts.ask((text, 0))).vector

    async def encode_sequence(self, sequence: NDArray[np.float32]) -> NDArray[Any]:
        """The vector of a sequence of shape (N, D)."""
        self._check("encode sequence")
        if (given := sequence.shape[1]) != (wanted := self._width()):
            raise ValueError(f"the steps of the sequence have {given} numbers, and those of the model {wanted}")
        return await self._sequences.ask(sequence)

    def _width(self) -> int:
        encoder = self.service.encoder
        return int(getattr(encoder, "steps", [(None, encoder)])[0][1].n_features_in_)

    def _check(self, what: str) -> None:
        if lack := self.service.lacks[what]:
            raise NotServedError(f"this service cannot {_DEEDS[what]}: it lacks {lack}")


_DEEDS = {
    "search": "search images",
    "annotate": "find sentences",
    "actions": "name actions",
    "encode text": "encode text",
    "encode sequence": "encode sequences",
}
