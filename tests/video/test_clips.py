"""Clips do not depend on how the frames come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnfv.video.clips import ClipCutter


def numbered(n):
    """n frames of 2 by 1 pixels, each with its own values."""
    return (np.arange(n, dtype=np.uint8).reshape(n, 1, 1, 1) + np.arange(6, dtype=np.uint8).reshape(1, 2, 1, 3)) % 251


def cut(pieces, length, stride):
    cutter = ClipCutter(length, stride)
    clips = [cutter.push(piece) for piece in pieces]
    return np.concatenate([*clips, cutter.finish()])


@given(st.integers(1, 70), st.integers(1, 20), st.integers(1, 25), st.lists(st.integers(0, 70), max_size=8))
def test_clips_do_not_depend_on_how_frames_come(n, length, stride, cuts):
    frames = numbered(n)
    pieces = np.split(frames, sorted(min(place, n) for place in cuts))
    expected = [frames[start : start + length] for start in range(0, n - length + 1, stride)]
    if not expected:
        expected = [frames[[min(i, n - 1) for i in range(length)]]]
    clips = cut(pieces, length, stride)
    np.testing.assert_array_equal(clips, expected)
    assert clips.dtype == np.uint8


def test_the_papers_clips():
    clips = cut([numbered(41)], 16, 8)
    assert clips[:, 0, 0, 0, 0].tolist() == [0, 8, 16, 24]
    assert clips[:, -1, 0, 0, 0].tolist() == [15, 23, 31, 39]  # frame 40 fills no clip


def test_only_what_is_needed_is_kept():
    block = np.zeros((100, 4, 4, 3), np.uint8)
    cutter = ClipCutter()
    for _ in range(5):
        cutter.push(block)
        assert len(cutter._waiting) < 16
        assert cutter._waiting.base is None  # not a view that holds the block


def test_clips_can_be_changed_without_harm():
    cutter = ClipCutter(4, 2)
    frames = numbered(5)
    cutter.push(frames)[:] = 0
    frames[:] = 0
    np.testing.assert_array_equal(cutter.push(numbered(7)[5:])[0], numbered(7)[2:6])


def test_no_frames_are_no_video():
    with pytest.raises(ValueError, match="no frames"):
        ClipCutter().finish()
    cutter = ClipCutter()
    cutter.push(numbered(0))
    with pytest.raises(ValueError, match="no frames"):
        cutter.finish()


@pytest.mark.parametrize("wrong", [(0, 1), (1, 0)])
def test_impossible_lengths_are_refused(wrong):
    with pytest.raises(ValueError, match="at least 1"):
        ClipCutter(*wrong)
