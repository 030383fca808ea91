"""A published net made ready for other classes: where it is cut, what its new head reads, how its tensors move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..arch.layers import Container, Dense, GlobalAvgPool, Layer, Parallel, Sequence, SideHead, Softmax
from ..arch.net import Net
from ..errors import NetError

FROZEN = 0.6
"""The part of a net whose layers stay as they are is the first with this share of the MACs, up to the end of a stage.

What follows is what fine-tuning moves: of EfficientNet-Lite0 its last two stages and the head convolution.
"""

HEAD = "classes"
"""The name of the new last layer."""


class Plan(NamedTuple):
    """A net for other classes, made from a backbone.

    net     the backbone's layers, but for side heads and the last Dense, in whose place there is one for the new
            classes. It reads the vector that the old one read and, beside it, the mean of each channel of the map at
            each of `taps`; so that is where the layers after a tap stand in a Parallel
    trunk   how many of `net`'s first layers are frozen: all up to and with the first tap
    taps    names of the backbone's layers whose maps the head reads
    places  each of the backbone's tensors that is kept: its name there -> its name in `net`
    """

    net: Net
    trunk: int
    taps: tuple[str, ...]
    places: dict[str, str]


def plan(backbone: Net, classes: int, taps: bool = True) -> Plan:
    """The net for `classes` classes. Raises NetError where the backbone does not end in a Dense layer.

    taps  False: the head reads the last vector alone

    On clothing (3,409 photographs, 10 classes, 5-fold) the three taps of EfficientNet-Lite0 raise the accuracy of a
    linear head from 86.8 to 88.4 %, at no cost in MACs.
    """
    named = body(backbone)
    frozen = cut(backbone, [name for name, _ in named])
    if frozen is None:
        joined = [layer for _, layer in named]
        return Plan(finished(backbone, joined, classes), 0, (), {name: name for name in kept(backbone, named, {})})
    tapped = [name for name, layer in named[frozen + 1 :] if worth_reading(backbone, named, name, layer)]
    tapped = [named[frozen][0], *tapped] if taps else []
    prefixes, prefix = {}, ""
    for name, _ in named:
        prefixes[name] = prefix
        if name in tapped:
            prefix += f"after_{name}.on."
    joined = nested(named, tapped)
    return Plan(finished(backbone, joined, classes), frozen + 1, tuple(tapped), kept(backbone, named, prefixes))


def body(backbone: Net) -> list[tuple[str, Layer]]:
    """The layers up to the last Dense, side heads left out, each with the name that it has in the backbone.

    Raises NetError where there is no such Dense.
    """
    named = [(name, layer) for name, layer in backbone.body.named if not isinstance(layer, SideHead)]
    if named and isinstance(named[-1][1], Softmax):
        named = named[:-1]
    if not named or not isinstance(named[-1][1], Dense):
        last = named[-1][1] if named else None
        hint = "a net such as efficientnet_lite0 or resnet50"
        raise NetError(backbone.name, "only a net that ends in Dense can get another head", got=last, hint=hint)
    return [(name, replace(layer, name=name) if not isinstance(layer, Container) else renamed(layer, name))
            for name, layer in named[:-1]]  # fmt: skip


def renamed(layer: Any, name: str) -> Layer:
    """A container under a name of its own."""
    if isinstance(layer, Parallel):
        return Parallel(*layer.branches, join=layer.join, name=name)
    return Sequence(*layer.layers, name=name)


def cut(backbone: Net, names: list[str]) -> int | None:
    """The place among `names` of the last frozen layer; None where no map has that share of the MACs before it."""
    from ..arch.summary import summarise

    whole = sum(row.macs for row in summarise(backbone).rows if row.depth == 0)
    done = 0
    for row in (row for row in summarise(backbone).rows if row.depth == 0 and row.path in names):
        done += row.macs
        place = names.index(row.path)
        if done >= FROZEN * whole and len(backbone.at(row.path).y) == 3 and place < len(names) - 1:
            return place
    return None


def worth_reading(backbone: Net, named: list[tuple[str, Layer]], name: str, layer: Layer) -> bool:
    """Whether a layer is a stage whose map the head reads: not where the next layer takes that mean anyway."""
    after = dict(zip([n for n, _ in named], [layer for _, layer in named[1:]], strict=False)).get(name)
    is_map = len(backbone.at(name).y) == 3
    return isinstance(layer, Container) and is_map and not isinstance(after, GlobalAvgPool)


def nested(named: list[tuple[str, Layer]], tapped: list[str]) -> list[Layer]:
    """The layers; what comes after a tap, in one branch of a Parallel whose other branch is the tap's mean."""
    for place, (name, _) in enumerate(named):
        if name in tapped:
            on = Sequence(*nested(named[place + 1 :], tapped), name="on")
            read = Parallel(on, GlobalAvgPool(name="mean"), name=f"after_{name}")
            return [layer for _, layer in named[: place + 1]] + [read]
    return [layer for _, layer in named]


def finished(backbone: Net, layers: list[Layer], classes: int) -> Net:
    return Net(backbone.input, [*layers, Dense(classes, name=HEAD)], name=backbone.name)


def kept(backbone: Net, named: list[tuple[str, Layer]], prefixes: Mapping[str, str]) -> dict[str, str]:
    """The backbone's tensors of the layers in `named`: name there -> name behind its layer's prefix."""
    names = {name for name, _ in named}
    firsts = {tensor: tensor.split(".")[0] for tensor in backbone.tensors}
    return {tensor: prefixes.get(first, "") + tensor for tensor, first in firsts.items() if first in names}


def moved(plan: Plan, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The backbone's `tensors` under their new names: all of `plan.net`'s but those of the head."""
    return {new: tensors[old] for old, new in plan.places.items()}


def part(net: Net, low: int, high: int, tensors: Mapping[str, np.ndarray]) -> tuple[Net, dict[str, np.ndarray]]:
    """The layers of `net` from place `low` up to `high`, as a net of their own, and their tensors."""
    named = net.body.named[low:high]
    shape = net.input if low == 0 else net.at(net.body.named[low - 1][0]).y
    made = Net(shape, [layer for _, layer in named], name=net.name)
    return made, {name: tensors[name] for name in made.tensors}
