"""What an early end spares, and what choosing the luckiest epoch costs: few images, preset "balanced", from scratch.

    python bench/early_end.py                  # some 15 trainings: a quarter of an hour on two free cores
    python bench/early_end.py --table          # write the page's table again from the results

Each training is kept in bench/early_end.jsonl, so that a broken-off study goes on where it stopped; the table goes into
docs/from-scratch.md, between its markers. Images are drawn class by class: some to train on, 12 to 15 % as many to
validate on, and of the others at most so many as are said to test on; the test images choose nothing. Needs clothing,
cifar10-part and Fashion-MNIST in STRIATE_DATA, and Pillow.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import statistics
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from page import put, read_results
from PIL import Image

import striate
from striate.data.images import Dataset, Images
from striate.data.sources.load import load_dataset
from striate.fitting.batches import Feed
from striate.fitting.loop import score_network

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "early_end.jsonl"
PAGE = HERE.parent / "docs" / "from-scratch.md"

CLOTHES = ("dress", "longsleeve", "pants", "shirt", "shoes", "t-shirt")
# Images a class to train on, and to validate on, and of all classes to test on.
SETS = {
    "clothes, 64×64": (150, 22, 600),
    "clothes, 32×32": (150, 22, 600),
    "CIFAR-10 part (JPEG)": (100, 12, 1500),
    "Fashion-MNIST, 1,000": (100, 12, 3000),
}
SEEDS = {"clothes, 64×64": (0, 1), "clothes, 32×32": (0, 1), "CIFAR-10 part (JPEG)": (0,), "Fashion-MNIST, 1,000": (0,)}
PLAIN = "alternating-flip+shift"
# Of the first two, one training gives two rows: its best epoch by validation, and its last.
WAYS: dict[str, dict[str, Any]] = {
    "forty epochs": {"augment": PLAIN, "epochs": 40, "selection": "best"},
    "forty epochs with CutMix": {"augment": f"{PLAIN}+cutmix", "epochs": 40, "selection": "best"},
    "early end": {"augment": PLAIN},
}


def read_pictures(name: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """The images, uint8 N×H×W×C, their labels and the class names."""
    source = Path(os.environ["STRIATE_DATA"])
    if name.startswith("Fashion"):
        found = load_dataset("fashion-mnist")
        return found.train.x[:30000], found.train.y[:30000], found.classes
    x: list[np.ndarray] = []
    named: list[str] = []
    if name.startswith("CIFAR"):
        with tarfile.open(source / "cifar10-part" / "cifar10-part.tar") as archive:
            for member in archive:
                if member.isfile() and "train/" in member.name:
                    x.append(np.asarray(Image.open(io.BytesIO(archive.extractfile(member).read())).convert("RGB")))  # type: ignore[union-attr]
                    named.append(member.name.split("/")[-2])
    else:
        side = int(name[-2:])
        for split in ("train", "validation", "test"):
            for kind in CLOTHES:
                for file in sorted((source / "clothing" / split / kind).iterdir()):
                    x.append(pad_picture(file, side))
                    named.append(kind)
    classes = tuple(sorted(set(named)))
    return np.stack(x), np.array([classes.index(label) for label in named]), classes


def pad_picture(file: Path, side: int) -> np.ndarray:
    """The picture in a black square of `side` pixels, its longer side as long."""
    opened = Image.open(file)
    opened.draft("RGB", (side * 2, side * 2))
    picture = opened.convert("RGB")
    share = side / max(picture.size)
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    whole = Image.new("RGB", (side, side))
    whole.paste(picture, ((side - size[0]) // 2, (side - size[1]) // 2))
    return np.asarray(whole)


def draw_split(name: str, seed: int) -> Dataset:
    (x, y, classes), (train, valid, most) = read_pictures(name), SETS[name]
    draw = np.random.default_rng(1000 + seed)
    order = draw.permutation(len(y))
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for label in range(len(classes)):
        own = order[y[order] == label]
        for part, rows in zip(parts, np.split(own, [train, train + valid]), strict=True):
            part.extend(rows.tolist())

    def take(rows: Any) -> Images:
        rows = np.sort(rows)
        return Images(x[rows], y[rows].astype(np.int64), classes, tuple(map(str, rows)))

    learnt, judged, tested = take(parts[0]), take(parts[1]), take(draw.permutation(parts[2])[:most])
    mark = hashlib.sha256(learnt.x.tobytes()).hexdigest()
    return Dataset(name, learnt, judged, tested, (), mark, ())


def train_once(name: str, seed: int, way: str) -> list[dict]:
    """One training: the test accuracy of what it keeps, and of its last epoch; CPU seconds of steps and validation."""
    data = draw_split(name, seed)
    with tempfile.TemporaryDirectory() as folder:
        run, train, valid = striate.prepare_run(data, preset="balanced", seed=seed, out=f"{folder}/run", **WAYS[way])
        assert data.test is not None
        test, kept, cpu, began = Feed(data.test, train.mean.tolist(), train.std.tolist()), 0.0, 0.0, time.process_time()
        for row in striate.fit(run, train, valid):
            cpu += time.process_time() - began
            kept = score_network(run.scored, test)[1] if run.best is row else kept
            began = time.process_time()
        last = score_network(run.scored, test)[1]
    same = {"data": name, "seed": seed, "epochs": len(run.history), "cpu": round(cpu, 1)}
    if run.recipe.selection == "last":
        return [{**same, "way": f"{way}, the last kept", "accuracy": last}]
    return [
        {**same, "way": f"{way}, the best kept", "accuracy": kept},
        {**same, "way": f"{way}, the last kept", "accuracy": last},
    ]


def make_table(found: list[dict]) -> str:
    """A row a data set and way: means over the seeds."""
    lines = ["| data | way | seeds | epochs | test | CPU s |", "|---|---|---:|---:|---:|---:|"]
    for name in SETS:
        for way in dict.fromkeys(row["way"] for row in found):
            rows = [row for row in found if (row["data"], row["way"]) == (name, way)]
            if rows:
                epochs, accuracy, cpu = (
                    statistics.mean(row[key] for row in rows) for key in ("epochs", "accuracy", "cpu")
                )
                lines.append(f"| {name} | {way} | {len(rows)} | {epochs:.0f} | {accuracy:.1%} | {cpu:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="Train nothing; write the table again.")
    if not parser.parse_args().table:
        torch.set_num_threads(1)
        done = {(row["data"], row["seed"], row["way"].rpartition(", the ")[0]) for row in read_results(RESULTS)}
        for way in ("early end", "forty epochs", "forty epochs with CutMix"):
            for name, seeds in SEEDS.items():
                for seed in seeds:
                    if (name, seed, way) not in done:
                        rows = train_once(name, seed, way)
                        with RESULTS.open("a") as file:
                            file.writelines(json.dumps(row) + "\n" for row in rows)
                        print(*rows, sep="\n", file=sys.stderr, flush=True)
    put(PAGE, "early_end.py", make_table(read_results(RESULTS)))


if __name__ == "__main__":
    main()
