"""Files: atomic writing, model folders (round trips, hostile ones), feature shards."""

import errno
import hashlib
import io
import json
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import LinearSVC

import rnnfv
from rnnfv.storage import (
    ModelFolderError,
    SaveMixin,
    atomic,
    atomic_file,
    atomic_folder,
    count_sequences,
    feature_shards,
    model_checksum,
    read_all_features,
    read_features,
    write_features,
)
from rnnfv.storage._parquet_sizes import _sizes_of, declared_size
from rnnfv.storage.tree import decode, encode

in_tmp_path = settings(
    deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def stopped(error, writing, name=""):
    """Begin to write, and be stopped in the middle."""
    with writing as temporary:
        (temporary / name).write_bytes(b"half of the n")
        raise error


# -- atomic writing --------------------------------------------------------------------------------


class TestAtomicFile:
    def test_the_file_appears_when_the_block_ends(self, tmp_path):
        path = tmp_path / "new" / "a.bin"
        with atomic_file(path) as temporary:
            temporary.write_bytes(b"1")
            assert not path.exists()
        assert content(tmp_path) == {"new/a.bin": b"1"}

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_a_failed_block_leaves_the_old_content_and_nothing_else(self, tmp_path, error):
        path = tmp_path / "a.bin"
        path.write_bytes(b"old")
        with pytest.raises(error):
            stopped(error, atomic_file(path))
        assert content(tmp_path) == {"a.bin": b"old"}

    def test_a_link_is_followed(self, tmp_path):
        (tmp_path / "real").write_bytes(b"old")
        (tmp_path / "link").symlink_to(tmp_path / "real")
        with atomic_file(tmp_path / "link") as temporary:
            temporary.write_bytes(b"new")
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.parametrize("can_exchange", [True, False])
class TestAtomicFolder:
    @pytest.fixture(autouse=True)
    def exchange(self, monkeypatch, can_exchange):
        if not can_exchange:
            monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)

    def test_a_folder_is_replaced_whole(self, tmp_path):
        for names in ("ab", "bc"):
            with atomic_folder(tmp_path / "folder") as temporary:
                for name in names:
                    (temporary / name).write_text(names)
        assert content(tmp_path) == {"folder/b": b"bc", "folder/c": b"bc"}

    def test_a_failed_block_leaves_the_old_folder_and_nothing_else(self, tmp_path):
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "a").write_text("old")
        with pytest.raises(KeyboardInterrupt):
            stopped(KeyboardInterrupt, atomic_folder(tmp_path / "folder"), "a")
        assert content(tmp_path) == {"folder/a": b"old"}
        assert names(tmp_path) == ["folder"]


def test_a_folder_that_cannot_be_moved_in_brings_the_old_one_back(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_exchange", lambda one, other: False)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("old")
    with pytest.raises(FileNotFoundError):
        atomic._put_folder(tmp_path / "nothing", tmp_path / "folder")
    assert content(tmp_path) == {"folder/a": b"old"}


# -- model folders: round trips --------------------------------------------------------------------


class Holder(SaveMixin):
    """An estimator with one parameter of any kind."""

    def __init__(self, value=None):
        self.value = value

    def get_params(self, deep=True):
        return {"value": self.value}


class Ringed(Holder):
    """Keeps its fitted state in a form that no folder can hold, and translates."""

    def _get_state(self):
        return {"ring": list(self.ring_)}

    def _set_state(self, state):
        self.ring_ = set(state["ring"])


@pytest.fixture(autouse=True)
def trusted(monkeypatch):
    """Make the classes above public estimators of the library."""
    for cls in (Holder, Ringed):
        monkeypatch.setattr(rnnfv, cls.__name__, cls, raising=False)
    monkeypatch.setattr(rnnfv, "__all__", [*rnnfv.__all__, "Holder", "Ringed"])


def assert_same(one, other):
    """Equality of type, and of bits; looks into lists, dicts and arrays."""
    assert type(one) is type(other)
    if isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, dict):
        assert_same(list(one.items()), list(other.items()))
    elif isinstance(one, (np.ndarray, np.generic)):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes() if one.dtype != object else (one == other).all()
    elif isinstance(one, float):
        assert np.float64(one).tobytes() == np.float64(other).tobytes()
    else:
        assert one == other


