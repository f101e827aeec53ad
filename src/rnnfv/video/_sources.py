"""Moving pictures that FFmpeg opens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.extras import wanted

__all__ = ["VideoError", "VideoStream", "check_file", "open_file", "refuse_narrow"]

_CAN_LACK = 1  # frames: where B-frames are packed in an .avi, a chunk is counted that shows nothing
_SLACK = 0.1  # seconds that a video may end before its header says
_MOST_PIXELS = 1 << 26  # of a frame: codecs keep up to 16 frames, whatever the size of the file
_MOST_NARROW = 100  # a line of pixels, its shorter side made 256, would not fit into memory
_USUAL_RATE = 25  # frames a second, where neither times nor header say


class VideoError(ValueError):
    """A video that cannot be read. The message names it and says what to do."""


def open_file(path: Path) -> VideoStream:
    """Open a video file.

    Raises
    ------
    VideoError
        If there is no such file, or it is empty or not a video.
    """
    check_file(path, "a video file, or a folder of images")
    # With "file:" a colon in a name means no protocol, and a playlist in disguise fetches nothing.
    return VideoStream(str(path), f"file:{path}", "copy or convert it again")


def check_file(path: Path, wanted: str) -> None:
    """See that there is a file with something in it.

    Raises
    ------
    VideoError
        If not; the message says to give what is wanted.
    """
    if not path.exists():
        raise VideoError(f"{path}: there is no such file: correct the path, or leave it out")
    if not path.is_file():
        raise VideoError(f"{path}: is not a file: give {wanted}")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty: copy it again, or leave it out")


def refuse_narrow(width: int, height: int) -> None:
    """See that neither side is over 100 times the other; else a ValueError says so."""
    if max(width, height) > _MOST_NARROW * min(width, height):
        raise ValueError(f"with {width} x {height} pixels, one side is over {_MOST_NARROW} times the other")


class VideoStream:
    """A moving picture that FFmpeg reads. Packets are decoded one by one: a damaged one costs only its own frames.

    Parameters
    ----------
    name : str
        For messages.
    url : str
        What FFmpeg opens.
    remedy : str
        What to do where it cannot be opened.
    has_end : bool
        Whether what its header promises of its length matters.
    **options
        Of `av.open`.

    Attributes
    ----------
    decoded : int
        Frames until now.
    """

    def __init__(self, name: str, url: str, remedy: str, *, has_end: bool = True, **options: Any) -> None:
        self._av = _import_av()
        try:
            limits = {"max_pixels": str(_MOST_PIXELS)}
            # A title in another encoding than UTF-8 is in nobody's way.
            self._container = self._av.open(url, metadata_errors="replace", options=limits, **options)
        except (self._av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            if isinstance(error, MemoryError):  # its strerror blames the machine
                reason = "it asks for more memory than FFmpeg gives"
            raise VideoError(f"{name}: cannot be opened as a video ({reason}): {remedy}") from error
        cover = self._av.stream.Disposition.attached_pic
        streams = [stream for stream in self._container.streams.video if not stream.disposition & cover]
        if not streams:
            self._container.close()
            raise VideoError(f"{name}: has no moving picture in it, only sound, or is damaged: leave it out")
        self._stream = streams[0]
        if self._stream.codec_context is None:
            self._container.close()
            raise VideoError(f"{name}: its coding is not known to FFmpeg: {remedy}")
        self._stream.codec_context.options = limits
        self._stream.thread_count = 1  # videos are decoded side by side; more threads for one only cost
        self._has_end = has_end
        self._rate = float(self._stream.guessed_rate or _USUAL_RATE)
        self._promised = _seconds(self._container, self._stream)
        self.decoded = 0
        self._damaged = False
        self._not_shown = 0
        self._first: float | None = None
        self._time: float | None = None  # of the last frame
        self._end: float | None = None

    @property
    def declared(self) -> int | None:
        """Frames that the header counts, without those it says are not to be shown; None where it counts none."""
        return self._stream.frames - self._not_shown if self._stream.frames else None

    @property
    def seconds(self) -> float:
        """When the last frame is shown, since the first. Without times, as in raw H.264, it follows from the rate."""
        if self._time is None or self._first is None:
            return (self.decoded - 1) / self._rate
        return self._time - self._first

    def frames(self) -> Iterator[tuple[float | None, Any]]:
        """Decode all of it: each frame with its own time."""
        with self._container:
            for packet in self._packets():
                # An edit list cuts frames out that the header counts.
                self._not_shown += packet.is_discard
                try:
                    decoded = packet.decode()
                except self._av.FFmpegError:
                    self._damaged = True
                    continue
                for frame in decoded:
                    self._count(frame)
                    yield frame.time, frame

    def image(self, frame: Any) -> NDArray[np.uint8]:
        """A frame as RGB, shape (height, width, 3), turned upright in quarter turns.

        Raises
        ------
        ValueError
            If it is too narrow.
        """
        refuse_narrow(frame.width, frame.height)
        quarters = round(frame.rotation / 90) % 4
        image = frame.to_ndarray(format="rgb24", threads=1)
        return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image

    def is_short(self) -> bool:
        """Whether frames are missing; known at the end."""
        if self._damaged or not self._has_end:
            return self._damaged
        if self.declared is not None:
            return self.decoded < self.declared - _CAN_LACK
        if self._promised is None or self._first is None or self._end is None:
            return False
        return self._end < self._promised - _SLACK - 2 * (self._end - self._first) / self.decoded

    def _packets(self) -> Iterator[Any]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except self._av.FFmpegError:
                self._damaged = True
                return
            if packet is None:
                return
            yield packet

    def _count(self, frame: Any) -> None:
        self.decoded += 1
        self._time = frame.time
        if frame.time is not None:
            self._first = frame.time if self._first is None else self._first
            self._end = frame.time + float((frame.duration or 0) * frame.time_base)


def _seconds(container: Any, stream: Any) -> float | None:
    """Where the picture ends, as the header says. The length of a whole file is that of its sound as well."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    clock = re.fullmatch(r"(\d{1,9}):(\d{1,9}):(\d{1,9}(?:\.\d{1,9})?)", stream.metadata.get("DURATION", ""))
    if clock:
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    if container.duration and len(container.streams) == 1:
        return container.duration / 1e6  # microseconds, FFmpeg's AV_TIME_BASE
    return None


def _import_av() -> ModuleType:
    with wanted("video", "reading videos needs PyAV"):
        import av
    return av
