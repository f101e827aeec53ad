"""Videos, as FFmpeg reads them, and their frames made ready for a net."""

import tempfile
from pathlib import Path

import av
import numpy as np

from fuzz.target import Target, file_as
from rnnfv.video.backbones.preprocessing import ResizeShorter
from rnnfv.video.decode import Sampling, read_frames

_KINDS = (
    ("mp4", "mpeg4"),
    ("avi", "mpeg4"),
    ("mkv", "libx264"),
    ("webm", "libvpx"),
    ("mpg", "mpeg1video"),
    ("gif", "gif"),
)
_MOST = 2 << 30  # bytes: a frame may have 67 million pixels, and codecs keep several
_MOST_FRAMES = 200


def _seeds() -> list[bytes]:
    images = np.random.default_rng(0).integers(0, 255, (4, 16, 32, 3), dtype=np.uint8)
    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        for suffix, codec in _KINDS:
            path = Path(folder) / f"clip.{suffix}"
            with av.open(str(path), "w") as container:
                stream = container.add_stream(codec, rate=25)
                stream.height, stream.width = images.shape[1:3]
                stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
                for image in images:
                    container.mux(
                        stream.encode(av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=stream.pix_fmt))
                    )
                container.mux(stream.encode())
            seeds.append(path.read_bytes())
    return seeds


def _read(path: Path) -> None:
    frames = read_frames(path, Sampling(fps=10))
    for frame, _ in zip(frames, range(_MOST_FRAMES), strict=False):
        ResizeShorter(256)(frame)
        frames.seconds  # noqa: B018, computed
    frames.close()


TARGET = Target(
    _seeds,
    file_as("clip"),
    _read,
    tokens=(b"moov", b"stts", b"elst", b"RIFF", b"\x1aE\xdf\xa3", b"#EXTM3U\n"),
    most_memory=_MOST,
)
