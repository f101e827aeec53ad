"""The bag of words against scikit-learn's own vectorizer, and what is kept of it."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

import rnnfv
from rnnfv import BagOfWords

SENTENCES = ["A dog chases a cat.", "two dogs", "the cat sleeps", "a CAT and a dog"]


def test_it_is_tf_idf_of_the_one_tokenizer():
    expected = TfidfVectorizer(token_pattern=r"\w+").fit_transform(SENTENCES).toarray()
    np.testing.assert_allclose(BagOfWords().fit_transform(SENTENCES), expected, rtol=1e-6)


def test_order_does_not_matter_and_unknown_words_are_skipped():
    bag = BagOfWords().fit(SENTENCES)
    one, other, unknown = bag.transform([["dog", "chases", "cat"], ["cat", "chases", "dog"], ["zebra"]])
    assert (one == other).all()
    assert not unknown.any()


def test_rare_words_can_be_left_out():
    bag = BagOfWords(min_sentences=2).fit(SENTENCES)
    assert sorted(bag.weights_[0].vocabulary_) == ["a", "cat", "dog"]
    assert bag.get_feature_names_out().tolist() == ["bagofwords0", "bagofwords1", "bagofwords2"]


def test_saved_and_loaded_it_is_the_same(tmp_path):
    bag = BagOfWords().fit(SENTENCES)
    bag.save(tmp_path / "bag")
    assert (rnnfv.load(tmp_path / "bag").transform(SENTENCES) == bag.transform(SENTENCES)).all()


def test_a_single_string_is_no_batch():
    with pytest.raises(TypeError, match="got one string"):
        BagOfWords().fit("a dog")
