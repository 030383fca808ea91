"""The lines of a training on stderr."""

from __future__ import annotations

import re

import pytest

from striate.fitting.run import Epoch
from striate.fitting.watch import TerminalWatch, format_clock


@pytest.fixture
def watch(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    made = TerminalWatch()
    yield made
    made.close()


def test_a_long_line_of_the_plan_is_one_line_in_a_narrow_terminal(watch, capsys):
    lines = ["net " + "conv " * 30 + "end", "[bold]no markup[/bold]"]
    watch.plan(lines)
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize("best", [True, False])
@pytest.mark.parametrize("epoch", [1, 9, 10])
def test_an_epoch_is_one_line_and_all_but_the_last_say_what_is_left(watch, capsys, epoch, best):
    watch.epoch(Epoch(epoch, 0.51236, 0.8125, 0.25, 0.75, 2.0), 10, best)
    [line] = capsys.readouterr().err.splitlines()
    losses, mark = r"loss 0\.5124  accuracy 81\.25%  validation 0\.2500  75\.00%", r"( \*|  )"
    assert re.fullmatch(rf"epoch {epoch:>2}/10  {losses}{mark}  2\.0 s(, \d+ s left)?", line)
    assert ("*" in line) == best and ("left" in line) == (epoch < 10)


@pytest.mark.parametrize(
    "seconds, text",
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (61, "1 min 1 s"), (3599.4, "59 min 59 s"), (3600, "1 h 0 min"),
     (3661, "1 h 1 min"), (7199, "1 h 59 min")],
)  # fmt: skip
def test_a_time_is_as_people_say_it(seconds, text):
    assert format_clock(seconds) == text


def test_the_time_left_of_an_epoch_is_that_of_its_steps_so_far(monkeypatch):
    """10 of 40 steps in 20 s: 30 steps more at 2 s each are a minute."""
    heard: list[str] = []
    watch = TerminalWatch()
    monkeypatch.setattr(watch, "show", lambda what, done, total, text: heard.append(text))
    clock = [100.0]
    monkeypatch.setattr("striate.fitting.watch.time.perf_counter", lambda: clock[0])
    watch.began = clock[0]
    clock[0] += 20
    watch.step(10, 40, 1.0, 0.5, 320)
    assert heard == ["16 images/s · loss 1.000 · accuracy 50.0% · 1 min 0 s left in this epoch"]
    watch.close()
