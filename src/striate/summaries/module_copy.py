"""A module's double: the same objects anew, with a stand-in for each tensor.

The forward pass runs on the double. Whatever it assigns, appends or counts, in however deep a list, happens there, so
the module itself is never written to, and may be at work in another thread meanwhile.
"""

from __future__ import annotations

import copyreg
import weakref
from collections.abc import Callable, Iterator
from itertools import chain
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import NetError
from ..language import say

# What cannot change, or is not a module's own: classes, functions without a closure, and the like.
SHARED_TYPES = (
    type(None), bool, int, float, complex, str, bytes, type, range, slice, type(...), ModuleType,
    torch.dtype, torch.device, torch.layout, torch.memory_format, torch.jit.ScriptModule, torch.ScriptObject,
)  # fmt: skip
MISSING = object()
# Torch's wrappers that hand all on to one module, and under what name they have it. They would ask for compilers,
# devices or other processes; what is looked at is the module.
WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}


def copy_module(module: nn.Module, stand_in: Callable[[Tensor], Tensor]) -> nn.Module:
    """`module`'s double in evaluation mode, `stand_in` in the place of each of its tensors."""
    double = ModuleCopier(stand_in).copy(module)
    for _, child in walk_modules(double):
        if not isinstance(child, torch.jit.ScriptModule):
            child.__dict__["training"] = False
    return double


class ModuleCopier:
    """`copy.deepcopy` with two differences: tensors are stood in for, and what cannot be copied stays what it is.

    made  the copies by the id of what they are of, in the form that `__deepcopy__` takes
    """

    def __init__(self, stand_in: Callable[[Tensor], Tensor]) -> None:
        self.stand_in = stand_in
        self.made: dict[int, Any] = {}
        # What has a copy is kept, so that its id is not given to another meanwhile.
        self.kept: list[Any] = []

    def copy(self, value: Any) -> Any:
        if isinstance(value, SHARED_TYPES):
            return value
        found = self.made.get(id(value), MISSING)
        if found is MISSING:
            self.kept.append(value)
            try:
                found = self.build(value)
            except Exception:  # locks, open files, generators: whatever refuses to be copied, in words of its own
                found = value
            self.made[id(value)] = found
        return found

    def build(self, value: Any) -> Any:
        kind = type(value)
        if isinstance(value, Tensor):
            return self.copy_tensor(value)
        if isinstance(value, nn.Module):
            return self.copy_child(value)
        if kind in BUILDERS:
            return BUILDERS[kind](self, value)
        if hasattr(kind, "__deepcopy__"):
            return value.__deepcopy__(self.made)
        # A copy would be torn down as well: a handle closed, a worker stopped, memory freed twice.
        return value if hasattr(kind, "__del__") else self.rebuild(value)

    def copy_tensor(self, tensor: Tensor) -> Tensor:
        made = self.stand_in(tensor)
        if made is not tensor and tensor.__dict__:
            made.__dict__.update((key, self.copy(value)) for key, value in tensor.__dict__.items())
        return made

    def copy_child(self, module: nn.Module) -> nn.Module:
        inner = module._modules.get(WRAPPERS.get(type(module).__name__, ""))
        if inner is not None and type(module).__module__.startswith("torch."):
            return self.copy(inner)
        # Not by __deepcopy__ or __reduce__, which some modules refuse; a module is what is in its __dict__.
        double = self.made[id(module)] = object.__new__(type(module))
        attributes = double.__dict__
        for key, value in list(module.__dict__.items()):
            attributes[key] = None if key == "_compiled_call_impl" else self.copy(value)
        return double

    def copy_dict(self, value: dict[Any, Any]) -> dict[Any, Any]:
        made = self.made[id(value)] = {}
        for key, item in list(value.items()):  # at once: another thread may be at work on it
            made[self.copy(key)] = self.copy(item)
        return made

    def copy_list(self, value: list[Any]) -> list[Any]:
        made = self.made[id(value)] = []
        made.extend(map(self.copy, list(value)))
        return made

    def copy_tuple(self, value: tuple[Any, ...]) -> tuple[Any, ...]:
        made = tuple(map(self.copy, value))
        same = all(a is b for a, b in zip(made, value, strict=True))
        return value if same else self.made.get(id(value), made)

    def copy_set(self, value: set[Any]) -> set[Any]:
        return set(map(self.copy, list(value)))

    def copy_method(self, value: MethodType) -> MethodType:
        return MethodType(value.__func__, self.copy(value.__self__))

    def copy_builtin(self, value: BuiltinFunctionType) -> Any:
        """`list.append` of a list that has a double is that of the double."""
        owner = value.__self__
        return value if isinstance(owner, SHARED_TYPES) else getattr(self.copy(owner), value.__name__)

    def copy_generator(self, value: torch.Generator) -> torch.Generator:
        return value.clone_state()

    def copy_function(self, value: FunctionType) -> FunctionType:
        """A function that holds a module or a list in its closure, as hooks do, gets the doubles of those."""
        if not value.__closure__:
            return value
        cells = tuple(map(self.copy, value.__closure__))
        made = FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, cells)
        self.made[id(value)] = made
        made.__kwdefaults__, made.__qualname__, made.__module__ = (
            value.__kwdefaults__, value.__qualname__, value.__module__,
        )  # fmt: skip
        made.__dict__.update((key, self.copy(item)) for key, item in value.__dict__.items())
        return made

    def copy_cell(self, value: CellType) -> CellType:
        made = self.made[id(value)] = CellType()
        try:
            made.cell_contents = self.copy(value.cell_contents)
        except ValueError:  # nothing is in it yet
            pass
        return made

    def copy_reference(self, value: weakref.ref[Any]) -> weakref.ref[Any]:
        found = self.made.get(id(value()))
        return value if found is None else weakref.ref(found)

    def rebuild(self, value: Any) -> Any:
        """Any other object from what pickle would keep of it: class, arguments, state, items."""
        reduce = copyreg.dispatch_table.get(type(value))
        parts = reduce(value) if reduce is not None else value.__reduce_ex__(4)
        if isinstance(parts, str):
            return value
        make, args, state, items, pairs = (*parts, None, None, None)[:5]
        made = self.made[id(value)] = make(*map(self.copy, args))
        if state is not None:
            self.restore_state(made, self.copy(state))
        for item in items or ():
            made.append(self.copy(item))
        for key, item in pairs or ():
            made[self.copy(key)] = self.copy(item)
        return made

    def restore_state(self, made: Any, state: Any) -> None:
        if hasattr(made, "__setstate__"):
            made.__setstate__(state)
            return
        state, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
        if state:
            made.__dict__.update(state)
        for key, item in (slots or {}).items():
            setattr(made, key, item)


