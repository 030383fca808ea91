"""The inside of a network for one image as a single HTML file that opens offline, with no request at all."""

from __future__ import annotations

import json
import re
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from .. import atomic_file
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
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{STANDALONE_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{read_page_file('base.css')}{read_page_file('inside.css')}</style></head>"
        '<body class="alone"><main id="view" class="view"></main>'
        f'<script id="data" type="application/json">{format_inline_json(data)}</script>'
        f'<script type="module">{join_modules("standalone.js")}</script></body></html>\n'
    )


IMPORT_LINE = re.compile(r'^import (?:(\w+)|\{ ([\w, ]+) \}) from "\./([\w.]+)";\n', re.MULTILINE)


EXPORT_WORD = re.compile(r"^export (?:(default) |(?:(?:async )?function|const) (\w+))", re.MULTILINE)


COMMENT_BLOCK = re.compile(r"/\*\*.*?\*/", re.DOTALL)


def format_inline_json(data: Any) -> str:
    """JSON to stand within a script element: without "<", no name in it can end the script or begin a comment."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


@cache
def read_page_file(name: str) -> str:
    """A file of the page."""
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def join_modules(first: str) -> str:
    """The module `first` and all that it imports as one script without imports.

    Each module is a function called once; imports are `import name from "./file.js";` or `import { a, b } from …`,
    a line each, and exports stand before a function, a const or the default. Anything else raises ValueError.
    """
    made: dict[str, str] = {}
    add_module(first, made, ())
    return "".join(made.values()).replace("</script", "<\\/script").replace("<!--", "<\\!--")


def add_module(name: str, made: dict[str, str], around: tuple[str, ...]) -> None:
    if name in made:
        return
    if name in around:
        raise ValueError(f"{name} imports itself by way of {' and '.join(around)}")
    text = read_page_file(name)
    for found in IMPORT_LINE.finditer(text):
        add_module(found[3], made, (*around, name))
    body = IMPORT_LINE.sub(
        lambda m: f"const {m[1] or f'{{ {m[2]} }}'} = {name_variable(m[3])}{'.default' * bool(m[1])};\n", text
    )
    names = [m[2] for m in EXPORT_WORD.finditer(body) if m[2]]
    body = EXPORT_WORD.sub(lambda m: "const standard = " if m[1] else m[0].removeprefix("export "), body)
    if re.search(r"^(import|export)\b|\bimport\(", COMMENT_BLOCK.sub("", body), re.MULTILINE):
        raise ValueError(f"{name} has an import or export of a form that cannot be joined")
    given = [*names, *(["default: standard"] if "const standard = " in body else [])]
    made[name] = f"const {name_variable(name)} = (() => {{\n{body}\nreturn {{ {', '.join(given)} }};\n}})();\n"


def name_variable(name: str) -> str:
    return "module_" + re.sub(r"\W", "_", name.removesuffix(".js"))
