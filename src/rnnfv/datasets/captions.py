"""Images and the sentences that describe them: Flickr8k, Flickr30k, COCO, and sets in their formats (SPEC S20)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.storage.bounds import text_array
from rnnfv.storage.lines import read_text

__all__ = ["Captions", "read_captions"]

_FLICKR8K_TEXT = "Flickr8k.token.txt"
_FLICKR8K_LISTS = {"train": "trainImages", "val": "devImages", "test": "testImages"}


@dataclass(frozen=True)
class Captions:
    """Images, each with one or more sentences.

    Attributes
    ----------
    filenames : ndarray of shape (n,), str
        All different.
    splits : ndarray of shape (n,), str
        Such as "train", "val", "test". COCO's "restval" is read as "train", which is how the field uses it.
    rows : ndarray of shape (n,), int64
        Each image's place in the data set: its row in the file of image vectors.
    raw : list of str, m of them
        The sentences as they were written, those of one image behind one another.
    tokens : list of (list of str, or None), m of them
        Their words as the data set gives them; None where it does not.
    image_of_sentence : ndarray of shape (m,), int64
        The image, 0 to n - 1, of each sentence.
    sentence_ids : list of str, m of them
        "<filename>#<number of the sentence>", the number from 0.
    """

    filenames: NDArray[np.str_]
    splits: NDArray[np.str_]
    rows: NDArray[np.int64]
    raw: list[str]
    tokens: list[list[str] | None]
    image_of_sentence: NDArray[np.int64]
    sentence_ids: list[str]

    @property
    def sentences(self) -> list[str | list[str]]:
        """The data set's own words where it gives them, else the raw sentence, m items."""
        return [raw if tokens is None else tokens for raw, tokens in zip(self.raw, self.tokens, strict=True)]

    def part(self, split: str) -> Captions:
        """The images of one split with their sentences.

        Raises
        ------
        ValueError
            If there is no such split; the message lists those there are.
        """
        images = np.flatnonzero(self.splits == split)
        if not images.size:
            raise ValueError(f"there is no split {split!r}; there are {', '.join(np.unique(self.splits).tolist())}")
        return self.take(images)

    def take(self, images: Any) -> Captions:
        """The chosen images with their sentences, in the order of the images.

        Parameters
        ----------
        images : array-like of int, or mask of shape (n,)
        """
        images = np.arange(len(self.filenames))[images]
        bounds = np.searchsorted(self.image_of_sentence, np.stack([images, images + 1]))
        chosen = [i for first, last in bounds.T.tolist() for i in range(first, last)]
        return Captions(
            self.filenames[images],
            self.splits[images],
            self.rows[images],
            [self.raw[i] for i in chosen],
            [self.tokens[i] for i in chosen],
            np.repeat(np.arange(len(images)), bounds[1] - bounds[0]),
            [self.sentence_ids[i] for i in chosen],
        )


def read_captions(path: str | Path) -> Captions:
    """Read a data set of captions.

    Parameters
    ----------
    path : str or Path
        The field's JSON, such as ``dataset_coco.json``: ``{"images": [{"filename", "filepath" (optional), "split",
        "sentences": [{"raw", "tokens"}]}]}``, of each sentence at least one of the two. Or the folder of Flickr8k's own
        lists: ``Flickr8k.token.txt`` and ``Flickr_8k.trainImages.txt``, ``.devImages.txt`` ("val"),
        ``.testImages.txt``. Those name 8,000 of the images, in the order of which they are given here; the others
        are left out.

    Returns
    -------
    Captions

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    ValueError
        If an entry lacks something, an image has no sentence, or a filename comes twice; the message names it.

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> from rnnfv.datasets.captions import read_captions
    >>> image = {"filename": "1.jpg", "split": "val", "sentences": [{"raw": "A dog."}, {"tokens": ["two", "dogs"]}]}
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "dataset.json"
    >>> _ = file.write_text(json.dumps({"images": [image]}))
    >>> captions = read_captions(file).part("val")
    >>> captions.sentences, captions.image_of_sentence.tolist()
    (['A dog.', ['two', 'dogs']], [0, 0])
    """
    path = Path(path)
    return _read_flickr8k(path) if path.is_dir() else _read_json(path)


