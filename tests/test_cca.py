"""Regularised CCA against the published code's numbers, plain linear algebra in float64, and cca-zoo."""

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import rnnfv
from rnnfv import RegularizedCCA, _cca_device, _cca_fit, _cca_krylov, _cca_sums
from rnnfv.cca import cca_path

ETAS = [1.0, 1e-3, 0.05, 0.3]


@pytest.fixture
def through_directions(monkeypatch):
    """Every fit goes by way of directions of its wider side."""
    monkeypatch.setattr(_cca_fit, "_directions_pay", lambda *_: True)


def make_pairs(rng, n=120, a=30, b=12, dtype=np.float64, decay=1.5):
    """Two sides that share a few hidden variables; variances fall, and means are far from zero."""
    hidden = rng.normal(size=(n, 5))
    sides = []
    for d in (a, b):
        noise = rng.normal(size=(n, d)) * np.arange(1, d + 1) ** -decay
        sides.append(hidden @ rng.normal(size=(5, d)) * 0.3 + noise @ np.linalg.qr(rng.normal(size=(d, d)))[0] + 3)
    return sides[0].astype(dtype), sides[1].astype(dtype)


def plain_cca(X, Y, eta):
    """SPEC S19 word by word: symmetric square roots of the covariances, and a full SVD."""
    sides, roots = [], []
    for side in (X.astype(np.float64), Y.astype(np.float64)):
        centred = side - side.mean(axis=0)
        values, vectors = np.linalg.eigh(centred.T @ centred / (len(side) - 1))
        sides.append(centred)
        roots.append(vectors / np.sqrt(values + eta * values[-1]) @ vectors.T)
    U, s, Vt = np.linalg.svd(roots[0] @ sides[0].T @ sides[1] @ roots[1] / (len(X) - 1))
    k = min(len(X) - 1, len(s))
    return s[:k], roots[0] @ U[:, :k], roots[1] @ Vt[:k].T


def plain_similarity(X, Y, eta, X_new, Y_new):
    correlations, *weights = plain_cca(X, Y, eta)
    scaled = []
    for side, new, w in zip((X, Y), (X_new, Y_new), weights, strict=True):
        projected = (new.astype(np.float64) - side.mean(axis=0, dtype=np.float64)) @ w * correlations
        scaled.append(projected / np.linalg.norm(projected, axis=1, keepdims=True))
    return scaled[0] @ scaled[1].T


# -- the result is right ---------------------------------------------------------------------------


@pytest.mark.parametrize(("eta", "name"), [(0.001, "0_001"), (0.05, "0_05")])
@pytest.mark.parametrize("way", ["whole", "directions"])
def test_agrees_with_the_published_code(eta, name, way, request):
    if way == "directions":
        request.getfixturevalue("through_directions")
    reference = np.load(Path(__file__).parent / "fixtures/hglmm_authors.npz")
    cca = RegularizedCCA(eta).fit(reference["cca_x_train"], reference["cca_y_train"])
    np.testing.assert_allclose(cca.correlations_, reference[f"cca_corr_eta_{name}"], rtol=0, atol=1e-8)
    similarity = cca.similarity(reference["cca_x_test"], reference["cca_y_test"])
    np.testing.assert_allclose(similarity, reference[f"cca_sim_eta_{name}"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(120, 30, 12), (120, 12, 30), (20, 40, 12), (20, 40, 30), (60, 1, 3), (2, 5, 4)])
