"""Encoding a folder of features: rows, failures, resuming, refusals."""

import csv
import json
import signal
import subprocess
import sys
import tracemalloc
from contextlib import nullcontext

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import rnnfv
from rnnfv.recipes import encoding
from rnnfv.recipes._job import sealed
from rnnfv.recipes.encoding import encode_features
from rnnfv.storage import ModelFolderError, read_features, write_features

SHARDS, PER_SHARD, DIM = 4, 3, 5


@pytest.fixture
def seqs():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(n, DIM)).astype(np.float32) for n in rng.integers(1, 9, SHARDS * PER_SHARD)]


@pytest.fixture
def features(tmp_path, seqs):
    for k in range(SHARDS):
        chosen = slice(k * PER_SHARD, (k + 1) * PER_SHARD)
        write_features(tmp_path / "features", [f"s{i}" for i in range(len(seqs))][chosen], seqs[chosen], shard=k)
    return tmp_path / "features"


@pytest.fixture
def model(tmp_path, seqs):
    rnnfv.MeanPooling().fit(seqs).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "vectors.npy"


def table(out):
    with out.with_suffix(".csv").open(newline="") as file:
        return list(csv.DictReader(file))


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_sequence_has_its_row(features, model, out, seqs):
    summary = encode_features(features, model, out)
    np.testing.assert_array_equal(np.load(out), rnnfv.MeanPooling().fit_transform(seqs))
    rows = [{"id": f"s{i}", "row": str(i), "status": "ok", "reason": ""} for i in range(len(seqs))]
    assert table(out) == rows
    assert (summary.encoded, summary.failed, summary.dim, summary.was_finished) == (len(seqs), 0, DIM, False)
    assert sorted(path.name for path in out.parent.iterdir()) == ["vectors.csv", "vectors.npy", "vectors.npy.job.json"]


def test_one_file_may_stand_for_the_folder(features, model, out, seqs):
    assert encode_features(str(features / "part-00001.parquet"), str(model), str(out)).encoded == PER_SHARD
    np.testing.assert_array_equal(np.load(out), rnnfv.MeanPooling().fit_transform(seqs[3:6]))


def test_a_shard_larger_than_a_block_gives_the_same_rows(features, model, out, seqs, monkeypatch):
    monkeypatch.setattr(encoding, "_BLOCK", 2)
    encode_features(features, model, out)
    np.testing.assert_array_equal(np.load(out), rnnfv.MeanPooling().fit_transform(seqs))


def test_a_pipeline_can_encode(features, tmp_path, out, seqs):
    pipeline = make_pipeline(rnnfv.MeanPooling(), StandardScaler()).fit(seqs)
    rnnfv.save(pipeline, tmp_path / "model")
    encode_features(features, tmp_path / "model", out)
    np.testing.assert_allclose(np.load(out), pipeline.transform(seqs), rtol=1e-6)


def test_what_fails_is_listed_and_the_rest_goes_on(features, model, out, seqs):
    (features / "part-00001.parquet").write_bytes(b"not Parquet")
    write_features(features, ["wide"], [np.ones((2, DIM + 1))], shard=9)
    summary = encode_features(features, model, out)
    np.testing.assert_array_equal(np.load(out), rnnfv.MeanPooling().fit_transform(seqs[:3] + seqs[6:]))
    lines = table(out)
    failed = {line["id"]: line["reason"] for line in lines if line["status"] == "failed"}
    assert failed.keys() == {"part-00001.parquet", "wide"}
    assert "not a Parquet file" in failed["part-00001.parquet"]
    assert failed["wide"] == "step 0 has 6 values, not 5"
    assert [line["row"] for line in lines if line["status"] == "ok"] == [str(i) for i in range(9)]
    assert all(line["row"] == "" for line in lines if line["status"] == "failed")
    assert (summary.encoded, summary.failed) == (9, 2)


def test_a_vector_that_is_not_finite_is_a_failure(features, model, out, seqs, monkeypatch):
    whole = rnnfv.MeanPooling.transform

    def transform(self, X):
        vectors = whole(self, X)
        vectors[np.isclose(vectors, seqs[4].mean(axis=0)).all(axis=1)] = np.nan
        return vectors

    monkeypatch.setattr(rnnfv.MeanPooling, "transform", transform)
    assert encode_features(features, model, out).failed == 1
    assert np.isfinite(np.load(out)).all()
    assert [line["id"] for line in table(out) if line["status"] == "failed"] == ["s4"]