# -- the field's JSON ------------------------------------------------------------------------------


def _read_json(path: Path) -> Captions:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    entries = content.get("images") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f'{path} has no images: expected {{"images": [{{"filename", "split", "sentences"}}, ...]}}')
    names, splits, sentences = [], [], []
    for i, entry in enumerate(entries):
        name, split, texts = _parse_image(f"{path}, image {i}", entry)
        names.append(name)
        splits.append("train" if split == "restval" else split)
        sentences.append(texts)
    return _captions(path, names, splits, sentences)


_Text = tuple[str, list[str] | None]  # a sentence as it was written, and its words


def _parse_image(where: str, entry: Any) -> tuple[str, str, list[_Text]]:
    match entry:
        case {"filename": str(name), "split": str(split), "sentences": [*sentences]}:
            if folder := entry.get("filepath"):
                name = f"{folder}/{name}"
            return name, split, [_parse_sentence(f"{where} ({name!r:.100})", sentence) for sentence in sentences]
    raise ValueError(f'{where} must have "filename", "split" and "sentences"')


def _parse_sentence(where: str, sentence: Any) -> _Text:
    raw, tokens = (sentence.get("raw"), sentence.get("tokens")) if isinstance(sentence, dict) else (None, None)
    if isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
        return raw if isinstance(raw, str) else " ".join(tokens), tokens
    if tokens is None and isinstance(raw, str):
        return raw, None
    raise ValueError(f'{where} has a sentence without "raw" text or with "tokens" that are not a list of words')


# -- Flickr8k's own lists --------------------------------------------------------------------------


def _read_flickr8k(folder: Path) -> Captions:
    texts: dict[str, list[_Text]] = {}
    for number, line in _numbered_lines(folder / _FLICKR8K_TEXT):
        key, tab, sentence = line.partition("\t")
        if not tab or "#" not in key:
            raise ValueError(f"{folder / _FLICKR8K_TEXT}, line {number} is not <image>#<number><TAB><sentence>")
        texts.setdefault(key.rpartition("#")[0], []).append((sentence.strip(), None))
    names, splits = [], []
    for split, name in _FLICKR8K_LISTS.items():
        listed = [line.strip() for _, line in _numbered_lines(folder / f"Flickr_8k.{name}.txt")]
        names += listed
        splits += [split] * len(listed)
    return _captions(folder, names, splits, [texts.get(name, []) for name in names])


def _numbered_lines(path: Path) -> list[tuple[int, str]]:
    """The lines that hold anything, and their numbers."""
    lines = read_text(path, "convert the file").split("\n")
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]


# -- both ------------------------------------------------------------------------------------------


def _captions(path: Path, names: list[str], splits: list[str], sentences: Sequence[list[_Text]]) -> Captions:
    seen: set[str] = set()
    for name, texts in zip(names, sentences, strict=True):
        if name in seen:
            raise ValueError(
                f"{path}: the image {name!r:.100} comes a second time: every image needs a name of its own"
            )
        if not texts:
            raise ValueError(
                f"{path}: the image {name!r:.100} has no sentence: remove it, and its row of the image vectors"
            )
        seen.add(name)
    together = [text for texts in sentences for text in texts]
    return Captions(
        text_array(str(path), names),
        text_array(str(path), splits),
        np.arange(len(names)),
        [raw for raw, _ in together],
        [tokens for _, tokens in together],
        np.repeat(np.arange(len(names)), [len(texts) for texts in sentences]),
        [f"{name}#{k}" for name, texts in zip(names, sentences, strict=True) for k in range(len(texts))],
    )
