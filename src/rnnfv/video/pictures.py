"""Pictures: single files, and folders of them that count as videos."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.extras import wanted
from rnnfv.video._sources import VideoError, check_file, refuse_narrow
from rnnfv.video.files import image_files

__all__ = ["ImageFolder", "Picture", "read_picture"]

# Those of the suffixes that are looked for. Some of Pillow's other formats start other programs.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def read_picture(path: str | Path, most_pixels: int | None = None) -> NDArray[np.uint8]:
    """Read a picture as RGB, upright: the orientation that a camera wrote into its EXIF data is applied.

    Of an animation, or a file with several pages, it is the first picture. 16-bit greys lose their lower byte.
    Transparency is dropped, and colour profiles are not applied.

    Parameters
    ----------
    path : str or Path
        A BMP, GIF, JPEG, PNG, PPM, TIFF or WebP file, whatever its name.
    most_pixels : int, optional
        Refuse a picture whose header tells of more, before anything is decoded.

    Returns
    -------
    ndarray of shape (height, width, 3), uint8

    Raises
    ------
    VideoError
        If there is no such file, it is empty, damaged, cut off or not a picture; if it has more pixels than Pillow
        reads (179 million) or than ``most_pixels``, or one side over 100 times the other; or if its pixels are 32-bit
        numbers, of which nothing tells the range.
    ImportError
        If Pillow is not installed.
    """
    with wanted("video", "reading images needs Pillow"):
        from PIL import Image, ImageOps, UnidentifiedImageError
    path = Path(path)
    check_file(path, "a picture")
    try:
        # Pillow warns of odd metadata and of large pictures; neither is in the way.
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_FORMATS) as image:
            refuse_narrow(*image.size)
            _refuse_large(*image.size, most_pixels)
            ImageOps.exif_transpose(image, in_place=True)
            return _rgb(image)
    # A damaged file can make a decoder fail in any way.
    except Exception as error:
        is_unknown = isinstance(error, UnidentifiedImageError)
        reason = "its kind is not known" if is_unknown else getattr(error, "strerror", None) or error
        raise VideoError(
            f"{path}: cannot be read as a picture ({' '.join(str(reason).split())}): "
            "copy or convert it again, or leave it out"
        ) from error


def _refuse_large(width: int, height: int, most: int | None) -> None:
    if most is not None and width * height > most:
        raise ValueError(f"it has {width} x {height} pixels, and {most:,} are the most that are read here")


def _rgb(image: Any) -> NDArray[np.uint8]:
    if image.mode.startswith("I;16"):  # Pillow would cut what is above 255
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in ("I", "F"):
        raise ValueError("its pixels are 32-bit numbers of an unknown range")
    # No copy where none is needed: the largest pictures are 700 MB.
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


# -- as videos -------------------------------------------------------------------------------------


class Picture:
    """One picture: as `rnnfv.video._sources.VideoStream`, but with one frame, and without times."""

    seconds = None
    declared = decoded = 1

    def __init__(self, path: Path) -> None:
        self._path = path

    def frames(self) -> Iterator[tuple[None, Path]]:
        return iter([(None, self._path)])

    def image(self, file: Path) -> NDArray[np.uint8]:
        return read_picture(file)

    def is_short(self) -> bool:
        return False


class ImageFolder:
    """The image files of one folder: as `rnnfv.video._sources.VideoStream`, but without times."""

    seconds = None

    def __init__(self, path: Path) -> None:
        self._files = image_files(path)
        if not self._files:
            raise VideoError(f"{path}: there is no image file in the folder: give a video file, or a folder of images")
        self.declared = self.decoded = len(self._files)

    def frames(self) -> Iterator[tuple[None, Path]]:
        return ((None, file) for file in self._files)

    def image(self, file: Path) -> NDArray[np.uint8] | None:
        try:
            return read_picture(file)
        except VideoError:
            self.decoded -= 1
            return None

    def is_short(self) -> bool:
        return self.decoded < self.declared
