import json
from importlib import metadata
from pathlib import Path

import pytest

from rnnfv import __version__
from rnnfv.cli import doctor
from rnnfv.cli.app import main
from rnnfv.extras import EXTRAS
from rnnfv.recipes.self_test import SelfTest


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return stopped.value.code


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Folders of torch and of the hub, with a file of weights and a model."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    weights = tmp_path / "torch" / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    model = tmp_path / "hub" / "models--openai--clip" / "blobs" / "a"
    for file in (weights, model):
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(1000))
    return weights, model.parents[1]


def test_doctor_tells_what_there_is_as_json(caches, capsys):
    assert run("doctor", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rnnfv"] == __version__
    assert found["libraries"]["torch"] == metadata.version("torch")
    assert found["devices"][0]["name"] == "cpu"
    assert set(found["extras"]) == set(EXTRAS)
    assert [(row["path"], row["bytes"]) for row in found["weights"]] == [(str(path), 1000) for path in caches]
    assert all(row["free"] > 0 for row in found["disk"])
    assert found["self_test"]["passed"]
    assert found["self_test"]["difference"] < 1e-12
    assert found["self_test"]["accuracy"] > 0.9


def test_doctor_without_any_extra_says_how_to_get_them(caches, monkeypatch, capsys):
    there, extras = metadata.version, {name for extra in EXTRAS.values() for name in extra.libraries.values()}

    def version(name):
        if name in extras:
            raise metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setenv("COLUMNS", "200")
    assert run("doctor") == 0
    said = capsys.readouterr().out
    assert all(f"pip install 'rnnfv[{name}]'" in said for name in EXTRAS)
    assert "Self-test passed" in said
    assert str(Path.cwd()) in said


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (SelfTest(1e-3, 1.0, 0.1), "Self-test FAILED: closed form and automatic differentiation differ by 1e-03"),
        (SelfTest(0.0, 0.5, 0.1), "50 % of the orders recognised"),
        (RuntimeError("no kernel\nfor this processor"), "Self-test failed: RuntimeError: no kernel for this processor"),
    ],
)
def test_a_test_that_fails_is_exit_code_1(caches, monkeypatch, capsys, outcome, told):
    def tested():
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(doctor, "self_test", tested)
    assert run("doctor") == 1
    assert told in capsys.readouterr().out
