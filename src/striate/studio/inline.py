"""ES modules joined into one script: a page that opens from a file may not load modules beside it."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

IMPORT = re.compile(r'^import (?:(\w+)|\{ ([\w, ]+) \}) from "\./([\w.]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?:(default) |(?:(?:async )?function|const) (\w+))", re.MULTILINE)

COMMENT = re.compile(r"/\*\*.*?\*/", re.DOTALL)


def inline_json(data: Any) -> str:
    """JSON to stand within a script element: without "<", no name in it can end the script or begin a comment."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


@cache
def source(name: str) -> str:
    """A file of the page."""
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def joined(first: str) -> str:
    """The module `first` and all that it imports as one script without imports.

    Each module is a function called once; imports are `import name from "./file.js";` or `import { a, b } from …`,
    a line each, and exports stand before a function, a const or the default. Anything else raises ValueError.
    """
    made: dict[str, str] = {}
    add(first, made, ())
    return "".join(made.values()).replace("</script", "<\\/script").replace("<!--", "<\\!--")


def add(name: str, made: dict[str, str], around: tuple[str, ...]) -> None:
    if name in made:
        return
    if name in around:
        raise ValueError(f"{name} imports itself by way of {' and '.join(around)}")
    text = source(name)
    for found in IMPORT.finditer(text):
        add(found[3], made, (*around, name))
    body = IMPORT.sub(lambda m: f"const {m[1] or f'{{ {m[2]} }}'} = {variable(m[3])}{'.default' * bool(m[1])};\n", text)
    names = [m[2] for m in EXPORT.finditer(body) if m[2]]
    body = EXPORT.sub(lambda m: "const standard = " if m[1] else m[0].removeprefix("export "), body)
    if re.search(r"^(import|export)\b|\bimport\(", COMMENT.sub("", body), re.MULTILINE):
        raise ValueError(f"{name} has an import or export of a form that cannot be joined")
    given = [*names, *(["default: standard"] if "const standard = " in body else [])]
    made[name] = f"const {variable(name)} = (() => {{\n{body}\nreturn {{ {', '.join(given)} }};\n}})();\n"


def variable(name: str) -> str:
    return "module_" + re.sub(r"\W", "_", name.removesuffix(".js"))
