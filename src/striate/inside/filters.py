"""A layer's filters: what each convolution looks for, as numbers and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..architecture.layers import Conv
from ..architecture.net import LayerStep, Net
from ..errors import NetError, suggest_name
from ..language import say
from ..report import pictures
from ..report.sheet import add_margin, arrange_grid, draw_text, place_below, scale_for_sheet


@dataclass(frozen=True, eq=False)
class Filters:
    """The filters of a convolution.

    weights  F×C×h×w: each filter has a kernel for each channel that it reads
    colour   whether they read the image's three colours, so that each can be shown as a picture in colour
    """

    path: str
    weights: NDArray
    colour: bool


def read_filters(net: Net, tensors: Mapping[str, NDArray], path: str | None = None) -> Filters:
    """The filters of the convolution at `path`; of the first one where no path is given. Raises NetError."""
    step = find_convolution(net, path)
    weights = np.asarray(tensors[f"{step.path}.weight"])
    first = all(earlier.x == net.input for earlier in net.steps[: net.steps.index(step)])
    return Filters(step.path, weights, first and weights.shape[1] == 3)


def find_convolution(net: Net, path: str | None) -> LayerStep:
    found = [step for step in net.steps if isinstance(step.layer, Conv)]
    if not found:
        raise NetError(net.name, say("this net has no convolution, so it has no filters"))
    if path is None:
        return found[0]
    if not isinstance(net.at(path).layer, Conv):
        hint = suggest_name(path, [step.path for step in found])
        raise NetError(path, say("filters belong to a convolution"), got=net.at(path).layer, hint=hint)
    return net.at(path)


def draw_filters(given: Filters, columns: int | None = None) -> NDArray:
    """All filters, uint8 H×W×3: in colour where they read colours; else a column a filter and a row a channel.

    Each filter is on its own scale with 0 in the middle: grey in colour, and white between blue (negative) and
    orange (positive).
    """
    f, c, h, w = given.weights.shape
    if given.colour or c == 1:
        each = [scale_for_sheet(p, 56) for p in pictures.paint_filters(given.weights)]
        sheet = arrange_grid(each, columns or min(f, 16), 3)
    else:
        sheet = pictures.enlarge_picture(
            pictures.tile_pictures(pictures.paint_filters(given.weights), columns or f), 4 if f * w <= 400 else 1
        )
    size = f"{f} filters of {c}×{h}×{w}"
    rows = "" if given.colour or c == 1 else ": one column per filter, one row per channel"
    return add_margin(place_below([draw_text(f"{given.path}, {size}{rows}"), sheet]))
