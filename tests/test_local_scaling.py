"""Local scaling: against a loop over the definition, and what users of unit vectors rely on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import normalize

import rnnfv
from rnnfv import LocalScaling, local_scaling


def unit(rng, n, width, dtype=np.float64):
    vectors = rng.normal(size=(n, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)


def csls(x, y, x_bank, y_bank, k):
    """A quarter of 2 cos(x, y) - r(x) - r(y), with r the mean cosine with the k nearest of the other kind."""
    r_x = np.mean(sorted(float(x @ other) for other in y_bank)[-k:])
    r_y = np.mean(sorted(float(y @ other) for other in x_bank)[-k:])
    return (2 * float(x @ y) - r_x - r_y) / 4


@given(
    seed=st.integers(0, 99),
    width=st.integers(1, 6),
    sizes=st.tuples(st.integers(3, 9), st.integers(3, 9), st.integers(0, 5), st.integers(0, 5)),
    k=st.integers(1, 3),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_products_are_the_definition_s_and_lengths_one(seed, width, sizes, k, dtype):
    rng = np.random.default_rng(seed)
    x_bank, y_bank, X, Y = (unit(rng, n, width, dtype) for n in sizes)
    scaling = LocalScaling(k).fit(x_bank, y_bank)
    left, right = scaling.transform(X), scaling.transform_y(Y)
    tolerance = 1e-12 if dtype == np.float64 else 1e-6
    wanted = np.array([[csls(x, y, x_bank, y_bank, k) for y in Y] for x in X]).reshape(len(X), len(Y))
    np.testing.assert_allclose(left @ right.T, wanted, atol=tolerance)
    for vectors in (left, right):
        assert vectors.dtype == dtype
        assert vectors.shape[1] == width + 4
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=tolerance)


def test_two_of_a_kind_are_compared_almost_as_by_their_cosine(rng):
    X, Y = unit(rng, 40, 8), unit(rng, 30, 8)
    scaling = LocalScaling(5).fit(X, Y)
    usual = np.arcsin(np.sort(X @ Y.T, axis=1)[:, -5:].mean(axis=1))
    angles = usual[:, None] - usual
    wanted = X @ X.T / 2 + (1 + np.cos(angles)) / 4
    vectors = scaling.transform(X)
    np.testing.assert_allclose(vectors @ vectors.T, wanted, atol=1e-12)
    assert (np.abs(wanted - X @ X.T / 2 - 0.5) <= angles**2 / 8 + 1e-12).all()


def test_a_hub_is_nobody_s_nearest_any_more():
    """One result is fairly near to every query, which has another of its own that is a little less near."""
    angles = np.linspace(0.2, 0.3, 20)[:, None] * np.eye(20)
    queries = normalize(np.hstack([np.ones((20, 1)), angles]))
    own = normalize(np.hstack([np.ones((20, 1)), 3 * angles]))
    hub = normalize(np.eye(21)[:1] + 1e-3)
    results = np.vstack([own, hub])
    assert (np.argmax(queries @ results.T, axis=1) == 20).all()
    scaling = LocalScaling(5).fit(queries, own)
    scaled = scaling.transform(queries) @ scaling.transform_y(results).T
    assert np.argmax(scaled, axis=1).tolist() == list(range(20))


def test_one_query_s_vector_does_not_depend_on_the_others(rng, monkeypatch):
    X, Y = unit(rng, 50, 8), unit(rng, 40, 8)
    scaling = LocalScaling(5).fit(X, Y)
    whole = scaling.transform(X)
    np.testing.assert_allclose(scaling.transform(X[7:8]), whole[7:8], atol=1e-15)
    monkeypatch.setattr(local_scaling, "_BLOCK_VALUES", 90)  # two rows at once
    np.testing.assert_allclose(scaling.transform(X), whole, atol=1e-15)


def test_without_neighbours_nothing_changes_and_nothing_is_kept(rng):
    X, Y = unit(rng, 5, 4), unit(rng, 6, 4)
    scaling = LocalScaling(neighbours=0).fit(X, Y)
    assert (scaling.transform(X) == X).all()
    assert (scaling.transform_y(Y) == Y).all()
    assert scaling.x_bank_.shape == scaling.y_bank_.shape == (0, 4)


def test_what_was_fitted_on_is_kept_as_it_was(rng):
    X, Y = unit(rng, 12, 3), unit(rng, 11, 3)
    scaling = LocalScaling(neighbours=2).fit(X, Y)
    new = unit(rng, 4, 3)
    before = scaling.transform(new), scaling.transform_y(new)
    X[:] = Y[:] = 0
    assert (scaling.transform(new) == before[0]).all()
    assert (scaling.transform_y(new) == before[1]).all()


def test_saved_and_cloned_it_is_the_same(rng, tmp_path):
    X, Y = unit(rng, 12, 3), unit(rng, 11, 3)
    scaling = LocalScaling(neighbours=2).fit(X, Y)
    scaling.save(tmp_path / "scaling")
    loaded = rnnfv.load(tmp_path / "scaling")
    assert (loaded.transform_y(Y) == scaling.transform_y(Y)).all()
    with pytest.raises(NotFittedError):
        clone(loaded).transform(X)


def test_what_cannot_be_is_refused(rng):
    X, Y = unit(rng, 4, 3), unit(rng, 9, 3)
    with pytest.raises(ValueError, match="neighbours is 5: give a whole number from 0 to 4"):
        LocalScaling(5).fit(X, Y)
    with pytest.raises(ValueError, match=r"neighbours is 1\.5"):
        LocalScaling(1.5).fit(X, Y)
    with pytest.raises(ValueError, match="row 2 of Y has length 3, not 1"):
        LocalScaling(1).fit(X, Y * np.array([1, 1, 3, *[1] * 6])[:, None])
    with pytest.raises(ValueError, match=r"row 0 of X has length 0\.5, not 1"):
        LocalScaling(1).fit(X, Y).transform(X / 2)
    with pytest.raises(ValueError, match="row 1 of X is all zeros"):
        LocalScaling(1).fit(X * np.array([[1], [0], [1], [1]]), Y)
    with pytest.raises(ValueError, match=r"neighbours is 1\.5, but 9 vectors are kept"):
        LocalScaling(1).fit(X, Y).set_params(neighbours=1.5).transform(X)
    with pytest.raises(ValueError, match="neighbours is -1"):
        LocalScaling(-1).fit(X, Y)
    with pytest.raises(ValueError, match="X has 3 columns and Y 2"):
        LocalScaling(1).fit(X, normalize(Y[:, :2]))
    with pytest.raises(ValueError, match="the vectors have 2 values, and those fitted on 3"):
        LocalScaling(1).fit(X, Y).transform(normalize(X[:, :2]))
    with pytest.raises(ValueError, match="NaN"):
        LocalScaling(1).fit(X, Y).transform(X * np.nan)
    with pytest.raises(ValueError, match="neighbours is 1, but 0 vectors are kept: fit again"):
        LocalScaling(0).fit(X, Y).set_params(neighbours=1).transform(X)
