"""What all tests share: the optional folder of real data, one thread for tiny tensors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

try:
    import torch

    torch.set_num_threads(1)  # tiny tensors: a second thread costs more than it brings
except ImportError:  # the core tests run without torch
    pass


@pytest.fixture
def data() -> Path:
    """The folder of real images that STRIATE_DATA names; the test is skipped without it."""
    folder = os.environ.get("STRIATE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("STRIATE_DATA does not name a folder with the real data sets")
    return Path(folder)
