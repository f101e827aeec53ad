"""A recogniser: fitted, kept in a folder, read again."""

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import Pipeline

import rnnfv
from rnnfv import LinearSVM, MeanPooling, PowerNormalizer, StepPreprocessor
from rnnfv.cli.fit import run_fit
from rnnfv.datasets.manifest import Manifest, write_manifest
from rnnfv.recipes.action import Settings
from rnnfv.recipes.recognizer import ActionRecognizer, backbone_of_features, fit_recognizer, load_recognizer
from rnnfv.storage import ModelFolderError, file_identity, write_features
from rnnfv.video.backbones import make_backbone
from rnnfv.video.decode import Sampling

# Gives the mean colour of each quarter of an 8 x 8 image: 12 numbers, colour after colour.
ONNX = Path(__file__).parents[1] / "fixtures" / "quarters.onnx"
SAMPLING = Sampling(every=4)
SETTINGS = Settings(poolings=("mean",), deltas=(1,))


def described():
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    return make_backbone(f"onnx:{ONNX}", device="cpu").description()


def sequences(n_classes, n=24, dim=12, seed=0):
    """Random walks that drift to where their class is."""
    rng = np.random.default_rng(seed)
    goals = 3 * np.eye(n_classes, dim)
    labels = np.array([f"class {i % n_classes}" for i in range(n)])
    seqs = [
        np.linspace(0, 1, steps)[:, None] * goals[i % n_classes] + 0.3 * rng.normal(size=(steps, dim))
        for i, steps in enumerate(rng.integers(5, 12, n))
    ]
    return [seq.astype(np.float32) for seq in seqs], labels


def fitted(n_classes=3):
    seqs, labels = sequences(n_classes)
    steps = [("prepare", StepPreprocessor(basis="standardize")), ("encoder", MeanPooling())]
    return Pipeline([*steps, ("normalizer", PowerNormalizer()), ("classifier", LinearSVM())]).fit(seqs, labels)


@pytest.fixture
def recognizer():
    return ActionRecognizer(fitted(), described(), SAMPLING, ONNX)


@pytest.fixture
def saved(recognizer, tmp_path):
    recognizer.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def features(tmp_path):
    """Made by the net, as the shards say; a manifest whose last item has no label."""
    seqs, labels = sequences(3)
    ids = [f"v{i:02d}" for i in range(24)]
    origin = {"backbone": described(), "sampling": asdict(SAMPLING)}
    for k in range(2):
        part = slice(12 * k, 12 * k + 12)
        write_features(tmp_path / "features", ids[part], seqs[part], shard=k, metadata=origin)
    parts = np.array(["train"] * 18 + ["test"] * 6)
    labels = [*labels[:23], ""]
    write_manifest(tmp_path / "m.csv", Manifest(*map(np.array, (ids, labels, ids)), {"split1": parts}))
    return tmp_path / "features"


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- scores ----------------------------------------------------------------------------------------


def test_scores_are_the_classifier_s_decision_values():
    recognizer, (seqs, _) = ActionRecognizer(fitted()), sequences(3, seed=1)
    vectors = recognizer.pipeline[:-1].transform(seqs)
    svm = recognizer.pipeline["classifier"]
    assert_allclose(recognizer.scores(seqs), vectors @ svm.coef_.T + svm.intercept_, rtol=1e-4, atol=1e-5)
    best = recognizer.classes[recognizer.scores(seqs).argmax(axis=1)]
    assert_array_equal(best, recognizer.pipeline.predict(seqs))


def test_two_classes_have_two_columns():
    recognizer, (seqs, labels) = ActionRecognizer(fitted(2)), sequences(2, seed=1)
    scores = recognizer.scores(seqs)
    assert scores.shape == (24, 2)
    assert_array_equal(scores[:, 0], -scores[:, 1])
    assert_array_equal(recognizer.classes[scores.argmax(axis=1)], recognizer.pipeline.predict(seqs))
    assert np.mean(recognizer.classes[scores.argmax(axis=1)] == labels) > 0.9


def test_backbone_and_sampling_go_together():
    with pytest.raises(ValueError, match="go together"):
        ActionRecognizer(fitted(), described())


# -- the folder ------------------------------------------------------------------------------------


