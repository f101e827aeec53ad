"""One ragged batch of sequences: the only shape in which data travels through the library."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast, overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sequences", "as_sequences"]

_CHECK_BLOCK = 1 << 22  # values looked at together when searching for NaN: bounds the temporary mask


class Sequences:
    """A ragged batch: every sequence's steps, one after another, and where each begins.

    A batch holds either vectors (``values`` of shape (total, D)) or symbols (``values`` of shape
    (total,), integers), the latter with or without the table that gives each symbol its vector. With
    a table the batch behaves as the sequences of vectors it stands for, and a vector is looked up only
    when a batch of them is needed.

    Parameters
    ----------
    values : ndarray of shape (total, D), float16, float32 or float64; or (total,), integer
        All steps in order. Kept without a copy where it is contiguous.
    offsets : ndarray of shape (n + 1,), int64
        Sequence i is ``values[offsets[i]:offsets[i + 1]]``.
    vectors : ndarray of shape (M, D), optional
        The vector of each symbol; only for integer ``values``.

    Raises
    ------
    TypeError
        If the values are not numbers.
    ValueError
        If a sequence is empty, holds NaN or an infinite value, or a symbol outside the table; the
        message names the sequence.

    Examples
    --------
    >>> import numpy as np
    >>> from rnnfv import Sequences
    >>> seqs = Sequences.from_list([np.ones((3, 2)), np.zeros((5, 2))])
    >>> len(seqs), seqs.dim, seqs.lengths.tolist()
    (2, 2, [3, 5])
    >>> seqs[1].shape
    (5, 2)
    >>> seqs[[1]].reversed().lengths.tolist()
    [5]
    """

    __slots__ = ("offsets", "values", "vectors")

    def __init__(self, values: Any, offsets: Any, vectors: Any = None) -> None:
        self.values = _as_values(values, "values")
        self.offsets = np.ascontiguousarray(offsets, dtype=np.int64)
        self.vectors = None if vectors is None else _as_values(vectors, "vectors")
        self._check()

    # -- making one ------------------------------------------------------------------------------

    @classmethod
    def from_list(cls, sequences: Sequence[Any], vectors: Any = None) -> Sequences:
        """Join a list of arrays (N_i, D), or of one-dimensional arrays of integer symbols.

        Parameters
        ----------
        sequences : list of array-like or tensor
            Each of shape (N_i, D), all with the same D; or (N_i,) integers, which are symbols.
        vectors : array-like of shape (M, D), optional
            The table of symbol vectors.

        Raises
        ------
        ValueError
            If the list is empty, or an item has another width or rank; the message names the item.
        """
        if len(sequences) == 0:
            raise ValueError("there are no sequences: the list is empty")
        arrays = [_as_values(item, f"sequence {i}") for i, item in enumerate(sequences)]
        rank, width = arrays[0].ndim, arrays[0].shape[1:]
        for i, array in enumerate(arrays):
            if array.ndim != rank:
                raise ValueError(f"sequence {i} has shape {array.shape}, but sequence 0 has shape {arrays[0].shape}")
            if array.shape[1:] != width:
                raise ValueError(f"sequence {i} has {array.shape[1]} values a step, but sequence 0 has {width[0]}")
        lengths = np.array([len(array) for array in arrays])
        return cls(np.concatenate(arrays), offsets_of(lengths), vectors)

    @classmethod
    def from_padded(cls, values: Any, lengths: Any) -> Sequences:
        """Cut a padded array (n, N, D), or (n, N) of symbols, to each sequence's own length.

        Parameters
        ----------
        values : array-like or tensor of shape (n, N, D) or (n, N)
        lengths : array-like of shape (n,), integer
            Steps of each sequence, 1 to N.
        """
        values = _as_array(values)
        lengths = np.asarray(lengths, dtype=np.int64)
        if values.ndim not in (2, 3) or lengths.shape != values.shape[:1]:
            raise ValueError(
                f"padded values must be (n, N, D) with n lengths; got {values.shape} and lengths {lengths.shape}"
            )
        wrong = np.flatnonzero((lengths < 1) | (lengths > values.shape[1]))
        if wrong.size:
            i = wrong[0]
            raise ValueError(f"sequence {i} has length {lengths[i]}: it must be 1 to {values.shape[1]}")
        inside = np.arange(values.shape[1]) < lengths[:, None]
        return cls(values[inside], offsets_of(lengths))

    @classmethod
    def from_array(cls, values: Any) -> Sequences:
        """Take a 3-D array (n, N, D): n sequences of one length. No copy where it is contiguous.

        Parameters
        ----------
        values : array-like of shape (n, N, D)

        Returns
        -------
        Sequences
        """
        values = _as_array(values)
        if values.ndim != 3:
            raise ValueError(f"an array of sequences must be three-dimensional (n, N, D); got shape {values.shape}")
        n, steps, dim = values.shape
        return cls(values.reshape(n * steps, dim), np.arange(n + 1) * steps)

    def _view(self, values: NDArray[Any], offsets: NDArray[np.int64]) -> Sequences:
        """A batch over already checked values."""
        view = object.__new__(Sequences)
        view.values, view.offsets, view.vectors = values, offsets, self.vectors
        return view

    # -- looking at it ---------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __repr__(self) -> str:
        kind = f"dim={self.dim}" if self.dim is not None else "symbols"
        return f"Sequences(n={len(self)}, steps={len(self.values)}, {kind}, dtype={self.dtype})"

    @property
    def shape(self) -> tuple[int]:
        """(n,): scikit-learn reads it and then takes rows as one batch, not one by one."""
        return (len(self),)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Steps of each sequence, shape (n,)."""
        return np.diff(self.offsets)

    @property
    def dim(self) -> int | None:
        """Values a step, D; None for symbols without a table."""
        table = self.values if self.vectors is None else self.vectors
        return table.shape[1] if table.ndim == 2 else None

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of a step's vector (of the symbols, where there is no table)."""
        return (self.values if self.vectors is None else self.vectors).dtype

    @property
    def is_symbolic(self) -> bool:
        """Whether the steps are integer symbols."""
        return self.values.ndim == 1

    @overload
    def __getitem__(self, index: int | np.integer[Any]) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice | Sequence[int] | NDArray[Any] | tuple[Any, ...]) -> Sequences: ...
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, tuple) and len(index) == 2 and index[1] is Ellipsis:
            return self[index[0]]  # X[rows, ...], as scikit-learn writes it
        if isinstance(index, (int, np.integer)):
            i = range(len(self))[index]
            return self._lookup(self.values[self.offsets[i] : self.offsets[i + 1]])
        if isinstance(index, slice) and index.step in (None, 1):
            start, stop, _ = index.indices(len(self))
            offsets = self.offsets[start : max(start, stop) + 1]
            return self._view(self.values[offsets[0] : offsets[-1]], offsets - offsets[0])
        chosen = np.arange(len(self))[index]
        lengths = self.lengths[chosen]
        offsets = offsets_of(lengths)
        # Row r of the result is row r - (start of its sequence there) + (start of its sequence here).
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[chosen] - offsets[:-1], lengths)
        return self._view(self.values[rows], offsets)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[i] for i in range(len(self)))

    def _lookup(self, values: NDArray[Any]) -> NDArray[Any]:
        return values if self.vectors is None else cast("NDArray[Any]", self.vectors[values])

    # -- changing it -----------------------------------------------------------------------------

    def reversed(self) -> Sequences:
        """The same sequences, each played backwards."""
        rows = np.arange(len(self.values))
        first, last = self.offsets[:-1], self.offsets[1:] - 1
        return self._view(self.values[np.repeat(first + last, self.lengths) - rows], self.offsets)

    def with_vectors(self, vectors: Any) -> Sequences:
        """The same symbols, with another (or a first) table of vectors (M, D).

        Parameters
        ----------
        vectors : array-like of shape (M, D)
            Row i is the vector of symbol i.

        Returns
        -------
        Sequences
        """
        return Sequences(self.values, self.offsets, vectors)

    def steps(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """The vectors of steps ``start`` to ``stop`` of the whole batch, in order: shape (stop - start, D).

        Parameters
        ----------
        start : int
            Of all sequences' steps, counted through.
        stop : int, optional
            One behind the last. Default: the end.

        Returns
        -------
        ndarray of shape (stop - start, D)
        """
        return self._lookup(self.values[start:stop])

    # -- batches ---------------------------------------------------------------------------------

    def batches(
        self,
        max_steps: int = 8192,
        max_padding: float = 0.25,
        batch_size: int | None = None,
        rng: np.random.Generator | None = None,
    ) -> list[NDArray[np.int64]]:
        """Cut the batch into batches of sequences of about one length.

        Parameters
        ----------
        max_steps : int
            Steps of one batch, padding included; a longer sequence is a batch of its own.
        max_padding : float
            Largest share of padding in a batch, 0 to 1.
        batch_size : int, optional
            Most sequences of a batch.
        rng : numpy.random.Generator, optional
            Where given, sequences of one length and the batches come in random order.

        Returns
        -------
        list of ndarray
            Indices of each batch; together every sequence once. Without ``rng``, shortest first.
        """
        lengths = self.lengths
        most = len(self) if batch_size is None else batch_size
        order = np.arange(len(self)) if rng is None else rng.permutation(len(self))
        order = order[np.argsort(lengths[order], kind="stable")]
        batches, start, filled = [], 0, 0
        for stop, length in enumerate(lengths[order].tolist()):
            padded = (stop + 1 - start) * length
            full = stop - start == most or padded > max_steps
            if stop > start and (full or padded - filled - length > max_padding * padded):
                batches.append(order[start:stop])
                start, filled = stop, 0
            filled += length
        batches.append(order[start:])
        if rng is not None:
            rng.shuffle(batches)
        return batches

    def blocks(self, max_steps: int) -> Iterator[slice]:
        """Runs of neighbouring sequences of so many steps together, or of one sequence that is longer.

        Parameters
        ----------
        max_steps : int

        Yields
        ------
        slice
            Of sequences.

        Examples
        --------
        >>> seqs = Sequences.from_list([np.ones((n, 2)) for n in (3, 2, 9, 1)])
        >>> list(seqs.blocks(5))
        [slice(0, 2, None), slice(2, 3, None), slice(3, 4, None)]
        """
        first = 0
        while first < len(self):
            last = int(np.searchsorted(self.offsets, self.offsets[first] + max_steps, side="right")) - 1
            last = max(last, first + 1)
            yield slice(first, last)
            first = last

    def padded(self, indices: Any = None) -> NDArray[Any]:
        """The chosen sequences as one array (n, longest, D), or (n, longest) of symbols, zeros behind each end.

        Symbols stay symbols here, also where there is a table: look up ``vectors`` where needed.

        Parameters
        ----------
        indices : array-like of int, optional
            Which sequences, in which order. Default: all.

        Returns
        -------
        ndarray of shape (n, longest, D) or (n, longest)
        """
        chosen = np.arange(len(self)) if indices is None else np.asarray(indices)
        lengths = self.lengths[chosen]
        positions = np.arange(lengths.max(initial=0))
        inside = positions < lengths[:, None]
        rows = np.where(inside, self.offsets[chosen][:, None] + positions, 0)
        padded = self.values[rows]
        padded[~inside] = 0
        return padded

    # -- checks ----------------------------------------------------------------------------------

    def _check(self) -> None:
        values, offsets, vectors = self.values, self.offsets, self.vectors
        if values.ndim not in (1, 2) or offsets.ndim != 1:
            raise ValueError(f"values must be (total, D) and offsets (n + 1,); got {values.shape} and {offsets.shape}")
        if len(offsets) < 1 or offsets[0] != 0 or offsets[-1] != len(values):
            raise ValueError(f"offsets must run from 0 to the number of steps, {len(values)}")
        empty = np.flatnonzero(np.diff(offsets) <= 0)
        if empty.size:
            raise ValueError(f"sequence {empty[0]} is empty: every sequence needs at least one step")
        if values.ndim == 2 and values.shape[1] == 0:
            raise ValueError("sequences have no values: the width is 0")
        if values.ndim == 1:
            if not np.issubdtype(values.dtype, np.integer):
                raise ValueError(
                    f"sequence 0 has rank 1 and dtype {values.dtype}: give shape (steps, dim), "
                    "reshape(-1, 1) for one value a step; rank 1 is for integer symbols"
                )
            size = np.iinfo(np.int64).max if vectors is None else len(vectors)
            self._refuse((values < 0) | (values >= size), f"a symbol outside 0..{size - 1}")
        elif vectors is not None:
            raise ValueError("a table of vectors needs sequences of integer symbols, shape (steps,)")
        else:
            block = max(1, _CHECK_BLOCK // values.shape[1])
            for start in range(0, len(values), block):
                self._refuse(~np.isfinite(values[start : start + block]).all(axis=1), "NaN or an infinite value", start)
        if vectors is not None:
            if vectors.ndim != 2:
                raise ValueError(f"vectors must have shape (M, D); got {vectors.shape}")
            bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
            if bad.size:
                raise ValueError(f"the vector of symbol {bad[0]} holds NaN or an infinite value")

    def _refuse(self, wrong: NDArray[np.bool_], what: str, start: int = 0) -> None:
        if wrong.any():
            row = start + int(np.argmax(wrong))
            i = int(np.searchsorted(self.offsets, row, side="right")) - 1
            raise ValueError(f"sequence {i} has {what} at step {row - self.offsets[i]}")


def as_sequences(X: Any, vectors: Any = None) -> Sequences:
    """Take a batch in any accepted form: ``Sequences``, a list of arrays, or a 3-D array.

    Parameters
    ----------
    X : Sequences, list of array-like or tensor, or array-like of shape (n, N, D)
    vectors : array-like of shape (M, D), optional
        A table for symbols that come without one.

    Raises
    ------
    ValueError
        As `Sequences` does, naming the offending item.
    """
    if isinstance(X, Sequences):
        return X if vectors is None or X.vectors is not None else X.with_vectors(vectors)
    if hasattr(X, "ndim") and X.ndim == 3:
        return Sequences.from_array(X)
    if hasattr(X, "ndim") and X.ndim == 1 and X.dtype == object:  # an array or a pandas Series of arrays or lists
        X = list(X)
    if hasattr(X, "ndim"):
        raise ValueError(
            f"expected a list of arrays (steps, dim) or one array (n, steps, dim); got an array of shape "
            f"{tuple(X.shape)}. For a single sequence pass [array]"
        )
    if isinstance(X, (str, bytes, dict)) or not hasattr(X, "__len__"):
        raise TypeError(f"expected sequences (a list of arrays, a 3-D array or Sequences); got {type(X).__name__}")
    return Sequences.from_list(X, vectors)


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each sequence begins, and the end: shape (n + 1,)."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _as_array(item: Any) -> NDArray[Any]:
    if hasattr(item, "detach"):  # a torch tensor, perhaps with a gradient or on a GPU
        item = item.detach().cpu().numpy()
    return np.asarray(item)


def _as_values(item: Any, name: str) -> NDArray[Any]:
    """A contiguous array of float16/32/64, or of integers where it has rank 1."""
    try:
        array = _as_array(item)
    except ValueError as error:  # ragged nested lists
        raise ValueError(f"{name} is not an array: its steps differ in width") from error
    if array.ndim not in (1, 2):
        raise ValueError(f"{name} has rank {array.ndim}: give shape (steps, dim)")
    if array.size == 0 and array.ndim == 1:
        raise ValueError(f"{name} is empty: every sequence needs at least one step")
    if array.dtype == bool or not (np.issubdtype(array.dtype, np.number) and np.isrealobj(array)):
        raise TypeError(f"{name} has dtype {array.dtype}: sequences hold real numbers")
    if array.ndim == 1 and np.issubdtype(array.dtype, np.integer):
        return np.ascontiguousarray(array)
    if array.dtype not in (np.float16, np.float32, np.float64):
        array = array.astype(
            np.float64 if np.issubdtype(array.dtype, np.floating) else np.result_type(array, np.float32)
        )
    return np.ascontiguousarray(array)
