"""Where torch computes."""

from __future__ import annotations

import torch

__all__ = ["pick_device"]


def pick_device(name: str) -> torch.device:
    """The device of that name; "auto" is a GPU where there is one, else the CPU.

    Raises
    ------
    ValueError
        If the name means nothing to torch, or no such device is there.

    Examples
    --------
    >>> from rnnfv.devices import pick_device
    >>> pick_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        if "device type at start of device string" in str(error):
            raise ValueError(f"there is no device {name!r}: give auto, cpu, cuda, or one such as cuda:1") from error
        raise ValueError(f"device {name!r} cannot be used here: {str(error).splitlines()[0]}") from error
    return device
