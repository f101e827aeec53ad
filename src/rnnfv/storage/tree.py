"""An estimator as JSON and arrays, and back: values, nested estimators, and which classes are trusted."""

from __future__ import annotations

import math
import re
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from rnnfv.storage.bounds import text_array

__all__ = ["SaveMixin", "decode", "encode"]

# The scikit-learn classes that a model folder may name, and where each lives. LabelBinarizer is a
# part of a fitted RidgeClassifier, and the two of text are parts of a BagOfWords.
_SKLEARN = {
    "CountVectorizer": "sklearn.feature_extraction.text",
    "FeatureUnion": "sklearn.pipeline",
    "LabelBinarizer": "sklearn.preprocessing",
    "LinearSVC": "sklearn.svm",
    "LogisticRegression": "sklearn.linear_model",
    "PCA": "sklearn.decomposition",
    "Pipeline": "sklearn.pipeline",
    "RidgeClassifier": "sklearn.linear_model",
    "StandardScaler": "sklearn.preprocessing",
    "TfidfTransformer": "sklearn.feature_extraction.text",
}
_NUMBERS: dict[str, type[np.generic]] = {
    np.dtype(kind).name: kind
    for kind in (
        *(np.bool_, np.float16, np.float32, np.float64),
        *(np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64),
    )
}
_OUTPUT_CONFIG = "_sklearn_output_config"  # what set_output chose


class _NotStorableError(Exception):
    """A value has no place in a model folder; the text says what was found."""


class SaveMixin:
    """Gives an estimator ``save``, and says what of a fitted one is kept.

    What is kept is the constructor's parameters and the fitted attributes (``name_``). An estimator whose
    fitted state is more than numbers, strings, arrays and estimators overrides ``_get_state`` and
    ``_set_state``.
    """

    def save(self, folder: str | Path) -> None:
        """Write the estimator, fitted or not, to a model folder; `rnnfv.load` reads it.

        Parameters
        ----------
        folder : str or Path
            A new or empty folder, or a model folder, which is replaced.
        """
        from rnnfv.storage.models import save  # built on this module

        save(self, folder)

    def _get_state(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in vars(self).items()
            if (name.endswith("_") and not name.startswith("_")) or name == _OUTPUT_CONFIG
        }

    def _set_state(self, state: dict[str, Any]) -> None:
        _restore(self, state)


# -- values to JSON --------------------------------------------------------------------------------


def encode(value: Any, path: str, arrays: dict[str, NDArray[Any]]) -> Any:  # noqa: PLR0911, one a kind
    """Turn a value into JSON; numeric arrays go to ``arrays`` under a name made from ``path``.

    Parameters
    ----------
    value : None, bool, int, float, str, list, tuple, dict, NumPy scalar, array or dtype, or estimator
    path : str
        Where in the estimator the value is, such as ``model.coef_``.
    arrays : dict of str to ndarray
        Filled here.

    Returns
    -------
    None, bool, int, float, str, list or dict
        Every dict has the entry "kind".
    """
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"kind": "float", "value": str(value)}
    if kind is list:
        return [encode(item, f"{path}.{i}", arrays) for i, item in enumerate(value)]
    if kind is tuple:
        return {"kind": "tuple", "items": encode(list(value), path, arrays)}
    if kind is dict:
        items = [[encode(key, path, arrays), encode(item, f"{path}.{key}", arrays)] for key, item in value.items()]
        return {"kind": "dict", "items": items}
    if isinstance(value, np.generic) and value.dtype.name in _NUMBERS:
        return {"kind": "scalar", "dtype": value.dtype.name, "value": encode(value.item(), path, arrays)}
    if kind is np.str_:
        return {"kind": "scalar", "dtype": "str", "value": str(value)}
    if kind in (np.ndarray, np.memmap):
        return _encode_array(value, path, arrays)
    if isinstance(value, np.dtype) and value == _NUMBERS.get(value.name):
        return {"kind": "dtype", "name": value.name}
    if isinstance(value, type) and value in _NUMBERS.values():
        return {"kind": "type", "name": np.dtype(value).name}
    return _encode_estimator(value, path, arrays)


