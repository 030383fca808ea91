"""The inside of a network for one image as a single HTML file that opens offline, with no request at all."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

from .. import whole_file
from ..inside.trace_record import address
from ..ship.model import Model
from .inline import inline_json, joined, source
from .look import as_dict, look
from .traces import chosen, every, packed_text, traceable

POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
"""The browser itself sees to it that the page asks nobody for anything."""


def write(model: Model, image: Any, out: str | Path, *, at: tuple[str, ...] = (), name: str = "") -> str:
    """Write the page of `image` inside `model` to `out`, and say what is in it, in one line.

    at  addresses to trace as well, such as "conv1[3,10,12]", where the net is too large to trace every value
    Raises DataError for what is no image, TraceError for an address that is nowhere.
    """
    text, said = page(model, image, at=at, name=name)
    whole_file.write(Path(out), text)
    return f"{said}; {len(text.encode()) / 1e6:.1f} MB"


def page(model: Model, image: Any, *, at: tuple[str, ...] = (), name: str = "") -> tuple[str, str]:
    """The page's HTML, and what is in it, in one line."""
    given = look(model, image, name)
    total = sum(y.size for y in given.scene.maps.values())
    data: dict[str, Any] = {"scene": as_dict(given, values=True if traceable(given) else None)}
    if traceable(given):
        data["every"] = every(given)
        said = f"all {total:,} values with their traces"
    else:
        best = given.scene.maps[given.top].argsort()[::-1][:3]
        made = chosen(given, [*at, *(address(given.top, (int(k),)) for k in best)])
        data["traces"] = packed_text(json.dumps(made, ensure_ascii=False))
        said = f"the maps of all layers, and the traces of {len(made)} of {total:,} values"
    data["said"] = {"traced": len(made) if "traces" in data else total, "values": total}
    return html(data, f"{given.name} inside {model.net.name}"), said


def html(data: dict[str, Any], title: str) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{source('base.css')}{source('inside.css')}</style></head>"
        '<body class="alone"><main id="view" class="view"></main>'
        f'<script id="data" type="application/json">{inline_json(data)}</script>'
        f'<script type="module">{joined("standalone.js")}</script></body></html>\n'
    )
