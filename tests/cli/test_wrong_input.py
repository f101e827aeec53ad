"""What a person reads who gives a command the wrong thing."""

import json
from pathlib import Path

import numpy as np
import pytest

from rnnfv import MeanPooling
from rnnfv.cli.app import main
from rnnfv.storage import write_features


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch, ragged):
    """A folder with features and a model, an empty folder, an empty file and a text."""
    monkeypatch.chdir(tmp_path)
    write_features("features", [f"v{i}" for i in range(12)], ragged)
    MeanPooling().fit(ragged).save("model")
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "text.txt").write_text("hello\n")
    splits = "".join(f"v{i},{'ab'[i % 2]},g{i % 4},{'train' if i % 4 else 'test'}\n" for i in range(12))
    (tmp_path / "m.csv").write_text(f"id,label,group,split1\n{splits}")


QUARTERS = Path(__file__).parents[1] / "fixtures" / "quarters.onnx"
ENCODE = ["encode", "features", "--model", "model", "--out", "o.npy"]
EVALUATE = ["action", "evaluate", "--features", "features", "--manifest", "m.csv"]
RETRIEVAL = ["retrieval", "evaluate", "--encoder", "mean", "--images", "i.npy"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["encode"], 2, "encode needs FEATURES\nSee `rnnfv encode --help`.\n"),
        (["encode", "features", "--model", "model"], 2, "encode needs --out\nSee `rnnfv encode --help`.\n"),
        (["retrieval", "fit"], 2, "retrieval fit needs --captions\nSee `rnnfv retrieval fit --help`.\n"),
        ([*EVALUATE[:4], "--manifst", "m.csv"], 2, "Did you mean --manifest instead of --manifst?"),
        ([*ENCODE, "--colour", "red"], 2, "--colour"),
        ([*ENCODE, "--engine", "spark"], 2, 'Choose from: "local", "ray"'),
        ([*ENCODE, "--worker-cpus", "many"], 2, 'unable to convert "many" into float'),
        (["encode", "empty", *ENCODE[2:]], 1, "empty is not a folder of features, nor a .parquet file"),
        (["encode", "folder", *ENCODE[2:]], 1, "folder holds no .parquet file"),
        (["encode", "features", "--model", "text.txt", "--out", "o.npy"], 1, "text.txt: it has no file config.json"),
        ([*ENCODE[:-1], "text.txt/o.npy"], 1, "text.txt/o.npy cannot be written: text.txt is not a folder"),
        (["demo", "--out", "text.txt"], 2, "text.txt is not a folder: give another for --out"),
        (["extract", "none", "--backbone", "clip", "--out", "o"], 1, "none is not there: give a folder of videos"),
        (["extract", "none", "--images", "--backbone", "clip", "--out", "o"], 1, "give a folder of pictures"),
        ([*EVALUATE, "--poolings", "rnn-fv", "--device", "gpu"], 1, "there is no device 'gpu': give auto, cpu, cuda"),
        ([*EVALUATE[:-1], "folder"], 1, "folder is not a file: give a CSV"),
        ([*EVALUATE[:-1], "empty"], 1, "empty: the column 'id' is missing"),
        ([*RETRIEVAL, "--captions", "none", "--words", "w"], 1, "none: no such file or directory"),
        ([*RETRIEVAL, "--captions", "none"], 2, "mean needs either --words or --cca-words"),
        (["manifest", "ucf102", "lists", "--out", "x"], 2, 'Did you mean "ucf101"?'),
        (["manifest", "ucf101", "folder", "--out", "x"], 1, "folder/classInd.txt is missing: give the folder"),
        (["action", "predict", "v.mp4", "--model", "model"], 1, "give a folder that `rnnfv action fit` wrote"),
        (["completion", "tcsh"], 2, 'Choose from: "bash", "zsh", "fish"'),
    ],
)
def test_what_is_wrong_is_said_plainly(arguments, code, told, capsys):
    assert run(*arguments) == code
    err = capsys.readouterr().err
    assert told in err
    assert "Traceback" not in err
    assert "[Errno" not in err


def test_no_permission_is_said_with_the_file(monkeypatch, capsys):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "m.csv")

    monkeypatch.setattr("rnnfv.cli.evaluate.read_manifest", refuse)
    assert run(*EVALUATE) == 1
    assert capsys.readouterr().err == "rnnfv: m.csv: permission denied\n"


def test_encode_tells_as_json(capsys):
    assert run(*ENCODE, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"out": "o.npy", "table": "o.csv", "encoded": 12, "failed": 0, "dim": 3, "was_finished": False}
    assert np.load("o.npy").shape == (12, 3)


def test_extract_tells_as_json(write_video, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    write_video(tmp_path / "videos" / "good.mp4", 20)
    (tmp_path / "videos" / "bad.mp4").write_bytes(b"nothing")
    options = ["--backbone", f"onnx:{QUARTERS}", "--out", "out", "--workers", "0", "--json"]
    assert run("extract", "videos", *options) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["failed"]) == (1, 1)
    assert told["failures"][0][0] == "bad"


def test_manifest_tells_as_json(tmp_path, capsys):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 Run\n2 Sit\n")
    for k in (1, 2, 3):
        (lists / f"trainlist0{k}.txt").write_text("Run/v_Run_g01_c01.avi 1\nSit/v_Sit_g01_c01.avi 2\n")
        (lists / f"testlist0{k}.txt").write_text("Run/v_Run_g02_c01.avi\n")
    assert run("manifest", "ucf101", lists, "--out", "u.csv", "--json") == 0
    sizes = {"train": 2, "test": 1, "groups_in_both": 0}
    told = json.loads(capsys.readouterr().out)
    assert told == {"manifest": "u.csv", "clips": 3, "classes": 2, "splits": dict.fromkeys(told["splits"], sizes)}
    assert len(told["splits"]) == 3
