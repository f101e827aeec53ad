"""What the service takes on, and how it says that something is too much, or not to be had."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BusyError", "Limits", "NotServedError", "TooLargeError"]


@dataclass(frozen=True)
class Limits:
    """How much the service takes on. What is above it gets an answer that says so.

    Parameters
    ----------
    upload_bytes : int
        Of a file that is uploaded.
    json_bytes : int
        Of any other body.
    waiting : int
        Requests that wait for one model, or are being uploaded; a further one is told to come back later.
    together : int
        Requests that go through a model in one pass.
    seconds : float
        For an answer.
    pixels : int
        Of a picture.
    frames : int
        Of a video, of those that the backbone sees.
    """

    upload_bytes: int = 64 << 20
    json_bytes: int = 4 << 20
    waiting: int = 256
    together: int = 64
    seconds: float = 60.0
    pixels: int = 50_000_000
    frames: int = 20_000


class BusyError(RuntimeError):
    """So many are waiting that one more would not be served soon."""


class TooLargeError(ValueError):
    """Something is larger than the service takes on."""


class NotServedError(LookupError):
    """What was asked for needs a model or an index that the service was not given."""
