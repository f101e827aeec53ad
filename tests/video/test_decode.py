"""Reading videos: which frames, what is missing, and files that are not what they seem."""

import shutil
import socket
import sys
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rnnfv.video._sources import VideoStream
from rnnfv.video.decode import Sampling, VideoError, read_frames, sampled

av = pytest.importorskip("av")
Image = pytest.importorskip("PIL.Image")

SHAPE = (48, 64, 3)
KINDS = {
    "avi": "mpeg4",
    "mp4": "libx264",
    "mov": "mpeg4",
    "mkv": "libx264",
    "webm": "libvpx-vp9",
    "gif": "gif",
    "mpg": "mpeg1video",
    "ts": "mpeg2video",
    "wmv": "wmv2",
}


def write_video(path, n=40, codec=None, times=None, rotation=None, seed=0):
    """Frames of noise, so that none is like another and the file is much larger than its header."""
    codec = codec or KINDS[path.suffix[1:]]
    noise = np.random.default_rng(seed).integers(0, 255, (n, 6, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = SHAPE[1], SHAPE[0], "rgb8" if codec == "gif" else "yuv420p"
        if rotation is not None:
            stream.set_display_rotation(rotation)
            noise[:] = 0
            noise[:, :16, :16] = 255  # top left
        for i, image in enumerate(noise):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=stream.pix_fmt)
            if times is not None:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """One whole video of each kind, made when first asked for."""
    folder = tmp_path_factory.mktemp("library")

    @cache
    def get(suffix):
        return write_video(folder / f"a.{suffix}")

    return get


def all_frames(path):
    """The oracle: everything at once, with PyAV's own loop."""
    with av.open(str(path)) as container:
        return np.array([frame.to_rgb().to_ndarray() for frame in container.decode(video=0)])


def damaged(path, change, folder):
    content = bytearray(path.read_bytes())
    copy = folder / f"damaged{path.suffix}"
    copy.write_bytes(change(content))
    return copy


def first_half(content):
    return content[: len(content) // 2]


# -- which frames ----------------------------------------------------------------------------------


@given(st.integers(0, 50), st.integers(1, 12))
def test_one_frame_in_every(n, every):
    assert list(sampled(((None, i) for i in range(n)), Sampling(every=every))) == list(range(0, n, every))


@given(st.lists(st.integers(0, 400), max_size=60), st.integers(1, 40), st.integers(-5000, 5000))
def test_so_many_frames_a_second(gaps, fps, start):
    passed = np.cumsum([0, *gaps])  # milliseconds since the first frame
    assume(((passed + 1) * fps % 1000).all())  # on an edge, floating point decides
    first_of_slot = {}
    for i, time in enumerate(passed.tolist()):
        first_of_slot.setdefault((time + 1) * fps // 1000, i)
    timed = [((start + time) / 1000, i) for i, time in enumerate(passed.tolist())]
    assert list(sampled(timed, Sampling(fps=fps))) == list(first_of_slot.values())


def test_frames_a_second_at_the_rates_of_films():
    for rate, fps, gap in [(25, 5, 5), (30, 30, 1), (24, 1, 24), (50, 25, 2), (25, 100, 1)]:
        exact = [(i / rate, i) for i in range(100)]
        rounded = [(round(time, 3), i) for time, i in exact]  # as .mkv and .flv round
        assert list(sampled(exact, Sampling(fps=fps))) == list(range(0, 100, gap))
        assert list(sampled(rounded, Sampling(fps=fps))) == list(range(0, 100, gap))


def test_a_clock_that_starts_again_loses_nothing():
    times = [i / 10 for i in range(20)] * 2
    assert list(sampled(zip(times, range(40), strict=True), Sampling(fps=1))) == [0, 10, 20, 30]


def test_frames_are_taken_one_at_a_time():
    taken = []
    frames = sampled(((None, taken.append(i) or i) for i in range(100)), Sampling(every=10))
    assert [next(frames), next(frames)] == [0, 10]
    assert len(taken) == 11


@pytest.mark.parametrize("wrong", [{"every": 0}, {"every": -1}, {"fps": 0.0}, {"fps": float("nan")}])
def test_impossible_samplings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must be .* got"):
        Sampling(**wrong)


# -- whole videos ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("every", [1, 7])
def test_the_frames_are_those_of_a_plain_loop(library, suffix, every):
    path = library(suffix)
    frames = read_frames(path, Sampling(every=every))
    kept = list(frames)
    assert all(frame.dtype == np.uint8 and frame.shape == SHAPE for frame in kept)
    np.testing.assert_array_equal(kept, all_frames(path)[::every])
    assert frames.frames_decoded == 40
    assert frames.frames_declared == (40 if suffix in ("avi", "mp4", "mov", "gif") else None)
    assert not frames.is_short


def test_frames_passed_over_are_not_converted(library, monkeypatch):
    whole, converted = VideoStream.image, []
    monkeypatch.setattr(VideoStream, "image", lambda self, frame: converted.append(1) or whole(self, frame))
    assert len(list(read_frames(library("avi"), Sampling()))) == 4
    assert len(converted) == 4


def test_only_what_is_asked_for_is_read(library):
    frames = read_frames(library("avi"), Sampling(every=1))
    next(frames)
    assert frames.frames_decoded < 5
    frames.close()
    assert list(frames) == []


def test_every_frame_is_told(library):
    told = []
    list(read_frames(library("avi"), Sampling(), on_frame=lambda: told.append(1)))
    assert len(told) == 40


def test_frames_a_second_go_by_the_timestamps(tmp_path):
    times = [0, 40, 80, 1000, 1040, 2500, 2540, 2999, 3001]
    path = write_video(tmp_path / "a.mkv", n=len(times), times=times)
    kept = list(read_frames(path, Sampling(fps=1)))
    np.testing.assert_array_equal(kept, all_frames(path)[[0, 3, 5, 7]])  # 2999 ms is 3 s, but for rounding


def test_one_frame_is_a_video(tmp_path):
    for suffix in ("mkv", "avi"):
        frames = read_frames(write_video(tmp_path / f"a.{suffix}", n=1), Sampling())
        assert len(list(frames)) == 1
        assert not frames.is_short


@pytest.mark.parametrize(("rotation", "row", "column"), [(0, 0, 0), (90, -1, 0), (-90, 0, -1), (180, -1, -1)])
def test_pictures_are_turned_upright(tmp_path, rotation, row, column):
    """A white corner, at the top left before it is turned counter-clockwise."""
    path = write_video(tmp_path / "a.mp4", n=2, rotation=rotation)
    image = next(read_frames(path, Sampling()))
    assert image.shape == (SHAPE if rotation in (0, 180) else (64, 48, 3))
    assert image[row, column].min() > 200
    assert sum(int(image[y, x].min() > 200) for y in (0, -1) for x in (0, -1)) == 1


@pytest.mark.parametrize("name", ["a:b.avi", "ein Über-Film.avi", "file:x%20.avi"])
def test_names_may_have_odd_characters(library, tmp_path, name):
    assert len(list(read_frames(shutil.copy(library("avi"), tmp_path / name), Sampling()))) == 4


def test_frames_cut_out_by_an_edit_list_are_not_missed(tmp_path):
    whole = write_video(tmp_path / "a.mp4", codec="mpeg4")
    with av.open(str(whole)) as source, av.open(str(tmp_path / "cut.mp4"), "w") as cut:
        stream = cut.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts -= 5 * 512
                packet.dts -= 5 * 512
                packet.stream = stream
                cut.mux(packet)
    frames = read_frames(tmp_path / "cut.mp4", Sampling(every=1))
    np.testing.assert_array_equal(list(frames), all_frames(whole)[5:])
    assert (frames.frames_declared, frames.frames_decoded, frames.is_short) == (35, 35, False)


# -- damaged videos --------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "declared"), [("avi", 40), ("mkv", None), ("webm", None)])
def test_a_cut_video_is_short(library, tmp_path, suffix, declared):
    whole = library(suffix)
    frames = read_frames(damaged(whole, first_half, tmp_path), Sampling(every=1))
    kept = list(frames)
    assert 0 < len(kept) < 39
    np.testing.assert_array_equal(kept[:-1], all_frames(whole)[: len(kept) - 1])  # the last one may be cut
    assert (frames.frames_declared, frames.frames_decoded) == (declared, len(kept))
    assert frames.is_short


@pytest.mark.parametrize("seed", range(4))
def test_a_rotten_video_is_short_and_read_to_its_end(library, tmp_path, seed):
    def rot(content):
        """A few packets lose their first bytes, where a frame says what it is."""
        start = content.find(b"movi")
        rng = np.random.default_rng(seed)
        chunks = [i for i in range(start, len(content)) if content[i : i + 4] == b"00dc"]
        for i in rng.choice(chunks[1:40], 3, replace=False):
            content[i + 8 : i + 16] = rng.bytes(8)
        return content

    frames = read_frames(damaged(library("avi"), rot, tmp_path), Sampling(every=1))
    kept = len(list(frames))
    assert frames.is_short
    assert frames.frames_declared == 40
    assert 30 <= frames.frames_decoded == kept < 40


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("suffix", ["avi", "mp4", "mkv", "gif"])
def test_noise_in_a_video_never_raises_anything_else(library, tmp_path, suffix, seed):
    def rot(content):
        rng = np.random.default_rng(seed)
        for i in rng.integers(0, len(content), 3 * seed + 1):
            content[i] = rng.integers(256)
        return content

    path = damaged(library(suffix), rot, tmp_path)
    try:
        for frame in read_frames(path, Sampling(every=1)):
            assert frame.dtype == np.uint8
    except VideoError as error:
        assert str(path) in str(error)  # noqa: PT017


def sound_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.float32), "fltp", layout="mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def line_of_pixels(path):
    with av.open(str(path), "w", format="gif") as container:
        stream = container.add_stream("gif", rate=25)
        stream.width, stream.height, stream.pix_fmt = 30_000, 4, "rgb8"
        frame = av.VideoFrame.from_ndarray(np.zeros((4, 30_000, 3), np.uint8), "rgb24")
        container.mux(stream.encode(frame.reformat(format="rgb8")))
        container.mux(stream.encode())


def without_index(path):
    write_video(path)
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"moov") - 4])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.touch(), "the file is empty"),
        (lambda path: path.write_text("not a video\n" * 99), "cannot be opened as a video"),
        (lambda path: path.write_bytes(np.random.default_rng(0).bytes(9999)), "cannot be opened as a video"),
        (lambda path: path.mkdir(), "no image file in the folder"),
        (sound_only, "no moving picture"),
        (without_index, "cannot be opened as a video"),
        (line_of_pixels, "with 30000 x 4 pixels, one side is over 100 times the other"),  # resized: 1.5 GB
    ],
)
def test_what_is_not_a_video_is_named(tmp_path, make, says):
    path = tmp_path / "a.mp4"
    make(path)
    with pytest.raises(VideoError, match=says) as caught:
        list(read_frames(path, Sampling()))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_playlist_fetches_nothing(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        path = tmp_path / "a.mp4"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\n#EXT-X-ENDLIST\n")
        with pytest.raises(VideoError):
            list(read_frames(path, Sampling()))
        with pytest.raises(BlockingIOError):
            server.accept()


def test_videos_without_times_cannot_be_sampled_by_them(tmp_path):
    path = tmp_path / "a.h264"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros(SHAPE, np.uint8), "rgb24")))
        container.mux(stream.encode())
    assert len(list(read_frames(path, Sampling(every=1)))) == 5
    with pytest.raises(VideoError, match="its frames have no times"):
        list(read_frames(path, Sampling(fps=5)))


