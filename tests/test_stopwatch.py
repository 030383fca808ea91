"""Seconds go to the part under way, and of two parts one within the other to the inner one alone."""

from __future__ import annotations

import pytest

from striate.fitting import stopwatch
from striate.fitting.stopwatch import Spent, Stopwatch, format_spent


def test_the_time_of_an_inner_part_is_not_the_outer_ones(monkeypatch):
    clocks = iter([Spent(0, 0), Spent(1, 1), Spent(3, 4), Spent(8, 10), Spent(9, 13), Spent(20, 20), Spent(21, 21)])
    monkeypatch.setattr(stopwatch, "read_clocks", lambda: next(clocks))
    watch = Stopwatch()
    with watch.time_part("head"), pytest.raises(ValueError):
        with watch.time_part("features"):
            raise ValueError
    with watch.time_part("report"):
        pass
    assert watch.spent == {"head": Spent(3, 6), "features": Spent(5, 6), "report": Spent(1, 1)}
    told = "seconds features 5.0 (6.0), head 3.0 (6.0), report 1.0 (1.0): of the processor (by the clock)"
    assert format_spent(watch.spent) == told
