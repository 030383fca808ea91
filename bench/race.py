"""How soon each tool reaches a test accuracy, from scratch, on this machine: striate beside the usual tutorials.

    python bench/race.py                                  # MNIST and Fashion-MNIST, three seeds: some hours
    python bench/race.py fashion-mnist --seeds 1 --only striate
    python bench/race.py --table                          # write table and plot again from bench/race.jsonl

striate's presets run by `striate.train(data, preset=…)` with nothing else given. Beside them, in the same process, a
LeNet-5 and the CNN of the Keras tutorial in the loop that tutorials show (Adam 1e-3, batches of 64 and 128, a
DataLoader that opens each image with Pillow). Where they are installed: the same LeNet-5 under Lightning's Trainer,
and, from a folder of PNG files as their own tutorials have it, fastai (resnet18, one cycle) and Ultralytics classify
(yolov8n-cls, its defaults), both from scratch, read by the process that trains, so that its CPU seconds are all. The
tutorials are tested after every epoch, the others at their end. Seconds are of training: reading the files and testing
do not count, nor does striate's question whether to flip. CPU seconds are those of all threads together. Before each
training the machine's matrix-multiply peak is measured anew. Needs Fashion-MNIST and MNIST (STRIATE_DATA or download).

fastai and Ultralytics need torchvision, and so perhaps another torch: run `--only fastai` and `--only Ultralytics` in
an environment of their own; the results go to the same file, each with its torch.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from math import log10
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
import torch.nn.functional as F
from page import put, read_results
from PIL import Image
from torch import nn

import striate
from striate.data.sources.load import load_dataset
from striate.fitting.watch import Watch

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "race.jsonl"
PLOT = HERE.parent / "docs" / "pictures" / "race.svg"
PAGE = HERE.parent / "docs" / "from-scratch.md"
GOALS = {"mnist": (0.99, 0.994), "fashion-mnist": (0.91, 0.92, 0.93, 0.94)}
PRESETS = ("fast", "balanced", "best")
EPOCHS, OTHERS = 4, 1
"""Of each tutorial; of fastai and Ultralytics."""
MEASURES = ("accuracy", "cpu", "wall", "gflops")
COLOURS = ("#0b62c4", "#1f8a4c", "#7b3fb5", "#c4500b", "#8a6d1f", "#666666", "#b03060", "#2f7f8f")
SECONDS = (5, 10, 20, 50, 100, 200, 500, 1000, 2000)
SHARES = (0.85, 0.88, 0.9, 0.91, 0.92, 0.93, 0.94, 0.95, 0.98, 0.985, 0.99, 0.992, 0.994, 0.996)


class Point(NamedTuple):
    """A test accuracy after so many seconds of training. `gflops`: billions of operations a second, two a MAC; 0 where

    they are not known. `peak`: the same of the machine's matrix product just before; `torch`: its version.
    """

    tool: str
    data: str
    seed: int
    epoch: int
    accuracy: float
    cpu: float
    wall: float
    gflops: float
    peak: float = 0.0
    torch: str = ""


class Clock(Watch):
    """The seconds of a run's steps, without what comes between two epochs."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0
        self.start()

    def start(self) -> None:
        self.began = time.process_time(), time.perf_counter()

    def plan(self, lines: list[str]) -> None:
        self.start()

    def step(self, step: int, steps: int, *_: float) -> None:
        if step == steps:
            self.cpu += time.process_time() - self.began[0]
            self.wall += time.perf_counter() - self.began[1]

    def epoch(self, *_: object, **__: object) -> None:
        self.start()


def ours(data: str, preset: str, seed: int) -> Iterator[Point]:
    """A preset, to its end."""
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        run = striate.train(data, preset=preset, seed=seed, out=Path(folder) / "run", watch=clock)
        images = run.recipe.epochs * (len(load_dataset(data).train))
        work = 6 * striate.summary(run.model.net).macs * images
        yield Point(f"striate {preset}", data, seed, run.recipe.epochs, run.report.accuracy,
                    clock.cpu, clock.wall, work / clock.wall / 1e9)  # fmt: skip


class Pictures(torch.utils.data.Dataset):
    """A data set as tutorials have it: each image through Pillow, a tensor in 0 to 1, standardised."""

    def __init__(self, images, mean: float, std: float) -> None:
        self.images, self.mean, self.std = images, mean, std

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int):
        picture = Image.fromarray(self.images.x[i][..., 0])
        tensor = torch.from_numpy(np.array(picture, np.float32)).div(255).unsqueeze(0)
        return (tensor - self.mean) / self.std, int(self.images.y[i])


