"""The head of a transfer from few images, beside what it was: accuracy on new images, in paired draws.

    STRIATE_DATA=… python bench/few_images.py                      # all tasks, about half an hour on one core
    STRIATE_DATA=… python bench/few_images.py --tasks tops,flaws --counts 5,20 --draws 8
    python bench/few_images.py --table                             # write the page's table again

Features of EfficientNet-Lite0 are computed once and kept in the cache folder. A draw takes so many images of each
class; the others, at most 1,500, are new images. Both heads see the same draw:

    before  each feature divided by its own deviation, a fifth of the images held back to validate, the strength by
            three folds alone
    now     `fit_head` as it is: scales between a feature's deviation and its stage's, a prior on the strength, as many
            folds as there are few images, and all images

Each draw is kept in bench/few_images.jsonl, so that a study that was broken off goes on; the table goes into
docs/transfer.md. The tasks: clothing (ten classes), tops (shirt or T-shirt), bottoms (pants or skirts), animals (cat or
dog) and things (ten classes) of the CIFAR-10 part, flaws (gray surfaces made here: whole, scratched, dented, stained),
fashion (T-shirt or shirt of Fashion-MNIST). Needs `striate[lite0]`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from page import add_result, format_gain, put, read_results
from scipy.ndimage import gaussian_filter

from striate.data.check.label_errors import make_folds
from striate.data.images import list_digests
from striate.data.sources.load import load_dataset
from striate.runs.starting import load_backbone
from striate.transfer import head
from striate.transfer.backbone import adapt_backbone, take_part
from striate.transfer.features import FrozenNet, extract_features

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "few_images.jsonl", HERE.parent / "docs" / "transfer.md"
COUNTS, NEW_IMAGES = ("5", "10", "20", "50", "100", "all"), 1_500
TASKS = {
    "clothing": ("clothing", None), "tops": ("clothing", ("shirt", "t-shirt")),
    "bottoms": ("clothing", ("pants", "skirt")), "animals": ("cifar", ("cat", "dog")), "things": ("cifar", None),
    "flaws": ("flaws", None), "fashion": ("fashion", ("T-shirt/top", "Shirt")),
}  # fmt: skip
SIDE = 224


def make_surface(kind: int, draw: np.random.Generator) -> np.ndarray:
    """A gray surface, uint8 128×128: whole, or with a scratch, a dent or a stain that is hard to see."""
    x = sum(gaussian_filter(draw.normal(size=(128, 128)), (s, s * draw.uniform(1, 3))) * s for s in (1, 3, 8))
    x = x / x.std() * 18 + draw.uniform(90, 160)
    rows, columns = np.mgrid[:128, :128]
    i, j = draw.uniform(20, 108, 2)
    depth, away = draw.uniform(20, 45) * draw.choice([-1, 1]), (rows - i) ** 2 + (columns - j) ** 2
    if kind == 1:
        turn = draw.uniform(0, np.pi)
        across = (columns - j) * np.sin(turn) - (rows - i) * np.cos(turn)
        along = (columns - j) * np.cos(turn) + (rows - i) * np.sin(turn)
        x = x + depth * np.exp(-((across / 1.2) ** 2)) * (abs(along) < draw.uniform(15, 45))
    if kind == 2:
        x = x + 1.3 * depth * np.exp(-away / (2 * draw.uniform(2.5, 6) ** 2))
    if kind == 3:
        spots = gaussian_filter(draw.normal(size=x.shape), 5) > 0.03
        x = x + 0.5 * depth * spots * np.exp(-away / (2 * draw.uniform(15, 30) ** 2))
    return np.clip(x + 6 * draw.normal(size=x.shape), 0, 255).astype(np.uint8)


def load_pictures(name: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Images uint8 N×224×224×3, labels, classes; at most 600 of a class."""
    shape: dict[str, Any] = {"size": (SIDE, SIDE), "channels": 3}
    if name == "flaws":
        x = [make_surface(kind, np.random.default_rng(10_000 * kind + k)) for kind in range(4) for k in range(400)]
        data = load_dataset((np.stack(x), np.repeat(np.arange(4), 400)), **shape)
        names = ["whole", "scratch", "dent", "stain"]
    else:
        root = Path(os.environ["STRIATE_DATA"])
        sources = {"clothing": root / "clothing", "cifar": root / "cifar10-part" / "cifar10-part.tar"}
        data = load_dataset(str(sources.get(name, "fashion-mnist")), **shape)
        names = list(data.classes)
    assert data.test is not None
    y = np.concatenate([part.y for part in (data.train, data.valid, data.test)])
    kept = np.sort(np.concatenate([np.flatnonzero(y == k)[:600] for k in range(len(names))]))
    ends = np.cumsum([len(part) for part in (data.train, data.valid, data.test)])
    x = [part.x[kept[(kept >= high - len(part)) & (kept < high)] - (high - len(part))]
         for part, high in zip((data.train, data.valid, data.test), ends, strict=True)]  # fmt: skip
    return np.concatenate(x), y[kept], names


