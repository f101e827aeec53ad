"""What a stopped job has left beside its output: its record, finished figures (with the right checksum), a net."""

import tempfile
from pathlib import Path

import numpy as np

import rnnfv
from fuzz.target import Target, bundle, files_as
from fuzz.targets._signed import sign_checkpoint
from rnnfv.recipes._work import Work, job_of, open_work

_OUTPUT = "table.json"
_NAMES = tuple(f"{_OUTPUT}.unfinished/{name}" for name in ("job.json", "power.figures", "net.checkpoint"))
_JOB = job_of("action fit", {"epochs": 1, "seed": 0}, {})


def _resume(work: Work) -> None:
    """A job of two stages, as far as they are not done yet."""
    work.figures("power", lambda part: 0.5)
    net = rnnfv.RNNFisherVector(hidden_size=2, projection_size=2, max_epochs=1, early_stopping=None, random_state=0)
    net.fit(list(np.random.default_rng(0).normal(size=(2, 4, 2))), checkpoint=work.checkpoint("net"))


def _seeds() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder, open_work(Path(folder) / _OUTPUT, _JOB) as work:
        _resume(work)
        return [bundle(Path(folder), *_NAMES)]


def _place(folder: Path, data: bytes) -> Path:
    files_as(*_NAMES)(folder, data)
    sign_checkpoint(folder / _NAMES[1])
    return folder


def _read(path: Path) -> None:
    with open_work(path / _OUTPUT, _JOB) as work:
        _resume(work)


TARGET = Target(_seeds, _place, _read, tokens=(b'"record"', b'"U8"', b'"dtype"', b'"shape"', b"[]", b"null"))
