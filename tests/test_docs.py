"""The pages and the examples: links lead somewhere, code runs, commands exist, tables are the kept ones."""

import re
import runpy
import shlex
import sys
from itertools import product
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING")), *sorted(DOCS.glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def scripts():
    """A function that gives the names of one of the scripts in docs/."""

    def load(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(DOCS)
            return runpy.run_path(str(DOCS / f"{name}.py"))

    yield load
    sys.modules.pop("draw_figures", None)


# -- links -----------------------------------------------------------------------------------------


def leads_somewhere(page, target, figures):
    """Whether a link of a page is to a file, or to what the build of the site makes."""
    path = page.parent / target
    if path.parent == DOCS / "_generated":
        return path.name in figures
    if path.parent == DOCS / "gallery":  # a page of the gallery is made of an example
        return path.name == "index.rst" or (ROOT / "examples" / path.name).with_suffix(".py").is_file()
    return path.exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page, scripts):
    figures = scripts("draw_figures")["FIGURES"]
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
        known = target.startswith("https://") or leads_somewhere(page, target, figures)
        assert known, f"{page.name} links to {target}"


def test_every_page_is_in_the_contents():
    """A page that nothing leads to is not found; Sphinx says so, too, but only when the site is built."""
    listed = re.findall(r"^[a-z_]+$", (DOCS / "index.md").read_text("utf-8"), flags=re.MULTILINE)
    assert {page.stem for page in DOCS.glob("*.md")} - {"index"} <= set(listed)


def test_every_public_name_is_in_the_reference():
    import rnnfv

    listed = (DOCS / "api.rst").read_text("utf-8")
    missing = [name for name in rnnfv.__all__ if not re.search(rf"\brnnfv\.{name}\b", listed)]
    assert not missing


# -- code ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```python" in page.read_text("utf-8")], ids=lambda page: page.name
)
def test_code_blocks_run(page, capsys):
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), flags=re.DOTALL)
    names = {}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)
    if page.name == "README.md":
        assert float(capsys.readouterr().out.split()[0]) > 97


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_examples_run_and_draw(example, monkeypatch, tmp_path):
    import tempfile

    import matplotlib
    import matplotlib.pyplot as plt

    for extra in re.findall(r"^import (av|transformers)$", example.read_text("utf-8"), flags=re.MULTILINE):
        pytest.importorskip(extra)
    before = matplotlib.get_backend()
    plt.switch_backend("agg")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    try:
        runpy.run_path(str(example), run_name="__main__")
        assert plt.get_fignums(), "an example without a picture"
    finally:
        plt.close("all")
        plt.switch_backend(before)


def test_figures_are_drawn_of_what_is_computed(scripts, tmp_path):
    drawing = scripts("draw_figures")
    drawing["draw"](tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(drawing["FIGURES"])


# -- commands --------------------------------------------------------------------------------------


def command_lines(text):
    """Every line of a page that starts a program of this project, its continuations joined."""
    text = re.sub(r"\\\n\s*", " ", text)
    blocks = re.findall(r"^(?: {4}|\t).*$", text, flags=re.MULTILINE)
    blocks += [
        line for block in re.findall(r"^```\w*\n(.*?)^```", text, flags=re.M | re.S) for line in block.split("\n")
    ]
    blocks += re.findall(r"`(rnnfv [^`]+)`", text)
    found = []
    for line in blocks:
        words = shlex.split(line, comments=True) if re.search(r"\brnnfv [a-z-]", line) else []
        if "torchrun" in words[:1]:
            words = ["rnnfv", *words[words.index("rnnfv") + 1 :]]
        if words[:1] == ["rnnfv"]:  # "fit|evaluate" names two commands
            found += product(*(word.split("|") for word in words[1:]))
    return found


COMMANDS = sorted({(page.name, *words) for page in PAGES for words in command_lines(page.read_text("utf-8"))})


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_of_the_pages_exist_with_their_options(words):
    from cyclopts.exceptions import MissingArgumentError

    from rnnfv.cli.app import app
    from rnnfv.cli.usage import usage

    words = [word for word in words[1:] if word != "..."]
    with usage():
        try:
            app.parse_args(words, exit_on_error=False, print_error=False)
        except MissingArgumentError as error:  # a command that is only mentioned, or shortened
            command = app
            for name in error.command_chain:
                command = command[name]
            known = {name for argument in command.assemble_argument_collection() for name in argument.names}
            assert {word for word in words if word.startswith("--")} <= known
            assert command is not app


def test_targets_of_make_exist():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)
    for page in PAGES:
        named = re.findall(r"^    make ([a-z]+)|`make ([a-z]+)", page.read_text("utf-8"), flags=re.MULTILINE)
        assert {a or b for a, b in named} <= set(targets), page.name


