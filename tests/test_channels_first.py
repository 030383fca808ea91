"""The order of an image's axes: one given the other way round is named, and nothing else is taken for it."""

from __future__ import annotations

import pytest

import striate
from striate.errors import NetError, StriateError
from striate.summaries.whatif import suggest_changes


@pytest.mark.parametrize("shape", [(28, 28, 1), (32, 32, 3), (224, 224, 3), (480, 640, 3), (64, 48, 4)])
def test_a_net_says_that_channels_come_first(shape):
    h, w, c = shape
    for make in (
        lambda: striate.Net(shape, [striate.Conv(4, 3), striate.Flatten(), striate.Dense(10)]),
        lambda: striate.summary("resnet18", shape),
        lambda: striate.nets.lenet5(input=shape),
    ):
        with pytest.raises(StriateError) as caught:
            make()
        assert caught.value.what == "channels come first here"
        assert caught.value.hint == f"did you mean {c}×{h}×{w}? An image of {h} channels can be given as {h}×{c}×{w}"
    striate.Net((c, h, w), [striate.Conv(4, 3)])
    striate.Net((h, c, w), [striate.Conv(4, 1)])


@pytest.mark.parametrize(
    "shape", [(3, 3, 3), (1, 28, 28), (4, 4, 1), (3, 64, 1), (12, 1000, 1), (64, 9, 1), (8, 12, 3)]
)
def test_an_input_that_may_have_its_channels_first_is_taken_so(shape):
    assert striate.Net(shape, [striate.Conv(4, 1)]).output == (4, *shape[1:])


def test_a_map_within_a_net_may_look_like_an_image_with_its_channels_last():
    net = striate.Net((3, 64, 6), [striate.Conv(64, 1, stride=(1, 2)), striate.Conv(64, 3, padding="same")])
    assert net.steps[0].y == (64, 64, 3)
    assert [w.path for w in suggest_changes(net)]


def test_a_batch_before_a_nets_input_is_named():
    with pytest.raises(NetError) as caught:
        striate.summary("lenet5", (1, 1, 32, 32))
    assert caught.value.hint == "(1, 32, 32), without the batch"


def test_the_command_line_says_it_too():
    from typer.testing import CliRunner

    from striate.cli import app

    found = CliRunner().invoke(app, ["summary", "resnet18", "--input", "224x224x3"])
    assert "did you mean 3×224×224?" in f"{found.output}{found.exception}"
    assert CliRunner().invoke(app, ["summary", "resnet18", "--input", "3x224x224"]).exit_code == 0
