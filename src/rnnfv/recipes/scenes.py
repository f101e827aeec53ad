"""A search of drawn pictures that is made in seconds, in which the order of words matters."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rnnfv.datasets.captions import read_captions
from rnnfv.datasets.image_vectors import image_blocks, read_image_vectors
from rnnfv.datasets.scenes import CAPTIONS, PICTURES, WORDS, scene_net, write_scenes
from rnnfv.recipes.evaluation import Parts, fit_models, parts_of
from rnnfv.recipes.picture_features import extract_pictures
from rnnfv.recipes.retrieval import RetrievalModel, report_of
from rnnfv.recipes.search import Searcher
from rnnfv.recipes.sentence_settings import SentenceSettings
from rnnfv.storage import atomic_folder
from rnnfv.video.backbones import make_backbone

__all__ = ["SceneSearch", "make_scene_search"]

_NET = SentenceSettings("rnn-fv", hidden_size=100, epochs=2)
_ETAS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4)  # the net's vectors of pictures have few numbers, and little noise
_WEIGHTS = "shapes.onnx"


@dataclass(frozen=True)
class SceneSearch:
    """Where a search of drawn pictures is, and how good it is.

    Attributes
    ----------
    folder : Path
    n_pictures : int
    recalls : dict of float
        By encoder, "rnn-fv" and "mean" for comparison: in percent, how often a sentence about two things that were
        never together in training finds its picture first, among all pictures of such pairs.
    """

    folder: Path
    n_pictures: int
    recalls: dict[str, float]

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def indexes(self) -> tuple[Path, Path]:
        """Of images, and of sentences."""
        return self.folder / "images.index", self.folder / "sentences.index"

    @property
    def weights(self) -> Path:
        return self.folder / _WEIGHTS


def make_scene_search(folder: str | Path, report: Callable[[str], None] = lambda text: None) -> SceneSearch:
    """Draw pictures, fit a model of them and of sentences about them, and index both.

    Parameters
    ----------
    folder : str or Path
        A new or empty folder, or one of such a search, which is replaced. It appears whole or not at all.
    report : callable
        Told what is going on.

    Returns
    -------
    SceneSearch

    Raises
    ------
    ValueError
        If the folder holds other things.
    ImportError
        If Pillow, onnxruntime or faiss is not installed.
    """
    folder = Path(folder).absolute()
    _check_replaceable(folder)
    with atomic_folder(folder) as new:
        report("drawing pictures")
        write_scenes(new / "scenes")
        shutil.copyfile(scene_net(), new / _WEIGHTS)
        backbone = make_backbone(f"onnx:{new / _WEIGHTS}", device="cpu", pixels="unit")
        report("looking at them")
        extract_pictures(new / "scenes" / PICTURES, backbone, new / "features", workers=0)
        captions = read_captions(new / "scenes" / CAPTIONS)
        parts = parts_of(captions, read_image_vectors(new / "features", captions))
        words = new / "scenes" / WORDS
        report("fitting mean pooling, to compare with")
        recalls = {"mean": _recall(_fitted(SentenceSettings("mean"), parts, words), parts)}
        report("fitting the recurrent net")
        model = _fitted(_NET, parts, words)
        recalls["rnn-fv"] = _recall(model, parts)
        data = f"{len(captions.filenames)} drawn scenes of two coloured shapes"
        model.note.update(captions=data, images=data, words=[WORDS], backbone=backbone.description())
        made = SceneSearch(new, len(captions.filenames), recalls)
        model.save(made.model)
        report("indexing")
        searcher, (images, sentences) = Searcher([made.model]), made.indexes
        searcher.index_images(image_blocks(new / "features"), images, str(folder / "scenes" / PICTURES))
        searcher.index_sentences(captions.raw, sentences)
    return SceneSearch(folder, made.n_pictures, recalls)


def _fitted(settings: SentenceSettings, parts: Parts, words: Path) -> RetrievalModel:
    (model,) = fit_models(parts, settings, [str(words)], etas=_ETAS)
    return model


def _recall(model: RetrievalModel, parts: Parts) -> float:
    test = parts.test
    report = report_of(model.encode_sentences(test.texts), model.encode_images(test.images), test.image_of_sentence)
    return float(report["search"]["r@1"])


def _check_replaceable(folder: Path) -> None:
    """Refuse a folder with anything in it but such a search."""
    if folder.exists() and not (folder.is_dir() and (_is_search(folder) or not any(folder.iterdir()))):
        raise ValueError(f"{folder} holds other things: give another folder with --out")


def _is_search(folder: Path) -> bool:
    ours = {"scenes", "features", "model", "images.index", "sentences.index", _WEIGHTS}
    return {path.name for path in folder.iterdir()} == ours
