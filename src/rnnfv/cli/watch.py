"""What `rnnfv action watch` shows."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rnnfv.cli.terminal import notes
from rnnfv.recipes.streaming import ActionStream, follow
from rnnfv.video.live import LiveVideo

if TYPE_CHECKING:
    from rnnfv.recipes.recognizer import ActionRecognizer
    from rnnfv.video.decode import Sampling

_SHOWN = 5  # classes
_REFRESH = 0.25  # seconds between two looks at a terminal
_EVERY = 1.0  # seconds of video between two lines


def run_watch(
    model: Path,
    source: str,
    *,
    weights: Path | None = None,
    mean: Path | None = None,
    as_json: bool = False,
    device: str = "auto",
) -> None:
    """Watch a video with a saved recogniser; the parameters are those of `rnnfv action predict`, and of `watch`."""
    from rnnfv.recipes.recognizer import load_recognizer

    recognizer = load_recognizer(model, weights=weights, mean=mean)
    watch(recognizer, source, as_json=as_json, device=device)


def watch(recognizer: ActionRecognizer, source: str, *, as_json: bool = False, device: str = "auto") -> None:
    """Show the classes of a video while it runs: a table on a terminal, else a line for each second; at the end a line.

    Ctrl-C ends the video, and the result so far is the result.

    Parameters
    ----------
    recognizer : ActionRecognizer
    source : str
        As for `rnnfv.video.live.LiveVideo`.
    as_json : bool
        Print lines of JSON: seconds since the first frame, steps, all scores, and whether it is the last line.
    device : str
        Where the backbone works.

    Raises
    ------
    ValueError
        If the video cannot be read, or the recogniser cannot work step by step.
    KeyboardInterrupt
        If it was interrupted before there was any result.
    """
    stream, backbone = ActionStream(recognizer.pipeline), recognizer.backbone(device)
    video = LiveVideo(source, cast("Sampling", recognizer.sampling))  # there is one where there is a backbone
    seconds = 0.0
    with ExitStack() as stack:
        show = _view(stream, as_json, stack)
        frames = stack.enter_context(closing(video.frames()))
        try:
            for seconds in follow(frames, backbone, stream):
                if stream.n_steps:
                    show(seconds)
        except KeyboardInterrupt:
            if stream.n_steps == 0:
                raise
    print(_as_json(stream, seconds, True) if as_json else f"end: {_line(stream, seconds)}", flush=True)
    if video.is_short:
        console = notes()
        console.print(f"{source}: a part is missing or damaged; the result is that of the rest")


def _view(stream: ActionStream, as_json: bool, stack: ExitStack) -> Callable[[float], None]:
    """What shows the scores, when it is time to; it is told the time of every frame."""
    console, last = Console(), -1.0

    def is_due(now: float, every: float) -> bool:
        nonlocal last
        before, last = last, now // every
        return last != before

    def show_line(seconds: float) -> None:
        if is_due(seconds, _EVERY):
            print(_as_json(stream, seconds, False) if as_json else _line(stream, seconds), flush=True)

    if as_json or not console.is_terminal:
        return show_line
    live = stack.enter_context(Live(console=console, auto_refresh=False))

    def show_table(seconds: float) -> None:
        if is_due(time.monotonic(), _REFRESH):
            live.update(_table(stream, seconds), refresh=True)

    return show_table


def _best(stream: ActionStream) -> list[tuple[str, float]]:
    scores = stream.scores()
    return [(str(stream.classes[i]), float(scores[i])) for i in np.argsort(-scores, kind="stable")[:_SHOWN]]


def _line(stream: ActionStream, seconds: float) -> str:
    best = "  ".join(f"{label} {score:+.3f}" for label, score in _best(stream))
    return f"{seconds:.1f} s, {stream.n_steps} steps: {best}"


def _table(stream: ActionStream, seconds: float) -> Table:
    table = Table(title=f"{seconds:.1f} s, {stream.n_steps} steps")
    table.add_column("class", overflow="fold")
    table.add_column("score", justify="right")
    for label, score in _best(stream):
        table.add_row(Text(label), f"{score:+.3f}")
    return table


def _as_json(stream: ActionStream, seconds: float, is_last: bool) -> str:
    scores = dict(zip(map(str, stream.classes), stream.scores().tolist(), strict=True))
    return json.dumps({"time": round(seconds, 3), "steps": stream.n_steps, "scores": scores, "last": is_last})
