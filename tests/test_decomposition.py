import numpy as np
import pytest
from sklearn.decomposition import PCA

from rnnfv import GramPCA, decomposition


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