@pytest.mark.parametrize("eta", [1e-4, 0.1, 50.0])
@pytest.mark.parametrize("way", ["whole", "directions"])
def test_agrees_with_plain_linear_algebra(shape, eta, way, rng, request):
    if way == "directions":
        request.getfixturevalue("through_directions")
    X, Y = make_pairs(rng, *shape)
    cca = RegularizedCCA(eta).fit(X, Y)
    correlations, x_weights, _ = plain_cca(X, Y, eta)
    k = len(cca.correlations_)
    np.testing.assert_allclose(cca.correlations_, correlations[:k], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(correlations[k:], 0, atol=1e-7 * correlations[0])
    np.testing.assert_allclose(np.abs(cca.x_weights_[:, 0]), np.abs(x_weights[:, 0]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(cca.similarity(X, Y), plain_similarity(X, Y, eta, X, Y), atol=1e-6)


def test_without_regularisation_variables_are_white_and_correlate_as_told(rng):
    X, Y = make_pairs(rng)
    cca = RegularizedCCA(0).fit(X, Y)
    x, y = cca.transform(X, Y)
    together = np.cov(x, y, rowvar=False)
    k = len(cca.correlations_)
    np.testing.assert_allclose(together[:k, :k], np.eye(k), atol=1e-8)
    np.testing.assert_allclose(together[k:, k:], np.eye(k), atol=1e-8)
    np.testing.assert_allclose(together[:k, k:], np.diag(cca.correlations_), atol=1e-8)


def test_directions_have_unit_regularised_variance(rng):
    X, Y = make_pairs(rng)
    cca = RegularizedCCA(0.2).fit(X, Y)
    for side, weights in ((X, cca.x_weights_), (Y, cca.y_weights_)):
        covariance = np.cov(side, rowvar=False)
        covariance += 0.2 * np.linalg.eigvalsh(covariance)[-1] * np.eye(len(covariance))
        np.testing.assert_allclose(weights.T @ covariance @ weights, np.eye(weights.shape[1]), atol=1e-9)


def test_agrees_with_cca_zoo(rng):
    linear = pytest.importorskip("cca_zoo.linear", reason="cca-zoo is not installed")
    X, Y = make_pairs(rng)
    shifts = [0.05 * np.linalg.eigvalsh(np.cov(side, rowvar=False))[-1] for side in (X, Y)]
    theirs = linear.RidgeCCA(n_components=4, shrinkage=[shift / (1 + shift) for shift in shifts]).fit([X, Y])
    ours = RegularizedCCA(0.05, n_components=4).fit(X, Y)
    for mine, other in zip((ours.x_weights_, ours.y_weights_), theirs.weights_, strict=True):
        cosines = np.einsum("dk,dk->k", mine, other) / np.linalg.norm(mine, axis=0) / np.linalg.norm(other, axis=0)
        np.testing.assert_allclose(np.abs(cosines), 1, atol=1e-6)


# -- what must not matter --------------------------------------------------------------------------


def assert_same(one, other, X, Y, rtol=1e-8):
    np.testing.assert_allclose(one.correlations_, other.correlations_, rtol=rtol, atol=1e-9)
    np.testing.assert_allclose(one.similarity(X, Y), other.similarity(X, Y), atol=10 * rtol)


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 79), max_size=6), seed=st.integers(0, 5))
def test_blocks_do_not_matter(cuts, seed):
    X, Y = make_pairs(np.random.default_rng(seed), n=80, a=9, b=6)
    X[:10] += 100  # the first block's mean is far from the others'
    blocks = RegularizedCCA(0.01)
    for x, y in zip(np.split(X, sorted(cuts)), np.split(Y, sorted(cuts)), strict=True):
        if len(x):
            blocks.partial_fit(x, y)
    assert_same(blocks, RegularizedCCA(0.01).fit(X, Y), X, Y)


@pytest.mark.parametrize("width", [3, 600])
def test_panels_and_blocks_of_the_sums_do_not_matter(width, rng, monkeypatch):
    X, Y = make_pairs(rng, n=100, a=width, b=2)
    whole = RegularizedCCA(0.01).fit(X, Y)
    monkeypatch.setattr(_cca_sums, "_PANEL", 7)
    monkeypatch.setattr(_cca_sums, "_BLOCK_ROWS", 13)
    assert_same(RegularizedCCA(0.01).fit(X, Y), whole, X, Y)


@pytest.mark.parametrize("way", ["whole", "directions"])
def test_the_order_of_rows_does_not_matter(way, rng, request):
    if way == "directions":
        request.getfixturevalue("through_directions")
    X, Y = make_pairs(rng)
    order = rng.permutation(len(X))
    one, other = RegularizedCCA(0.01).fit(X, Y), RegularizedCCA(0.01).fit(X[order], Y[order])
    assert_same(one, other, X, Y)
    np.testing.assert_allclose(one.x_weights_[:, :4], other.x_weights_[:, :4], atol=1e-6)  # signs too


@pytest.mark.parametrize("way", ["whole", "directions"])
def test_sides_can_be_swapped(way, rng, request):
    if way == "directions":
        request.getfixturevalue("through_directions")
    X, Y = make_pairs(rng)
    one, other = RegularizedCCA(0.01).fit(X, Y), RegularizedCCA(0.01).fit(Y, X)
    np.testing.assert_allclose(one.correlations_, other.correlations_, rtol=1e-9)
    np.testing.assert_allclose(one.similarity(X, Y), other.similarity(Y, X).T, atol=1e-8)


