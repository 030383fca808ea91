"""One field of one layer changed in a net's text, where it stands; the rest stays as its author wrote it."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from typing import Any

from ..errors import NetError, suggest_name
from ..language import say
from .layers import Layer
from .text import parse

# Where a line begins to Python's parser.
LINE_STARTS = re.compile(r"(?<=\n)|(?<=\r)(?!\n)")
# What a container holds, and the name: no fields to be set by a number.
HELD = ("layers", "branches", "name")


def list_number_fields(layer: Layer) -> dict[str, int | float | str]:
    """The fields of a record that a number says, and padding, which may be a word too, with their values.

    >>> from .layers import Conv
    >>> list(list_number_fields(Conv(6, 5)).items())[:4]
    [('filters', 6), ('kernel', 5), ('stride', 1), ('padding', 'valid')]
    """
    given = {field.name: getattr(layer, field.name) for field in fields(layer) if field.init and field.name not in HELD}
    return {
        name: value
        for name, value in given.items()
        if (isinstance(value, int | float) and not isinstance(value, bool))
        or (name == "padding" and isinstance(value, str))
    }


def change_field(text: str, path: str, field: str, value: int | float | str) -> str:
    """The text of a net with a field of the layer at `path` set; the rest of it to the letter as it was.

    Raises NetError or ShapeError for a text, a path, a field or a value that will not do.

    >>> change_field("Net((1, 8, 8), [Conv(4, 3), ReLU(), Flatten(), Dense(2)])", "conv1", "stride", 2)
    'Net((1, 8, 8), [Conv(4, 3, stride=2), ReLU(), Flatten(), Dense(2)])'
    """
    net, text = parse(text), text.strip()
    layer = net.at(path).layer
    known = list_number_fields(layer)
    if field not in known:
        what = say("{name} has no field '{field}' that a number says", name=type(layer).__name__, field=field)
        raise NetError(path, what, hint=suggest_name(field, known))
    call = find_call(ast.parse(text, mode="eval").body, net.body, path.split("."))
    start, end, new = place_field(text, call, type(layer), field, repr(value))
    made = text[:start] + new + text[end:]
    parse(made)
    return made


def find_call(node: ast.expr, holder: Any, parts: list[str]) -> ast.Call:
    """The expression of the layer that `parts` lead to from the container `holder`, whose expression is `node`."""
    children = list_children(node)
    at = next(k for k, (name, _) in enumerate(holder.named) if name == parts[0])
    found, layer = children[at], holder.named[at][1]
    if len(parts) > 1:
        return find_call(found, layer, parts[1:])
    assert isinstance(found, ast.Call)
    return found


def list_children(node: ast.expr) -> list[ast.expr]:
    """The expressions of the layers in a container's: a branch may be a list."""
    if isinstance(node, ast.List | ast.Tuple):
        return node.elts
    assert isinstance(node, ast.Call)
    if not (isinstance(node.func, ast.Name) and node.func.id == "Net"):
        return node.args
    named = {keyword.arg: keyword.value for keyword in node.keywords}
    return list_children(named["layers"] if "layers" in named else node.args[1])


def place_field(text: str, call: ast.Call, kind: type[Layer], field: str, value: str) -> tuple[int, int, str]:
    """Where in the text the field's value goes, from one place to before another, and what is to stand there."""
    places = [f.name for f in fields(kind) if f.init and not f.kw_only]
    given = next((keyword.value for keyword in call.keywords if keyword.arg == field), None)
    if given is None and field in places[: len(call.args)]:
        given = call.args[places.index(field)]
    if given is not None:
        return (
            count_signs(text, given.lineno, given.col_offset),
            count_signs(text, given.end_lineno, given.end_col_offset),
            value,
        )
    last = max([*call.args, *(keyword.value for keyword in call.keywords)], key=end_of, default=None)
    if last is None:  # Name() without anything in it
        at = text.index("(", count_signs(text, call.lineno, call.col_offset)) + 1
        return at, at, f"{field}={value}"
    at = count_signs(text, last.end_lineno, last.end_col_offset)
    return at, at, f", {field}={value}"


def end_of(node: ast.expr) -> tuple[int, int]:
    return node.end_lineno or 0, node.end_col_offset or 0


def count_signs(text: str, line: int | None, column: int | None) -> int:
    """The place in the text of a line and a column, which Python counts in bytes."""
    lines = LINE_STARTS.split(text)
    before = sum(len(one) for one in lines[: (line or 1) - 1])
    return before + len(lines[(line or 1) - 1].encode()[: column or 0].decode())
