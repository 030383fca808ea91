"""What each ingredient of the recipe is worth: one changed at a time, judged on validation images.

    python bench/ablation.py                       # some 20 trainings: a quarter of an hour on two cores
    python bench/ablation.py --seeds 2             # adds a second of each
    python bench/ablation.py --table               # write the page's table again from the results

The base is what preset "fast" chooses for Fashion-MNIST, with flips in alternate epochs, as it chose them until this
study said that in three epochs they cost more than they bring. Each training is kept in bench/ablation.jsonl, so that a
broken-off study goes on where it stopped; the table goes into docs/from-scratch.md, between its markers. Never a test
image is looked at. Needs Fashion-MNIST (STRIATE_DATA or download).
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from page import add_result, put, read_results

import striate
from striate.data.sources.load import load_dataset
from striate.fitting.watch import Watch

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "ablation.jsonl"
PAGE = HERE.parent / "docs" / "from-scratch.md"

BASE: dict[str, Any] = {"augment": "alternating-flip"}
CHANGES: dict[str, dict[str, Any]] = {
    "base": {},
    "AdamW instead of Muon": {"optimizer": "adamw"},
    "Nesterov momentum": {"optimizer": "nesterov"},
    "Nesterov, decoupled": {"optimizer": "nesterov", "decoupled": True},
    "cosine schedule": {"schedule": "cosine"},
    "constant rate": {"schedule": "constant"},
    "half the rate": {"lr": 0.02},
    "twice the rate": {"lr": 0.08},
    "batch 125, rate by the root": {"batch": 125},
    "batch 500, rate by the root": {"batch": 500},
    "no label smoothing": {"label_smoothing": 0.0},
    "no weight decay": {"weight_decay": 0.0},
    "no flips": {"augment": "none"},
    "flips by coins": {"augment": "flip"},
    "and shifts": {"augment": "alternating-flip+shift"},
    "and cutout": {"augment": "alternating-flip+cutout"},
    "first filters not whitened": {"whiten": False},
    "running mean, 0.99": {"ema": 0.99, "lookahead": 0},
    "no lookahead": {"lookahead": 0},
    "tested with flips": {"views": "flip"},
    "tested with flips and shifts": {"views": "flip+shift"},
    "BatchNorm momentum 0.4": {"bn_momentum": 0.4},
    "half of it on smaller images": {"grow": 0.5},
}


def trained(name: str, seed: int, data) -> dict:
    """One training: the last epoch's validation accuracy, and the CPU seconds of the whole call."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        settings = {"preset": "fast", "seed": seed} | BASE | CHANGES[name]
        run = striate.train(data, out=Path(folder) / "run", watch=Watch(), **settings)
        seconds = time.process_time() - began
    return {"name": name, "seed": seed, "accuracy": run.history[-1].valid_acc, "cpu": seconds}


def results() -> list[dict]:
    return read_results(RESULTS)


def table(found: list[dict]) -> str:
    """A row a change: validation accuracy, its distance from the base over the same seeds, CPU seconds against it."""
    of = {(row["name"], row["seed"]): row for row in found}
    lines = ["| change | validation accuracy | against the base | CPU seconds |", "|---|---:|---:|---:|"]
    for name in CHANGES:
        seeds = sorted(seed for n, seed in of if n == name and ("base", seed) in of)
        if not seeds:
            continue
        own, base = ([of[n, s] for s in seeds] for n in (name, "base"))
        mean = statistics.mean(row["accuracy"] for row in own)
        apart = mean - statistics.mean(row["accuracy"] for row in base)
        cost = statistics.median(a["cpu"] / b["cpu"] for a, b in zip(own, base, strict=True))
        lines.append(f"| {name} | {mean:.2%} | {'' if name == 'base' else f'{100 * apart:+.2f}'} | × {cost:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="Train nothing; write the table again.")
    given = parser.parse_args()
    if not given.table:
        data, done = load_dataset("fashion-mnist"), {(row["name"], row["seed"]) for row in results()}
        for seed in range(given.seeds):
            for name in CHANGES:
                if (name, seed) not in done:
                    row = trained(name, seed, data)
                    add_result(RESULTS, row)
                    print(row, file=sys.stderr, flush=True)
    made = table(results())
    put(PAGE, "ablation.py", made)
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}")
    print(made)


if __name__ == "__main__":
    main()
