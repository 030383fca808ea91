"""A network's text as the view Architecture shows it: its account, its layers' fields, and what would save work."""

from __future__ import annotations

from typing import Any

from ..architecture.editing import change_field, list_number_fields
from ..architecture.text import parse
from ..summaries.draw import draw_net
from ..summaries.summary import summarise_net
from ..summaries.table_pages import render_table_html
from ..summaries.whatif import suggest_changes

# Changes to a network that are offered at once.
MOST_CHANGES = 6


def describe_text(text: str) -> dict[str, Any]:
    """The account of a net's text. Raises NetError or ShapeError."""
    net = parse(text)
    summary = summarise_net(net)
    fields = {row.path: list_number_fields(row.layer) for row in summary.rows}
    return {
        "svg": draw_net(net),
        "table": render_table_html(summary),
        "title": summary.title,
        "summary": summary.as_dict(),
        "fields": {path: values for path, values in fields.items() if values},
    }


def list_changes(text: str) -> list[dict[str, Any]]:
    """What would save parameters or MACs, the most first, each with the text of the whole net that it makes.

    Raises NetError or ShapeError, as for a net of too many layers.
    """
    found = suggest_changes(parse(text))[:MOST_CHANGES]
    return [change.as_dict() | {"text": change.text, "net": repr(change.net)} for change in found]


def set_field_of_text(text: str, path: str, field: str, value: str) -> dict[str, str]:
    """The text of a net with a field of the layer at `path` set; `value` is a number, or a word for padding.

    Raises NetError or ShapeError for what will not do.
    """
    return {"text": change_field(text, path, field, read_value(value))}


def read_value(text: str) -> int | float | str:
    """
    >>> read_value("3"), read_value("0.5"), read_value("same")
    (3, 0.5, 'same')
    """
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
