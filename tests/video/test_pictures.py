"""Single pictures: kinds of pixels, orientation, and files that are not what they seem."""

import os
import struct
import sys
import warnings
import zlib

import numpy as np
import pytest

from rnnfv.video.decode import Sampling, VideoError, read_frames
from rnnfv.video.pictures import read_picture

Image = pytest.importorskip("PIL.Image")

CORNERS = np.zeros((20, 30, 3), np.uint8)  # red at the top left, green at the top right, blue below it
CORNERS[:10, :15], CORNERS[:10, 15:], CORNERS[10:, :15] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
# The tag's value, and what undoes it, from the definition of the tag (row 0 and column 0 as they are seen).
TURNS = {
    1: lambda seen: seen,
    2: lambda seen: seen[:, ::-1],
    3: lambda seen: seen[::-1, ::-1],
    4: lambda seen: seen[::-1],
    5: lambda seen: seen.transpose(1, 0, 2),
    6: np.rot90,
    7: lambda seen: seen[::-1, ::-1].transpose(1, 0, 2),
    8: lambda seen: np.rot90(seen, -1),
}


def png(width, height, rows=b""):
    """A PNG file as the format's definition says, 8-bit grey; without rows it has only its header."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm", "webp"])
def test_kinds_of_files(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(CORNERS).save(path, **({"lossless": True} if suffix == "webp" else {}))
    picture = read_picture(path)
    assert picture.dtype == np.uint8
    assert picture.flags.writeable
    np.testing.assert_array_equal(picture, CORNERS)
    path.rename(tmp_path / "no-suffix")
    np.testing.assert_array_equal(read_picture(tmp_path / "no-suffix"), CORNERS)


@pytest.mark.parametrize(
    ("mode", "suffix", "off"),
    [("P", "png", 0), ("P", "gif", 0), ("CMYK", "jpg", 6), ("RGB", "jpg", 6), ("RGBA", "png", 0)],
)
def test_kinds_of_pixels(tmp_path, mode, suffix, off):
    image = Image.fromarray(CORNERS.repeat(4, 0).repeat(4, 1))
    image = image.quantize(4, dither=0) if mode == "P" else image.convert(mode)
    image.save(tmp_path / f"a.{suffix}", **({"quality": 95} if suffix == "jpg" else {}))
    picture = read_picture(tmp_path / f"a.{suffix}")[2::4, 2::4]  # the middle of each square
    away_from_edges = np.r_[0:9, 11:20][:, None], np.r_[0:14, 16:30]
    np.testing.assert_allclose(picture[away_from_edges], CORNERS[away_from_edges].astype(float), atol=off)


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_greys_become_three_equal_channels(tmp_path, mode):
    grey = np.repeat(np.array([[0, 255]], np.uint8), 5, axis=0)
    Image.fromarray(grey).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), np.stack([grey] * 3, axis=2))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_greys_keep_their_upper_byte(tmp_path, suffix):
    grey = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(grey).save(tmp_path / f"a.{suffix}")
    picture = read_picture(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(picture, np.stack([grey // 256] * 3, axis=2))


def test_numbers_of_unknown_range_are_refused(tmp_path):
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(VideoError, match=r"a\.tif: cannot be read .*32-bit numbers of an unknown range"):
        read_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("value", TURNS)
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_cameras_notes_of_the_orientation_are_followed(tmp_path, value, suffix):
    exif = Image.Exif()
    exif[0x0112] = value
    stored = Image.fromarray(np.ascontiguousarray(TURNS[value](CORNERS)))
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    stored.save(tmp_path / f"a.{suffix}", exif=exif, **options)
    off = 4 if suffix == "jpg" else 0
    np.testing.assert_allclose(read_picture(tmp_path / f"a.{suffix}"), CORNERS.astype(float), atol=off)


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_of_several_pictures_it_is_the_first(tmp_path, suffix):
    first, *others = (Image.fromarray(np.full((8, 8, 3), grey, np.uint8)) for grey in (30, 90, 150))
    options = {"lossless": True} if suffix == "webp" else {}
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=others, **options)
    with Image.open(tmp_path / f"a.{suffix}") as image:
        assert image.n_frames == 3
    assert (read_picture(tmp_path / f"a.{suffix}") == 30).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jpg", None, "there is no such file"),
        ("a.jpg", b"", "the file is empty: copy it again"),
        ("a.jpg", b"not a picture", r"cannot be read as a picture \(its kind is not known\)"),
        ("a.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "its kind is not known"),
        ("a.png", png(30_000, 30_000), r"Image size \(900000000 pixels\) exceeds limit"),
        ("a.png", png(50_000, 2, bytes(100_002)), "with 50000 x 2 pixels, one side is over 100 times the other"),
    ],
)
def test_files_that_are_no_pictures_are_told(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=message) as told:
        read_picture(tmp_path / name)
    assert str(told.value).startswith(f"{tmp_path / name}: ")
    assert "leave it out" in str(told.value)


def test_what_is_no_file_is_told(tmp_path):
    with pytest.raises(VideoError, match="is not a file: give a picture"):
        read_picture(tmp_path)
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(VideoError, match="is not a file: give a picture"):
        read_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp"])
def test_cut_and_damaged_files_are_read_or_told(tmp_path, rng, suffix):
    path, exif = tmp_path / f"a.{suffix}", Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(rng.integers(0, 255, (40, 50, 3), dtype=np.uint8))
    image.save(path, **({} if suffix in ("gif", "bmp") else {"exif": exif}))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VideoError, match=r"cannot be read as a picture \(.+\): copy or convert it again"):
        read_picture(path)
    for _ in range(150):
        content = bytearray(whole)
        for place in rng.integers(0, min(len(content), 400), 3):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        with warnings.catch_warnings(record=True) as warned:
            try:
                assert read_picture(path).shape[2] == 3
            except VideoError as error:
                assert "\n" not in str(error)  # noqa: PT017
        assert warned == []


def test_a_large_picture_gives_no_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    Image.fromarray(CORNERS).save(tmp_path / "a.png")  # 600 pixels: Pillow warns, and would refuse over 800
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), CORNERS)


def test_a_picture_is_a_video_of_one_frame(tmp_path):
    others = [Image.new("RGB", (30, 20), (grey,) * 3) for grey in (0, 60, 120)]
    Image.fromarray(CORNERS).save(tmp_path / "a.gif", save_all=True, append_images=others)
    frames = read_frames(tmp_path / "a.gif", None)
    assert len(list(frames)) == 1
    assert (frames.frames_declared, frames.frames_decoded, frames.is_short, frames.seconds) == (1, 1, False, None)
    assert len(list(read_frames(tmp_path / "a.gif", Sampling(every=1)))) == 4
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    with pytest.raises(VideoError, match=r"a\.gif: cannot be read as a picture") as told:
        list(read_frames(tmp_path / "a.gif", None))
    assert str(told.value).count("a.gif") == 1


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"needs Pillow: pip install 'rnnfv\[video\]'"):
        read_picture(tmp_path / "a.png")
