"""A net as a picture: an SVG in which blocks are as large as their maps and branches run beside each other."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as PySequence
from dataclasses import replace
from html import escape
from math import sqrt
from typing import Any

from ..architecture.abilities import DRAW
from ..architecture.layers import Container, Identity, Layer, Parallel, Sequence, Shape, SideHead, format_shape
from ..architecture.net import Net
from ..language import say
from ..terminal import measure_width
from .draw_layers import KIND_WORDS, STRIP_KINDS
from .draw_svg import (
    BLOCK_GAP,
    CHAR_WIDTH,
    DRAWING_STYLE,
    LINE_HEIGHT,
    BoxChain,
    BoxFork,
    DrawnBox,
    LayerBlock,
    SideBox,
    draw_box,
    draw_wire,
)
from .summary import Row, summarise_net

# Pixels after which the main line goes on below.
DRAWING_WIDTH = 1240

# Pixels of the height of the input's map, and of the breadth of the map with the most channels.
TALL, BROAD = 96, 64

# How far the side of a block recedes, as a share of its height.
SKEW = 0.22


def draw_net(net: Net) -> str:
    """The SVG text of a picture of `net`.

    The height of a block goes with the square root of its map's height and its breadth with that of the channels; a
    strip at its right is a normalisation, an activation or dropout. Equal blocks in a row are drawn once, "×3". The
    title of each block holds its rules. Colours follow the viewer's light or dark scheme.
    """
    return Drawing(net).svg()


class Drawing:
    """The scales of one drawing, and the rows of the summary by which its blocks are labelled."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.listed = summarise_net(net).rows
        self.rows = {row.path: row for row in self.listed}
        maps = [row.y for row in self.rows.values() if len(row.y) == 3]
        self.most = max([net.input[0], *(shape[0] for shape in maps)])
        self.longest = max([1, *(row.y[0] for row in self.rows.values() if len(row.y) == 1)])

    # Layout: from the layers to boxes with sizes.

    def face(self, shape: Shape) -> tuple[float, float]:
        """Breadth and height of the block of a map, or of the bar of a vector."""
        if len(shape) == 1:
            return 7.0, 10 + (TALL - 10) * sqrt(shape[0] / self.longest)
        return max(4.0, BROAD * sqrt(shape[0] / self.most)), max(5.0, TALL * sqrt(shape[1] / self.net.input[1]))

    def block(self, kind: str, shape: Shape, texts: tuple[str, ...], tip: str) -> LayerBlock:
        broad, tall = self.face(shape)
        skew = 0 if len(shape) == 1 else SKEW * tall
        width = max(broad + skew, CHAR_WIDTH * max(map(measure_width, texts)))
        return LayerBlock(
            width, tall / 2 + skew, tall / 2 + 4 + LINE_HEIGHT * len(texts), kind, (broad, tall), texts, tip
        )

    def single(self, path: str, layer: Layer) -> LayerBlock:
        row = self.rows[path]
        face = DRAW(layer)
        made = self.block(face.kind, row.y, (face.text, format_shape(row.y)), describe_row(row))
        if made.kind not in STRIP_KINDS:
            return made
        # After a join there is no block for it to be a strip on: a plate of its own, without words.
        tall = made.face[1]
        return replace(made, width=4, up=tall / 2, down=tall / 2, face=(4.0, tall), texts=())

    def sequence(self, named: Iterable[tuple[str, Layer]], prefix: str) -> list[DrawnBox]:
        """The boxes of layers one after another: strips put onto the block before them, what repeats drawn once."""
        todo = [(name, layer) for name, layer in named if not isinstance(layer, Identity)]
        keys = [(drop_names(layer), self.shown(f"{prefix}{name}")) for name, layer in todo]
        boxes: list[DrawnBox] = []
        at = 0
        while at < len(todo):
            period, times = find_repeats(keys, at) if isinstance(todo[at][1], Container) else (1, 1)
            if times > 1:
                parts = self.sequence(todo[at : at + period], prefix)
                inner = lay_out_chain(parts)
                boxes.append(BoxChain(inner.width + 24, inner.up + 4, inner.down + 4, (inner,), times=times))
                at += period * times
                continue
            name, layer = todo[at]
            last = boxes[-1] if boxes else None
            if DRAW(layer).kind in STRIP_KINDS and isinstance(last, LayerBlock) and last.texts:
                strip = DRAW(layer).kind, describe_row(self.rows[f"{prefix}{name}"])
                boxes[-1] = replace(last, strips=(*last.strips, strip))
            else:
                boxes.append(self.box(f"{prefix}{name}", name, layer))
            at += 1
        return boxes

    def shown(self, path: str) -> list[Shape]:
        """The shapes that the picture of the layer at `path` says."""
        first = self.rows[path]
        inside = self.listed[first.place : first.place + 1 + first.inside]
        return [row.y for row in inside if not row.inside and DRAW(row.layer).kind not in (*STRIP_KINDS, "none")]

    def box(self, path: str, name: str, layer: Layer) -> DrawnBox:
        if isinstance(layer, Sequence):
            return lay_out_chain(self.sequence(layer.named, f"{path}."), frame=name if layer.name else "")
        if isinstance(layer, Parallel):
            branches = [
                lay_out_chain(self.sequence(branch.named if isinstance(branch, Sequence) else [(key, branch)], prefix))
                for key, branch in layer.named
                for prefix in [f"{path}.{key}." if isinstance(branch, Sequence) else f"{path}."]
            ]
            return lay_out_fork(branches, layer.join, frame=name if layer.name else "")
        if isinstance(layer, SideHead):
            head = lay_out_chain(self.sequence(layer.named, f"{path}."), frame=say("{name}, in training", name=name))
            return SideBox(head.width + BLOCK_GAP, 8, head.up + head.down + 20, head)
        return self.single(path, layer)

    # Drawing: from boxes with places to SVG.

    def svg(self) -> str:
        input = self.net.input
        start = self.block(
            "input", input, (say("input"), format_shape(input)), say("one image, {shape}", shape=format_shape(input))
        )
        rows = break_rows([start, *self.sequence(self.net.body.named, "")])
        out: list[str] = []
        y, widest = 40.0, 0.0
        ends: list[tuple[float, float]] = []
        for row in rows:
            line = y + max(box.up for box in row)
            if ends:
                (x_end, y_end), middle = ends[-1], y - 8
                out.append(draw_wire(f"M{x_end:.1f} {y_end:.1f}h8V{middle:.1f}H12V{line:.1f}h8"))
            x = 20.0
            for i, box in enumerate(row):
                if i:
                    out.append(draw_wire(f"M{x - BLOCK_GAP:.1f} {line:.1f}h{BLOCK_GAP}"))
                out.append(draw_box(box, x, line))
                x += box.width + BLOCK_GAP
            ends.append((x - BLOCK_GAP, line))
            widest = max(widest, x)
            y = line + max(box.down for box in row) + 36
        out.append(self.key(y))
        width, height = max(widest + 16, 640), y + 22
        name = escape(self.net.name)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
            f'height="{height:.0f}" role="img" aria-label="{name}"><style>{DRAWING_STYLE}</style>'
            f'<rect class="page" width="100%" height="100%"/><text class="head" x="20" y="22">{name}</text>'
            f"{''.join(out)}</svg>\n"
        )

    def key(self, y: float) -> str:
        """The colours that occur, and the scale."""
        used = {DRAW(row.layer).kind for row in self.rows.values()}
        x, parts = 20.0, []
        for kind in (kind for kind in KIND_WORDS if kind in used):
            word = say(KIND_WORDS[kind])
            parts.append(f'<rect class="{kind}" x="{x:.0f}" y="{y - 9:.0f}" width="10" height="10"/>')
            parts.append(f'<text class="key" x="{x + 14:.0f}" y="{y:.0f}">{word}</text>')
            x += 24 + 6 * measure_width(word)
        scale = say("height by √ of the map's height, breadth by √ of its channels")
        return "".join(parts) + f'<text class="key soft" x="20" y="{y + 15:.0f}">{scale}</text>'


