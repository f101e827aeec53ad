"""The vector index against sums of exactly rounded products, one vector at a time."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnfv.storage._cells import nearest_cell, train_cells
from rnnfv.storage._lock import one_writer
from rnnfv.storage.index import VectorIndex, open_index


def unit(n, dim=16, seed=0, topics=None):
    """Unit vectors, float32; near some topics where their number is given."""
    random = np.random.default_rng(seed)
    rows = random.standard_normal((n, dim))
    if topics is not None:
        rows = (
            0.7 * rows + 2 * np.random.default_rng(99).standard_normal((topics, dim))[random.integers(topics, size=n)]
        )
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def names(n, first=0):
    return [f"image {i}.jpg" for i in range(first, first + n)]


def by_hand(vectors, query, top):
    """Scores and rows of the best vectors; the first of equal ones comes first."""
    scores = [math.fsum(float(a) * float(b) for a, b in zip(row, query, strict=True)) for row in vectors]
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:top]
    return [scores[i] for i in order], order


def same(one, other):
    return np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


@pytest.fixture
def filled(tmp_path):
    """An index of 40 vectors in three segments, the last of them with cells."""
    index = VectorIndex.create(tmp_path / "index", 16, exact_up_to=20, metadata={"model": "6f1e"})
    vectors = unit(40)
    for first, last in ((0, 5), (5, 10), (10, 40)):
        index.append(names(last - first, first), vectors[first:last])
    return index


# -- what is found ---------------------------------------------------------------------------------


def test_finds_what_a_sort_by_hand_finds(filled):
    queries = unit(5, seed=1)
    scores, ids = open_index(filled.folder).search(queries, top=7, probes=None)
    for i, query in enumerate(queries):
        expected, rows = by_hand(unit(40), query, 7)
        np.testing.assert_allclose(scores[i], expected, rtol=1e-6, atol=1e-7)
        assert ids[i].tolist() == [f"image {row}.jpg" for row in rows]
    assert (scores.dtype, scores.shape, ids.shape) == (np.float32, (5, 7), (5, 7))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_neither_pieces_nor_packing_change_a_result(tmp_path_factory, data):
    """Vectors repeat, so that ties are frequent, within pieces and across them."""
    dim = data.draw(st.sampled_from([1, 2, 3, 17]))
    n = data.draw(st.integers(1, 30))
    vectors = unit(8, dim, seed=dim)[data.draw(st.lists(st.integers(0, 7), min_size=n, max_size=n))]
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    top = data.draw(st.integers(1, 35))
    exact_up_to = data.draw(st.sampled_from([1, 5, 100]))
    queries = np.concatenate([unit(3, dim, seed=1), unit(8, dim, seed=dim)[:2]])

    folder = tmp_path_factory.mktemp("pieces")
    index = VectorIndex.create(folder / "index", dim, exact_up_to=exact_up_to)
    for first, last in zip([0, *cuts], [*cuts, n], strict=True):
        index.append(names(last - first, first), vectors[first:last])
    found = index.search(queries, top, probes=None)
    for i, query in enumerate(queries):
        assert found[1][i].tolist() == [f"image {row}.jpg" for row in by_hand(vectors, query, top)[1]]
    at_once = VectorIndex.create(folder / "other", dim)
    at_once.append(names(n), vectors)
    assert same(found, at_once.search(queries, top))
    index.pack()
    assert same(found, index.search(queries, top, probes=None))
    assert same(found, index.search(queries, top, probes=1000))
    assert index.ids() == names(n)


def test_a_result_does_not_depend_on_the_other_queries(filled):
    queries = unit(300, seed=3)
    scores, ids = filled.search(queries, 5, probes=2)
    alone = [filled.search(query[None], 5, probes=2) for query in queries]
    assert same((scores, ids), (np.concatenate([s for s, _ in alone]), np.concatenate([i for _, i in alone])))


def test_few_cells_find_nearly_all(tmp_path):
    index = VectorIndex.create(tmp_path / "index", 48, exact_up_to=1000)
    index.append(names(6000), unit(6000, 48, topics=300))
    queries = unit(100, 48, seed=2, topics=300)
    exact, quick = index.search(queries, probes=None)[1], index.search(queries, probes=12)[1]
    found = sum(len(set(a) & set(b)) for a, b in zip(exact.tolist(), quick.tolist(), strict=True)) / exact.size
    cells = np.load(index.folder / "segment-00000/cells.npy")
    assert len(cells) == 155  # two times the root of 6000: a search looks at less than a tenth
    assert found > 0.95


def test_there_are_as_many_results_as_asked_for_however_few_the_cells(filled):
    scores, ids = filled.search(unit(3, seed=1), top=39, probes=1)
    assert scores.shape == ids.shape == (3, 39)
    assert (np.diff(scores) <= 0).all()
    assert filled.search(unit(3, seed=1), top=1000, probes=1)[0].shape == (3, 40)


def test_an_empty_index_and_no_queries(tmp_path, filled):
    empty = VectorIndex.create(tmp_path / "empty", 16)
    empty.append([], np.empty((0, 16)))
    empty.pack()
    assert (len(empty), empty.ids(), empty.search(unit(2))[0].shape) == (0, [], (2, 0))
    assert filled.search(np.empty((0, 16)), 3)[1].shape == (0, 3)


def test_vectors_of_other_types_and_mapped_ones(tmp_path):
    vectors = unit(20_000, 8)
    np.save(tmp_path / "vectors.npy", vectors.astype(np.float16))
    index = VectorIndex.create(tmp_path / "index", 8)
    index.append(names(20_000), np.load(tmp_path / "vectors.npy", mmap_mode="r"))
    _, ids = index.search(vectors[[3, 9000, 19_999]].astype(np.float64), 1)
    assert ids.ravel().tolist() == ["image 3.jpg", "image 9000.jpg", "image 19999.jpg"]


# -- cells -----------------------------------------------------------------------------------------


def test_cells_gather_what_is_near():
    vectors = unit(500, topics=5)
    cells = train_cells(vectors, 20)
    cell, nearness = nearest_cell(vectors, cells)
    products = vectors.astype(np.float64) @ cells.T
    np.testing.assert_allclose(np.linalg.norm(cells, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(nearness, products.max(axis=1), rtol=1e-5)
    np.testing.assert_allclose(products[np.arange(500), cell], nearness, rtol=1e-5)
    np.testing.assert_array_equal(cells, train_cells(vectors, 20))
    random_cells = vectors[np.random.default_rng(0).choice(500, 20, replace=False)]
    assert nearness.mean() > nearest_cell(vectors, random_cells)[1].mean()


def test_cells_of_vectors_that_are_all_alike_or_cancel():
    alike = np.tile(unit(1), (10, 1))
    np.testing.assert_allclose(train_cells(alike, 4), alike[:4], rtol=1e-6)
    opposite = np.array([[1, 0], [-1, 0]] * 5, np.float32)
    assert np.linalg.norm(train_cells(opposite, 1)) == 1


# -- the folder ------------------------------------------------------------------------------------


def test_other_programs_can_read_the_folder(filled):
    for segment in sorted(filled.folder.glob("segment-*")):
        table, vectors = pq.read_table(segment / "ids.parquet"), np.load(segment / "vectors.npy")
        positions = table["position"].to_numpy()
        np.testing.assert_array_equal(vectors, unit(40)[positions])
        assert table["id"].to_pylist() == [f"image {position}.jpg" for position in positions]
    assert [path.name for path in sorted(filled.folder.glob("segment-*/cells.npy"))] == ["cells.npy"]


def test_opening_gives_back_everything(filled):
    index = open_index(str(filled.folder))
    assert (len(index), index.dim, index.exact_up_to, index.metadata) == (40, 16, 20, {"model": "6f1e"})
    assert index.ids() == names(40)
    assert same(index.search(unit(3)), filled.search(unit(3)))


def test_two_objects_append_in_turn_and_an_open_one_stays_as_it_was(filled):
    other, onlooker = open_index(filled.folder), open_index(filled.folder)
    filled.append(["a"], unit(1, seed=5))
    other.append(["b"], unit(1, seed=6))
    filled.pack()
    assert open_index(filled.folder).ids() == [*names(40), "a", "b"]
    assert len(onlooker) == 40
    assert onlooker.search(unit(40)[:1], 1)[1].tolist() == [["image 0.jpg"]]
    assert [path.name for path in filled.folder.glob("segment-*")] == ["segment-00005"]


def test_one_writer_at_a_time(filled):
    with one_writer(filled.folder):
        with pytest.raises(BlockingIOError, match="being written to by another program"):
            filled.append(["a"], unit(1))
        with pytest.raises(BlockingIOError, match="try again"):
            filled.pack()
        assert len(open_index(filled.folder)) == 40
    filled.append(["a"], unit(1))
    assert len(filled) == 41


KILLED = """
import os, shutil, signal, sys
import numpy as np
from rnnfv.storage import _index_record, index

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def die_at_a_segment(path, ignore_errors, remove=shutil.rmtree):
    die() if path.name.startswith("segment-") else remove(path, ignore_errors)

