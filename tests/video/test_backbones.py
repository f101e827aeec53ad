import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from rnnfv.video.backbones import c3d, from_description, hub, make_backbone, vgg
from rnnfv.video.backbones.preprocessing import ten_crop

MODELS = Path(os.environ.get("RNNFV_DATA", "../shared/data")) / "models"
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def frames_of(rng, n, height, width):
    """Frames that differ in colour and contrast, so that their vectors differ too."""
    low, high = rng.integers(0, 100, (n, 1, 1, 3)), rng.integers(120, 256, (n, 1, 1, 3))
    return rng.integers(low, high, (n, height, width, 3)).astype(np.uint8)


def random_state(module, seed=0):
    """Weights under which activations neither die nor explode."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, value in module.state_dict().items():
        fan_in = value[0].numel() if value.ndim > 1 else 10
        state[key] = torch.randn(value.shape, generator=generator) * (2 / fan_in) ** 0.5
    return state


def assert_one_by_one(backbone, batch):
    together = backbone(batch)
    assert together.dtype == np.float32
    assert together.shape == (len(batch), backbone.dim)
    assert np.ptp(together, axis=0).max() > 1e-3  # else equality says nothing
    alone = np.concatenate([backbone(item[None]) for item in batch])
    assert_allclose(alone, together, rtol=1e-5, atol=1e-5 * np.abs(together).max())
    assert_array_equal(backbone(batch), together)
    assert backbone(batch[:0]).shape == (0, backbone.dim)


def assert_made_again(backbone, weights, batch, **files):
    description = json.loads(json.dumps(backbone.description()))
    again = from_description(description, weights, **files)
    assert again.description() == backbone.description()
    assert_array_equal(again(batch), backbone(batch))


# -- names and options -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vgg", "resnet50", "onnx", "onnx:", "hub:", "vgg19:x", "c3d:x", ""])
def test_an_unknown_name_lists_the_choices(name):
    with pytest.raises(ValueError, match=r"choose one of vgg19, vgg16, c3d, onnx:PATH, .* clip, dinov2"):
        make_backbone(name)


@pytest.mark.parametrize(
    ("name", "files"), [("vgg16", "vgg16-397923af.pth"), ("vgg19", "vgg19-dcbb9e9d.pth"), ("c3d", "ucf101-caffe.pth")]
)
def test_without_weights_the_message_says_which(name, files):
    with pytest.raises(ValueError, match=f"{files}.*--weights FILE"):
        make_backbone(name)


def test_options_of_another_backbone_are_refused(tmp_path):
    with pytest.raises(ValueError, match="vgg19 has no option 'mean': it has pixels, relu, crops"):
        make_backbone("vgg19", tmp_path / "x.pth", mean="y.npy", relu=None)


@pytest.mark.parametrize(("options", "word"), [({"pixels": "raw"}, "'imagenet' or 'caffe'"), ({"crops": 5}, "10 or 1")])
def test_values_of_options_are_checked(tmp_path, options, word):
    with pytest.raises(ValueError, match=word):
        make_backbone("vgg19", tmp_path / "x.pth", **options)


# -- VGG -------------------------------------------------------------------------------------------

NARROW = {
    "vgg16": ((2, 2), (3, 3), (4,) * 3, (5,) * 3, (6,) * 3),
    "vgg19": ((2, 2), (3, 3), (4,) * 4, (5,) * 4, (6,) * 4),
}


@pytest.fixture
def narrow_vgg(monkeypatch):
    for name, blocks in NARROW.items():
        monkeypatch.setitem(vgg._BLOCKS, name, blocks)
    monkeypatch.setattr(vgg, "_HIDDEN", 7)


@pytest.fixture
def vgg19_file(narrow_vgg, tmp_path):
    path = tmp_path / "vgg19.pth"
    torch.save(random_state(vgg.VGGNetwork(NARROW["vgg19"], 7)), path)
    return path


def vgg19_by_hand(state, images):
    """fc7 before its ReLU of images (n, 3, 224, 224), in double precision, layer by layer."""
    state = {key: value.double() for key, value in state.items()}
    hidden, at = images.double(), 0
    for convolutions in (2, 2, 4, 4, 4):
        for _ in range(convolutions):
            weight, bias = state[f"features.{at}.weight"], state[f"features.{at}.bias"]
            hidden, at = functional.conv2d(hidden, weight, bias, padding=1).clamp(min=0), at + 2
        hidden, at = functional.max_pool2d(hidden, 2), at + 1
    fc6 = (hidden.flatten(1) @ state["classifier.0.weight"].T + state["classifier.0.bias"]).clamp(min=0)
    return fc6 @ state["classifier.3.weight"].T + state["classifier.3.bias"]


@pytest.mark.parametrize(("name", "parameters"), [("vgg16", 138_357_544), ("vgg19", 143_667_240)])
def test_the_true_vgg_has_the_published_size(name, parameters):
    with torch.device("meta"):
        network = vgg.VGGNetwork(vgg._BLOCKS[name], vgg._HIDDEN)
    last_layer = 1000 * 4096 + 1000
    assert sum(each.numel() for each in network.parameters()) == parameters - last_layer


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_the_true_vgg_has_the_names_and_shapes_of_torchvision(torchvision, name):
    with torch.device("meta"):
        network = vgg.VGGNetwork(vgg._BLOCKS[name], vgg._HIDDEN)
        published = getattr(torchvision.models, name)(init_weights=False)
    expected = {key: value.shape for key, value in published.state_dict().items() if "classifier.6" not in key}
    assert {key: value.shape for key, value in network.state_dict().items()} == expected


def test_the_network_is_that_of_torchvision(torchvision, rng):
    network = vgg.VGGNetwork(NARROW["vgg19"], 7)
    layers = [width for block in NARROW["vgg19"] for width in (*block, "M")]
    with torch.device("meta"):
        published = torchvision.models.VGG(torchvision.models.vgg.make_layers(layers), init_weights=False).eval()
    published.classifier = nn.Sequential(nn.Linear(6 * 49, 7), nn.ReLU(True), nn.Dropout(), nn.Linear(7, 7)).eval()
    state = random_state(network)
    network.load_state_dict(state)
    published.load_state_dict(state, assign=True)
    images = torch.from_numpy(rng.normal(size=(2, 3, 224, 224)).astype(np.float32))
    with torch.inference_mode():
        assert torch.equal(network.eval()(images), published(images))


@pytest.mark.parametrize(
    ("pixels", "relu", "crops"), [("imagenet", False, 10), ("caffe", True, 10), ("caffe", False, 1)]
)
def test_vgg_is_the_mean_over_crops(vgg19_file, rng, pixels, relu, crops):
    backbone = make_backbone("vgg19", vgg19_file, device="cpu", pixels=pixels, relu=relu, crops=crops)
    frames = np.stack([backbone.prepare(frame) for frame in frames_of(rng, 2, 100, 133)])
    assert frames.shape == (2, 256, 340, 3)
    images = torch.from_numpy(ten_crop(frames, 224)).double()
    images = images[:, 4:5] if crops == 1 else images
    if pixels == "imagenet":
        images = (images / 255 - MEAN) / STD
    else:
        images = images[..., [2, 1, 0]] - torch.tensor([103.939, 116.779, 123.68])
    flat = images.flatten(0, 1).permute(0, 3, 1, 2)
    expected = vgg19_by_hand(torch.load(vgg19_file, weights_only=True), flat)
    expected = (expected.clamp(min=0) if relu else expected).view(2, crops, 7).mean(1).numpy()
    assert (expected < 0).any() or relu
    assert_allclose(backbone(frames), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_vgg_frame_by_frame(vgg19_file, rng):
    backbone = make_backbone("vgg19", vgg19_file, device="cpu")
    assert (backbone.name, backbone.input, backbone.dim) == ("vgg19", "frames", 7)
    batch = frames_of(rng, 3, 256, 260)
    assert_one_by_one(backbone, batch)
    assert_made_again(backbone, vgg19_file, batch)
    with pytest.raises(ValueError, match="does not fit in an image of 200 x 260"):
        backbone(batch[:, :200])


def test_both_kinds_of_files_hold_the_same(vgg19_file, tmp_path, rng):
    state = torch.load(vgg19_file, weights_only=True)
    save_file(state | {"classifier.6.weight": torch.zeros(10, 7)}, tmp_path / "vgg19.safetensors")
    first = make_backbone("vgg19", vgg19_file, device="cpu", crops=1)
    second = make_backbone("vgg19", tmp_path / "vgg19.safetensors", device="cpu", crops=1)
    frames = frames_of(rng, 1, 256, 256)
    # Not to the last bit: where the weights lie in memory can decide how they are summed.
    expected = first(frames)
    assert_allclose(second(frames), expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_other_weights_than_described_are_refused(vgg19_file, tmp_path):
    description = make_backbone("vgg19", vgg19_file, device="cpu").description()
    state = torch.load(vgg19_file, weights_only=True)
    torch.save(state | {"features.0.bias": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="not the vgg19 described: its weights"):
        from_description(description, tmp_path / "other.pth", device="cpu")
    moved = vgg19_file.rename(tmp_path / "moved.pth")
    assert from_description(description, moved, device="cpu").description()["weights"]["file"] == "moved.pth"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features.16.weight": None}, "it has no 'features.16.weight'"),
        ({"features.2.bias": torch.zeros(3)}, r"'features.2.bias' has the shape \(3,\), not \(2,\)"),
        ({"features.1.weight": torch.zeros(3)}, "it has 'features.1.weight', which this net has not"),
    ],
)
def test_weights_of_another_net_are_refused_by_name(vgg19_file, tmp_path, change, message):
    state = torch.load(vgg19_file, weights_only=True) | change
    torch.save({key: value for key, value in state.items() if value is not None}, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match=f"wrong.pth does not fit: .*{message}"):
        make_backbone("vgg19", tmp_path / "wrong.pth")


class Trap:
    def __reduce__(self):
        return (print, ("code of the file has run",))


def test_files_that_are_no_weights_are_refused(narrow_vgg, tmp_path, capsys):
    (tmp_path / "garbage.pth").write_bytes(b"not a file of torch" * 100)
    (tmp_path / "garbage.safetensors").write_bytes(b"\xff" * 100)
    (tmp_path / "empty.pth").touch()
    torch.save({"trap": Trap()}, tmp_path / "trap.pth")
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "numbers.pth")
    for name in ("garbage.pth", "garbage.safetensors", "empty.pth", "trap.pth"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as a file of tensors: it is cut off") as caught:
            make_backbone("vgg19", tmp_path / name)
        assert "\n" not in str(caught.value)
        assert "weights_only" not in str(caught.value)  # torch tells how to run what is in the file
    for name in ("list.pth", "numbers.pth"):
        with pytest.raises(ValueError, match=f"{name} does not hold a state dict"):
            make_backbone("vgg19", tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"absent.pth is not a file"):
        make_backbone("vgg19", tmp_path / "absent.pth")
    assert capsys.readouterr().out == ""


# -- C3D -------------------------------------------------------------------------------------------

NARROW_C3D = dict(zip(c3d._CHANNELS, (2, 3, 3, 4, 4, 4, 5, 5), strict=True))


@pytest.fixture
def c3d_file(monkeypatch, tmp_path):
    monkeypatch.setattr(c3d, "_CHANNELS", NARROW_C3D)
    monkeypatch.setattr(c3d, "_HIDDEN", 7)
    path = tmp_path / "c3d.pickle"
    extra = {f"{layer}.{kind}": torch.zeros(2) for layer in ("fc7", "fc8") for kind in ("weight", "bias")}
    torch.save(random_state(c3d.C3DNetwork(NARROW_C3D, 7)) | extra, path)
    return path


def c3d_by_hand(state, clips):
    """fc6 before its ReLU of clips (n, 3, 16, 112, 112), in double precision; the last pooling as Caffe does it."""
    state = {key: value.double() for key, value in state.items()}
    hidden = clips.double()
    for group in (["conv1"], ["conv2"], ["conv3a", "conv3b"], ["conv4a", "conv4b"], ["conv5a", "conv5b"]):
        for layer in group:
            hidden = functional.conv3d(hidden, state[f"{layer}.weight"], state[f"{layer}.bias"], padding=1).clamp(min=0)
        if group == ["conv5a", "conv5b"]:
            hidden = functional.pad(hidden, (0, 1, 0, 1))  # behind the last row and column, where Caffe rounds up
        hidden = functional.max_pool3d(hidden, (1, 2, 2) if group == ["conv1"] else 2)
    return hidden.flatten(1) @ state["fc6.weight"].T + state["fc6.bias"]


def clips_of(rng, n):
    return np.stack([frames_of(rng, 16, 128, 171) for _ in range(n)])


def middle_bgr(clips):
    """Caffe's crop and channel order, (n, 3, 16, 112, 112)."""
    return torch.from_numpy(clips[:, :, 8:120, 29:141, ::-1].copy()).permute(0, 4, 1, 2, 3).double()


