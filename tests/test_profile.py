"""The profile of a net: every kernel's time is some layer's or told apart, and the layers are the summary's."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from striate.architecture import zoo
from striate.architecture.layers import Conv, Dense, Flatten, ReLU
from striate.architecture.net import Net
from striate.errors import StriateError
from striate.inside import profile
from striate.summaries.summary import summarise_net

from . import forked
from .random_nets import nets, tensors_for


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(nets())
def test_no_kernels_time_is_lost_or_counted_twice_whatever_the_net(net):
    given = {name: value.astype("float32") for name, value in tensors_for(net, 0).items()}
    x = np.zeros((1, *net.input), np.float32)
    kernels, whole = profile.time_kernels(net, given, x, 1, 2)
    layers = [(row.path, row.kind) for row in summarise_net(net).rows if not row.side and row.kind != "Sequence"]
    own, fused, other = profile.share_out_kernels(layers, kernels)
    assert whole > 0
    assert sum(own.values()) + sum(other.values()) == pytest.approx(sum(kernels.values()))
    assert not set(own) & set(fused), "a layer has a kernel of its own or is in another's"
    assert set(fused.values()) <= set(own) and {*own, *fused} <= {path for path, _ in layers}


def test_a_convolution_its_norm_and_its_activation_are_one_kernel_and_the_largest_takes_longest():
    net = zoo.build("resnet18", input=(3, 64, 64))
    found = profile.profile_net(net, runs=3)
    rows = {row.path: row for row in found.rows}
    assert rows["bn1"].fused == rows["relu1"].fused == "conv1" and rows["conv1"].onnx > 0
    work = {path: row for path, row in rows.items() if row.macs}
    assert found.macs == summarise_net(net).macs == sum(r.macs for r in work.values())
    convs = [row for row in work.values() if row.kind == "Conv"]
    assert sum(row.onnx for row in convs) > 0.6 * sum(row.onnx for row in found.rows)
    assert all(row.torch is not None and row.torch > 0 for row in convs)
    assert sum(row.onnx for row in found.rows) < 5 * found.onnx


def test_a_dense_layer_and_its_activation_are_one_kernel():
    net = Net((1, 4, 4), [Flatten(), Dense(8), ReLU(), Dense(3)])
    rows = {row.path: row for row in profile.profile_net(net, runs=2).rows}
    assert rows["relu1"].fused == "dense1" and not rows["dense1"].fused and not rows["dense2"].fused


def test_the_share_of_the_peak_is_two_operations_a_mac_over_the_time():
    net = Net((1, 8, 8), [Conv(4, 3), Flatten(), Dense(2)])
    found = profile.profile_net(net, batch=3, runs=2)
    assert found.efficiency(1_000_000, 2.0) == pytest.approx(2 * 1e6 * 3 / 2e-3 / (found.peak * 1e9))
    assert found.efficiency(0, 2.0) == 0 and found.efficiency(5, None) is None
    assert [line.split()[0] for line in str(found).splitlines()[3:6]] == ["conv1", "flatten1", "dense1"]


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"threads": 0}, {"runs": 0}])
def test_numbers_below_one_are_refused(wrong):
    with pytest.raises(StriateError, match="this must be 1 or more"):
        profile.profile_net(zoo.build("lenet5"), **wrong)


def test_the_command_prints_the_profile_as_json_and_as_a_table():
    words = ["-m", "striate", "profile", "lenet5", "--runs", "2"]
    told = json.loads(forked.run([*words, "--json"]).stdout)
    assert told["macs"] == 416_520 and [row["path"] for row in told["rows"]][:2] == ["conv1", "relu1"]
    table = forked.run(words).stdout
    assert "in conv1" in table and "one whole run" in table
