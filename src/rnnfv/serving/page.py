"""The page, for people: what the models can do, without a line of code."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd
from fastapi import FastAPI

from rnnfv import __version__
from rnnfv.recipes.prediction import Prediction
from rnnfv.recipes.search import picture_files
from rnnfv.serving.desk import Desk
from rnnfv.serving.limits import BusyError, NotServedError
from rnnfv.serving.service import Hits
from rnnfv.video.decode import VideoError
from rnnfv.video.pictures import read_picture

__all__ = ["add_page"]

_SHOWN = 12  # pictures, sentences
_CLASSES = 5
_THUMBNAIL = 320  # pixels
_KEEP = (600, 3600)  # seconds: how often files of the page are looked through, and how old they become
# Without Gradio's button "share": it is for publishing on another host.
_WALL: dict[str, Any] = {
    "columns": 4,
    "object_fit": "contain",
    "height": "auto",
    "elem_classes": "wall",
    "buttons": ["download", "fullscreen"],
}
_TITLE = "rnnfv: search and watch"
# What comes as an answer is read out by screen readers.
_SPEAK = "() => document.querySelectorAll('.told').forEach(told => told.setAttribute('role', 'status'))"
_CSS = """
.gradio-container { width: 100% !important; max-width: 70rem !important; margin: 0 auto !important; }
footer { display: none !important; }
.told ol { padding-left: 2.2em !important; }
.wall .grid-wrap { min-height: 0 !important; max-height: none !important; height: auto !important; }
.wall .grid-container { grid-template-columns: repeat(4, minmax(0, 1fr)) !important; }
.wall .thumbnail-item { display: block; height: auto !important; aspect-ratio: auto !important; }
.wall .thumbnail-item img { height: auto !important; aspect-ratio: 1; }
.wall .caption-label {
  position: static !important; max-width: 100% !important; white-space: normal !important;
  overflow-wrap: anywhere; text-align: left;
}
body:not(.dark) [role=tab].selected { color: var(--primary-700) !important; }
.wall .caption { white-space: normal !important; overflow-wrap: anywhere; }
.upload-container .or { color: inherit !important; }
.icon-button, .label-wrap { min-width: 2rem; min-height: 2rem; align-items: center; }
@media (max-width: 640px), (pointer: coarse) {
  .icon-button, .label-wrap { min-width: 2.75rem; min-height: 2.75rem; }
}
@media (max-width: 640px) {
  .gradio-container { padding: 0 .5rem !important; }
  .wall .grid-container { grid-template-columns: repeat(2, minmax(0, 1fr)) !important; }
}
:focus-visible { outline: 3px solid #2166ac !important; outline-offset: 2px; }
"""


def add_page(app: FastAPI, *, token: str | None = None) -> FastAPI:
    """Put the page at ``/`` of an API that `rnnfv.serving.api.make_api` made.

    Nothing is counted for others, and nothing is loaded from another host: the page works offline.

    Parameters
    ----------
    app : FastAPI
    token : str, optional
        Then the page asks for it as a password.
    """
    desk: Desk = app.state.desk
    page = make_page(desk)
    options: dict[str, Any] = {} if token is None else {"auth": lambda name, password: _same(password, token)}
    if token is not None:
        options["auth_message"] = "Any name will do; the password is the service's token."
    fonts = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")
    theme = gr.themes.Default(primary_hue="blue", font=fonts[0], font_mono=fonts[1]).set(
        block_info_text_color="*neutral_600",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_700",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
    )
    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=True,
        ssr_mode=False,
        max_file_size=desk.limits.upload_bytes,
        theme=theme,
        css=_CSS,
        js=_SPEAK,
        **options,
    )


def make_page(desk: Desk) -> gr.Blocks:
    """The page's parts: a tab for each thing that the service can do."""
    lacks = desk.service.lacks
    tabs: list[tuple[str, str, Callable[[Desk], None]]] = [
        ("search", "Search", _search_tab),
        ("annotate", "Describe", _annotate_tab),
        ("actions", "Watch", _actions_tab),
    ]
    with gr.Blocks(title=_TITLE, analytics_enabled=False, delete_cache=_KEEP) as page:
        gr.Markdown("# Search and watch")
        served = [(name, build) for what, name, build in tabs if not lacks[what]]
        if not served:
            gr.Markdown("The models that were given have nothing to show on a page. The API is at `/openapi.json`.")
        with gr.Tabs():
            for name, build in served:
                with gr.Tab(name):
                    build(desk)
        with gr.Accordion("What this runs on", open=False):
            gr.Markdown(_about(desk))
    page.queue(default_concurrency_limit=None, max_size=desk.limits.waiting)
    return page


# -- search ----------------------------------------------------------------------------------------


def _search_tab(desk: Desk) -> None:
    sentence = gr.Textbox(
        label="What is to be seen?",
        placeholder=_example(desk),
        max_lines=1,
        autofocus=True,
        info="Results come as you type.",
    )
    told = gr.Markdown(_EMPTY_SEARCH, elem_classes="told")
    wall = gr.Gallery(label="Pictures found, best first", visible=False, **_WALL)

    async def search(text: str) -> tuple[str, Any]:
        if not text.strip():
            return _EMPTY_SEARCH, gr.Gallery(value=[], visible=False)
        found, problem = await _asked(desk.search(text[:2000], _SHOWN))
        if problem:
            return problem, gr.Gallery(value=[], visible=False)
        shown, lost = _wall(desk, found)
        lines = [f"{len(found)} pictures, best first. {_meaning(desk)}"]
        if lost:
            lines += ["", f"{len(lost)} of them cannot be shown: their files are not where the index says.", "", *lost]
        return "\n".join(lines), gr.Gallery(value=shown, visible=bool(shown))

    event: dict[str, Any] = {"inputs": sentence, "outputs": [told, wall], "api_visibility": "private"}
    sentence.change(search, trigger_mode="always_last", show_progress="minimal", **event)
    sentence.submit(search, **event)


_EMPTY_SEARCH = "Type a sentence; the pictures that fit best appear here."


def _example(desk: Desk) -> str:
    """A sentence of the model's own world, where it is at hand."""
    known = [] if desk.service.sentences is None else desk.service.sentences.ids()[:1]
    return f"such as: {known[0]}" if known else "such as: two dogs run on the beach"


def _meaning(desk: Desk) -> str:
    assert desk.service.searcher is not None
    return desk.service.searcher.score_meaning


def _wall(desk: Desk, found: Hits) -> tuple[list[tuple[Any, str]], list[str]]:
    """The pictures with their captions, and lines of Markdown about those that cannot be shown; places stay."""
    folder = desk.service.pictures
    files = picture_files(folder, [name for name, _ in found]) if folder else [None] * len(found)
    shown: list[tuple[Any, str]] = []
    lost: list[str] = []
    for place, ((name, score), file) in enumerate(zip(found, files, strict=True), start=1):
        small = _thumbnail(file) if file is not None and file.is_file() else None
        if small is None:
            lost.append(f"- {place}\\. {_plain(name)} ({score:.3f})")
        else:
            shown.append((small, f"{place}. {name}, score {score:.3f}"))
    return shown, lost


@lru_cache(maxsize=512)
def _thumbnail(file: Path) -> Any:
    """A small copy of a picture of the index; None where it cannot be read."""
    from PIL import Image

    try:
        image = Image.fromarray(read_picture(file))
    except VideoError:
        return None
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return image


# -- sentences of a picture ------------------------------------------------------------------------


def _annotate_tab(desk: Desk) -> None:
    picture = gr.Image(
        label="Picture: drop a file here, or choose one", type="filepath", sources=["upload"], height=320
    )
    told = gr.Markdown(_EMPTY_PICTURE, elem_classes="told")

    async def annotate(path: str | None) -> AsyncIterator[str]:
        if path is None:
            yield _EMPTY_PICTURE
            return
        yield "Looking at the picture ..."
        found, problem = await _asked(desk.annotate(Path(path), _SHOWN))
        lines = [f"1. {_plain(text)} ({score:.3f})" for text, score in found or []]
        yield problem or "\n".join([f"The sentences that fit best. {_meaning(desk)}", "", *lines])

    picture.change(annotate, picture, told, show_progress="hidden", api_visibility="private")


_EMPTY_PICTURE = "The sentences that fit it best appear here."


# -- actions in a video ----------------------------------------------------------------------------


def _actions_tab(desk: Desk) -> None:
    video = gr.File(label="Video: drop a file here, or choose one", type="filepath")
    told = gr.Markdown(_EMPTY_VIDEO, elem_classes="told")
    frames = gr.Gallery(label="The moments that decided", visible=False, **_WALL)
    curve = gr.LinePlot(
        x="time", y="share", visible=False, label="What each moment adds to the score", x_title="seconds"
    )
    table = gr.Dataframe(visible=False, label="The same as numbers", interactive=False, max_height=280)

    async def watch(path: str | None) -> AsyncIterator[tuple[str, Any, Any, Any]]:
        if path is None:
            yield (_EMPTY_VIDEO, *_hidden())
            return
        yield ("Watching the video ...", *_hidden())
        seen, problem = await _asked(desk.actions(Path(path)))
        if problem:
            yield (problem, *_hidden())
        else:
            yield (_named(seen, desk.service.unexplained), *_explained(seen))

    shown = [told, frames, curve, table]
    video.change(watch, video, shown, show_progress="hidden", api_visibility="private")


_EMPTY_VIDEO = "What happens in it, and when, appears here."


def _hidden() -> tuple[Any, Any, Any]:
    return gr.Gallery(value=[], visible=False), gr.LinePlot(visible=False), gr.Dataframe(visible=False)


def _named(seen: Prediction, unexplained: str) -> str:
    best = list(zip(seen.classes, seen.scores, strict=True))[:_CLASSES]
    lines = [f"## {_plain(str(best[0][0]))}", "Above 0 speaks for a class; scores are no probabilities.", ""]
    lines += [f"1. {_plain(str(name))} ({score:+.2f})" for name, score in best]
    note = seen.reason or (unexplained if seen.explanation is None else "")
    return "\n".join([*lines, *(["", _plain(note)] if note else [])])


def _explained(seen: Prediction) -> tuple[Any, Any, Any]:
    """The frames that decided, and the curve, once as a plot and once as numbers."""
    why, moments = seen.explanation, seen.moments
    if why is None or moments is None:
        return _hidden()
    pictures = [
        (moments.images[step], f"{moments.place(step)} ({why.shares[step]:+.2f})") for step in sorted(moments.images)
    ]
    times = moments.frames if moments.seconds is None else moments.seconds.round(2)
    unit = "frame" if moments.seconds is None else "seconds"
    told = pd.DataFrame({"time": times, "share": why.shares.round(4)})
    return (
        gr.Gallery(value=pictures, visible=True),
        gr.LinePlot(value=told, visible=True, x_title=unit),
        gr.Dataframe(value=told.rename(columns={"time": unit, "share": "adds"}), visible=True),
    )


# -- what all tabs share ---------------------------------------------------------------------------


async def _asked(answer: Any) -> tuple[Any, str]:
    """The answer; or, in words for a person, why there is none."""
    try:
        return await answer, ""
    except (BusyError, NotServedError, TimeoutError, ValueError) as error:
        return None, f"**That did not work.** {_plain(str(error))}"


def _plain(text: str) -> str:
    """Text that is no Markdown, whatever is in it."""
    return "".join(f"\\{c}" if c in "\\`*_[]#|~$" else c for c in escape(text, quote=False))


def _same(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(), token.encode())


def _about(desk: Desk) -> str:
    """Which models and which data, as the models themselves tell it."""
    service, lines = desk.service, [f"- rnnfv {__version__}"]
    if service.searcher is not None:
        for model in service.searcher.model.models:
            note, settings = model.note, model.note.get("settings", {})
            data = Path(str(note.get("captions", "unknown data"))).name
            lines.append(f"- Images and sentences: {settings.get('encoder', 'unknown encoder')}, fitted on {data}")
    for index, what in ((service.images, "images"), (service.sentences, "sentences")):
        if index is not None:
            lines.append(f"- {len(index):,} {what} are searched")
    if service.recognizer is not None:
        net = (service.recognizer.backbone_description or {}).get("name", "features")
        pooling = type(service.recognizer.pipeline["encoder"]).__name__
        lines.append(f"- Actions: {len(service.recognizer.classes)} classes, {pooling} on {net}")
    if service.encoder is not None:
        lines.append(f"- Sequences: {type(service.encoder).__name__}")
    lines += [
        f"- Not served: {what}, for want of {lack}".replace("`", "") for what, lack in service.lacks.items() if lack
    ]
    return "\n".join(lines[:1] + [f"- {_plain(line[2:])}" for line in lines[1:]])
