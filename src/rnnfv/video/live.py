"""Frames as they come, each with its time: of a file, a camera, or an address."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.video.decode import Sampling, VideoError, _import_av, _refuse_no_video, _VideoFile, sampled

__all__ = ["LiveVideo"]

_PATIENCE = 10.0  # seconds that a camera or an address may take to open, or to give the next frame
_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")


class LiveVideo:
    """The kept frames of a video that may have no end. One frame at a time is in memory.

    Parameters
    ----------
    source : str or Path
        A video file; a camera's device file (Video4Linux, such as /dev/video0); or an address that FFmpeg opens, such
        as rtsp://... or https://....
    sampling : Sampling

    Attributes
    ----------
    is_short : bool
        Whether a part could not be decoded, or frames are missing at the end, as `rnnfv.video.decode.Frames` says; a
        connection that breaks counts so. Known at the end.

    Raises
    ------
    VideoError
        If it cannot be opened.
    ImportError
        If PyAV is not installed.
    """

    def __init__(self, source: str | Path, sampling: Sampling) -> None:
        self._name, self._sampling = str(source), sampling
        self._video = _open(source)
        self.is_short = False

    def frames(self) -> Generator[tuple[float, NDArray[np.uint8]]]:
        """Read the frames. Closing the generator closes the video.

        Yields
        ------
        (float, ndarray of shape (h, w, 3), uint8)
            Seconds since the first frame, and the frame, RGB and upright. Where a stream has no times, such as a raw
            one of H.264, they follow from the rate in its header.

        Raises
        ------
        VideoError
            If no frame at all can be decoded, or times are needed and missing.
        """
        try:
            for seconds, frame in sampled(self._timed(), self._sampling):
                yield seconds, self._video.image(frame)
        except ValueError as error:
            raise VideoError(f"{self._name}: {error}") from error
        if self._video.decoded == 0:
            raise VideoError(f"{self._name}: no frame can be decoded: it is damaged, or of an unknown kind")
        self.is_short = self._video.is_short()

    def _timed(self) -> Iterator[tuple[float | None, tuple[float, Any]]]:
        """Each frame's own time, for the sampling, and what is made of it."""
        first: float | None = None
        for time, frame in self._video.frames():
            if time is None:
                yield None, ((self._video.decoded - 1) / self._video.rate(), frame)
            else:
                first = time if first is None else first
                yield time, (time - first, frame)


class _File(_VideoFile):
    def rate(self) -> float:
        """Frames a second, as the header says; 25 where it says nothing."""
        return float(self._stream.guessed_rate or 25)


class _Feed(_File):
    """A camera, or an address: it may have no end, and what it promises of its length does not matter."""

    def __init__(self, source: str, device_format: str | None) -> None:
        self._av = _import_av()
        try:
            self._container = self._av.open(source, format=device_format, timeout=_PATIENCE)
        except (self._av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise VideoError(f"{source}: cannot be opened ({reason}): see that it is on, and the name right") from error
        streams = self._container.streams.video
        if not streams:
            self._container.close()
            raise VideoError(f"{source}: has no moving picture in it")
        self._stream = streams[0]
        self._stream.thread_count = 1
        self._seconds = self._first = self._end = None
        self._not_shown = self.decoded = 0
        self._damaged = False

    def is_short(self) -> bool:
        return self._damaged


def _open(source: str | Path) -> _File:
    if _ADDRESS.match(str(source)):
        return _Feed(str(source), None)
    path = Path(source)
    if path.is_char_device():
        return _Feed(str(source), "v4l2")
    _refuse_no_video(path)
    if path.is_dir():
        raise VideoError(f"{path}: is a folder: give a video file, a camera or an address")
    return _File(path)
