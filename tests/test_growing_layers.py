"""Layers that make a map larger, and ConvNeXt V2's norm and ECA-Net's gate, judged by torch and timm."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import striate
from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.architecture.text import parse
from striate.engines import onnx, plain
from striate.errors import NetError, ShapeError
from striate.inside.trace import trace_value
from striate.summaries.module_records import find_record

from .oracles import timm
from .random_nets import inputs_for, tensors_for

shapes = st.tuples(st.sampled_from([1, 2, 4]), st.integers(1, 6), st.integers(1, 6))
small, few = st.integers(1, 4), st.integers(0, 2)
windows = st.tuples(small, st.one_of(small, st.tuples(small, small)), small, few, few, st.integers(1, 3), small)


@settings(deadline=None, max_examples=300)
@given(shapes, windows, st.booleans())
def test_the_transposed_convolutions_rule_is_torchs(x, window, bias):
    """Shape, parameters and MACs, and the two refuse the same inputs."""
    filters, kernel, stride, padding, more, dilation, groups = window
    rule = None
    try:
        module = nn.ConvTranspose2d(x[0], filters, kernel, stride, padding, more, groups, bias, dilation)
        with FlopCounterMode(display=False) as flops:
            y = module(torch.empty(1, *x))
        if not y.numel():
            raise ValueError("torch gives a map without places here")
    except (RuntimeError, ValueError):
        with pytest.raises((ShapeError, NetError)):
            L.ConvTranspose(filters, kernel, stride, padding, more, dilation, groups, bias).out(x)
        return
    rule = L.ConvTranspose(filters, kernel, stride, padding, more, dilation, groups, bias)
    assert rule.out(x) == tuple(y.shape[1:])
    assert rule.params(x) == sum(p.numel() for p in module.parameters())
    assert 2 * rule.macs(x) == flops.get_total_flops()
    assert find_record(module) == rule


@settings(deadline=None, max_examples=200)
@given(
    st.tuples(st.just(2), st.integers(1, 9), st.integers(1, 9)),
    st.one_of(st.integers(1, 4), st.floats(1, 4, allow_nan=False), st.sampled_from([1.1, 1.3, 1.7, 2.3, 10 / 3])),
    st.sampled_from([("nearest", False), ("bilinear", False), ("bilinear", True)]),
)
def test_resizing_is_torchs_for_any_factor_and_alike_in_both_other_engines(x, factor, how):
    mode, aligned = how
    module = nn.Upsample(scale_factor=float(factor), mode=mode, align_corners=aligned if mode == "bilinear" else None)
    image = torch.randn(1, *x, generator=torch.Generator().manual_seed(0))
    want = module(image.double()).numpy()
    net = Net(x, [L.Upsample(factor, mode, aligned)])
    assert net.output == want.shape[1:]
    assert np.allclose(plain.run_forward(net, {}, image.numpy()), want, atol=1e-12)
    assert np.allclose(onnx.run_net(net, {}, image.numpy()), want, atol=1e-5)
    assert find_record(module) == net.layers[0]


def test_a_factor_below_one_and_aligned_corners_without_a_mean_are_refused():
    with pytest.raises(NetError, match="factor must be a number of at least 1"):
        L.Upsample(0.5)
    with pytest.raises(NetError, match='align_corners is of mode="bilinear" alone'):
        L.Upsample(2, align_corners=True)


def test_the_response_norm_is_timms_with_its_gradients():
    timm()
    module = import_module("timm.layers.grn").GlobalResponseNorm(5, channels_last=False).double()
    torch.manual_seed(0)
    for weight in module.parameters():
        nn.init.normal_(weight)
    image = torch.randn(2, 5, 4, 3, dtype=torch.float64, requires_grad=True)
    y = module(image)
    slope = torch.randn(y.shape, dtype=torch.float64)
    y.backward(slope)
    layer, x = L.GlobalResponseNorm(), image.detach().numpy()
    tensors = {f"grn.{name}": value.detach().numpy() for name, value in module.named_parameters()}
    here = plain.PassPlace("grn", plain.ForwardPass(tensors))
    assert np.allclose(plain.network.FORWARD(layer, x, here), y.detach().numpy(), atol=1e-12)
    dx, own = plain.network.BACKWARD(layer, x, None, slope.numpy(), here)
    assert np.allclose(dx, image.grad.numpy(), atol=1e-12)
    for name, weight in module.named_parameters():
        assert np.allclose(own[name], weight.grad.numpy(), atol=1e-12), name


class Decoder(nn.Module):
    """Down, up again two ways, and a norm as in the ConvNeXt V2 paper's own code."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, 2, 1)
        self.up = nn.ConvTranspose2d(8, 6, 4, 2, 1, groups=2)
        self.gamma, self.beta = nn.Parameter(torch.randn(1, 6, 1, 1)), nn.Parameter(torch.randn(1, 6, 1, 1))
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        y = nn.functional.interpolate(self.up(self.down(x)), size=(24, 36), mode="bilinear")
        length = torch.norm(y, p=2, dim=(2, 3), keepdim=True)
        response = length / (length.mean(dim=1, keepdim=True) + 1e-6)
        y = self.gamma * (y * response) + self.beta + y
        return self.head(nn.functional.interpolate(y, scale_factor=1.5).mean((2, 3)))


