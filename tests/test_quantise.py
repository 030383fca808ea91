"""8-bit networks: small, rounded as ONNX Runtime stores them, and their mean answers those of the floats."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import striate
from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.data.sources.folder import list_image_files
from striate.engines import torch as judge
from striate.engines.model_file import Preprocess
from striate.engines.onnx import open_session
from striate.errors import ModelError
from striate.formats.onnx_file import Card, build_document, read_exported, write_exported
from striate.formats.quantise import quantise_model
from striate.formats.rounding import compute_scales, correct_biases, measure_mean_window, round_weights
from striate.model.exported import load_exported
from tests.random_nets import nets, tensors_for


@pytest.fixture(scope="module")
def digits():
    """A small network with every kind of quantised layer, trained for a moment on real digits: net, tensors, x, y."""
    from sklearn.datasets import load_digits

    set = load_digits()
    x, y = (set.images * 255 / 16).astype(np.uint8)[..., None], set.target
    residual = L.Parallel([L.Conv(12, 3, padding="same", bias=False), L.BatchNorm()], L.Identity(), join="add")
    net = Net(
        (1, 8, 8),
        [L.Conv(12, 3, padding="same", bias=False), L.BatchNorm(), L.ReLU(), residual, L.ReLU(), L.MaxPool(2)]
        + [L.Conv(24, 3, padding="same"), L.BatchNorm(), L.ReLU(), L.GlobalAvgPool(), L.Dense(10)],
    )
    network = judge.build_network(net)
    optimizer = torch.optim.Adam(network.parameters(), 5e-3)
    images, labels = torch.from_numpy(x[:1200] / 255).float().permute(0, 3, 1, 2), torch.from_numpy(y[:1200])
    draw = torch.Generator().manual_seed(0)
    for _ in range(8):
        for batch in torch.randperm(1200, generator=draw).split(50):
            loss = torch.nn.functional.cross_entropy(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net, judge.copy_tensors(network), x, y


def test_an_int8_file_is_smaller_and_decides_nearly_always_alike(digits, tmp_path):
    net, tensors, x, y = digits
    given = Preprocess(size=(8, 8), fit="squash", mean=(0.0,), std=(1.0,))
    classes = [str(k) for k in range(10)]
    network = judge.load_tensors(judge.build_network(net), tensors).eval()
    with torch.no_grad():
        want = network(torch.from_numpy(x[1200:] / 255).float().permute(0, 3, 1, 2)).softmax(1).numpy()
    card = write_exported(net, tensors, classes, given, tmp_path / "m.onnx", int8=x[:100])
    found = load_exported(tmp_path / "m.onnx").probabilities(x[1200:])
    assert 1e-4 < np.abs(found - want).max() < 0.3
    assert (found.argmax(1) == want.argmax(1)).mean() > 0.97
    assert abs((found.argmax(1) == y[1200:]).mean() - (want.argmax(1) == y[1200:]).mean()) < 0.02
    assert read_exported(tmp_path / "m.onnx").card == card and card.precision == "int8"


def test_every_weight_is_in_8_bits_with_a_scale_a_filter_and_norms_stay_in_floats(digits, tmp_path, caplog):
    net, tensors, x, _ = digits
    given = Preprocess(size=(8, 8), fit="squash", mean=(0.0,), std=(1.0,))
    net = Net(net.input, [*net.layers[:-2], L.MaxPool(2), L.BatchNorm(), L.GlobalAvgPool(), L.Dense(10)])
    write_exported(net, tensors_for(net), [str(k) for k in range(10)], given, tmp_path / "m.onnx", int8=x[:20])
    kept = {tensor.name: tensor for tensor in onnx.load(tmp_path / "m.onnx").graph.initializer}
    layers = [name for name in net.tensors if name.endswith("weight") and not name.split(".")[-2].startswith("bn")]
    assert len(layers) == 4
    for name in layers:
        assert kept[f"{name}_quantized"].data_type == onnx.TensorProto.INT8, name
        assert list(kept[f"{name}_scale"].dims) == [net.tensors[name].shape[0]]
    assert "bn3.weight" in kept and kept["bn3.weight"].data_type == onnx.TensorProto.FLOAT
    assert not caplog.records
    assert not any("onnx.quant" in prop.key for prop in onnx.load(tmp_path / "m.onnx").metadata_props)


def test_int8_wants_images_to_calibrate_with(tmp_path):
    net = Net((3, 9, 9), [L.Conv(4, 3), L.Flatten(), L.Dense(3)])
    given = Preprocess((9, 9), "pad", (0.5,) * 3, (0.5,) * 3)
    few = list(np.zeros((3, 9, 9, 3), np.uint8))
    with pytest.raises(ModelError, match="too few images to calibrate with"):
        write_exported(net, tensors_for(net), list("abc"), given, tmp_path / "m.onnx", int8=few)
    assert not list(tmp_path.iterdir())


sizes, steps = st.tuples(st.integers(1, 4), st.integers(1, 4)), st.tuples(st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=60)
@given(sizes, steps, steps, st.tuples(*[st.integers(0, 3)] * 4), st.integers(0, 99))
def test_the_mean_of_a_window_is_that_of_torchs_unfolded_map(kernel, strides, dilations, pads, seed):
    x = np.random.default_rng(seed).random((3, 12, 14)).astype(np.float32)
    found = measure_mean_window(x, (5, 3, *kernel), {"pads": pads, "strides": strides, "dilations": dilations})
    padded = torch.nn.functional.pad(torch.from_numpy(x)[None], (pads[1], pads[3], pads[0], pads[2]))
    columns = torch.nn.functional.unfold(padded, kernel, dilations, 0, strides)
    assert np.allclose(found.ravel(), columns[0].double().mean(1).numpy(), atol=1e-6)


@pytest.mark.parametrize("groups, bias", [(1, True), (1, False), (2, True), (4, False)])
def test_a_layer_whose_weights_are_rounded_keeps_its_mean_answer(groups, bias):
    """Over the calibration images and all places, filter by filter; without the correction it is far off."""
    net = Net((1, 8, 8), [L.Conv(4, 3), L.Conv(8, 3, stride=2, padding=1, groups=groups, bias=bias), L.GlobalAvgPool()])
    tensors = tensors_for(net, seed=2)
    given = Preprocess((8, 8), "squash", (0.0,), (1.0,))
    classes = tuple(map(str, range(8)))
    whole = build_document(net, tensors, Card(classes=classes, channels=1, preprocess=given))
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)
    first, second = [node.name for node in whole.graph.node if node.op_type == "Conv"]
    rough = onnx.ModelProto()
    rough.CopyFrom(whole)
    [weight] = [tensor for tensor in rough.graph.initializer if tensor.name == "conv2.weight"]
    weight.CopyFrom(
        numpy_helper.from_array(round_weights(numpy_helper.to_array(weight)).astype(np.float32), weight.name)
    )

    def mean(model: onnx.ModelProto) -> np.ndarray:
        told = onnx.ModelProto()
        told.CopyFrom(model)
        told.graph.output.append(onnx.helper.make_empty_tensor_value_info(second))
        return open_session(told, 1).run([second], {"images": images})[0].mean((0, 2, 3))

    made = correct_biases(whole, images, kept=[first])
    assert np.abs(mean(made) - mean(whole)).max() < 1e-5
    assert np.abs(mean(rough) - mean(whole)).max() > 1e-4
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    levels = weights["conv2.weight"].reshape(8, -1) / compute_scales(tensors["conv2.weight"])[:, None]
    assert np.abs(levels - levels.round()).max() < 1e-3 and np.abs(levels).max() < 127.5


@settings(max_examples=15)
@given(nets(), st.integers(0, 99))
@example(
    Net((2, 4, 7), [L.MaxPool(3, stride=2, padding="same", dilation=2), L.GlobalAvgPool(), L.Tanh(), L.Dense(2)]), 0
)
@example(Net((2, 8, 8), [L.Conv(4, 3), L.BlurPool(3), L.Flatten(), L.Dense(3)]), 0)
def test_every_layer_goes_into_8_bits(net, seed):
    """Padding with −∞ and filters that are no parameters among them."""
    (c, h, w), classes = net.input, tuple(map(str, range(net.classes)))
    card = Card(classes=classes, channels=c, preprocess=Preprocess((h, w), "squash", (0.5,) * c, (0.25,) * c))
    whole = build_document(net, tensors_for(net, seed), card)
    x = np.random.default_rng(seed).integers(0, 256, (12, h, w, c), dtype=np.uint8)
    [a], [b] = (open_session(model, 1).run(None, {"images": x}) for model in (whole, quantise_model(whole, list(x))))
    assert np.abs(a - b).max() < 0.2


@pytest.mark.slow
def test_efficientnet_in_8_bits_agrees_on_95_of_100_photographs_with_itself_in_floats(data, tmp_path):
    """Of 1,000 classes, on photographs of clothing: 95.8 % of 713 with VNNI."""
    model = striate.load("efficientnet_lite0")
    files = list(list_image_files([str(data / "clothing" / "train")]))[::24]
    model.export(tmp_path / "m.onnx", int8=[np.pad(model.prepared(f), ((16, 16), (16, 16), (0, 0))) for f in files])
    x = np.stack([model.prepared(file) for file in list_image_files([str(data / "clothing" / "test")])])
    found = load_exported(tmp_path / "m.onnx").probabilities(x)
    assert (found.argmax(1) == model.probabilities(x).argmax(1)).mean() >= 0.93
