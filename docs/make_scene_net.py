"""Make the small net that sees drawn scenes: src/rnnfv/datasets/data/scenes/shapes.onnx.

    pip install onnx
    python docs/make_scene_net.py

It learns to name one coloured shape at a time, anywhere in a picture, as large nets learn to name the things of
photographs. It never sees two shapes together. Its output is how much of each of the 24 things is where, on a grid.
"""

import sys
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn.functional import cross_entropy

from rnnfv.datasets.scenes import COLOURS, SHAPES, Thing, draw, scene_net

SIDE, GRID, N, EPOCHS, RATE = 64, 4, 4800, 10, 1e-2
THINGS = [Thing(colour, shape) for colour, shape in product(COLOURS, SHAPES)]


def pictures(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Single things, (n, 3, 64, 64) from 0 to 1, and which they are."""
    rng = np.random.default_rng(seed)
    which = rng.integers(len(THINGS), size=n)
    drawn = [draw({tuple(rng.uniform(0.22, 0.78, 2)): THINGS[k]}, rng).resize((SIDE, SIDE)) for k in which]
    images = np.stack([np.asarray(image) for image in drawn])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, torch.from_numpy(which)


def net() -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 24, 2), (24, 32, 2), (32, 32, 1)):
        convolution = nn.Conv2d(before, after, 5, stride=stride, padding=2, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(32, len(THINGS), 3, padding=1), nn.Softplus())


def scores(model: nn.Sequential, images: torch.Tensor) -> torch.Tensor:
    return 8 * model(images).mean((2, 3))


def train() -> nn.Sequential:
    torch.manual_seed(0)
    model, (images, which) = net(), pictures(N, 0)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, EPOCHS * -(-N // 64))
    for epoch in range(EPOCHS):
        for rows in torch.randperm(N).split(64):
            loss = cross_entropy(scores(model, images[rows]), which[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {loss:.3f}", flush=True)
    images, which = pictures(960, 1)
    with torch.no_grad():
        right = (scores(model.eval(), images).argmax(1) == which).float().mean()
    print(f"{100 * right:.1f} % of new single shapes named", flush=True)
    return model


def folded(model: nn.Sequential) -> list[nn.Module]:
    """The layers, with each normalisation folded into the convolution before it."""
    layers = list(model)
    for convolution, normalization in pairwise(layers):
        if isinstance(normalization, nn.BatchNorm2d):
            fused = nn.utils.fusion.fuse_conv_bn_eval(convolution, normalization)
            layers[layers.index(convolution)] = fused
    return [layer for layer in layers if not isinstance(layer, nn.BatchNorm2d)]


def write(model: nn.Sequential, path: Path) -> None:
    """The layers, averaged over the cells of a grid, in a row."""
    nodes, weights, flow = [], [], "pictures"
    for i, layer in enumerate(folded(model)):
        if isinstance(layer, nn.Conv2d):
            for name, value in (("w", layer.weight), ("b", layer.bias)):
                weights.append(numpy_helper.from_array(value.detach().numpy(), f"{name}{i}"))
            (size, _), (stride, _), (pad, _) = layer.kernel_size, layer.stride, layer.padding
            made = {"kernel_shape": [size] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
            nodes.append(helper.make_node("Conv", [flow, f"w{i}", f"b{i}"], [f"x{i}"], **made))
        else:
            nodes.append(helper.make_node("Relu" if isinstance(layer, nn.ReLU) else "Softplus", [flow], [f"x{i}"]))
        flow = f"x{i}"
    cell = [SIDE // 4 // GRID] * 2
    nodes.append(helper.make_node("AveragePool", [flow], ["cells"], kernel_shape=cell, strides=cell))
    nodes.append(helper.make_node("Flatten", ["cells"], ["things"]))
    given = helper.make_tensor_value_info("pictures", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    told = helper.make_tensor_value_info("things", TensorProto.FLOAT, ["n", len(THINGS) * GRID**2])
    graph = helper.make_graph(nodes, "shapes", [given], [told], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="rnnfv")
    made.ir_version = 8
    onnx.checker.check_model(made)
    path.write_bytes(made.SerializeToString())
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    write(train(), scene_net())
    sys.exit(0)
