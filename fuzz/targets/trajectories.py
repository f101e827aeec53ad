"""Improved dense trajectories, plain and compressed."""

import gzip
from pathlib import Path

from fuzz.target import Target
from rnnfv.video.trajectories import load_descriptors, sample_descriptors


def _seeds() -> list[bytes]:
    plain = ["\t".join(f"{(i * width) % 7 / 8:.4f}" for i in range(width)) for width in (436, 466)]
    texts = [f"# a comment\n{line}\n{line}\n".encode() for line in plain]
    return [*texts, gzip.compress(texts[0])]


def _place(folder: Path, data: bytes) -> Path:
    path = folder / ("clip.txt.gz" if data.startswith(b"\x1f\x8b") else "clip.txt")
    path.write_bytes(data)
    return path


def _read(path: Path) -> None:
    load_descriptors(path, 1, random_state=0)
    sample_descriptors([path], 2, random_state=0)


TARGET = Target(_seeds, _place, _read, tokens=(b"\n", b"\t", b"nan", b"1e39", b"#", b"%", b"\x1f\x8b"))
