"""The account of a net against torch: its FLOP counter, its parameters, gradients that reach the input."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from striate import nets as zoo
from striate.architecture import layers as L
from striate.architecture.layers import Container
from striate.architecture.net import Net
from striate.errors import NetError
from striate.summaries.summary import Axis, count_covered, count_widest, summarise_net

from .random_nets import Pen, nets

torch = pytest.importorskip("torch")

WINDOWS = {"Conv", "MaxPool", "AvgPool", "ReLU", "Identity", "BatchNorm", "Parallel", "Sequence", "PadChannels"}


@pytest.mark.parametrize(
    "channels, params, macs, conv1",
    [(1, 61_706, 416_520, "(5·5·1 + 1)·6 = 156"), (3, 62_006, 651_720, "(5·5·3 + 1)·6 = 456")],
)
def test_lenet5_has_the_published_numbers(channels, params, macs, conv1):
    """The modern all-to-all LeNet-5 on gray and on colour images, as counted by hand and by torch's FLOP counter."""
    s = summarise_net(zoo.lenet5(input=(channels, 32, 32)))
    assert (s.params, s.macs, s.buffers) == (params, macs, 0)
    assert s.row("conv1").params_rule == conv1
    assert s.row("conv1").size_rule == "(32 + 2·0 − 5)/1 + 1 = 28"


def test_lenet5_keeps_its_parameters_in_the_classifier_and_its_work_in_the_features():
    """conv1 and conv2 have (25 + 1)·6 + (25·6 + 1)·16 parameters, the dense layers all the others."""
    features, classifier = summarise_net(zoo.lenet5()).parts
    assert features.params == 26 * 6 + 151 * 16
    assert classifier.params == 401 * 120 + 121 * 84 + 85 * 10
    assert features.macs == 25 * 6 * 28 * 28 + 25 * 6 * 16 * 10 * 10
    assert classifier.macs == 400 * 120 + 120 * 84 + 84 * 10
    assert features.params_share + classifier.params_share == pytest.approx(1)
    assert classifier.params_share == pytest.approx(59134 / 61706)


@settings(deadline=None, max_examples=60)
@given(nets(random=True))
def test_parameters_buffers_macs_and_shapes_are_those_of_the_torch_network(net):
    from torch.utils.flop_counter import FlopCounterMode

    from striate.engines.torch import build_network

    s, network = summarise_net(net), build_network(net)
    assert s.params == sum(p.numel() for p in network.parameters())
    assert s.buffers == sum(b.numel() for b in network.state_dict().values()) - s.params
    with torch.no_grad(), FlopCounterMode(display=False) as flops:
        maps = network.eval().maps(torch.zeros(1, *net.input))
    assert flops.get_total_flops() == 2 * s.macs
    assert {r.path: r.y for r in s.rows if not r.side} == {path: tuple(y.shape[1:]) for path, y in maps.items()}
    side = sum(row.macs for row in s.leaves if row.side)
    with FlopCounterMode(display=False) as flops:
        network.train()(torch.zeros(2, *net.input))
    assert flops.get_total_flops() == 4 * (s.macs + side)


@settings(deadline=None, max_examples=60)
@given(nets())
def test_a_container_has_the_sums_of_what_it_holds(net):
    rows = summarise_net(net).rows
    for i, row in enumerate(rows):
        if isinstance(row.layer, Container):
            held = [h for h in rows[i + 1 : i + 1 + row.inside] if not isinstance(h.layer, Container)]
            assert row.params == sum(h.params for h in held)
            assert row.buffers == sum(h.buffers for h in held)
            assert row.macs == sum(h.macs for h in held if h.side == row.side or isinstance(row.layer, L.SideHead))


def test_a_stage_leaves_out_the_macs_of_the_side_head_in_it_and_the_head_has_them():
    head = L.SideHead(L.GlobalAvgPool(), L.Dense(3), name="aux")
    s = summarise_net(Net((2, 6, 6), [L.Sequence(L.Conv(4, 3), head, name="stage"), L.Flatten(), L.Dense(3)]))
    assert (s.row("stage").macs, s.row("stage.aux").macs) == (9 * 2 * 4 * 16, 4 * 3)
    assert s.row("stage").params == (9 * 2 + 1) * 4 + (4 + 1) * 3
    assert s.macs == 9 * 2 * 4 * 16 + 64 * 3


