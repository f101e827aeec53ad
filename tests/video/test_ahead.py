"""Decoding in processes: order, failures, crashes, hangs, and that nothing stays behind."""

import multiprocessing
import operator
import os
import signal
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pytest

from rnnfv.video import ahead
from rnnfv.video.ahead import Block, End, Failed, decode_ahead
from rnnfv.video.decode import Sampling, read_frames

pytest.importorskip("av")
Image = pytest.importorskip("PIL.Image")

EVERY = Sampling(every=1)
TRAPS = '''
import os, signal, time

def trap(frame):
    """What happens is told by the grey of the frame."""
    grey = int(frame[0, 0, 0])
    if grey == 201:
        os._exit(3)
    if grey == 202:
        os.kill(os.getpid(), signal.SIGSEGV)
    if grey == 203:
        time.sleep(1000)
    if grey == 204:
        raise KeyError("two\\nlines")
    if grey == 205:
        raise ImportError("needs something")
    if grey == 206:
        time.sleep(0.4)
    return frame
'''


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A function that worker processes can import."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "frame_traps.py").write_text(TRAPS)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    import frame_traps

    yield frame_traps.trap
    monkeypatch.delitem(sys.modules, "frame_traps")


def greys(folder, values, shape=(4, 6, 3)):
    """A video of plain grey frames, as a folder of images."""
    folder.mkdir()
    for i, value in enumerate(values):
        Image.fromarray(np.full(shape, value, np.uint8)).save(folder / f"{i}.png")
    return folder


def gathered(events):
    """The grey of each frame and the ending of each video, by index; nothing may follow an ending."""
    frames, endings = {}, {}
    for event in events:
        assert event.index not in endings
        if isinstance(event, Block):
            frames.setdefault(event.index, []).extend(event.frames)
        else:
            endings[event.index] = event
    return frames, endings


def one_grey(frames):
    return [int(frame[0, 0, 0]) for frame in frames]


def own_processes():
    """Those that `decode_ahead` started: pools that other tests used may live on beside them."""
    spawned = multiprocessing.get_context("spawn").Process
    return [process for process in multiprocessing.active_children() if isinstance(process, spawned)]


def no_process_is_left(pids=()):
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    return own_processes() == []


