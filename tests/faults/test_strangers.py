"""Folders from strangers: no code of theirs runs, and nothing outside the folder is opened.

What one file of a model can hold is tested in ``tests/test_storage.py``; here are chains, backbones and indexes.
"""

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import rnnfv
from rnnfv import BagOfWords, LinearSVM, LocalScaling, MeanPooling, PowerNormalizer, RegularizedCCA
from rnnfv.recipes.recognizer import ActionRecognizer, load_recognizer
from rnnfv.recipes.retrieval import RetrievalModel, load_retrieval
from rnnfv.storage import ModelFolderError, VectorIndex, atomic_file, open_index
from rnnfv.video.backbones import from_description, make_backbone
from rnnfv.video.decode import Sampling

ONNX = Path(__file__).parents[1] / "fixtures" / "quarters.onnx"


@pytest.fixture
def trap(tmp_path):
    """A pickle that would write a file; at the end there is none."""

    class Trap:
        def __reduce__(self):
            return os.system, (f"touch '{tmp_path / 'sprung'}'",)

    yield pickle.dumps(Trap())
    assert not (tmp_path / "sprung").exists()


def sealed(config):
    """The content of a model's config, with the checksum of one who knows the format."""
    config = {name: value for name, value in config.items() if name != "checksum"}
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    return config | {"checksum": hashlib.sha256(text.encode()).hexdigest()}


def forge(folder, change):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(sealed(config)))


