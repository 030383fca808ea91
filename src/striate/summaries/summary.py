"""The account of a Net: a row a layer, totals and shares. Computed from the record alone, in milliseconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import floor
from typing import Any, NamedTuple

from ..architecture.layers import Container, Layer, Sequence, Shape, SideHead, format_shape
from ..architecture.net import Axis, Field, LayerStep, Net
from ..language import in_english, say, say_count, to_say
from .columns import Total, format_axes, format_memory, format_share
from .memory import Memory, TrainingPass, estimate_memory
from .table_pages import render_table_html
from .tables import render_table_text


class Ledger:
    """What each layer of a net keeps for the backward pass, worked out when it is first asked for."""

    def __init__(self, net: Net) -> None:
        self.net = net

    @cached_property
    def kept(self) -> tuple[int, ...]:
        """Bytes for one image, step by step, a container's with those of all in it."""
        total = [0]
        for kept in TrainingPass(self.net).kept():
            total.append(total[-1] + kept.image + kept.once)
        return tuple(total[i + 1 + step.inside] - total[i] for i, step in enumerate(self.net.steps))


class Row(NamedTuple):
    """One layer's line.

    path      its full name; `depth` containers are around it, `inside` of the next rows are within it
    x, y      shape of one image's map before and after it
    params    trainable parameters; for a container the sum over what it holds, `macs` likewise
    buffers   numbers kept but not trained: the running statistics of BatchNorm
    field     the receptive field of one unit of its output, None for the whole input
    local     the receptive field beside all gates, which see the whole input
    unread    rows at the bottom and columns at the right of `x` that no window covers
    side      computed in training alone (within a SideHead)
    ledger    where `kept` is looked up, at `place`
    """

    path: str
    depth: int
    inside: int
    layer: Layer
    x: Shape
    y: Shape
    params: int
    buffers: int
    macs: int
    field: Field
    unread: tuple[int, int]
    side: bool
    ledger: Ledger
    place: int
    local: tuple[Axis, Axis]

    @property
    def kept(self) -> int:
        """Bytes that training on one image keeps for the backward pass, and no layer before it keeps."""
        return self.ledger.kept[self.place]

    @property
    def name(self) -> str:
        return self.path.rsplit(".", 1)[-1]

    @property
    def kind(self) -> str:
        return type(self.layer).__name__

    @property
    def alone(self) -> None:
        """A record's containers have nothing of their own."""
        return None

    @property
    def label(self) -> str:
        """The layer in a few characters; nothing for a plain Sequence."""
        if isinstance(self.layer, Sequence):
            return ""
        if isinstance(self.layer, SideHead):
            return say("side head, {weight:g} of the loss", weight=self.layer.weight)
        return self.layer.label

    @property
    def size_rule(self) -> str:
        return self.layer.size_rule(self.x)

    @property
    def params_rule(self) -> str:
        """`(5·5·3 + 1)·6 = 456`, or only the number where no rule stands behind it."""
        rule = self.layer.params_rule(self.x)
        return f"{rule} = {self.params:,}" if rule else f"{self.params:,}" if self.params else ""

    @property
    def field_size(self) -> tuple[int, int] | None:
        return None if self.field is None else (self.field[0].size, self.field[1].size)

    @property
    def local_size(self) -> tuple[int, int]:
        return self.local[0].size, self.local[1].size

    @in_english
    def as_dict(self) -> dict[str, Any]:
        """The row as plain JSON data."""
        return {
            "path": self.path,
            "kind": self.kind,
            "layer": self.layer.label,
            "depth": self.depth,
            "input": list(self.x),
            "output": list(self.y),
            "size_rule": self.size_rule,
            "params": self.params,
            "params_rule": self.params_rule,
            "buffers": self.buffers,
            "macs": self.macs,
            "field": None if self.field is None else list(self.field_size or ()),
            "local_field": list(self.local_size),
            "stride": None if self.field is None else [axis.jump for axis in self.field],
            "start": None if self.field is None else [axis.start for axis in self.field],
            "unread": list(self.unread),
            "kept": self.kept,
            "side": self.side,
        }


PART_NAMES = (to_say("feature extraction"), to_say("classifier"), to_say("side heads"))


class Part(NamedTuple):
    """A part of the net and its share (0 to 1) of all parameters and MACs."""

    name: str
    params: int
    params_share: float
    macs: int
    macs_share: float


class FieldView(NamedTuple):
    """How much of the input a map sees.

    unit   rows and columns of the input that one of its units sees, cut at the edges
    whole  rows and columns that all of its units see together
    share  of the input's pixels that they see together, 0 to 1
    """

    unit: tuple[int, int]
    whole: tuple[int, int]
    share: float

    def text(self, row: Row, input: Shape) -> str:
        seen = {"path": row.path, "size": format_axes(self.unit), "input": format_shape(input[1:])}
        if row.y[1:] == (1, 1):
            return say("one unit of {path} sees {size} of {input} pixels", **seen)
        return say(
            "one unit of {path} sees {size} of {input} pixels; its {units} units together see {share} of the image",
            **seen, units=format_shape(row.y[1:]), share=format_share(self.share),
        )  # fmt: skip


