"""Ranks against a plain loop, and the figures made of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnfv import metrics
from rnnfv.metrics import Cosines, mean_accuracy, rank_figures, retrieval_ranks, retrieval_report, sibling_ranks


def rank_by_sorting(values, is_true):
    """Place of the first true result when wrong ones stand first among equals."""
    order = sorted(range(len(values)), key=lambda i: (-values[i], is_true[i]))
    return next((place for place, i in enumerate(order, 1) if is_true[i]), 0)


@st.composite
def problems(draw):
    """Similarities of few distinct values, so that there are many ties, and any number of sentences an image."""
    n_images = draw(st.integers(1, 6))
    images = np.array(draw(st.lists(st.integers(0, n_images - 1), min_size=1, max_size=12)))
    levels = draw(st.sampled_from([2, 5, 1000]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.integers(-levels, levels, (len(images), n_images)) / levels, images


@settings(deadline=None)
@given(problems(), st.integers(1, 30))
def test_ranks_are_those_of_a_plain_loop_for_any_block(problem, block):
    similarity, images = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_BLOCK_VALUES", block)
        annotation, search = retrieval_ranks(similarity, images)
    for j in range(similarity.shape[1]):
        assert annotation[j] == rank_by_sorting(similarity[:, j], images == j)
    for i, image in enumerate(images):
        assert search[i] == rank_by_sorting(similarity[i], np.arange(similarity.shape[1]) == image)


@settings(deadline=None)
@given(problems(), st.integers(1, 30))
def test_sibling_ranks_are_those_of_a_plain_loop(problem, block):
    vectors, images = problem
    similarity = vectors @ vectors.T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "_BLOCK_VALUES", block)
        ranks = sibling_ranks(similarity, images)
    for i in range(len(images)):
        others = np.arange(len(images)) != i
        assert ranks[i] == rank_by_sorting(similarity[i, others], images[others] == images[i])


def test_equal_similarities_never_flatter():
    annotation, search = retrieval_ranks(np.zeros((10, 2)), np.repeat([0, 1], 5))
    assert annotation.tolist() == [6, 6]  # after the five wrong sentences
    assert search.tolist() == [2] * 10


def test_random_similarities_are_at_chance():
    rng = np.random.default_rng(0)
    report = retrieval_report(rng.random((1000, 200)), np.repeat(np.arange(200), 5))
    assert report["search"]["r@10"] == pytest.approx(5, abs=2)
    assert report["search"]["mean_rank"] == pytest.approx(100, rel=0.05)
    assert report["annotation"]["mean_rank"] == pytest.approx(1001 / 6, rel=0.15)  # the best of five among 1000


def test_figures():
    assert rank_figures([1, 5, 6, 11]) == {"r@1": 25, "r@5": 50, "r@10": 75, "median_rank": 5.5, "mean_rank": 5.75}
    assert rank_figures([0, 2]) == rank_figures([2])
    with pytest.raises(ValueError, match="no query has a true result"):
        rank_figures([0, 0])


def test_an_image_without_sentences_is_no_query_but_can_be_found():
    similarity = np.array([[0.1, 0.9], [0.2, 0.1]])
    annotation, search = retrieval_ranks(similarity, [0, 0])
    assert annotation.tolist() == [1, 0]
    assert search.tolist() == [2, 1]


def test_lazy_products_give_what_the_matrix_gives():
    rng = np.random.default_rng(1)
    sentences, pictures, images = rng.normal(size=(50, 8)), rng.normal(size=(10, 8)), np.repeat(np.arange(10), 5)
    lazy = Cosines(sentences, pictures)
    assert lazy.shape == (50, 10)
    assert retrieval_report(lazy, images) == retrieval_report(sentences @ pictures.T, images)
    with pytest.raises(ValueError, match="one width"):
        Cosines(sentences, pictures[:, :3])


def test_a_memory_map_is_read_by_rows(tmp_path):
    similarity = np.random.default_rng(2).random((30, 6)).astype(np.float32)
    np.save(tmp_path / "s.npy", similarity)
    images = np.repeat(np.arange(6), 5)
    assert retrieval_report(np.load(tmp_path / "s.npy", mmap_mode="r"), images) == retrieval_report(similarity, images)


@pytest.mark.parametrize(
    ("similarity", "images", "message"),
    [
        (np.zeros((3, 2)), [0, 1], "there are 2 sentences"),
        (np.zeros((2, 2)), [0, 2], "sentence 1 belongs to image 2, but there are 2 images"),
        (np.zeros((2, 2)), [0.0, 1.0], "an integer a sentence"),
        (np.array([[0, 1], [np.nan, 0]]), [0, 1], "sentence 1 hold NaN"),
    ],
)
def test_what_does_not_fit_is_refused(similarity, images, message):
    with pytest.raises(ValueError, match=message):
        retrieval_report(similarity, images)


def test_siblings_need_a_square_matrix():
    with pytest.raises(ValueError, match="square"):
        sibling_ranks(np.zeros((2, 3)), [0, 0])


def test_mean_accuracy_of_one_seed_has_no_deviation():
    assert mean_accuracy([[50.0], [70.0]]) == (60.0, 0.0)
