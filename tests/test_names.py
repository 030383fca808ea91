"""A name leads to one thing, and a public name to what it promises, in whatever order modules are loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bench.names import count_names

import striate

PACKAGE = Path(striate.__file__).parent
MODULES = sorted(
    ".".join(("striate", *file.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for file in PACKAGE.rglob("*.py")
    if file.name != "__main__.py"
)


@pytest.fixture(scope="module")
def counts():
    return count_names(PACKAGE)


def test_fewer_than_eight_in_a_hundred_names_are_in_two_files(counts):
    assert counts.share < 0.08, counts.shared


def test_no_file_imports_itself_by_way_of_others(counts):
    assert counts.circles == []


def test_small_files_with_one_importer_are_few(counts):
    assert len(counts.small) <= 8, counts.small


def test_functions_are_called_by_a_verb_and_a_noun(counts):
    assert len(counts.words) <= 21, counts.words


def test_no_public_function_shares_its_name_with_a_module():
    """`import striate.x` puts the module x on the package, which would hide the function of that name."""
    beside = {name.split(".")[1] for name in MODULES if name.count(".") == 1}
    assert {name for name in striate.__all__ if name in beside} <= {"nets"}, "nets is that module itself"


def test_every_public_name_is_the_same_after_every_module_was_loaded():
    program = f"""
import importlib, striate
first = {{name: getattr(striate, name) for name in striate.__all__}}
missing = []
for name in {MODULES!r}:
    try:
        importlib.import_module(name)
    except Exception as e:  # what needs a library that is not installed says so in its own test
        missing.append(name)
assert all(getattr(striate, name) is value for name, value in first.items())
for name in list(first):
    vars(striate).pop(name, None)
assert all(getattr(striate, name) is value for name, value in first.items())
print(len(first), missing)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == str(len(striate.__all__))