NUMBERS = st.sampled_from(
    [
        *(
            "bool",
            "int8",
            "int16",
            "int32",
            "int64",
            "uint8",
            "uint16",
            "uint32",
            "uint64",
            "float16",
            "float32",
            "float64",
        )
    ]
).map(np.dtype)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
ARRAYS = NUMBERS.flatmap(lambda dtype: hnp.arrays(dtype, SHAPES))
STRINGS = hnp.arrays(st.sampled_from(["U1", "U7"]), SHAPES) | hnp.arrays(object, SHAPES, elements=st.text(max_size=4))
# NaN has many bit patterns and a scalar keeps only that it is one; arrays keep all bits.
SCALARS = NUMBERS.flatmap(lambda dtype: hnp.from_dtype(dtype, allow_nan=False)) | st.text().map(np.str_)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.just(float("nan")),
    st.text(),
    SCALARS,
    ARRAYS,
    STRINGS,
    st.sampled_from([np.float32, np.int64, np.bool_, np.dtype("float16"), np.dtype("bool")]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


@in_tmp_path
@given(value=VALUES)
def test_any_value_comes_back_with_its_bits(tmp_path, value):
    rnnfv.save(Holder(value), tmp_path / "model")
    assert_same(rnnfv.load(tmp_path / "model").value, value)


@pytest.mark.parametrize("value", [float("inf"), -0.0, np.float32("nan"), {"kind": "tuple", "items": []}, {"a.b": 1}])
def test_odd_values(value):
    assert_same(decode(json.loads(json.dumps(encode(value, "v", {}))), {}), value)


def test_names_of_arrays_never_collide(tmp_path):
    one, two, three = np.arange(1), np.arange(2), np.arange(3)
    value = {"a.b": one, "a": {"b": two}, "a/b": three, "__metadata__": one, "\ud800": two}
    Holder(value).save(tmp_path / "model")
    assert_same(rnnfv.load(tmp_path / "model").value, value)


def test_the_order_in_memory_is_kept_and_arrays_can_be_written_to(tmp_path):
    c = np.arange(6.0).reshape(2, 3)
    Holder([c, c.T, np.asfortranarray(c)[:1], c[::-1]]).save(tmp_path / "model")
    loaded = rnnfv.load(tmp_path / "model").value
    assert [array.flags.c_contiguous for array in loaded] == [True, False, True, True]
    assert_same(loaded, [c, c.T, c[:1], c[::-1]])
    assert all(array.flags.writeable for array in loaded)


def test_an_array_of_the_other_byte_order_keeps_its_values(tmp_path):
    Holder(np.arange(3, dtype=">i4")).save(tmp_path / "model")
    assert rnnfv.load(tmp_path / "model").value.tolist() == [0, 1, 2]


def test_an_estimator_can_translate_its_state(tmp_path):
    ringed = Ringed()
    ringed.ring_ = {1, 2}
    ringed.save(tmp_path / "model")
    assert rnnfv.load(tmp_path / "model").ring_ == {1, 2}


def data(seed=0, n=40, d=6):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(np.float32)
    return X, np.array(["ü-jump", "run", "walk"])[rng.integers(0, 3, n)]


@pytest.mark.parametrize(
    "estimator",
    [
        StandardScaler(),
        PCA(3, random_state=0),
        PCA(0.8, whiten=True),
        LinearSVC(C=0.1, class_weight="balanced", random_state=0),
        LogisticRegression(),
        RidgeClassifier(),
        make_pipeline(StandardScaler(), PCA(4), LinearSVC(random_state=0)),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
@pytest.mark.parametrize("labels", ["strings", "objects", "integers"])
def test_scikit_learn_estimators_answer_with_the_same_bits(tmp_path, estimator, labels):
    X, y = data()
    y = {"strings": y, "objects": y.astype(object), "integers": np.unique(y, return_inverse=True)[1]}[labels]
    estimator.fit(X, y)
    rnnfv.save(estimator, tmp_path / "model")
    loaded = rnnfv.load(tmp_path / "model")
    assert repr(loaded) == repr(estimator)
    for method in ("transform", "predict", "decision_function"):
        if hasattr(estimator, method):
            assert_same(getattr(loaded, method)(X), getattr(estimator, method)(X))
    if hasattr(estimator, "get_feature_names_out") and not hasattr(estimator, "predict"):
        assert_same(loaded.get_feature_names_out(), estimator.get_feature_names_out())


def test_a_pipeline_from_sequences_to_actions(tmp_path):
    rng = np.random.default_rng(0)
    seqs = [rng.normal(size=(n, 5)) for n in rng.integers(1, 9, 30)]
    pipeline = make_pipeline(rnnfv.MeanPooling(), StandardScaler(), LinearSVC(random_state=0))
    pipeline.fit(seqs, np.arange(30) % 2)
    rnnfv.save(pipeline, tmp_path / "model")
    assert_same(rnnfv.load(tmp_path / "model").decision_function(seqs), pipeline.decision_function(seqs))


def test_an_unfitted_estimator_stays_unfitted(tmp_path):
    rnnfv.MeanPooling().save(tmp_path / "model")
    assert vars(rnnfv.load(tmp_path / "model")) == {}


def test_what_set_output_chose_is_kept(tmp_path):
    estimator = rnnfv.MeanPooling().set_output(transform="default")
    estimator.save(tmp_path / "model")
    assert rnnfv.load(tmp_path / "model")._sklearn_output_config == {"transform": "default"}


def test_a_partially_fitted_scaler_can_go_on(tmp_path):
    X, _ = data()
    scaler = StandardScaler().partial_fit(X[:20])
    rnnfv.save(scaler, tmp_path / "model")
    loaded = rnnfv.load(tmp_path / "model").partial_fit(X[20:])
    assert_same(loaded.var_, scaler.partial_fit(X[20:]).var_)


@pytest.mark.parametrize("state", [np.random.RandomState(0), np.random.default_rng(0)])
def test_a_generator_is_saved_as_none_with_a_warning(tmp_path, state):
    with pytest.warns(UserWarning, match="random_state of PCA"):
        rnnfv.save(PCA(random_state=state), tmp_path / "model")
    assert rnnfv.load(tmp_path / "model").random_state is None


def test_a_cache_folder_is_not_saved(tmp_path):
    with pytest.warns(UserWarning, match="memory of Pipeline"):
        rnnfv.save(make_pipeline(StandardScaler(), memory="cache"), tmp_path / "model")
    assert rnnfv.load(tmp_path / "model").memory is None


def test_one_model_has_one_checksum(tmp_path):
    for name, dim in (("a", 2), ("b", 2), ("c", 3)):
        rnnfv.MeanPooling().fit(np.zeros((1, 1, dim))).save(tmp_path / name)
    a, b, c = (model_checksum(tmp_path / name) for name in "abc")
    assert a == b != c


# -- model folders: what is refused on the way out -------------------------------------------------


@pytest.mark.parametrize(
    ("estimator", "words"),
    [
        (Holder(print), ["rnnfv.Holder", "'value'", "builtin_function"]),
        (Holder({"a": [b"bytes"]}), ["rnnfv.Holder", "'value'", "bytes"]),
        (Holder(np.array([1 + 2j])), ["rnnfv.Holder", "'value'", "complex128"]),
        (Holder(np.array([1, "a"], dtype=object)), ["rnnfv.Holder", "'value'", "object"]),
        (Holder(dict), ["rnnfv.Holder", "'value'", "the class dict"]),
        (Holder(np.ma.array([1])), ["rnnfv.Holder", "'value'", "MaskedArray"]),
        (PCA(svd_solver=print), ["sklearn.PCA", "'svd_solver'"]),
        (make_pipeline(FunctionTransformer(), PCA()), ["sklearn.Pipeline", "'steps'", "FunctionTransformer"]),
        (FunctionTransformer(), ["FunctionTransformer"]),
        ([PCA()], ["list"]),
        (PCA, ["the class PCA"]),
    ],
)
def test_what_cannot_be_stored_is_named(tmp_path, estimator, words):
    with pytest.raises(TypeError) as caught:
        rnnfv.save(estimator, tmp_path / "model")
    assert all(word in str(caught.value) for word in words)
    assert not (tmp_path / "model").exists()


def test_an_untrusted_subclass_is_not_stored_under_the_trusted_name(tmp_path):
    impostor = type("PCA", (PCA,), {})()
    with pytest.raises(TypeError, match="PCA"):
        rnnfv.save(impostor, tmp_path / "model")


def test_a_model_folder_is_replaced(tmp_path):
    for value in (1, 2):
        Holder(value).save(tmp_path / "model")
    assert rnnfv.load(tmp_path / "model").value == 2
    assert names(tmp_path) == ["model"]


def test_a_damaged_model_folder_is_replaced(tmp_path):
    Holder(1).save(tmp_path)
    (tmp_path / "arrays.safetensors").write_bytes(b"")
    Holder(2).save(tmp_path)
    assert rnnfv.load(tmp_path).value == 2


@pytest.mark.parametrize(
    "files",
    [
        {"thesis.txt": "years of work"},
        {"config.json": '{"model_type": "bert"}'},
        {"config.json": '{"model_type": "bert"}', "arrays.safetensors": ""},
        {"config.json": '{"format": "rnnfv-model"}', "arrays.safetensors": "", "notes.md": "mine"},
    ],
)
def test_other_folders_are_not_written_over(tmp_path, files):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = content(tmp_path)
    with pytest.raises(ModelFolderError, match="give a new or an empty folder"):
        Holder().save(tmp_path)
    assert content(tmp_path) == before


def test_a_file_is_not_written_over(tmp_path):
    (tmp_path / "model").write_text("a file")
    with pytest.raises(ModelFolderError, match="would replace"):
        Holder().save(tmp_path / "model")


def test_a_failing_disk_leaves_the_old_model(tmp_path, monkeypatch):
    Holder(1).save(tmp_path / "model")

    def full(*args):
        raise OSError("No space left on device")

    monkeypatch.setattr(atomic, "_put_folder", full)
    with pytest.raises(OSError, match="No space"):
        Holder(2).save(tmp_path / "model")
    assert rnnfv.load(tmp_path / "model").value == 1
    assert names(tmp_path) == ["model"]


# -- model folders: hostile ones -------------------------------------------------------------------


def refused(folder, *words):
    with pytest.raises(ModelFolderError) as caught:
        rnnfv.load(folder)
    message = str(caught.value)
    assert str(folder) in message
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.fixture
def model(tmp_path):
    X, y = data()
    folder = tmp_path / "model"
    rnnfv.save(make_pipeline(StandardScaler(), PCA(3), LinearSVC()).fit(X, y), folder)
    return folder


def forge(folder, change):
    """Change the config as one who knows the format would: with a right checksum."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    del config["checksum"]
    text = json.dumps(config, sort_keys=True, separators=(",", ":"))
    path.write_text(json.dumps(config | {"checksum": hashlib.sha256(text.encode()).hexdigest()}))


@in_tmp_path
@given(data=st.data())
@pytest.mark.parametrize("name", ["config.json", "arrays.safetensors"])
def test_one_flipped_bit_is_found(model, name, data):
    path = model / name
    good = path.read_bytes()
    bit = data.draw(st.integers(0, 8 * len(good) - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bad)
    try:
        # A flip may change "e" to "E" in an exponent: other bytes, the same content, a good model.
        if name == "arrays.safetensors" or not same_json(good, bad):
            refused(model)
    finally:
        path.write_bytes(good)


def same_json(one, other):
    try:
        return json.loads(one.decode()) == json.loads(other.decode())
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["config.json", "arrays.safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.999])
def test_a_truncated_file_is_refused(model, name, kept):
    good = (model / name).read_bytes()
    (model / name).write_bytes(good[: int(kept * len(good))])
    refused(model, name, "save the model again")


@pytest.mark.parametrize("name", ["config.json", "arrays.safetensors"])
def test_a_missing_file_is_refused(model, name):
    (model / name).unlink()
    refused(model, f"no file {name}")
    (model / name).mkdir()
    refused(model, f"no file {name}")


def test_a_missing_folder_is_refused(tmp_path):
    refused(tmp_path / "nothing", "config.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}', "[" * 100_000, '{"format": NaN}', "null"])
def test_a_foreign_config_is_refused(model, text):
    (model / "config.json").write_text(text)
    refused(model)


def test_extra_files_are_not_looked_at(model):
    (model / "model.pkl").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    assert len(rnnfv.load(model).steps) == 3


@pytest.mark.parametrize("name", ["config.json", "arrays.safetensors"])
def test_a_link_out_of_the_folder_is_refused(model, tmp_path, name):
    (model / name).rename(tmp_path / name)
    (model / name).symlink_to(tmp_path / name)
    refused(model, "outside the folder")


def test_a_link_to_the_folder_itself_is_fine(model, tmp_path):
    (tmp_path / "link").symlink_to(model)
    assert len(rnnfv.load(tmp_path / "link").steps) == 3


def test_a_newer_format_names_the_version_that_wrote_it(model):
    forge(model, lambda config: config.update(format_version=999, versions={"rnnfv": "7.0"}))
    refused(model, "rnnfv 7.0", "999", "newer rnnfv")


@pytest.mark.parametrize("version", [0, -1, True, "1", 1.0, None])
def test_a_senseless_format_version_is_refused(model, version):
    forge(model, lambda config: config.update(format_version=version))
    refused(model)


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "sklearn.FunctionTransformer",
        "sklearn.pipeline.Pipeline",
        "rnnfv.load",
        "rnnfv.metrics",
        "rnnfv.Sequences",
        "rnnfv.__class__",
        "rnnfv.storage.atomic.os",
        "../../rnnfv.PCA",
        "",
    ],
)
def test_a_class_that_is_not_trusted_is_refused(model, name):
    forge(model, lambda config: config["estimator"].update({"class": name}))
    refused(model, "not one that rnnfv loads")


def _in_scaler(config):
    return config["estimator"]["params"]["steps"][0]["items"][1]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: _in_scaler(c)["state"].update(transform="x"),
        lambda c: _in_scaler(c)["state"].update(__class__="x"),
        lambda c: _in_scaler(c)["state"].update({"mean_": {"kind": "array", "name": "../../etc/passwd", "order": "C"}}),
        lambda c: _in_scaler(c)["state"].update({"mean_": {"kind": "pickle", "data": "gASVAA=="}}),
        lambda c: _in_scaler(c)["state"].update({"mean_": {"kind": "scalar", "dtype": "object_", "value": 1}}),
        lambda c: _in_scaler(c)["state"].update(
            {"mean_": {"kind": "strings", "dtype": "O,O", "shape": [1], "items": ["a"]}}
        ),
        lambda c: _in_scaler(c)["state"].update(
            {"mean_": {"kind": "strings", "dtype": "object", "shape": [1], "items": [["a"]]}}
        ),
        lambda c: _in_scaler(c)["state"].update(
            {"mean_": {"kind": "strings", "dtype": "U1", "shape": [5], "items": ["a"]}}
        ),
        lambda c: _in_scaler(c)["state"].update(
            {"mean_": {"kind": "strings", "dtype": "U999999999", "shape": [1], "items": ["a"]}}
        ),
        lambda c: c["estimator"]["params"].update(memory="cache"),
        lambda c: _in_scaler(c)["params"].update(unknown=1),
        lambda c: _in_scaler(c).update(params=[]),
        lambda c: c.update(estimator=None) or c.pop("estimator"),
        lambda c: c.update(estimator={"kind": "dict", "items": [[[1], 2]]}),
        lambda c: c.update(arrays={}),
    ],
)
def test_forged_content_is_refused(model, change):
    forge(model, change)
    refused(model)


def test_a_forged_model_must_be_an_estimator(model):
    forge(model, lambda config: config.update(estimator=[1]))
    refused(model)


def test_arrays_in_another_format_are_refused(model):
    bad = b"not safetensors at all"
    (model / "arrays.safetensors").write_bytes(bad)
    forge(model, lambda c: c.update(arrays={"size": len(bad), "sha256": hashlib.sha256(bad).hexdigest()}))
    refused(model, "not a safetensors file")


def test_a_model_folder_is_plain_json_and_safetensors(model):
    assert names(model) == ["arrays.safetensors", "config.json"]
    config = json.loads((model / "config.json").read_text())
    assert config["versions"].keys() >= {"rnnfv", "numpy", "sklearn"}
    arrays = safetensors.numpy.load_file(model / "arrays.safetensors")
    assert any(name.endswith("coef_") for name in arrays)


# -- feature shards --------------------------------------------------------------------------------


def sequences(lengths=(3, 1, 5), dim=4, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, dim)).astype(np.float32) for n in lengths]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_shard_comes_back(tmp_path, dtype):
    seqs = sequences()
    path = write_features(tmp_path / "features", ["a", "b", "ü"], seqs, shard=7, dtype=dtype, metadata={"who": "me"})
    assert path == tmp_path / "features" / "part-00007.parquet"
    assert names(path.parent) == [path.name]
    shard = read_features(path)
    assert shard.ids == ["a", "b", "ü"]
    assert shard.failures == []
    assert shard.sequences.dtype == dtype
    for got, wanted in zip(shard.sequences, seqs, strict=True):
        assert_same(got, wanted.astype(dtype))
    assert not shard.sequences.values.flags.owndata  # Arrow's own memory
    assert count_sequences(path) == 3


@pytest.mark.parametrize(("dtype", "arrow"), [("float16", pa.float16()), ("float32", pa.float32())])
def test_the_schema_is_the_agreed_one(tmp_path, dtype, arrow):
    path = write_features(tmp_path, ["a"], sequences([2]), dtype=dtype, metadata={"backbone": "x"})
    schema = pq.read_schema(path)
    assert schema.names == ["id", "features"]
    assert schema.field("id").type == pa.string()
    assert schema.field("features").type == pa.list_(pa.list_(arrow, 4))
    assert json.loads(schema.metadata[b"rnnfv"])["backbone"] == "x"


def test_symbols_are_written_as_their_vectors(tmp_path):
    vectors = np.eye(3, dtype=np.float32)
    path = write_features(tmp_path, ["a"], rnnfv.Sequences.from_list([np.array([2, 0])], vectors))
    assert_same(np.array(read_features(path).sequences[0]), vectors[[2, 0]])


@pytest.mark.parametrize(
    ("ids", "seqs", "dtype", "message"),
    [
        (["a"], sequences(), "float32", "1 ids for 3"),
        (["a", "b", "a"], sequences(), "float32", "'a' occurs twice"),
        (["a", "big"], [np.ones((2, 1)), np.array([[1], [7e4]])], "float16", "'big'.*too large for float16"),
        (["a"], rnnfv.Sequences.from_list([np.array([0, 1])]), "float32", "table"),
    ],
)
def test_what_cannot_be_a_shard_is_refused(tmp_path, ids, seqs, dtype, message):
    with pytest.raises(ValueError, match=message):
        write_features(tmp_path, ids, seqs, dtype=dtype)
    assert names(tmp_path) == []


def test_a_failed_write_leaves_the_old_shard(tmp_path, monkeypatch):
    path = write_features(tmp_path, ["a"], sequences([2]))
    before = content(tmp_path)

    def fails(table, temporary, **options):
        temporary.write_bytes(b"PAR1 and then the power went")
        raise KeyboardInterrupt

    monkeypatch.setattr(pq, "write_table", fails)
    with pytest.raises(KeyboardInterrupt):
        write_features(tmp_path, ["b"], sequences([3]))
    assert content(tmp_path) == before
    assert read_features(path).ids == ["a"]


def foreign(folder, ids, features, name="x.parquet", **options):
    folder.mkdir(exist_ok=True)
    path = folder / name
    pq.write_table(pa.table({"id": ids, "features": features}), path, **options)
    return path


FOREIGN_TYPES = {
    "variable double": pa.list_(pa.list_(pa.float64())),
    "fixed float": pa.list_(pa.list_(pa.float32(), 2)),
    "large lists": pa.large_list(pa.large_list(pa.float32())),
    "large fixed half": pa.large_list(pa.list_(pa.float16(), 2)),
    "integers": pa.list_(pa.list_(pa.int64())),
}


@pytest.mark.parametrize("kind", FOREIGN_TYPES)
@pytest.mark.parametrize("options", [{}, {"row_group_size": 2, "compression": "none"}, {"store_schema": False}])
def test_shards_of_other_programs_can_be_read(tmp_path, kind, options):
    rows = [[[1, 2], [3, 4]], [[5, 6]], [[7, 8], [9, 10], [11, 12]]]
    ids = pa.array(["a", "b", "c"]).dictionary_encode()
    shard = read_features(foreign(tmp_path, ids, pa.array(rows, FOREIGN_TYPES[kind]), **options))
    assert shard.ids == ["a", "b", "c"]
    assert [seq.tolist() for seq in shard.sequences] == rows


def test_bad_items_are_left_out_with_their_reason(tmp_path):
    rows = {
        "good": [[1.0, 2.0], [3.0, 4.0]],
        "null": None,
        "empty": [],
        "null step": [[1.0, 2.0], None],
        "wide": [[1.0, 2.0], [3.0, 4.0, 5.0], [6.0]],
        "no width": [[]],
        "nan": [[1.0, 2.0], [3.0, float("nan")], [float("inf"), 1.0]],
        "hole": [[1.0, 2.0], [3.0, 4.0], [None, 5.0]],
        "also good": [[7.0, 8.0]],
    }
    shard = read_features(foreign(tmp_path, list(rows), pa.array(rows.values(), FOREIGN_TYPES["variable double"])))
    assert shard.ids == ["good", "also good"]
    assert [seq.tolist() for seq in shard.sequences] == [rows["good"], rows["also good"]]
    assert dict(shard.failures) == {
        "null": "the features are null",
        "empty": "there are no steps",
        "null step": "step 1 is null",
        "wide": "step 1 has 3 values, not 2",
        "no width": "step 0 has 0 values, not 2",
        "nan": "step 1 has a missing, NaN or infinite value",
        "hole": "step 2 has a missing, NaN or infinite value",
    }


def test_an_item_without_an_id_is_a_failure(tmp_path):
    shard = read_features(foreign(tmp_path, ["a", None, ""], [[[1.0]]] * 3))
    assert shard.ids == ["a"]
    assert shard.failures == [("row 1", "the id is missing"), ("row 2", "the id is missing")]


def test_the_width_can_be_demanded(tmp_path):
    path = write_features(tmp_path, ["a", "b"], sequences([2, 3]))
    assert read_features(path, dim=4).failures == []
    shard = read_features(path, dim=5)
    assert len(shard.sequences) == 0
    assert shard.sequences.dim == 5
    assert shard.failures == [("a", "step 0 has 4 values, not 5"), ("b", "step 0 has 4 values, not 5")]


@pytest.mark.parametrize("rows", [[], [[]], [None], [[[]]]])
def test_a_shard_without_any_step_is_no_error(tmp_path, rows):
    ids = [str(i) for i in range(len(rows))]
    path = foreign(tmp_path, pa.array(ids, pa.string()), pa.array(rows, FOREIGN_TYPES["variable double"]))
    shard = read_features(path)
    assert len(shard.sequences) == 0
    assert [name for name, _ in shard.failures] == ids
    assert len(read_all_features(tmp_path).sequences) == 0


@in_tmp_path
@given(
    rows=st.lists(
        st.none() | st.lists(st.none() | st.lists(st.none() | st.floats(width=32), min_size=1, max_size=3), max_size=3),
        max_size=6,
    ),
    kind=st.sampled_from(["variable double", "large lists"]),
)
def test_reading_agrees_with_looking_at_each_item(tmp_path, rows, kind):
    ids = [f"s{i}" for i in range(len(rows))]
    path = foreign(tmp_path, pa.array(ids, pa.string()), pa.array(rows, FOREIGN_TYPES[kind]))
    shard = read_features(path, dim=2)
    good = {
        name: row
        for name, row in zip(ids, rows, strict=True)
        if row and all(step and len(step) == 2 and None not in step and np.isfinite(step).all() for step in row)
    }
    assert shard.ids == list(good)
    assert [seq.tolist() for seq in shard.sequences] == list(good.values())
    assert sorted(shard.ids + [name for name, _ in shard.failures]) == sorted(ids)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"id": ["a"]}, "no columns id and features"),
        ({"name": ["a"], "features": [[[1.0]]]}, "no columns id and features"),
        ({"id": [1], "features": [[[1.0]]]}, "id must hold strings"),
        ({"id": ["a"], "features": [[1.0]]}, "lists of lists"),
        ({"id": ["a"], "features": [[["x"]]]}, "not numbers"),
    ],
)
def test_a_table_of_another_form_is_refused_by_name(tmp_path, table, message):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(table), path)
    with pytest.raises(ValueError, match=message) as caught:
        read_features(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kept", [0, 3, 100, -1, -9])
def test_a_truncated_shard_is_refused_by_name(tmp_path, kept):
    path = write_features(tmp_path, ["a", "b", "c"], sequences())
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="damaged or not a Parquet file") as caught:
        read_features(path)
    assert str(path) in str(caught.value)
    assert count_sequences(path) == 0


def test_flipped_values_are_found(tmp_path):
    path = write_features(tmp_path, ["a"], [np.arange(1000.0).reshape(100, 10)])
    good = path.read_bytes()
    where = good.index(np.float32(500).tobytes())
    path.write_bytes(good[:where] + bytes([good[where] ^ 1]) + good[where + 1 :])
    with pytest.raises(ValueError, match="damaged"):
        read_features(path)


def test_few_bytes_do_not_ask_for_many_values(tmp_path):
    """A dictionary of one value and a run of its number: a thousand bytes that are 160 MB in memory."""
    steps = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(40_000_000, np.float32)), 1_000)
    table = pa.table({"id": ["a"], "features": pa.ListArray.from_arrays([0, len(steps)], steps)})
    path = tmp_path / "part-00000.parquet"
    pq.write_table(table, path, compression="zstd")
    assert path.stat().st_size < 1 << 14
    with pytest.raises(ValueError, match=r"part-00000\.parquet is damaged.* says it holds 152 MiB"):
        read_features(path)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dictionary": False},
        {"row_group_size": 200},
        {"data_page_size": 1024, "compression": "zstd"},
        {"data_page_version": "2.0", "data_page_size": 1024},
    ],
    ids=str,
)
def test_declared_sizes_are_those_that_arrow_tells(tmp_path, options):
    numbers = pa.array([[[float(i), 2.0]] * (i % 3) or None for i in range(500)], pa.list_(pa.list_(pa.float64())))
    ids = [f"name {i}" for i in range(500)]
    table = pa.table({"id": ids, "features": numbers, "more": pa.array([1, None] * 250, pa.int64())})
    pq.write_table(table, tmp_path / "x.parquet", **options)
    metadata = pq.read_metadata(tmp_path / "x.parquet")
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    with (tmp_path / "x.parquet").open("rb") as file:
        for j, (name, width) in enumerate({"id": 4, "features": 8, "more": 8}.items()):
            columns = [group.column(j) for group in groups]
            values = [column.num_values for column in columns]
            pages = [column.total_uncompressed_size for column in columns]  # with their headers
            declared = declared_size(file, [name])
            assert sum(values) * width <= declared
            assert declared <= sum(
                max(n * width, 16 * n * column.has_dictionary_page, size)
                for n, column, size in zip(values, columns, pages, strict=True)
            )
        assert declared_size(file, ["id", "more"]) == declared_size(file, ["id"]) + declared_size(file, ["more"])
        assert declared_size(file, ["none"]) == 0


def test_a_damaged_footer_is_told():
    with pytest.raises(ValueError, match="its footer, or the header of a page, is damaged"):
        declared_size(io.BytesIO(b"PAR1" + b"\x1c" * 100 + (100).to_bytes(4, "little") + b"PAR1"), ["id"])


def test_what_a_page_holds_of_one_kind_does_not_make_up_for_another():
    header = b"\x15\x06\x15\x02\x15\x00" + b"\x2c\x15\x03\x00" + b"\x3c\x15\x06\x00" + b"\x00"  # -2 and 3 values
    column = {1: 5, 5: 1, 7: len(header), 9: 0}  # its type, values, bytes, and where it begins
    with pytest.raises(ValueError, match="its footer, or the header of a page, is damaged"):
        _sizes_of(io.BytesIO(header), column)


def test_a_missing_shard_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_features(tmp_path / "x.parquet")


def test_shards_are_found_in_order(tmp_path):
    paths = [write_features(tmp_path, ["a"], sequences([1]), shard=i) for i in (2, 0, 10)]
    for name in (".part-00001.parquet.1234.tmp", ".hidden.parquet", "_SUCCESS.parquet", "notes.txt"):
        (tmp_path / name).write_text("")
    assert feature_shards(tmp_path) == [paths[1], paths[0], paths[2]]
    assert feature_shards(str(paths[0])) == [paths[0]]


@pytest.mark.parametrize("name", ["nothing", "empty", "notes.txt"])
def test_a_place_without_shards_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(FileNotFoundError, match=name):
        feature_shards(tmp_path / name)


def test_all_shards_together(tmp_path):
    seqs = sequences([3, 1, 5, 2])
    write_features(tmp_path, ["a", "b"], seqs[:2], shard=0)
    foreign(tmp_path, ["c", "bad", "d"], [seqs[2].tolist(), [], seqs[3].tolist()], "part-00001.parquet")
    whole = read_all_features(tmp_path)
    assert whole.ids == ["a", "b", "c", "d"]
    assert whole.failures == [("bad", "there are no steps")]
    for got, wanted in zip(whole.sequences, seqs, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_an_error_of_something_else_is_not_told_as_one_of_writing(tmp_path):
    with pytest.raises(ConnectionResetError, match="reset by peer"), atomic_file(tmp_path / "x"):
        raise ConnectionResetError(errno.ECONNRESET, "reset by peer")
    for number in (errno.EIO, errno.EROFS, errno.ENOSPC):
        with pytest.raises(OSError, match="x cannot be written"), atomic_file(tmp_path / "x"):
            raise OSError(number, "it failed")


def test_an_id_in_two_shards_is_refused(tmp_path):
    write_features(tmp_path, ["a", "b"], sequences([1, 1]), shard=0)
    foreign(tmp_path, ["b"], pa.array([None], FOREIGN_TYPES["variable double"]), "part-00001.parquet")
    with pytest.raises(ValueError, match="'b' occurs twice"):
        read_all_features(tmp_path)


def test_shards_of_two_widths_are_refused(tmp_path):
    put = partial(write_features, tmp_path)
    put(["a"], sequences([1], dim=2), shard=0)
    put(["b"], sequences([1], dim=3), shard=1)
    with pytest.raises(ValueError, match=r"part-00001.parquet has 3 values a step, but shards before it 2"):
        read_all_features(tmp_path)


def test_a_folder_is_no_place_for_a_file(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder: give a file"), atomic_file(tmp_path):
        pass