def test_a_saved_recogniser_is_the_same_again(recognizer, saved, tmp_path):
    moved = saved.rename(tmp_path / "elsewhere")
    again = load_recognizer(moved)
    seqs, _ = sequences(3, seed=2)
    assert_array_equal(again.scores(seqs), recognizer.scores(seqs))
    assert_array_equal(again.classes, recognizer.classes)
    assert again.backbone_description == json.loads(json.dumps(recognizer.backbone_description))
    assert (again.sampling, again.weights) == (SAMPLING, moved / "backbone" / "quarters.onnx")
    frames = np.random.default_rng(0).integers(0, 255, (5, 8, 8, 3), dtype=np.uint8)
    quarters = frames.reshape(5, 2, 4, 2, 4, 3).mean(axis=(2, 4)).transpose(0, 3, 1, 2).reshape(5, 12)
    assert_allclose(again.backbone("cpu")(frames), quarters, rtol=1e-5)


def test_the_folder_holds_the_whole_chain(recognizer, saved):
    record = json.loads((saved / "action.json").read_text())
    assert (record["format"], record["format_version"]) == ("rnnfv-action", 1)
    names = {"action.json", "recognizer/config.json", "recognizer/arrays.safetensors", "backbone/quarters.onnx"}
    assert content(saved).keys() == names
    assert (saved / "backbone" / "quarters.onnx").read_bytes() == ONNX.read_bytes()
    assert isinstance(rnnfv.load(saved / "recognizer"), Pipeline)


def test_a_recogniser_of_own_features_has_no_backbone(tmp_path):
    ActionRecognizer(fitted()).save(tmp_path / "model")
    assert not (tmp_path / "model" / "backbone").exists()
    again = load_recognizer(tmp_path / "model")
    seqs, labels = sequences(3, seed=1)
    assert np.mean(again.classes[again.scores(seqs).argmax(axis=1)] == labels) > 0.9
    with pytest.raises(ValueError, match="has no backbone: it takes features"):
        again.backbone()


def test_without_its_weights_it_takes_features_or_the_weights_once_more(recognizer, tmp_path):
    replace(recognizer, weights=None).save(tmp_path / "model")
    again = load_recognizer(tmp_path / "model")
    assert again.scores(sequences(3)[0]).shape == (24, 3)
    with pytest.raises(
        ValueError, match=r"without the weights of onnx:quarters.onnx:quarters.*give them with --weights"
    ):
        again.backbone()
    assert load_recognizer(tmp_path / "model", weights=ONNX).backbone("cpu").dim == 12


def test_other_weights_are_refused(recognizer, tmp_path):
    other = tmp_path / "quarters.onnx"
    other.write_bytes(ONNX.read_bytes().replace(b"graph", b"grave"))
    with pytest.raises(ValueError, match=r"this is not the onnx:quarters.onnx:quarters described: its weights"):
        replace(recognizer, weights=other).backbone("cpu")


def test_a_model_of_the_hub_is_named_not_copied(tmp_path):
    origin = {"name": "hub:some/model", "dim": 12, "settings": {"revision": "abc"}, "weights": {"sha256": "0"}}
    ActionRecognizer(fitted(), origin, SAMPLING).save(tmp_path / "model")
    again = load_recognizer(tmp_path / "model")
    assert again.backbone_description == origin
    assert not (tmp_path / "model" / "backbone").exists()


def test_a_mean_cube_goes_with_the_weights(tmp_path):
    weights = tmp_path / "c3d.pth"
    weights.write_bytes(b"weights")
    np.save(tmp_path / "cube.npy", np.zeros((3, 16, 128, 171), np.float32))
    origin = {"name": "c3d", "settings": {"relu": True, "mean": {"sha256": "0"}}, "weights": {"file": "c3d.pth"}}
    made = ActionRecognizer(fitted(), origin, Sampling(1), weights, tmp_path / "cube.npy")
    made.save(tmp_path / "model")
    again = load_recognizer(tmp_path / "model")
    assert again.weights.read_bytes() == b"weights"
    assert again.mean.read_bytes() == (tmp_path / "cube.npy").read_bytes()


def test_a_recogniser_may_be_replaced_also_by_itself(saved):
    before = content(saved)
    load_recognizer(saved).save(saved)
    assert content(saved) == before
    ActionRecognizer(fitted(2)).save(saved)
    assert load_recognizer(saved).classes.tolist() == ["class 0", "class 1"]
    assert not (saved / "backbone").exists()


