"""What `rnnfv action predict` prints."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnfv import __version__
from rnnfv.cli.usage import UsageError, check_outputs, check_workers
from rnnfv.recipes.prediction import Prediction, predict_videos
from rnnfv.recipes.recognizer import ActionRecognizer, load_recognizer
from rnnfv.storage import atomic_file
from rnnfv.strip import import_figure, write_strip
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
    """Name the actions in videos, print a table, and return how many failed, or could not be explained as asked for.

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
    check_outputs(figures)
    check_workers(workers)
    if explain is not None:
        import_figure()  # what is missing is told before hours of decoding
        if explain.exists() and not explain.is_dir():
            raise UsageError(f"{explain} is not a folder: give another for --explain")
    recognizer = load_recognizer(model, weights=weights, mean=mean)
    paths = [path for source in sources for path in (source.is_dir() and find_videos(source)) or [source]]
    pictures = None if explain is None else _pictures(explain, paths)
    predictions = _predict(recognizer, paths, pictures, device=device, workers=workers, progress=True)
    console = Console(markup=False, highlight=False)
    console.print(_table(predictions))
    console.print(_NOTE, soft_wrap=True)
    if figures is not None:
        with atomic_file(figures) as temporary:
            temporary.write_text(json.dumps(_as_json(model, predictions), indent=2) + "\n", encoding="utf-8")
    if pictures is None:
        return sum(each.has_failed for each in predictions)
    for prediction, picture in zip(predictions, pictures, strict=True):
        _explain(console, prediction, picture)
    return sum(each.moments is None for each in predictions)


def _pictures(folder: Path, paths: list[Path]) -> list[Path]:
    """Where to draw each video: as they lie below the folder that holds all of them."""
    whole = [Path(os.path.normpath(path.absolute())) for path in paths]
    root = os.path.commonpath([path.parent for path in whole])
    return [folder / f"{path.relative_to(root)}.png" for path in whole]


def _predict(
    recognizer: ActionRecognizer, paths: list[Path], pictures: list[Path] | None, **options: Any
) -> list[Prediction]:
    """The predictions, in the order of the paths. What is explained is drawn at once, and its frames are let go."""
    found: dict[int, Prediction] = {}
    with closing(predict_videos(recognizer, paths, explained=pictures is not None, **options)) as predictions:
        for i, prediction in predictions:
            found[i] = prediction
            why, moments = prediction.explanation, prediction.moments
            if pictures is not None and why is not None and moments is not None:
                write_strip(pictures[i], prediction.path.name, why, moments)
                found[i] = replace(prediction, moments=replace(moments, images={}))
    return [found[i] for i in range(len(paths))]


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
            what = "failed" if prediction.has_failed else "incomplete"
            table.add_row(name, Text(f"{what}: {prediction.reason}"))
        table.add_section()
    return table


def _explain(console: Console, prediction: Prediction, picture: Path) -> None:
    """Print the strongest moments of a video, and where they are drawn."""
    why, moments = prediction.explanation, prediction.moments
    if why is None or moments is None:
        return
    table = Table()
    table.add_column("moment", justify="right")
    table.add_column("share", justify="right")
    for step in why.strongest().tolist():
        table.add_row(moments.place(step), f"{why.shares[step]:+.3f}")
    console.print(f"\n{prediction.path.name}: the moments that spoke most for {why.label}", soft_wrap=True)
    console.print(table)
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
