"""What pooling does to invariance: LeNet-like nets on Fashion-MNIST that differ in their pooling alone.

    python bench/pooling.py                          # six nets, five seeds: about a quarter of an hour on two cores
    python bench/pooling.py --seeds 1 --epochs 1     # a trial
    python bench/pooling.py --table                  # write the page's table again from the results

Each finished training is kept in bench/pooling.jsonl, so that a broken-off study goes on where it stopped. The table
goes into docs/pooling-and-shifts.md, between its markers. Needs torch, and Fashion-MNIST (STRIATE_DATA or download).
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from math import sqrt
from pathlib import Path

import torch
from page import add_result, put, read_results

import striate
from striate import AvgPool, BlurPool, Conv, Dense, Flatten, GlobalAvgPool, MaxPool, Net, ReLU
from striate.data.images import Dataset, Images
from striate.data.sources.load import load_dataset
from striate.fitting.watch import Watch
from striate.metrics.invariance import measure_invariance

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "pooling.jsonl"
PAGE = HERE.parent / "docs" / "pooling-and-shifts.md"
IMAGES = 20_000
"""So many of the training images are used, the first of the training split, so that thirty trainings stay bearable."""
SHIFTS = 4
MEASURED = 1000
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
"""Student's t that leaves 2.5 % above it, by the seeds less one."""
COLUMNS = {
    "accuracy": "test accuracy",
    "shift_accuracy": f"accuracy, shifted by 1 to {SHIFTS} px",
    "consistency": "shift consistency (Zhang)",
    "shift_agreement": f"same answer, shifted by 1 to {SHIFTS} px",
    "rotation_agreement": "same answer, turned by 5° to 45°",
    "scaling_agreement": "same answer, scaled by 0.6 to 1.5",
    "flip_agreement": "same answer, flipped",
}
PAIRS = (
    ("average pooling", "max pooling"),
    ("strided convolution", "max pooling"),
    ("max, blurred (BlurPool)", "max pooling"),
    ("max, global mean", "max pooling"),
    ("max, blurred, global mean", "max, global mean"),
)
"""Compared seed by seed: both nets of a pair saw the same images in the same order."""


def nets() -> dict[str, Net]:
    """LeNet-5's layers for 1×28×28; each net reduces 28 to 14 and 10 to 5 in its own way, or has its own head."""

    def body(pool: list, stride: int = 1) -> list:
        first = Conv(6, 5, stride, padding=2, init="he_uniform")
        return [first, ReLU(), *pool, Conv(16, 5, stride, init="he_uniform"), ReLU(), *pool]

    hidden = {"init": "he_uniform"}
    dense = [Dense(120, **hidden), ReLU(), Dense(84, **hidden), ReLU(), Dense(10)]
    blur = [MaxPool(2, stride=1), BlurPool(4)]
    made = {
        "max pooling": [*body([MaxPool(2)]), Flatten(), *dense],
        "average pooling": [*body([AvgPool(2)]), Flatten(), *dense],
        "strided convolution": [*body([], 2), Flatten(), *dense],
        "max, blurred (BlurPool)": [*body(blur), Flatten(), *dense],
        "max, global mean": [*body([MaxPool(2)]), GlobalAvgPool(), *dense],
        "max, blurred, global mean": [*body(blur), GlobalAvgPool(), *dense],
    }
    return {name: Net((1, 28, 28), layers, name) for name, layers in made.items()}


class Quiet(Watch):
    """Tells nothing."""


def some_of(dataset: Dataset) -> Dataset:
    """The data set with the first IMAGES of its training images, in memory."""
    train = dataset.train
    few = Images(train.x[:IMAGES], train.y[:IMAGES], train.classes, train.files[:IMAGES])
    return replace(dataset, train=few)


