"""When it is in vain that processes wait for each other, and what is then said."""

from __future__ import annotations

import pytest

from striate.fitting.guard import is_connection_lost
from striate.fitting.hang import (
    GRACE,
    LIMIT,
    SILENT,
    RankStanding,
    describe_standings,
    find_vain_wait,
    make_end_error,
    make_hang_error,
)

LONG = GRACE + 1


def works(still: float = 1.0, silent: float = 0.0) -> RankStanding:
    return RankStanding("choosing the recipe", False, still, silent)


def waits(place: str, still: float = 1.0, silent: float = 0.0) -> RankStanding:
    return RankStanding(place, True, still, silent)


@pytest.mark.parametrize(
    "ranks",
    [
        [works(), waits("the plan", LIMIT + 1)],  # the first comes from place to place, the other waits for it
        [works(LIMIT - 1), waits("the plan", LIMIT - 1)],
        [waits("step 4", LONG), waits("step 4", LONG)],  # all at one place: the collective is under way
        [waits("step 4", LONG), waits("step 5", 1.0)],  # one has just come there
        [waits("step 4", LONG), waits("step 5", LONG, GRACE)],  # where this one stood a while ago
        [works(1.0, SILENT + 1), works()],  # it may hold up its own word; nobody waits for it
    ],
)
def test_who_works_may_take_as_long_as_it_likes(ranks):
    assert find_vain_wait(ranks) == ""


@pytest.mark.parametrize(
    "ranks, why",
    [
        ([waits("the plan", LONG), waits("the images", LONG)], "at a different place"),
        ([waits("a", LONG), waits("a", LONG), waits("b", LONG)], "at a different place"),
        ([works(1.0, SILENT + 1), waits("step 5")], "been silent for 121 s"),
        ([works(LIMIT + 1), waits("the plan", LIMIT + 1)], "has made progress for 1800 s"),
        ([waits("step 4", LIMIT + 1), waits("step 4", LIMIT + 2)], "has made progress for 1800 s"),
    ],
)
def test_waiting_in_vain_is_noticed(ranks, why):
    assert why in find_vain_wait(ranks)


@pytest.mark.parametrize(
    "error, lost",
    [
        (RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer"), True),
        (RuntimeError("Gloo connectFullMesh failed"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("gloo"), False),
    ],
    ids=["pair", "mesh", "shapes", "value"],
)
def test_a_lost_connection_is_told_from_an_error_of_the_training(error, lost):
    assert is_connection_lost(error) is lost


def test_what_torch_itself_calls_a_lost_process_is_one():
    distributed = pytest.importorskip("torch.distributed")
    assert is_connection_lost(distributed.DistBackendError("timed out")) is True


def test_the_message_names_where_each_stands():
    ranks = [works(), waits("the first one's word of what is next"), waits("step 7", 9.0, 8.0)]
    said = "rank 0: choosing the recipe; rank 1: waiting for the first one's word of what is next; "
    said += "rank 2: waiting for step 7 (last heard from 8 s ago)"
    assert describe_standings(ranks) == said
    assert f"got   {said}" in str(make_hang_error("no process has made progress for 3 s", ranks))
    assert str(make_end_error(2, "was killed by SIGKILL", ranks)).startswith(
        "rank 2 of 3: this process was killed by SIGKILL"
    )
