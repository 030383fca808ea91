"""Traces for a page that opens offline: those of every value of a small net, or of chosen values of a large one.

Nothing is worked out on the page: what it shows of a trace is the library's, stored. A trace is kept as what differs
from value to value: the places of its operands and weights, and its numbers as they are shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np

from ..architecture import layers as L
from ..inside.trace import parse_address
from ..inside.trace_place import IMAGE_PATH
from ..inside.trace_record import Trace, format_address
from ..language import in_english
from ..summaries.summary import summarise_net
from .look import Look
from .packing import join_arrays, pack_array

# A net with more operands in all its values together has only chosen values traced.
MOST_TERMS = 1_200_000


def is_traceable(given: Look) -> bool:
    """Whether every value of the net can be in one file: few enough operands, and each weight a stored one."""
    summary = summarise_net(given.net)
    terms = summary.macs + 4 * sum(y.size for y in given.scene.maps.values())
    rare = (
        L.BlurPool | L.LayerNorm | L.GroupNorm | L.InstanceNorm | L.PReLU | L.LocalResponseNorm | L.GlobalResponseNorm
    )
    rare |= L.ConvTranspose | L.ChannelConv | L.Upsample
    return terms <= MOST_TERMS and not any(isinstance(row.layer, rare) for row in summary.rows)


def trace_chosen(given: Look, addresses: Iterable[str]) -> dict[str, Any]:
    """The traces of these values, and of what weighs most in each down to the pixels, by address.

    The way up from an operand is to the value that it was reached from.
    """
    found: dict[str, Any] = {}
    for at in addresses:
        up = given.reader(given.trace(at).address)
        for trace in given.chain(at):
            found.setdefault(trace.address, trace.as_dict() | {"followed": None, "up": up})
            up = trace.address
    return found


class Numbering:
    """A number for each value of many arrays: those of the first, then those of the second, and so on."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.shapes = shapes
        self.first: dict[str, int] = {}
        self.known: dict[str, int] = {}
        total = 0
        for path, shape in shapes.items():
            self.first[path] = total
            total += int(np.prod(shape))

    def of(self, at: str | None) -> int:
        """The number of the value at an address; -1 for None."""
        if at is None:
            return -1
        if at not in self.known:
            path, index = parse_address(at)
            place = 0
            for i, n in zip(index, self.shapes[path], strict=True):
                place = place * n + i
            self.known[at] = self.first[path] + place
        return self.known[at]


class Interned:
    """Texts, each stored once; a text's number is the place where it first came."""

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}

    def of(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))


@in_english
def trace_all(given: Look) -> dict[str, Any]:
    """The traces of all values of all maps, packed. page/packed.js takes them apart again."""
    maps = {path: y.shape for path, y in given.scene.maps.items()}
    tensors = {name: np.shape(tensor) for name, tensor in given.scene.tensors.items()}
    values, weights = Numbering(maps), Numbering(tensors)
    forms, steps, notes = Interned(), Interned(), Interned()
    shown: list[str] = []
    form, step, places, lead, up, computed = ([] for _ in range(6))  # type: ignore[var-annotated]
    group, at, weight, note, unit = ([] for _ in range(5))  # type: ignore[var-annotated]
    notes.of("")
    for path, shape in maps.items():
        for index in product(*map(range, shape)):
            trace = given.trace(format_address(path, index))
            form.append(forms.of(describe_outline(trace)))
            lines = [[s.name, s.text, s.exact, s.shown] for s in trace.steps]
            step.append(steps.of(json.dumps(lines, ensure_ascii=False)))
            digits = find_shown_decimals(trace)
            places.append(digits)
            shown.append(trace.shown)
            lead.append(values.of(trace.lead))
            up.append(values.of(given.reader(trace.address)))
            computed.append(trace.computed)
            for part in trace.groups:
                group.append(scale_to_whole(part.shown, digits))
                for term in part.terms:
                    at.append(values.of(term.at))
                    weight.append(weights.of(term.weight_at))
                    note.append(notes.of(term.note))
                    unit.append(scale_to_whole(term.shown, digits))
    return {
        "tensors": [[name, list(shape)] for name, shape in tensors.items()],
        "weights": pack_array(join_arrays(given.scene.tensors.values())) if tensors else None,
        "forms": [json.loads(text) for text in forms.texts],
        "steps": [json.loads(text) for text in steps.texts],
        "notes": list(notes.texts),
        "shown": pack_text("\n".join(shown)),
        "form": pack_integers(form),
        "step": pack_integers(step),
        "places": pack_integers(places),
        "lead": pack_integers(lead),
        "up": pack_integers(up),
        "computed": pack_array(np.asarray(computed, "<f8")),
        "group": pack_integers(group),
        "at": pack_differences(at),
        "weight": pack_differences(weight),
        "note": pack_integers(note),
        "unit": pack_integers(unit),
        "count": len(shown),
    }


def describe_outline(trace: Trace) -> str:
    """What a trace has in common with many others."""
    groups = [[g.name, list(g.grid), len(g.terms)] for g in trace.groups]
    common = [trace.layer, trace.rule, trace.op, trace.tolerance if trace.address.startswith(IMAGE_PATH) else None,
              trace.checked_by, groups]  # fmt: skip
    return json.dumps(common, ensure_ascii=False)


def find_shown_decimals(trace: Trace) -> int:
    """The decimals that all terms and partial sums of a trace are shown with."""
    return len(trace.groups[0].shown.partition(".")[2])


def scale_to_whole(shown: str, digits: int) -> int:
    """A shown number in units of its last decimal.

    >>> scale_to_whole("-1.250", 3)
    -1250
    """
    assert len(shown.partition(".")[2]) == digits, shown
    return int(shown.replace(".", ""))


def pack_text(text: str) -> str:
    """A text as UTF-8, packed."""
    return pack_array(np.frombuffer(text.encode(), np.uint8))


def pack_integers(numbers: list[int]) -> str:
    return pack_array(np.asarray(numbers, "<i4"))


def pack_differences(numbers: list[int]) -> str:
    """Numbers as the steps from one to the next: of operands side by side these are nearly all equal."""
    return pack_array(np.diff(np.asarray(numbers, "<i4"), prepend=np.int32(0)).astype("<i4"))
