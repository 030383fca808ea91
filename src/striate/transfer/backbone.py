"""A published net made ready for other classes: where it is cut, what its new head reads, how its tensors move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ..architecture.layers import Container, Dense, GlobalAvgPool, Layer, Parallel, Sequence, SideHead, Softmax
from ..architecture.net import Net, make_inner_net, under_name
from ..errors import NetError
from ..language import say
from ..summaries.summary import summarise_net

# The layers of a net that stay as they are have this share of its MACs, or a little more, up to the end of a stage.
#
# What comes after them is what fine-tuning moves: of EfficientNet-Lite0 two stages and the last convolution.
FROZEN_SHARE = 0.6

# The most maps beside the last one that a head reads.
MOST_TAPS = 3

NamedLayers = list[tuple[str, Layer]]


class AdaptedNet(NamedTuple):
    """A net for other classes, made from a backbone: its layers, with a Dense for the new classes in the last's place.

    trunk   how many of `net`'s first layers are frozen when it is fine-tuned; 0 where it cannot be cut
    taps    names of the backbone's layers whose maps the head reads too, as the mean of each channel. What comes after
            such a layer stands in a Parallel beside that mean
    places  the name of each of the backbone's tensors that is kept -> its name in `net`
    head    the name of the new Dense
    """

    net: Net
    trunk: int
    taps: tuple[str, ...]
    places: dict[str, str]
    head: str

    @property
    def blocks(self) -> tuple[int, ...]:
        """How many of the head's features come from each stage: of the last vector first, then those of the taps."""
        [whole] = self.net.steps[-1].x
        means = [step.y[0] for name in reversed(self.taps)
                 for step in self.net.steps if f".{step.path}".endswith(f".after_{name}.mean")]  # fmt: skip
        return whole - sum(means), *means

    def kept(self, theirs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The backbone's tensors under their names in `net`; the head's are not among them."""
        return {new: theirs[old] for old, new in self.places.items()}

    def tensors(self, theirs: Mapping[str, np.ndarray], weight: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
        """All tensors of `net`: the backbone's under their new names, and the head's."""
        found = self.kept(theirs) | {f"{self.head}.weight": weight, f"{self.head}.bias": bias}
        return {name: found[name] for name in self.net.tensors}


def adapt_backbone(backbone: Net, classes: int, *, taps: bool = False) -> AdaptedNet:
    """`backbone` for `classes` classes; with `taps` its head reads the maps of its last stages too.

    Raises NetError where it does not end in Dense.

    On 3,409 photographs of clothes, by cross-validation, the taps of EfficientNet-Lite0 take a linear head on frozen
    features from 86.8 to 88.4 %, without another multiply-accumulate but the head's own. After fine-tuning they gain
    nothing any more.
    """
    named, head = split_body(backbone)
    last = find_last_frozen(backbone, named)
    tapped = list_tapped(backbone, named, last) if taps and last is not None else []
    prefixes, prefix = {}, ""
    for name, _ in named:
        prefixes[name] = prefix
        prefix += f"after_{name}.on." if name in tapped else ""
    places = {tensor: prefixes[tensor.split(".")[0]] + tensor
              for tensor in backbone.tensors if tensor.split(".")[0] in prefixes}  # fmt: skip
    layers = add_taps(named, tapped) if tapped else [layer for _, layer in named]
    own = dict(backbone.body.named)[head].name  # None where the net itself names it, as it does again
    net = Net(backbone.input, [*layers, Dense(classes, name=head if tapped else own)], name=backbone.name)
    return AdaptedNet(net, 0 if last is None else last + 1, tuple(tapped), places, head)


def split_body(backbone: Net) -> tuple[NamedLayers, str]:
    """The layers up to the last Dense, side heads left out, each with its name; and that Dense's. Raises NetError."""
    named = [(name, layer) for name, layer in backbone.body.named if not isinstance(layer, SideHead)]
    if named and isinstance(named[-1][1], Softmax):
        named = named[:-1]
    if not named or not isinstance(named[-1][1], Dense):
        got = f"{named[-1][1]!r}"[:80] if named else say("no layer")
        hint = say("a net such as efficientnet_lite0 or resnet50")
        raise NetError(
            backbone.name, say("only the head of a net that ends in Dense can be replaced"), got=got, hint=hint
        )
    return named[:-1], named[-1][0]


def find_last_frozen(backbone: Net, named: NamedLayers) -> int | None:
    """The place of the last layer that stays as it is; None where no map has FROZEN of the MACs behind it."""
    rows = {row.path: row for row in summarise_net(backbone).rows if row.depth == 0 and not row.side}
    done, whole = 0, sum(row.macs for row in rows.values())
    for place, (name, _) in enumerate(named[:-1]):
        done += rows[name].macs
        if done >= FROZEN_SHARE * whole and len(rows[name].y) == 3:
            return place
    return None


def list_tapped(backbone: Net, named: NamedLayers, last: int) -> list[str]:
    """The last frozen layer and the last stages after it, whose maps a head may read.

    Not the one whose means it reads anyway, because GlobalAvgPool comes next.
    """
    after = [name for (name, layer), (_, following) in zip(named, named[1:], strict=False)
             if isinstance(layer, Container) and len(backbone.at(name).y) == 3
             and not isinstance(following, GlobalAvgPool)]  # fmt: skip
    names = [name for name, _ in named]
    return [names[last], *[name for name in after if names.index(name) > last][1 - MOST_TAPS :]]


def add_taps(named: NamedLayers, tapped: list[str]) -> list[Layer]:
    """The layers, each under its name; what comes after a tap stands in a Parallel beside the tap's mean."""
    for place, (name, _) in enumerate(named):
        if name in tapped:
            on = Sequence(*add_taps(named[place + 1 :], tapped), name="on")
            read = Parallel(on, GlobalAvgPool(name="mean"), name=f"after_{name}")
            return [*(under_name(layer, own) for own, layer in named[: place + 1]), read]
    return [under_name(layer, own) for own, layer in named]


def take_part(
    net: Net, tensors: Mapping[str, np.ndarray], low: int, high: int | None = None
) -> tuple[Net, dict[str, np.ndarray]]:
    """The layers of `net` from place `low` to before `high`, as a net of their own, and their tensors."""
    named = net.body.named
    shape = net.at(named[low - 1][0]).y if low else net.input
    made = make_inner_net(shape, [under_name(layer, name) for name, layer in named[low:high]], name=net.name)
    return made, {name: tensors[name] for name in made.tensors}
