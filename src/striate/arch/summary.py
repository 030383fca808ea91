"""The account of a Net: a row a layer, totals and shares. Computed from the record alone, in milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from .layers import Container, Layer, Shape, SideHead, show
from .net import Field, Net, Step


class Row(NamedTuple):
    """One layer's line.

    path      its full name; `depth` containers are around it, `inside` of the next rows are within it
    x, y      shape of one image's map before and after it
    params    trainable parameters; for a container the sum over what it holds, `macs` likewise
    buffers   numbers kept but not trained: the running statistics of BatchNorm
    field     the receptive field of one unit of its output, None for the whole input
    unread    rows at the bottom and columns at the right of `x` that no window covers
    side      computed in training alone (within a SideHead)
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

    @property
    def kind(self) -> str:
        return type(self.layer).__name__

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
            "stride": None if self.field is None else [axis.jump for axis in self.field],
            "start": None if self.field is None else [axis.start for axis in self.field],
            "unread": list(self.unread),
            "side": self.side,
        }


class Part(NamedTuple):
    """A part of the net and its share (0 to 1) of all parameters and MACs."""

    name: str
    params: int
    params_share: float
    macs: int
    macs_share: float


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
        groups: dict[str, list[Row]] = {"feature extraction": [], "classifier": [], "side heads": []}
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

    def row(self, path: str) -> Row:
        """The row at `path`. Raises NetError with the nearest name."""
        step = self.net.at(path)
        return next(row for row in self.rows if row.path == step.path)

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
        from .tables import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from .tables import as_html

        return as_html(self)


def summarise(net: Net) -> Summary:
    """The account of `net`: exact, without weights, torch or a forward pass.

    >>> from striate import nets
    >>> s = summarise(nets.lenet5(input=(3, 32, 32)))
    >>> s.params, s.macs, s.row("conv1").params_rule
    (62006, 651720, '(5·5·3 + 1)·6 = 456')
    """
    return Summary(net, tuple(with_sums(list(map(row, net.steps)))))


def row(step: Step) -> Row:
    layer, x = step.layer, step.x
    buffers = sum(t.shape[0] for t in layer.tensors(x) if not t.trainable) if layer.KIND == "bn" else 0
    return Row(
        step.path, step.depth, step.inside, layer, x, step.y,
        layer.params(x), buffers, layer.macs(x), step.field, layer.unread(x), step.side,
    )  # fmt: skip


def with_sums(rows: list[Row]) -> Iterator[Row]:
    """The rows, each container with the sums over the leaves inside it."""
    for i, r in enumerate(rows):
        if r.inside:
            held = [h for h in rows[i + 1 : i + 1 + r.inside] if not h.inside]
            counted: Iterable[Row] = held if r.side or isinstance(r.layer, SideHead) else [h for h in held if not h.side]
            r = r._replace(
                params=sum(h.params for h in held),
                buffers=sum(h.buffers for h in held),
                macs=sum(h.macs for h in counted),
            )
        yield r