def test_where_nothing_can_be_encoded_the_table_says_why(features, tmp_path, out):
    rnnfv.MeanPooling().fit(np.ones((1, 1, 7))).save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"no sequence could be encoded \(the first: step 0 has 5 values, not 7\)"):
        encode_features(features, tmp_path / "model", out)
    assert [path.name for path in out.parent.iterdir()] == ["vectors.csv"]
    assert len(table(out)) == SHARDS * PER_SHARD


def test_progress_goes_to_stderr_and_only_when_asked(features, model, out, capsys):
    encode_features(features, model, out)
    assert capsys.readouterr() == ("", "")
    encode_features(features, model, out.with_name("other.npy"), progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "12/12" in shown.err


def peak_memory(features, model, out):
    tracemalloc.start()
    encode_features(features, model, out)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_shards(tmp_path, out):
    seqs = np.random.default_rng(0).normal(size=(50, 2, 5000)).astype(np.float32)
    rnnfv.MeanPooling().fit(seqs).save(tmp_path / "model")
    peaks = []
    for shards in (1, 2, 10):  # the first warms up
        folder = tmp_path / f"features{shards}"
        for k in range(shards):
            write_features(folder, [f"{k}-{i}" for i in range(len(seqs))], seqs, shard=k)
        peaks.append(peak_memory(folder, tmp_path / "model", out.with_stem(f"vectors{shards}")))
    assert peaks[2] < 1.2 * peaks[1]


# -- stopping and going on -------------------------------------------------------------------------


def stop_after(monkeypatch, shards):
    """Press Ctrl-C while the next shard is encoded; return the list of calls."""
    whole, calls = rnnfv.MeanPooling.transform, []

    def transform(self, X):
        if len(calls) == shards:
            raise KeyboardInterrupt
        calls.append(len(X))
        return whole(self, X)

    monkeypatch.setattr(rnnfv.MeanPooling, "transform", transform)
    return calls


@pytest.mark.parametrize("shards", range(SHARDS))
def test_a_stopped_run_goes_on_and_gives_the_same_bytes(features, model, out, monkeypatch, shards):
    (features / "part-00000.parquet").rename(features / "part-00008.parquet")
    (features / "part-00000.parquet").write_bytes(b"damaged")
    undisturbed = out.parent / "undisturbed" / "vectors.npy"
    encode_features(features, model, undisturbed)
    with monkeypatch.context() as patch:
        stop_after(patch, shards)
        with pytest.raises(KeyboardInterrupt):
            encode_features(features, model, out)
    assert not out.exists()
    with monkeypatch.context() as patch:
        calls = stop_after(patch, SHARDS)
        encode_features(features, model, out)
    assert len(calls) == SHARDS - shards
    again = content(out.parent)
    wanted = {name.removeprefix("undisturbed/"): again.pop(name) for name in list(again) if "undisturbed" in name}
    assert again == wanted


KILLED = """
import os, signal, sys
from rnnfv import MeanPooling
from rnnfv.recipes.encoding import encode_features
whole, calls = MeanPooling.transform, []
def transform(self, X):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return whole(self, X)
MeanPooling.transform = transform
encode_features(*sys.argv[1:])
"""


def test_a_killed_run_goes_on(features, model, out, seqs, monkeypatch):
    killed = subprocess.run([sys.executable, "-c", KILLED, features, model, out], check=False)
    assert killed.returncode == -signal.SIGKILL
    calls = stop_after(monkeypatch, SHARDS)
    encode_features(features, model, out)
    assert len(calls) == SHARDS - 2
    monkeypatch.undo()
    np.testing.assert_array_equal(np.load(out), rnnfv.MeanPooling().fit_transform(seqs))


@pytest.mark.parametrize("step", ["_header", "move_file"])
def test_a_stop_while_joining_loses_nothing(features, model, out, monkeypatch, step):
    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(encoding, step, stop)
        with pytest.raises(KeyboardInterrupt):
            encode_features(features, model, out)
    assert not out.exists()
    calls = stop_after(monkeypatch, 0)
    assert encode_features(features, model, out).encoded == SHARDS * PER_SHARD
    assert calls == []
    assert not out.with_name("vectors.npy.parts").exists()


@pytest.mark.parametrize("damage", ["another id", "cut", "empty", "null", "of another job"])
def test_a_damaged_part_is_made_again(features, model, out, seqs, monkeypatch, damage):
    with monkeypatch.context() as patch:
        stop_after(patch, SHARDS - 1)
        with pytest.raises(KeyboardInterrupt):
            encode_features(features, model, out)
    part = out.with_name("vectors.npy.parts") / "part-00000.json"
    text = part.read_text()
    other = json.dumps(sealed({"ids": ["x"], "failures": [], "sha256": None}, {"another": "job"}))
    damaged = {"another id": text.replace("s0", "s7"), "cut": text[:-9], "empty": "", "null": "null"}
    part.write_text((damaged | {"of another job": other})[damage])
    calls = stop_after(monkeypatch, SHARDS)
    encode_features(features, model, out)
    assert len(calls) == 2
    monkeypatch.undo()
    with out.with_suffix(".csv").open() as file:
        assert [line["id"] for line in csv.DictReader(file)] == [f"s{i}" for i in range(len(seqs))]
    np.testing.assert_array_equal(np.load(out), rnnfv.MeanPooling().fit_transform(seqs))


def test_a_stop_while_removing_the_parts_is_tidied_up(features, model, out, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(encoding, "remove_folder", lambda path: None)
        encode_features(features, model, out)
    assert out.with_name("vectors.npy.parts").exists()
    assert encode_features(features, model, out).was_finished
    assert not out.with_name("vectors.npy.parts").exists()


def test_a_finished_run_is_left_alone(features, model, out, monkeypatch):
    first = encode_features(features, model, out)
    before = content(out.parent)
    calls = stop_after(monkeypatch, 0)
    second = encode_features(features, model, out)
    assert second.was_finished
    assert (second.encoded, second.failed, second.dim) == (first.encoded, first.failed, first.dim)
    assert calls == []
    assert content(out.parent) == before


def another_model(features, model):
    rnnfv.save(make_pipeline(rnnfv.MeanPooling().fit(np.ones((1, 1, DIM)))), model)


def other_values(features, model):
    seqs = read_features(features / "part-00000.parquet").sequences
    write_features(features, ["s0", "s1", "s2"], [2 * seq for seq in seqs], shard=0)


def another_shard(features, model):
    write_features(features, ["new"], np.ones((1, 2, DIM)), shard=SHARDS)


@pytest.mark.parametrize("change", [another_model, other_values, another_shard])
@pytest.mark.parametrize("stopped", [True, False])
def test_another_job_is_refused(features, model, out, change, stopped):
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, 2 if stopped else SHARDS)
        with pytest.raises(KeyboardInterrupt) if stopped else nullcontext():
            encode_features(features, model, out)
    change(features, model)
    before = content(out.parent)
    with pytest.raises(ValueError, match=r"vectors\.npy.*delete .*or give another output"):
        encode_features(features, model, out)
    assert content(out.parent) == before


@pytest.mark.parametrize("name", ["vectors.npy", "vectors.csv", "vectors.npy.parts/part-00000.json"])
def test_files_of_others_are_not_written_over(features, model, out, name):
    path = out.parent / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"ids": ["mine"]}))
    before = content(out.parent)
    with pytest.raises(ValueError, match="give another output"):
        encode_features(features, model, out)
    assert content(out.parent) == before


