import os

# Small matrices: more threads would only wait for each other. Read when NumPy and torch are first imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def ragged(rng):
    """Twelve sequences of 1 to 14 steps of 3 values, float32."""
    return [rng.normal(size=(n, 3)).astype(np.float32) for n in (5, 1, 9, 14, 2, 7, 7, 3, 11, 6, 4, 8)]
