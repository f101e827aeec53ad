"""Frames before a net: resizing, crops and the scale of the pixels.

Resizing and crops give the same bytes as torchvision's, which this package does without.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

__all__ = [
    "PIXELS",
    "Frame",
    "Prepare",
    "ResizeShorter",
    "ResizeTo",
    "as_frames",
    "center_crop",
    "resize",
    "scale_pixels",
    "ten_crop",
]

Frame = NDArray[np.uint8]
Prepare = Callable[[Frame], Frame]

PIXELS = ("raw", "unit", "imagenet", "caffe")
"""What a net takes for pixels: see `scale_pixels`."""

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_VGG_MEAN_BGR = (103.939, 116.779, 123.68)


# -- in the processes that decode ------------------------------------------------------------------


@dataclass(frozen=True)
class ResizeShorter:
    """Resize a frame so that its shorter side has ``size`` pixels.

    Parameters
    ----------
    size : int
    crop : bool
        Also cut out the square of ``size`` by ``size`` pixels in the middle.

    Examples
    --------
    >>> ResizeShorter(256)(np.zeros((240, 320, 3), np.uint8)).shape
    (256, 341, 3)
    """

    size: int
    crop: bool = False

    def __call__(self, frame: Frame) -> Frame:
        resized = resize(frame, self.size)
        return np.ascontiguousarray(center_crop(resized, self.size)) if self.crop else resized


@dataclass(frozen=True)
class ResizeTo:
    """Resize a frame to exactly ``height`` by ``width`` pixels, whatever its aspect."""

    height: int
    width: int

    def __call__(self, frame: Frame) -> Frame:
        return resize(frame, (self.height, self.width))


def resize(frame: Frame, size: int | tuple[int, int]) -> Frame:
    """Resize a frame: bilinear, with antialiasing, computed in whole numbers.

    Parameters
    ----------
    frame : uint8 array of shape (height, width, 3)
    size : int or (int, int)
        Pixels of the shorter side, the other one following the aspect, rounded down; or height and width.

    Returns
    -------
    uint8 array of shape (new_height, new_width, 3)
        The bytes of torchvision's ``v2.Resize`` on uint8. A frame of that size already is returned as it is.

    Raises
    ------
    ValueError
        If the frame is not of that type and shape, or has no pixels.
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
        raise ValueError(f"a frame must be uint8 of shape (height, width, 3); got {frame.dtype} of {frame.shape}")
    height, width = frame.shape[:2]
    if isinstance(size, int):
        shorter = min(height, width)
        size = (size * height // shorter, size * width // shorter)
    if size == (height, width):
        return frame
    # torch wants memory that it may write to, though it does not write here.
    pixels = torch.from_numpy(np.require(frame, requirements=["C", "W"])).permute(2, 0, 1)[None]
    resized = functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


# -- before the net --------------------------------------------------------------------------------


def as_frames(batch: Any, clip_length: int | None = None) -> NDArray[np.uint8]:
    """Check a batch of frames (n, height, width, 3), or of clips (n, clip_length, height, width, 3).

    Raises
    ------
    ValueError
        If the batch is not uint8 or not of that shape.
    """
    batch = np.asarray(batch)
    middle = () if clip_length is None else (clip_length,)
    ndim = 4 + len(middle)
    if batch.dtype != np.uint8 or batch.ndim != ndim or batch.shape[-1] != 3 or batch.shape[1:-3] != middle:
        wanted = ", ".join(["n", *map(str, middle), "height", "width", "3"])
        raise ValueError(f"a batch must be uint8 of shape ({wanted}); got {batch.dtype} of {batch.shape}")
    return batch


def center_crop(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The square of ``size`` pixels in the middle of images (..., height, width, 3), as a view.

    Raises
    ------
    ValueError
        If an image is smaller than that.
    """
    height, width = _check_crop(images, size)
    # An odd pixel left over goes where torchvision puts it: halves are rounded to even.
    return _crop(images, round((height - size) / 2), round((width - size) / 2), size)


def ten_crop(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Four corners and the centre of images, then the same of the mirrored images.

    Parameters
    ----------
    images : uint8 array of shape (..., height, width, 3)
    size : int
        Pixels of a side of a crop.

    Returns
    -------
    uint8 array of shape (..., 10, size, size, 3)
        The order is torchvision's ``TenCrop``: top left, top right, bottom left, bottom right, centre.

    Raises
    ------
    ValueError
        If an image is smaller than a crop.
    """
    height, width = _check_crop(images, size)
    crops = []
    for seen in (images, images[..., ::-1, :]):
        crops += [_crop(seen, top, left, size) for top in (0, height - size) for left in (0, width - size)]
        crops.append(center_crop(seen, size))
    return np.stack(crops, axis=-4)


def scale_pixels(images: torch.Tensor, pixels: str) -> torch.Tensor:
    """Bytes to the numbers that a net was trained on.

    Parameters
    ----------
    images : uint8 tensor of shape (n, height, width, 3), RGB
    pixels : str
        "raw": 0 to 255. "unit": 0 to 1. "imagenet": 0 to 1, minus the mean of ImageNet, divided by its standard
        deviation, as torchvision's nets take it. "caffe": BGR, 0 to 255, minus the mean pixel (103.939, 116.779,
        123.68), as the authors of VGG published it.

    Returns
    -------
    float32 tensor of shape (n, 3, height, width)
    """
    scaled = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    if pixels == "caffe":
        return scaled.flip(1) - scaled.new_tensor(_VGG_MEAN_BGR).view(3, 1, 1)
    if pixels == "raw":
        return scaled
    scaled = scaled / 255
    if pixels == "unit":
        return scaled
    mean, std = (scaled.new_tensor(values).view(3, 1, 1) for values in (_IMAGENET_MEAN, _IMAGENET_STD))
    return (scaled - mean) / std


def _check_crop(images: NDArray[np.uint8], size: int) -> tuple[int, int]:
    height, width = images.shape[-3:-1]
    if size > min(height, width):
        raise ValueError(f"a crop of {size} x {size} pixels does not fit in an image of {height} x {width}")
    return height, width


def _crop(images: NDArray[np.uint8], top: int, left: int, size: int) -> NDArray[np.uint8]:
    return images[..., top : top + size, left : left + size, :]
