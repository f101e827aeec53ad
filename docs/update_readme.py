"""Put kept results into README.md and the pages: their tables and pictures are generated, not typed.

    python docs/update_readme.py                   # from docs/results/demo.json, benchmarks/results.json and the pages

To take over a new run of the demo first:

    rnnfv demo --seeds 5 --out demo --json demo/demo.json
    python docs/update_readme.py demo
"""

import base64
import json
import re
import shutil
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

from rnnfv.recipes.demo import TITLES
from rnnfv.recipes.published import ACTIONS, FUSION, PUBLISHED
from rnnfv.tables import as_markdown

DOCS = Path(__file__).parent
ROOT = DOCS.parent
DEMO, BENCHMARKS = DOCS / "results" / "demo.json", ROOT / "benchmarks" / "results.json"
FILLED = (ROOT / "README.md", DOCS / "reproduction.md", DOCS / "scaling.md")
_BLOCK = re.compile(r"(<!-- ([a-z ]+)(?:: ([^:\n]+?))?(?:: ([^\n]+?))? -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_FIVE = "r@1, 5, 10, median, mean"


def filled(text: str) -> str:
    """A page with every block between ``<!-- NAME -->`` and ``<!-- end -->`` as it should be."""

    def fill(block: re.Match[str]) -> str:
        before, name, first, second, old, end = block.groups()
        return f"{before}{content(name, first, second, old)}{end}"

    return _BLOCK.sub(fill, text)


def content(name: str, first: str | None, second: str | None, old: str) -> str:
    match name, first:
        case "demo table", None:
            return demo_table(json.loads(DEMO.read_text("utf-8")))
        case "speed table", None:
            return speed_table(old, json.loads(BENCHMARKS.read_text("utf-8"))["benchmarks"])
        case "measured", str(script):
            return measured_table(script, second, old, json.loads(BENCHMARKS.read_text("utf-8"))["benchmarks"])
        case "published", str(data) if data in {"actions", "fusion", *PUBLISHED}:
            return published_table(data)
        case "copied", str(page) if second is not None:
            return table_of((DOCS / page).read_text("utf-8"), page, second)
    raise ValueError(f"there is no table <!-- {': '.join(filter(None, (name, first, second)))} -->")


def demo_table(figures: dict[str, Any]) -> str:
    rows = []
    for name, row in figures["poolings"].items():
        spread = f" ± {row['std']:.2f}" if figures["protocol"]["seeds"] > 1 else ""
        rows.append([TITLES[name], f"{row['mean']:.2f}{spread}", str(row["dim"])])
    return as_markdown(["pooling", "accuracy %", "numbers"], rows)


def published_table(data: str) -> str:
    if data == "actions":
        rows = [[data, features, *_two(row)] for data, found in ACTIONS.items() for features, row in found.items()]
        return as_markdown(["data", "features", "mean pooling", "GMM-FV", "RNN-FV"], rows)
    if data == "fusion":
        return as_markdown(["features", "HMDB51", "UCF101"], [[name, *_two(row)] for name, row in FUSION.items()])
    return retrieval_table(PUBLISHED[data])


def retrieval_table(rows: dict[str, tuple[float, ...]]) -> str:
    def joined(values: tuple[float, ...]) -> str:
        return ", ".join(f"{value:g}" if i == 3 else f"{value:.1f}" for i, value in enumerate(values))

    lines = [[name, joined(row[:5]), joined(row[5:10]), f"{row[10]:.1f}"] for name, row in rows.items()]
    return as_markdown(["encoder", f"annotation {_FIVE}", f"search {_FIVE}", "sentence, mean rank"], lines)


def table_of(text: str, page: str, word: str) -> str:
    """The one table of a page whose header has the word."""
    found = [table for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE) if word in table.split("\n", 1)[0]]
    exact = [table for table in found if table.split("\n", 1)[0].rstrip(" |").endswith(f"| {word}")]
    if len(exact or found) != 1:
        raise ValueError(f"{page} has {len(exact or found)} tables whose header has {word!r}: one is needed")
    table: str = (exact or found)[0]
    return table


# -- speed -----------------------------------------------------------------------------------------


def speed_table(old: str, benchmarks: dict[str, Any]) -> str:
    """The table, where the rows of scripts with kept ratios come from these; the others stay as they are."""
    header, ruler, *rows = old.splitlines()
    lines, done = [], set()
    for row in rows:
        script = re.search(r"\(benchmarks/(\w+)\.py\)", row)
        if script is None:
            raise ValueError(f"this row of README's speed table names no script: {row}")
        name = script[1]
        summary = ratios(benchmarks.get(name, {}).get("lines", []))
        if not summary:
            lines.append(row)
        elif name not in done:
            size = "the paper's sizes" if benchmarks[name]["full"] else "small sizes"
            title = benchmarks[name]["title"]
            lines.append(f"| {title} ({size}) | {summary} | [{name}.py](benchmarks/{name}.py) |")
        done.add(name)
    return "\n".join([header, ruler, *lines]) + "\n"


def ratios(lines: list[dict[str, Any]]) -> str:
    """What the lines with a ratio say, work by work."""
    texts = []
    for work, group in groupby((line for line in lines if line["ratio"] is not None), key=lambda line: line["work"]):
        texts.append(f"{work}: " + ", ".join(f"{_ratio(line['ratio'])} × {line['peer']}" for line in group))
    return "; ".join(texts)


def _ratio(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _two(row: tuple[float | None, ...]) -> list[str]:
    return ["" if value is None else f"{value:.2f}" for value in row]


def measured_table(script: str, beginning: str | None, old: str, benchmarks: dict[str, Any]) -> str:
    """What a script measured; with a beginning, only of the work that begins with it and a colon, told without it.

    Where it was not run at the paper's sizes the table stays as it is.
    """
    report = benchmarks.get(script, {})
    if not report.get("full"):
        return old
    prefix = f"{beginning}: " if beginning else ""
    rows = [
        [line["work"].removeprefix(prefix), line["ours"], line["note"]]
        for line in report["lines"]
        if line["work"].startswith(prefix)
    ]
    if not rows:
        raise ValueError(f"the results of {script} have no line that begins with {prefix!r}")
    has_notes = any(note for _, _, note in rows)
    return (
        as_markdown(["work", "measured", ""], rows)
        if has_notes
        else as_markdown(["work", "measured"], [row[:2] for row in rows])
    )


# -- writing ---------------------------------------------------------------------------------------


def take_over(demo: Path) -> None:
    """Keep the demo's figures and its last picture."""
    DEMO.parent.mkdir(exist_ok=True)
    shutil.copyfile(demo / "demo.json", DEMO)
    pictures = re.findall(r'base64,([^"]+)"', (demo / "report.html").read_text("utf-8"))
    (DOCS / "images" / "vectors.png").write_bytes(base64.b64decode(pictures[-1]))


def main(arguments: list[str]) -> None:
    if arguments:
        take_over(Path(arguments[0]))
    pages = {page: filled(page.read_text("utf-8")) for page in FILLED}
    for page, text in pages.items():
        page.write_text(text, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
