"""Steps through a CCA: by hand, step by step, and what does not fit."""

import numpy as np
import pytest

import rnnfv
from rnnfv import CanonicalSteps, PowerNormalizer, RegularizedCCA


@pytest.fixture
def cca(rng):
    images = rng.normal(size=(80, 6))
    return RegularizedCCA(0.1).fit((images @ rng.normal(size=(6, 9))).astype(np.float32), images.astype(np.float32))


def test_every_step_is_mapped_alone(cca, rng):
    seqs = [rng.normal(size=(n, 6)).astype(np.float32) for n in (4, 1, 7)]
    mapped = CanonicalSteps(cca, n_components=3).fit_transform(seqs)
    for given, result in zip(seqs, mapped, strict=True):
        expected = ((given - cca.y_mean_) @ cca.y_weights_)[:, :3]
        expected *= np.sqrt(3) / np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_step_by_step_is_the_same(cca, rng):
    steps = CanonicalSteps(cca, n_components=4)
    sequence = rng.normal(size=(9, 6)).astype(np.float32)
    whole = steps.fit([sequence]).transform([sequence])[0]
    parts = [steps.transform_next(part)[0] for part in (sequence[:2], sequence[2:3], sequence[3:])]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_saved_and_loaded(cca, rng, tmp_path):
    sequence = rng.normal(size=(5, 6)).astype(np.float32)
    steps = CanonicalSteps(cca, n_components=4).fit([sequence])
    steps.save(tmp_path / "steps")
    assert (rnnfv.load(tmp_path / "steps").transform([sequence])[0] == steps.transform([sequence])[0]).all()


def test_another_width_is_refused(cca, rng):
    with pytest.raises(ValueError, match="image vectors of 6: extract both with the same backbone"):
        CanonicalSteps(cca).fit([rng.normal(size=(5, 7))])
    with pytest.raises(ValueError, match="at least 1"):
        CanonicalSteps(cca, n_components=0).fit([rng.normal(size=(5, 6))])


def test_the_normaliser_comes_before_the_cca(cca, rng):
    images = rng.normal(size=(8, 6)).astype(np.float32)
    normalizer = PowerNormalizer().fit(images)
    mapped = CanonicalSteps(cca, n_components=3, normalizer=normalizer).fit_transform([images])
    expected = CanonicalSteps(cca, n_components=3).fit_transform([normalizer.transform(images)])
    np.testing.assert_array_equal(mapped.values, expected.values)
