"""What all benchmarks share: options, timing in turns, the machine's limits, processes of their own, and results.

A script makes a `Report`, adds lines to it and hands it to `finish`, which prints it and writes it as JSON. A line sets
one figure of rnnfv beside that of a named peer, or of a physical limit measured in the same run; its ratio is above 1
where rnnfv is the faster or smaller. `run_all.py` makes one page of all reports.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

PACKAGES = [
    "rnnfv",
    "numpy",
    "scipy",
    "scikit-learn",
    "torch",
    "pyarrow",
    "onnxruntime",
    "av",
    "faiss-cpu",
    "fastapi",
    "uvicorn",
    "cca-zoo",
    "scikit-image",
    "backpack-for-pytorch",
    "opacus",
    "ray",
]
DATA = Path(os.environ.get("RNNFV_DATA", "../shared/data"))


@dataclass(frozen=True)
class Line:
    """One comparison. ``ratio``: the peer's time or size over ours; ``share``: of the physical limit that is named."""

    work: str
    ours: str
    peer: str = ""
    theirs: str = ""
    ratio: float | None = None
    aim: str = ""
    share: float | None = None
    limit: str = ""
    note: str = ""


@dataclass
class Report:
    """What one script has to say. ``prediction`` was written before profiling, ``limited_by`` after it."""

    title: str
    prediction: str = ""
    limited_by: str = ""
    lines: list[Line] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def add(self, work: str, ours: str, **rest: Any) -> None:
        self.lines.append(Line(work, ours, **rest))

    def add_accuracies(self, work: str, rows: dict[str, Any], ours: str) -> None:
        """Percent right of one pooling beside every other: {name: {"mean": ..., "std": ...}}."""
        texts = {name: f"{row['mean']:.2f} ± {row['std']:.2f} %" for name, row in rows.items()}
        for name, text in texts.items():
            if name != ours:
                self.add(f"accuracy, {work}, {ours}", texts[ours], peer=name, theirs=text)

    def skip(self, what: str, why: str) -> None:
        self.skipped.append(f"{what}: {why}")


# -- options and results ---------------------------------------------------------------------------


def options(doc: str | None, *, has_device: bool = False) -> argparse.ArgumentParser:
    """A parser with what every script understands; a script adds its own."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the paper's sizes; without it sizes are small: minutes")
    parser.add_argument("--threads", type=int, default=1, help="threads of every library (default 1)")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    if has_device:
        parser.add_argument("--device", default="cpu", help="cpu (the default) or cuda")
    parser.add_argument("--job", help=argparse.SUPPRESS)  # how a script starts itself
    return parser


def finish(report: Report, arguments: argparse.Namespace) -> int:
    """Print a report and, if asked, write it; the exit code."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 150)
    if report.lines:
        console.print(as_table(report))
    for text in report.skipped:
        console.print(f"skipped: {text}", highlight=False, markup=False)
    if arguments.json:
        device = getattr(arguments, "device", "cpu")
        settings = {"threads": arguments.threads, "full": arguments.full, "device": device}
        arguments.json.write_text(json.dumps(settings | asdict(report), indent=1, default=str) + "\n", "utf-8")
    return 0


def as_table(report: Report) -> Any:
    from rich.table import Table

    table = Table(title=report.title)
    for name in ("work", "ours", "against", "theirs", "ratio", "aim", "of the limit", ""):
        table.add_column(name, justify="right" if name in ("ours", "theirs", "ratio", "of the limit") else "left")
    for line in report.lines:
        table.add_row(*cells(line))
    return table


def cells(line: Line) -> list[str]:
    """A line's texts, in the order of the page's columns."""
    ratio = "" if line.ratio is None else f"{line.ratio:.2f}" if line.ratio < 9.95 else f"{line.ratio:.0f}"
    share = "" if line.share is None else f"{line.share:.2f} of {line.limit}"
    return [line.work, line.ours, line.peer, line.theirs, ratio, line.aim, share, line.note]


def seconds_text(seconds: float) -> str:
    if seconds >= 100:
        return f"{seconds:,.0f} s"
    return (
        f"{seconds:.3g} s"
        if seconds >= 1
        else f"{1e3 * seconds:.3g} ms"
        if seconds >= 1e-3
        else f"{1e6 * seconds:.3g} µs"
    )


