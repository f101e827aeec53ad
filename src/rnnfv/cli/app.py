"""The commands, and what each hands on. Heavy libraries load only inside a command, so that help is quick."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from rnnfv import __version__

FAILED, WRONG_USAGE, SOME_FAILED, INTERRUPTED = 1, 2, 3, 130

app = App(
    name="rnnfv",
    help="Order-aware, fixed-length vectors of sequences: the Fisher vector of a recurrent net.",
    version=__version__,
    help_format="markdown",
    suppress_keyboard_interrupt=False,
)


@app.command
def demo(
    *,
    out: Path = Path("demo"),
    seeds: Annotated[int, Parameter(validator=lambda _, n: _at_least_one(n))] = 1,
    json: Path | None = None,
) -> int:
    """Compare the encoders on Japanese Vowels, a real data set that comes with the package.

    Every pooling is prepared as its own validation says, fitted on the official training part and tested on the
    official test part. Writes a page with the table, a confusion matrix, the probe's curve and a map of the vectors.

    Example: `rnnfv demo --seeds 5 --json demo.json`

    Parameters
    ----------
    out
        Folder for `report.html`.
    seeds
        Repeat every fit with so many seeds, and show the mean.
    json
        Also write the figures here.
    """
    from rnnfv.cli.demo import run_demo

    run_demo(out, seeds, json)
    return 0


@app.command
def encode(features: Path, *, model: Path, out: Path) -> int:
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
    """
    from rnnfv.cli.encode import run_encode

    return SOME_FAILED if run_encode(features, model, out) else 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; errors of use or data are one line on stderr and an exit code.

    Parameters
    ----------
    arguments : list of str, optional
        Default: the process's own.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    errors = Console(stderr=True, soft_wrap=True)
    try:
        code = app(
            arguments, exit_on_error=False, print_error=False, error_console=errors, result_action="return_value"
        )
    except CycloptsError as error:
        errors.print(f"rnnfv: {error}\nSee `rnnfv --help`.", markup=False, highlight=False)
        code = WRONG_USAGE
    except KeyboardInterrupt:
        errors.print("rnnfv: interrupted")
        code = INTERRUPTED
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        errors.print(f"rnnfv: {error}", markup=False, highlight=False)
        code = FAILED
    sys.exit(code)


def _at_least_one(n: int) -> None:
    if n < 1:
        raise ValueError("it must be at least 1")
