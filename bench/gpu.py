"""32×32 colour images on one GPU: striate's own recipe by its own loop, beside a plain speed run, in turns.

    python bench/gpu.py --data cifar10                      # 20 runs of each
    python bench/gpu.py --data images.tar --runs 3          # any source of 32×32 RGB images in ten classes
    python bench/gpu.py --data images.tar --cpu --images 400 --epochs 1 --runs 1     # a trial without a GPU

striate's side is `striate.prepare_run` and `striate.fit`, with nothing taken out: checks, checkpoints and validation
are all there. The other side is `speed_run.py`, a loop of the kind of airbench94_muon. Both train nets of one shape on
the same images, those that striate's split leaves to train on, for the same epochs in the same batches, and both are
tested with six views of each test image. The first training of each compiles and is not counted. "steps" are the
seconds of the training steps; of striate, "fit" are those of the whole loop, with validation and checkpoints.

    --profile FILE   a table of what striate's steps spend on the GPU and on the processor
"""

from __future__ import annotations

import argparse
import ast
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from speed_run import measure_plainly, train_plainly

import striate
from striate.architecture.layers import GELU, BatchNorm, Conv, Dense, Flatten, Layer, MaxPool, Sequence
from striate.data.images import Images
from striate.data.sources.load import load_dataset
from striate.fitting.batches import Feed, standardise_batch
from striate.fitting.loop import fit, score_network

RECIPE: dict[str, Any] = {
    "optimizer": "muon",
    "lr": 0.08,
    "momentum": 0.6,
    "weight_decay": 0.02,
    "label_smoothing": 0.2,
    "whiten": True,
    "bn_momentum": 0.4,
    "augment": "alternating-flip+shift",
    "views": "flip+shift",
    "lookahead": 5,
    "warmup": 0.1,
}


def make_speed_net(classes: int, square: str = "he_normal") -> striate.Net:
    """The shape of `speed_run.SpeedNet` as a Net; `square` is how its square convolutions begin."""
    layers: list[Layer] = [Conv(24, 2, name="patches"), GELU()]
    for k, width in enumerate((64, 256, 256), start=1):
        conv: dict[str, Any] = {"padding": "same", "bias": False, "init": "he_normal"}
        last = Conv(width, 3, **conv | {"init": square})
        block = [Conv(width, 3, **conv), MaxPool(2), BatchNorm(), GELU(), last, BatchNorm(), GELU()]
        layers.append(Sequence(*block, name=f"block{k}"))
    return striate.Net(input=(3, 32, 32), layers=[*layers, MaxPool(3), Flatten(), Dense(classes)], name="speed_net")


def now() -> float:
    """The time when the device has done all that was asked of it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def prepare(given: argparse.Namespace, data: Any, seed: int, folder: str) -> Any:
    settings = RECIPE | {"epochs": given.epochs, "batch": given.batch, "seed": seed}
    settings |= {name: read_value(value) for name, value in (s.split("=") for s in given.set)}
    compiled = "no" if given.cpu else "auto"
    return striate.prepare_run(data, make_speed_net(10), compile=compiled, out=Path(folder) / "run", **settings)


def read_value(text: str) -> Any:
    """0.08, True or a word."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def run_both(given: argparse.Namespace, data: Any, test: Images, seed: int) -> dict[str, float]:
    """Seconds and accuracies of one training of each; 0 for a side that was left out."""
    found = dict.fromkeys(("striate steps", "striate fit", "striate accuracy", "plain steps", "plain accuracy"), 0.0)
    with tempfile.TemporaryDirectory() as folder:
        run, train, valid = prepare(given, data, seed, folder)
        assert train.x is not None, "the images are not in memory"
        tested = Feed(test, train.mean.tolist(), train.std.tolist(), train.device)
        if "striate" in given.sides:
            began = now()
            rows = list(fit(run, train, valid))
            found["striate fit"] = now() - began
            found["striate steps"] = sum(row.seconds for row in rows)
            found["striate accuracy"] = score_network(run.scored, tested, batch=2000, views=run.recipe.views)[1]
    if "plain" in given.sides:
        torch.manual_seed(seed)
        x = standardise_batch(train.x, train.mean, train.std)
        settings = {"epochs": given.epochs, "batch": given.batch, "compiled": not given.cpu}
        net, found["plain steps"] = train_plainly(x, train.y, now, **settings)
        assert tested.x is not None
        x = standardise_batch(tested.x, train.mean, train.std)
        found["plain accuracy"] = measure_plainly(net, x, tested.y)
    return found


