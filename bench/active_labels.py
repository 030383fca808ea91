"""How many labels it takes to come to 95 % of the accuracy of all of them, by the order in which pictures are labelled.

    STRIATE_DATA=… python bench/active_labels.py               # all tasks, a few minutes once features are kept
    STRIATE_DATA=… python bench/active_labels.py --tasks clothing --draws 2
    python bench/active_labels.py --table                      # write the page's table again

A draw is a pool of so many unlabelled pictures and others to measure on. The first 20 are labelled without a model: at
random, or by `order_by_kind`, or by `order_by_spread`. Then a head on EfficientNet-Lite0's features is trained on those
that are labelled, and the next ones are chosen by an order of `striate.metrics.label_order`, until all rounds are done.
The labels to 95 % are read off between two rounds in a straight line, at the first round that reaches it. Each draw is
kept in bench/active_labels.jsonl; the table goes into docs/unlabelled.md. Needs `striate[lite0]`.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from few_images import load_features
from page import add_result, put, read_results
from threadpoolctl import threadpool_limits

from striate.metrics import label_order
from striate.transfer import head

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "active_labels.jsonl", HERE.parent / "docs" / "unlabelled.md"
TASKS, POOL, NEW, STRENGTH, SHARE = ("clothing", "fashion", "cifar"), 1_500, 1_000, 1.0, 0.95
ROUNDS = (20, 40, 60, 80, 100, 130, 160, 200, 250, 320, 400, 500, 640, 800, 1_000, 1_250, 1_500)
WAYS = {
    "random": ("random", "random"),
    "margin": ("random", "margin"),
    "entropy": ("random", "entropy"),
    "spread": ("spread", "spread"),
    "margin apart": ("random", "apart"),
    "kinds, random": ("kind", "random"),
    "kinds, margin": ("kind", "margin"),
    "kinds, margin apart": ("kind", "apart"),
}
ORDERS: dict[str, label_order.Order] = {
    "margin": label_order.order_by_margin,
    "entropy": label_order.order_by_entropy,
    "spread": label_order.order_by_spread,
    "apart": label_order.order_by_margin_apart,
    "kind": label_order.order_by_kind,
}


class Learner:
    """A head on the features of those that are labelled."""

    def __init__(self, x: np.ndarray, y: np.ndarray, classes: int, blocks: tuple[int, ...]) -> None:
        self.x, self.y, self.classes, self.blocks = x, y, classes, blocks

    def fit(self, rows: np.ndarray) -> head.LinearHead:
        axes = head.find_principal_axes(self.x[rows], self.blocks)
        return axes.linear(*head.solve_head(axes, self.y[rows], self.classes, STRENGTH))


def follow_way(learner: Learner, places: np.ndarray, test: tuple[np.ndarray, np.ndarray], way: str, seed: int) -> Any:
    """The accuracy after each round, the last one of all labels."""
    begin, go_on = WAYS[way]
    draw, n, accuracies = np.random.default_rng([seed, 1]), len(learner.y), []
    labelled = draw.permutation(n)[:20] if begin == "random" else ORDERS[begin](places, places[:0], None, 20)
    for count, following in zip(ROUNDS, [*ROUNDS[1:], None], strict=True):
        linear = learner.fit(labelled)
        accuracies.append(float((linear(test[0]).argmax(1) == test[1]).mean()))
        if following is None:
            break
        rest = np.setdiff1d(np.arange(n), labelled)
        p = head.compute_probabilities(linear(learner.x[rest]))
        if go_on == "random":
            chosen = draw.permutation(len(rest))[: following - count]
        else:
            chosen = ORDERS[go_on](places[rest], places[labelled], p, following - count)
        labelled = np.concatenate([labelled, rest[chosen]])
    return accuracies


def read_labels(accuracies: list[float], goal: float) -> float:
    """The labels at which the goal is first reached, between two rounds in a straight line."""
    at = next(k for k, accuracy in enumerate(accuracies) if accuracy >= goal)
    if not at:
        return ROUNDS[0]
    low, high = accuracies[at - 1], accuracies[at]
    return ROUNDS[at - 1] + (ROUNDS[at] - ROUNDS[at - 1]) * (goal - low) / (high - low)


def measure_draw(task: str, data: Any, seed: int) -> dict[str, Any]:
    x, y, names, blocks = data
    rows = np.random.default_rng(seed).permutation(len(y))
    pool, new = rows[:POOL], rows[POOL : POOL + NEW]
    learner = Learner(x[pool], y[pool], len(names), blocks)
    places = label_order.place_features(x[pool])
    found = {way: follow_way(learner, places, (x[new], y[new]), way, seed) for way in WAYS}
    full = statistics.fmean(accuracies[-1] for accuracies in found.values())
    labels = {way: read_labels([*accuracies[:-1], full], SHARE * full) for way, accuracies in found.items()}
    return {"task": task, "draw": seed, "full": full, "labels": labels, "accuracies": found}


def make_table() -> str:
    rows = read_results(RESULTS)
    shown = [task for task in TASKS if any(row["task"] == task for row in rows)]
    heads = [f"{task} | of random" for task in shown]
    lines = [f"| order | {' | '.join(heads)} |", f"| --- |{' ---: | ---: |' * len(shown)}"]
    for way in WAYS:
        cells = [way]
        for task in shown:
            own = [row["labels"] for row in rows if row["task"] == task]
            counts, shares = [one[way] for one in own], [one[way] / one["random"] for one in own]
            spread = statistics.stdev(counts) if len(counts) > 1 else 0.0
            cells += [f"{statistics.fmean(counts):.0f} ± {spread:.0f}", f"{statistics.fmean(shares):.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    fulls = [f"{task} {statistics.fmean(r['full'] for r in rows if r['task'] == task):.1%}" for task in shown]
    draws = min((sum(row["task"] == task for row in rows) for task in shown), default=0)
    lines += ["", f"All {POOL:,} labels: {', '.join(fulls)}. {draws} draws; ± is their standard deviation."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    done = {(row["task"], row["draw"]) for row in read_results(RESULTS)}
    for task in [] if given.table else given.tasks.split(","):
        seeds = [seed for seed in range(given.draws) if (task, seed) not in done]
        data = load_features(task) if seeds else None
        for seed in seeds:
            with threadpool_limits(1, "blas"):
                row = measure_draw(task, data, seed)
            add_result(RESULTS, row)
            print(task, seed, round(row["full"], 3), {k: round(v) for k, v in row["labels"].items()}, flush=True)
    put(PAGE, "active_labels.py", make_table())
    print(make_table())


if __name__ == "__main__":
    main()
