"""Drawn scenes: sentences are true of their pictures, and pairs of the test part are in no other."""

import numpy as np
import pytest

from rnnfv.datasets.captions import read_captions
from rnnfv.datasets.scenes import CAPTIONS, COLOURS, PICTURES, WORDS, all_scenes, draw_scene, write_scenes

pytest.importorskip("PIL", reason="Pillow is not installed")


def centre(image, colour):
    """Mean place (x, y) of the pixels of a colour."""
    near = np.abs(np.asarray(image).astype(int) - COLOURS[colour]).max(axis=2) < 30
    return np.argwhere(near).mean(axis=0)[::-1]


def test_what_a_sentence_says_is_where_the_picture_has_it():
    rng = np.random.default_rng(0)
    scenes = [scene for scene in all_scenes() if scene.first.colour != scene.second.colour]
    for number in rng.permutation(len(scenes))[:40]:
        scene = scenes[number]
        first, second = (centre(draw_scene(scene, rng), thing.colour) for thing in (scene.first, scene.second))
        x, y = second - first
        assert (x > abs(y)) if scene.relation == "beside" else (y > abs(x))
        words = ("left", "right") if scene.relation == "beside" else ("above", "below")
        for i, text in enumerate(scene.sentences(rng)):
            one, other = (scene.first, scene.second) if i % 2 == 0 else (scene.second, scene.first)
            assert text.index(str(one)) < text.index(str(other))
            said = text.replace("over", "above").replace("under", "below").split()
            assert words[i % 2] in said
            assert words[1 - i % 2] not in said


def test_things_that_meet_in_the_test_part_never_met_before():
    pairs = {}
    for scene in all_scenes():
        pairs.setdefault(frozenset((scene.first, scene.second)), set()).add(scene.split)
    assert all(len(splits) == 1 for splits in pairs.values())
    assert sum(splits == {"test"} for splits in pairs.values()) == 60
    assert len({scene.name for scene in all_scenes()}) == 1104


def test_the_written_set_is_read_as_any_other_and_always_the_same(tmp_path):
    for name in ("a", "b"):
        write_scenes(tmp_path / name)
    captions = read_captions(tmp_path / "a" / CAPTIONS)
    assert len(captions.filenames) == 1104
    assert {path.name for path in (tmp_path / "a" / PICTURES).iterdir()} == set(captions.filenames.tolist())
    known = {line.split()[0] for line in (tmp_path / "a" / WORDS).read_text().splitlines()}
    assert {word for text in captions.raw for word in text.split()} == known
    for name in (CAPTIONS, WORDS, f"{PICTURES}/{captions.filenames[7]}"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
