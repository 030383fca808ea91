"""What a change would save, against the summary of the net that has it; and two nets side by side."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from striate import nets as zoo
from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.architecture.text import parse
from striate.errors import NetError
from striate.summaries.compare import VECTOR_LEVEL, compare_nets, count_halvings
from striate.summaries.summary import summarise_net
from striate.summaries.whatif import format_changes, suggest_changes

from .random_nets import nets


def all_of(net: Net):
    return [w for step in net.steps for w in suggest_changes(net, step.path) if not step.side]


def check(net: Net, w) -> None:
    """The change keeps the output, saves in the whole net what it says, and its record reads back."""
    old, new = summarise_net(net), summarise_net(w.net)
    assert w.net.output == net.output
    assert (old.params - new.params, old.macs - new.macs) == w.saved
    x = net.at(w.path).x
    assert parse(repr(w.net)) == w.net
    try:
        pasted = summarise_net(parse(f"Net(input={x!r}, layers=[{w.record}])"))
    except NetError as e:  # a map of 6×6×1 is fine within a net, and no image
        assert e.what == "channels come first here"
        return
    assert (pasted.params, pasted.macs) == w.after


@settings(deadline=None, max_examples=60)
@given(nets(layers=6))
def test_every_change_of_a_random_net_saves_in_the_whole_what_it_says(net):
    for w in all_of(net):
        check(net, w)


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "vgg11_bn", "googlenet_paper", "resnet18", "squeezenet1_1"])
def test_every_change_of_a_zoo_net_saves_in_the_whole_what_it_says(name):
    net = zoo.build(name)
    found = suggest_changes(net)
    assert found and all(max(w.saved) > 0 for w in found)
    assert found == sorted(found, key=lambda w: w.saved, reverse=True)
    for w in found[:12]:
        check(net, w)


@pytest.mark.parametrize("padding", ["same", "valid", 2, 1, (0, 1, 2, 3)])
@pytest.mark.parametrize("kernel, words", [(5, "5×5 as two 3×3"), (7, "7×7 as three 3×3")])
def test_small_kernels_in_place_of_a_large_one_see_the_same_pixels(kernel, words, padding):
    net = Net((16, 20, 20), [L.Conv(16, kernel, 2, padding, name="conv"), L.ReLU(), L.Conv(4, 1)])
    (w,) = [w for w in suggest_changes(net, "conv") if w.change == words]
    old, new = summarise_net(net).row("conv"), summarise_net(w.net).row("conv")
    assert (new.y, new.field) == (old.y, old.field)
    assert w.before[0] == (kernel * kernel * 16 + 1) * 16
    assert w.after[0] == (kernel - 1) // 2 * (9 * 16 + 1) * 16
    assert w.record.count("ReLU()") == (kernel - 1) // 2 - 1


def test_a_bottleneck_and_a_separable_convolution_cost_what_their_formulas_say():
    """28×28×192 into 32 5×5 filters: 120,422,400 MACs, the example of the inception paper's section 4."""
    net = Net((192, 28, 28), [L.Conv(32, 5, padding="same", bias=False, name="conv"), L.ReLU()])
    found = {w.change: w for w in suggest_changes(net, "conv")}
    pixels = 28 * 28
    narrow = found["1×1 to 48 channels before it"]
    assert narrow.before == (25 * 192 * 32, 120_422_400)
    assert narrow.after == (192 * 48 + 25 * 48 * 32, (192 * 48 + 25 * 48 * 32) * pixels)
    apart = found["depthwise-separable"]
    assert apart.after == (25 * 192 + 192 * 32, (25 * 192 + 192 * 32) * pixels)


def test_the_head_of_lenet5_shrinks_to_one_dense_layer_behind_the_mean():
    (w,) = [w for w in suggest_changes(zoo.lenet5()) if w.path == "flatten"]
    assert (w.before[0], w.after[0]) == (59_134, 16 * 10 + 10)
    assert w.record == "GlobalAvgPool(),\nDense(10, name='dense3')"
    assert w.text in format_changes([w])
    assert "59,134 → 170 parameters (−99.7 %)" in w.text


def test_the_changed_net_computes():
    torch = pytest.importorskip("torch")
    from striate.engines.torch import build_network

    for w in all_of(zoo.lenet5(input=(3, 32, 32))):
        assert build_network(w.net)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_a_path_that_is_not_there_is_named():
    with pytest.raises(NetError, match="did you mean 'conv1'"):
        suggest_changes(zoo.lenet5(), "conv_1")


def test_two_nets_stand_side_by_side_with_the_ratio_of_each_total():
    a, b = zoo.alexnet(), zoo.resnet18()
    c = compare_nets(a, b)
    totals = {line.name: line for line in c.lines}
    assert totals["parameters"].values == (61_100_840, 11_689_512)
    assert totals["parameters"].ratio == pytest.approx(11_689_512 / 61_100_840)
    assert totals["layers with weights"].values == (8, 21)
    assert totals["weights"].values == (4 * 61_100_840, 4 * 11_689_512)
    text, page, mark = str(c), c._repr_html_(), c.as_markdown()
    for part in ("61,100,840", "11,689,512", "×0.191", "alexnet", "resnet18"):
        assert part in text and part in page and part in mark


@pytest.mark.parametrize("names", [("alexnet", "vgg11"), ("googlenet", "mobilenet_v2"), ("lenet5", "lenet5")])
def test_the_sizes_of_maps_hold_all_parameters_and_macs(names):
    for field in ("parameters", "MACs"):
        c = compare_nets(*map(zoo.build, names))
        for k, s in enumerate(c.summaries):
            parts = [line.values[k] for line in c.levels if line.name.startswith(field)]
            side = sum(row.params for row in s.leaves if row.side) if field == "parameters" else 0
            assert sum(parts) == (s.params - side if field == "parameters" else s.macs)


def test_a_tall_map_is_halved_as_often_as_the_same_one_lying():
    layers = [L.Conv(4, 3, padding=1), L.MaxPool(2), L.Conv(4, 3, padding=1), L.MaxPool(2), L.GlobalAvgPool()]
    tall, wide = summarise_net(Net((1, 32, 8), layers)), summarise_net(Net((1, 8, 32), layers))
    for s in (tall, wide):
        assert [count_halvings(s, row) for row in s.rows] == [0, 1, 1, 2, VECTOR_LEVEL]


@pytest.mark.parametrize("wrong", [{"groups": 2}, {"dilation": 2}])
def test_a_grouped_or_dilated_convolution_is_not_proposed_as_several_plain_ones(wrong):
    plain = Net((16, 20, 20), [L.Conv(8, 5), L.GlobalAvgPool(), L.Dense(3)])
    other = Net((16, 20, 20), [L.Conv(8, 5, **wrong), L.GlobalAvgPool(), L.Dense(3)])
    factored = [change for change in suggest_changes(plain) if "as two 3×3" in change.change]
    assert factored and not [change for change in suggest_changes(other) if "as two 3×3" in change.change]


def test_every_change_that_is_suggested_for_a_whole_net_saves_something():
    for name in ("lenet5", "vgg16", "resnet18"):
        assert all(max(change.saved[:2]) > 0 for change in suggest_changes(getattr(zoo, name)()))
