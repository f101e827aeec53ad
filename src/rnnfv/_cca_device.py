"""Products of rows on a device of torch's, such as a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rnnfv._cca_sums import add_product, add_triangle
from rnnfv.devices import pick_device

__all__ = ["DeviceProducts"]

_PRODUCT_VALUES = 1 << 26  # of a product that are made together: enough to keep a GPU busy, 256 MiB in float32
_ONE_AT_A_TIME = Lock()  # torch's settings are those of all threads


class DeviceProducts:
    """Products of centred columns, made and summed in float64 on a device until they are taken from there.

    Parameters
    ----------
    a, b : int
        Columns of X and of Y. The device keeps a^2 + a b + b^2 float64 numbers.
    device : str
        A device's name.

    Attributes
    ----------
    device : str

    Raises
    ------
    ValueError
        If there is no such device, it has no float64, or not the memory.
    """

    def __init__(self, a: int, b: int, device: str) -> None:
        place, self.device = pick_device(device), device
        try:
            with torch.inference_mode(False):  # what is made there cannot be added to outside
                self._totals = [
                    torch.zeros(shape, dtype=torch.float64, device=place) for shape in ((a, a), (a, b), (b, b))
                ]
        except (RuntimeError, TypeError) as error:  # no memory; no float64
            raise ValueError(
                f"the products of {a} and {b} columns cannot be summed on {device!r}: {str(error).splitlines()[0]}. "
                "Take device='cpu'"
            ) from error

    def add(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        """Add the products of centred rows: (m, a) and (m, b)."""
        xx, xy, yy = self._totals
        left, right = (torch.from_numpy(side).to(xx.device) for side in (x, y))
        finer = torch.promote_types(left.dtype, right.dtype)  # torch multiplies only what is of one kind
        with _all_digits(xx.device):
            add_triangle(xx, left, _PRODUCT_VALUES)
            add_product(xy, left.to(finer), right.to(finer), _PRODUCT_VALUES)
            add_triangle(yy, right, _PRODUCT_VALUES)

    def add_to(self, *totals: NDArray[np.float64]) -> None:
        """Add what was summed to float64 arrays (a, a), (a, b) and (b, b): of the squares the upper triangles."""
        for total, part in zip(totals, self._totals, strict=True):
            rows = max(1, _PRODUCT_VALUES // part.shape[1])
            for start in range(0, len(part), rows):
                total[start : start + rows] += part[start : start + rows].cpu().numpy()


@contextmanager
def _all_digits(device: torch.device) -> Iterator[None]:
    """Products of float32 as they are, also where the caller has told torch that fewer digits will do."""
    products = torch.backends.cuda.matmul
    with _ONE_AT_A_TIME, torch.autocast(device.type, enabled=False):
        before = products.fp32_precision
        if before != "tf32":
            yield
            return
        products.fp32_precision = "ieee"
        try:
            yield
        finally:
            products.fp32_precision = "none"  # what it was, where it came from the setting for all backends
            if products.fp32_precision != before:
                products.fp32_precision = before
