"""The extras: libraries that only parts of rnnfv need, what they are for, and how to get them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["EXTRAS", "Extra", "how_to_install", "wanted"]


@dataclass(frozen=True)
class Extra:
    """One extra of the package.

    Attributes
    ----------
    purpose : str
        What it is for, in a few words.
    libraries : dict of str to str
        The modules that it brings, and the names of their distributions.
    """

    purpose: str
    libraries: dict[str, str]


EXTRAS = {
    "video": Extra("videos and pictures", {"av": "av", "PIL": "pillow"}),
    "text": Extra("images and sentences", {"faiss": "faiss-cpu", "h5py": "h5py", "PIL": "pillow"}),
    "onnx": Extra("ONNX backbones", {"onnxruntime": "onnxruntime"}),
    "hub": Extra(
        "the Hugging Face hub: backbones and models",
        {"huggingface_hub": "huggingface-hub", "transformers": "transformers", "PIL": "pillow"},
    ),
    "plots": Extra("reports and pictures of moments", {"matplotlib": "matplotlib"}),
    "search": Extra("indexes of vectors", {"faiss": "faiss-cpu"}),
    "matlab": Extra("MATLAB files of format 7.3", {"h5py": "h5py"}),
    "ray": Extra("many machines", {"ray": "ray"}),
    "serve": Extra(
        "the page and the API",
        {
            "fastapi": "fastapi",
            "gradio": "gradio",
            "httptools": "httptools",
            "PIL": "pillow",
            "prometheus_client": "prometheus-client",
            "python_multipart": "python-multipart",
            "uvicorn": "uvicorn",
            "uvloop": "uvloop",
        },
    ),
    "remote": Extra("object stores (s3:// and others)", {"s3fs": "s3fs", "upath": "universal-pathlib"}),
}


def how_to_install(extra: str) -> str:
    """The command that brings an extra.

    Examples
    --------
    >>> from rnnfv.extras import how_to_install
    >>> how_to_install("video")
    "pip install 'rnnfv[video]'"
    """
    return f"pip install 'rnnfv[{extra}]'"


@contextmanager
def wanted(extra: str, what: str) -> Iterator[None]:
    """Import a library of an extra in this block; where it is missing, say in one line how to get it.

    Parameters
    ----------
    extra : str
    what : str
        Who needs what, such as "reading videos needs PyAV".

    Raises
    ------
    ImportError
        If the library is not there, with the extra that brings it; or if it is there and does not load, with its
        own reason.

    Examples
    --------
    >>> from rnnfv.extras import wanted
    >>> with wanted("video", "reading videos needs PyAV"):
    ...     import no_such_library
    Traceback (most recent call last):
        ...
    ImportError: reading videos needs PyAV: pip install 'rnnfv[video]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(f"{what}: {how_to_install(extra)}") from error
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise ImportError(f"{what}, which does not load here ({reason}): {how_to_install(extra)}") from error
