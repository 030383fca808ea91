"""A whole training at the command line on a data set ten times as large as the memory allowed: the peak stays flat."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

PROGRAM = """
import atexit, json, runpy, sys

def peak():
    lines = open("/proc/self/status").read().splitlines()
    print("peak", next(line.split()[1] for line in lines if line.startswith("VmHWM")), file=sys.stderr)

atexit.register(peak)
runpy.run_module("striate", run_name="__main__", alter_sys=True)
"""
NET = "Net((3, 96, 96), [Conv(4, 5, stride=4), ReLU(), MaxPool(4), Flatten(), Dense(2)])"


def photos(folder: Path, count: int) -> Path:
    """Two classes of small JPEGs, which become 96×96."""
    rng = np.random.default_rng(0)
    for k in range(count):
        path = folder / "ab"[k % 2] / f"{k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 200, (12, 12, 3), dtype=np.uint8)
        pixels[..., k % 2] += 50
        Image.fromarray(pixels).save(path)
    return folder


def striate(folder: Path, *words: str) -> int:
    """The peak resident memory (VmHWM: all pages of the process, of files too) of a command, in bytes."""
    env = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux's /proc")
def test_training_and_evaluation_take_no_more_memory_for_ten_times_the_images_allowed(tmp_path):
    """3,600 images are 100 MB; 10 MB are allowed, and 300 images are less. Held in memory the large set shows.

    A batch of validation, 256 images or all of the small set's 30, takes 7 MB as bytes and 28 as floats.
    """
    small, large = photos(tmp_path / "small", 300), photos(tmp_path / "large", 3600)

    def train(data: Path, memory: str) -> int:
        words = ["--net", NET, "--epochs", "2", "--batch", "32", "--augment", "flip", "--memory", memory]
        return striate(tmp_path, "train", data.name, *words, "--out", f"{data.name}-{memory}")

    base, mapped, held = train(small, "10M"), train(large, "10M"), train(large, "1G")
    assert mapped - base < 40e6 < 100e6 < held - base, (base, mapped, held)
    for name in (small.name, large.name):
        assert striate(tmp_path, "evaluate", "large-10M", name, "--memory", "1M", "--json") < base
    assert len(list((tmp_path / "cache" / "striate" / "images").glob("*.npy"))) == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="Linux's own way of it")
def test_the_memory_held_is_not_that_of_the_process_that_started_this_one():
    held = bytearray(1_500_000_000)
    held[::4096] = b"\1" * len(held[::4096])
    code = "from striate.fitting.forecast import measure_held_memory; print(measure_held_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 1e7 < int(done.stdout) < 1_400_000_000, len(held)
