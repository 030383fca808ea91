"""Boxes with their sizes, and their SVG once they have a place."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

# Pixels between blocks, of a line of text, and of a letter.
BLOCK_GAP, LINE_HEIGHT, CHAR_WIDTH = 16, 12, 6.1


@dataclass(frozen=True)
class DrawnBox:
    """Something laid out: how wide it is, how far it reaches above and below the line that runs through it."""

    width: float
    up: float
    down: float


@dataclass(frozen=True)
class LayerBlock(DrawnBox):
    """A layer that makes a map, with the strips of what follows it: norm, activation, dropout."""

    kind: str
    face: tuple[float, float]
    texts: tuple[str, ...]
    tip: str
    strips: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class BoxChain(DrawnBox):
    """Boxes one after another. `times` identical ones stand for as many; `frame` names what they are."""

    parts: tuple[DrawnBox, ...]
    frame: str = ""
    times: int = 1


@dataclass(frozen=True)
class BoxFork(DrawnBox):
    """Branches below each other, joined at the right."""

    branches: tuple[DrawnBox, ...]
    join: str
    frame: str = ""


@dataclass(frozen=True)
class SideBox(DrawnBox):
    """A side head: it hangs below the line, which goes on."""

    head: DrawnBox


def draw_box(box: DrawnBox, x: float, y: float) -> str:
    """The SVG of `box` with its left edge at `x` and the line that runs through it at `y`."""
    if isinstance(box, LayerBlock):
        return draw_cuboid(box, x, y)
    if isinstance(box, BoxChain):
        return draw_chain(box, x, y)
    if isinstance(box, BoxFork):
        return draw_fork(box, x, y)
    if isinstance(box, SideBox):
        down = y + box.down - box.head.down
        path = draw_wire(f"M{x:.1f} {y:.1f}h{box.width:.1f}") + draw_wire(
            f"M{x:.1f} {y:.1f}V{down:.1f}h{BLOCK_GAP}", "side"
        )
        return path + draw_box(box.head, x + BLOCK_GAP, down)
    raise TypeError(box)


def draw_cuboid(box: LayerBlock, x: float, y: float) -> str:
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
    through = draw_wire(f"M{x:.1f} {y:.1f}H{left:.1f}M{left + broad:.1f} {y:.1f}H{x + box.width:.1f}")
    words = "".join(
        f'<text class="{"soft" if i else "name"}" x="{x + box.width / 2:.1f}" '
        f'y="{y + tall / 2 + LINE_HEIGHT * (i + 1):.1f}">'
        f"{escape(text)}</text>"
        for i, text in enumerate(box.texts)
    )
    return f'{through}<g class="{box.kind}"><title>{escape(box.tip)}</title>{faces}</g>{strips}{words}'


def draw_chain(box: BoxChain, x: float, y: float) -> str:
    if box.times > 1:
        inner = box.parts[0]
        at = x + inner.width + 4
        # A bracket around what is there `times` times over.
        ends = f"M{x:.1f} {y - inner.up:.1f}V{y + inner.down:.1f}M{at:.1f} {y - inner.up:.1f}V{y + inner.down:.1f}"
        sign = f'<text class="times" x="{at + 3:.1f}" y="{y - 5:.1f}">×{box.times}</text>'
        around = f'<path class="bracket" d="{ends}"/>{sign}'
        return draw_box(inner, x, y) + draw_wire(f"M{x + inner.width:.1f} {y:.1f}H{x + box.width:.1f}") + around
    if not box.parts:
        return draw_wire(f"M{x:.1f} {y:.1f}h{box.width:.1f}")
    out = draw_frame(box.frame, x, y, box) if box.frame else ""
    pad = 8 if box.frame else 0
    if pad:
        out += draw_wire(f"M{x:.1f} {y:.1f}h{pad}")
    at = x + pad
    for i, part in enumerate(box.parts):
        if i:
            out += draw_wire(f"M{at - BLOCK_GAP:.1f} {y:.1f}h{BLOCK_GAP}")
        out += draw_box(part, at, y)
        at += part.width + BLOCK_GAP
    return out + draw_wire(f"M{at - BLOCK_GAP:.1f} {y:.1f}H{x + box.width:.1f}")


def draw_fork(box: BoxFork, x: float, y: float) -> str:
    out = draw_frame(box.frame, x, y, box) if box.frame else ""
    inner = max(b.width for b in box.branches)
    right = x + BLOCK_GAP + 4 + inner + BLOCK_GAP
    total = sum(b.up + b.down for b in box.branches) + 8 * (len(box.branches) - 1)
    at = y - total / 2
    for b in box.branches:
        line = at + b.up
        out += draw_wire(f"M{x:.1f} {y:.1f}h6V{line:.1f}h{BLOCK_GAP - 2}")
        out += draw_box(b, x + BLOCK_GAP + 4, line)
        out += draw_wire(f"M{x + BLOCK_GAP + 4 + b.width:.1f} {line:.1f}H{right - 4:.1f}V{y:.1f}h4")
        at += b.up + b.down + 8
    sign = {"concat": "≡", "add": "+", "multiply": "×"}[box.join]
    out += f'<g class="join"><title>{box.join}</title><circle cx="{right + 7:.1f}" cy="{y:.1f}" r="7"/>'
    out += f'<text class="sign" x="{right + 7:.1f}" y="{y + 3.6:.1f}">{sign}</text></g>'
    return out + draw_wire(f"M{right + 14:.1f} {y:.1f}H{x + box.width:.1f}")


def draw_frame(name: str, x: float, y: float, box: DrawnBox) -> str:
    rect = f'<rect class="frame" x="{x:.1f}" y="{y - box.up:.1f}" width="{box.width:.1f}" '
    rect += f'height="{box.up + box.down:.1f}" rx="6"/>'
    return rect + f'<text class="frame-name" x="{x + 8:.1f}" y="{y - box.up + 11:.1f}">{escape(name)}</text>'


def draw_wire(path: str, kind: str = "") -> str:
    return f'<path class="{f"wire {kind}".strip()}" d="{path}"/>'


DRAWING_STYLE = """
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
