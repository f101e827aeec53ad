"""The picture of an explanation."""

import sys

import numpy as np
import pytest

from rnnfv.recipes.explaining import Explanation, Moments
from rnnfv.strip import write_strip

pytest.importorskip("matplotlib", reason="matplotlib is not installed")


def drawn(path, n, shape, shown, rate=25.0):
    shares = np.sin(np.arange(n))
    frames = 10 * np.arange(n)
    images = {step: np.full((*shape, 3), 200, np.uint8) for step in shown}
    moments = Moments(frames, None if rate is None else frames / rate, images)
    return write_strip(path, "price $1_$2.avi", Explanation("run [fast]", 1.5, shares, 0.2), moments)


@pytest.mark.parametrize(
    ("n", "shape", "shown", "rate"),
    [
        (1, (48, 64), [0], 25.0),
        (3000, (240, 135), [0, 7, 900, 901, 902, 1500, 2000, 2999], 25.0),
        (9, (9, 9), [3], None),
    ],
)
def test_a_picture_is_drawn_whatever_the_video(tmp_path, n, shape, shown, rate):
    from matplotlib.image import imread

    path = drawn(tmp_path / "new folder" / "picture.png", n, shape, shown, rate)
    height, width = imread(path).shape[:2]
    assert height == 550
    assert width == (1408 if len(shown) == 8 else 880)
    assert [each.name for each in path.parent.iterdir()] == ["picture.png"]


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pictures need matplotlib: pip install 'rnnfv\[plots\]'"):
        drawn(tmp_path / "picture.png", 1, (4, 4), [0])
    assert not list(tmp_path.iterdir())