def drop_names(layer: Layer) -> Any:
    """What two layers that differ in name alone have in common."""
    if isinstance(layer, Parallel):
        return layer.branches, layer.join
    if isinstance(layer, (Sequence, SideHead)):
        return type(layer), layer.layers
    return replace(layer, name=None)


def find_repeats(keys: list[Any], at: int) -> tuple[int, int]:
    """(period, times): how the layers from `at` on repeat, up to three at a time, the longest run first."""
    best = (1, 1)
    for period in (1, 2, 3):
        times = 1
        while keys[at : at + period] == keys[at + period * times : at + period * (times + 1)]:
            times += 1
        if times > 1 and period * times > best[0] * best[1]:
            best = (period, times)
    return best


def lay_out_chain(parts: Iterable[DrawnBox], frame: str = "") -> BoxChain:
    parts = tuple(parts)
    if not parts:
        return BoxChain(BLOCK_GAP, 6, 6, ())
    pad = 8 if frame else 0
    width = sum(box.width for box in parts) + BLOCK_GAP * (len(parts) - 1)
    up, down = max(box.up for box in parts), max(box.down for box in parts)
    width = max(width, CHAR_WIDTH * measure_width(frame))
    return BoxChain(width + 2 * pad, up + (pad + LINE_HEIGHT if frame else 0), down + pad, parts, frame)


def lay_out_fork(branches: PySequence[DrawnBox], join: str, frame: str) -> BoxFork:
    total = sum(box.up + box.down for box in branches) + 8 * (len(branches) - 1)
    width = max(box.width for box in branches) + 2 * BLOCK_GAP + 18
    return BoxFork(
        width + 8, total / 2 + (LINE_HEIGHT + 6 if frame else 4), total / 2 + 4, tuple(branches), join, frame
    )


def break_rows(boxes: list[DrawnBox]) -> list[list[DrawnBox]]:
    """The main line broken into rows of at most WIDTH, where a box alone is not wider."""
    rows: list[list[DrawnBox]] = [[]]
    used = 0.0
    for box in boxes:
        if rows[-1] and used + box.width > DRAWING_WIDTH:
            rows.append([])
            used = 0.0
        rows[-1].append(box)
        used += box.width + BLOCK_GAP
    return rows


def describe_row(row: Row) -> str:
    """What the title of a block says: name, label, shapes and rules."""
    parts = [f"{row.path}: {row.layer.label}", f"{format_shape(row.x)} → {format_shape(row.y)}"]
    parts += [row.size_rule] if row.size_rule else []
    parts += [say("parameters {rule}", rule=row.params_rule)] if row.params else []
    parts += [f"{row.macs:,} MACs"] if row.macs else []
    return "\n".join(parts)