opened = index.open_index(sys.argv[1])
if sys.argv[2] == "before the record":
    _index_record.IndexRecord.write = die
elif sys.argv[2] == "in the segment":
    np.lib.format.write_array_header_1_0 = die
elif sys.argv[2] == "before the old ones go":
    shutil.rmtree = die_at_a_segment
opened.pack() if sys.argv[2] == "before the old ones go" else opened.append(["new"], np.eye(1, 16))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("when", ["in the segment", "before the record", "before the old ones go"])
def test_a_kill_leaves_the_index_whole(filled, when):
    before = filled.search(unit(5), probes=None)
    done = subprocess.run([sys.executable, "-c", KILLED, filled.folder, when], check=False)
    assert done.returncode == -signal.SIGKILL
    index = open_index(filled.folder)
    assert index.ids() == names(40)
    assert same(before, index.search(unit(5), probes=None))
    index.append(["new"], np.eye(1, 16))
    assert open_index(filled.folder).ids() == [*names(40), "new"]
    found = {path.name for path in filled.folder.iterdir()}
    entries = json.loads((filled.folder / "index.json").read_text())["segments"]
    assert found == {".lock", "index.json", *(f"segment-{entry['number']:05d}" for entry in entries)}


# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vectors.npy", "ids.parquet", "cells.npy", "starts.npy"])
def test_a_file_that_is_cut_short_or_missing_is_named(filled, name):
    path = filled.folder / "segment-00002" / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match=rf"{name} has \d+ bytes, not \d+: it was cut short"):
        open_index(filled.folder)
    path.unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        open_index(filled.folder)


