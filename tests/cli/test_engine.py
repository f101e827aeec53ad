"""`--engine ray`: every command that has it writes what it writes without."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rnnfv import MeanPooling
from rnnfv.cli import main
from rnnfv.distributed import open_engine
from rnnfv.storage import write_features

ray = pytest.importorskip("ray")
ONNX = Path(__file__).parents[1] / "fixtures" / "quarters.onnx"
LEARN = ["--epochs", "2", "--hidden-size", "4"]


@pytest.fixture(scope="module")
def address():
    """Of a cluster of which this process is a part."""
    with open_engine("ray"):
        yield ray.get_runtime_context().gcs_address


@pytest.fixture(scope="module")
def commands(write_video, write_clips, write_captions, tmp_path_factory):
    """Commands by name; {} stands for a folder to write to."""
    folder = tmp_path_factory.mktemp("commands")
    rng = np.random.default_rng(0)
    for i, n in enumerate([31, 5, 12, 3]):
        write_video(folder / "videos" / f"{i}.avi", n)
    (folder / "videos" / "2.avi").write_text("no video")
    (folder / "pictures").mkdir()
    for i in range(7):
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).save(folder / "pictures" / f"{i}.png")
    (folder / "pictures" / "3.png").write_text("no picture")
    for k in range(3):
        steps = [rng.normal(size=(n, 3)).astype(np.float32) for n in (4, 7)]
        write_features(folder / "features", [f"{k}a", f"{k}b"], steps, shard=k)
    MeanPooling().fit([np.ones((2, 3))]).save(folder / "model")
    clips = write_clips(folder, 8)
    captions = write_captions(folder, {"train": 40, "val": 20, "test": 15})
    net = [*captions, "--encoder", "rnn-fv", "--etas", "0.1", *LEARN]
    extract = ["extract", "--backbone", f"onnx:{ONNX}", "--workers", "0", "--out", "{}/features"]
    table = ["--json", "{}/table.json", "--seeds", "2"]
    corpus = folder / "corpus.txt"
    corpus.write_text("The man sees the bird.\nA dog chases a ball.\n")
    several = ["--also-corpus", corpus, "--ranks", "{}/ranks.csv"]
    return {
        "extract": [*extract, folder / "videos"],
        "extract pictures": [*extract, folder / "pictures", "--images"],
        "encode": ["encode", folder / "features", "--model", folder / "model", "--out", "{}/vectors.npy"],
        "action evaluate": ["action", "evaluate", *clips, "--poolings", "mean", *table],
        "retrieval evaluate": ["retrieval", "evaluate", *net, *table, *several],
        "retrieval fit": ["retrieval", "fit", *net, "--out", "{}/model"],
    }


def writing(command, out):
    """The arguments of a command that writes to this folder."""
    return [str(part).replace("{}", str(out)) for part in command]


def test_a_cluster_that_cannot_be_reached_is_one_line(commands, address, tmp_path):
    arguments = [sys.executable, "-m", "rnnfv", *writing(commands["encode"], tmp_path)]
    with_token = {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path)}  # there is none
    for place, environment, message in (
        ("127.0.0.1:1", {}, "no Ray cluster answers at 127.0.0.1:1 (Connection refused)"),
        (address, with_token, "no authentication token was found: this machine must be part of it, and know its token"),
    ):
        done = subprocess.run(
            [*arguments, "--engine", "ray", "--address", place],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,  # less than Ray would wait for an answer
            env=os.environ | environment,
        )
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert message in line


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("extract", "here"),
        ("extract pictures", "here"),
        ("encode", "alone"),
        ("action evaluate", "here"),
        ("retrieval evaluate", "address"),
        ("retrieval fit", "here"),
    ],
)
def test_a_command_writes_the_same_there(name, where, commands, address, tmp_path):
    """In this process, which is of the cluster; in one that is given its address; in one that starts Ray for itself."""
    made = []
    for place in ("local", where):
        out = tmp_path / place
        out.mkdir()
        arguments = writing(commands[name], out)
        arguments += [] if place == "local" else ["--engine", "ray"]
        arguments += ["--address", address] if place == "address" else []
        if place in ("local", "here"):
            with pytest.raises(SystemExit) as stopped:
                main(arguments)
            code = stopped.value.code
        else:
            done = subprocess.run(
                [sys.executable, "-m", "rnnfv", *arguments], capture_output=True, text=True, check=False
            )
            assert re.search(r"^\[|[Rr]ay", done.stderr, re.MULTILINE) is None, done.stderr
            code = done.returncode
        assert code == (3 if name.startswith("extract") else 0)
        files = {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        made.append({path: data.replace(str(out).encode(), b"") for path, data in files.items()})
    assert made[0] == made[1]
    assert made[0]
