import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import rnnfv
from rnnfv import MeanPooling, Sequences
from rnnfv.encoders.steps import StepPreprocessor


def all_steps(sequences):
    return np.concatenate(list(sequences)).astype(np.float64)


@pytest.mark.parametrize(
    ("basis", "oracle"), [("standardize", StandardScaler()), ("whiten", PCA(whiten=True)), ("pca", PCA())]
)
def test_bases_agree_with_scikit_learn(ragged, basis, oracle):
    steps = all_steps(ragged)
    got = StepPreprocessor(basis=basis).fit_transform(ragged).values
    wanted = oracle.fit_transform(steps)
    if basis == "pca":
        wanted /= wanted.std()
    if basis == "whiten":
        wanted *= np.sqrt(len(steps) / (len(steps) - 1))  # scikit-learn divides variances by n - 1
    np.testing.assert_allclose(np.abs(got), np.abs(wanted), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("basis", ["raw", "standardize", "pca", "whiten"])
def test_result_is_centred_with_unit_mean_variance(ragged, basis):
    got = StepPreprocessor(basis=basis, deltas=2).fit_transform(ragged).values
    np.testing.assert_allclose(got.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(got.var(axis=0).mean(), 1, rtol=1e-4)


@pytest.mark.parametrize("lag", [1, 3])
def test_deltas_reach_back_to_the_first_step_at_most(ragged, lag):
    prepared = StepPreprocessor(basis="raw", deltas=lag).fit(ragged)
    weight, scale = prepared.delta_weight_, prepared.projection_[0, 0]
    for sequence, got in zip(ragged, prepared.transform(ragged), strict=True):
        moved = np.array([sequence[i] - sequence[max(0, i - lag)] for i in range(len(sequence))])
        wanted = (np.c_[sequence, weight * moved] - prepared.mean_) * scale
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    widened = StepPreprocessor(basis="raw", deltas=lag).fit_transform(ragged).values
    assert widened[:, :3].var(axis=0).sum() == pytest.approx(widened[:, 3:].var(axis=0).sum(), rel=1e-4)


def test_scaled_sequences_do_not_depend_on_their_size(ragged):
    prepared = StepPreprocessor(scale_sequences=True, deltas=1).fit(ragged)
    bigger = [sequence * (i + 1) for i, sequence in enumerate(ragged)]
    np.testing.assert_allclose(prepared.transform(bigger).values, prepared.transform(ragged).values, atol=1e-4)


def test_directions_without_variance_are_dropped(ragged):
    doubled = [np.c_[sequence, sequence, np.zeros(len(sequence))] for sequence in ragged]
    assert StepPreprocessor(basis="whiten").fit_transform(doubled).dim == 3
    assert StepPreprocessor(basis="pca", n_components=2).fit_transform(doubled).dim == 2
    for basis in ("raw", "standardize", "pca", "whiten"):
        constant = StepPreprocessor(basis=basis, deltas=1, scale_sequences=True).fit_transform(np.zeros((3, 4, 2)))
        assert not constant.values.any()


def test_fits_into_a_pipeline_that_asks_for_pandas(ragged):
    pipeline = make_pipeline(StepPreprocessor(), MeanPooling()).set_output(transform="pandas")
    assert pipeline.fit_transform(ragged).shape == (12, 3)
    assert isinstance(pipeline[0].transform(ragged), Sequences)


def test_saved_and_loaded(ragged, tmp_path):
    prepared = StepPreprocessor(deltas=1, n_components=4).fit(ragged)
    prepared.save(tmp_path / "model")
    again = rnnfv.load(tmp_path / "model")
    np.testing.assert_array_equal(again.transform(ragged).values, prepared.transform(ragged).values)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"basis": "ica"}, "basis is 'ica'"), ({"deltas": -1}, "deltas"), ({"n_components": 0}, "n_components")],
)
def test_wrong_parameters(ragged, parameters, message):
    with pytest.raises(ValueError, match=message):
        StepPreprocessor(**parameters).fit(ragged)


@pytest.mark.parametrize("deltas", [0, 1, 3])
@pytest.mark.parametrize("kept", [None, 2])
def test_a_preparation_behind_a_rotation_is_one_preparation(ragged, deltas, kept):
    shifted = [np.add(sequence, [3, -1, 2]) for sequence in ragged]
    rotation = StepPreprocessor(basis="pca", n_components=kept).fit(shifted)
    behind = StepPreprocessor(basis="pca", n_components=2, deltas=deltas, unit_steps=True)
    wanted = behind.fit_transform(rotation.transform(shifted)).values
    joined = behind.after(rotation)
    np.testing.assert_allclose(joined.transform(shifted).values, wanted, atol=1e-5)
    assert behind.n_features_in_ == len(rotation.projection_[0])  # it is left as it was
    step_by_step, before = [], None
    for step in np.asarray(shifted[0]):
        prepared, before = joined.transform_next(step[None], before)
        step_by_step.append(prepared)
    np.testing.assert_allclose(np.concatenate(step_by_step), joined.transform(shifted[:1]).values, atol=1e-5)


@pytest.mark.parametrize("first", [{"deltas": 1}, {"scale_sequences": True}, {"unit_steps": True}])
def test_preparations_that_are_no_rotation_cannot_be_joined(ragged, first):
    rotation = StepPreprocessor(basis="pca", **first).fit(ragged)
    behind = StepPreprocessor(basis="pca").fit(rotation.transform(ragged))
    with pytest.raises(ValueError, match="the preparations cannot be joined"):
        behind.after(rotation)
