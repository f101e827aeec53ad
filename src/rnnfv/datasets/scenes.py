"""Drawn scenes of two coloured shapes, with sentences about them in which the order of words matters."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.extras import wanted
from rnnfv.storage import atomic_folder

__all__ = [
    "CAPTIONS",
    "COLOURS",
    "PICTURES",
    "SHAPES",
    "SIDE",
    "WORDS",
    "Scene",
    "Thing",
    "all_scenes",
    "draw",
    "draw_scene",
    "scene_net",
    "write_scenes",
]

COLOURS = {
    "red": (214, 48, 49),
    "blue": (9, 90, 220),
    "green": (0, 150, 80),
    "yellow": (245, 197, 24),
    "purple": (130, 60, 180),
    "orange": (240, 120, 20),
}
SHAPES = ("circle", "square", "triangle", "star")
SIDE = 192  # pixels of a picture
PICTURES, CAPTIONS, WORDS = "pictures", "dataset_scenes.json", "words.txt"
_FINER = 2  # drawn so many times larger, for smooth edges
_HELD_OUT = {"test": 60, "val": 30}  # pairs of things of which no scene is in the training part
_RELATIONS = {  # what the first thing is to the second, and the second to the first
    "beside": (("left of", "to the left of"), ("right of", "to the right of")),
    "above": (("above", "over"), ("below", "under")),
}
_FORMS = ("{} {} {}", "{} is {} {}", "there is {} {} {}", "a picture of {} {} {}")
_SENTENCES = 4  # about a picture: two begin with each thing
_WORD_DIM = 24


@dataclass(frozen=True)
class Thing:
    """A coloured shape.

    Examples
    --------
    >>> from rnnfv.datasets.scenes import Thing
    >>> print(Thing("orange", "star"))
    an orange star
    """

    colour: str
    shape: str

    def __str__(self) -> str:
        return f"{'an' if self.colour[0] in 'aeiou' else 'a'} {self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """Two different things, the first left of the second ("beside"), or above it ("above").

    Attributes
    ----------
    first, second : Thing
    relation : "beside" or "above"
    split : "train", "val" or "test"
        The same for all scenes of two things, whichever comes first.
    """

    first: Thing
    second: Thing
    relation: str
    split: str

    @property
    def name(self) -> str:
        """Of the picture's file, telling nothing of what is where."""
        things = sorted(f"{thing.colour}-{thing.shape}" for thing in (self.first, self.second))
        place = 2 * (self.relation == "above") + (f"{self.first.colour}-{self.first.shape}" != things[0])
        return f"{things[0]}_{things[1]}_{'abcd'[place]}.png"

    def sentences(self, rng: np.random.Generator) -> list[str]:
        """Four sentences about it, in words of their own; every other one begins with the second thing."""
        texts = []
        for i in range(_SENTENCES):
            one, other = (self.first, self.second) if i % 2 == 0 else (self.second, self.first)
            words = _RELATIONS[self.relation][i % 2]
            texts.append(str(rng.choice(_FORMS)).format(one, rng.choice(words), other))
        return texts


def all_scenes() -> list[Scene]:
    """All 1,104 of them; of 60 pairs of things chosen at random, all four scenes are the test part."""
    things = [Thing(colour, shape) for colour, shape in product(COLOURS, SHAPES)]
    pairs = list(combinations(things, 2))
    order = iter(np.random.default_rng(0).permutation(len(pairs)).tolist())
    split_of = {next(order): split for split, count in _HELD_OUT.items() for _ in range(count)}
    return [
        Scene(*pair, relation, split_of.get(i, "train"))
        for i, (one, other) in enumerate(pairs)
        for pair in ((one, other), (other, one))
        for relation in _RELATIONS
    ]


def draw(things: dict[tuple[float, float], Thing], rng: np.random.Generator) -> Any:
    """Draw things on a light ground: a Pillow image of 192 x 192 pixels.

    Parameters
    ----------
    things : dict
        What is where: (x, y), each from 0 to 1, are moved a little.
    rng : Generator
        Of sizes, places and the ground's colour.
    """
    with wanted("video", "drawing scenes needs Pillow"):
        from PIL import Image, ImageDraw
    side = SIDE * _FINER
    image = Image.new("RGB", (side, side), tuple(rng.integers(238, 256, 3).tolist()))
    pencil = ImageDraw.Draw(image)
    for place, thing in things.items():
        x, y = side * (np.array(place) + rng.uniform(-0.05, 0.05, 2))
        outline = _outline(thing.shape, side * rng.uniform(0.14, 0.2))
        pencil.polygon([(x + dx, y + dy) for dx, dy in outline], fill=COLOURS[thing.colour])
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def draw_scene(scene: Scene, rng: np.random.Generator) -> Any:
    """Draw a scene: a Pillow image of 192 x 192 pixels."""
    places = [(0.26, 0.5), (0.74, 0.5)] if scene.relation == "beside" else [(0.5, 0.26), (0.5, 0.74)]
    return draw(dict(zip(places, (scene.first, scene.second), strict=True)), rng)


def write_scenes(folder: str | Path) -> None:
    """Write all scenes as a data set in the field's own forms; the folder appears whole or not at all.

    ``pictures/`` has the PNG files, ``dataset_scenes.json`` their sentences and splits
    (`rnnfv.datasets.captions.read_captions`), and ``words.txt`` a random vector for each of the words, in GloVe's form.
    Every call writes the same.

    Parameters
    ----------
    folder : str or Path
        A new or empty folder, or one of scenes, which is replaced.

    Raises
    ------
    ImportError
        If Pillow is not installed.
    """
    rng = np.random.default_rng(1)
    images, words = [], dict[str, None]()
    with atomic_folder(Path(folder)) as new:
        (new / PICTURES).mkdir()
        for scene in all_scenes():
            draw_scene(scene, rng).save(new / PICTURES / scene.name)
            texts = scene.sentences(rng)
            words.update(dict.fromkeys(word for text in texts for word in text.split()))
            sentences = [{"raw": text, "tokens": text.split()} for text in texts]
            images.append({"filename": scene.name, "split": scene.split, "sentences": sentences})
        captions = {"dataset": "scenes", "images": images}
        (new / CAPTIONS).write_text(json.dumps(captions, indent=1) + "\n", encoding="utf-8")
        lines = [f"{word} {' '.join(f'{value:.4f}' for value in rng.normal(size=_WORD_DIM))}\n" for word in words]
        (new / WORDS).write_text("".join(lines), encoding="utf-8")


def scene_net() -> Path:
    """The ONNX file of a small net that sees such pictures; ``data/scenes/README.md`` says how it was made."""
    return Path(__file__).parent / "data" / "scenes" / "shapes.onnx"


def _outline(shape: str, radius: float) -> NDArray[np.float64]:
    """Corners around (0, 0): shape (n, 2)."""
    match shape:
        case "square":
            return 0.9 * radius * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
        case "triangle":
            return radius * np.array([(0, -1), (1, 0.85), (-1, 0.85)])
        case "star":
            angles, radii = np.arange(10) * math.pi / 5, 1.15 * radius * np.tile([1, 0.42], 5)
        case _:
            angles, radii = np.arange(60) * math.pi / 30, np.full(60, radius)
    return radii[:, None] * np.stack([np.sin(angles), -np.cos(angles)], axis=1)