class SumPool(torch.nn.Module):
    """A pooling that adds what lies in its window, so that a gradient reaches all of it."""

    def __init__(self, pool) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x):
        x = torch.nn.functional.pad(x, self.pool.around)
        ones = torch.ones(x.shape[1], 1, *self.pool.kernel, dtype=x.dtype)
        return torch.nn.functional.conv2d(x, ones, None, self.pool.stride, 0, self.pool.dilation, x.shape[1])


def rows_and_columns_read(net: Net, path: str, unit: tuple[int, int]) -> list[list[int]]:
    """The rows and the columns of the input with a gradient from `unit` of the map at `path`, all weights 1."""
    from striate.engines.torch import build_network
    from striate.engines.torch_layers import MaxPoolModule

    network = build_network(net).double().eval()
    for name, module in list(network.named_modules()):
        if isinstance(module, MaxPoolModule):
            network.set_submodule(name, SumPool(module))
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.fill_(0.0 if "mean" in name or "bias" in name else 1.0)
    x = torch.ones(1, *net.input, dtype=torch.float64, requires_grad=True)
    network.maps(x)[path][0, :, unit[0], unit[1]].sum().backward()
    touched = x.grad[0].abs().sum(0) > 0
    return [touched.any(1 - axis).nonzero().flatten().tolist() for axis in (0, 1)]


@settings(deadline=None, max_examples=100)
@given(nets(kinds=WINDOWS, layers=4), st.data())
def test_the_receptive_field_and_its_start_are_those_that_gradients_measure(net, data):
    """From its first pixel to its last where it lies within the image; cut by the edge, the gradient stays within."""
    row = data.draw(st.sampled_from([r for r in summarise_net(net).rows if len(r.y) == 3 and r.field] or [None]))
    assume(row is not None)
    unit = tuple(data.draw(st.integers(0, n - 1)) for n in row.y[1:])
    read = rows_and_columns_read(net, row.path, unit)
    spans = [(a.start + k * a.jump, a.start + k * a.jump + a.size - 1) for a, k in zip(row.field, unit, strict=True)]
    whole = all(0 <= first and last < n for (first, last), n in zip(spans, net.input[1:], strict=True))
    for (first, last), n, touched in zip(spans, net.input[1:], read, strict=True):
        if whole:
            assert (touched[0], touched[-1]) == (first, last)
        elif touched:
            # A window whose taps lie in the padding on one axis reads nothing on the other either.
            assert max(0, first) <= touched[0] and touched[-1] <= min(n - 1, last)


def test_the_field_of_joined_branches_reaches_from_the_first_pixel_of_any_to_the_last_of_any():
    """One branch reads two rows up and a column left, the other two rows down: five rows and two columns."""
    up, down = L.Conv(2, (3, 2), padding=(2, 0, 1, 0)), L.Conv(2, (3, 1), padding=(0, 2, 0, 0))
    net = Net((1, 9, 9), [L.Parallel(up, down, join="add", name="both")])
    assert [(a.start, a.size) for a in summarise_net(net).row("both").field] == [(-2, 5), (-1, 2)]
    assert rows_and_columns_read(net, "both", (4, 4)) == [[2, 3, 4, 5, 6], [3, 4]]


@pytest.mark.parametrize("unit", [(0, 0), (2, 3), (4, 4)])
def test_a_unit_of_the_last_map_of_lenet5_reads_16_by_16_pixels_4_apart(unit):
    net = zoo.lenet5(pool="avg")
    field = summarise_net(net).row("pool2").field
    assert field == ((16, 4, 0), (16, 4, 0))
    rows, columns = rows_and_columns_read(net, "pool2", unit)
    assert rows == [*range(4 * unit[0], 4 * unit[0] + 16)]
    assert columns == [*range(4 * unit[1], 4 * unit[1] + 16)]


@st.composite
def windows(draw):
    pen = Pen(draw, frozenset(["Conv", "AvgPool"]), False)
    x = (1, pen.whole(1, 14), pen.whole(1, 14))
    layer = pen.windowed(pen.one(["Conv", "AvgPool"]), x, pen.geometry(x))
    # Between the taps of a dilated kernel lie pixels that its window covers and does not read.
    return x, replace(layer, filters=1, groups=1, dilation=1) if isinstance(layer, L.Conv) else layer


