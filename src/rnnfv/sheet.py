"""The contact sheet: pictures that a search found, in one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template

from rnnfv.extras import wanted
from rnnfv.storage import atomic_file

__all__ = ["Found", "write_sheet"]

Found = tuple[str, float, Path | None]  # a picture's name, its score, and its file where there is one

_SIZE = 320  # pixels of a thumbnail's longer side
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #1d2733; background: #fff; max-width: 75rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.5rem; }
ol { list-style: none; padding: 0; display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr));
     gap: 1.2rem; }
figure { margin: 0; } figcaption { font-size: .9rem; overflow-wrap: anywhere; }
img, .none { width: 100%; aspect-ratio: 1; object-fit: contain; background: #f0f2f5; display: block; }
.none { display: grid; place-items: center; color: #5a6673; }
.score { color: #5a6673; font-variant-numeric: tabular-nums; }
</style>
</head>
<body>
<h1>$title</h1>
<p class="score">$note</p>
<ol>
$items
</ol>
</body>
</html>
""")
_ITEM = Template("""<li><figure>$picture
<figcaption>$place. $name <span class="score">$score</span></figcaption></figure></li>""")


def write_sheet(path: str | Path, title: str, found: Iterable[Found], note: str) -> None:
    """Write the page; the file appears whole or not at all.

    Parameters
    ----------
    path : str or Path
    title : str
        The sentence that was searched for.
    found : iterable of (str, float, Path or None)
        Best first. A picture without a file, or one that cannot be read, is shown by its name.
    note : str
        What the scores mean.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    """
    with wanted("video", "a sheet of pictures needs Pillow"):
        from PIL import Image  # noqa: F401
    items = [
        _ITEM.substitute(picture=_picture(file, name), place=place, name=escape(name), score=f"{score:.3f}")
        for place, (name, score, file) in enumerate(found, start=1)
    ]
    page = _PAGE.substitute(title=escape(title), note=escape(note), items="\n".join(items))
    with atomic_file(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _picture(file: Path | None, name: str) -> str:
    """The thumbnail as a part of the page, so that the page can be sent to somebody."""
    from PIL import Image, ImageOps

    if file is None or not file.is_file():
        return '<div class="none">no picture here</div>'
    try:
        with Image.open(file) as image:
            small = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError):
        return '<div class="none">cannot be read</div>'
    small.thumbnail((_SIZE, _SIZE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(name, quote=True)}">'
