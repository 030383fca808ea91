"""The account of any `nn.Module`, counted on the meta device: no memory, no arithmetic, and the module untouched.

The forward pass runs once, on a double of the module and an image without values. Every tensor operation that it
reaches is seen below Python, where functions, operators and modules look alike, so a product inside a `forward` counts
as one in a layer does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ..architecture.layers import Shape
from ..errors import NetError
from ..language import say
from .module_copy import (
    copy_module,
    list_buffers,
    list_modules,
    list_parameters,
    make_clone,
    make_meta,
    need_module,
    walk_modules,
)
from .module_failures import explain_failure
from .module_inputs import ForwardCall, GivenInput, choose_dtype, make_call, may_hold_batch, read_input
from .module_operations import OperationWatch, drop_batch
from .module_quantised import find_packed_weights, is_quantised, is_torchs
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
        for path, child in walk_modules(module):
            self.names.setdefault(id(child), []).append(path)
        # As they are before the pass, which may put others in their place.
        self.parameters, self.buffers = list_parameters(module), list_buffers(module)
        self.owned = {id(p): True for p in self.parameters} | {id(b): False for b in self.buffers}
        self.rows: list[ModuleRow | None] = []
        self.stack: list[ModuleCall] = []
        self.counted: set[int] = set()
        self.called: set[int] = set()
        self.unpacked: set[int] = set()
        self.uncounted: dict[str, None] = {}
        self.packed = {id(m): find_packed_weights(m) for m in list_modules(module)}
        self.macs = 0

    def enter(self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        outer = self.stack[-1] if self.stack else None
        paths = self.names[id(module)]
        within = f"{outer.path}." if outer is not None and outer.path else ""
        path = next((p for p in paths if p.startswith(within)), paths[0])
        again = id(module) in self.called and bool(list_parameters(module))
        self.called.add(id(module))
        params = self.fresh(module._parameters.values()) + self.unpack(module)
        buffers = self.fresh(module._buffers.values())
        name = path.removeprefix(within) or type(module).__name__
        x = drop_batch([args, named])
        self.stack.append(ModuleCall(module, path, name, len(self.rows), x, params, buffers, again))
        self.rows.append(None)

    def fresh(self, tensors: Any) -> int:
        """How many numbers of `tensors` no row before has counted."""
        total = 0
        for tensor in tensors:
            if tensor is not None and id(tensor) not in self.counted:
                self.counted.add(id(tensor))
                total += tensor.numel()
        return total

    def unpack(self, module: nn.Module) -> int:
        """The packed weights of `module` and of the modules in it that are never called, where no row has them yet."""
        total = 0
        for child in list_modules(module) if is_torchs(module) else [module]:
            if id(child) not in self.unpacked:
                self.unpacked.add(id(child))
                total += self.packed[id(child)]
        return total

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        while self.stack[-1].module is not module:
            self.close(self.stack.pop(), ())  # it failed, and its container caught that
        self.close(self.stack.pop(), drop_batch(output))

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

    def summary(self, input: tuple[Shape, ...], output: Shape, images: int | None) -> ModuleSummary:
        # The module itself is the table's title; it has a row only where it holds no others, or numbers of its own.
        rows = [row for row in self.rows if row is not None]
        if rows and rows[0].path == "" and rows[0].inside and not any(rows[0].alone):
            rows = [row._replace(depth=row.depth - 1) for row in rows[1:]]
        return ModuleSummary(
            type(self.root).__name__,
            input,
            output,
            tuple(rows),
            sum(p.numel() for p in self.parameters if p.requires_grad),
            sum(p.numel() for p in self.parameters if not p.requires_grad) + sum(self.packed.values()),
            sum(b.numel() for b in self.buffers),
            self.macs,
            tuple(self.uncounted),
            tuple(self.unreached()),
            images,
        )

    def unreached(self) -> Iterator[str]:
        """The outermost modules none of whose parameters an operation read, with their number."""
        within = None
        for path, module in walk_modules(self.root):
            if within is not None and path.startswith(within):
                continue
            params = list_parameters(module)
            if params and not any(id(p) in self.counted for p in params):
                within = f"{path}."
                yield say(
                    "{path} ({name}, {params:,} parameters)",
                    path=path,
                    name=type(module).__name__,
                    params=sum(p.numel() for p in params),
                )


def summarise_module(module: nn.Module, input: Any = None, **named: Any) -> ModuleSummary:
    """The account of any module in evaluation on one image of shape `input`, 3×224×224 where it is None.

    input  the shape of one image, C×H×W; where only the shape with a batch fits, as torchinfo takes it, it is taken for
           that. Or a tensor with its batch, which is cut to the first image. Or a list with one of these for each
           argument of `forward`; a list within it is a list for `forward`. Or a dict by the names of the arguments;
           where `forward` takes one argument and none of these names, it is that argument
    named  further arguments of `forward` by name, likewise
    Shapes stand for tensors of the module's own kind of number, half or double.
    Raises NetError for what is no module or no input, ModuleError, with the rows up to the layer that fails, where the
    forward pass does not fit the input. All is done to a double: the module itself is as before, and may be at work.
    """
    need_module(module)
    lazy = [f"{path}.{name}".lstrip(".") for path, m in walk_modules(module) for name in list_lazy(m)]
    if lazy:
        raise NetError(
            lazy[0],
            say("its shape is not known before the first forward pass"),
            got=say("an uninitialised parameter of a lazy module"),
            hint=say("run the module on one batch first, or give the layer its number of inputs"),
        )
    with torch.inference_mode(False):  # else a convolution would reach the watch under another name
        return choose_account(module, read_input(module, input, named))


def choose_account(module: nn.Module, given: GivenInput) -> ModuleSummary:
    """The account of shapes as those of one image; where they are none, as those of a batch. Raises ModuleError."""
    try:
        return count_forward(module, given, False)
    except ModuleError as error:
        if not may_hold_batch(given):
            raise
        first = error
    try:
        return count_forward(module, given, True)
    except ModuleError as second:
        # Neither fits. What came further, or failed by more than the number of axes, says more.
        raise (second if rank_failure(second) > rank_failure(first) else first) from None


def list_lazy(module: nn.Module) -> list[str]:
    """The names of the module's own tensors that have no shape yet."""
    return [name for name, p in [*module._parameters.items(), *module._buffers.items()] if p is not None and is_lazy(p)]


