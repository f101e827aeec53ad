"""Tables of figures as Markdown and as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["as_latex", "as_markdown"]

_FIGURE = re.compile(r"\**[<>≤≥≈~]? ?[-+−]?(\.?\d|(nan|inf)\b)")
_NOTHING = {"", "-", "–", "—"}
_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
_SPECIAL |= {c: f"\\{c}" for c in "&%$#_{}"}


def as_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, columns of figures to the right, the others to the left.

    Examples
    --------
    >>> from rnnfv.tables import as_markdown
    >>> print(as_markdown(["pooling", "mean"], [["rnn-fv", "45.62"]]), end="")
    | pooling | mean |
    |---|---:|
    | rnn-fv | 45.62 |
    """
    lines = [header, *rows]
    text = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    text.insert(1, "|" + "".join("---:|" if is_right else "---|" for is_right in _are_figures(len(header), rows)))
    return "\n".join(text) + "\n"


def as_latex(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A LaTeX tabular in the form of the booktabs package, aligned as `as_markdown` does.

    Examples
    --------
    >>> from rnnfv.tables import as_latex
    >>> print(as_latex(["pooling", "mean"], [["rnn-fv", "45.62 ± 0.10"]]), end="")
    \\begin{tabular}{lr}
    \\toprule
    pooling & mean \\\\
    \\midrule
    rnn-fv & 45.62 $\\pm$ 0.10 \\\\
    \\bottomrule
    \\end{tabular}
    """
    first, *others = [
        " & ".join("".join(_SPECIAL.get(c, c) for c in cell) for cell in line) for line in [header, *rows]
    ]
    body = [line + r" \\" for line in others]
    columns = "".join("r" if is_right else "l" for is_right in _are_figures(len(header), rows))
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            first + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _are_figures(columns: int, rows: Sequence[Sequence[str]]) -> list[bool]:
    """Whether each column's cells begin with a number; the first, which names the row, counts as text."""
    for i, row in enumerate(rows):
        if len(row) != columns:
            raise ValueError(f"row {i} has {len(row)} cells, but the header {columns}")
    told = [[row[i] for row in rows if row[i] not in _NOTHING] for i in range(columns)]
    return [i > 0 and bool(told[i]) and all(map(_FIGURE.match, told[i])) for i in range(columns)]
