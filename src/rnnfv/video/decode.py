"""Videos to frames, one at a time, with an account of what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rnnfv.video._sources import VideoError, VideoStream, open_file
from rnnfv.video.pictures import ImageFolder, Picture

__all__ = ["Frames", "Sampling", "VideoError", "read_frames", "sampled"]

_T = TypeVar("_T")


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


def read_frames(path: str | Path, sampling: Sampling | None, *, on_frame: Callable[[], None] | None = None) -> Frames:
    """Open a video, or a folder of image files in the natural order of their names.

    One frame at a time is in memory. Frames that are passed over are decoded but not converted; images that are
    passed over are not opened. Pictures are turned upright in quarter turns, as the file says.

    Parameters
    ----------
    path : str or Path
    sampling : Sampling or None
        None takes the file for a single picture (`rnnfv.video.pictures.read_picture`), which is a video of one frame.
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

    def __init__(self, path: Path, sampling: Sampling | None, on_frame: Callable[[], None] | None = None) -> None:
        self._source = _open(path, is_picture=sampling is None)
        self._on_frame = on_frame
        self._frames = self._read(path, sampling or Sampling(every=1))
        self.frames_declared: int | None = self._source.declared
        self.frames_decoded = 0
        self.is_short = False

    def __next__(self) -> NDArray[np.uint8]:
        return next(self._frames)

    @property
    def seconds(self) -> float | None:
        """When the last frame that was read is shown, since the first; None in a folder of images."""
        return self._source.seconds

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
        except VideoError:
            raise
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


def _open(path: Path, is_picture: bool) -> Picture | ImageFolder | VideoStream:
    if is_picture:
        return Picture(path)
    return ImageFolder(path) if path.is_dir() else open_file(path)
