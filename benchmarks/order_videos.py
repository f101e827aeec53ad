"""Videos that only order can tell apart: every class is another one's clips, played backwards.

Three movements (a shape turns, grows, or crosses the picture in an arc), each forwards and backwards: six classes. The
script renders the clips to .mp4 files, shapes, colours, sizes, speeds, places, backgrounds and noise all random, and
takes the whole way: video files, `extract_features`, manifest, `evaluate_actions`.

A clip and its mirror have exactly the same frames, also once decoded: every frame is coded by itself at one quality,
and none is passed over. They are one group: both are in the training part, or both in the test part. What is blind to
order can tell the movement, but gives a clip and its mirror the same vector: between the two it can only toss a coin.
So 50 % of the directions is chance, and 50 % over all is the most to expect of it. No differences of frames are
appended (`deltas`), which would show order to poolings that are blind to it.

Two backbones: "edges", the strength of the edges in 16 x 16 squares of the picture, which needs no data; and
"googlenet", where its file is there (`models/googlenet.onnx` in the folder that RNNFV_DATA names, default
../shared/data).

    python benchmarks/order_videos.py --full --seeds 3 --json order_videos.json
    python benchmarks/order_videos.py                    # edges, fewer clips, three poolings
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _common as common
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.model_selection import StratifiedKFold

from rnnfv.datasets.labelled import load_labelled
from rnnfv.datasets.manifest import Manifest, write_manifest
from rnnfv.recipes.action import Fitted, Settings, as_json, evaluate_actions
from rnnfv.recipes.comparison import POOLINGS
from rnnfv.recipes.extraction import extract_features
from rnnfv.video.backbones import make_backbone
from rnnfv.video.decode import Sampling

SIDE = 64  # pixels
MIRROR = {
    "turns anticlockwise": "turns clockwise",
    "grows": "shrinks",
    "crosses to the right": "crosses to the left",
}
MOVEMENT = {name: forward for forward, backward in MIRROR.items() for name in (forward, backward)}
EDGES, GOOGLENET = "edges", "googlenet"


# -- the clips -------------------------------------------------------------------------------------


def draw_clip(movement: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Frames (n, SIDE, SIDE, 3) of one clip, forwards."""
    n = int(rng.integers(12, 21))
    progress = np.linspace(0, 1, n) ** rng.uniform(0.7, 1.4)
    x, y = rng.uniform(-0.15, 0.15, 2)[:, None] + np.zeros(n)
    radius, angle = np.full(n, rng.uniform(0.35, 0.6)), np.full(n, rng.uniform(0, 2 * np.pi))
    if movement == "turns anticlockwise":
        angle = angle + progress * rng.uniform(0.7, 1.6) * np.pi
    elif movement == "grows":
        radius = rng.uniform(0.12, 0.3) + progress * rng.uniform(0.3, 0.5)
    else:
        radius = radius / 2
        x = x + (progress - 0.5) * rng.uniform(1.0, 1.6)
        y = y + np.sin(np.pi * progress) * rng.uniform(-0.5, 0.5)
    lobes, depth = rng.integers(2, 4), rng.uniform(0.35, 0.6)
    background, colour = _background(rng), rng.uniform(0, 1, 3)
    while abs(colour.mean() - background.mean()) < 0.3:
        colour = rng.uniform(0, 1, 3)
    rows, columns = np.meshgrid(np.linspace(1, -1, SIDE), np.linspace(-1, 1, SIDE), indexing="ij")
    frames = np.empty((n, SIDE, SIDE, 3))
    for i in range(n):
        right, up = columns - x[i], rows - y[i]
        edge = radius[i] * (1 + depth * np.cos(lobes * (np.arctan2(up, right) - angle[i])))
        inside = np.clip((edge - np.hypot(right, up)) * SIDE / 2 + 0.5, 0, 1)[:, :, None]
        frames[i] = inside * colour + (1 - inside) * background
    frames += rng.normal(scale=0.03, size=frames.shape)
    return (255 * np.clip(frames, 0, 1)).round().astype(np.uint8)


