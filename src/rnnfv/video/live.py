"""Frames as they come, each with its time: of a file, a camera, or an address."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rnnfv.video._sources import VideoError, VideoStream, open_file
from rnnfv.video.decode import Sampling, sampled

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
            for frame in sampled(self._video.frames(), self._sampling):
                yield self._video.seconds, self._video.image(frame)
        except ValueError as error:
            raise VideoError(f"{self._name}: {error}") from error
        if self._video.decoded == 0:
            raise VideoError(f"{self._name}: no frame can be decoded: it is damaged, or of an unknown kind")
        self.is_short = self._video.is_short()


def _open(source: str | Path) -> VideoStream:
    path = Path(source)
    if _ADDRESS.match(str(source)):
        return _feed(str(source), None)
    if path.is_char_device():
        return _feed(str(source), "v4l2")
    if path.is_dir():
        raise VideoError(f"{path}: is a folder: give a video file, a camera or an address")
    return open_file(path)


def _feed(source: str, device_format: str | None) -> VideoStream:
    """A camera, or an address: it may have no end."""
    remedy = "see that it is on, and the name right"
    return VideoStream(source, source, remedy, has_end=False, format=device_format, timeout=_PATIENCE)
