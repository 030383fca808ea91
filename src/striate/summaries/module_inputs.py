"""What `forward` is called with: shapes, tensors, lists and dicts of them, as arguments of one image."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from numbers import Integral
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ..architecture.layers import Shape, format_shape
from ..errors import NetError, suggest_name
from ..language import say, to_say
from .module_copy import list_buffers, list_parameters

ACCEPTED = to_say(
    "(3, 224, 224), a tensor with its batch, a list with one of these for each argument, or a dict of them by name"
)
# Numbers that layers compute in; those of 8 bits only store weights.
COMPUTED = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.complex128)


class GivenShape(NamedTuple):
    """A shape that stands for a tensor."""

    shape: Shape


class GivenInput(NamedTuple):
    """What was asked for, its shapes as `GivenShape`; tensors and constants as they are."""

    args: tuple[Any, ...]
    named: dict[str, Any]


class ForwardCall(NamedTuple):
    """The arguments of one `forward`.

    shapes  of each tensor among them, without the batch
    images  how many the tensors or shapes held, cut to one; None where shapes of one image were given
    """

    args: tuple[Any, ...]
    named: dict[str, Any]
    shapes: tuple[Shape, ...]
    images: int | None


def read_input(module: nn.Module, input: Any, named: Mapping[str, Any]) -> GivenInput:
    """`input` and the arguments by name, checked. Raises NetError for what is no shape or no argument of `forward`."""
    given = {key: read_part(value) for key, value in named.items()}
    if input is None:
        args: tuple[Any, ...] = () if given else (GivenShape((3, 224, 224)),)
    elif isinstance(input, Mapping):
        whole = {str(key): read_part(value) for key, value in input.items()}
        if takes_one_dict(module, whole):
            args = (whole,)
        else:
            args, given = (), whole | given
    elif isinstance(input, (tuple, list)) and not is_shape(input) and not isinstance(input, PackedSequence):
        args = tuple(map(read_part, input))
    else:
        args = (read_part(input),)
    if not any(True for _ in list_given([args, given])):
        raise NetError("input", say("input must be the shape of one image"), got=repr(input), hint=say(ACCEPTED))
    check_names(module, args, given)
    return GivenInput(args, given)


def is_shape(value: Any) -> bool:
    return (
        isinstance(value, (tuple, list))
        and bool(value)
        and all(isinstance(n, Integral) and not isinstance(n, bool) and int(n) > 0 for n in value)
    )


def read_part(value: Any) -> Any:
    """`value` with each shape in it as a `GivenShape`. Raises NetError."""
    if isinstance(value, Tensor):
        if 0 in value.shape[:1]:
            raise NetError("input", say("this batch is empty"), got=format_shape(tuple(value.shape)))
        return value
    if is_shape(value):
        return GivenShape(tuple(map(int, value)))
    if isinstance(value, PackedSequence):
        what = say("a packed sequence has no one image: its steps hold different numbers of sequences")
        raise NetError("input", what, hint=say("give the padded tensor, and pack it in forward"))
    if isinstance(value, Mapping):
        return {key: read_part(item) for key, item in value.items()}
    numbers = isinstance(value, (tuple, list)) and any(isinstance(n, (Integral, float)) for n in value)
    if isinstance(value, (tuple, list)) and value and not numbers:
        return type(value)(map(read_part, value)) if type(value) in (tuple, list) else list(map(read_part, value))
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise NetError("input", say("input must be the shape of one image"), got=repr(value), hint=say(ACCEPTED))


def list_given(value: Any) -> Iterator[Tensor | GivenShape]:
    """The shapes and tensors in `value`."""
    if isinstance(value, (Tensor, GivenShape)):
        yield value
    elif isinstance(value, (Mapping, tuple, list)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from list_given(part)


def find_parameters(module: nn.Module) -> Mapping[str, inspect.Parameter]:
    """What `forward` takes, by name; empty where that is not known."""
    try:
        return inspect.signature(module.forward).parameters
    except (TypeError, ValueError):
        return {}


def takes_one_dict(module: nn.Module, given: Mapping[str, Any]) -> bool:
    """Whether `forward` takes one argument, and none by the names in `given`: then the dict itself is meant."""
    known = find_parameters(module)
    open_ended = any(p.kind is p.VAR_KEYWORD for p in known.values())
    asked = [p for p in known.values() if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return len(asked) == 1 and not open_ended and not set(given) & set(known)


def check_names(module: nn.Module, args: tuple[Any, ...], given: Mapping[str, Any]) -> None:
    known = find_parameters(module)
    if not known or any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return
    for name in given:
        if name not in known:
            what = say("forward of {name} takes no argument of this name", name=type(module).__name__)
            raise NetError(name, what, hint=suggest_name(name, ["input", *known]))


def may_hold_batch(given: GivenInput) -> bool:
    """Whether the shapes could begin with a batch, as torchinfo takes them: all with one number, and more behind it."""
    shapes = [part.shape for part in list_given(given) if isinstance(part, GivenShape)]
    return bool(shapes) and all(len(shape) > 1 and shape[0] == shapes[0][0] for shape in shapes)


def choose_dtype(module: nn.Module) -> torch.dtype:
    """The kind of number that the module computes in: that of its first parameter or buffer of real numbers."""
    for tensor in [*list_parameters(module), *list_buffers(module)]:
        if tensor.dtype in COMPUTED:
            return tensor.dtype
    return torch.get_default_dtype()


def make_call(given: GivenInput, dtype: torch.dtype, device: str, batched: bool, whole: bool = False) -> ForwardCall:
    """The arguments, cut to one image unless the `whole` batch is asked for.

    batched  whether shapes begin with the batch; tensors always do. The batch is the first axis of the first of them,
             and of those that have as many; what has another first axis is no batch, and stays whole
    """
    parts = list(list_given(given))
    firsts = [part.shape[0] for part in parts if len(part.shape) and (batched or isinstance(part, Tensor))]
    images = firsts[0] if firsts else None
    shapes: list[Shape] = []

    def make(part: Tensor | GivenShape) -> Tensor:
        if isinstance(part, GivenShape):
            shape = part.shape[1:] if batched else part.shape
            made = torch.zeros(((images or 1) if whole and batched else 1, *shape), dtype=dtype, device=device)
        else:
            cut = part[:1] if part.ndim and part.shape[0] == images and not whole else part
            # The values of whole numbers, such as lengths, may be asked for; an image's are not looked at.
            real = device != "meta" or not (cut.is_floating_point() or cut.is_complex())
            made = cut.detach().cpu().clone() if real else torch.empty_like(cut, device="meta")
            shape = tuple(made.shape)
            shape = shape[1:] if shape[:1] == (1,) else shape
        shapes.append(shape)
        return made

    args, named = fill_in(given.args, make), fill_in(given.named, make)
    return ForwardCall(args, named, tuple(shapes), images)


def fill_in(value: Any, make: Callable[[Any], Tensor]) -> Any:
    """`value` with what `make` makes of each shape and tensor in it."""
    if isinstance(value, (Tensor, GivenShape)):
        return make(value)
    if isinstance(value, dict):
        return {key: fill_in(item, make) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(fill_in(item, make) for item in value)
    return value
