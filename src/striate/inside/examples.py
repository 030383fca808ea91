"""The images of a data set that excite a channel most, and in each the patch that did it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import floor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..architecture.net import Axis, LayerStep, Net
from ..engines import onnx
from ..errors import DataError, ModelError
from ..language import say
from ..report.sheet import add_caption, add_margin, arrange_grid, draw_text, place_below, place_beside, scale_for_sheet

EXAMPLE_BATCH = 64
# The level of a patch's pixels beyond the image's edge.
OUTSIDE_LEVEL = 128

# uint8 N×H×W×C -> float32 N×C×H×W, as the net wants it.
Standardise = Callable[[NDArray], NDArray]


class Example(NamedTuple):
    """An image that excites a channel, and where.

    image  its index; value  the channel's largest there; place  its (row, column) in the map, () in a vector
    box    (top, bottom, left, right) of the pixels that the value depends on; it may reach beyond the image
    patch  these pixels, uint8 h×w×C
    """

    image: int
    value: float
    place: tuple[int, ...]
    box: tuple[int, int, int, int]
    patch: NDArray


class Excited(NamedTuple):
    """A channel of a layer and the images that excite it most, most first."""

    path: str
    channel: int
    examples: tuple[Example, ...]


def find_examples(
    net: Net,
    tensors: Mapping[str, NDArray],
    images: NDArray,
    standardise: Standardise,
    path: str,
    channels: Iterable[int] | None = None,
    count: int = 9,
) -> tuple[Excited, ...]:
    """For each of `channels` of the layer `path` (None: all) the `count` images that excite it most.

    images  uint8 N×H×W×C at the net's size. Each counts once, by its largest value; of equal ones the first.
    Raises NetError for an unknown layer, ModelError for an unknown channel, DataError for no images.
    """
    step = net.at(path)
    chosen = list(range(step.y[0])) if channels is None else list(channels)
    for channel in chosen:
        if not 0 <= channel < step.y[0]:
            raise ModelError(path, say("no channel has this number"), got=channel, rule=f"0 to {step.y[0] - 1}")
    if not len(images):
        raise DataError("images", say("there is no image to look through"))
    session = onnx.open_net(net, tensors, outputs=[path])
    values, places = [], []
    for first in range(0, len(images), EXAMPLE_BATCH):
        x = np.ascontiguousarray(standardise(images[first : first + EXAMPLE_BATCH]), np.float32)
        y = np.asarray(session.run(None, {"image": x})[1])[:, chosen]
        flat = y.reshape(*y.shape[:2], -1)
        values.append(flat.max(2))
        places.append(flat.argmax(2))
    value, place = np.concatenate(values), np.concatenate(places)
    best = np.argsort(-value, axis=0, kind="stable")[:count]
    found = []
    for k, channel in enumerate(chosen):
        items = [make_example(step, images, int(i), float(value[i, k]), int(place[i, k])) for i in best[:, k]]
        found.append(Excited(path, channel, tuple(items)))
    return tuple(found)


def make_example(step: LayerStep, images: NDArray, index: int, value: float, place: int) -> Example:
    where = tuple(map(int, np.unravel_index(place, step.y[1:]))) if len(step.y) == 3 else ()
    box = locate_field(step, where, images.shape[1:3])
    return Example(index, value, where, box, cut_patch(images[index], box))


def locate_field(step: LayerStep, place: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of the pixels behind a place of the layer's map; a whole side where the field is."""
    if step.field is None or not place:
        return 0, size[0], 0, size[1]
    (top, bottom), (left, right) = (locate_span(a, k, n) for a, k, n in zip(step.field, place, size, strict=True))
    return top, bottom, left, right


def locate_span(axis: Axis, place: int, n: int) -> tuple[int, int]:
    first = axis.start + floor(place * axis.jump)
    return (0, n) if axis.size >= n else (first, first + axis.size)


def cut_patch(image: NDArray, box: tuple[int, int, int, int]) -> NDArray:
    """The pixels of H×W×C in the box, OUTSIDE where it reaches beyond the image."""
    top, bottom, left, right = box
    h, w, c = image.shape
    patch = np.full((bottom - top, right - left, c), OUTSIDE_LEVEL, np.uint8)
    high, wide = slice(max(top, 0), min(bottom, h)), slice(max(left, 0), min(right, w))
    patch[high.start - top : high.stop - top, wide.start - left : wide.stop - left] = image[high, wide]
    return patch


def draw_examples(given: Sequence[Excited], images: NDArray | None = None, side: int = 64) -> NDArray:
    """A row of patches a channel, with their values, uint8 H×W×3; over each its whole image, where `images` is given,
    with the patch framed."""
    rows = []
    for item in given:
        cells = [add_caption(scale_for_sheet(e.patch, side), f"{e.value:.3g}", 10) for e in item.examples]
        if images is not None:
            whole = [scale_for_sheet(draw_field_frame(images[e.image], e.box, side), side) for e in item.examples]
            cells = [place_below([w, c], 2) for w, c in zip(whole, cells, strict=True)]
        rows.append(
            place_beside([draw_text(f"{item.path}\nchannel {item.channel}"), arrange_grid(cells, len(cells), 4)])
        )
    return add_margin(place_below(rows, 10))


def draw_field_frame(image: NDArray, box: tuple[int, int, int, int], side: int) -> NDArray:
    """The image enlarged to about `side` pixels, an orange frame around the box."""
    times = max(1, side // max(image.shape[:2]))
    big = scale_for_sheet(image, times * max(image.shape[:2])).copy()
    h, w = big.shape[:2]
    top, bottom, left, right = (min(max(times * v, 0), n - 1) for v, n in zip(box, (h, h, w, w), strict=True))
    edge = (240, 110, 10)
    big[top : bottom + 1, [left, right]] = edge
    big[[top, bottom], left : right + 1] = edge
    return big
