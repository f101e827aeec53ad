import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.utils.estimator_checks import parametrize_with_checks

from rnnfv import FisherInformationScaler, GramPCA, PowerNormalizer
from rnnfv.normalization import fold

# Not so small that the naive formula below loses them in a square.
numbers = st.floats(-1e6, 1e6).filter(lambda z: z == 0 or abs(z) > 1e-100)
matrices = hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 6)), elements=numbers)


def deliberate(estimator):
    """What scikit-learn expects and we do not do, with the reason."""
    reason = "sums are not kept by fit, so that partial_fit behind it is refused"
    return {"check_fit_score_takes_y": reason} if isinstance(estimator, GramPCA) else {}


@parametrize_with_checks(
    [PowerNormalizer(), FisherInformationScaler(), GramPCA(n_components=1)], expected_failed_checks=deliberate
)
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


@given(matrices, st.sampled_from([0.3, 0.5, 1.0]))
def test_power_then_l2(X, alpha):
    powered = np.sign(X) * np.abs(X) ** alpha
    norms = np.linalg.norm(powered, axis=1, keepdims=True)
    wanted = np.divide(powered, norms, out=np.zeros_like(powered), where=norms > 0)
    np.testing.assert_allclose(PowerNormalizer(alpha).fit_transform(X), wanted, atol=1e-12)


def test_tiny_and_huge_rows_keep_their_direction():
    X = np.array([[3e-38, -4e-38], [3e38, -3e38], [0, 0]], dtype=np.float32)
    got = PowerNormalizer(1.0).fit_transform(X)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [[0.6, -0.8], [0.5**0.5, -(0.5**0.5)], [0, 0]], rtol=1e-5)


def test_diagonal_is_the_paper_s_formula(rng):
    train, test = rng.normal(size=(40, 6)) * [1, 2, 3, 4, 5, 0], rng.normal(size=(7, 6))
    scaler = FisherInformationScaler().fit(train)
    np.testing.assert_allclose(scaler.information_, (train**2).mean(axis=0))
    got = scaler.transform(test)
    np.testing.assert_allclose(got[:, :5], test[:, :5] / np.sqrt((train[:, :5] ** 2).mean(axis=0)))
    assert not got[:, 5].any()


def test_kronecker_is_the_two_sided_product(rng):
    train, test = rng.normal(size=(30, 12)), rng.normal(size=(5, 12))
    scaler = FisherInformationScaler("kronecker", ridge=0.2, n_outputs=3).fit(train)
    folded = train.reshape(30, 3, 4)
    error_side = sum(f @ f.T for f in folded) / 30
    hidden_side = sum(f.T @ f for f in folded) / 30
    hidden_side /= np.trace(hidden_side)
    np.testing.assert_allclose(scaler.error_information_, error_side)
    np.testing.assert_allclose(scaler.hidden_information_, hidden_side)

    def inverse_root(g):
        values, vectors = np.linalg.eigh(g + 0.2 * np.trace(g) / len(g) * np.eye(len(g)))
        return vectors @ np.diag(values**-0.5) @ vectors.T

    wanted = [inverse_root(error_side) @ f @ inverse_root(hidden_side) for f in test.reshape(5, 3, 4)]
    np.testing.assert_allclose(scaler.transform(test), np.reshape(wanted, (5, 12)))


def test_kronecker_recovers_the_factors_of_matrix_normal_data(rng):
    left, right = rng.normal(size=(4, 4)), rng.normal(size=(6, 6))
    X = np.einsum("ij,njk,kl->nil", left, rng.normal(size=(20_000, 4, 6)), right).reshape(-1, 24)
    white = FisherInformationScaler("kronecker", ridge=0, n_outputs=4).fit_transform(X)
    np.testing.assert_allclose(np.cov(white.T), np.eye(24), atol=0.06)


@pytest.mark.parametrize("structure", ["diagonal", "kronecker"])
def test_in_parts_is_as_all_at_once(structure, rng):
    X = rng.normal(size=(50, 12))
    whole = FisherInformationScaler(structure, n_outputs=3).fit(X)
    parts = FisherInformationScaler(structure, n_outputs=3)
    for part in np.split(X, [1, 20, 45]):
        parts.partial_fit(part)
    assert parts.n_samples_seen_ == 50
    np.testing.assert_allclose(parts.transform(X), whole.transform(X))
    np.testing.assert_allclose(parts.fit(X[:9]).transform(X), whole.fit(X[:9]).transform(X))


def test_fold_travels_with_the_vectors(rng):
    X = fold(rng.normal(size=(10, 12)), 3)
    scaler = FisherInformationScaler("kronecker").fit(X[2:8])
    assert scaler.error_information_.shape == (3, 3)
    with pytest.raises(ValueError, match="pass n_outputs, or vectors straight from"):
        FisherInformationScaler("kronecker").fit(np.asarray(X))
    with pytest.raises(ValueError, match="12 values cannot be folded into n_outputs=5"):
        FisherInformationScaler("kronecker", n_outputs=5).fit(X)


def test_zero_vectors_stay_zero_and_finite():
    X = np.zeros((4, 6), np.float32)
    for scaler in (FisherInformationScaler(), FisherInformationScaler("kronecker", n_outputs=2)):
        assert not scaler.fit_transform(X).any()


@pytest.mark.parametrize(
    "normalizer",
    [
        PowerNormalizer(),
        FisherInformationScaler(),
        FisherInformationScaler("kronecker", n_outputs=3),
    ],
)
def test_pulled_back_weights_decide_alike(normalizer, rng):
    X, weights = rng.normal(size=(20, 12)), rng.normal(size=(2, 12))
    normalizer.fit(X)
    for vector in X[:3]:
        wanted = weights @ normalizer.transform(vector[None])[0]
        np.testing.assert_allclose(normalizer.pull_back(vector, weights) @ vector, wanted)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (PowerNormalizer(0), "alpha is 0"),
        (FisherInformationScaler("full"), "structure is 'full'"),
        (FisherInformationScaler(ridge=-1), "ridge is -1"),
        (GramPCA(0), "n_components is 0"),
    ],
)
def test_wrong_parameters(estimator, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(np.ones((3, 4)))


def test_fold_survives_pickling_and_not_a_change_of_columns(rng):
    X = fold(rng.normal(size=(10, 12)), 3)
    assert pickle.loads(pickle.dumps(X)).n_outputs == 3
    assert X[:, :6].n_outputs is None
