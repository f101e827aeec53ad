import tracemalloc

import numpy as np
import pytest
from sklearn.decomposition import PCA

import rnnfv
from rnnfv import FisherInformationScaler, GramPCA, KroneckerPCA, RNNFisherVector, decomposition


@pytest.mark.parametrize("shape", [(30, 200), (200, 30), (40, 40)])
@pytest.mark.parametrize("block", [50, 1 << 20])
def test_agrees_with_a_full_svd(shape, block, rng, monkeypatch):
    monkeypatch.setattr(decomposition, "_BLOCK_VALUES", block)
    X = rng.normal(size=shape) @ np.diag(rng.uniform(0.1, 3, size=shape[1])) + 5
    ours = GramPCA(10).fit(X)
    full = PCA(10, svd_solver="full").fit(X)
    np.testing.assert_allclose(ours.explained_variance_, full.explained_variance_)
    overlap = np.abs(np.einsum("kd,kd->k", ours.components_, full.components_))
    np.testing.assert_allclose(overlap, 1)
    np.testing.assert_allclose(np.abs(ours.transform(X)), np.abs(full.transform(X)), atol=1e-9)


def test_float32_stays_float32_and_close(rng):
    X = rng.normal(size=(50, 400)).astype(np.float32) + 3
    ours = GramPCA(20).fit(X)
    assert ours.components_.dtype == ours.transform(X).dtype == np.float32
    exact = GramPCA(20).fit(X.astype(np.float64))
    np.testing.assert_allclose(ours.explained_variance_, exact.explained_variance_, rtol=1e-5)
    np.testing.assert_allclose(ours.components_ @ ours.components_.T, np.eye(20), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_in_blocks_agree_with_a_full_svd(dtype, rng, monkeypatch):
    monkeypatch.setattr(decomposition, "_BLOCK_VALUES", 700)
    X = (rng.normal(size=(500, 30)) * np.linspace(1, 4, 30) + np.linspace(-300, 300, 30)).astype(dtype)
    ours = GramPCA(10).fit_blocks(X[start:stop] for start, stop in ((0, 1), (1, 40), (40, 47), (47, 500)))
    full = PCA(10, svd_solver="full").fit(X.astype(np.float64))
    rtol = 1e-5 if dtype == "float32" else 1e-10
    assert ours.components_.dtype == ours.mean_.dtype == dtype
    np.testing.assert_allclose(ours.mean_, full.mean_, rtol)
    np.testing.assert_allclose(ours.explained_variance_, full.explained_variance_, rtol)
    overlap = np.abs(np.einsum("kd,kd->k", ours.components_, full.components_))
    np.testing.assert_allclose(overlap, 1, rtol=1e-4 if dtype == "float32" else 1e-9)
    assert ours.fit_blocks([X[:4]]).components_.shape == (3, 30)


def test_blocks_hold_the_covariance_and_not_the_rows(rng):
    d, blocks = 300, 40
    tracemalloc.start()
    GramPCA(20).fit_blocks(rng.normal(size=(1000, d)).astype(np.float32) for _ in range(blocks))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12e6  # the rows are of 48 MB; a block in float64 of 2.4 MB, the covariance of 0.7 MB


def test_blocks_that_cannot_be_are_refused(rng):
    with pytest.raises(ValueError, match="there is 1 row"):
        GramPCA(2).fit_blocks([np.ones((1, 4))])
    with pytest.raises(ValueError, match="there are 0 rows"):
        GramPCA(2).fit_blocks([])
    with pytest.raises(ValueError, match="5 features"):
        GramPCA(2).fit_blocks([rng.normal(size=(3, 4)), rng.normal(size=(3, 5))])
    with pytest.raises(ValueError, match="n_components is 0"):
        GramPCA(0).fit_blocks([])


def test_keeps_as_many_components_as_there_are(rng):
    X = rng.normal(size=(6, 100))
    assert GramPCA().fit_transform(X).shape == (6, 5)
    assert GramPCA().fit_transform(X.T).shape == (100, 6)


def test_reads_a_memory_map(tmp_path, rng):
    X = rng.normal(size=(20, 300))
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_allclose(GramPCA(4).fit_transform(mapped), GramPCA(4).fit_transform(X))


def test_rows_that_are_all_equal_have_nothing_to_show():
    reduced = GramPCA(3).fit_transform(np.ones((5, 20)))
    assert np.isfinite(reduced).all()
    np.testing.assert_allclose(reduced, 0, atol=1e-12)


def test_small_variances_of_float32_columns_are_exact(rng):
    X = (rng.normal(size=(30, 40)) * np.logspace(0, 4, 40)).astype(np.float32)
    full = PCA(29, svd_solver="full").fit(X.astype(np.float64))
    np.testing.assert_allclose(GramPCA(29).fit(X).explained_variance_, full.explained_variance_, rtol=1e-4)


def test_weights_pulled_back_do_the_same_but_for_a_constant(rng):
    X, weights = rng.normal(size=(20, 60)), rng.normal(size=(2, 5))
    pca = GramPCA(5).fit(X)
    back = np.array([pca.pull_back(x, weights) @ x for x in X])
    np.testing.assert_allclose(np.diff(back, axis=0), np.diff(pca.transform(X) @ weights.T, axis=0), atol=1e-12)


# -- Kronecker --------------------------------------------------------------------------------------


def kronecker_sample(rng, n, rows, columns):
    """Matrices L Z R with Z white: their covariance is a Kronecker product."""
    sides = [np.linalg.qr(rng.normal(size=(m, m)))[0] * np.geomspace(3, 0.1, m) for m in (rows, columns)]
    return (sides[0] @ rng.normal(size=(n, rows, columns)) @ sides[1].T).reshape(n, -1) + 2


def test_finds_the_exact_components_where_the_covariance_is_a_product(rng):
    X = kronecker_sample(rng, 20_000, 4, 5)
    ours = KroneckerPCA(6, n_samples=20_000, n_outputs=4).fit_transform(X)
    exact = PCA(6).fit_transform(X)
    assert ours.var(axis=0).sum() == pytest.approx(exact.var(axis=0).sum(), rel=1e-2)
    strength = ours.var(axis=0)
    assert (strength[:-1] > 0.9 * strength[1:]).all()


def test_all_components_are_a_rotation(rng):
    X = rng.normal(size=(50, 12))
    turned = KroneckerPCA(n_outputs=3).fit_transform(X)
    centred = X - X.mean(axis=0)
    np.testing.assert_allclose(turned @ turned.T, centred @ centred.T, atol=1e-10)


def test_reads_the_fold_of_fisher_vectors(ragged):
    vectors = RNNFisherVector(hidden_size=4, projection_size=None, max_epochs=1, random_state=0).fit_transform(ragged)
    assert KroneckerPCA(7).fit_transform(vectors).dtype == np.float32
    assert KroneckerPCA(7).fit_transform(vectors).shape == (len(ragged), 7)


@pytest.mark.parametrize("estimator", [KroneckerPCA(), FisherInformationScaler("kronecker")])
def test_a_fold_must_be_known_and_fit(rng, estimator):
    with pytest.raises(ValueError, match="pass n_outputs"):
        estimator.fit(rng.normal(size=(5, 12)))
    with pytest.raises(ValueError, match="cannot be folded into n_outputs=5"):
        estimator.set_params(n_outputs=5).fit(rng.normal(size=(5, 12)))


def test_kronecker_needs_a_positive_number_of_components(rng):
    with pytest.raises(ValueError, match="n_components is 0"):
        KroneckerPCA(0, n_outputs=3).fit(rng.normal(size=(5, 12)))


def test_parts_in_blocks_and_merged_are_the_whole(rng, tmp_path):
    X = rng.normal(size=(300, 12)) @ rng.normal(size=(12, 12)) + 3
    whole, one, other = GramPCA(5).fit(X), GramPCA(5), GramPCA(5)
    for rows in (slice(100), slice(100, 130)):
        one.partial_fit(X[rows])
    one.merge(other.partial_fit(X[130:]))
    for name in ("components_", "explained_variance_", "mean_"):
        np.testing.assert_allclose(getattr(one, name), getattr(whole, name), rtol=1e-10)
    np.testing.assert_allclose(one.transform(X), whole.transform(X), atol=1e-10)
    one.save(tmp_path / "model")
    loaded = rnnfv.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.components_, one.components_)
    with pytest.raises(ValueError, match="has no sums to add to"):
        loaded.partial_fit(X)
    with pytest.raises(ValueError, match="there is 1 row"):
        GramPCA(5).partial_fit(X[:1]).components_  # noqa: B018
    assert not hasattr(GramPCA(), "components_")
