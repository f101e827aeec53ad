"""Small made models, opened once: of images and sentences, of actions, and an encoder."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import Pipeline

from rnnfv import LinearSVM, MeanPooling, PowerNormalizer, RNNFisherVector, StepPreprocessor
from rnnfv.recipes.recognizer import ActionRecognizer
from rnnfv.recipes.retrieval import Pairs, fit_retrieval
from rnnfv.recipes.search import Searcher
from rnnfv.recipes.sentence_settings import SentenceSettings
from rnnfv.serving.limits import Limits
from rnnfv.serving.service import Service
from rnnfv.text.sentences import SentenceReader
from rnnfv.video.backbones import make_backbone
from rnnfv.video.decode import Sampling

# Gives the mean colour of each quarter of an 8 x 8 image: 12 numbers, colour after colour.
ONNX = Path(__file__).parents[1] / "fixtures" / "quarters.onnx"
NARROW = 12


@pytest.fixture(scope="session")
def folders(world, word_file, tmp_path_factory):
    """Folders of models and indexes, and of the pictures that the index names."""
    from PIL import Image

    root = tmp_path_factory.mktemp("served")
    backbone = make_backbone(f"onnx:{ONNX}", device="cpu")
    fit, choose = (_narrow(world(60, 0)), _narrow(world(20, 1)))
    reader = SentenceReader(str(word_file)).fit(fit.texts)
    model = fit_retrieval(fit, choose, SentenceSettings("mean"), reader, etas=[0.1])
    model.note.update(backbone=backbone.description(), captions="made sentences")
    model.save(root / "retrieval")
    searcher = Searcher([root / "retrieval"])
    names = [f"{i}.png" for i in range(len(choose.images))]
    (root / "pictures").mkdir()
    for i, name in enumerate(names):
        Image.new("RGB", (16, 16), (10 * i, 255 - 10 * i, 128)).save(root / "pictures" / name)
    searcher.index_images([(names, choose.images)], root / "images", str(root / "pictures"))
    searcher.index_sentences([" ".join(text) for text in choose.texts], root / "sentences")
    for name, encoder in (
        ("actions", RNNFisherVector(hidden_size=4, projection_size=4, max_epochs=1)),
        ("plain", MeanPooling()),
    ):
        ActionRecognizer(_recognizer(encoder), backbone.description(), Sampling(every=1), ONNX).save(root / name)
    seqs, _ = _sequences()
    MeanPooling().fit(seqs).save(root / "encoder")
    return root


@pytest.fixture(scope="session")
def opened(folders):
    """A service that can do everything."""
    models = [folders / name for name in ("retrieval", "actions", "encoder")]
    indexes = [folders / "images", folders / "sentences"]
    return Service(models, indexes, weights=ONNX, device="cpu", limits=Limits(seconds=60))


def _narrow(pairs):
    return Pairs(pairs.texts, pairs.images[:, :NARROW], pairs.image_of_sentence)


def _sequences():
    rng = np.random.default_rng(0)
    labels = np.array(["sit", "run", "jump"] * 6)
    seqs = [
        rng.normal(size=(n, NARROW)) + 3 * (np.arange(NARROW) == "sjr".index(label[0]))
        for n, label in zip(range(5, 23), labels, strict=True)
    ]
    return [seq.astype(np.float32) for seq in seqs], labels


def _recognizer(encoder):
    steps = [("prepare", StepPreprocessor(basis="standardize")), ("encoder", encoder)]
    return Pipeline([*steps, ("normalizer", PowerNormalizer()), ("classifier", LinearSVM())]).fit(*_sequences())
