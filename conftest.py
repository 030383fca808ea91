"""What all tests and doctests share: the folder of real data, one thread for tiny tensors, the records' names."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

# In CI the same examples every time: a change fails for what it changes, and not by the luck of the draw.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("default", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "default")

try:
    import torch

    torch.set_num_threads(1)  # tiny tensors: a second thread costs more than it brings
except ImportError:  # the core tests run without torch
    pass


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What drives a browser is marked so, by the fixture that starts one."""
    for item in items:
        if {"chromium", "browser"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.browser)


def pytest_collection_finish() -> None:
    """What the tests have loaded stays to the end: the collector of garbage need not go through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def data() -> Path:
    """The folder of real images that STRIATE_DATA names; the test is skipped without it."""
    folder = os.environ.get("STRIATE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("STRIATE_DATA does not name a folder with the real data sets")
    return Path(folder)


@pytest.fixture(autouse=True)
def names(doctest_namespace) -> None:
    """The layer records and Net, which the examples in docstrings use without importing them."""
    import striate
    from striate.architecture.layers import LAYERS

    doctest_namespace.update(LAYERS, Net=striate.Net)


@pytest.fixture(autouse=True)
def own_layers():
    """A layer that a test or a docstring registers is gone with it."""
    from striate.architecture.layers import LAYERS

    before = dict(LAYERS)
    yield
    LAYERS.clear()
    LAYERS.update(before)
