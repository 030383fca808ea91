"""A model whose weights or answers are NaN or infinite answers nothing, and says which layer it is."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from striate import api
from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.engines.model_file import ModelHeader, Preprocess, save_model
from striate.errors import ModelError
from striate.formats.constants import list_constants
from striate.formats.onnx_file import write_exported
from striate.model.exported import load_exported
from striate.model.model import Model
from tests.random_nets import tensors_for
from tests.test_cli import run

LAYERS = [L.Conv(4, 3), L.BatchNorm(), L.ReLU(), L.MaxPool(3, stride=2, padding=1), L.Flatten(), L.Dense(6)]
LAYERS += [L.ReLU(), L.Dense(2)]
NET = Net((1, 9, 9), LAYERS, name="small")
HEADER = ModelHeader(net=NET, classes=("a", "b"), preprocess=Preprocess((9, 9), "squash", (0.0,), (1.0,)))
X = np.random.default_rng(0).integers(0, 256, (12, 9, 9, 1), dtype=np.uint8)
SPOILT = [("conv1.weight", math.nan), ("bn1.running_var", math.inf), ("dense2.bias", -math.inf), ("conv1.weight", 1e39)]


def spoilt(name: str, value: float) -> dict[str, np.ndarray]:
    tensors = {
        key: tensor.astype(np.float64 if value > 1e38 else np.float32) for key, tensor in tensors_for(NET).items()
    }
    tensors[name].flat[-1] = value
    return tensors


@pytest.mark.parametrize("name, value", SPOILT)
def test_a_model_with_a_weight_that_is_no_number_is_refused_by_its_layers_name(name, value, tmp_path):
    layer, tensor = name.split(".")
    save_model(tmp_path / "m.safetensors", HEADER, spoilt(name, value))
    with pytest.raises(ModelError) as refused:
        api.load(tmp_path / "m.safetensors")
    assert refused.value.where == f"{tmp_path / 'm.safetensors'}: {layer}"
    assert refused.value.what == f"the layer's {tensor} holds NaN or infinity"
    assert refused.value.got.startswith("1 of ") and refused.value.got.endswith(" values")
    with pytest.raises(ModelError, match=f"the layer's {tensor} holds NaN or infinity"):
        write_exported(NET, spoilt(name, value), "ab", HEADER.preprocess, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize("words", [["predict"], ["evaluate"], ["export"], ["serve"]])
def test_every_command_refuses_it(words, tmp_path):
    save_model(tmp_path / "m.safetensors", HEADER, spoilt("conv1.weight", math.nan))
    rest = {"predict": ["digit.png"], "evaluate": ["digits"], "export": ["-o", "m.onnx"], "serve": ["--port", "0"]}
    done = run(*words, "m.safetensors", *rest[words[0]], folder=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: m.safetensors: conv1: the layer's weight holds NaN or infinity")


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_an_exported_file_with_such_weights_is_not_opened(precision, value, tmp_path):
    """As earlier versions wrote them; max pooling's own padding with −∞ is in the good one."""
    options = {"float32": {}, "float16": {"fp16": True}, "int8": {"int8": list(X)}}[precision]
    write_exported(NET, tensors_for(NET), "ab", HEADER.preprocess, tmp_path / "m.onnx", **options)
    load_exported(tmp_path / "m.onnx")
    made = onnx.load(tmp_path / "m.onnx")
    [place] = [t for t in made.graph.initializer if t.name == "dense1.weight" + "_scale" * (precision == "int8")]
    weight = numpy_helper.to_array(place).copy()
    weight.flat[0] = value
    place.CopyFrom(numpy_helper.from_array(weight, place.name))
    onnx.save(made, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="the layer's weight holds NaN or infinity") as refused:
        load_exported(tmp_path / "m.onnx")
    assert refused.value.where == f"{tmp_path / 'm.onnx'}: dense1"


def test_the_constants_of_a_file_are_those_that_the_package_onnx_reads(tmp_path):
    write_exported(NET, tensors_for(NET), "ab", HEADER.preprocess, tmp_path / "m.onnx", int8=list(X))
    want = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / "m.onnx").graph.initializer}
    want = {name: value for name, value in want.items() if value.dtype.kind == "f"}
    found = dict(list_constants(memoryview((tmp_path / "m.onnx").read_bytes())))
    assert list(found) == list(want) and len(found) > 8
    for name, value in want.items():
        assert np.array_equal(found[name], value.ravel()), name


def test_an_answer_that_overflows_is_none_and_the_layer_is_named(tmp_path):
    tensors = tensors_for(NET)
    tensors["dense1.weight"] = np.full_like(tensors["dense1.weight"], 1e38)
    model = Model(HEADER, tensors, None)
    with pytest.raises(ModelError, match="the answer is not a number") as refused:
        model.probabilities(X)
    assert refused.value.where == "dense1"
    model.export(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="the network's answer to this image is not a number"):
        load_exported(tmp_path / "m.onnx").predict(X[0])


def test_a_variance_below_0_has_no_root():
    tensors = tensors_for(NET)
    tensors["bn1.running_var"] = tensors["bn1.running_var"] * 0 - 1
    with pytest.raises(ModelError, match="a variance below 0 has no square root") as refused:
        Model(HEADER, tensors, None)
    assert refused.value.where == "bn1"
