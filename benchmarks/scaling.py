"""How far one machine gets, what Ray adds to it, and by arithmetic what UCF101 and a million videos need.

Measured here: decoding, a net of images behind it, features' size, encoding, and the same work on Ray on this machine
against the local run. The net has the operations of VGG-19 on 224 x 224, without trained weights; one core runs it.
Rates are for a second of processor time, so that they hold on a machine that is busy with other things; ratios of the
local run to Ray are of wall time, since its work is done in other processes, and hold on a quiet machine only.

    python benchmarks/scaling.py [--full] [--json FILE]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _common as common
import numpy as np
import torch

from rnnfv import RNNFisherVector
from rnnfv.distributed import open_engine
from rnnfv.recipes.encoding import encode_features
from rnnfv.recipes.extraction import _AT_ONCE as AT_ONCE
from rnnfv.recipes.extraction import extract_features
from rnnfv.storage import write_features
from rnnfv.video.ahead import Block, decode_ahead
from rnnfv.video.decode import Sampling

SECONDS, FPS, SIZE = 7, 25, (240, 320)  # a mean video of UCF101
EVERY = 10
NET_TFLOP = 0.039 * 18  # VGG-19 on the frames of one video, one crop each
GPU_TFLOPS = 20  # what a GPU is taken to make of it a second
PRICE = 0.05  # dollars that a core hour is taken to cost
MANY = {"UCF101": (13_320, 16), "a million videos": (1_000_000, 50 * 16)}  # videos, cores
RATES = {"decode": "videos", "extract": "videos", "encode": "sequences"}
NEEDS = {"decode": "decode alone", "encode": "encode, but for the disk"}
SIZES = {"features_MB": "features", "vector_MB": "vectors"}
LIMITED_BY = (
    "On processors the net, by far; then, for vectors of 100,500 numbers, the one command that writes them. Of seconds "
    "of work on Ray, as in the encoding here, the start of its processes and their imports are the larger part."
)


class Net:
    """VGG-19's layers on 224 x 224, or for small sizes a small net of the same input and output."""

    name, dim, input = "vgg-19 without trained weights", 4096, "frames"

    def __init__(self, is_full: bool) -> None:
        torch.manual_seed(0)
        vgg19 = [64, 64, 0, 128, 128, 0, *[256] * 4, 0, *[512] * 4, 0, *[512] * 4, 0]
        layers: list[torch.nn.Module] = []
        width = 3
        for size in vgg19 if is_full else [16, 32]:
            if size == 0:
                layers.append(torch.nn.MaxPool2d(2))
            else:
                layers += [torch.nn.Conv2d(width, size, 3, padding=1), torch.nn.ReLU()]
                width = size
        last = [torch.nn.AdaptiveAvgPool2d(7), torch.nn.Flatten(), torch.nn.Linear(49 * width, 4096)]
        self.net = torch.nn.Sequential(*layers, *last).eval()
        self.is_full = is_full

    @staticmethod
    def prepare(frame: Any) -> Any:
        return frame[8:232, 48:272]

    def __call__(self, batch: Any) -> Any:
        with torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).float() / 255
            return torch.cat([self.net(part) for part in pixels.split(4)]).numpy()  # as rnnfv's VGG does

    def description(self) -> dict[str, Any]:
        return {"name": self.name, "dim": self.dim, "full": self.is_full}