@dataclass(frozen=True)
class Summary:
    """The account of `net`. In a terminal `print` it, in a notebook it renders as a table.

    params   all trainable parameters, side heads included
    buffers  BatchNorm's running statistics, which Keras counts as parameters and torchvision does not
    macs     multiply-adds of convolutions and dense layers for one image in evaluation
    """

    net: Net
    rows: tuple[Row, ...]

    @cached_property
    def leaves(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not isinstance(row.layer, Container))

    @cached_property
    def params(self) -> int:
        return sum(row.params for row in self.leaves)

    @cached_property
    def buffers(self) -> int:
        return sum(row.buffers for row in self.leaves)

    @cached_property
    def macs(self) -> int:
        return sum(row.macs for row in self.leaves if not row.side)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Feature extraction, the classifier, and side heads where there are any.

        The classifier begins with the first layer of the main line that makes a vector of a map, or, where none
        does, with the first that takes a vector.
        """
        features = next((i for i, row in enumerate(self.rows) if row.depth == 0 and len(row.y) == 1), len(self.rows))
        groups: dict[str, list[Row]] = {name: [] for name in PART_NAMES}
        for i, row in enumerate(self.rows):
            if not isinstance(row.layer, Container):
                groups["side heads" if row.side else "feature extraction" if i < features else "classifier"].append(row)
        made = []
        for name, rows in groups.items():
            params, macs = sum(row.params for row in rows), sum(row.macs for row in rows)
            if rows:
                macs_share = 0.0 if name == "side heads" else macs / max(self.macs, 1)
                made.append(Part(name, params, params / max(self.params, 1), macs, macs_share))
        return tuple(made)

    @property
    def unread(self) -> tuple[Row, ...]:
        """The rows whose window leaves pixels at the edge unread."""
        return tuple(row for row in self.rows if any(row.unread))

    @property
    def last_map(self) -> Row | None:
        """The last layer of the main line that makes a map of more than one pixel: what the classifier reads."""
        maps = [row for row in self.rows if row.depth == 0 and len(row.y) == 3]
        return next((row for row in reversed(maps) if row.y[1:] != (1, 1)), maps[-1] if maps else None)

    @property
    def view(self) -> FieldView | None:
        """How much of the input the last map sees; None where it has no map."""
        last = self.last_map
        return None if last is None else measure_view(last, self.net.input)

    @property
    def title(self) -> str:
        return f"{self.net.name}  {format_shape(self.net.input)} → {format_shape(self.net.output)}"

    @property
    def columns(self) -> tuple[str, ...]:
        return ("kind", "output", "rule", "params", "macs", "field")

    @property
    def lacks(self) -> frozenset[str]:
        return frozenset()

    @property
    def totals(self) -> tuple[Total, ...]:
        """The parts, and the whole last."""
        whole = Total(to_say("total"), self.params, None, self.macs, None)
        shares = (None,) if len(self.parts) == 1 else ()
        return (*(Total(*part) for part in self.parts if not shares), whole)

    @property
    def notes(self) -> tuple[tuple[str, str], ...]:
        """What stands under the table, as (name, text)."""
        made = [("FLOPs", say("{flops:,} for one image, two per MAC", flops=2 * self.macs))]
        if self.buffers:
            text = say("{buffers:,} non-trainable values (running statistics)", buffers=self.buffers)
            made.append((say("buffers"), text))
        if self.last_map is not None and self.view is not None:
            text = self.view.text(self.last_map, self.net.input)
            if any(row.field is None for row in self.rows):
                text = say("{seen}; behind a gate a unit sees all, and beside it the number in brackets", seen=text)
            made.append((say("field"), text))
        made.append((say("unread"), format_unread(self.unread)))
        made.append((say("memory"), describe_memory(self.memory(batch=32))))
        return tuple(made)

    def memory(self, batch: int = 1, optimizer: str = "adam") -> Memory:
        """The bytes of a training step on `batch` images, see `summaries.memory`."""
        return estimate_memory(self.net, batch, optimizer)

    def row(self, path: str) -> Row:
        """The row at `path`. Raises NetError with the nearest name."""
        step = self.net.at(path)
        return next(row for row in self.rows if row.path == step.path)

    @in_english
    def as_dict(self) -> dict[str, Any]:
        """All of it as plain JSON data."""
        return {
            "name": self.net.name,
            "input": list(self.net.input),
            "output": list(self.net.output),
            "params": self.params,
            "buffers": self.buffers,
            "macs": self.macs,
            "parts": [part._asdict() for part in self.parts],
            "rows": [row.as_dict() for row in self.rows],
        }

    def __str__(self) -> str:
        return render_table_text(self)

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        """In Rich's terminals, as wide as they are and with their colours."""
        from rich.text import Text

        yield Text.from_ansi(render_table_text(self, options.max_width, color=True), no_wrap=True)

    def _repr_html_(self) -> str:
        return render_table_html(self)


