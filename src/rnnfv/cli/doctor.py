"""What `rnnfv doctor` looks at and shows."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from rnnfv import __version__
from rnnfv.cli.terminal import notes
from rnnfv.extras import EXTRAS, how_to_install
from rnnfv.recipes.self_test import self_test

_WEIGHTS = ("vgg16*.pth", "vgg19*.pth", "c3d*.pickle", "*c3d*.pth", "*caffe*.pth")  # as their makers name them


def run_doctor(as_json: bool) -> bool:
    """Look around, test, show what was found, and return whether the test was passed."""
    found: dict[str, Any] = {
        "rnnfv": __version__,
        "python": f"{platform.python_version()} ({platform.platform()})",
        "libraries": _libraries(),
        "devices": _devices(),
        "extras": _extras(),
        "weights": _weights(),
        "disk": _disk(),
    }
    with notes().status("testing"):
        found["self_test"] = _tested()
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        _show(found)
    return bool(found["self_test"]["passed"])


# -- what there is ---------------------------------------------------------------------------------


def _libraries() -> dict[str, str | None]:
    """The libraries that rnnfv always needs, and their versions."""
    try:
        needed = [line for line in metadata.requires("rnnfv") or [] if "extra ==" not in line]
        names = sorted(re.split(r"[^\w.-]", line)[0] for line in needed)
    except metadata.PackageNotFoundError:  # run from its source alone
        names = ["numpy", "scikit-learn", "torch"]
    return {name: _version(name) for name in names}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> list[dict[str, Any]]:
    cpu = {"name": "cpu", "what": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    gpus = []
    for i in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(i)
        gpus.append({"name": f"cuda:{i}", "what": gpu.name, "memory": gpu.total_memory})
    return [cpu, *gpus]


def _extras() -> dict[str, dict[str, Any]]:
    """By extra: what it is for, the versions of its libraries, and the command that brings it where one is missing."""
    rows = {}
    for name, extra in EXTRAS.items():
        versions = {distribution: _version(distribution) for distribution in extra.libraries.values()}
        missing = None in versions.values()
        install = how_to_install(name) if missing else None
        rows[name] = {"purpose": extra.purpose, "libraries": versions, "install": install}
    return rows


def _weights() -> list[dict[str, Any]]:
    """Weights of backbones where torch and the hub keep theirs: the path, and how many bytes."""
    checkpoints = Path(torch.hub.get_dir()) / "checkpoints"
    files = {path for pattern in _WEIGHTS for path in checkpoints.glob(pattern)}
    models = {path for path in _hub_cache().glob("models--*") if path.is_dir()}
    return [{"path": str(path), "bytes": _bytes(path)} for path in sorted(files) + sorted(models)]


def _bytes(path: Path) -> int:
    """Of a file, or of all files of a folder; the hub's links to files count as links."""
    return sum(file.lstat().st_size for file in (path, *path.rglob("*")) if not file.is_dir())


def _hub_cache() -> Path:
    """The folder of the hub's models: huggingface_hub says where where it is installed, else by its own rules."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _disk() -> list[dict[str, Any]]:
    """Free space where results, temporary files and the hub's models go."""
    places = {"this folder": Path.cwd(), "temporary files": Path(tempfile.gettempdir()), "hub models": _hub_cache()}
    rows = []
    for use, wanted in places.items():
        there = next(path for path in (wanted, *wanted.absolute().parents) if path.exists())
        rows.append({"use": use, "path": str(wanted), "free": shutil.disk_usage(there).free})
    return rows


def _tested() -> dict[str, Any]:
    try:
        result = self_test()
    # Whatever a broken library does is what is to be told.
    except Exception as error:
        return {"passed": False, "reason": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    figures = {"difference": result.difference, "accuracy": result.accuracy, "seconds": round(result.seconds, 2)}
    return {"passed": result.has_passed, **figures}


# -- how it is shown -------------------------------------------------------------------------------


def _show(found: dict[str, Any]) -> None:
    libraries = ", ".join(f"{name} {version or 'missing'}" for name, version in found["libraries"].items())
    lines = [("rnnfv", found["rnnfv"]), ("python", found["python"]), ("libraries", libraries)]
    lines += [(device["name"], _device(device)) for device in found["devices"]]
    lines += [("weights", f"{row['path']}, {decimal(row['bytes'])}") for row in found["weights"]]
    lines += [] if found["weights"] else [("weights", "none in the folders of torch and of the hub")]
    lines += [("disk", f"{row['use']}: {decimal(row['free'])} free in {row['path']}") for row in found["disk"]]
    console = Console(markup=False, highlight=False)
    console.print(_grid(lines))
    table = Table(title="Extras", title_justify="left")
    for column in ("extra", "for", "libraries", "to install"):
        table.add_column(column, overflow="fold")
    for name, row in found["extras"].items():
        versions = ", ".join(f"{key} {value or 'missing'}" for key, value in row["libraries"].items())
        table.add_row(*map(Text, (name, row["purpose"], versions, row["install"] or "")))
    console.print(table)
    console.print(_verdict(found["self_test"]), soft_wrap=True)


def _grid(lines: list[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")
    for name, text in lines:
        grid.add_row(Text(name), Text(text))
    return grid


def _device(device: dict[str, Any]) -> str:
    more = f"{device['threads']} threads" if "threads" in device else decimal(device["memory"])
    return f"{device['what']}, {more}"


def _verdict(test: dict[str, Any]) -> str:
    if "reason" in test:
        return f"Self-test failed: {test['reason']}"
    said = (
        f"closed form and automatic differentiation differ by {test['difference']:.0e}, "
        f"{100 * test['accuracy']:.0f} % of the orders recognised, {test['seconds']:.1f} s"
    )
    return f"Self-test {'passed' if test['passed'] else 'FAILED'}: {said}"
