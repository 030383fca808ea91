"""The account of any `nn.Module`, counted on the meta device: no memory, no arithmetic, and the module untouched.

The forward pass runs once on an image without values. Every tensor operation that it reaches is seen below Python,
where functions, operators and modules look alike, so a product inside a `forward` counts as one in a layer does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.nn.parameter import is_lazy

from ..architecture.layers import Shape
from ..errors import NetError
from .module_failures import explain_failure
from .module_operations import OperationWatch, drop_batch
from .module_records import find_record
from .module_rows import ModuleError, ModuleRow, ModuleSummary, OwnCounts


@dataclass
class ModuleCall:
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


class RowRecorder:
    """The rows as they come about while the module runs."""

    def __init__(self, module: nn.Module) -> None:
        self.root = module
        self.names: dict[int, list[str]] = {}
        for path, child in module.named_modules(remove_duplicate=False):
            self.names.setdefault(id(child), []).append(path)
        self.owned = {id(p): True for p in module.parameters()} | {id(b): False for b in module.buffers()}
        self.rows: list[ModuleRow | None] = []
        self.stack: list[ModuleCall] = []
        self.counted: set[int] = set()
        self.called: set[int] = set()
        self.uncounted: dict[str, None] = {}
        self.macs = 0
        self.failed: ModuleCall | None = None

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
        self.stack.append(ModuleCall(module, path, name, len(self.rows), drop_batch(args), params, buffers, again))
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
        self.close(call, drop_batch(output))

    def close(self, call: ModuleCall, y: Shape) -> None:
        """Put the row of a call that has ended into its place, with the sums over what it holds."""
        held = [self.rows[i] for i in call.held]
        inside = sum(row is not None for row in self.rows[call.row + 1 :])
        self.rows[call.row] = ModuleRow(
            path=call.path,
            name=call.name,
            depth=len(self.stack),
            inside=inside,
            kind=type(call.module).__name__,
            layer=find_record(call.module),
            x=call.x,
            y=y,
            params=call.params + sum(r.params for r in held if r),
            buffers=call.buffers + sum(r.buffers for r in held if r),
            macs=call.own_macs + sum(r.macs for r in held if r),
            alone=OwnCounts(call.params, call.buffers, call.own_macs),
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
    images = make_arguments((3, 224, 224) if input is None else input)
    shapes = tuple(tuple(image.shape[1:]) for image in images)
    account = RowRecorder(module)
    with preserve_module(module), torch.no_grad(), watch_modules(account) as watch:
        try:
            output = module(*images)
        except Exception as error:
            raise explain_failed_module(account, watch, shapes, error) from error
    return account.summary(shapes, drop_batch(output))


def make_arguments(input: Any) -> list[Tensor]:
    """The arguments of `forward`, on the meta device, with a batch of one."""
    if isinstance(input, Tensor):
        return [input.to("meta")]
    if isinstance(input, (tuple, list)) and input and all(isinstance(n, int) and n > 0 for n in input):
        return [torch.empty(1, *input, device="meta")]
    if isinstance(input, (tuple, list)) and input and not any(isinstance(n, int) for n in input):
        return [image for part in input for image in make_arguments(part)]
    raise NetError("input", "input must be the shape of one image", got=repr(input), hint="(3, 224, 224)")


@contextmanager
def watch_modules(account: RowRecorder) -> Iterator[OperationWatch]:
    """Hooks for all modules, which leave the module's own alone, and the watch over the operations."""
    before = register_module_forward_pre_hook(lambda module, args: account.enter(module, args))
    after = register_module_forward_hook(lambda module, args, output: account.leave(module, args, output))
    try:
        with OperationWatch(account.count, account.cannot, account.uses) as watch:
            yield watch
    finally:
        before.remove()
        after.remove()


@contextmanager
def preserve_module(module: nn.Module) -> Iterator[None]:
    """In evaluation mode within, and exactly as before afterwards, whatever a forward pass assigns or breaks off."""
    before = [(child, remember_attributes(child)) for child in module.modules()]
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


def remember_attributes(module: nn.Module) -> tuple[dict[str, Any], list[tuple[Any, Any]]]:
    """A module's attributes, and what is in those that are lists, dicts or sets: its parameters and hooks too."""
    attributes = dict(module.__dict__)
    contents = [(v, v.copy()) for v in attributes.values() if type(v).__name__ in PLAIN_TYPES and hasattr(v, "clear")]
    return attributes, contents


PLAIN_TYPES = ("list", "dict", "set", "OrderedDict")


def explain_failed_module(
    account: RowRecorder, watch: OperationWatch, shapes: tuple[Shape, ...], error: Exception
) -> ModuleError:
    """The error of the innermost module at work, with the rows before it and the arithmetic that would fit."""
    rows = [row for row in account.rows if row is not None]
    call = account.stack[-1] if account.stack else None
    while account.stack:
        # What holds the failed layer keeps its row, so that the table says where in the module it is.
        open_call = account.stack.pop()
        if open_call is not call:
            account.close(open_call, ())
    made = explain_failure(call.module, call.path, call.x, rows, shapes, watch.last, error) if call else None
    raised = ModuleError("", "") if made is None else made
    raised.summary = account.summary(shapes, ())
    return raised