# -- tables ----------------------------------------------------------------------------------------


def test_tables_are_those_of_the_kept_results(scripts):
    updating = scripts("update_readme")
    for page in updating["FILLED"]:
        text = page.read_text("utf-8")
        assert "<!-- end -->" in text
        assert text == updating["filled"](text), f"{page.name}: run `python docs/update_readme.py`"


def test_a_table_that_differs_is_filled_again(scripts):
    updating = scripts("update_readme")
    text = (ROOT / "README.md").read_text("utf-8")
    spoiled = text.replace("| RNN-FV | 99", "| RNN-FV | 98")
    assert spoiled != text
    assert updating["filled"](spoiled) == text


def test_rows_of_the_speed_table_come_from_the_results(scripts):
    line = {"work": "200 sequences", "peer": "a loop", "ratio": 6.97}
    report = {"title": "Encoding", "full": False, "lines": [line, {**line, "peer": "torch", "ratio": None}]}
    row = "| typed | 9 times | [x.py](benchmarks/{}.py) |\n"
    old = "| | measured | script |\n|---|---|---|\n" + row.format("encode") * 2 + row.format("growth")
    new = scripts("update_readme")["speed_table"](old, {"encode": report, "growth": {"failed": "it stopped"}})
    assert new.splitlines()[2:] == [
        "| Encoding (small sizes) | 200 sequences: 7 × a loop | [encode.py](benchmarks/encode.py) |",
        row.format("growth").rstrip(),
    ]


def test_a_table_of_measurements_is_of_a_script_at_the_paper_s_sizes(scripts):
    table = scripts("update_readme")["measured_table"]
    line = {"work": "one core: decode", "ours": "9 videos", "note": ""}
    report = {"full": True, "lines": [line, {**line, "work": "Ray", "note": "slow"}]}
    assert table("scaling", "one core", "old", {"scaling": report}).endswith("| decode | 9 videos |\n")
    assert table("scaling", None, "old", {"scaling": report}).count("\n") == 4
    for found in ({}, {"scaling": {"failed": "exit code 1"}}, {"scaling": report | {"full": False}}):
        assert table("scaling", None, "old", found) == "old"
    with pytest.raises(ValueError, match="no line that begins with 'two cores: '"):
        table("scaling", "two cores", "old", {"scaling": report})


@pytest.mark.parametrize("block", ["published: birds", "demo table: x", "copied: action.md", "nothing"])
def test_a_table_that_is_not_known_is_named(scripts, block):
    with pytest.raises(ValueError, match=f"there is no table <!-- {block}"):
        scripts("update_readme")["filled"](f"<!-- {block} -->\n<!-- end -->")


# -- the built site --------------------------------------------------------------------------------


def test_a_broken_link_in_the_built_site_is_found(scripts, tmp_path):
    problems = scripts("check_site")["problems"]
    (tmp_path / "a.html").write_text('<h1 id="top">A</h1><a href="b.html#end">b</a><a href="https://example.org">e</a>')
    (tmp_path / "b.html").write_text('<p id="end">B</p><a href="a.html#top">a</a>')
    assert problems(tmp_path) == []
    (tmp_path / "b.html").write_text('<a href="c.html">c</a><script src="https://example.org/x.js"></script>')
    told = "\n".join(problems(tmp_path))
    assert told.count("\n") == 2
    assert "b.html loads https://example.org/x.js" in told
    assert "b.html links to c.html: there is no such file" in told
    assert "a.html links to b.html#end: there is no such place on that page" in told
