"""A fused net answers as the net does, in fewer layers: torch and timm are the judges."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import striate
from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.engines import plain
from striate.engines.fusing import fuse_net

from .oracles import timm
from .random_nets import inputs_for, nets, tensors_for


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(nets(kinds=frozenset(["Conv", "BatchNorm", "Parallel", "Sequence", "Identity", "ReLU", "SideHead"])),
       st.integers(0, 999))  # fmt: skip
def test_a_fused_net_computes_what_the_net_does(net, seed):
    tensors, x = tensors_for(net, seed), inputs_for(net, 2, seed)
    fused, own = fuse_net(net, tensors)
    want = plain.run_forward(net, tensors, x)
    scale = max(1.0, float(np.abs(want).max()), max(float(np.abs(one).max()) for one in own.values()) ** 2)
    assert np.abs(plain.run_forward(fused, own, x) - want).max() <= 1e-4 * scale
    assert len(fused.steps) <= len(net.steps)


def test_branches_of_different_windows_strides_and_groups_become_one_convolution():
    for groups, stride in ((1, 1), (2, 1), (4, 1), (1, 2), (2, 2)):
        one = [L.Conv(4, 3, stride, 1, groups=groups, bias=False), L.BatchNorm()]
        branches = [one, [L.Conv(4, 1, stride, groups=groups), L.BatchNorm()], L.Conv(4, (5, 1), stride, (2, 2, 0, 0),
                    groups=groups)]  # fmt: skip
        branches += [L.BatchNorm(affine=False), L.Identity()] if stride == 1 else []
        net = Net((4, 7, 9), [L.Parallel(*branches, join="add", name="block"), L.ReLU()])
        tensors, x = tensors_for(net), inputs_for(net, 2)
        fused, own = fuse_net(net, tensors)
        assert [type(step.layer) for step in fused.steps] == [L.Conv, L.ReLU]
        assert fused.layers[0].name == "block" and fused.layers[0].kernel == (5, 3)
        assert np.allclose(plain.run_forward(fused, own, x), plain.run_forward(net, tensors, x), atol=1e-5)


def test_what_is_bent_multiplied_dilated_or_has_a_norm_before_its_padding_stays():
    net = Net(
        (2, 6, 6),
        [
            L.Parallel([L.Conv(2, 1), L.ReLU()], L.Identity(), join="add", name="bent"),
            L.Parallel(L.Conv(2, 1), L.Identity(), join="multiply", name="product"),
            L.Parallel([L.BatchNorm(), L.Conv(2, 3, padding=1)], L.Conv(2, 1), join="add", name="norm_first"),
            L.Parallel(L.Conv(2, 3, dilation=2, padding=2), L.Conv(2, 1), join="add", name="dilated"),
        ],
    )
    tensors, x = tensors_for(net), inputs_for(net, 2)
    fused, own = fuse_net(net, tensors)
    assert [type(layer) for layer in fused.layers] == [L.Parallel] * 4
    assert np.allclose(plain.run_forward(fused, own, x), plain.run_forward(net, tensors, x), atol=1e-5)


@pytest.mark.parametrize("name", ["repvgg_a0", pytest.param("mobileone_s0", marks=pytest.mark.slow)])
def test_timms_networks_fuse_to_as_few_convolutions_as_timms_own_fused_form_has(name):
    module = timm().create_model(name).eval()
    for one in module.modules():
        if isinstance(one, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(one.running_var, 0.5, 2)
            torch.nn.init.normal_(one.running_mean, std=0.1)
            torch.nn.init.constant_(one.weight, 0.5)
    found = striate.from_torch(module, (3, 64, 64))
    preprocess = striate.Preprocess((64, 64), "squash", (0.5,) * 3, (0.5,) * 3)
    model = striate.Model(*found[:2], classes=[str(k) for k in range(1000)], preprocess=preprocess)
    fused = model.fused()
    theirs = striate.from_torch(import_module("timm.utils").reparameterize_model(module), (3, 64, 64))
    count = [sum(isinstance(step.layer, L.Conv) for step in one.steps) for one in (fused.net, theirs.net)]
    assert count[0] == count[1]
    assert not any(isinstance(step.layer, L.BatchNorm) for step in fused.net.steps)
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    assert np.allclose(fused.probabilities(images), model.probabilities(images), atol=1e-5)
