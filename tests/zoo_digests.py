"""Digests of the zoo: of every net in the forms in which it is built, and of one of each family its drawing, its table,
its memory and its what-if changes. `python -m tests.zoo_digests` writes them.

They were taken when parameters, MACs, receptive fields, weights and outputs agreed with the published ones
(`test_zoo.py`, `test_published_weights.py`), and the drawings had been looked at. They hold what those do not see: an
order of layers, a default, a name, a pixel.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from striate.architecture import zoo
from striate.architecture.text import to_json
from striate.errors import NetError, ShapeError
from striate.summaries.columns import TABLE_COLUMNS
from striate.summaries.compare import compare_nets
from striate.summaries.draw import draw_net
from striate.summaries.summary import summarise_net
from striate.summaries.table_pages import render_table_html, render_table_markdown
from striate.summaries.tables import render_table_text
from striate.summaries.whatif import format_changes, suggest_changes

FILE = Path(__file__).parent / "reference" / "zoo_digests.json"
FORMS = {"own": {}, "7 classes": {"classes": 7}, "gray 32": {"input": (1, 32, 32)}, "RGB 32": {"input": (3, 32, 32)},
         "RGB 96×128": {"input": (3, 96, 128), "classes": 5}}  # fmt: skip


def digest_net(name: str, form: str) -> str:
    """12 hexadecimal digits; "" where the net cannot be built so."""
    try:
        net = zoo.build(name, **FORMS[form])
    except (NetError, ShapeError):
        return ""
    return digest_text(json.dumps([to_json(net), net.name]))


def list_examples() -> list[str]:
    """One net of each family: the one with the fewest layers."""
    families: dict[str, list[str]] = {}
    for name in zoo.NAMES:
        families.setdefault(zoo.FAMILY_OF[name], []).append(name)
    return [min(names, key=lambda name: len(zoo.build(name).steps)) for names in families.values()]


def describe_net(name: str) -> dict[str, str]:
    """All that is said and drawn of a net, as text."""
    net = zoo.build(name)
    account = summarise_net(net)
    return {
        "drawing": draw_net(net),
        "table, 72 columns": render_table_text(account, 72, show=[*TABLE_COLUMNS, "rule"]),
        "table, 160 columns": render_table_text(account, 160, color=True, depth=2),
        "markdown": render_table_markdown(account, show=[*TABLE_COLUMNS, "rule"]),
        "page": render_table_html(account),
        "data": json.dumps(account.as_dict()),
        "beside LeNet-5": str(compare_nets(zoo.build("lenet5"), net))
        + compare_nets(zoo.build("lenet5"), net).as_markdown(),
        "what if": format_changes(suggest_changes(net)),
    }


def digest_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def digest_zoo() -> dict[str, dict[str, str]]:
    return {name: {form: digest_net(name, form) for form in FORMS} for name in zoo.NAMES}


def digest_descriptions() -> dict[str, dict[str, str]]:
    return {name: {kind: digest_text(text) for kind, text in describe_net(name).items()} for name in list_examples()}


if __name__ == "__main__":
    FILE.write_text(json.dumps({"nets": digest_zoo(), "descriptions": digest_descriptions()}, indent=1) + "\n")