def test_a_module_that_grows_its_maps_comes_in_is_traced_and_goes_through_text():
    torch.manual_seed(0)
    found = striate.from_torch(Decoder(), (3, 12, 12))
    kinds = [type(step.layer).__name__ for step in found.net.steps]
    assert kinds == ["Conv", "ConvTranspose", "Upsample", "GlobalResponseNorm", "Upsample", "GlobalAvgPool", "Dense"]
    assert [step.layer for step in found.net.steps][2:5:2] == [L.Upsample((2, 3), "bilinear"), L.Upsample(1.5)]
    assert parse(repr(found.net)) == found.net
    image = np.random.default_rng(0).standard_normal(found.net.input).astype(np.float32)
    chain = [one.address for one in trace_value(found.net, found.tensors, image, "probability", 1, depth=None).chain]
    assert chain[-1].startswith("image[") and any(one.startswith("up[") for one in chain)


def test_a_transposed_convolution_comes_in_with_all_its_settings():
    module = nn.Sequential(
        nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), 1, (1, 2), groups=2, bias=False, dilation=(1, 3)), nn.Flatten()
    )
    layer = striate.from_torch(module, (4, 5, 5)).net.layers[0]
    assert repr(layer) == (
        "ConvTranspose(6, (3, 2), stride=(2, 3), padding=1, output_padding=(1, 2), dilation=(1, 3), groups=2, "
        "bias=False)"
    )


def test_the_nearest_place_is_the_one_that_torch_finds_in_32_bits():
    """At 1.1 times 31 pixels the exact quotient is another one."""
    for factor, n in ((1.1, 31), (1.1, 38), (2.3, 39), (1.7, 30)):
        want = nn.functional.interpolate(torch.arange(n * 1.0)[None, None], scale_factor=factor)[0, 0]
        assert [places[0][0] for places in L.Upsample(factor).find_shares((1, n, 1), 0)] == want.int().tolist()


@pytest.mark.parametrize("name", ["convnextv2_atto", "ecaresnet50t"])
def test_timms_networks_with_these_layers_become_nets(name):
    found = striate.from_torch(timm().create_model(name), (3, 64, 64))
    assert found.difference <= 1e-5 and found.net.classes == 1000
    want = L.GlobalResponseNorm if "next" in name else L.ChannelConv
    assert any(type(step.layer) is want for step in found.net.steps)


@pytest.mark.parametrize(
    "work, message",
    [
        (lambda x: nn.functional.interpolate(x, size=(9, 9)), "a size that is no whole multiple of the map's"),
        (lambda x: nn.functional.interpolate(x, scale_factor=0.5), "the map is made smaller by resizing"),
        (lambda x: x + x.norm(dim=(2, 3), keepdim=True), "the length of a GRN and another map"),
        (lambda x: x.norm(dim=1, keepdim=True), "only the length of each whole map is known"),
        (lambda x: nn.functional.conv1d(x.mean((2, 3))[:, None], torch.ones(1, 1, 2), padding=1), "an odd size"),
    ],
)
def test_what_these_layers_do_not_express_is_refused(work, message):
    class Fails(nn.Module):
        def forward(self, x):
            return work(x)

    with pytest.raises(NetError) as refused:
        striate.from_torch(Fails(), (3, 8, 8))
    assert message in str(refused.value)


@pytest.mark.parametrize(
    "layer",
    [
        L.ConvTranspose(4, 3, 2, 1, 1, groups=2), L.ConvTranspose(2, 3, output_padding=1, dilation=2),
        L.Upsample(2, "bilinear"), L.Upsample(1.3), L.ChannelConv(3), L.GlobalResponseNorm(),
    ],
    ids=repr,
)  # fmt: skip
def test_every_value_of_these_layers_has_a_trace(layer):
    """TraceError where the parts do not come to ONNX Runtime's value."""
    net = Net((3, 4, 5), [L.Conv(4, 1), layer])
    tensors, image = tensors_for(net), inputs_for(net, 1)[0]
    step = net.steps[-1]
    for index in np.ndindex(step.y):
        assert trace_value(net, tensors, image, step.path, *index).address.startswith(step.path)


@pytest.mark.parametrize("layer", [L.GroupNorm(2), L.InstanceNorm(affine=True)], ids=repr)
def test_a_norm_of_the_image_itself_learns_from_maps_with_channels_last(layer):
    """torch's own module ends the process here (a segmentation fault on a CPU, torch 2.13)."""
    network = Net((2, 5, 4), [layer, L.GlobalAvgPool(), L.Dense(3)]).torch(seed=0)
    image = torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(0))
    grads = []
    for form in (torch.contiguous_format, torch.channels_last):
        network.zero_grad()
        (network(image.to(memory_format=form)) ** 2).sum().backward()
        grads.append([weight.grad.clone() for weight in network.parameters()])
    for first, last in zip(*grads, strict=True):
        assert torch.allclose(first, last, atol=1e-6)
