"""Sums over pairs of rows, block by block, and Cholesky factors of what is summed."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator
from threading import RLock
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, eigsh

from rnnfv.storage import SaveMixin

if TYPE_CHECKING:
    from rnnfv._cca_device import DeviceProducts

__all__ = ["PairSums", "SumsMixin", "Symmetric", "add_product", "add_triangle", "largest_eigenvalue", "row_blocks"]

_BLOCK_VALUES = 1 << 25  # values of one block: 128 MiB in float32
_BLOCK_ROWS = 2048  # at most: more rows in one float32 product would lose digits
_PANEL = 256  # columns of a symmetric matrix below which both its triangles are computed
_PRODUCT_VALUES = 1 << 22  # values of a product that are made together
_ONE_AT_A_TIME = RLock()  # threads may ask for what is learnt, which is found in the memory of the sums
_DENSE = 500  # below this width LAPACK finds an eigenvalue sooner than iterations do


def row_blocks(X: NDArray[Any], values: int = _BLOCK_VALUES) -> Iterator[slice]:
    """Slices of consecutive rows, about ``values`` numbers each."""
    size = min(_BLOCK_ROWS, max(1, values // max(1, X.shape[1])))
    for start in range(0, len(X), size):
        yield slice(start, start + size)


def add_product(total: Any, left: Any, right: Any, values: int = _PRODUCT_VALUES) -> None:
    """Add left^T right to a float64 total, about ``values`` numbers of it at a time; all arrays, or all tensors."""
    size = max(_PANEL, values // max(1, right.shape[1]))
    for start in range(0, len(total), size):
        total[start : start + size] += left[:, start : start + size].T @ right


def add_triangle(total: Any, rows: Any, values: int = _PRODUCT_VALUES) -> None:
    """Add the upper triangle of rows^T rows to a total as `add_product` does, and something anyhow below it."""
    if len(total) <= _PANEL:
        total += rows.T @ rows
        return
    middle = len(total) // 2  # a quarter beside the diagonal, then two smaller squares
    add_product(total[:middle, middle:], rows[:, :middle], rows[:, middle:], values)
    add_triangle(total[:middle, :middle], rows[:, :middle], values)
    add_triangle(total[middle:, middle:], rows[:, middle:], values)


class PairSums:
    """Products of centred columns, summed over pairs of rows that come in blocks.

    The products of a block are made about its own mean, in its own dtype or a finer one, and summed in float64. How
    far that mean lies from the mean so far is one more row of the block: the sums are always about the mean.

    Parameters
    ----------
    a, b : int
        Columns of X and of Y.
    dtype : float32 or float64
        Products are made in it at least.
    x_products : bool
        Whether the products of X with itself are wanted; with them off, all products have to be made on the CPU.
    """

    def __init__(self, a: int, b: int, dtype: Any = np.float32, x_products: bool = True) -> None:
        self.n, self._dtype = 0, dtype
        self.x_mean, self.y_mean = np.zeros(a), np.zeros(b)
        self.xx, self.xy, self.yy = Symmetric(a if x_products else 0), np.zeros((a, b)), Symmetric(b)
        self.dtypes = (np.dtype(np.float32), np.dtype(np.float32))
        self._away: DeviceProducts | None = None
        self._is_torn = False  # an error came while something was added: nobody knows how much of it

    def add(self, X: NDArray[Any], Y: NDArray[Any], device: str = "cpu") -> None:
        """Add pairs: (m, a) and (m, b). Products of another device than "cpu" stay there until `whole`."""
        if self._is_torn or (self._away is not None and self._away.device != device):
            self.whole()
        if device != "cpu" and self._away is None:
            from rnnfv._cca_device import DeviceProducts

            self._away = DeviceProducts(len(self.x_mean), len(self.y_mean), device)
        self._own()
        self._is_torn = True
        self.dtypes = (np.promote_types(self.dtypes[0], X.dtype), np.promote_types(self.dtypes[1], Y.dtype))
        for rows in row_blocks(X if X.shape[1] > Y.shape[1] else Y):
            x, self.x_mean = _about_mean(X[rows], self.x_mean, self.n, self._dtype)
            y, self.y_mean = _about_mean(Y[rows], self.y_mean, self.n, self._dtype)
            self.n += len(x) - 1
            if self._away is not None:
                self._away.add(x, y)
                continue
            self.yy.add(y)
            add_product(self.xy, x, y)
            if len(self.xx):
                self.xx.add(x)
        self._is_torn = False

    def whole(self) -> Self:
        """See that nothing was added in part, and take from a device what is there.

        Raises
        ------
        RuntimeError
            If an error came while something was added.
        """
        with _ONE_AT_A_TIME:
            if self._is_torn:
                raise RuntimeError(
                    "an error or Ctrl-C came while these sums were added to, and left them with a part of it: "
                    "begin anew"
                )
            if self._away is not None:
                self._is_torn = True
                self._away.add_to(self.xx.upper, self.xy, self.yy.upper)
                self._away, self._is_torn = None, False
        return self

    def _own(self) -> None:
        """Make sure that the arrays can be written to; those that came from another process cannot."""
        if not self.xy.flags.writeable:
            self.xy = self.xy.copy()
        self.xx.own()
        self.yy.own()

    def __getstate__(self) -> dict[str, Any]:
        return vars(self.whole()).copy()

    def merged(self, other: PairSums) -> PairSums:
        """The sums over the pairs of both, which stay as they are."""
        other.whole()
        both = copy.copy(self.whole())
        both.dtypes = (
            np.promote_types(self.dtypes[0], other.dtypes[0]),
            np.promote_types(self.dtypes[1], other.dtypes[1]),
        )
        both.n = self.n + other.n
        x, y = other.x_mean - self.x_mean, other.y_mean - self.y_mean
        both.x_mean, both.y_mean = (
            mean + step * (other.n / both.n) for mean, step in ((self.x_mean, x), (self.y_mean, y))
        )
        x, y = (step[None] * np.sqrt(self.n * other.n / both.n) for step in (x, y))
        both.xx, both.yy = self.xx.plus(other.xx), self.yy.plus(other.yy)
        both.xy = self.xy + other.xy
        both.xx.add(x)
        both.yy.add(y)
        add_product(both.xy, x, y)
        return both


class SumsMixin(SaveMixin):
    """What an estimator needs that learns from sums (``_sums``): `partial_fit` adds to them, `merge` joins them.

    A scikit-learn estimator that has it names what it learns in ``_learnt``, and sets all of it in ``_learn``.
    """

    _learnt: tuple[str, ...]
    _sums: PairSums

    @abstractmethod
    def _learn(self, sums: PairSums) -> Self:
        """Compute what is learnt from sums, which stay as they are."""

    def merge(self, other: Self) -> Self:
        """Put what another estimator's `partial_fit` saw behind what this one's saw.

        So parts of the data can be summed in different processes; to rounding it does not matter how they are divided.

        Parameters
        ----------
        other : estimator
            Of the same parameters, but for the device. It stays as it is.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If one of the two has no sums of `partial_fit`, or they differ in width or parameters.

        Examples
        --------
        >>> import numpy as np
        >>> from rnnfv import GramPCA
        >>> X = np.random.default_rng(0).normal(size=(200, 4))
        >>> first, second = (GramPCA(2).partial_fit(X[rows]) for rows in (slice(120), slice(120, 200)))
        >>> bool(np.allclose(first.merge(second).components_, GramPCA(2).fit(X).components_))
        True
        """
        if not (self._has_sums and other._has_sums):
            raise ValueError("merge needs the sums of partial_fit on both sides: call that on each first")
        widths = [(len(e._sums.x_mean), len(e._sums.y_mean)) for e in (self, other)]
        params = [e.get_params() | {"device": None} for e in (self, other)]
        if widths[0] != widths[1] or params[0] != params[1]:
            raise ValueError(f"{self} of {widths[0]} columns and {other} of {widths[1]} columns cannot be merged")
        self._sums = self._sums.merged(other._sums)
        self._forget(*self._learnt)
        return self

    def __getattr__(self, name: str) -> Any:
        """After `partial_fit`, what was learnt is computed here."""
        if name in self._learnt and self._has_sums:
            with _ONE_AT_A_TIME:
                if name not in vars(self):
                    self._learn(self._sums)
                return vars(self)[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def _has_sums(self) -> bool:
        return "_sums" in vars(self)

    def _begins_sums(self) -> bool:
        """Whether the sums begin with what `partial_fit` is given. Refuses to begin behind a fit that left none."""
        if not self._has_sums and self._learnt[0] in vars(self):
            raise ValueError(
                "this estimator was fitted by fit or loaded and has no sums to add to: begin with a new one"
            )
        return not self._has_sums

    def _forget(self, *names: str) -> None:
        for name in names:
            self.__dict__.pop(name, None)

    def _get_state(self) -> dict[str, Any]:
        if self._has_sums:
            getattr(self, self._learnt[0])  # computes all
        return super()._get_state()


def _about_mean(
    rows: NDArray[Any], old_mean: NDArray[np.float64], n: int, dtype: Any
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """The rows about their mean, behind them the row for the step from the old mean, and the new mean."""
    m = len(rows)
    centred = np.empty((m + 1, rows.shape[1]), np.promote_types(rows.dtype, dtype))
    first = rows[0].astype(centred.dtype)
    np.subtract(rows, first, out=centred[:m])  # exact zeros where a column is constant
    shift = centred[:m].mean(axis=0, dtype=np.float64)
    centred[:m] -= shift.astype(centred.dtype)
    step = first + shift - old_mean
    centred[m] = step * np.sqrt(n * m / (n + m))
    return centred, old_mean + step * (m / (n + m))


class Symmetric:
    """A sum of outer products in one triangle of an array, and room for a Cholesky factor in the other.

    The array has one row more than columns: the sum is the upper triangle of all rows but the last, the factor
    the lower triangle of all rows but the first, so that a factor costs no memory and leaves the sum as it is.

    Parameters
    ----------
    d : int
        Rows and columns of the matrix.
    """

    def __init__(self, d: int) -> None:
        self._set(np.zeros((d + 1, d)))

    def _set(self, array: NDArray[np.float64]) -> None:
        self._array = array
        self.upper, self._lower = array[:-1], array[1:]

    def __len__(self) -> int:
        return len(self.upper)

    def __getstate__(self) -> NDArray[np.float64]:
        return self._array  # once, and not its two views

    def __setstate__(self, array: NDArray[np.float64]) -> None:
        self._set(array)

    def plus(self, other: Symmetric) -> Symmetric:
        """The sum of two, which stay as they are."""
        total = Symmetric(0)
        total._set(self._array + other._array)
        return total

    def own(self) -> None:
        """Make sure that the array can be written to; one that came from another process cannot."""
        if not self._array.flags.writeable:
            self._set(self._array.copy())

    def add(self, rows: NDArray[Any]) -> None:
        """Add rows^T rows."""
        add_triangle(self.upper, rows)  # what it adds below is room for the factor, and overwritten with it

    def largest(self) -> float:
        """The largest eigenvalue, to 1e-10 of itself or better."""
        if len(self) < _DENSE:
            return float(scipy.linalg.eigvalsh(self.upper, lower=False, subset_by_index=[len(self) - 1] * 2)[0])
        return largest_eigenvalue(
            len(self), lambda v: scipy.linalg.blas.dsymv(1.0, self.upper.T, v, lower=1), tol=1e-10
        )

    def factor(self, shift: float) -> NDArray[np.float64]:
        """Cholesky factor of the matrix plus ``shift`` on its diagonal; valid until the next call.

        Returns
        -------
        ndarray of shape (d, d), Fortran order
            U with U^T U the matrix, in the upper triangle; what is below is not part of it.

        Raises
        ------
        numpy.linalg.LinAlgError
            If a column depends on those before it; ``args[0]`` is its number.
        """
        self.own()
        lower = self._lower
        for start in range(0, len(self), _PANEL):
            stop = min(start + _PANEL, len(self))
            lower[start:stop, :start] = self.upper[:start, start:stop].T
            rows, columns = np.tril_indices(stop - start)
            lower[rows + start, columns + start] = self.upper[columns + start, rows + start]
        np.einsum("ii->i", lower)[:] += shift
        factor, info = scipy.linalg.lapack.dpotrf(lower.T, lower=0, clean=0, overwrite_a=1)
        if info > 0:
            raise np.linalg.LinAlgError(info - 1)
        # What of a column's square length is not explained by those before it.
        own = np.diagonal(factor) ** 2 <= len(self) * np.finfo(float).eps * np.diagonal(self.upper)
        if own.any():
            raise np.linalg.LinAlgError(int(np.argmax(own)))
        return factor


def largest_eigenvalue(d: int, product: Callable[[NDArray[Any]], NDArray[Any]], tol: float) -> float:
    """The largest eigenvalue of a symmetric d x d matrix known by its product with a vector (Lanczos).

    The error is at most ``tol`` of it, and mostly of the order of ``tol`` squared.
    """
    start = np.random.default_rng(0).standard_normal(d)
    if not product(start).any():
        return 0.0  # the iterations would find nothing to begin with
    operator = LinearOperator((d, d), matvec=product, dtype=np.float64)
    # Few vectors a round (ncv): a product may be a pass over all of the data.
    return float(eigsh(operator, k=1, which="LA", v0=start, ncv=min(d, 12), tol=tol, return_eigenvectors=False)[0])
