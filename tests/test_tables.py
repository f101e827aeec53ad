"""Tables: which columns are figures, and what Markdown and LaTeX need escaped."""

import pytest

from rnnfv.tables import as_latex, as_markdown


def ruler(*cells):
    return as_markdown(["name", "value"], [["a", cell] for cell in cells]).splitlines()[1]


@pytest.mark.parametrize(
    "cell", ["1", "-1.5", "+2 %", "\u22123", ".5", "-.5", "**45.6**", "< 0.01", "<1", "\u2248 3", "nan", "-inf", "3 ms"]
)
def test_figures_stand_at_the_right(cell):
    assert ruler("1", cell, "") == ruler(cell, "\u2014", "-") == "|---|---:|"
    assert as_latex(["name", "value"], [["a", cell]]).startswith(r"\begin{tabular}{lr}")


@pytest.mark.parametrize("cell", ["rnn-fv", "nothing", "info", "nano", ".", "<a>", "-x", "+"])
def test_texts_stand_at_the_left(cell):
    assert ruler("1", cell) == ruler(cell) == "|---|---|"


def test_nothing_and_names_of_rows_are_texts():
    assert ruler("", "-") == ruler() == "|---|---|"
    assert as_markdown(["1"], [["2"]]).splitlines()[1] == "|---|"


def test_what_the_formats_need_is_escaped():
    assert as_markdown(["a|b", "c"], [["d|e", "1"]]).splitlines()[2] == r"| d\|e | 1 |"
    assert r"50 \% \& a\_b & 1 $\pm$ 2 \\" in as_latex(["a", "b"], [["50 % & a_b", "1 ± 2"]])
    assert r"\textasciitilde{}me\textbackslash{}a & 1 \\" in as_latex(["a", "b"], [[r"~me\a", "1"]])


def test_a_row_with_too_few_cells_is_refused():
    for table in (as_markdown, as_latex):
        with pytest.raises(ValueError, match="row 1 has 1 cells, but the header 2"):
            table(["a", "b"], [["c", "1"], ["d"]])
