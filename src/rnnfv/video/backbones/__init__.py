"""Backbones: nets that make vectors of frames or clips.

Their weights are the user's: a file, or a model of the Hugging Face hub. rnnfv itself downloads nothing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rnnfv.video.backbones.c3d import C3D
from rnnfv.video.backbones.hub import ALIASES, Hub
from rnnfv.video.backbones.onnx import ONNX
from rnnfv.video.backbones.preprocessing import Prepare
from rnnfv.video.backbones.vgg import VGG

__all__ = ["Backbone", "check_backbone", "from_description", "make_backbone"]

_CHOICES = ["vgg19", "vgg16", "c3d", "onnx:PATH", "onnx:PATH:OUTPUT", "hub:MODEL_ID", *ALIASES]
_OPTIONS = {
    "vgg19": ("pixels", "relu", "crops"),
    "vgg16": ("pixels", "relu", "crops"),
    "c3d": ("relu", "mean"),
    "onnx": ("output", "pixels"),
    "hub": ("revision",),
}
_NEEDS = {
    "vgg19": "a state dict in torchvision's layout, such as its own vgg19-dcbb9e9d.pth",
    "vgg16": "a state dict in torchvision's layout, such as its own vgg16-397923af.pth",
    "c3d": "a Sports-1M checkpoint for PyTorch, such as c3d.pickle or ucf101-caffe.pth",
}


class Backbone(Protocol):
    """What makes vectors of frames, or of clips of 16 frames.

    Attributes
    ----------
    name : str
    dim : int
        Numbers a vector.
    input : "frames" or "clips"
    """

    name: str
    dim: int
    input: Literal["frames", "clips"]

    @property
    def prepare(self) -> Prepare:
        """Makes a decoded frame (height, width, 3) small, uint8 RGB to uint8 RGB. Holds no weights and can be
        pickled: it is for the processes that decode."""

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Prepared frames (n, h, w, 3), or clips (n, 16, h, w, 3), to vectors (n, dim). A few at a time are in the
        net, however many there are, and a vector does not depend on its neighbours."""

    def description(self) -> dict[str, Any]:
        """Plain JSON values from which `from_description` makes the same backbone again."""


def make_backbone(name: str, weights: str | Path | None = None, *, device: str = "auto", **options: Any) -> Backbone:
    """Make a backbone.

    Parameters
    ----------
    name : str
        "vgg19", "vgg16", "c3d", "onnx:PATH", "onnx:PATH:OUTPUT", "hub:MODEL_ID" (a local folder will do), or a short
        name for one of the hub: "clip", "dinov2", "dinov3", "siglip".
    weights : str or Path, optional
        The file of weights; vgg and c3d must have one. For a model of the hub: a local folder that holds it.
    device : str
        "auto", "cpu", "cuda", ...
    **options
        Of vgg: pixels, relu, crops. Of c3d: relu, mean. Of onnx: output, pixels. Of hub: revision. See `VGG`, `C3D`,
        `ONNX` and `Hub`. None stands for the default.

    Returns
    -------
    Backbone

    Raises
    ------
    ImportError
        If an extra is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If there is no such backbone, it has no such option, or the weights are missing or do not fit.

    Examples
    --------
    >>> make_backbone("vgg11")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: there is no backbone 'vgg11': choose one of vgg19, vgg16, c3d, onnx:PATH, ...
    """
    check_backbone(name, weights, **options)
    options = {key: value for key, value in options.items() if value is not None}
    kind, rest = _kind_of(name)
    file: Any = weights  # given where it must be
    if kind == "c3d":
        return C3D(file, device=device, **options)
    if kind == "hub":
        return Hub(rest, weights, device=device, **options)
    if kind == "onnx":
        path, output = _split_output(rest)
        if output is not None:
            options["output"] = output
        return ONNX(path if weights is None else weights, device=device, **options)
    return VGG(kind, file, device=device, **options)


def check_backbone(name: str, weights: str | Path | None = None, **options: Any) -> None:
    """Refuse what `make_backbone` cannot make, before any file is opened.

    Raises
    ------
    ValueError
        If there is no such backbone, it has no such option or value of it, or it needs weights.
    """
    kind, rest = _kind_of(name)
    if kind not in _OPTIONS or (kind in ("onnx", "hub")) != bool(rest):
        raise ValueError(f"there is no backbone {name!r}: choose one of {', '.join(_CHOICES)}")
    options = {key: value for key, value in options.items() if value is not None}
    for key in options:
        if key not in _OPTIONS[kind]:
            raise ValueError(f"{kind} has no option {key!r}: it has {', '.join(_OPTIONS[kind])}")
    if weights is None and kind in _NEEDS:
        raise ValueError(f"{kind} needs weights: give {_NEEDS[kind]}, with --weights FILE; nothing is downloaded")
    output = _split_output(rest)[1] if kind == "onnx" else None
    if output is not None and options.get("output", output) != output:
        raise ValueError(f"{name!r} and the option name different outputs: give one of them")


def from_description(
    description: dict[str, Any],
    weights: str | Path | None = None,
    *,
    mean: str | Path | ArrayLike | None = None,
    device: str = "auto",
) -> Backbone:
    """Make the backbone of a description again.

    Parameters
    ----------
    description : dict
        As `Backbone.description` gave it.
    weights : str or Path, optional
        Where the weights are now. Not needed for a model of the hub.
    mean : str, Path or array, optional
        The mean cube, where C3D was made with one.
    device : str

    Raises
    ------
    ValueError
        If the weights, or anything else, are not those described; else as `make_backbone`.
    """
    settings = dict(description["settings"])
    _refuse_paths(description, weights)
    if mean is not None:
        settings["mean"] = mean
    elif isinstance(settings.get("mean"), dict):
        raise ValueError(f"{description['name']} was made with a mean cube: give its .npy file with --mean")
    made = make_backbone(description["name"], weights, device=device, **settings)
    found = _identity(made.description())
    for key, wanted in _identity(description).items():
        if found.get(key) != wanted:
            raise ValueError(
                f"this is not the {description['name']} described: its {key} are {found.get(key)}, not {wanted}"
            )
    return made


def _refuse_paths(description: dict[str, Any], weights: str | Path | None) -> None:
    """No file is opened because a description names it: it may come from a stranger."""
    name = str(description["name"])
    if weights is None and not re.fullmatch(r"vgg16|vgg19|c3d|hub:[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        raise ValueError(f"the weights of {name} are needed: give them with --weights")
    kind, _, rest = name.partition(":")
    if weights is None and kind == "hub" and Path(rest).exists():  # transformers would take it for the model
        raise ValueError(f"{rest} is a folder here, and a model of the hub is meant: give the model with --weights")
    if isinstance(description["settings"].get("mean"), str):
        raise ValueError(f"the description of {name} names a file with the mean: give it with --mean")


def _identity(description: dict[str, Any]) -> dict[str, Any]:
    """What must be equal: not the file's name, nor the commit, since the checksum says more."""
    plain = json.loads(json.dumps(description))
    plain["settings"].pop("revision", None)
    plain["weights"].pop("file", None)
    return plain


def _kind_of(name: str) -> tuple[str, str]:
    """The kind of a backbone, and what stands behind the colon."""
    kind, _, rest = (f"hub:{ALIASES[name]}" if name in ALIASES else name).partition(":")
    return kind, rest


def _split_output(rest: str) -> tuple[str, str | None]:
    """PATH or PATH:OUTPUT; a path may have a colon of its own."""
    path, _, output = rest.rpartition(":")
    if Path(rest).exists() or not path or "/" in output or "\\" in output:
        return rest, None
    return path, output
