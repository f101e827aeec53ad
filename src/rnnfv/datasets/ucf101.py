"""UCF101: 13,320 clips of 101 actions, from its official lists (SPEC S11)."""

from __future__ import annotations

import re
from pathlib import Path

from rnnfv.datasets.manifest import ClipLists, Manifest, list_lines

_CLIP = re.compile(r"(\w+)/v_(\w+)_(g\d+)_c\d+\.avi")


def ucf101_manifest(splits: Path | str, videos: Path | str | None = None) -> Manifest:
    """The manifest of UCF101.

    Ids are paths without a suffix, such as "Archery/v_Archery_g08_c01", spelt as the lists do. The lists write
    HandstandPushups in two ways, v_HandStandPushups_* in a folder HandstandPushups: case does not matter when clips
    are counted and when videos are found. Clips of one film have a group number, which starts anew in every
    class: a group is "Archery_g08".

    Parameters
    ----------
    splits : Path or str
        The folder with classInd.txt, trainlist01.txt to trainlist03.txt and testlist01.txt to testlist03.txt.
    videos : Path or str, optional
        The folder UCF-101. Where given, every clip must be there, and paths are spelt as they are there.

    Returns
    -------
    Manifest
        With the splits "split1", "split2", "split3" and with paths.

    Raises
    ------
    FileNotFoundError
        If a list or a video is missing.
    ValueError
        If a line is wrong; the message names the file and the line.

    References
    ----------
    K. Soomro, A. R. Zamir, M. Shah. UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild. 2012.
    """
    folder = Path(splits)
    classes = _read_classes(folder / "classInd.txt")
    lists = ClipLists(folder)
    for split in (1, 2, 3):
        for part in ("train", "test"):
            for where, words in list_lines(folder / f"{part}list0{split}.txt"):
                label, group = _read_clip(where, words, classes, numbered=part == "train")
                lists.add(where, words[0], label, group, f"split{split}", part)
    return lists.manifest(videos)


def _read_classes(path: Path) -> dict[str, tuple[str, str]]:
    """Number and name of each class, by its name in lower case."""
    classes = {}
    for where, words in list_lines(path):
        if len(words) != 2 or not words[0].isdecimal():
            raise ValueError(f"{where}: {' '.join(words)!r} is not a number and the name of a class")
        classes[words[1].lower()] = (words[0], words[1])
    return classes


def _read_clip(where: str, words: list[str], classes: dict[str, tuple[str, str]], numbered: bool) -> tuple[str, str]:
    """Label and group of a clip. In the lists for training the number of its class stands behind it."""
    clip = _CLIP.fullmatch(words[0])
    if clip is None or clip[1].lower() != clip[2].lower():
        raise ValueError(f"{where}: {words[0]!r} is not a clip: it must be like Archery/v_Archery_g08_c01.avi")
    if clip[1].lower() not in classes:
        raise ValueError(f"{where}: classInd.txt has no class {clip[1]!r}")
    number, label = classes[clip[1].lower()]
    if words[1:] != ([number] if numbered else []):
        wanted = f"its class number, {number}," if numbered else "nothing"
        raise ValueError(f"{where}: {wanted} must stand behind the clip, but there is {' '.join(words[1:])!r}")
    return label, f"{label}_{clip[3]}"
