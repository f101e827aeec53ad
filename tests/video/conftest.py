import importlib
import importlib.util
import warnings

import pytest
import torch

# Kept for the whole run: what it defines goes when it goes.
_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


@pytest.fixture(scope="session")
def usable_torchvision():
    """torchvision, or None. Where it was built for CUDA and torch was not, its compiled operators are declared.

    transformers imports torchvision wherever it is installed, and fails with it.
    """
    if importlib.util.find_spec("torchvision") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            importlib.import_module("torchvision")
        except RuntimeError:  # operator torchvision::nms does not exist
            for name in ("nms", "qnms"):
                _LIBRARY.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision.transforms.v2")
        return importlib.import_module("torchvision")


@pytest.fixture
def torchvision(usable_torchvision):
    if usable_torchvision is None:
        pytest.skip("torchvision is not installed")
    return usable_torchvision
