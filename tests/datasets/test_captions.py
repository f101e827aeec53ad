"""Captions and image vectors: the field's formats, made small here, and what may be wrong with them."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from rnnfv.datasets.captions import read_captions
from rnnfv.datasets.image_vectors import read_image_vectors
from rnnfv.storage import write_features

MATLAB_5 = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
MATLAB_73 = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM"
FLICKR8K = Path(os.environ.get("RNNFV_DATA", "../shared/data")) / "flickr8k"


def sentence(raw):
    return {"raw": raw, "tokens": raw.lower().strip(" .").split()}


def images():
    """Six, as in COCO's file: folders, all splits, one to seven sentences each, some without tokens."""
    return [
        {"filepath": "train2014", "filename": "1.jpg", "split": "train", "sentences": [sentence("A dog .")] * 5},
        {"filepath": "val2014", "filename": "1.jpg", "split": "val", "sentences": [{"raw": "Two cats."}]},
        {"filepath": "val2014", "filename": "3.jpg", "split": "restval", "sentences": [sentence("A cat .")] * 7},
        {"filename": "4.jpg", "split": "test", "sentences": [sentence("b"), {"tokens": ["c", "d"]}]},
        {"filename": "5.jpg", "split": "val", "sentences": [sentence("e"), sentence("f g")]},
        {"filename": "6.jpg", "split": "train", "sentences": [sentence("h")]},
    ]


def written(folder, entries):
    path = folder / "dataset_mine.json"
    path.write_text(json.dumps({"images": entries, "dataset": "mine"}))
    return path


@pytest.fixture
def captions(tmp_path):
    return read_captions(written(tmp_path, images()))


def test_a_json_file_is_read_whole(captions):
    assert captions.filenames.tolist()[:4] == ["train2014/1.jpg", "val2014/1.jpg", "val2014/3.jpg", "4.jpg"]
    assert captions.splits.tolist() == ["train", "val", "train", "test", "val", "train"]
    assert captions.image_of_sentence.tolist() == [0] * 5 + [1] + [2] * 7 + [3, 3, 4, 4, 5]
    assert captions.sentences[:1] + captions.sentences[5:7] == [["a", "dog"], "Two cats.", ["a", "cat"]]
    assert captions.raw[13:15] == ["b", "c d"]
    assert captions.sentence_ids[4:7] == ["train2014/1.jpg#4", "val2014/1.jpg#0", "val2014/3.jpg#0"]
    assert len(set(captions.sentence_ids)) == len(captions.raw) == len(captions.tokens)


def test_a_part_has_its_own_numbers(captions):
    part = captions.part("val")
    assert part.filenames.tolist() == ["val2014/1.jpg", "5.jpg"]
    assert part.rows.tolist() == [1, 4]
    assert part.image_of_sentence.tolist() == [0, 1, 1]
    assert part.sentences == ["Two cats.", ["e"], ["f", "g"]]
    assert part.sentence_ids == ["val2014/1.jpg#0", "5.jpg#0", "5.jpg#1"]
    assert captions.part("train").rows.tolist() == [0, 2, 5]
    with pytest.raises(ValueError, match="there is no split 'dev'; there are test, train, val"):
        captions.part("dev")


def test_images_are_taken_in_the_order_asked_for(captions):
    taken = captions.take([5, 1])
    assert taken.rows.tolist() == [5, 1]
    assert taken.raw == ["h", "Two cats."]
    assert taken.image_of_sentence.tolist() == [0, 1]
    assert taken.take([1]).rows.tolist() == [1]
    assert captions.take(captions.splits == "val").sentence_ids == captions.part("val").sentence_ids
    assert captions.take([-1]).filenames.tolist() == ["6.jpg"]
    with pytest.raises(IndexError, match="out of bounds"):
        captions.take([6])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e[1].update(filename="3.jpg"), r"the image 'val2014/3.jpg' comes a second time"),
        (lambda e: e[3].update(sentences=[]), r"the image '4.jpg' has no sentence"),
        (lambda e: e[4].pop("split"), r'image 4 must have "filename", "split" and "sentences"'),
        (lambda e: e.insert(0, "1.jpg"), r'image 0 must have "filename"'),
        (lambda e: e[3]["sentences"].append({"tokens": "a b"}), r"image 3 \('4.jpg'\) has a sentence without .raw."),
        (lambda e: e[3]["sentences"].append({"sentid": 3}), r"image 3 \('4.jpg'\) has a sentence"),
        (lambda e: e.clear(), "has no images"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, change, message):
    entries = images()
    change(entries)
    with pytest.raises(ValueError, match=message):
        read_captions(written(tmp_path, entries))


