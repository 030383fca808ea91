"""Boxes with their sizes, and their SVG once they have a place."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

GAP, LINE, CHAR = 16, 12, 6.1
"""Pixels between blocks, of a line of text, and of a letter."""


@dataclass(frozen=True)
class Box:
    """Something laid out: how wide it is, how far it reaches above and below the line that runs through it."""

    width: float
    up: float
    down: float


@dataclass(frozen=True)
class Block(Box):
    """A layer that makes a map, with the strips of what follows it: norm, activation, dropout."""

    kind: str
    face: tuple[float, float]
    texts: tuple[str, ...]
    tip: str
    strips: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Chain(Box):
    """Boxes one after another. `times` identical ones stand for as many; `frame` names what they are."""

    parts: tuple[Box, ...]
    frame: str = ""
    times: int = 1


@dataclass(frozen=True)
class Fork(Box):
    """Branches below each other, joined at the right."""

    branches: tuple[Box, ...]
    join: str
    frame: str = ""


@dataclass(frozen=True)
class Aside(Box):
    """A side head: it hangs below the line, which goes on."""

    head: Box


def drawn(box: Box, x: float, y: float) -> str:
    """The SVG of `box` with its left edge at `x` and the line that runs through it at `y`."""
    if isinstance(box, Block):
        return cuboid(box, x, y)
    if isinstance(box, Chain):
        return drawn_chain(box, x, y)
    if isinstance(box, Fork):
        return drawn_fork(box, x, y)
    if isinstance(box, Aside):
        down = y + box.down - box.head.down
        path = wire(f"M{x:.1f} {y:.1f}h{box.width:.1f}") + wire(f"M{x:.1f} {y:.1f}V{down:.1f}h{GAP}", "side")
        return path + drawn(box.head, x + GAP, down)
    raise TypeError(box)


def cuboid(box: Block, x: float, y: float) -> str:
    broad, tall = box.face
    skew = box.up - tall / 2
    left, top = x + (box.width - broad - skew) / 2, y - tall / 2
    faces = f'<rect x="{left:.1f}" y="{top:.1f}" width="{broad:.1f}" height="{tall:.1f}"/>'
    if skew:
        a, b, s = left + broad, top, skew
        faces += f'<path class="lid" d="M{left:.1f} {b:.1f}l{s:.1f} -{s:.1f}h{broad:.1f}l-{s:.1f} {s:.1f}z"/>'
        faces += f'<path class="wall" d="M{a:.1f} {b:.1f}l{s:.1f} -{s:.1f}v{tall:.1f}l-{s:.1f} {s:.1f}z"/>'
    strips = "".join(
        f'<rect class="{kind} strip" x="{left + broad - 3 * (len(box.strips) - i):.1f}" y="{top:.1f}" width="3" '
        f'height="{tall:.1f}"><title>{escape(text)}</title></rect>'
        for i, (kind, text) in enumerate(box.strips)
    )
    through = wire(f"M{x:.1f} {y:.1f}H{left:.1f}M{left + broad:.1f} {y:.1f}H{x + box.width:.1f}")
    words = "".join(
        f'<text class="{"soft" if i else "name"}" x="{x + box.width / 2:.1f}" y="{y + tall / 2 + LINE * (i + 1):.1f}">'
        f"{escape(text)}</text>"
        for i, text in enumerate(box.texts)
    )
    return f'{through}<g class="{box.kind}"><title>{escape(box.tip)}</title>{faces}</g>{strips}{words}'


def drawn_chain(box: Chain, x: float, y: float) -> str:
    if box.times > 1:
        inner = box.parts[0]
        at = x + inner.width + 4
        # A bracket around what is there `times` times over.
        ends = f"M{x:.1f} {y - inner.up:.1f}V{y + inner.down:.1f}M{at:.1f} {y - inner.up:.1f}V{y + inner.down:.1f}"
        sign = f'<text class="times" x="{at + 3:.1f}" y="{y - 5:.1f}">×{box.times}</text>'
        around = f'<path class="bracket" d="{ends}"/>{sign}'
        return drawn(inner, x, y) + wire(f"M{x + inner.width:.1f} {y:.1f}H{x + box.width:.1f}") + around
    if not box.parts:
        return wire(f"M{x:.1f} {y:.1f}h{box.width:.1f}")
    out = framed(box.frame, x, y, box) if box.frame else ""
    pad = 8 if box.frame else 0
    if pad:
        out += wire(f"M{x:.1f} {y:.1f}h{pad}")
    at = x + pad
    for i, part in enumerate(box.parts):
        if i:
            out += wire(f"M{at - GAP:.1f} {y:.1f}h{GAP}")
        out += drawn(part, at, y)
        at += part.width + GAP
    return out + wire(f"M{at - GAP:.1f} {y:.1f}H{x + box.width:.1f}")


def drawn_fork(box: Fork, x: float, y: float) -> str:
    out = framed(box.frame, x, y, box) if box.frame else ""
    inner = max(b.width for b in box.branches)
    right = x + GAP + 4 + inner + GAP
    total = sum(b.up + b.down for b in box.branches) + 8 * (len(box.branches) - 1)
    at = y - total / 2
    for b in box.branches:
        line = at + b.up
        out += wire(f"M{x:.1f} {y:.1f}h6V{line:.1f}h{GAP - 2}")
        out += drawn(b, x + GAP + 4, line)
        out += wire(f"M{x + GAP + 4 + b.width:.1f} {line:.1f}H{right - 4:.1f}V{y:.1f}h4")
        at += b.up + b.down + 8
    sign = {"concat": "≡", "add": "+", "multiply": "×"}[box.join]
    out += f'<g class="join"><title>{box.join}</title><circle cx="{right + 7:.1f}" cy="{y:.1f}" r="7"/>'
    out += f'<text class="sign" x="{right + 7:.1f}" y="{y + 3.6:.1f}">{sign}</text></g>'
    return out + wire(f"M{right + 14:.1f} {y:.1f}H{x + box.width:.1f}")


def framed(name: str, x: float, y: float, box: Box) -> str:
    rect = f'<rect class="frame" x="{x:.1f}" y="{y - box.up:.1f}" width="{box.width:.1f}" '
    rect += f'height="{box.up + box.down:.1f}" rx="6"/>'
    return rect + f'<text class="frame-name" x="{x + 8:.1f}" y="{y - box.up + 11:.1f}">{escape(name)}</text>'


def wire(path: str, kind: str = "") -> str:
    return f'<path class="{f"wire {kind}".strip()}" d="{path}"/>'


STYLE = """
text{font:10px system-ui,sans-serif;fill:#1f2937;text-anchor:middle}.head{font:600 14px system-ui,sans-serif;\
text-anchor:start}.soft{fill:#6b7280}.key{text-anchor:start}.times{font-weight:600;text-anchor:start}\
.frame-name{text-anchor:start;font-weight:600;fill:#4b5563}.page{fill:#fff}.frame{fill:#f8fafc;stroke:#dbe2ea}\
.bracket{fill:none;stroke:#475569;stroke-width:1.6}\
.wire{fill:none;stroke:#94a3b8;stroke-width:1.2}.side{stroke-dasharray:4 3}\
.join circle{fill:#fff;stroke:#64748b}.sign{font-size:11px}\
g rect,g path.lid,g path.wall{stroke:#0f172a66;stroke-width:.6}\
.input{fill:#e2e8f0}.conv{fill:#7fb2f0}.pool{fill:#f6b26b}.dense{fill:#86cf9a}.flat{fill:#cbd5e1}\
.norm{fill:#b4a7d6}.act{fill:#e06666}.drop{fill:#999}.other{fill:#d5d5a0}.lid{filter:brightness(1.12)}\
.wall{filter:brightness(.85)}
@media(prefers-color-scheme:dark){text{fill:#e5e7eb}.soft{fill:#9ca3af}.frame-name{fill:#cbd5e1}.page{fill:#111827}\
.frame{fill:#1b2536;stroke:#334155}.bracket{stroke:#cbd5e1}.join circle{fill:#111827}.wire{stroke:#64748b}\
g rect,g path.lid,g path.wall{stroke:#e5e7eb55}}
"""
