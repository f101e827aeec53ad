"""Streams: equal to the pipeline on the whole sequence, however it is cut; refusals; memory."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline

from rnnfv import LinearSVM, MeanPooling, PowerNormalizer, RNNFisherVector, RNNHiddenState
from rnnfv.encoders.steps import StepPreprocessor
from rnnfv.networks import NextStepNetwork
from rnnfv.recipes import streaming
from rnnfv.recipes.comparison import candidate
from rnnfv.recipes.streaming import ActionStream, follow

RNG = np.random.default_rng(0)
DIM = 4
TRAINING = [np.cumsum(RNG.normal(size=(n, DIM)), axis=0).astype(np.float32) for n in RNG.integers(3, 20, 24)]
LABELS = np.repeat(["run", "sit", "wave"], 8)
LONG = np.cumsum(RNG.normal(size=(60, DIM)), axis=0).astype(np.float32)
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


def fitted(prepare="passthrough", labels=LABELS, **net):
    """A net of a few units as it was drawn, unless told otherwise, and a linear SVM."""
    net = {"hidden_size": 5, "projection_size": 6, "max_epochs": 0, "random_state": 0} | net
    encoder = ("encoder", RNNFisherVector(**net))
    return Pipeline(
        [("prepare", prepare), encoder, ("normalizer", PowerNormalizer()), ("classifier", LinearSVM())]
    ).fit(TRAINING, labels)


def assert_close(got, wanted, dtype="float32"):
    assert np.linalg.norm(got - wanted) <= TOLERANCE[dtype] * np.linalg.norm(wanted)


def assert_equals_pipeline(stream, pipeline, sequence, dtype="float32"):
    vector = pipeline[:2].transform([sequence])[0]
    assert stream.n_steps == len(sequence)
    assert stream.vector().dtype == vector.dtype
    assert stream.vector().shape == vector.shape
    assert_close(stream.vector(), vector, dtype)
    # The power's slope at zero has no bound: of small values it leaves half the digits.
    assert_close(stream.scores(), pipeline.decision_function([sequence])[0], "float32")


# -- equal to the pipeline -------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("projection", [None, 6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_net_at_every_step(cell, layers, projection, dtype):
    pipeline = fitted(
        StepPreprocessor(deltas=1), cell=cell, num_layers=layers, projection_size=projection, dtype=dtype, max_epochs=1
    )
    stream = ActionStream(pipeline)
    for i, step in enumerate(LONG[:20]):
        assert_equals_pipeline(stream.push(step), pipeline, LONG[: i + 1], dtype)


@pytest.mark.parametrize("basis", ["raw", "standardize", "pca", "whiten"])
@pytest.mark.parametrize("deltas", [0, 1, 3])
@pytest.mark.parametrize("unit_steps", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_preparation(basis, deltas, unit_steps, dtype):
    prepare = StepPreprocessor(deltas=deltas, basis=basis, n_components=3, unit_steps=unit_steps)
    pipeline = fitted(prepare, dtype=dtype)
    stream = ActionStream(pipeline).push(LONG[:2]).push(LONG[2]).push(LONG[3:31])
    assert_equals_pipeline(stream, pipeline, LONG[:31], dtype)


PIPELINES = {
    "float32": fitted(StepPreprocessor(deltas=3, unit_steps=True)),
    "float64": fitted(StepPreprocessor(deltas=1), cell="gru", num_layers=2, dtype="float64"),
    "unprepared": fitted(dtype="float64"),
}


@pytest.mark.parametrize("name", PIPELINES)
@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(0, 25), min_size=1, max_size=12), block=st.integers(1, 8))
def test_any_way_of_cutting(name, sizes, block):
    sequence, start = LONG[: max(1, min(sum(sizes), len(LONG)))], 0
    stream = ActionStream(PIPELINES[name])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "_BLOCK", block)
        for size in [*sizes, len(sequence)]:
            stream.push(sequence[start : start + size])
            start += size
    assert_equals_pipeline(stream, PIPELINES[name], sequence, "float32" if name == "float32" else "float64")


def test_a_push_longer_than_a_block():
    sequence = RNG.normal(size=(3 * streaming._BLOCK + 7, DIM))
    assert_equals_pipeline(ActionStream(PIPELINES["float64"]).push(sequence), PIPELINES["float64"], sequence, "float64")


@pytest.mark.parametrize("pooling", ["mean", "sum"])
@pytest.mark.parametrize("coordinates", [None, 11])
def test_pooling_and_sampled_coordinates(pooling, coordinates, monkeypatch):
    pipeline = fitted(pooling=pooling, coordinates=coordinates, dtype="float64")
    assert_equals_pipeline(ActionStream(pipeline).push(LONG), pipeline, LONG, "float64")
    monkeypatch.setattr(streaming, "_WORK_VALUES", 40)
    assert_equals_pipeline(ActionStream(pipeline).push(LONG), pipeline, LONG, "float64")


def test_an_answer_is_not_changed_by_what_follows():
    stream = ActionStream(fitted(pooling="sum", dtype="float64")).push(LONG[:5])
    vector = stream.vector()
    before = vector.copy()
    stream.push(LONG[5:])
    np.testing.assert_array_equal(vector, before)


@pytest.mark.parametrize("pooling", ["rnn-fv", "rnn-fv-kron"])
def test_scaling_and_reduction_between(pooling):
    net = {"hidden_size": 5, "projection_size": None, "max_epochs": 2, "early_stopping": "probe"}
    pipeline = candidate(pooling, {"deltas": [1]}, n_reduced=7, **net, random_state=0).pipeline
    pipeline.fit(TRAINING, LABELS)
    stream = ActionStream(pipeline).push(LONG)
    assert_close(stream.scores(), pipeline.decision_function([LONG])[0])
    assert stream.classes.tolist() == ["run", "sit", "wave"]


def test_two_classes_have_a_score_each():
    pipeline = fitted(labels=np.repeat(["a", "b"], 12))
    scores = ActionStream(pipeline).push(LONG).scores()
    assert_close(scores, np.array([-1, 1]) * pipeline.decision_function([LONG]))


def test_reset_begins_another_sequence():
    stream = ActionStream(PIPELINES["float32"]).push(LONG).reset()
    assert stream.n_steps == 0
    assert_equals_pipeline(stream.push(TRAINING[3]), PIPELINES["float32"], TRAINING[3])


def test_two_streams_of_one_pipeline_do_not_meet():
    streams = [ActionStream(PIPELINES["float64"]) for _ in range(2)]
    for forward, backward in zip(LONG, LONG[::-1], strict=True):
        streams[0].push(forward)
        streams[1].push(backward)
    for stream, sequence in zip(streams, [LONG, LONG[::-1]], strict=True):
        assert_equals_pipeline(stream, PIPELINES["float64"], sequence, "float64")


def test_steps_in_many_forms():
    whole = np.rint(LONG).astype(int)
    read_only = whole.astype(np.float32)
    read_only.flags.writeable = False
    forms = [whole, whole.tolist(), torch.from_numpy(whole), whole.astype(np.float16), read_only]
    forms += [np.asfortranarray(whole), whole[::-1].copy()[::-1]]
    for pipeline in (PIPELINES["float64"], PIPELINES["unprepared"]):
        for steps in forms:
            assert_equals_pipeline(ActionStream(pipeline).push(steps), pipeline, whole.astype(np.float64), "float64")


# -- what is refused -------------------------------------------------------------------------------

BAD = [
    (np.full(DIM, np.nan), "step 7 has NaN or an infinite value"),
    (np.r_[LONG[:2], np.full((1, DIM), np.inf)], "step 9 has NaN or an infinite value"),
    (LONG[0, :3], "step 7 has 3 values: the model takes 4"),
    (LONG[:5, [0, 1, 2, 3, 0]], "step 7 has 5 values: the model takes 4"),
    ([[1.0, 2, 3, 4], [1, 2]], "the steps from 7 on are not of one width"),
    (np.zeros((1, 2, DIM)), r"shape \(1, 2, 4\) and dtype float64 at step 7"),
    (1.0, r"shape \(\) and dtype float64 at step 7"),
    (["a", "b", "c", "d"], "dtype <U1 at step 7"),
    (np.zeros(DIM, complex), "dtype complex128 at step 7"),
]


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize(("steps", "says"), BAD)
def test_a_bad_step_is_named_and_does_no_harm(name, steps, says):
    stream = ActionStream(PIPELINES[name]).push(LONG[:7])
    with pytest.raises(ValueError, match=says):
        stream.push(steps)
    assert_equals_pipeline(stream.push(LONG[7:]), PIPELINES[name], LONG, "float32" if name == "float32" else "float64")


def test_scaled_sequences_are_refused():
    with pytest.raises(ValueError, match="scale_sequences=False"):
        ActionStream(fitted(StepPreprocessor(scale_sequences=True)))
    with pytest.raises(ValueError, match="needs the whole sequence"):
        StepPreprocessor(scale_sequences=True).fit(TRAINING).transform_next(LONG)


def test_other_encoders_are_refused():
    net = {"hidden_size": 3, "max_epochs": 0}
    symbols = [np.array([0, 1, 2, 1]), np.array([2, 2, 0])] * 2
    words = RNNFisherVector("classification", **net, vectors=np.eye(3)).fit(symbols)
    for encoder, says in [
        (MeanPooling().fit(TRAINING), "this pipeline has MeanPooling: fit one with the pooling rnn-fv or"),
        (RNNHiddenState(**net).fit(TRAINING), "this pipeline has RNNHiddenState"),
        (RNNFisherVector(**net, gradient="all").fit(TRAINING), "gradient='output'"),
        (words, "objective='regression'"),
    ]:
        with pytest.raises(ValueError, match=says):
            ActionStream(make_pipeline(encoder, PowerNormalizer()))
    with pytest.raises(ValueError, match="not fitted"):
        ActionStream(make_pipeline(RNNFisherVector(**net), PowerNormalizer()))


def test_no_answer_where_there_is_none():
    stream = ActionStream(PIPELINES["float32"])
    for answer in (stream.vector, stream.scores, stream.push(LONG[:0]).vector):
        with pytest.raises(ValueError, match="before the first step"):
            answer()
    encoder = PIPELINES["float32"][:3]
    stream = ActionStream(encoder).push(LONG)
    assert_close(stream.vector(), encoder[:2].transform([LONG])[0])
    with pytest.raises(ValueError, match="does not end with a classifier"):
        stream.scores()
    with pytest.raises(ValueError, match="does not end with a classifier"):
        ActionStream(make_pipeline(RNNFisherVector(max_epochs=0), GaussianNB()).fit(TRAINING, LABELS)).scores()


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 50])
def test_memory_does_not_grow(size):
    stream, steps = ActionStream(PIPELINES["float32"]), LONG[:size]
    stream.push(steps)
    tracemalloc.start()
    held = []
    for _ in range(2):
        for _ in range(500):
            stream.push(steps)
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert held[1] - held[0] < 1000
    assert stream.n_steps == 1001 * size


# -- what it stands on -----------------------------------------------------------------------------


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_net_advances_as_it_goes_through_the_whole(cell, layers):
    net = NextStepNetwork(3, 3, 5, None, cell, layers).double().eval()
    inputs = torch.randn(2, 9, 3, dtype=torch.float64)
    state = net.start(inputs)
    parts = []
    for part in inputs.split([1, 3, 5], dim=1):
        hidden, state = net.advance(part, state)
        parts.append(hidden)
    torch.testing.assert_close(torch.cat(parts, dim=1), net.hidden(inputs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("deltas", [0, 1, 3, 40])
def test_the_next_steps_are_prepared_as_in_the_whole(deltas):
    prepare = StepPreprocessor(deltas=deltas, unit_steps=True).fit(TRAINING)
    before, parts = None, []
    for part in np.split(LONG, [1, 2, 4, 30]):
        prepared, before = prepare.transform_next(part, before)
        assert before.shape == (deltas, DIM)
        parts.append(prepared)
    np.testing.assert_allclose(np.concatenate(parts), prepare.transform([LONG])[0], rtol=1e-6, atol=1e-7)


# -- videos ----------------------------------------------------------------------------------------


class Colours:
    """A net that is none: mean colours of a frame or clip, and the spread of its greens."""

    name, dim = "colours", DIM

    def __init__(self, takes):
        self.input = takes

    def prepare(self, frame):
        return frame[::2]

    def __call__(self, batch):
        values = batch.reshape(len(batch), -1, 3).astype(np.float32) / 255
        return np.c_[values.mean(axis=1), values[..., 1].std(axis=1)]


@pytest.mark.parametrize(("takes", "frames", "steps"), [("frames", 30, 30), ("clips", 45, 4), ("clips", 5, 1)])
def test_a_video_is_followed(takes, frames, steps):
    images = RNG.integers(0, 255, (frames, 6, 4, 3), dtype=np.uint8)
    backbone, stream = Colours(takes), ActionStream(PIPELINES["unprepared"])
    times = list(follow(((i / 10, image) for i, image in enumerate(images)), backbone, stream))
    assert times[:frames] == [i / 10 for i in range(frames)]
    assert times[-1] == (frames - 1) / 10
    small = images[:, ::2]
    if takes == "clips":
        small = np.concatenate([small, small[-1:].repeat(max(0, 16 - frames), axis=0)])
        small = np.stack([small[8 * i : 8 * i + 16] for i in range(steps)])
    assert_equals_pipeline(stream, PIPELINES["unprepared"], backbone(small), "float64")


def test_frames_that_change_size_are_refused():
    images = [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 6, 3), np.uint8)]
    with pytest.raises(ValueError, match=r"from \(4, 8\) to \(4, 6\): split the video"):
        list(follow(enumerate(images), Colours("frames"), ActionStream(PIPELINES["unprepared"])))


@pytest.mark.parametrize("takes", ["frames", "clips"])
def test_a_long_video_takes_no_more_memory(takes):
    image = RNG.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    stream = ActionStream(PIPELINES["float32"])
    peaks = []
    for n in (50, 100, 400):
        tracemalloc.start()
        for _ in follow(((i, image + np.uint8(i % 50)) for i in range(n)), Colours(takes), stream.reset()):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 10_000