def lenet5() -> nn.Module:
    """PyTorch's tutorial on Fashion-MNIST (docs.pytorch.org, "Training with PyTorch")."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip


def keras_cnn() -> nn.Module:
    """keras.io/examples/vision/mnist_convnet."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(1600, 10),
    )  # fmt: skip


TUTORIALS = {"LeNet-5, PyTorch tutorial": (lenet5, 64), "CNN, Keras tutorial": (keras_cnn, 128)}


def loaders(data: str, batch: int, seed: int):
    whole = load_dataset(data)
    mean, std = float(whole.train.x.mean() / 255), float(whole.train.x.std() / 255)
    train, test = (Pictures(part, mean, std) for part in (whole.train, whole.test))
    draw = torch.Generator().manual_seed(seed)
    return (
        torch.utils.data.DataLoader(train, batch, shuffle=True, generator=draw),
        torch.utils.data.DataLoader(test, 500),
    )


def macs(make) -> int:
    return striate.summary(make(), (1, 28, 28)).macs


def tutorial(data: str, name: str, seed: int, epochs: int) -> Iterator[Point]:
    """The loop that tutorials show, tested after each epoch."""
    make, batch = TUTORIALS[name]
    torch.manual_seed(seed)
    train, test = loaders(data, batch, seed)
    net = make()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    cpu = wall = 0.0
    for epoch in range(1, epochs + 1):
        began = time.process_time(), time.perf_counter()
        net.train()
        for x, y in train:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        cpu += time.process_time() - began[0]
        wall += time.perf_counter() - began[1]
        work = 6 * macs(make) * len(train.dataset) * epoch
        yield Point(name, data, seed, epoch, accuracy(net, test), cpu, wall, work / wall / 1e9)


