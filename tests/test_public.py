"""The names that users type: each is there, says what it is, and shows it."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import striate

ROOT = Path(__file__).parent.parent
CALLABLE = [name for name in striate.__all__ if not inspect.ismodule(getattr(striate, name))]


@pytest.mark.parametrize("name", CALLABLE)
def test_a_public_name_has_a_docstring_with_an_example_and_a_place_in_the_reference(name):
    said = inspect.getdoc(getattr(striate, name)) or ""
    assert said and ">>> " in said, f"striate.{name} shows no example"
    assert f"## `striate.{name}`" in (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")


def test_what_is_promised_is_there():
    promised = "Dataset Run Recipe check compare export fit label_errors load nets parse summary trace_update train"
    assert set(promised.split()) <= set(striate.__all__)