def rank_failure(error: ModuleError) -> tuple[int, bool]:
    return len(error.summary.rows) if error.summary is not None else 0, not error.axes


def count_forward(module: nn.Module, given: GivenInput, batched: bool) -> ModuleSummary:
    """The account of a forward pass of one image; `batched` where the given shapes begin with a batch.

    A batch must fit as a whole too: torch takes 1×28×28 for an image without a batch, and 8×28×28 for no image at all.
    """
    dtype, device = choose_dtype(module), "cpu" if is_quantised(module) else "meta"
    call = make_call(given, dtype, device, batched)
    found = follow_forward(module, call)
    if call.images is not None and call.images > 1:
        try:
            follow_forward(module, make_call(given, dtype, device, batched, whole=True))
        except ModuleError as error:
            error.what = say(
                "one image fits, and the whole batch of {images:,} does not: {what}",
                images=call.images,
                what=error.what,
            )
            error.axes, error.hint = True, say("a tensor begins with its batch: N×C×H×W")
            raise
    return found


def follow_forward(module: nn.Module, call: ForwardCall) -> ModuleSummary:
    """The account of one forward pass of the module's double. Raises ModuleError."""
    real = is_quantised(module)
    double = copy_module(module, make_clone if real else make_meta)
    account = RowRecorder(double)
    with torch.no_grad(), watch_modules(account, real) as watch:
        watch.know([call.args, call.named])
        try:
            output = double(*call.args, **call.named)
        except Exception as error:
            raise explain_failed_module(account, watch, call, error) from error
    return account.summary(call.shapes, drop_batch(output), call.images)


@contextmanager
def watch_modules(account: RowRecorder, real: bool) -> Iterator[OperationWatch]:
    """Hooks before the double's own, and the watch over the operations. No other module is hooked."""
    hooks: list[Any] = []
    try:
        for child in list_modules(account.root):
            enter = nn.Module.register_forward_pre_hook(child, account.enter, prepend=True, with_kwargs=True)
            leave = nn.Module.register_forward_hook(child, account.leave, prepend=True)
            hooks += enter, leave
        with OperationWatch(account.count, account.cannot, account.uses, real) as watch:
            yield watch
    finally:
        # A scripted module has no double: it is hooked itself.
        for hook in hooks:
            hook.remove()


def explain_failed_module(
    account: RowRecorder, watch: OperationWatch, forward: ForwardCall, error: Exception
) -> ModuleError:
    """The error of the innermost module at work, with the rows before it and the arithmetic that would fit."""
    rows = [row for row in account.rows if row is not None]
    call = account.stack[-1] if account.stack else None
    while account.stack:
        # What holds the failed layer keeps its row, so that the table says where in the module it is.
        open_call = account.stack.pop()
        if open_call is not call:
            account.close(open_call, ())
    made = explain_failure(call.module, call.path, call.x, rows, forward.shapes, watch.last, error) if call else None
    raised = ModuleError("", "") if made is None else made
    raised.summary = account.summary(forward.shapes, (), forward.images)
    return raised