def versions() -> dict[str, str]:
    """Of Python, of what rnnfv stands on, and of the peers that are installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


# -- time ------------------------------------------------------------------------------------------


class Times(NamedTuple):
    """Seconds of one function over its repeats."""

    median: float
    best: float


def limit_threads(threads: int) -> None:
    """For every library of this process, from now on."""
    import numpy as np  # noqa: F401  # what is not loaded yet cannot be limited
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads)


def clocked(function: Callable[[], Any], device: str = "cpu") -> tuple[float, Any]:
    """Seconds, and what the function returns."""
    wait = _waiter(device)
    wait()
    begun = time.perf_counter()
    result = function()
    wait()
    return time.perf_counter() - begun, result


def in_turns(functions: dict[str, Callable[[], Any]], repeats: int, device: str = "cpu") -> dict[str, Times]:
    """Time functions by turns, after one untimed turn, so that a busy moment of the machine meets them all."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            taken = clocked(function, device)[0]
            if turn:
                seconds[name].append(taken)
    return {name: Times(statistics.median(taken), min(taken)) for name, taken in seconds.items()}


def _waiter(device: str) -> Callable[[], None]:
    if device.startswith("cpu"):
        return lambda: None
    import torch

    return torch.cuda.synchronize


# -- the machine's limits --------------------------------------------------------------------------


def product_rate(device: str = "cpu", dtype: str = "float32", repeats: int = 5) -> float:
    """Operations a second of a large matrix product by torch: the median."""
    import torch

    n = 2000 if device.startswith("cpu") else 8000
    a, b = (torch.rand(n, n, device=device, dtype=getattr(torch, dtype)) for _ in range(2))
    return 2 * n**3 / in_turns({"product": lambda: a @ b}, repeats, device)["product"].median


def memory_rate(repeats: int = 5) -> float:
    """Bytes a second, read and written, of copying an array that no cache holds."""
    import numpy as np

    source = np.ones(1 << 25)
    target = np.empty_like(source)
    taken = in_turns({"copy": lambda: np.copyto(target, source)}, repeats)["copy"].median
    return 2 * source.nbytes / taken


def disk_rates(folder: Path | None = None, size: int = 1 << 28) -> tuple[float, float]:
    """Bytes a second of writing a file through to the disk, and of reading it again past the system's memory."""
    block = os.urandom(1 << 24)
    with tempfile.NamedTemporaryFile(dir=folder) as file:

        def write() -> None:
            for _ in range(size // len(block)):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

        def read() -> None:
            file.seek(0)
            while file.read(len(block)):
                pass

        written = clocked(write)[0]
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return size / written, size / clocked(read)[0]


def machine() -> dict[str, Any]:
    """The processor, cores, memory and, if there is one, the GPU."""
    info: dict[str, Any] = {"processor": platform.processor() or platform.machine(), "system": platform.platform()}
    cpu = Path("/proc/cpuinfo")
    if cpu.is_file():
        names = [
            text.split(":", 1)[1].strip() for text in cpu.read_text().splitlines() if text.startswith("model name")
        ]
        info["processor"] = names[0] if names else info["processor"]
    info["cores"] = os.cpu_count()
    info["memory GiB"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    import torch

    if torch.cuda.is_available():
        info["GPU"] = torch.cuda.get_device_name()
    return info


# -- processes of their own ------------------------------------------------------------------------


def peak_gib() -> float:
    """The most memory this process has held, in GiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # what the system's call below says begins with the peak of the process that started this one
        line = next(text for text in status.read_text("utf-8").splitlines() if text.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class UnmeasuredError(Exception):
    """There is nothing to tell of a job; the message says why."""


def in_process(script: str, job: Any, threads: int, limit: float = 3600) -> dict[str, Any]:
    """What ``script --job JOB`` prints last, as JSON; `UnmeasuredError` where it takes too long."""
    environment = os.environ | {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")}
    command = [sys.executable, script, "--job", json.dumps(job), "--threads", str(threads)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired as error:
        raise UnmeasuredError(f"it did not finish in {limit:,.0f} s") from error
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def folder_for(path: Path | None) -> Iterator[Path]:
    """The folder asked for, which is kept, or a temporary one."""
    if path is not None:
        path.mkdir(parents=True, exist_ok=True)
        yield path
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)
