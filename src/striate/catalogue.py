"""A gettext catalogue as text (`.po`), read as far as striate writes one: keys, plurals, texts, comments."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def read_catalogue(text: str) -> dict[str, str]:
    """Each text by its key; one that counts by both of its keys, `msgid` and `msgid_plural`.

    >>> read_catalogue('msgid "{n} row"\\nmsgid_plural "{n} rows"\\nmsgstr[0] "{n}"\\n"행"')
    {'{n} row': '{n}행', '{n} rows': '{n}행'}
    """
    return {key: told for keys, told in list_entries(text) for key in keys if key and told}


def list_entries(text: str) -> Iterator[tuple[list[str], str]]:
    """The entries in their order: their keys and their text."""
    parts: list[str] = []
    for line in [*text.splitlines(), 'msgid ""']:
        word, quote, rest = line.partition('"')
        if not quote or line.startswith("#"):
            continue
        said = ast.literal_eval(quote + rest)
        match word.strip():
            case "":
                parts[-1] += said
            case "msgid":
                if parts:
                    yield parts[:-1], parts[-1]
                parts = [said]
            case _:
                parts.append(said)
