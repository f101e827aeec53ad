"""Still pictures."""

import io

import numpy as np
from PIL import Image

from fuzz.target import Target, file_as
from rnnfv.video.pictures import read_picture

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_MOST = 2 << 30  # bytes: a picture may have 179 million pixels


def _seeds() -> list[bytes]:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 12, 3), dtype=np.uint8))
    grey = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation
    seeds = []
    for form in _FORMATS:
        file = io.BytesIO()
        image.save(file, form, **({"exif": exif} if form in ("JPEG", "PNG", "TIFF", "WEBP") else {}))
        seeds.append(file.getvalue())
    for form, options in (
        ("PNG", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "tiff_deflate"}),
    ):
        file = io.BytesIO()
        grey.save(file, form, **options)
        seeds.append(file.getvalue())
    return seeds


TARGET = Target(
    _seeds,
    file_as("picture"),
    read_picture,
    tokens=(
        b"IHDR",
        b"IDAT",
        b"iCCP",
        b"\xff\xc0",
        b"\xff\xda",
        b"RIFF",
        b"WEBPVP8X",
        b"ANIM",
        b"GIF89a",
        b"II*\0",
        b"P6 ",
    ),
    most_memory=_MOST,
)
