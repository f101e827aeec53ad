"""How far one machine gets, what Ray adds to it, and what many machines would need by arithmetic.

Measured here: decoding, a net of images behind it, features' size, encoding, and the same work on Ray on this machine
against the local run. The net has the operations of VGG-19 on 224 x 224, without trained weights; one core runs it.
Rates are for a second of processor time, so that they hold on a machine that is busy with other things; ratios of Ray
to the local run are of wall time, since its work is done in other processes, and hold on a quiet machine only.

    python benchmarks/scaling.py [--quick] [--videos N] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import av
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from rnnfv import RNNFisherVector
from rnnfv.distributed import LOCAL, open_engine
from rnnfv.recipes.encoding import encode_features
from rnnfv.recipes.extraction import extract_features
from rnnfv.storage import write_features
from rnnfv.video.ahead import Block, decode_ahead
from rnnfv.video.decode import Sampling

SECONDS, FPS, SIZE = 7, 25, (240, 320)  # a mean video of UCF101
EVERY = 10


class Net:
    """VGG-19's layers on 224 x 224, or for a quick look a small net of the same input and output."""

    name, dim, input = "vgg-19 without trained weights", 4096, "frames"

    def __init__(self, is_quick: bool) -> None:
        torch.manual_seed(0)
        plan = [16, 32] if is_quick else [64, 64, 0, 128, 128, 0, *[256] * 4, 0, *[512] * 4, 0, *[512] * 4, 0]
        layers: list[torch.nn.Module] = []
        width = 3
        for size in plan:
            if size == 0:
                layers.append(torch.nn.MaxPool2d(2))
            else:
                layers += [torch.nn.Conv2d(width, size, 3, padding=1), torch.nn.ReLU()]
                width = size
        last = [torch.nn.AdaptiveAvgPool2d(7), torch.nn.Flatten(), torch.nn.Linear(49 * width, 4096)]
        self.net = torch.nn.Sequential(*layers, *last).eval()
        self.is_quick = is_quick

    @staticmethod
    def prepare(frame: Any) -> Any:
        return frame[8:232, 48:272]

    def __call__(self, batch: Any) -> Any:
        with torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(batch)).permute(0, 3, 1, 2).float() / 255
            return self.net(pixels).numpy()

    def description(self) -> dict[str, Any]:
        return {"name": self.name, "dim": self.dim, "quick": self.is_quick}


def write_video(path: Path, seed: int) -> None:
    """Moving noise of low frequency, compressed as the field's .avi files are."""
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


def measure(console: Console, is_quick: bool, n_videos: int) -> dict[str, float]:
    """Rates of this machine; seconds on Ray over seconds here, with as many workers as here: one."""
    n_sequences = 300 if is_quick else 2000
    torch.set_num_threads(1)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        videos = folder / "videos"
        videos.mkdir()
        for i in range(n_videos):
            write_video(videos / f"{i:03d}.avi", i)
        paths = sorted(videos.iterdir())
        found["video_MB"] = sum(path.stat().st_size for path in paths) / len(paths) / 1e6
        console.print("decoding")
        found["decode_videos_per_s_core"] = decode_rate(paths)
        net = Net(is_quick)
        console.print("extraction, here")
        here = folder / "here"
        local, used = seconds_of(lambda: extract_features(videos, net, here, workers=0, shard_size=50))
        found["extract_videos_per_s_core"] = n_videos / used
        found["features_MB"] = sum(p.stat().st_size for p in here.glob("*.parquet")) / n_videos / 1e6
        rng = np.random.default_rng(0)
        steps = [rng.normal(size=(int(n), 500)).astype(np.float32) for n in rng.integers(8, 30, n_sequences)]
        shards = folder / "shards"
        for k, start in enumerate(range(0, n_sequences, 250)):
            part = steps[start : start + 250]
            write_features(shards, [f"{start + i}" for i in range(len(part))], part, shard=k)
        encoder = RNNFisherVector(hidden_size=200, projection_size=200, max_epochs=1, early_stopping=None, device="cpu")
        encoder.fit(steps[:100]).save(folder / "model")
        console.print("encoding, here")
        encode = partial(encode_features, shards, folder / "model")
        local_encode, used = seconds_of(lambda: encode(folder / "here.npy", engine=LOCAL))
        found["encode_sequences_per_s_core"] = n_sequences / used
        found["vector_MB"] = (folder / "here.npy").stat().st_size / n_sequences / 1e6
        console.print("the same on Ray, one worker")
        with open_engine("ray", cpus=os.cpu_count() or 1) as engine:
            # The first work makes Ray start its processes and import torch: told apart from what comes after.
            found["ray_first_s"] = seconds_of(lambda: list(engine.map(_ready, [0], batch=1)))[0]
            there = folder / "there"
            there_too = {"engine": engine, "make_backbone": partial(Net, is_quick)}
            ray, _ = seconds_of(lambda: extract_features(videos, net, there, workers=0, shard_size=50, **there_too))
            ray_encode, _ = seconds_of(lambda: encode(folder / "there.npy", engine=engine))
        for path in here.iterdir():
            assert path.read_bytes() == (there / path.name).read_bytes()
        assert (folder / "here.npy").read_bytes() == (folder / "there.npy").read_bytes()
    found |= {"ray_extract_ratio": ray / local, "ray_encode_ratio": ray_encode / local_encode}
    return found


def _ready() -> Any:
    import torch  # noqa: F401

    return lambda items, tell: enumerate(items)


def needs(found: dict[str, float]) -> list[tuple[str, str]]:
    """A million videos on 50 machines of 16 cores, from the rates of one core here."""
    n, cores = 1_000_000, 50 * 16
    rows = [
        ("extraction, core hours", n / found["extract_videos_per_s_core"] / 3600),
        ("extraction, hours on 800 cores", n / found["extract_videos_per_s_core"] / 3600 / cores),
        ("decoding alone, hours on 800 cores", n / found["decode_videos_per_s_core"] / 3600 / cores),
        ("videos, TB", n * found["video_MB"] / 1e6),
        ("features, TB", n * found["features_MB"] / 1e6),
        ("encoding, hours on 800 cores", n / found["encode_sequences_per_s_core"] / 3600 / cores),
        ("vectors, TB", n * found["vector_MB"] / 1e6),
    ]
    return [(name, f"{value:.2g}" if value < 100 else f"{value:,.0f}") for name, value in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few videos and a small net")
    parser.add_argument("--videos", type=int, default=32)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    console = Console()
    found = measure(Console(stderr=True), options.quick, 6 if options.quick else options.videos)
    table = Table(
        "measured on one core", "", title=f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    )
    for name, value in found.items():
        table.add_row(name, f"{value:.3g}")
    console.print(table)
    table = Table("a million videos on 50 machines of 16 such cores", "")
    for row in needs(found):
        table.add_row(*row)
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
