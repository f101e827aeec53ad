"""The card of a model: what it is, how to use it, its data, protocol, figures and licence, as the hub shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rnnfv import __version__
from rnnfv.extras import wanted
from rnnfv.tables import as_markdown

__all__ = ["MADE_BY", "model_card"]

MADE_BY = "<!-- Made by rnnfv's push_to_hub. A card that a person writes in its place is left as it is. -->"
_TASKS = {"recognizer": "video-classification", "retrieval": "sentence-similarity", "estimator": "feature-extraction"}
_FIGURES = {"r@1": "r@1", "r@5": "r@5", "r@10": "r@10", "median_rank": "median rank", "mean_rank": "mean rank"}
_CITATION = """```bibtex
@inproceedings{lev2016rnn,
  title     = {{RNN} Fisher Vectors for Action Recognition and Image Annotation},
  author    = {Lev, Guy and Sadeh, Gil and Klein, Benjamin and Wolf, Lior},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year      = {2016}
}
```"""


def model_card(
    model: Any,
    kind: str,
    repo_id: str,
    *,
    data: str | None = None,
    figures: str | Path | None = None,
    licence: str | None = None,
) -> str:
    """The text of the card, Markdown with the hub's metadata in front.

    Parameters
    ----------
    model : estimator, Pipeline, ActionRecognizer or RetrievalModel
    kind : {"estimator", "recognizer", "retrieval"}
    repo_id : str
    data, figures, licence
        As for `rnnfv.push_to_hub`.

    Raises
    ------
    FileNotFoundError
        If there is no such file of figures.
    ImportError
        If huggingface_hub is not installed.
    ValueError
        If the figures are of another form.
    """
    with wanted("hub", "model cards need huggingface_hub"):
        from huggingface_hub import ModelCardData
    metadata = ModelCardData(
        license=licence, library_name="rnnfv", pipeline_tag=_TASKS[kind], tags=["rnnfv", "fisher-vector", kind]
    )
    told = None if figures is None else _read(Path(figures))
    parts = [
        f"---\n{metadata.to_yaml()}\n---",
        MADE_BY,
        f"# {repo_id.rsplit('/', maxsplit=1)[-1]}",
        _what(model, kind),
        f"## How to use it\n\n{_use(kind, repo_id)}",
        f"## Data\n\n{_data(data, model, kind)}",
        f"## Protocol\n\n{_protocol(told, model, kind)}",
        f"## Figures\n\n{_figures(told)}",
        f"## Licence\n\n{licence or 'None was given. Ask who made this model before you use it.'}",
        f"## Where it comes from\n\nMade with rnnfv {__version__}, which is after:\n\n{_CITATION}",
    ]
    return "\n\n".join(parts) + "\n"


def _what(model: Any, kind: str) -> str:
    if kind == "recognizer":
        backbone = model.backbone_description
        seen = "sequences of features" if backbone is None else f"videos, seen by {backbone['name']}"
        return f"A recogniser of {len(model.classes)} actions in {seen}:\n\n{_code(model.pipeline)}"
    if kind == "retrieval":
        return f"A model that finds images by sentences, and sentences by images:\n\n{_code(model.sentences)}"
    return f"An encoder of sequences, or a chain with one:\n\n{_code(model)}"


def _code(estimator: Any) -> str:
    return f"```\n{estimator!r}\n```"


def _use(kind: str, repo_id: str) -> str:
    command = {
        "recognizer": "rnnfv action predict video.mp4 --model model/",
        "retrieval": 'rnnfv retrieval search "..." --model model/ --images index/',
        "estimator": "rnnfv encode features/ --model model/ --out vectors.npy",
    }[kind]
    use = f"rnnfv hub pull {repo_id} --out model/\n{command}"
    python = f'import rnnfv\n\nmodel = rnnfv.from_pretrained("{repo_id}")'
    return f"    pip install 'rnnfv[hub]'\n\n```python\n{python}\n```\n\n```\n{use}\n```"


def _data(data: str | None, model: Any, kind: str) -> str:
    lines = [data] if data else []
    if kind == "recognizer":
        lines.append(f"Classes: {', '.join(map(str, model.classes))}.")
    if kind == "retrieval":
        names = {name: model.note.get(name) for name in ("captions", "images")}
        lines += [f"Fitted on {name}: {Path(str(value)).name}." for name, value in names.items() if value]
    return "\n\n".join(lines) or "Whoever made this model said nothing of its data."


def _protocol(told: dict[str, Any] | None, model: Any, kind: str) -> str:
    """What was measured how, of the file of figures; how it was fitted, of the model."""
    about = dict(told["protocol"]) if told else {}
    if kind == "retrieval":
        about |= {"chosen": model.note.get("chosen"), "chosen_on": model.note.get("chosen_on")}
    lines = [f"- {name}: `{json.dumps(_plain(value), default=str)}`" for name, value in about.items() if value]
    return "\n".join(lines) or "Whoever made this model said nothing of how it was measured."


def _plain(value: Any) -> Any:
    """The value, with paths cut to their names: where files lie on a machine is nobody's business."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return Path(value).name if isinstance(value, str) and ("/" in value or "\\" in value) else value


def _figures(told: dict[str, Any] | None) -> str:
    if told is None:
        return "None were given."
    if "poolings" in told:
        header, rows = ["pooling", "accuracy %", "deviation"], []
        for name, row in told["poolings"].items():
            rows.append([name, f"{row['mean']:.2f}", f"{row['std']:.2f}"])
        return as_markdown(header, rows)
    rows = [[task, *(f"{told[task][figure]:.1f}" for figure in _FIGURES)] for task in ("annotation", "search")]
    return as_markdown(["task", *_FIGURES.values()], rows)


def _read(path: Path) -> dict[str, Any]:
    """The figures that an evaluation wrote."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        _figures(told)
        if isinstance(told["protocol"], dict):
            return dict(told)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise ValueError(f"{path} has no figures: give the file that `evaluate --json` wrote")
