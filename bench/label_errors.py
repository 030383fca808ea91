"""Label errors found on digits of which a quarter is mislabelled: `python bench/label_errors.py`.

1,437 digits (the training split of "digits"), 363 of them with another label drawn at random, seeded. A run is trained
on them with its labels as they are, and `striate.label_errors` cross-validates what it was. Printed: how many it lists,
the share of them that were mislabelled (precision), the share of the mislabelled that it lists (recall).
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

import striate
from striate.api import label_errors
from striate.data.sources.load import load_dataset
from striate.fitting.watch import Watch

WRONG = 363


def mislabelled(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Digits uint8 N×8×8×1, their labels of which some are wrong, and which."""
    train, draw = load_dataset("digits").train, np.random.default_rng(seed)
    wrong = np.zeros(len(train), bool)
    wrong[draw.choice(len(train), WRONG, replace=False)] = True
    y = np.where(wrong, (train.y + draw.integers(1, 10, len(train))) % 10, train.y)
    return train.x, y, wrong


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seeds", type=int, default=3)
    words.add_argument("--net", default="striate_s")
    words.add_argument("--size", type=int, default=8)
    words.add_argument("--epochs", type=int, default=8)
    given = words.parse_args()
    print(f"striate {striate.__version__}, {platform.processor() or platform.machine()}, {given.net}")
    for seed in range(given.seeds):
        x, y, wrong = mislabelled(seed)
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            striate.train((x, y), given.net, out=run, size=given.size, epochs=given.epochs, seed=seed, watch=Watch())
            began = time.perf_counter()
            found = label_errors((x, y), run, watch=Watch())
        listed = np.zeros(len(y), bool)
        listed[[int(file.removeprefix("image[").removesuffix("]")) for file in found.files]] = True
        right = (listed & wrong).sum()
        print(
            f"seed {seed}: {listed.sum()} listed, precision {right / listed.sum():.1%}, recall {right / WRONG:.1%}, "
            f"{time.perf_counter() - began:.0f} s"
        )


if __name__ == "__main__":
    main()
