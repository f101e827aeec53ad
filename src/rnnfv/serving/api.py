"""The API: paths, what they take and give, and which answer stands for which fault."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import Depends, FastAPI, File, Form, Request, Response, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer

from rnnfv import __version__
from rnnfv.recipes.prediction import Prediction
from rnnfv.serving.desk import Desk
from rnnfv.serving.gate import Gate
from rnnfv.serving.limits import BusyError, Limits, NotServedError, TooLargeError
from rnnfv.serving.metrics import Metrics
from rnnfv.serving.schemas import (
    Actions,
    Annotation,
    EncodeRequest,
    Explanation,
    FoundImage,
    FoundSentence,
    Health,
    NamedAction,
    Problem,
    SearchRequest,
    SearchResult,
    Step,
    Top,
    Vector,
)
from rnnfv.serving.service import Service

__all__ = ["make_api"]

_STATUS: dict[type[Exception], int] = {
    BusyError: 429,
    NotServedError: 409,
    TooLargeError: 413,
    TimeoutError: 504,
    ValueError: 422,
}
_MEANINGS = {
    400: "The body is not what it says it is.",
    401: "The bearer token is missing or wrong.",
    408: "The body came too slowly.",
    409: "The service was not given a model, or an index, for this.",
    413: "The upload, picture or video is too large.",
    422: "What was sent cannot be used.",
    429: "Too many requests are waiting; `Retry-After` says for how many seconds to wait.",
    504: "There was no answer in time.",
}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text} for status, text in _MEANINGS.items()
}


def make_api(service: Service, limits: Limits | None = None, token: str | None = None) -> FastAPI:
    """Make the API, an ASGI application, without the page.

    Parameters
    ----------
    service : Service
    limits : Limits, optional
        Default: the service's.
    token : str, optional
        That every request but those of ``/healthz`` and ``/openapi.json`` must bring.

    Returns
    -------
    FastAPI
        Its ``state.desk`` is what it asks.
    """
    limits, metrics = limits or service.limits, Metrics()
    desk = Desk(service, limits, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with desk:
            yield

    # Pages that show the document load their scripts from other hosts: there are none.
    app = FastAPI(
        title="rnnfv",
        version=__version__,
        summary="Images and sentences that find each other, actions in videos, vectors of sequences.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.desk = desk
    app.add_middleware(Gate, limits=limits, metrics=metrics, token=token)
    _add_work(app, desk, [Depends(HTTPBearer(auto_error=False))] if token else [])
    _add_health(app, desk)
    for kind in _STATUS:
        app.add_exception_handler(kind, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_form)
    return app


def _add_work(app: FastAPI, desk: Desk, guard: list[Any]) -> None:
    more: dict[str, Any] = {"responses": _PROBLEMS, "dependencies": guard}

    @app.post("/search", summary="Images that a sentence describes", **more)
    async def search(asked: SearchRequest) -> SearchResult:
        found = await desk.search(asked.sentence, asked.top)
        return SearchResult(results=[FoundImage(image=name, score=score) for name, score in found])

    @app.post("/annotate", summary="Sentences that describe a picture", **more)
    async def annotate(picture: Annotated[UploadFile, File()], top: Annotated[Top, Form()] = 10) -> Annotation:
        async with _stored(picture) as path:
            found = await desk.annotate(path, top)
        return Annotation(results=[FoundSentence(sentence=text, score=score) for text, score in found])

    @app.post("/actions", summary="Actions in a video, and when", **more)
    async def actions(video: Annotated[UploadFile, File()]) -> Actions:
        async with _stored(video) as path:
            return _as_actions(await desk.actions(path), desk.service.unexplained)

    @app.post("/encode", summary="The vector of a text or a sequence", **more)
    async def encode(asked: EncodeRequest) -> Vector:
        if asked.text is not None:
            vector = await desk.encode_text(asked.text)
        else:
            vector = await desk.encode_sequence(np.array(asked.sequence, np.float32))
        return Vector(dim=len(vector), vector=vector.tolist())


def _add_health(app: FastAPI, desk: Desk) -> None:
    @app.get("/healthz", summary="Whether the service runs, and what it can do")
    async def healthz() -> Health:
        can = [what for what, lack in desk.service.lacks.items() if not lack]
        return Health(status="ok", version=__version__, can=can)

    @app.get("/metrics", summary="Counters, for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(desk.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")


@asynccontextmanager
async def _stored(upload: UploadFile) -> AsyncIterator[Path]:
    """The upload as a file of ours, under a name of ours, as long as it is needed."""

    def store() -> None:
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file)

    with tempfile.TemporaryDirectory(prefix="rnnfv-upload-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "upload"
        await run_in_threadpool(store)
        yield path


def _as_actions(seen: Prediction, unexplained: str) -> Actions:
    classes = [NamedAction(name=str(name), score=score) for name, score in zip(seen.classes, seen.scores, strict=True)]
    why, moments = seen.explanation, seen.moments
    if why is None or moments is None:
        return Actions(classes=classes, explanation=None, note=seen.reason or unexplained)
    seconds = [None] * len(why.shares) if moments.seconds is None else moments.seconds.tolist()
    steps = [
        Step(frame=frame, seconds=second, share=share)
        for frame, second, share in zip(moments.frames.tolist(), seconds, why.shares.tolist(), strict=True)
    ]
    explanation = Explanation(constant=why.constant, steps=steps, strongest=why.strongest().tolist())
    return Actions(classes=classes, explanation=explanation, note=seen.reason)


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    headers = {"Retry-After": "1"} if status == 429 else None
    return JSONResponse({"detail": " ".join(str(error).split())}, status, headers)


async def _refuse_form(request: Request, error: Exception) -> JSONResponse:
    """One line, without what was sent: that may be long, or not even text."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]).encode("utf-8", "replace").decode()
    return JSONResponse({"detail": f"{where}: {first['msg']}"}, 422)
