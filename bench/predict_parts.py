"""Pictures into parts, beside ONNX Runtime alone on tensors that were prepared before: pictures a second of both.

    python bench/predict_parts.py photos/                       # EfficientNet-Lite0 on all pictures of a folder
    python bench/predict_parts.py photos/ --run runs/mine --rounds 5

Both use as many processes as there are cores, with one thread each, and run in turn; the best round counts. What starts
before the first picture is not counted for either: the parts by what many pictures take more than few. Decoding takes
the same cores, so what a picture costs to decode is what the parts must fall behind by; it is printed too. On a machine
that others use as well, the CPU time is what can be compared.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

import striate
from striate.data.sources.folder import list_image_files
from striate.model.prediction import IMAGES_A_PIECE, count_workers


def compute_prepared(run: str, x: np.ndarray, times: int) -> tuple[float, float]:
    """Seconds, and those of CPU, in which this process computes its tensors so many times by ONNX Runtime alone."""
    from striate.model.model import Model

    model: Any = striate.load(run)
    if isinstance(model, Model):
        ready, session = model.standardised(x), model.session
    else:
        from striate.model.exported import add_frame

        ready, session = add_frame(x, model.preprocess), model.exported.session
    name = session.get_inputs()[0].name
    pieces = [ready[i : i + IMAGES_A_PIECE] for i in range(0, len(ready), IMAGES_A_PIECE)]
    session.run(None, {name: pieces[0]})
    began, busy = time.time(), time.process_time()
    for _ in range(times):
        for piece in pieces:
            session.run(None, {name: piece})
    return time.time() - began, time.process_time() - busy


def measure_prepared(run: str, x: np.ndarray, pictures: int, workers: int) -> tuple[float, float]:
    """Seconds and CPU seconds a picture of ONNX Runtime alone."""
    times = max(1, pictures // (workers * len(x)))
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        spans = list(pool.map(compute_prepared, *zip(*[(run, x, times)] * workers, strict=True)))
    count = workers * times * len(x)
    return max(wall for wall, _ in spans) / count, sum(busy for _, busy in spans) / count


def time_parts(run: str, files: list[str], workers: int) -> np.ndarray:
    """Seconds and CPU seconds of all processes."""
    with tempfile.TemporaryDirectory() as folder:
        rows = max(1, -(-len(files) // (8 * workers)))
        began, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
        striate.predict_to_parts(run, files, Path(folder) / "parts", rows_per_part=rows, workers=workers)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return np.array([time.time() - began, busy])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("photos")
    asked.add_argument("--run", default="efficientnet_lite0")
    asked.add_argument("--pictures", type=int, default=1000, help="to predict, of the folder's again and again")
    asked.add_argument("--rounds", type=int, default=3)
    given = asked.parse_args()
    found, workers = list(list_image_files([given.photos])), count_workers()
    files = [found[k % len(found)] for k in range(given.pictures)]
    few = files[: max(workers, given.pictures // 10)]
    model = striate.load(given.run)
    began = time.process_time()
    x = np.stack([model.prepared(file) for file in few[:64]])
    decoding = (time.process_time() - began) / len(x)
    ours, theirs = [], []
    for _ in range(given.rounds):
        more = time_parts(given.run, files, workers) - time_parts(given.run, few, workers)
        ours.append(more / (len(files) - len(few)))
        theirs.append(measure_prepared(given.run, x, given.pictures, workers))
    best = np.array([np.min(ours, axis=0), np.min(theirs, axis=0)])
    print(f"{given.run}, {given.pictures:,} pictures, {workers} processes, best of {given.rounds}")
    print(f"{'':28}{'pictures a second':>18}{'CPU ms a picture':>18}")
    for name, (wall, busy) in zip(("to parts, from files", "ONNX Runtime, from tensors"), best, strict=True):
        print(f"{name:28}{1 / wall:18,.1f}{1000 * busy:18.2f}")
    print(f"{'share':28}{best[1, 0] / best[0, 0]:18.1%}{best[1, 1] / best[0, 1]:18.1%}")
    print(f"{'of it decoding, resizing':28}{'':18}{1000 * decoding:18.2f}")


if __name__ == "__main__":
    main()
