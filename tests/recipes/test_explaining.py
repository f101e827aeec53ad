"""What each step adds to a decision, and where in the video it is."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import Pipeline

from rnnfv import (
    FisherInformationScaler,
    GramPCA,
    LinearSVM,
    MeanPooling,
    MixtureFisherVector,
    PowerNormalizer,
    RNNFisherVector,
    StepPreprocessor,
)
from rnnfv.recipes.explaining import Explanation, Moments, explain, find_moments
from rnnfv.recipes.recognizer import ActionRecognizer
from rnnfv.video.decode import Sampling, VideoError

SEQUENCES = [np.random.default_rng(i).normal(size=(6 + i % 5, 3)).cumsum(axis=0) for i in range(30)]


def recognizer(n_classes=3, between=(), encoder=None):
    encoder = encoder or RNNFisherVector(
        hidden_size=5, projection_size=4, max_epochs=1, early_stopping=None, dtype="float64", random_state=0
    )
    steps = [("prepare", StepPreprocessor(deltas=1)), ("encoder", encoder), *between]
    pipeline = Pipeline([*steps, ("normalizer", PowerNormalizer()), ("classifier", LinearSVM())])
    return ActionRecognizer(pipeline.fit(SEQUENCES, [f"class {i % n_classes}" for i in range(30)]))


SCALER, REDUCE = ("scaler", FisherInformationScaler("kronecker")), ("reduce", GramPCA(7))


# -- shares ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("between", [(), (SCALER,), (REDUCE,), (SCALER, REDUCE)])
def test_the_shares_and_the_constant_make_the_decision(n_classes, between):
    fitted = recognizer(n_classes, between)
    steps = fitted.pipeline.named_steps
    for sequence in SEQUENCES[:6]:
        why = explain(fitted, sequence)
        scores = fitted.scores([sequence])[0]
        top = scores.argmax()
        assert (why.label, why.shares.shape) == (f"class {top}", (len(sequence),))
        assert why.decision == pytest.approx(scores.max())
        # The constant anew: the intercept, and what the weights, seen from before PCA, do on its mean vector.
        svm = steps["classifier"]
        sign = 1 if n_classes == 3 or top == 1 else -1
        row = top if n_classes == 3 else 0
        constant = sign * svm.intercept_[row]
        if "reduce" in steps:
            reduced = fitted.pipeline[:-2].transform([sequence])[0]
            ratio = PowerNormalizer().transform(reduced[None])[0] / reduced
            weights = (sign * svm.coef_[row] * ratio) @ steps["reduce"].components_
            constant -= weights @ steps["reduce"].mean_
        assert why.constant == pytest.approx(constant, abs=1e-6)
        assert why.shares.sum() + constant == pytest.approx(why.decision, abs=1e-6)


def test_a_share_is_that_of_its_step():
    """The net is causal: what a step adds to the vector is what a prefix gains by it."""
    fitted = recognizer(between=(SCALER, REDUCE))
    _, encoder, scaler, reduce, normalizer, svm = (step for _, step in fitted.pipeline.steps)
    sequence = SEQUENCES[4]
    prepared = fitted.pipeline["prepare"].transform([sequence])[0]
    n = len(prepared)
    sums = [np.zeros(encoder.transform([prepared]).shape[1])]
    sums += [i * np.asarray(encoder.transform([prepared[:i]])[0]) for i in range(1, n + 1)]
    top = fitted.scores([sequence])[0].argmax()
    reduced = reduce.transform(scaler.transform(sums[-1][None] / n))
    ratio = normalizer.transform(reduced)[0] / reduced[0]
    gains = scaler.transform(np.diff(sums, axis=0) / n) @ reduce.components_.T  # PCA without its mean
    assert_allclose(explain(fitted, sequence).shares, (gains * ratio) @ svm.coef_[top], rtol=1e-6, atol=1e-9)


def test_the_strongest_steps_come_in_the_order_of_time():
    shares = np.array([0.1, -5.0, 0.9, 0.3, 0.9, 0.2])
    why = Explanation("run", 1.0, shares, 0.0)
    assert why.strongest(3).tolist() == [2, 3, 4]
    assert why.strongest(1).tolist() == [2]
    assert why.strongest().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("encoder", [MeanPooling(), MixtureFisherVector(2, random_state=0)])
def test_other_poolings_are_refused(encoder):
    with pytest.raises(ValueError, match=rf"{type(encoder).__name__} does not tell .*: fit .* pooling rnn-fv or"):
        explain(recognizer(encoder=encoder), SEQUENCES[0])


# -- moments ---------------------------------------------------------------------------------------


def level(image):
    """The number of a made frame: its brightness says it."""
    return round(float(image.mean()) / 5)


@pytest.fixture
def video(tmp_path, write_video):
    """45 frames at 12.5 frames a second, each 5 levels brighter than the one before."""
    frames = np.arange(0, 225, 5, np.uint8)[:, None, None, None] * np.ones((48, 64, 3), np.uint8)
    return write_video(tmp_path / "brighter.avi", frames, codec="ffv1", rate=Fraction(25, 2), pix_fmt="bgr0")


FRAMES, CLIPS = SimpleNamespace(input="frames"), SimpleNamespace(input="clips")


@pytest.mark.parametrize(
    ("backbone", "sampling", "expected"),
    [
        (FRAMES, Sampling(every=10), [0, 10, 20, 30, 40]),
        (FRAMES, Sampling(fps=2.5), list(range(0, 45, 5))),
        (CLIPS, Sampling(every=1), [0, 8, 16, 24]),  # 40 to 44 fill no clip, nor do 32 to 44
        (CLIPS, Sampling(every=2), [0]),
    ],
)
def test_steps_are_found_in_the_video(video, backbone, sampling, expected):
    moments = find_moments(video, backbone, sampling, len(expected), [0, len(expected) - 1])
    assert moments.frames.tolist() == expected
    assert_allclose(moments.seconds, np.array(expected) / 12.5)
    assert {step: level(image) for step, image in moments.images.items()} == {
        0: 0,
        len(expected) - 1: expected[-1],
    }


def test_times_are_those_of_the_frames(tmp_path, write_video):
    """Of a film that does not run evenly, the mean rate tells no frame's time."""
    times = [7000, 7040, 7080, 8000, 8040, 9520, 9560]
    path = write_video(tmp_path / "a.mkv", len(times), times=times)
    assert_allclose(find_moments(path, FRAMES, Sampling(every=3), 3, []).seconds, [0, 1, 2.56], atol=1e-9)


def test_steps_are_found_in_a_folder_of_images(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for i in range(12):
        image.fromarray(np.full((400, 600, 3), 5 * i, np.uint8)).save(tmp_path / f"{i}.png")
    moments = find_moments(tmp_path, FRAMES, Sampling(every=5), 3, [1, 2])
    assert (moments.frames.tolist(), moments.seconds) == ([0, 5, 10], None)
    assert {step: (level(image), image.shape) for step, image in moments.images.items()} == {
        1: (5, (240, 360, 3)),
        2: (10, (240, 360, 3)),
    }
    assert moments.place(2) == "frame 10"


def test_times_are_minutes_and_seconds():
    seconds = np.array([0.0, 7.26, 59.96, 600.5])
    moments = Moments(np.arange(4), seconds, {})
    assert [moments.place(i) for i in range(4)] == ["0:00.0", "0:07.3", "1:00.0", "10:00.5"]


def test_a_video_that_has_gone_is_named(tmp_path):
    with pytest.raises(VideoError, match=r"gone.avi: there is no such file"):
        find_moments(tmp_path / "gone.avi", FRAMES, Sampling(), 1, [])
    assert_array_equal(list(tmp_path.iterdir()), [])
