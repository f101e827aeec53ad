"""Videos to features: what does decoding cost next to the net?

Made videos of UCF101's size (320 x 240, 25 frames a second, H.264, a texture that moves), one frame in ten kept as in
SPEC S7. The net is GoogLeNet where RNNFV_DATA has it (`models/googlenet.onnx`), else convolutions of random weights
that cost about as much. Timed by turns, the sum over all videos:

- decoding alone: every frame decoded, one in ten converted and cut to the net's size, in this process;
- the backbone alone, on those frames, already in memory;
- the whole chain, `extract_features`, with decoding in processes of its own and in this one.

    python benchmarks/video_speed.py [--full] [--json FILE]
"""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import _common as common
import numpy as np
from numpy.typing import NDArray

from rnnfv.recipes.extraction import extract_features
from rnnfv.video.backbones import make_backbone
from rnnfv.video.backbones.preprocessing import ResizeShorter
from rnnfv.video.decode import Sampling, read_frames

WIDTH, HEIGHT, RATE, EVERY = 320, 240, 25, 10
BLOCK = 32  # frames the net gets at once, as in the chain
NET = common.DATA / "models" / "googlenet.onnx"
PREDICTION = (
    "Ten frames of this size decode in a tenth of the time that GoogLeNet takes for one; a process hides the rest."
)
LIMITED_BY = (
    "The net, by far. With a core for the decoding process the chain is as fast as the net; without one, decoding adds "
    "its own time. Starting the process costs about half a second a run."
)


class Convolutions:
    """A net of random weights with about the operations of GoogLeNet, 1.5 billion products a frame."""

    name, dim, input = "random convolutions", 512, "frames"

    def __init__(self) -> None:
        import torch
        from torch import nn

        torch.manual_seed(0)
        layers, channels = [], 3
        for out, stride in ((64, 4), (128, 2), (256, 2), (512, 1), (512, 2)):
            layers += [nn.Conv2d(channels, out, 3, stride, 1), nn.ReLU()]
            channels = out
        self.net = nn.Sequential(*layers).eval()
        self.prepare = ResizeShorter(224, crop=True)

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch

        with torch.inference_mode():
            pixels = torch.from_numpy(batch).permute(0, 3, 1, 2).float().div(255)
            return self.net(pixels).mean(dim=(2, 3)).numpy()

    def description(self) -> dict[str, Any]:
        return {"name": self.name, "dim": self.dim, "settings": {}, "weights": {}}


def write_video(path: Path, frames: int, seed: int) -> None:
    """A smooth random texture that drifts, with little noise, as H.264."""
    import av

    rng = np.random.default_rng(seed)
    texture = rng.integers(256, size=(HEIGHT // 8, WIDTH // 8, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for i in range(frames):
            image = np.roll(texture, (i, 2 * i), axis=(0, 1)) // 2 + rng.integers(6, size=(HEIGHT, WIDTH, 1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image.astype(np.uint8), "rgb24")))
        container.mux(stream.encode())


def decode(paths: list[Path], prepare: Any) -> list[NDArray[np.uint8]]:
    """The frames that the net gets, video by video."""
    return [np.stack([prepare(frame) for frame in read_frames(path, Sampling(EVERY))]) for path in paths]


def through(backbone: Any, prepared: list[NDArray[np.uint8]]) -> None:
    for frames in prepared:
        for start in range(0, len(frames), BLOCK):
            backbone(frames[start : start + BLOCK])


def main() -> int:
    args = common.options(__doc__).parse_args()
    n, frames, repeats = (12, 500, 2) if args.full else (3, 400, 1)
    common.limit_threads(args.threads)
    report = common.Report("Videos to features", PREDICTION, LIMITED_BY)
    if not common.is_installed("av"):
        report.skip("videos", "PyAV is not installed (pip install 'rnnfv[video]')")
        return common.finish(report, args)
    has_net = NET.is_file() and common.is_installed("onnxruntime")
    backbone = make_backbone(f"onnx:{NET}:pool5") if has_net else Convolutions()
    with tempfile.TemporaryDirectory() as temporary:
        folder, runs = Path(temporary) / "videos", count()
        folder.mkdir()
        paths = [folder / f"{i}.mp4" for i in range(n)]
        for i, path in enumerate(paths):
            write_video(path, frames, i)
        prepared = decode(paths, backbone.prepare)

        def chain(workers: int) -> None:
            out = Path(temporary) / f"features{next(runs)}"
            extract_features(folder, backbone, out, sampling=Sampling(EVERY), workers=workers)

        times = common.in_turns(
            {
                "decode": partial(decode, paths, backbone.prepare),
                "net": partial(through, backbone, prepared),
                "chain": partial(chain, 1),
                "chain, one process": partial(chain, 0),
            },
            repeats,
        )
    tell(report, times, n * frames, "GoogLeNet" if has_net else backbone.name)
    return common.finish(report, args)


def tell(report: common.Report, times: dict[str, common.Times], frames: int, net: str) -> None:
    alone = times["net"].median
    for name, work, aim in (
        ("decode", "decoding alone", ""),
        ("chain", "the chain, one process decodes", "above 0.9 (decoding under 10 %)"),
        ("chain, one process", "the chain, all in one process", ""),
    ):
        taken = times[name].median
        report.add(
            f"{work}, {frames:,} frames of video",
            f"{frames / taken:,.0f} frames/s",
            peer=f"{net} alone, one frame in {EVERY}",
            theirs=f"{frames / alone:,.0f} frames/s",
            ratio=alone / taken,
            aim=aim,
            note="" if name == "decode" else f"{100 * max(0, 1 - alone / taken):.0f} % of the time is not the net",
        )


if __name__ == "__main__":
    sys.exit(main())
