"""Every path by its own oracle, the model itself; and what is too much, or hostile, is refused with a word."""

import asyncio
import io
import struct
import threading
import zlib
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from rnnfv.recipes.prediction import predict_videos
from rnnfv.serving.api import make_api
from rnnfv.serving.limits import Limits
from rnnfv.serving.service import Service
from rnnfv.video.pictures import read_picture

ONNX = Path(__file__).parents[1] / "fixtures" / "quarters.onnx"
SENTENCE = "the dog chases a cat"


@pytest.fixture(scope="module")
def client(opened):
    with TestClient(make_api(opened)) as client:
        yield client


def png(width=16, height=16, colour=(200, 30, 60)):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def bomb():
    """A picture of 60,000 x 60,000 pixels in a few bytes."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


def test_search_finds_what_the_model_says(client, opened, folders):
    found = client.post("/search", json={"sentence": SENTENCE, "top": 4}).json()["results"]
    expected, _ = opened.searcher.find_images(SENTENCE, folders / "images", 4)
    assert [each["image"] for each in found] == [name for name, _ in expected]
    np.testing.assert_allclose([each["score"] for each in found], [score for _, score in expected], atol=1e-5)


def test_annotate_finds_what_the_model_says(client, opened, folders, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    found = client.post("/annotate", files={"picture": png()}, data={"top": 3}).json()["results"]
    eye = opened.searcher.picture_backbone(ONNX)
    vector = eye(eye.prepare(read_picture(tmp_path / "a.png"))[None])[0]
    expected = opened.searcher.find_sentences(vector, folders / "sentences", 3)
    assert [each["sentence"] for each in found] == [text for text, _ in expected]


def test_actions_are_those_of_the_recogniser_and_the_curve_sums_to_the_score(client, opened, write_video, tmp_path):
    video = write_video(tmp_path / "clip.mp4", 12)
    answer = client.post("/actions", files={"video": video.read_bytes()}).json()
    ((_, expected),) = predict_videos(opened.recognizer, [video], workers=0)
    assert [each["name"] for each in answer["classes"]] == expected.classes
    assert [each["score"] for each in answer["classes"]] == pytest.approx(expected.scores, abs=1e-4)
    why = answer["explanation"]
    assert len(why["steps"]) == 12
    total = sum(step["share"] for step in why["steps"]) + why["constant"]
    assert total == pytest.approx(answer["classes"][0]["score"], abs=1e-4)
    assert set(why["strongest"]) <= set(range(12))


def test_a_recogniser_that_cannot_explain_says_so(folders, write_video, tmp_path):
    service = Service([folders / "plain"], device="cpu")
    video = write_video(tmp_path / "clip.mp4", 6)
    with TestClient(make_api(service)) as client:
        answer = client.post("/actions", files={"video": video.read_bytes()}).json()
    assert answer["explanation"] is None
    assert "rnn-fv" in answer["note"]


def test_encode_gives_the_models_own_vectors(client, opened):
    sequence = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    vector = client.post("/encode", json={"sequence": sequence.tolist()}).json()
    np.testing.assert_allclose(vector["vector"], sequence.mean(axis=0), atol=1e-6)
    text = client.post("/encode", json={"text": SENTENCE}).json()
    np.testing.assert_allclose(text["vector"], opened.searcher.model.encode_sentences([SENTENCE])[0], atol=1e-6)
    assert text["dim"] == len(text["vector"])


def test_many_at_once_get_what_each_gets_alone(opened):
    """Through one pass of the model, or several: the batches are seen in the metrics."""
    app = make_api(opened)
    sentences = [
        f"the {who} sees a {whom}" for who in ("dog", "cat", "man", "bird") for whom in ("horse", "ball", "cat")
    ]

    async def main():
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://x") as http,
        ):
            bodies = [{"sentence": sentence, "top": 3 + i % 3} for i, sentence in enumerate(sentences)]
            together = await asyncio.gather(*(http.post("/search", json=body) for body in bodies))
            alone = [await http.post("/search", json=body) for body in bodies]
            return together, alone, (await http.get("/metrics")).text

    together, alone, metrics = asyncio.run(main())
    for one, other in zip(together, alone, strict=True):
        assert [each["image"] for each in one.json()["results"]] == [each["image"] for each in other.json()["results"]]
        scores = ([each["score"] for each in answer.json()["results"]] for answer in (one, other))
        np.testing.assert_allclose(*scores, atol=1e-5)
    count = next(line for line in metrics.splitlines() if line.startswith('rnnfv_batch_size_count{model="texts"}'))
    assert float(count.split()[-1]) < 2 * len(sentences)  # some went together
    assert 'rnnfv_requests_total{path="/search",status="200"} 24.0' in metrics


def test_what_the_models_cannot_do_is_told(folders):
    with TestClient(make_api(Service([folders / "encoder"]))) as client:
        answer = client.post("/search", json={"sentence": SENTENCE})
        assert (answer.status_code, client.get("/healthz").json()["can"]) == (409, ["encode sequence"])
        assert "lacks a model of images and sentences" in answer.json()["detail"]
        assert client.post("/annotate", files={"picture": png()}).status_code == 409
        assert client.post("/actions", files={"video": b"x"}).status_code == 409
        assert client.post("/encode", json={"text": "dog"}).status_code == 409
        assert client.get("/nothing").status_code == 404


@pytest.mark.parametrize(
    ("folder", "indexes", "message"),
    [
        (["pictures"], [], "is no model"),
        (["encoder", "encoder"], [], "is a second encoder"),
        (["encoder"], ["images"], "give the folder of that model, too"),
        (["retrieval"], ["images", "images"], "is a second index of images"),
    ],
)
def test_folders_that_do_not_go_together_are_refused(folders, folder, indexes, message):
    with pytest.raises(ValueError, match=message):
        Service([folders / name for name in folder], [folders / name for name in indexes])


# -- too much --------------------------------------------------------------------------------------


class Slow:
    """Holds the model's work until it is let go."""

    def __init__(self, service, monkeypatch):
        self.go, own = threading.Event(), service.read_texts

        def held(questions):
            assert self.go.wait(20)
            return own(questions)

        monkeypatch.setattr(service, "read_texts", held)


