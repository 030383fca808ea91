"""The record of a trace: a value, what it is made of, and where each part comes from. Plain data.

How numbers are shown: all terms of one sum have the same number of decimals, and each is rounded up or down to the
unit of the last one so that the shown terms add up to the shown sum exactly (by largest remainders, so no term is
off by a whole unit or more). A channel's products add up likewise to that channel's shown partial sum. Products,
quotients and functions are those of the unrounded numbers, and stand after ≈.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import Any, NamedTuple

import numpy as np

from ..errors import StriateError
from ..language import render_all, say
from .trace_format import SIGNIFICANT_DIGITS, WON, format_short


class TraceError(StriateError):
    """An address that is nowhere, or a trace that the whole-map forward pass contradicts."""


class Term(NamedTuple):
    """One operand and what it contributes.

    value      its contribution: the product with `weight`, or x itself
    x          the operand, and `at`, its address; None where it is padding
    weight     what it is multiplied by, and `weight_at`, its address; None where there is none
    note       PADDING, WON, a class, …
    shown      `value` as it is to be shown
    """

    value: float
    x: float
    at: str | None
    weight: float | None = None
    weight_at: str | None = None
    note: str = ""
    shown: str = ""

    def as_dict(self) -> dict[str, Any]:
        return {key: item for key, item in self._asdict().items() if item is not None and item != "" or key == "at"}


class TermGroup(NamedTuple):
    """Terms that belong together, a channel's; `value` is their sum, or their largest under a max pooling.

    grid  rows and columns in which the terms lie, () for a plain list
    """

    name: str
    value: float
    terms: tuple[Term, ...]
    grid: tuple[int, ...] = ()
    shown: str = ""

    def as_dict(self) -> dict[str, Any]:
        terms = [term.as_dict() for term in self.terms]
        return {"name": self.name, "value": self.value, "shown": self.shown, "grid": list(self.grid), "terms": terms}


class TraceStep(NamedTuple):
    """A line of arithmetic: `text` with the numbers in it, made of `parts`, gives `value`.

    exact  it is a sum, and adds up as shown
    """

    name: str
    text: str
    value: float
    parts: tuple[Term, ...]
    exact: bool
    shown: str = ""

    def as_dict(self) -> dict[str, Any]:
        return self._asdict() | {"parts": [part.as_dict() for part in self.parts]}


@dataclass(frozen=True)
class Trace:
    """Why one value is what it is. `print` it, or show it in a notebook; `as_dict` is plain JSON data.

    address     "conv1[3,10,12]": layer, channel, row, column
    layer       the layer's record as text
    rule        what it computes, in one line
    op          how the groups combine: "sum", "product", "max" or "same"
    groups      the operands; their partial sums come first, each opens to its terms
    steps       what is done after that, line by line
    value       the value in the whole map that `checked_by` computed; `shown` as it is to be shown
    computed    what groups and steps give, in float64; within `tolerance` of `value`, else there were no trace
    lead        the address of the operand that weighs most; `followed` its own trace where `depth` went further
    loss        of a weight's update: what was differentiated, in a line
    left_out    likewise: what the run's own step has and this one has not, a line each
    """

    address: str
    layer: str
    rule: str
    op: str
    groups: tuple[TermGroup, ...]
    steps: tuple[TraceStep, ...]
    value: float
    computed: float
    tolerance: float
    checked_by: str
    shown: str
    lead: str | None = None
    followed: Trace | None = None
    loss: str = ""
    left_out: tuple[str, ...] = ()

    @property
    def terms(self) -> Iterator[Term]:
        return (term for group in self.groups for term in group.terms)

    @property
    def chain(self) -> Iterator[Trace]:
        """This trace, and those that it was followed to, down to the last."""
        trace: Trace | None = self
        while trace:
            yield trace
            trace = trace.followed

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain JSON data, its texts in English."""
        return render_all(self.spell_out(), "en")

    def spell_out(self) -> dict[str, Any]:
        """The data of `as_dict`, its texts in the language in which they were said."""
        return {
            "address": self.address,
            "layer": self.layer,
            "rule": self.rule,
            "op": self.op,
            "value": self.value,
            "shown": self.shown,
            "computed": self.computed,
            "tolerance": self.tolerance,
            "checked_by": self.checked_by,
            "groups": [group.as_dict() for group in self.groups],
            "steps": [step.as_dict() for step in self.steps],
            "lead": self.lead,
            "followed": self.followed.spell_out() if self.followed else None,
            **({"loss": self.loss, "left_out": list(self.left_out)} if self.loss else {}),
        }

    def __str__(self) -> str:
        from .trace_format import render_trace_text

        return render_trace_text(self)

    def _repr_html_(self) -> str:
        from .trace_format import render_trace_html

        return render_trace_html(self)


