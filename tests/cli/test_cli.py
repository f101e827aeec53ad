import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rnnfv import MeanPooling
from rnnfv.cli import HELP_PAGE
from rnnfv.cli.app import app, help_page, main
from rnnfv.recipes import demo
from rnnfv.storage import write_features


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


HEAVY = ["torch", "sklearn", "scipy", "numpy", "pyarrow", "matplotlib", "rich", "cyclopts"]


def loaded_by(code):
    """What a fresh Python prints, and which heavy libraries it has loaded then."""
    code += f"\nimport sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    *printed, loaded = done.stdout.splitlines()
    return "\n".join(printed), ast.literal_eval(loaded)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_first_help_page_loads_no_library_at_all(arguments):
    code = f"from rnnfv.cli import main\ntry: main({arguments})\nexcept SystemExit as stopped: assert not stopped.code"
    page, loaded = loaded_by(code)
    assert "retrieval" in page
    assert loaded == []


def test_the_help_of_a_command_loads_no_heavy_library():
    page, loaded = loaded_by("from rnnfv.cli import main\ntry: main(['encode', '--help'])\nexcept SystemExit: pass")
    assert "--model" in page
    assert set(loaded) <= {"rich", "cyclopts"}


def test_ctrl_c_while_the_commands_are_loaded_is_one_line():
    code = """
import sys
class Loading:
    @property
    def main(self): raise KeyboardInterrupt
sys.modules["rnnfv.cli.app"] = Loading()
from rnnfv.cli import main
main(["doctor"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "rnnfv: interrupted\n")


def test_importing_rnnfv_loads_no_library_and_knows_every_name():
    code = "import rnnfv; from rnnfv import *; assert set(rnnfv.__all__) <= set(dir(rnnfv))"
    assert loaded_by("import rnnfv")[1] == []
    assert "torch" in loaded_by(code)[1]


def test_the_kept_help_page_is_that_of_the_commands():
    assert Path(HELP_PAGE).read_text(encoding="utf-8") == help_page(), help_page.__doc__


@pytest.mark.parametrize("command", ["demo", "encode", "serve"])
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
        (["extract", ".", "--backbone", "c3d", "--out", "o", "--weights", "none.pth"], 1, "none.pth"),
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


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--out", "o.npy", "--address", "auto"], "give --engine ray"),
        (["--out", "o.npy", "--engine", "ray", "--worker-cpus", "0"], "--worker-cpus must be above 0"),
        (["--out", "o.txt"], "--out must be a .npy file"),
    ],
)
def test_impossible_options_of_encode_are_wrong_usage(capsys, options, told):
    assert run("encode", "no-features", "--model", "no-model", *options) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["action", "evaluate", "--features", "x", "--manifest", "x"],
        ["retrieval", "fit", "--captions", "x", "--images", "x", "--words", "x", "--out", "x"],
    ],
)
def test_an_address_without_ray_is_wrong_usage(capsys, command):
    assert run(*command, "--address", "auto") == 2
    assert "give --engine ray" in capsys.readouterr().err