def test_scale_shift_rotation_and_repeats_do_not_matter(rng):
    X, Y = make_pairs(rng)
    turn = np.linalg.qr(rng.normal(size=(X.shape[1],) * 2))[0]
    base = RegularizedCCA(0.01).fit(X, Y)
    for x, y in ((X * 1e-6, Y * 1e5), (X - 50, Y + 7), (X @ turn, Y)):
        moved = RegularizedCCA(0.01).fit(x, y)
        np.testing.assert_allclose(moved.correlations_, base.correlations_, rtol=1e-8)
        np.testing.assert_allclose(moved.similarity(x, y), base.similarity(X, Y), atol=1e-7)
    twice = RegularizedCCA(0.01).fit(np.repeat(X, 2, axis=0), np.repeat(Y, 2, axis=0))
    np.testing.assert_allclose(twice.correlations_, base.correlations_, rtol=1e-9)


def test_more_regularisation_makes_correlations_smaller(rng):
    X, Y = make_pairs(rng)
    strengths = np.array([cca.correlations_ for cca in cca_path(X, Y, [0, 1e-3, 0.1, 1, 10])])
    assert (np.diff(strengths, axis=0) < 0).all()


# -- several regularisations -----------------------------------------------------------------------


@pytest.mark.parametrize("way", ["whole", "directions"])
def test_a_path_is_separate_fits(way, rng, request):
    if way == "directions":
        request.getfixturevalue("through_directions")
    X, Y = make_pairs(rng, n=150, a=80, b=6)
    for eta, cca in zip(ETAS, cca_path(X, Y, ETAS, n_components=4), strict=True):
        assert cca.get_params() == {"regularization": eta, "n_components": 4, "device": "cpu"}
        assert cca.n_features_in_ == 80
        assert_same(cca, RegularizedCCA(eta, 4).fit(X, Y), X, Y, rtol=1e-7)


def test_a_path_after_blocks_and_more_blocks_after_it(rng):
    X, Y = make_pairs(rng)
    cca = RegularizedCCA(0.7)
    assert cca.partial_fit(X[:60], Y[:60]) is cca
    for eta, fitted in zip(ETAS, cca.path(ETAS), strict=True):
        assert_same(fitted, RegularizedCCA(eta).fit(X[:60], Y[:60]), X, Y)
    before = cca.correlations_
    cca.partial_fit(X[60:], Y[60:])
    assert not np.allclose(cca.correlations_, before)
    assert_same(cca, RegularizedCCA(0.7).fit(X, Y), X, Y)


def test_a_path_makes_one_estimator_at_a_time(rng, monkeypatch):
    calls = []
    factor = _cca_sums.Symmetric.factor
    monkeypatch.setattr(_cca_sums.Symmetric, "factor", lambda *args: calls.append(args[1]) or factor(*args))
    path = cca_path(*make_pairs(rng), ETAS)
    next(path)
    assert len(calls) == 2  # one of either side
    assert len(list(path)) == 3
    assert len(calls) == 8


# -- directions of a wide side ---------------------------------------------------------------------


def test_few_directions_are_enough_and_the_data_is_read_rarely(rng, monkeypatch, through_directions):
    n, a, b = 600, 500, 20
    X, Y = make_pairs(rng, n, a, b)
    widths = []
    project = _cca_krylov.Centred.project
    monkeypatch.setattr(_cca_krylov.Centred, "project", lambda self, V: widths.append(V.shape[1]) or project(self, V))
    wide = RegularizedCCA(0.01).fit(X, Y)
    assert len(widths) <= 6
    assert sum(widths) < a / 3
    monkeypatch.undo()
    assert_same(wide, RegularizedCCA(0.01).fit(X, Y), X, Y, rtol=1e-7)


def test_what_is_not_asked_for_is_not_computed(rng, monkeypatch, through_directions):
    X, Y = make_pairs(rng, 600, 500, 20)
    widths = []
    project = _cca_krylov.Centred.project
    monkeypatch.setattr(_cca_krylov.Centred, "project", lambda self, V: widths.append(V.shape[1]) or project(self, V))
    path = cca_path(X, Y, [1.0, 1e-2, 1e-4])
    needed = [(next(path), sum(widths))[1] for _ in range(3)]
    assert 0 < needed[0] < needed[1] < needed[2]


@pytest.mark.parametrize("etas", [[1.0, 1e-2, 1e-4], [1e-4, 1e-2, 1.0], [1e-2, 1e-6]])
def test_the_order_of_a_path_does_not_matter(etas, rng, through_directions):
    X, Y = make_pairs(rng, 300, 40, 3, decay=0.1)  # the smallest needs the whole matrix
    for eta, cca in zip(etas, cca_path(X, Y, etas), strict=True):
        np.testing.assert_allclose(cca.correlations_, plain_cca(X, Y, eta)[0], rtol=1e-7)


def test_one_narrow_column_needs_many_directions_and_is_still_right(rng, through_directions):
    X, Y = make_pairs(rng, 60, 200, 1, decay=0.2)
    cca = RegularizedCCA(1e-4).fit(X, Y)
    np.testing.assert_allclose(cca.correlations_, plain_cca(X, Y, 1e-4)[0], rtol=1e-8)


