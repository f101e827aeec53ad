"""
Image search in one's own photo folder
======================================

From a folder of pictures and sentences about them to a search: *a red circle left of a blue square* finds other
pictures than *a blue square left of a red circle*. An encoder that only counts words cannot tell these two sentences
apart.

**What is made up here.** The pictures are drawn, the sentences are made about them, the word vectors are random, and a
picture is described by its colours on a coarse grid. With real photos take ``rnnfv extract photos/ --images --backbone
clip`` (or a VGG, or any ONNX file), a set of captions such as Flickr8k's to learn from, and word2vec or GloVe vectors:
:doc:`../retrieval` has the commands.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image, ImageDraw

from rnnfv import SentenceReader
from rnnfv.datasets.image_vectors import image_blocks
from rnnfv.recipes.picture_features import extract_pictures
from rnnfv.recipes.retrieval import Pairs, fit_retrieval
from rnnfv.recipes.search import Searcher
from rnnfv.recipes.sentence_settings import SentenceSettings
from rnnfv.storage import read_all_features
from rnnfv.video.backbones.preprocessing import ResizeTo

rng = np.random.default_rng(0)
folder = Path(tempfile.mkdtemp())

# %%
# A photo folder
# --------------

COLOURS = {"red": (205, 50, 45), "green": (50, 150, 70), "blue": (45, 85, 190), "yellow": (230, 190, 50)}
SHAPES = ["circle", "square", "triangle"]
WORDS = ["a", "an", "the", "of", "left", "above", "is", "picture", "shows", *COLOURS, *SHAPES]


def draw(path, things, relation):
    """Two things, the first to the left of the second, or above it."""
    picture = Image.new("RGB", (96, 96), (240, 238, 232))
    pen = ImageDraw.Draw(picture)
    for k, (colour, shape) in enumerate(things):
        along, across, r = 26 + 44 * k + rng.integers(-4, 5), 48 + rng.integers(-8, 9), rng.integers(13, 18)
        x, y = (along, across) if relation == "left of" else (across, along)
        fill = COLOURS[colour]
        if shape == "circle":
            pen.ellipse((x - r, y - r, x + r, y + r), fill)
        elif shape == "square":
            pen.rectangle((x - r, y - r, x + r, y + r), fill)
        else:
            pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill)
    picture.save(path)


(folder / "photos").mkdir()
names, texts, about = [], [], []
for k in range(500):
    things = [(str(rng.choice(list(COLOURS))), str(rng.choice(SHAPES))) for _ in range(2)]
    relation = str(rng.choice(["left of", "above"]))
    names.append(f"{k:03}.png")
    draw(folder / "photos" / names[-1], things, relation)
    (one, other) = (f"{colour} {shape}" for colour, shape in things)
    texts += [f"a {one} {relation} a {other}", f"the picture shows a {one} {relation} the {other}"]
    about += [k, k]

# %%
# Vectors of pictures and of words
# --------------------------------


@dataclass(frozen=True)
class Thumbnail:
    """A picture as the colours of 12 x 12 cells: a backbone that needs no weights."""

    name: str = "thumbnail"
    dim: int = 432
    input: Literal["frames", "clips"] = "frames"

    @property
    def prepare(self):
        return ResizeTo(12, 12)

    def __call__(self, batch):
        return (batch.reshape(len(batch), -1) / np.float32(255)).astype(np.float32)

    def description(self):
        return {"name": self.name, "dim": self.dim, "settings": {}, "weights": {}}


extract_pictures(folder / "photos", Thumbnail(), folder / "features", workers=0)
features = read_all_features(folder / "features")
images = np.stack([vector[0] for vector in features.sequences])
assert features.ids == names
lines = [f"{word} {' '.join(f'{x:.3f}' for x in rng.normal(size=24))}" for word in WORDS]
(folder / "words.txt").write_text("\n".join(lines) + "\n")

# %%
# Fit on 300 pictures, choose on 100, measure on 100
# --------------------------------------------------


def pairs(first, last):
    rows = [i for i, k in enumerate(about) if first <= k < last]
    return Pairs([texts[i] for i in rows], images[first:last], np.array([about[i] - first for i in rows]))


train, validation, test = pairs(0, 300), pairs(300, 400), pairs(400, 500)
reader = SentenceReader(str(folder / "words.txt")).fit(texts)
models = {
    "mean of words": fit_retrieval(train, validation, SentenceSettings("mean"), reader),
    "RNN-FV": fit_retrieval(train, validation, SentenceSettings("rnn-fv", hidden_size=32, epochs=4), reader),
}


def exchanged(text):
    """The same words, the two things exchanged; None where they are of one kind."""
    words = text.split()
    places = [i for i, word in enumerate(words) if word in COLOURS]
    (a, b) = places
    swapped = words.copy()
    swapped[a : a + 2], swapped[b : b + 2] = words[b : b + 2], words[a : a + 2]
    return None if swapped == words else " ".join(swapped)


tested = [(i, other) for i, text in enumerate(test.texts) if (other := exchanged(text))]
for title, model in models.items():
    unit = model.encode_images(test.images)
    true = model.encode_sentences([test.texts[i] for i, _ in tested])
    false = model.encode_sentences([other for _, other in tested])
    own = unit[test.image_of_sentence[[i for i, _ in tested]]]
    nearer = ((true - false) * own).sum(axis=1)
    share = ((nearer > 1e-6) + 0.5 * (abs(nearer) <= 1e-6)).mean()  # of equals a guess is right in half
    first = (model.encode_sentences(test.texts) @ unit.T).argmax(axis=1) == test.image_of_sentence
    print(f"{title:14} finds the picture first among 100: {100 * first.mean():3.0f} %;", end=" ")
    print(f"the true sentence is nearer than the exchanged one: {100 * share:3.0f} %")

# %%
# Search
# ------
# An index holds the pictures' vectors, and grows by adding more. Models, and the indexes that they made, are folders.

models["RNN-FV"].save(folder / "model")
searcher = Searcher([folder / "model"])
searcher.index_images(image_blocks(folder / "features"), folder / "index", str(folder / "photos"))
queries = [
    "a red circle left of a blue square",
    "a blue square left of a red circle",
    "a green triangle above a yellow circle",
]
figure, axes = plt.subplots(3, 5, figsize=(9, 6.4), layout="constrained")
for row, query in zip(axes, queries, strict=True):
    found, pictures = searcher.find_images(query, folder / "index", top=5)
    for axis, (name, score) in zip(row, found, strict=True):
        axis.imshow(Image.open(Path(pictures) / name))
        axis.set(xticks=[], yticks=[], xlabel=f"{score:.2f}")
    row[2].set_title(f"“{query}”")
plt.show()
