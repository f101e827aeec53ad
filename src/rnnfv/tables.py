"""Tables of figures as Markdown and as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["as_latex", "as_markdown"]

_SPECIAL = {"\\": r"\textbackslash{}", "±": r"$\pm$"} | {c: f"\\{c}" for c in "&%$#_{}"}


def as_markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left, the others to the right.

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
    text.insert(1, "|---|" + "---:|" * (len(header) - 1))
    return "\n".join(text) + "\n"


def as_latex(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A LaTeX tabular in the form of the booktabs package.

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
    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            first + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )
