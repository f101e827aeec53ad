"""`rnnfv extract --backbone idt`, and what `rnnfv action idt` shows and writes."""

import json
import shutil

import numpy as np
import pytest

from rnnfv.cli.app import main
from rnnfv.cli.extract import run_extract
from rnnfv.cli.idt import run_idt
from rnnfv.datasets.manifest import Manifest, write_manifest
from rnnfv.storage import read_all_features

NAMES = [f"{label}{i}" for label in ("jump", "run") for i in range(6)]


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two kinds of descriptors, both a little larger in one class."""
    folder, rng = tmp_path_factory.mktemp("made"), np.random.default_rng(0)
    for name in NAMES:
        means = 0.2 + 0.4 * rng.integers(0, 2, (20, 1)) + 0.1 * name.startswith("run")
        np.savetxt(folder / f"{name}.avi.gz", rng.normal(means, 0.05, (20, 436)), "%.4f")
    return folder


@pytest.fixture
def clips(made, tmp_path):
    shutil.copytree(made, tmp_path / "idt")
    labels, number = np.array([name[:-1] for name in NAMES]), np.tile(np.arange(6), 2)
    splits = {f"split{k + 1}": np.where(number // 2 == k, "test", "train") for k in range(2)}
    groups = np.array([f"g{i}" for i in number])
    write_manifest(tmp_path / "clips.csv", Manifest(np.array(NAMES), labels, groups, splits))
    return tmp_path


def test_extract_writes_features_and_tells_what_failed(clips, capsys):
    (clips / "idt" / "bad.txt").write_text("1 2 3")
    assert run("extract", clips / "idt", "--backbone", "idt", "--out", clips / "features") == 3
    told = capsys.readouterr().err
    assert "12 videos have features" in told
    assert "bad.txt, line 1: 3 numbers, but a trajectory of DenseTrackStab has 436" in told
    assert read_all_features(clips / "features").sequences.dim == 426
    assert run_extract(clips / "idt", "idt", clips / "few", max_steps=5) == 1
    assert set(read_all_features(clips / "few").sequences.lengths.tolist()) == {5}


@pytest.mark.parametrize(
    ("option", "value"), [("--every", "2"), ("--workers", "2"), ("--crops", "1"), ("--weights", "2")]
)
def test_options_of_videos_are_refused(clips, capsys, option, value):
    assert run("extract", clips / "idt", "--backbone", "idt", "--out", clips / "features", option, value) == 2
    assert f"idt has no option '{option[2:]}': it has max_steps" in capsys.readouterr().err
    assert not (clips / "features").exists()


def test_max_steps_is_for_idt_alone(clips):
    with pytest.raises(ValueError, match="vgg19 has no option 'max_steps'"):
        run_extract(clips / "idt", "vgg19", clips / "features", max_steps=5)
    with pytest.raises(ValueError, match="idt has no option 'device'"):
        run_extract(clips / "idt", "idt", clips / "features", device="cuda")


def test_idt_prints_and_writes_the_agreed_form(clips, capsys):
    run_idt(clips / "idt", clips / "clips.csv", components=2, seeds=2, figures=clips / "idt.json")
    shown = capsys.readouterr()
    assert "left out" not in shown.err
    assert "clips: 12 files, 2 classes" in shown.out
    assert "100.00" in shown.out
    assert json.loads((clips / "idt.json").read_text())["poolings"] == {
        "idt": {"split1": [100.0] * 2, "split2": [100.0] * 2, "mean": 100.0, "std": 0.0, "dim": 852}
    }
    protocol = json.loads((clips / "idt.json").read_text())["protocol"]
    assert protocol["splits"]["split1"] == {"train": 8, "test": 4}
    assert (protocol["seeds"], protocol["components"], protocol["left_out"]) == ([0, 1], 2, {})


def test_idt_is_fused_with_a_pooling(clips):
    """Both runs through the commands: mean pooling of the same trajectories is the other one."""
    features, vectors, manifest = clips / "features", clips / "vectors", ["--manifest", clips / "clips.csv"]
    assert run("extract", clips / "idt", "--backbone", "idt", "--out", features) == 0
    poolings = ["--poolings", "mean", "--deltas", "0"]
    assert run("action", "evaluate", "--features", features, *manifest, *poolings, "--vectors", vectors) == 0
    run_idt(clips / "idt", clips / "clips.csv", components=2, vectors=vectors)
    fused = clips / "fused.json"
    assert run("action", "fuse", vectors / "idt", vectors / "mean", *manifest, "--json", fused) == 0
    assert json.loads(fused.read_text())["fusion"]["mean"] == 100.0


def test_what_is_left_out_is_listed(clips, capsys):
    (clips / "idt" / "run1.avi.gz").write_bytes(b"not compressed")
    with pytest.raises(ValueError, match="no trajectories for 1 of 12 items of the manifest, the first 'run1'"):
        run_idt(clips / "idt", clips / "clips.csv", components=2)
    options = {"splits": ("split2",), "components": 2, "skip_missing": True, "figures": clips / "idt.json"}
    run_idt(clips / "idt", clips / "clips.csv", **options)
    shown = capsys.readouterr()
    assert "1 items were left out:" in shown.err
    assert "run1.avi.gz: the compressed file is damaged" in shown.err
    figures = json.loads((clips / "idt.json").read_text())
    assert list(figures["protocol"]["left_out"]) == ["run1"]
    assert "split1" not in figures["poolings"]["idt"]


def test_impossible_numbers_are_refused_before_files_are_read(tmp_path):
    for name, value in (("components", 0), ("seeds", -1)):
        with pytest.raises(ValueError, match=f"--{name} is {value}: it must be at least 1"):
            run_idt(tmp_path / "nowhere", tmp_path / "nothing.csv", **{name: value})
