"""A loop of one's own around `fit`, or instead of it, from what `prepare_run` makes ready."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import striate
from striate import BatchNorm, Conv, Dense, Dropout, Flatten, Net, ReLU
from striate.errors import RecipeError, RunError
from striate.fitting.batches import standardise_batch
from striate.fitting.watch import Watch

NET = Net((1, 8, 8), [Conv(4, 3), BatchNorm(), ReLU(), Flatten(), Dropout(0.2), Dense(10)])
SETTINGS = {"epochs": 3, "batch": 100, "seed": 6, "augment": "shift", "ema": 0.9}


def rows(folder: Path) -> list[dict]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


def files_of(folder: Path) -> list:
    return [(folder / "model.safetensors").read_bytes(), rows(folder)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return striate.train("digits", NET, out=tmp_path_factory.mktemp("loop") / "whole", watch=Watch(), **SETTINGS).folder


def test_prepared_and_fitted_a_run_is_that_of_train_bit_for_bit(whole, tmp_path):
    run, train, valid = striate.prepare_run("digits", NET, out=tmp_path / "run", **SETTINGS)
    seen = [row.valid_acc for row in striate.fit(run, train, valid)]
    assert files_of(run.folder) == files_of(whole) and seen == [row["valid_acc"] for row in rows(whole)]
    assert striate.load(run.folder).predict(np.zeros((8, 8), np.uint8))
    settings = [json.loads((folder / "recipe.json").read_text()) for folder in (run.folder, whole)]
    assert settings[0] == settings[1]


def test_a_loop_that_leaves_is_gone_on_with_by_train_which_writes_the_report(whole, tmp_path):
    run, train, valid = striate.prepare_run("digits", NET, out=tmp_path / "run", **SETTINGS)
    for row in striate.fit(run, train, valid):
        if row.epoch == 1:
            break
    again, train, valid = striate.prepare_run("digits", out=tmp_path / "run", resume=True)
    assert [row.epoch for row in again.history] == [1]
    next(iter(striate.fit(again, train, valid)))
    done = striate.train("digits", out=tmp_path / "run", resume=True, watch=Watch())
    assert files_of(done.folder) == files_of(whole)
    assert (done.folder / "report.json").read_bytes() == (whole / "report.json").read_bytes()


def test_a_run_that_is_prepared_and_left_can_be_resumed_from_nothing(whole, tmp_path):
    striate.prepare_run("digits", NET, out=tmp_path / "run", **SETTINGS)
    done = striate.train("digits", out=tmp_path / "run", resume=True, watch=Watch())
    assert files_of(done.folder) == files_of(whole)


def test_a_loop_instead_of_fit_takes_its_batches_from_the_feeds(tmp_path):
    """Plain torch over the run's own network: it learns, and each image comes once an epoch."""
    run, train, valid = striate.prepare_run("digits", NET, out=tmp_path / "run", batch=50)
    optimizer, seen = torch.optim.Adam(run.network.parameters(), lr=0.01), []
    for epoch in range(3):
        for chosen in train.order(50, seed=0, epoch=epoch):
            x, y = train.pick(chosen)
            loss = F.cross_entropy(run.network(standardise_batch(x, train.mean, train.std)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen.append(chosen)
    assert torch.cat(seen[: len(seen) // 3]).sort().values.tolist() == list(range(len(train)))
    run.network.eval()
    x, y = valid.pick(torch.arange(len(valid)))
    right = (run.network(standardise_batch(x, valid.mean, valid.std)).argmax(1) == y).float().mean()
    assert right > 0.85


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"devices": 2}, "this has no meaning in a loop of your own"),
        ({"log": "tensorboard"}, "this has no meaning in a loop of your own"),
        ({"folds": 3}, "this has no meaning in a loop of your own"),
        ({"preset": "transfer"}, "transfer fits a head to kept features, in no loop of steps"),
        ({"loss": 3}, "this is no function"),
    ],
)
def test_what_a_loop_of_ones_own_cannot_have_is_refused(given, what, tmp_path):
    with pytest.raises(RecipeError) as e:
        striate.prepare_run("digits", NET, **{"out": tmp_path / "run"} | given)
    assert e.value.what == what and not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_refused(whole):
    with pytest.raises(RunError, match="holds a run already"):
        striate.prepare_run("digits", NET, out=whole)
