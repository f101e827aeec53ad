"""Corpora: both formats, gzip, and lines that are not as they should be."""

import gzip

import pytest

from rnnfv.text.corpora import Corpus


def write(path, data):
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["c.txt", "c.txt.gz"])
@pytest.mark.parametrize(
    ("data", "sentences", "n_empty"),
    [
        ("1\tIt rained.\n2\t\n7\tA dog\tsleeps .\r\n", ["It rained.", "A dog\tsleeps ."], 1),
        ("It rained.\n\n  \n2\tdogs\u2028here\n", ["It rained.", "2\tdogs\u2028here"], 2),
        ("\n\n5\tlast", ["last"], 2),
        ("\ufeff1\tWith a mark", ["With a mark"], 0),
        ("", [], 0),
    ],
)
def test_every_pass_gives_the_sentences(tmp_path, name, data, sentences, n_empty):
    corpus = Corpus(write(tmp_path / name, data.encode()))
    for _ in range(2):
        assert list(corpus) == sentences
        assert corpus.n_empty == n_empty


def test_the_limit_counts_sentences(tmp_path):
    path = write(tmp_path / "c.txt", b"a\n\nb\n\xff\n")
    assert list(Corpus(path, limit=2)) == ["a", "b"]
    with pytest.raises(ValueError, match="limit is 0"):
        Corpus(path, limit=0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"good\nna\xefve\n", r"c\.txt, line 2 is not UTF-8 \(byte 3 of the line\).*iconv"),
        ("\ufeffutf 16".encode("utf-16"), "line 1 is not UTF-8"),
        (b"1\ta\nb\n", "line 2 does not begin with a number and a tab"),
        (b"a\n" + b"x" * (1 << 21), "line 2 is longer than 1 MiB"),
    ],
)
def test_a_bad_line_is_named(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        list(Corpus(write(tmp_path / "c.txt", data)))


def test_a_line_of_the_greatest_length_is_read(tmp_path):
    for data in (b"x" * ((1 << 20) - 1) + b"\n", b"x" * (1 << 20)):
        assert [len(text) for text in Corpus(write(tmp_path / "c.txt", data))] == [len(data.strip())]
    with pytest.raises(ValueError, match="line 1 is longer than 1 MiB"):
        list(Corpus(write(tmp_path / "c.txt", b"x" * ((1 << 20) + 1))))


def test_a_file_that_ends_early_or_is_missing_is_named(tmp_path):
    path = tmp_path / "c.txt.gz"
    path.write_bytes(gzip.compress(b"".join(b"line %d\n" % i for i in range(1000)))[:-20])
    with pytest.raises(ValueError, match=r"c\.txt\.gz: the compressed data"):
        list(Corpus(path))
    with pytest.raises(FileNotFoundError, match=r"none\.txt"):
        Corpus(tmp_path / "none.txt")