def test_a_strong_direction_that_the_other_side_knows_nothing_of_sets_the_ridge(rng, through_directions):
    X, Y = make_pairs(rng, 400, 40, 5)
    nuisance = rng.normal(size=(400, 1))
    known = np.column_stack([Y, np.ones(400)])
    X[:, :1] += 50 * (nuisance - known @ np.linalg.lstsq(known, nuisance, rcond=None)[0])
    cca = RegularizedCCA(1e-3).fit(X, Y)
    np.testing.assert_allclose(cca.correlations_, plain_cca(X, Y, 1e-3)[0], rtol=1e-7)


def test_where_too_many_directions_are_needed_the_whole_matrix_is_summed(rng, monkeypatch, through_directions):
    X, Y = make_pairs(rng, 300, 40, 3, decay=0.1)
    ways = []
    fit_sums = _cca_fit.fit_sums
    monkeypatch.setattr(_cca_fit, "fit_sums", lambda *args, **kw: ways.append("sums") or fit_sums(*args, **kw))
    cca = RegularizedCCA(1e-6).fit(X, Y)
    assert ways == ["sums"]
    np.testing.assert_allclose(cca.correlations_, plain_cca(X, Y, 1e-6)[0], rtol=1e-8)


@pytest.mark.parametrize(
    ("n", "wide", "narrow", "etas", "pays"),
    [
        (30_000, 35_350, 1_280, [1e-4, 1e-2, 1], True),  # sentences and images
        (1_000, 36_000, 4_096, [1e-3], True),  # few rows
        (20_000, 4_096, 4_096, [0.1], False),
        (30_000, 35_350, 1_280, [1e-12], False),
        (500, 300, 3, [0.1], False),
    ],
)
def test_the_way_is_chosen_by_shape(n, wide, narrow, etas, pays):
    assert _cca_fit._directions_pay(n, wide, narrow, etas) == pays


