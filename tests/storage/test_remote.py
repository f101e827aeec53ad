"""Features, vectors and models on an S3 server, which runs here."""

import csv
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from itertools import chain
from pathlib import Path
from socket import socket

import numpy as np
import pytest

import rnnfv
from rnnfv import MeanPooling
from rnnfv.cli.app import main
from rnnfv.datasets.captions import Captions
from rnnfv.datasets.image_vectors import read_image_vectors
from rnnfv.datasets.labelled import load_labelled
from rnnfv.recipes.encoding import encode_features
from rnnfv.recipes.extraction import extract_features
from rnnfv.recipes.recognizer import backbone_of_features
from rnnfv.storage import ModelFolderError, atomic_file, read_all_features, write_features
from rnnfv.storage.remote import as_path, is_remote, local_copy

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("s3fs")
pytest.importorskip("upath")
pytest.importorskip("moto.server")


@pytest.fixture(scope="module")
def server():
    """The address of a server of its own process."""
    with closing(socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(address, timeout=5).close()
                break
            except OSError:
                assert process.poll() is None
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def store(server):
    """The URL of a bucket."""
    import s3fs

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem(use_listings_cache=False).mkdir("store")
        yield "s3://store"
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(store, request):
    """A place of the test's own in it."""
    return f"{store}/{request.node.name}"


def names(url):
    path = as_path(url)
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())


def content(url):
    path = as_path(url)
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture
def features(bucket, rng):
    folder = f"{bucket}/features"
    write_features(folder, ["a", "b"], [rng.normal(size=(n, 3)) for n in (4, 1)], shard=0)
    write_features(folder, ["c"], [rng.normal(size=(2, 3))], shard=1)
    return folder


def test_a_url_is_known_even_as_a_path():
    for path in ("s3://bucket/a/b", Path("s3://bucket/a/b"), "s3://bucket/a/b/", as_path("s3://bucket/a/b")):
        assert is_remote(as_path(path))
        assert str(as_path(path)) == "s3://bucket/a/b"
    for path in ("a:/b", "a/s3:/b", ".", "/x/y", Path("C:/x")):
        assert as_path(path) == Path(path)
    with pytest.raises(ValueError, match="nothing://x cannot be opened"):
        as_path("nothing://x")


def test_features_are_written_and_read(features):
    assert names(features) == ["part-00000.parquet", "part-00001.parquet"]
    assert read_all_features(Path(features)).ids == ["a", "b", "c"]
    assert read_all_features(features).sequences.lengths.tolist() == [4, 1, 2]
    with pytest.raises(FileNotFoundError, match=r"s3://.*nowhere is not a folder of features"):
        read_all_features(f"{features}/nowhere")


def test_what_fails_is_not_uploaded(bucket):
    path = as_path(f"{bucket}/x/file.txt")
    path.write_text("old")

    def fail():
        with atomic_file(path) as temporary:
            temporary.write_text("new")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text() == "old"
    with atomic_file(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    with pytest.raises(IsADirectoryError, match="is a folder"), atomic_file(f"{bucket}/x"):
        pass


def test_labels_join_features_of_a_store(features, tmp_path):
    (tmp_path / "labels.csv").write_text("id,label,group,split1\na,x,1,train\nc,y,2,test\n")
    data = load_labelled(features, tmp_path / "labels.csv")
    assert data.sequences.lengths.tolist() == [4, 2]


def test_image_vectors_are_read(bucket, rng):
    vectors = rng.normal(size=(2, 5)).astype(np.float32)
    with atomic_file(f"{bucket}/images.npy") as temporary:
        np.save(temporary, vectors)
    names = np.array(["a.jpg", "b.jpg"])
    captions = Captions(names, np.array(["train"] * 2), np.arange(2), ["x", "y"], [None] * 2, np.arange(2), ["0", "1"])
    np.testing.assert_array_equal(read_image_vectors(Path(f"{bucket}/images.npy"), captions), vectors)
    write_features(f"{bucket}/pictures", ["b.jpg", "a.jpg"], vectors[::-1, None])
    np.testing.assert_array_equal(read_image_vectors(f"{bucket}/pictures", captions), vectors)
    with pytest.raises(FileNotFoundError, match=r"nothing.npy is not a file"):
        read_image_vectors(f"{bucket}/nothing.npy", captions)


class Colours:
    name, dim, input, prepare = "colours", 3, "frames", None

    def __call__(self, batch):
        return batch.mean(axis=(1, 2)).astype(np.float32)

    def description(self):
        return {"name": self.name, "dim": self.dim, "settings": {}, "weights": {}}


def test_extraction_writes_to_a_store_and_goes_on_there(bucket, tmp_path, write_video):
    pytest.importorskip("av")
    for i in range(4):
        write_video(tmp_path / "videos" / f"{i}.avi", 12 + i)
    options = {"workers": 0, "shard_size": 2}
    extract_features(tmp_path / "videos", Colours(), tmp_path / "here", **options)
    here = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir() if path.is_file()}
    out = f"{bucket}/features"

    class Stopped(Colours):
        calls = 0

        def __call__(self, batch):
            self.calls += 1
            if self.calls == 4:
                raise KeyboardInterrupt
            return super().__call__(batch)

    with pytest.raises(KeyboardInterrupt):
        extract_features(tmp_path / "videos", Stopped(), out, **options)
    assert "part-00000.parquet" in names(out)
    assert "report.csv" not in names(out)
    assert not extract_features(tmp_path / "videos", Colours(), Path(out), **options).was_finished
    there = content(out)
    assert {name: there[name] for name in here} == here
    assert extract_features(tmp_path / "videos", Colours(), out, **options).was_finished
    assert backbone_of_features(out)[0]["name"] == "colours"