def ask_all(app, count):
    """So many searches at once: their statuses, and the headers of the last."""

    async def main():
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://x") as http,
        ):
            body = {"sentence": SENTENCE}
            return await asyncio.gather(*(http.post("/search", json=body) for _ in range(count)))

    return asyncio.run(main())


def test_one_too_many_is_429_with_a_time_to_come_back(opened, monkeypatch):
    slow = Slow(opened, monkeypatch)
    threading.Timer(0.5, slow.go.set).start()
    answers = ask_all(make_api(opened, Limits(waiting=3)), 5)
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 429, 429]
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.headers["retry-after"] == "1"


def test_no_answer_in_time_is_504(opened, monkeypatch):
    slow = Slow(opened, monkeypatch)
    answers = ask_all(make_api(opened, Limits(seconds=0.2)), 2)
    slow.go.set()
    assert [answer.status_code for answer in answers] == [504, 504]
    assert "within 0.2 seconds" in answers[0].json()["detail"]


def test_large_bodies_are_413_whether_they_say_so_or_not(opened):
    with TestClient(make_api(opened, Limits(upload_bytes=2000, json_bytes=2000))) as client:
        assert client.post("/annotate", files={"picture": b"x" * 3000}).status_code == 413
        pieces = (b'{"sentence": "' + b"x" * 1000 for _ in range(5))
        assert client.post("/search", content=pieces).status_code == 413
        liar = {"content-length": "99999999999999999999"}
        assert client.post("/search", content=b"{}", headers=liar).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [("GET", "/search", "POST"), ("PUT", "/actions", "POST"), ("POST", "/healthz", "GET")],
)
def test_a_wrong_method_is_405_and_says_the_right_one(client, method, path, allowed):
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_the_token_is_asked_for(opened):
    with TestClient(make_api(opened, token="0123456789abcdef")) as client:
        body = {"sentence": SENTENCE}
        assert client.get("/healthz").status_code == 200
        refused = client.post("/search", json=body)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        for wrong in ("Bearer 0123456789abcdeX", "Basic 0123456789abcdef", "0123456789abcdef", "Bearer"):
            assert client.post("/search", json=body, headers={"authorization": wrong}).status_code == 401
        assert client.get("/metrics").status_code == 401
        right = {"authorization": "bearer 0123456789abcdef"}
        assert client.post("/search", json=body, headers=right).status_code == 200


