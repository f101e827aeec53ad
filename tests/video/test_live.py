"""Frames with their times: of files, addresses and cameras."""

import functools
import http.server
import threading
from itertools import islice

import numpy as np
import pytest

from rnnfv.video.decode import Sampling, VideoError, read_frames
from rnnfv.video.live import LiveVideo, _feed

av = pytest.importorskip("av")


@pytest.fixture
def video(tmp_path, write_video):
    return write_video(tmp_path / "a.avi", 35, rate=10)


@pytest.fixture
def address(tmp_path, monkeypatch):
    """Where the folder is served on this machine."""
    monkeypatch.delenv("http_proxy", raising=False)

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=tmp_path)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("sampling", [Sampling(every=1), Sampling(every=10), Sampling(fps=3)])
def test_a_file_gives_the_frames_of_the_batch_reader_and_their_times(video, sampling):
    live = LiveVideo(video, sampling)
    times, images = zip(*live.frames(), strict=True)
    np.testing.assert_array_equal(images, list(read_frames(video, sampling)))
    wanted = {1: np.arange(35) / 10, 10: [0, 1, 2, 3]}.get(sampling.every if sampling.fps is None else 0)
    if wanted is not None:
        np.testing.assert_allclose(times, wanted, atol=1e-9)
    assert times[0] == 0
    assert not live.is_short


def test_times_begin_with_the_first_frame(tmp_path, write_video):
    path = write_video(tmp_path / "a.mkv", 20, codec="libx264", rate=10, times=range(7000, 9000, 100))
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).time == 7
    times = [time for time, _ in LiveVideo(path, Sampling(every=5)).frames()]
    np.testing.assert_allclose(times, [0, 0.5, 1, 1.5], atol=1e-9)


def test_a_stream_without_times_goes_by_its_rate(tmp_path, write_video):
    path = write_video(tmp_path / "a.h264", 20, rate=10, codec="libx264")
    times = [time for time, _ in LiveVideo(path, Sampling(every=5)).frames()]
    np.testing.assert_allclose(times, [0, 0.5, 1, 1.5], atol=1e-9)
    with pytest.raises(VideoError, match=r"a\.h264: its frames have no times: take one frame in so many"):
        list(LiveVideo(path, Sampling(fps=2)).frames())


def test_a_damaged_file_is_short(video):
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    live = LiveVideo(video, Sampling(every=1))
    assert 0 < len(list(live.frames())) < 35
    assert live.is_short


def test_an_address_is_read(video, address):
    live = LiveVideo(f"{address}/{video.name}", Sampling(every=10))
    times, images = zip(*live.frames(), strict=True)
    np.testing.assert_allclose(times, [0, 1, 2, 3], atol=1e-9)
    np.testing.assert_array_equal(images, list(read_frames(video, Sampling(every=10))))
    assert not live.is_short


def test_a_feed_without_end_is_left_at_any_time(monkeypatch):
    feed = _feed("testsrc=size=64x48:rate=10", "lavfi")
    monkeypatch.setattr("rnnfv.video.live._open", lambda source: feed)
    video = LiveVideo("endless", Sampling(every=5))
    frames = video.frames()
    times, images = zip(*islice(frames, 40), strict=True)
    np.testing.assert_allclose(times, np.arange(40) / 2, atol=1e-6)
    assert {image.shape for image in images} == {(48, 64, 3)}
    frames.close()
    with pytest.raises(AssertionError, match="not open"):
        next(feed._container.demux())
    assert not video.is_short


def test_what_cannot_be_opened(tmp_path, address):
    (tmp_path / "words.txt").write_text("no video")
    for source, says in [
        (tmp_path / "none.avi", "there is no such file"),
        (tmp_path, "is a folder: give a video file, a camera or an address"),
        (tmp_path / "words.txt", "cannot be opened as a video"),
        (f"{address}/none.avi", r"none\.avi: cannot be opened"),
        (f"{address}/words.txt", r"words\.txt: cannot be opened"),
        ("/dev/null", r"/dev/null: cannot be opened as a video \(Inappropriate ioctl"),  # a device, but no camera
        ("nothing://at/all", "cannot be opened"),
    ]:
        with pytest.raises(VideoError, match=says):
            LiveVideo(source, Sampling())


def test_no_frame_at_all_is_an_error(tmp_path, write_video):
    path = write_video(tmp_path / "a.h264", 5, codec="libx264")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\x00\x00\x01\x65") + 4])  # the headers, and of the first picture nothing
    with pytest.raises(VideoError, match=r"a\.h264: no frame can be decoded"):
        list(LiveVideo(path, Sampling()).frames())
