"""Memory that stays with the process while it trains."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

GIVEN = os.environ | {"MALLOC_TRIM_THRESHOLD_": "131072", "MALLOC_MMAP_THRESHOLD_": "131072"}
"""As glibc begins: it would raise both by itself, sometimes."""

FAULTS = """
import resource, torch
from striate.fitting.ranks import keep_pages
torch.set_num_threads(1)
if {told}:
    assert keep_pages()
def step():
    maps = [torch.empty(2_000_000).fill_(1) for _ in range(6)]

for _ in range(12):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_a_map_that_comes_again_asks_the_system_for_no_page():
    """Ten steps with six maps of 8 MB each: some 10,000 faults a step as malloc is, none once it keeps them."""
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", FAULTS.format(told=told)], capture_output=True, check=True, env=GIVEN
            ).stdout
        )
        for told in (False, True)
    ]
    assert faults[1] < 3_000 < 30_000 < faults[0], faults
