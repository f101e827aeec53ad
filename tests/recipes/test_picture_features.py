"""Extracting a folder of pictures: rows, batches, failures, resuming, refusals, and a real net."""

import csv
import json
import os
import shutil
from operator import itemgetter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from rnnfv.cli.extract import run_extract
from rnnfv.datasets.captions import Captions
from rnnfv.datasets.image_vectors import read_image_vectors
from rnnfv.recipes.extraction import extract_features
from rnnfv.recipes.picture_features import extract_pictures
from rnnfv.storage import read_all_features

Image = pytest.importorskip("PIL.Image")

DATA = Path(os.environ.get("RNNFV_DATA", "../shared/data"))
NAMES = ["1.jpg.png", "1.png", "2.PNG", "a b.bmp", "deep/er/1.png", "deep/moving.gif", "é.png"]


class MeanColour:
    """A net that is none: the mean of each colour channel. It tells what it was given."""

    name, dim, input = "mean-colour", 3, "frames"
    prepare = itemgetter((slice(0, 32), slice(0, 40)))

    def __init__(self):
        self.calls = []

    def __call__(self, batch):
        self.calls.append(batch.shape)
        return batch.mean(axis=(1, 2)).astype(np.float32)

    def description(self):
        return {"name": self.name, "dim": self.dim}


