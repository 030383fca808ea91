"""HTML and SVG as values. Text becomes markup only by being escaped, so no file or class name can break out of it."""

from __future__ import annotations

from html import escape
from typing import Any

from ..terminal import make_printable

VOID_TAGS = frozenset(["meta", "link", "img", "br"])


class Markup(str):
    """Finished markup, as against text that is still to be escaped. `tag` and `join_markup` make it."""

    __slots__ = ()


def tag(name: str, /, *inside: Any, **attributes: Any) -> Markup:
    """`<name attributes>inside</name>`. Markup goes in as it is, everything else as escaped text; None is left out.

    `_` at the end of an attribute's name is dropped, others become `-`; an attribute that is None is left out.

    >>> tag("td", "<b> & co", class_="name", stroke_width=2)
    '<td class="name" stroke-width="2">&lt;b&gt; &amp; co</td>'
    """
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    head = "".join(f' {key}="{escape_value(value)}"' for key, value in given.items())
    return Markup(f"<{name}{head}>" if name in VOID_TAGS else f"<{name}{head}>{join_markup(*inside)}</{name}>")


def join_markup(*inside: Any) -> Markup:
    """Several pieces, one after another."""
    return Markup(
        "".join(item if isinstance(item, Markup) else escape_value(item) for item in inside if item is not None)
    )


def keep_unbroken(text: str) -> str:
    """A sentence in which no line ends between a number and its percent sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def escape_value(value: Any) -> str:
    if isinstance(value, float):
        value = f"{value:.6g}"
    return escape(make_printable(str(value)))