def load_features(name: str) -> tuple[np.ndarray, np.ndarray, list[str], tuple[int, ...]]:
    """Vectors, labels, classes, and how many features each stage gave."""
    model = load_backbone(None, None)
    wide = adapt_backbone(model.net.resized((3, SIDE, SIDE)), 2, taps=True)
    net, tensors = take_part(wide.net, wide.kept(model.tensors), 0, -1)
    x, y, names = load_pictures(name)
    frozen = FrozenNet(net, tensors, model.preprocess.mean, model.preprocess.std)
    return extract_features(frozen, x, list_digests(x)), y, names, wide.blocks


def find_own_deviations(x: np.ndarray, blocks: tuple[int, ...]) -> np.ndarray:
    """What each feature was divided by."""
    deviation = x.std(0, dtype=np.float64)
    return deviation + 1e-3 * deviation.mean()


def fit_before(x: np.ndarray, y: np.ndarray, classes: int, seed: int) -> head.LinearHead:
    rest, _ = make_folds(y, 5, seed)[0]
    old: dict[str, Any] = {"FOLDS": ((None, 3),), "STRENGTH_SPREAD": 1e9, "find_scales": find_own_deviations}
    with patch.multiple(head, **old, STRENGTHS=head.STRENGTHS[2:]):
        return head.fit_head(x[rest], y[rest], classes, seed).linear


def compare_draws(task: str, counts: list[str], draws: int, done: set) -> Iterator[dict]:
    """A row for each draw that was not done."""
    data, chosen = TASKS[task]
    wanted = [(count, k) for count in counts for k in range(draws) if (task, count, k) not in done]
    if not wanted:
        return
    x, y, names, blocks = load_features(data)
    if chosen is not None:
        places = [names.index(name) for name in chosen]
        own = np.isin(y, places)
        x, y = x[own], np.searchsorted(np.sort(places), y[own])
    classes = int(y.max()) + 1
    for count, k in wanted:
        draw = np.random.default_rng(k)
        each = [draw.permutation(np.flatnonzero(y == c)) for c in range(classes)]
        take = [int(0.8 * len(rows)) if count == "all" else int(count) for rows in each]
        if any(4 * n > 3.3 * len(rows) for n, rows in zip(take, each, strict=True)):
            continue
        own = np.concatenate([rows[:n] for n, rows in zip(take, each, strict=True)])
        new = draw.permutation(np.setdiff1d(np.arange(len(y)), own))[:NEW_IMAGES]
        before = fit_before(x[own], y[own], classes, k)
        now = head.fit_head(x[own], y[own], classes, k, blocks=blocks).linear
        (a, loss_a), (b, loss_b) = (head.score_logits(one(x[new]), y[new]) for one in (before, now))
        row = {
            "task": task,
            "count": count,
            "draw": k,
            "before": a,
            "now": b,
            "loss_before": loss_a,
            "loss_now": loss_b,
        }
        yield row | {"images": len(own), "new": len(new)}


def make_table() -> str:
    lines = [
        "| task | a class | draws | before | now | gain | loss before | loss now |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    rows = read_results(RESULTS)
    for task in TASKS:
        for count in COUNTS:
            own = [row for row in rows if (row["task"], row["count"]) == (task, count)]
            if not own:
                continue
            mean = {
                key: statistics.fmean(row[key] for row in own) for key in ("before", "now", "loss_before", "loss_now")
            }
            gains = [100 * (row["now"] - row["before"]) for row in own]
            lines.append(
                f"| {task} | {count} | {len(own)} | {mean['before']:.1%} | {mean['now']:.1%} "
                f"| {format_gain(gains)} | {mean['loss_before']:.2f} | {mean['loss_now']:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--counts", default=",".join(COUNTS))
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    for task in [] if given.table else given.tasks.split(","):
        done = {(row["task"], row["count"], row["draw"]) for row in read_results(RESULTS)}
        for row in compare_draws(task, given.counts.split(","), given.draws, done):
            add_result(RESULTS, row)
            print(json.dumps(row), flush=True)
    put(PAGE, "few_images.py", make_table())
    print(make_table())


if __name__ == "__main__":
    main()
