"""Images a second from a folder of photographs: striate against a plain PyTorch DataLoader over Pillow, in one run.

    python bench/data.py FOLDER [--size 64] [--batch 64] [--workers 2] [--epochs 3]

The DataLoader opens each file with Pillow, makes it RGB and resizes it (bilinear, "pad" by default as striate does),
in `--workers` processes that stay alive between epochs; striate decodes in as many threads. Both yield batches of
uint8 N×H×W×C, each image once in a shuffled order. "first epoch" is from nothing to the last batch: for striate with
finding the files, decoding them all and taking their checksums; "streamed" keeps on disk what has room there. The page
cache is warmed by one pass over the files.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

import striate
from striate.data.reading import USUAL_READING
from striate.data.sources.folder import list_folder
from striate.data.sources.load import load_dataset
from striate.data.store import cache
from striate.fitting.batches import Feed


class Photos(TorchDataset):
    """As a careful user writes it: Pillow, RGB, the whole picture within bars of mid-gray."""

    def __init__(self, files: list[Path], labels: list[int], size: int, draft: bool) -> None:
        self.files, self.labels, self.size, self.draft = files, labels, size, draft

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, k: int) -> tuple[torch.Tensor, int]:
        with Image.open(self.files[k]) as image:
            if self.draft:
                image.draft("RGB", (2 * self.size, 2 * self.size))
            shown = image.convert("RGB")
        scale = self.size / max(shown.size)
        small = shown.resize([max(1, round(side * scale)) for side in shown.size], Image.Resampling.BILINEAR)
        frame = Image.new("RGB", (self.size, self.size), (128, 128, 128))
        frame.paste(small, ((self.size - small.width) // 2, (self.size - small.height) // 2))
        return torch.from_numpy(np.asarray(frame).copy()), self.labels[k]


def timed_loader(given: argparse.Namespace, files: list[Path], labels: list[int], draft: bool) -> list[float]:
    began = time.perf_counter()
    photos = Photos(files, labels, given.size, draft)
    loader = DataLoader(
        photos, given.batch, shuffle=True, num_workers=given.workers, persistent_workers=given.workers > 0
    )
    return epochs(given, lambda epoch: loader, len(files), began)


def timed_striate(given: argparse.Namespace, level: str) -> list[float]:
    began = time.perf_counter()
    data = load_dataset(given.folder, size=(given.size, given.size), channels=3, workers=given.workers, level=level)
    parts = [part for part in (data.train, data.valid, data.test) if part is not None]
    feeds = [Feed(part, [0.5] * 3, [0.25] * 3) for part in parts]
    count = sum(map(len, parts))

    def epoch_of(epoch: int) -> Any:
        for feed in feeds:
            yield from feed.walk(feed.order(given.batch, 0, epoch))

    return epochs(given, epoch_of, count, began)


@contextmanager
def empty_cache(share: float = 1.0) -> Iterator[None]:
    """So that the first epoch finds nothing decoded, on a disk with room for a share of the images."""
    folder, fitting = cache.find_cache_folder, cache.count_fitting_rows
    with tempfile.TemporaryDirectory() as place:
        cache.find_cache_folder = lambda: Path(place)  # type: ignore[assignment]
        cache.count_fitting_rows = lambda rows, size: int(rows * share)  # type: ignore[assignment]
        yield
    cache.find_cache_folder, cache.count_fitting_rows = folder, fitting  # type: ignore[assignment]


def epochs(given: argparse.Namespace, batches_of: Any, count: int, began: float) -> list[float]:
    """Images a second in each epoch, the first from `began` on."""
    rates = []
    for epoch in range(given.epochs):
        seen, total = 0, 0
        for x, _ in batches_of(epoch):
            seen += len(x)
            total += int(x[0, 0, 0, 0])
        now = time.perf_counter()
        assert seen >= count - given.batch, (seen, count)
        rates.append(seen / (now - began))
        began = now
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--epochs", type=int, default=3)
    given = parser.parse_args()
    listing = list_folder(given.folder, USUAL_READING)
    files = [entry.path for entry in listing.entries if isinstance(entry.path, Path)]
    names = sorted({entry.label for entry in listing.entries})
    labels = [names.index(entry.label) for entry in listing.entries]
    bytes_read = sum(len(path.read_bytes()) for path in files)
    print(
        f"{len(files):,} files, {bytes_read / 1e6:.0f} MB, to {given.size}×{given.size}; {given.workers} workers, "
        f"batch {given.batch}; {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"Python {platform.python_version()}, torch {torch.__version__}, Pillow {PIL.__version__}, "
        f"striate {striate.__version__}\n"
    )
    rows = {
        "DataLoader over Pillow": timed_loader(given, files, labels, False),
        "the same with draft()": timed_loader(given, files, labels, True),
        "striate resident": timed_striate(given, "resident"),
    }
    with empty_cache():
        rows["striate mapped"] = timed_striate(given, "mapped")
        rows["striate mapped, second run"] = timed_striate(given, "mapped")
    with empty_cache():
        rows["striate streamed"] = timed_striate(given, "streamed")
    for words, share in (("half of them", 0.5), ("none", 0.0)):
        with empty_cache(share):
            rows[f"striate streamed, room for {words}"] = timed_striate(given, "streamed")
    base = rows["DataLoader over Pillow"]
    print("| images a second | first epoch | ratio | later epochs | ratio |")
    print("|---|---:|---:|---:|---:|")
    for name, rates in rows.items():
        later, usual = np.median(rates[1:]), np.median(base[1:])
        print(f"| {name} | {rates[0]:,.0f} | {rates[0] / base[0]:.2f} | {later:,.0f} | {later / usual:.1f} |")


if __name__ == "__main__":
    main()
