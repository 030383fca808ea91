"""One image's way through a net as one HTML file: filters, maps, and what speaks for the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files

from numpy.typing import NDArray

from ..architecture.layers import Conv
from ..architecture.net import Net
from ..language import find_language, say
from ..metrics.numbers import format_percent
from ..report import pictures
from ..report.markup import Markup, join_markup, tag
from . import attribution, features, filters
from .trust import Trust, measure_trust

# So many layers' maps are shown; of deeper nets the layers at the top level alone.
PAGE_LAYERS = 40


def render_image_page(
    net: Net,
    tensors: Mapping[str, NDArray],
    x: NDArray,
    image: NDArray,
    classes: Sequence[str],
    name: str = "image",
    target: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> str:
    """The page for one image, to be written as UTF-8: no script, no second file, no request.

    x       the image after preprocessing, C×H×W; image  the same as uint8 H×W×C
    target  the class asked about; None: the one that the net finds most probable
    """
    told = progress or (lambda what: None)
    p = attribution.make_classifier(net, tensors)(x[None])[0]
    target = int(p.argmax()) if target is None else target
    sections = []
    if any(isinstance(step.layer, Conv) for step in net.steps):
        told("filters")
        shown = filters.draw_filters(filters.read_filters(net, tensors))
        sections.append(
            render_page_section(
                say("First filters"),
                say("What the first convolution looks for."),
                render_picture_figure(shown, say("filters")),
            )
        )
    told("maps")
    paths = [step.path for step in net.steps if not step.side]
    if len(paths) > PAGE_LAYERS:
        paths = [step.path for step in net.steps if step.depth == 0 and not step.side]
    maps = features.draw_features(features.compute_features(net, tensors, x, paths), image)
    lead = say("Each layer's maps of this image, the strongest first; a layer's maps share one scale.")
    sections.append(render_page_section(say("Feature maps"), lead, render_picture_figure(maps, say("feature maps"))))
    parts = []
    for method in list_methods(net):
        told(method)
        found = attribution.compute_attribution(net, tensors, x, target, method)
        drawn = attribution.draw_attribution(found, image, classes[target])
        parts += [
            render_picture_figure(drawn, method),
            tag("p", format_score(measure_trust(net, tensors, x, found))),
        ]
    lead = say("Orange is evidence for {name}, blue against it.", name=classes[target])
    sections.append(render_page_section(say("Attribution: evidence for the prediction"), lead, *parts))
    answer = ", ".join(f"{classes[k]} {format_percent(float(p[k]))}" for k in (-p).argsort(kind="stable")[:3])
    head = tag("header", tag("h1", name), tag("p", f"{net.name}: {answer}", class_="quiet"))
    body = tag("body", head, tag("main", *sections))
    return join_markup(
        Markup("<!doctype html>\n"), tag("html", render_top(name), body, lang=find_language()), Markup("\n")
    )


def list_methods(net: Net) -> list[str]:
    """The attributions that the net allows: Grad-CAM needs maps of more than one position."""
    spatial = any(s.depth == 0 and len(s.y) == 3 and s.y[1] * s.y[2] > 1 for s in net.steps)
    return [m for m in attribution.ATTRIBUTION_METHODS if spatial or m != "grad-cam"]


def format_score(found: Trust) -> str:
    return say(
        "Deletion {deletion:.3f} (pixels at random {random_deletion:.3f}; lower is better), "
        "insertion {insertion:.3f} (at random {random_insertion:.3f}; higher is better): "
        "{told} in both than pixels at random.",
        deletion=found.deletion,
        random_deletion=found.random_deletion,
        insertion=found.insertion,
        random_insertion=found.random_insertion,
        told=say("better") if found.better_than_random else say("not better"),
    )


def render_page_section(title: str, lead: str, *inside: Markup) -> Markup:
    return tag("section", tag("h2", title), tag("p", lead, class_="quiet"), *inside)


def render_picture_figure(picture: NDArray, name: str) -> Markup:
    return tag(
        "p",
        tag("img", src=pictures.encode_data_uri(picture), alt=name, style="max-width:100%;image-rendering:auto"),
    )


def render_top(name: str) -> Markup:
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    style = Markup(files("striate.report").joinpath("page.css").read_text(encoding="utf-8"))
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("link", rel="icon", href="data:,"),
        tag("title", name),
        tag("style", style),
    )