@pytest.mark.parametrize("name", ["notes.txt", "recognizer/notes.txt", "backbone/other.onnx"])
def test_nothing_else_is_replaced(recognizer, saved, name):
    (saved / name).write_text("mine")
    before = content(saved)
    with pytest.raises(ModelFolderError, match=rf"would replace what is there \({name}\); give a new"):
        recognizer.save(saved)
    assert content(saved) == before


def test_other_folders_and_files_are_not_replaced(recognizer, tmp_path):
    (tmp_path / "file").write_text("mine")
    MeanPooling().fit([[[1.0]]]).save(tmp_path / "encoder")
    for name, words in [("file", "it is not a folder"), ("encoder", "arrays.safetensors")]:
        with pytest.raises(ModelFolderError, match=words):
            recognizer.save(tmp_path / name)
    assert rnnfv.load(tmp_path / "encoder").n_features_in_ == 1


def test_a_failure_leaves_what_was_there(recognizer, saved, tmp_path):
    before = content(saved)
    with pytest.raises(FileNotFoundError):
        replace(recognizer, weights=tmp_path / "absent.onnx").save(saved)
    assert content(saved) == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("action.json", "action.json is not JSON; the folder is damaged"),
        ("recognizer/config.json", "config.json is not JSON"),
        ("recognizer/arrays.safetensors", "the checksum of arrays.safetensors is wrong"),
        ("backbone/quarters.onnx", "the checksum of backbone/quarters.onnx is wrong; the folder is damaged"),
    ],
)
def test_damage_is_told_in_one_line(saved, name, words):
    whole = (saved / name).read_bytes()
    (saved / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFolderError, match=words) as caught:
        load_recognizer(saved)
    assert "\n" not in str(caught.value)
    (saved / name).unlink()
    with pytest.raises(ModelFolderError, match="it has no file"):
        load_recognizer(saved)


def test_a_changed_record_is_found(saved):
    text = (saved / "action.json").read_text()
    (saved / "action.json").write_text(text.replace('"every": 4', '"every": 5'))
    with pytest.raises(ModelFolderError, match=r"the checksum of action.json is wrong; .* fit it again"):
        load_recognizer(saved)


def test_parts_of_two_recognisers_are_not_one(saved, tmp_path):
    ActionRecognizer(fitted(2)).save(tmp_path / "other")
    shutil.rmtree(saved / "recognizer")
    shutil.copytree(tmp_path / "other" / "recognizer", saved / "recognizer")
    with pytest.raises(ModelFolderError, match=r"recognizer is not the one that action.json tells of"):
        load_recognizer(saved)


def rewritten(folder, **changes):
    """The folder, its record changed by one who knows how to write the checksum."""
    from rnnfv.recipes._chain_folder import _checksum

    record = json.loads((folder / "action.json").read_text()) | changes
    record.pop("checksum")
    (folder / "action.json").write_text(json.dumps({**record, "checksum": _checksum(record)}))
    return folder


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format_version": 2, "rnnfv": "9.1"}, "rnnfv 9.1 wrote it in format 2.*install that or a newer rnnfv"),
        ({"format": "rnnfv-model"}, "it is not a recogniser of rnnfv; give a folder that `rnnfv action fit` wrote"),
        ({"format_version": "1"}, "checksum"),
        ({"backbone": {"name": "vgg19"}}, "tells of no usable backbone"),
        ({"backbone": None}, "tells of no usable backbone"),
        ({"sampling": {"every": 0}}, "tells of no usable backbone"),
        ({"sampling": {"step": 3}}, "tells of no usable backbone"),
        ({"files": {"weights": {"file": "../../secret", "sha256": "0"}}}, "it has no file"),
        ({"files": {"weights": {"file": "quarters.onnx"}}}, "the checksum of backbone/quarters.onnx is wrong"),
    ],
)
def test_foreign_newer_and_hostile_folders_are_refused(saved, changes, words):
    (saved.parent / "secret").write_text("secret")
    with pytest.raises(ModelFolderError, match=words) as caught:
        load_recognizer(rewritten(saved, **changes))
    assert "\n" not in str(caught.value)


