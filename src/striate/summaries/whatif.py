"""What if: changes that people make to a network, each computed through, with the new record ready to paste."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from ..architecture.layers import (
    ELU,
    GELU,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    GlobalAvgPool,
    HardSwish,
    Layer,
    LeakyReLU,
    Parallel,
    ReLU,
    ReLU6,
    Sequence,
    SideHead,
    SiLU,
    Softmax,
    Tanh,
    format_shape,
)
from ..architecture.limits import FACTORED, WHAT_IF
from ..architecture.net import LayerStep, Net, make_inner_net
from ..architecture.window import make_pair
from ..errors import NetError, StriateError
from ..language import in_english, say

WHATIF_ACTIVATIONS = (ReLU, ReLU6, LeakyReLU, ELU, GELU, SiLU, HardSwish, Tanh)
# A bottleneck has a quarter of the channels, as in ResNet.
REDUCTION = 4


class WhatIf(NamedTuple):
    """One change and what it would come to.

    path    the layer that it replaces; for a head the first of its layers
    change  in words: "5×5 as two 3×3"
    before  (parameters, MACs) of the replaced layers; after  those of the new ones
    record  the new layers, ready to paste in their place
    net     the whole net with the change
    """

    path: str
    change: str
    before: tuple[int, int]
    after: tuple[int, int]
    record: str
    net: Net

    @property
    def saved(self) -> tuple[int, int]:
        """Parameters and MACs saved; below 0 where the change costs some."""
        return self.before[0] - self.after[0], self.before[1] - self.after[1]

    @property
    def text(self) -> str:
        old, new = self.before, self.after
        return say(
            "{path}: {change}: {old_params:,} → {new_params:,} parameters ({params}), {old_macs:,} → {new_macs:,} MACs "
            "({macs})",
            path=self.path, change=self.change, old_params=old[0], new_params=new[0], old_macs=old[1], new_macs=new[1],
            params=format_change(old[0], new[0]), macs=format_change(old[1], new[1]),
        )  # fmt: skip

    @in_english
    def as_dict(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "change": self.change,
            "params": [self.before[0], self.after[0]],
            "macs": [self.before[1], self.after[1]],
            "record": self.record,
        }


def format_change(before: int, after: int) -> str:
    """The change in percent.

    >>> format_change(200, 150), format_change(0, 3)
    ('−25.0 %', 'new')
    """
    if not before:
        return say("new") if after else say("none")
    share = 100 * (after - before) / before
    return f"{'+' if share > 0 else '−' if share < 0 else '±'}{abs(share):.1f} %"


def suggest_changes(net: Net, path: str | None = None) -> list[WhatIf]:
    """The changes that would save parameters or MACs, the largest saving of parameters first.

    path  only those of the layer there, and all of them, whether they save or not
    Raises NetError for a path that is not there, and without one for a net of more layers than limits.WHAT_IF.

    >>> from striate import nets
    >>> print(suggest_changes(nets.lenet5(input=(3, 32, 32)))[0].text)
    flatten: global average pooling in place of flatten and dense: 59,134 → 170 parameters (−99.7 %), \
