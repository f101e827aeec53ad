import json
import os
import signal
from fractions import Fraction

# Small matrices: more threads would only wait for each other. Read when NumPy and torch are first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

# A shell's background job ignores Ctrl-C, and so would what the tests start from one.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def ragged(rng):
    """Twelve sequences of 1 to 14 steps of 3 values, float32."""
    return [rng.normal(size=(n, 3)).astype(np.float32) for n in (5, 1, 9, 14, 2, 7, 7, 3, 11, 6, 4, 8)]


@pytest.fixture(scope="session")
def write_video():
    """A function that makes a video file, and returns its path."""
    av = pytest.importorskip("av")

    def write(path, frames, *, codec="mpeg4", rate=25, pix_fmt="yuv420p", times=None):
        """Frames: an array (n, height, width, 3), or how many of noise. Times: milliseconds, in place of the rate."""
        if isinstance(frames, int):
            frames = np.random.default_rng(frames).integers(0, 255, (frames, 48, 64, 3), dtype=np.uint8)
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pix_fmt
            for i, image in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pix_fmt)
                if times is not None:
                    frame.pts, frame.time_base = times[i], Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


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
    """A function that makes pairs of sentences and images, in which the order of words matters.

    An image vector tells who does it and to whom; two sentences say so in different words.
    """
    from rnnfv.recipes.retrieval import Pairs

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


@pytest.fixture(scope="session")
def write_clips():
    """A function that writes features and a manifest of two classes that only order tells apart: their options."""
    from rnnfv.datasets.manifest import Manifest, write_manifest
    from rnnfv.storage import write_features

    def write(folder, n):
        rng = np.random.default_rng(0)
        rising = [np.sort(rng.normal(size=(steps, 3)), axis=0) for steps in rng.integers(4, 7, n)]
        ids = np.array([f"clip{i}" for i in range(2 * n)])
        write_features(folder / "features", ids.tolist(), rising + [walk[::-1] for walk in rising])
        groups = np.tile([f"g{i % 4}" for i in range(n)], 2)
        splits = {"split1": np.where(groups == "g0", "test", "train")}
        write_manifest(folder / "clips.csv", Manifest(ids, np.repeat(["rising", "falling"], n), groups, splits))
        return ["--features", folder / "features", "--manifest", folder / "clips.csv"]

    return write


@pytest.fixture(scope="session")
def write_captions(world, word_file):
    """A function that writes the made world, so many images of each split, as files: their options."""

    def write(folder, sizes):
        images, vectors = [], []
        for split, n in sizes.items():
            pairs = world(n, n)
            for i, vector in enumerate(pairs.images):
                texts = [pairs.texts[k] for k in np.flatnonzero(pairs.image_of_sentence == i)]
                sentences = [{"raw": " ".join(tokens), "tokens": tokens} for tokens in texts]
                images.append({"filename": f"{split}{i}.jpg", "split": split, "sentences": sentences})
                vectors.append(vector)
        (folder / "dataset.json").write_text(json.dumps({"images": images}))
        np.save(folder / "vectors.npy", np.array(vectors, np.float16))
        return ["--captions", folder / "dataset.json", "--images", folder / "vectors.npy", "--words", word_file]

    return write