def test_models_are_saved_and_loaded(bucket, features):
    model = MeanPooling().fit(read_all_features(features).sequences)
    model.save(f"{bucket}/model")
    assert names(f"{bucket}/model") == ["arrays.safetensors", "config.json"]
    assert isinstance(rnnfv.load(Path(f"{bucket}/model")), MeanPooling)
    model.save(f"{bucket}/model")  # over the old one
    with pytest.raises(ModelFolderError, match="would replace what is there"):
        model.save(features)
    as_path(f"{bucket}/model/arrays.safetensors").write_bytes(b"other")
    with pytest.raises(ModelFolderError, match=r"s3://.*model: the checksum of arrays.safetensors is wrong"):
        rnnfv.load(f"{bucket}/model")
    with pytest.raises(ModelFolderError, match=r"nothing: it has no file config.json"):
        rnnfv.load(f"{bucket}/nothing")


def test_encoding_reads_and_writes_in_a_store(bucket, features, tmp_path):
    sequences = read_all_features(features).sequences
    MeanPooling().fit(sequences).save(f"{bucket}/model")
    out = f"{bucket}/vectors.npy"
    with pytest.raises(SystemExit) as exit_code:
        main(["encode", features, "--model", f"{bucket}/model", "--out", out])
    assert not exit_code.value.code
    np.testing.assert_allclose(np.load(local_copy(as_path(out))), MeanPooling().fit_transform(sequences))
    left = [name for name in names(bucket) if name.startswith("vectors")]
    assert left == ["vectors.csv", "vectors.npy", "vectors.npy.job.json"]
    rows = list(csv.reader(as_path(f"{bucket}/vectors.csv").read_text().splitlines()))
    assert list(chain(*rows[1:2])) == ["a", "0", "ok", ""]
    assert encode_features(features, f"{bucket}/model", out).was_finished


def test_a_chain_of_models_is_kept_in_a_store(bucket, tmp_path):
    from rnnfv.recipes._chain_folder import ChainFolder

    kind = ChainFolder("a test", "rnnfv test", "test.json", {"part": MeanPooling})
    (tmp_path / "weights.bin").write_bytes(b"12345")
    files = {"weights": (tmp_path / "weights.bin", "weights.bin")}
    kind.write(f"{bucket}/chain", {"part": MeanPooling()}, {"note": 1}, files)
    estimators, record, copies = kind.read(f"{bucket}/chain")
    assert isinstance(estimators["part"], MeanPooling)
    assert record["note"] == 1
    assert copies["weights"].read_bytes() == b"12345"


def test_a_store_that_cannot_be_entered_is_one_line(tmp_path):
    program = (
        "import sys; from rnnfv.cli.app import main\n"
        "main(['encode', 's3://nobody/features', '--model', 'model', '--out', sys.argv[1]])"
    )
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1"}
    nothing["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"  # where nobody listens
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    for more, why in (({}, "credentials"), (keys, "endpoint")):
        run = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "out.npy")],
            env=home | nothing | more,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 1, run.stderr
        assert run.stderr.startswith("rnnfv: s3://nobody/features"), run.stderr
        assert why in run.stderr
        assert len(run.stderr.splitlines()) == 1


def test_every_call_of_a_store_fails_with_the_url(monkeypatch):
    class OwnError(Exception):
        pass

    def fail(*args, **kwargs):
        raise OwnError("no such\nregion")

    memory = type(as_path("memory://x/y").fs)
    for name in ("info", "ls", "put_file", "_open", "exists"):
        monkeypatch.setattr(memory, name, fail)
    monkeypatch.setattr(memory, "_cache", {})
    path = as_path("memory://x/y")
    fs = path.fs
    acts = (path.stat, path.exists, lambda: fs.ls(path.path), lambda: fs.open(path.path, "rb"))
    for act in (*acts, lambda: fs.put_file("/a", path.path)):
        with pytest.raises(OSError, match=r"memory://.*x/y cannot be reached: no such region$"):
            act()


def test_a_file_url_is_a_path_of_this_machine(tmp_path):
    for url in (f"file://{tmp_path}", f"local://{tmp_path}", f"file:{tmp_path}", Path(f"file://{tmp_path}")):
        assert as_path(url) == tmp_path