@pytest.mark.parametrize("text", ["", "[1, 2", "[]", '{"annotations": []}', "\x00\x01"])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ValueError, match=r"x\.json (is not a JSON file|has no images)"):
        read_captions(tmp_path / "x.json")
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read_captions(tmp_path / "none.json")


# -- Flickr8k's own lists --------------------------------------------------------------------------


@pytest.fixture
def lists(tmp_path):
    lines = [f"{name}.jpg#{k}\tSentence {k} of {name} ." for name in ("b", "a", "c", "unused") for k in range(5)]
    (tmp_path / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    for name, listed in (("train", "c.jpg\nb.jpg\n"), ("dev", "a.jpg\r\n"), ("test", "")):
        (tmp_path / f"Flickr_8k.{name}Images.txt").write_text(listed, newline="")
    return tmp_path


def test_the_official_lists_are_read(lists):
    captions = read_captions(lists)
    assert captions.filenames.tolist() == ["c.jpg", "b.jpg", "a.jpg"]
    assert captions.splits.tolist() == ["train", "train", "val"]
    assert captions.part("val").sentences == [f"Sentence {k} of a ." for k in range(5)]
    assert captions.part("val").sentence_ids[4] == "a.jpg#4"


def test_lists_that_do_not_fit_are_refused(lists):
    (lists / "Flickr_8k.testImages.txt").write_text("d.jpg\n")
    with pytest.raises(ValueError, match=r"'d.jpg' has no sentence"):
        read_captions(lists)
    (lists / "Flickr_8k.testImages.txt").write_text("c.jpg\n")
    with pytest.raises(ValueError, match=r"'c.jpg' comes a second time"):
        read_captions(lists)
    (lists / "Flickr8k.token.txt").write_text("b.jpg#0\tfine\nno tab here\n")
    with pytest.raises(ValueError, match=r"token\.txt, line 2 is not <image>"):
        read_captions(lists)
    (lists / "Flickr8k.token.txt").write_bytes(b"b.jpg#0\tna\xefve\n")
    with pytest.raises(ValueError, match=r"token\.txt is not UTF-8"):
        read_captions(lists)
    (lists / "Flickr8k.token.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"Flickr8k\.token\.txt"):
        read_captions(lists)


# -- image vectors ---------------------------------------------------------------------------------


@pytest.fixture
def vectors(rng):
    return rng.normal(size=(6, 4)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npy_is_mapped(tmp_path, captions, vectors, dtype):
    np.save(tmp_path / "v.npy", vectors.astype(dtype))
    read = read_image_vectors(tmp_path / "v.npy", captions)
    assert isinstance(read, np.memmap)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, vectors.astype(dtype))
    np.testing.assert_array_equal(read[captions.part("val").rows], vectors[[1, 4]].astype(dtype))


def test_mat_is_turned(tmp_path, captions, vectors):
    scipy.io.savemat(tmp_path / "vgg_feats.mat", {"feats": vectors.T, "other": np.ones(3)})
    np.testing.assert_array_equal(read_image_vectors(tmp_path / "vgg_feats.mat", captions), vectors)
    scipy.io.savemat(tmp_path / "small.mat", {"feats": vectors.T}, do_compression=True)
    np.testing.assert_array_equal(read_image_vectors(tmp_path / "small.mat", captions), vectors)
    scipy.io.savemat(tmp_path / "else.mat", {"features": vectors.T})
    with pytest.raises(ValueError, match=r"else\.mat has no matrix 'feats'"):
        read_image_vectors(tmp_path / "else.mat", captions)


def write_mat73(path, **matrices):
    """MATLAB's format 7.3: HDF5 behind a head of 512 bytes, matrices turned."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, matrix in matrices.items():
            file[name] = matrix.T
    with path.open("r+b") as file:
        file.write(MATLAB_73)


def test_mat_of_format_73_is_turned(tmp_path, captions, vectors):
    write_mat73(tmp_path / "v.mat", feats=vectors.T)
    np.testing.assert_array_equal(read_image_vectors(tmp_path / "v.mat", captions), vectors)
    write_mat73(tmp_path / "else.mat", features=vectors.T)
    with pytest.raises(ValueError, match=r"else\.mat has no matrix 'feats'"):
        read_image_vectors(tmp_path / "else.mat", captions)


def test_format_73_without_h5py_names_the_extra(tmp_path, captions, monkeypatch):
    (tmp_path / "v.mat").write_bytes(MATLAB_73 + b"\x00" * 512)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"needs h5py: pip install 'rnnfv\[matlab\]'"):
        read_image_vectors(tmp_path / "v.mat", captions)


def spoilt(vectors, row):
    vectors = vectors.copy()
    vectors[row, 1] = np.inf
    return vectors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v[:5], r"vectors of 5 images, but there are 6 images"),
        (lambda v: v.T, r"vectors of 4 images, but there are 6 images: it looks transposed"),
        (lambda v: spoilt(v, 4), r"the vector of image 4 \(5.jpg\) has a NaN or infinite value"),
        (lambda v: v.astype(int), r"holds int64 of shape \(6, 4\): expected floats"),
        (lambda v: v[0], r"holds float32 of shape \(4,\)"),
        (lambda v: v.astype(object), "not an .npy file of numbers"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(tmp_path, captions, vectors, change, message):
    np.save(tmp_path / "v.npy", change(vectors), allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        read_image_vectors(tmp_path / "v.npy", captions)


@pytest.mark.parametrize("name", ["v.npy", "v.mat", "v.npz"])
@pytest.mark.parametrize("data", [b"", b"\x93NUMPY\x01\x00", b"neither", MATLAB_5 + b"\xff"])
def test_damaged_files_are_refused(tmp_path, captions, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=name):
        read_image_vectors(tmp_path / name, captions)
    with pytest.raises(FileNotFoundError, match="none"):
        read_image_vectors(tmp_path / f"none{name}", captions)


# -- image vectors that are features ---------------------------------------------------------------


def write_shards(folder, ids, vectors, steps=1):
    """Two shards, the ids shuffled."""
    order = np.random.default_rng(3).permutation(len(ids))
    for k, some in enumerate(np.array_split(order, 2)):
        write_features(folder, [ids[i] for i in some], [vectors[i][None].repeat(steps, 0) for i in some], shard=k)
    return folder


@pytest.mark.parametrize("change", [lambda name: name, lambda name: f"coco/{name}"], ids=["same", "below"])
def test_features_are_found_by_filename(tmp_path, captions, vectors, change):
    captions = captions.take(slice(1, None))  # then the last parts of names are different
    ids = [change(name) for name in captions.filenames.tolist()] + ["another.jpg"]
    folder = write_shards(tmp_path / "features", ids, vectors)
    read = read_image_vectors(folder, captions)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, vectors[:5])
    np.testing.assert_array_equal(read_image_vectors(folder / "part-00000.parquet", captions.take([])), vectors[:0])


def test_features_with_equal_last_parts_are_found_by_whole_names(tmp_path, captions, vectors):
    folder = write_shards(tmp_path / "features", captions.filenames.tolist(), vectors)
    np.testing.assert_array_equal(read_image_vectors(folder, captions), vectors)
    ids = [f"coco/{name}" for name in captions.filenames.tolist()]
    folder = write_shards(tmp_path / "below", ids, vectors)
    with pytest.raises(
        ValueError,
        match=r"below has no vectors of 6 of the 6 images \(train2014/1.jpg, val2014/1.jpg, val2014/3.jpg, \.\.\.",
    ):
        read_image_vectors(folder, captions)
    one = captions.take([0])  # the features' last parts are not all different: a name could mean two
    with pytest.raises(ValueError, match=r"no vectors of 1 of the 1 images \(train2014/1\.jpg\): extract"):
        read_image_vectors(folder, one)


def test_features_that_do_not_fit_are_refused(tmp_path, captions, vectors):
    names = captions.filenames.tolist()
    folder = write_shards(tmp_path / "missing", names[:4], vectors)
    with pytest.raises(ValueError, match=r"missing has no vectors of 2 of the 6 images \(5.jpg, 6.jpg\): extract"):
        read_image_vectors(folder, captions)
    folder = write_shards(tmp_path / "videos", names, vectors, steps=2)
    with pytest.raises(ValueError, match=r"videos: train2014/1.jpg has 2 steps, but an image has one"):
        read_image_vectors(folder, captions)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty holds no \.parquet file"):
        read_image_vectors(tmp_path / "empty", captions)
    (folder / "part-00001.parquet").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"part-00001\.parquet is damaged"):
        read_image_vectors(folder, captions)


def test_flickr8k_as_it_is():
    if not FLICKR8K.is_dir():
        pytest.skip(f"no {FLICKR8K}: set RNNFV_DATA to where the data are")
    captions = read_captions(FLICKR8K / "dataset_flickr8k.json")
    vectors = read_image_vectors(FLICKR8K / "mobilenet_edgetpu.npy", captions)
    assert vectors.shape == (7000, 1280)
    assert {split: len(captions.part(split).filenames) for split in ("train", "val")} == {"train": 6000, "val": 1000}
    assert (np.bincount(captions.image_of_sentence) == 5).all()
    with pytest.raises(ValueError, match="there are train, val"):
        captions.part("test")
