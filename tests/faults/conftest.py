"""Small jobs of every kind, as commands that can be stopped at any moment."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rnnfv import RNNFisherVector
from rnnfv.storage import write_features

ONNX = Path(__file__).parents[1] / "fixtures" / "quarters.onnx"


@dataclass
class Ended:
    """How a command ended: its exit code (negative: the signal), its words, and seconds since its start or the stop."""

    code: int
    words: str
    seconds: float


class Commands:
    """Runs commands by way of ``server.py``, and can stop them with all that they started."""

    def __init__(self, folder):
        self._told = folder / "told.txt"
        self._server = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("server.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert self._server.stdout.readline() == "ready\n"

    def run(self, arguments, *, after=None, stop=signal.SIGKILL, alone=False, constants=None, environment=None):
        """Run a command to its end, or send a signal to its whole group, as a terminal does.

        Parameters
        ----------
        after : float or callable
            Seconds after its start; or what waits, given what the command has said so far, until the moment has come.
        constants : dict
            Values of the product that are too large for a small test, by module and name.
        alone : bool
            Send the signal to the process alone, and not to those that it has started.
        environment : dict
            Variables to set.
        """
        order = {"arguments": list(map(str, arguments)), "told": str(self._told)}
        order |= {"constants": constants or {}, "environment": environment or {}}
        began = time.monotonic()
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()
        pid, codes = int(self._server.stdout.readline()), []
        reader = threading.Thread(target=lambda: codes.append(int(self._server.stdout.readline())))
        reader.start()
        if after is not None:
            after(self._told.read_text) if callable(after) else reader.join(after)
            began = time.monotonic()
            if not codes:
                with suppress(ProcessLookupError):
                    os.kill(pid, stop) if alone else os.killpg(pid, stop)
        reader.join()
        ended = Ended(codes[0], self._told.read_text(), time.monotonic() - began)
        _group_is_gone(pid)
        return ended

    def close(self):
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()


def _group_is_gone(pid):
    for _ in range(200):
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("processes are left")


@pytest.fixture(scope="session")
def commands(tmp_path_factory):
    if sys.platform == "win32":
        pytest.skip("Windows has no process groups to stop")
    made = Commands(tmp_path_factory.mktemp("commands"))
    yield made
    made.close()


DECODER = """
import sys

if "--multiprocessing-fork" in sys.orig_argv:
    import ctypes, pathlib
    import av

    whole = av.open

    def trapped(file, *args, **options):
        path = pathlib.Path(str(file).removeprefix("file:"))
        name = path.stem
        if "trap" in name:
            path.with_suffix(".begun").touch()
        if name == "trap-hangs":
            while True:
                ctypes.CDLL(None).pause()
        if name == "trap-crashes":
            ctypes.string_at(0)
        return whole(file, *args, **options)

    av.open = trapped
