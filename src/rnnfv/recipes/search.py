"""Searching pictures by a sentence, and sentences by a picture: indexes of a model's common space."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.recipes.evaluation import Combination
from rnnfv.recipes.picture_features import extract_pictures
from rnnfv.recipes.retrieval import FOLDER, load_retrieval
from rnnfv.recipes.sentences import encoded_blocks
from rnnfv.storage import VectorIndex, as_path, file_identity, one_writer, open_index, read_all_features
from rnnfv.storage.index import local_folder
from rnnfv.video.backbones import Backbone, from_description

__all__ = ["IMAGES", "SENTENCES", "Searcher", "nearest", "picture_files", "pictures_of"]

IMAGES, SENTENCES = "images", "sentences"
_ROWS = 50_000  # items appended together
_Block = tuple[list[str], NDArray[Any]]  # names, and their vectors in the common space


class Searcher:
    """One model, or several whose similarities are averaged (SPEC S22), and the indexes that they make.

    Parameters
    ----------
    folders : sequence of str or Path
        Of models that `rnnfv.recipes.retrieval.RetrievalModel.save` wrote.
    """

    def __init__(self, folders: Sequence[str | Path]) -> None:
        if not folders:
            raise ValueError("give the folder of one or more models")
        self.model = Combination(tuple(load_retrieval(folder) for folder in folders))
        self._identity = [file_identity(as_path(folder) / FOLDER.record)["sha256"] for folder in folders]

    def index_images(
        self, blocks: Iterable[tuple[Sequence[str], NDArray[Any]]], out: str | Path, pictures: str = ""
    ) -> int:
        """Add images to an index, which is made where there is none.

        Of the image vectors one block is in memory; of those in the common space 50,000 and a block.

        Parameters
        ----------
        blocks : iterable of (names, ndarray of shape (n, d))
            Names, such as file names, and the vectors of these images, as `rnnfv.datasets.image_vectors.image_blocks`
            gives them. Those that the index has already are passed by.
        out : str or Path
            Folder of the index.
        pictures : str
            The folder that the names are relative to, for showing them; kept in the index.

        Returns
        -------
        int
            Images added.
        """

        def encoded(known: set[str]) -> Iterator[_Block]:
            for names, vectors in blocks:
                new = [row for row, name in enumerate(names) if name not in known]
                if new:
                    yield [names[row] for row in new], self.model.encode_images(vectors[new])

        return self._add(out, IMAGES, encoded, pictures)

    def index_sentences(self, texts: Iterable[str], out: str | Path) -> tuple[int, int]:
        """Add sentences to an index, which is made where there is none. A sentence is its own id, and added once.

        In memory are the different sentences, and the vectors of 50,000.

        Parameters
        ----------
        texts : iterable of str
        out : str or Path
            Folder of the index.

        Returns
        -------
        added, without_words : int
            Sentences added; and those left out because no word of theirs is known.
        """
        unknown: set[str] = set()

        def encoded(known: set[str]) -> Iterator[_Block]:
            lines = (text for text in texts if text.strip())
            while some := list(islice(lines, _ROWS)):
                new = [text for text in dict.fromkeys(some) if text not in known and text not in unknown]
                unknown.update(new[i] for i in self.without_words(new))
                if new := [text for text in new if text not in unknown]:
                    yield new, self.model.encode_sentences(new)

        return self._add(out, SENTENCES, encoded), len(unknown)

    def find_images(self, sentence: str, index: str | Path, top: int = 10) -> tuple[list[tuple[str, float]], str]:
        """The images nearest to a sentence, best first, and the folder of their pictures.

        Names and folder are those that the index has: of one from elsewhere they may be any, see `picture_files`.

        Parameters
        ----------
        sentence : str
        index : str or Path
            Of images, made by `index_images`.
        top : int
            How many at most.

        Returns
        -------
        found : list of (str, float)
            Names and similarities.
        pictures : str
            The folder; empty where none was told.

        Raises
        ------
        ValueError
            If no word of the sentence is known, or the index is of another kind or of other models, or damaged.
        """
        opened = self.open(index, IMAGES)
        pictures = pictures_of(opened)
        if self.without_words([sentence]):
            raise ValueError(f"no word of {sentence!r} is known: say it in other words")
        (found,) = nearest(opened, self.model.encode_sentences([sentence]), top)
        return found, pictures

    def find_sentences(self, image: NDArray[Any], index: str | Path, top: int = 10) -> list[tuple[str, float]]:
        """The sentences nearest to an image vector of shape (d,), best first.

        Parameters
        ----------
        image : ndarray of shape (d,)
        index : str or Path
            Of sentences, made by `index_sentences`.
        top : int
            How many at most.

        Returns
        -------
        list of (str, float)
            Sentences and similarities.
        """
        (found,) = nearest(self.open(index, SENTENCES), self.model.encode_images(image[None]), top)
        return found

    def picture_vector(self, picture: str | Path, weights: str | Path | None = None) -> NDArray[Any]:
        """The image vector of a picture file, by the backbone that made the models' image vectors: shape (d,).

        Parameters
        ----------
        picture : str or Path
        weights : str or Path, optional
            The backbone's file of weights, where it has one.

        Raises
        ------
        ValueError
            If the models do not know their backbone, its weights are missing, or the picture cannot be read.
        """
        backbone = self.picture_backbone(weights)
        with tempfile.TemporaryDirectory() as folder:
            extract_pictures(picture, backbone, folder, workers=0)
            vector: NDArray[Any] = read_all_features(folder).sequences.values[0].copy()
        return vector

    def picture_backbone(self, weights: str | Path | None = None, device: str = "auto") -> Backbone:
        """Make the backbone that made the models' image vectors, which are those of pictures.

        Parameters
        ----------
        weights : str or Path, optional
            The backbone's file of weights, where it has one.
        device : str
            Where it computes: auto, cpu, cuda, ...

        Returns
        -------
        Backbone

        Raises
        ------
        ValueError
            If the models do not know their backbone, or its weights are missing.
        """
        notes = [model.note.get("backbone") for model in self.model.models]
        if notes[0] is None or any(note != notes[0] for note in notes):
            raise ValueError(
                "the backbone of the models' image vectors is not known: fit on features of `rnnfv extract`"
            )
        if weights is None and "file" in notes[0]["weights"]:
            raise ValueError(
                f"the weights of {notes[0]['name']}, {notes[0]['weights']['file']}, are needed: give --weights"
            )
        return from_description(notes[0], weights, device=device)

    @property
    def score_meaning(self) -> str:
        """What a similarity of these models means, in a sentence for a person."""
        scaled = [model.scaling.neighbours > 0 for model in self.model.models]
        if all(scaled):
            return "Scores: higher is nearer; 0 is as near as near neighbours usually are."
        if any(scaled):
            return "Scores: higher is nearer."
        return "Scores are cosines: higher is nearer, 1 at most."

    def without_words(self, texts: list[str]) -> set[int]:
        """The sentences, by number, of which a model knows no word.

        Parameters
        ----------
        texts : list of str

        Returns
        -------
        set of int
        """
        unknown: set[int] = set()
        for model in self.model.models:
            if "words" in model.sentences.named_steps:
                unknown.update(model.sentences["words"].read(texts)[1].without_words.tolist() if texts else ())
                continue
            for rows, block in encoded_blocks(model.sentences, texts) if texts else ():
                unknown.update((rows.start + np.flatnonzero(~block.any(axis=1))).tolist())
        return unknown

    def _add(
        self, out: str | Path, kind: str, encoded: Callable[[set[str]], Iterator[_Block]], pictures: str = ""
    ) -> int:
        """Append what ``encoded`` makes, given the ids that are known so far; how many that was."""
        out = local_folder(out)
        with one_writer(out / ".job.lock", out):
            return self._add_new(out, kind, encoded, pictures)

    def _add_new(self, out: Path, kind: str, encoded: Callable[[set[str]], Iterator[_Block]], pictures: str) -> int:
        known: set[str] = set()
        index = None
        if not VectorIndex.can_begin(out):
            index = self.open(out, kind)
            if pictures and pictures != index.metadata["pictures"]:
                raise ValueError(f"the pictures of {out} are in {index.metadata['pictures']!r}: leave --pictures out")
            known = set(index.ids())
        added = 0
        for names, vectors in _gathered(encoded(known), known):
            if index is None:
                metadata = {"kind": kind, "models": self._identity, "pictures": pictures}
                index = VectorIndex.create(out, vectors.shape[1], metadata=metadata)
            index.append(names, vectors)
            added += len(names)
        if index is None:
            raise ValueError(f"there are no {kind} to index")
        index.pack()
        return added

    def open(self, folder: str | Path, kind: str) -> VectorIndex:
        """Open an index of these models.

        Parameters
        ----------
        folder : str or Path
        kind : str
            ``IMAGES`` or ``SENTENCES``.

        Raises
        ------
        ValueError
            If the index is of the other kind or of other models, or damaged.
        """
        index = open_index(folder)
        if index.metadata.get("kind") != kind:
            raise ValueError(f"{folder} is not an index of {kind}: give one that `rnnfv retrieval index-{kind}` wrote")
        if index.metadata.get("models") != self._identity:
            raise ValueError(f"{folder} was made with other models: give those, in that order, or index again")
        return index


def picture_files(folder: str | Path, names: Sequence[str]) -> list[Path | None]:
    """The files of pictures in a folder; None for a name that leads out of it, as one of a stranger's index may.

    Examples
    --------
    >>> from rnnfv.recipes.search import picture_files
    >>> [file and file.name for file in picture_files("pictures", ["a/b.jpg", "../b.jpg", "/etc/passwd"])]
    ['b.jpg', None, None]
    """
    root = Path(folder).resolve()
    return [_inside(root, name) for name in names]


def _inside(root: Path, name: str) -> Path | None:
    try:
        file = (root / name).resolve()
    except (OSError, ValueError):  # a NUL character, a circle of links
        return None
    return file if file.is_relative_to(root) else None


def _gathered(blocks: Iterable[_Block], known: set[str]) -> Iterator[_Block]:
    """Blocks put together to larger ones; their names are known from then on."""
    names: list[str] = []
    parts: list[NDArray[Any]] = []
    for some, vectors in blocks:
        known.update(some)
        names += some
        parts.append(vectors)
        if len(names) >= _ROWS:
            yield names, np.concatenate(parts)
            names, parts = [], []
    if names:
        yield names, np.concatenate(parts)


def nearest(index: VectorIndex, queries: NDArray[np.float32], top: int) -> list[list[tuple[str, float]]]:
    """What is nearest to each of some unit vectors: ids and products, best first.

    Parameters
    ----------
    index : VectorIndex
    queries : ndarray of shape (q, k)
    top : int
    """
    scores, ids = index.search(queries, top)
    return [
        list(zip(names, products, strict=True)) for names, products in zip(ids.tolist(), scores.tolist(), strict=True)
    ]


def pictures_of(index: VectorIndex) -> str:
    """The folder of the pictures of an index of images; empty where none was told.

    Raises
    ------
    ValueError
        If it is no text.
    """
    pictures = index.metadata.get("pictures")
    if not isinstance(pictures, str):
        raise ValueError(f"{index.folder} does not name the folder of its pictures as a text: index again")
    return pictures
