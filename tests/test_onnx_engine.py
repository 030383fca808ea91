"""The ONNX engine: ONNX Runtime computes the record as torch does."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.engines import onnx as engine
from striate.errors import ModelError, NetError, ShapeError
from tests.random_nets import inputs_for, nets, tensors_for


def judged(net: Net, tensors: dict[str, np.ndarray]) -> torch.nn.Module:
    """The torch engine in evaluation and float64, so that what differs is ONNX Runtime's rounding."""
    from striate.engines import torch as judge

    return judge.load_tensors(judge.build_network(net).double(), tensors).eval()


def assert_close(got: np.ndarray, want: np.ndarray, what: str = "", limit: float = 1e-5) -> None:
    """Equal to `limit` of the largest value."""
    assert got.shape == want.shape, what
    assert got.dtype == np.float32
    scale = max(1.0, float(np.abs(want).max(initial=0)))
    assert np.abs(got - want).max(initial=0) <= limit * scale, what


@pytest.mark.parametrize("examples", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_onnx_runtime_computes_any_net_as_torch_does(examples):
    @settings(deadline=None, max_examples=examples)
    @given(nets(), st.integers(0, 999), st.booleans())
    def holds(net, seed, fold):
        tensors, x = tensors_for(net, seed), inputs_for(net, 2, seed)
        model = engine.build_graph(net, tensors, fold=fold)
        onnx.checker.check_model(model, full_check=True)
        with torch.no_grad():
            want = judged(net, tensors)(torch.from_numpy(x)).numpy()
        assert_close(engine.run_session(engine.open_session(model, threads=1), x), want, repr(net))

    holds()


@settings(deadline=None, max_examples=40)
@given(nets(), st.integers(0, 999))
def test_a_session_with_its_weights_handed_over_is_that_of_the_models_bytes_and_keeps_them(net, seed):
    tensors, x = tensors_for(net, seed), inputs_for(net, 2, seed)
    want = engine.run_session(engine.open_session(engine.build_graph(net, tensors), threads=1), x)
    session = engine.open_net(net, tensors, threads=1)
    for tensor in tensors.values():
        tensor[...] = 0
    np.testing.assert_array_equal(engine.run_session(session, x), want)


def test_large_weights_are_no_part_of_the_models_bytes(monkeypatch):
    net = Net((1, 4, 4), [L.Flatten(), L.Dense(4000), L.Dense(2000)])
    sizes = []

    def assemble(*given):
        sizes.append(len((model := assemble_model(*given)).SerializeToString()))
        return model

    assemble_model = engine.assemble_model
    monkeypatch.setattr(engine, "assemble_model", assemble)
    engine.run_net(net, tensors_for(net), inputs_for(net))
    assert sizes[0] < 2_000 < 4 * 4000 * 2000


@settings(deadline=None, max_examples=60)
@given(nets(), st.integers(0, 999))
def test_every_map_that_is_asked_for_is_torchs_and_as_large_as_the_summary_says(net, seed):
    tensors, x = tensors_for(net, seed), inputs_for(net, 2, seed)
    found = engine.run_maps(net, tensors, x, threads=1)
    with torch.no_grad():
        want = judged(net, tensors).maps(torch.from_numpy(x))
    assert list(found) == list(want)
    for step in net.steps:
        if not step.side:
            assert found[step.path].shape[1:] == step.y, step.path
            # An inner map may be a small difference that a normalisation has blown up, where float32 has fewer digits.
            assert_close(found[step.path], want[step.path].numpy(), step.path, limit=1e-4)


def conv(x, t, around, stride=1, dilation=1, groups=1):
    """`around` is left, right, top, bottom, as in F.pad."""
    return F.conv2d(F.pad(x, around), t["l.weight"], t["l.bias"], stride, 0, dilation, groups)


def max_pool(x, around, kernel, stride=1, dilation=1):
    return F.max_pool2d(F.pad(x, around, value=-torch.inf), kernel, stride, dilation=dilation)


def last(x):
    return x.permute(0, 2, 3, 1)


MAP, ODD, FOUR = (4, 9, 7), (4, 11, 8), (1, 2, 0, 3)
NORM = ("running_mean", "running_var", "weight", "bias")
MAPS = [
    (L.Conv(6, 5), MAP, lambda x, t: F.conv2d(x, t["l.weight"], t["l.bias"])),
    (L.Conv(6, (3, 2), (2, 3), bias=False), ODD, lambda x, t: F.conv2d(x, t["l.weight"], stride=(2, 3))),
    (L.Conv(6, 3, 2, padding="same"), (4, 8, 8), lambda x, t: conv(x, t, (0, 1, 0, 1), 2)),
    (L.Conv(6, 4, 3, padding="same"), (4, 10, 7), lambda x, t: conv(x, t, (1, 2, 1, 2), 3)),
    (L.Conv(8, 3, padding=2, dilation=2, groups=4), MAP, lambda x, t: conv(x, t, (2,) * 4, 1, 2, 4)),
    (L.Conv(3, 3, padding=FOUR, dilation=(1, 2)), MAP, lambda x, t: conv(x, t, (0, 3, 1, 2), 1, (1, 2))),
    (L.Conv(2, 1, padding=4), (4, 1, 1), lambda x, t: F.conv2d(x, t["l.weight"], t["l.bias"], padding=4)),
    (L.MaxPool(2), MAP, lambda x, t: F.max_pool2d(x, 2)),
    (L.MaxPool(2, ceil=True), MAP, lambda x, t: F.max_pool2d(x, 2, ceil_mode=True)),
    (L.MaxPool(3, 2, padding=1, ceil=True), ODD, lambda x, t: F.max_pool2d(x, 3, 2, 1, ceil_mode=True)),
    (L.MaxPool(3, 2, padding="same"), (2, 8, 8), lambda x, t: max_pool(x, (0, 1, 0, 1), 3, 2)),
    (L.MaxPool(3, 1, padding=(0, 2, 1, 0)), MAP, lambda x, t: max_pool(x, (1, 0, 0, 2), 3)),
    (L.MaxPool(2, 1, padding=1, dilation=2), MAP, lambda x, t: F.max_pool2d(x, 2, 1, 1, dilation=2)),
    (L.MaxPool(2, 1, padding=2, dilation=2), MAP, lambda x, t: max_pool(x, (2,) * 4, 2, 1, 2)),
    (L.AvgPool(2, (1, 3)), ODD, lambda x, t: F.avg_pool2d(x, 2, (1, 3))),
    *(
        (
            L.AvgPool(k, s, padding=p, ceil=ceil, count_padding=count),
            shape,
            lambda x, t, a=(k, s, p, ceil, count): F.avg_pool2d(x, *a),
        )
        for k, s, p, shape in [(3, 2, 1, (2, 8, 6)), (3, 2, 0, (2, 8, 6)), (2, 3, 1, (2, 6, 9)), (4, 3, 2, (1, 5, 7))]
        for ceil in (False, True)
        for count in (False, True)
    ),
    (L.AvgPool(2, 1, padding="same", count_padding=True), MAP, lambda x, t: F.avg_pool2d(F.pad(x, (0, 1, 0, 1)), 2, 1)),
    (
        L.AvgPool(3, 2, padding=(0, 2, 1, 0), count_padding=True),
        ODD,
        lambda x, t: F.avg_pool2d(F.pad(x, (1, 0, 0, 2)), 3, 2),
    ),
    (L.GlobalAvgPool(), MAP, lambda x, t: x.mean((2, 3))),
    (L.GlobalAvgPool(keepdims=True), MAP, lambda x, t: x.mean((2, 3), keepdim=True)),
    (L.Flatten(), MAP, lambda x, t: x.flatten(1)),
    (L.ReLU(), MAP, lambda x, t: F.relu(x)),
    (L.ReLU6(), MAP, lambda x, t: F.relu6(x)),
    (L.LeakyReLU(-0.3), MAP, lambda x, t: F.leaky_relu(x, -0.3)),
    (L.ELU(0.7), MAP, lambda x, t: F.elu(x, 0.7)),
    (L.GELU(), MAP, lambda x, t: F.gelu(x)),
    (L.SiLU(), MAP, lambda x, t: F.silu(x)),
    (L.Sigmoid(), MAP, lambda x, t: torch.sigmoid(x)),
    (L.Tanh(), MAP, lambda x, t: torch.tanh(x)),
    (L.HardSigmoid(), MAP, lambda x, t: F.hardsigmoid(x)),
    (L.HardSwish(), MAP, lambda x, t: F.hardswish(x)),
    (L.Softmax(), MAP, lambda x, t: F.softmax(x, 1)),
    (
        L.BatchNorm(1e-3),
        MAP,
        lambda x, t: F.batch_norm(x, *(t[f"l.{name}"] for name in NORM), eps=1e-3),
    ),
    (L.BatchNorm(affine=False), MAP, lambda x, t: F.batch_norm(x, t["l.running_mean"], t["l.running_var"])),
    (
        L.LayerNorm(),
        MAP,
        lambda x, t: F.layer_norm(last(x), (4,), t["l.weight"], t["l.bias"], 1e-6).permute(0, 3, 1, 2),
    ),
    (
        L.LayerNorm(1e-3, affine=False),
        MAP,
        lambda x, t: F.layer_norm(last(x), (4,), eps=1e-3).permute(0, 3, 1, 2),
    ),
    *(
        (L.LocalResponseNorm(*lrn), (5, 4, 3), lambda x, t, lrn=lrn: F.local_response_norm(x, *lrn))
        for lrn in [*((n, 0.4, 0.6, 1.5) for n in range(1, 8)), (3, 0.0, 0.75, 2.0), (3, 0.1, -0.5, 2.0)]
    ),
    (L.Dropout(0.9), MAP, lambda x, t: x),
    (L.StochasticDepth(0.9), MAP, lambda x, t: x),
    (L.SideHead(L.GlobalAvgPool(), L.Dense(3)), MAP, lambda x, t: x),
    (L.LayerScale(0.1), MAP, lambda x, t: x * t["l.weight"].view(-1, 1, 1)),
    (L.PadChannels(1, 2), MAP, lambda x, t: F.pad(x, (0, 0, 0, 0, 1, 2))),
    (L.Parallel(L.Identity(), L.ReLU(), L.Tanh()), MAP, lambda x, t: torch.cat([x, F.relu(x), torch.tanh(x)], 1)),
    (L.Parallel(L.Identity(), L.ReLU(), L.Tanh(), join="add"), MAP, lambda x, t: x + F.relu(x) + torch.tanh(x)),
    (
        L.Parallel(L.GlobalAvgPool(keepdims=True), L.Identity(), L.Tanh(), join="multiply"),
        MAP,
        lambda x, t: x.mean((2, 3), keepdim=True) * x * torch.tanh(x),
    ),
    (L.Parallel(L.Sequence(), join="add"), MAP, lambda x, t: x),
]
VECTORS = [
    (L.Dense(3), lambda x, t: F.linear(x, t["l.weight"], t["l.bias"])),
    (L.Dense(3, bias=False), lambda x, t: F.linear(x, t["l.weight"])),
    (L.BatchNorm(affine=False), lambda x, t: F.batch_norm(x, t["l.running_mean"], t["l.running_var"])),
    (L.LayerNorm(), lambda x, t: F.layer_norm(x, (12,), t["l.weight"], t["l.bias"], 1e-6)),
    (L.LayerScale(), lambda x, t: x * t["l.weight"]),
    (L.Softmax(), lambda x, t: F.softmax(x, 1)),
]


@pytest.mark.parametrize(
    "layers, shape, want",
    [((layer,), shape, want) for layer, shape, want in MAPS]
    + [((L.Flatten(), layer), (3, 2, 2), lambda x, t, f=f: f(x.flatten(1), t)) for layer, f in VECTORS],
    ids=[str(layer) for layer, *_ in MAPS + VECTORS],
)
def test_a_layer_computes_what_torchs_function_computes(layers, shape, want):
    net = Net(shape, [L.Sequence(*layers[:-1]), named(layers[-1])])
    tensors, x = tensors_for(net, seed=3), 3 * inputs_for(net, 3, seed=4)
    onnx.checker.check_model(engine.build_graph(net, tensors), full_check=True)
    torch_tensors = {name: torch.from_numpy(value) for name, value in tensors.items()}
    assert_close(engine.run_net(net, tensors, x, threads=1), want(torch.from_numpy(x), torch_tensors).numpy())


def named(layer):
    """The layer under the name `l`."""
    from dataclasses import fields

    if isinstance(layer, L.Container):
        inside = layer.branches if isinstance(layer, L.Parallel) else layer.layers
        options = {"join": layer.join} if isinstance(layer, L.Parallel) else {}
        return type(layer)(*inside, **options, name="l")
    return type(layer)(**{f.name: getattr(layer, f.name) for f in fields(layer)} | {"name": "l"})


INNER = [L.Conv(4, 3, padding=1), L.BatchNorm(), L.Dropout(0.2), L.BatchNorm(affine=False)]
BLOCK = [
    L.Conv(4, 3, bias=False),
    L.BatchNorm(),
    L.ReLU(),
    L.Parallel(INNER, L.Identity(), join="add"),
    L.GlobalAvgPool(),
    L.Dense(5),
    L.BatchNorm(),
    L.Dense(2),
]


def test_batch_norms_vanish_into_the_layers_before_them_and_the_output_stays():
    net = Net((3, 8, 8), BLOCK)
    tensors, x = tensors_for(net), inputs_for(net)
    whole, folded = (engine.build_graph(net, tensors, fold=fold) for fold in (False, True))
    kinds = [[node.op_type for node in model.graph.node] for model in (whole, folded)]
    assert kinds[0].count("BatchNormalization") == 4
    assert kinds[1] == ["Conv", "Relu", "Conv", "Add", "GlobalAveragePool", "Flatten", "Gemm", "Gemm"]
    assert_close(engine.run_session(engine.open_session(folded), x), engine.run_session(engine.open_session(whole), x))


def test_a_batch_norm_stays_where_someone_else_reads_the_map_before_it():
    tail = [L.GlobalAvgPool(), L.Dense(2)]
    asked = Net((1, 6, 6), [L.Conv(2, 3), L.BatchNorm(), *tail])
    shared = Net((1, 6, 6), [L.Conv(2, 3), L.Parallel(L.BatchNorm(), L.ReLU()), *tail])
    first = Net((1, 6, 6), [L.BatchNorm(), L.Conv(2, 3), *tail])
    for net, outputs in ((asked, ["conv1"]), (shared, []), (first, [])):
        tensors, x = tensors_for(net), inputs_for(net)
        model = engine.build_graph(net, tensors, outputs=outputs)
        assert "BatchNormalization" in [node.op_type for node in model.graph.node]
        with torch.no_grad():
            assert_close(
                engine.run_session(engine.open_session(model), x), judged(net, tensors)(torch.from_numpy(x)).numpy()
            )


def test_layers_may_be_called_as_the_graphs_own_values_are():
    layers = [L.ReLU(name="image"), L.Sequence(L.Tanh(name="y"), name="y"), L.Identity(name="end")]
    net = Net((1, 2, 2), layers)
    x = inputs_for(net)
    found = engine.run_maps(net, {}, x)
    assert list(found) == ["image", "y", "y.y", "end"]
    assert_close(found["image"], np.maximum(x, 0))
    for path in ("y", "y.y", "end"):
        assert_close(found[path], np.tanh(np.maximum(x, 0)))
    assert_close(engine.run_net(net, {}, x), np.tanh(np.maximum(x, 0)))


def test_a_net_without_layers_gives_its_input():
    net = Net((2, 3, 3), [])
    x = inputs_for(net)
    assert_close(engine.run_net(net, {}, x), x)


@pytest.mark.parametrize("n", [1, 5, 32])
def test_the_batch_may_have_any_size(n):
    net = Net((3, 8, 8), BLOCK)
    tensors, x = tensors_for(net), inputs_for(net, n)
    with torch.no_grad():
        assert_close(engine.run_net(net, tensors, x), judged(net, tensors)(torch.from_numpy(x)).numpy())


def test_what_does_not_fit_is_refused_by_name():
    net = Net((3, 8, 8), [*BLOCK[:3], L.SideHead(L.GlobalAvgPool(), L.Dense(2), name="aux"), *BLOCK[4:]])
    tensors = tensors_for(net)
    with pytest.raises(ModelError, match="bn1.running_var"):
        engine.build_graph(net, {name: value for name, value in tensors.items() if name != "bn1.running_var"})
    with pytest.raises(NetError, match="did you mean 'conv1'"):
        engine.build_graph(net, tensors, outputs=["conv2"])
    with pytest.raises(NetError, match="computed in training alone"):
        engine.build_graph(net, tensors, outputs=["aux.dense1"])
    with pytest.raises(ShapeError) as refused:
        engine.run_net(net, tensors, np.zeros((2, 3, 8, 9)))
    assert str(refused.value) == "image: the batch does not fit the net\n  got   2×3×8×9\n  rule  N×3×8×8"


def test_the_engine_needs_no_torch_and_loads_onnx_when_it_is_used():
    program = """
import sys, numpy as np
from striate.architecture.layers import Conv
from striate.architecture.net import Net
from striate.engines import onnx
assert not {"onnx", "onnxruntime", "torch"} & set(sys.modules)
net = Net((1, 3, 3), [Conv(2, 3)])
tensors = {"conv1.weight": np.ones((2, 1, 3, 3)), "conv1.bias": np.ones(2)}
assert onnx.run_net(net, tensors, np.ones((1, 1, 3, 3))).tolist() == [[[[10.0]], [[10.0]]]]
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_large_nets_maps_come_from_weights_that_nobody_copies_and_are_the_same(monkeypatch):
    net = Net((3, 16, 16), [L.Conv(8, 3), L.BatchNorm(), L.ReLU(), L.Flatten(), L.Dense(10)])
    tensors, x = tensors_for(net, 1), inputs_for(net, 2, 1)
    tensors = {name: value.astype(np.float32) for name, value in tensors.items()}
    usual = engine.run_maps(net, tensors, x.astype(np.float32))
    monkeypatch.setattr(engine, "FED_BYTES", 0)
    monkeypatch.setattr(engine, "INNER_BYTES", 100)
    fed = engine.run_maps(net, tensors, x.astype(np.float32))
    assert list(fed) == list(usual) and all(np.allclose(fed[path], usual[path], atol=1e-5) for path in usual)


def test_a_large_model_file_is_mapped_and_its_tensors_are_its_own(monkeypatch, tmp_path):
    from striate.engines import model_file

    net = Net((3, 16, 16), [L.Conv(8, 3), L.Flatten(), L.Dense(10)])
    tensors = {name: value.astype(np.float32) for name, value in tensors_for(net, 1).items()}
    prepared = model_file.Preprocess((16, 16), "pad", (0.5,) * 3, (0.25,) * 3)
    header = model_file.ModelHeader(net=net, classes=tuple("0123456789"), preprocess=prepared)
    model_file.save_model(tmp_path / "model.safetensors", header, tensors)
    monkeypatch.setattr(model_file, "MAPPED_BYTES", 0)
    before = (tmp_path / "model.safetensors").read_bytes()
    assert model_file.map_tensors(tmp_path / "model.safetensors").keys() == tensors.keys()
    _, found = model_file.read_model(tmp_path / "model.safetensors")
    assert all(np.array_equal(found[name], value) and found[name].flags.writeable for name, value in tensors.items())
    found["conv1.weight"][:] = 7
    assert (tmp_path / "model.safetensors").read_bytes() == before
