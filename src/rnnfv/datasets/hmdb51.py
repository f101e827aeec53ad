"""HMDB51: 6,766 clips of 51 actions, from its official lists (SPEC S11)."""

from __future__ import annotations

import re
from pathlib import Path

from rnnfv.datasets.manifest import ClipLists, Manifest, list_lines

_LIST = re.compile(r"(.+)_test_split([123])\.txt")
_PARTS = {"0": "", "1": "train", "2": "test"}
# Visible part of the body, camera motion, number of people, viewpoint, quality, number of the clip.
_TAIL = r"_[fuhl]_[cn]m_np\d+_(?:fr|ba|le|ri)_(?:goo|med|bad)_\d+\.avi"


def hmdb51_manifest(splits: Path | str, videos: Path | str | None = None) -> Manifest:
    """The manifest of HMDB51.

    Ids are paths without a suffix, such as "wave/21_wave_u_nm_np1_fr_goo_5". The group is the film that a clip was
    cut from, here "21": what stands in its name before the class. A film that came in parts, such as Two_Towers_1
    and Two_Towers_2, is several, as it is for the official splits. Classes share films: within a class no film is
    on both sides of a split, but 133, 149 and 144 films are, with clips of different classes, in splits 1, 2 and 3
    (`rnnfv.datasets.manifest.overlapping_groups`).

    Parameters
    ----------
    splits : Path or str
        The folder with <class>_test_split1.txt to <class>_test_split3.txt of every class.
    videos : Path or str, optional
        The folder with one folder of clips for each class. Where given, every clip must be there.

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
    H. Kuehne, H. Jhuang, E. Garrote, T. Poggio, T. Serre. HMDB: A Large Video Database for Human Motion Recognition.
    ICCV 2011.
    """
    folder = Path(splits)
    classes = sorted({match[1] for path in folder.glob("*.txt") if (match := _LIST.fullmatch(path.name))})
    if not classes:
        raise FileNotFoundError(
            f"{folder}: there are no lists <class>_test_split1.txt to <class>_test_split3.txt in it"
        )
    lists = ClipLists(folder)
    for label in classes:
        for split in (1, 2, 3):
            for where, words in list_lines(folder / f"{label}_test_split{split}.txt"):
                if len(words) != 2 or words[1] not in _PARTS:
                    raise ValueError(
                        f"{where}: {' '.join(words)!r} is not a clip and a flag: 1 train, 2 test, 0 unused"
                    )
                film = _film(where, words[0], label)
                lists.add(where, f"{label}/{words[0]}", label, film, f"split{split}", _PARTS[words[1]])
    return lists.manifest(videos)


def _film(where: str, name: str, label: str) -> str:
    """What stands before the class in a clip's name. The film's own name may hold the class as well."""
    clip = re.fullmatch(f"(.+)_{re.escape(label)}{_TAIL}", name)
    if clip is None:
        raise ValueError(
            f"{where}: {name!r} is not a clip of {label}: it must be like <film>_{label}_f_cm_np1_fr_goo_0.avi"
        )
    return clip[1]
