"""Freezing, rates of layers and early stopping: what stays does so bit for bit, what moves moves as told."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import striate
from striate import BatchNorm, Conv, Dense, Flatten, MaxPool, Net, ReLU, Sequence
from striate.cli import app
from striate.data.images import Images
from striate.engines.model_file import Preprocess
from striate.errors import RecipeError, RunError
from striate.fitting.batches import Feed
from striate.fitting.checkpoint import Task
from striate.fitting.layer_patterns import layer_of, matches_layer
from striate.fitting.loop import fit
from striate.fitting.recipe import Recipe
from striate.fitting.run import Run
from striate.fitting.watch import TerminalWatch, Watch
from striate.optimizers import OPTIMIZERS

from .random_nets import nets

STAGES = Net(
    (1, 8, 8),
    [
        Sequence(Conv(6, 3), BatchNorm(), ReLU(), name="stage1"),
        Sequence(Conv(6, 3), BatchNorm(), ReLU(), MaxPool(2), name="stage2"),
        Flatten(),
        Dense(3, name="head"),
    ],
)


def run_of(net: Net, folder: Path, **recipe) -> tuple[Run, Feed, Feed]:
    c, h, w = net.input
    pre = Preprocess((h, w), "pad", (0.4,) * c, (0.3,) * c)
    names = tuple(f"class {k}" for k in range(net.classes))
    feeds = []
    for seed, count in ((0, 40), (1, 20)):
        draw = np.random.default_rng(seed)
        y = np.arange(count) % net.classes
        x = draw.integers(0, 200, (count, h, w, c), dtype=np.uint8) + (20 * y[:, None, None, None]).astype(np.uint8)
        feeds.append(Feed(Images(x, y, names, ("",) * count), pre.mean, pre.std))
    run = Run.start(folder, Task(net, Recipe(**{"augment": "none", "batch": 8} | recipe), names, pre, "fp", "0"))
    return run, *feeds


@settings(max_examples=40, deadline=None)
@given(
    net=nets(),
    chosen=st.sets(st.integers(0, 6)),
    recipe=st.sampled_from(
        [{"optimizer": "adamw"}, {"optimizer": "muon", "lookahead": 2}, {"optimizer": "momentum", "ema": 0.9}]
    ),
)
def test_frozen_layers_are_the_same_bits_afterwards_in_any_net(net, chosen, recipe, tmp_path_factory):
    layers = list(dict.fromkeys(map(layer_of, net.tensors)))
    frozen = [layer for place, layer in enumerate(layers) if place in chosen]
    trained = {name for name, spec in net.tensors.items() if spec.trainable and layer_of(name) not in frozen}
    if not trained:
        return
    folder = tmp_path_factory.mktemp("frozen")
    run, train, valid = run_of(net, folder, epochs=1, lr=0.002, freeze=",".join(frozen), weight_decay=0.1, **recipe)
    before = {name: value.clone() for name, value in run.network.state_dict().items()}
    list(fit(run, train, valid))
    for name, value in before.items():
        same = torch.equal(run.network.state_dict()[name], value)
        assert same or layer_of(name) not in frozen, name
        if run.average is not None and layer_of(name) in frozen:
            assert torch.equal(run.average.state_dict()[name], value), name
    assert any(not torch.equal(run.network.state_dict()[name], before[name]) for name in trained)


def test_a_frozen_norm_normalises_by_its_statistics_and_the_others_by_the_batch(tmp_path):
    run, *_ = run_of(STAGES, tmp_path, freeze="stage1")
    run.set_training()
    training = {name: module.training for name, module in run.network.named_modules()}
    assert (training["stage1.bn1"], training["stage2.bn1"], training["stage1"]) == (False, True, True)


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS])
def test_a_layer_at_half_the_rate_goes_half_the_way(optimizer, tmp_path):
    """One step: each optimizer's is proportional to its rate."""
    steps = {}
    for rates in ("", "stage1=4, stage1.conv1=0.5, head=2"):
        run, train, valid = run_of(
            *(STAGES, tmp_path / (rates or "all")[:4]), epochs=1, batch=40, rates=rates, optimizer=optimizer,
            lr=0.01, schedule="constant", warmup=0.0, weight_decay=0.0,
        )  # fmt: skip
        before = {name: weight.detach().clone().double() for name, weight in run.network.named_parameters()}
        list(fit(run, train, valid))
        steps[rates] = {
            name: weight.detach().double() - before[name] for name, weight in run.network.named_parameters()
        }
    told = steps.pop("stage1=4, stage1.conv1=0.5, head=2")
    for name, step in steps[""].items():
        factor = 0.5 if name.startswith("stage1.conv1") else 4 if name.startswith("stage1") else 1
        factor = 2 if name.startswith("head") else factor
        torch.testing.assert_close(told[name], factor * step, rtol=2e-3, atol=2e-7, msg=name)


