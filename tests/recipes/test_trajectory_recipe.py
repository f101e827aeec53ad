"""Fisher vectors of trajectories: against a composition by hand from scikit-learn, and as an estimator."""

import math

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

import rnnfv
from rnnfv import MixtureFisherVector
from rnnfv.recipes.trajectories import TrajectoryFisherVector
from rnnfv.video.trajectories import sample_descriptors

K, REDUCED = 2, {"trajectory": 15, "hog": 48, "hof": 54, "mbhx": 48, "mbhy": 48}
CLIPS = [(90, 0.0), (1, 0.02), (1100, 0.0), (130, 0.05), (60, 0.03)]  # lines, and a number added to all


def write_clip(path, rng, count, shift=0.0):
    """Two clearly different kinds of trajectories, on the small scale of the real descriptors."""
    kind = rng.integers(0, 2, (count, 1))
    rows = 0.01 * (1 + kind) * rng.normal(size=(count, 436)) + 0.1 * kind + shift
    np.savetxt(path, rows, "%.7f", delimiter="\t")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("idt"), np.random.default_rng(0)
    return [write_clip(folder / f"{i}.txt", rng, count, shift) for i, (count, shift) in enumerate(CLIPS)]


@pytest.fixture(scope="module")
def fitted(files):
    return TrajectoryFisherVector(n_components=K, random_state=0).fit(files[:4])


def normalised(vector):
    powered = np.sign(vector) * np.sqrt(np.abs(vector))
    return powered / np.linalg.norm(powered)


def fisher_vector(x, mixture):
    """Of a file in one go, from the definition, with scikit-learn's posteriors."""
    model = GaussianMixture(K, covariance_type="diag")
    model.weights_, model.means_, model.covariances_ = mixture.weights_, mixture.means_, mixture.variances_
    model.precisions_cholesky_ = 1 / np.sqrt(mixture.variances_)
    gamma = model.predict_proba(x)
    z = (x[:, None] - mixture.means_) / np.sqrt(mixture.variances_)
    scale = np.sqrt(len(x) * mixture.weights_)[:, None]
    means = np.einsum("nk,nkd->kd", gamma, z) / scale
    deviations = np.einsum("nk,nkd->kd", gamma, z**2 - 1) / (math.sqrt(2) * scale)
    return np.concatenate([means.ravel(), deviations.ravel()])


def test_it_is_pca_mixture_and_normalisation_composed_by_hand(files, fitted):
    """Files of 1 to 1,100 lines: the longest is encoded in two blocks."""
    got = fitted.transform(files)
    assert got.dtype == np.float32
    assert got.shape == (len(files), 2 * K * 213)
    clips = [np.loadtxt(file, ndmin=2) for file in files]
    start, column = 0, 10
    for name, width in REDUCED.items():
        parts = [clip[:, column : column + 2 * width] for clip in clips]
        learnt_from = np.concatenate(parts[:4])
        pca = PCA(width, svd_solver="full").fit(learnt_from)
        largest = pca.explained_variance_[0]
        mixture = MixtureFisherVector(
            K,
            family="gaussian",
            random_state=fitted.mixtures_[name].random_state,
            variance_floor=1e-4 * largest,
        ).fit([pca.transform(learnt_from).astype(np.float32)])
        wanted = [normalised(fisher_vector(pca.transform(part), mixture)) for part in parts]
        np.testing.assert_allclose(got[:, start : start + 2 * K * width], wanted, atol=1e-3)
        start, column = start + 2 * K * width, column + 2 * width
    assert (start, column) == (got.shape[1], 436)


def test_each_descriptor_has_length_one(files, fitted):
    parts = np.split(fitted.transform(files), 2 * K * np.cumsum(list(REDUCED.values()))[:-1], axis=1)
    np.testing.assert_allclose([np.linalg.norm(part, axis=1) for part in parts], 1, rtol=1e-5)


