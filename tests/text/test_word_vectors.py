"""Files of word vectors: every format as its program writes it, every kind of damage, several files joined."""

import gzip
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnfv.text import _formats
from rnnfv.text._formats import read_vector_file
from rnnfv.text.vectors import load_word_vectors

WORDS = ["the", "Dog", "caf\u00e9", "in_the", "</s>", "1"]
VECTORS = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)


def binary(words, vectors, line_end=b"\n"):
    """As word2vec writes it, and as gensim does with no line end behind a vector."""
    rows = [
        word.encode() + b" " + vector.astype("<f4").tobytes() + line_end
        for word, vector in zip(words, vectors, strict=True)
    ]
    return f"{len(words)} {vectors.shape[1]}\n".encode() + b"".join(rows)


def text(words, vectors, header=True, line_end="\n"):
    lines = [f"{len(words)} {vectors.shape[1]}"] if header else []
    lines += [
        f"{word} {' '.join(repr(float(value)) for value in vector)}"
        for word, vector in zip(words, vectors, strict=True)
    ]
    return "".join(line + line_end for line in lines).encode()


def write(folder, name, data):
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


FILES = {
    "w.bin": binary(WORDS, VECTORS),
    "gensim.bin": binary(WORDS, VECTORS, b""),
    "w.bin.gz": binary(WORDS, VECTORS),
    "w.txt": text(WORDS, VECTORS),
    "fasttext.vec": text(WORDS, VECTORS, line_end=" \n"),
    "glove.txt": text(WORDS, VECTORS, header=False),
    "glove.txt.gz": text(WORDS, VECTORS, header=False),
    "windows.txt": b"\xef\xbb\xbf" + text(WORDS, VECTORS, header=False, line_end="\r\n"),
    "no_last_line_end.txt": text(WORDS, VECTORS, header=False)[:-1],
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_all_words_and_the_wanted_ones(tmp_path, name):
    path = write(tmp_path, name, FILES[name])
    words, vectors = read_vector_file(path)
    assert words == WORDS
    np.testing.assert_array_equal(vectors, VECTORS)
    words, vectors = read_vector_file(path, {"caf\u00e9".encode(), b"dog", b"1"})
    assert words == ["caf\u00e9", "1"]
    np.testing.assert_array_equal(vectors, VECTORS[[2, 5]])
    assert read_vector_file(path, {b"1"}, first=2)[0] == ["the", "Dog", "1"]


@settings(deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=("Z", "C")), min_size=1), unique=True, min_size=1, max_size=8),
    st.integers(2, 4),
    st.booleans(),
    st.data(),
)
def test_what_is_written_is_read(tmp_path_factory, words, width, is_binary, data):
    value = st.floats(-1e6, 1e6, width=32)
    rows = data.draw(
        st.lists(st.lists(value, min_size=width, max_size=width), min_size=len(words), max_size=len(words))
    )
    vectors = np.array(rows, dtype=np.float32)
    name, write_as = ("w.bin", binary) if is_binary else ("w.txt", text)
    path = write(tmp_path_factory.mktemp("v"), name, write_as(words, vectors))
    read, values = read_vector_file(path)
    assert read == words
    np.testing.assert_array_equal(values, vectors)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_rows_may_lie_across_blocks(tmp_path, monkeypatch, block):
    path = write(tmp_path, "w.bin", binary(WORDS, VECTORS))
    with path.open("rb") as file:
        _, rows = _formats._binary_rows(path, file, file.read())
        monkeypatch.setattr(_formats, "_BLOCK", block)
        read = [(word.decode(), np.frombuffer(numbers, "<f4")) for _, word, numbers in rows]
    assert [word for word, _ in read] == WORDS
    np.testing.assert_array_equal([vector for _, vector in read], VECTORS)


def test_words_with_blanks_stay_words(tmp_path):
    path = write(tmp_path, "g.txt", b"the 1 2 3\n. . . 4 5 6\nat name@domain.com 7 8 9\nat 1 1 1\n")
    words, vectors = read_vector_file(path)
    assert words == ["the", ". . .", "at name@domain.com", "at"]
    assert vectors[1:3].tolist() == [[4, 5, 6], [7, 8, 9]]
    assert read_vector_file(path, {b"at", b"."})[0] == ["at"]


def test_gensim_writes_what_is_read(tmp_path):
    models = pytest.importorskip("gensim.models", reason="gensim is not installed")
    vectors = models.KeyedVectors(5)
    vectors.add_vectors(WORDS, VECTORS)
    vectors.save_word2vec_format(str(tmp_path / "w.bin"), binary=True)
    vectors.save_word2vec_format(str(tmp_path / "w.txt"))
    for name in ("w.bin", "w.txt"):
        words, values = read_vector_file(tmp_path / name)
        assert words == WORDS
        np.testing.assert_array_equal(values, VECTORS)
    vectors.save(str(tmp_path / "w.kv"))
    with pytest.raises(ValueError, match="save_word2vec_format"):
        read_vector_file(tmp_path / "w.kv")


