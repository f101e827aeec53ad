"""What `rnnfv action predict` prints."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnfv import __version__
from rnnfv.recipes.prediction import Prediction, predict_videos
from rnnfv.recipes.recognizer import load_recognizer
from rnnfv.storage import atomic_file
from rnnfv.strip import write_strip
from rnnfv.video.files import find_videos

_TOP = 5
_NOTE = "Scores are the classifier's decision values: above 0 speaks for a class. They are no probabilities."


def run_predict(
    model: Path,
    sources: Sequence[Path],
    *,
    weights: Path | None = None,
    mean: Path | None = None,
    figures: Path | None = None,
    explain: Path | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> int:
    """Name the actions in videos, print a table, and return how many videos failed.

    Parameters
    ----------
    model : Path
    sources : sequence of Path
        Videos, folders of images, and folders of such, all of which are taken.
    weights, mean : Path, optional
        Of the backbone, where the model is without them.
    figures : Path, optional
        The JSON file to write: all scores, and what each step adds where that is asked for.
    explain : Path, optional
        The folder for a picture of each video's strongest moments.
    device : str
    workers : int, optional
    """
    recognizer = load_recognizer(model, weights=weights, mean=mean)
    paths = [path for source in sources for path in (source.is_dir() and find_videos(source)) or [source]]
    predictions = predict_videos(
        recognizer, paths, explained=explain is not None, device=device, workers=workers, progress=True
    )
    console = Console(markup=False, highlight=False)
    console.print(_table(predictions))
    console.print(_NOTE, soft_wrap=True)
    if figures is not None:
        with atomic_file(figures) as temporary:
            temporary.write_text(json.dumps(_as_json(model, predictions), indent=2) + "\n", encoding="utf-8")
    if explain is not None:
        _explain(console, explain, predictions)
    return sum(prediction.has_failed for prediction in predictions)


def _table(predictions: list[Prediction]) -> Table:
    """A few lines for each video. Names are plain text: brackets in them are no markup."""
    table = Table()
    table.add_column("video", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("score", justify="right")
    for prediction in predictions:
        name = Text(str(prediction.path))
        for label, score in list(zip(prediction.classes, prediction.scores, strict=True))[:_TOP]:
            table.add_row(name, Text(str(label)), f"{score:.3f}")
            name = Text()
        if prediction.reason:
            what = "failed" if prediction.has_failed else "short"
            table.add_row(name, Text(f"{what}: {prediction.reason}"))
        table.add_section()
    return table


def _explain(console: Console, folder: Path, predictions: list[Prediction]) -> None:
    """Print the strongest moments of each video, and draw them."""
    explained = [(each.path, each.explanation, each.moments) for each in predictions]
    whole = [(path.absolute(), why, moments) for path, why, moments in explained if why and moments]
    root = os.path.commonpath([path.parent for path, _, _ in whole]) if whole else ""
    for path, why, moments in whole:
        table = Table()
        table.add_column("moment", justify="right")
        table.add_column("share", justify="right")
        for step in sorted(moments.images):
            table.add_row(moments.place(step), f"{why.shares[step]:+.3f}")
        console.print(f"\n{path.name}: the moments that spoke most for {why.label}", soft_wrap=True)
        console.print(table)
        picture = write_strip(folder / f"{path.relative_to(root)}.png", path.name, why, moments)
        console.print(f"Picture: {picture}", soft_wrap=True)


def _as_json(model: Path, predictions: list[Prediction]) -> dict[str, Any]:
    return {"rnnfv": __version__, "model": str(model), "videos": [_video_as_json(each) for each in predictions]}


def _video_as_json(prediction: Prediction) -> dict[str, Any]:
    video = {
        "path": str(prediction.path),
        "failed": prediction.has_failed,
        "reason": prediction.reason,
        "classes": prediction.classes,
        "scores": prediction.scores,
    }
    why, moments = prediction.explanation, prediction.moments
    if why is not None and moments is not None:
        seconds = None if moments.seconds is None else moments.seconds.tolist()
        steps = {"frames": moments.frames.tolist(), "seconds": seconds, "shares": why.shares.tolist()}
        video["explanation"] = {"class": why.label, "score": why.decision, "constant": why.constant, **steps}
    return video
