"""Where each of several processes stands, and when it is in vain to wait any longer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import RunError
from ..language import say

# Seconds in which all processes wait, each at another place, until that counts as a hang.
GRACE = 10.0
# Seconds without a word from a process, while the others wait, until it counts as gone.
SILENT = 120.0
# Seconds in which no process has moved, until that counts as a hang. STRIATE_RANK_TIMEOUT sets another time.
LIMIT = 1800.0
# A process that has not been heard of for so many seconds is said to be silent.
HEARD = 3.0


class RankStanding(NamedTuple):
    """Where a process stands: at `place`, where it is `waiting` for the others or works.

    still   seconds since it came there; silent  seconds since it was last heard of
    """

    place: str
    waiting: bool
    still: float
    silent: float = 0.0

    def __str__(self) -> str:
        where = f"waiting for {self.place}" if self.waiting else self.place
        return f"{where} (last heard from {self.silent:.0f} s ago)" if self.silent > HEARD else where


def find_vain_wait(ranks: Sequence[RankStanding], limit: float = LIMIT) -> str:
    """Why it is in vain to wait any longer; "" where it is not.

    A process that works may take as long as it likes while it comes from place to place; so may those that wait for it.
    """
    places = {one.place for one in ranks}
    if len(places) > 1 and all(one.waiting and one.still > GRACE and one.silent < GRACE / 2 for one in ranks):
        return say("each process is waiting at a different place")
    gone = [one for one in ranks if one.silent > SILENT]
    if gone and len(gone) < len(ranks) and all(one.waiting for one in ranks if one not in gone):
        return say(
            "the others are waiting for a process that has been silent for {silent:.0f} s", silent=gone[0].silent
        )
    if all(one.still > limit for one in ranks):
        return say("no process has made progress for {limit:.0f} s", limit=limit)
    return ""


def describe_standings(ranks: Sequence[RankStanding]) -> str:
    """Where each stands, in a line.

    >>> describe_standings([RankStanding("choosing the recipe", False, 3.0), RankStanding("the plan", True, 9.0)])
    'rank 0: choosing the recipe; rank 1: waiting for the plan'
    """
    return "; ".join(f"rank {k}: {one}" for k, one in enumerate(ranks))


def make_hang_error(why: str, ranks: Sequence[RankStanding]) -> RunError:
    return RunError(
        f"{len(ranks)} processes",
        say("{why}, so all end", why=why),
        got=describe_standings(ranks),
        rule=say("STRIATE_RANK_TIMEOUT sets the seconds without progress that are allowed"),
        hint=say("--resume continues from the last checkpoint, where there is one"),
    )


def make_end_error(rank: int, how: str, ranks: Sequence[RankStanding]) -> RunError:
    """The error of the others where a process is gone."""
    return RunError(
        f"rank {rank}" + (f" of {len(ranks)}" if ranks else ""),
        say("this process {how}, so the others end too", how=how),
        got=describe_standings(ranks),
        hint=say("--resume continues from the last checkpoint, where there is one"),
    )