# -- what cannot be a job --------------------------------------------------------------------------


def test_a_model_that_cannot_encode_is_refused(features, tmp_path, out):
    rnnfv.save(LinearSVC(), tmp_path / "model")
    with pytest.raises(ValueError, match="LinearSVC, which has no transform"):
        encode_features(features, tmp_path / "model", out)
    assert list(out.parent.iterdir()) == []


def test_a_model_that_ends_in_sequences_is_refused(features, tmp_path, out, seqs):
    rnnfv.save(make_pipeline(rnnfv.StepPreprocessor()).fit(seqs), tmp_path / "model")
    with pytest.raises(ValueError, match="must end with an encoder"):
        encode_features(features, tmp_path / "model", out)


def test_an_id_in_two_shards_is_refused_before_the_work_begins(features, model, out, seqs):
    write_features(features, ["new", "s1"], seqs[:2], shard=SHARDS)
    with pytest.raises(ValueError, match=r"part-00004.parquet: the id 's1' occurs twice"):
        encode_features(features, model, out)
    assert list(out.parent.iterdir()) == []


def test_an_unfitted_model_is_refused(features, tmp_path, out):
    rnnfv.MeanPooling().save(tmp_path / "model")
    with pytest.raises(ValueError, match="not fitted"):
        encode_features(features, tmp_path / "model", out)


def test_a_damaged_model_is_refused_before_anything_is_written(features, model, out):
    (model / "config.json").write_text("{}")
    with pytest.raises(ModelFolderError):
        encode_features(features, model, out)
    assert list(out.parent.iterdir()) == []


def test_missing_features_are_refused(model, out, tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        encode_features(tmp_path / "nothing", model, out)


def test_the_output_must_be_an_npy_file(features, model, out):
    with pytest.raises(ValueError, match=r"must be a \.npy file"):
        encode_features(features, model, out.with_suffix(".csv"))
