"""C3D: the 4096 numbers of fc6 for a clip of 16 frames (SPEC S9)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from rnnfv.devices import pick_device
from rnnfv.storage import file_identity
from rnnfv.video.backbones._weights import fill, read_weights
from rnnfv.video.backbones.preprocessing import ResizeTo, as_frames

__all__ = ["C3D", "CLIP_LENGTH", "C3DNetwork", "mean_identity"]

CLIP_LENGTH = 16
_HEIGHT, _WIDTH, _CROP = 128, 171, 112
# Caffe rounds the middle down: (171 - 112) // 2.
_TOP, _LEFT = (_HEIGHT - _CROP) // 2, (_WIDTH - _CROP) // 2
_CUBE = (3, CLIP_LENGTH, _HEIGHT, _WIDTH)
_MEAN_BGR = (105.70, 115.76, 127.54)  # channel means of fb_train16_128_mean, the cube in the published code
_CHANNELS = {
    "conv1": 64,
    "conv2": 128,
    "conv3a": 256,
    "conv3b": 256,
    "conv4a": 512,
    "conv4b": 512,
    "conv5a": 512,
    "conv5b": 512,
}
_HIDDEN = 4096
_CLIPS_AT_ONCE = 4  # in the net at one time: about 0.5 GB of activations
# The other published layout numbers the layers: features.0 is conv1, and so on; classifier.0 is fc6.
_NUMBERED = dict(zip((0, 3, 6, 8, 11, 13, 16, 18), _CHANNELS, strict=True))


class C3DNetwork(nn.Module):
    """The layers of C3D up to fc6, before its ReLU.

    Poolings round up, as in Caffe, where the published weights come from: the last one makes 4 x 4 of 7 x 7, its
    windows beginning at the first row and column. (Ports that pad all sides of that pooling by one get 4 x 4 too,
    but of other windows.)

    Parameters
    ----------
    channels : dict
        Channels of the eight convolutions by name.
    hidden : int
        Width of fc6.

    References
    ----------
    Tran, Bourdev, Fergus, Torresani, Paluri: Learning Spatiotemporal Features with 3D Convolutional Networks.
    ICCV 2015, arXiv 1412.0767.
    """

    def __init__(self, channels: dict[str, int], hidden: int) -> None:
        super().__init__()
        previous = 3
        for name, width in channels.items():
            self.add_module(name, nn.Conv3d(previous, width, kernel_size=3, padding=1))
            previous = width
        self.fc6 = nn.Linear(previous * 4 * 4, hidden)
        self._names = tuple(channels)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """Clips (n, 3, 16, 112, 112) to (n, hidden)."""
        hidden = clips
        for name in self._names:
            hidden = self.get_submodule(name)(hidden).relu_()
            if not name.endswith("a"):
                # The first pooling leaves time alone.
                window = (1, 2, 2) if name == "conv1" else (2, 2, 2)
                hidden = nn.functional.max_pool3d(hidden, window, stride=window, ceil_mode=True)
        return self.fc6(hidden.flatten(1))


class C3D:
    """fc6 of C3D for clips of 16 frames (SPEC S9), as its authors extract it.

    Frames become 128 x 171 pixels, of which the middle 112 x 112 are taken, in BGR order, minus a mean.

    Parameters
    ----------
    weights : str or Path
        A state dict with the layers named conv1 ... fc6 (as in c3d.pickle) or numbered features.0 ... classifier.0
        (as in ucf101-caffe.pth), .safetensors or of ``torch.save``. Layers above fc6 may be absent.
    device : str
        "auto", "cpu", "cuda", ...
    relu : bool
        Take fc6 after its ReLU. So does the published extraction: in Caffe the ReLU works in place, so that the blob
        "fc6-1" holds what comes after it.
    mean : str, Path or array, optional
        What is subtracted, in BGR order: three numbers, or a cube of shape (3, 16, 128, 171), or a .npy file of
        either. Without it: (105.70, 115.76, 127.54), the channel means of the cube in the published code.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the weights do not fit, or the mean has another shape.
    """

    name = "c3d"
    input: Literal["frames", "clips"] = "clips"

    def __init__(
        self,
        weights: str | Path,
        *,
        device: str = "auto",
        relu: bool = True,
        mean: str | Path | ArrayLike | None = None,
    ) -> None:
        self.relu, self.dim = relu, _HIDDEN
        self.prepare = ResizeTo(_HEIGHT, _WIDTH)
        self._device = pick_device(device)
        cube = _read_mean(_MEAN_BGR if mean is None else mean)
        self._mean_identity = mean_identity(cube)
        self._mean = torch.from_numpy(_middle(cube)).to(self._device)
        with torch.device("meta"):
            network = C3DNetwork(_CHANNELS, _HIDDEN)
        fill(network, _by_name(read_weights(Path(weights))), Path(weights), unused=("fc7.", "fc8.", "classifier."))
        self._weights = file_identity(Path(weights))
        self._network = network.to(self._device)

    @torch.inference_mode()
    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Prepared clips (n, 16, 128, 171, 3) to vectors (n, 4096)."""
        batch = as_frames(batch, CLIP_LENGTH)
        if batch.shape[2:4] != (_HEIGHT, _WIDTH):
            raise ValueError(f"frames of clips must be {_HEIGHT} x {_WIDTH} pixels; got {batch.shape[2:4]}")
        features = np.empty((len(batch), self.dim), dtype=np.float32)
        for start in range(0, len(batch), _CLIPS_AT_ONCE):
            # RGB, last, becomes BGR, first.
            clips = np.moveaxis(batch[start : start + _CLIPS_AT_ONCE, ..., ::-1], -1, 1)
            crops = torch.from_numpy(np.ascontiguousarray(_middle(clips))).to(self._device)
            outputs = self._network(crops.float() - self._mean)
            features[start : start + len(clips)] = (outputs.relu() if self.relu else outputs).cpu().numpy()
        return features

    def description(self) -> dict[str, Any]:
        """What makes this backbone: weights and mean cube by checksum, and settings."""
        return {
            "name": self.name,
            "dim": self.dim,
            "settings": {"relu": self.relu, "mean": self._mean_identity},
            "weights": self._weights,
        }