BUILDERS: dict[type, Callable[[ModuleCopier, Any], Any]] = {
    dict: ModuleCopier.copy_dict,
    list: ModuleCopier.copy_list,
    tuple: ModuleCopier.copy_tuple,
    set: ModuleCopier.copy_set,
    MethodType: ModuleCopier.copy_method,
    BuiltinFunctionType: ModuleCopier.copy_builtin,
    torch.Generator: ModuleCopier.copy_generator,
    FunctionType: ModuleCopier.copy_function,
    CellType: ModuleCopier.copy_cell,
    weakref.ref: ModuleCopier.copy_reference,
}


def make_meta(tensor: Tensor) -> Tensor:
    """A stand-in without memory; a tensor of a kind that the meta device does not know stays itself."""
    if type(tensor) is nn.Parameter:
        return nn.Parameter(torch.empty_like(tensor.detach(), device="meta"), tensor.requires_grad)
    if type(tensor) is not Tensor:
        return tensor
    try:
        return torch.empty_like(tensor.detach(), device="meta")
    except (RuntimeError, NotImplementedError):
        return tensor


def make_clone(tensor: Tensor) -> Tensor:
    """A copy with the values, for kernels that exist on the processor alone."""
    if type(tensor) is nn.Parameter:
        return nn.Parameter(tensor.detach().clone(), tensor.requires_grad)
    return tensor.detach().clone()


def need_module(module: Any) -> nn.Module:
    """`module` where it is one that can be summarised. Raises NetError."""
    what = say("a Net, a zoo name, a file or a torch.nn.Module is needed")
    if isinstance(module, type) and issubclass(module, nn.Module):
        raise NetError(
            "summary",
            say("a Net, a zoo name, a file or a torch.nn.Module is needed, not the class of one"),
            got=module.__name__,
            hint=say("make one of it: {name}(…)", name=module.__name__),
        )
    if not isinstance(module, nn.Module):
        hint: str | None = (
            say("call it in the forward of a torch.nn.Module, and give that") if callable(module) else None
        )
        hint = say("give its net: summary(model.net)") if hasattr(module, "net") else hint
        raise NetError("summary", what, got=type(module).__name__, hint=hint)
    for path, child in walk_modules(module):
        if not hasattr(child, "_parameters"):
            hint = say("call super().__init__() first in its __init__")
            raise NetError(path or type(child).__name__, say("this torch.nn.Module was never initialised"), hint=hint)
    return module


def walk_modules(module: nn.Module, path: str = "", within: tuple[int, ...] = ()) -> Iterator[tuple[str, nn.Module]]:
    """`module` and all in it, each under all of its names.

    As `named_modules`, but from what torch itself keeps: `self.modules = […]` hides the method of that name.
    """
    yield path, module
    within = (*within, id(module))
    for name, child in getattr(module, "_modules", {}).items():
        if child is not None and id(child) not in within:
            yield from walk_modules(child, f"{path}.{name}" if path else name, within)


def list_modules(module: nn.Module) -> list[nn.Module]:
    """`module` and all in it, each once."""
    return list({id(child): child for _, child in walk_modules(module)}.values())


def list_parameters(module: nn.Module) -> list[nn.Parameter]:
    """The parameters of `module` and of all in it, each once."""
    found = chain.from_iterable(child._parameters.values() for child in list_modules(module))
    return list({id(p): p for p in found if p is not None}.values())


def list_buffers(module: nn.Module) -> list[Tensor]:
    """The buffers of `module` and of all in it, each once."""
    found = chain.from_iterable(child._buffers.values() for child in list_modules(module))
    return list({id(b): b for b in found if b is not None}.values())
