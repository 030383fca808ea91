"""A net as a picture: an SVG in which blocks are as large as their maps and branches run beside each other."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as PySequence
from dataclasses import dataclass, replace
from html import escape
from math import sqrt
from typing import Any

from .layers import (
    AvgPool,
    Container,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    Identity,
    Layer,
    MaxPool,
    Parallel,
    Sequence,
    Shape,
    SideHead,
    show,
)
from .layers.layer import ways
from .net import Net
from .summary import Row, summarise

WIDTH = 1240
"""Pixels after which the main line goes on below."""

TALL, BROAD = 96, 64
"""Pixels of the height of the input's map, and of the breadth of the map with the most channels."""

GAP, LINE, CHAR = 16, 12, 6.1
"""Pixels between blocks, of a line of text, and of a letter."""

SKEW = 0.22
"""How far the side of a block recedes, as a share of its height."""


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


def draw(net: Net) -> str:
    """The SVG text of a picture of `net`.

    The height of a block goes with the square root of its map's height and its breadth with that of the channels; a
    strip at its right is a normalisation, an activation or dropout. Equal blocks in a row are drawn once, "×3". The
    title of each block holds its rules. Colours follow the viewer's light or dark scheme.
    """
    return Picture(net).svg()


class Picture:
    """The scales of one drawing, and the rows of the summary by which its blocks are labelled."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.rows = {row.path: row for row in summarise(net).rows}
        maps = [row.y for row in self.rows.values() if len(row.y) == 3]
        self.most = max([net.input[0], *(shape[0] for shape in maps)])
        self.longest = max([1, *(row.y[0] for row in self.rows.values() if len(row.y) == 1)])

    # Layout: from the layers to boxes with sizes.

    def face(self, shape: Shape) -> tuple[float, float]:
        """Breadth and height of the block of a map, or of the bar of a vector."""
        if len(shape) == 1:
            return 7.0, 10 + (TALL - 10) * sqrt(shape[0] / self.longest)
        return max(4.0, BROAD * sqrt(shape[0] / self.most)), max(5.0, TALL * sqrt(shape[1] / self.net.input[1]))

    def block(self, kind: str, shape: Shape, texts: tuple[str, ...], tip: str) -> Block:
        broad, tall = self.face(shape)
        skew = 0 if len(shape) == 1 else SKEW * tall
        width = max(broad + skew, CHAR * max(map(len, texts)))
        return Block(width, tall / 2 + skew, tall / 2 + 4 + LINE * len(texts), kind, (broad, tall), texts, tip)

    def single(self, path: str, layer: Layer) -> Block:
        row = self.rows[path]
        made = self.block(kind_of(layer), row.y, (short(layer), show(row.y)), tip(row))
        if made.kind not in STRIPS:
            return made
        # After a join there is no block for it to be a strip on: a plate of its own, without words.
        tall = made.face[1]
        return replace(made, width=4, up=tall / 2, down=tall / 2, face=(4.0, tall), texts=())

    def sequence(self, named: Iterable[tuple[str, Layer]], prefix: str) -> list[Box]:
        """The boxes of layers one after another: strips put onto the block before them, what repeats drawn once."""
        todo = [(name, layer) for name, layer in named if not isinstance(layer, Identity)]
        keys = [(contents(layer), self.shown(f"{prefix}{name}")) for name, layer in todo]
        boxes: list[Box] = []
        at = 0
        while at < len(todo):
            period, times = repeats(keys, at)
            if times > 1 and isinstance(todo[at][1], Container):
                parts = self.sequence(todo[at : at + period], prefix)
                inner = chain(parts)
                boxes.append(Chain(inner.width + 24, inner.up + 4, inner.down + 4, (inner,), times=times))
                at += period * times
                continue
            name, layer = todo[at]
            last = boxes[-1] if boxes else None
            if kind_of(layer) in STRIPS and isinstance(last, Block) and last.texts:
                strip = kind_of(layer), tip(self.rows[f"{prefix}{name}"])
                boxes[-1] = replace(last, strips=(*last.strips, strip))
            else:
                boxes.append(self.box(f"{prefix}{name}", name, layer))
            at += 1
        return boxes

    def shown(self, path: str) -> list[Shape]:
        """The shapes that the picture of the layer at `path` says."""
        inside = [row for p, row in self.rows.items() if p == path or p.startswith(f"{path}.")]
        return [row.y for row in inside if not row.inside and kind_of(row.layer) not in (*STRIPS, "none")]

    def box(self, path: str, name: str, layer: Layer) -> Box:
        if isinstance(layer, Sequence):
            return chain(self.sequence(layer.named, f"{path}."), frame=name if layer.name else "")
        if isinstance(layer, Parallel):
            branches = [
                chain(self.sequence(branch.named if isinstance(branch, Sequence) else [(key, branch)], prefix))
                for key, branch in layer.named
                for prefix in [f"{path}.{key}." if isinstance(branch, Sequence) else f"{path}."]
            ]
            return fork(branches, layer.join, frame=name if layer.name else "")
        if isinstance(layer, SideHead):
            head = chain(self.sequence(layer.named, f"{path}."), frame=f"{name}, in training")
            return Aside(head.width + GAP, 8, head.up + head.down + 20, head)
        return self.single(path, layer)

    # Drawing: from boxes with places to SVG.

    def svg(self) -> str:
        input = self.net.input
        start = self.block("input", input, ("input", show(input)), f"one image, {show(input)}")
        rows = broken([start, *self.sequence(self.net.body.named, "")])
        out: list[str] = []
        y, widest = 40.0, 0.0
        ends: list[tuple[float, float]] = []
        for row in rows:
            line = y + max(box.up for box in row)
            if ends:
                (x_end, y_end), middle = ends[-1], y - 8
                out.append(wire(f"M{x_end:.1f} {y_end:.1f}h8V{middle:.1f}H12V{line:.1f}h8"))
            x = 20.0
            for i, box in enumerate(row):
                if i:
                    out.append(wire(f"M{x - GAP:.1f} {line:.1f}h{GAP}"))
                out.append(drawn(box, x, line))
                x += box.width + GAP
            ends.append((x - GAP, line))
            widest = max(widest, x)
            y = line + max(box.down for box in row) + 36
        out.append(self.key(y))
        width, height = max(widest + 16, 640), y + 22
        name = escape(self.net.name)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" role="img" aria-label="{name}"><style>{STYLE}</style>'
            f'<rect class="page" width="100%" height="100%"/><text class="head" x="20" y="22">{name}</text>'
            f"{''.join(out)}</svg>\n"
        )

    def key(self, y: float) -> str:
        """The colours that occur, and the scale."""
        used = {kind_of(row.layer) for row in self.rows.values()}
        x, parts = 20.0, []
        for kind in (kind for kind in WORDS if kind in used):
            parts.append(f'<rect class="{kind}" x="{x:.0f}" y="{y - 9:.0f}" width="10" height="10"/>')
            parts.append(f'<text class="key" x="{x + 14:.0f}" y="{y:.0f}">{WORDS[kind]}</text>')
            x += 24 + 6 * len(WORDS[kind])
        scale = "height by √ of the map's height, breadth by √ of its channels"
        return "".join(parts) + f'<text class="key soft" x="20" y="{y + 15:.0f}">{scale}</text>'


def contents(layer: Layer) -> Any:
    """What two layers that differ in name alone have in common."""
    if isinstance(layer, Parallel):
        return layer.branches, layer.join
    if isinstance(layer, (Sequence, SideHead)):
        return type(layer), layer.layers
    return replace(layer, name=None)


def repeats(keys: list[Any], at: int) -> tuple[int, int]:
    """(period, times): how the layers from `at` on repeat, up to three at a time, the longest run first."""
    best = (1, 1)
    for period in (1, 2, 3):
        times = 1
        while keys[at : at + period] == keys[at + period * times : at + period * (times + 1)]:
            times += 1
        if times > 1 and period * times > best[0] * best[1]:
            best = (period, times)
    return best


def chain(parts: Iterable[Box], frame: str = "") -> Chain:
    parts = tuple(parts)
    if not parts:
        return Chain(GAP, 6, 6, ())
    pad = 8 if frame else 0
    width = sum(box.width for box in parts) + GAP * (len(parts) - 1)
    up, down = max(box.up for box in parts), max(box.down for box in parts)
    width = max(width, CHAR * len(frame))
    return Chain(width + 2 * pad, up + (pad + LINE if frame else 0), down + pad, parts, frame)


def fork(branches: PySequence[Box], join: str, frame: str) -> Fork:
    total = sum(box.up + box.down for box in branches) + 8 * (len(branches) - 1)
    width = max(box.width for box in branches) + 2 * GAP + 18
    return Fork(width + 8, total / 2 + (LINE + 6 if frame else 4), total / 2 + 4, tuple(branches), join, frame)


def broken(boxes: list[Box]) -> list[list[Box]]:
    """The main line broken into rows of at most WIDTH, where a box alone is not wider."""
    rows: list[list[Box]] = [[]]
    used = 0.0
    for box in boxes:
        if rows[-1] and used + box.width > WIDTH:
            rows.append([])
            used = 0.0
        rows[-1].append(box)
        used += box.width + GAP
    return rows


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


WORDS = {
    "conv": "convolution",
    "pool": "pooling",
    "dense": "dense",
    "flat": "flatten",
    "norm": "normalisation",
    "act": "activation",
    "drop": "dropout",
    "other": "other",
}
"""The kinds that have a colour, in the order of the key."""

STRIPS = ("norm", "act", "drop")


def kind_of(layer: Layer) -> str:
    """The colour of a layer's block."""
    if isinstance(layer, (Sequence, Parallel, SideHead, Identity)):
        return "none"
    kinds: dict[str, Any] = {"conv": Conv, "pool": (MaxPool, AvgPool, GlobalAvgPool), "dense": Dense, "flat": Flatten}
    found = next((kind for kind, types in kinds.items() if isinstance(layer, types)), None)
    by_name = {"bn": "norm", "ln": "norm", "lrn": "norm", "dropout": "drop", "drop": "drop", "scale": "other"}
    return found or by_name.get(layer.KIND) or ("other" if layer.KIND == "pad" else "act")


def short(layer: Layer) -> str:
    """A layer's label in the few characters that fit under its block: the filters are in the shape below."""
    if isinstance(layer, Conv):
        parts = layer.label.split(" ")[1:]
        kernel = parts[0].split("@")[1]
        return " ".join([kernel, *(p for p in parts[1:] if p.startswith("/")), *(["dw"] if layer.groups > 1 else [])])
    if isinstance(layer, (MaxPool, AvgPool)):
        stride = "" if layer.stride is None else f" /{layer.stride}"
        return f"{'max' if isinstance(layer, MaxPool) else 'avg'} {ways(layer.kernel)}{stride}"
    if isinstance(layer, GlobalAvgPool):
        return "mean"
    return {Dense: "dense", Flatten: "flatten"}.get(type(layer), layer.label)


def tip(row: Row) -> str:
    """What the title of a block says: name, label, shapes and rules."""
    parts = [f"{row.path}: {row.layer.label}", f"{show(row.x)} → {show(row.y)}"]
    parts += [row.size_rule] if row.size_rule else []
    parts += [f"parameters {row.params_rule}"] if row.params else []
    parts += [f"{row.macs:,} MACs"] if row.macs else []
    return "\n".join(parts)


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