def test_small_numbers_meet_no_variance_floor(files, fitted, tmp_path):
    """Real descriptors have variances far below the mixture's usual floor of 1e-3; their unit does not matter."""
    assert all(np.median(mixture.variances_) < 1e-3 for mixture in fitted.mixtures_.values())
    scaled = []
    for file in files[:4]:
        np.savetxt(tmp_path / file.name, 1024 * np.loadtxt(file, ndmin=2), "%.9g")
        scaled.append(tmp_path / file.name)
    other = TrajectoryFisherVector(n_components=K, random_state=0).fit(scaled)
    np.testing.assert_allclose(other.transform(scaled), fitted.transform(files[:4]), atol=1e-3)


def test_a_sample_is_what_it_learns_from(files):
    few = TrajectoryFisherVector(n_components=K, sample=200, random_state=5).fit(files)
    values = sample_descriptors(files, 200, 5)["hof"]
    np.testing.assert_allclose(few.reductions_["hof"].mean_, values.mean(axis=0), rtol=1e-4)
    again = TrajectoryFisherVector(n_components=K, sample=200, random_state=5).fit(files)
    np.testing.assert_array_equal(few.transform(files), again.transform(files))
    for name in ("hog", "hof"):
        assert few.mixtures_[name].weights_.shape == (K,)


def test_it_is_an_estimator(files, fitted):
    copy = clone(fitted)
    assert copy.get_params() == {"n_components": K, "sample": 256_000, "random_state": 0}
    assert not hasattr(copy, "mixtures_")
    assert len(fitted.get_feature_names_out()) == 2 * K * 213
    pipeline = make_pipeline(clone(fitted), LinearSVC()).fit(files, [0, 1, 0, 1, 1])
    assert len(pipeline.predict([str(file) for file in files])) == len(files)


@pytest.mark.skipif("TrajectoryFisherVector" not in rnnfv.__all__, reason="not a public name: model folders refuse it")
def test_a_saved_one_gives_the_same(files, fitted, tmp_path):
    fitted.save(tmp_path / "model")
    np.testing.assert_array_equal(rnnfv.load(tmp_path / "model").transform(files), fitted.transform(files))


# -- bad input -------------------------------------------------------------------------------------


def test_a_damaged_file_is_named(files, fitted, tmp_path):
    text = files[0].read_text()
    (tmp_path / "cut.txt").write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match=r"cut\.txt, line 4\d: \d+ numbers"):
        fitted.transform([files[0], tmp_path / "cut.txt"])
    with pytest.raises(ValueError, match=r"cut\.txt, line 4\d: \d+ numbers"):
        clone(fitted).fit([tmp_path / "cut.txt"])


def test_too_little_to_learn_from_is_refused(files):
    with pytest.raises(ValueError, match="there are 60 trajectories to learn from, but 256 are needed"):
        TrajectoryFisherVector().fit(files[4:])
    with pytest.raises(ValueError, match="there are 30 trajectories to learn from, but 55 are needed"):
        TrajectoryFisherVector(n_components=2, sample=30).fit(files)


def test_a_descriptor_without_variance_is_named(tmp_path):
    rows = np.random.default_rng(0).random((80, 436))
    rows[:, 136:244] = 0.25
    np.savetxt(tmp_path / "still.txt", rows)
    with pytest.raises(ValueError, match="the descriptor 'hof' is the same in all trajectories"):
        TrajectoryFisherVector(n_components=2).fit([tmp_path / "still.txt"])


@pytest.mark.parametrize(("given", "message"), [("clip.txt", "give a list of files"), ([], "there are no files")])
def test_what_is_not_a_list_of_files_is_refused(fitted, given, message):
    with pytest.raises(ValueError, match=message):
        TrajectoryFisherVector().fit(given)
    with pytest.raises(ValueError, match=message):
        fitted.transform(given)


@pytest.mark.parametrize("parameters", [{"n_components": 0}, {"sample": 0}, {"sample": "all"}])
def test_wrong_parameters_are_refused(files, parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        TrajectoryFisherVector(**parameters).fit(files)
