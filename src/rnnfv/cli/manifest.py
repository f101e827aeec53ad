"""What `rnnfv manifest` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rnnfv.cli.terminal import notes
from rnnfv.datasets.hmdb51 import hmdb51_manifest
from rnnfv.datasets.manifest import overlapping_groups, write_manifest
from rnnfv.datasets.ucf101 import ucf101_manifest

_READERS = {"ucf101": ucf101_manifest, "hmdb51": hmdb51_manifest}


def run_manifest(dataset: str, lists: Path, out: Path, videos: Path | None) -> None:
    """Write the manifest, and say on stderr what is in it."""
    manifest = _READERS[dataset](lists, videos)
    write_manifest(out, manifest)
    console = notes()
    console.print(f"{len(manifest.ids)} clips of {len(np.unique(manifest.labels))} classes in {out}")
    for split, parts in manifest.splits.items():
        shared = len(overlapping_groups(manifest, split))
        warning = f"; {shared} groups are in both parts" if shared else ""
        console.print(f"{split}: {(parts == 'train').sum()} train, {(parts == 'test').sum()} test{warning}")
