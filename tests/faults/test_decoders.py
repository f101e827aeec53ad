"""A decoder that hangs, or crashes, on one video: that video has failed, and the rest goes on."""

import csv
import functools
import signal
from pathlib import Path

import pytest

from rnnfv.recipes import extraction
from rnnfv.recipes.extraction import extract_features
from rnnfv.storage import read_all_features
from rnnfv.video import ahead
from rnnfv.video.ahead import decode_ahead
from rnnfv.video.backbones import make_backbone
from rnnfv.video.decode import Sampling

pytest.importorskip("av")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

ONNX = Path(__file__).parents[1] / "fixtures" / "quarters.onnx"


def test_one_video_is_lost_and_the_reason_is_told(trapped, tmp_path, monkeypatch):
    for name, value in trapped.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(extraction, "decode_ahead", functools.partial(decode_ahead, patience=3.0))
    summary = extract_features(trapped.folder, make_backbone(f"onnx:{ONNX}", device="cpu"), tmp_path / "out", workers=2)
    assert (summary.ok, summary.failed) == (4, 2)
    assert read_all_features(tmp_path / "out").ids == ["a", "b", "c", "d"]
    with summary.report.open(newline="") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert rows["trap-hangs"]["status"] == rows["trap-crashes"]["status"] == "failed"
    assert "nothing came from the process that decodes it for" in rows["trap-hangs"]["reason"]
    assert "the process that decoded it ended by SIGSEGV" in rows["trap-crashes"]["reason"]


def test_who_waits_for_ever_does_not_outlive_a_killed_command(commands, trapped, tmp_path):
    """The command alone is killed, as by a system that is out of memory; `run` sees that its whole group has gone."""
    extract = ["extract", trapped.folder, "--backbone", f"onnx:{ONNX}", "--workers", "2", "--out", tmp_path / "out"]
    ended = commands.run(extract, environment=trapped.environment, after=trapped.wait, alone=True)
    assert ended.code == -signal.SIGKILL


def test_a_process_that_is_ended_from_outside_costs_its_video(trapped, monkeypatch):
    """SIGTERM to one decoding process, by hand: this process is told nothing, and goes on."""
    for name, value in trapped.environment.items():
        monkeypatch.setenv(name, value)
    whole = ahead._listen

    def listen(team, pause):
        for worker, is_ready in whole(team, 0.2):
            if (trapped.folder / "trap-hangs.begun").exists() and not is_ready:
                worker._process.terminate()
            yield worker, is_ready

    monkeypatch.setattr(ahead, "_listen", listen)
    (event,) = decode_ahead([trapped.folder / "trap-hangs.avi"], Sampling(every=1), workers=1)
    assert "the process that decoded it ended by SIGTERM" in event.reason
