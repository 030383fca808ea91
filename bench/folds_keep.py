"""What a cross-validation should keep: a net trained once more on all images, the folds' nets together, or the best.

    STRIATE_DATA=… python bench/folds_keep.py                  # all tasks, about half an hour on one core
    STRIATE_DATA=… python bench/folds_keep.py --tasks digits,clothing-40 --draws 4
    python bench/folds_keep.py --table                         # write the page's table again

A draw takes so many images, as even over the classes as they come; `striate.train(…, folds=5)` is asked with them, and
new images that no fold has seen measure what there is to keep:

    refit     what `--keep refit` keeps: one net, trained on all images as long or as strongly as the folds chose
    ensemble  the mean of the probabilities of the five folds' nets
    best      the fold's net that was right most often on its own fold

Milliseconds are the processor's, for an image, of the refit and of the five nets one after another; extra seconds are
what the refit's training took beside the folds'. Each draw is kept in bench/folds_keep.jsonl, so that a study that was
broken off goes on; the table goes into docs/from-folder-to-service.md. Needs `striate[lite0]` for the transfers.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from page import add_result, format_gain, put, read_results

import striate
from striate.data.images import Images
from striate.data.sources.load import load_dataset
from striate.fitting.watch import Watch

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "folds_keep.jsonl", HERE.parent / "docs" / "from-folder-to-service.md"
FOLDS, NEW_IMAGES, TIMED_IMAGES = 5, 2_000, 64


class Task(NamedTuple):
    """So many images of a data set at a size, and how they are trained on."""

    data: str
    size: int | None
    images: int
    settings: dict[str, Any]


SCRATCH, TRANSFER = {"preset": "fast"}, {"preset": "transfer", "fit": "pad"}
TASKS = {
    "digits-300": Task("digits", None, 300, SCRATCH),
    "fashion-500": Task("fashion-mnist", None, 500, SCRATCH),
    "fashion-2000": Task("fashion-mnist", None, 2000, SCRATCH),
    "cifar-1000": Task("cifar10-part", None, 1000, SCRATCH),
    "clothing-100": Task("clothing", 224, 100, TRANSFER),
    "clothing-400": Task("clothing", 224, 400, TRANSFER),
}


def load_all(task: Task) -> Images:
    """The training images of a task's data set, which each draw parts anew."""
    root, size = Path(os.environ.get("STRIATE_DATA", "")), None if task.size is None else (task.size, task.size)
    place = {"clothing": root / "clothing", "cifar10-part": root / "cifar10-part" / "cifar10-part.tar"}.get(task.data)
    return load_dataset(place or task.data, size=size).train


def draw_images(images: Images, count: int, seed: int) -> tuple[Images, Images]:
    """So many images, each class as often as the others where it has as many, and new ones."""
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(images))
    places = np.zeros(len(images), int)
    for label in range(len(images.classes)):
        own = order[images.y[order] == label]
        places[own] = np.arange(len(own))
    ranked = order[np.argsort(places[order], kind="stable")]
    rest = draw.permutation(ranked[count:])[:NEW_IMAGES]
    return images.take(np.sort(ranked[:count])), images.take(np.sort(rest))


def time_answers(answer: Callable[[np.ndarray], Any], x: np.ndarray) -> float:
    """Milliseconds of the processor for an image."""
    answer(x[:8])
    before = time.process_time()
    answer(x)
    return 1000 * (time.process_time() - before) / len(x)


def measure_draw(name: str, task: Task, seed: int) -> dict[str, Any]:
    learnt, new = draw_images(load_all(task), task.images, seed)
    with tempfile.TemporaryDirectory() as place:
        spent: list[float] = []

        class Clock(Watch):
            def plan(self, lines: list[str]) -> None:
                spent.append(time.process_time())

        made = striate.train(
            (np.asarray(learnt.x), learnt.y), folds=FOLDS, keep="refit", seed=seed, out=Path(place) / "run",
            watch=Clock(), **task.settings,
        )  # fmt: skip
        took = time.process_time() - spent[-1]
        refit, nets = striate.load(made.folder), [striate.load(made.folder / fold.run) for fold in made.folds]
        x, y = np.asarray(new.x), new.y
        answers = [net.probabilities(x) for net in nets]
        best = max(made.folds, key=lambda fold: fold.accuracy).number - 1
        few = x[:TIMED_IMAGES]

        def right(p: np.ndarray) -> float:
            return float((p.argmax(1) == y).mean())

        return {
            "task": name,
            "draw": seed,
            "images": len(learnt),
            "new": len(new),
            "refit": right(refit.probabilities(x)),
            "ensemble": right(np.mean(answers, axis=0)),
            "best": right(answers[best]),
            "fold": statistics.fmean(map(right, answers)),
            "folds_said": made.accuracy,
            "refit_ms": time_answers(refit.probabilities, few),
            "ensemble_ms": time_answers(lambda part: [net.probabilities(part) for net in nets], few),
            "extra_seconds": took,
        }


def make_table() -> str:
    lines = [
        "| task | draws | folds said | refit | ensemble | best fold | ensemble − refit | ms refit | ms ensemble |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    rows = read_results(RESULTS)
    for task in TASKS:
        own = [row for row in rows if row["task"] == task]
        if not own:
            continue
        mean = {key: statistics.fmean(row[key] for row in own) for key in own[0] if key != "task"}
        gains = [100 * (row["ensemble"] - row["refit"]) for row in own]
        lines.append(
            f"| {task} | {len(own)} | {mean['folds_said']:.1%} | {mean['refit']:.1%} | {mean['ensemble']:.1%} "
            f"| {mean['best']:.1%} | {format_gain(gains)} | {mean['refit_ms']:.2f} "
            f"| {mean['ensemble_ms']:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    done = {(row["task"], row["draw"]) for row in read_results(RESULTS)}
    for seed in [] if given.table else range(given.draws):
        for name in given.tasks.split(","):
            if (name, seed) not in done:
                row = measure_draw(name, TASKS[name], seed)
                add_result(RESULTS, row)
                print(json.dumps(row), flush=True)
    put(PAGE, "folds_keep.py", make_table())
    print(make_table())


if __name__ == "__main__":
    main()
