"""Videos to frames, one at a time, with an account of what is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rnnfv.video.files import image_files

__all__ = ["Frames", "Sampling", "VideoError", "read_frames", "sampled"]

_CAN_LACK = 1  # frames: where B-frames are packed in an .avi, a chunk is counted that shows nothing
_SLACK = 0.1  # seconds that a video may end before its header says

_T = TypeVar("_T")


class VideoError(ValueError):
    """A video that cannot be read. The message names it and says what to do."""


# -- which frames ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sampling:
    """Which frames of a video are kept. The first one always is.

    Parameters
    ----------
    every : int
        One frame in so many; 10 as in SPEC S7. Not used where ``fps`` is given.
    fps : float, optional
        About so many frames a second, by the frames' timestamps: the first frame in each ``1 / fps`` of a second.
    """

    every: int = 10
    fps: float | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1; got {self.every}")
        if self.fps is not None and not 0 < self.fps < math.inf:
            raise ValueError(f"fps must be a positive number; got {self.fps}")


def sampled(timed: Iterable[tuple[float | None, _T]], sampling: Sampling) -> Iterator[_T]:
    """Pass on the frames that are kept.

    Parameters
    ----------
    timed : iterable of (float or None, item)
        Time in seconds, and frame. Taken one at a time.
    sampling : Sampling

    Yields
    ------
    item

    Raises
    ------
    ValueError
        If times are needed and one is None.

    Examples
    --------
    >>> from rnnfv.video.decode import Sampling, sampled
    >>> frames = [(i / 25, i) for i in range(25)]
    >>> list(sampled(frames, Sampling(every=10)))
    [0, 10, 20]
    >>> list(sampled(frames, Sampling(fps=4)))
    [0, 7, 13, 19]
    """
    if sampling.fps is None:
        yield from (item for _, item in islice(timed, 0, None, sampling.every))
        return
    start: float | None = None
    last = -1
    for time, item in timed:
        if time is None:
            raise ValueError("its frames have no times: take one frame in so many instead of so many a second")
        start = time if start is None else start
        # Times are rounded to milliseconds in some files: a frame that is so little too early belongs to the next
        # slot. A clock that starts again gives other slots too, so that nothing behind the jump is lost.
        slot = math.floor((time - start + 0.001) * sampling.fps)
        if slot != last:
            last = slot
            yield item


# -- reading ---------------------------------------------------------------------------------------


def read_frames(path: str | Path, sampling: Sampling, *, on_frame: Callable[[], None] | None = None) -> Frames:
    """Open a video, or a folder of image files in the natural order of their names.

    One frame at a time is in memory. Frames that are passed over are decoded but not converted; images that are
    passed over are not opened. Pictures are turned upright in quarter turns, as the file says.

    Parameters
    ----------
    path : str or Path
    sampling : Sampling
    on_frame : callable, optional
        Called after every frame, those passed over too.

    Returns
    -------
    Frames

    Raises
    ------
    VideoError
        If there is no such file, or it is empty or not a video; while reading, if no frame at all can be decoded.
    ImportError
        If PyAV is needed, or Pillow, and not installed.
    """
    return Frames(Path(path), sampling, on_frame)


class Frames(Iterator[NDArray[np.uint8]]):
    """The kept frames of one video, in order: uint8 RGB arrays of shape (height, width, 3). Made by `read_frames`.

    A part that cannot be decoded is passed over. What follows is known when the last frame was read.

    Attributes
    ----------
    frames_declared : int or None
        Frames the header counts, without those it says are not to be shown. None where it counts none (.mkv, .webm,
        .flv, .mpg, .ts, .wmv). In a folder, the number of images.
    frames_decoded : int
        Frames that could be decoded, kept or not.
    is_short : bool
        Whether frames are missing: some part could not be decoded, fewer frames than declared came (one may lack:
        headers of .avi files count so), or, where the header has only a length in seconds, the video ends before.
        A cut .ts or .mpg has no such length and cannot be told from a whole one.
    """

    def __init__(self, path: Path, sampling: Sampling, on_frame: Callable[[], None] | None = None) -> None:
        _refuse_no_video(path)
        self._source = _ImageFolder(path) if path.is_dir() else _VideoFile(path)
        self._on_frame = on_frame
        self._frames = self._read(path, sampling)
        self.frames_declared: int | None = self._source.declared
        self.frames_decoded = 0
        self.is_short = False

    def __next__(self) -> NDArray[np.uint8]:
        return next(self._frames)

    def close(self) -> None:
        """Close the file before its end."""
        self._frames.close()

    def _read(self, path: Path, sampling: Sampling) -> Generator[NDArray[np.uint8]]:
        is_empty = True
        try:
            for frame in sampled(self._counted(), sampling):
                image = self._source.image(frame)
                if image is not None:
                    is_empty = False
                    yield image
        except ValueError as error:
            raise VideoError(f"{path}: {error}") from error
        self.frames_declared, self.frames_decoded = self._source.declared, self._source.decoded
        self.is_short = self._source.is_short()
        if is_empty:
            raise VideoError(f"{path}: no frame can be decoded: it is damaged, or of an unknown kind; convert it again")

    def _counted(self) -> Iterator[tuple[float | None, Any]]:
        for timed in self._source.frames():
            self.frames_decoded = self._source.decoded
            if self._on_frame is not None:
                self._on_frame()
            yield timed


def _refuse_no_video(path: Path) -> None:
    if not path.exists():
        raise VideoError(f"{path}: there is no such file: correct the path, or leave it out")
    if path.is_dir():
        return
    if not path.is_file():
        raise VideoError(f"{path}: is not a file: give a video file, or a folder of images")
    if path.stat().st_size == 0:
        raise VideoError(f"{path}: the file is empty: copy it again, or leave it out")


class _VideoFile:
    """A file that FFmpeg reads. Packets are decoded one by one, so that a damaged one costs only its own frames."""

    def __init__(self, path: Path) -> None:
        self._av = _import_av()
        try:
            # With "file:" a colon in a name means no protocol, and a playlist in disguise fetches nothing.
            self._container = self._av.open(f"file:{path}")
        except (self._av.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise VideoError(f"{path}: cannot be opened as a video ({reason}): copy or convert it again") from error
        cover = self._av.stream.Disposition.attached_pic
        streams = [stream for stream in self._container.streams.video if not stream.disposition & cover]
        if not streams:
            self._container.close()
            raise VideoError(f"{path}: has no moving picture in it, only sound, or is damaged: leave it out")
        self._stream = streams[0]
        self._stream.thread_count = 1  # videos are decoded side by side; more threads for one only cost
        self._seconds = _seconds(self._container, self._stream)
        self.decoded = 0
        self._damaged = False
        self._not_shown = 0
        self._first: float | None = None
        self._end: float | None = None

    @property
    def declared(self) -> int | None:
        return self._stream.frames - self._not_shown if self._stream.frames else None

    def frames(self) -> Iterator[tuple[float | None, Any]]:
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
        quarters = round(frame.rotation / 90) % 4
        image = frame.to_ndarray(format="rgb24", threads=1)
        return np.ascontiguousarray(np.rot90(image, quarters)) if quarters else image

    def is_short(self) -> bool:
        if self._damaged:
            return True
        if self.declared is not None:
            return self.decoded < self.declared - _CAN_LACK
        if self._seconds is None or self._first is None or self._end is None:
            return False
        return self._end < self._seconds - _SLACK - 2 * (self._end - self._first) / self.decoded

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
        if frame.time is not None:
            self._first = frame.time if self._first is None else self._first
            self._end = frame.time + float((frame.duration or 0) * frame.time_base)


class _ImageFolder:
    """Image files of one folder."""

    def __init__(self, path: Path) -> None:
        self._files = image_files(path)
        if not self._files:
            raise VideoError(f"{path}: there is no image file in the folder: give a video file, or a folder of images")
        self.declared = self.decoded = len(self._files)

    def frames(self) -> Iterator[tuple[None, Path]]:
        return ((None, file) for file in self._files)

    def image(self, file: Path) -> NDArray[np.uint8] | None:
        try:
            from PIL import Image, ImageOps
        except ImportError as error:
            raise ImportError("reading images needs Pillow: pip install 'rnnfv[video]'") from error
        try:
            with Image.open(file) as image:
                return np.array(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            self.decoded -= 1
            return None

    def is_short(self) -> bool:
        return self.decoded < self.declared


def _seconds(container: Any, stream: Any) -> float | None:
    """Where the picture ends, as the header says. The length of a whole file is that of its sound as well."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    clock = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if clock:
        return int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    if container.duration and len(container.streams) == 1:
        return container.duration / 1e6  # microseconds, FFmpeg's AV_TIME_BASE
    return None


def _import_av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise ImportError("reading videos needs PyAV: pip install 'rnnfv[video]'") from error
    return av
