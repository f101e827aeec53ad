"""Extracting a folder of videos: rows, failures, resuming, refusals."""

import csv
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from operator import itemgetter

import numpy as np
import pyarrow.parquet as pq
import pytest

from rnnfv.cli.extract import run_extract
from rnnfv.recipes._extraction_job import ExtractionJob, VideoFeatures
from rnnfv.recipes._videos import list_videos
from rnnfv.recipes.extraction import extract_features
from rnnfv.storage import read_all_features, read_features
from rnnfv.video.decode import Sampling, read_frames

av = pytest.importorskip("av")

HEADER = "id,path,status,reason,frames_declared,frames_decoded,steps"
LENGTHS = {"a/1": 31, "a/2": 5, "b/1": 12, "b/2": 40, "c": 20, "d": 17, "e": 1}  # frames


class MeanColour:
    """A net that is none: the mean of each colour channel, of a frame or of a clip."""

    name, dim = "mean-colour", 3
    prepare = itemgetter((slice(0, 32), slice(0, 40)))

    def __init__(self, takes="frames", version=1):
        self.input, self.version, self.calls = takes, version, []

    def __call__(self, batch):
        self.calls.append(batch.shape)
        return batch.mean(axis=tuple(range(1, batch.ndim - 1))).astype(np.float32)

    def description(self):
        return {"name": self.name, "dim": self.dim, "version": self.version, "sizes": (32, 40)}


@pytest.fixture(scope="module")
def made(tmp_path_factory, write_video):
    folder = tmp_path_factory.mktemp("made")
    for name, n in LENGTHS.items():
        write_video(folder / f"{name}.avi", n)
    return folder


@pytest.fixture
def videos(made, tmp_path):
    return shutil.copytree(made, tmp_path / "videos")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def extract(videos, out, backbone=None, **options):
    return extract_features(videos, backbone or MeanColour(), out, **{"workers": 0, "shard_size": 2} | options)