def test_links_out_of_the_folder_are_refused(saved, tmp_path):
    shutil.copy(ONNX, tmp_path / "outside.onnx")
    (saved / "backbone" / "quarters.onnx").unlink()
    (saved / "backbone" / "quarters.onnx").symlink_to(tmp_path / "outside.onnx")
    with pytest.raises(ModelFolderError, match=r"it has no file backbone/quarters.onnx"):
        load_recognizer(saved)


def test_other_folders_are_no_recognisers(tmp_path):
    MeanPooling().fit([[[1.0]]]).save(tmp_path / "encoder")
    for name in ("encoder", "nowhere"):
        with pytest.raises(
            ModelFolderError, match=r"it has no file action.json; give a folder that `rnnfv action fit`"
        ):
            load_recognizer(tmp_path / name)


# -- fitting ---------------------------------------------------------------------------------------


def test_the_shards_say_what_made_them(features):
    description, sampling = backbone_of_features(features)
    assert description == json.loads(json.dumps(described()))
    assert sampling == SAMPLING
    assert backbone_of_features(features / "part-00001.parquet") == (description, sampling)


def test_features_of_another_kind_have_no_backbone(tmp_path):
    write_features(tmp_path / "own", ["a"], [np.ones((2, 3))])
    write_features(tmp_path / "noted", ["a"], [np.ones((2, 3))], metadata={"sensor": "wrist"})
    path = write_features(tmp_path / "plain", ["a"], [np.ones((2, 3))])
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    for name in ("own", "noted", "plain"):
        assert backbone_of_features(tmp_path / name) == (None, None)


def test_shards_must_agree(features, tmp_path):
    origin = {"backbone": described(), "sampling": asdict(Sampling(every=5))}
    write_features(features, ["x"], [np.ones((2, 12))], shard=2, metadata=origin)
    with pytest.raises(ValueError, match=r"part-00000.parquet and .*part-00002.parquet were made in different ways"):
        backbone_of_features(features)
    write_features(features, ["x"], [np.ones((2, 12))], shard=2)
    with pytest.raises(ValueError, match="were made in different ways"):
        backbone_of_features(features)


def test_bad_shards_are_named(features):
    shard = write_features(features, ["x"], [np.ones((2, 12))], metadata={"backbone": "vgg", "sampling": {}})
    with pytest.raises(ValueError, match=r"part-00000.parquet does not say rightly what made it"):
        backbone_of_features(features)
    shard.write_bytes(b"PAR1 and nothing")
    with pytest.raises(ValueError, match=r"part-00000.parquet is damaged or not a Parquet file"):
        backbone_of_features(features)
    with pytest.raises(FileNotFoundError):
        backbone_of_features(features / "nowhere")


@pytest.mark.parametrize("split", [None, "split1"])
def test_a_recogniser_is_fitted_on_what_it_should(features, monkeypatch, split):
    seen = []
    monkeypatch.setattr("rnnfv.recipes.recognizer.fit_action", lambda part, *_, **__: seen.append(part) or fitted())
    made = fit_recognizer(features, features.parent / "m.csv", SETTINGS, split=split, weights=ONNX)
    ((seqs, labels, groups),) = seen
    n = 23 if split is None else 18
    expected, classes = sequences(3)
    assert_array_equal(labels, classes[:n])
    assert groups.tolist() == [f"v{i:02d}" for i in range(n)]
    assert_array_equal(np.concatenate(list(seqs)), np.concatenate(expected[:n]))
    assert (made.sampling, made.weights, made.backbone_description["name"]) == (
        SAMPLING,
        ONNX,
        "onnx:quarters.onnx:quarters",
    )


@pytest.mark.parametrize("pooling", ["mean", "rnn-fv-kron"])
def test_from_features_to_a_folder_that_names_actions(features, tmp_path, pooling):
    settings = Settings(poolings=(pooling,), deltas=(1,), max_epochs=1, hidden_size=4, projection_size=4)
    fit_recognizer(features, features.parent / "m.csv", settings, weights=ONNX).save(tmp_path / "model")
    again = load_recognizer(tmp_path / "model")
    seqs, labels = sequences(3, seed=5)
    assert np.mean(again.classes[again.scores(seqs).argmax(axis=1)] == labels) > 0.9
    assert again.backbone("cpu").dim == 12


