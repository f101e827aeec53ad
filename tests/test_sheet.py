"""The contact sheet: thumbnails inside the page, names escaped, pictures that are not there."""

import base64
import io
import re

import numpy as np
import pytest

from rnnfv.sheet import write_sheet

Image = pytest.importorskip("PIL.Image")


def test_the_page_holds_its_pictures(tmp_path):
    pixels = np.full((600, 900, 3), (200, 30, 30), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "red.png")
    found = [("red.png", -0.0126, tmp_path / "red.png"), ("lost.jpg", -0.25, None)]
    write_sheet(tmp_path / "page.html", "a red wall", found, "0 is <usual>")
    page = (tmp_path / "page.html").read_text()
    (data,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    with Image.open(io.BytesIO(base64.b64decode(data))) as small:
        assert max(small.size) == 320
        assert np.abs(np.asarray(small)[5, 5].astype(int) - (200, 30, 30)).max() < 10
    assert "-0.013" in page
    assert "0 is &lt;usual&gt;" in page
    assert "no picture here" in page


def test_names_cannot_break_the_page(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    name = '"><script>alert(1)</script>.jpg'
    write_sheet(tmp_path / "page.html", "<b>bold</b>", [(name, 0.1, tmp_path / "bad.jpg")], "")
    page = (tmp_path / "page.html").read_text()
    assert "<script>" not in page
    assert "<b>" not in page
    assert "cannot be read" in page
