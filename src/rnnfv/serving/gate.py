"""What every request passes first: who may come in, how much it may bring, and what its answer says to browsers."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import HTTPException
from starlette.responses import JSONResponse

from rnnfv.serving.limits import Limits
from rnnfv.serving.metrics import Metrics

__all__ = ["API_PATHS", "Gate"]

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[MutableMapping[str, Any], _Receive, _Send], Awaitable[None]]

_SLOWEST = 65536  # bytes a second of a body that takes longer than an answer may
_UPLOADS = ("/annotate", "/actions", "/gradio_api/upload")
_WORK = ("/search", "/encode", *_UPLOADS)
_GUARDED = ("/search", "/annotate", "/actions", "/encode", "/metrics")
API_PATHS = (*_GUARDED, "/healthz", "/openapi.json")
# The page's own scripts are in its HTML. Nothing is loaded from, or sent to, any other host.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Gate:
    """ASGI middleware.

    Parameters
    ----------
    app : ASGI application
    limits : Limits
    metrics : Metrics
    token : str, optional
        That programs must bring (RFC 6750); the page has its own way to ask for it.
    """

    def __init__(self, app: _App, limits: Limits, metrics: Metrics, token: str | None) -> None:
        self._app, self._limits, self._metrics = app, limits, metrics
        self._wanted = None if token is None else f"bearer {token}".encode()
        self._inside = 0

    async def __call__(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, begun, status = scope["path"], time.perf_counter(), 500

        async def answer(message: _Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        try:
            await self._pass(scope, receive, answer)
        finally:
            label = path if path in API_PATHS else "page"
            self._metrics.requests.labels(label, str(status)).inc()
            self._metrics.seconds.labels(label).observe(time.perf_counter() - begun)

    async def _pass(self, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        path, headers = scope["path"], dict(scope["headers"])
        most = self._limits.upload_bytes if path in _UPLOADS else self._limits.json_bytes
        declared = headers.get(b"content-length", b"0")
        if self._wanted is not None and path in _GUARDED and not self._may_enter(headers):
            refusal = _refusal(401, "a bearer token is needed, and the right one", {"WWW-Authenticate": "Bearer"})
        elif path in API_PATHS and scope["method"] != (wanted := "POST" if path in _WORK else "GET"):
            refusal = _refusal(405, f"{path} takes {wanted} only", {"Allow": wanted})
        elif not declared.isdigit() or len(declared) > 18 or int(declared) > most:
            refusal = _refusal(413, _too_large(most))
        elif path in _WORK and self._inside >= self._limits.waiting:
            refusal = _refusal(429, "too many requests at a time: try again in a moment", {"Retry-After": "1"})
        else:
            await self._let_in(path in _WORK, scope, self._bounded(receive, most), send)
            return
        await refusal(scope, receive, send)

    async def _let_in(self, is_work: bool, scope: MutableMapping[str, Any], receive: _Receive, send: _Send) -> None:
        self._inside += is_work
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= is_work

    def _may_enter(self, headers: dict[bytes, bytes]) -> bool:
        kind, _, token = headers.get(b"authorization", b"").partition(b" ")
        assert self._wanted is not None
        return secrets.compare_digest(kind.lower() + b" " + token.strip(), self._wanted)

    def _bounded(self, receive: _Receive, most: int) -> _Receive:
        """Receive, but no more than that, and not for ever.

        A body may be longer than it says, or not say how long it is; a client may send it byte by byte, and holds a
        place of the queue meanwhile.
        """
        came, is_whole, begun = 0, False, asyncio.get_running_loop().time()

        async def next_part() -> _Message:
            nonlocal came, is_whole
            if is_whole:  # what comes now is that the client has left
                return await receive()
            try:
                async with asyncio.timeout_at(begun + self._limits.seconds + came / _SLOWEST):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the body came too slowly: try again", {"Connection": "close"}) from None
            came += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if came > most:
                raise HTTPException(413, _too_large(most))
            return message

        return next_part


def _refusal(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, headers)


def _too_large(most: int) -> str:
    return f"the body is larger than the {most:,} bytes that are taken"