def _background(rng: np.random.Generator) -> NDArray[np.float64]:
    """A colour with soft spots."""
    spots = rng.uniform(-0.15, 0.15, (4, 4, 3)).repeat(SIDE // 4, 0).repeat(SIDE // 4, 1)
    kernel = np.hanning(SIDE // 4 + 2)[1:-1]
    for axis in (0, 1):
        spots = np.apply_along_axis(np.convolve, axis, spots, kernel / kernel.sum(), "same")
    return np.clip(rng.uniform(0.1, 0.9, 3) + spots, 0, 1)


def write_clip(path: Path, frames: NDArray[np.uint8]) -> None:
    """An .mp4 file, every frame of which is coded by itself at one quality: played backwards it decodes to the same."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        stream.gop_size = 1
        stream.codec_context.qmin = stream.codec_context.qmax = 3
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode())


def render(folder: Path, pairs: int, folds: int, seed: int = 0) -> Manifest:
    """Write ``pairs`` clips of each movement and their mirrors, and the manifest that names them."""
    rng = np.random.default_rng(seed)
    rows = []
    for forward, backward in MIRROR.items():
        for pair in range(pairs):
            frames, group = draw_clip(forward, rng), f"{forward.split()[0]}-{pair:03d}"
            for label, shown in ((forward, frames), (backward, frames[::-1])):
                name = f"{group}-{'backwards' if label == backward else 'forwards'}"
                write_clip(folder / f"{name}.mp4", shown)
                rows.append((name, label, group, f"{name}.mp4"))
    ids, labels, groups, paths = (np.array(column) for column in zip(*rows, strict=True))
    manifest = Manifest(ids, labels, groups, _splits(labels, groups, folds, seed), paths)
    write_manifest(folder / "manifest.csv", manifest)
    return manifest


def _splits(labels: NDArray[np.str_], groups: NDArray[np.str_], folds: int, seed: int) -> dict[str, NDArray[np.str_]]:
    pairs, first = np.unique(groups, return_index=True)
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(pairs, labels[first])
    return {
        f"split{k}": np.where(np.isin(groups, pairs[test]), "test", "train") for k, (_, test) in enumerate(parts, 1)
    }


# -- the backbone that needs no data ---------------------------------------------------------------


class Edges:
    """How strong the edges are in each of 16 x 16 squares of the picture, whatever its colours."""

    name, dim, input = EDGES, 256, "frames"

    @staticmethod
    def prepare(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return frame

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        down, right = np.gradient(batch.mean(axis=3) / 255, axis=(1, 2))
        squares = np.hypot(down, right).reshape(len(batch), 16, SIDE // 16, 16, SIDE // 16)
        return squares.mean(axis=(2, 4)).reshape(len(batch), -1).astype(np.float32)

    def description(self) -> dict[str, Any]:
        return {"name": self.name, "dim": self.dim, "settings": {}, "weights": {}}


# -- the comparison --------------------------------------------------------------------------------


def compare(
    videos: Path, features: Path, backbone: Any, settings: Settings, report: Callable[[str], None]
) -> dict[str, Any]:
    """All figures of one backbone: `as_json`'s, and what of them is knowing the movement, what its direction."""
    extract_features(videos, backbone, features, manifest=videos / "manifest.csv", sampling=Sampling(1), workers=0)
    movement: dict[str, list[float]] = {name: [] for name in settings.poolings}

    def keep(fitted: Fitted) -> None:
        right = [MOVEMENT[a] == MOVEMENT[b] for a, b in zip(fitted.result.predictions, fitted.test[1], strict=True)]
        movement[fitted.pooling].append(100 * float(np.mean(right)))

    data = load_labelled(features, videos / "manifest.csv")
    rows = evaluate_actions(data, settings, report=report, keep=keep)
    figures = as_json(rows, {"backbone": backbone.description()}, settings)
    for name, values in movement.items():
        row = figures["poolings"][name]
        row["movement"] = float(np.mean(values))
        row["direction"] = 100 * row["mean"] / row["movement"]
    return figures


def show(console: Console, title: str, figures: dict[str, Any]) -> None:
    table = Table(title=title)
    table.add_column("pooling")
    for column in ("accuracy %", "± seeds", "movement %", "its direction %", "numbers"):
        table.add_column(column, justify="right")
    for name, row in figures["poolings"].items():
        values = [f"{row[key]:.1f}" for key in ("mean", "std", "movement", "direction")]
        table.add_row(name, *values, str(row["dim"]))
    console.print(table)


def main() -> int:
    parser = common.options(__doc__)
    parser.add_argument("--out", type=Path, help="keep videos and features here (default: a temporary folder)")
    parser.add_argument("--pairs", type=int, default=40, help="clips of each movement; their mirrors come on top")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--backbones", nargs="+", choices=(EDGES, GOOGLENET), default=[EDGES, GOOGLENET])
    parser.add_argument("--poolings", nargs="+", choices=POOLINGS, default=POOLINGS)
    parser.add_argument("--jobs", type=int, default=1, help="processes for choosing parameters")
    args = parser.parse_args()
    if not args.full:
        args.pairs, args.folds, args.backbones, args.poolings = 30, 2, [EDGES], ["mean", "gmm-fv", "rnn-fv-kron"]
    console = Console()
    settings = Settings(tuple(args.poolings), args.seeds, deltas=(0,), jobs=args.jobs)
    net = common.DATA / "models" / "googlenet.onnx"
    report = common.Report("Videos that only order tells apart")
    figures = report.figures
    with common.folder_for(args.out) as out:
        videos = out / "videos"
        videos.mkdir(parents=True, exist_ok=True)
        manifest = render(videos, args.pairs, args.folds)
        console.print(f"{len(manifest.ids)} clips in {videos}", highlight=False)
        for name in args.backbones:
            if name == GOOGLENET and not net.is_file():
                report.skip(name, f"there is no {net}; set RNNFV_DATA to the folder that holds models/")
                continue
            backbone = Edges() if name == EDGES else make_backbone(f"onnx:{net}:pool5")
            with console.status("") as status:
                figures[name] = compare(videos, out / name, backbone, settings, status.update)
            show(
                console,
                f"{name}, mean of {args.folds} splits; chance for the direction is 50 %",
                figures[name],
            )
            poolings = figures[name]["poolings"]
            report.add_accuracies(name, poolings, "rnn-fv-kron" if "rnn-fv-kron" in poolings else list(poolings)[-1])
    return common.finish(report, args)


if __name__ == "__main__":
    torch.set_num_threads(1)  # with --jobs, processes take the cores
    sys.exit(main())
