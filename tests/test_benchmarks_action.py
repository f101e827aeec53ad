"""The benchmarks of action recognition: what their figures rest on."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from rnnfv.datasets.manifest import overlapping_groups, read_manifest
from rnnfv.recipes.extraction import extract_features
from rnnfv.storage import read_all_features
from rnnfv.video.decode import Sampling

pytest.importorskip("av")

FOLDER = Path(__file__).parents[1] / "benchmarks"


def script(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)  # scripts find what they share beside them
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The script, a folder of its clips, and their features: for every id an array (steps, 256)."""
    order_videos, folder = script("order_videos"), tmp_path_factory.mktemp("order")
    order_videos.render(folder, pairs=2, folds=2)
    extract_features(
        folder, order_videos.Edges(), folder / "out", manifest=folder / "manifest.csv", sampling=Sampling(1), workers=0
    )
    shard = read_all_features(folder / "out")
    return order_videos, read_manifest(folder / "manifest.csv"), dict(zip(shard.ids, shard.sequences, strict=True))


def test_a_clip_and_its_mirror_differ_in_nothing_but_order(made):
    order_videos, manifest, features = made
    label_of = dict(zip(manifest.ids.tolist(), manifest.labels.tolist(), strict=True))
    groups = set(manifest.groups.tolist())
    assert len(groups) == 6
    for group in groups:
        forwards, backwards = (f"{group}-{way}" for way in ("forwards", "backwards"))
        np.testing.assert_array_equal(features[forwards], features[backwards][::-1])
        assert not np.array_equal(features[forwards], features[backwards])
        assert order_videos.MIRROR[label_of[forwards]] == label_of[backwards]


def test_splits_keep_pairs_together_and_every_class_on_both_sides(made):
    order_videos, manifest, _ = made
    assert list(manifest.splits) == ["split1", "split2"]
    for name, parts in manifest.splits.items():
        assert overlapping_groups(manifest, name) == []
        for part in ("train", "test"):
            assert set(manifest.labels[parts == part].tolist()) == set(order_videos.MOVEMENT)


def test_data_that_is_not_there_is_skipped_in_clear_words(tmp_path, monkeypatch, capsys):
    action_real = script("action_real")
    monkeypatch.setattr(action_real.common, "DATA", tmp_path)
    monkeypatch.setattr(sys, "argv", ["action_real.py"])
    assert action_real.main() == 0
    assert "skipped: msraction3d: there is no" in capsys.readouterr().out
