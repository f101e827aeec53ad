"""Image towers of the Hugging Face hub, by way of transformers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from rnnfv.devices import pick_device
from rnnfv.extras import wanted
from rnnfv.video.backbones._weights import first_line
from rnnfv.video.backbones.preprocessing import Frame, as_frames

__all__ = ["ALIASES", "Hub", "ProcessorResize"]

ALIASES = {
    "clip": "openai/clip-vit-base-patch32",
    "dinov2": "facebook/dinov2-base",
    "dinov3": "facebook/dinov3-vitb16-pretrain-lvd1689m",
    "siglip": "google/siglip-base-patch16-224",
}
# Processors that transformers has only for torchvision; the class named here reads the same settings. It resizes
# bytes where the original resizes fractions: pixels differ by half a grey level at most.
_PILLOW_PROCESSORS = {"dinov3_vit": "ViTImageProcessorPil", "dinov3_convnext": "ViTImageProcessorPil"}
_SETTINGS = (
    "do_resize",
    "size",
    "resample",
    "do_center_crop",
    "crop_size",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "image_mean",
    "image_std",
)
_FRAMES_AT_ONCE = 32
_ON_CPU = 8  # as quick there, and Ctrl-C waits no longer than for so many


@dataclass(frozen=True)
class ProcessorResize:
    """Resize and crop a frame as an image processor of transformers does, and leave it in bytes."""

    processor: Any

    def __call__(self, frame: Frame) -> Frame:
        done = self.processor(frame, do_rescale=False, do_normalize=False, input_data_format="channels_last")
        return np.ascontiguousarray(np.moveaxis(done["pixel_values"][0], 0, -1))


class Hub:
    """The pooled output of an image model for a frame: CLIP, SigLIP, DINOv2, DINOv3 and others.

    Of CLIP and SigLIP it is what they compare with sentences (``get_image_features``), of others ``pooler_output``.
    Frames are prepared by the model's own processor with Pillow, so that torchvision makes no difference.

    Parameters
    ----------
    model : str
        A model id; transformers downloads it unless it is there already. Or a local folder.
    weights : str or Path, optional
        A local folder with that model, to be read in place of the hub.
    device : str
        "auto", "cpu", "cuda", ...
    revision : str, optional
        A commit of the model's repository. Without it: the newest, whose commit is in the description.

    Raises
    ------
    ImportError
        If transformers or Pillow is not installed.
    ValueError
        If the model cannot be had, lacks weights, or gives no pooled output for an image.
    """

    input: Literal["frames", "clips"] = "frames"

    def __init__(
        self, model: str, weights: str | Path | None = None, *, device: str = "auto", revision: str | None = None
    ) -> None:
        self.name = f"hub:{model}"
        source = model if weights is None else str(weights)
        network, self._processor = _load(source, revision)
        self.revision = getattr(network.config, "_commit_hash", None)
        self._digest = _state_digest(network)
        self._device = pick_device(device)
        self._network = network.to(self._device).eval()
        self.prepare = ProcessorResize(self._processor)
        probe = self.prepare(np.zeros((256, 256, 3), np.uint8))
        self.dim = self._run(probe[None]).shape[1]

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Prepared frames (n, height, width, 3) to vectors (n, dim)."""
        batch = as_frames(batch)
        features = np.empty((len(batch), self.dim), dtype=np.float32)
        at_once = _ON_CPU if self._device.type == "cpu" else _FRAMES_AT_ONCE
        for start in range(0, len(batch), at_once):
            features[start : start + at_once] = self._run(batch[start : start + at_once])
        return features

    def description(self) -> dict[str, Any]:
        """What makes this backbone: weights by the checksum of all tensors, processor, and commit."""
        settings = self._processor.to_dict()
        return {
            "name": self.name,
            "dim": self.dim,
            "settings": {"revision": self.revision},
            "processor": json.loads(json.dumps({key: settings.get(key) for key in _SETTINGS})),
            "weights": {"sha256": self._digest},
        }

    @torch.inference_mode()
    def _run(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        # Sizes are settled: what is left to the processor is the scale of the pixels.
        pixels = self._processor(
            list(frames), do_resize=False, do_center_crop=False, return_tensors="pt", input_data_format="channels_last"
        )["pixel_values"].to(self._device)
        pooled = _pooled(self._network, pixels)
        if pooled is None:
            raise ValueError(f"{self.name} gives no pooled output for an image: choose another model")
        return pooled.flatten(1).float().cpu().numpy()


def _load(source: str, revision: str | None) -> tuple[Any, Any]:
    """The model and its processor."""
    with wanted("hub", "models of the hub need transformers and Pillow"):
        import PIL  # noqa: F401 - transformers' processors fail late and at length without it
        import transformers
    # Code that comes with a model is never run; without a word on it transformers would ask at the terminal.
    origin = {"revision": revision, "trust_remote_code": False}
    try:
        config = transformers.AutoConfig.from_pretrained(source, **origin)
        processor = _load_processor(transformers, source, config.model_type, origin)
        network, report = transformers.AutoModel.from_pretrained(
            source, config=config, dtype=torch.float32, output_loading_info=True, use_safetensors=True, **origin
        )
    except ImportError as error:
        raise ImportError(
            f"transformers cannot be used here ({first_line(error)}): often because of a torchvision that does not "
            "fit torch; rnnfv needs none"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"cannot load {source!r} with transformers ({first_line(error)}): "
            "give a model id that can be reached, or a folder"
        ) from error
    if report["missing_keys"]:
        raise ValueError(f"{source!r} lacks weights of its model, such as {min(report['missing_keys'])!r}")
    if not hasattr(network, "get_image_features") and network.main_input_name != "pixel_values":
        raise ValueError(f"{source!r} is not a model of images: it takes {network.main_input_name}")
    return network, processor


def _load_processor(transformers: Any, source: str, model_type: str, origin: dict[str, Any]) -> Any:
    if model_type in _PILLOW_PROCESSORS:
        return getattr(transformers, _PILLOW_PROCESSORS[model_type]).from_pretrained(source, **origin)
    processor = transformers.AutoImageProcessor.from_pretrained(source, backend="pil", **origin)
    if getattr(processor, "backend", None) != "pil":
        raise ValueError(f"transformers has no processor with Pillow for models of type {model_type}")
    return processor


def _pooled(network: Any, pixels: torch.Tensor) -> torch.Tensor | None:
    if hasattr(network, "get_image_features"):
        return network.get_image_features(pixel_values=pixels).pooler_output
    return getattr(network(pixel_values=pixels), "pooler_output", None)


def _state_digest(network: torch.nn.Module) -> str:
    """SHA-256 over the names, shapes and float32 values of all tensors, however they are filed."""
    digest = hashlib.sha256()
    for key, value in sorted(network.state_dict().items()):
        digest.update(f"{key} {tuple(value.shape)}\n".encode())
        digest.update(np.ascontiguousarray(value.numpy()).data)
    return digest.hexdigest()
