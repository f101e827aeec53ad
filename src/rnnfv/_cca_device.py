"""Products of rows on a GPU, or any other device of torch's that knows float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnnfv._cca_sums import add_product, add_triangle
from rnnfv.devices import pick_device

__all__ = ["DeviceProducts"]

_PRODUCT_VALUES = 1 << 26  # of a product that are made together: enough to keep a GPU busy, 256 MiB in float32


class DeviceProducts:
    """Products of centred columns, made and summed in float64 on a device until they are taken from there.

    Parameters
    ----------
    a, b : int
        Columns of X and of Y. The device keeps (a^2 + a b + b^2) float64 numbers.
    device : str
        A device's name.

    Raises
    ------
    ValueError
        If there is no such device, it has no float64, or not the memory.
    """

    def __init__(self, a: int, b: int, device: str) -> None:
        self._device = pick_device(device)
        try:
            self._totals = [
                torch.zeros(shape, dtype=torch.float64, device=self._device) for shape in ((a, a), (a, b), (b, b))
            ]
        except (RuntimeError, TypeError) as error:  # no memory; no float64
            raise ValueError(
                f"the products of {a} and {b} columns cannot be summed on {device!r}: {str(error).splitlines()[0]}. "
                "Take device='cpu'"
            ) from error

    def add(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Add the products of centred rows: (m, a) and (m, b)."""
        left, right = (torch.from_numpy(side).to(self._device) for side in (x, y))
        finer = torch.promote_types(left.dtype, right.dtype)  # torch multiplies only what is of one kind
        xx, xy, yy = self._totals
        with _all_digits():
            add_triangle(xx, left, _PRODUCT_VALUES)
            add_product(xy, left.to(finer), right.to(finer), _PRODUCT_VALUES)
            add_triangle(yy, right, _PRODUCT_VALUES)

    def add_to(self, *totals: NDArray[np.float64]) -> None:
        """Add what was summed to float64 arrays (a, a), (a, b) and (b, b): of the squares the upper triangles."""
        for total, part in zip(totals, self._totals, strict=True):
            rows = max(1, _PRODUCT_VALUES // max(1, part.shape[1]))
            for start in range(0, len(part), rows):
                total[start : start + rows] += part[start : start + rows].cpu().numpy()


@contextmanager
def _all_digits() -> Iterator[None]:
    """Products of float32 as they are, also where the caller has told torch that fewer digits will do."""
    products = torch.backends.cuda.matmul
    before, products.fp32_precision = products.fp32_precision, "ieee"
    try:
        yield
    finally:
        products.fp32_precision = before
