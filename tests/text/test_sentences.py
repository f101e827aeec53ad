"""Sentences to sequences: ids, vectors, the end, the order, what is counted, and storage."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

import rnnfv
from rnnfv.datasets.captions import read_captions
from rnnfv.text.corpora import Corpus
from rnnfv.text.sentences import SentenceReader

FLICKR8K = Path(os.environ.get("RNNFV_DATA", "../shared/data")) / "flickr8k"
VECTORS = {"a": [1, 0, 0], "dog": [0, 1, 0], "Rome": [0, 0, 1], ".": [0, 3, 4], "cat": [0, 0, 2]}


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("".join(f"{word} {' '.join(map(str, vector))}\n" for word, vector in VECTORS.items()))
    return str(path)


def decoded(reader, seqs):
    return [reader.words_[seqs[[i]].values].tolist() for i in range(len(seqs))]


SENTENCES = ["A dog, in Rome.", ["dogs", "Dog"], ["nothing"], []]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [["a", "dog", "rome", "</s>"], ["dogs", "Dog", "</s>"], ["</s>"], ["</s>"]]),
        ({"reverse": True}, [["rome", "dog", "a", "</s>"], ["Dog", "dogs", "</s>"], ["</s>"], ["</s>"]]),
        ({"end_token": False}, [["a", "dog", "rome"], ["dogs", "Dog"], ["</s>"], ["</s>"]]),
        ({"end_token": False, "reverse": True}, [["rome", "dog", "a"], ["Dog", "dogs"], ["</s>"], ["</s>"]]),
    ],
)
def test_words_their_order_and_the_end(words, options, expected):
    reader = SentenceReader(words, **options)
    seqs, report = reader.fit(SENTENCES).read(SENTENCES)
    assert decoded(reader, seqs) == expected
    assert seqs.values.dtype == np.int32
    np.testing.assert_allclose(seqs[1][0], [0, 1, 0])
    np.testing.assert_allclose(reader.vectors_[0], [0, 0.6, 0.8], rtol=1e-6)
    assert (report.n_sentences, report.n_words, report.n_unknown) == (4, 7, 2)
    assert report.unknown == {"in": 1, "nothing": 1}
    assert report.without_words.tolist() == [2, 3]
    assert str(report) == (
        "71.4 % of 7 words have a vector; without: in (1), nothing (1); 2 of 4 sentences have no known word: 2, 3"
    )


def test_later_words_are_found_under_their_spellings(words):
    reader = SentenceReader(words).fit(["a dog in Rome"])
    assert decoded(reader, reader.transform([["DOGS", "Rome", "ROME", "cat"]])) == [["dog", "rome", "rome", "</s>"]]
    assert reader.read(["cat"])[1].unknown == {"cat": 1}
    wider = SentenceReader(words, extra_words=5).fit(["a dog in Rome"])
    assert decoded(wider, wider.transform(["cat"])) == [["cat", "</s>"]]


def test_training_words_have_the_lowest_ids(words):
    train, test = [["dog", "unknown"], ["a"]], [["cat"], ["Rome"]]
    reader = SentenceReader(words).fit(train, others=test)
    assert reader.words_.tolist() == ["</s>", "dog", "a", "cat", "Rome"]
    assert reader.transform(train).values.max() + 1 == 3


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(["a", "dog", "in", "cats", "Rome", "x"])), min_size=1))
def test_reading_is_the_same_for_strings_lists_and_parts(tmp_path_factory, sentences):
    path = tmp_path_factory.getbasetemp() / "h.txt"
    path.write_text("a 1 0\ndog 0 1\ncat 1 1\nrome 2 1\n")
    reader = SentenceReader(str(path)).fit(["a dog cat rome"])
    whole, report = reader.read(sentences)
    joined, _ = reader.read([" . ".join(tokens) for tokens in sentences])
    assert whole.values.tolist() == joined.values.tolist()
    assert report.n_words - report.n_unknown == len(whole.values) - len(sentences)
    parts = [reader.transform([tokens]).values for tokens in sentences]
    assert np.concatenate(parts).tolist() == whole.values.tolist()
    # The definition of the reversed order: all but the end, backwards.
    backwards = reader.with_order(end_token=True, reverse=True).transform(sentences)
    for i in range(len(sentences)):
        forward = whole[[i]].values
        assert backwards[[i]].values.tolist() == [*forward[-2::-1], forward[-1]]
    assert not reader.reverse


def test_a_corpus_is_read_twice_and_a_generator_is_not(words, tmp_path):
    (tmp_path / "c.txt").write_text("1\tA dog.\n2\tRome\n")
    reader = SentenceReader(words)
    seqs = reader.fit_transform(Corpus(tmp_path / "c.txt"))
    assert decoded(reader, seqs) == [["a", "dog", "</s>"], ["rome", "</s>"]]
    assert len(reader.transform(text for text in ["a", "dog"])) == 2
    with pytest.raises(ValueError, match="a generator gives them once only"):
        reader.fit_transform(text for text in ["a", "dog"])


@pytest.mark.parametrize(
    ("sentences", "message"),
    [("a dog", r"pass \[sentence\]"), (["a", 3], "sentence 1 is neither"), ([["a"], ["b", None]], "sentence 1 is")],
)
def test_what_is_no_sentence_is_refused(words, sentences, message):
    with pytest.raises(TypeError, match=message):
        SentenceReader(words).fit(sentences)


def test_paths_are_strings(words):
    with pytest.raises(TypeError, match="give the path as a str"):
        SentenceReader([Path(words)]).fit(["a"])


def test_another_table_for_the_same_words(words):
    reader = SentenceReader(words).fit(["a dog"])
    other = reader.with_vectors(np.arange(6).reshape(3, 2))
    assert other.transform(["dog"])[0].tolist() == [[4, 5], [0, 1]]
    assert reader.transform(["dog"]).dim == 3
    with pytest.raises(ValueError, match=r"there are 3 words; got a table of shape \(2, 2\)"):
        reader.with_vectors(np.ones((2, 2)))


def test_it_is_an_estimator(words):
    reader = clone(SentenceReader(words, reverse=True))
    assert reader.get_params() == {"words": words, "end_token": True, "reverse": True, "extra_words": 0}
    means = make_pipeline(SentenceReader(words, end_token=False), rnnfv.MeanPooling()).fit_transform(["a dog", "Rome"])
    np.testing.assert_allclose(means, [[0.5, 0.5, 0], [0, 0, 1]])
    assert SentenceReader(words).set_output(transform="pandas").fit_transform(["a"]).dim == 3


def test_a_saved_reader_needs_no_files(words, tmp_path):
    reader = SentenceReader([words], reverse=True).fit(["a dog", "\u00e9t\u00e9 in Rome"])
    rnnfv.save(make_pipeline(reader, rnnfv.MeanPooling()).fit(["a dog"]), tmp_path / "model")
    Path(words).rename(tmp_path / "elsewhere")
    loaded = rnnfv.load(tmp_path / "model")[0]
    seqs = loaded.transform(["a dog in Rome"])
    assert decoded(loaded, seqs) == [["dog", "a", "</s>"]]
    reader.save(tmp_path / "reader")
    again = rnnfv.load(tmp_path / "reader")
    assert again.words_.tolist() == reader.words_.tolist()
    np.testing.assert_array_equal(again.vectors_, reader.vectors_)


def test_flickr8k_is_covered_as_measured():
    if not FLICKR8K.is_dir():
        pytest.skip(f"no {FLICKR8K}: set RNNFV_DATA to where the data are")
    sentences = read_captions(FLICKR8K / "dataset_flickr8k.json").part("train").sentences
    files = [str(FLICKR8K / name) for name in ("word2vec_googlenews.bin", "glove6B_50d.txt")]
    for paths, width, coverage in ((files[0], 300, 0.878), (files[1], 50, 0.852), (files, 350, 0.997)):
        reader = SentenceReader(paths).fit(sentences)
        seqs, report = reader.read(sentences)
        assert len(seqs) == 30_000
        assert seqs.dim == width
        assert report.coverage == pytest.approx(coverage, abs=0.001)
        assert report.without_words.size < 5
        # The end has an id; each of its parts is a mean of unit vectors, for no file has "." or "</s>".
        assert (np.linalg.norm(reader.vectors_[1:, :width], axis=1) < np.sqrt(2) + 1e-6).all()
        assert 0 < np.linalg.norm(reader.vectors_[0]) < 1