@pytest.mark.parametrize("name", ["vectors.npy", "ids.parquet", "cells.npy", "starts.npy"])
def test_a_file_of_the_right_size_that_is_something_else(filled, name):
    path = filled.folder / "segment-00002" / name
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        open_index(filled.folder)


def test_nothing_is_unpickled(filled):
    path = filled.folder / "segment-00000/vectors.npy"
    np.save(path, np.array([print], dtype=object), allow_pickle=True)
    _resize(filled.folder, path)
    with pytest.raises(ValueError, match=r"vectors\.npy is damaged"):
        open_index(filled.folder)


def test_arrays_of_another_shape_or_order(filled):
    folder = filled.folder / "segment-00002"
    for name, array, message in [
        ("vectors.npy", np.zeros((30, 15), np.float32), "belongs to another index"),
        ("vectors.npy", np.zeros((30, 16)), "float64 of shape"),
        ("cells.npy", np.zeros(16, np.float32), "belongs to another index"),
        ("starts.npy", np.arange(12)[::-1].copy(), r"starts\.npy is damaged"),
    ]:
        data, record = (folder / name).read_bytes(), (filled.folder / "index.json").read_bytes()
        np.save(folder / name, array)
        _resize(filled.folder, folder / name)
        with pytest.raises(ValueError, match=message):
            open_index(filled.folder)
        (folder / name).write_bytes(data)
        (filled.folder / "index.json").write_bytes(record)


