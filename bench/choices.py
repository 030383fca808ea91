"""What asking some training images about fit and side is worth: a head with today's choice beside others, paired draws.

    STRIATE_DATA=… python bench/choices.py                    # clothing and flaws, some ten minutes of processor time
    STRIATE_DATA=… python bench/choices.py --tasks flaws --counts 20 --draws 5

Of each task 150 images a class are drawn, of flaws 350 are made; their features are computed for each choice and kept
in the cache folder. A draw takes so many images of each class to train on; at most 800 of the others are new images. On
at most 300 of those to train on, cross-validation compares every choice with pad at 224 pixels, by the loss of each
image.

    asked  crop where that has less loss than pad by more than its standard error, as `runs.asking_fit` does it
"""

from __future__ import annotations

import argparse
import os
import statistics
from pathlib import Path

import numpy as np
from few_images import make_surface

from striate.data.images import list_digests
from striate.data.read.decode import read_image
from striate.data.read.resize import resize_image
from striate.runs.asking import ASKED_IMAGES, cross_validate_vectors, extract_wide
from striate.runs.starting import load_backbone
from striate.threads import map_in_threads
from striate.transfer.head import fit_head

CHOICES = (("pad", 224), ("crop", 224), ("squash", 224), ("pad", 192), ("pad", 160), ("pad", 128))
EACH, SURFACES, NEW_IMAGES = 150, 350, 800


def load_pictures(task: str) -> tuple[list, np.ndarray]:
    """Files or arrays, and labels: photographs of clothing, those made 64×64, or gray surfaces with flaws."""
    if task == "flaws":
        each = [(kind, np.random.default_rng(10_000 * kind + k)) for kind in range(4) for k in range(SURFACES)]
        made = [make_surface(*one) for one in each]
        return [np.repeat(x[..., None], 3, axis=2) for x in made], np.repeat(np.arange(4), SURFACES)
    root, draw = Path(os.environ["STRIATE_DATA"]) / "clothing", np.random.default_rng(0)
    files, y = [], []
    for k, name in enumerate(sorted(place.name for place in (root / "train").iterdir())):
        own = sorted(file for split in ("train", "validation", "test") for file in (root / split / name).iterdir())
        files += [str(own[i]) for i in np.sort(draw.permutation(len(own))[:EACH])]
        y += [k] * min(EACH, len(own))
    small = task == "clothing64"
    return [read_image(file, (64, 64), "squash") for file in files] if small else files, np.array(y)


def compute_vectors(pictures: list, fit: str, side: int, classes: int) -> tuple[np.ndarray, tuple[int, ...]]:
    def prepare(item) -> np.ndarray:
        way = read_image if isinstance(item, str) else resize_image
        return way(item, (side, side), fit)

    x = np.stack(list(map_in_threads(prepare, pictures)))
    return extract_wide(load_backbone(None, None), x, list_digests(x), classes)


def measure_task(task: str, counts: list[int], draws: int) -> None:
    pictures, y = load_pictures(task)
    classes = int(y.max()) + 1
    choices = [item for item in CHOICES if task == "clothing" or item[0] == "pad"]
    vectors = {item: compute_vectors(pictures, *item, classes) for item in choices}
    for count in counts:
        gains: dict[str, list[float]] = {}
        for k in range(draws):
            draw = np.random.default_rng(k)
            own = np.concatenate([draw.permutation(np.flatnonzero(y == c))[:count] for c in range(classes)])
            new = draw.permutation(np.setdiff1d(np.arange(len(y)), own))[:NEW_IMAGES]
            ask, right, loss = draw.permutation(own)[:ASKED_IMAGES], {}, {}
            for item, (x, blocks) in vectors.items():
                head = fit_head(x[own], y[own], classes, k, blocks=blocks).linear
                right[item] = 100 * float((head(x[new]).argmax(1) == y[new]).mean())
                marks = [bytes(str(row), "ascii") for row in ask]
                p = cross_validate_vectors(x[ask], y[ask], classes, k, marks, blocks)
                loss[item] = -np.log(np.maximum(p[np.arange(len(ask)), y[ask]], 1e-12))
            usual, other = ("pad", 224), ("crop", 224)
            for item in choices[1:]:
                gains.setdefault(" ".join(map(str, item)), []).append(right[item] - right[usual])
            if other in loss:
                less = loss[usual] - loss[other]
                crops = less.mean() > less.std(ddof=1) / len(less) ** 0.5
                gains.setdefault("asked", []).append(right[other] - right[usual] if crops else 0.0)
        told = (f"{name} {statistics.fmean(g):+.1f} ± {statistics.stdev(g) / len(g) ** 0.5:.1f}"
                for name, g in gains.items())  # fmt: skip
        print(f"{task}, {count} a class, {draws} draws: {', '.join(told)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="clothing,clothing64,flaws")
    parser.add_argument("--counts", default="5,10,20,75")
    parser.add_argument("--draws", type=int, default=8)
    given = parser.parse_args()
    for task in given.tasks.split(","):
        measure_task(task, [int(count) for count in given.counts.split(",")], given.draws)


if __name__ == "__main__":
    main()
