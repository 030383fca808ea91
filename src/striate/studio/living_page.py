"""The living page: a network in one HTML file that computes there, offline, while one draws, opens files and clicks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from .. import atomic_file
from ..browser.joining import format_inline_json, join_modules, wrap_page
from ..browser.payload import count_numbers, make_payload
from ..data.read.bands import show_bands
from ..errors import ModelError, NetError
from ..exporting.page_file import make_page_card
from ..model.model import Model
from ..report import pictures
from .describe import choose_ink, describe_layers, list_palettes
from .examples import Example, choose_examples, prepare_given
from .look import Lens
from .page_files import join_page_modules, read_page_file

# The browser itself sees to it that the page asks nobody for anything.
LIVING_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; worker-src blob:; "
    "style-src 'unsafe-inline'; img-src data: blob:"
)

ELSEWHERE = "striate studio shows the inside of every network: there Python computes"


def write_living_page(model: Model, out: str | Path, image: Any = None, *, name: str = "") -> str:
    """Write the page to `out`, and say in one line what it begins with and how large it is.

    image  what it begins with, as `Model.predict` takes one; None: images of the run's data, or an empty sheet
    Raises DataError for what is no image, NetError or ModelError for a network that no page can compute.
    """
    given, said = ([prepare_given(model, image, name)], "") if image is not None else choose_examples(model)
    text = render_living_page(model, given)
    atomic_file.write_file(Path(out), text)
    begins = said or f"it begins with {given[0].name}"
    return f"{model.net.name} in one page: {begins}; {len(text.encode()) / 1e6:.2f} MB"


def render_living_page(model: Model, examples: list[Example]) -> str:
    """The page's HTML; it begins with the first example, or else with an empty sheet."""
    lens = Lens(model)
    payload = make_living_payload(lens)
    kinds = {entry["kind"] for entry in payload["tensors"]}
    data = {
        "scene": describe_living_scene(lens),
        "examples": [{"name": e.name, "src": pictures.encode_data_uri(show_bands(e.picture))} for e in examples],
        "start": lens.look(examples[0].picture).start if examples else None,
        "params": count_numbers(model),
        "bits": 16 if "float16" in kinds else 32,
    }
    body = (
        '<body class="alone living"><header id="head" class="masthead"></header><main id="view" class="view"></main>'
        f'<footer id="facts" class="facts quiet"></footer>'
        f'<script id="payload" type="application/json">{format_inline_json(payload)}</script>'
        f'<script id="data" type="application/json">{format_inline_json(data)}</script>'
        f'<script id="worker" type="text/plain">{join_modules("worker.js")}</script>'
        f'<script type="module">{join_page_modules("living.js")}</script></body>'
    )
    style = "".join(map(read_page_file, ("base.css", "inside.css", "living.css")))
    return wrap_page(f"{model.net.name} · striate", LIVING_POLICY, style, body)


def make_living_payload(lens: Lens) -> dict[str, Any]:
    """The network with a softmax last, for the image as it is: what looks inside takes no further views of it.

    Raises NetError or ModelError, with where it can be seen, for one that the browser's engine cannot compute.
    """
    model = lens.model
    preprocess = msgspec.structs.replace(model.preprocess, views="plain")
    header = msgspec.structs.replace(model.header, net=lens.probable[0], preprocess=preprocess)
    try:
        return make_payload(Model(header, model.tensors), card=make_page_card(model, None))
    except (NetError, ModelError) as e:
        e.hint = ELSEWHERE
        raise


def describe_living_scene(lens: Lens) -> dict[str, Any]:
    """What is known of the layers before an image comes."""
    return {
        "net": lens.model.net.name,
        "classes": list(lens.model.classes),
        "top": lens.probable[1],
        "layers": describe_layers(lens),
        "ink": choose_ink(lens.model),
        "palettes": list_palettes(),
    }
