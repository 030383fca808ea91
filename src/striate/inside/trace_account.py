"""The account of a value: its operands in groups, how they combine, and the lines of arithmetic after that."""

from __future__ import annotations

from dataclasses import dataclass

from .trace_record import Group, Step, Term, short


@dataclass(frozen=True)
class Account:
    """A value's parts before rounding for display; `scale` is how large the numbers are that cancel in it."""

    rule: str
    op: str
    groups: list[Group]
    steps: list[Step]
    value: float
    scale: float
    lead: str | None


def sum_of(rule: str, groups: list[Group]) -> Account:
    terms = [term for group in groups for term in group.terms]
    total = sum(group.value for group in groups)
    return Account(rule, "sum", groups, [], total, sum(abs(t.value) for t in terms), largest(terms))


def largest(terms: list[Term]) -> str | None:
    """The address of the operand that contributes most, by size."""
    with_place = [term for term in terms if term.at]
    return max(with_place, key=lambda term: abs(term.value)).at if with_place else None


def group(name: str, terms: list[Term], grid: tuple[int, ...] = ()) -> Group:
    return Group(name, sum(term.value for term in terms), tuple(terms), grid)


def constant(value: float, at: str | None = None, note: str = "") -> Term:
    return Term(value, value, at, note=note)


def adds(name: str, *parts: Term) -> Step:
    return Step(name, "", sum(part.value for part in parts), parts, exact=True)


def gives(name: str, form: str, value: float, *parts: Term) -> Step:
    """A line that is no sum; `form` has {} where the parts go."""
    return Step(name, form.format(*(short(part.value) for part in parts)), value, parts, exact=False)


def unchanged(term: Term) -> Account:
    """The account of a value that goes on as it came."""
    return Account(f"{term.at}, unchanged", "same", [group("input", [term])], [], term.x, abs(term.x), term.at)


def largest_of(terms: list[Term], rule: str, channel: int, grid: tuple[int, int]) -> Account:
    winner = max((t for t in terms if t.at), key=lambda t: t.x)  # the first of equals, as in the backward pass
    terms = [t._replace(note="won") if t is winner else t for t in terms]
    window = Group(f"channel {channel}", winner.x, tuple(terms), grid)
    return Account(rule, "max", [window], [], winner.x, abs(winner.x), winner.at)


def mean_of(rule: str, values: Group, count: int) -> Account:
    y = values.value / count
    step = gives("over their number", f"{{0}} / {count}", y, constant(values.value))
    scale = sum(abs(t.value) for t in values.terms) / count
    return Account(rule, "sum", [values], [step], y, scale, largest(list(values.terms)))