def summarise_net(net: Net) -> Summary:
    """The account of `net`: exact, without weights, torch or a forward pass.

    >>> from striate import nets
    >>> s = summarise_net(nets.lenet5(input=(3, 32, 32)))
    >>> s.params, s.macs, s.row("conv1").params_rule
    (62006, 651720, '(5·5·3 + 1)·6 = 456')
    """
    ledger = Ledger(net)
    return Summary(net, add_sums([make_row(step, ledger, place) for place, step in enumerate(net.steps)]))


def measure_view(row: Row, input: Shape) -> FieldView:
    """The part of `input` that the map after `row` sees: the union of its units' fields, each from its first pixel
    to its last."""
    if row.field is None:
        return FieldView((input[1], input[2]), (input[1], input[2]), 1.0)
    sides = list(zip(row.field, input[1:], row.y[1:], strict=True))
    unit, whole = [count_widest(*side) for side in sides], [count_covered(*side) for side in sides]
    return FieldView((unit[0], unit[1]), (whole[0], whole[1]), whole[0] * whole[1] / (input[1] * input[2]))


def count_widest(axis: Axis, n: int, count: int) -> int:
    """The most of `n` pixels that one of `count` units sees: that of a unit whose field is cut least."""
    cut_least = sorted((0, n - axis.size))  # from here to there the field starts that is cut no more than it must be
    near = {int((place - axis.start) // axis.jump) + more for place in cut_least for more in (0, 1)}
    starts = [axis.start + floor(min(max(i, 0), count - 1) * axis.jump) for i in near]
    return max(0, *(min(n, start + axis.size) - max(0, start) for start in starts), 0)


def count_covered(axis: Axis, n: int, count: int) -> int:
    """How many of `n` pixels `count` units see together."""
    low = max(0, int((-axis.start - axis.size) // axis.jump) + 1)  # the first unit that ends within the input
    high = min(count - 1, int((n - 1 - axis.start) // axis.jump))  # and the last one that starts there
    if high < low:
        return 0
    first, last = axis.start + floor(low * axis.jump), axis.start + floor(high * axis.jump) + axis.size
    if axis.jump <= axis.size:
        return min(n, last) - max(0, first)
    return (high - low + 1) * axis.size - max(0, -first) - max(0, last - n)


def describe_memory(m: Memory) -> str:
    """What a training step takes, in a sentence."""
    return say(
        "weights {weights}; a training step on {batch} images keeps {kept} for the backward pass and peaks at {peak} "
        "({optimizer})",
        weights=format_memory(m.weights), batch=m.batch, kept=format_memory(m.activations),
        peak=format_memory(m.peak), optimizer=m.optimizer,
    )  # fmt: skip


def format_unread(rows: tuple[Row, ...]) -> str:
    """The pixels at the edge that no window reads, in words."""
    if not rows:
        return say("every pixel at the edges is read")
    return "; ".join(say("{path} leaves {pixels}", path=row.path, pixels=format_left(*row.unread)) for row in rows)


def format_left(rows: int, columns: int) -> str:
    """So many rows and columns at the map's end."""
    below = say_count("{n} row at the bottom", "{n} rows at the bottom", rows)
    beside = say_count("{n} column at the right", "{n} columns at the right", columns)
    if rows and columns:
        return say("{below} and {beside}", below=below, beside=beside)
    return below if rows else beside


def make_row(step: LayerStep, ledger: Ledger, place: int) -> Row:
    layer, x = step.layer, step.x
    return Row(
        step.path, step.depth, step.inside, layer, x, step.y,
        layer.params(x), layer.buffers(x), layer.macs(x), step.field, layer.unread(x), step.side, ledger, place,
        step.local,
    )  # fmt: skip


def add_sums(rows: list[Row]) -> tuple[Row, ...]:
    """The rows, each container with the sums over the leaves inside it."""
    params, buffers, macs, main = ([0] for _ in range(4))
    for r in rows:
        params.append(params[-1] + r.params)
        buffers.append(buffers[-1] + r.buffers)
        macs.append(macs[-1] + r.macs)
        main.append(main[-1] + (0 if r.side else r.macs))
    for i, r in enumerate(rows):
        if r.inside:
            start, end = i + 1, i + 1 + r.inside
            # What only training computes counts within a side head, and not in a stage that holds one.
            work = macs if r.side or isinstance(r.layer, SideHead) else main
            rows[i] = r._replace(
                params=params[end] - params[start],
                buffers=buffers[end] - buffers[start],
                macs=work[end] - work[start],
            )
    return tuple(rows)
