"""The server: one address, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["open_socket", "run_server"]

_GRACE = 5  # seconds in which answers that are under way may end
_BACKLOG = 2048


def open_socket(host: str, port: int) -> socket.socket:
    """Take the address, before anything slow is done.

    Raises
    ------
    OSError
        If it is in use, or not one of this machine; the message says what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind((host, port))
    except OSError as error:
        taken.close()
        if error.errno == errno.EADDRINUSE:
            raise OSError(f"port {port} is in use: stop what uses it, or give another with --port") from None
        raise OSError(f"{host}, port {port}, cannot be used: {error.strerror or error}") from None
    return taken


def run_server(app: Any, taken: socket.socket, on_start: Callable[[], None], seconds: float) -> None:
    """Serve until a signal comes, which is raised again when answers under way are given.

    Parameters
    ----------
    app : ASGI application
    taken : socket
        Of `open_socket`.
    on_start : callable
        Called once when requests are answered.
    seconds : float
        In which the head of a request must come; the connection is closed otherwise.
    """
    config = uvicorn.Config(
        app,
        http=_protocol(seconds),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE,
        backlog=_BACKLOG,
    )
    _Server(config, on_start).run(sockets=[taken])


def _protocol(seconds: float) -> type[HttpToolsProtocol]:
    """uvicorn's, which waits for ever for the head of a request: too many that never come use up the connections."""

    class Protocol(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _watch(self) -> None:
            """Time runs from a head's first byte, or the connection's begin, until it is whole."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop()
            elif self._timer is None:
                self._timer = self.loop.call_later(seconds, self.transport.close)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Protocol


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()
