"""8-bit files compute the same on every processor: what their weights hold, emulated and on an emulated processor."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.engines.model_file import Preprocess
from striate.errors import ModelError
from striate.formats.onnx_file import Card, build_document, write_exported
from striate.formats.quantise import quantise_model
from striate.formats.rounding import compute_scales, round_weights
from striate.formats.saturation import EightBitProof, prove_no_saturation
from tests.random_nets import tensors_for

EMULATOR = shutil.which("qemu-x86_64")
"""Debian's qemu-user; since 7.2 it knows AVX2, and it has no VNNI."""


def without_vnni(levels: np.ndarray, weights: np.ndarray) -> int:
    """The sum of products as `vpmaddubsw` and `vpmaddwd` make it: two neighbours in 16 bits, then all in 32."""
    even = len(weights) // 2 * 2
    products = np.append(levels * weights, [0] * (len(weights) - even))
    pairs = np.append(products[:even].reshape(-1, 2).sum(1), products[even:])
    return int(pairs.clip(-32768, 32767).sum())


def readings(weights: np.ndarray) -> list[np.ndarray]:
    """A filter C×kh×kw as kernels may lay it out: channels last or first, from either parity."""
    both = [weights.transpose(1, 2, 0).ravel(), weights.ravel()]
    return [*both, *(np.append(0, row) for row in both)]


filters = st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.integers(0, 10**6), st.integers(1, 5))


@settings(max_examples=200)
@given(filters)
def test_no_map_makes_two_neighbouring_products_leave_16_bits(given):
    """Whatever the scales: the worst map holds 255 where the weights are positive, or where they are negative."""
    c, h, w, seed, heavy = given
    weight = np.random.default_rng(seed).standard_normal((1, c, h, w)) ** heavy
    levels = (round_weights(weight) / compute_scales(weight)).round().astype(int)[0]
    assert np.abs(levels).max() <= 127
    for row in readings(levels):
        for sign in (1, -1):
            worst = 255 * (sign * row > 0)
            assert without_vnni(worst, row) == int((worst * row).sum())


def test_weights_of_the_full_range_leave_16_bits():
    """What the emulation above is there to see."""
    assert without_vnni(np.array([255, 255]), np.array([127, 127])) == 32767 < 2 * 255 * 127
    assert without_vnni(np.array([255, 255]), np.array([64, 64])) == 2 * 255 * 64


def test_scales_are_no_wider_than_they_must_be():
    """Either one weight has 127 levels, or two neighbours have 127 or 128 together."""
    for seed in range(50):
        weight = np.random.default_rng(seed).standard_normal((4, 3, 3, 3))
        levels = (round_weights(weight) / compute_scales(weight)[:, None, None, None]).round().astype(int)
        for one in levels:
            pairs = [np.maximum(s * row, 0) for row in readings(one)[:2] for s in (1, -1)]
            assert np.abs(one).max() == 127 or max((p[1:] + p[:-1]).max() for p in pairs) in (127, 128)


def layer(op: str, weight: np.ndarray, by_filter: bool, **attributes: int) -> onnx.ModelProto:
    """A layer in 8 bits as an exported file has it: its map and its weights dequantised, `weight` being the levels."""
    shape = [1, 6, 5, 5] if "Conv" in op else [1, 6]
    scale = np.ones(weight.shape[0] if by_filter else (), np.float32)
    zero = scale.astype(weight.dtype) * 0
    constants = {"w": weight, "scale": scale, "zero": zero, "one": np.float32(1), "low": np.uint8(0)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "low"], ["levels"]),
        helper.make_node("DequantizeLinear", ["levels", "one", "low"], ["map"]),
        helper.make_node("DequantizeLinear", ["w", "scale", "zero"], ["weight"], axis=0),
        helper.make_node(op, ["map", "weight"], ["y"], name="dense1", **attributes),
    ]
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def planted(shape: tuple[int, ...], *places: tuple[int, ...]) -> np.ndarray:
    """Weights of 1, and of 65 at the places."""
    weight = np.ones(shape, np.int8)
    for place in places:
        weight[place] = 65
    return weight