# -- hostile ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (bomb(), 413),
        (b"", 422),
        (b"GIF89a", 422),
        (png()[:40], 422),
        (b"%PDF-1.7 no picture", 422),
        (png(3000, 2), 422),
    ],
)
def test_what_is_no_picture_is_refused(client, content, status):
    answer = client.post("/annotate", files={"picture": ("a.png", content, "image/png")})
    assert answer.status_code == status
    assert "/tmp" not in answer.text
    assert "\n" not in answer.json()["detail"]


def test_a_picture_of_more_pixels_than_are_taken_is_413(folders):
    limits = Limits(pixels=100)
    service = Service([folders / "retrieval"], [folders / "sentences"], weights=ONNX, device="cpu", limits=limits)
    with TestClient(make_api(service)) as client:
        assert client.post("/annotate", files={"picture": png(20, 20)}).status_code == 413


@pytest.mark.parametrize(
    "content",
    [b"", b"\0" * 100, png()[:30], png(3000, 2), b"#EXTM3U\nfile:///etc/passwd\n"],
    ids=["empty", "zeros", "cut", "line", "playlist"],
)
def test_what_is_no_video_is_refused(client, content):
    answer = client.post("/actions", files={"video": ("a.mp4", content)})
    assert answer.status_code == 422
    assert "the upload" in answer.json()["detail"]


def test_a_video_of_more_frames_than_are_taken_is_413(folders, write_video, tmp_path):
    service = Service([folders / "actions"], device="cpu", limits=Limits(frames=4))
    video = write_video(tmp_path / "long.mp4", 40)
    with TestClient(make_api(service)) as client:
        answer = client.post("/actions", files={"video": video.read_bytes()})
    assert (answer.status_code, "4 frames" in answer.json()["detail"]) == (413, True)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\..\\x", "a\0b.png", "http://127.0.0.1/x.png"])
def test_the_name_of_an_upload_means_nothing(client, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = client.post("/annotate", files={"picture": (name, png(), "image/png")})
    assert answer.status_code == 200
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"sentence": ""}',
        b'{"sentence": "dog", "top": 0}',
        b'{"sentence": "dog", "top": 101}',
        b'{"sentence": "dog", "path": "/etc/passwd"}',
        b'{"sentence": "\\ud800"}',
        b'{"sentence": "zzz"}',
    ],
)
def test_what_is_no_search_is_422_in_one_line(client, body):
    answer = client.post("/search", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert "\n" not in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"text": "dog", "sequence": [[1]]}',
        b'{"sequence": []}',
        b'{"sequence": [[]]}',
        b'{"sequence": [[1, 2], [1]]}',
        b'{"sequence": [[1, 2]]}',
        b'{"sequence": [[NaN]]}',
        b'{"sequence": [[1e300]]}',
    ],
)
def test_what_is_no_sequence_is_422(client, body):
    answer = client.post("/encode", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422


def test_answers_tell_browsers_to_load_nothing_from_elsewhere(client):
    headers = client.get("/healthz").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_the_document_has_examples_and_every_path(client):
    document = client.get("/openapi.json").json()
    assert {"/search", "/annotate", "/actions", "/encode", "/healthz", "/metrics"} == set(document["paths"])
    schemas = document["components"]["schemas"]
    assert schemas["SearchRequest"]["examples"]
    assert "429" in document["paths"]["/search"]["post"]["responses"]