def count_decimals(values: Iterable[float]) -> int:
    """How many decimals give the largest of `values` its DIGITS significant digits; none where all are whole numbers.

    >>> count_decimals([0.5, -12.25]), count_decimals([0.00042])
    (3, 8)
    """
    values = list(values)
    largest = max((abs(v) for v in values), default=0.0)
    if largest >= 1 and all(float(v).is_integer() for v in values):
        return 0
    return min(15, max(0, SIGNIFICANT_DIGITS - ceil(log10(largest)))) if largest > 1e-12 else SIGNIFICANT_DIGITS


def count_units(value: float, places: int) -> int:
    return round(value * 10**places)


def format_units(number: int, places: int) -> str:
    """A whole number of units of the last decimal, as text.

    >>> format_units(-1250, 3)
    '-1.250'
    """
    digits = str(abs(number)).rjust(places + 1, "0")
    body = f"{digits[:-places]}.{digits[-places:]}" if places else digits
    return f"-{body}" if number < 0 else body


def apportion_units(values: Sequence[float], total: int, places: int) -> list[int]:
    """Each value in units of the last decimal, rounded up or down so that they add up to `total` units.

    >>> apportion_units([0.21, 0.26, 0.13], 6, 1)
    [2, 3, 1]
    """
    scaled = np.asarray(values, dtype=np.float64) * 10.0**places
    low = np.floor(scaled)
    missing = total - int(low.sum())
    each, more = divmod(missing, len(low)) if not 0 <= missing <= len(low) else (0, missing)
    made = low.astype(np.int64) + each
    made[np.argsort(low - scaled, kind="stable")[:more]] += 1
    return made.tolist()


def format_address(path: str, index: Iterable[int]) -> str:
    return f"{path}[{','.join(map(str, index))}]"


@dataclass(frozen=True)
class ValueAccount:
    """A value's parts before rounding for display; `scale` is how large the numbers are that cancel in it."""

    rule: str
    op: str
    groups: list[TermGroup]
    steps: list[TraceStep]
    value: float
    scale: float
    lead: str | None


def make_sum(rule: str, groups: list[TermGroup]) -> ValueAccount:
    terms = [term for group in groups for term in group.terms]
    total = sum(group.value for group in groups)
    return ValueAccount(rule, "sum", groups, [], total, sum(abs(t.value) for t in terms), find_largest(terms))


def find_largest(terms: list[Term]) -> str | None:
    """The address of the operand that contributes most, by size."""
    with_place = [term for term in terms if term.at]
    return max(with_place, key=lambda term: abs(term.value)).at if with_place else None


def make_term_group(name: str, terms: list[Term], grid: tuple[int, ...] = ()) -> TermGroup:
    return TermGroup(name, sum(term.value for term in terms), tuple(terms), grid)


def make_constant(value: float, at: str | None = None, note: str = "") -> Term:
    return Term(value, value, at, note=note)


def make_addition(name: str, *parts: Term) -> TraceStep:
    return TraceStep(name, "", sum(part.value for part in parts), parts, exact=True)


def make_step(name: str, form: str, value: float, /, *parts: Term, **settings: Any) -> TraceStep:
    """A line that is no sum; `form`, a text's key, has {0}, {1} where the parts go, and settings by their names."""
    text = say(form, *(format_short(part.value) for part in parts), **settings)
    return TraceStep(name, text, value, parts, exact=False)


def explain_unchanged(term: Term) -> ValueAccount:
    """The account of a value that goes on as it came."""
    return ValueAccount(
        say("{at}, unchanged", at=term.at),
        "same",
        [make_term_group(say("input"), [term])],
        [],
        term.x,
        abs(term.x),
        term.at,
    )


def explain_largest(terms: list[Term], rule: str, channel: int, grid: tuple[int, int]) -> ValueAccount:
    winner = max((t for t in terms if t.at), key=lambda t: t.x)  # the first of equals, as in the backward pass
    terms = [t._replace(note=WON) if t is winner else t for t in terms]
    window = TermGroup(say("channel {channel}", channel=channel), winner.x, tuple(terms), grid)
    return ValueAccount(rule, "max", [window], [], winner.x, abs(winner.x), winner.at)


def make_mean(rule: str, values: TermGroup, count: int) -> ValueAccount:
    y = values.value / count
    step = make_step(say("divided by their number"), f"{{0}} / {count}", y, make_constant(values.value))
    scale = sum(abs(t.value) for t in values.terms) / count
    return ValueAccount(rule, "sum", [values], [step], y, scale, find_largest(list(values.terms)))
