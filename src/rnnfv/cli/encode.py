"""What `rnnfv encode` prints."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from rnnfv.cli.engine import HERE, Where, open_where
from rnnfv.cli.usage import UsageError
from rnnfv.recipes.encoding import encode_features


def run_encode(features: Path, model: Path, out: Path, where: Where = HERE, *, as_json: bool = False) -> int:
    """Encode, print a summary on stderr, or as JSON, and return how many items failed."""
    if out.suffix != ".npy":
        raise UsageError(f"--out must be a .npy file; got {out}")
    console = Console(stderr=True, soft_wrap=True)
    with open_where(where) as engine:
        summary = encode_features(features, model, out, engine=engine, progress=True)
    if as_json:
        print(json.dumps(asdict(summary), indent=2, default=str))
        return summary.failed
    if summary.was_finished:
        console.print(f"{summary.out} is finished already; nothing to do.", highlight=False)
    console.print(
        f"{summary.encoded} vectors of {summary.dim} numbers in {summary.out}; their ids in {summary.table}",
        highlight=False,
    )
    if summary.failed:
        console.print(f"{summary.failed} items could not be encoded: see {summary.table}", highlight=False)
    return summary.failed
