"""Improved dense trajectories: the text that the DenseTrackStab program writes, read block by block (SPEC S12)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from rnnfv.storage.lines import numbered_lines

DESCRIPTORS = {"trajectory": 30, "hog": 96, "hof": 108, "mbhx": 96, "mbhy": 96}
"""The descriptors of a trajectory, in the order of the file, and how many numbers each has."""

_INFO = 10
_WIDTH = _INFO + sum(DESCRIPTORS.values())
_POSITIONS = 30
_BLOCK = 1024  # lines parsed together: about 5 MB of text
_LONGEST_LINE = 1 << 16  # bytes: 140 a number; a block of them is 64 MiB
_SLACK = 1.25  # a sample may grow by this factor before it is cut back to its size


def read_trajectories(path: Path | str, block: int = _BLOCK) -> Iterator[NDArray[np.void]]:
    """Read a file of improved dense trajectories, a block of lines at a time.

    A line is one trajectory, 436 numbers with tabs or spaces between them: 10 of information (the frame it ends at,
    mean and variance of x and y, length, scale, relative x, y and time), 30 of its shape, 96 HOG, 108 HOF, 96 MBH in
    x and 96 MBH in y. A known variant of the program writes 466: behind the information stand the 30 coordinates of
    the track's 15 points, which are passed over. Lines at the beginning that start with # or % are comments.

    Parameters
    ----------
    path : Path or str
        A text file; compressed, if its name ends in .gz.
    block : int, default=1024
        Lines of a block. Only one block is in memory.

    Yields
    ------
    ndarray of shape (n,), n at most ``block``
        With the float32 fields "info" (10 numbers), "trajectory", "hog", "hof", "mbhx" and "mbhy" (`DESCRIPTORS`).

    Raises
    ------
    ValueError
        If the file is empty, its compression is damaged, or a line is longer than 64 KiB, has the wrong number of
        values or something else than finite numbers; the message names the file and the line.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "clip.txt"
    >>> _ = file.write_text("\\t".join(map(str, range(436))) + "\\n")
    >>> [block] = read_trajectories(file)
    >>> block["info"][0, 0], block["trajectory"].shape, block["mbhy"][0, -1]
    (np.float32(0.0), (1, 30), np.float32(435.0))
    """
    if block < 1:
        raise ValueError(f"block is {block}: it must be at least 1")
    layout = None
    lines = _data_lines(Path(path))
    while numbered := list(islice(lines, block)):
        if layout is None:
            layout = _layout(path, *numbered[0])
        yield _parse(path, numbered, layout.itemsize // 4).view(layout)[:, 0]
    if layout is None:
        raise ValueError(f"{path}: there are no trajectories in it")


def load_descriptors(
    path: Path | str, max_steps: int | None = None, random_state: Any = None
) -> dict[str, NDArray[np.float32]]:
    """All descriptors of a file, or a random sample of them, in the order of the frames that they end at.

    Memory grows with what is returned, 1.7 kB a trajectory, and is at most about twice that.

    Parameters
    ----------
    path : Path or str
        As `read_trajectories` takes it.
    max_steps : int, optional
        Trajectories to keep, all of them equally likely.
    random_state : int, RandomState instance, optional
        Of their choice.

    Returns
    -------
    dict of str to ndarray of shape (n, width), float32
        "trajectory", "hog", "hof", "mbhx" and "mbhy"; row i of all belongs to one trajectory.

    Raises
    ------
    ValueError
        As `read_trajectories` does.
    """
    rows = _sample(read_trajectories(path), max_steps, check_random_state(random_state))
    order = np.argsort(rows["info"][:, 0], kind="stable")
    return {name: np.take(rows[name], order, axis=0) for name in DESCRIPTORS}


def sample_descriptors(
    paths: Sequence[Path | str], n_samples: int, random_state: Any = None
) -> dict[str, NDArray[np.float32]]:
    """A random sample of the descriptors of many files, all trajectories equally likely, in one pass over them.

    Memory is for two to three times the sample, however large the files are.

    Parameters
    ----------
    paths : sequence of Path or str
        As `read_trajectories` takes them.
    n_samples : int
        Trajectories to keep; all, where there are fewer.
    random_state : int, RandomState instance, optional

    Returns
    -------
    dict of str to ndarray of shape (n, width), float32
        As from `load_descriptors`, but in the order of the files.

    Raises
    ------
    ValueError
        As `read_trajectories` does.
    """
    blocks = (block for path in paths for block in read_trajectories(path))
    rows = _sample(blocks, n_samples, check_random_state(random_state))
    return {name: np.ascontiguousarray(rows[name]) for name in DESCRIPTORS}


def _sample(blocks: Iterable[NDArray[np.void]], most: int | None, rng: np.random.RandomState) -> NDArray[np.void]:
    """Draw a number for each row and keep those with the smallest: the cut into blocks makes no difference."""
    if most is not None and most < 1:
        raise ValueError(f"a sample of {most} trajectories: it must be at least 1")
    limit = np.inf if most is None else most
    kept: list[NDArray[np.void]] = []
    drawn: list[NDArray[np.float64]] = []
    bound, held = np.inf, 0
    for block in blocks:
        numbers = rng.random_sample(len(block))
        chosen = numbers < bound
        kept.append(block[chosen])
        drawn.append(numbers[chosen])
        held += len(drawn[-1])
        if held > _SLACK * limit:
            rows, numbers = _smallest(kept, drawn, limit)
            kept, drawn, held, bound = [rows], [numbers], len(rows), numbers.max(initial=0.0)
    return _smallest(kept, drawn, limit)[0]


def _smallest(
    kept: list[NDArray[np.void]], drawn: list[NDArray[np.float64]], limit: float
) -> tuple[NDArray[np.void], NDArray[np.float64]]:
    """The rows, still in order, whose numbers are among the smallest, and these numbers."""
    rows, numbers = np.concatenate(kept), np.concatenate(drawn)
    if len(rows) <= limit:
        return rows, numbers
    chosen = np.sort(np.argpartition(numbers, int(limit) - 1)[: int(limit)])
    return rows[chosen], numbers[chosen]


# -- lines of text ---------------------------------------------------------------------------------


def _data_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number and content of each line, less comments at the beginning and empty lines."""
    opened: Any = gzip.open if path.suffix == ".gz" else open
    at_beginning = True
    with opened(path, "rb") as file:
        try:
            for number, line in numbered_lines(file, path, _LONGEST_LINE):
                if not line.isspace() and not (at_beginning and line.lstrip().startswith((b"#", b"%"))):
                    at_beginning = False
                    yield number, line
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: the compressed file is damaged or cut off: make it again") from error


