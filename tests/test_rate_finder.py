"""The learning-rate finder: real steps of the recipe at rising rates, a rule that is stated, and no run touched."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

import striate
from striate import Conv, Dense, Flatten, Net, ReLU
from striate.cli import app
from striate.data.sources.load import load_dataset
from striate.engines.torch import build_network
from striate.errors import RecipeError, StriateError
from striate.fitting.batches import shuffle_batches
from striate.fitting.rate_finder import RateSweep, smooth_losses
from striate.fitting.watch import Watch
from striate.report.rate_plot import draw_rate_picture, draw_rate_svg

NET = Net((1, 8, 8), [Conv(4, 3), ReLU(), Flatten(), Dense(10)])
QUICK = {"watch": Watch(), "steps": 20, "augment": "none"}


def test_the_losses_are_those_of_plain_steps_at_the_rates_that_it_tells():
    """By hand: the same network, batches in the same order, and torch's SGD, one step a rate, over two epochs."""
    found = striate.find_lr("digits", NET, optimizer="sgd", weight_decay=0.0, batch=128, seed=3, lowest=1e-3, **QUICK)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-3, 1.0, 20))
    data = load_dataset("digits", seed=3).train
    x = torch.from_numpy(data.x).permute(0, 3, 1, 2).double() / 255
    x = (x - round(x.mean().item(), 6)) / round(x.std(correction=0).item(), 6)
    network, y = build_network(NET, 3), torch.from_numpy(data.y)
    order = [rows for epoch in range(2) for rows in shuffle_batches(len(y), 128, 3, epoch)]
    optimizer = torch.optim.SGD(network.parameters(), lr=1)
    for rate, loss, rows in zip(found.rates, found.losses, order, strict=False):
        optimizer.param_groups[0]["lr"] = rate
        mean = F.cross_entropy(network(x[rows].float()), y[rows])
        assert loss == pytest.approx(mean.item(), rel=1e-3)
        optimizer.zero_grad()
        mean.backward()
        optimizer.step()


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30))
def test_losses_are_smoothed_as_pandas_does_it(losses):
    expected = pandas.Series(losses).ewm(alpha=0.1, adjust=True).mean()
    np.testing.assert_allclose(smooth_losses(losses), expected, rtol=1e-9, atol=1e-9)


@given(st.lists(st.floats(0.01, 9), min_size=10, max_size=30))
def test_a_tenth_of_the_rate_of_the_lowest_smoothed_loss_is_suggested(losses):
    rates = tuple(np.geomspace(1e-5, 1, len(losses)).tolist())
    smoothed = smooth_losses(losses)
    found = RateSweep(rates, tuple(losses), tuple(smoothed), "sgd")
    [lowest] = [rate for rate, loss in zip(rates, smoothed, strict=True) if loss == min(smoothed)][:1]
    assert found.suggestion == pytest.approx(lowest / 10, rel=0.05)
    assert ("try a higher --highest" in str(found)) == (smoothed[-1] == min(smoothed) and lowest == rates[-1])


def test_it_ends_where_the_loss_is_four_times_the_lowest_or_not_finite():
    found = striate.find_lr("digits", NET, optimizer="sgd", lowest=0.1, highest=1e4, **QUICK | {"steps": 60})
    assert len(found.rates) < 60
    finite = np.isfinite(found.losses).all()
    assert finite and all(loss <= 4 * min(found.smoothed[: k + 1]) for k, loss in enumerate(found.smoothed[:-1]))
    told = {"highest": 1e30, "lowest": 1e25, "optimizer": "sgd"}
    assert len(striate.find_lr("digits", NET, **told, **QUICK).rates) < 4


def test_layers_keep_their_share_of_the_rate_and_frozen_ones_stay():
    """A tenth of the rate in all layers is the same sweep, ten times further."""
    plain = striate.find_lr("digits", NET, optimizer="sgd", weight_decay=0.0, **QUICK)
    same = striate.find_lr("digits", NET, optimizer="sgd", weight_decay=0.0, rates="*=0.1", **QUICK)
    assert same.losses == plain.losses
    half = striate.find_lr("digits", NET, optimizer="sgd", weight_decay=0.0, rates="dense1=0.001", **QUICK)
    assert half.losses != plain.losses


def test_functions_of_ones_own_are_those_of_the_sweep():
    def make(weights):
        return torch.optim.SGD(weights, lr=0.5)

    own = striate.find_lr("digits", NET, optimizer=make, loss=F.cross_entropy, **QUICK)
    ours = striate.find_lr("digits", NET, optimizer="sgd", weight_decay=0.0, **QUICK)
    np.testing.assert_allclose(own.losses, ours.losses, rtol=1e-4)
    assert own.optimizer.endswith("make")