def write_video(path: Path, seed: int) -> None:
    """Moving noise of low frequency, compressed as the field's .avi files are."""
    import av

    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (SECONDS * FPS // 5 + 1, 15, 20, 3)).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        for i in range(SECONDS * FPS):
            part = i % 5 / 5
            image = ((1 - part) * coarse[i // 5] + part * coarse[i // 5 + 1]).astype(np.uint8)
            image = image.repeat(16, axis=0).repeat(16, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")))
        container.mux(stream.encode())


def decode_rate(paths: list[Path]) -> float:
    """Videos a second of one process that decodes in itself."""
    began = time.process_time()
    with closing(decode_ahead(paths, Sampling(every=EVERY), Net.prepare, workers=0)) as events:
        seen = sum(len(event.frames) for event in events if isinstance(event, Block))
    assert seen
    return len(paths) / (time.process_time() - began)


def seconds_of(work: Any) -> tuple[float, float]:
    """Wall time, and processor time of this process."""
    began, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - used


def measure(is_full: bool) -> dict[str, float]:
    """Rates of this machine; seconds here and on Ray, with as many workers as here: one."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        n_videos = found["videos"] = 32 if is_full else 6
        n_sequences = found["sequences"] = 2000 if is_full else 300
        videos = write_videos(folder / "videos", n_videos)
        found["decode_videos_per_s_core"] = decode_rate(sorted(videos.iterdir()))
        net, here, there = Net(is_full), folder / "here", folder / "there"
        extract = partial(extract_features, videos, net, workers=0, shard_size=50)
        found["extract_s"], used = seconds_of(lambda: extract(here))
        found["extract_videos_per_s_core"] = n_videos / used
        found["features_MB"] = size_of(here, "*.parquet") / n_videos
        encode = partial(encode_features, write_sequences(folder / "shards", n_sequences), fitted(folder / "model"))
        found["encode_s"], used = seconds_of(lambda: encode(folder / "here.npy"))
        found["encode_sequences_per_s_core"] = n_sequences / used
        found["vector_MB"] = size_of(folder, "here.npy") / n_sequences
        with open_engine("ray", cpus=os.cpu_count() or 1) as engine:
            # The first work makes Ray start its processes and import torch: told apart from what comes after.
            found["ray_first_s"] = seconds_of(lambda: list(engine.map(_ready, [0], batch=1)))[0]
            n_batches = 1000 if is_full else 100
            one, many = (
                seconds_of(lambda n=n: list(engine.map(_ready, range(n), batch=1)))[0] for n in (1, 1 + n_batches)
            )
            found["ray_batch_s"] = (many - one) / n_batches
            make = partial(Net, is_full)
            found["ray_extract_s"] = seconds_of(lambda: extract(there, engine=engine, make_backbone=make))[0]
            found["ray_encode_s"] = seconds_of(lambda: encode(folder / "there.npy", engine=engine))[0]
        same = [(path, there / path.name) for path in here.iterdir()]
        for one, other in [*same, (folder / "here.npy", folder / "there.npy")]:
            if one.read_bytes() != other.read_bytes():
                raise SystemExit(f"{one.name} is not the same on Ray")
    return found


def write_videos(folder: Path, n: int) -> Path:
    folder.mkdir()
    for i in range(n):
        write_video(folder / f"{i:03d}.avi", i)
    return folder


def write_sequences(folder: Path, n: int) -> Path:
    """Features of 8 to 30 steps of 500 values."""
    rng = np.random.default_rng(0)
    for k, start in enumerate(range(0, n, 250)):
        ids = [f"{i}" for i in range(start, min(n, start + 250))]
        steps = [rng.normal(size=(m, 500)).astype(np.float32) for m in rng.integers(8, 30, len(ids))]
        write_features(folder, ids, steps, shard=k)
    return folder


def fitted(folder: Path) -> Path:
    """An encoder of the paper's size for videos, which has seen little."""
    rng = np.random.default_rng(1)
    encoder = RNNFisherVector(hidden_size=200, projection_size=200, max_epochs=1, early_stopping=None, device="cpu")
    encoder.fit([rng.normal(size=(20, 500)).astype(np.float32) for _ in range(100)]).save(folder)
    return folder


def size_of(folder: Path, pattern: str) -> float:
    """MB of all files."""
    return sum(path.stat().st_size for path in folder.glob(pattern)) / 1e6


def _ready() -> Any:
    import torch  # noqa: F401

    return lambda items, tell: enumerate(items)


def tell(report: common.Report, found: dict[str, float]) -> None:
    """Rates of one core here, and the same work on Ray."""
    for work, unit in RATES.items():
        report.add(f"one core: {work}", f"{found[f'{work}_{unit}_per_s_core']:.3g} {unit} a second of its time")
    for work, unit in (("extract", "videos"), ("encode", "sequences")):
        report.add(
            f"{work} {found[unit]:,.0f} {unit} on Ray, one worker",
            common.seconds_text(found[f"ray_{work}_s"]),
            peer="the local run",
            theirs=common.seconds_text(found[f"{work}_s"]),
            ratio=found[f"{work}_s"] / found[f"ray_{work}_s"],
            note="the same bytes",
        )
    report.add("Ray's first work, with all imports", common.seconds_text(found["ray_first_s"]))
    report.add("Ray's own work for a batch of items", common.seconds_text(found["ray_batch_s"]))


def tell_needs(report: common.Report, found: dict[str, float]) -> None:
    """What many videos need, from the rates of one core here."""
    for name, (n, cores) in MANY.items():
        for work, unit in RATES.items():
            hours = n / found[f"{work}_{unit}_per_s_core"] / 3600
            report.add(
                f"{name}: {NEEDS.get(work, work)}",
                f"{_time(hours / cores)} on {cores} cores",
                note=f"{_digits(hours)} core hours: {_digits(hours * PRICE)} dollars at {PRICE} each",
            )
        batches = n / AT_ONCE
        report.add(
            f"{name}: Ray's own work",
            f"{_time(batches * found['ray_batch_s'] / 3600)} of the command's machine",
            note=f"{batches:,.0f} batches of {AT_ONCE} videos",
        )
        for size, what in SIZES.items():
            report.add(f"{name}: size of the {what}", f"{_digits(n * found[size] / 1e3)} GB")
        gpu_hours, rate = n * NET_TFLOP / GPU_TFLOPS / 3600, GPU_TFLOPS / NET_TFLOP
        report.add(
            f"{name}: the net on GPUs of {GPU_TFLOPS} TFLOP/s",
            f"{_digits(gpu_hours)} GPU hours",
            note=f"{_digits(rate / found['decode_videos_per_s_core'])} cores decode for one GPU",
        )


def _time(hours: float) -> str:
    for unit, length in (("h", 1), ("min", 60)):
        if hours * length >= 1:
            return f"{_digits(hours * length)} {unit}"
    return f"{_digits(3600 * hours)} s"


def _digits(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"


def main() -> int:
    args = common.options(__doc__).parse_args()
    common.limit_threads(args.threads)
    report = common.Report("One core, Ray on this machine, and many machines", limited_by=LIMITED_BY)
    if not (common.is_installed("ray") and common.is_installed("av")):
        report.skip("everything", "Ray or PyAV is not installed (pip install 'rnnfv[video,ray]')")
        return common.finish(report, args)
    found = report.figures = measure(args.full)
    tell(report, found)
    if args.full:  # with the small net, hours would say nothing
        tell_needs(report, found)
    return common.finish(report, args)


if __name__ == "__main__":
    sys.exit(main())
