"""Frames to clips: windows of equal length at equal distances (SPEC S9: 16 frames, every 8)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClipCutter"]


class ClipCutter:
    """Cut the frames of one video into clips as they come; the clips do not depend on how they come.

    Clip i holds the frames from ``i * stride`` to ``i * stride + length - 1``. Frames at the end that do not fill a
    clip are dropped, unless there would be no clip at all: then the last frame is repeated to fill one. Fewer than
    ``length`` frames are kept between calls.

    Parameters
    ----------
    length : int
        Frames a clip.
    stride : int
        Frames from the beginning of a clip to that of the next.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv.video.clips import ClipCutter
    >>> frames = np.arange(30, dtype=np.uint8).reshape(30, 1, 1, 1).repeat(3, axis=3)
    >>> cutter = ClipCutter()
    >>> cutter.push(frames[:20]).shape, cutter.push(frames[20:]).shape, cutter.finish().shape
    ((1, 16, 1, 1, 3), (1, 16, 1, 1, 3), (0, 16, 1, 1, 3))
    """

    def __init__(self, length: int = 16, stride: int = 8) -> None:
        if length < 1 or stride < 1:
            raise ValueError(f"length and stride must be at least 1; got {length} and {stride}")
        self.length = length
        self.stride = stride
        self._waiting: NDArray[np.uint8] | None = None  # the frames that later clips may need
        self._skip = 0  # frames still to come that no clip needs; only where stride > length
        self._has_cut = False

    def push(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Take the next frames.

        Parameters
        ----------
        frames : ndarray of shape (n, h, w, 3), uint8

        Returns
        -------
        ndarray of shape (m, length, h, w, 3), uint8
            The clips that are now complete; m may be 0.
        """
        skipped = min(self._skip, len(frames))
        self._skip -= skipped
        frames = frames[skipped:]
        if self._waiting is not None:
            frames = np.concatenate([self._waiting, frames])
        count = max(0, (len(frames) - self.length) // self.stride + 1)
        starts = self.stride * np.arange(count)
        clips = frames[starts[:, None] + np.arange(self.length)]
        self._skip += max(0, count * self.stride - len(frames))
        self._waiting = frames[count * self.stride :].copy()
        self._has_cut |= count > 0
        return clips

    def finish(self) -> NDArray[np.uint8]:
        """Say that no frame follows.

        Returns
        -------
        ndarray of shape (m, length, h, w, 3), uint8
            One clip if the video was shorter than a clip, else none.

        Raises
        ------
        ValueError
            If there was no frame.
        """
        if self._waiting is None or (len(self._waiting) == 0 and not self._has_cut):
            raise ValueError("there are no frames to cut into clips")
        if self._has_cut:
            return np.empty((0, self.length, *self._waiting.shape[1:]), np.uint8)
        missing = self.length - len(self._waiting)
        return np.concatenate([self._waiting, self._waiting[-1:].repeat(missing, axis=0)])[None]
