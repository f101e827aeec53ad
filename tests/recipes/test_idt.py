"""Improved dense trajectories as features and as Fisher vectors: values, refusals, nothing learnt of tests."""

import csv
import gzip
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from rnnfv import MeanPooling
from rnnfv.datasets.labelled import load_labelled
from rnnfv.datasets.manifest import Manifest
from rnnfv.recipes import idt_features
from rnnfv.recipes.fusion import SplitVectors, fuse, read_vectors, write_vectors
from rnnfv.recipes.idt import check_trajectories, evaluate_trajectories
from rnnfv.recipes.idt_features import extract_trajectories, find_trajectories
from rnnfv.recipes.trajectories import TrajectoryFisherVector
from rnnfv.storage import read_all_features

FEW = {"n_components": 2, "sample": 400}
NAMES = [f"{label}/c{i:02}" for label in ("jump", "run") for i in range(8)]


def write_clip(path, rng, label, shift=0.0):
    """Two kinds of descriptors in [0, 1], both a little larger in one class; frames come in no order."""
    count = int(rng.integers(15, 30))
    kind = rng.integers(0, 2, (count, 1))
    rows = np.clip(rng.normal(0.2 + 0.4 * kind + 0.1 * (label == "run"), 0.05, (count, 436)), 0, 1) + shift
    rows[:, 0] = rng.integers(15, 30, count)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, rows, "%.7f", delimiter="\t")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("made"), np.random.default_rng(0)
    for name in NAMES:
        write_clip(folder / f"{name}.txt", rng, name.split("/")[0])
    return folder


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "idt")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def manifest():
    """Two splits; groups of two clips, one of each class, never on both sides."""
    number = np.tile(np.arange(8), 2)
    parts = {f"split{k + 1}": np.where(number // 2 == k, "test", "train") for k in range(2)}
    return Manifest(
        np.array(NAMES), np.array([name.split("/")[0] for name in NAMES]), np.array([f"g{i}" for i in number]), parts
    )


def rows_of(path):
    rows = np.loadtxt(path)
    return rows[np.argsort(rows[:, 0], kind="stable"), 10:]


def report_of(out):
    with (out / "report.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# -- files -----------------------------------------------------------------------------------------


def test_files_are_found_and_get_the_ids_of_their_videos(tmp_path):
    for name in (
        "b.features",
        "a/x.avi.gz",
        "a/y.txt.gz",
        "c.features.gz",
        "d.v2.txt",
        ".hidden.txt",
        ".h/z.gz",
        "n.bin",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_trajectories(tmp_path)
    assert list(found) == ["a/x", "a/y", "b", "c", "d.v2"]
    assert found["a/x"] == tmp_path / "a" / "x.avi.gz"


def test_folders_that_name_no_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        find_trajectories(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"they end in \.txt, \.features or \.gz"):
        find_trajectories(tmp_path)
    for name in ("a.txt", "a.gz"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"a\.gz and .*a\.txt are both of 'a'"):
        find_trajectories(tmp_path)


def test_a_name_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "\udcff.txt").touch()
    with pytest.raises(ValueError, match=r"'\\udcff' is not valid UTF-8"):
        find_trajectories(tmp_path)


# -- as features -----------------------------------------------------------------------------------


def test_features_are_the_descriptors_in_the_order_of_their_frames(folder, out):
    summary = extract_trajectories(folder, out, shard_size=5)
    assert (summary.ok, summary.short, summary.failed, summary.was_finished) == (16, 0, 0, False)
    read = read_all_features(out)
    assert read.ids == NAMES
    assert read.sequences.dtype == np.float16
    for name, sequence in zip(read.ids, read.sequences, strict=True):
        wanted = rows_of(folder / f"{name}.txt")
        assert sequence.shape == (len(wanted), 426)
        np.testing.assert_allclose(sequence, wanted, rtol=0, atol=0.00025)
    row = report_of(out)["run/c03"]
    steps = len(rows_of(folder / "run" / "c03.txt"))
    assert list(row.values()) == ["run/c03", "run/c03.txt", "ok", "", "", "", str(steps)]
    assert len(list(out.glob("part-*.parquet"))) == 4
    note = json.loads(pq.read_schema(out / "part-00000.parquet").metadata[b"rnnfv"])
    assert (note["features"], note["max steps"]) == ("idt", None)


def test_a_sample_is_of_the_file_and_the_same_again(folder, out, tmp_path):
    extract_trajectories(folder, out, max_steps=7)
    extract_trajectories(folder, tmp_path / "again", max_steps=7)
    assert content(out) == content(tmp_path / "again")
    for name, sequence in zip(NAMES, read_all_features(out).sequences, strict=True):
        every = rows_of(folder / f"{name}.txt").astype(np.float32).astype(np.float16)
        rows = [int(np.flatnonzero((every == step).all(axis=1))[0]) for step in sequence]
        assert rows == sorted(set(rows))
        assert len(rows) == 7


def test_damaged_files_are_rows_with_the_line(folder, out):
    rng = np.random.default_rng(1)
    (folder / "a.txt").write_text("\t".join(["1"] * 436) + "\n1 2 3\n")
    (folder / "b.txt").write_bytes(b"")
    (folder / "d.txt.gz").write_bytes(gzip.compress(rng.bytes(5000))[:-2000])
    (folder / "e.txt").write_text("\t".join(["1"] * 435 + ["70000"]))
    (folder / "f.txt").write_text("\t".join(["1"] * 435 + ["nan"]))
    summary = extract_trajectories(folder, out)
    assert (summary.ok, summary.failed) == (16, 5)
    assert dict(summary.failures) == {
        "a": f"{folder}/a.txt, line 2: 3 numbers, but the lines before it have 436",
        "b": f"{folder}/b.txt: there are no trajectories in it",
        "d": f"{folder}/d.txt.gz: the compressed file is damaged or cut off: make it again",
        "e": f"{folder}/e.txt: a descriptor has the value 70000, but they are at most 1: make the file again",
        "f": f"{folder}/f.txt, line 1: 'nan' is not a finite number",
    }
    assert report_of(out)["a"]["status"] == "failed"
    assert read_all_features(out).ids == NAMES


def test_a_stopped_run_goes_on_and_gives_the_same_bytes(folder, out, tmp_path, monkeypatch):
    (folder / "jump" / "c06.txt").write_text("damaged")
    extract_trajectories(folder, tmp_path / "undisturbed", shard_size=5)
    load, read = idt_features.load_descriptors, []

    def stops(path, *args, **kw):
        if len(read) == 8:
            raise KeyboardInterrupt
        read.append(path)
        return load(path, *args, **kw)

    monkeypatch.setattr(idt_features, "load_descriptors", stops)
    with pytest.raises(KeyboardInterrupt):
        extract_trajectories(folder, out, shard_size=5)
    assert not (out / "report.csv").exists()
    read.clear()
    monkeypatch.setattr(
        idt_features, "load_descriptors", lambda path, *a, **kw: read.append(path) or load(path, *a, **kw)
    )
    assert not extract_trajectories(folder, out, shard_size=5).was_finished
    assert len(read) == 8  # those that were finished are not read again
    assert content(out) == content(tmp_path / "undisturbed")
    assert extract_trajectories(folder, out, shard_size=5).was_finished
    assert len(read) == 8


def test_other_samples_are_another_job(folder, out):
    extract_trajectories(folder, out, max_steps=3)
    with pytest.raises(ValueError, match="other max steps"):
        extract_trajectories(folder, out, max_steps=4)
    with pytest.raises(ValueError, match="max_steps is 0"):
        extract_trajectories(folder, out, max_steps=0)


def test_one_file_or_a_manifest_may_name_the_files(folder, out, tmp_path):
    extract_trajectories(folder / "run" / "c01.txt", out)
    assert read_all_features(out).ids == ["c01"]
    (tmp_path / "list.csv").write_text("id,path\nfirst,run/c02.txt\nlost,run/c99.txt\n")
    summary = extract_trajectories(folder, tmp_path / "listed", manifest=tmp_path / "list.csv")
    assert (summary.ok, [name for name, _ in summary.failures]) == (1, ["lost"])
    assert "run/c99.txt" in summary.failures[0][1]


def test_the_features_are_a_data_set_like_any_other(folder, out, manifest):
    extract_trajectories(folder, out, max_steps=20)
    data = load_labelled(out, manifest)
    assert MeanPooling().fit_transform(data.sequences).shape == (16, 426)


# -- as Fisher vectors -----------------------------------------------------------------------------


def test_classes_whose_descriptors_differ_are_told_apart(folder, manifest, tmp_path):
    told = []
    row = evaluate_trajectories(
        find_trajectories(folder), manifest, **FEW, seeds=2, report=told.append, vectors=tmp_path / "v"
    )
    assert row.accuracies == {"split1": [100.0, 100.0], "split2": [100.0, 100.0]}
    assert row.dim == 2 * 2 * 213
    assert "split2, seed 1: encoding test file 4 of 4" in told
    assert sorted(path.name for path in (tmp_path / "v" / "idt").iterdir()) == [
        f"split{k}-seed{seed}.npz" for k in (1, 2) for seed in (0, 1)
    ]


def test_vectors_are_those_of_the_estimator_fitted_on_the_training_files(folder, manifest, tmp_path):
    files, parts = find_trajectories(folder), manifest.splits["split2"]
    one = Manifest(manifest.ids, manifest.labels, manifest.groups, {"split2": parts})
    evaluate_trajectories(files, one, **FEW, seeds=2, vectors=tmp_path)
    got = read_vectors(tmp_path / "idt", "split2", 1)
    train, test = (manifest.ids[parts == which].tolist() for which in ("train", "test"))
    assert (got.train_ids.tolist(), got.test_ids.tolist()) == (train, test)
    encoder = TrajectoryFisherVector(**FEW, random_state=1).fit([files[name] for name in train])
    np.testing.assert_array_equal(got.train, encoder.transform([files[name] for name in train]))
    np.testing.assert_array_equal(got.test, encoder.transform([files[name] for name in test]))


def test_nothing_is_learnt_from_test_files(folder, manifest, tmp_path):
    """The training files' vectors tell of all that was fitted before the classifier."""
    evaluate_trajectories(find_trajectories(folder), manifest, **FEW, vectors=tmp_path / "clean")
    rng = np.random.default_rng(2)
    for name, part in zip(NAMES, manifest.splits["split1"], strict=True):
        if part == "test":
            write_clip(folder / f"{name}.txt", rng, "jump", shift=100.0)
    evaluate_trajectories(find_trajectories(folder), manifest, **FEW, vectors=tmp_path / "poisoned")
    clean, poisoned = (read_vectors(tmp_path / run / "idt", "split1", 0) for run in ("clean", "poisoned"))
    np.testing.assert_array_equal(clean.train, poisoned.train)
    assert not np.allclose(clean.test, poisoned.test)
    other = [read_vectors(tmp_path / run / "idt", "split2", 0).train for run in ("clean", "poisoned")]
    assert not np.allclose(*other)  # there the same files are for training


def test_a_run_is_fused_with_another(folder, manifest, tmp_path, rng):
    """Half of the test labels are swapped, so that accuracies can differ; alone, a run keeps its own accuracy."""
    labels = manifest.labels.copy()
    labels[[1, 4, 9, 14]] = ["run", "run", "jump", "jump"]
    noisy = Manifest(manifest.ids, labels, manifest.groups, manifest.splits)
    row = evaluate_trajectories(find_trajectories(folder), noisy, **FEW, vectors=tmp_path)
    assert fuse([tmp_path / "idt"], noisy) == row.accuracies
    assert row.mean < 100
    for split, parts in noisy.splits.items():
        values = rng.normal(size=(16, 3)) + 50.0 * (labels == "run")[:, None]
        ids = {which: np.flatnonzero(parts == which)[::-1] for which in ("train", "test")}
        run = [part for which in ("train", "test") for part in (noisy.ids[ids[which]], values[ids[which]])]
        write_vectors(tmp_path / "rnn-fv", split, 0, SplitVectors(*run))
    assert fuse([tmp_path / "idt", tmp_path / "rnn-fv"], noisy) == {"split1": [100.0], "split2": [100.0]}


# -- what cannot be evaluated ----------------------------------------------------------------------


def test_items_without_a_file_are_named_before_anything_is_read(folder, manifest):
    for name in ("jump/c02", "run/c07"):
        (folder / f"{name}.txt").unlink()
    told = []
    wanted = "no trajectories for 2 of 16 items of the manifest, the first 'jump/c02': there is no file of it"
    with pytest.raises(ValueError, match=wanted):
        check_trajectories(find_trajectories(folder), manifest, report=told.append)
    assert told == []
    with pytest.raises(ValueError, match="no trajectories for 2 of 16 items"):
        evaluate_trajectories(find_trajectories(folder), manifest, **FEW)


def test_files_that_cannot_be_read_are_counted_or_left_out(folder, manifest):
    whole = (folder / "jump" / "c03.txt").read_text()
    (folder / "jump" / "c03.txt").write_text(whole + "1 2\n")
    (folder / "run" / "c00.txt").write_text("")
    (folder / "run" / "c05.txt").unlink()
    files = find_trajectories(folder)
    usable, failures = check_trajectories(files, manifest, skip_missing=True)
    line = whole.count("\n") + 1
    assert failures == [
        ("jump/c03", f"{files['jump/c03']}, line {line}: 2 numbers, but the lines before it have 436"),
        ("run/c00", f"{files['run/c00']}: there are no trajectories in it"),
        ("run/c05", "there is no file of it"),
    ]
    assert usable.ids.tolist() == [name for name in NAMES if name not in dict(failures)]
    assert evaluate_trajectories(files, usable, **FEW).mean == 100.0
    files["run/c05"] = files["run/c04"]
    with pytest.raises(
        ValueError, match=r"for 2 of 16 items of the manifest, the first 'jump/c03': .*, line \d+: 2 numbers"
    ):
        check_trajectories(files, manifest)
    with pytest.raises(ValueError, match="no trajectories for 16 of 16 items"):
        check_trajectories({}, manifest, skip_missing=True)


def test_items_in_no_split_need_no_file(folder, manifest):
    for parts in manifest.splits.values():
        parts[5] = ""
    (folder / "jump" / "c05.txt").write_text("damaged")
    usable, failures = check_trajectories(find_trajectories(folder), manifest)
    assert (len(usable.ids), failures) == (15, [])


def test_splits_that_prove_nothing_are_refused_before_anything_is_read(manifest):
    shared = Manifest(manifest.ids, manifest.labels, np.full(16, "film"), manifest.splits)
    for call in (check_trajectories, evaluate_trajectories):
        with pytest.raises(ValueError, match=r"split1 has 1 groups in both .*\(such as 'film'\)"):
            call({}, shared)
    empty = Manifest(manifest.ids, manifest.labels, manifest.groups, {"split1": np.full(16, "train")})
    with pytest.raises(ValueError, match="split1 has no test items"):
        check_trajectories({}, empty)
    with pytest.raises(ValueError, match="no trajectories for 16 of 16"):
        check_trajectories({}, shared, allow_overlap=True)
    with pytest.raises(ValueError, match="seeds is 0"):
        evaluate_trajectories({}, manifest, seeds=0)


def test_groups_may_overlap_when_told(folder, manifest):
    shared = Manifest(manifest.ids, manifest.labels, np.full(16, "film"), manifest.splits)
    assert evaluate_trajectories(find_trajectories(folder), shared, **FEW, allow_overlap=True).mean == 100.0