def forge_arrays(folder, data):
    (folder / "arrays.safetensors").write_bytes(data)
    forge(folder, lambda c: c.update(arrays={"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}))


def refused(load, folder, words):
    with pytest.raises(ModelFolderError, match=words) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.fixture
def model(tmp_path):
    rnnfv.save(make_pipeline(StandardScaler().fit(np.eye(3))), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def saved(tmp_path):
    """A recogniser that takes videos."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    seqs = [np.full((n, 12), n % 2, np.float32) for n in (3, 4, 5, 6)]
    pipeline = Pipeline([("encoder", MeanPooling()), ("classifier", LinearSVM())]).fit(seqs, ["a", "b", "a", "b"])
    made = make_backbone(f"onnx:{ONNX}", device="cpu").description()
    ActionRecognizer(pipeline, made, Sampling(every=4), ONNX).save(tmp_path / "recogniser")
    return tmp_path / "recogniser"


def rewritten(folder, **changes):
    """The record of a recogniser, changed by one who knows its checksum."""
    from rnnfv.recipes._chain_folder import _checksum

    record = json.loads((folder / "action.json").read_text()) | changes
    record.pop("checksum")
    (folder / "action.json").write_text(json.dumps({**record, "checksum": _checksum(record)}))
    return folder


# -- one estimator ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", "arrays.safetensors"])
def test_a_pickle_by_another_name_is_not_read(model, trap, name):
    if name == "config.json":
        (model / name).write_bytes(trap)
    else:
        forge_arrays(model, trap)
    refused(rnnfv.load, model, f"{name} is not")


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("pipeline", lambda e: e["params"].update(memory="cache")),
        ("pipeline", lambda e: e["state"].update(memory="cache")),
        ("pipeline", lambda e: e["state"].update(steps=[])),
        ("scaler", lambda e: e["state"].update(with_mean=False)),
    ],
)
def test_no_cache_folder_and_no_parameter_comes_in_by_the_state(model, kind, change):
    def forged(config):
        outer = config["estimator"]
        change(outer if kind == "pipeline" else outer["params"]["steps"][0]["items"][1])

    forge(model, forged)
    refused(rnnfv.load, model, "cannot be made")


@pytest.mark.parametrize("kind", ["filename", "file"])
def test_a_bag_of_words_opens_no_files(tmp_path, kind):
    rnnfv.save(BagOfWords().fit(["a dog", "a cat"]), tmp_path / "bag")

    def forged(config):
        counts = config["estimator"]["state"]["weights_"]["params"]["steps"][0]["items"][1]
        assert counts["class"] == "sklearn.CountVectorizer"
        counts["params"]["input"] = kind

    forge(tmp_path / "bag", forged)
    refused(rnnfv.load, tmp_path / "bag", "it reads files")


def header(entries, size=0):
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


def array(shape, offsets, dtype="F64"):
    return {"model.x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@pytest.mark.parametrize(
    "data",
    [
        (1 << 62).to_bytes(8, "little") + b"{}",
        header(array([1 << 40], [0, 1 << 43])),
        header(array([1 << 40], [0, 24]), 24),
        header(array([1 << 32, 1 << 32], [0, 0])),
        header(array([3], [8, 32]), 32),
        header(array([3], [24, 0]), 24),
        header(array([-3], [0, 24]), 24),
        header(array([3], [0, 24], "OBJECT"), 24),
        header(array([3], [0, 24]), 1000),
        header({**array([3], [0, 24]), "other": array([3], [0, 24])["model.x"]}, 24),
        b"[" * 100_000,
    ],
)
def test_a_lying_header_is_refused(model, data):
    forge_arrays(model, data)
    refused(rnnfv.load, model, "is not a safetensors file")


@pytest.mark.parametrize("depth", [200, 5_000, 200_000])
def test_deep_nesting_is_refused(model, depth):
    nested = "[" * depth + "]" * depth
    text = (model / "config.json").read_text().replace('"state": {}', f'"state": {{"x_": {nested}}}', 1)
    assert nested in text
    (model / "config.json").write_text(text)
    refused(rnnfv.load, model, "config.json")


# -- a whole chain ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["action.json", "recognizer", "backbone", "backbone/quarters.onnx"])
def test_links_out_of_a_chain_are_refused(saved, tmp_path, name):
    outside = tmp_path / "outside"
    shutil.move(saved / name, outside)
    (saved / name).symlink_to(outside)
    refused(load_recognizer, saved, "is a link|has no file")


def test_links_out_of_a_retrieval_model_are_refused(tmp_path):
    bag = Pipeline([("encoder", BagOfWords())]).fit(["a dog", "a cat", "two cats"])
    cca = RegularizedCCA(0.1).fit(np.eye(3)[:, :2], np.eye(3)[:, 1:])
    model = RetrievalModel(bag, cca, PowerNormalizer().fit(np.eye(3)[:, 1:]), LocalScaling(1).fit(np.eye(2), np.eye(2)))
    model.save(tmp_path / "model")
    load_retrieval(tmp_path / "model")
    shutil.move(tmp_path / "model" / "cca", tmp_path / "outside")
    (tmp_path / "model" / "cca").symlink_to(tmp_path / "outside")
    refused(load_retrieval, tmp_path / "model", "cca is a link")


@pytest.mark.parametrize("file", ["../outside", "../../outside", "/etc/passwd", "..", ".", "", "a/../../outside"])
def test_recorded_names_that_lead_elsewhere_are_refused(saved, tmp_path, file):
    for path in (saved / "outside", tmp_path / "outside"):
        shutil.copy(ONNX, path)
    sha256 = hashlib.sha256(ONNX.read_bytes()).hexdigest()
    refused(load_recognizer, rewritten(saved, files={"weights": {"file": file, "sha256": sha256}}), "has no file")


@pytest.mark.parametrize(
    "name", ["onnx:{}", "onnx:{}:quarters", "hub:{}", "hub:../model", "hub:./model", "hub:~/model"]
)
def test_a_description_opens_no_files(saved, tmp_path, name):
    shutil.copy(ONNX, tmp_path / "outside.onnx")
    made = json.loads((saved / "action.json").read_text())["backbone"]
    named = made | {"name": name.format(tmp_path / "outside.onnx"), "weights": {"sha256": made["weights"]["sha256"]}}
    recognizer = load_recognizer(rewritten(saved, backbone=named, files={}))
    with pytest.raises(ValueError, match=r"the weights of .* are needed: give them with --weights"):
        recognizer.backbone("cpu")


def test_a_description_names_no_file_with_the_mean(tmp_path, trap):
    (tmp_path / "mean.npy").write_bytes(trap)
    (tmp_path / "w.pth").write_bytes(trap)
    settings = {"relu": True, "mean": str(tmp_path / "mean.npy")}
    described = {"name": "c3d", "dim": 4096, "settings": settings, "weights": {"sha256": "0"}}
    with pytest.raises(ValueError, match="names a file with the mean: give it with --mean"):
        from_description(described, tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", [".pth", ".pickle", ".safetensors"])
@pytest.mark.parametrize("name", ["vgg19", "c3d"])
def test_weights_that_are_a_pickle_run_nothing(tmp_path, trap, name, suffix):
    path = (tmp_path / "weights").with_suffix(suffix)
    path.write_bytes(trap)
    with pytest.raises(ValueError, match="cannot be read as a file of tensors"):
        make_backbone(name, path, device="cpu")


def test_a_mean_that_is_a_pickle_runs_nothing(tmp_path, trap):
    np.save(tmp_path / "mean.npy", np.array([pickle.loads], object), allow_pickle=True)
    (tmp_path / "w.pth").write_bytes(trap)
    for content in (trap, (tmp_path / "mean.npy").read_bytes()):
        (tmp_path / "mean.npy").write_bytes(content)
        with pytest.raises(ValueError, match=r"cannot be read as a \.npy file"):
            make_backbone("c3d", tmp_path / "w.pth", mean=tmp_path / "mean.npy", device="cpu")


# -- ONNX files with data outside ------------------------------------------------------------------


def varint(n):
    return bytes([n & 127 | 128 * (n > 127)]) + (varint(n >> 7) if n > 127 else b"")


def number(field, value):
    return varint(field << 3) + varint(value)


def text(field, value):
    value = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(value)) + value


def onnx_file(location):
    """The net of the fixture; then it adds twelve numbers that another file holds."""
    entries = {"location": location, "offset": "0", "length": "48"}
    secret = number(1, 12) + number(2, 1) + text(8, "secret") + number(14, 1)
    secret += b"".join(text(13, text(1, key) + text(2, value)) for key, value in entries.items())
    sides = [text(1, name) + number(8, 4) + number(8, 4) + number(20, 7) for name in ("kernel_shape", "strides")]
    steps = [("AveragePool", ["image"], "a", sides), ("Flatten", ["a"], "b", []), ("Add", ["b", "secret"], "c", [])]
    graph = b"".join(
        text(1, b"".join(text(1, i) for i in ins) + text(2, out) + text(4, op) + b"".join(text(5, a) for a in more))
        for op, ins, out, more in steps
    )
    graph += text(2, "graph") + text(5, secret)
    for field, name, dims in ((11, "image", ["n", 3, 8, 8]), (12, "c", ["n", 12])):
        shape = b"".join(text(1, text(2, dim) if isinstance(dim, str) else number(1, dim)) for dim in dims)
        graph += text(field, text(1, name) + text(2, text(1, number(1, 1) + text(2, shape))))
    return number(1, 8) + text(7, graph) + text(8, text(1, "") + number(2, 13))


def test_an_onnx_file_reads_nothing_outside_its_folder(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    folder = tmp_path / "backbone"
    folder.mkdir()
    for path in (folder / "own.bin", tmp_path / "secret.bin"):
        path.write_bytes(np.arange(12, dtype=np.float32).tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder / "net.onnx").write_bytes(onnx_file("own.bin"))
    black = np.zeros((1, 8, 8, 3), np.uint8)
    np.testing.assert_array_equal(make_backbone(f"onnx:{folder / 'net.onnx'}", device="cpu")(black), [np.arange(12)])
    for location in ("../secret.bin", str(tmp_path / "secret.bin"), "link.bin", "x/../../secret.bin"):
        (folder / "net.onnx").write_bytes(onnx_file(location))
        with pytest.raises(ValueError, match=r"cannot be loaded as an ONNX model: .*[Ee]xternal data") as caught:
            make_backbone(f"onnx:{folder / 'net.onnx'}", device="cpu")
        assert "\n" not in str(caught.value)


# -- an index --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["segment-00000", "segment-00000/vectors.faiss", "segment-00000/ids.parquet"])
def test_links_out_of_an_index_are_refused(tmp_path, name):
    pytest.importorskip("faiss", reason="faiss is not installed")
    index = VectorIndex.create(tmp_path / "index", dim=4)
    index.append(list("abcd"), np.eye(4))
    shutil.move(index.folder / name, tmp_path / "outside")
    (index.folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(ValueError, match="is a link"):
        open_index(index.folder)


def test_nothing_is_written_through_a_link(tmp_path):
    """A temporary file that a stranger has laid out as a link is not followed."""
    (tmp_path / "precious").write_text("precious")
    (tmp_path / ".notes.json.rnnfv.tmp").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=r"notes\.json cannot be written"), atomic_file(tmp_path / "notes.json"):
        pass
    assert (tmp_path / "precious").read_text() == "precious"
