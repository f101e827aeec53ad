import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

import rnnfv
from rnnfv import LinearSVM, MeanPooling, RNNFisherVector
from rnnfv.cli.app import main
from rnnfv.recipes.recognizer import ActionRecognizer
from rnnfv.storage import ModelFolderError

pytest.importorskip("huggingface_hub")
from tests.hub_server import serving


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub on loopback, a token for it, and an empty cache."""
    with serving() as server:
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        constants = "huggingface_hub.constants."
        monkeypatch.setattr(constants + "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants + "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants + "HF_HUB_CACHE", str(tmp_path / "cache" / "hub"))
        monkeypatch.setattr(constants + "HF_ASSETS_CACHE", str(tmp_path / "cache" / "assets"))
        monkeypatch.setattr(constants + "HF_HUB_DISABLE_PROGRESS_BARS", True)
        yield server


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def card_of(hub, name):
    return hub.models[name][hub.newest(name)]["README.md"].decode()


@pytest.fixture
def recognizer(ragged):
    pipeline = make_pipeline(MeanPooling(), LinearSVM()).fit(ragged, np.repeat(["run", "sit"], 6))
    return ActionRecognizer(pipeline)


def test_an_encoder_comes_back_as_it_was(hub, ragged):
    encoder = RNNFisherVector(hidden_size=4, projection_size=None, max_epochs=1, random_state=0).fit(ragged)
    commit = rnnfv.push_to_hub(encoder, "user/encoder")
    np.testing.assert_array_equal(rnnfv.from_pretrained("user/encoder").transform(ragged), encoder.transform(ragged))
    assert commit == hub.newest("user/encoder")
    assert set(hub.models["user/encoder"][commit]) == {"README.md", "config.json", "arrays.safetensors"}


def test_a_pipeline_and_its_folder_are_the_same(hub, ragged, tmp_path):
    pipeline = make_pipeline(MeanPooling(), LinearSVM()).fit(ragged, np.arange(12) % 2)
    rnnfv.save(pipeline, tmp_path / "model")
    (tmp_path / "model" / "private.txt").write_text("not a part of the model")
    rnnfv.push_to_hub(tmp_path / "model", "user/a")
    rnnfv.push_to_hub(pipeline, "user/b")
    files = {
        name: {k: v for k, v in hub.models[name][hub.newest(name)].items() if k != "README.md"} for name in hub.models
    }
    assert files["user/a"] == files["user/b"]
    assert rnnfv.from_pretrained("user/a").predict(ragged).tolist() == pipeline.predict(ragged).tolist()


def test_a_recogniser_comes_back_with_its_classes(hub, ragged, recognizer):
    rnnfv.push_to_hub(recognizer, "user/actions", data="Two made classes.", licence="cc0-1.0")
    back = rnnfv.from_pretrained("user/actions")
    np.testing.assert_array_equal(back.scores(ragged), recognizer.scores(ragged))
    card = card_of(hub, "user/actions")
    assert "license: cc0-1.0" in card
    assert "library_name: rnnfv" in card
    assert "Two made classes.\n\nClasses: run, sit." in card
    assert 'rnnfv.from_pretrained("user/actions")' in card


def test_a_retrieval_model_comes_back_and_its_card_has_figures(hub, write_captions, tmp_path, capsys):
    options = write_captions(tmp_path, {"train": 12, "val": 8, "test": 6})
    assert run("retrieval", "fit", *options, "--encoder", "mean", "--out", tmp_path / "model") == 0
    table = tmp_path / "table.json"
    assert run("retrieval", "evaluate", *options, "--encoder", "mean", "--json", table) == 0
    push = ["hub", "push", tmp_path / "model", "user/search", "--figures", table, "--json"]
    capsys.readouterr()
    assert run(*push) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"model": "user/search", "revision": hub.newest("user/search")}
    model, vectors = rnnfv.from_pretrained("user/search"), np.load(tmp_path / "vectors.npy")
    assert model.encode_images(vectors).shape[0] == len(vectors)
    card, figures = card_of(hub, "user/search"), json.loads(table.read_text())
    assert f"| annotation | {figures['annotation']['r@1']:.1f} |" in card
    assert "dataset.json" in card
    assert str(tmp_path) not in card  # where files lie is nobody's business


def test_a_revision_is_pinned_and_needs_no_network_twice(hub, ragged):
    first = rnnfv.push_to_hub(MeanPooling().fit(ragged), "user/model")
    rnnfv.push_to_hub(RNNFisherVector(hidden_size=4, max_epochs=0).fit(ragged), "user/model")
    assert isinstance(rnnfv.from_pretrained("user/model", revision=first), MeanPooling)
    assert isinstance(rnnfv.from_pretrained("user/model"), RNNFisherVector)
    hub.models.clear()
    asked = len(hub.asked)
    assert isinstance(rnnfv.from_pretrained("user/model", revision=first), MeanPooling)
    assert [path for _, path in hub.asked[asked:] if "resolve" in path] == []


def test_a_card_that_a_person_wrote_is_left(hub, ragged):
    rnnfv.push_to_hub(MeanPooling().fit(ragged), "user/model", data="Old.")
    rnnfv.push_to_hub(MeanPooling().fit(ragged), "user/model", data="New.")
    assert "New." in card_of(hub, "user/model")
    files = dict(hub.models["user/model"][hub.newest("user/model")])
    hub.commit("user/model", {**files, "README.md": b"Written by a person."})
    rnnfv.push_to_hub(MeanPooling().fit(ragged), "user/model")
    assert card_of(hub, "user/model") == "Written by a person."


def test_a_model_of_another_kind_is_not_mixed_in(hub, ragged, recognizer):
    rnnfv.push_to_hub(recognizer, "user/model")
    with pytest.raises(ValueError, match=r"user/model holds a model of another kind \(action.json\)"):
        rnnfv.push_to_hub(MeanPooling().fit(ragged), "user/model")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"pytorch_model.bin": b"\x80\x04cos\nsystem\n"}, "is not a model of rnnfv"),
        ({"config.json": b'{"model_type": "bert"}'}, "it is not a model folder of rnnfv"),
        ({"config.json": b"{}", "action.json": b"{}"}, "it has more than one of the files"),
        ({"action.json": b'{"format": "rnnfv-action"}'}, "the checksum of action.json is wrong"),
        ({"config.json": b"[" * 100_000}, "config.json is not JSON"),
    ],
)
def test_hostile_models_are_refused(hub, files, told):
    hub.commit("user/hostile", files)
    with pytest.raises(ModelFolderError, match=told):
        rnnfv.from_pretrained("user/hostile")


def test_nothing_but_the_files_of_a_model_is_fetched(hub, ragged, tmp_path):
    rnnfv.save(MeanPooling().fit(ragged), tmp_path / "model")
    files = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    hub.commit("user/model", {**files, "setup.py": b"raise SystemExit", "weights.pickle": b"\x80\x04."})
    assert run("hub", "pull", "user/model", "--out", tmp_path / "pulled") == 0
    assert {path.name for path in (tmp_path / "pulled").iterdir()} == {"config.json", "arrays.safetensors"}
    assert isinstance(rnnfv.load(tmp_path / "pulled"), MeanPooling)
    assert not any("setup.py" in path or "pickle" in path for _, path in hub.asked)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pull", "user/none", "--out", "new"], "user/none: the hub has no such model"),
        (["pull", "user/model", "--revision", "none", "--out", "new"], "no such model or revision"),
        (["pull", "no/such/name", "--out", "new"], "'no/such/name' is not the name of a model on the hub"),
        (["pull", "user/model", "--out", "."], ".: a model would replace what is there"),
        (["push", "nowhere", "user/model"], "nowhere is not a model of rnnfv"),
        (["push", "model", "user/model", "--figures", "model/config.json"], "has no figures"),
        (["push", "model", "user/model", "--figures", "none.json"], "none.json"),
    ],
)
def test_failures_are_one_line(hub, ragged, tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    MeanPooling().fit(ragged).save("model")
    rnnfv.push_to_hub("model", "user/model")
    assert run("hub", *arguments) == 1
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


def test_no_permission_is_told(hub, ragged, tmp_path, capsys):
    MeanPooling().fit(ragged).save(tmp_path / "model")
    hub.allowed = False
    assert run("hub", "push", tmp_path / "model", "user/model") == 1
    assert "you may not do that with this model" in capsys.readouterr().err


def test_a_hub_that_is_not_there_is_told_in_one_line(tmp_path):
    environment = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "PATH": "", "OMP_NUM_THREADS": "1"}
    source = str(Path(rnnfv.__file__).parents[1])
    code = "from rnnfv.cli import main; main(['hub', 'pull', 'user/model', '--out', 'new'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": source},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("rnnfv: user/model: the hub cannot be reached")
    assert done.stderr.count("\n") == 1
