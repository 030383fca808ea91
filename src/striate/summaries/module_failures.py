"""Why a torch layer refuses its input, with the arithmetic, and the setting that would fit."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from torch import nn

from ..architecture.layers import Shape, format_shape
from ..errors import ShapeError
from ..language import join_texts, say, say_count
from .module_quantised import is_torchs
from .module_records import find_record
from .module_rows import ModuleError, ModuleRow


def explain_failure(
    module: Any,
    path: str,
    x: Shape,
    rows: Sequence[ModuleRow],
    inputs: tuple[Shape, ...],
    last: tuple[str, tuple[Shape, ...]],
    error: Exception,
) -> ModuleError:
    """The error of `module` at `path`, which failed on the input `x` in the operation `last`, after the `rows`."""
    where = f"{path or 'forward'} ({type(module).__name__})"
    if is_kind_of(module, nn.Linear, "in_features") and x and x[-1] != module.in_features:
        return explain_dense(where, module, x, rows)
    convolves = is_kind_of(module, nn.modules.conv._ConvNd, "in_channels")
    if convolves and len(x) != len(module.kernel_size) + 1:
        return explain_axes(where, module, x, x in inputs)
    if convolves and x[0] != module.in_channels:
        return explain_channels(where, "in_channels", module.in_channels, x, x in inputs)
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and x and x[0] != module.num_features:
        return explain_channels(where, "num_features", module.num_features, x, x in inputs)
    if isinstance(module, nn.LayerNorm) and tuple(x[-len(module.normalized_shape) :]) != tuple(module.normalized_shape):
        asked, fits = list(module.normalized_shape), list(x[-len(module.normalized_shape) :])
        what = say(
            "normalized_shape={asked}, but {shape} ends in {fits}",
            asked=asked,
            shape=format_shape(x),
            fits=format_shape(tuple(fits)),
        )
        return ModuleError(where, what, hint=say("set normalized_shape={fits}", fits=fits))
    layer = find_record(module)
    if layer is not None:
        try:
            layer.out(x)
        except ShapeError as e:
            return ModuleError(where, e.what, got=e.got, rule=e.rule, hint=translate_hint(e.hint))
    return report_torch_error(where, last, rows, inputs, error)


def is_kind_of(module: Any, kind: type, field: str) -> bool:
    """Whether `module` is torch's layer of this kind, or its quantised form, which has the same fields alone."""
    return isinstance(module, kind) or (is_torchs(module) and hasattr(module, field))


def explain_dense(where: str, module: nn.Linear, x: Shape, rows: Sequence[ModuleRow]) -> ModuleError:
    """A Linear whose in_features are not the number of values that come."""
    asked = f"in_features={module.in_features}"
    if len(x) == 3:
        whole = f"{prod(x)} = {'·'.join(map(str, x))}"
        hint = say("flatten it first, which gives {whole} values", whole=whole)
        if prod(x) != module.in_features:
            hint = say("{hint} and set in_features={n}", hint=hint, n=prod(x))
        return ModuleError(
            where,
            say(
                "{asked}, but a map {shape} reaches it, of which it reads the last axis, {last}",
                asked=asked,
                shape=format_shape(x),
                last=x[-1],
            ),
            hint=hint,
        )
    n, at = x[-1], len(rows)
    while at and len(rows[at - 1].y) == 1 and rows[at - 1].layer is not None and not rows[at - 1].macs:
        at -= 1  # over Flatten, Dropout and activations, back to what they work on
    made = next((row for row in reversed(rows[:at]) if row.y), None)
    hint = say("set in_features={n}", n=n)
    if made is None or len(made.y) != 3 or prod(made.y) != n:
        what = say("{asked}, but the input has {n} values", asked=asked, n=n)
        if made is not None and made.y == (n,):
            what = say("{asked}, but the input of {path} has {n} values", asked=asked, path=made.path, n=n)
        return ModuleError(where, what, hint=hint)
    ruled = next((r for r in reversed(rows[:at]) if r.y[1:] == made.y[1:] and r.size_rule and not r.inside), None)
    factors = "·".join(map(str, made.y))
    what = say("{asked}, but the flattened input has {n} = {factors}", asked=asked, n=n, factors=factors)
    if ruled is not None:
        what = say("{what} (from {path}: {rule})", what=what, path=ruled.path, rule=ruled.size_rule)
    return ModuleError(where, what, hint=hint)


def explain_axes(where: str, module: Any, x: Shape, given: bool) -> ModuleError:
    """A convolution over another number of axes than the map has."""
    takes = "C×" + "×".join("DHW"[-len(module.kernel_size) :] if len(module.kernel_size) > 1 else "L")
    hint = (
        say("give the shape of one image, {takes}, or a tensor with its batch, N×{takes}", takes=takes)
        if given
        else None
    )
    made = ModuleError(
        where,
        say("it takes a map {takes}, but {shape} reaches it", takes=takes, shape=format_shape(x) or say("a number")),
        hint=hint,
    )
    made.axes = True
    return made


def explain_channels(where: str, field: str, asked: int, x: Shape, given: bool) -> ModuleError:
    what = say_count(
        "{field}={asked}, but {shape} with {n} channel reaches it",
        "{field}={asked}, but {shape} with {n} channels reaches it",
        x[0],
        field=field,
        asked=asked,
        shape=format_shape(x),
    )
    if given and len(x) > 1 and x[-1] == asked:
        first = format_shape((x[-1], *x[:-1]))
        return ModuleError(where, what, hint=say("channels come first here: did you mean {first}?", first=first))
    return ModuleError(where, what, hint=say("set {field}={count}", field=field, count=x[0]))


def translate_hint(hint: str | None) -> str | None:
    """Our hint in torch's words."""
    return hint and hint.replace("kernel=", "kernel_size=")


def report_torch_error(
    where: str, last: tuple[str, tuple[Shape, ...]], rows: Sequence[ModuleRow], inputs: tuple[Shape, ...], error: Any
) -> ModuleError:
    """Torch's own words, with the shapes that met and where each came from."""
    operation, shapes = last
    lines = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    hint = None
    if operation in ("embedding", "_embedding_bag") and "indices" in what:
        hint = say("give whole numbers, as a tensor with its batch: torch.zeros(1, 7, dtype=torch.long)")
    if "meta" in what:
        what = say(
            "its forward pass asks for a value, and shapes alone have none ({operation})", operation=operation or "item"
        )
        hint = say("the summary follows shapes; a branch that depends on values has no one answer")
        return ModuleError(where, what, hint=hint)

    def named(shape: Shape) -> str:
        made = next((row for row in reversed(rows) if row.y == shape), None)
        origin = made.path or made.name if made is not None else say("the input") if shape in inputs else None
        return (
            say("{shape} (from {origin})", shape=format_shape(shape), origin=origin)
            if origin
            else format_shape(shape) or say("a number")
        )

    got = None
    if shapes:
        names = join_texts(say(" and "), list(map(named, shapes)))
        got = say("{operation} of {names}", operation=operation, names=names)
    return ModuleError(where, what, got=got, hint=hint)