58,920 → 160 MACs (−99.7 %)
    """
    if path is None and len(net.steps) > WHAT_IF:
        what, got = say("the net has too many layers for all their changes to be computed"), f"{len(net.steps):,}"
        raise NetError(
            net.name, what, got=got, rule=say("at most {most:,}", most=WHAT_IF), hint=say("ask about a part of it")
        )
    steps = [net.at(path)] if path is not None else [step for step in net.steps if not step.side]
    found = [w for step in steps for change in CHANGES for w in change(net, step)]
    if path is None:
        found = [w for w in found if w.saved[0] > 0 or w.saved[1] > 0]
    return sorted(found, key=lambda w: w.saved, reverse=True)


def factor_convolution(net: Net, step: LayerStep) -> Iterator[WhatIf]:
    """A k×k convolution as (k − 1)/2 of 3×3, which see the same pixels (Simonyan and Zisserman 2014, section 2.3).

    Up to limits.FACTORED: beyond, dozens of layers in place of one are no usual change.
    """
    conv = step.layer
    if not isinstance(conv, Conv) or conv.groups > 1 or conv.dilation != 1:
        return
    k, _ = make_pair(conv.kernel)
    if not isinstance(conv.kernel, int) or not 5 <= k <= FACTORED or k % 2 == 0:
        return
    count = (k - 1) // 2
    between = list_followers(net, step)
    layers: list[Layer] = []
    for i, padding in enumerate(divide_padding(conv.padding, count)):
        last = i == count - 1
        stride = conv.stride if last else 1
        layers += [Conv(conv.filters, 3, stride, padding, bias=conv.bias, init=conv.init), *([] if last else between)]
    words = {2: say("two"), 3: say("three"), 4: say("four"), 5: say("five")}
    change = say("{kernel}×{kernel} as {count} 3×3", kernel=k, count=words.get(count, count))
    yield from try_change(net, step, 1, layers, change)


def divide_padding(padding: Any, count: int) -> list[Any]:
    """The padding of each of `count` 3×3 convolutions that together pad as one larger one does."""
    if isinstance(padding, str):
        return [padding] * count
    four = (padding,) * 4 if isinstance(padding, int) else padding
    return [tuple(p // count + (i < p % count) for p in four) for i in range(count)]


def add_bottleneck(net: Net, step: LayerStep) -> Iterator[WhatIf]:
    """A 1×1 convolution to fewer channels before it, as inception has before its 3×3 and 5×5 (Szegedy et al. 2014)."""
    conv = step.layer
    if not isinstance(conv, Conv) or conv.groups > 1 or conv.kernel == 1 or step.x[0] < 4 * REDUCTION:
        return
    narrow = Conv(step.x[0] // REDUCTION, 1, bias=conv.bias, init=conv.init)
    layers = [narrow, *list_followers(net, step), replace(conv, name=None)]
    yield from try_change(net, step, 1, layers, say("1×1 to {filters} channels before it", filters=narrow.filters))


def separate_depthwise(net: Net, step: LayerStep) -> Iterator[WhatIf]:
    """Each channel filtered by itself, then mixed by 1×1: depthwise-separable (Chollet 2016; Howard et al. 2017)."""
    conv = step.layer
    if not isinstance(conv, Conv) or conv.groups > 1 or conv.kernel == 1 or step.x[0] == 1:
        return
    each = replace(conv, filters=step.x[0], groups=step.x[0], bias=False, name=None)
    layers: list[Layer] = [each, Conv(conv.filters, 1, bias=conv.bias, init=conv.init)]
    yield from try_change(net, step, 1, layers, say("depthwise-separable"))


def pool_globally(net: Net, step: LayerStep) -> Iterator[WhatIf]:
    """The mean of each last map and one dense layer in place of a flattened map and several (Lin et al. 2013)."""
    if not isinstance(step.layer, Flatten) or step.depth:
        return
    at = next(i for i, (name, _) in enumerate(net.body.named) if name == step.path)
    tail = [layer for _, layer in net.body.named][at:]
    classifier = next((layer for layer in reversed(tail) if isinstance(layer, Dense)), None)
    if classifier is None or any(isinstance(layer, (Parallel, Sequence, SideHead)) for layer in tail):
        return
    end = [layer for layer in tail[-1:] if isinstance(layer, Softmax)]
    layers = [GlobalAvgPool(), classifier, *end]
    yield from try_change(net, step, len(tail), layers, say("global average pooling in place of flatten and dense"))


CHANGES: tuple[Callable[[Net, LayerStep], Iterator[WhatIf]], ...] = (
    factor_convolution,
    add_bottleneck,
    separate_depthwise,
    pool_globally,
)


def list_followers(net: Net, step: LayerStep) -> list[Layer]:
    """The normalisation and the activation that follow a convolution: what also goes between the parts of it."""
    here = net.steps.index(step)
    found: list[Layer] = []
    for following in net.steps[here + 1 : here + 3]:
        if following.path.rpartition(".")[0] != step.path.rpartition(".")[0]:
            break
        if isinstance(following.layer, BatchNorm) and not found:
            found.append(replace(following.layer, name=None))
        elif isinstance(following.layer, WHATIF_ACTIVATIONS):
            return [*found, replace(following.layer, name=None)]
        else:
            break
    return found if any(isinstance(layer, BatchNorm) for layer in found) else []


def try_change(net: Net, step: LayerStep, count: int, layers: list[Layer], change: str) -> Iterator[WhatIf]:
    """The net with `count` layers from `step` on replaced by `layers`; nothing where that does not fit."""
    try:
        new = replace_layers(net, step.path, count, layers)
        made = Sequence(*layers)
        counted = make_inner_net(step.x, [made]) if len(step.x) == 3 else None
    except StriateError:
        return
    if counted is None or new.output != net.output:
        return
    here = net.steps.index(step)
    old = net.steps[here : here + count]
    before = sum(s.layer.params(s.x) for s in old), sum(s.layer.macs(s.x) for s in old)
    inner = [s for s in counted.steps if s.depth]
    after = sum(s.layer.params(s.x) for s in inner), sum(s.layer.macs(s.x) for s in inner)
    yield WhatIf(step.path, change, before, after, ",\n".join(map(repr, layers)), new)


def replace_layers(net: Net, path: str, count: int, layers: list[Layer]) -> Net:
    """`net` with `count` layers from `path` on replaced by `layers`.

    A layer that has a name of its own hands it to a Sequence of the new ones; others are replaced in the row.
    Raises NetError where there is no such path.
    """
    top = rebuild_container(net.body, path.split("."), count, layers)
    return replace(net, layers=top.layers)


def rebuild_container(holder: Any, parts: list[str], count: int, layers: list[Layer]) -> Any:
    """The container `holder` with the replacement made in it, however deep."""
    children = list(holder.named)
    at = next((i for i, (name, _) in enumerate(children) if name == parts[0]), None)
    if at is None:
        raise NetError(parts[0], say("no layer has this name here"), got=format_shape((len(children),)))
    old = [layer for _, layer in children]
    if len(parts) > 1:
        new = [*old[:at], rebuild_container(old[at], parts[1:], count, layers), *old[at + 1 :]]
    elif count == 1 and (old[at].name or isinstance(holder, Parallel)):
        new = [*old[:at], Sequence(*layers, name=old[at].name), *old[at + 1 :]]
    else:
        new = [*old[:at], *layers, *old[at + count :]]
    if isinstance(holder, Parallel):
        return Parallel(*new, join=holder.join, name=holder.name)
    if isinstance(holder, SideHead):
        return SideHead(*new, weight=holder.weight, name=holder.name)
    return Sequence(*new, name=holder.name)


def format_changes(found: list[WhatIf], most: int | None = None) -> str:
    """The changes a line each, and the records under them, indented."""
    out = []
    for w in found[:most]:
        record = "".join(f"    {line}\n" for line in w.record.splitlines())
        out.append(f"{w.text}\n{record}")
    return "\n".join(out) if out else say("none of the usual changes would save parameters or MACs")