def _layout(path: Path | str, number: int, line: bytes) -> np.dtype[np.void]:
    """The fields of a line, from the first one: the descriptors are always at its end."""
    width = len(line.split())
    if width not in (_WIDTH, _WIDTH + _POSITIONS):
        raise ValueError(
            f"{path}, line {number}: {width} numbers, but a trajectory of DenseTrackStab has {_WIDTH}, "
            f"or {_WIDTH + _POSITIONS} with the positions of its points"
        )
    starts = width - _WIDTH + _INFO + np.cumsum([0, *DESCRIPTORS.values()][:-1])
    return np.dtype(
        {
            "names": ["info", *DESCRIPTORS],
            "formats": [(np.float32, (size,)) for size in (_INFO, *DESCRIPTORS.values())],
            "offsets": [4 * start for start in (0, *starts.tolist())],
            "itemsize": 4 * width,
        }
    )


def _parse(path: Path | str, numbered: list[tuple[int, bytes]], width: int) -> NDArray[np.float32]:
    """Lines to rows of numbers, shape (n, width)."""
    rows = _numbers([line for _, line in numbered])
    if rows is not None and rows.shape[1] == width:
        return rows
    for number, line in numbered:
        words = line.decode("ascii", "replace").split()
        if len(words) != width:
            raise ValueError(f"{path}, line {number}: {len(words)} numbers, but the lines before it have {width}")
        row = _numbers([line])
        if row is None or row.shape != (1, width):
            # If every word is a number, something else is between them, such as half a line end.
            wrong = next((word for word in words if _numbers([word]) is None), line.decode("ascii", "replace"))
            raise ValueError(f"{path}, line {number}: {wrong[:20]!r} is not a finite number")
    raise ValueError(f"{path}, line {numbered[0][0]}: from here on, these are not lines of {width} numbers")


def _numbers(lines: list[bytes] | list[str]) -> NDArray[np.float32] | None:
    """Lines to rows; None where one of them is not like the others or has something else than finite numbers."""
    try:
        rows = np.loadtxt(lines, np.float32, comments=None, ndmin=2, encoding="ascii")
    except ValueError:
        return None
    return rows if np.isfinite(rows).all() else None
