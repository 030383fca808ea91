"""The inside of a network for one image as a single HTML file that opens offline, with no request at all."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from .. import atomic_file
from ..browser.joining import format_inline_json, join_modules, wrap_page
from ..inside.trace_record import format_address
from ..model.model import Model
from .describe import describe_look
from .look import look_inside
from .traces import is_traceable, pack_text, trace_all, trace_chosen

# The browser itself sees to it that the page asks nobody for anything.
STANDALONE_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"


def write_page(model: Model, image: Any, out: str | Path, *, at: tuple[str, ...] = (), name: str = "") -> str:
    """Write the page of `image` inside `model` to `out`, and say what is in it, in one line.

    at  addresses to trace as well, such as "conv1[3,10,12]", where the net is too large to trace every value
    Raises DataError for what is no image, TraceError for an address that is nowhere.
    """
    text, said = render_standalone(model, image, at=at, name=name)
    atomic_file.write_file(Path(out), text)
    return f"{said}; {len(text.encode()) / 1e6:.1f} MB"


def render_standalone(model: Model, image: Any, *, at: tuple[str, ...] = (), name: str = "") -> tuple[str, str]:
    """The page's HTML, and what is in it, in one line."""
    given = look_inside(model, image, name)
    total = sum(y.size for y in given.scene.maps.values())
    data: dict[str, Any] = {"scene": describe_look(given, values=True if is_traceable(given) else None)}
    if is_traceable(given):
        data["every"] = trace_all(given)
        said = f"all {total:,} values with their traces"
    else:
        best = given.scene.maps[given.top].argsort()[::-1][:3]
        made = trace_chosen(given, [*at, *(format_address(given.top, (int(k),)) for k in best)])
        data["traces"] = pack_text(json.dumps(made, ensure_ascii=False))
        said = f"the maps of all layers, and the traces of {len(made)} of {total:,} values"
    data["said"] = {"traced": len(made) if "traces" in data else total, "values": total}
    return wrap_html(data, f"{given.name} inside {model.net.name}"), said


def wrap_html(data: dict[str, Any], title: str) -> str:
    body = (
        '<body class="alone"><main id="view" class="view"></main>'
        f'<script id="data" type="application/json">{format_inline_json(data)}</script>'
        f'<script type="module">{join_page_modules("standalone.js")}</script></body>'
    )
    return wrap_page(title, STANDALONE_POLICY, read_page_file("base.css") + read_page_file("inside.css"), body)


@cache
def read_page_file(name: str) -> str:
    """A file of the page."""
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def join_page_modules(first: str) -> str:
    """The studio's module `first` and all that it imports as one script."""
    return join_modules(first, lambda name: read_page_file(name))
