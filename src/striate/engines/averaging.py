"""Several classifiers as one net: their probabilities' mean, what they share computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from ..architecture import layers as L
from ..architecture.net import Net, under_name
from ..errors import NetError
from ..language import say
from .model_file import Preprocess

# Of the norm that gives each net the standardisation that it was trained with.
EPS = 1e-5


class NetParts(NamedTuple):
    """A classifier: its net, an array for each of `net.tensors`, and how its images are prepared."""

    net: Net
    tensors: dict[str, np.ndarray]
    preprocess: Preprocess


def average_nets(parts: Sequence[NetParts]) -> NetParts:
    """One net that gives the mean of the probabilities of all of them, for images prepared as the first one's.

    The leading layers that are alike in all, weights too, stand in it once, as the backbone of heads that differ: then
    it costs little more than one. Nets that were trained with other means and deviations begin with a norm that gives
    each its own. With several views of an image (engines.views) the probabilities of each are averaged, where a single
    net averages its logits. Raises NetError for nets whose images are prepared otherwise.
    """
    first, count = parts[0], len(parts)
    check_alike(parts)
    same = all(part.preprocess == first.preprocess for part in parts)
    shared = count_shared(parts) if same else 0
    named = first.net.body.named[:shared]
    whole: list[L.Layer] = [under_name(layer, name) for name, layer in named]
    tensors = {name: tensor for name, tensor in first.tensors.items() if name.split(".")[0] in dict(named)}
    branches = []
    for number, part in enumerate(parts, 1):
        own = [under_name(layer, name) for name, layer in part.net.body.named[shared:]]
        kept = {name: array for name, array in part.tensors.items() if name.split(".")[0] in {x.name for x in own}}
        if not same:
            own, kept = [L.BatchNorm(eps=EPS, affine=False, name="prepared"), *own], kept | shift_input(part, first)
        if not part.net.gives_probabilities:
            own.append(L.Softmax(name="shares"))
        branches.append(L.Sequence(*own, name=f"net{number}"))
        tensors |= {f"nets.net{number}.{name}": array for name, array in kept.items()}
    whole += [L.Parallel(*branches, join="add", name="nets"), L.LayerScale(1 / count, name="mean")]
    tensors["mean.weight"] = np.full(first.net.classes, 1 / count, np.float32)
    net = Net(first.net.input, whole, f"{first.net.name}×{count}")
    return NetParts(net, {name: tensors[name] for name in net.tensors}, first.preprocess)


def check_alike(parts: Sequence[NetParts]) -> None:
    first = parts[0].preprocess
    for part in parts:
        own = msgspec.structs.replace(part.preprocess, mean=first.mean, std=first.std)
        if own != first or part.net.classes != parts[0].net.classes:
            what, hint = say("these nets do not see an image the same way"), say("--fit and --size settle it for all")
            raise NetError(
                part.net.name, what, got=f"{own.size}, {own.fit}", rule=f"{first.size}, {first.fit}", hint=hint
            )


def count_shared(parts: Sequence[NetParts]) -> int:
    """How many leading layers are the same in all nets, with the same weights."""
    chains = [part.net.body.named for part in parts]
    for place in range(min(map(len, chains))):
        name, layer = chains[0][place]
        if any(chain[place] != (name, layer) for chain in chains):
            return place
        own = [key for key in parts[0].tensors if key.split(".")[0] == name]
        if any(not np.array_equal(part.tensors[key], parts[0].tensors[key]) for part in parts for key in own):
            return place
    return min(map(len, chains)) - 1


def shift_input(part: NetParts, first: NetParts) -> dict[str, np.ndarray]:
    """The statistics of the norm that makes of the first net's standardised pixels this one's."""
    mean, std, own_mean, own_std = (
        np.array(values) for one in (first.preprocess, part.preprocess) for values in (one.mean, one.std)
    )
    return {
        "prepared.running_mean": ((own_mean - mean) / std).astype(np.float32),
        "prepared.running_var": ((own_std / std) ** 2 - EPS).astype(np.float32),
    }
