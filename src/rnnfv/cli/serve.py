"""What `rnnfv serve` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rnnfv.cli.terminal import notes
from rnnfv.cli.usage import UsageError, at_least_one
from rnnfv.extras import wanted

_TOKEN = "RNNFV_TOKEN"  # of the environment


def run_serve(
    models: Sequence[Path],
    indexes: Sequence[Path],
    *,
    host: str,
    port: int,
    token_file: Path | None,
    weights: Path | None,
    device: str,
    timeout: int,
    queue: int,
    upload_mb: int,
) -> None:
    """Open the models, then serve the API and the page until Ctrl-C."""
    at_least_one(timeout=timeout, queue=queue, upload_mb=upload_mb)
    if not 1 <= port <= 65535:
        raise UsageError(f"--port is {port}: it must be from 1 to 65535")
    if not models:
        raise UsageError("give the folder of a model")
    token = read_token(token_file)
    with wanted("serve", "serving needs FastAPI and Gradio"):
        import gradio  # noqa: F401
        import prometheus_client  # noqa: F401

        from rnnfv.serving.server import open_socket, run_server
    taken, console = open_socket(host, port), notes()
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    with taken:
        with console.status("opening the models"):
            from rnnfv.serving.api import make_api
            from rnnfv.serving.limits import Limits
            from rnnfv.serving.page import add_page
            from rnnfv.serving.service import Service

            limits = Limits(seconds=timeout, waiting=queue, upload_bytes=upload_mb << 20)
            service = Service(models, indexes, weights=weights, device=device, limits=limits)
            app = add_page(make_api(service, token=token), token=token)
        run_server(app, taken, lambda: console.print(f"rnnfv is at {address} (Ctrl-C ends it)"), timeout)


def read_token(file: Path | None) -> str | None:
    """The token of a file, else of the environment variable RNNFV_TOKEN, else none."""
    if file is None:
        token, where = os.environ.get(_TOKEN), _TOKEN
        if token is None:
            return None
    else:
        token, where = file.read_text(encoding="utf-8"), str(file)
    token = token.strip()
    if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{where} must hold one token of 16 or more printable ASCII characters, without blanks")
    return token
