"""A made world of sentences and images, in which the order of words matters."""

import numpy as np
import pytest

from rnnfv.recipes.retrieval import Pairs

NOUNS = ["dog", "cat", "man", "horse", "bird", "ball"]


@pytest.fixture(scope="session")
def word_file(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("words") / "words.txt"
    words = [*NOUNS, "chases", "sees", "the", "a"]
    path.write_text("".join(f"{word} {' '.join(map(str, rng.normal(size=10).round(3)))}\n" for word in words))
    return path


@pytest.fixture(scope="session")
def world():
    """Makes pairs: an image vector tells who does it and to whom; two sentences say so in different words."""
    places = np.random.default_rng(1).normal(size=(2, len(NOUNS), 16))

    def make(n, seed):
        rng = np.random.default_rng(seed)
        texts, images = [], []
        for _ in range(n):
            who, whom = rng.choice(len(NOUNS), 2, replace=False)
            images.append(places[0, who] + places[1, whom] + 0.1 * rng.normal(size=16))
            for _ in range(2):
                articles, verb = rng.choice(["the", "a"], 2), rng.choice(["chases", "sees"])
                texts.append([articles[0], NOUNS[who], verb, articles[1], NOUNS[whom]])
        return Pairs(texts, np.array(images, np.float32), np.repeat(np.arange(n), 2))

    return make
