"""A layer's filters: what each convolution looks for, as numbers and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..arch.layers import Conv
from ..arch.net import Net, Step
from ..errors import NetError, nearest
from ..evaluate import pictures
from ..evaluate.sheet import below, grid, margined, shown, words


@dataclass(frozen=True, eq=False)
class Filters:
    """The filters of a convolution.

    weights  F×C×h×w: each filter has a kernel for each channel that it reads
    colour   whether they read the image's three colours, so that each can be shown as a picture in colour
    """

    path: str
    weights: NDArray
    colour: bool


def filters(net: Net, tensors: Mapping[str, NDArray], path: str | None = None) -> Filters:
    """The filters of the convolution at `path`; of the first one where no path is given. Raises NetError."""
    step = convolution(net, path)
    weights = np.asarray(tensors[f"{step.path}.weight"])
    first = all(earlier.x == net.input for earlier in net.steps[: net.steps.index(step)])
    return Filters(step.path, weights, first and weights.shape[1] == 3)


def convolution(net: Net, path: str | None) -> Step:
    found = [step for step in net.steps if isinstance(step.layer, Conv)]
    if not found:
        raise NetError(net.name, "this net has no convolution, so it has no filters")
    if path is None:
        return found[0]
    if not isinstance(net.at(path).layer, Conv):
        hint = nearest(path, [step.path for step in found])
        raise NetError(path, "filters belong to a convolution", got=net.at(path).layer, hint=hint)
    return net.at(path)


def picture(given: Filters, columns: int | None = None) -> NDArray:
    """All filters, uint8 H×W×3: in colour where they read colours; else a column a filter and a row a channel.

    Each filter is on its own scale with 0 in the middle: grey in colour, and white between blue (negative) and
    orange (positive).
    """
    f, c, h, w = given.weights.shape
    if given.colour or c == 1:
        each = [shown(p, 56) for p in pictures.filters(given.weights)]
        sheet = grid(each, columns or min(f, 16), 3)
    else:
        sheet = pictures.enlarge(pictures.tile(pictures.filters(given.weights), columns or f), 4 if f * w <= 400 else 1)
    size = f"{f} filters of {c}×{h}×{w}"
    rows = "" if given.colour or c == 1 else ": a column a filter, a row a channel"
    return margined(below([words(f"{given.path}, {size}{rows}"), sheet]))