def test_the_true_c3d_has_the_published_sizes():
    with torch.device("meta"):
        network = c3d.C3DNetwork(c3d._CHANNELS, c3d._HIDDEN)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    published = [(64, 3), (128, 64), (256, 128), (256, 256), (512, 256), (512, 512), (512, 512), (512, 512)]
    names = ["conv1", "conv2", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b"]
    expected = {f"{name}.weight": (*size, 3, 3, 3) for name, size in zip(names, published, strict=True)}
    expected |= {f"{name}.bias": (size[0],) for name, size in zip(names, published, strict=True)}
    assert shapes == expected | {"fc6.weight": (4096, 8192), "fc6.bias": (4096,)}


@pytest.mark.parametrize("relu", [True, False])
def test_c3d_by_hand(c3d_file, rng, relu):
    backbone = make_backbone("c3d", c3d_file, device="cpu", relu=relu)
    assert (backbone.name, backbone.input, backbone.dim) == ("c3d", "clips", 7)
    assert backbone.prepare(frames_of(rng, 1, 240, 320)[0]).shape == (128, 171, 3)
    clips = clips_of(rng, 2)
    images = middle_bgr(clips) - torch.tensor([105.70, 115.76, 127.54]).view(3, 1, 1, 1)
    expected = c3d_by_hand(torch.load(c3d_file, weights_only=True), images).numpy()
    assert (expected < 0).any()
    expected = np.maximum(expected, 0) if relu else expected
    assert_allclose(backbone(clips), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_c3d_clip_by_clip(c3d_file, rng):
    backbone = make_backbone("c3d", c3d_file, device="cpu")
    clips = clips_of(rng, 6)
    assert_one_by_one(backbone, clips)
    assert_made_again(backbone, c3d_file, clips[:1])
    for wrong in (clips[:, :8], clips[0], clips.astype(np.float32)):
        with pytest.raises(ValueError, match="a batch must be uint8 of shape"):
            backbone(wrong)
    with pytest.raises(ValueError, match="must be 128 x 171 pixels"):
        backbone(clips[:, :, :112])


def test_both_published_layouts_hold_the_same(c3d_file, tmp_path, rng):
    state = torch.load(c3d_file, weights_only=True)
    numbers = dict(zip(NARROW_C3D, (0, 3, 6, 8, 11, 13, 16, 18), strict=True))
    numbered = {}
    for key in state:
        layer, kind = key.split(".")
        if layer in numbers:
            numbered[f"features.{numbers[layer]}.{kind}"] = state[key]
    for kind in ("weight", "bias"):
        numbered[f"classifier.0.{kind}"] = state[f"fc6.{kind}"]
        numbered[f"classifier.3.{kind}"] = torch.zeros(2)
    torch.save(numbered, tmp_path / "ucf101-caffe.pth")
    clips = clips_of(rng, 1)
    named = make_backbone("c3d", c3d_file, device="cpu")(clips)
    assert_array_equal(make_backbone("c3d", tmp_path / "ucf101-caffe.pth", device="cpu")(clips), named)
    del numbered["features.8.bias"]
    torch.save(numbered, tmp_path / "less.pth")
    with pytest.raises(ValueError, match=r"less.pth does not fit: it has no 'conv3b.bias'"):
        make_backbone("c3d", tmp_path / "less.pth")


def test_c3d_minus_a_mean_cube(c3d_file, tmp_path, rng):
    cube = rng.uniform(80, 140, (3, 16, 128, 171)).astype(np.float32)
    np.save(tmp_path / "cube.npy", cube[None])
    backbone = make_backbone("c3d", c3d_file, device="cpu", mean=tmp_path / "cube.npy")
    clips = clips_of(rng, 1)
    images = middle_bgr(clips) - torch.from_numpy(cube[:, :, 8:120, 29:141])
    expected = c3d_by_hand(torch.load(c3d_file, weights_only=True), images).clamp(min=0).numpy()
    assert_allclose(backbone(clips), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    assert_made_again(backbone, c3d_file, clips, mean=cube)
    with pytest.raises(ValueError, match="made with a mean cube"):
        from_description(backbone.description(), c3d_file)
    with pytest.raises(ValueError, match="not the c3d described: its settings"):
        from_description(backbone.description(), c3d_file, mean=cube + 1)


def test_c3d_minus_three_numbers(c3d_file, rng):
    backbone = make_backbone("c3d", c3d_file, device="cpu", mean=(90, 98, 102))
    assert backbone.description()["settings"]["mean"] == [90.0, 98.0, 102.0]
    assert_made_again(backbone, c3d_file, clips_of(rng, 1))


def test_a_mean_of_another_shape_is_refused(c3d_file, tmp_path):
    np.save(tmp_path / "small.npy", np.zeros((3, 16, 112, 112)))
    np.savez(tmp_path / "many.npz", a=np.zeros(3))
    (tmp_path / "garbage.npy").write_bytes(b"garbage")
    for name, message in [
        ("small.npy", r"small.npy must be three numbers or of shape \(3, 16, 128, 171\)"),
        ("many.npz", "must be an array of numbers"),
        ("garbage.npy", "cannot be read as a .npy file"),
    ]:
        with pytest.raises(ValueError, match=message):
            make_backbone("c3d", c3d_file, mean=tmp_path / name)
    with pytest.raises(FileNotFoundError, match=r"absent.npy is not a file"):
        make_backbone("c3d", c3d_file, mean=tmp_path / "absent.npy")


# -- ONNX ------------------------------------------------------------------------------------------


def varint(number):
    digits = [number & 127]
    while number := number >> 7:
        digits.append(number & 127)
    return bytes([digit | 128 for digit in digits[:-1]] + digits[-1:])


def message(*fields):
    """A protocol buffer: numbers are varints, all else is a run of bytes."""
    encoded = b""
    for tag, value in fields:
        if isinstance(value, int):
            encoded += varint(tag << 3) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value  # noqa: PLW2901
            encoded += varint(tag << 3 | 2) + varint(len(value)) + value
    return encoded


def tensor_info(name, shape, elem_type=1):
    sizes = [(1, message((1, size) if isinstance(size, int) else (2, size))) for size in shape]
    return message((1, name), (2, message((1, message((1, elem_type), (2, message(*sizes)))))))


def node(operator, source, target, *attributes):
    return message((1, source), (2, target), (4, operator), *((5, each) for each in attributes))


@pytest.fixture
def onnx_file(tmp_path):
    """Write a model whose outputs are the mean colour, as (n, 3) and as (n, 3, 1, 1), all pixels, and rows."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

    def write(shape=("n", 3, 8, 8), elem_type=1, name="tiny.onnx"):
        last_axis = message((1, "axes"), (8, 3), (20, 7))
        dropped = message((1, "keepdims"), (3, 0), (20, 2))
        nodes = [
            node("GlobalAveragePool", "image", "pooled"),
            node("Flatten", "pooled", "flat"),
            node("Identity", "image", "pixels"),
            node("ReduceMean", "image", "rows", last_axis, dropped),
        ]
        outputs = {"flat": ("n", 3), "pooled": ("n", 3, 1, 1), "pixels": ("n", 3, "h", "w"), "rows": ("n", 3, "h")}
        graph = message(
            *((1, each) for each in nodes),
            (2, "graph"),
            (11, tensor_info("image", shape, elem_type)),
            *((12, tensor_info(output, sizes, elem_type)) for output, sizes in outputs.items()),
        )
        path = tmp_path / name
        path.write_bytes(message((1, 8), (8, message((1, ""), (2, 13))), (7, graph)))
        return path

    return write


def test_outputs_of_an_onnx_model(onnx_file, rng):
    path = onnx_file()
    frames = frames_of(rng, 40, 8, 8)
    expected = frames.mean(axis=(1, 2))
    for name in (f"onnx:{path}", f"onnx:{path}:flat", f"onnx:{path}:pooled", f"onnx:{path}:pixels"):
        backbone = make_backbone(name, device="cpu")
        assert (backbone.dim, backbone.input) == (3, "frames")
        assert_allclose(backbone(frames), expected, rtol=1e-5)
    assert backbone.name == "onnx:tiny.onnx:pixels"
    assert_one_by_one(backbone, frames)
    assert_made_again(backbone, path, frames)


def test_pixels_of_an_onnx_model(onnx_file, rng):
    name = f"onnx:{onnx_file()}"
    frames = frames_of(rng, 2, 8, 8)
    mean = frames.mean(axis=(1, 2))
    for pixels, expected in [
        ("raw", mean),
        ("unit", mean / 255),
        ("imagenet", (mean / 255 - MEAN.numpy()) / STD.numpy()),
        ("caffe", mean[:, ::-1] - [103.939, 116.779, 123.68]),
    ]:
        backbone = make_backbone(name, pixels=pixels, device="cpu")
        assert_allclose(backbone(frames), expected, rtol=1e-4, atol=1e-4)
        assert backbone.description()["settings"] == {"output": "flat", "pixels": pixels}
    with pytest.raises(ValueError, match="must be one of raw, unit, imagenet, caffe; got 'bgr'"):
        make_backbone(name, pixels="bgr")


@pytest.mark.parametrize(
    ("shape", "size"), [(("n", 3, 8, 8), 8), ((1, 3, 12, 12), 12), (("n", 3, "h", "w"), 224), (("n", "c", 9, 9), None)]
)
def test_the_size_is_read_from_the_model(onnx_file, rng, shape, size):
    name = f"onnx:{onnx_file(shape)}"
    if size is None:
        with pytest.raises(ValueError, match="must have one input of float32"):
            make_backbone(name, device="cpu")
        return
    backbone = make_backbone(name, device="cpu")
    frame = frames_of(rng, 1, 30, 50)[0]
    prepared = pickle.loads(pickle.dumps(backbone.prepare))(frame)
    assert prepared.shape == (size, size, 3)
    assert_allclose(backbone(np.stack([prepared] * 3)), [prepared.mean(axis=(0, 1))] * 3, rtol=1e-5)
    with pytest.raises(ValueError, match=f"frames must be {size} x {size} pixels"):
        backbone(frame[None])


@pytest.mark.parametrize("shape", [("n", 3, 8, 10), ("n", 8, 8, 3), ("n", 3, 4, 8, 8), (4, 3, 8, 8), ("n", 1, 8, 8)])
def test_other_inputs_of_onnx_models_are_refused(onnx_file, shape):
    with pytest.raises(ValueError, match="must have one input of float32"):
        make_backbone(f"onnx:{onnx_file(shape)}", device="cpu")


def test_bad_onnx_models(onnx_file, tmp_path):
    path = onnx_file()
    with pytest.raises(ValueError, match="has no output 'fc7': choose one of flat, pooled, pixels, rows"):
        make_backbone(f"onnx:{path}:fc7")
    with pytest.raises(ValueError, match=r"the output 'rows' of tiny.onnx has the shape \(1, 3, 8\)"):
        make_backbone(f"onnx:{path}:rows", device="cpu")
    with pytest.raises(ValueError, match="name different outputs"):
        make_backbone(f"onnx:{path}:flat", output="rows")
    with pytest.raises(FileNotFoundError, match=r"absent.onnx is not a file"):
        make_backbone(f"onnx:{tmp_path / 'absent.onnx'}")
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    (tmp_path / "cut.onnx").write_bytes(path.read_bytes()[:100])
    for name in ("garbage.onnx", "cut.onnx"):
        with pytest.raises(ValueError, match=f"{name} cannot be loaded as an ONNX model") as caught:
            make_backbone(f"onnx:{tmp_path / name}")
        assert "\n" not in str(caught.value)


def test_a_path_with_a_colon(onnx_file, rng):
    path = onnx_file(name="odd:name.onnx")
    assert make_backbone(f"onnx:{path}", device="cpu").description()["settings"]["output"] == "flat"
    assert make_backbone(f"onnx:{path}:pooled", device="cpu").description()["settings"]["output"] == "pooled"


def test_a_gpu_that_onnxruntime_cannot_use_is_refused(onnx_file):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime can use a GPU")
    with pytest.raises(ValueError, match="this onnxruntime cannot use 'cuda'"):
        make_backbone(f"onnx:{onnx_file()}", device="cuda")


def test_a_real_onnx_model(rng):
    path = MODELS / "googlenet.onnx"
    if not path.is_file():
        pytest.skip(f"no {path}: set RNNFV_DATA to where the data are")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    backbone = make_backbone(f"onnx:{path}:pool5", device="cpu")
    assert backbone.dim == 1024
    frames = np.stack([backbone.prepare(frame) for frame in frames_of(rng, 3, 240, 320)])
    assert frames.shape == (3, 224, 224, 3)
    assert_one_by_one(backbone, frames)
    logits = make_backbone(f"onnx:{path}:logits", device="cpu")
    assert logits(frames).shape == (3, 1000)


# -- models of the hub -----------------------------------------------------------------------------


@pytest.fixture
def transformers(usable_torchvision):
    pytest.importorskip("PIL", reason="Pillow is not installed")
    return pytest.importorskip("transformers", reason="transformers is not installed")


TINY = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 8,
    "image_size": 32,
}


def write_model(transformers, kind, folder):
    torch.manual_seed(0)
    if kind == "clip":
        text = {key: TINY[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers")}
        text |= {"num_attention_heads": 2, "vocab_size": 10}
        config = transformers.CLIPConfig(text_config=text, vision_config=TINY, projection_dim=12)
        model, size = transformers.CLIPModel(config), {"shortest_edge": 32}
        processor = transformers.CLIPImageProcessorPil(size=size, crop_size={"height": 32, "width": 32})
    elif kind == "dinov2":
        model = transformers.Dinov2Model(transformers.Dinov2Config(**TINY))
        crop = {"height": 32, "width": 32}
        processor = transformers.BitImageProcessorPil(size={"shortest_edge": 36}, crop_size=crop)
    elif kind == "dinov3":
        model = transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**TINY))
        processor = transformers.ViTImageProcessorPil(size={"height": 32, "width": 32})
    else:
        model = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**TINY))
        processor = transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32})
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    if kind == "dinov3":  # what the published folders say, of which only the torchvision class exists
        settings = json.loads((folder / "preprocessor_config.json").read_text())
        settings["image_processor_type"] = "DINOv3ViTImageProcessorFast"
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return model, processor


@pytest.mark.parametrize(("kind", "dim"), [("clip", 12), ("dinov2", 16), ("dinov3", 16), ("siglip", 16)])
def test_models_of_the_hub(transformers, tmp_path, rng, kind, dim):
    model, processor = write_model(transformers, kind, tmp_path / kind)
    backbone = make_backbone(f"hub:{tmp_path / kind}", device="cpu")
    assert (backbone.dim, backbone.input) == (dim, "frames")
    raw = frames_of(rng, 3, 60, 90)
    prepare = pickle.loads(pickle.dumps(backbone.prepare))
    frames = np.stack([prepare(frame) for frame in raw])
    assert frames.shape == (3, 32, 32, 3)
    with torch.inference_mode():
        pixels = processor(list(raw), return_tensors="pt", input_data_format="channels_last")["pixel_values"]
        if kind == "clip":
            expected = model.visual_projection(model.vision_model(pixels).pooler_output)
        else:
            expected = model(pixels).pooler_output
    assert_allclose(backbone(frames), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert_one_by_one(backbone, frames)
    moved = (tmp_path / kind).rename(tmp_path / "moved")
    assert_made_again(backbone, moved, frames)


def test_other_tensors_than_described_are_refused(transformers, tmp_path):
    write_model(transformers, "dinov2", tmp_path / "one")
    description = make_backbone(f"hub:{tmp_path / 'one'}", device="cpu").description()
    torch.manual_seed(1)
    transformers.Dinov2Model(transformers.Dinov2Config(**TINY)).save_pretrained(tmp_path / "one")
    with pytest.raises(ValueError, match="described: its weights"):
        from_description(description, tmp_path / "one", device="cpu")


def test_a_folder_is_not_opened_because_a_description_names_it(tmp_path, monkeypatch):
    (tmp_path / "models" / "net").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    description = {"name": "hub:models/net", "dim": 1, "settings": {}, "weights": {}}
    with pytest.raises(ValueError, match="models/net is a folder here"):
        from_description(description)


def test_a_model_that_cannot_be_had(transformers, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setitem(hub.ALIASES, "clip", "nobody/no-such-model")
    for name in ("clip", "hub:nobody/no-such-model", f"hub:{tmp_path}"):
        with pytest.raises(ValueError, match=r"cannot load .* with transformers") as caught:
            make_backbone(name)
        assert "\n" not in str(caught.value)


def test_a_model_without_all_its_weights_is_refused(transformers, tmp_path):
    model, _ = write_model(transformers, "dinov2", tmp_path)
    state = {key: value for key, value in model.state_dict().items() if key != "layernorm.bias"}
    model.save_pretrained(tmp_path, state_dict=state)
    with pytest.raises(ValueError, match=r"lacks weights of its model, such as 'layernorm.bias'"):
        make_backbone(f"hub:{tmp_path}", device="cpu")


def test_a_model_of_words_is_refused(transformers, tmp_path):
    write_model(transformers, "dinov2", tmp_path)
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    transformers.BertModel(transformers.BertConfig(**text, vocab_size=10)).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is not a model of images: it takes input_ids"):
        make_backbone(f"hub:{tmp_path}", device="cpu")
