"""Records with the right checksums of changed files: what stands between a forger and the readers behind them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from rnnfv.storage.checkpoint import _digest


def edit_json(path: Path, change: Any) -> None:
    """Apply a change to the dict in a JSON file; anything else is left as it is."""
    try:
        content = json.loads(path.read_bytes())
        if isinstance(content, dict):
            change(content)
            path.write_text(json.dumps(content))
    except (OSError, ValueError, RecursionError):
        pass


def sha256(path: Path) -> str:
    """Of a file; "" where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def sign_model(folder: Path) -> None:
    """Put the checksums of a model folder right."""

    def change(config: dict[str, Any]) -> None:
        arrays = folder / "arrays.safetensors"
        if arrays.is_file():
            config["arrays"] = {"size": arrays.stat().st_size, "sha256": sha256(arrays)}
        config.pop("checksum", None)
        text = json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False)
        config["checksum"] = hashlib.sha256(text.encode("ascii")).hexdigest()

    edit_json(folder / "config.json", change)


def sign_chain(folder: Path, record: str, parts: Sequence[str], files: Path | None = None) -> None:
    """Put the checksums of a chain's folder right: of its record, its estimators, and the copied files, all one."""
    for part in parts:
        sign_model(folder / part)

    def change(content: dict[str, Any]) -> None:
        try:
            for part in parts:
                content[part] = json.loads((folder / part / "config.json").read_bytes())["checksum"]
            for entry in content["files"].values() if files else ():
                entry["sha256"] = sha256(files)
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            pass  # what has no such shape gets the right checksum all the same
        content.pop("checksum", None)
        content["checksum"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode("ascii")).hexdigest()

    edit_json(folder / record, change)


def sign_checkpoint(path: Path) -> None:
    """Put the checksum of a checkpoint right; what is none is left as it is."""
    try:
        content = safetensors.numpy.load(path.read_bytes())
        content.pop("sha256", None)
        content["sha256"] = np.frombuffer(_digest(content), np.uint8)
        path.write_bytes(safetensors.numpy.save(content))
    except Exception:  # the library's own class, or that of a dtype which NumPy lacks
        pass
