import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import rnnfv
from rnnfv import LinearSVM


@parametrize_with_checks([LinearSVM()])
def test_scikit_learn_manners(estimator, check):
    check(estimator)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("C", [0.01, 1.0, 100.0])
def test_finds_the_weights_of_linear_svc(classes, C):
    X, y = make_classification(
        150, 20, n_informative=10, n_classes=classes, n_clusters_per_class=1, random_state=0, shift=0.5
    )
    ours = LinearSVM(C=C, tol=1e-9).fit(X, y)
    theirs = LinearSVC(C=C, tol=1e-10, max_iter=1_000_000, dual=False).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), rtol=1e-3, atol=1e-4)


def test_more_columns_than_samples(rng):
    X, y = rng.normal(size=(40, 300)), np.arange(40) % 4
    theirs = LinearSVC(tol=1e-10, max_iter=1_000_000).fit(X, y)
    np.testing.assert_allclose(LinearSVM(tol=1e-9).fit(X, y).coef_, theirs.coef_, atol=1e-5)


def test_float32_is_kept_and_close(rng):
    X, y = rng.normal(size=(200, 10)), np.arange(200) % 5
    single = LinearSVM().fit(X.astype(np.float32), y)
    assert single.coef_.dtype == np.float32
    np.testing.assert_allclose(single.coef_, LinearSVM().fit(X, y).coef_, atol=1e-4)


def test_labels_may_be_words_and_weights_are_saved(rng, tmp_path):
    X, y = rng.normal(size=(30, 4)), np.array(["run", "walk", "sit"])[np.arange(30) % 3]
    svm = LinearSVM().fit(X, y)
    svm.save(tmp_path / "model")
    np.testing.assert_array_equal(rnnfv.load(tmp_path / "model").decision_function(X), svm.decision_function(X))
    assert set(svm.predict(X)) <= {"run", "walk", "sit"}


def test_wrong_input(rng):
    X = rng.normal(size=(6, 2))
    with pytest.raises(ValueError, match="one class, 'run'"):
        LinearSVM().fit(X, ["run"] * 6)
    with pytest.raises(ValueError, match="C is 0: it must be above 0"):
        LinearSVM(C=0).fit(X, [0, 1] * 3)
    with pytest.warns(ConvergenceWarning, match="raise max_iter"):
        LinearSVM(max_iter=1).fit(X, [0, 1] * 3)
