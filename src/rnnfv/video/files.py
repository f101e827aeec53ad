"""Finding videos and pictures in folders, and their ids."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["find_pictures", "find_videos", "full_id", "image_files", "item_id", "item_ids", "walk"]

_VIDEOS = {f".{suffix}" for suffix in (
    "3g2", "3gp", "asf", "avi", "divx", "dv", "f4v", "flv", "gif", "m1v", "m2ts", "m2v", "m4v", "mjpeg", "mjpg",
    "mkv", "mov", "mp4", "mpe", "mpeg", "mpg", "mts", "mxf", "ogm", "ogv", "rm", "ts", "vob", "webm", "wmv", "y4m",
)}  # fmt: skip
_IMAGES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_PICTURES = _IMAGES | {".gif"}  # a GIF alone may be an animation


def find_videos(folder: str | Path) -> list[Path]:
    """The videos of a folder and its subfolders, sorted.

    A folder that holds image files and no video file is one item. Hidden files and folders are passed by; links
    to folders are not followed.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    list of Path

    Raises
    ------
    OSError
        If a folder cannot be listed.
    """
    found: list[Path] = []
    for here, files in walk(folder):
        videos = [here / file for file in files if _is_of(file, _VIDEOS)]
        found += videos or ([here] if any(_is_of(file, _IMAGES) for file in files) else [])
    return sorted(found)


def find_pictures(folder: str | Path) -> list[Path]:
    """The picture files of a folder and its subfolders, sorted. Hidden ones are passed by, as `find_videos` does.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    list of Path
        Files whose names end in .bmp, .gif, .jpeg, .jpg, .png, .ppm, .tif, .tiff or .webp.

    Raises
    ------
    OSError
        If a folder cannot be listed.
    """
    return sorted(here / file for here, files in walk(folder) for file in files if _is_of(file, _PICTURES))


def walk(folder: str | Path) -> Iterator[tuple[Path, list[str]]]:
    """A folder and its subfolders, each with the names of its files.

    Hidden files and folders are passed by; links to folders are not followed.

    Raises
    ------
    OSError
        If a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise error

    for here, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield Path(here), [name for name in files if not name.startswith(".")]


def full_id(root: str | Path, path: str | Path) -> str:
    """A picture's id: its path below ``root`` with forward slashes, with the suffix.

    Raises
    ------
    ValueError
        If the name is not valid UTF-8: then nothing could write it down.

    Examples
    --------
    >>> from rnnfv.video.files import full_id
    >>> full_id("coco", "coco/val2014/COCO_val2014_000000391895.jpg")
    'val2014/COCO_val2014_000000391895.jpg'
    """
    root, path = Path(root), Path(path)
    whole = path.name if path == root else path.relative_to(root).as_posix()
    if any("\ud800" <= letter <= "\udfff" for letter in whole):
        raise ValueError(f"the name {whole!a} is not valid UTF-8: rename it")
    return whole


def item_id(root: str | Path, path: str | Path) -> str:
    """A video's id: its path below ``root`` with forward slashes, without the suffix; folders keep their full name.

    Raises
    ------
    ValueError
        If the name is not valid UTF-8: then nothing could write it down.

    Examples
    --------
    >>> from rnnfv.video.files import item_id
    >>> item_id("videos", "videos/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi")
    'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01'
    """
    path, whole = Path(path), full_id(root, path)
    return whole.removesuffix(path.suffix) if _is_of(path.name, _VIDEOS) and not path.is_dir() else whole


def item_ids(root: str | Path, paths: Sequence[Path]) -> list[str]:
    """The ids of many videos, all different: those that would share one keep their suffix."""
    ids = [item_id(root, path) for path in paths]
    while shared := {name for name, count in Counter(ids).items() if count > 1}:
        # A name with its suffix may be another's without: "a.avi" beside "a.avi.mp4".
        ids = [full_id(root, path) if name in shared else name for name, path in zip(ids, paths, strict=True)]
    return ids


def image_files(folder: Path) -> list[Path]:
    """The image files directly in a folder, in the natural order of their names: "frame9" before "frame10"."""
    return sorted((file for file in folder.iterdir() if _is_of(file.name, _IMAGES)), key=_natural)


def _is_of(name: str, suffixes: set[str]) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in suffixes


def _natural(path: Path) -> tuple[list[str | int], str]:
    """Text and numbers in turn; names that differ only in leading zeros keep an order."""
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], path.name
