"""The living page: a network in one HTML file that computes there, offline, while one draws, opens files and clicks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from .. import atomic_file
from ..browser.giveaway_page import GIVEAWAY_POLICY
from ..browser.joining import ENGINE, format_inline_json, list_korean_texts, wrap_page, write_engine_scripts
from ..browser.payload import Payload, count_numbers, make_payload
from ..data.images import Images
from ..data.read.bands import show_bands
from ..errors import ModelError, NetError, StriateError
from ..exporting.page_file import make_page_card
from ..language import say, to_say
from ..model.model import Model
from ..report import pictures
from ..run_files import RunFiles
from .describe import choose_ink, describe_layers, list_palettes
from .look import Lens
from .page_files import join_page_modules, read_page_file

ELSEWHERE = to_say("striate studio shows the inside of every network: there Python computes")

# So many of the classes have an example, where images are so small that all of them weigh little.
MOST_EXAMPLES = 10
SMALL_SIDE = 64


class Example(NamedTuple):
    """An image uint8 h×w×C at the net's size, and its name."""

    name: str
    picture: NDArray


def write_living_page(model: Model, out: str | Path, image: Any = None, *, name: str = "") -> str:
    """Write the page to `out`, and say in one line what it begins with and how large it is.

    image  what it begins with, as `Model.predict` takes one; None: images of the run's data, or an empty sheet
    Raises DataError for what is no image, NetError or ModelError for a network that no page can compute.
    """
    given, said = ([prepare_given(model, image, name)], "") if image is not None else choose_examples(model)
    lens = Lens(model)
    payload = make_living_payload(lens)
    text = render_living_page(lens, payload, given)
    atomic_file.write_file(Path(out), text)
    begins = said or say("it begins with {name}", name=given[0].name)
    rounded = say("; weights rounded to 16 bits") if count_bits(payload) == 16 else ""
    return say(
        "{name} in one page: {begins}{rounded}; {size:.2f} MB",
        name=model.net.name,
        begins=begins,
        rounded=rounded,
        size=len(text.encode()) / 1e6,
    )


def count_bits(payload: Payload) -> int:
    """In how many bits a weight is kept."""
    return 16 if any(entry["kind"] == "float16" for entry in payload["tensors"]) else 32


def render_living_page(lens: Lens, payload: Payload, examples: list[Example]) -> str:
    """The page's HTML; it begins with the first example, or else with an empty sheet."""
    data = {
        "scene": describe_living_scene(lens),
        "examples": [{"name": e.name, "src": pictures.encode_data_uri(show_bands(e.picture))} for e in examples],
        "start": lens.look(examples[0].picture).start if examples else None,
        "params": count_numbers(lens.model),
        "bits": count_bits(payload),
        "korean": list_korean_texts(),
    }
    body = (
        '<body class="alone living"><header id="head" class="masthead"></header><main id="view" class="view"></main>'
        '<footer id="facts" class="facts quiet"></footer>'
        f"{write_engine_scripts()}"
        f'<script type="module">{join_page_modules("living.js", ENGINE)}</script>'
        f'<script id="data" type="application/json">{format_inline_json(data)}</script>'
        f'<script id="payload" type="application/json">{format_inline_json(payload)}</script></body>'
    )
    style = "".join(map(read_page_file, ("base.css", "inside.css", "living.css")))
    return wrap_page(f"{lens.model.net.name} · striate", GIVEAWAY_POLICY, style, body)


def make_living_payload(lens: Lens) -> Payload:
    """The network with a softmax last, for the image as it is: what looks inside takes no further views of it.

    Raises NetError or ModelError, with where it can be seen, for one that the browser's engine cannot compute.
    """
    try:
        return make_payload(add_softmax(lens), card=make_page_card(lens.model, None))
    except (NetError, ModelError) as e:
        e.hint = say(ELSEWHERE)
        raise


def add_softmax(lens: Lens) -> Model:
    """The model with a softmax last, for the plain image."""
    model = lens.model
    preprocess = msgspec.structs.replace(model.preprocess, views="plain")
    return Model(msgspec.structs.replace(model.header, net=lens.probable[0], preprocess=preprocess), model.tensors)


def describe_living_scene(lens: Lens) -> dict[str, Any]:
    """What is known of the layers before an image comes; the page paints its filters from the weights that it has."""
    sheets = {path: {"shape": list(weights.shape)} for path, weights in lens.filters.items()}
    return {
        "net": lens.model.net.name,
        "classes": list(lens.model.classes),
        "top": lens.probable[1],
        "layers": describe_layers(lens, sheets),
        "ink": choose_ink(lens.model),
        "palettes": list_palettes(),
    }


# What it begins with ------------------------------------------------------------------------------------


def prepare_given(model: Model, image: Any, name: str = "") -> Example:
    """An image that somebody gives. Raises DataError for what is none."""
    return Example(name or (Path(image).name if isinstance(image, str | Path) else "image"), model.prepared(image))


def choose_examples(model: Model) -> tuple[list[Example], str]:
    """Images of the run's held-back split, and in words what was taken; none where the run's data cannot be read."""
    data = find_run_data(model)
    if data is None:
        return [], say("it begins with an empty sheet, for the model does not say what it was trained on")
    try:
        images = model.unseen(data)
    except StriateError as e:
        return [], say("it begins with an empty sheet, for the run's data cannot be read: {where}", where=e.where)
    few = max(model.preprocess.size) <= SMALL_SIDE
    rows = list_first_rows(images.y)[: MOST_EXAMPLES if few else 1]
    made = [take_example(images, row) for row in rows]
    if len(made) == 1:
        return made, say("it begins with 1 image that {data} held back from training", data=data)
    told = say(
        "it begins with {count} images, a class each, of {whole} that {data} held back from training",
        count=len(made),
        whole=len(images),
        data=data,
    )
    return made, told


def find_run_data(model: Model) -> str | None:
    """What the run of this model was trained on, where that has a name."""
    settings = RunFiles(model.path.parent).settings if model.path is not None else None
    if settings is None or not settings.is_file():
        return None
    data = json.loads(settings.read_text(encoding="utf-8")).get("data")
    return data if isinstance(data, str) else None


def list_first_rows(y: NDArray) -> list[int]:
    """Where each class comes first, in the order of the classes."""
    return [int(row) for row in np.unique(y, return_index=True)[1]]


def take_example(images: Images, row: int) -> Example:
    return Example(f"{images.files[row]}: {images.classes[images.y[row]]}", np.asarray(images.x[row]))