def test_no_run_is_made_or_touched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = striate.train("digits", NET, out="mine", epochs=2, watch=Watch())
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    striate.find_lr("digits", weights="mine", **QUICK)
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    again = striate.train("digits", NET, out="again", epochs=2, watch=Watch())
    for name, value in run.model.tensors.items():
        np.testing.assert_array_equal(again.model.tensors[name], value)


def test_the_first_loss_is_that_of_the_weights_that_a_run_begins_with(tmp_path):
    run = striate.train("digits", NET, out=tmp_path / "run", epochs=8, lr=0.02, watch=Watch())
    fresh, trained = (striate.find_lr("digits", NET, weights=w, **QUICK).losses[0] for w in (None, run.folder))
    assert fresh > 2 and trained < 1


def test_the_pictures_show_the_losses_and_the_suggestion(tmp_path):
    rates = tuple(np.geomspace(1e-4, 1, 41).tolist())
    losses = tuple(2.0 - min(k, 30) / 20 + max(0, k - 30) for k in range(41))
    sweep = RateSweep(rates, losses, tuple(smooth_losses(losses)), "sgd")
    svg = ElementTree.fromstring(draw_rate_svg(sweep))
    space = {"s": "http://www.w3.org/2000/svg"}
    lines = svg.findall(".//s:polyline", space)
    assert [len(line.get("points").split()) for line in lines] == [41, 41]
    texts = [text.text for text in svg.findall(".//s:text", space)]
    assert {"1e-04", "1e-03", "1e-02", "1e-01", "1e+00", "learning rate", f"{sweep.suggestion:g}"} <= set(texts)
    [mark] = svg.findall(".//s:line[@class='best']", space)
    xs = [float(point.split(",")[0]) for point in lines[1].get("points").split()]
    share = (np.log10(sweep.suggestion) + 4) / 4
    assert float(mark.get("x1")) == pytest.approx(xs[0] + share * (xs[-1] - xs[0]), abs=0.02)
    picture = draw_rate_picture(sweep)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    blue = (picture == (34, 100, 180)).all(2)
    column = np.flatnonzero(blue.any(0))
    assert abs(column[0] - xs[0]) < 4 and abs(column[-1] - xs[-1]) < 4


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=10, max_size=20))
def test_any_sweep_can_be_drawn(losses):
    sweep = RateSweep(
        tuple(np.geomspace(1e-6, 1, len(losses)).tolist()), tuple(losses), tuple(smooth_losses(losses)), "sgd"
    )
    ElementTree.fromstring(draw_rate_svg(sweep))
    assert draw_rate_picture(sweep).size


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_the_command_prints_the_rate_and_draws_it(tmp_path, suffix):
    net, picture = tmp_path / "net.txt", tmp_path / f"rate{suffix}"
    net.write_text(repr(NET))
    words = ["find-lr", "digits", "--net", str(net), "--picture", str(picture), "--steps", "20"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    found = striate.find_lr("digits", NET, steps=20, watch=Watch())
    assert done.stdout == f"{found}\npicture        {picture}\n"
    if suffix == ".png":
        with Image.open(picture) as drawn:
            assert drawn.size[0] >= 440
    else:
        assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    as_json = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert as_json["suggestion"] == found.suggestion and len(as_json["points"]) == len(found.rates)
    striate.train("digits", NET, lr=found.suggestion, epochs=1, out=tmp_path / "run", watch=Watch())


@pytest.mark.parametrize(
    ("told", "what"),
    [
        ({"lr": 0.1}, "this has no meaning where the rate is to be found"),
        ({"resume": True}, "this has no meaning where the rate is to be found"),
        ({"preset": "transfer"}, "transfer fits a head to kept features, so there is no learning rate to find"),
        ({"steps": 3}, "too few to see where the loss turns"),
        ({"lowest": 2.0}, "this is no range of rates"),
        ({"picture": "rate.jpg"}, "the picture is an .svg or a .png"),
        ({"optimizer": lambda weights: NoRate(weights)}, "its groups have no learning rate to find"),
        ({"batch_size": 3}, "the batch size is called batch"),
    ],
)
def test_what_makes_no_sense_is_refused(told, what):
    with pytest.raises(StriateError) as e:
        striate.find_lr("digits", **{"net": NET} | QUICK | told)
    assert e.value.what == what


class NoRate(torch.optim.Optimizer):
    def __init__(self, weights):
        super().__init__(weights, {})


def test_the_hints_work():
    assert striate.find_lr("digits", NET, lowest=1e-6, **QUICK).rates[0] == pytest.approx(1e-6)
    with pytest.raises(RecipeError) as e:
        striate.find_lr("digits", NET, **QUICK | {"steps": 9})
    assert e.value.hint == "steps=100" and len(striate.find_lr("digits", NET, **QUICK | {"steps": 100}).rates) > 10
