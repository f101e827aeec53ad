"""A progress bar over the epochs of a training run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def epoch_progress(epochs: int, enabled: bool) -> Iterator[Callable[[int, dict[str, list[float]]], None]]:
    """Yield a function to call after every epoch with its number and the history; shows a bar on stderr."""
    columns = (TextColumn("epoch"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not enabled) as progress:
        task = progress.add_task("", total=epochs)

        def report(epoch: int, history: dict[str, list[float]]) -> None:
            text = "  ".join(f"{name} {values[-1]:.4g}" for name, values in history.items())
            progress.update(task, completed=epoch + 1, description=text)

        yield report
