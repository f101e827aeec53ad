"""Model folders: ``config.json`` and ``arrays.safetensors``. Data only, no code: nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import safetensors.numpy
from numpy.typing import NDArray

from rnnfv.storage.atomic import atomic_folder
from rnnfv.storage.remote import as_path
from rnnfv.storage.tree import _NotStorableError, decode, encode

__all__ = ["MODEL_FILES", "ModelFolderError", "load", "model_checksum", "save"]

_FORMAT, _FORMAT_VERSION = "rnnfv-model", 1
_CONFIG, _ARRAYS = "config.json", "arrays.safetensors"
MODEL_FILES = (_CONFIG, _ARRAYS)
_SAVE_AGAIN = "the folder is damaged or was changed: save the model again"


class ModelFolderError(ValueError):
    """A folder cannot be read, or not be written, as a model folder: one line with the way out."""


def save(estimator: Any, folder: str | Path) -> None:
    """Write an estimator, fitted or not, to a model folder.

    The folder appears whole or not at all. It holds the parameters, the fitted attributes, the versions of
    the libraries and checksums, as JSON and safetensors.

    Parameters
    ----------
    estimator : estimator of rnnfv, or scikit-learn Pipeline, StandardScaler, PCA, LinearSVC, LogisticRegression
        or RidgeClassifier
    folder : str or Path
        A new or empty folder, or a model folder, which is replaced.

    Raises
    ------
    TypeError
        If the estimator, one of its parameters or of its fitted attributes cannot be stored; it is named.
    ModelFolderError
        If the folder holds other things.

    Examples
    --------
    >>> import tempfile
    >>> import rnnfv
    >>> folder = tempfile.mkdtemp()
    >>> rnnfv.save(rnnfv.MeanPooling(), folder)
    >>> rnnfv.load(folder)
    MeanPooling()
    """
    folder = as_path(folder)
    arrays: dict[str, NDArray[Any]] = {}
    try:
        tree = encode(estimator, "model", arrays)
    except _NotStorableError as error:
        raise TypeError(f"cannot save {error}: it is not an estimator that rnnfv can load again") from None
    if not _is_estimator(tree):
        raise TypeError(f"cannot save a value of type {type(estimator).__name__}: give an estimator")
    _check_replaceable(folder)
    data = safetensors.numpy.save(arrays)
    config = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "versions": _versions(),
        "arrays": {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()},
        "estimator": tree,
    }
    config["checksum"] = _checksum(config)
    with atomic_folder(folder) as new:
        (new / _ARRAYS).write_bytes(data)
        (new / _CONFIG).write_text(json.dumps(config, indent=1, allow_nan=False) + "\n", encoding="ascii")


def load(folder: str | Path) -> Any:
    """Read an estimator from a model folder.

    Safe for folders of unknown origin: only estimators of rnnfv and a short list of scikit-learn's are made,
    and no file outside the folder is opened.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    estimator

    Raises
    ------
    ModelFolderError
        If the folder is missing, damaged, changed, not a model folder, or of a newer format.
    """
    folder = as_path(folder)
    config = _read_config(folder)
    arrays = _read_arrays(folder, config)
    tree = config.get("estimator")
    if not _is_estimator(tree):
        _fail(folder, "it holds no estimator", _SAVE_AGAIN)
    try:
        return decode(tree, arrays)
    # A stranger's config can make any constructor or hook fail in any way.
    except Exception as error:
        _fail(folder, f"its estimator cannot be made: {error}", _SAVE_AGAIN, error)


def model_checksum(folder: str | Path) -> str:
    """The checksum of a model folder, which changes with anything in it. Reads only the small JSON file.

    Raises
    ------
    ModelFolderError
        If the folder is missing, damaged, not a model folder, or of a newer format.
    """
    return str(_read_config(as_path(folder))["checksum"])


# -- reading ---------------------------------------------------------------------------------------


def _read_config(folder: Path) -> dict[str, Any]:
    data = _read_file(folder, _CONFIG)
    try:
        config = json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        _fail(folder, f"{_CONFIG} is not JSON", _SAVE_AGAIN, error)
    if not isinstance(config, dict) or config.get("format") != _FORMAT:
        _fail(folder, "it is not a model folder of rnnfv", "give a folder that save() wrote")
    version = config.get("format_version")
    if type(version) is int and version > _FORMAT_VERSION:
        versions = config.get("versions")
        writer = versions.get("rnnfv") if isinstance(versions, dict) else None
        _fail(
            folder,
            f"rnnfv {writer} wrote it in format {version}, but this rnnfv reads up to format {_FORMAT_VERSION}",
            "install that or a newer rnnfv",
        )
    try:
        intact = type(version) is int and version == _FORMAT_VERSION and config.get("checksum") == _checksum(config)
    except (ValueError, RecursionError):  # infinite numbers, or nesting that can be read but not written
        intact = False
    if not intact:
        _fail(folder, f"the checksum of {_CONFIG} is wrong", _SAVE_AGAIN)
    return config


def _read_arrays(folder: Path, config: dict[str, Any]) -> dict[str, NDArray[Any]]:
    data = _read_file(folder, _ARRAYS)
    if config.get("arrays") != {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}:
        _fail(folder, f"the checksum of {_ARRAYS} is wrong", _SAVE_AGAIN)
    try:
        return safetensors.numpy.load(data)
    # The library's own error class, and KeyError for dtypes that NumPy lacks.
    except Exception as error:
        _fail(folder, f"{_ARRAYS} is not a safetensors file", _SAVE_AGAIN, error)


def _read_file(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        _fail(folder, f"it has no file {name}", "give a folder that save() wrote")
    if path.resolve().parent != folder.resolve():
        _fail(folder, f"{name} is a link to a file outside the folder", "copy the file itself into the folder")
    try:
        return path.read_bytes()
    except OSError as error:
        _fail(folder, f"{name} cannot be read: {error.strerror}", "check the disk and the permissions", error)


def _fail(folder: Path, what: str, remedy: str, cause: Exception | None = None) -> NoReturn:
    raise ModelFolderError(" ".join(f"{folder}: {what}; {remedy}".split())) from cause


# -- writing ---------------------------------------------------------------------------------------


def _check_replaceable(folder: Path) -> None:
    """Refuse to write over anything but an empty folder and a model folder without other files in it."""
    if not (folder.exists() or folder.is_symlink()):
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    ours = names == {_CONFIG, _ARRAYS} and f'"{_FORMAT}"'.encode() in (folder / _CONFIG).read_bytes()
    if not ours and (names or not folder.is_dir()):
        stranger = min(names - {_CONFIG, _ARRAYS}, default=_CONFIG)
        _fail(folder, f"a model would replace what is there ({stranger})", "give a new or an empty folder")


def _is_estimator(tree: Any) -> bool:
    return isinstance(tree, dict) and tree.get("kind") == "estimator"


def _checksum(config: dict[str, Any]) -> str:
    """The sha256 of the config's content, whatever its spacing and order of names."""
    content = {name: value for name, value in config.items() if name != "checksum"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _versions() -> dict[str, str]:
    names = ("rnnfv", "numpy", "sklearn", "torch")
    return {name: str(sys.modules[name].__version__) for name in names if name in sys.modules}
