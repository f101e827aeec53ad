"""Any image net in an ONNX file, run by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from rnnfv.devices import pick_device
from rnnfv.extras import wanted
from rnnfv.storage import file_identity
from rnnfv.video.backbones._weights import first_line
from rnnfv.video.backbones.preprocessing import PIXELS, ResizeShorter, as_frames, scale_pixels

__all__ = ["ONNX"]

_FREE_SIDE = 224  # pixels, where the model leaves its size open
_FRAMES_AT_ONCE = 32


class ONNX:
    """One output of an ONNX model for a frame.

    The model has one input, float32 (n, 3, size, size). A frame's shorter side becomes ``size`` pixels, 224 where
    the model leaves it open, and the square in the middle is taken: nothing is squashed, and the ends of the longer
    side are not seen. onnxruntime works with as many threads as torch (``torch.set_num_threads``).

    Parameters
    ----------
    path : str or Path
        The .onnx file.
    output : str, optional
        Name of an output of shape (n, dim) or, averaged over space, (n, dim, height, width). Without it: the first.
    device : str
        "auto" takes a GPU where this onnxruntime can use one. "cpu", "cuda", "cuda:1", ...
    pixels : "raw", "unit", "imagenet" or "caffe"
        What the model takes: RGB 0 to 255, or see `scale_pixels`.

    Raises
    ------
    ImportError
        If onnxruntime is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be loaded, has no such output or no such input, or an option has no such value.
    """

    input: Literal["frames", "clips"] = "frames"

    def __init__(
        self, path: str | Path, output: str | None = None, *, device: str = "auto", pixels: str = "raw"
    ) -> None:
        if pixels not in PIXELS:
            raise ValueError(f"pixels of an ONNX model must be one of {', '.join(PIXELS)}; got {pixels!r}")
        path = Path(path)
        self._weights = file_identity(path)
        self._session = _open_session(path, device)
        self._input, size, self._at_once = _image_input(self._session, path)
        self.output = _pick_output(self._session, output, path)
        self.pixels = pixels
        self.name = f"onnx:{path.name}:{self.output}"
        self.prepare = ResizeShorter(size, crop=True)
        # The file may leave the width open: a black frame tells it.
        self.dim = self._run(np.zeros((1, size, size, 3), np.uint8)).shape[1]

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Prepared frames (n, size, size, 3) to vectors (n, dim)."""
        batch = as_frames(batch)
        size = self.prepare.size
        if batch.shape[1:3] != (size, size):
            raise ValueError(f"frames must be {size} x {size} pixels; got {batch.shape[1:3]}")
        features = np.empty((len(batch), self.dim), dtype=np.float32)
        for start in range(0, len(batch), self._at_once):
            features[start : start + self._at_once] = self._run(batch[start : start + self._at_once])
        return features

    def description(self) -> dict[str, Any]:
        """What makes this backbone: the model by checksum, and settings."""
        return {
            "name": self.name,
            "dim": self.dim,
            "settings": {"output": self.output, "pixels": self.pixels},
            "weights": self._weights,
        }

    def _run(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = scale_pixels(torch.from_numpy(np.require(frames, requirements=["C", "W"])), self.pixels)
        (values,) = self._session.run([self.output], {self._input: images.numpy()})
        if values.ndim == 4:
            values = values.mean(axis=(2, 3))
        if values.ndim != 2 or len(values) != len(frames):
            raise ValueError(
                f"the output {self.output!r} of {self._weights['file']} has the shape {values.shape}, not (n, dim) or "
                f"(n, dim, height, width): choose another of {', '.join(_output_names(self._session))}"
            )
        return values.astype(np.float32, copy=False)


def _open_session(path: Path, device: str) -> Any:
    with wanted("onnx", "ONNX models need onnxruntime"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # errors come as exceptions; nothing is printed besides
    providers = _providers(device, onnxruntime.get_available_providers())
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    # onnxruntime has an exception class of its own for every way to fail.
    except Exception as error:
        raise ValueError(f"{path} cannot be loaded as an ONNX model: {first_line(error)}") from error


def _providers(device: str, available: list[str]) -> list[Any]:
    """What onnxruntime shall compute on; the CPU is always behind it, for what a GPU cannot do."""
    has_gpu = "CUDAExecutionProvider" in available
    if device == "auto":
        device = "cuda" if has_gpu else "cpu"
    if device != "cpu" and not has_gpu:
        raise ValueError(f"this onnxruntime cannot use {device!r}: install onnxruntime-gpu, or take the CPU")
    if device == "cpu":
        return ["CPUExecutionProvider"]
    index = pick_device(device).index or 0
    return [("CUDAExecutionProvider", {"device_id": index}), "CPUExecutionProvider"]


def _image_input(session: Any, path: Path) -> tuple[str, int, int]:
    """Name of the input, pixels of a side, and frames that it takes at once."""
    inputs = session.get_inputs()
    found = ", ".join(f"{each.name}: {each.type} {each.shape}" for each in inputs)
    problem = f"{path} must have one input of float32 (n, 3, size, size), n open or 1; it has {found}"
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
        raise ValueError(problem)
    count, channels, *sides = inputs[0].shape
    height, width = (side if isinstance(side, int) else _FREE_SIDE for side in sides)
    if channels != 3 or height != width or (isinstance(count, int) and count != 1):
        raise ValueError(problem)
    return inputs[0].name, height, 1 if count == 1 else _FRAMES_AT_ONCE


def _pick_output(session: Any, output: str | None, path: Path) -> str:
    names = _output_names(session)
    if output is None:
        return names[0]
    if output not in names:
        raise ValueError(f"{path} has no output {output!r}: choose one of {', '.join(names)}")
    return output


def _output_names(session: Any) -> list[str]:
    return [each.name for each in session.get_outputs()]
