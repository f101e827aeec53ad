"""What jobs that go on after a stop have in common: records in JSON, and a bar."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn

from rnnfv.storage import atomic_file

__all__ = ["is_sealed", "progress_bar", "read_json", "sealed", "write_json"]


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


def sealed(content: dict[str, Any], job: Any) -> dict[str, Any]:
    """A record of what is done of a job, and a checksum over both, under "seal"."""
    seal = hashlib.sha256(json.dumps([job, content], sort_keys=True).encode())
    return {**content, "seal": seal.hexdigest()}


def is_sealed(record: Any, job: Any) -> bool:
    """Whether it is a record as `sealed` made it, of this job."""
    if not isinstance(record, dict) or "seal" not in record:
        return False
    return bool(record == sealed({name: value for name, value in record.items() if name != "seal"}, job))


def progress_bar(shown: bool, column: ProgressColumn) -> Progress:
    """A bar on stderr: what is done, a column of the job's own, and the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), column, TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not shown)
