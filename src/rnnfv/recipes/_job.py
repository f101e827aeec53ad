"""What jobs that go on after a stop have in common: records in JSON, and a bar."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from rnnfv.storage import atomic_file

__all__ = ["progress_bar", "read_json", "write_json"]


def read_json(path: Path) -> Any:
    """The content of a JSON file; None where there is none, or something else."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, RecursionError, ValueError):
        return None


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, which appears whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def progress_bar(shown: bool, column: ProgressColumn) -> Progress:
    """A bar on stderr: what is done, a column of the job's own, and the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), column, TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not shown)
