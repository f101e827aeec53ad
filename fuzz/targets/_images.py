"""What the targets of image vectors share: three images, and their vectors."""

from pathlib import Path

import numpy as np

from rnnfv.datasets.captions import Captions
from rnnfv.datasets.image_vectors import read_image_vectors

NAMES = np.array(["1.jpg", "2.jpg", "3.jpg"])
VECTORS = np.arange(12, dtype=np.float32).reshape(3, 4) / 8
_ROWS = np.arange(3)
_CAPTIONS = Captions(NAMES, np.array(["train", "val", "test"]), _ROWS, ["A dog."] * 3, [None] * 3, _ROWS, ["x#0"] * 3)


def read_vectors(path: Path) -> None:
    """Read the file as the vectors of the three images, and touch all of it."""
    np.array(read_image_vectors(path, _CAPTIONS))
