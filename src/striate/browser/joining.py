"""A page as one file that asks nobody for anything: its head, and its modules joined into one script."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from ..korean import load_catalogue

IMPORT_LINE = re.compile(r'^import (?:(\w+)|\{ ([\w, ]+) \}) from "\./([\w.]+)";\n', re.MULTILINE)

EXPORT_WORD = re.compile(r"^export (?:(default) |(?:(?:async )?function|const) (\w+))", re.MULTILINE)

COMMENTS = re.compile(r"^ *//.*\n|^ */\*\*(?:[^*]|\*(?!/))*\*/\n|/\*\*(?:[^*]|\*(?!/))*\*/ ?", re.MULTILINE)

# Where the modules of the browser's engine and of the page to give away lie.
FOLDERS = ("engine", "giveaway", "learn")

# The module that has all of the engine behind it.
ENGINE = "answering.js"


def format_inline_json(data: Any) -> str:
    """JSON to stand within a script element: without "<", no name in it can end the script or begin a comment."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def wrap_page(title: str, policy: str, style: str, body: str, more: str = "") -> str:
    """A page as HTML: what it may ask for by its content policy, its style, its body, and what else is in its head."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">{more}'
        f"<title>{escape(title)}</title><style>{style}</style></head>{body}</html>\n"
    )


@cache
def read_browser_file(name: str) -> str:
    """A file of the engine or of the page to give away, by its name, which no other has."""
    room = files(__package__)
    [place] = [room.joinpath(folder, name) for folder in FOLDERS if room.joinpath(folder, name).is_file()]
    return place.read_text(encoding="utf-8")


def join_modules(first: str, read: Callable[[str], str] = read_browser_file, beside: str | None = None) -> str:
    """The module `first` and all that it imports as one script without imports.

    read    a module's text by its name
    beside  a module that is joined in a script before this one: what that has is not repeated
    Each module is a function called once; imports are `import name from "./file.js";` or `import { a, b } from …`,
    a line each, and exports stand before a function, a const or the default. Anything else raises ValueError. Comments
    are left out: they would be half of a page.
    """
    made: dict[str, str] = {}
    if beside:
        add_module(beside, read, made, ())
        made = dict.fromkeys(made, "")
    add_module(first, read, made, ())
    return "".join(made.values()).replace("</script", "<\\/script").replace("<!--", "<\\!--")


def write_engine_scripts() -> str:
    """The engine as script elements: once for the page itself, whose text its worker takes too, with what it adds."""
    return (
        f'<script id="engine">{join_modules(ENGINE)}</script>'
        f'<script id="worker" type="text/plain">{join_modules("worker.js", beside=ENGINE)}</script>'
    )


def list_korean_texts() -> dict[str, str]:
    """What the engine says in Korean, by its English: of the catalogue what stands as a text in the modules."""
    script = join_modules(ENGINE)
    return {key: text for key, text in load_catalogue().items() if json.dumps(key, ensure_ascii=False) in script}


def add_module(name: str, read: Callable[[str], str], made: dict[str, str], around: tuple[str, ...]) -> None:
    if name in made:
        return
    if name in around:
        raise ValueError(f"{name} imports itself by way of {' and '.join(around)}")
    text = read(name)
    for found in IMPORT_LINE.finditer(text):
        add_module(found[3], read, made, (*around, name))
    body = IMPORT_LINE.sub(
        lambda m: f"const {m[1] or f'{{ {m[2]} }}'} = {name_variable(m[3])}{'.default' * bool(m[1])};\n", text
    )
    body = COMMENTS.sub("", body)
    names = [m[2] for m in EXPORT_WORD.finditer(body) if m[2]]
    body = EXPORT_WORD.sub(lambda m: "const standard = " if m[1] else m[0].removeprefix("export "), body)
    if re.search(r"^(import|export)\b|\bimport\(", body, re.MULTILINE):
        raise ValueError(f"{name} has an import or export of a form that cannot be joined")
    given = [*names, *(["default: standard"] if "const standard = " in body else [])]
    made[name] = f"const {name_variable(name)} = (() => {{\n{body}\nreturn {{ {', '.join(given)} }};\n}})();\n"


def name_variable(name: str) -> str:
    return "module_" + re.sub(r"\W", "_", name.removesuffix(".js"))