@settings(deadline=None, max_examples=150)
@given(windows())
def test_the_unread_pixels_are_those_at_the_edge_without_a_gradient(drawn):
    x, layer = drawn
    net = Net(x, [layer])
    row = summarise_net(net).rows[0]
    every = [rows_and_columns_read(net, row.path, (i, j)) for i in range(row.y[1]) for j in range(row.y[2])]
    for axis in (0, 1):
        last = max((touched for read in every for touched in read[axis]), default=None)
        assume(last is not None)
        assert row.unread[axis] == x[1 + axis] - 1 - last


@settings(deadline=None, max_examples=40)
@given(nets(kinds={"Conv", "AvgPool", "ReLU"}, layers=3, max_side=9))
def test_the_share_of_the_image_that_the_last_map_sees_covers_every_pixel_with_a_gradient(net):
    s = summarise_net(net)
    row = s.last_map
    assume(row is not None and row.depth == 0 and row.path not in ("gap1",))
    seen = set()
    for i in range(row.y[1]):
        for j in range(row.y[2]):
            rows, columns = rows_and_columns_read(net, row.path, (i, j))
            seen |= {(a, b) for a in rows for b in columns}
            assert all(len(r) <= unit for r, unit in zip((rows, columns), s.view.unit, strict=True))
    assert len(seen) <= round(s.view.share * net.input[1] * net.input[2])


@given(st.builds(Axis, st.integers(1, 9), st.integers(1, 5), st.integers(-8, 8)), st.integers(1, 12), st.integers(1, 6))
def test_the_widest_field_and_what_all_cover_are_those_of_counting_pixel_by_pixel(axis, n, count):
    fields = [
        {p for p in range(axis.start + i * axis.jump, axis.start + i * axis.jump + axis.size) if 0 <= p < n}
        for i in range(count)
    ]
    assert count_widest(axis, n, count) == max(map(len, fields))
    assert count_covered(axis, n, count) == len(set().union(*fields))


def test_two_poolings_of_3_by_3_leave_the_last_pixels_of_an_8_by_8_image_unseen():
    """8 → 2 positions of 3, so rows 6 and 7 are unread; together the units see 6·6 of 64 pixels."""
    s = summarise_net(Net((1, 8, 8), [L.MaxPool(3), L.Flatten(), L.Dense(2)]))
    assert s.rows[0].unread == (2, 2)
    assert s.view.share == 36 / 64
    assert dict(s.notes)["unread"] == "pool1 leaves 2 rows at the bottom and 2 columns at the right"


@settings(deadline=None, max_examples=60)
@given(nets())
def test_a_rows_name_is_what_the_container_around_it_calls_the_layer(net):
    """torch's own modules lie the same way: the parent's child of that name is the module of the whole path."""
    from striate.engines.torch import build_network

    network = build_network(net)
    for row in summarise_net(net).rows:
        around = row.path[: len(row.path) - len(row.name)].removesuffix(".")
        assert "." not in row.name and row.name
        assert summarise_net(net).row(around).depth == row.depth - 1 if around else row.depth == 0
        holder = network.at(around) if around else network
        assert network.at(row.path) is dict(holder.named_children())[row.name]


def test_the_totals_are_the_parts_and_the_whole_where_there_is_more_than_one_part():
    features, classifier, total = summarise_net(zoo.lenet5()).totals
    assert (features.name, classifier.name, total.name) == ("feature extraction", "classifier", "total")
    assert features.params + classifier.params == total.params and features.macs + classifier.macs == total.macs
    [total] = summarise_net(Net((1, 8, 8), [L.Conv(3, 3)])).totals
    assert (total.name, total.params) == ("total", 30)


def test_a_path_that_is_not_there_gets_the_nearest_name():
    with pytest.raises(NetError, match="did you mean 'conv1'"):
        summarise_net(zoo.lenet5()).row("conv_1")


def test_a_summary_of_five_hundred_layers_takes_under_ten_milliseconds():
    block = [L.Conv(64, 1), L.BatchNorm(), L.ReLU(), L.Conv(64, 3, padding=1), L.BatchNorm(), L.ReLU(), L.Conv(256, 1)]
    stem = L.Conv(256, 1)
    blocks = [L.Parallel([*block], L.Identity(), join="add") for _ in range(50)]
    net = Net((3, 56, 56), [stem, *blocks, L.GlobalAvgPool(), L.Dense(10)])
    took = []
    for _ in range(5):
        began = time.process_time()
        summarise_net(net)
        took.append(time.process_time() - began)
    assert min(took) < 0.010
