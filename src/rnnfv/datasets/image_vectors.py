"""Image vectors that were computed beforehand, one row an image of a set of captions (SPEC S19)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnfv.datasets._matlab import HEADER, read_matrix
from rnnfv.datasets.captions import Captions
from rnnfv.extras import wanted
from rnnfv.storage import as_path, feature_shards, local_copy, read_all_features, read_features, refuse_repeated_ids
from rnnfv.storage.bounds import refuse_inflated
from rnnfv.storage.features import one_line

__all__ = ["image_blocks", "read_image_vectors"]

_KEY = "feats"
_LONGEST_HEADER = 10_000  # bytes, as NumPy's own functions have it
# The last bytes of the header: the version, and which byte of it comes first.
_MAT_5, _MAT_73 = (b"\x00\x01IM", b"\x01\x00MI"), (b"\x00\x02IM", b"\x02\x00MI")
_MOST_SHOWN = 3  # names in a message
_BLOCK_VALUES = 1 << 22  # values looked at together when searching for NaN


def read_image_vectors(path: str | Path, captions: Captions) -> NDArray[Any]:
    """Read the vectors of the images of a data set, in its order.

    Parameters
    ----------
    path : str or Path
        An .npy file of shape (n, d), which is mapped, not read into memory; or a .mat file of format 5 to 7.3,
        such as the field's ``vgg_feats.mat``, with the matrix "feats" of shape (d, n), at most 100 times as large as
        the file. Format 7.3 needs h5py. Or a folder of features, as
        `rnnfv.recipes.picture_features.extract_pictures` writes it: an image's vector is found by its filename, or by
        the last part of it where those of all images, and of all features, are different.
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
    if _is_features(path):
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
    rows = _found_rows(folder, names, ids)
    _refuse_steps(folder, names, sequences.lengths[rows])
    return sequences.steps()[sequences.offsets[:-1][rows]]


def image_blocks(
    path: str | Path, captions: Captions | None = None, part: Captions | None = None
) -> Iterator[tuple[list[str], NDArray[Any]]]:
    """Names of images and their vectors, a block at a time: a shard of a folder of features, rows of a file.

    Parameters
    ----------
    path : str or Path
        As for `read_image_vectors`.
    captions : Captions, optional
        The whole data set; only a folder of features has names of its own.
    part : Captions, optional
        Only its images.

    Yields
    ------
    names, vectors : list of str, n of them, and ndarray of shape (n, d)
        Images without a vector are refused as in `read_image_vectors`.

    Raises
    ------
    FileNotFoundError, ImportError, ValueError
        As for `read_image_vectors`.
    """
    path, part = as_path(path), captions if part is None else part
    if _is_features(path):
        yield from _feature_blocks(path, None if part is None else part.filenames.tolist())
        return
    if captions is None or part is None:
        raise ValueError(f"{path} has vectors without names: give the data set, too")
    vectors, names = read_image_vectors(path, captions), part.filenames.tolist()
    size = max(1, _BLOCK_VALUES // max(1, vectors.shape[1]))
    for start in range(0, len(names), size):
        yield names[start : start + size], vectors[part.rows[start : start + size]]


def _feature_blocks(folder: Path, names: list[str] | None) -> Iterator[tuple[list[str], NDArray[Any]]]:
    """The images of the names, or all, shard by shard. For names all shards are read once before, for the ids."""
    shards = feature_shards(folder)
    refuse_repeated_ids(shards)
    name_of: dict[str, str] | None = None
    if names is not None:
        ids = [item for shard in shards for item in read_features(shard).ids]
        name_of = {ids[row]: name for row, name in zip(_found_rows(folder, names, ids), names, strict=True)}
    for shard in shards:
        found, sequences, failures = read_features(shard)
        if failures and name_of is None:
            item, reason = failures[0]
            raise ValueError(f"{shard}: {item} cannot be read ({reason}): extract it again")
        rows = [row for row, item in enumerate(found) if name_of is None or item in name_of]
        _refuse_steps(folder, [found[row] for row in rows], sequences.lengths[rows])
        if rows:
            vectors = sequences.steps()[sequences.offsets[:-1][rows]]
            yield [found[row] if name_of is None else name_of[found[row]] for row in rows], vectors


def _is_features(path: Path) -> bool:
    return path.is_dir() or path.suffix == ".parquet"


def _found_rows(folder: Path, names: list[str], ids: list[str]) -> NDArray[np.int64]:
    """Where each name is among the ids. A name that is not is refused."""
    rows = _rows_of(names, ids)
    missing = [names[i] for i in np.flatnonzero(rows < 0)]
    if missing:
        first = ", ".join(missing[:_MOST_SHOWN]) + (", ..." if len(missing) > _MOST_SHOWN else "")
        raise ValueError(
            f"{folder} has no vectors of {len(missing)} of the {len(names)} images ({first}): extract their features "
            "with --images; the report.csv there says which pictures could not be read"
        )
    return rows


def _refuse_steps(folder: Path, names: list[str], lengths: NDArray[np.int64]) -> None:
    if (lengths != 1).any():
        i = int(np.argmax(lengths != 1))
        raise ValueError(f"{folder}: {names[i]} has {lengths[i]} steps, but an image has one: extract with --images")


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
        # Not np.load, which takes archives and pickles for .npy files, too.
        vectors: NDArray[Any] = np.lib.format.open_memmap(path, mode="r", max_header_size=_LONGEST_HEADER)
        return vectors
    except MemoryError:
        raise
    except Exception as error:  # a damaged header fails in any way
        raise ValueError(f"{path} is damaged or not an .npy file of numbers: {one_line(error)}") from error


def _read_mat(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        version = file.read(HEADER)[-len(_MAT_5[0]) :]
    if version in _MAT_73:
        return _read_hdf5(path)
    if version not in _MAT_5:
        raise ValueError(f"{path} is damaged or not a MATLAB file of format 5 to 7.3")
    try:
        matrix = read_matrix(path, _KEY)
    except (ValueError, struct.error, zlib.error) as error:
        raise ValueError(f"{path} is damaged or not a MATLAB file: {one_line(error)}") from error
    if matrix is None:
        raise ValueError(f"{path} has no matrix {_KEY!r}")
    return matrix


def _read_hdf5(path: Path) -> NDArray[Any]:
    with wanted("matlab", f"reading {path}, in MATLAB's format 7.3, needs h5py"):
        import h5py
    try:
        with h5py.File(path, "r") as file:
            if _KEY not in file:
                raise KeyError(_KEY)
            # HDF5 can name other files, whose content would be read as numbers.
            if not isinstance(file.get(_KEY, getlink=True), h5py.HardLink):
                raise ValueError(f"its {_KEY!r} is a link")
            matrix = file[_KEY]
            if not isinstance(matrix, h5py.Dataset) or matrix.dtype.kind != "f" or matrix.shape is None:
                raise ValueError(f"its {_KEY!r} is not a matrix of floats")
            if matrix.is_virtual or matrix.external:
                raise ValueError(f"the numbers of its {_KEY!r} are in another file")
            refuse_inflated(f"its matrix {_KEY!r}", matrix.size * matrix.dtype.itemsize, path.stat().st_size)
            return np.asarray(matrix)  # HDF5 turns MATLAB's columns into rows
    except KeyError as error:
        raise ValueError(f"{path} has no matrix {_KEY!r}") from error
    except Exception as error:  # a damaged file fails in any way
        raise ValueError(f"{path} is damaged or not a MATLAB file: {one_line(error)}") from error
