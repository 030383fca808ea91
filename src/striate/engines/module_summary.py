"""The account of any `nn.Module`, counted on the meta device: no memory, no arithmetic, and the module untouched.

The forward pass runs once on an image without values. Every tensor operation that it reaches is seen below Python,
where functions, operators and modules look alike, so a product inside a `forward` counts as one in a layer does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.parameter import is_lazy

from ..arch.layers import Layer, Shape, show
from ..arch.tables import Total, as_html, as_text
from ..errors import NetError, ShapeError, StriateError, nearest
from .module_records import record
from .operations import Watch, unbatched


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
    alone: Alone
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


class Alone(NamedTuple):
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
    buffers            numbers that are kept but not trained, which Keras counts as parameters and torchvision does not
    macs               multiply-adds of convolutions and matrix products for one image in evaluation
    uncounted          operations that do arithmetic of a kind that we have no rule for, with the module they are in
    unreached          modules whose parameters the forward pass does not touch, such as heads for training alone
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

    @property
    def params(self) -> int:
        return self.trainable + self.frozen

    @property
    def flops(self) -> int:
        """Two a MAC: the multiplication and the addition."""
        return 2 * self.macs

    @property
    def title(self) -> str:
        came = " and ".join(map(show, self.input))
        return f"{self.name}  {came} → {show(self.output) or '?'}"

    @property
    def columns(self) -> tuple[str, ...]:
        return ("kind", "output", "rule", "params", "macs")

    @property
    def lacks(self) -> frozenset[str]:
        """The columns that only the summary of a record has."""
        return frozenset(["field", "stride", "start", "memory"])

    @property
    def totals(self) -> tuple[Total, ...]:
        return (Total("total", self.params, None, self.macs, None),)

    @property
    def notes(self) -> tuple[tuple[str, str], ...]:
        made = [
            ("trainable", f"{self.trainable:,} parameters"),
            ("frozen", f"{self.frozen:,} parameters"),
            ("buffers", f"{self.buffers:,} numbers that are kept but not trained"),
            ("MACs", f"{self.macs:,} multiply-adds of convolutions and matrix products for one image"),
            ("FLOPs", f"{self.flops:,} for one image, two a MAC"),
        ]
        if self.uncounted:
            made.append(("not counted", "; ".join(self.uncounted)))
        if self.unreached:
            made.append(("not reached", "; ".join(self.unreached)))
        return tuple(made)

    @cached_property
    def paths(self) -> dict[str, ModuleRow]:
        return {row.path: row for row in reversed(self.rows)}

    def row(self, path: str) -> ModuleRow:
        """The first call of the module at `path`. Raises NetError with the nearest name."""
        if path not in self.paths:
            raise NetError(path, f"{self.name} has no module of this name", hint=nearest(path, self.paths))
        return self.paths[path]

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
            "uncounted": list(self.uncounted),
            "unreached": list(self.unreached),
            "rows": [row.as_dict() for row in self.rows],
        }

    def __str__(self) -> str:
        return as_text(self)

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Any]:
        from rich.text import Text

        yield Text.from_ansi(as_text(self, options.max_width, color=True), no_wrap=True)

    def _repr_html_(self) -> str:
        return as_html(self)


class ModuleError(ShapeError):
    """A module whose forward pass fails on the input. `summary` has the rows up to the layer that failed."""

    summary: ModuleSummary | None = None

    def __str__(self) -> str:
        rows = f"{as_text(self.summary)}\n\n" if self.summary is not None and self.summary.rows else ""
        return rows + super().__str__()


@dataclass
class Call:
    """A module at work: what the hooks know of it. `row` is its place among the rows."""

    module: nn.Module
    path: str
    name: str
    row: int
    x: Shape
    params: int
    buffers: int
    again: bool
    macs: int = 0
    own_macs: int = 0
    held: list[int] = field(default_factory=list)


class Account:
    """The rows as they come about while the module runs."""

    def __init__(self, module: nn.Module) -> None:
        self.root = module
        self.names: dict[int, list[str]] = {}
        for path, child in module.named_modules(remove_duplicate=False):
            self.names.setdefault(id(child), []).append(path)
        self.owned = {id(p): True for p in module.parameters()} | {id(b): False for b in module.buffers()}
        self.rows: list[ModuleRow | None] = []
        self.stack: list[Call] = []
        self.counted: set[int] = set()
        self.called: set[int] = set()
        self.uncounted: dict[str, None] = {}
        self.macs = 0
        self.failed: Call | None = None

    def enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if id(module) not in self.names:
            return
        outer = self.stack[-1] if self.stack else None
        paths = self.names[id(module)]
        within = f"{outer.path}." if outer is not None and outer.path else ""
        path = next((p for p in paths if p.startswith(within)), paths[0])
        again = id(module) in self.called and any(True for _ in module.parameters())
        self.called.add(id(module))
        params = self.fresh(module._parameters.values())
        buffers = self.fresh(module._buffers.values())
        name = path.removeprefix(within) or type(module).__name__
        self.stack.append(Call(module, path, name, len(self.rows), unbatched(args), params, buffers, again))
        self.rows.append(None)

    def fresh(self, tensors: Any) -> int:
        """How many numbers of `tensors` no row before has counted."""
        total = 0
        for tensor in tensors:
            if tensor is not None and id(tensor) not in self.counted:
                self.counted.add(id(tensor))
                total += tensor.numel()
        return total

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if id(module) not in self.names:
            return
        call = self.stack.pop()
        self.close(call, unbatched(output))

    def close(self, call: Call, y: Shape) -> None:
        """Put the row of a call that has ended into its place, with the sums over what it holds."""
        held = [self.rows[i] for i in call.held]
        inside = sum(row is not None for row in self.rows[call.row + 1 :])
        self.rows[call.row] = ModuleRow(
            path=call.path,
            name=call.name,
            depth=len(self.stack),
            inside=inside,
            kind=type(call.module).__name__,
            layer=record(call.module),
            x=call.x,
            y=y,
            params=call.params + sum(r.params for r in held if r),
            buffers=call.buffers + sum(r.buffers for r in held if r),
            macs=call.own_macs + sum(r.macs for r in held if r),
            alone=Alone(call.params, call.buffers, call.own_macs),
            again=call.again,
        )
        if self.stack:
            self.stack[-1].held.append(call.row)

    def count(self, macs: int) -> None:
        self.macs += macs
        if self.stack:
            self.stack[-1].own_macs += macs

    def uses(self, tensor: Tensor) -> None:
        """A parameter or buffer that an operation reads past the module that owns it belongs to the one at work."""
        if self.stack and id(tensor) in self.owned and id(tensor) not in self.counted:
            self.counted.add(id(tensor))
            if self.owned[id(tensor)]:
                self.stack[-1].params += tensor.numel()
            else:
                self.stack[-1].buffers += tensor.numel()

    def cannot(self, operation: str) -> None:
        """`operation` does arithmetic that we cannot count: name it and its module."""
        call = self.stack[-1] if self.stack else None
        where = f"{call.path or call.name} ({type(call.module).__name__})" if call else type(self.root).__name__
        self.uncounted[f"{operation} in {where}"] = None

    def summary(self, input: tuple[Shape, ...], output: Shape) -> ModuleSummary:
        # The module itself is the table's title; it has a row only where it holds no others, or numbers of its own.
        rows = [row for row in self.rows if row is not None]
        if rows and rows[0].path == "" and rows[0].inside and not any(rows[0].alone):
            rows = [row._replace(depth=row.depth - 1) for row in rows[1:]]
        seen: dict[int, Tensor] = {id(p): p for p in self.root.parameters()}
        buffers = sum(b.numel() for b in self.root.buffers())
        trainable = sum(p.numel() for p in seen.values() if p.requires_grad)
        frozen = sum(p.numel() for p in seen.values() if not p.requires_grad)
        return ModuleSummary(
            type(self.root).__name__,
            input,
            output,
            tuple(rows),
            trainable,
            frozen,
            buffers,
            self.macs,
            tuple(self.uncounted),
            tuple(self.unreached()),
        )

    def unreached(self) -> Iterator[str]:
        """The outermost modules none of whose parameters an operation read, with their number."""
        within = None
        for path, module in self.root.named_modules():
            if within is not None and path.startswith(within):
                continue
            params = list(module.parameters())
            if params and not any(id(p) in self.counted for p in params):
                within = f"{path}."
                yield f"{path} ({type(module).__name__}, {sum(p.numel() for p in params):,} parameters)"


def summarise_module(module: nn.Module, input: Any = None) -> ModuleSummary:
    """The account of any module in evaluation on one image of shape `input`, 3×224×224 where it is None.

    input  the shape of one image, C×H×W, without the batch; or a tensor with the batch; or a list of such, one for
           each argument of `forward`
    Raises ModuleError, with the rows up to the layer that fails, where the forward pass does not fit the input.
    The module is as before afterwards: weights, buffers, hooks, modes and attributes.
    """
    lazy = [path for path, p in module.named_parameters() if is_lazy(p)]
    if lazy:
        raise NetError(
            lazy[0],
            "its shape is not known before the first forward pass",
            got="an uninitialised parameter of a lazy module",
            hint="run the module on one batch first, or give the layer its number of inputs",
        )
    images = given((3, 224, 224) if input is None else input)
    shapes = tuple(tuple(image.shape[1:]) for image in images)
    account = Account(module)
    with untouched(module), torch.no_grad(), watching(account) as watch:
        try:
            output = module(*images)
        except Exception as error:
            raise failed(account, watch, shapes, error) from error
    return account.summary(shapes, unbatched(output))


def given(input: Any) -> list[Tensor]:
    """The arguments of `forward`, on the meta device, with a batch of one."""
    if isinstance(input, Tensor):
        return [input.to("meta")]
    if isinstance(input, (tuple, list)) and input and all(isinstance(n, int) and n > 0 for n in input):
        return [torch.empty(1, *input, device="meta")]
    if isinstance(input, (tuple, list)) and input and not any(isinstance(n, int) for n in input):
        return [image for part in input for image in given(part)]
    raise NetError("input", "input must be the shape of one image", got=repr(input), hint="(3, 224, 224)")


@contextmanager
def watching(account: Account) -> Iterator[Watch]:
    """Hooks for all modules, which leave the module's own alone, and the watch over the operations."""
    before = register_module_forward_pre_hook(lambda module, args: account.enter(module, args))
    after = register_module_forward_hook(lambda module, args, output: account.leave(module, args, output))
    try:
        with Watch(account.count, account.cannot, account.uses) as watch:
            yield watch
    finally:
        before.remove()
        after.remove()


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """In evaluation mode within, and exactly as before afterwards, whatever a forward pass assigns or breaks off."""
    before = [(child, remembered(child)) for child in module.modules()]
    try:
        for child, _ in before:
            child.__dict__["training"] = False
        yield
    finally:
        for child, (attributes, contents) in before:
            child.__dict__.clear()
            child.__dict__.update(attributes)
            for container, content in contents:
                container.clear()
                container.extend(content) if isinstance(container, list) else container.update(content)


def remembered(module: nn.Module) -> tuple[dict[str, Any], list[tuple[Any, Any]]]:
    """A module's attributes, and what is in those that are lists, dicts or sets: its parameters and hooks too."""
    attributes = dict(module.__dict__)
    contents = [(v, v.copy()) for v in attributes.values() if type(v).__name__ in PLAIN and hasattr(v, "clear")]
    return attributes, contents


PLAIN = ("list", "dict", "set", "OrderedDict")


def failed(account: Account, watch: Watch, shapes: tuple[Shape, ...], error: Exception) -> ModuleError:
    """The error of the innermost module at work, with the rows before it and the arithmetic that would fit."""
    from .module_failures import explained

    rows = [row for row in account.rows if row is not None]
    call = account.stack[-1] if account.stack else None
    while account.stack:
        # What holds the failed layer keeps its row, so that the table says where in the module it is.
        open_call = account.stack.pop()
        if open_call is not call:
            account.close(open_call, ())
    made = explained(call.module, call.path, call.x, rows, shapes, watch.last, error) if call else None
    raised = ModuleError("", "") if made is None else made
    raised.summary = account.summary(shapes, ())
    return raised
