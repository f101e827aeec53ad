"""Image vectors that were computed beforehand, one row an image of a set of captions (SPEC S19)."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.datasets.captions import Captions
from rnnfv.storage import as_path, local_copy, read_all_features

__all__ = ["read_image_vectors"]

_KEY = "feats"
_MOST_SHOWN = 3  # names in a message
_BLOCK_VALUES = 1 << 22  # values looked at together when searching for NaN


def read_image_vectors(path: str | Path, captions: Captions) -> NDArray[Any]:
    """Read the vectors of the images of a data set, in its order.

    Parameters
    ----------
    path : str or Path
        An .npy file of shape (n, d), which is mapped, not read into memory; or a .mat file, such as the field's
        ``vgg_feats.mat``, with the matrix "feats" of shape (d, n). MATLAB's format 7.3 needs h5py. Or a folder of
        features, as `rnnfv.recipes.picture_features.extract_pictures` writes it: an image's vector is found by its
        filename, or by the last part of it where those of all images, and of all features, are different.
    captions : Captions
        The whole data set, as `rnnfv.datasets.captions.read_captions` gives it. The vectors of a part are
        ``vectors[part.rows]``.

    Returns
    -------
    ndarray of shape (n, d), float16, float32 or float64, as in the file
        Perhaps read-only.

    Raises
    ------
    FileNotFoundError
        If there is no such file, or no features in the folder.
    ImportError
        If h5py is needed and missing.
    ValueError
        If the file is damaged, has another number of images, or a NaN or infinite value; if features of an image are
        missing, or have several steps. The message names the image.
    """
    path = as_path(path)
    if path.is_dir() or path.suffix == ".parquet":
        return _read_features(path, captions.filenames.tolist())
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file")
    path = local_copy(path)
    match path.suffix:
        case ".npy":
            vectors = _read_npy(path)
        case ".mat":
            vectors = _read_mat(path)
        case _:
            raise ValueError(f"{path}: image vectors are read from .npy and .mat files, and folders of features")
    n = len(captions.filenames)
    if vectors.ndim != 2 or vectors.dtype not in (np.float16, np.float32, np.float64):
        raise ValueError(f"{path} holds {vectors.dtype} of shape {vectors.shape}: expected floats, one row an image")
    if len(vectors) != n:
        turned = ": it looks transposed" if vectors.shape[1] == n else ""
        raise ValueError(f"{path} has vectors of {len(vectors)} images, but there are {n} images{turned}")
    block = max(1, _BLOCK_VALUES // max(1, vectors.shape[1]))
    for start in range(0, n, block):
        finite = np.isfinite(vectors[start : start + block]).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise ValueError(
                f"{path}: the vector of image {row} ({captions.filenames[row]}) has a NaN or infinite value"
            )
    return vectors


def _read_features(folder: Path, names: list[str]) -> NDArray[Any]:
    """The vectors of the images of these names, out of a folder of features of one step each."""
    ids, sequences, _ = read_all_features(folder)
    rows = _rows_of(names, ids)
    missing = [names[i] for i in np.flatnonzero(rows < 0)]
    if missing:
        first = ", ".join(missing[:_MOST_SHOWN]) + (", ..." if len(missing) > _MOST_SHOWN else "")
        raise ValueError(
            f"{folder} has no vectors of {len(missing)} of the {len(names)} images ({first}): extract their features "
            "with --images; the report.csv there says which pictures could not be read"
        )
    lengths = sequences.lengths[rows]
    if (lengths != 1).any():
        i = int(np.argmax(lengths != 1))
        raise ValueError(f"{folder}: {names[i]} has {lengths[i]} steps, but an image has one: extract with --images")
    return sequences.steps()[sequences.offsets[:-1][rows]]


def _rows_of(names: list[str], ids: list[str]) -> NDArray[np.int64]:
    """Where each name is among the ids, or, where last parts tell all of them apart, its last part; -1 for nowhere."""
    row_of = {item: row for row, item in enumerate(ids)}
    row_of_last = {PurePosixPath(item).name: row for item, row in row_of.items()}
    last = [PurePosixPath(name).name for name in names]
    if len(row_of_last) < len(ids) or len(set(last)) < len(names):
        row_of_last = {}
    rows = [row_of.get(name, row_of_last.get(part, -1)) for name, part in zip(names, last, strict=True)]
    return np.array(rows, dtype=np.int64)


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise ValueError(f"{path} is damaged or not an .npy file of numbers: {error}") from error


def _read_mat(path: Path) -> NDArray[Any]:
    import scipy.io

    try:
        content = scipy.io.loadmat(path, variable_names=[_KEY])
    except NotImplementedError:  # format 7.3 is HDF5
        return _read_hdf5(path)
    except Exception as error:  # a damaged file fails in any way
        raise ValueError(f"{path} is damaged or not a MATLAB file: {error}") from error
    if _KEY not in content:
        raise ValueError(f"{path} has no matrix {_KEY!r}")
    return np.asarray(content[_KEY]).T


def _read_hdf5(path: Path) -> NDArray[Any]:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"reading {path}, in MATLAB's format 7.3, needs h5py: pip install 'rnnfv[matlab]'") from error
    try:
        with h5py.File(path, "r") as file:
            return np.asarray(file[_KEY])  # HDF5 turns MATLAB's columns into rows
    except KeyError as error:
        raise ValueError(f"{path} has no matrix {_KEY!r}") from error
    except OSError as error:
        raise ValueError(f"{path} is damaged or not a MATLAB file: {error}") from error