# -- damage ----------------------------------------------------------------------------------------


def cut(data, n):
    return data[: len(data) - n]


NAN = VECTORS.copy()
NAN[1, 2] = np.nan
LINES = FILES["glove.txt"].split(b"\n")
DAMAGE = {
    "pickle": ("w.kv", pickle.dumps({"a": 1}), "is a pickle.*save_word2vec_format"),
    "fasttext model": ("cc.en.bin", b"\xba\x16\x4f\x2f\x0c\x00\x00\x00", "fastText model.*vec"),
    "empty": ("w.txt", b"", "is empty"),
    "text named bin": ("w.bin", FILES["glove.txt"], r"does not begin .* name it \.txt"),
    "binary named txt": ("w.txt", b"\x00\x01\x02\n\x05", r"line 1 .* name it \.bin"),
    "bin ends in a vector": ("w.bin", cut(FILES["w.bin"], 9), "byte 134: the file ends early, after 5 of 6 words"),
    "bin ends between words": ("w.bin", cut(FILES["w.bin"], 23), "ends early, after 5 of 6 words"),
    "bin goes on": ("w.bin", FILES["w.bin"] + b"x", "more behind the last of 6 words"),
    "bin without blanks": ("w.bin", b"2 3\n" + b"x" * 20_000, "byte 4: the file is damaged"),
    "bin of absurd width": ("w.bin", b"1 999999999999\nx ", "vectors of 999999999999 numbers: it is damaged"),
    "bin of no width": ("w.bin", b"1 0\nx ", "vectors of 0 numbers: it is damaged"),
    "bin with nan": ("w.bin", binary(WORDS, NAN), "byte 28: the vector has a NaN"),
    "bin twice": ("w.bin", binary(["a", "a"], VECTORS[:2]), "'a' comes a second time, after byte 4"),
    "gzip ends early": ("w.bin.gz", None, "compressed data .* ends early"),
    "too few values": ("w.txt", b"\n".join([LINES[0], b"dog 1 2", *LINES[1:]]), "line 2 has 2 values, not 5"),
    "too many values": ("w.txt", b"\n".join([LINES[0], b"dog 1 2 3 4 5 6", b""]), "line 2 has 6 values, not 5"),
    "empty line": ("w.txt", b"\n".join([LINES[0], b"", *LINES[1:]]), "line 2 has 0 values, not 5"),
    "ends in a line": ("w.txt", b"a 1 2 3\nb 1 2 3\nc 1 2", "line 3 has 2 values, not 3"),
    "not a number": ("w.txt", b"a 1 2 3\nb 1 x 3\n", "line 2: a value is not a number"),
    "nan": ("w.txt", b"a 1 2 3\nb 1 nan 3\n", "line 2: the vector has a NaN"),
    "too large": ("w.txt", b"a 1 2 3\nb 1 1e39 3\n", "line 2: the vector has a NaN or infinite"),
    "twice": ("w.txt", b"a 1 2 3\nb 1 2 3\na 4 5 6\n", "line 3: 'a' comes a second time, after line 1"),
    "fewer than said": ("w.txt", b"3 2\na 1 2\nb 1 2\n", "has 2 words, but its first line says 3"),
    "more than said": ("w.txt", b"1 2\na 1 2\nb 1 2\n", "has 2 words, but its first line says 1"),
    "one long line": ("w.txt", b"a 1 2\n" + b"x" * (1 << 21), "line 2 is longer than 1 MiB"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_with_its_place(tmp_path, kind):
    name, data, message = DAMAGE[kind]
    path = tmp_path / name
    path.write_bytes(cut(gzip.compress(FILES["w.bin"]), 20) if data is None else data)
    with pytest.raises(ValueError, match=message) as raised:
        read_vector_file(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_pickle_is_not_run(tmp_path):
    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    for protocol in (2, 5):
        write(tmp_path, "w.bin", pickle.dumps(Harm(), protocol))
        with pytest.raises(ValueError, match="is a pickle"):
            read_vector_file(tmp_path / "w.bin")
    assert not (tmp_path / "made").exists()


def test_what_is_not_wanted_may_be_odd(tmp_path):
    path = write(tmp_path, "w.txt", b"a 1 2 3\nb 1 nan 3\nb 1 2 3\n\xff\xfe 1 2 3\n")
    assert read_vector_file(path, {b"a"})[0] == ["a"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.bin"):
        read_vector_file(tmp_path / "nowhere.bin")


# -- several files ---------------------------------------------------------------------------------


@pytest.fixture
def two_files(tmp_path):
    """The first knows names as they are written and an end; the second has neither."""
    first = write(tmp_path, "a.txt", b"Paris 3 4\ndog 0 2\nDog 9 9\n</s> 5 0\nlady 1 1\n")
    second = write(tmp_path, "b.bin", binary(["dogs", "cat", "paris"], np.array([[2, 0, 0], [0, 0, 3], [0, 4, 3.0]])))
    return [first, second]


def test_files_are_joined_side_by_side(two_files):
    found = load_word_vectors(two_files, ["dogs", "paris", "unicorn", "cat", "ladies"])
    assert found.words == ["</s>", "dogs", "paris", "cat", "ladies"]
    root = np.sqrt(0.5)
    expected = [
        [1, 0, *np.mean([[1, 0, 0], [0, 0.8, 0.6], [0, 0, 1]], axis=0)],
        [0, 1, 1, 0, 0],
        [0.6, 0.8, 0, 0.8, 0.6],
        [0, 0, 0, 0, 1],
        [root, root, 0, 0, 0],
    ]
    np.testing.assert_allclose(found.vectors, expected, atol=1e-7)
    assert found.vectors.dtype == np.float32


def test_the_full_stop_is_the_end_before_the_end_tag(tmp_path):
    path = write(tmp_path, "a.txt", b"a 1 0\n</s> 0 5\n. 3 4\n")
    np.testing.assert_allclose(load_word_vectors(path, ["a", "."]).vectors, [[0.6, 0.8], [1, 0], [0.6, 0.8]])
    # The tag is no word of its own.
    assert load_word_vectors(path, ["</s>", "a"]).words == ["</s>", "a"]


def test_extra_words_are_the_first_of_each_file_in_lower_case(two_files):
    found = load_word_vectors(two_files, ["dog", "cat"], extra_words=2)
    assert found.words == ["</s>", "dog", "cat", "paris", "dogs"]


def test_the_end_is_the_mean_of_the_words_that_are_learnt_from(tmp_path):
    path = write(tmp_path, "a.txt", b"a 0 2\nb 3 0\nc 1 1\nd 1 0\n")
    found = load_word_vectors(path, ["b", "a", "b"], extra_words=4, others=["c", "a", "x"])
    assert found.words == ["</s>", "b", "a", "c", "d"]
    np.testing.assert_allclose(found.vectors[0], [0.5, 0.5])
    with pytest.raises(ValueError, match="none of the 1 words"):
        load_word_vectors(path, ["x"], others=["a"])


def test_a_vector_of_zeros_stays_one(tmp_path):
    path = write(tmp_path, "a.txt", b"a 0 0\nb 0 2\n")
    assert load_word_vectors(path, ["a", "b"]).vectors[1:].tolist() == [[0, 0], [0, 1]]


def test_a_file_of_none_of_the_words_is_refused(two_files):
    with pytest.raises(ValueError, match=r"b\.bin has none of the 1 words"):
        load_word_vectors(two_files, ["lady"])
    with pytest.raises(ValueError, match="no words are needed"):
        load_word_vectors(two_files, [])
    with pytest.raises(ValueError, match="there are no files"):
        load_word_vectors([], ["a"])
    with pytest.raises(ValueError, match="extra_words is -1"):
        load_word_vectors(two_files, ["a"], extra_words=-1)


def test_only_what_is_wanted_is_in_memory(tmp_path):
    n, row = 20_000, np.ones(100, "<f4").tobytes()
    with (tmp_path / "w.bin").open("wb") as file:
        file.write(b"%d 100\n" % n)
        file.writelines(b"w%d " % i + row for i in range(n))
    wanted = {b"w%d" % i for i in range(0, n, 200)}
    tracemalloc.start()
    words, _ = read_vector_file(tmp_path / "w.bin", wanted)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(words) == 100
    assert peak < 5 * _formats._BLOCK  # the file is of eight blocks


LIES = {
    "count of bin": ("w.bin", b"999999999999 100\n", "ends early, after 3 of 999999999999 words"),
    "width of bin": ("w.bin", b"3 99999\n", "ends early, after 0 of 3 words"),
    "count of text": ("w.txt", b"999999999999 100\n", "has 3 words, but its first line says 999999999999"),
    "width of text": ("w.txt", b"3 99999\n", "line 2 has 100 values, not 99999"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_costs_no_memory(tmp_path, lie):
    name, header, message = LIES[lie]
    if name == "w.bin":
        rows = b"".join(b"w%d " % i + np.ones(100, "<f4").tobytes() for i in range(3))
    else:
        rows = b"".join(b"w%d %s\n" % (i, b" ".join([b"1"] * 100)) for i in range(3))
    (tmp_path / name).write_bytes(header + rows)
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        read_vector_file(tmp_path / name)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * _formats._BLOCK
