import json
import subprocess
import sys

import numpy as np
import pytest

from rnnfv import MeanPooling
from rnnfv.cli.app import app, main
from rnnfv.recipes import demo
from rnnfv.storage import write_features


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def test_help_loads_no_heavy_library():
    code = (
        "import sys; from rnnfv.cli import main\n"
        "sys.argv = ['rnnfv', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'sklearn', 'numpy', 'pyarrow', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "demo" in done.stdout
    assert "encode" in done.stdout
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize("command", ["demo", "encode"])
def test_help_of_each_command_has_an_example(command, capsys):
    app([command, "--help"], result_action="return_value")
    assert f"rnnfv {command}" in capsys.readouterr().out.split("Example:")[1]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["demo", "--seeds", "0"], 2, "at least 1"),
        (["demo", "--seed", "3"], 2, "--seed"),
        (["encode", "nowhere"], 2, "--model"),
        (["encode", "nowhere", "--model", "m", "--out", "v.npy"], 1, "nowhere"),
        (["demo", "--json", "."], 2, ". is a folder"),
        (["dmeo"], 2, "dmeo"),
        (["extract", "v", "--backbone", "vgg11", "--out", "o"], 2, "no backbone 'vgg11'"),
        (["extract", "v", "--backbone", "vgg19", "--out", "o"], 2, "vgg19 needs weights"),
        (["extract", "v", "--backbone", "c3d", "--out", "o", "--weights", "none.pth"], 1, "none.pth"),
        (["extract", "v", "--backbone", "clip", "--out", "o", "--crops", "1"], 2, "hub has no option 'crops'"),
        (["extract", "v", "--backbone", "onnx:m", "--out", "o", "--every", "0"], 2, "every must be at least 1"),
        (["extract", "v", "--backbone", "onnx:m", "--out", "o", "--every", "2", "--fps", "5"], 2, "not both"),
        (["extract", "v", "--backbone", "onnx:m", "--out", "o", "--workers", "-1"], 2, "--workers is -1"),
        (["extract", "v", "--backbone", "idt", "--out", "o", "--max-steps", "0"], 2, "--max-steps is 0"),
        (["extract", "v", "--backbone", "onnx:m", "--out", "o", "--images", "--fps", "1"], 2, "are of videos"),
    ],
)
def test_wrong_use_is_one_line_and_a_code(arguments, code, words, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == code
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


def test_encode_says_what_failed_and_exits_with_3(tmp_path, ragged, capsys):
    write_features(tmp_path / "features", [f"v{i}" for i in range(12)], ragged)
    (tmp_path / "features" / "part-00001.parquet").write_bytes(b"PAR1 and then nothing")
    MeanPooling().fit(ragged).save(tmp_path / "model")
    out = tmp_path / "vectors.npy"
    arguments = ("encode", tmp_path / "features", "--model", tmp_path / "model", "--out", out)
    assert run(*arguments) == 3
    np.testing.assert_allclose(np.load(out), [s.mean(axis=0) for s in ragged], rtol=1e-5)
    assert "1 items could not be encoded" in capsys.readouterr().err
    assert "part-00001" in (tmp_path / "vectors.csv").read_text()
    (tmp_path / "features" / "part-00001.parquet").unlink()
    out.unlink()
    assert run(*arguments) == 0


def test_interrupted_is_130(monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("rnnfv.cli.demo.run_demo", stop)
    assert run("demo") == 130
    assert "interrupted" in capsys.readouterr().err


def test_demo_writes_table_page_and_figures(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(demo, "PREPARATIONS", {"basis": ["standardize"], "deltas": [1]})
    monkeypatch.setitem(demo.NET, "hidden_size", 16)
    assert run("demo", "--out", tmp_path, "--seeds", 2, "--json", tmp_path / "demo.json") == 0
    assert "Kronecker" in capsys.readouterr().out
    figures = json.loads((tmp_path / "demo.json").read_text())["poolings"]
    assert set(figures) == set(demo.TITLES)
    assert all(len(row["split1"]) == 2 for row in figures.values())
    assert figures["rnn-fv-kron"]["mean"] > 90
    assert figures["reversed"]["mean"] < figures["rnn-fv-kron"]["mean"] - 10
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert all(title in page for title in demo.TITLES.values())
