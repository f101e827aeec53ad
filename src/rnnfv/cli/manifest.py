"""What `rnnfv manifest` does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rnnfv.cli.terminal import notes
from rnnfv.datasets.hmdb51 import hmdb51_manifest
from rnnfv.datasets.manifest import overlapping_groups, write_manifest
from rnnfv.datasets.ucf101 import ucf101_manifest

_READERS = {"ucf101": ucf101_manifest, "hmdb51": hmdb51_manifest}


def run_manifest(dataset: str, lists: Path, out: Path, videos: Path | None, *, as_json: bool = False) -> None:
    """Write the manifest, and say on stderr, or as JSON, what is in it."""
    manifest = _READERS[dataset](lists, videos)
    write_manifest(out, manifest)
    splits = {
        split: {
            "train": int((parts == "train").sum()),
            "test": int((parts == "test").sum()),
            "groups_in_both": len(overlapping_groups(manifest, split)),
        }
        for split, parts in manifest.splits.items()
    }
    clips, classes = len(manifest.ids), len(np.unique(manifest.labels))
    if as_json:
        print(json.dumps({"manifest": str(out), "clips": clips, "classes": classes, "splits": splits}, indent=2))
        return
    console = notes()
    console.print(f"{clips} clips of {classes} classes in {out}")
    for split, sizes in splits.items():
        shared = sizes["groups_in_both"]
        warning = f"; {shared} groups are in both parts" if shared else ""
        console.print(f"{split}: {sizes['train']} train, {sizes['test']} test{warning}")
