"""Wrong usage: options with impossible values, and options that do not go together."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

from cyclopts import CycloptsError
from cyclopts.exceptions import MissingArgumentError

__all__ = [
    "UsageError",
    "at_least_one",
    "check_borrowed",
    "check_net",
    "check_outputs",
    "check_workers",
    "failure_text",
    "names",
    "numbers",
    "usage",
    "usage_text",
]


class UsageError(ValueError):
    """The options are at fault, and not the data. The exit code is 2."""


@contextmanager
def usage() -> Iterator[None]:
    """Blame the options for a ValueError of what looks at them alone."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from error


def usage_text(error: CycloptsError) -> str:
    """What is wrong with the words of a command. Where one is missing it is named as the help page names it."""
    if not isinstance(error, MissingArgumentError) or error.argument is None or error.argument.tokens:
        return str(error)
    if error.keyword is not None or "Did you mean" in str(error):
        return str(error)
    name, kind = error.argument.name, error.argument.field_info.kind
    wanted = name.removeprefix("--").upper() if kind is not inspect.Parameter.KEYWORD_ONLY else name
    return f"{' '.join(error.command_chain or ['rnnfv'])} needs {wanted}"


def failure_text(error: Exception) -> str:
    """What went wrong. With a file, where nothing else is said: its name, and the system's words for it."""
    if not isinstance(error, OSError) or error.filename is None or not str(error).startswith("[Errno"):
        return str(error)
    reason = error.strerror or ""
    return f"{error.filename}: {reason[:1].lower()}{reason[1:]}"


def at_least_one(**options: int | None) -> None:
    """Refuse numbers below one, by the name of their option; None stands for a default."""
    for name, value in options.items():
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} is {value}: it must be at least 1")


def check_net(dropout: float, weight_decay: float, learning_rate: float) -> None:
    """Refuse impossible options of a net."""
    if not 0 <= dropout < 1:
        raise UsageError(f"--dropout is {dropout}: it must be at least 0 and below 1")
    if not 0 <= weight_decay < math.inf:
        raise UsageError(f"--weight-decay is {weight_decay}: it must be at least 0")
    if not 0 < learning_rate < math.inf:
        raise UsageError(f"--learning-rate is {learning_rate}: it must be above 0")


def check_borrowed(transfer: Path | None, through: Path | None, options: dict[str, Any]) -> None:
    """Refuse options of what another model brings with it; they are given by their names, None where they are not."""
    given = [option for option, value in options.items() if value is not None]
    if transfer is not None and given:
        raise UsageError(f"--transfer takes preparation and net as they are: leave out {given[0]}")
    if through is not None and "--deltas" in given:
        raise UsageError("--through is all the preparation there is: leave out --deltas")


def check_outputs(*files: Path | None) -> None:
    """Refuse, before the work, what could not be written after it."""
    for path in files:
        if path is not None and path.is_dir():
            raise UsageError(f"{path} is a folder: give a file")


def check_workers(workers: int | None) -> None:
    """Refuse a number of processes below 0; None stands for the default."""
    if workers is not None and workers < 0:
        raise UsageError(f"--workers is {workers}: it must be at least 0")


def names(text: str | None) -> tuple[str, ...] | None:
    """Names with commas between them; None stays None."""
    return None if text is None else tuple(text.split(","))


@overload
def numbers(text: str, option: str) -> tuple[int, ...]: ...
@overload
def numbers(text: str | None, option: str) -> tuple[int, ...] | None: ...
def numbers(text: str | None, option: str) -> tuple[int, ...] | None:
    """Whole numbers with commas between them; None stays None."""
    try:
        return None if text is None else tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} is {text!r}: give whole numbers with commas between them, such as 1,3") from None
