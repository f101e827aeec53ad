"""A checkpoint: arrays and a record in one file, which is replaced in one step."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from rnnfv.storage.atomic import atomic_file

__all__ = ["parse_checkpoint", "write_checkpoint"]

_RECORD, _CHECKSUM = "record", "sha256"


def write_checkpoint(path: Path, arrays: dict[str, NDArray[Any]], record: dict[str, Any]) -> None:
    """Write a checkpoint: a safetensors file in which an array of bytes holds the record as JSON.

    Parameters
    ----------
    path : Path
        What was there is replaced when the new file is whole.
    arrays : dict of str to ndarray
        Without the names "record" and "sha256".
    record : dict
        Plain values that JSON can hold; infinite numbers and NaN are kept.
    """
    text = json.dumps(record).encode("ascii")
    content = {**arrays, _RECORD: np.frombuffer(text, np.uint8)}
    content[_CHECKSUM] = np.frombuffer(_digest(content), np.uint8)
    with atomic_file(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save(content))


def parse_checkpoint(data: bytes, path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and the record of a checkpoint's bytes.

    Parameters
    ----------
    data : bytes
    path : Path
        Where they are from, for the message.

    Raises
    ------
    ValueError
        If the bytes are not those that `write_checkpoint` wrote.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from rnnfv.storage.checkpoint import parse_checkpoint, write_checkpoint
    >>> path = Path(tempfile.mkdtemp()) / "epoch"
    >>> write_checkpoint(path, {"weights": np.ones(2)}, {"epoch": 3})
    >>> parse_checkpoint(path.read_bytes(), path)
    ({'weights': array([1., 1.])}, {'epoch': 3})
    """
    try:
        arrays = safetensors.numpy.load(data)
        checksum, record = arrays.pop(_CHECKSUM).tobytes(), arrays[_RECORD]
        if checksum != _digest(arrays):
            raise ValueError("its checksum is wrong")
        del arrays[_RECORD]
        return arrays, json.loads(record.tobytes())
    # The library's own error class, KeyError for a missing name or a dtype that NumPy lacks.
    except Exception as error:
        raise ValueError(f"{path} is damaged, or not a checkpoint: delete it to begin anew") from error


def _digest(arrays: dict[str, NDArray[Any]]) -> bytes:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).data if array.size else b"")
    return digest.digest()
