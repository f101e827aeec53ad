"""`rnnfv action watch`: what it prints, and that it is what the pipeline says of the whole video."""

import json
import os
import signal
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline

from rnnfv import FisherInformationScaler, LinearSVM, PowerNormalizer, RNNFisherVector
from rnnfv.cli.watch import run_watch, watch
from rnnfv.encoders.steps import StepPreprocessor
from rnnfv.recipes.recognizer import ActionRecognizer
from rnnfv.video.backbones import make_backbone
from rnnfv.video.clips import ClipCutter
from rnnfv.video.decode import Sampling, VideoError, read_frames

pytest.importorskip("av")

CLASSES = ["[red]stand", "clap", "jump", "run", "sit", "walk", "wave"]
# Gives the mean colour of each quarter of an 8 x 8 image.
ONNX = Path(__file__).parents[1] / "fixtures" / "quarters.onnx"


class Colours:
    """A net that is none: mean colours of a frame or clip. It can press Ctrl-C."""

    name, dim = "colours", 3

    def __init__(self, takes="frames", stop_at=None):
        self.input, self.stop_at, self.calls = takes, stop_at, 0

    def prepare(self, frame):
        return frame[::2, ::2]

    def __call__(self, batch):
        self.calls += 1
        if self.calls == self.stop_at:
            os.kill(os.getpid(), signal.SIGINT)
        return batch.reshape(len(batch), -1, 3).astype(np.float32).mean(axis=1) / 255


@dataclass(frozen=True)
class Recognizer(ActionRecognizer):
    made: Colours | None = None

    def backbone(self, device="auto"):
        return self.made


def chain(dim):
    """A fitted pipeline for steps of so many values."""
    sequences = np.random.default_rng(0).uniform(0.3, 0.7, (28, 9, dim)).astype(np.float32)
    net = RNNFisherVector(hidden_size=4, projection_size=None, max_epochs=0, random_state=0)
    steps = (StepPreprocessor(deltas=1), net, FisherInformationScaler("kronecker"), PowerNormalizer(), LinearSVM())
    return make_pipeline(*steps).fit(sequences, np.repeat(CLASSES, 4))


def recognizer(takes="frames", every=2, stop_at=None):
    return Recognizer(chain(3), {"name": "colours"}, Sampling(every=every), made=Colours(takes, stop_at))


@pytest.fixture
def video(tmp_path, write_video):
    return write_video(tmp_path / "a.avi", 35, rate=10)


def expected(made, video, steps=None):
    """By class: the pipeline's decision for the whole video, or for its first steps."""
    frames = np.stack([made.made.prepare(frame) for frame in read_frames(video, made.sampling)])
    if made.made.input == "clips":
        cutter = ClipCutter()
        frames = np.concatenate([cutter.push(frames), cutter.finish()])
    scores = made.pipeline.decision_function([Colours(made.made.input)(frames)[:steps]])[0]
    return dict(zip(made.classes, scores, strict=True))


def best(scores):
    return "  ".join(f"{label} {scores[label]:+.3f}" for label in sorted(scores, key=scores.get, reverse=True)[:5])


@pytest.mark.parametrize(
    ("takes", "every", "frames", "steps"),
    [("frames", 1, 35, 35), ("frames", 10, 35, 4), ("clips", 1, 35, 3), ("clips", 1, 7, 1), ("clips", 5, 35, 1)],
)
def test_the_last_line_is_what_the_pipeline_says_of_the_whole(
    write_video, tmp_path, takes, every, frames, steps, capsys
):
    video, made = write_video(tmp_path / "a.avi", frames, rate=10), recognizer(takes, every)
    watch(made, str(video), as_json=True)
    *lines, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert last["scores"] == pytest.approx(expected(made, video), rel=1e-4, abs=1e-5)
    assert (last["steps"], last["last"]) == (steps, True)
    assert last["time"] == pytest.approx((frames - 1) // every * every / 10)
    assert not any(line["last"] for line in lines)
    for line in lines:
        wanted = expected(made, video, line["steps"])
        assert line["scores"] == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_a_line_for_each_second_of_video(video, capsys):
    made = recognizer(every=2)
    watch(made, str(video))
    lines = capsys.readouterr().out.splitlines()
    steps = [1, 6, 11, 16, 18]
    times = ["0.0 s, ", "1.0 s, ", "2.0 s, ", "3.0 s, ", "end: 3.4 s, "]
    wanted = [f"{t}{n} steps: {best(expected(made, video, n))}" for t, n in zip(times, steps, strict=True)]
    assert lines == wanted


def test_a_table_on_a_terminal(video, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    made = recognizer()
    watch(made, str(video))
    shown = capsys.readouterr().out
    assert "score" in shown
    assert "[red]stand" in shown
    assert shown.splitlines()[-1].endswith(f"end: 3.4 s, 18 steps: {best(expected(made, video))}")


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_ends_with_the_result_so_far(video, capsys, as_json):
    made = recognizer(stop_at=8)
    watch(made, str(video), as_json=as_json)
    last = capsys.readouterr().out.splitlines()[-1]
    wanted = expected(made, video, 7)
    if as_json:
        assert json.loads(last)["scores"] == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    else:
        assert last == f"end: 1.2 s, 7 steps: {best(wanted)}"


def test_ctrl_c_before_the_first_step_has_no_result(video, capsys):
    with pytest.raises(KeyboardInterrupt):
        watch(recognizer(stop_at=1), str(video))
    assert capsys.readouterr().out == ""


def test_missing_frames_are_told(video, capsys):
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    watch(recognizer(), str(video))
    told = capsys.readouterr()
    assert told.out.splitlines()[-1].startswith("end: ")
    assert "a.avi: a part is missing or damaged" in told.err


def test_memory_does_not_grow_with_the_video(write_video, tmp_path, capsys):
    made, peaks = recognizer(every=1), []
    for n in (30, 60, 600):
        video = write_video(tmp_path / f"{n}.avi", n, rate=10)
        tracemalloc.start()
        watch(made, str(video))
        capsys.readouterr()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 50_000


def test_a_saved_recogniser_with_a_real_net(video, capsys, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    backbone = make_backbone(f"onnx:{ONNX}", device="cpu")
    made = ActionRecognizer(chain(backbone.dim), backbone.description(), Sampling(every=2), ONNX)
    made.save(tmp_path / "model")
    run_watch(tmp_path / "model", str(video), as_json=True, device="cpu")
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    frames = np.stack([backbone.prepare(frame) for frame in read_frames(video, Sampling(every=2))])
    wanted = dict(zip(CLASSES, made.scores([backbone(frames)])[0], strict=True))
    assert {label: last["scores"][label] for label in CLASSES} == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    assert last["steps"] == 18


def test_what_cannot_be_watched(video, tmp_path):
    with pytest.raises(VideoError, match="there is no such file"):
        watch(recognizer(), str(tmp_path / "none.avi"))
    plain = recognizer().pipeline
    with pytest.raises(ValueError, match="has no backbone"):
        watch(ActionRecognizer(plain), str(video))
    with pytest.raises(ValueError, match="no-model"):
        run_watch(tmp_path / "no-model", str(video))
