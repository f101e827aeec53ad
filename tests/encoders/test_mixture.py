"""Mixtures and their Fisher vectors: against the authors' numbers, other libraries, and the formulas themselves."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import rnnfv
from rnnfv import MixtureFisherVector, PowerNormalizer, Sequences
from rnnfv.encoders import _em, _fisher, _mixture

FAMILIES = ["gaussian", "laplacian", "hybrid"]
STARTS = ["k-means", "k-means++", "random"]
PARAMETERS = ["weights_", "means_", "variances_", "medians_", "scales_"]


@pytest.fixture(scope="module")
def authors():
    with np.load(Path(__file__).parents[1] / "fixtures" / "hglmm_authors.npz") as file:
        return dict(file)


@pytest.fixture
def sequences():
    rng = np.random.default_rng(0)
    centres = rng.normal(scale=2, size=(3, 4))
    return [centres[rng.integers(3, size=n)] + rng.laplace(size=(n, 4)) for n in (1, 7, 30, 2, 12, 9, 1)]


def some_parameters(n_components, dim, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "weights": rng.dirichlet(np.full(n_components, 5.0)),
        "means": rng.normal(size=(n_components, dim)),
        "variances": rng.uniform(0.3, 2, (n_components, dim)),
        "medians": rng.normal(size=(n_components, dim)),
        "scales": rng.uniform(0.3, 2, (n_components, dim)),
        "is_laplacian": rng.random((n_components, dim)) < 0.5,
    }


def flags_of(family, parameters):
    shape = parameters["means"].shape
    return {"gaussian": np.zeros(shape, bool), "laplacian": np.ones(shape, bool)}.get(
        family, parameters["is_laplacian"]
    )


def log_densities(x, p, flags):
    """log(pi_k) + log p_k(x_i), (n, K), term by term."""
    x = x[:, None].astype(np.float64)
    gaussian = -0.5 * (np.log(2 * np.pi * p["variances"]) + (x - p["means"]) ** 2 / p["variances"])
    laplacian = -np.log(2 * p["scales"]) - abs(x - p["medians"]) / p["scales"]
    return np.log(p["weights"]) + np.where(flags, laplacian, gaussian).sum(2)


def formulas(x, p, flags):
    """The Fisher vector of one sequence as SPEC S2 writes it."""
    logs = log_densities(x, p, flags)
    gamma = np.exp(logs - logs.max(1, keepdims=True))
    gamma = (gamma / gamma.sum(1, keepdims=True))[:, :, None]
    x = x[:, None].astype(np.float64)
    z = (x - p["means"]) / np.sqrt(p["variances"])
    a = x - p["medians"]
    location = np.where(flags, np.where(a >= 0, 1.0, -1.0), z)
    deviation = np.where(flags, abs(a) / p["scales"] - 1, (z**2 - 1) / np.sqrt(2))
    scale = np.sqrt(len(x) * p["weights"])[:, None]
    return np.concatenate([((gamma * part).sum(0) / scale).ravel() for part in (location, deviation)])


def relative_error(got, wanted):
    return abs(np.asarray(got) - wanted).max() / abs(np.asarray(wanted)).max()


# -- the authors' numbers --------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-4)])
def test_em_agrees_with_the_authors_code(authors, dtype, tolerance):
    start = {
        "weights": authors["init_prior"],
        "means": authors["init_m"],
        "variances": authors["init_sigma2"],
        "medians": authors["init_m"],
        "scales": authors["init_s"],
        "is_laplacian": authors["init_b"],
    }
    model = MixtureFisherVector(3, "hybrid", max_iter=int(authors["iterations"]))
    model.fit([authors["x"].astype(dtype)], init=start)
    np.testing.assert_array_equal(model.is_laplacian_, authors["b"])
    for name, key in (("weights_", "prior"), ("means_", "mu"), ("variances_", "sigma2"), ("scales_", "s")):
        assert relative_error(getattr(model, name), authors[key]) < tolerance, name
    # Half of a weight can fall between two values; in float32 either is right.
    assert relative_error(model.medians_, authors["m"]) < (1e-12 if dtype is np.float64 else 2e-3)
    assert model.log_likelihood_[0] == pytest.approx(authors["loglik_init"], rel=1e-6)
    assert model.log_likelihood_[-1] == pytest.approx(authors["loglik_final"], rel=1e-6)
    assert model.n_iter_ == authors["iterations"] == len(model.log_likelihood_) - 1


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("float32", 1e-4)])
@pytest.mark.parametrize(("family", "key"), [("hybrid", "fv_hglmm"), ("laplacian", "fv_lmm"), ("gaussian", "fv_gmm")])
def test_fisher_vectors_agree_with_the_authors_code(authors, family, key, dtype, tolerance):
    lengths = authors["lengths"]
    seqs = np.split(authors["x"][: lengths.sum()].astype(dtype), np.cumsum(lengths)[:-1])
    vectors = authors_model(authors, family, dtype).transform(seqs)
    assert vectors.dtype == dtype
    assert relative_error(vectors, authors[key]) < tolerance


def test_fisher_vectors_agree_with_vlfeat(authors):
    lengths = authors["lengths"]
    seqs = np.split(authors["x"][: lengths.sum()].astype(np.float32), np.cumsum(lengths)[:-1])
    vectors = authors_model(authors, "gaussian", "float32").transform(seqs)
    assert relative_error(vectors / np.sqrt(lengths)[:, None], authors["vlfeat_fisher"]) < 1e-4
    improved = PowerNormalizer().fit_transform(vectors)
    np.testing.assert_allclose(improved, authors["vlfeat_fisher_improved"], atol=2e-3)


def authors_model(authors, family, dtype):
    return MixtureFisherVector(3, family, dtype=dtype).set_parameters(
        weights=authors["prior"],
        means=authors["mu"],
        variances=authors["sigma2"],
        medians=authors["m"],
        scales=authors["s"],
        is_laplacian=authors["b"],
    )


# -- Fisher vectors --------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 3e-5)])
@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (_fisher, "_DENSE", 0.0),  # all components of all sequences
        (_fisher, "_DENSE", 1.0),  # only the pairs that count
        (_mixture, "_MAX_ROUNDING", 0.0),  # every component counts as narrow
    ],
)
def test_fisher_vectors_are_the_formulas(sequences, family, dtype, tolerance, module, name, value, monkeypatch):
    monkeypatch.setattr(module, name, value)
    p = some_parameters(5, 4)
    p["is_laplacian"][:2] = [[True], [False]]  # a component of either density, and mixed ones
    sequences = [x.astype(dtype) for x in sequences]
    vectors = MixtureFisherVector(5, family, dtype=dtype).set_parameters(**p).transform(sequences)
    wanted = np.stack([formulas(x, p, flags_of(family, p)) for x in sequences])
    assert relative_error(vectors, wanted) < tolerance


def test_zero_difference_counts_as_positive_also_far_from_the_origin():
    x = np.array([[1000.1, -7.3]], dtype=np.float32)
    p = {"weights": [1.0], "medians": x, "scales": np.ones((1, 2))}
    vector = MixtureFisherVector(1, "laplacian").set_parameters(**p).transform([x])
    np.testing.assert_array_equal(vector, [[1, 1, -1, -1]])


def test_gaussian_agrees_with_scikit_image():
    fisher_vector = pytest.importorskip("skimage.feature").fisher_vector
    rng = np.random.default_rng(0)
    seqs = [rng.normal(size=(n, 6)) for n in (1, 5, 40)]
    mixture = GaussianMixture(4, covariance_type="diag", random_state=0, max_iter=50).fit(np.concatenate(seqs))
    model = MixtureFisherVector(4, "gaussian", dtype="float64").set_parameters(
        weights=mixture.weights_, means=mixture.means_, variances=mixture.covariances_
    )
    for x, vector in zip(seqs, model.transform(seqs), strict=True):
        theirs = fisher_vector(x, mixture)[4:]  # weights first, then ours divided by sqrt(N) ...
        theirs[24:] *= -1  # ... the deviations with the other sign
        np.testing.assert_allclose(vector / np.sqrt(len(x)), theirs, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_batches_and_blocks_do_not_matter(sequences, family, monkeypatch):
    model = MixtureFisherVector(5, family).set_parameters(**some_parameters(5, 4))
    whole = model.transform(sequences)
    order = np.array([4, 0, 6, 2])
    np.testing.assert_allclose(model.transform(Sequences.from_list(sequences)[order]), whole[order], rtol=1e-6)
    one_by_one = np.concatenate([model.transform([x]) for x in sequences])
    np.testing.assert_allclose(one_by_one, whole, rtol=1e-6, atol=1e-6)
    monkeypatch.setattr(_fisher, "_MAX_STEPS", 5)  # cuts sequences
    np.testing.assert_allclose(model.transform(sequences), whole, rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(_fisher, "_MAX_VALUES", 1)
    np.testing.assert_allclose(model.transform(sequences), whole, rtol=1e-5, atol=1e-6)


def test_order_of_steps_does_not_matter(sequences):
    model = MixtureFisherVector(5).set_parameters(**some_parameters(5, 4))
    seqs = Sequences.from_list(sequences)
    np.testing.assert_allclose(model.transform(seqs.reversed()), model.transform(seqs), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("family", ["gaussian", "hybrid"])
def test_narrow_gaussians_far_apart_stay_accurate_in_float32(family):
    rng = np.random.default_rng(0)
    means = rng.normal(scale=30, size=(4, 20)).astype(np.float32)
    x = (means[rng.integers(4, size=50)] + rng.normal(scale=0.05, size=(50, 20))).astype(np.float32)
    p = {"weights": np.full(4, 0.25), "means": means, "variances": np.full((4, 20), 0.05**2)}
    p |= {"medians": means, "scales": np.full((4, 20), 0.03), "is_laplacian": rng.random((4, 20)) < 0.5}
    vector = MixtureFisherVector(4, family).set_parameters(**p).transform([x])
    assert relative_error(vector, formulas(x, p, flags_of(family, p))) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_fit_in_float32_agrees_with_float64_where_components_are_narrow(family):
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(scale=3, size=(4, 20)), 25, axis=0) + rng.normal(scale=0.05, size=(100, 20))
    start = some_parameters(4, 20) | {"means": x[::25], "medians": x[::25]}
    single, double = (MixtureFisherVector(4, family).fit([x.astype(t)], init=start) for t in ("float32", "float64"))
    np.testing.assert_allclose(single.log_likelihood_, double.log_likelihood_, rtol=1e-4)
    np.testing.assert_array_equal(single.is_laplacian_, double.is_laplacian_)
    np.testing.assert_allclose(single.variances_, double.variances_, rtol=1e-3)


def test_kinds_of_input(sequences):
    model = MixtureFisherVector(5).set_parameters(**some_parameters(5, 4))
    half = [x.astype(np.float16) for x in sequences]
    wanted = model.transform([x.astype(np.float32) for x in half])
    assert wanted.dtype == np.float32
    assert wanted.shape == (len(sequences), 2 * 5 * 4)
    np.testing.assert_array_equal(model.transform(half), wanted)
    frozen = Sequences.from_list(half)
    frozen.values.flags.writeable = False
    np.testing.assert_array_equal(model.transform(frozen), wanted)
    cube = np.random.default_rng(0).normal(size=(3, 6, 4))
    np.testing.assert_array_equal(model.transform(cube), model.transform(list(cube)))


@pytest.mark.parametrize("family", FAMILIES)
def test_symbols_are_the_vectors_they_stand_for(family):
    rng = np.random.default_rng(0)
    table = rng.normal(size=(40, 3))
    symbols = [rng.integers(0, 25, n) for n in (9, 4, 30, 17, 60)]
    symbolic = Sequences.from_list(symbols, table)
    plain = Sequences.from_list([table[s] for s in symbols])
    start = some_parameters(4, 3)
    ours = MixtureFisherVector(4, family, dtype="float64").fit(symbolic, init=start)
    same = MixtureFisherVector(4, family, dtype="float64").fit(plain, init=start)
    np.testing.assert_allclose(ours.log_likelihood_, same.log_likelihood_)
    for name in PARAMETERS:
        np.testing.assert_allclose(getattr(ours, name), getattr(same, name), err_msg=name)
    np.testing.assert_allclose(ours.transform(symbolic), same.transform(plain), atol=1e-12)
    for strategy in STARTS:
        model = MixtureFisherVector(4, family, init_params=strategy, random_state=0).fit(symbolic)
        assert np.isfinite(model.transform(symbolic)).all()


# -- EM --------------------------------------------------------------------------------------------


def test_gaussian_em_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 5)) * rng.uniform(0.5, 3, 5) + 10 * rng.integers(0, 2, (500, 1))
    p = {"weights": np.array([0.2, 0.5, 0.3]), "means": x[:3], "variances": rng.uniform(1, 30, (3, 5))}
    ours = MixtureFisherVector(3, "gaussian", max_iter=20, variance_floor=1e-12).fit([x], init=p)
    # reg_covar is added to the variances, where our floor only bounds them: both next to nothing here.
    theirs = GaussianMixture(
        3,
        covariance_type="diag",
        reg_covar=0,
        tol=0,
        max_iter=20,
        weights_init=p["weights"],
        means_init=p["means"],
        precisions_init=1 / p["variances"],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.fit(x)
    np.testing.assert_allclose(ours.weights_, theirs.weights_, rtol=1e-9)
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-9)
    np.testing.assert_allclose(ours.variances_, theirs.covariances_, rtol=1e-9)
    assert ours.log_likelihood_[-1] == pytest.approx(theirs.score(x) * len(x), rel=1e-12)
    assert not ours.is_laplacian_.any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 4), st.sampled_from(FAMILIES))
def test_log_likelihood_never_falls(seed, n_components, dim, family):
    rng = np.random.default_rng(seed)
    x = rng.standard_t(3, (60, dim)) * rng.uniform(0.01, 100, dim)
    model = MixtureFisherVector(n_components, family, max_iter=8, random_state=seed, init_params="random")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"components .* hold no vectors")
        model.fit([x])
    history = model.log_likelihood_
    assert np.isfinite(history).all()
    assert (np.diff(history) >= -1e-9 * abs(history[:-1])).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_log_likelihood_is_that_of_the_parameters(sequences, family):
    start = some_parameters(3, 4)
    model = MixtureFisherVector(3, family).fit(sequences, init=start)
    fitted = {name: getattr(model, f"{name}_") for name in start}
    for p, likelihood in ((start, model.log_likelihood_[0]), (fitted, model.log_likelihood_[-1])):
        logs = log_densities(np.concatenate(sequences), p, flags_of(family, p))
        assert likelihood == pytest.approx(np.logaddexp.reduce(logs, axis=1).sum(), rel=1e-10)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.booleans())
def test_weighted_medians_are_the_first_to_reach_half(seed, n, whole):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 12, (n, 3)).astype(np.float64)
    weights = rng.integers(0, 3, (n, 2)).astype(np.float64) if whole else rng.random((n, 2))
    weights[0] += 1
    vectors = _em.TrainingVectors(Sequences(x, [0, n]), _em.torch.float64, _em.torch.device("cpu"))
    medians = _em.weighted_medians(vectors, _em.torch.from_numpy(weights)).numpy()
    for k in range(2):
        for d in range(3):
            values = np.unique(x[:, d])
            below = np.array([weights[x[:, d] <= value, k].sum() for value in values])
            assert medians[k, d] == values[np.argmax(below >= weights[:, k].sum() / 2 * (1 - 1e-14))]


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_do_not_matter_to_the_fit(sequences, family, monkeypatch):
    start = some_parameters(3, 4)
    whole = MixtureFisherVector(3, family).fit(sequences, init=start)
    for name, value in (("_BLOCK", 7), ("_MAX_RANKED", 1), ("_MAX_ORDER", 1)):
        monkeypatch.setattr(_em, name, value)
        cut = MixtureFisherVector(3, family).fit(sequences, init=start)
        for attribute in [*PARAMETERS, "is_laplacian_", "log_likelihood_"]:
            np.testing.assert_allclose(getattr(cut, attribute), getattr(whole, attribute), rtol=1e-9)


def test_hybrid_finds_which_dimensions_are_laplacian():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(4000, 2)), rng.laplace(size=(4000, 2))], axis=1)
    model = MixtureFisherVector(1, "hybrid").fit([x])
    np.testing.assert_array_equal(model.is_laplacian_, [[False, False, True, True]])


def test_unused_half_is_implied(sequences):
    gaussian = MixtureFisherVector(2, "gaussian", random_state=0).fit(sequences)
    np.testing.assert_array_equal(gaussian.medians_, gaussian.means_)
    np.testing.assert_allclose(gaussian.scales_, np.sqrt(2 / np.pi * gaussian.variances_))
    laplacian = MixtureFisherVector(2, "laplacian", random_state=0).fit(sequences)
    np.testing.assert_array_equal(laplacian.means_, laplacian.medians_)
    np.testing.assert_allclose(laplacian.variances_, 2 * laplacian.scales_**2)
    assert laplacian.is_laplacian_.all()


@pytest.mark.parametrize("strategy", STARTS)
def test_random_state_makes_the_fit_repeatable(sequences, strategy):
    fits = [MixtureFisherVector(3, init_params=strategy, random_state=7).fit(sequences) for _ in range(2)]
    for name in [*PARAMETERS, "log_likelihood_"]:
        np.testing.assert_array_equal(getattr(fits[0], name), getattr(fits[1], name))
    generator = np.random.RandomState(7)
    same = MixtureFisherVector(3, init_params=strategy, random_state=generator).fit(sequences)
    np.testing.assert_array_equal(same.means_, fits[0].means_)


def test_tol_ends_the_iterations(sequences):
    model = MixtureFisherVector(2, "gaussian", max_iter=500, tol=1e-6, random_state=0).fit(sequences)
    steps = sum(map(len, sequences))
    assert model.converged_
    assert model.n_iter_ == len(model.log_likelihood_) - 1 < 500
    assert np.diff(model.log_likelihood_)[-1] < 1e-6 * steps
    assert (np.diff(model.log_likelihood_)[:-1] >= 1e-6 * steps).all()
    assert not MixtureFisherVector(2, max_iter=1, tol=1e-9, random_state=0).fit(sequences).converged_


def test_no_iterations_keep_the_start(sequences):
    start = some_parameters(3, 4)
    model = MixtureFisherVector(3, max_iter=0).fit(sequences, init=start)
    np.testing.assert_array_equal(model.medians_, start["medians"])
    assert len(model.log_likelihood_) == 1


def test_verbose_reports_each_iteration(sequences, capsys):
    MixtureFisherVector(2, max_iter=3, random_state=0, verbose=True).fit(sequences)
    assert capsys.readouterr().err.count("log likelihood") == 4


# -- hard cases ------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("strategy", STARTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fewer_distinct_vectors_than_components_warn_and_stay_finite(family, strategy, dtype):
    x = np.repeat(np.array([[1000.0, 2.0], [3.0, -4.0]], dtype=dtype), 5, axis=0)
    model = MixtureFisherVector(4, family, init_params=strategy, random_state=0)
    with pytest.warns(UserWarning, match="hold no vectors"):
        model.fit([x])
    assert np.isfinite(np.concatenate([getattr(model, name).ravel() for name in PARAMETERS])).all()
    assert np.isfinite(model.log_likelihood_).all()
    assert np.isfinite(model.transform([x, x[:1], x + 50])).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_constant_dimension_takes_the_floor(family):
    x = np.random.default_rng(0).normal(size=(50, 3))
    x[:, 1] = 5
    model = MixtureFisherVector(2, family, random_state=0, variance_floor=0.01).fit([x])
    if family != "laplacian":
        np.testing.assert_array_equal(model.variances_[:, 1], 0.01)
    if family != "gaussian":
        np.testing.assert_array_equal(model.scales_[:, 1], 0.01)
    assert np.isfinite(model.transform([x])).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_outliers_far_away_stay_finite(family):
    model = MixtureFisherVector(5, family).set_parameters(**some_parameters(5, 4))
    assert np.isfinite(model.transform([np.full((2, 4), 1e6, np.float32)])).all()


@pytest.mark.parametrize("family", ["gaussian", "hybrid"])
def test_overflow_is_said(family):
    model = MixtureFisherVector(5, family).set_parameters(**some_parameters(5, 4))
    with pytest.raises(ValueError, match=r"too large for torch.float32: scale the data"):
        model.transform([np.full((2, 4), 1e30, np.float32)])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"family": "student"}, "family"),
        ({"n_components": 0}, "n_components"),
        ({"variance_floor": 0.0}, "variance_floor"),
        ({"init_params": "kmeans"}, "init_params"),
        ({"dtype": "float16"}, "dtype"),
        ({"max_iter": -1}, "max_iter"),
        ({"device": "abacus"}, "abacus"),
        ({"n_components": 63}, "n_components is 63, but there are only 62 steps"),
    ],
)
def test_wrong_arguments(sequences, arguments, words):
    with pytest.raises(ValueError, match=words):
        MixtureFisherVector(**arguments).fit(sequences)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"variances": -np.ones((3, 4))}, "variances must be positive; the smallest is -1"),
        ({"scales": np.zeros((3, 4))}, "scales must be positive"),
        ({"weights": [0.5, 0.5, 0.5]}, "sum to 1.5"),
        ({"weights": [1.5, -0.5, 0.0]}, "weights must be positive"),
        ({"means": np.ones((3, 5))}, r"means has shape \(3, 5\)"),
        ({"medians": np.ones(4)}, r"medians has shape \(4,\)"),
        ({"means": np.full((3, 4), np.nan)}, "means holds NaN"),
    ],
)
def test_wrong_parameters(sequences, change, words):
    p = some_parameters(3, 4) | change
    with pytest.raises(ValueError, match=words):
        MixtureFisherVector(3).fit(sequences, init=p)
    if "means" not in change or np.isnan(p["means"]).any():  # the means give the shape here
        with pytest.raises(ValueError, match=words):
            MixtureFisherVector(3).set_parameters(**p)


def test_missing_and_unknown_parameters(sequences):
    with pytest.raises(ValueError, match=r"a hybrid mixture needs .*; missing: medians, scales, is_laplacian"):
        MixtureFisherVector(3).set_parameters(weights=np.ones(1), means=np.ones((1, 2)), variances=np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"unknown parameters \['sigma'\]"):
        MixtureFisherVector(3).fit(sequences, init={"sigma": 1})
    with pytest.raises(ValueError, match=r"weights has shape \(3,\), but \(K, D\) is \(2, 4\)"):
        MixtureFisherVector(2).fit(sequences, init=some_parameters(3, 4))


def test_wrong_width_and_unfitted(sequences):
    model = MixtureFisherVector(2, random_state=0)
    with pytest.raises(NotFittedError):
        model.transform(sequences)
    model.fit(sequences)
    with pytest.raises(ValueError, match="sequences have 3 values a step, but MixtureFisherVector was fitted on 4"):
        model.transform([np.ones((2, 3))])


# -- a scikit-learn estimator ----------------------------------------------------------------------


def test_clone_and_parameters(sequences):
    model = MixtureFisherVector(2, "laplacian", tol=0.1, random_state=3, variance_floor=0.1)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    np.testing.assert_array_equal(copy.fit_transform(sequences), model.fit_transform(sequences))


def test_pandas_output(sequences):
    frame = MixtureFisherVector(2, random_state=0).set_output(transform="pandas").fit_transform(sequences)
    assert isinstance(frame, pd.DataFrame)
    assert frame.shape == (len(sequences), 16)
    assert frame.columns[0] == "mixturefishervector0"


def test_grid_search_in_a_pipeline():
    rng = np.random.default_rng(0)
    seqs = [rng.normal(loc=i % 2, scale=1 + i % 2, size=(rng.integers(5, 15), 3)) for i in range(30)]
    steps = make_pipeline(MixtureFisherVector(random_state=0), PowerNormalizer(), LogisticRegression())
    search = GridSearchCV(steps, {"mixturefishervector__n_components": [1, 3]}, cv=3)
    search.fit(seqs, [i % 2 for i in range(30)])
    assert search.best_score_ > 0.8


@pytest.mark.parametrize("family", FAMILIES)
def test_save_and_load_give_the_same_bytes(sequences, family, tmp_path):
    model = MixtureFisherVector(3, family, random_state=0).fit(sequences)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(rnnfv.load(tmp_path / "model").transform(sequences), model.transform(sequences))
