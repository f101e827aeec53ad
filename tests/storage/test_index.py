"""The vector index against sums of exactly rounded products, one vector at a time."""

from __future__ import annotations

import hashlib
import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnfv.storage.index import VectorIndex, open_index

faiss = pytest.importorskip("faiss", reason="faiss is not installed")


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


def check(found, vectors, queries, top):
    """That scores fall and are right, that no other vector is better, and that equal ones are in order of position."""
    scores, ids = found
    assert scores.shape == ids.shape == (len(queries), min(top, len(vectors)))
    assert scores.dtype == np.float32
    rows = [[int(name.split()[1].removesuffix(".jpg")) for name in some] for some in ids.tolist()]
    for of_query, positions, query in zip(scores, rows, queries, strict=True):
        exact = [math.fsum(float(a) * float(b) for a, b in zip(row, query, strict=True)) for row in vectors]
        np.testing.assert_allclose(of_query, sorted(exact, reverse=True)[: len(of_query)], atol=1e-6)
        np.testing.assert_allclose(of_query, [exact[i] for i in positions], atol=1e-6)
        assert len(set(positions)) == len(positions)
        assert sorted(zip(-of_query, positions, strict=True)) == list(zip(-of_query, positions, strict=True))


def same(one, other):
    return np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1])


def kinds(index):
    """How the files of an index's segments begin, in the words of faiss."""
    files = sorted(index.folder.glob("segment-*/vectors.faiss"))
    return [{b"IxFI": "flat", b"IwFl": "cells"}[path.read_bytes()[:4]] for path in files]


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
    check(open_index(filled.folder).search(queries, top=7, probes=None), unit(40), queries, 7)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_neither_pieces_nor_packing_change_a_result(tmp_path_factory, data):
    """Vectors repeat, so that ties are frequent, within pieces and across them."""
    dim = data.draw(st.sampled_from([1, 2, 3, 17]))
    n = data.draw(st.integers(1, 30))
    vectors = unit(8, dim, seed=dim)[data.draw(st.lists(st.integers(0, 7), min_size=n, max_size=n))]
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    top = data.draw(st.integers(1, 35))
    queries = np.concatenate([unit(3, dim, seed=1), unit(8, dim, seed=dim)[:2]])

    folder = tmp_path_factory.mktemp("pieces")
    index = VectorIndex.create(folder / "index", dim, exact_up_to=data.draw(st.sampled_from([1, 5, 100])))
    for first, last in zip([0, *cuts], [*cuts, n], strict=True):
        index.append(names(last - first, first), vectors[first:last])
    check(index.search(queries, top, probes=None), vectors, queries, top)
    index.pack()
    check(index.search(queries, top, probes=None), vectors, queries, top)
    check(index.search(queries, top, probes=1000), vectors, queries, top)
    assert index.ids() == names(n)


def test_many_queries_at_once(filled):
    queries = unit(300, seed=3)
    check(filled.search(queries, 5, probes=None), unit(40), queries, 5)


def test_few_cells_find_nearly_all(tmp_path):
    index = VectorIndex.create(tmp_path / "index", 48, exact_up_to=1000)
    index.append(names(6000), unit(6000, 48, topics=300))
    queries = unit(100, 48, seed=2, topics=300)
    exact, quick = index.search(queries, probes=None)[1], index.search(queries, probes=12)[1]
    found = sum(len(set(a) & set(b)) for a, b in zip(exact.tolist(), quick.tolist(), strict=True)) / exact.size
    segment = faiss.read_index(str(index.folder / "segment-00000/vectors.faiss"))
    assert segment.nlist == 155  # two times the root of 6000: a search looks at less than a tenth
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


def test_vectors_that_are_all_alike_can_have_cells(tmp_path):
    index = VectorIndex.create(tmp_path / "index", 16, exact_up_to=5)
    index.append(names(50), np.tile(unit(1), (50, 1)))
    assert kinds(index) == ["cells"]
    assert len(set(index.search(unit(1), 50, probes=1)[1][0])) == 50


def test_packing_joins_what_is_small_and_leaves_what_is_large(tmp_path):
    vectors = unit(200)
    index = VectorIndex.create(tmp_path / "index", 16, exact_up_to=50)
    sizes = []
    for first, last in ((0, 100), (100, 110), (110, 120), (120, 125), (125, 150), (150, 200)):
        index.append(names(last - first, first), vectors[first:last])
        index.pack()
        sizes.append([len(segment) for segment in index._segments])
    assert sizes == [[100], [100, 10], [100, 20], [100, 20, 5], [100, 50], [200]]
    assert kinds(index) == ["cells"]
    check(index.search(unit(9, seed=1), 12, probes=None), vectors, unit(9, seed=1), 12)
    assert open_index(index.folder).ids() == names(200)


def test_packing_keeps_every_bit_of_a_vector(filled):
    filled.pack()
    assert kinds(filled) == ["cells"]
    index = faiss.read_index(str(next(filled.folder.glob("segment-*/vectors.faiss"))))
    np.testing.assert_array_equal(index.reconstruct_n(0, 40), unit(40))


def test_the_same_vectors_give_the_same_files(tmp_path):
    found = []
    for name in "ab":
        index = VectorIndex.create(tmp_path / name, 16, exact_up_to=20)
        index.append(names(300), unit(300))
        found.append((index.folder / "index.json").read_bytes())
    assert found[0] == found[1]


# -- the folder ------------------------------------------------------------------------------------