def _encode_array(array: NDArray[Any], path: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    if array.dtype.kind == "U" or (array.dtype == object and all(type(item) is str for item in array.flat)):
        items = array.ravel().tolist()
        dtype = f"U{min(array.dtype.itemsize // 4, _widest(items))}" if array.dtype.kind == "U" else "object"
        return {"kind": "strings", "dtype": dtype, "shape": list(array.shape), "items": items}
    if array.dtype.name not in _NUMBERS:
        raise _NotStorableError(f"an array of dtype {array.dtype}")
    name = re.sub(r"[^\w.]", "_", path)
    while name in arrays:
        name += "_"
    # The order in memory is kept: it decides the last bits of a matrix product.
    compact = array.astype(array.dtype.newbyteorder("="), order="K", copy=False)
    by_columns = compact.flags.f_contiguous and not compact.flags.c_contiguous
    arrays[name] = np.asarray(compact.T if by_columns else compact, order="C")
    return {"kind": "array", "name": name, "order": "F" if by_columns else "C"}


def _encode_estimator(estimator: Any, path: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    name = _trusted_name(type(estimator))
    if name is None:
        kind = estimator if isinstance(estimator, type) else type(estimator)
        raise _NotStorableError(f"{'the class' if estimator is kind else 'a value of type'} {kind.__name__}")
    params = estimator.get_params(deep=False)
    if params.get("memory") is not None:
        warnings.warn(
            f"the memory of {type(estimator).__name__} is a cache of this machine and is saved as None",
            UserWarning,
            stacklevel=2,
        )
        params["memory"] = None
    if isinstance(params.get("random_state"), (np.random.RandomState, np.random.Generator)):
        warnings.warn(
            f"the random_state of {type(estimator).__name__} is a generator and is saved as None: "
            "give an integer to keep it",
            UserWarning,
            stacklevel=2,
        )
        params["random_state"] = None
    if isinstance(estimator, SaveMixin):
        state = estimator._get_state()
    else:  # scikit-learn keeps some of what it learnt in private names
        state = {key: value for key, value in vars(estimator).items() if key not in params}
    return {
        "kind": "estimator",
        "class": name,
        "params": _encode_named(params, "parameter", name, path, arrays),
        "state": _encode_named(state, "fitted attribute", name, path, arrays),
    }


def _encode_named(
    values: dict[str, Any], what: str, owner: str, path: str, arrays: dict[str, NDArray[Any]]
) -> dict[str, Any]:
    encoded = {}
    for name, value in values.items():
        try:
            encoded[name] = encode(value, f"{path}.{name}", arrays)
        except _NotStorableError as error:
            raise TypeError(
                f"{owner} cannot be saved: its {what} {name!r} holds {error}; a model folder keeps numbers, "
                f"strings, lists, dicts, arrays of them, and estimators of rnnfv and {', '.join(_SKLEARN)}"
            ) from None
    return encoded


# -- JSON to values --------------------------------------------------------------------------------


def decode(node: Any, arrays: dict[str, NDArray[Any]]) -> Any:  # noqa: PLR0911, one a kind
    """Turn what `encode` made back into the value. Only trusted classes are made, and nothing is imported by name.

    Raises
    ------
    ValueError, TypeError, LookupError and others
        If the JSON is not what `encode` writes: the caller turns them into one error.
    """
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    if isinstance(node, list):
        return [decode(item, arrays) for item in node]
    match node:
        case {"kind": "float", "value": "inf" | "-inf" | "nan" as text}:
            return float(text)
        case {"kind": "tuple", "items": [*items]}:
            return tuple(decode(items, arrays))
        case {"kind": "dict", "items": [*items]}:
            return {decode(key, arrays): decode(value, arrays) for key, value in items}
        case {"kind": "scalar", "dtype": str(dtype), "value": value}:
            return (np.str_ if dtype == "str" else _NUMBERS[dtype])(decode(value, arrays))
        case {"kind": "array", "name": str(name), "order": "C" | "F" as order}:
            return arrays[name].T if order == "F" else arrays[name]
        case {"kind": "strings", "dtype": str(dtype), "shape": [*shape], "items": [*items]}:
            return _decode_strings(dtype, shape, items)
        case {"kind": "dtype", "name": str(name)}:
            return np.dtype(_NUMBERS[name])
        case {"kind": "type", "name": str(name)}:
            return _NUMBERS[name]
        case {"kind": "estimator", "class": str(name), "params": dict(params), "state": dict(state)}:
            return _decode_estimator(name, params, state, arrays)
    raise ValueError(f"a value of an unknown kind: {str(node)[:60]}")


def _decode_strings(dtype: str, shape: list[Any], items: list[Any]) -> NDArray[Any]:
    if not re.fullmatch(r"U\d+|object", dtype) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"an array of strings of dtype {dtype[:20]} that holds something else")
    if dtype != "object" and int(dtype[1:]) > _widest(items):
        raise ValueError(f"an array of strings of dtype {dtype[:20]}, much wider than what it holds")
    array = np.array(items, object) if dtype == "object" else text_array("an array of strings", items, int(dtype[1:]))
    return array.reshape(shape)


def _widest(items: list[str]) -> int:
    """The largest width of an array of these strings: a few bytes of JSON must not ask for gigabytes."""
    return max(1024, *map(len, items)) if items else 1024


def _decode_estimator(name: str, params: dict[str, Any], state: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Any:
    if params.get("memory") is not None:  # joblib unpickles what it finds in such a folder
        raise ValueError("it names a cache folder (memory)")
    if params.get("input", "content") != "content":  # a CountVectorizer would open the files that sentences name
        raise ValueError("it reads files (input)")
    estimator = _trusted_class(name)(**{key: decode(value, arrays) for key, value in params.items()})
    values = {key: decode(value, arrays) for key, value in state.items()}
    if isinstance(estimator, SaveMixin):
        estimator._set_state(values)
    else:
        _restore(estimator, values)
    return estimator


def _restore(estimator: Any, state: dict[str, Any]) -> None:
    """Set fitted attributes. A method cannot be replaced, nor a parameter, which would not be looked at again."""
    params = estimator.get_params(deep=False)
    for name, value in state.items():
        if not name.isidentifier() or name.startswith("__") or name in params or hasattr(type(estimator), name):
            raise ValueError(f"{type(estimator).__name__} has no fitted attribute {name[:60]!r}")
        setattr(estimator, name, value)


# -- which classes are trusted ---------------------------------------------------------------------


def _trusted_name(cls: type) -> str | None:
    """The name under which a class is stored; None where it is not trusted."""
    for name in (f"rnnfv.{cls.__name__}", f"sklearn.{cls.__name__}"):
        try:
            if _trusted_class(name) is cls:
                return name
        except ValueError:
            continue
    return None


def _trusted_class(name: str) -> type:
    """The class of a stored name: of rnnfv's public estimators or of the table above, never any other."""
    rnnfv = import_module("rnnfv")  # by name: the estimators live on floors above this one
    library, _, short = name.partition(".")
    if library == "sklearn" and short in _SKLEARN:
        return cast("type", getattr(import_module(_SKLEARN[short]), short))
    if library == "rnnfv" and short in rnnfv.__all__:
        cls = getattr(rnnfv, short)
        if isinstance(cls, type) and issubclass(cls, SaveMixin):
            return cls
    raise ValueError(f"it names the class {name[:60]!r}, which is not one that rnnfv loads")