def mean_identity(mean: str | Path | ArrayLike) -> list[float] | dict[str, str]:
    """What tells a mean from another: three numbers, or the checksum of a cube.

    Parameters
    ----------
    mean : str, Path or array
        As `C3D` takes it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, or has another shape.

    Examples
    --------
    >>> from rnnfv.video.backbones.c3d import mean_identity
    >>> mean_identity([105.7, 115.76, 127.54])
    [105.7, 115.76, 127.54]
    """
    cube = _read_mean(mean)
    if cube.size == 3:
        return [float(f"{value:.7g}") for value in cube.ravel()]
    return {"sha256": hashlib.sha256(cube.astype("<f4").tobytes()).hexdigest()}


def _middle(cubes: NDArray[Any]) -> NDArray[Any]:
    """The middle of (..., 128, 171); a mean pixel (3, 1, 1, 1) is its own."""
    if cubes.shape[-2:] == (1, 1):
        return cubes
    return cubes[..., _TOP : _TOP + _CROP, _LEFT : _LEFT + _CROP]


def _read_mean(mean: str | Path | ArrayLike) -> NDArray[np.float32]:
    """The mean as (3, 1, 1, 1) or (3, 16, 128, 171)."""
    source = "the mean"
    if isinstance(mean, str | Path):
        source = str(mean)
        try:
            mean = np.load(mean, allow_pickle=False)
        except FileNotFoundError:
            raise FileNotFoundError(f"{source} is not a file: give a .npy file with the mean") from None
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"{source} cannot be read as a .npy file") from error
    try:
        values = np.asarray(mean, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source} must be an array of numbers") from error
    if values.shape in (_CUBE, (1, *_CUBE)):
        return values.reshape(_CUBE)
    if values.shape in ((3,), (3, 1, 1, 1)):
        return values.reshape(3, 1, 1, 1)
    raise ValueError(f"{source} must be three numbers or of shape {_CUBE}, in BGR order; got shape {values.shape}")


def _by_name(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict of either published layout, with the layers' names."""
    if "features.0.weight" not in state:
        return state
    names = {f"features.{number}": name for number, name in _NUMBERED.items()} | {"classifier.0": "fc6"}
    renamed = {}
    for key, value in state.items():
        layer, _, kind = key.rpartition(".")
        renamed[f"{names.get(layer, layer)}.{kind}"] = value
    return renamed