def test_other_programs_can_read_the_folder(filled):
    first = 0
    for segment in sorted(filled.folder.glob("segment-*")):
        vectors = faiss.read_index(str(segment / "vectors.faiss"))
        rows = vectors.reconstruct_n(0, vectors.ntotal)
        np.testing.assert_array_equal(rows, unit(40)[first : first + len(rows)])
        assert pq.read_table(segment / "ids.parquet")["id"].to_pylist() == names(len(rows), first)
        first += len(rows)
    assert kinds(filled) == ["flat", "flat", "cells"]


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_vectors_are_mapped_and_not_read_into_memory(filled):
    index = open_index(filled.folder)
    assert len(index) == 40
    assert Path("/proc/self/maps").read_text().count(str(filled.folder)) >= 3


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
    assert sorted(path.name[-1] for path in filled.folder.glob("segment-*")) == ["0", "1", "2", "5"]


def test_one_writer_at_a_time(filled):
    with FileLock(filled.folder / ".lock"):
        with pytest.raises(BlockingIOError, match="another program is writing to"):
            filled.append(["a"], unit(1))
        with pytest.raises(BlockingIOError, match="try again"):
            filled.pack()
        assert len(open_index(filled.folder)) == 40
    filled.append(["a"], unit(1))
    assert len(filled) == 41


KILLED = """
import os, shutil, signal, sys
import numpy as np
from rnnfv.storage import _index_record, _segment, index

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def die_at_a_segment(path, ignore_errors, remove=shutil.rmtree):
    die() if path.name.startswith("segment-") else remove(path, ignore_errors)

opened = index.open_index(sys.argv[1])
if sys.argv[2] == "before the record":
    _index_record.IndexRecord.write = die
elif sys.argv[2] == "in the segment":
    _segment.pq.write_table = die
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
    segments = json.loads((filled.folder / "index.json").read_text())["segments"]
    assert found - {".lock"} == {"index.json", *segments}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
@pytest.mark.parametrize("n", [3, 3000])
def test_a_disk_that_is_full_is_told_and_leaves_the_index_whole(filled, n):
    """Of 3 vectors all of the file is still in a buffer when it is closed."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            filled.append([f"new {i}" for i in range(n)], unit(n))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert open_index(filled.folder).ids() == names(40)


# -- damage ----------------------------------------------------------------------------------------

FILES = ["segment-00000/vectors.faiss", "segment-00002/vectors.faiss", "segment-00002/ids.parquet"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_damaged_or_missing_is_named(filled, name):
    path = filled.folder / name
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (whole[:-7], flipped, b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is not as it was written: copy it again"):
            open_index(filled.folder)
    path.unlink()
    with pytest.raises(ValueError, match=f"{name} is missing"):
        open_index(filled.folder)


def forge(index, name, content):
    """Change a file, and its checksum too, as one may who wants to do harm."""
    path = index.folder / name
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(content)
    record = index.folder / "index.json"
    record.write_text(record.read_text().replace(before, hashlib.sha256(content).hexdigest()))


def faiss_file(kind, dim=16, n=30, metric=faiss.METRIC_INNER_PRODUCT):
    index = faiss.index_factory(dim, kind, metric)
    index.train(unit(n, dim))
    index.add(unit(n, dim))
    return faiss.serialize_index(index).tobytes()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"kind": "HNSW4,Flat"}, "is not an index that rnnfv wrote"),
        ({"kind": "SQ8"}, "is not an index that rnnfv wrote"),
        ({"kind": "IVF1_HNSW4,Flat"}, "is not an index that rnnfv wrote"),
        ({"kind": "Flat", "metric": faiss.METRIC_L2}, "is not an index that rnnfv wrote"),
        ({"kind": "Flat", "dim": 15}, "its vectors are of another index"),
        ({"kind": "IVF1,Flat", "dim": 17}, "its vectors are of another index"),
        ({"kind": "Flat", "n": 29}, "not one id for each vector"),
    ],
)
def test_another_index_of_faiss_is_refused_though_its_checksum_is_right(filled, kind, message):
    forge(filled, "segment-00002/vectors.faiss", faiss_file(**kind))
    with pytest.raises(ValueError, match=message):
        open_index(filled.folder)


def test_a_file_that_says_it_is_larger_than_it_is(filled):
    for name in FILES[:2]:
        content = bytearray((filled.folder / name).read_bytes())
        content[8:16] = (10**12).to_bytes(8, "little")
        forge(filled, name, bytes(content))
        with pytest.raises(ValueError, match=r"its size is not what it says|do not hold all vectors"):
            open_index(filled.folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: text.replace("rnnfv-index", "rnnfv-model"),
        lambda text: text.replace('"dim": 16', '"dim": "16"'),
        lambda text: text.replace('"dim": 16', '"dim": -16'),
        lambda text: text.replace('"metadata"', '"other"'),
        lambda text: text.replace("segment-00001", "../segment-00001"),
        lambda text: json.dumps(json.loads(text) | {"segments": [1]}),
        lambda text: json.dumps(json.loads(text) | {"segments": {"segment-00000": "x"}}),
    ],
)
def test_a_record_that_is_wrong(filled, change):
    path = filled.folder / "index.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=r"index\.json is damaged or not of a vector index"):
        open_index(filled.folder)


def test_a_newer_format(filled):
    path = filled.folder / "index.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(ValueError, match="was written by a newer rnnfv"):
        open_index(filled.folder)


def test_without_faiss_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ImportError, match=r"pip install 'rnnfv\[search\]'"):
        VectorIndex.create(tmp_path / "index", 4)
    assert not (tmp_path / "index").exists()


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
    with pytest.raises(ValueError, match="must be integers, 1 or more"):
        VectorIndex.create(tmp_path / "new", 0)
    for metadata in ({"a": {1, 2}}, {"a": math.nan}):
        with pytest.raises(TypeError, match="the metadata cannot be written as JSON"):
            VectorIndex.create(tmp_path / "new", 2, metadata=metadata)
    assert not (tmp_path / "new").exists()
    VectorIndex.create(tmp_path / "new", 2)
