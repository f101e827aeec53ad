"""Files of weights: read without running code from them, checked key by key, and known by their checksum."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

__all__ = ["fill", "first_line", "read_weights"]


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict from a .safetensors file, or from one of ``torch.save``, as tensors only.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or holds anything but named tensors.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file: give the path of the weights")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    # Damaged files make these readers fail in many ways.
    except Exception as error:
        # What torch says to that is how to read the file unsafely.
        raise ValueError(
            f"{path} cannot be read as a file of tensors: it is cut off or damaged, or of another kind; get it again"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ValueError(f"{path} does not hold a state dict, that is, tensors by name")
    return dict(state)


def fill(module: nn.Module, state: Mapping[str, torch.Tensor], path: Path, unused: tuple[str, ...]) -> None:
    """Put the tensors of a file into a module made on the meta device, which is then ready for inference.

    Parameters
    ----------
    module : nn.Module
    state : mapping
        Tensors by the module's names. They become float32.
    path : Path
        Where they come from, for messages.
    unused : tuple of str
        Names that begin so may be in the file: layers above the one whose output is taken.

    Raises
    ------
    ValueError
        If a name is missing, not known, or its tensor of another shape; the first one is named.
    """
    wanted = module.state_dict()
    for key, parameter in wanted.items():
        if key not in state:
            raise ValueError(f"{path} does not fit: it has no {key!r}")
        if state[key].shape != parameter.shape:
            found, needed = tuple(state[key].shape), tuple(parameter.shape)
            raise ValueError(f"{path} does not fit: {key!r} has the shape {found}, not {needed}")
    for key in state:
        if key not in wanted and not key.startswith(unused):
            raise ValueError(f"{path} does not fit: it has {key!r}, which this net has not")
    module.load_state_dict({key: state[key].float() for key in wanted}, assign=True)
    module.requires_grad_(False).eval()


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