CASES = [
    ("Conv", (2, 6, 3, 3), (1, 2, 0, 0), (1, 3, 0, 0), (1, 4, 2, 0), {}),  # channels side by side
    ("Conv", (2, 6, 3, 3), (1, 2, 0, 0), (1, 2, 0, 1), (1, 4, 2, 0), {}),  # places side by side
    ("Conv", (6, 1, 3, 3), (5, 0, 1, 0), (5, 0, 1, 1), (5, 0, 2, 2), {"group": 6}),
    ("ConvTranspose", (6, 2, 3, 3), (2, 1, 0, 0), (3, 1, 0, 0), (5, 1, 2, 0), {}),
    ("Gemm", (4, 6), (3, 1), (3, 2), (3, 5), {"transB": 1}),
    ("Gemm", (6, 4), (1, 3), (2, 3), (5, 3), {}),
    ("MatMul", (6, 4), (1, 3), (2, 3), (5, 3), {}),
]


@pytest.mark.parametrize("by_filter", [True, False])
@pytest.mark.parametrize("op, shape, first, beside, far, attributes", CASES)
def test_a_file_with_one_pair_too_large_is_no_proof(op, shape, first, beside, far, attributes, by_filter):
    good = layer(op, planted(shape, first, far), by_filter, **attributes)
    assert prove_no_saturation(good) == EightBitProof(1, 255 * 66)
    with pytest.raises(ModelError, match="two neighbouring products leave 16 bits") as refused:
        prove_no_saturation(layer(op, planted(shape, first, beside), by_filter, **attributes))
    assert refused.value.where == "dense1" and refused.value.got == "130"
    with pytest.raises(ModelError, match="8-bit weights are signed here"):
        prove_no_saturation(layer(op, planted(shape).astype(np.uint8), by_filter, **attributes))


def test_what_the_proof_does_not_know_is_refused():
    fused = helper.make_graph([helper.make_node("QLinearConv", ["x"], ["y"], name="conv1")], "one", [], [])
    with pytest.raises(ModelError, match="this operator's products cannot be bounded"):
        prove_no_saturation(helper.make_model(fused))
    floats = layer("MatMul", planted((6, 4)), False)
    floats.graph.node[3].input[1] = "x"
    with pytest.raises(ModelError, match="an 8-bit layer has 8-bit weights"):
        prove_no_saturation(floats)


LAYERS = [L.Conv(8, 3), L.BatchNorm(), L.ReLU(), L.Conv(8, 3, groups=8), L.ReLU(), L.Conv(12, 1), L.MaxPool(2)]
LAYERS += [L.Conv(8, 3, groups=2), L.ReLU(), L.GlobalAvgPool(), L.Dense(20), L.ReLU(), L.Dense(5)]


@pytest.fixture(scope="module")
def small():
    """A net of every kind of layer that computes in 8 bits, with tensors that make its maps large, and images."""
    net = Net((3, 16, 16), LAYERS)
    x = np.random.default_rng(0).integers(0, 256, (24, 16, 16, 3), dtype=np.uint8)
    return net, tensors_for(net, seed=1), Preprocess((16, 16), "squash", (0.0,) * 3, (1.0,) * 3), x


def test_every_export_in_8_bits_has_its_proof(small):
    net, tensors, preprocess, x = small
    whole = build_document(net, tensors, Card(classes=tuple("abcde"), channels=3, preprocess=preprocess))
    found = prove_no_saturation(quantise_model(whole, list(x)))
    assert found.layers == 6 and found.largest <= 32767
    assert str(found).startswith("8-bit weights of 6 layers: two neighbouring products give at most 32,")
    assert prove_no_saturation(whole) == EightBitProof(0, 0)


@pytest.mark.slow
@pytest.mark.skipif(EMULATOR is None, reason="qemu-x86_64 is not installed")
def test_a_processor_without_vnni_answers_as_unfused_operators_do(small, tmp_path):
    """ONNX Runtime's own AVX2 kernels, on an emulated Haswell: fused to whole numbers, and as the file has them."""
    net, tensors, preprocess, x = small
    write_exported(net, tensors, list("abcde"), preprocess, tmp_path / "m.onnx", int8=list(x))
    np.save(tmp_path / "x.npy", x)
    program = """
import json, numpy, onnxruntime
found = []
for level in (onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.intra_op_num_threads = level, 1
    session = onnxruntime.InferenceSession("m.onnx", options, providers=["CPUExecutionProvider"])
    found.append(session.run(None, {"images": numpy.load("x.npy")})[0].tolist())
print(json.dumps(found))
"""
    words = [str(EMULATOR), "-cpu", "Haswell", sys.executable, "-c", program]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    fused, plain = map(np.array, json.loads(done.stdout))
    assert np.abs(fused - plain).max() < 0.02