def lightning(data: str, name: str, seed: int, epochs: int) -> Iterator[Point]:
    """The same net and settings by Lightning's Trainer, tested at the end."""
    import lightning as L

    make, batch = TUTORIALS[name]

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = make()

        def training_step(self, both, _):
            return F.cross_entropy(self.net(both[0]), both[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-3)

    L.seed_everything(seed, verbose=False)
    train, test = loaders(data, batch, seed)
    module = Module()
    trainer = L.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    began = time.process_time(), time.perf_counter()
    trainer.fit(module, train)
    cpu, wall = time.process_time() - began[0], time.perf_counter() - began[1]
    work = 6 * macs(make) * len(train.dataset) * epochs
    yield Point(f"{name}, Lightning", data, seed, epochs, accuracy(module.net, test), cpu, wall, work / wall / 1e9)


def pngs(data: str, folder: Path) -> Path:
    """The data set as a folder of class folders of PNG files, `train` and `test`."""
    whole = load_dataset(data)
    assert whole.test is not None
    for split, part in (("train", whole.train), ("test", whole.test)):
        for k in range(len(whole.classes)):
            (folder / split / f"{k}").mkdir(parents=True, exist_ok=True)
        for i in range(len(part)):
            Image.fromarray(part.x[i][..., 0]).save(folder / split / f"{part.y[i]}" / f"{i}.png", compress_level=1)
    return folder


def fastai(data: str, name: str, seed: int, epochs: int) -> Iterator[Point]:
    """fastai's vision_learner on a folder, resnet18 without published weights, fit_one_cycle with its own rate."""
    from fastai.vision.all import (  # type: ignore[import-not-found]
        Callback,
        CancelValidException,
        ImageDataLoaders,
        resnet18,
        set_seed,
        vision_learner,
    )

    class NoValidation(Callback):
        def before_validate(self):
            raise CancelValidException

    set_seed(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = pngs(data, Path(place))
        loaders = ImageDataLoaders.from_folder(folder, train="train", valid="test", num_workers=0, device="cpu")
        learner = vision_learner(loaders, resnet18, pretrained=False)
        began = time.process_time(), time.perf_counter()
        with learner.no_bar(), learner.no_logging():
            learner.fit_one_cycle(epochs, cbs=NoValidation())
        cpu, wall = time.process_time() - began[0], time.perf_counter() - began[1]
        with learner.no_bar(), learner.no_logging():
            p, y = learner.get_preds()
        yield Point(name, data, seed, epochs, float((p.argmax(1) == y).float().mean()), cpu, wall, 0.0)


def ultralytics(data: str, name: str, seed: int, epochs: int) -> Iterator[Point]:
    """Ultralytics classify on a folder: yolov8n-cls from its yaml file, images of 32 pixels, all else by default."""
    from ultralytics import YOLO  # type: ignore[import-not-found]

    times: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = pngs(data, Path(place) / "data")
        model = YOLO("yolov8n-cls.yaml")
        for event in ("on_train_epoch_start", "on_train_epoch_end"):
            model.add_callback(event, lambda _: times.append((time.process_time(), time.perf_counter())))
        model.train(
            data=str(folder), epochs=epochs, imgsz=32, device="cpu", seed=seed, workers=0, val=False, plots=False,
            verbose=False, amp=False, project=place, name="run",
        )  # fmt: skip
        cpu, wall = (sum(b[k] - a[k] for a, b in zip(times[::2], times[1::2], strict=True)) for k in (0, 1))
        right = float(
            YOLO(Path(place) / "run" / "weights" / "last.pt").val(data=str(folder), imgsz=32, plots=False).top1
        )
        yield Point(name, data, seed, epochs, right, cpu, wall, 0.0)


@torch.inference_mode()
def accuracy(net: nn.Module, test) -> float:
    net.eval()
    return sum(int((net(x).argmax(1) == y).sum()) for x, y in test) / len(test.dataset)


def peak_gflops(side: int = 2048, rounds: int = 12) -> float:
    """The machine's matrix-multiply peak: the best of some products of two float32 matrices."""
    a, b = torch.randn(side, side), torch.randn(side, side)
    best = 0.0
    for _ in range(rounds):
        began = time.perf_counter()
        a @ b
        best = max(best, 2 * side**3 / (time.perf_counter() - began) / 1e9)
    return best


def table(points: list[Point]) -> str:
    """For each data set and tool the medians over the seeds: accuracy, seconds, and seconds to each goal."""
    lines = []
    for data, goals in GOALS.items():
        here = [p for p in points if p.data == data]
        if not here:
            continue
        heads = ("epochs", "seeds", "test", "CPU s / 2", "wall s", "GFLOPS", "of peak", *(f"to {g:.1%}" for g in goals))
        lines += [row(data, heads), "|---|" + "---:|" * len(heads)]
        for tool in tools(here):
            own = [p for p in here if p.tool == tool]
            end = [p for p in own if p.epoch == max(p.epoch for p in own)]
            acc, cpu, wall, gflops = (statistics.median(getattr(p, name) for p in end) for name in MEASURES)
            cells = (end[0].epoch, len(end), f"{acc:.2%}", f"{cpu / 2:.0f}", f"{wall:.0f}")
            share = statistics.median(p.gflops / p.peak if p.peak else 0.0 for p in end)
            work = (f"{gflops:.0f}", f"{share:.0%}") if gflops else ("–", "–")
            lines.append(row(tool, (*cells, *work, *(cell(own, goal) for goal in goals))))
        lines.append("")
    return "\n".join(lines)


def tools(points: list[Point]) -> list[str]:
    """The tools that ran: striate's presets from fast to best, then the others in their turn."""
    found = list(dict.fromkeys(p.tool for p in points))
    ours = [f"striate {preset}" for preset in PRESETS]
    return [tool for tool in ours if tool in found] + [tool for tool in found if tool not in ours]


def row(name: str, cells: tuple) -> str:
    return f"| {name} | " + " | ".join(map(str, cells)) + " |"


def cell(own: list[Point], goal: float) -> str:
    """CPU seconds / 2 to the first epoch whose median accuracy reaches the goal."""
    for epoch in sorted({p.epoch for p in own}):
        at = [p for p in own if p.epoch == epoch]
        if statistics.median(p.accuracy for p in at) >= goal:
            return f"{statistics.median(p.cpu for p in at) / 2:.0f}"
    return "–"


def plot(points: list[Point], data: str) -> str:
    """Test accuracy over CPU seconds / 2, both by factors, as SVG: a dot a run, a line through a tool's epochs."""
    here = [p for p in points if p.data == data]
    width, height, left, top, right, bottom = 760, 400, 60, 20, 190, 44
    times, errors = [log10(p.cpu / 2) for p in here], [log10(1 - p.accuracy) for p in here]
    x0, x1, y0, y1 = min(times) - 0.08, max(times) + 0.08, min(errors) - 0.04, max(errors) + 0.04
    base, edge = height - bottom, width - right

    def x(seconds: float) -> float:
        return round(left + (log10(seconds) - x0) / (x1 - x0) * (edge - left), 1)

    def y(accuracy: float) -> float:
        return round(top + (log10(1 - accuracy) - y0) / (y1 - y0) * (base - top), 1)

    frame = f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {frame}><rect width="{width}" height="{height}" fill="#fff"/>']
    for tick in (tick for tick in SECONDS if x0 <= log10(tick) <= x1):
        parts.append(f'<path d="M{x(tick)} {top}V{base}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{x(tick)}" y="{base + 16}" text-anchor="middle">{tick}</text>')
    for share in (share for share in SHARES if y0 <= log10(1 - share) <= y1):
        parts.append(f'<path d="M{left} {y(share)}H{edge}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{left - 6}" y="{y(share) + 4}" text-anchor="end">{share:.1%}</text>')
    used: list[tuple[float, float]] = []
    for tool, colour in zip(tools(here), COLOURS, strict=False):
        own = [p for p in here if p.tool == tool]
        parts += [f'<circle cx="{x(p.cpu / 2)}" cy="{y(p.accuracy)}" r="3" fill="{colour}" opacity=".5"/>' for p in own]
        line = []
        for epoch in sorted({p.epoch for p in own}):
            cpu, acc = (statistics.median(getattr(p, k) for p in own if p.epoch == epoch) for k in ("cpu", "accuracy"))
            line.append((x(cpu / 2), y(acc)))
        parts.append(f'<path d="M{" L".join(f"{a} {b}" for a, b in line)}" fill="none" stroke="{colour}"/>')
        place = round(line[-1][1] + 4, 1)
        while any(abs(place - other) < 15 and abs(line[-1][0] - beside) < 200 for beside, other in used):
            place = round(place + 15, 1)
        used.append((line[-1][0], place))
        parts.append(f'<text x="{line[-1][0] + 8}" y="{place}" fill="{colour}">{tool}</text>')
    says = f"CPU seconds of training / 2 ({data}, test accuracy)"
    parts.append(f'<text x="{(left + edge) / 2}" y="{height - 8}" text-anchor="middle">{says}</text></svg>\n')
    return "".join(parts)


def entrants(data: str, seed: int, only: str) -> Iterator[tuple[str, Iterator[Point]]]:
    for preset in PRESETS:
        yield f"striate {preset}", ours(data, preset, seed)
    for name in TUTORIALS:
        yield name, tutorial(data, name, seed, EPOCHS)
    if importlib.util.find_spec("lightning"):
        name = next(iter(TUTORIALS))
        yield f"{name}, Lightning", lightning(data, name, seed, EPOCHS)
    for tool, name, run in (
        ("fastai", "fastai, resnet18", fastai),
        ("ultralytics", "Ultralytics, yolov8n-cls", ultralytics),
    ):
        if importlib.util.find_spec(tool):
            yield name, run(data, name, seed, OTHERS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", default=list(GOALS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="Tools whose name begins so.")
    parser.add_argument("--table", action="store_true", help="Train nothing; print and plot what is there.")
    given = parser.parse_args()
    if not given.table:
        done = {(p.tool, p.data, p.seed) for p in results()}
        for seed in range(given.seeds):
            for data in given.data:
                for name, points in entrants(data, seed, given.only):
                    if not name.startswith(given.only) or (name, data, seed) in done:
                        continue
                    peak = peak_gflops()
                    found = [p._replace(peak=peak, torch=torch.__version__) for p in points]
                    with RESULTS.open("a") as file:
                        file.writelines(json.dumps(p._asdict()) + "\n" for p in found)
                    print(found[-1], file=sys.stderr, flush=True)
    known = results()
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    peaks = [p.peak for p in known if p.peak] or [peak_gflops()]
    best = f"matrix-multiply peak {min(peaks):.0f} to {max(peaks):.0f} GFLOPS, by what others did on it"
    torches = " and ".join(sorted({p.torch for p in known if p.torch}) or [torch.__version__])
    versions = f"Python {platform.python_version()}, torch {torches}, striate {striate.__version__}"
    made = f"{machine}, {best}; {versions}.\n\n{table(known)}"
    print(made)
    put(PAGE, "race.py", made)
    if any(p.data == "fashion-mnist" for p in known):
        PLOT.write_text(plot(known, "fashion-mnist"))


def results() -> list[Point]:
    return [Point(**row) for row in read_results(RESULTS)]


if __name__ == "__main__":
    main()
