"""Nets, numbers and files without end: each is an error that says the bound, at once."""

from __future__ import annotations

import os
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

import striate
from striate import BatchNorm, Conv, Dense, Dropout, Flatten, MaxPool, Net, Parallel, ReLU, Sequence, SideHead
from striate.architecture.limits import FACTORED, LEVELS, MOST_LAYERS, NUMBER, WHAT_IF, cut_brief
from striate.architecture.net import Axis
from striate.architecture.text import from_json, parse, to_json
from striate.data.read.decode import decode_image
from striate.data.sources.load import load_dataset as load_data
from striate.errors import DataError, ModelError, NetError, RecipeError, RunError, ShapeError, StriateError
from striate.fitting.recipe import read_recipe
from striate.runs.folders import read_settings
from striate.summaries.draw import draw_net
from striate.summaries.summary import count_covered, count_widest, summarise_net
from striate.summaries.whatif import suggest_changes


def nested(levels: int, kind=Sequence):
    return reduce(lambda inner, _: kind(inner), range(levels), ReLU())


def data_of(levels: int) -> dict:
    inside = reduce(lambda inner, _: {"layer": "Sequence", "layers": [inner]}, range(levels), {"layer": "ReLU"})
    return {"input": [1, 8, 8], "layers": [inside]}


def text_of(levels: int) -> str:
    return f"Net(input=(1, 8, 8), layers=[{'Sequence(' * levels}ReLU(){')' * levels}])"


def json_of(levels: int) -> str:
    inside = '{"layer": "Sequence", "layers": [' * levels + '{"layer": "ReLU"}' + "]}" * levels
    return f'{{"input": [1, 8, 8], "layers": [{inside}]}}'


def test_a_net_of_the_most_levels_is_walked_written_drawn_and_read_back():
    net = Net((1, 8, 8), [nested(LEVELS - 1)])
    assert parse(repr(net)) == from_json(to_json(net)) == from_json(json_of(LEVELS - 1)) == net
    assert (
        len(summarise_net(net).rows) == LEVELS
        and str(summarise_net(net))
        and draw_net(net)
        and not suggest_changes(net)
    )


@pytest.mark.parametrize("levels", [LEVELS, LEVELS + 1, 900, 10_000])
@pytest.mark.parametrize(
    "made",
    [
        lambda n: Net((1, 8, 8), [nested(n)]),
        lambda n: Net((1, 8, 8), [nested(n, Parallel)]),
        lambda n: nested(n + 1, SideHead),
        lambda n: from_json(data_of(n)),
        lambda n: from_json(json_of(n)),
        lambda n: parse(text_of(n)),
    ],
)
def test_a_deeper_net_is_an_error_with_the_bound(made, levels):
    with pytest.raises(NetError, match=r"64 levels|nested parentheses"):
        made(levels)


@pytest.mark.parametrize("number", [NUMBER + 1, 10**9, 10**18, 10**4000, 10**5000], ids=lambda n: str(n.bit_length()))
def test_a_number_beyond_the_bound_is_an_error_with_it_in_every_field(number):
    for made in (
        lambda: Dense(number),
        lambda: Conv(4, number),
        lambda: Conv(4, (3, number)),
        lambda: Conv(4, 3, padding=number),
        lambda: Conv(4, 3, number),
        lambda: Conv(number, 3),
        lambda: MaxPool(number),
        lambda: Dropout(number),
        lambda: BatchNorm(eps=number),
        lambda: Net((1, 8, number), [ReLU()]),
        lambda: from_json({"input": [1, number, 8], "layers": []}),
    ):
        with pytest.raises(NetError) as e:
            made()
        assert "at most 1,000,000" in str(e.value) and len(str(e.value)) < 300
    with pytest.raises(NetError):
        Dense(-number)


def test_numbers_that_python_itself_will_not_read_are_errors():
    digits = "1" + "0" * 5000
    for made in (
        lambda: parse(f"Net(input=(1, 8, 8), layers=[Flatten(), Dense({digits})])"),
        lambda: from_json(f'{{"input": [1, 8, {digits}], "layers": []}}'),
    ):
        with pytest.raises(NetError, match="4300 digits"):
            made()


def test_maps_and_fields_that_grow_beyond_the_bounds_are_errors_at_their_layer():
    with pytest.raises(ShapeError, match=r"conv1: the map is too large\n.*\n  rule  at most 1,000,000"):
        Net((1, 8, 8), [Conv(1, 1, padding=NUMBER)])
    with pytest.raises(ShapeError, match="conv3: the receptive field is too large"):
        Net((1, 8, 8), [Conv(2, 1, NUMBER, padding="same")] * 5000)