def _resize(index: Path, path: Path) -> None:
    """Note the size of a file that was changed on purpose."""
    record = json.loads((index / "index.json").read_text())
    record["segments"][int(path.parent.name[-1])]["files"][path.name] = path.stat().st_size
    (index / "index.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: "[]", "damaged"),
        (lambda text: "[" * 100_000, "damaged"),
        (lambda text: text.replace("rnnfv-index", "rnnfv-model"), "not the record of a vector index"),
        (lambda text: text.replace('"format_version": 1', '"format_version": 2'), "install a newer rnnfv"),
        (lambda text: text.replace('"dim": 16', '"dim": "16"'), "lacks a field or holds a wrong one"),
        (lambda text: text.replace('"rows": 5', '"rows": -5'), "lacks a field or holds a wrong one"),
        (lambda text: text.replace('"rows": 5', '"rows": 4'), "belongs to another index"),
        (lambda text: text.replace('"metadata"', '"other"'), "lacks a field"),
    ],
)
def test_a_record_that_is_wrong(filled, change, message):
    path = filled.folder / "index.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=message):
        open_index(filled.folder)


def test_no_index_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="not the folder of a vector index"):
        open_index(tmp_path)


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "vectors", "message"),
    [
        (["a", "b"], unit(1), "2 ids for 1 vectors"),
        (["a", 3], unit(2), "the id of vector 1 must be a string"),
        ([""], unit(1), "the id of vector 0 must be a string that is not empty"),
        (["a", "b", "a"], unit(3), "the id 'a' of vector 2 occurs twice"),
        (["image 17.jpg"], unit(1), r"the id 'image 17\.jpg' is in .* already"),
        (["\udc80"], unit(1), "not text that UTF-8 can hold"),
        (["a"], unit(1)[:, :-1], r"shape \(n, 16\), one vector a row; got float32 of shape \(1, 15\)"),
        (["a"], unit(1)[0], r"got float32 of shape \(16,\)"),
        (["a"], np.full((1, 16), "x"), "give an array of numbers"),
        (["a", "b"], unit(2) * [[1], [2]], "vector 1 has length 2, not 1"),
        (["a"], np.zeros((1, 16)), "vector 0 has length 0, not 1"),
        (["a"], np.full((1, 16), np.nan), "vector 0 has a NaN or infinite value"),
        (["a", "b"], unit(2) * [[1], [np.inf]], "vector 1 has a NaN or infinite value"),
    ],
)
def test_bad_vectors_and_ids_are_named_and_nothing_is_written(filled, ids, vectors, message):
    before = sorted(filled.folder.rglob("*"))
    with pytest.raises(ValueError, match=message):
        filled.append(ids, vectors)
    assert (len(filled), sorted(filled.folder.rglob("*"))) == (40, before)


def test_a_bad_vector_far_behind_is_named(tmp_path):
    vectors = unit(10_000, 4)
    vectors[9000] *= 1.01
    with pytest.raises(ValueError, match=r"vector 9000 has length 1\.01, not 1"):
        VectorIndex.create(tmp_path / "index", 4).append(names(10_000), vectors)


def test_bad_queries(filled):
    with pytest.raises(ValueError, match="query 1 has length 3, not 1"):
        filled.search(unit(2) * [[1], [3]])
    with pytest.raises(ValueError, match="one query a row"):
        filled.search(unit(1, 15))
    for wrong in ({"top": 0}, {"probes": 0}):
        with pytest.raises(ValueError, match="top and probes must be 1 or more"):
            filled.search(unit(1), **wrong)


def test_create_refuses_what_it_cannot_do(tmp_path, filled):
    with pytest.raises(ValueError, match="is there already"):
        VectorIndex.create(filled.folder, 16)
    with pytest.raises(ValueError, match="must be 1 or more"):
        VectorIndex.create(tmp_path / "new", 0)
    for metadata in ({"a": {1, 2}}, {"a": math.nan}):
        with pytest.raises(TypeError, match="the metadata cannot be written as JSON"):
            VectorIndex.create(tmp_path / "new", 2, metadata=metadata)
    assert not (tmp_path / "new").exists()
    VectorIndex.create(tmp_path / "new", 2)
