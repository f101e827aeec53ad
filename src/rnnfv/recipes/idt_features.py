"""Improved dense trajectories as features: their files, and a folder of shards like those of videos."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rnnfv.recipes._extraction_job import ExtractionJob, ExtractionSummary, VideoFeatures
from rnnfv.recipes._videos import Video, list_videos
from rnnfv.storage import as_path
from rnnfv.video.files import item_id, walk
from rnnfv.video.trajectories import DESCRIPTORS, load_descriptors

__all__ = ["extract_trajectories", "find_trajectories"]

_SUFFIXES = (".txt", ".features")  # before or without .gz


def find_trajectories(folder: Path | str) -> dict[str, Path]:
    """The files of trajectories in a folder and its subfolders: .txt, .features and .gz, the last being compressed.

    Hidden files and folders are passed by; links to folders are not followed.

    Parameters
    ----------
    folder : Path or str

    Returns
    -------
    dict of str to Path
        By id, sorted: the path below the folder, less these suffixes and that of a video before them.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    OSError
        If a folder cannot be listed.
    ValueError
        If there is no such file, two of them have one id, or a name is not valid UTF-8.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from rnnfv.recipes.idt_features import find_trajectories
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("jump_c01.avi.gz", "jump_c02.txt"):
    ...     (folder / name).touch()
    >>> list(find_trajectories(folder))
    ['jump_c01', 'jump_c02']
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: give a folder of files of improved dense trajectories")
    suffixes = (*_SUFFIXES, ".gz")
    found: dict[str, Path] = {}
    for path in sorted(here / file for here, files in walk(folder) for file in files if file.endswith(suffixes)):
        name = _id(folder, path)
        if name in found:
            raise ValueError(f"{found[name]} and {path} are both of {name!r}: move one of them away")
        found[name] = path
    if not found:
        raise ValueError(f"{folder} has no files of trajectories: they end in .txt, .features or .gz")
    return dict(sorted(found.items()))


def _id(folder: Path, path: Path) -> str:
    name = path.name.removesuffix(".gz")
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return item_id(folder, path.with_name(name))


# -- to features -----------------------------------------------------------------------------------


def extract_trajectories(
    source: str | Path,
    out: str | Path,
    *,
    manifest: str | Path | None = None,
    max_steps: int | None = None,
    shard_size: int = 5,
    progress: bool = False,
) -> ExtractionSummary:
    """Store the descriptors of trajectories as features: a step is a trajectory, in the order of their last frames.

    A step has 426 numbers: trajectory 30, HOG 96, HOF 108, MBHx 96, MBHy 96. They are stored as float16, 852 bytes
    instead of 1,704: none is beyond 1, since they are roots of normalised histograms, or shares of a track's length,
    and there float16 is off by 0.00025 at most. A clip has thousands to tens of thousands of trajectories; 20,000 take
    17 MB, and 13,320 clips with so many 227 GB. ``max_steps`` keeps a sample of each.

    The folder, and what happens after a stop, are as of `rnnfv.recipes.extraction.extract_features`. Files are read one
    after another, some thousand trajectories a second. To write a shard takes nine times its size of memory: 0.8 GB for
    five clips of 20,000.

    Parameters
    ----------
    source : str or Path
        A folder (`find_trajectories`), or one file that DenseTrackStab wrote.
    out : str or Path
        The folder to write.
    manifest : str or Path, optional
        A CSV whose columns ``id`` and ``path`` name the files; paths are relative to the source, or to the manifest.
    max_steps : int, optional
        Trajectories to keep of a file, drawn with a fixed seed, all equally likely. Default: all.
    shard_size : int
        Files a shard.
    progress : bool
        Show a bar on stderr: files done, trajectories a second, failures, time left.

    Returns
    -------
    ExtractionSummary
        Files that cannot be read are listed there and in the CSV, with the line.

    Raises
    ------
    FileNotFoundError
        If there is no source or no manifest.
    ValueError
        If ``max_steps`` is below 1, there is no file, two have one id, none at all could be read, or the folder holds
        features of another kind, another sample or other files.
    """
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}: it must be at least 1")
    files = _files(Path(source), None if manifest is None else Path(manifest))
    job = ExtractionJob(files, {"features": "idt", "max steps": max_steps}, {}, as_path(out), shard_size, "float16")
    return job.run(lambda paths, tell: _read_all(paths, max_steps, tell), "trajectories", progress)


def _files(source: Path, manifest: Path | None) -> list[Video]:
    if manifest is not None:
        return list_videos(source, manifest)
    if source.is_file():
        return [Video(_id(source.parent, source), source, source.name)]
    return [Video(name, path, path.relative_to(source).as_posix()) for name, path in find_trajectories(source).items()]


def _read_all(
    paths: list[Path], max_steps: int | None, tell: Callable[[int], None]
) -> Generator[tuple[int, VideoFeatures]]:
    for i, path in enumerate(paths):
        try:
            features = _read(path, max_steps)
        except (OSError, ValueError) as error:
            yield i, VideoFeatures("failed", str(error))
        else:
            tell(len(features))
            yield i, VideoFeatures("ok", "", features=features)


def _read(path: Path, max_steps: int | None) -> NDArray[np.float16]:
    parts = load_descriptors(path, max_steps, random_state=0)
    with np.errstate(over="ignore"):
        features = np.concatenate([parts[name] for name in DESCRIPTORS], axis=1, dtype=np.float16)
    if not np.isfinite(features).all():
        largest = max(float(np.abs(part).max()) for part in parts.values())
        raise ValueError(f"{path}: a descriptor has the value {largest:g}, but they are at most 1: make the file again")
    return features
