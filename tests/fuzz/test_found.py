"""What fuzzing found, and what reading the code with its eyes did: one small case each."""

import gzip
import hashlib
import io
import json
import re
import struct
import zlib

import faiss
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io

import rnnfv
from fuzz.engine import load_target
from fuzz.target import bundle
from fuzz.targets._images import read_vectors
from fuzz.targets._signed import edit_json, sha256, sign_model
from rnnfv.datasets.captions import read_captions
from rnnfv.datasets.hmdb51 import hmdb51_manifest
from rnnfv.datasets.manifest import read_manifest
from rnnfv.datasets.ucf101 import ucf101_manifest
from rnnfv.recipes._work import Work
from rnnfv.recipes.recognizer import load_recognizer
from rnnfv.recipes.retrieval import load_retrieval
from rnnfv.storage import VectorIndex, open_index, read_features, refuse_repeated_ids, write_checkpoint, write_features
from rnnfv.text.vectors import load_word_vectors
from rnnfv.video.decode import Sampling, VideoError, read_frames
from rnnfv.video.trajectories import load_descriptors

MANY = 5000  # rows: with one long text among them, an array of strings would take gigabytes
LONG = "x" * 100_000


def refuse(read, path, message, kind=ValueError):
    """Reading must fail with one line that names the file and matches the message."""
    with pytest.raises(kind, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


# -- image vectors ---------------------------------------------------------------------------------


def test_an_archive_of_numpy_is_no_array(tmp_path):
    with (tmp_path / "feats.npy").open("wb") as file:
        np.savez(file, feats=np.ones((3, 4)))
    refuse(read_vectors, tmp_path / "feats.npy", "is damaged or not an .npy file")


def test_a_pickle_in_an_npy_file_is_refused(tmp_path):
    np.save(tmp_path / "feats.npy", np.ones((3, 4)).astype(object), allow_pickle=True)
    refuse(read_vectors, tmp_path / "feats.npy", "is damaged or not an .npy file")


@pytest.mark.parametrize("header", [b"{'descr': '<f4', 'shape': (3,", b"[" * 5000, b"{'descr': [('a', [])], "])
def test_a_header_of_an_npy_file_that_ends_early(tmp_path, header):
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    (tmp_path / "feats.npy").write_bytes(content)
    refuse(read_vectors, tmp_path / "feats.npy", "is damaged or not an .npy file")


def mat(*elements):
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\x01IM" + b"".join(elements)


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(name, numbers, *, shape=(4, 3), kind=7, flags=7):
    shown = element(6, struct.pack("<II", flags, 0)) + element(5, struct.pack("<2i", *shape)) + element(1, name)
    return element(14, shown + (numbers if isinstance(numbers, bytes) else element(kind, numbers.tobytes())))


def test_a_mat_file_whose_numbers_are_of_an_unknown_kind(tmp_path):
    """SciPy's reader ended the process."""
    path = tmp_path / "feats.mat"
    path.write_bytes(mat(matrix(b"feats", element(1031, bytes(48)))))
    refuse(read_vectors, path, "not as many as it says")


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mat_files_of_scipy_are_read(tmp_path, compressed, dtype):
    vectors = np.random.default_rng(0).normal(size=(3, 4)).astype(dtype)
    content = {"before": ["text"], "feats": vectors.T, "behind": 1.0}
    scipy.io.savemat(tmp_path / "feats.mat", content, do_compression=compressed)
    found = read_matrix_of(tmp_path / "feats.mat")
    np.testing.assert_array_equal(found, vectors)
    assert found.dtype == dtype


def read_matrix_of(path):
    from rnnfv.datasets._matlab import read_matrix

    return read_matrix(path, "feats")


def test_matlab_stores_whole_numbers_as_small_ones(tmp_path):
    numbers = np.arange(12, dtype=np.uint8)
    (tmp_path / "feats.mat").write_bytes(mat(matrix(b"feats", numbers, kind=2, flags=6)))
    np.testing.assert_array_equal(read_matrix_of(tmp_path / "feats.mat"), numbers.reshape(3, 4).astype(float))
    assert scipy.io.loadmat(tmp_path / "feats.mat")["feats"].T.tolist() == numbers.reshape(3, 4).tolist()


def test_a_compressed_mat_file_that_would_fill_the_memory(tmp_path):
    packer = zlib.compressobj()
    size = 3 << 30
    head = matrix(b"feats", struct.pack("<II", 7, size), shape=(size // 12, 3))
    content = packer.compress(head[:4] + struct.pack("<I", size + 48) + head[8:]) + packer.compress(bytes(1 << 20))
    (tmp_path / "feats.mat").write_bytes(mat(element(15, content + packer.flush())))
    refuse(read_vectors, tmp_path / "feats.mat", "says it holds 3,072 MiB, but has")


def test_a_small_hdf5_file_with_a_huge_matrix(tmp_path):
    path = tmp_path / "feats.mat"
    hdf5(path, lambda file: file.create_dataset("feats", (3, 1 << 36), "f4", chunks=(1, 1024)))
    refuse(read_vectors, path, "says it holds 786,432 MiB, but has")


def hdf5(path, fill):
    with h5py.File(path, "w", userblock_size=512) as file:
        fill(file)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\x02IM")


@pytest.mark.parametrize("way", ["link", "storage", "virtual"])
def test_an_hdf5_file_that_shows_another_file(tmp_path, way):
    secret = tmp_path / "secret.h5"
    hdf5(secret, lambda file: file.create_dataset("feats", data=np.ones((3, 4), np.float32)))

    def fill(file):
        if way == "link":
            file["feats"] = h5py.ExternalLink(str(secret), "/feats")
        elif way == "storage":
            file.create_dataset("feats", (3, 4), "f4", external=[(str(secret), 0, 48)])
        else:
            layout = h5py.VirtualLayout((3, 4), "f4")
            layout[:] = h5py.VirtualSource(str(secret), "feats", (3, 4))
            file.create_virtual_dataset("feats", layout)

    hdf5(tmp_path / "feats.mat", fill)
    refuse(read_vectors, tmp_path / "feats.mat", "is a link|are in another file")


# -- lists and tables ------------------------------------------------------------------------------


def test_split_lists_that_are_not_utf8(tmp_path):
    (tmp_path / "classInd.txt").write_bytes(b"1 Arch\xe9ry\n")
    (tmp_path / "run_test_split1.txt").write_bytes(b"\xfe")
    refuse(ucf101_manifest, tmp_path, r"classInd\.txt is not UTF-8 \(byte 6\)")
    refuse(hmdb51_manifest, tmp_path, r"run_test_split1\.txt is not UTF-8 \(byte 0\)")


def test_a_quotation_mark_that_is_never_closed(tmp_path):
    (tmp_path / "m.csv").write_text('id,label,split1\n"a,run,train\n' + "b,run,train\n" * 20_000)
    refuse(read_manifest, tmp_path / "m.csv", "quotation mark")


def test_one_long_id_among_many(tmp_path):
    rows = [f"{i},run,train" for i in range(MANY)]
    (tmp_path / "m.csv").write_text("\n".join(["id,label,split1", *rows, f"{LONG},run,test"]))
    refuse(read_manifest, tmp_path / "m.csv", "has 100,000 characters, far more than the others")


def test_ids_that_differ_by_a_nul_at_the_end_alone(tmp_path):
    (tmp_path / "m.csv").write_text("id,label,split1\na,run,train\na\0,run,test\n")
    refuse(read_manifest, tmp_path / "m.csv", "ends with a NUL")


def test_one_long_name_among_many_captions(tmp_path):
    names = [*map(str, range(MANY)), LONG]
    images = [{"filename": name, "split": "test", "sentences": [{"raw": "A dog."}]} for name in names]
    (tmp_path / "d.json").write_text(json.dumps({"images": images}))
    refuse(read_captions, tmp_path / "d.json", "far more than the others")


def test_a_line_end_in_the_name_of_a_picture(tmp_path):
    image = {"filename": "a\nb.jpg", "split": "test", "sentences": [{}]}
    (tmp_path / "d.json").write_text(json.dumps({"images": [image]}))
    refuse(read_captions, tmp_path / "d.json", r"\('a\\nb.jpg'\) has a sentence without")


# -- text ------------------------------------------------------------------------------------------


def test_trajectories_without_line_ends(tmp_path):
    (tmp_path / "clip.txt.gz").write_bytes(gzip.compress(b"1 " * 10_000_000))
    refuse(load_descriptors, tmp_path / "clip.txt.gz", "line 1 is longer than 64 KiB")


@pytest.mark.parametrize("name", ["words.bin", "words.txt"])
def test_word_vectors_whose_count_has_thousands_of_digits(tmp_path, name):
    (tmp_path / name).write_bytes(b"9" * 5000 + b" 3\n" + b"dog 1 2 3\n")
    refuse(lambda path: load_word_vectors(path, ["dog"]), tmp_path / name, "line of two counts|has 3 values")


def test_a_word_of_a_million_digits(tmp_path):
    """Whether it is a number took hours to tell."""
    (tmp_path / "words.txt").write_bytes(b"cat 1 2\na " + b"9" * 1_000_000 + b"x 2 3\n")
    refuse(lambda path: load_word_vectors(path, ["dog"]), tmp_path / "words.txt", "none of the 1 words")


def test_a_header_of_word_vectors_without_a_line_end(tmp_path):
    (tmp_path / "words.bin").write_bytes(b"4 3")
    refuse(lambda path: load_word_vectors(path, ["dog"]), tmp_path / "words.bin", "the file ends early, after 0 of 4")


def test_half_a_line_end_within_a_trajectory(tmp_path):
    (tmp_path / "clip.txt").write_bytes(b"1 " * 200 + b"\r" + b"1 " * 236 + b"\n")
    refuse(load_descriptors, tmp_path / "clip.txt", "line 1: '1 1 1")


# -- models ----------------------------------------------------------------------------------------


def forged_model(folder, model, change):
    rnnfv.save(model, folder)
    edit_json(folder / "config.json", lambda config: change(config["estimator"]))
    sign_model(folder)
    return folder


def test_one_long_string_among_many_in_a_model(tmp_path):
    strings = {"kind": "strings", "dtype": f"U{len(LONG)}", "shape": [MANY + 1], "items": [LONG, *["a"] * MANY]}
    folder = forged_model(tmp_path / "m", rnnfv.MeanPooling(), lambda it: it["state"].update(names_=strings))
    refuse(rnnfv.load, folder, "far more than the others")


@pytest.mark.parametrize(("name", "size"), [("hidden_size", 10**6), ("projection_size", 10**9), ("num_layers", 10**9)])
def test_a_net_that_says_it_is_larger_than_its_weights(tmp_path, name, size):
    seqs = list(np.random.default_rng(0).normal(size=(4, 5, 3)))
    net = rnnfv.RNNFisherVector(hidden_size=2, projection_size=2, max_epochs=1, early_stopping=None, random_state=0)
    folder = forged_model(tmp_path / "m", net.fit(seqs), lambda it: it["params"].update({name: size}))
    refuse(rnnfv.load, folder, "cannot be made")


def signed_record(folder, name, change):
    def sign(record):
        change(record)
        record.pop("checksum")
        record["checksum"] = hashlib.sha256(json.dumps(record, sort_keys=True).encode("ascii")).hexdigest()

    edit_json(folder / name, sign)


@pytest.fixture
def recognizer(tmp_path):
    target = load_target("recognizer")
    return target.place(tmp_path, target.seeds()[0])


def test_a_copied_file_with_a_nul_in_its_name(recognizer):
    signed_record(recognizer, "action.json", lambda it: it.update(files={"weights": {"file": "a\0", "sha256": ""}}))
    refuse(load_recognizer, recognizer, "it has no file")


def test_a_record_that_is_nested_too_deep(recognizer):
    (recognizer / "action.json").write_text("[" * 100_000)
    refuse(load_recognizer, recognizer, "is not JSON")


def test_a_retrieval_model_that_does_not_say_how_it_was_fitted(tmp_path):
    from sklearn.pipeline import make_pipeline

    from rnnfv.recipes.retrieval import RetrievalModel

    parts = make_pipeline(rnnfv.MeanPooling()), rnnfv.RegularizedCCA(), rnnfv.PowerNormalizer(), rnnfv.LocalScaling()
    RetrievalModel(*parts).save(tmp_path / "m")
    signed_record(tmp_path / "m", "retrieval.json", lambda record: record.pop("note"))
    refuse(load_retrieval, tmp_path / "m", "does not tell how the model was fitted")


# -- indexes and features --------------------------------------------------------------------------


def forged_index(folder, name, change, exact_up_to=100):
    vectors = np.eye(4, dtype=np.float32).repeat(3, axis=0)
    index = VectorIndex.create(folder, 4, exact_up_to=exact_up_to)
    index.append([f"{i}.jpg" for i in range(12)], vectors)
    path = folder / "segment-00000" / name
    path.write_bytes(change(path.read_bytes()))
    edit_json(folder / "index.json", lambda record: record["segments"]["segment-00000"].update({name: sha256(path)}))
    return folder


@pytest.mark.parametrize("at", [8, 37, 45, 57, 61, 98])
@pytest.mark.parametrize("value", [0, 10**7, 10**12, (1 << 63) - 1, (1 << 64) - 1])
@pytest.mark.parametrize("exact_up_to", [100, 4])
def test_sizes_in_an_index_that_are_not_its_own(tmp_path, at, value, exact_up_to):
    """The index is refused, or what was changed is not looked at: faiss asked for up to 19 GB."""

    def change(content):
        return content[:at] + struct.pack("<Q", value) + content[at + 8 :]

    folder = forged_index(tmp_path / "index", "vectors.faiss", change, exact_up_to)
    try:
        assert len(open_index(folder)) == 12
    except ValueError as error:
        assert "vectors.faiss is not an index that rnnfv wrote" in str(error)  # noqa: PT017, either is right


@pytest.mark.parametrize("row", [12, 11, -1])
def test_cells_that_hold_vectors_which_are_not_there_or_twice(tmp_path, row):
    def change(content):
        index = faiss.deserialize_index(np.frombuffer(content, np.uint8))
        cell = next(i for i in range(index.nlist) if index.invlists.list_size(i))
        ids = faiss.rev_swig_ptr(index.invlists.get_ids(cell), 1)
        ids[0] = row
        return faiss.serialize_index(index).tobytes()

    folder = forged_index(tmp_path / "index", "vectors.faiss", change, exact_up_to=4)
    refuse(open_index, folder, "vectors that are not there|a vector twice")


def parquet(**options):
    table = pa.table(options)
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def not_utf8(n):
    return pa.Array.from_buffers(
        pa.string(), n, [None, pa.py_buffer(np.arange(n + 1, dtype=np.int32)), pa.py_buffer(b"\xff" * n)]
    )


@pytest.mark.parametrize(
    "ids",
    [
        b"PAR1",
        parquet(name=["a"] * 12),
        parquet(id=["a"] * 11),
        parquet(id=[["a"]] * 12),
        parquet(id=not_utf8(12)),
    ],
)
def test_ids_of_an_index_that_are_none(tmp_path, ids):
    folder = forged_index(tmp_path / "index", "ids.parquet", lambda _: ids)
    refuse(open_index, folder, r"ids\.parquet is not a file of ids")


def test_one_long_id_for_many_sequences(tmp_path):
    path = tmp_path / "part-00000.parquet"
    path.write_bytes(parquet(id=["x" * 40_000] * MANY, features=[[[1.0]]] * MANY))
    refuse(read_features, path, "its column id says it holds 190 MiB, but has")


def test_zeros_that_would_fill_the_memory(tmp_path):
    path = tmp_path / "part-00000.parquet"
    steps = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(20_000_000, np.float32)), 1000)
    table = pa.table({"id": ["a"], "features": pa.ListArray.from_arrays([0, len(steps)], steps)})
    pq.write_table(table, path, use_dictionary=False, compression="zstd")
    refuse(read_features, path, "it says it holds 76 MiB, but has")


@pytest.mark.parametrize("of_file", [False, True])
def test_a_parquet_file_that_says_it_has_more_rows_than_values(tmp_path, of_file):
    """Arrow made room for 16 GB of them."""
    path = tmp_path / "part-00000.parquet"
    write_features(tmp_path, [f"{i}" for i in range(100)], [np.ones((1, 2))] * 100)
    rows = b"\x16\xc8\x01"  # field 3, 100: at first of the file, then of its row group
    seed = path.read_bytes()
    at = seed.index(rows, len(seed) - int.from_bytes(seed[-8:-4], "little")) if of_file else seed.rindex(rows)
    path.write_bytes(seed[: at + 1] + b"\xc8\x7f" + seed[at + 3 :])
    refuse_repeated_ids([path])
    refuse(read_features, path, "its footer, or the header of a page, is damaged")


@pytest.mark.parametrize("column", ["id", "features"])
@pytest.mark.parametrize("number", ["uncompressed", "values", "entries"])
def test_a_page_of_a_parquet_file_that_says_it_holds_more_than_the_footer_says(tmp_path, column, number):
    names, steps = [f"{i}" for i in range(50)], [[[float(i)] * 2] for i in range(50)]
    file = io.BytesIO()
    columns = {"id": names, "features": steps} if column == "features" else {"features": steps, "id": names}
    pq.write_table(pa.table(columns), file, compression="none", use_dictionary=number == "entries")
    seed = file.getvalue()
    # The header of the last column's page: its kind, two sizes, and a structure whose first field is how many it holds.
    kind, holds = (b"\x15\x04", b"\x4c\x15") if number == "entries" else (b"\x15\x00", b"\x2c\x15")
    integer = rb"([\x80-\xff]*[\x00-\x7f])"
    *_, header = re.finditer(kind + rb"\x15" + integer + rb"\x15" + integer + holds + integer, seed, re.DOTALL)
    at, end = header.span(1 if number == "uncompressed" else 3)
    path = tmp_path / "part-00000.parquet"
    path.write_bytes(seed[:at] + b"\xfe\xff\xff\xff\x0f" + seed[end:])  # 2**31 - 1
    refuse_repeated_ids([path])
    refuse(read_features, path, r"it says it holds [\d,]+ MiB, but has")


def test_columns_of_a_parquet_file_that_are_longer_than_the_file(tmp_path):
    """Many that shared their pages would be walked through for hours."""
    path, file = tmp_path / "part-00000.parquet", io.BytesIO()
    table = pa.table({"id": [f"{i:08d}" for i in range(50)], "features": [[[1.0]]] * 50})
    pq.write_table(table, file, compression="none", use_dictionary=False)
    seed, size = file.getvalue(), pq.read_metadata(file).row_group(0).column(0).total_compressed_size
    number = bytes([size * 2 & 127 | 128, size * 2 >> 7])  # as it stands there, twice: uncompressed and compressed
    at = seed.index(b"\x16" + number + b"\x16" + number) + 4
    path.write_bytes(seed[:at] + b"\xfe\x7f" + seed[at + 2 :])  # 8,191
    assert path.stat().st_size < 8191
    refuse_repeated_ids([path])
    refuse(read_features, path, "its footer, or the header of a page, is damaged")


def test_a_page_of_a_parquet_file_with_lists_in_lists(tmp_path):
    path = tmp_path / "part-00000.parquet"
    seed = load_target("features").seeds()[1]
    path.write_bytes(seed[:4] + b"\x19" * 5000 + seed[4:])
    refuse_repeated_ids([path])
    refuse(read_features, path, "its footer, or the header of a page, is damaged")


def test_statistics_of_a_parquet_file_that_are_not_its_own(tmp_path):
    """Arrow's account of a column ended the process."""
    found = 0
    seed = load_target("features").seeds()[1]
    for at in range(len(seed) // 4, len(seed) // 2):
        path = tmp_path / "part-00000.parquet"
        path.write_bytes(seed[:at] + bytes([seed[at] ^ 0x10]) + seed[at + 1 :])
        try:
            read_features(path)
        except ValueError as error:
            assert str(path) in str(error)  # noqa: PT017, either is right
            found += 1
    assert found


def test_a_parquet_footer_with_a_list_of_more_numbers_than_bytes(tmp_path):
    """They were passed over one by one, for years."""
    path = tmp_path / "part-00000.parquet"
    footer = b"\x19\xf7" + b"\xff" * 8 + b"\x7f"  # field 1, a list of 2**63 - 1 doubles
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    refuse_repeated_ids([path])
    refuse(read_features, path, "is damaged or not a Parquet file")


# -- videos ----------------------------------------------------------------------------------------


def test_a_video_that_says_it_has_more_frames_than_fit_into_memory(tmp_path):
    seed = next(seed for seed in load_target("video").seeds() if seed[4:8] == b"ftyp")
    at = seed.index(b"stts") + 8
    (tmp_path / "clip.mp4").write_bytes(seed[:at] + b"\x49\x46\x46\x01" + seed[at + 4 :])
    refuse(lambda path: read_frames(path, Sampling(fps=10)), tmp_path / "clip.mp4", "more memory than FFmpeg gives")


def test_a_frame_of_more_pixels_than_fit_into_memory(tmp_path):
    seed = next(seed for seed in load_target("video").seeds() if seed.startswith(b"GIF"))
    (tmp_path / "clip.gif").write_bytes(seed[:6] + struct.pack("<HH", 9000, 9000) + seed[10:])
    refuse(lambda path: list(read_frames(path, Sampling(every=1))), tmp_path / "clip.gif", "no frame can", VideoError)


def test_a_title_in_another_encoding_is_in_nobodys_way(tmp_path):
    seed = next(seed for seed in load_target("video").seeds() if seed.startswith(b"RIFF"))
    assert b"Lavf" in seed
    (tmp_path / "clip.avi").write_bytes(seed.replace(b"Lavf", b"\xe9\xe8\xffx"))
    assert len(list(read_frames(tmp_path / "clip.avi", Sampling(every=1)))) == 4


def test_bundles_are_taken_apart_again(tmp_path):
    target = load_target("flickr8k")
    folder = target.place(tmp_path, target.seeds()[0])
    names = ("Flickr8k.token.txt", *(f"Flickr_8k.{part}Images.txt" for part in ("train", "dev", "test")))
    assert bundle(folder, *names) == target.seeds()[0]


def test_a_checkpoint_without_figures_in_the_place_of_one_with(tmp_path):
    write_checkpoint(tmp_path / "power.figures", {}, {"epoch": 1})
    with pytest.raises(ValueError, match="holds no figures") as caught:
        Work(tmp_path).found("power")
    assert str(tmp_path / "power.figures") in str(caught.value)