def report(out):
    with (out / "report.csv").open(newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def expected(path, every):
    return np.array([frame[:32, :40].mean(axis=(0, 1)) for frame in read_frames(path, Sampling(every=every))])


# -- what is extracted -----------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_every_video_has_its_features(videos, out, workers):
    summary = extract(videos, out, workers=workers)
    read = read_all_features(out)
    assert read.ids == sorted(LENGTHS)
    for name, sequence in zip(read.ids, read.sequences, strict=True):
        np.testing.assert_allclose(sequence, expected(videos / f"{name}.avi", 10), rtol=1e-6)
    rows = report(out)
    assert list(rows) == sorted(LENGTHS)
    for name, n in LENGTHS.items():
        told = [name, f"{name}.avi", "ok", "", str(n), str(n), str(-(-n // 10))]
        assert rows[name] == dict(zip(HEADER.split(","), told, strict=True))
    assert (summary.ok, summary.short, summary.failed, summary.failures) == (7, 0, 0, [])
    assert (summary.out, summary.report, summary.was_finished) == (out, out / "report.csv", False)
    parts = [f"part-0000{k}.{suffix}" for k in range(4) for suffix in ("json", "parquet")]
    assert sorted(path.name for path in out.iterdir()) == ["job.json", *parts, "report.csv"]


def test_a_net_of_clips_gets_clips(videos, out):
    backbone = MeanColour("clips")
    extract(videos, out, backbone)
    read = read_all_features(out)
    for name, sequence in zip(read.ids, read.sequences, strict=True):
        frames = expected(videos / f"{name}.avi", 1)
        frames = np.concatenate([frames, frames[-1:].repeat(max(0, 16 - len(frames)), axis=0)])
        clips = [frames[start : start + 16].mean(axis=0) for start in range(0, len(frames) - 15, 8)]
        np.testing.assert_allclose(sequence, clips, rtol=1e-5)
    assert {shape[1:] for shape in backbone.calls} == {(16, 32, 40, 3)}


def test_the_sampling_can_be_chosen(videos, out):
    extract(videos, out, sampling=Sampling(fps=5))
    assert [int(row["steps"]) for row in report(out).values()] == [7, 1, 3, 8, 4, 4, 1]


def test_the_shards_tell_where_they_come_from(videos, out):
    extract(videos, out)
    note = json.loads(pq.read_schema(out / "part-00000.parquet").metadata[b"rnnfv"])
    assert note["backbone"] == {"name": "mean-colour", "dim": 3, "version": 1, "sizes": [32, 40]}
    assert note["sampling"] == {"every": 10, "fps": None}
    assert note["decoder"] == f"PyAV {av.__version__}"


def test_one_video_may_stand_for_the_folder(videos, out):
    assert extract(videos / "a" / "1.avi", out).ok == 1
    assert read_features(out / "part-00000.parquet").ids == ["1"]


def test_a_manifest_names_the_videos(write_video, videos, out, tmp_path):
    write_video(tmp_path / "lists" / "near.avi", 8)
    manifest = tmp_path / "lists" / "manifest.csv"
    manifest.write_text("id,label,path\nzz,1,a/2.avi\nnear,2,near.avi\nlost,1,not/there.avi\n")
    summary = extract(videos, out, manifest=manifest)
    assert read_all_features(out).ids == ["near", "zz"]
    assert summary.failures == [
        ("lost", f"{videos}/not/there.avi: there is no such file: correct the path, or leave it out")
    ]
    assert report(out)["lost"]["path"] == "not/there.avi"


# -- what goes wrong -------------------------------------------------------------------------------


def test_damaged_videos_are_listed_and_the_rest_goes_on(videos, out):
    whole = (videos / "b" / "2.avi").read_bytes()
    (videos / "b" / "2.avi").write_bytes(whole[: len(whole) // 2])
    for name in ("c.avi", "d.avi"):
        (videos / name).write_text("not a video")
    (videos / "e.avi").write_bytes(b"")
    (videos / "e2.avi").write_bytes(b"")
    summary = extract(videos, out)
    rows = report(out)
    assert (summary.ok, summary.short, summary.failed) == (3, 1, 4)
    assert {name: row["status"] for name, row in rows.items() if row["status"] != "ok"} == {
        "b/2": "short", "c": "failed", "d": "failed", "e": "failed", "e2": "failed",
    }  # fmt: skip
    declared, decoded = int(rows["b/2"]["frames_declared"]), int(rows["b/2"]["frames_decoded"])
    assert 0 < decoded < declared == 40
    assert rows["b/2"]["reason"] == f"{decoded} of 40 frames could be decoded"
    assert rows["c"]["frames_declared"] == rows["c"]["frames_decoded"] == ""
    assert dict(summary.failures)["e"] == f"{videos}/e.avi: the file is empty: copy it again, or leave it out"
    assert read_all_features(out).ids == ["a/1", "a/2", "b/1", "b/2"]
    assert not (out / "part-00002.parquet").exists()  # c and d
    assert (out / "part-00003.json").exists()


def test_an_output_that_is_not_finite_is_a_failure(videos, out):
    class Odd(MeanColour):
        def __call__(self, batch):
            vectors = super().__call__(batch)
            vectors[2:, 1] = np.inf
            return vectors

    summary = extract(videos, out, Odd())
    assert [name for name, _ in summary.failures] == ["a/1", "b/2"]
    assert summary.failures[0][1] == "the backbone's output for step 2 has a NaN or infinite value"
    assert len(read_all_features(out).ids) == 5


def test_a_net_of_another_width_stops_the_run(videos, out):
    backbone = MeanColour()
    backbone.dim = 4
    with pytest.raises(ValueError, match=r"mean-colour gave an array of \(4, 3\), not \(4, 4\)"):
        extract(videos, out, backbone)


def test_where_no_video_can_be_read_the_report_says_why(tmp_path, out):
    (tmp_path / "a.avi").write_text("no video")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"nothing could be read \(the first: .*a\.avi: cannot be opened"):
            extract(tmp_path / "a.avi", out)
        assert report(out)["a"]["status"] == "failed"


def test_a_process_that_dies_costs_one_video(videos, out, tmp_path, monkeypatch):
    (tmp_path / "deadly.py").write_text(
        "import os\ndef prepare(frame):\n    return os._exit(9) if len(frame) < 48 else frame"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import deadly
    from PIL import Image

    (videos / "b0").mkdir()
    Image.new("RGB", (64, 20)).save(videos / "b0" / "1.png")
    backbone = MeanColour()
    backbone.prepare = deadly.prepare
    summary = extract(videos, out, backbone, workers=1)
    assert (summary.ok, summary.failed) == (7, 1)
    assert summary.failures[0][0] == "b0"
    assert "ended with exit code 9" in summary.failures[0][1]


def test_progress_goes_to_stderr_and_only_when_asked(videos, out, capsys):
    (videos / "e.avi").write_text("no video")
    extract(videos, out)
    assert capsys.readouterr() == ("", "")
    extract(videos, out.with_name("other"), progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "7/7" in shown.err
    assert "frames/s, 1 failed" in shown.err


def test_memory_does_not_grow_with_the_number_of_shards(videos, tmp_path):
    class Wide(MeanColour):
        dim = 50_000

        def __call__(self, batch):
            return np.ones((len(batch), self.dim), np.float32)

    peaks = []
    for copies in (1, 1, 5):  # the first warms up
        folder = tmp_path / f"{len(peaks)}"
        for i in range(copies):
            shutil.copytree(videos / "b", folder / f"{i}")
        tracemalloc.start()
        extract(folder, tmp_path / f"out{len(peaks)}", Wide())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.2 * peaks[1]


# -- stopping and going on -------------------------------------------------------------------------


class Stopped(MeanColour):
    """Presses Ctrl-C at a call of the net; there is one call a video here."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def __call__(self, batch):
        if len(self.calls) == self.call:
            raise KeyboardInterrupt
        return super().__call__(batch)


@pytest.mark.parametrize("call", range(7))
def test_a_stopped_run_goes_on_and_gives_the_same_bytes(videos, tmp_path, out, call):
    (videos / "b" / "1.avi").write_bytes(b"damaged")
    extract(videos, tmp_path / "undisturbed")
    calls = [0, 1, 2, 3, 4, 5]
    with pytest.raises(KeyboardInterrupt) if call in calls else pytest.MonkeyPatch.context():
        extract(videos, out, Stopped(call))
    backbone = MeanColour()
    assert extract(videos, out, backbone).was_finished == (call == 6)
    assert len(backbone.calls) == 6 - call
    assert content(out) == content(tmp_path / "undisturbed")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_is_done_of_several_shards_survives_stops(videos, tmp_path, out, dtype):
    """Videos end in another order than they begin, as with several processes, and the run is stopped three times."""
    features = np.random.default_rng(0).normal(size=(7, 2, 3)).astype(dtype)
    order, seen = [6, 0, 5, 3, 1, 4, 2], []

    def run(folder, stop=99):
        def some(paths, tell):
            for i in sorted(range(len(paths)), key=lambda i: order.index(names.index(paths[i]))):
                if i == stop:
                    raise SystemExit
                seen.append(names.index(paths[i]))
                fails = names.index(paths[i]) == 5
                yield (
                    i,
                    VideoFeatures("failed", "damaged") if fails else VideoFeatures("ok", "", 9, 8, features[seen[-1]]),
                )

        return ExtractionJob(listed, {"test": dtype}, {}, folder, 3, dtype).run(some, "frames", False)

    listed = list_videos(videos, None)
    names = [video.path for video in listed]
    run(tmp_path / "undisturbed")
    seen.clear()
    for stop in (3, 2, 1):
        with pytest.raises(SystemExit):
            run(out, stop)
        assert (out / ".unfinished").is_dir()
    summary = run(out)
    assert sorted(seen) == list(range(7))  # nothing twice
    assert summary.failures == [("d", "damaged")]
    assert content(out) == content(tmp_path / "undisturbed")


@pytest.mark.parametrize("damage", ["features", "rows", "missing", "no json", "another job", "older rows"])
def test_what_was_put_by_is_not_trusted_blindly(videos, tmp_path, out, damage):
    extract(videos, tmp_path / "undisturbed", shard_size=4)
    with pytest.raises(KeyboardInterrupt):
        extract(videos, out, Stopped(2), shard_size=4)
    features, rows = (out / ".unfinished" / f"part-00000.{suffix}" for suffix in ("parquet", "json"))
    if damage == "features":
        flipped = bytearray(features.read_bytes())
        flipped[len(flipped) // 3] ^= 1
        features.write_bytes(flipped)
    elif damage == "rows":
        rows.write_text(rows.read_text().replace('"frames_decoded": 31', '"frames_decoded": 13'))
    elif damage == "missing":
        features.unlink()
    elif damage == "no json":
        rows.write_text("[]")
    elif damage == "another job":
        with pytest.raises(KeyboardInterrupt):
            extract(videos, tmp_path / "other", Stopped(2), shard_size=4, sampling=Sampling(every=11))
        shutil.copytree(tmp_path / "other" / ".unfinished", features.parent, dirs_exist_ok=True)
    else:
        older = features.read_bytes()
        with pytest.raises(KeyboardInterrupt):
            extract(videos, out, Stopped(1), shard_size=4)
        features.write_bytes(older)
    backbone = MeanColour()
    extract(videos, out, backbone, shard_size=4)
    assert len(backbone.calls) == 7  # all of it is made again
    assert content(out) == content(tmp_path / "undisturbed")


def test_what_cannot_be_put_by_does_not_replace_the_stop(videos, out, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("rnnfv.recipes._extraction_job.write_features", fail)
        with pytest.raises(KeyboardInterrupt):
            extract(videos, out, Stopped(2), shard_size=4)
    backbone = MeanColour()
    extract(videos, out, backbone, shard_size=4)
    assert len(backbone.calls) == 7


def test_what_was_put_by_of_a_finished_shard_goes(videos, tmp_path, out):
    """Killed between a shard and the end: the shard counts."""
    extract(videos, tmp_path / "undisturbed")
    with pytest.raises(KeyboardInterrupt):
        extract(videos, out, Stopped(1))
    for path in (tmp_path / "undisturbed").glob("part-00000.*"):
        shutil.copy(path, out)
    extract(videos, out)
    assert content(out) == content(tmp_path / "undisturbed")


KILLED = """
import os, signal, sys, pathlib
sys.path.insert(0, sys.argv[1])
from mean_colour import MeanColour
from rnnfv.recipes.extraction import extract_features

class Killed(MeanColour):
    def __call__(self, batch):
        if len(self.calls) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)

if __name__ == "__main__":
    extract_features(sys.argv[2], Killed(), sys.argv[3], workers=int(sys.argv[4]), shard_size=2)
"""
HANGS = """
import os, time
def prepare(frame):
    os.write(1, b"prepares\\n")  # in one piece: two processes write
    time.sleep(1000)
"""
INTERRUPTED = """
import sys
sys.path.insert(0, sys.argv[1])
import hangs
from mean_colour import MeanColour
from rnnfv.recipes.extraction import extract_features

if __name__ == "__main__":
    MeanColour.prepare = staticmethod(hangs.prepare)
    extract_features(sys.argv[2], MeanColour(), sys.argv[3], workers=2)
"""


@pytest.fixture
def script(tmp_path):
    """Write a program beside a module with the net."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    source = "from operator import itemgetter\nimport numpy as np\n\n" + inspect.getsource(MeanColour)
    (folder / "mean_colour.py").write_text(source)
    (folder / "hangs.py").write_text(HANGS)

    def write(text):
        (folder / "main.py").write_text(text)
        return [sys.executable, str(folder / "main.py"), str(folder)]

    return write


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_goes_on(videos, tmp_path, out, script, workers):
    extract(videos, tmp_path / "undisturbed")
    killed = subprocess.run([*script(KILLED), videos, out, str(workers)], check=False)
    assert killed.returncode == -signal.SIGKILL
    finished = len(list(out.glob("part-*.json")))  # with two workers the order in which shards end is open
    assert finished >= (2 if workers == 0 else 1)
    assert not (out / "report.csv").exists()
    undisturbed, backbone = MeanColour(), MeanColour()
    extract(videos, tmp_path / "again", undisturbed)
    extract(videos, out, backbone)
    assert len(backbone.calls) == len(undisturbed.calls) - 2 * finished  # two videos a shard, a block each
    assert content(out) == content(tmp_path / "undisturbed")


TERMINATED = """
import sys, time
sys.path.insert(0, sys.argv[1])
import rnnfv.cli.extract
from mean_colour import MeanColour
from rnnfv.cli import main

class Slow(MeanColour):
    def __call__(self, batch):
        if len(self.calls) == 3:
            print("works", flush=True)
            time.sleep(1000)
        return super().__call__(batch)

if __name__ == "__main__":
    rnnfv.cli.extract.check_backbone = lambda *_, **__: None
    rnnfv.cli.extract.make_backbone = lambda *_, **__: Slow()
    main(["extract", sys.argv[2], "--backbone", "mean", "--out", sys.argv[3], "--workers", "2"])
"""


def test_sigterm_keeps_what_is_done(videos, out, script, tmp_path):
    run = subprocess.Popen(
        [*script(TERMINATED), videos, out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert run.stdout.readline() == b"works\n"
    os.killpg(run.pid, signal.SIGTERM)  # as a cluster does: to all processes
    _, errors = run.communicate(timeout=30)
    assert run.returncode == 143
    assert errors.decode().strip().splitlines()[-1] == "rnnfv: terminated"
    backbone = MeanColour()
    assert extract(videos, out, backbone, shard_size=50).failed == 0
    assert 4 <= len(backbone.calls) <= 5  # of three videos that the net saw, the last one's end may not have come
    extract(videos, tmp_path / "undisturbed", shard_size=50)
    assert content(out) == content(tmp_path / "undisturbed")


def test_ctrl_c_leaves_no_process(videos, out, script):
    run = subprocess.Popen(
        [*script(INTERRUPTED), videos, out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    for _ in range(2):
        assert run.stdout.readline() == b"prepares\n"
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all processes of the group
    _, errors = run.communicate(timeout=30)
    assert run.returncode != 0
    assert errors.count(b"Traceback") == errors.count(b"KeyboardInterrupt") == 1
    for _ in range(100):
        try:
            os.killpg(run.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("processes are left")


def test_a_finished_run_is_left_alone(videos, out):
    first = extract(videos, out)
    before = content(out)
    backbone = MeanColour()
    second = extract(videos, out, backbone)
    assert second.was_finished
    assert (second.ok, second.short, second.failed) == (first.ok, first.short, first.failed)
    assert backbone.calls == []
    assert content(out) == before


@pytest.mark.parametrize("lost", ["report.csv", "part-00002.json", "part-00001.parquet"])
def test_what_was_lost_is_made_again(videos, out, lost):
    extract(videos, out)
    before = content(out)
    (out / lost).unlink()
    assert not extract(videos, out).was_finished
    assert content(out) == before


def test_a_stop_between_the_two_files_of_a_shard_leaves_nothing_wrong(videos, out, monkeypatch):
    """The features are there and their note is not; then the videos turn out to be gone."""
    extract(videos, out)
    (out / "part-00000.json").unlink()
    sizes = {path: path.stat().st_size for path in (videos / "a").iterdir()}
    for path, size in sizes.items():
        path.write_bytes(bytes(size))
    extract(videos, out)
    assert not (out / "part-00000.parquet").exists()
    assert read_all_features(out).ids == ["b/1", "b/2", "c", "d", "e"]


OTHERS = {
    "backbone": lambda videos: {"backbone": MeanColour(version=2)},
    "sampling": lambda videos: {"sampling": Sampling(every=5)},
    "shard size": lambda videos: {"shard_size": 3},
    "videos": lambda videos: shutil.copy(videos / "e.avi", videos / "new.avi") and {},
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("stopped", [True, False])
def test_another_job_is_refused(videos, out, other, stopped):
    with pytest.raises(KeyboardInterrupt) if stopped else pytest.MonkeyPatch.context():
        extract(videos, out, Stopped(3 if stopped else 99))
    before = content(out)
    with pytest.raises(ValueError, match=rf"out holds another job's features \(other {other}\): give another output"):
        extract(videos, out, **OTHERS[other](videos))
    assert content(out) == before


def test_a_changed_video_is_another_job(write_video, videos, out):
    extract(videos, out)
    write_video(videos / "c.avi", 21)
    with pytest.raises(ValueError, match="other videos"):
        extract(videos, out)


def test_a_moved_folder_is_the_same_job(videos, out):
    extract(videos, out)
    assert extract(videos.rename(videos.with_name("moved")), out).was_finished


@pytest.mark.parametrize("name", ["part-00000.parquet", "report.csv"])
def test_files_of_others_are_not_written_over(videos, out, name):
    out.mkdir()
    (out / name).write_text("mine")
    with pytest.raises(ValueError, match="not of this job: give another output"):
        extract(videos, out)
    assert content(out) == {name: b"mine"}


# -- what cannot be a job --------------------------------------------------------------------------


def test_impossible_jobs_are_refused(videos, out, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty has no videos"):
        extract(tmp_path / "empty", out)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        extract(tmp_path / "nowhere", out)
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv"):
        extract(videos, out, manifest=tmp_path / "nothing.csv")
    with pytest.raises(ValueError, match="shard_size must be at least 1"):
        extract(videos, out, shard_size=0)
    assert not out.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,label\na,1\n", "the column 'path' is missing"),
        ("id,path\na,x.avi\na,y.avi\n", "line 3: the id 'a' comes a second time"),
        ("id,path\na\n", "line 2: the id or the path is empty"),
        ("id,path\n", "has no videos"),
        ("", "the column 'id' is missing"),
    ],
)
def test_manifests_that_name_no_videos_are_refused(videos, out, tmp_path, text, says):
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(ValueError, match=rf"manifest\.csv.* {says}"):
        extract(videos, out, manifest=tmp_path / "manifest.csv")


def test_files_that_are_no_manifest_are_named(videos, out, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv is not a file: give a CSV with the columns id and path"):
        extract(videos, out, manifest=tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match=r"videos is not a file"):
        extract(videos, out, manifest=videos)
    (tmp_path / "latin.csv").write_bytes("id,path\né,c.avi\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.csv is not UTF-8 \(byte 8\): save it"):
        extract(videos, out, manifest=tmp_path / "latin.csv")


def test_a_file_is_no_place_for_features(videos, out):
    out.write_text("mine")
    with pytest.raises(ValueError, match="out is not a folder: give another output"):
        extract(videos, out)
    assert out.read_text() == "mine"


def test_a_name_that_is_not_text_is_refused(videos, out):
    os.rename(os.fsencode(videos / "c.avi"), os.fsencode(videos) + b"/\xff.avi")  # noqa: PTH104
    with pytest.raises(ValueError, match=r"\\udcff.avi' is not valid UTF-8"):
        extract(videos, out)


# -- the command -----------------------------------------------------------------------------------


def test_the_command_tells_what_failed(videos, out, monkeypatch, capsys):
    made = []
    monkeypatch.setattr("rnnfv.cli.extract.check_backbone", lambda *_, **__: None)
    monkeypatch.setattr("rnnfv.cli.extract.make_backbone", lambda *args, **kw: made.append((args, kw)) or MeanColour())
    for i in range(22):
        (videos / f"bad{i:02}.avi").write_text("[no] video")
    assert run_extract(videos, "mean", out, every=5, workers=0, crops=1) == 22
    assert made == [(("mean", None), {"device": "auto", "crops": 1})]
    told = " ".join(capsys.readouterr().err.split())
    assert f"7 videos have features in {out}" in told
    assert "22 videos failed: bad00: " in told
    assert "bad19: " in told
    assert "bad20: " not in told
    assert f"the others: {out}/report.csv" in told
    assert report(out)["a/1"]["steps"] == "7"
    assert run_extract(videos, "mean", out, every=5, workers=0) == 22
    assert "nothing to do" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--every or --fps"):
        run_extract(videos, "mean", out, every=5, fps=1.0)
