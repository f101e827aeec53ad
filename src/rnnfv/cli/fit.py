"""What `rnnfv action fit` prints."""

from __future__ import annotations

import time
from pathlib import Path

from rnnfv.cli.terminal import notes
from rnnfv.recipes._work import job_of, open_work
from rnnfv.recipes.action import Settings
from rnnfv.recipes.recognizer import FOLDER, fit_recognizer
from rnnfv.recipes.retrieval import image_side


def run_fit(
    features: Path,
    manifest: Path,
    out: Path,
    settings: Settings,
    *,
    split: str | None = None,
    weights: Path | None = None,
    mean: Path | None = None,
    through: Path | None = None,
    skip_missing: bool = False,
) -> None:
    """Fit a recogniser, save it, and say on stderr what it is and what it takes."""
    FOLDER.check_replaceable(out)
    console = notes()
    started = time.monotonic()
    decides = {**settings.fitting, "pooling": settings.poolings[0], "split": split}
    job = job_of("action fit", decides, {"features": features, "manifest": manifest, "through": through})
    with open_work(out, job) as work:
        with console.status(f"fitting {settings.poolings[0]}"):
            recognizer = fit_recognizer(
                features,
                manifest,
                settings,
                split=split,
                weights=weights,
                mean=mean,
                through=None if through is None else image_side(through, features),
                skip_missing=skip_missing,
                work=work,
            )
        recognizer.save(out)
    seconds = time.monotonic() - started
    console.print(f"{settings.poolings[0]} for {len(recognizer.classes)} classes is in {out}, after {seconds:.0f} s")
    description = recognizer.backbone_description
    if description is None:
        console.print("It takes features such as these; it has no backbone for videos.")
    elif weights is None and "file" in description["weights"]:
        again = f"--weights {description['weights']['file']}"
        if mean is None and isinstance(description["settings"].get("mean"), dict):
            again += " and --mean"
        console.print(f"It is without the weights of {description['name']}: for videos give {again} again.")
    else:
        console.print(f"It takes videos: rnnfv action predict VIDEO --model {out}")