def test_the_largest_input_has_its_account_at_once():
    found = summarise_net(Net((1, NUMBER, NUMBER), [Conv(2, 3), MaxPool(2), Flatten(), Dense(NUMBER)]))
    assert found.params > 10**17 and str(found)


@given(
    st.builds(Axis, st.integers(1, 20), st.integers(1, 12), st.integers(-30, 15)),
    st.integers(1, 40),
    st.integers(1, 15),
)
def test_what_a_map_sees_is_what_its_units_see_counted_one_by_one(axis, n, count):
    units = [set(range(axis.start + i * axis.jump, axis.start + i * axis.jump + axis.size)) for i in range(count)]
    inside = [unit & set(range(n)) for unit in units]
    assert count_widest(axis, n, count) == max(map(len, inside))
    assert count_covered(axis, n, count) == len(set().union(*inside))


def test_as_many_layers_as_a_net_may_have_are_walked_and_more_are_an_error():
    assert len(Net((1, 8, 8), [ReLU()] * MOST_LAYERS).steps) == MOST_LAYERS
    shared = reduce(lambda inner, _: Sequence(inner, inner), range(60), ReLU())
    for layers in ([ReLU()] * (MOST_LAYERS + 1), [Sequence(ReLU())] * (MOST_LAYERS // 2 + 1), [shared]):
        with pytest.raises(NetError, match=r"the net has too many layers\n  rule  at most 20,000"):
            Net((1, 8, 8), layers)


def test_a_net_of_many_layers_is_drawn_in_proportion():
    """Twice the layers in not much more than twice the steps of the drawing's own program."""
    import sys

    def steps(layers: int) -> int:
        net, count = (
            Net((2, 8, 8), [Sequence(Conv(2, 3 + 2 * (i % 2), padding="same"), ReLU()) for i in range(layers)]),
            0,
        )

        def tracer(frame, event, argument):
            nonlocal count
            count += 1
            return None

        summarise_net(net)
        sys.setprofile(tracer)
        try:
            draw_net(net)
        finally:
            sys.setprofile(None)
        return count

    assert steps(400) < 2.2 * steps(200)


def test_all_changes_are_computed_up_to_a_bound_and_a_huge_kernel_is_not_taken_apart():
    layers = [Conv(2, 3, padding="same"), ReLU()] * (WHAT_IF // 2 + 1)
    with pytest.raises(NetError, match="rule  at most 1,200"):
        suggest_changes(Net((2, 8, 8), layers))
    taken = [
        kernel
        for kernel in (61, FACTORED, 65, NUMBER - 1)
        if any("3×3" in w.change for w in suggest_changes(Net((1, 8, 8), [Conv(2, kernel, padding="same")])))
    ]
    assert taken == [61, FACTORED]


def test_a_value_is_shown_briefly():
    endless: list = []
    endless.append(endless)
    for value in (10**5000, [10**5000], "x" * 1000, endless, reduce(lambda a, _: [a], range(5000), 0)):
        assert len(cut_brief(value)) <= 60
    assert cut_brief((1, 2)) == "(1, 2)"


@pytest.mark.parametrize("name", ["a\x1b[31m", "two\nlines", "\u202e", "\ud800", 5, None])
def test_a_nets_name_is_printable(name):
    with pytest.raises(NetError, match="Net.name"):
        Net((1, 8, 8), [], name=name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
@pytest.mark.parametrize(
    "name, opened, error",
    [
        ("m.safetensors", striate.load, ModelError),
        ("m.onnx", striate.load, ModelError),
        ("n.json", lambda path: striate.summary(str(path)), NetError),
        ("m.safetensors", lambda path: striate.nets.resnet18(weights=path), StriateError),
        ("r.toml", read_recipe, RecipeError),
        ("t.csv", load_data, DataError),
        ("t.parquet", load_data, DataError),
        ("t.npz", load_data, DataError),
        ("t.tar", load_data, DataError),
        ("x.png", lambda path: decode_image(path, 3), DataError),
        ("recipe.json", lambda path: read_settings(path.parent), RunError),
    ],
)
def test_a_pipe_a_device_and_a_folder_are_errors_and_not_waited_for(tmp_path, name, opened, error):
    """Without the check, opening the pipe would wait for a writer: the test would never end."""
    os.mkfifo(tmp_path / name)
    with pytest.raises(error):
        opened(tmp_path / name)
    os.remove(tmp_path / name)
    os.symlink("/dev/zero", tmp_path / name)
    with pytest.raises(error):
        opened(tmp_path / name)
    os.remove(tmp_path / name)
    (tmp_path / name).mkdir()
    with pytest.raises(StriateError):
        opened(tmp_path / name)