class Stopped(MeanColour):
    """Presses Ctrl-C at a call of the net."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def __call__(self, batch):
        if len(self.calls) == self.call:
            raise KeyboardInterrupt
        return super().__call__(batch)


def save(path, grey, size=(50, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey, grey, 7)).save(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    for i, name in enumerate(NAMES):
        save(tmp_path / "pictures" / name, 10 * i)
    for name in (".hidden.png", "notes.txt", "film.avi"):
        (tmp_path / "pictures" / name).write_bytes(b"no picture")
    return tmp_path / "pictures"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def extract(source, out, backbone=None, **options):
    return extract_pictures(source, backbone or MeanColour(), out, **{"workers": 0, "shard_size": 3} | options)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def greys(out):
    read = read_all_features(out)
    assert set(read.sequences.lengths.tolist()) <= {1}
    return dict(zip(read.ids, read.sequences.steps()[:, 0].tolist(), strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_every_picture_has_its_vector(pictures, out, workers):
    summary = extract(pictures, out, workers=workers)
    assert greys(out) == {name: 10.0 * i for i, name in enumerate(NAMES)}
    assert (summary.ok, summary.short, summary.failed) == (7, 0, 0)
    with (out / "report.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[1:] == [[name, name, "ok", "", "1", "1", "1"] for name in NAMES]
    note = json.loads(pq.read_schema(out / "part-00000.parquet").metadata[b"rnnfv"])
    assert note["kind"] == "pictures"
    assert note["decoder"].startswith("Pillow ")


def test_pictures_of_one_shape_share_a_batch(tmp_path, out):
    for i in range(80):
        save(tmp_path / "p" / f"{i:02}.png", i, (20 + i % 2, 10))
    backbone = MeanColour()
    extract(tmp_path / "p", out, backbone, shard_size=70)
    assert backbone.calls == [
        *[(7, 10, width, 3) for _ in range(5) for width in (20, 21)],  # 14 divides the shard
        *[(5, 10, width, 3) for width in (20, 21)],
    ]
    assert greys(out) == {f"{i:02}.png": float(i) for i in range(80)}


def test_one_picture_may_stand_for_the_folder(pictures, out):
    assert extract(pictures / "1.png", out).ok == 1
    assert greys(out) == {"1.png": 10.0}


def test_a_manifest_names_the_pictures(pictures, out, tmp_path):
    manifest = tmp_path / "lists" / "manifest.csv"
    save(tmp_path / "lists" / "near.png", 99)
    manifest.write_text("id,path\nzz,2.PNG\nnear,near.png\nlost,none.png\nfolder,deep\nfilm,film.avi\n")
    summary = extract(pictures, out, manifest=manifest)
    assert greys(out) == {"near": 99.0, "zz": 20.0}
    told = dict(summary.failures)
    assert told["lost"] == f"{pictures}/none.png: there is no such file: correct the path, or leave it out"
    assert told["folder"] == f"{pictures}/deep: is not a file: give a picture"
    assert "film.avi: cannot be read as a picture" in told["film"]


@pytest.mark.parametrize("workers", [0, 1])
def test_damaged_pictures_are_listed_and_the_rest_goes_on(pictures, out, workers):
    whole = (pictures / "a b.bmp").read_bytes()
    (pictures / "a b.bmp").write_bytes(whole[: len(whole) // 2])
    (pictures / "1.png").write_bytes(b"")
    for name in ("deep/er/1.png", "deep/moving.gif", "2.PNG"):
        (pictures / name).write_text("no picture")
    summary = extract(pictures, out, workers=workers)
    assert greys(out) == {"1.jpg.png": 0.0, "é.png": 60.0}
    assert [name for name, _ in summary.failures] == NAMES[1:6]
    assert "a b.bmp: cannot be read as a picture (image file is truncated" in dict(summary.failures)["a b.bmp"]
    assert not (out / "part-00001.parquet").exists()


def test_an_output_that_is_not_finite_costs_one_picture(pictures, out):
    class Odd(MeanColour):
        def __call__(self, batch):
            vectors = super().__call__(batch)
            vectors[vectors[:, 0] == 20] = np.nan
            return vectors

    assert [name for name, _ in extract(pictures, out, Odd()).failures] == ["2.PNG"]
    assert len(greys(out)) == 6


@pytest.mark.parametrize("call", range(4))
def test_a_stopped_run_goes_on_and_gives_the_same_bytes(pictures, tmp_path, out, call):
    (pictures / "2.PNG").write_bytes(b"damaged")
    undisturbed = MeanColour()
    extract(pictures, tmp_path / "undisturbed", undisturbed)
    with pytest.raises(KeyboardInterrupt) if call < 3 else pytest.MonkeyPatch.context():
        extract(pictures, out, Stopped(call))
    again = MeanColour()
    assert extract(pictures, out, again, workers=2 if call == 1 else 0).was_finished == (call == 3)
    assert sorted(again.calls) == sorted(undisturbed.calls[call:])  # a shard a call
    assert content(out) == content(tmp_path / "undisturbed")


def test_a_stop_loses_the_pictures_of_one_batch(tmp_path, out):
    for i in range(80):
        save(tmp_path / "p" / f"{i:02}.png", i, (20 + i % 2, 10))
    undisturbed, again = MeanColour(), MeanColour()
    extract(tmp_path / "p", tmp_path / "undisturbed", undisturbed, shard_size=70)
    with pytest.raises(KeyboardInterrupt):
        extract(tmp_path / "p", out, Stopped(5), shard_size=70)  # between the two batches of a group
    extract(tmp_path / "p", out, again, shard_size=70)
    assert again.calls == undisturbed.calls[4:]
    assert content(out) == content(tmp_path / "undisturbed")


def test_another_job_is_refused(pictures, out):
    extract(pictures, out)
    save(pictures / "new.png", 5)
    with pytest.raises(ValueError, match="other videos"):
        extract(pictures, out)
    with pytest.raises(ValueError, match=r"other .*kind"):
        extract_pictures(pictures, MeanColour(), _videos_job(out.with_name("other"), pictures), workers=0)


def _videos_job(out, pictures):
    """The folder of features where the same pictures are one video."""
    shutil.rmtree(pictures / "deep")
    (pictures / "film.avi").unlink()
    (pictures / "2.PNG").unlink()
    assert extract_features(pictures, MeanColour(), out, workers=0).ok == 1
    return out


def test_impossible_jobs_are_refused(tmp_path, pictures, out):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no pictures: give a folder of pictures, or one picture"):
        extract(tmp_path / "empty", out)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist: give a folder of pictures"):
        extract(tmp_path / "nowhere", out)
    with pytest.raises(ValueError, match="shard_size must be at least 1"):
        extract(pictures, out, shard_size=0)
    backbone = MeanColour()
    backbone.input = "clips"
    with pytest.raises(ValueError, match="mean-colour takes clips of 16 frames, and a picture is one"):
        extract(pictures, out, backbone)
    os.rename(os.fsencode(pictures / "1.png"), os.fsencode(pictures) + b"/\xff.png")  # noqa: PTH104
    with pytest.raises(ValueError, match=r"\\udcff.png' is not valid UTF-8: rename it"):
        extract(pictures, out)
    assert not out.exists()


# -- the command -----------------------------------------------------------------------------------


def test_the_command_tells_what_failed(pictures, out, monkeypatch, capsys):
    monkeypatch.setattr("rnnfv.cli.extract.check_backbone", lambda *_, **__: None)
    monkeypatch.setattr("rnnfv.cli.extract.make_backbone", lambda *_, **__: MeanColour())
    (pictures / "1.png").write_bytes(b"")
    assert run_extract(pictures, "mean", out, images=True, workers=0) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert f"6 pictures have features in {out}" in told
    assert "1 pictures failed: 1.png: " in told
    with pytest.raises(ValueError, match="--every and --fps are of videos: leave them out with --images"):
        run_extract(pictures, "mean", out, images=True, every=5)
    with pytest.raises(ValueError, match="idt has no option 'images'"):
        run_extract(pictures, "idt", out, images=True)


# -- a real net and real pictures ------------------------------------------------------------------


def test_googlenet_and_flickr8k(out, tmp_path):
    """Six pictures; the oracle is onnxruntime by itself. They are of 224 x 224 pixels, as the net takes them."""
    onnxruntime = pytest.importorskip("onnxruntime")
    model, folder = DATA / "models" / "googlenet.onnx", DATA / "flickr8k" / "images"
    if not (model.is_file() and folder.is_dir()):
        pytest.skip(f"no {model} or no {folder}: set RNNFV_DATA to where the data are")
    paths = sorted(folder.iterdir())[:6]
    for path in paths:
        shutil.copy(path, tmp_path)
    assert run_extract(tmp_path, f"onnx:{model}:pool5", out, images=True, workers=0, device="cpu") == 0
    names = [path.name for path in reversed(paths)]
    none = np.zeros(len(names))
    captions = Captions(np.array(names), none.astype(str), np.arange(len(names)), [], [], none, [])
    vectors = read_image_vectors(out, captions)
    images = np.stack([np.asarray(Image.open(folder / name)) for name in names]).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (expected,) = session.run(["pool5"], {session.get_inputs()[0].name: images.astype(np.float32)})
    np.testing.assert_allclose(vectors, expected.reshape(len(names), -1), rtol=1e-4, atol=1e-5)
