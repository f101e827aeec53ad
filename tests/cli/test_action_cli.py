import json

import numpy as np
import pytest

from rnnfv.cli.app import app, main
from rnnfv.datasets.manifest import Manifest, read_manifest, write_manifest
from rnnfv.storage import write_features

FAST = ["--hidden-size", "6", "--projection-size", "6", "--epochs", "2", "--components", "1,2", "--deltas", "0"]


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


@pytest.fixture
def walks(tmp_path):
    """Features and manifest of two classes that only order tells apart."""
    rng = np.random.default_rng(0)
    rising = [np.sort(rng.normal(size=(n, 3)), axis=0) for n in rng.integers(5, 9, 30)]
    ids = [f"clip{i}" for i in range(60)]
    write_features(tmp_path / "features", ids, rising + [walk[::-1] for walk in rising])
    groups = np.tile([f"g{i % 6}" for i in range(30)], 2)
    splits = {f"split{k + 1}": np.where(groups == f"g{k}", "test", "train") for k in range(2)}
    write_manifest(
        tmp_path / "walks.csv", Manifest(np.array(ids), np.repeat(["rising", "falling"], 30), groups, splits)
    )
    return ["--features", tmp_path / "features", "--manifest", tmp_path / "walks.csv"]


@pytest.mark.parametrize("command", ["evaluate", "fit", "predict", "watch", "fuse", "idt"])
def test_help_has_an_example(command, capsys):
    app(["action", command, "--help"], result_action="return_value")
    assert f"rnnfv action {command}" in capsys.readouterr().out.split("Example:")[1]


def test_evaluate_prints_and_writes_the_agreed_form(walks, tmp_path, capsys):
    files = {name: tmp_path / f"table.{name}" for name in ("json", "markdown", "latex")}
    options = [part for name, path in files.items() for part in (f"--{name}", path)]
    code = run(
        "action", "evaluate", *walks, *FAST, "--poolings", "mean,rnn-fv", "--seeds", 2, "--reverse-test", *options
    )
    assert code == 0
    out = capsys.readouterr().out
    assert "rnn-fv" in out
    assert "backwards" in out
    figures = json.loads(files["json"].read_text())
    row = figures["poolings"]["rnn-fv"]
    assert {"split1", "split2", "mean", "std"} <= set(row)
    assert len(row["split1"]) == 2
    assert row["mean"] == pytest.approx(np.mean([row["split1"], row["split2"]]))
    assert figures["protocol"]["seeds"] == [0, 1]
    assert figures["protocol"]["splits"]["split1"] == {"train": 50, "test": 10}
    assert files["markdown"].read_text().startswith("| pooling | split1 | split2 | mean ± seeds |")
    assert f"{row['mean']:.2f}" in files["markdown"].read_text()
    assert r"\toprule" in files["latex"].read_text()


def test_one_seed_gives_the_same_figures_twice(walks, tmp_path):
    for name in ("a", "b"):
        run("action", "evaluate", *walks, *FAST, "--poolings", "gmm-fv,rnn-fv-kron", "--json", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_kept_vectors_can_be_fused(walks, tmp_path, capsys):
    run("action", "evaluate", *walks, *FAST, "--poolings", "mean,rnn-fv", "--vectors", tmp_path / "v")
    alone, both = tmp_path / "alone.json", tmp_path / "both.json"
    figures = tmp_path / "table.json"
    run("action", "evaluate", *walks, *FAST, "--poolings", "rnn-fv", "--json", figures)
    assert run("action", "fuse", tmp_path / "v/rnn-fv", *walks[2:], "--json", alone) == 0
    assert run("action", "fuse", tmp_path / "v/rnn-fv", tmp_path / "v/mean", *walks[2:], "--json", both) == 0
    found = json.loads(alone.read_text())["fusion"]
    assert found["mean"] == json.loads(figures.read_text())["poolings"]["rnn-fv"]["mean"]
    assert set(json.loads(both.read_text())["fusion"]) == {"split1", "split2", "mean", "std"}


def test_splits_can_be_chosen_and_items_left_out(walks, tmp_path, capsys):
    listed = read_manifest(walks[3])
    more = np.append(listed.ids, "lost")
    parts = {name: np.append(part, "train") for name, part in listed.splits.items()}
    manifest = Manifest(more, np.append(listed.labels, "rising"), np.append(listed.groups, "g9"), parts)
    write_manifest(walks[3], manifest)
    arguments = ["action", "evaluate", *walks, *FAST, "--poolings", "mean", "--json", tmp_path / "j"]
    assert run(*arguments) == 1
    assert "no features for 1 of 61 items of the manifest, the first 'lost'" in capsys.readouterr().err
    assert run(*arguments, "--skip-missing", "--splits", "split2") == 0
    figures = json.loads((tmp_path / "j").read_text())
    assert figures["protocol"]["left_out"] == 1
    assert list(figures["protocol"]["splits"]) == ["split2"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--poolings", "mean,max"], "no pooling 'max'"),
        (["--splits", "split7"], "no split 'split7'"),
        (["--deltas", "one"], "--deltas is 'one'"),
        (["--seeds", "0"], "seeds is 0"),
        (["--transfer", "model", "--epochs", "2"], "leave out --epochs"),
        (["--through", "model", "--deltas", "2"], "leave out --deltas"),
        (["--epochs", "0"], "--epochs is 0"),
        (["--deltas", "-1"], "at least 0"),
        (["--components", "0,1"], "at least 1"),
        (["--dropout", "1"], "--dropout is 1.0"),
        (["--json", "."], ". is a folder"),
        (["--jobs", "0"], "--jobs is 0"),
    ],
)
def test_wrong_use_is_one_line(walks, options, words, capsys):
    assert run("action", "evaluate", *walks, *options) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


def test_manifest_of_a_known_set(tmp_path, capsys):
    lists = tmp_path / "lists"
    lists.mkdir()
    for k in (1, 2, 3):
        (lists / f"wave_test_split{k}.txt").write_text(
            "film_a_wave_u_cm_np1_fr_med_0.avi 1 \nfilm_b_wave_u_cm_np1_fr_med_0.avi 2 \n"
        )
    assert run("manifest", "hmdb51", lists, "--out", tmp_path / "m.csv") == 0
    assert read_manifest(tmp_path / "m.csv").splits["split1"].tolist() == ["train", "test"]
    assert "2 clips of 1 classes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "f", "--manifest", "m", "--out", "o", "--pooling", "max"], "no pooling 'max'"),
        (["fit", "f", "--manifest", "m", "--out", "o", "--pooling", "mean", "--streamed"], "can be streamed"),
        (["fit", "f", "--manifest", "m", "--out", "o", "--hidden-size", "0"], "--hidden-size is 0"),
        (["predict", "--model", "m"], "give a video"),
        (["predict", "v.mp4", "--model", "m", "--workers", "-1"], "--workers is -1"),
        (["predict", "v.mp4", "--model", "m", "--json", "."], ". is a folder"),
        (["predict", "v.mp4", "--model", "m", "--explain", __file__], "is not a folder"),
        (["fuse", "--manifest", "m"], "give the folders"),
        (["idt", "t", "--manifest", "m", "--components", "0"], "--components is 0"),
    ],
)
def test_wrong_use_of_other_commands_is_told_before_the_work(arguments, words, capsys):
    assert run("action", *arguments) == 2
    assert words in capsys.readouterr().err
