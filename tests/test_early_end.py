"""An early end: decided by the rows of the epochs alone, gone to by a rate that falls to 0, told, and resumed alike."""

from __future__ import annotations

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import striate
from striate.fitting.early_end import EarlyEnd, count_epochs, decide_end, explain_early_end
from striate.fitting.loop import StopRequested, fit
from striate.fitting.run import Run
from striate.fitting.watch import TerminalWatch, Watch
from striate.language import use_language
from striate.runs.presets import DataFacts, choose_preset
from striate.studio.runs import RunFolder

from .test_layer_settings import STAGES, run_of
from .test_preset import FREE, arrows

ROWS = st.lists(
    st.fixed_dictionaries({"acc": st.floats(0, 1), "valid_acc": st.floats(0, 1), "valid_loss": st.floats(0, 9)}),
    max_size=12,
)


@given(rows=ROWS, share=st.floats(0.01, 1))
def test_images_are_known_by_heart_where_their_errors_are_such_a_share_of_those_not_seen(rows, share):
    wrong = np.array([[1 - row["acc"], 1 - row["valid_acc"]] for row in rows]).reshape(-1, 2)
    first = np.flatnonzero(wrong[:, 0] <= share * wrong[:, 1])
    found = decide_end(rows, 0, share)
    assert (found and found.after) == (first[0] + 1 if len(first) else None)
    assert decide_end([{"acc": 0.75, "valid_acc": 0.5, "valid_loss": 1.0}], 0, 0.5) is not None, (
        "at the share itself too"
    )


@given(rows=ROWS, patience=st.integers(0, 4), share=st.sampled_from([0.0, 0.1, 0.5]))
def test_what_was_decided_stays_whatever_comes_after(rows, patience, share):
    """So a resumed run, which has more rows, stands where the whole one stood."""
    ends = [decide_end(rows[: k + 1], patience, share) for k in range(len(rows))]
    decided = [end for end in ends if end is not None]
    assert all(end == decided[0] and end.after <= len(rows) for end in decided)
    assert decide_end(rows, 0, 0.0) is None


COOLED = {"epochs": 12, "lr": 0.02, "optimizer": "sgd", "warmup": 0.0, "patience": 1, "cooldown": 3}


@pytest.mark.parametrize("schedule", ["constant", "triangular"])
def test_the_rate_falls_in_a_straight_line_to_0_from_where_the_schedule_had_it(schedule, tmp_path):
    run, train, valid = run_of(STAGES, tmp_path / "run", schedule=schedule, **COOLED)
    rates: list[float] = []
    rows = list(fit(run, train, valid, tick=lambda *_: rates.append(run.optimizer.param_groups[0]["lr"])))
    assert run.early_end is not None and len(rows) == run.early_end.after + 3 < 12
    steps = len(rates) // len(rows)  # of an epoch
    began = run.early_end.after * steps
    before = 0.02 * (1.0 if schedule == "constant" else 1 - began / (12 * steps))
    np.testing.assert_allclose(rates[began:], np.linspace(before, 0, 3 * steps + 2)[1:-1], rtol=1e-6)
    whole = [0.02 if schedule == "constant" else 0.02 * (1 - k / (12 * steps)) for k in range(began)]
    np.testing.assert_allclose(rates[:began], whole, rtol=1e-6)


@pytest.mark.parametrize("selection", ["best", "last"])
def test_a_cooled_run_that_was_stopped_at_any_step_is_the_whole_one_bit_for_bit(selection, tmp_path):
    given = COOLED | {"optimizer": "muon", "lookahead": 2, "selection": selection, "augment": "shift"}
    whole, train, valid = run_of(STAGES, tmp_path / "whole", **given)
    rows = [replace(row, seconds=0.0) for row in fit(whole, train, valid)]
    again, *_ = run_of(STAGES, tmp_path / "again", **given)
    again.save()
    while not again.done:
        left = iter([False, False, True])
        try:
            list(fit(again, train, valid, stop=lambda: next(left)))  # noqa: B023  # consumed within this turn
        except StopRequested:
            pass
        again = Run.resume(tmp_path / "again", again.task)
    assert [replace(row, seconds=0.0) for row in again.history] == rows
    for name, value in whole.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value)
    kept = striate.load(tmp_path / "again").header.metrics["epoch"]
    scores = [(row.valid_acc, -row.valid_loss) for row in rows]
    assert kept == (len(rows) if selection == "last" else scores.index(max(scores)) + 1)
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


def test_a_preset_ends_early_by_itself_and_with_epochs_of_ones_own_trains_just_so_many(tmp_path, capsys):
    facts = DataFacts(600, (1, 12, 12), 2, FREE)
    assert (
        choose_preset("balanced", facts).settings["memorised"]
        > 0
        == choose_preset("balanced", facts, 9).settings["memorised"]
    )
    images = arrows(sides=False, n=120)
    told = TerminalWatch()
    run = striate.train((images.x, images.y), preset="fast", out=tmp_path / "run", watch=told)
    said, recipe = " ".join(capsys.readouterr().err.split()), run.recipe
    assert run.early_end is not None and len(run.history) == run.early_end.after + recipe.cooldown < recipe.epochs
    assert f"early stopping where training errors are {recipe.memorised:.0%} of the validation errors" in said
    assert "the training images are known by heart (" in said and "a cooldown begins" in said
    assert f"ended early after {len(run.history)} epochs of {recipe.epochs}: " in said
    assert "known by heart" in (tmp_path / "run" / "report.html").read_text()
    settings = json.loads((tmp_path / "run" / "recipe.json").read_text())["recipe"]
    assert (settings["memorised"], settings["cooldown"]) == (recipe.memorised, recipe.cooldown)
    assert RunFolder(tmp_path / "run").planned == len(run.history)
    exact = striate.train((images.x, images.y), preset="fast", epochs=11, out=tmp_path / "exact", watch=Watch())
    assert len(exact.history) == 11 and (exact.recipe.memorised, exact.recipe.cooldown) == (0.0, 0)


def test_why_it_ended_is_said_in_korean_too():
    rows = [{"acc": 0.99, "valid_acc": 0.8, "valid_loss": 0.5}] * 3
    recipe = {"epochs": 9, "memorised": 0.1, "cooldown": 2}
    assert (
        decide_end(rows, 0, 0.1) == EarlyEnd(1, known=(0.99, 0.8)) and count_epochs(decide_end(rows, 0, 0.1), 9, 2) == 3
    )
    with use_language("ko"):
        assert "다 외웠습니다" in (explain_early_end(rows, recipe) or "")
    assert explain_early_end(rows[:2], recipe) is None, "a callback ended it before its cooldown was over"


def test_a_recipe_of_before_there_was_a_cooldown_has_none():
    assert msgspec.convert({"patience": 2}, striate.Recipe).cooldown == 0