def test_a_recipe_without_these_settings_hands_the_optimizer_the_groups_that_it_always_did(tmp_path):
    run, *_ = run_of(STAGES, tmp_path)
    weights = [[tuple(weight.shape) for weight in group["params"]] for group in run.optimizer.param_groups]
    spec = {name: tensor.shape for name, tensor in STAGES.tensors.items() if tensor.trainable}
    assert weights == [[s for s in spec.values() if len(s) > 1], [s for s in spec.values() if len(s) <= 1]]
    assert run.peaks == (run.recipe.peak, run.recipe.peak)


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "nesterov"])
def test_the_trace_of_an_update_goes_by_the_layers_own_rate(optimizer, tmp_path):
    """`checked_by` is there where torch's own step, with the run's groups and state, is the trace's."""
    net = Net((1, 8, 8), [Conv(4, 3), ReLU(), Flatten(), Dense(10)])
    run = striate.train(
        "digits", net, out=tmp_path / "run", epochs=1, rates="dense1=0.1", optimizer=optimizer, watch=Watch(), lr=0.01
    )
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    for path in ("conv1", "dense1"):
        index = (0, 0, 0, 0) if path == "conv1" else (0, 0)
        found = striate.trace_update(run.folder, image, path, *index, label="3")
        assert found.checked_by.startswith("torch")
    run = striate.train("digits", STAGED, out=tmp_path / "frozen", epochs=1, freeze="bn1", watch=Watch())
    with pytest.raises(RunError, match="freezes BatchNorm's statistics"):
        striate.trace_update(run.folder, image, "conv1", 0, 0, 0, 0, label="3")
    run = striate.train("digits", STAGED, out=tmp_path / "still", epochs=1, freeze="conv1", watch=Watch())
    with pytest.raises(RunError, match="the recipe freezes this layer and keeps it"):
        striate.trace_update(run.folder, image, "conv1", 0, 0, 0, 0, label="3")


STAGED = Net((1, 8, 8), [Conv(4, 3), BatchNorm(), ReLU(), Flatten(), Dense(10)])


@settings(max_examples=4, deadline=None)
@given(patience=st.integers(1, 4), lr=st.sampled_from([0.3, 0.1, 0.02]), seed=st.integers(0, 3))
def test_patience_ends_a_run_where_no_better_epoch_came(patience, lr, seed, tmp_path_factory):
    """By hand on the rows of the whole run, which a constant rate makes the same up to there."""
    folder = tmp_path_factory.mktemp("patience")
    same = {"epochs": 8, "lr": lr, "seed": seed, "schedule": "constant", "warmup": 0.0, "optimizer": "sgd"}
    run, train, valid = run_of(STAGES, folder / "whole", **same)
    rows = [(row.valid_acc, -row.valid_loss) for row in fit(run, train, valid)]
    best, ends = 0, len(rows)
    for epoch in range(len(rows)):
        best = epoch if rows[epoch] > rows[best] else best
        if epoch - best == patience:
            ends = epoch + 1
            break
    early, *_ = run_of(STAGES, folder / "early", patience=patience, **same)
    assert [(row.valid_acc, -row.valid_loss) for row in fit(early, train, valid)] == rows[:ends]
    assert early.done
    # Stopped at every epoch's end, it ends at the same one.
    again, *_ = run_of(STAGES, folder / "again", patience=patience, **same)
    while not again.done:
        list(islice(fit(again, train, valid), 1))
        again = Run.resume(folder / "again", again.task)
    assert len(again.history) == ends
    for name, value in early.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value)