"""


@pytest.fixture
def trapped(videos, tmp_path):
    """Six videos; in processes of its own the decoder hangs in one of them for ever, and crashes in another.

    Gives the folder, what must be in the environment, and a function that waits until the two have begun.
    """
    folder, modules = tmp_path / "trapped", tmp_path / "modules"
    for path in (folder, modules):
        path.mkdir()
    (modules / "sitecustomize.py").write_text(DECODER)
    names = ["a", "trap-hangs", "b", "c", "trap-crashes", "d"]
    for path, name in zip(sorted(videos.iterdir()), names, strict=False):
        shutil.copy(path, folder / f"{name}.avi")
    modules = os.pathsep.join([str(modules), *filter(None, [os.environ.get("PYTHONPATH")])])

    def wait(told):
        for _ in range(1200):
            if (folder / "trap-hangs.begun").exists():
                return
            time.sleep(0.05)
        pytest.fail(told())

    return SimpleNamespace(folder=folder, environment={"PYTHONPATH": modules}, wait=wait)


@dataclass
class Job:
    """A command that writes to an output."""

    arguments: list
    out: str
    constants: dict = field(default_factory=dict)

    def writing(self, folder):
        """The arguments, with an output in a folder."""
        return [*self.arguments, "--out", folder / self.out]


@pytest.fixture(scope="session")
def videos(tmp_path_factory, write_video):
    """Enough for three shards."""
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for i in range(110):
        write_video(folder / f"{i:03d}.avi", rng.integers(0, 255, (8, 16, 16, 3), dtype=np.uint8))
    return folder


@pytest.fixture(scope="session")
def features(tmp_path_factory):
    """Five shards, their manifest, and an encoder that is fitted on them."""
    folder, rng = tmp_path_factory.mktemp("features"), np.random.default_rng(0)
    lines = ["id,label,group,split1"]
    for k in range(5):
        seqs = [np.cumsum(rng.normal(size=(n, 4)), axis=0).astype(np.float32) for n in rng.integers(5, 30, 24)]
        write_features(folder / "features", [f"{k}-{i}" for i in range(24)], seqs, shard=k)
        lines += [f"{k}-{i},{'up' if seq[-1, 0] > 0 else 'down'},g{i % 4},train" for i, seq in enumerate(seqs)]
    (folder / "m.csv").write_text("\n".join(lines) + "\n")
    net = RNNFisherVector(hidden_size=16, projection_size=16, max_epochs=1, random_state=0)
    net.fit(seqs).save(folder / "encoder")
    return folder


@pytest.fixture(scope="session")
def pairs(tmp_path_factory, world, word_file, commands):
    """Captions, image vectors, and a model that is fitted on them."""
    folder, images, vectors = tmp_path_factory.mktemp("pairs"), [], []
    for split, n in {"train": 80, "val": 30, "test": 25}.items():
        made = world(n, n)
        for i, vector in enumerate(made.images):
            texts = [t for t, image in zip(made.texts, made.image_of_sentence, strict=True) if image == i]
            sentences = [{"raw": " ".join(t), "tokens": t} for t in texts]
            images.append({"filename": f"{split}{i}.jpg", "split": split, "sentences": sentences})
            vectors.append(vector)
    (folder / "dataset.json").write_text(json.dumps({"images": images}))
    np.save(folder / "vectors.npy", np.array(vectors, np.float16))
    (folder / "corpus.txt").write_text("".join(f"the dog sees a {i} ball\n" for i in range(150)))
    files = ["--captions", folder / "dataset.json", "--images", folder / "vectors.npy"]
    fit = ["retrieval", "fit", *files, "--words", word_file, "--etas", "0.01,0.1"]
    assert commands.run([*fit, "--encoder", "mean", "--out", folder / "model"]).code == 0
    return SimpleNamespace(folder=folder, model=folder / "model", files=files, fit=fit)


@pytest.fixture(scope="session")
def jobs(videos, features, pairs):
    """Every long job, by name."""
    extract = ["extract", videos, "--backbone", f"onnx:{ONNX}", "--every", "2", "--device", "cpu"]
    net = ["--hidden-size", "12", "--epochs", "4", "--device", "cpu"]
    labelled = [features / "features", "--manifest", features / "m.csv"]
    index = ["retrieval", "index-images", pairs.folder / "vectors.npy", "--captions", pairs.folder / "dataset.json"]
    blocks = {"rnnfv.recipes.search._ROWS": 30}
    return {
        "extract": Job([*extract, "--workers", "0"], "features"),
        "extract with workers": Job([*extract, "--workers", "2"], "features"),
        "encode": Job(["encode", features / "features", "--model", features / "encoder"], "vectors.npy"),
        "index images": Job([*index, "--model", pairs.model], "index", blocks),
        "index sentences": Job(
            ["retrieval", "index-sentences", pairs.folder / "corpus.txt", "--model", pairs.model], "index", blocks
        ),
        "retrieval fit": Job([*pairs.fit, "--encoder", "rnn-fv", *net], "model"),
        "action fit": Job(["action", "fit", *labelled, "--projection-size", "12", "--deltas", "0", *net], "model"),
    }


@pytest.fixture(scope="session")
def undisturbed(commands, jobs, tmp_path_factory):
    """A function that gives how many seconds a job takes, and what it writes."""

    @cache
    def run(name):
        folder = tmp_path_factory.mktemp("undisturbed")
        ended = commands.run(jobs[name].writing(folder), constants=jobs[name].constants)
        assert ended.code == 0, ended.words
        return ended.seconds, content_of(folder)

    return run


@pytest.fixture
def content():
    """A function that gives every file below a folder, hidden ones too, and its bytes; of a folder None."""
    return content_of


def content_of(folder):
    paths = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in paths}
