"""
Film scenes with CLIP frames
============================

A net for pictures, such as CLIP, sees one frame at a time. What a scene *tells* is often in the order of its frames:
somebody comes in or goes out, day breaks or night falls, two people meet or part. Here the whole way is gone, from
video files to a recogniser, by the functions behind ``rnnfv extract`` and ``rnnfv action``.

**What is made up here.** The films are drawn by this script. And the CLIP is a tiny one with *random weights*, made
on the spot, because this page is built without a network: it has the published model's code path, not its knowledge.
For the real one, write ``make_backbone("clip")``, which lets transformers download it, or
``make_backbone("hub:FOLDER")`` for a copy on your disk.
"""

import tempfile
from pathlib import Path

import av
import matplotlib.pyplot as plt
import numpy as np
import torch
import transformers
from sklearn.pipeline import make_pipeline

from rnnfv import (
    FisherInformationScaler,
    LinearSVM,
    MeanPooling,
    MixtureFisherVector,
    PowerNormalizer,
    RNNFisherVector,
    StepPreprocessor,
)
from rnnfv.recipes.extraction import extract_features
from rnnfv.storage import read_all_features
from rnnfv.video.backbones import make_backbone
from rnnfv.video.decode import Sampling

rng = np.random.default_rng(0)
folder = Path(tempfile.mkdtemp())

# %%
# Films
# -----
# Every scene depends on how far it has gone, from 0 to 1; its counterpart is the same with the time turned round.

SCENES = {
    ("comes in", "goes out"): lambda u: {"people": [0.95 - 0.55 * u], "light": 0.8},
    ("they meet", "they part"): lambda u: {"people": [0.1 + 0.35 * u, 0.9 - 0.35 * u], "light": 0.8},
    ("day breaks", "night falls"): lambda u: {"people": [], "light": 0.15 + 0.85 * u},
}
HEIGHT, WIDTH = 64, 96


def frame(people, light, shift):
    """A room with a door, and people in it: (64, 96, 3) uint8."""
    image = np.empty((HEIGHT, WIDTH, 3))
    image[:44], image[44:] = (170, 190, 215), (150, 120, 90)
    image[14:44, 84:] = (90, 60, 40)  # the door
    for x in people:
        left = int(np.clip(x * WIDTH + shift, 4, WIDTH - 5))
        image[26:56, left - 4 : left + 4] = (180, 40, 40)
        image[18:26, left - 3 : left + 3] = (230, 190, 160)
    return (light * image + rng.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)


def write_film(path, scene, backwards):
    n = int(rng.integers(12, 20))
    along = np.linspace(0, 1, n) + rng.uniform(-0.08, 0.08)
    shift = rng.uniform(-4, 4)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=4)  # without loss: what a codec leaves out may depend on the direction
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for u in along[::-1] if backwards else along:
            picture = frame(**scene(float(np.clip(u, 0, 1))), shift=shift)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode())


(folder / "films").mkdir()
for names, scene in SCENES.items():
    for backwards, name in enumerate(names):
        for k in range(24):
            write_film(folder / "films" / f"{name.replace(' ', '-')}_{k:02}.mkv", scene, backwards)

figure, axes = plt.subplots(3, 5, figsize=(9, 4), layout="constrained")
for row, (names, scene) in zip(axes, SCENES.items(), strict=True):
    for axis, u in zip(row, np.linspace(0, 1, 5), strict=True):
        axis.imshow(frame(**scene(u), shift=0))
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel("\n".join(names), rotation=0, ha="right", va="center")
figure.suptitle("Left to right, and right to left")

# %%
# Features
# --------
# The stand-in for CLIP: its classes, a hundredth of its size, weights as they are drawn.

transformers.logging.disable_progress_bar()
torch.manual_seed(0)
tower = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
config = transformers.CLIPConfig(
    text_config=tower | {"vocab_size": 10, "bos_token_id": 0, "eos_token_id": 1},
    vision_config=tower | {"patch_size": 16, "image_size": 64},
    projection_dim=64,
)
transformers.CLIPModel(config).eval().save_pretrained(folder / "clip")
processor = transformers.CLIPImageProcessorPil(size={"height": 64, "width": 64}, do_center_crop=False)
processor.save_pretrained(folder / "clip")

backbone = make_backbone(f"hub:{folder / 'clip'}", device="cpu")
done = extract_features(folder / "films", backbone, folder / "features", sampling=Sampling(every=1), workers=0)
features = read_all_features(folder / "features")
print(f"{done.ok} films read, {done.failed} not; {features.sequences}")

# %%
# Which scene is it?
# ------------------
# Half of the films are learnt from.

labels = np.array([name.split("_")[0].replace("-", " ") for name in features.ids])
number = np.array([int(name.split("_")[1].split(".")[0]) for name in features.ids])
train, test = np.flatnonzero(number < 12), np.flatnonzero(number >= 12)
kind = {name: k for k, names in enumerate(SCENES) for name in names}


def chain(*pooling):
    return make_pipeline(StepPreprocessor(basis="pca", n_components=16), *pooling, PowerNormalizer(), LinearSVM())


chains = {
    "mean pooling": chain(MeanPooling()),
    "GMM Fisher vector": chain(MixtureFisherVector(4, family="gaussian", random_state=0)),
    "RNN-FV": chain(
        RNNFisherVector(hidden_size=32, projection_size=32, max_epochs=4, random_state=0),
        FisherInformationScaler("kronecker"),
    ),
}
figures = {}
for title, model in chains.items():
    predicted = model.fit(features.sequences[train], labels[train]).predict(features.sequences[test])
    same = np.array([kind[a] == kind[b] for a, b in zip(predicted, labels[test], strict=True)])
    figures[title] = 100 * same.mean(), 100 * (predicted == labels[test]).mean()
    print(f"{title:18} the kind of scene {figures[title][0]:5.1f} %, the scene {figures[title][1]:5.1f} %")

figure, axis = plt.subplots(figsize=(7, 3.6), layout="constrained")
for k, name in enumerate(["kind of scene, whatever the direction", "scene"]):
    axis.bar(np.arange(3) + 0.4 * (k - 0.5), [pair[k] for pair in figures.values()], 0.36, label=name)
axis.set_xticks(range(3), list(figures))
axis.axhline(50, color="0.5", ls="--", lw=1)
axis.set(ylabel="accuracy %", ylim=(0, 120), title="A guess about the direction is right in half of the films")
axis.legend(loc="upper left", ncols=2)
plt.show()
