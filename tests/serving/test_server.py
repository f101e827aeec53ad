"""The command: it says where it is, stops as it should, and tells what is wrong in one line."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from rnnfv.cli.app import main
from rnnfv.recipes.search import Searcher

ONNX = Path(__file__).parents[1] / "fixtures" / "quarters.onnx"
CHROMIUM = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).is_file()), None)
SENTENCE = "the dog chases a cat"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def served(*arguments, **environment):
    """The process of a server that is ready, and its address."""
    port = free_port()
    command = [sys.executable, "-m", "rnnfv", "serve", *map(str, arguments), "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment)
    try:
        line = process.stderr.readline()
        assert f"rnnfv is at http://127.0.0.1:{port}" in line, line + process.stderr.read()
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_it_stops_at_once_and_says_how(folders, stop, code):
    with served(folders / "encoder") as (process, address):
        with urllib.request.urlopen(f"{address}/healthz") as answer:
            assert answer.status == 200
        process.send_signal(stop)
        assert process.wait(20) == code
        assert process.stderr.read().strip() in ("rnnfv: interrupted", "rnnfv: terminated")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "give the folder of a model"),
        (["nowhere"], 1, "nowhere is no model"),
        (["nowhere", "--port", "0"], 2, "--port is 0"),
        (["nowhere", "--timeout", "0"], 2, "--timeout is 0"),
        (["nowhere", "--host", "192.0.2.1"], 1, "192.0.2.1, port 8000, cannot be used"),
    ],
)
def test_wrong_use_is_one_line(arguments, code, message, capsys):
    if "--port" not in arguments and "--host" not in arguments:
        arguments = [*arguments, "--port", str(free_port())]
    with pytest.raises(SystemExit) as stopped:
        main(["serve", *arguments])
    error = capsys.readouterr().err
    assert (stopped.value.code, message in error) == (code, True), error
    assert "Traceback" not in error


def test_a_port_in_use_is_one_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SystemExit) as stopped:
            main(["serve", "nowhere", "--port", str(taken.getsockname()[1])])
    assert stopped.value.code == 1
    assert "is in use: stop what uses it, or give another with --port" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["short", "with a blank inside it", "umlaute-äöü-sind-es"])
def test_a_weak_token_is_refused(token, tmp_path, capsys):
    (tmp_path / "token").write_text(token, encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["serve", "nowhere", "--token-file", str(tmp_path / "token")])
    assert stopped.value.code == 2
    assert "16 or more printable" in capsys.readouterr().err


@pytest.fixture(scope="module")
def shown(folders):
    """A browser, and the address of a service of all models."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium to look at the page with")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    indexes = ["--index", folders / "images", "--index", folders / "sentences"]
    models = [folders / "retrieval", folders / "actions"]
    with (
        served(*models, *indexes, "--weights", ONNX, "--device", "cpu") as (_, address),
        sync_api.sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser, address
        browser.close()


@pytest.fixture
def browsed(shown):
    """The page, as wide as a phone; it asks no other host, and has no fault."""
    browser, address = shown
    page = browser.new_page(viewport={"width": 390, "height": 844})
    asked, faults = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(address)
    page.get_by_label("What is to be seen?").wait_for()
    yield page
    assert all(url.startswith((address, "data:", "blob:")) for url in asked)
    assert faults == []
    page.close()


def fits_a_phone(page):
    return page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_person_finds_pictures_and_sentences_on_the_page(browsed, folders):
    box = browsed.get_by_label("What is to be seen?")
    box.press_sequentially(SENTENCE)
    browsed.get_by_text("12 pictures, best first. Scores").wait_for()
    wall = browsed.locator("img[alt*='score']")
    wall.first.wait_for()
    assert wall.count() == 12
    assert fits_a_phone(browsed)
    box.fill("zzz")
    browsed.get_by_text("no word of the sentence is known").wait_for()
    browsed.get_by_role("tab", name="Describe").click()
    browsed.locator("input[type=file]").first.set_input_files(folders / "pictures" / "3.png")
    browsed.get_by_text("The sentences that fit best. Scores").wait_for()


def test_a_picture_that_is_lost_is_named_and_the_others_keep_their_places(browsed, folders):
    found, _ = Searcher([folders / "retrieval"]).find_images(SENTENCE, folders / "images", 12)
    name = found[2][0]
    content = (folders / "pictures" / name).read_bytes()
    (folders / "pictures" / name).unlink()
    try:
        browsed.get_by_label("What is to be seen?").fill(SENTENCE)
        browsed.get_by_text("1 of them cannot be shown").wait_for()
        browsed.get_by_text(f"3. {name} ({found[2][1]:.3f})").wait_for()
        browsed.locator("img[alt*='score']").first.wait_for()
    finally:
        (folders / "pictures" / name).write_bytes(content)
    places = [alt.split(".")[0] for alt in alternative_texts(browsed)]
    assert places == [str(place) for place in range(1, 13) if place != 3]


def alternative_texts(page):
    return [image.get_attribute("alt") for image in page.locator("img[alt*='score']").all()]


def test_every_tab_passes_the_audit_and_fits_fingers(browsed, folders, write_video, tmp_path):
    """axe, by WCAG 2.2 AA; Gradio's own faults beyond it are not ours to mend."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing").Axe()
    standard = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}

    def audit():
        found = axe.run(browsed, options=standard).response["violations"]
        assert found == []
        buttons = browsed.locator("button:not(.visually-hidden *):visible").all()
        sizes = [button.bounding_box() for button in buttons]
        assert len(sizes) > 2
        assert min(size["height"] for size in sizes) >= 32
        assert min(size["width"] for size in sizes) >= 32

    audit()
    browsed.get_by_label("What is to be seen?").fill(SENTENCE)
    browsed.locator("img[alt*='score']").first.wait_for()
    audit()
    for tab, file, told in (
        ("Describe", folders / "pictures" / "3.png", "The sentences that fit best."),
        ("Watch", write_video(tmp_path / "clip.mp4", 12), "Above 0 speaks for a class"),
    ):
        browsed.get_by_role("tab", name=tab).click()
        browsed.get_by_text("appear" if tab == "Describe" else "appears here").last.wait_for()
        audit()
        browsed.locator("[role=tabpanel]:visible input[type=file]").first.set_input_files(file)
        browsed.get_by_text(told).wait_for()
        audit()


def test_a_person_sees_what_happens_in_a_video_and_when(browsed, write_video, tmp_path):
    browsed.get_by_role("tab", name="Watch").focus()
    browsed.keyboard.press("Enter")
    browsed.get_by_text("What happens in it, and when, appears here.").wait_for()
    (tmp_path / "no.mp4").write_bytes(b"no video")
    choose = browsed.locator("[role=tabpanel]:visible input[type=file]")
    choose.set_input_files(tmp_path / "no.mp4")
    browsed.get_by_text("cannot be opened as a video").wait_for()
    browsed.get_by_label("Clear").click()
    choose.set_input_files(write_video(tmp_path / "clip.mp4", 12))
    browsed.get_by_role("heading", name=re.compile("sit|run|jump")).wait_for()
    moments = browsed.locator("img[alt^='0:00.']")
    moments.first.wait_for()
    assert moments.count() == 8
    browsed.get_by_label("Vega visualization").wait_for()
    browsed.get_by_label("The same as numbers").wait_for()
    assert fits_a_phone(browsed)


def test_who_sends_slowly_holds_no_place(folders):
    with served(folders / "encoder", "--timeout", "1", "--queue", "2") as (_, address):
        port = int(address.rpartition(":")[2])
        lines = ["POST /encode HTTP/1.1", "Host: x", "Content-Type: application/json", "Content-Length: 99", "", "{"]
        begun = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(3)]
        begun[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ")  # a head that never ends
        for connection in begun[1:]:
            connection.sendall("\r\n".join(lines).encode())  # a body that never ends
        assert begun[0].recv(100) == b""  # closed
        for connection in begun[1:]:
            with connection.makefile("rb") as answer:
                assert answer.readline().split()[1] == b"408"
        request = urllib.request.Request(f"{address}/encode", b"{}", {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError, match="422"):  # and no 429: the places are free again
            urllib.request.urlopen(request)
        for connection in begun:
            connection.close()


def test_the_page_asks_for_the_token(folders):
    with served(folders / "encoder", RNNFV_TOKEN="0123456789abcdef") as (_, address):
        with urllib.request.urlopen(address) as answer:
            assert "0123456789abcdef" not in answer.read().decode()
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{address}/config")
        with pytest.raises(urllib.error.HTTPError, match=r"40[134]"):
            urllib.request.urlopen(f"{address}/gradio_api/file=/etc/passwd")
