"""What the site is built from beside its pages: drawn figures, and pages that are kept elsewhere."""

import re
from pathlib import Path

from draw_figures import draw

ROOT = Path(__file__).parents[1]
# Pages kept elsewhere: their file, and the folder that their links are relative to.
COPIED = {"changelog.md": "CHANGELOG.md", "results.md": "benchmarks/RESULTS.md"}
# What pages link to outside docs/, and the page of the site that shows it.
SHOWN = {"../CHANGELOG.md": "changelog.md", "../README.md": "index.md", "../benchmarks/RESULTS.md": "benchmarks.md"}


def write_parts(folder: Path) -> None:
    """Write all of them; a file that has not changed is left alone, so that a second build is quick."""
    folder.mkdir(exist_ok=True)
    draw(folder)
    for name, source in COPIED.items():
        write_if_new(folder / name, turned((ROOT / source).read_text("utf-8"), Path(source).parent))


def turned(text: str, home: Path) -> str:
    """A page's text, its links made relative to docs/."""

    def turn(link: re.Match[str]) -> str:
        target = (home / link[1]).as_posix()
        return f"]({target.removeprefix('docs/') if target.startswith('docs/') else f'../{target}'})"

    return re.sub(r"\]\((?!https?:)([^)]+)\)", turn, text)


def within_site(text: str) -> str:
    """A page's text, its links to what another page shows turned to that page."""
    return re.sub(r"\]\(([^)#]+)", lambda link: f"]({SHOWN.get(link[1], link[1])}", text)


def write_if_new(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")