def run(name: str, net: Net, seed: int, epochs: int, dataset: Dataset) -> dict:
    """Train one net with one seed, and measure it on the test images."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        trained = striate.train(
            dataset, net, out=Path(folder) / "run", epochs=epochs, batch=128, seed=seed, augment="none", watch=Quiet()
        )
        model = trained.model
        seconds = time.perf_counter() - began
        assert dataset.test is not None
        some = dataset.test.x[:MEASURED], dataset.test.y[:MEASURED]
        found = measure_invariance(model.probabilities, *some, shifts=SHIFTS, seed=seed)
        accuracy = trained.report.accuracy
    processor = "GPU" if torch.cuda.is_available() else "CPU"
    changes = {f"{c.name[:-1]}_{what}": getattr(c, what) for c in found.changes for what in ("accuracy", "agreement")}
    return {
        "net": name,
        "seed": seed,
        "epochs": epochs,
        "params": striate.summary(net).params,
        "macs": striate.summary(net).macs,
        "accuracy": accuracy,
        "consistency": found.consistency,
        **changes,
        "train_seconds": round(seconds, 1),
        "measure_seconds": round(time.perf_counter() - began - seconds, 1),
        "made_by": f"striate {striate.__version__}, {platform.machine()} {processor}",
    }


def results() -> list[dict]:
    return read_results(RESULTS)


def cell(values: list[float], sign: str = "") -> str:
    """Mean and 95 % interval of the mean over the seeds, in per cent."""
    mean = 100 * statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:{sign}.1f}"
    half = 100 * STUDENT[len(values) - 1] * statistics.stdev(values) / sqrt(len(values))
    return f"{mean:{sign}.1f} ± {half:.1f}"


def differences(rows: list[dict]) -> list[str]:
    """What one net has over another, seed by seed, as lines of Markdown."""
    lines = ["| difference, in percentage points | " + " | ".join(COLUMNS.values()) + " |"]
    lines.append("|---|" + "---:|" * len(COLUMNS))
    of = {(row["net"], row["seed"]): row for row in rows}
    for one, other in PAIRS:
        seeds = [seed for net, seed in of if net == one and (other, seed) in of]
        if seeds:
            gains = [cell([of[one, s][key] - of[other, s][key] for s in seeds], "+") for key in COLUMNS]
            lines.append(f"| {one}, less {other} | " + " | ".join(gains) + " |")
    return lines


def table(rows: list[dict]) -> str:
    """The results as Markdown, a line a net."""
    names = list(dict.fromkeys(row["net"] for row in rows))
    seeds, epochs = sorted({row["seed"] for row in rows}), sorted({row["epochs"] for row in rows})
    lines = [
        "| pooling | parameters | MACs | " + " | ".join(COLUMNS.values()) + " |",
        "|---|---:|---:|" + "---:|" * len(COLUMNS),
    ]
    for name in names:
        own = [row for row in rows if row["net"] == name]
        cells = [cell([row[key] for row in own]) for key in COLUMNS]
        lines.append(f"| {name} | {own[0]['params']:,} | {own[0]['macs']:,} | " + " | ".join(cells) + " |")
    lines += ["", *differences(rows)]
    spread = "no interval"
    if len(seeds) > 1:
        spread = "mean and 95 % interval of the mean over the seeds (Student's t)"
    lasting = f"{' or '.join(map(str, epochs))} epoch{'s' * (epochs != [1])}"
    trained = f"{len(seeds)} seed{'s' * (len(seeds) > 1)}, {lasting}"
    lines += [
        "",
        f"Per cent; {trained} of {IMAGES:,} of Fashion-MNIST's training images, no augmentation; {spread}. "
        f"Accuracy on all 10,000 test images, the rest on the first {MEASURED:,}. "
        f"Made by {' and '.join(sorted({row['made_by'] for row in rows}))}.",
    ]
    return "\n".join(lines)


def write(text: str) -> None:
    put(PAGE, "pooling.py", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--nets", help="names, joined by a semicolon; all where not given")
    parser.add_argument("--table", action="store_true", help="write the table from what there is, train nothing")
    given = parser.parse_args()
    chosen = {name: net for name, net in nets().items() if not given.nets or name in given.nets.split(";")}
    known = {(row["net"], row["seed"], row["epochs"]) for row in results()}
    wanted = [(seed, name) for seed in range(given.seeds) for name in chosen]
    if not given.table:
        dataset = some_of(load_dataset("fashion-mnist", seed=0))
        for k, (seed, name) in enumerate(wanted, 1):
            if (name, seed, given.epochs) in known:
                continue
            row = run(name, chosen[name], seed, given.epochs, dataset)
            add_result(RESULTS, row)
            print(f"{k}/{len(wanted)} {json.dumps(row)}", file=sys.stderr, flush=True)
    rows = [row for row in results() if row["epochs"] == given.epochs and (row["seed"], row["net"]) in wanted]
    rows.sort(key=lambda row: (list(nets()).index(row["net"]), row["seed"]))
    print(table(rows))
    write(table(rows))


if __name__ == "__main__":
    main()
