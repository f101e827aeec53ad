"""VGG-16 and VGG-19: the 4096 numbers of fc7 for a frame (SPEC S7)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rnnfv.devices import pick_device
from rnnfv.storage import file_identity
from rnnfv.video.backbones._weights import fill, read_weights
from rnnfv.video.backbones.preprocessing import ResizeShorter, as_frames, center_crop, scale_pixels, ten_crop

__all__ = ["VGG", "VGGNetwork"]

# Convolutions of each of the five blocks; a block ends in a pooling.
_BLOCKS = {
    "vgg16": ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}
_HIDDEN = 4096
_SHORTER, _CROP = 256, 224
_IMAGES_AT_ONCE = 16  # 224 x 224 crops in the net at one time: about 0.5 GB of activations
_ON_CPU = 4  # fits the caches, and a core needs no longer for it than Ctrl-C may take


class VGGNetwork(nn.Module):
    """The layers of VGG up to fc7, before its ReLU, named as in torchvision's state dict.

    Parameters
    ----------
    blocks : tuple of tuples of int
        Channels of the convolutions, block by block; a block ends in a pooling.
    hidden : int
        Width of fc6 and fc7.

    References
    ----------
    Simonyan, Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition. arXiv 1409.1556.
    """

    def __init__(self, blocks: tuple[tuple[int, ...], ...], hidden: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for block in blocks:
            for width in block:
                layers += [nn.Conv2d(channels, width, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        self.features = nn.Sequential(*layers)
        side = _CROP // 2 ** len(blocks)
        # Dropout does nothing here; it keeps the places of the published names, classifier.0 and classifier.3.
        self.classifier = nn.Sequential(
            nn.Linear(channels * side * side, hidden), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(hidden, hidden)
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, 3, 224, 224) to (n, hidden)."""
        return self.classifier(self.features(images).flatten(1))


class VGG:
    """fc7 of VGG-16 or VGG-19, the mean over ten crops (SPEC S7).

    A frame's shorter side becomes 256 pixels; the crops are 224 x 224.

    Parameters
    ----------
    name : "vgg16" or "vgg19"
        The paper does not say which; [18], on which it builds, has 19 layers.
    weights : str or Path
        A state dict in torchvision's layout, .safetensors or .pth. The last layer, classifier.6, may be absent.
    device : str
        "auto", "cpu", "cuda", ...
    pixels : "imagenet" or "caffe"
        What the weights were trained on. The default goes with torchvision's published files, which are what most
        people have. "caffe" (BGR minus the mean pixel, SPEC S7) goes with the original weights, as the paper used
        them, converted to that layout. Nothing in a file tells the two apart, and the wrong one gives poor features.
    relu : bool
        Take fc7 after its ReLU. The published extraction of [18] takes it before.
    crops : 10 or 1
        1 takes the centre alone: a tenth of the work.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the weights do not fit, or an option has no such value.
    """

    input: Literal["frames", "clips"] = "frames"

    def __init__(
        self,
        name: str,
        weights: str | Path,
        *,
        device: str = "auto",
        pixels: str = "imagenet",
        relu: bool = False,
        crops: int = 10,
    ) -> None:
        if pixels not in ("imagenet", "caffe"):
            raise ValueError(f"pixels of {name} must be 'imagenet' or 'caffe'; got {pixels!r}")
        if crops not in (1, 10):
            raise ValueError(f"crops of {name} must be 10 or 1; got {crops!r}")
        self.name, self.pixels, self.relu, self.crops = name, pixels, relu, crops
        self.prepare = ResizeShorter(_SHORTER)
        self._device = pick_device(device)
        with torch.device("meta"):
            network = VGGNetwork(_BLOCKS[name], _HIDDEN)
        fill(network, read_weights(Path(weights)), Path(weights), unused=("classifier.6.",))
        self._weights = file_identity(Path(weights))
        self._network = network.to(self._device)
        self.dim = _HIDDEN

    @torch.inference_mode()
    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Prepared frames (n, height, width, 3) to vectors (n, 4096)."""
        batch = as_frames(batch)
        features = np.empty((len(batch), self.dim), dtype=np.float32)
        step = max(1, _IMAGES_AT_ONCE // self.crops)
        at_once = _ON_CPU if self._device.type == "cpu" else _IMAGES_AT_ONCE
        for start in range(0, len(batch), step):
            frames = batch[start : start + step]
            images = ten_crop(frames, _CROP) if self.crops == 10 else center_crop(frames, _CROP)[:, None]
            flat = torch.from_numpy(np.ascontiguousarray(images).reshape(-1, _CROP, _CROP, 3)).to(self._device)
            parts = scale_pixels(flat, self.pixels).split(at_once)
            outputs = torch.cat([self._network(part) for part in parts])
            outputs = outputs.relu() if self.relu else outputs
            features[start : start + step] = outputs.view(len(frames), self.crops, -1).mean(dim=1).cpu().numpy()
        return features

    def description(self) -> dict[str, Any]:
        """What makes this backbone: weights by checksum, and settings."""
        return {
            "name": self.name,
            "dim": self.dim,
            "settings": {"pixels": self.pixels, "relu": self.relu, "crops": self.crops},
            "weights": self._weights,
        }
