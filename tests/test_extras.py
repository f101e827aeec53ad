import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from rnnfv import MeanPooling
from rnnfv.cli.app import main
from rnnfv.extras import EXTRAS, wanted
from rnnfv.storage import write_features

ROOT = Path(__file__).parents[1]
NOT_OF_USERS = {"all", "oracles", "docs", "fuzz", "dev"}


def distributions(requirements):
    return {re.split(r"[^\w-]", line)[0].lower().replace("_", "-") for line in requirements}


def test_the_extras_are_those_of_the_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    told = {name: set(extra.libraries.values()) for name, extra in EXTRAS.items()}
    assert told == {name: distributions(lines) for name, lines in extras.items() if name not in NOT_OF_USERS}
    (every,) = extras["all"]
    assert set(every.removeprefix("rnnfv[").removesuffix("]").split(",")) == set(EXTRAS)


def test_a_library_that_is_there_and_does_not_load_is_told_with_its_reason():
    with pytest.raises(ImportError, match=r"^x needs y, which does not load here \(a bad build\): pip install"):  # noqa: SIM117
        with wanted("ray", "x needs y"):
            raise ImportError("a bad\nbuild")


@pytest.fixture
def place(tmp_path, monkeypatch, ragged, write_video):
    """A folder with a video, pictures, features and a model."""
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "videos" / "v.mp4", 4)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "p.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    write_features(tmp_path / "features", [f"v{i}" for i in range(12)], ragged)
    MeanPooling().fit(ragged).save(tmp_path / "model")
    np.save(tmp_path / "vectors.npy", np.zeros((1, 4), np.float32))
    return tmp_path


QUARTERS = f"onnx:{ROOT / 'tests' / 'fixtures' / 'quarters.onnx'}"
ENCODE = ["encode", "features", "--model", "model", "--out", "out.npy"]


@pytest.mark.parametrize(
    ("library", "extra", "command"),
    [
        ("matplotlib.figure", "plots", ["demo"]),
        ("av", "video", ["extract", "videos", "--backbone", QUARTERS, "--out", "o", "--workers", "0"]),
        ("PIL", "video", ["extract", "pictures", "--images", "--backbone", QUARTERS, "--out", "o", "--workers", "0"]),
        ("onnxruntime", "onnx", ["extract", "videos", "--backbone", QUARTERS, "--out", "o"]),
        ("transformers", "hub", ["extract", "videos", "--backbone", "clip", "--out", "o"]),
        ("huggingface_hub", "hub", ["hub", "pull", "user/model", "--out", "o"]),
        ("huggingface_hub", "hub", ["hub", "push", "model", "user/model"]),
        ("ray", "ray", [*ENCODE, "--engine", "ray"]),
        ("upath", "remote", ["encode", "s3://bucket/features", "--model", "model", "--out", "out.npy"]),
    ],
)
def test_a_missing_library_is_one_line_that_names_the_extra(library, extra, command, place, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SystemExit) as stopped:
        main(command)
    err = capsys.readouterr().err
    assert stopped.value.code == 1
    assert f"pip install 'rnnfv[{extra}]'" in err
    assert [line for line in err.splitlines() if line.startswith("rnnfv: ")] == [err.splitlines()[-1]]
