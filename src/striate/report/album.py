"""The parts of the report page that are pictures: mistakes, filters, the maps of every layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.check.label_errors import Doubts, LabelError
from ..data.read.bands import show_bands
from ..language import say
from ..metrics.numbers import format_percent
from . import pictures
from .markup import Markup, tag

# Photographs are reduced to at most so many pixels a side; what is smaller stays as it is.
PHOTO_SIDE = 128

# Likewise feature maps.
MAP_SIDE = 56

# So many channels of a layer are shown, the strongest by mean magnitude.
SHOWN_CHANNELS = 10

# So many layers of one image are shown, evenly spaced where there are more.
SHOWN_LAYERS = 24

# So many values of a vector are shown.
SHOWN_VALUES = 512


def render_mistakes(mistakes: Sequence[Any], classes: Sequence[str]) -> Markup:
    figures = []
    for item in mistakes:
        said = tag("span", classes[item.predicted], class_="said")
        lines = [
            tag("span", said, " ", tag("span", format_percent(item.probability), class_="sure")),
            tag("br"),
            tag("span", say("is "), tag("b", classes[item.truth]), class_="was"),
        ]
        file = tag("span", item.file, class_="file") if item.file else None
        figures.append(
            tag("figure", render_picture(item.image, PHOTO_SIDE, say("image")), tag("figcaption", *lines, file))
        )
    return tag("div", *figures, class_="wall")


def render_doubts(doubts: Doubts, images: Sequence[NDArray]) -> Markup:
    """The first doubtful labels, a picture each of `images`."""
    figures = []
    for image, error, file in zip(images, doubts.errors, doubts.files, strict=False):
        words = render_doubt_caption(doubts.classes, error)
        caption = tag("figcaption", *words, tag("span", file, class_="file"))
        figures.append(tag("figure", render_picture(image, PHOTO_SIDE, file), caption))
    return tag("div", *figures, class_="wall")


def render_doubt_caption(classes: Sequence[str], error: LabelError) -> list[Any]:
    """What is said under a picture whose label is doubtful: both classes and their probabilities."""
    said = tag("span", classes[error.suggested], class_="said")
    given = tag("b", classes[error.given])
    was = tag("span", say("is labelled "), given, " ", format_percent(error.confidence), class_="was")
    return [said, " ", tag("span", format_percent(error.other), class_="sure"), tag("br"), was]


def render_filters(weights: NDArray) -> Markup:
    images = [
        render_picture(p, MAP_SIDE, say("filter {number}", number=i))
        for i, p in enumerate(pictures.paint_filters(weights))
    ]
    return tag("div", *images, class_="filters many" if len(images) > 32 else "filters")


def render_journey(image: NDArray, layers: Sequence[tuple[str, NDArray]], caption: str = "") -> Markup:
    """One image and, a strip a layer, what the layers make of it."""
    chosen = range(len(layers))
    if len(layers) > SHOWN_LAYERS:
        chosen = sorted({round(i) for i in np.linspace(0, len(layers) - 1, SHOWN_LAYERS)})  # type: ignore[assignment]
    strips = [render_strip(*layers[i]) for i in chosen]
    hidden = len(layers) - len(strips)
    more = (
        tag("p", say("{hidden} of {count} layers are not shown.", hidden=hidden, count=len(layers)), class_="quiet")
        if hidden
        else None
    )
    original = tag(
        "figure", render_picture(image, PHOTO_SIDE, caption or say("image")), caption and tag("figcaption", caption)
    )
    return tag("div", original, tag("div", *strips, more), class_="journey")


def render_strip(path: str, values: NDArray) -> Markup:
    v = np.asarray(values)
    if v.ndim == 1 or v.shape[1:] == (1, 1):
        return render_vector(path, v.reshape(-1))
    strongest = np.sort(np.argsort(-abs(v).mean(axis=(1, 2)), kind="stable")[:SHOWN_CHANNELS])
    images = [
        render_picture(p, MAP_SIDE, say("{path}, channel {channel}", path=path, channel=c))
        for c, p in zip(strongest, pictures.paint_maps(v[strongest]), strict=True)
    ]
    size = "×".join(map(str, v.shape))
    return render_labelled(path, size, tag("div", *images, class_="strip"))


def render_vector(path: str, v: NDArray) -> Markup:
    title = say("{path}, {count:,} values", path=path, count=len(v))
    if len(v) > SHOWN_VALUES:
        title = say("{path}, the first {shown} of {count:,} values", path=path, shown=SHOWN_VALUES, count=len(v))
    row = pictures.paint_maps(v[:SHOWN_VALUES].reshape(1, 1, -1))[0]
    image = tag(
        "img",
        src=pictures.encode_data_uri(row),
        alt=path,
        title=title,
        class_="vector",
        style=f"max-width:{max(54, 18 * min(len(v), SHOWN_VALUES))}px",
    )
    return render_labelled(path, str(len(v)), tag("div", image, class_="strip"))


def render_labelled(path: str, size: str, inside: Markup) -> Markup:
    return tag("div", tag("div", path, tag("span", size, class_="quiet")), inside, class_="layer")


def render_picture(values: NDArray, longest: int, name: str) -> Markup:
    shown = show_bands(values) if values.ndim == 3 else values
    return tag("img", src=pictures.encode_data_uri(pictures.reduce_picture(shown, longest)), alt=name, title=name)