def profile_steps(given: argparse.Namespace, data: Any, file: str) -> None:
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU] + ([] if given.cpu else [ProfilerActivity.CUDA])
    with tempfile.TemporaryDirectory() as folder:
        run, train, valid = prepare(given, data, 0, folder)
        rows = fit(run, train, valid)
        next(rows)
        with profile(activities=kinds) as seen:
            next(rows)
    key = "cpu_time_total" if given.cpu else "cuda_time_total"
    text = seen.key_averages().table(sort_by=key, row_limit=40)
    Path(file).write_text(text + "\n" + seen.key_averages().table(sort_by="self_cpu_time_total", row_limit=40))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--images", type=int, help="Take so many images of each split.")
    parser.add_argument("--sides", default="striate plain", help="Which of the two: 'striate', 'plain'.")
    parser.add_argument("--set", action="append", default=[], help="A setting of striate's recipe, such as lr=0.01.")
    parser.add_argument("--profile", metavar="FILE")
    parser.add_argument("--cpu", action="store_true", help="Run without a GPU, not compiled.")
    given = parser.parse_args()
    if not torch.cuda.is_available() and not given.cpu:
        sys.exit("there is no GPU here; --cpu tries the script all the same")
    device = "no GPU" if given.cpu else torch.cuda.get_device_name()
    print(f"{device}; Python {platform.python_version()}, torch {torch.__version__}, striate {striate.__version__}")
    loaded = load_dataset(given.data, size=(32, 32), channels=3)
    assert loaded.test is not None, "this data set has no test images"
    splits = {name: getattr(loaded, name) for name in ("train", "valid", "test")}
    drawn = {name: np.random.default_rng(0).permutation(len(images))[: given.images] for name, images in splits.items()}
    pairs = {name: (images.x[drawn[name]], images.y[drawn[name]]) for name, images in splits.items()}
    x, y = pairs.pop("test")
    test = replace(loaded.test, x=x, y=y)
    counts = f"{len(pairs['train'][1]):,} images to train on, {len(test):,} to test"
    print(f"{given.data}: {counts}; {given.epochs} epochs, batch {given.batch} {' '.join(given.set)}")
    data = {name: list(zip(*pair, strict=True)) for name, pair in pairs.items()}
    if given.profile:
        profile_steps(given, data, given.profile)
    if not given.cpu:
        first = run_both(given, data, test, seed=1000)
        print("first, with compiling: " + ", ".join(f"{name} {value:.2f}" for name, value in first.items()))
    rows = []
    for seed in range(given.runs):
        rows.append(run_both(given, data, test, seed))
        print(f"seed {seed:2d}  " + "  ".join(f"{name} {value:.4f}" for name, value in rows[-1].items()), flush=True)
    print("\n| | striate | plain | ratio |\n|---|---:|---:|---:|")
    for name in ("steps", "accuracy"):
        one, other = ([row[f"{side} {name}"] for row in rows] for side in ("striate", "plain"))
        middle = statistics.mean if name == "accuracy" else statistics.median
        ratio = f"{middle(one) / middle(other):.3f}" if middle(other) else "–"
        print(f"| {middle.__name__} {name} | {middle(one):.4f} | {middle(other):.4f} | {ratio} |")
    print(f"| deviation of accuracy | {spread(rows, 'striate')} | {spread(rows, 'plain')} | |")
    print(
        f"| median fit, with validation and checkpoints | {statistics.median(r['striate fit'] for r in rows):.4f} | | |"
    )


def spread(rows: list[dict[str, float]], side: str) -> str:
    return f"{statistics.stdev(row[f'{side} accuracy'] for row in rows):.4f}" if len(rows) > 1 else "–"


if __name__ == "__main__":
    main()
