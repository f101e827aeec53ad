"""The picture of an explanation: the frames that drove a decision, above the shares of all steps over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rnnfv.extras import wanted
from rnnfv.recipes.explaining import Explanation, Moments
from rnnfv.storage import atomic_file

__all__ = ["import_figure", "write_strip"]

_BLUE, _PALE, _INK, _GREY = "#2166ac", "#92b8da", "#1d2733", "#8c96a0"
_BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}


def import_figure() -> Any:
    """matplotlib's Figure.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    with wanted("plots", "pictures need matplotlib"):
        from matplotlib.figure import Figure
    return Figure


def write_strip(path: str | Path, title: str, explanation: Explanation, moments: Moments) -> Path:
    """Draw the frames of the strongest steps, in the order of time, above the curve of shares.

    Parameters
    ----------
    path : str or Path
        The PNG file to write.
    title : str
        What the picture is of.
    explanation : Explanation
    moments : Moments
        With the images of the strongest steps.

    Returns
    -------
    Path

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    steps = sorted(moments.images)
    figure = import_figure()(figsize=(max(8.0, 1.6 * len(steps)), 5), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.3))[:, 0]
    _draw_frames(above.subplots(1, len(steps), squeeze=False)[0], explanation, moments, steps)
    _draw_curve(below.subplots(), explanation, moments, steps)
    # A name may have dollar signs, which are no formula here.
    figure.suptitle(f"{title}: {explanation.label}, score {explanation.decision:.2f}", color=_INK, parse_math=False)
    path = Path(path)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    return path


def _draw_frames(row: Any, explanation: Explanation, moments: Moments, steps: list[int]) -> None:
    for number, (axes, step) in enumerate(zip(row, steps, strict=True), start=1):
        axes.imshow(moments.images[step])
        axes.set_axis_off()
        axes.set_title(f"{number}: {moments.place(step)}\n{explanation.shares[step]:+.3f}", fontsize=9, color=_INK)


def _draw_curve(axes: Any, explanation: Explanation, moments: Moments, steps: list[int]) -> None:
    shares = explanation.shares
    places = moments.frames if moments.seconds is None else moments.seconds
    axes.axhline(0, color=_GREY, linewidth=0.8)
    axes.plot(places, shares, color=_PALE, marker=".", markersize=4, linewidth=1)
    axes.plot(places[steps], shares[steps], "o", color=_BLUE, markersize=7)
    for number, step in enumerate(steps, start=1):
        place = (places[step], shares[step])
        axes.annotate(
            str(number), place, (0, 8), textcoords="offset points", ha="center", fontsize=9, color=_INK, bbox=_BOX
        )
    axes.margins(y=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("frame" if moments.seconds is None else "seconds")
    axes.set_ylabel(f"share of the score\n(constant {explanation.constant:+.3f})")
