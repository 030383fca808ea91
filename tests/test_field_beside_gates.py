"""Behind a squeeze-and-excitation every unit sees all; beside the gates it sees what a gradient there reaches."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import striate
from striate import Conv, Dense, Flatten, GlobalAvgPool, Identity, MaxPool, Net, Parallel, ReLU, Sigmoid
from striate.summaries.summary import summarise_net
from striate.summaries.tables import render_table_text


def gate(maps: int) -> Parallel:
    excite = [GlobalAvgPool(keepdims=True), Conv(2, 1), ReLU(), Conv(maps, 1), Sigmoid()]
    return Parallel(Identity(), excite, join="multiply")


def branch(maps: int, kernel: int) -> Parallel:
    return Parallel(Identity(), [Conv(maps, kernel, padding="same"), gate(maps)], join="add")


PARTS = {
    "conv": lambda: Conv(2, 3, padding=1),
    "wide": lambda: Conv(2, 5, 2, padding=2),
    "pool": lambda: MaxPool(2),
    "gate": lambda: gate(2),
    "branch": lambda: branch(2, 3),
}


def measure_rows(net: Net) -> int:
    """How many rows of the image have a gradient in the middle unit of the last map, where no gate is asked."""
    torch = pytest.importorskip("torch")
    from striate.engines.torch import build_network

    module = build_network(net).eval()
    for path, child in module.named_modules():
        if list(child.parameters(recurse=False)):
            torch.nn.init.constant_(child.weight, 1.0)
            torch.nn.init.zeros_(child.bias)
        if path.endswith(("sigmoid1",)):
            child.register_forward_hook(lambda module, args, output: torch.ones_like(output).detach())
    x = torch.rand(1, *net.input, dtype=torch.float64, requires_grad=True)
    y = module.double()(x)
    y[0, 0, y.shape[2] // 2, y.shape[3] // 2].backward()
    return int((x.grad.abs().sum((0, 1, 3)) > 0).sum())


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from([name for name in PARTS if name != "pool"]), min_size=1, max_size=4))
def test_the_field_beside_the_gates_is_what_a_gradient_reaches_there(names):
    net = Net((1, 65, 65), [Conv(2, 1), *(PARTS[name]() for name in names)])
    last = [row for row in summarise_net(net).rows if row.depth == 0][-1]
    assert (last.field is None) == any(name in ("gate", "branch") for name in names)
    assert last.local_size[0] == measure_rows(net)


@settings(deadline=None)
@given(st.lists(st.sampled_from(list(PARTS)), max_size=5))
def test_without_gates_the_two_are_one_and_with_them_they_are_that_of_the_net_without(names):
    net = Net((2, 64, 64), [Conv(2, 3), *(PARTS[name]() for name in names)])
    for row in summarise_net(net).rows:
        assert row.field in (None, row.local)
    bare = [Parallel(Identity(), Conv(2, 3, padding="same"), join="add") if n == "branch" else PARTS[n]() for n in names
            if n != "gate"]  # fmt: skip
    without = Net((2, 64, 64), [Conv(2, 3), *bare])
    last = [[s for s in n.steps if s.depth == 0][-1] for n in (net, without)]
    assert last[0].local == last[1].local == last[1].field


def test_the_column_shows_both_and_the_note_says_what_is_in_brackets():
    s = summarise_net(Net((1, 32, 32), [Conv(4, 3), gate(4), Conv(4, 3), Flatten(), Dense(2)]))
    cells = {
        line.split()[0]: line
        for line in render_table_text(s, 200, show="field,stride,start", depth=1).splitlines()
        if line
    }
    assert cells["conv1"].split()[1:] == ["3", "1", "0,", "0"]
    assert cells["conv2"].split()[1:] == ["all", "(5)", "1", "0,", "0"]
    assert "behind a gate a unit sees all, and beside it the number in brackets" in dict(s.notes)["field"]
    assert "in brackets" not in dict(summarise_net(Net((1, 32, 32), [Conv(4, 3)])).notes)["field"]
    row = json.loads(json.dumps(s.row("conv2").as_dict()))
    assert (row["field"], row["local_field"]) == (None, [5, 5])


def test_the_field_of_a_published_network_beside_its_gates_is_that_of_its_convolutions():
    """EfficientNet-B0 and its lite form have the same convolutions, the one with gates, the other without."""
    gated, lite = striate.summary("efficientnet_b0"), striate.summary("efficientnet_lite0")
    assert gated.last_map.field is None
    assert gated.last_map.local_size == lite.last_map.field_size == lite.last_map.local_size
