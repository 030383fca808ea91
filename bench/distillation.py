"""A small net taught by a large one, beside the same net without a teacher and the teacher itself: clothing.

    python bench/distillation.py             # some 12 trainings: half an hour on two free cores
    python bench/distillation.py --table     # write the page's table again from the results

The teacher is the transfer that `striate train` makes of these photographs; the students are striate_s on 64×64 pixels,
with the preset's recipe and the same number of epochs. Each training is kept in bench/distillation.jsonl, so that a
broken-off study goes on where it stopped. Ways are to be chosen on the folder's validation images, not on its test
images. Milliseconds are those of one image in one thread of ONNX Runtime, without decoding, the median of 20.
Needs clothing in STRIATE_DATA.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from page import add_result, put, read_results

import striate
from striate.fitting.watch import Watch

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "distillation.jsonl"
PAGE = HERE.parent / "docs" / "from-scratch.md"
EPOCHS, SEEDS = 20, (0, 1)
WAYS: dict[str, dict[str, Any]] = {
    "alone": {},
    **{f"temperature {t}, share 0.9": {"temperature": float(t), "distillation": 0.9} for t in (1, 2, 4)},
    "temperature 2, share 0.5": {"temperature": 2.0, "distillation": 0.5},
}


def time_image(model: Any) -> float:
    """Milliseconds of one image at the model's size, prepared."""
    x = np.random.default_rng(0).integers(0, 256, (1, *model.preprocess.size, model.net.input[0]), np.uint8)
    times = []
    for _ in range(23):
        began = time.perf_counter()
        model.at_once(x)
        times.append(time.perf_counter() - began)
    return statistics.median(times[3:]) * 1000


def measure(name: str, seed: int, run: Any, spent: float, source: Path) -> dict[str, Any]:
    model = run.model
    valid, test = (model.evaluate(source / part, known=True).accuracy for part in ("validation", "test"))
    params = sum(tensor.size for tensor in model.tensors.values())
    return {
        "name": name, "seed": seed, "valid": valid, "test": test, "seconds": spent,
        "milliseconds": time_image(model), "params": params,
    }  # fmt: skip


def train_all(source: Path, folder: Path) -> None:
    done, teacher, began = (
        {(row["name"], row["seed"]) for row in read_results(RESULTS)},
        folder / "teacher",
        time.process_time(),
    )
    run = striate.train(source, preset="transfer", out=teacher, watch=Watch())
    if ("teacher", 0) not in done:
        keep(measure("teacher", 0, run, time.process_time() - began, source))
    for seed in SEEDS:
        for name, settings in WAYS.items():
            if (name, seed) in done:
                continue
            began = time.process_time()
            given = {"size": 64, "preset": "balanced", "epochs": EPOCHS, "seed": seed, "watch": Watch()} | settings
            given |= {"teacher": teacher} if settings else {}
            run = striate.train(source, "striate_s", out=folder / f"{name}-{seed}", **given)
            keep(measure(name, seed, run, time.process_time() - began, source))


def keep(row: dict[str, Any]) -> None:
    print(row, flush=True)
    add_result(RESULTS, row)


def make_table() -> str:
    lines = [
        "| net | seeds | validation | test | ms an image | parameters |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    rows = read_results(RESULTS)
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        valid, test = (f"{statistics.mean(row[part] for row in own):.1%}" for part in ("valid", "test"))
        pace = statistics.median(row["milliseconds"] for row in own)
        told = "the teacher, by transfer" if name == "teacher" else f"striate_s, {name}"
        lines.append(f"| {told} | {len(own)} | {valid} | {test} | {pace:.2f} | {own[0]['params']:,} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if "--table" not in sys.argv:
        with tempfile.TemporaryDirectory() as made:
            train_all(Path(os.environ["STRIATE_DATA"]) / "clothing", Path(made))
    put(PAGE, "distillation.py", make_table())
    print(make_table())
