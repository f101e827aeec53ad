import hashlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from rnnfv.video.backbones.preprocessing import (
    ResizeShorter,
    ResizeTo,
    as_frames,
    center_crop,
    resize,
    scale_pixels,
    ten_crop,
)

SIZES = [(240, 320), (320, 240), (100, 37), (479, 853), (256, 256), (7, 300), (1, 1)]


def noise(rng, height, width):
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


# -- resizing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("target", [256, 40, (128, 171), (31, 7)])
def test_resizing_gives_the_bytes_of_torchvision(torchvision, rng, size, target):
    frame = noise(rng, *size)
    v2 = torchvision.transforms.v2
    expected = v2.Resize(target, antialias=True)(torch.from_numpy(frame).permute(2, 0, 1).contiguous())
    assert_array_equal(resize(frame, target), expected.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("size", [(240, 320), (320, 240), (100, 37)])
@pytest.mark.parametrize("target", [(256, 200), (50, 40), (128, 171)])
def test_resizing_agrees_with_pillow(rng, size, target):
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    frame = noise(rng, *size)
    expected = image.fromarray(frame).resize(target[::-1], image.Resampling.BILINEAR)
    assert_allclose(resize(frame, target).astype(int), np.asarray(expected).astype(int), atol=1)


@pytest.mark.parametrize(
    ("size", "shape"), [((240, 320), (256, 341)), ((320, 240), (341, 256)), ((2, 2), (256, 256)), ((7, 1), (1792, 256))]
)
def test_the_other_side_is_rounded_down(size, shape):
    assert resize(np.zeros((*size, 3), np.uint8), 256).shape == (*shape, 3)


def test_memory_layout_does_not_matter(rng):
    frame = noise(rng, 60, 80)
    expected = resize(frame, 32)
    assert expected.flags.c_contiguous
    assert expected.dtype == np.uint8
    locked = frame.copy()
    locked.flags.writeable = False
    assert_array_equal(resize(locked, 32), expected)
    assert_array_equal(resize(np.asfortranarray(frame), 32), expected)
    assert_array_equal(resize(frame[::-1][::-1], 32), expected)


def test_a_frame_of_that_size_stays(rng):
    frame = noise(rng, 60, 80)
    assert resize(frame, 60) is frame
    assert resize(frame, (60, 80)) is frame


@pytest.mark.parametrize("prepare", [ResizeShorter(32), ResizeShorter(32, crop=True), ResizeTo(20, 30)])
def test_preparing_can_be_sent_to_another_process(rng, prepare):
    frame = noise(rng, 61, 80)
    again = pickle.loads(pickle.dumps(prepare))
    assert again == prepare
    assert_array_equal(again(frame), prepare(frame))


def test_what_preparing_gives(rng):
    frame = noise(rng, 60, 90)
    assert_array_equal(ResizeShorter(30)(frame), resize(frame, 30))
    assert_array_equal(ResizeTo(20, 30)(frame), resize(frame, (20, 30)))
    square = ResizeShorter(30, crop=True)(frame)
    assert_array_equal(square, resize(frame, 30)[:, 8:38])
    assert square.flags.c_contiguous


@pytest.mark.parametrize(
    "frame", [np.zeros((4, 5, 3), np.float32), np.zeros((4, 5), np.uint8), np.zeros((3, 4, 5), np.uint8)]
)
def test_what_is_not_a_frame_is_refused(frame):
    with pytest.raises(ValueError, match="a frame must be uint8"):
        resize(frame, 10)


def test_a_frame_without_pixels_is_refused():
    with pytest.raises(ValueError, match="got uint8 of \\(0, 5, 3\\)"):
        resize(np.zeros((0, 5, 3), np.uint8), 10)


# -- crops -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "crop"), [((40, 53), 32), ((53, 40), 31), ((33, 33), 33), ((33, 35), 32)])
def test_crops_are_those_of_torchvision(torchvision, rng, size, crop):
    frame = noise(rng, *size)
    tensor = torch.from_numpy(frame).permute(2, 0, 1)
    v2 = torchvision.transforms.v2
    expected = torch.stack(v2.TenCrop(crop)(tensor)).permute(0, 2, 3, 1).numpy()
    assert_array_equal(ten_crop(frame, crop), expected)
    assert_array_equal(center_crop(frame, crop), v2.CenterCrop(crop)(tensor).permute(1, 2, 0).numpy())


def test_where_the_ten_crops_lie():
    rows, columns = np.mgrid[:6, :8].astype(np.uint8)
    image = np.stack([rows, columns, rows], axis=-1)
    crops = ten_crop(np.stack([image, image]), 4)
    assert crops.shape == (2, 10, 4, 4, 3)
    corners = [(0, 0), (0, 4), (2, 0), (2, 4), (1, 2)]
    assert [tuple(crop[0, 0, :2]) for crop in crops[0, :5]] == corners
    # Mirrored, columns count from the right.
    assert [tuple(crop[0, 0, :2]) for crop in crops[0, 5:]] == [(top, 7 - left) for top, left in corners]
    assert_array_equal(crops[0], crops[1])


def test_a_crop_must_fit():
    image = np.zeros((2, 30, 50, 3), np.uint8)
    for crop in (center_crop, ten_crop):
        with pytest.raises(ValueError, match="31 x 31 pixels does not fit in an image of 30 x 50"):
            crop(image, 31)


# -- batches and the scale of pixels ---------------------------------------------------------------


def test_batches_are_checked():
    frames, clips = np.zeros((2, 4, 5, 3), np.uint8), np.zeros((2, 16, 4, 5, 3), np.uint8)
    assert as_frames(frames) is frames
    assert as_frames(clips, 16) is clips
    for batch, length in [(clips, None), (frames, 16), (clips[:, :15], 16), (frames.astype(float), None), ([1], None)]:
        with pytest.raises(ValueError, match="a batch must be uint8 of shape"):
            as_frames(batch, length)


def test_scales_of_pixels(rng):
    images = rng.integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    wide = images.astype(float)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = {
        "raw": wide,
        "unit": wide / 255,
        "imagenet": (wide / 255 - mean) / std,
        "caffe": wide[..., ::-1] - [103.939, 116.779, 123.68],
    }
    for pixels, values in expected.items():
        scaled = scale_pixels(torch.from_numpy(images), pixels)
        assert scaled.dtype == torch.float32
        assert_allclose(scaled.numpy(), values.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-5)


# -- torchvision's own bytes, kept as digests, for machines without a torchvision that loads --------

DIGESTS = json.loads((Path(__file__).parents[1] / "fixtures" / "torchvision_digests.json").read_text())


def pattern(height, width):
    places = np.arange(height * width * 3, dtype=np.uint64)
    mixed = (places * np.uint64(2654435761) >> np.uint64(13)) % np.uint64(256)
    return mixed.astype(np.uint8).reshape(height, width, 3)


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.mark.parametrize("case", DIGESTS["resize"], ids=lambda case: f"{case['size']} to {case['target']}")
def test_resized_bytes_are_those_that_torchvision_gave(case):
    target = case["target"] if isinstance(case["target"], int) else tuple(case["target"])
    assert digest(resize(pattern(*case["size"]), target)) == case["sha256"]


@pytest.mark.parametrize("case", DIGESTS["ten_crop"], ids=lambda case: f"{case['size']} to {case['crop']}")
def test_ten_crops_are_those_that_torchvision_gave(case):
    crops = ten_crop(pattern(*case["size"]), case["crop"])
    assert digest(crops.transpose(0, 3, 1, 2)) == case["sha256"]
