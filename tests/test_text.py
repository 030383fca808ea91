"""The text form and the JSON form of a net."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate import Net, parse
from striate.architecture import zoo
from striate.architecture.editing import change_field, list_number_fields
from striate.architecture.find import find_net, find_usual_input
from striate.architecture.text import from_json, to_json
from striate.errors import NetError, StriateError
from tests.random_nets import nets


@settings(deadline=None, max_examples=60)
@given(nets())
def test_text_and_json_give_the_same_net_back(net):
    assert parse(repr(net)) == net
    assert from_json(json.dumps(to_json(net))) == net
    assert repr(parse(repr(net))) == repr(net)


@settings(deadline=None, max_examples=60)
@given(nets(), st.data())
def test_a_field_that_is_set_is_changed_in_its_own_layer_and_nothing_else_is(net, data):
    """To the value that it has, the net stays; to another, the records differ in that one field, or it is refused."""
    places = [(step.path, name) for step in net.steps for name in list_number_fields(step.layer)]
    if not places:
        return
    path, name = data.draw(st.sampled_from(places))
    value = getattr(net.at(path).layer, name)
    assert parse(change_field(repr(net), path, name, value)) == net
    other = value + 1 if isinstance(value, int) else value
    try:
        made = parse(change_field(f"  {net!r}", path, name, other))
    except StriateError:
        return
    assert made == replaced(net, path, name, other)


def replaced(net: Net, path: str, name: str, value: object) -> Net:
    """The net by its JSON form: the record at `path` found by the way through its containers."""
    data, holder = to_json(net), net.body
    items = data["layers"]
    for part in path.split("."):
        at = [child for child, _ in holder.named].index(part)
        found, holder = items[at], holder.named[at][1]
        items = found.get("layers", found.get("branches", []))
    found[name] = value
    return from_json(data)


def test_what_cannot_be_set_is_refused_and_the_rest_of_the_text_stays_to_the_letter():
    text = """Net((1, 9, 9), [  # mine
  Parallel([Conv(2, 3, name='é', padding='same')], Identity()), Flatten(), Dense(2)])"""
    wide = change_field(text, "parallel1.branch1.é", "filters", 12)
    assert wide == text.replace("Conv(2,", "Conv(12,")
    assert change_field(text, "dense1", "units", 3) == text.replace("Dense(2)", "Dense(3)")
    for path, field, value, said in (
        ("parallel1.branch1.é", "kernal", 3, "did you mean 'kernel'"),
        ("parallel1.branch1.é", "filters", 0, "filters"),
        ("conv9", "filters", 3, "conv9"),
        ("dense1", "units", "many", "units"),
    ):
        with pytest.raises(StriateError, match=said):
            change_field(text, path, field, value)


@settings(deadline=None, max_examples=30)
@given(nets())
def test_the_text_form_is_the_python_expression_itself(net):
    import striate.architecture.layers as layers

    names = {name: getattr(layers, name) for name in layers.LAYERS} | {"Net": Net}
    assert eval(repr(net), names) == net


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "Net(input=(1, 8, 8), layers=[Conv(4, kernal=3)])",
            "line 1: Conv has no field 'kernal'\n  hint  did you mean 'kernel'?",
        ),
        (
            "Net(input=(1, 8, 8),\n    layers=[Cnv(4, 3)])",
            "line 2: there is no layer 'Cnv'\n  hint  did you mean 'Conv'?",
        ),
        (
            "Net(input=(1, 8, 8), layers=[Conv(0, 3)])",
            "line 1, Conv.filters: filters must be a whole number of at least 1\n  got   0",
        ),
        ("Net(input=(1, 8, 8), layers=[ReLU])", "line 1: 'ReLU' is not a value here\n  got   ReLU\n  hint  ReLU()"),
        (
            "Net(input=(8, 8), layers=[])",
            "line 1, Net.input: input must be (channels, height, width)\n  got   (8, 8)\n  hint  (3, 224, 224)",
        ),
        (
            "Net(input=(1, 8, 8), layers=[Conv(4, 3, init='gloro_uniform')])",
            "line 1, Conv.init: init must name an initialisation\n  got   'gloro_uniform'\n"
            "  hint  did you mean 'glorot_uniform'?",
        ),
    ],
)
def test_a_wrong_text_is_refused_with_the_line_and_the_nearest_right_name(text, message):
    with pytest.raises(NetError) as e:
        parse(text)
    assert str(e.value) == message


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch owned')",
        "Net(input=(1, 8, 8), layers=[Conv(4, 3)].__class__)",
        "Net(input=(1, 8, 8), layers=[x for x in (1,)])",
        "(lambda: Net(input=(1, 8, 8), layers=[]))()",
        "Net(input=(1, 8, 8), layers=[Conv(4, open('owned', 'w'))])",
        "Net(**{'input': (1, 8, 8)})",
        "f'{1}'",
        "Conv(4, 3)",
        "",
        "Net(input=(1, 8, 8), layers=" + "[" * 3000 + "]" * 3000 + ")",
    ],
)
def test_reading_a_text_runs_nothing(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NetError):
        parse(text)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "data, place",
    [
        ({"layers": []}, "net"),
        ({"input": [1, 8, 8], "layers": [{"layer": "Conv", "filters": 4}]}, "layers[0]"),
        ({"input": [1, 8, 8], "layers": [{"layer": "Conv", "filters": 4, "kernel": 3, "pad": 1}]}, "layers[0]"),
        (
            {"input": [1, 8, 8], "layers": [{"layer": "Sequence", "layers": [{"layer": "Relu"}]}]},
            "layers[0].Sequence[0]",
        ),
        ({"input": [1, 8, 8], "layers": [], "extra": 1}, "net"),
        ({"input": "1x8x8", "layers": []}, "Net.input"),
    ],
)
def test_wrong_json_is_refused_with_its_place(data, place):
    with pytest.raises(NetError) as e:
        from_json(json.dumps(data))
    assert e.value.where == place


def test_a_zoo_net_is_found_by_its_name_and_made_for_the_data(tmp_path):
    assert find_net("lenet5") == zoo.build("lenet5")
    made = zoo.build("lenet5", classes=7, input=(3, 40, 40))
    assert find_net("lenet5", classes=7, input=(3, 40, 40)) == made
    (tmp_path / "net.json").write_text(json.dumps(to_json(made)))
    (tmp_path / "net.txt").write_text(repr(made))
    for spec in (made, repr(made), str(tmp_path / "net.json"), str(tmp_path / "net.txt")):
        assert find_net(spec) == find_net(spec, classes=7, input=(3, 40, 40)) == made
        assert find_net(spec, input=(3, 44, 44)).input == (3, 44, 44)
        with pytest.raises(NetError, match="the net has 7 classes, the data has 8") as caught:
            find_net(spec, classes=8)
        assert "Dense(8" in caught.value.hint


def test_the_usual_input_of_a_zoo_net_is_that_which_it_is_made_for():
    assert find_usual_input("lenet5") == zoo.build("lenet5").input == (1, 32, 32)
    assert find_usual_input("inception_v3") == (3, 299, 299)
    assert find_usual_input("no_net") is None
