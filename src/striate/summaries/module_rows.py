"""What the account of a foreign module says: its rows, its totals, and the error with the rows before a failure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from ..architecture.layers import Layer, Shape, format_shape
from ..errors import NetError, ShapeError, StriateError, suggest_name
from ..language import in_english, join_texts, say, to_say
from .columns import Total
from .table_pages import render_table_html
from .tables import render_table_text


class ModuleRow(NamedTuple):
    """One call of a module.

    path      its name in the module, "layer1.0.conv1"; name, what of it its container's path does not say
    x, y      shape of one image's tensor before and after it, () where it takes or gives none
    params    of it and all in it, those already counted in an earlier row left out; `macs` and `buffers` likewise
    alone     parameters, buffers and MACs of its own, outside the modules that it holds
    layer     our record of it, None for one that we have no record of
    again     it has parameters, and was called before: they are in that row
    side      False: all that the forward pass reaches in evaluation is part of it
    """

    path: str
    name: str
    depth: int
    inside: int
    kind: str
    layer: Layer | None
    x: Shape
    y: Shape
    params: int
    buffers: int
    macs: int
    alone: OwnCounts
    again: bool
    side: bool = False

    @property
    def label(self) -> str:
        text = self.layer.label if self.layer is not None else self.kind
        return f"{text}, again" if self.again else text

    @property
    def ruled(self) -> Shape:
        """The input as the record's rules take it: of a sequence of vectors, one vector."""
        return self.x[-1:] if self.layer is not None and self.layer.KIND == "dense" else self.x

    @property
    def size_rule(self) -> str:
        try:
            return self.layer.size_rule(self.ruled) if self.layer is not None else ""
        except (StriateError, IndexError):
            return ""

    @property
    def params_rule(self) -> str:
        rule = ""
        if self.layer is not None and self.layer.params(self.ruled) == self.params:
            rule = self.layer.params_rule(self.ruled)
        return f"{rule} = {self.params:,}" if rule else f"{self.params:,}" if self.params else ""

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "kind": self.kind,
            "layer": self.label,
            "depth": self.depth,
            "input": list(self.x),
            "output": list(self.y),
            "size_rule": self.size_rule,
            "params": self.params,
            "params_rule": self.params_rule,
            "buffers": self.buffers,
            "macs": self.macs,
            "again": self.again,
        }


class OwnCounts(NamedTuple):
    """What a module has of its own beside the modules in it."""

    params: int
    buffers: int
    macs: int
    side: bool = False

    @property
    def params_rule(self) -> str:
        return f"{self.params:,}" if self.params else ""


@dataclass(frozen=True)
class ModuleSummary:
    """The account of `module`. In a terminal `print` it, in a notebook it renders as a table.

    trainable, frozen  parameters with and without `requires_grad`; a shared one is counted once
    buffers            non-trainable values, which Keras counts as parameters and torchvision does not
    macs               multiply-adds of convolutions and matrix products for one image in evaluation
    uncounted          operations that do arithmetic of a kind that we have no rule for, with the module they are in
    unreached          modules whose parameters the forward pass does not touch, such as heads for training alone
    images             how many came, where a batch did: all figures are for one; None where the shape of one came
    """

    name: str
    input: tuple[Shape, ...]
    output: Shape
    rows: tuple[ModuleRow, ...]
    trainable: int
    frozen: int
    buffers: int
    macs: int
    uncounted: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()
    images: int | None = None

    @property
    def params(self) -> int:
        return self.trainable + self.frozen

    @property
    def flops(self) -> int:
        """Two a MAC: the multiplication and the addition."""
        return 2 * self.macs

    @property
    def title(self) -> str:
        came = " and ".join(map(format_shape, filter(None, self.input)))
        return f"{self.name}  {came} → {format_shape(self.output) or '?'}"

    @property
    def columns(self) -> tuple[str, ...]:
        return ("kind", "output", "rule", "params", "macs")

    @property
    def lacks(self) -> frozenset[str]:
        """The columns that only the summary of a record has."""
        return frozenset(["field", "stride", "start", "memory"])

    @property
    def totals(self) -> tuple[Total, ...]:
        return (Total(to_say("total"), self.params, None, self.macs, None),)

    @property
    def notes(self) -> tuple[tuple[str, str], ...]:
        made = [
            (say("trainable"), say("{count:,} parameters", count=self.trainable)),
            (say("frozen"), say("{count:,} parameters", count=self.frozen)),
            (say("buffers"), say("{buffers:,} non-trainable values", buffers=self.buffers)),
            ("MACs", say("{macs:,} multiply-adds of convolutions and matrix products for one image", macs=self.macs)),
            ("FLOPs", say("{flops:,} for one image, two per MAC", flops=self.flops)),
        ]
        if self.uncounted:
            made.append((say("not counted"), "; ".join(self.uncounted)))
        if self.images is not None and self.images > 1:
            made.append((say("batch"), say("{images:,} images came; all figures are for one", images=self.images)))
        if self.unreached:
            made.append((say("not reached"), join_texts("; ", self.unreached)))
        return tuple(made)

    @cached_property
    def paths(self) -> dict[str, ModuleRow]:
        return {row.path: row for row in reversed(self.rows)}

    def row(self, path: str) -> ModuleRow:
        """The first call of the module at `path`. Raises NetError with the nearest name."""
        if path not in self.paths:
            raise NetError(
                path, say("{name} has no module of this name", name=self.name), hint=suggest_name(path, self.paths)
            )
        return self.paths[path]

    @in_english
    def as_dict(self) -> dict[str, Any]:
        """All of it as plain JSON data."""
        return {
            "name": self.name,
            "input": [list(x) for x in self.input],
            "output": list(self.output),
            "params": self.params,
            "trainable": self.trainable,
            "frozen": self.frozen,
            "buffers": self.buffers,
            "macs": self.macs,
            "flops": self.flops,
            "images": self.images,
            "uncounted": list(self.uncounted),
            "unreached": list(self.unreached),
            "rows": [row.as_dict() for row in self.rows],
        }

    def __str__(self) -> str:
        return render_table_text(self)

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.text import Text

        yield Text.from_ansi(render_table_text(self, options.max_width, color=True), no_wrap=True)

    def _repr_html_(self) -> str:
        return render_table_html(self)


class ModuleError(ShapeError):
    """A module whose forward pass fails on the input.

    summary  the rows up to the layer that failed
    axes     whether the layer takes another number of axes
    """

    summary: ModuleSummary | None = None
    axes: bool = False

    def __str__(self) -> str:
        rows = f"{render_table_text(self.summary)}\n\n" if self.summary is not None and self.summary.rows else ""
        return rows + super().__str__()