@pytest.mark.parametrize(("module", "name"), [("av", "PyAV"), ("PIL", "Pillow")])
def test_a_missing_library_is_named(tmp_path, monkeypatch, module, name):
    path = write_video(tmp_path / "a.avi") if module == "av" else write_images(tmp_path / "a", ["1.png"])
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"needs {name}: pip install 'rnnfv\[video\]'"):
        list(read_frames(path, Sampling()))


# -- folders of images -----------------------------------------------------------------------------


def write_images(folder, names):
    """Image i is of the grey i."""
    folder.mkdir()
    for i, name in enumerate(names):
        Image.fromarray(np.full((4, 6, 3), i, np.uint8)).save(folder / name)
    return folder


def test_a_folder_of_images_is_a_video_in_natural_order(tmp_path):
    names = ["f1.png", "f02.png", "f2.png", "f9.bmp", "f10.png", "f100.png", "g1.png"]
    folder = write_images(tmp_path / "a", names)
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no image")
    frames = read_frames(folder, Sampling(every=2))
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 2, 4, 6]
    assert (frames.frames_declared, frames.frames_decoded, frames.is_short) == (7, 7, False)


def test_a_damaged_image_is_passed_over(tmp_path):
    folder = write_images(tmp_path / "a", [f"{i}.png" for i in range(5)])
    (folder / "1.png").write_bytes(b"no image")
    (folder / "3.png").write_bytes((folder / "2.png").read_bytes()[:50])
    frames = read_frames(folder, Sampling(every=1))
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 2, 4]
    assert (frames.frames_declared, frames.frames_decoded, frames.is_short) == (5, 3, True)


def test_where_no_kept_image_can_be_read_there_is_no_video(tmp_path):
    folder = write_images(tmp_path / "a", [f"{i}.png" for i in range(5)])
    (folder / "0.png").write_bytes(b"no image")
    with pytest.raises(VideoError, match="no frame can be decoded"):
        list(read_frames(folder, Sampling(every=5)))


def test_images_become_rgb_and_upright(tmp_path):
    (tmp_path / "a").mkdir()
    upright = np.zeros((8, 16), np.uint8)
    upright[:4, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(upright).save(tmp_path / "a" / "1.png", exif=exif)
    (image,) = read_frames(tmp_path / "a", Sampling())
    np.testing.assert_array_equal(image, np.rot90(upright, -1)[..., None].repeat(3, axis=2))


def test_images_have_no_times(tmp_path):
    with pytest.raises(VideoError, match="its frames have no times"):
        list(read_frames(write_images(tmp_path / "a", ["1.png"]), Sampling(fps=1)))
