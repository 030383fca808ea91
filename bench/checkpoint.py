"""What checkpoints cost a training: the seconds of `Run.save` beside the 30 seconds between two of them.

    python bench/checkpoint.py [--nets lenet5,striate_m,resnet18] [--times 9] [--folder .]

Each net has taken a step with AdamW, whose state is twice the weights, and has a running mean of its weights besides,
so that no recipe's checkpoint is larger. It is then saved `--times` times below `--folder`, and the medians are shown.
"processor" is the part of a save in which a core works; "write" and "fsync" are those of as many bytes alone, in a file
of their own.
The share is that of a save in the time from one to the next: save / (30 s + save).
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

import striate
from striate.architecture.find import find_net
from striate.engines.model_file import Preprocess
from striate.fitting.batches import standardise_batch
from striate.fitting.checkpoint import Task
from striate.fitting.recipe import Recipe
from striate.fitting.run import SAVE_EVERY, Run
from striate.run_files import RunFiles

INPUTS = {"lenet5": (1, 32, 32), "striate_m": (3, 32, 32)}


def begun(name: str, folder: Path) -> Run:
    """A run of the net after one step, so that the optimizer has a state for every weight."""
    net = find_net(name, classes=10, input=INPUTS.get(name, (3, 224, 224)))
    classes = tuple(map(str, range(10)))
    c, h, w = net.input
    preprocess = Preprocess((h, w), "pad", (0.5,) * c, (0.25,) * c)
    recipe = Recipe(optimizer="adamw", ema=0.999)
    run = Run.start(folder, Task(net, recipe, classes, preprocess, "", striate.__version__))
    c, h, w = net.input
    x = standardise_batch(torch.randint(0, 256, (4, h, w, c), dtype=torch.uint8), torch.full((c,), 0.5), torch.ones(c))
    logits = run.network(x)
    (logits[0] if isinstance(logits, tuple) else logits).sum().backward()
    run.optimizer.step()
    run.step = 1
    return run


def written(folder: Path, size: int) -> tuple[float, float]:
    """Seconds to write so many bytes to a new file, and to wait until the disk has them."""
    data = os.urandom(size)
    began = time.perf_counter()
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(data)
        file.flush()
        middle = time.perf_counter()
        os.fsync(file.fileno())
        return middle - began, time.perf_counter() - middle


def saved(run: Run) -> tuple[float, float]:
    """Seconds of a save by the clock, and those of them in which a core worked for it."""
    began, worked = time.perf_counter(), time.process_time()
    run.save()
    return time.perf_counter() - began, time.process_time() - worked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", default="lenet5,striate_m,resnet18")
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("--folder", type=Path, default=Path("."), help="on the disk to be measured")
    given = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; Python "
        f"{platform.python_version()}, torch {torch.__version__}, striate {striate.__version__}\n"
    )
    print("| net | parameters | checkpoint, MB | save, ms | processor | write | fsync | slowest save | share |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in given.nets.split(","):
        with tempfile.TemporaryDirectory(dir=given.folder) as place:
            run = begun(name, Path(place))
            saves, works = zip(*(saved(run) for _ in range(given.times)), strict=True)
            size = RunFiles(run.folder).checkpoint.stat().st_size
            writes, syncs = zip(*(written(Path(place), size) for _ in range(given.times)), strict=True)
        params = sum(weight.numel() for weight in run.network.parameters())
        times = " | ".join(f"{1000 * seconds:,.1f}" for seconds in map(median, (saves, works, writes, syncs)))
        share = median(saves) / (SAVE_EVERY + median(saves))
        print(f"| {name} | {params:,} | {size / 1e6:,.1f} | {times} | {1000 * max(saves):,.1f} | {share:.3%} |")


if __name__ == "__main__":
    main()