def test_items_without_features_are_refused_or_left_out(features):
    manifest = features.parent / "m.csv"
    with manifest.open("a") as file:
        file.write("lost,class 0,g,train\nunlabelled,,g,test\n")
    with pytest.raises(ValueError, match="no features for 1 of 24 items of the manifest, the first 'lost'"):
        fit_recognizer(features, manifest, SETTINGS)
    assert len(fit_recognizer(features, manifest, SETTINGS, skip_missing=True).classes) == 3


def test_features_of_a_mean_cube_want_it_beside_the_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("rnnfv.recipes.recognizer.fit_action", lambda *_, **__: fitted())
    weights, cube, other = (tmp_path / name for name in ("c3d.pth", "cube.npy", "other.npy"))
    weights.write_bytes(b"weights")
    values = np.random.default_rng(0).uniform(80, 140, (3, 16, 128, 171)).astype(np.float32)
    np.save(cube, values[None])
    np.save(other, values + 1)
    settings = {"relu": True, "mean": {"sha256": hashlib.sha256(values.tobytes()).hexdigest()}}
    origin = {"name": "c3d", "dim": 12, "settings": settings, "weights": file_identity(weights)}
    seqs, labels = sequences(3)
    ids = [f"v{i:02d}" for i in range(24)]
    write_features(
        tmp_path / "features", ids, seqs, metadata={"backbone": origin, "sampling": asdict(Sampling(every=1))}
    )
    write_manifest(tmp_path / "m.csv", Manifest(*map(np.array, (ids, labels, ids)), {"split1": np.repeat("train", 24)}))

    def fit(**files):
        return fit_recognizer(tmp_path / "features", tmp_path / "m.csv", SETTINGS, **files)

    with pytest.raises(ValueError, match=r"features was made with a mean cube: give its .npy file with --mean, too"):
        fit(weights=weights)
    with pytest.raises(ValueError, match=r"other.npy is not the mean cube that made .*features: give that one with"):
        fit(weights=weights, mean=other)
    with pytest.raises(ValueError, match=r"c3d.pth cannot be read as a .npy file"):
        fit(weights=weights, mean=weights)
    with pytest.raises(FileNotFoundError, match=r"absent.npy is not a file"):
        fit(weights=weights, mean=tmp_path / "absent.npy")
    assert fit(weights=weights, mean=cube).mean == cube
    assert fit().mean is None  # it takes features
    run_fit(tmp_path / "features", tmp_path / "m.csv", tmp_path / "model", SETTINGS)
    assert "for videos give --weights c3d.pth and --mean again" in capsys.readouterr().err


def test_bad_input_is_refused_before_the_fit(features, tmp_path, monkeypatch):
    monkeypatch.setattr("rnnfv.recipes.recognizer.fit_action", lambda *_, **__: pytest.fail("fitted"))
    manifest, other = features.parent / "m.csv", tmp_path / "other.onnx"
    other.write_bytes(b"other")
    own, cube = tmp_path / "own", tmp_path / "cube.npy"
    write_features(own, ["v00"], [np.ones((2, 3))])
    for words, where, options in [
        ("there is no split 'split3' in the manifest: choose one of split1", features, {"split": "split3"}),
        ("other.onnx is not the quarters.onnx that made", features, {"weights": other}),
        ("own was not made with a file of weights: leave --weights out", own, {"weights": ONNX}),
        ("was not made with a mean cube: leave --mean out", features, {"mean": cube}),
    ]:
        with pytest.raises(ValueError, match=words):
            fit_recognizer(where, manifest, SETTINGS, **options)
    with pytest.raises(FileNotFoundError, match=r"absent.onnx is not a file"):
        fit_recognizer(features, manifest, SETTINGS, weights=tmp_path / "absent.onnx")
    manifest.write_text("id,label,split1\nv00,,train\n")
    with pytest.raises(ValueError, match="no item of the manifest has a label"):
        fit_recognizer(features, manifest, SETTINGS)
    manifest.write_text("id,label,split1\nv00,a,train\nv01,a,train\nv02,b,test\n")
    with pytest.raises(ValueError, match="all items to fit on are of the class a: a recogniser needs two"):
        fit_recognizer(features, manifest, SETTINGS, split="split1")
    manifest.write_text("id,label,split1\nv00,a,test\n")
    with pytest.raises(ValueError, match="split1 has no train items"):
        fit_recognizer(features, manifest, SETTINGS, split="split1")