# -- precision and memory --------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["whole", "directions"])
@pytest.mark.parametrize("eta", [1e-7, 1e-3])
def test_float32_stays_float32_and_close(eta, way, rng, request):
    if way == "directions":
        request.getfixturevalue("through_directions")
    X, Y = make_pairs(rng, 2000, 60, 20, dtype=np.float32)
    cca = RegularizedCCA(eta).fit(X, Y)
    assert cca.x_weights_.dtype == cca.y_mean_.dtype == cca.transform(X).dtype == np.float32
    assert cca.similarity(X[:5], Y[:5]).dtype == np.float32
    np.testing.assert_allclose(cca.correlations_, plain_cca(X, Y, eta)[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(cca.similarity(X, Y), plain_similarity(X, Y, eta, X, Y), atol=2e-3)


def test_each_side_keeps_its_dtype(rng):
    X, Y = make_pairs(rng)
    cca = RegularizedCCA().fit(X.astype(np.float32), Y)
    assert (cca.x_weights_.dtype, cca.y_weights_.dtype) == (np.float32, np.float64)
    assert RegularizedCCA().fit(np.arange(10).reshape(5, 2), [[0], [1], [5], [1], [2]]).y_weights_.dtype == np.float32


def test_means_far_from_zero_cost_float32_no_digits(rng):
    X, Y = make_pairs(rng, 3000, 20, 10)
    far = (X + 1000).astype(np.float32)
    exact = plain_cca(far, Y, 1e-3)[0]
    ours = RegularizedCCA(1e-3)
    for start in range(0, 3000, 500):
        ours.partial_fit(far[start : start + 500], Y[start : start + 500].astype(np.float32))
    np.testing.assert_allclose(ours.correlations_, exact, atol=1e-5)


@pytest.mark.parametrize("way", ["whole", "directions"])
def test_reads_memory_maps(way, tmp_path, rng, request):
    if way == "directions":
        request.getfixturevalue("through_directions")
    X, Y = make_pairs(rng)
    maps = []
    for name, side in (("x", X), ("y", Y)):
        np.save(tmp_path / f"{name}.npy", side)
        maps.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    assert_same(RegularizedCCA().fit(*maps), RegularizedCCA().fit(X, Y), *maps)


def test_a_factor_is_made_in_place_and_leaves_the_sum(rng):
    rows = rng.normal(size=(900, 700))
    matrix = _cca_sums.Symmetric(700)
    matrix.add(rows)
    product = rows.T @ rows
    assert matrix.largest() == pytest.approx(np.linalg.eigvalsh(product)[-1], rel=1e-10)
    for shift in (1.0, 30.0):
        factor = matrix.factor(shift)
        assert np.shares_memory(factor, matrix.upper)
        np.testing.assert_allclose(np.triu(factor).T @ np.triu(factor), product + shift * np.eye(700), atol=1e-9)
        np.testing.assert_allclose(np.triu(matrix.upper), np.triu(product), atol=1e-9)


# -- using it --------------------------------------------------------------------------------------


def test_transforms_either_side_alone(rng):
    X, Y = make_pairs(rng)
    cca = RegularizedCCA(0.01, n_components=3).fit(X, Y)
    np.testing.assert_allclose(cca.transform(X), (X - X.mean(axis=0)) @ cca.x_weights_, atol=1e-12)
    both = cca.transform(X[:7], Y[:9])
    assert [side.shape for side in both] == [(7, 3), (9, 3)]
    np.testing.assert_array_equal(both[1], cca.transform_y(Y[:9]))
    scaled = [side * cca.correlations_ for side in both]
    scaled = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in scaled]
    np.testing.assert_allclose(scaled[0] @ scaled[1].T, cca.similarity(X[:7], Y[:9]), atol=1e-12)


def test_a_row_at_the_mean_is_like_nothing(rng):
    X, Y = make_pairs(rng)
    cca = RegularizedCCA().fit(X, Y)
    assert (cca.similarity(cca.x_mean_[None], Y) == 0).all()


def test_the_largest_entry_of_each_direction_is_positive(rng):
    X, Y = make_pairs(rng)
    weights = RegularizedCCA().fit(X, Y).x_weights_
    assert (weights.max(axis=0) == np.abs(weights).max(axis=0)).all()


@pytest.mark.parametrize("streamed", [False, True])
def test_saves_and_loads(streamed, tmp_path, rng):
    X, Y = make_pairs(rng)
    cca = RegularizedCCA(0.02, n_components=5)
    (cca.partial_fit if streamed else cca.fit)(X, Y)
    cca.save(tmp_path / "cca")
    loaded = rnnfv.load(tmp_path / "cca")
    assert loaded.get_params() == cca.get_params()
    np.testing.assert_array_equal(loaded.correlations_, cca.correlations_)
    np.testing.assert_array_equal(loaded.similarity(X, Y), cca.similarity(X, Y))
    with pytest.raises(ValueError, match="has no sums to add to"):
        loaded.partial_fit(X, Y)


def test_is_a_scikit_learn_transformer(rng):
    X, Y = make_pairs(rng)
    cca = clone(RegularizedCCA(0.02, 3)).set_params(regularization=0.03)
    assert cca.get_params() == {"regularization": 0.03, "n_components": 3, "device": "cpu"}
    assert not hasattr(cca, "correlations_")
    assert make_pipeline(StandardScaler(), cca).fit(X, Y).transform(X).shape == (120, 3)
    frame = cca.set_output(transform="pandas").fit_transform(pd.DataFrame(X, columns=[f"c{i}" for i in range(30)]), Y)
    assert list(frame.columns) == ["regularizedcca0", "regularizedcca1", "regularizedcca2"]
    assert list(cca.feature_names_in_) == [f"c{i}" for i in range(30)]


# -- what cannot be solved -------------------------------------------------------------------------


def test_names_the_row_that_is_not_finite(rng, monkeypatch):
    monkeypatch.setattr(_cca_sums, "_BLOCK_ROWS", 50)
    X, Y = make_pairs(rng)
    X[77, 3], Y[101, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match="row 77 of X has a NaN or infinite value"):
        RegularizedCCA().fit(X, Y)
    with pytest.raises(ValueError, match="row 101 of Y has a NaN"):
        RegularizedCCA().fit(np.nan_to_num(X), Y)
    cca = RegularizedCCA().fit(X[:50], Y[:50])
    with pytest.raises(ValueError, match="row 77 of X"):
        cca.transform(X)
    with pytest.raises(ValueError, match="row 101 of Y"):
        cca.similarity(X[:50], Y)


def test_a_refused_block_leaves_the_sums_as_they_were(rng):
    X, Y = make_pairs(rng)
    cca = RegularizedCCA(0.01).partial_fit(X[:60], Y[:60])
    bad = Y[60:].copy()
    bad[-1, -1] = np.nan
    for x, y in ((X[60:], bad), (X[60:], Y[60:, 1:]), (X[60:, 1:], Y[60:]), (X[60:], Y[61:])):
        with pytest.raises(ValueError, match=r"row 59 of Y|columns|features|rows"):
            cca.partial_fit(x, y)
    assert_same(cca.partial_fit(X[60:], Y[60:]), RegularizedCCA(0.01).fit(X, Y), X, Y)


@pytest.mark.parametrize(
    ("params", "x_rows", "message"),
    [
        ({"regularization": -1.0}, 120, "regularization is -1.0"),
        ({"regularization": np.nan}, 120, "regularization is nan"),
        ({"n_components": 0}, 120, "n_components is 0: it must be 1 to 12"),
        ({"n_components": 13}, 120, "n_components is 13: it must be 1 to 12 with 120 rows of 30 and 12 columns"),
        ({}, 119, "X has 119 rows and Y has 120"),
    ],
)
def test_says_what_is_wrong(params, x_rows, message, rng):
    X, Y = make_pairs(rng)
    with pytest.raises(ValueError, match=message):
        RegularizedCCA(**params).fit(X[:x_rows], Y)


@pytest.mark.parametrize("way", ["whole", "directions"])
def test_data_that_says_nothing(way, rng, request):
    if way == "directions":
        request.getfixturevalue("through_directions")
    X, Y = make_pairs(rng, dtype=np.float32)
    for constant in (np.full_like(X, 0.1), np.zeros((len(X), 600))):
        with pytest.raises(ValueError, match="all rows of X are equal"):
            RegularizedCCA().fit(constant, Y)
        with pytest.raises(ValueError, match="all rows of Y are equal"):
            RegularizedCCA().fit(X, constant)
    with pytest.raises(ValueError, match="1 pair of rows: correlations need at least 2"):
        RegularizedCCA().fit(X[:1], Y[:1])
    signs = hadamard(8).astype(float)[:, 1:]
    with pytest.raises(ValueError, match="covariance of zero"):
        RegularizedCCA().fit(signs[:, :5], signs[:, 5:])


def test_without_regularisation_columns_must_be_independent(rng):
    X, Y = make_pairs(rng)
    doubled = np.hstack([X, X[:, :2].sum(axis=1, keepdims=True)])
    with pytest.raises(ValueError, match=r"column 30 of X .* regularization=0 is too small .* raise it"):
        RegularizedCCA(0).fit(doubled, Y)
    with pytest.raises(ValueError, match=r"column 12 of Y .* combination"):
        RegularizedCCA(0).fit(X, np.hstack([Y, np.ones((120, 1))]))
    with pytest.raises(ValueError, match=r"column \d+ of X"):
        RegularizedCCA(0).fit(X[:20], Y[:20])
    assert np.isfinite(RegularizedCCA(1e-6).fit(doubled, Y).correlations_).all()


def test_one_pair_alone_is_not_enough_but_a_beginning(rng):
    X, Y = make_pairs(rng)
    cca = RegularizedCCA(0.01).partial_fit(X[:1], Y[:1])
    with pytest.raises(ValueError, match="at least 2"):
        cca.transform(X)
    assert_same(cca.partial_fit(X[1:], Y[1:]), RegularizedCCA(0.01).fit(X, Y), X, Y)


def test_a_path_says_at_once_what_is_wrong(rng):
    X, Y = make_pairs(rng)
    with pytest.raises(ValueError, match="regularization is -2"):
        cca_path(X, Y, [0.1, -2])
    with pytest.raises(ValueError, match="no regularizations"):
        cca_path(X, Y, [])
    with pytest.raises(ValueError, match="n_components is 99"):
        cca_path(X, Y, [0.1], n_components=99)
    with pytest.raises(ValueError, match="call that first, or cca_path"):
        RegularizedCCA().fit(X, Y).path([0.1])


# -- parts -----------------------------------------------------------------------------------------


def test_merged_parts_are_the_whole(rng):
    X, Y = make_pairs(rng)
    whole = RegularizedCCA(1e-2).partial_fit(X, Y)._sums
    for cuts in ([1], [3, 4, 50], [len(X) - 1]):
        parts = [
            RegularizedCCA(1e-2).partial_fit(X[start:stop] + 0, Y[start:stop])
            for start, stop in zip([0, *cuts], [*cuts, len(X)], strict=True)
        ]
        before = parts[-1]._sums.xx.upper.copy()
        for part in parts[1:]:
            parts[0].merge(part)
        np.testing.assert_array_equal(parts[-1]._sums.xx.upper, before)
        merged = parts[0]._sums
        assert merged.n == whole.n
        for name in ("x_mean", "y_mean", "xy"):
            np.testing.assert_allclose(getattr(merged, name), getattr(whole, name), rtol=1e-12, atol=1e-12 * len(X))
        for name in ("xx", "yy"):
            upper = [np.triu(getattr(sums, name).upper) for sums in (merged, whole)]
            np.testing.assert_allclose(upper[0], upper[1], rtol=1e-12, atol=1e-12 * len(X))


def test_a_sum_that_was_sent_is_as_good_as_one_made_here(rng):
    X, Y = make_pairs(rng)
    cca = RegularizedCCA(1e-2).partial_fit(X, Y)
    buffers = []
    data = pickle.dumps(cca, protocol=5, buffer_callback=buffers.append)
    sent = pickle.loads(data, buffers=[bytes(buffer) for buffer in buffers])  # read-only memory
    assert (
        len(data) + sum(buffer.raw().nbytes for buffer in buffers)
        < 1.5 * sum(array.nbytes for array in (cca._sums.xx._array, cca._sums.xy, cca._sums.yy._array)) + 10_000
    )
    np.testing.assert_array_equal(sent.x_weights_, cca.x_weights_)
    np.testing.assert_array_equal(sent.partial_fit(X, Y).x_weights_, cca.partial_fit(X, Y).x_weights_)


def test_what_cannot_be_merged(rng):
    X, Y = make_pairs(rng)
    cca = RegularizedCCA().partial_fit(X, Y)
    with pytest.raises(ValueError, match="merge needs the sums of partial_fit on both sides"):
        cca.merge(RegularizedCCA().fit(X, Y))
    with pytest.raises(ValueError, match="cannot be merged"):
        cca.merge(RegularizedCCA(0.5).partial_fit(X, Y))
    with pytest.raises(ValueError, match="cannot be merged"):
        cca.merge(RegularizedCCA().partial_fit(X, Y[:, 1:]))


# -- errors in the middle --------------------------------------------------------------------------


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
@pytest.mark.parametrize("calls", [0, 1])
def test_sums_that_got_a_part_of_a_block_are_refused(device, calls, rng, monkeypatch):
    """Ctrl-C or no memory, between two products of the second block, or while a device's products are fetched."""
    X, Y = make_pairs(rng)
    cca = RegularizedCCA(device=device).partial_fit(X, Y)
    module = _cca_sums if device == "cpu" else _cca_device
    real = _cca_sums.add_product

    def interrupted(*args, done=[0]):  # noqa: B006, one list for all calls
        done[0] += 1
        if done[0] > calls:
            raise KeyboardInterrupt
        real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(module, "add_product", interrupted)
        patch.setattr(_cca_sums, "_BLOCK_ROWS", 70)
        with pytest.raises(KeyboardInterrupt):
            cca.partial_fit(X, Y)
    for use in (lambda: cca.partial_fit(X, Y), cca._sums.whole, lambda: pickle.dumps(cca)):
        with pytest.raises(RuntimeError, match="begin anew"):
            use()
    other = RegularizedCCA(device=device).partial_fit(X, Y)
    with pytest.raises(RuntimeError, match="begin anew"):
        other.merge(cca)
    assert_same(cca.fit(X, Y), other, X, Y)


def test_products_that_were_fetched_in_part_are_refused(rng, monkeypatch):
    X, Y = make_pairs(rng)
    cca = RegularizedCCA(device="cpu:0").partial_fit(X, Y)
    monkeypatch.setattr(_cca_device.DeviceProducts, "add_to", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cca.correlations_  # noqa: B018, computed
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="begin anew"):
        cca.correlations_  # noqa: B018, computed


# -- devices ---------------------------------------------------------------------------------------

# "cpu:0" is the CPU by way of torch, as any GPU is.
DEVICES = ["cpu:0", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture
def small_pieces(monkeypatch):
    """Products are made, and fetched, a few rows at a time."""
    monkeypatch.setattr(_cca_sums, "_PANEL", 16)
    monkeypatch.setattr(_cca_device, "_PRODUCT_VALUES", 1000)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("eta", "dtypes"), [(1e-3, "ff"), (1e-7, "ff"), (1e-3, "fd"), (1e-3, "df"), (1e-7, "dd")])
def test_devices_agree(device, eta, dtypes, rng, small_pieces):
    X, Y = (side.astype(dtype) for side, dtype in zip(make_pairs(rng, n=300, a=60), dtypes, strict=True))
    here, there = (RegularizedCCA(eta, 3, device=place).fit(X, Y) for place in ("cpu", device))
    in_blocks = RegularizedCCA(eta, 3, device=device).partial_fit(X[:290], Y[:290]).partial_fit(X[290:], Y[290:])
    for cca in (there, in_blocks):
        assert_same(cca, here, X, Y, rtol=1e-8 if dtypes == "dd" else 1e-4)
    assert there.x_weights_.dtype == X.dtype


@pytest.fixture(params=["setting", "autocast"])
def few_digits(request):
    """The caller has told torch that products of float32 need few digits."""
    products = torch.backends.cuda.matmul
    if request.param == "autocast":
        devices = {torch.device(name).type for name in DEVICES}
        with ExitStack() as stack:
            for device in devices:
                stack.enter_context(torch.autocast(device, torch.bfloat16))
            yield
        return
    before, products.fp32_precision = products.fp32_precision, "tf32"
    yield
    after, products.fp32_precision = products.fp32_precision, before
    assert after == "tf32"


@pytest.mark.parametrize("device", DEVICES)
def test_products_on_a_device_keep_their_digits(device, rng, few_digits, monkeypatch):
    X, Y = (side.astype(np.float32) for side in make_pairs(rng))
    settings = set()
    for name in ("add_product", "add_triangle"):
        real = getattr(_cca_device, name)
        monkeypatch.setattr(
            _cca_device,
            name,
            lambda *args, real=real: (settings.add(torch.backends.cuda.matmul.fp32_precision), real(*args)),
        )
    here, there = (RegularizedCCA(device=place).partial_fit(X, Y)._sums.whole() for place in ("cpu", device))
    for name in ("xx", "xy", "yy"):
        sums = [getattr(side, name) for side in (here, there)]
        sums = [np.triu(side.upper) if name != "xy" else side for side in sums]
        np.testing.assert_allclose(sums[1], sums[0], rtol=1e-5, atol=1e-4)
    assert "tf32" not in settings


def test_sums_on_a_device_can_be_asked_sent_merged_and_added_to(rng):
    X, Y = make_pairs(rng)
    whole = RegularizedCCA(1e-2).fit(X, Y)
    cca = RegularizedCCA(1e-2, device="cpu:0").partial_fit(X[:50], Y[:50])
    assert_same(cca, RegularizedCCA(1e-2).fit(X[:50], Y[:50]), X, Y)
    sent = pickle.loads(pickle.dumps(cca.partial_fit(X[50:70], Y[50:70])))
    assert cca._sums._away is None  # what is sent is of no device
    sent.set_params(device="cpu").partial_fit(X[70:80], Y[70:80])  # nor bound to one
    sent.merge(RegularizedCCA(1e-2, device="cpu:0").partial_fit(X[80:90], Y[80:90]))
    assert_same(sent.set_params(device="cpu:0").partial_fit(X[90:], Y[90:]), whole, X, Y)
    (again,) = cca.partial_fit(X[70:], Y[70:]).path([1e-2])
    assert_same(again, whole, X, Y)


def test_a_path_goes_through_the_device_and_not_through_directions(rng, monkeypatch, through_directions):
    X, Y = make_pairs(rng)
    used = []
    real = _cca_device.DeviceProducts.add
    monkeypatch.setattr(_cca_device.DeviceProducts, "add", lambda *args: (used.append(1), real(*args)))
    for eta, cca in zip(ETAS, cca_path(X, Y, ETAS, device="cpu:0"), strict=True):
        assert_same(cca, RegularizedCCA(eta).fit(X, Y), X, Y)
    assert used == [1]


def test_sums_begun_in_inference_mode_can_be_added_to_outside(rng):
    X, Y = make_pairs(rng)
    with torch.inference_mode():
        cca = RegularizedCCA(device="cpu:0").partial_fit(X[:50], Y[:50])
    assert_same(cca.partial_fit(X[50:], Y[50:]), RegularizedCCA().fit(X, Y), X, Y)


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_threads_may_ask_at_once(device, rng):
    X, Y = make_pairs(rng, n=400, a=200, b=150)
    expected = RegularizedCCA().fit(X, Y)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            cca = RegularizedCCA(device=device).partial_fit(X, Y)
            with ThreadPoolExecutor(4) as threads:
                found = list(threads.map(lambda _, cca=cca: (cca.correlations_, cca.x_weights_), range(8)))
            for correlations, weights in found:
                np.testing.assert_allclose(correlations, expected.correlations_, atol=1e-10)
                assert weights is found[0][1]
    finally:
        sys.setswitchinterval(interval)


def test_a_device_that_cannot_be_used_is_named_before_anything_is_added(rng, monkeypatch):
    def no_room(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 GiB\nmore")

    X, Y = make_pairs(rng)
    for device, message in (
        ("gpu", "there is no device 'gpu': give auto, cpu, cuda"),
        ("cpu:0", "30 and 12 columns cannot be summed on 'cpu:0': CUDA out of .* 7 GiB. Take device='cpu'$"),
    ):
        cca = RegularizedCCA(device=device)
        for fit in (cca.fit, cca.partial_fit):
            with monkeypatch.context() as patch:
                patch.setattr(torch, "zeros", no_room)
                with pytest.raises(ValueError, match=message):
                    fit(X, Y)
        cca.set_params(device="auto").partial_fit(X[:, 1:], Y)