def test_the_command_takes_them_and_says_what_they_do(tmp_path):
    net = tmp_path / "net.txt"
    net.write_text(repr(STAGED))
    words = ["train", "digits", "--net", str(net), "--out", str(tmp_path / "run"), "--epochs", "40", "--lr", "0.3"]
    words += ["--freeze", "conv1, bn*", "--rates", "dense*=0.5", "--patience", "2", "--optimizer", "sgd"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stderr.split())
    assert "frozen: conv1, bn* (48 of 1,498 parameters)" in said  # 4·9 + 4 and 2·4 of them, and 4·36·10 + 10
    assert "learning rates of layers: dense*=0.5" in said
    assert "early stopping after 2 epochs without a better one" in said
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    best = max(rows, key=lambda row: (row["valid_acc"], -row["valid_loss"], -row["epoch"]))
    assert len(rows) == best["epoch"] + 2 < 40
    assert (
        f"ended early after {len(rows)} epochs of 40: 2 epochs without a better one than epoch {best['epoch']}" in said
    )
    again = CliRunner().invoke(app, ["train", "digits", "--out", str(tmp_path / "run"), "--resume"])
    assert again.exit_code == 0 and len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == len(rows)
    from striate.studio.runs import RunFolder

    assert RunFolder(tmp_path / "run").done


def test_what_a_callback_ended_is_said_too(tmp_path, capsys):
    stop = striate.Callback(epoch=lambda run, row: True)
    striate.train("digits", STAGED, out=tmp_path / "run", epochs=3, callbacks=[stop], watch=TerminalWatch())
    assert "ended by a callback after 1 epoch of 3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "what", "rule", "hint"),
    [
        ({"freeze": "conv2"}, "no layer with weights is called 'conv2'", "net has conv1, bn1, dense1", "conv1"),
        (
            {"freeze": "relu1"},
            "no layer with weights is called 'relu1'",
            "net has conv1, bn1, dense1",
            "freeze='conv1'",
        ),
        ({"rates": "stage*=2"}, "no layer with weights is called 'stage*'", "net has conv1, bn1, dense1", "conv1=0.1"),
        ({"freeze": "*"}, "every layer is frozen, so there is nothing to train", None, None),
        ({"rates": "conv1"}, "this is not a rate for layers", "layer=factor with a factor above 0", "conv1=0.1"),
        ({"rates": "conv1=0"}, "this is not a rate for layers", "layer=factor with a factor above 0", "conv1=0.1"),
        ({"rates": "conv1=x"}, "this is not a rate for layers", "layer=factor with a factor above 0", "conv1=0.1"),
        ({"patience": -1}, "patience must be at least 0", None, None),
    ],
)
def test_what_names_nothing_is_refused_before_anything_is_written(given, what, rule, hint, tmp_path):
    with pytest.raises(RecipeError) as e:
        striate.train("digits", STAGED, out=tmp_path / "run", watch=Watch(), **given)
    assert e.value.what == what and (rule or "") in (e.value.rule or "") and (hint or "") in (e.value.hint or "")
    assert not (tmp_path / "run").exists()


def test_the_hints_work(tmp_path):
    for k, told in enumerate(({"freeze": "conv1"}, {"rates": "conv1=0.1"})):
        striate.train("digits", STAGED, out=tmp_path / str(k), epochs=1, watch=Watch(), **told)


@given(st.lists(st.sampled_from(["stage1", "a", "conv1", "0"]), min_size=1, max_size=4))
def test_a_layer_is_named_by_its_path_by_what_contains_it_and_by_patterns(parts):
    path = ".".join(parts)
    assert all(matches_layer(path, ".".join(parts[: k + 1])) for k in range(len(parts)))
    assert matches_layer(path, "*") and matches_layer(path, parts[0] + "*") and not matches_layer(path, path + ".x")
