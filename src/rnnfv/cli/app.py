"""The commands, and what each hands on. Heavy libraries load only inside a command, so that help is quick."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Literal

from cyclopts import App, CycloptsError
from rich.console import Console

from rnnfv import __version__
from rnnfv.cli.action import action
from rnnfv.cli.codes import FAILED, INTERRUPTED, SOME_FAILED, TERMINATED, WRONG_USAGE
from rnnfv.cli.engine import HERE, Where
from rnnfv.cli.hub import hub
from rnnfv.cli.retrieval import Paths, retrieval
from rnnfv.cli.stopping import Terminated, stoppable
from rnnfv.cli.usage import UsageError, at_least_one, check_outputs, failure_text, usage, usage_text
from rnnfv.processes import place, refuse_several

_KILLED = "stopped in the middle of a computation; what was finished before is kept"
_SHARED = (["action", "fit"], ["retrieval", "fit"])  # the commands for which torchrun may start several processes

app = App(
    name="rnnfv",
    help="Order-aware, fixed-length vectors of sequences: the Fisher vector of a recurrent net.",
    version=__version__,
    help_format="markdown",
    suppress_keyboard_interrupt=False,
)
app.command(action)
app.command(retrieval)
app.command(hub)


@app.command
def demo(
    *,
    out: Path = Path("demo"),
    seeds: int = 1,
    json: Path | None = None,
    pictures: bool = False,
) -> int:
    """Compare the encoders on Japanese Vowels, a real data set that comes with the package.

    Every pooling is prepared as its own validation says, fitted on the official training part and tested on the
    official test part. Writes a page with the table, a confusion matrix, the probe's curve and a map of the vectors.

    With --pictures it makes, instead, a small search of drawn pictures, in which the order of words matters.

    Example: `rnnfv demo --seeds 5 --json demo.json`

    Example: `rnnfv demo --pictures`

    Parameters
    ----------
    out
        Folder for `report.html`; with --pictures for a folder of that name.
    seeds
        Repeat every fit with so many seeds, and show the mean.
    json
        Also write the figures here.
    pictures
        Draw pictures, fit a model of them and of sentences about them, and say how to search them.
    """
    from rnnfv.cli.demo import run_demo, run_pictures

    at_least_one(seeds=seeds)
    check_outputs(json)
    if pictures:
        if seeds > 1 or json is not None:
            raise UsageError("--seeds and --json are of the comparison: leave them out with --pictures")
        run_pictures(out / "pictures")
        return 0
    run_demo(out, seeds, json)
    return 0


@app.command
def encode(features: Path, *, model: Path, out: Path, json: bool = False, where: Where = HERE) -> int:
    """Encode a folder of feature shards with a saved model.

    Works shard by shard; after Ctrl-C or a crash the same command goes on where it stopped. Beside OUT it writes a
    CSV with the row of every id, and the reason for each item that could not be encoded (exit code 3).

    Example: `rnnfv encode features/ --model model/ --out vectors.npy`

    Parameters
    ----------
    features
        Folder of Parquet shards with the columns `id` and `features`, or one shard.
    model
        Folder written by an estimator's `save`.
    out
        The vectors, a `.npy` file of shape (items, numbers of a vector).
    json
        Print JSON.
    """
    from rnnfv.cli.encode import run_encode

    return SOME_FAILED if run_encode(features, model, out, where, as_json=json) else 0


@app.command
def extract(
    source: Path,
    *,
    backbone: str,
    out: Path,
    weights: Path | None = None,
    manifest: Path | None = None,
    images: bool = False,
    every: int | None = None,
    fps: float | None = None,
    workers: int | None = None,
    device: str = "auto",
    pixels: Literal["imagenet", "caffe", "raw", "unit"] | None = None,
    crops: Literal[1, 10] | None = None,
    relu: bool | None = None,
    mean: Path | None = None,
    revision: str | None = None,
    max_steps: int | None = None,
    json: bool = False,
    where: Where = HERE,
) -> int:
    """Extract features of videos, or of pictures, with a backbone.

    After Ctrl-C or a crash the same command goes on. OUT/report.csv has a line for every video; those that cannot be
    read are listed there and do not stop the run (exit code 3).

    Example: `rnnfv extract videos/ --backbone vgg19 --weights vgg19.pth --out features/`

    Example: `rnnfv extract pictures/ --images --backbone vgg19 --weights vgg19.pth --out features/`

    Parameters
    ----------
    source
        Folder of videos (a folder of image files counts as one), or one video; with `--images` of pictures.
    backbone
        vgg19, vgg16, c3d, onnx:PATH[:OUTPUT], hub:MODEL_ID, clip, dinov2, dinov3 or siglip; or idt: SOURCE is then
        a folder of improved dense trajectories (.txt, .features or .gz), written by DenseTrackStab.
    out
        Folder for the features.
    weights
        The file of weights of vgg or c3d, which are never downloaded.
    manifest
        CSV with the columns `id` and `path`: which videos, relative to SOURCE or to the CSV.
    images
        Every image file is an item of its own, with one vector; its id is its path below SOURCE. Cameras' orientation
        notes (EXIF) are followed, and of an animation the first picture is taken.
    every
        Keep one frame in so many. Default: 10 for frames, 1 for clips.
    fps
        Keep about so many frames a second instead.
    workers
        Processes that decode; 0 decodes in this one.
    device
        auto, cpu, cuda, ...
    pixels
        How pixels are scaled: imagenet or caffe (vgg); raw, unit, imagenet or caffe (onnx).
    crops
        Crops averaged for each frame, 10 or 1 (vgg).
    relu
        Take the layer after its ReLU. Default: no for vgg, yes for c3d.
    mean
        A `.npy` file with the mean of all clips (c3d).
    revision
        Commit of a model of the hub.
    max_steps
        Keep a random sample of so many trajectories of each file (idt). Default: all.
    json
        Print JSON: how many have features, and all that failed, with the reasons.
    """
    from rnnfv.cli.extract import run_extract

    options = {
        "pixels": pixels,
        "crops": crops,
        "relu": relu,
        "mean": mean,
        "revision": revision,
        "max_steps": max_steps,
    }
    failed = run_extract(
        source,
        backbone,
        out,
        weights=weights,
        manifest=manifest,
        images=images,
        every=every,
        fps=fps,
        workers=workers,
        device=device,
        where=where,
        as_json=json,
        **{name: value for name, value in options.items() if value is not None},
    )
    return SOME_FAILED if failed else 0


@app.command
def manifest(
    dataset: Literal["ucf101", "hmdb51"], lists: Path, *, out: Path, videos: Path | None = None, json: bool = False
) -> int:
    """Write the manifest of a known data set from its official lists.

    Example: `rnnfv manifest ucf101 ucfTrainTestlist/ --videos UCF-101/ --out ucf101.csv`

    Parameters
    ----------
    dataset
        ucf101 or hmdb51.
    lists
        The folder of lists: `ucfTrainTestlist`, or `testTrainMulti_7030_splits`.
    out
        The CSV to write: id, label, group, split1 to split3 and path.
    videos
        The folder of videos, to see that they are all there, and how they are spelt.
    json
        Print JSON: clips, classes, and the sizes of each split.
    """
    from rnnfv.cli.manifest import run_manifest

    run_manifest(dataset, lists, out, videos, as_json=json)
    return 0


@app.command
def doctor(*, json: bool = False) -> int:
    """Say what is installed, what is missing and how to get it, and test in a few seconds that it computes rightly.

    Versions, devices, extras, weights of backbones, free disk space; then a tiny net is trained, and its Fisher vectors
    are compared with automatic differentiation. The exit code is 0 where that test is passed, whatever is missing.

    Example: `rnnfv doctor --json`

    Parameters
    ----------
    json
        Print JSON.
    """
    from rnnfv.cli.doctor import run_doctor

    return 0 if run_doctor(json) else FAILED


@app.command
def completion(shell: Literal["bash", "zsh", "fish"]) -> int:
    """Print what makes a shell complete commands and options.

    Bash: `eval "$(rnnfv completion bash)"` in ~/.bashrc. Zsh: the same with zsh in ~/.zshrc, after `compinit`. Fish:
    `rnnfv completion fish > ~/.config/fish/completions/rnnfv.fish`.

    Example: `rnnfv completion bash`

    Parameters
    ----------
    shell
        bash, zsh or fish.
    """
    print(app.generate_completion(shell=shell))
    return 0


@app.command
def serve(
    *models: Path,
    index: Paths = (),
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: Path | None = None,
    weights: Path | None = None,
    device: str = "auto",
    timeout: int = 60,
    queue: int = 256,
    upload_mb: int = 64,
) -> int:
    """Serve models on a page for people, and by an API for programs, until Ctrl-C.

    A page at / searches pictures by a sentence, describes a picture, and watches a video: what the models can. The API
    has /search, /annotate, /actions, /encode, /healthz and /metrics, and describes itself at /openapi.json. Nothing is
    sent to any other machine.

    Example: `rnnfv serve model/ --index images.index/ --index sentences.index/`

    Example: `rnnfv serve actions/ --port 9000`

    Parameters
    ----------
    models
        Folders: of `rnnfv retrieval fit` (several are averaged), of `rnnfv action fit`, of a saved encoder.
    index
        Folder of `rnnfv retrieval index-images`, or of `index-sentences`; once for each.
    host
        Address to listen at. The default is for this machine alone.
    port
        Port to listen at.
    token_file
        File with a token of 16 or more characters that programs must send, and people type as a password. Without it
        the environment variable RNNFV_TOKEN is looked at.
    weights
        The file of weights of the backbone of a retrieval model, to see picture files with.
    device
        Of backbones: auto, cpu, cuda, ...
    timeout
        Seconds for an answer.
    queue
        Requests that wait, at most; the next one is told to come back later.
    upload_mb
        Size of an upload, in MiB, at most.
    """
    from rnnfv.cli.serve import run_serve

    run_serve(
        models,
        index,
        host=host,
        port=port,
        token_file=token_file,
        weights=weights,
        device=device,
        timeout=timeout,
        queue=queue,
        upload_mb=upload_mb,
    )
    return 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors of use or data are one line on stderr and an exit code.

    Parameters
    ----------
    arguments : list of str, optional
        Default: the process's own.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    rank, count = place()
    errors = Console(file=sys.stderr, soft_wrap=True)
    name = f"rnnfv, process {rank} of {count}" if rank else "rnnfv"
    with ExitStack() as silence:
        if rank:  # the first one speaks for all; of the others only errors are heard
            nowhere = silence.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            silence.enter_context(redirect_stdout(nowhere))
            silence.enter_context(redirect_stderr(nowhere))
        code = _run(list(arguments), errors, name)
    sys.exit(code)


def _run(arguments: list[str], errors: Console, name: str) -> int:
    """Run a command; its exit code."""
    try:
        if arguments[:2] not in _SHARED:
            refuse_several(f"{' '.join(arguments[:2])} does not train one net in several processes")
        is_server = arguments[:1] == ["serve"]  # it stops itself
        with stoppable(f"{name}: {_KILLED}", guarded=not is_server):
            with usage():  # groups of options check themselves when they are made
                command, bound, _ = app.parse_args(
                    arguments, exit_on_error=False, print_error=False, error_console=errors
                )
            code: int = command(*bound.args, **bound.kwargs)
            return code
    except CycloptsError as error:
        told = f"{name}: {usage_text(error)}\nSee `{' '.join(['rnnfv', *(error.command_chain or ())])} --help`."
        errors.print(told, markup=False, highlight=False)
        return WRONG_USAGE
    except UsageError as error:
        errors.print(f"{name}: {error}", markup=False, highlight=False)
        return WRONG_USAGE
    except Terminated:
        errors.print(f"{name}: terminated")
        return TERMINATED
    except KeyboardInterrupt:
        errors.print(f"{name}: interrupted")
        return INTERRUPTED
    except (ValueError, TypeError, OSError, ImportError, RuntimeError, FloatingPointError) as error:
        errors.print(f"{name}: {failure_text(error)}", markup=False, highlight=False)
        return FAILED


def help_page() -> str:
    """The page of `rnnfv --help` as it is kept in help.txt: 80 columns, no colours.

    To write it anew:
    `python -c "from rnnfv.cli.app import help_page; print(help_page(), end='')" > src/rnnfv/cli/help.txt`
    """
    page = io.StringIO()
    app(["--help"], console=Console(file=page, width=80, force_terminal=False), result_action="return_value")
    return page.getvalue()
