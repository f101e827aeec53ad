"""How commands show and write what they have to say."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnfv.storage import atomic_file

__all__ = ["notes", "print_table", "write_text"]


def notes() -> Console:
    """Where a command says in plain text what it did: stderr, so that stdout has results alone."""
    return Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def print_table(title: str, header: list[str], lines: list[list[str]], caption: str = "Accuracy in percent.") -> None:
    """Print a table on the terminal."""
    table = Table(title=Text(title), caption=caption)
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left")
    for line in lines:
        table.add_row(*map(Text, line))  # names may hold brackets, which are no markup
    Console().print(table)


def write_text(path: Path | None, text: str) -> None:
    """Write a file, whole or not at all; nothing where no path was given."""
    if path is not None:
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