@pytest.mark.parametrize("workers", [0, 2])
def test_the_frames_are_those_of_reading_one_by_one(tmp_path, write_video, workers):
    paths = [write_video(tmp_path / f"{n}.avi", n) for n in (70, 3, 64)]
    paths += [greys(tmp_path / "images", range(5)), tmp_path / "missing.avi"]
    half = tmp_path / "half.avi"
    half.write_bytes(paths[0].read_bytes()[: paths[0].stat().st_size // 2])
    paths.append(half)
    events = list(decode_ahead(paths, Sampling(every=2), workers=workers, block=16))
    frames, endings = gathered(events)
    for index in (0, 1, 2, 3, 5):
        reader = read_frames(paths[index], Sampling(every=2))
        np.testing.assert_array_equal(frames[index], list(reader))
        assert endings[index] == End(index, reader.frames_declared, reader.frames_decoded, reader.is_short)
    assert endings[5].is_short
    assert endings[4] == Failed(4, f"{paths[4]}: there is no such file: correct the path, or leave it out")
    sizes = [len(event.frames) for event in events if isinstance(event, Block) and event.index == 0]
    assert sizes == [16, 16, 3]
    assert no_process_is_left()


def test_frames_are_prepared_where_they_are_decoded(tmp_path, write_video):
    path = write_video(tmp_path / "a.avi", 5)
    corner = operator.itemgetter((slice(0, 8), slice(0, 9)))
    frames, _ = gathered(decode_ahead([path], EVERY, corner, workers=1))
    np.testing.assert_array_equal(frames[0], [frame[:8, :9] for frame in read_frames(path, EVERY)])


@pytest.mark.parametrize("workers", [0, 1])
def test_frames_that_change_size_fail(tmp_path, workers):
    folder = greys(tmp_path / "a", [1, 1])
    Image.fromarray(np.zeros((8, 6, 3), np.uint8)).save(folder / "9.png")
    _, endings = gathered(decode_ahead([folder], EVERY, workers=workers))
    assert endings == {0: Failed(0, f"{folder}: its frames change size, from (4, 6) to (8, 6): split it")}
    frames, endings = gathered(decode_ahead([folder], EVERY, operator.itemgetter(slice(0, 4)), workers=0))
    assert len(frames[0]) == 3  # of one size once they are prepared
    assert isinstance(endings[0], End)


def test_a_video_that_kills_or_hangs_its_process_costs_only_itself(tmp_path, trap):
    values = [[1, 2], [3, 201], [4], [202], [5, 203, 6], [7, 204], [8] * 3]
    paths = [greys(tmp_path / str(i), each) for i, each in enumerate(values)]
    frames, endings = gathered(decode_ahead(paths, EVERY, trap, workers=2, block=1, patience=1.5))
    assert {index: type(ending) for index, ending in endings.items() if index in (0, 2, 6)} == {0: End, 2: End, 6: End}
    assert [one_grey(frames[index]) for index in (0, 2, 6)] == [[1, 2], [4], [8, 8, 8]]
    reasons = {index: ending.reason for index, ending in endings.items() if isinstance(ending, Failed)}
    assert sorted(reasons) == [1, 3, 4, 5]
    assert "ended with exit code 3: convert it again" in reasons[1]
    assert "ended by SIGSEGV" in reasons[3]
    assert "nothing came from the process that decodes it for 2 seconds" in reasons[4]
    assert reasons[5] == f"{paths[5]}: KeyError: 'two\\nlines'"
    assert all(reason.startswith(f"{paths[index]}: ") for index, reason in reasons.items())
    assert one_grey(frames[4]) == [5]  # what came before is not taken back
    assert no_process_is_left()


def test_slow_is_not_hung(tmp_path, trap):
    """Eight frames of 0.4 seconds in one block, and a patience that is shorter than that."""
    frames, endings = gathered(decode_ahead([greys(tmp_path / "a", [206] * 8)], EVERY, trap, workers=1, patience=2.0))
    assert isinstance(endings[0], End)
    assert len(frames[0]) == 8


def test_who_waits_for_a_slow_net_is_not_hung(tmp_path):
    shape = (300, 300, 3)  # more than a pipe holds
    paths = [greys(tmp_path / str(i), range(4), shape) for i in range(3)]
    events = decode_ahead(paths, EVERY, workers=2, block=1, patience=0.8)
    slow = (time.sleep(1.2 * (i == 3)) or event for i, event in enumerate(events))
    frames, endings = gathered(slow)
    assert all(isinstance(ending, End) for ending in endings.values())
    assert [one_grey(frames[index]) for index in range(3)] == [[0, 1, 2, 3]] * 3


@pytest.mark.parametrize("how", ["close", "exception"])
def test_leaving_early_leaves_no_process(tmp_path, trap, how):
    paths = [greys(tmp_path / "a", [1] * 5), greys(tmp_path / "b", [203])]
    events = decode_ahead(paths, EVERY, trap, workers=2, block=1)
    next(events)
    pids = [process.pid for process in own_processes()]
    assert len(pids) == 2
    if how == "close":
        events.close()
    else:
        with pytest.raises(KeyboardInterrupt), closing(events):
            raise KeyboardInterrupt
    assert no_process_is_left(pids)


def test_a_missing_library_stops_the_run(tmp_path, trap):
    with pytest.raises(ImportError, match="needs something"):
        list(decode_ahead([greys(tmp_path / "a", [205])], EVERY, trap, workers=1))
    assert no_process_is_left()


class Unstartable:
    def __reduce__(self):
        return os._exit, (7,)


def test_processes_that_cannot_start_are_told_once(tmp_path):
    with pytest.raises(RuntimeError, match=r"cannot be started \(.* exit code 7\).*workers=0"):
        list(decode_ahead([greys(tmp_path / "a", [1])] * 3, EVERY, Unstartable(), workers=2))
    assert no_process_is_left()


def test_no_videos_are_no_events():
    assert list(decode_ahead([], EVERY, workers=2)) == []


@pytest.mark.parametrize("wrong", [{"workers": -1}, {"workers": 0, "block": 0}, {"workers": 0, "patience": 0.0}])
def test_impossible_numbers_are_refused(wrong):
    with pytest.raises(ValueError, match="must be at least"):
        list(decode_ahead([], EVERY, **wrong))


def test_a_supervisor_that_was_stopped_for_long_blames_nobody(monkeypatch):
    """An hour passes between two rounds (Ctrl-Z): it counts as one pause."""
    now = [0.0]
    monkeypatch.setattr(ahead.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ahead, "wait", lambda pipes, timeout: [])

    class Worker:
        pipe, silence = None, 0.0

    rounds = ahead._listen([Worker], pause=15.0)
    for passed, silence in [(9.0, 0.0), (3.0, 3.0), (3600.0, 18.0), (2.0, 20.0)]:
        now[0] += passed
        next(rounds)
        assert Worker.silence == silence


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_stop_waits_while_a_process_starts_though_another_thread_could_take_it():
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    before, reached = signal.getsignal(signal.SIGINT), []

    def hold():
        with ahead._stops_held_back():
            os.kill(os.getpid(), signal.SIGINT)
            reached.extend(range(1000))  # time enough for a handler
            reached.append("end")

    try:
        with pytest.raises(KeyboardInterrupt):
            hold()
    finally:
        over.set()
        other.join()
    assert reached[-1] == "end"
    assert signal.getsignal(signal.SIGINT) is before
