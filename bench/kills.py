"""Killed at any moment, a run that goes on ends as the whole one: bit for bit, over every kind of training.

    python bench/kills.py [--kills 300] [--cases resident,muon] [--seed 0] [--keep FOLDER]

Every training is a process of its own, forked from this one, which has torch loaded already. It is ended by SIGKILL,
SIGTERM, SIGINT or SIGHUP at a random moment of its loading, its steps, its validation, its writing or its report, goes
on with `resume`, is ended again, up to five times, and then runs to its end. What it leaves is compared with what a run
left that nobody disturbed: model file, metrics (all but `seconds`, which no two runs share), report.json, and every
number of the last checkpoint. A kill counts when it ended the process. Half of the runs save after every step.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import random
import select
import signal
import socket
import sys
import tarfile
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

torch.set_num_threads(1)  # before the first fork: a pool of threads does not outlive one

import lightning_fabric  # noqa: E402, F401
import sklearn.datasets  # noqa: E402

import striate  # noqa: E402
import striate.runs.report_content  # noqa: E402
from striate.architecture.find import find_net  # noqa: E402
from striate.data.store import cache as cached  # noqa: E402
from striate.engines import model_file, plain  # noqa: E402
from striate.fitting.checkpoint import read_checkpoint  # noqa: E402
from striate.fitting.watch import Watch  # noqa: E402
from striate.runs import training  # noqa: E402
from striate.transfer import tuning  # noqa: E402

SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
MOST = 5
"""Kills of one run at most."""
GRAY = "Net((1, 8, 8), [Conv(6, 3), BatchNorm(), ReLU(), Flatten(), Dropout(0.3), Dense(10)])"
COLOUR = "Net((3, 8, 8), [Conv(6, 3), BatchNorm(), ReLU(), Flatten(), Dropout(0.3), Dense(10)])"
BACKBONE = (
    "Net((3, 8, 8), [Conv(16, 3, padding='same'), BatchNorm(), ReLU(), MaxPool(2), "
    "Conv(16, 3, padding='same'), BatchNorm(), ReLU(), GlobalAvgPool(), Dropout(0.2), Dense(7)])"
)


@dataclass(frozen=True)
class Case:
    """A kind of training.

    stage      the mark of the stage in which it is killed (`Marks`); "" kills anywhere
    room       images that the disk has room for, where that is to be little
    functions  the user's own, which a resumed run is handed again
    """

    name: str
    source: str = "digits"
    settings: dict[str, Any] = field(default_factory=dict)
    stage: str = ""
    room: int | None = None
    world: int = 1
    functions: dict[str, Any] = field(default_factory=dict)


def cases(place: Path) -> list[Case]:
    """All of them, their data below `place`."""
    files, shards = pictures(place)
    scratch = {"net": GRAY, "epochs": 3, "batch": 128, "augment": "shift", "optimizer": "nesterov", "seed": 4}
    colour = scratch | {"net": COLOUR, "batch": 24}
    tuned = {"preset": "transfer", "net": BACKBONE, "weights": backbone(place), "minutes": 1000.0, "seed": 4}
    return [
        Case("resident", settings=scratch),
        Case("mapped", files, colour | {"memory": "1K"}),
        Case("streamed", shards, colour | {"memory": "1K"}, room=30),
        Case("bfloat16", settings=scratch | {"precision": "bfloat16"}),
        Case("EMA", settings=scratch | {"ema": 0.9}),
        Case("lookahead", settings=scratch | {"lookahead": 3}),
        Case("CutMix", settings=scratch | {"augment": "shift+mixup+cutmix", "optimizer": "adamw"}),
        Case("Muon", settings=scratch | {"optimizer": "muon"}),
        Case("classes sampled", settings=scratch | {"balance": "sampling", "accumulate": 2}),
        Case("transfer: features", files, tuned, stage="f"),
        Case("transfer: head", files, tuned, stage="h"),
        Case("transfer: fine-tuning", files, tuned, stage="s"),
        Case("own functions", settings={"net": GRAY, "epochs": 3, "batch": 128, "seed": 4}, functions=OWN),
        Case("two processes", settings=scratch, world=2),
    ]


def pictures(place: Path) -> tuple[str, str]:
    """240 digits in three channels as a folder of class folders, and as two shards."""
    digits = sklearn.datasets.load_digits()
    shards = [tarfile.open(place / f"shard-{k:03}.tar", "w") for k in range(2)]
    for k in range(240):
        pixels = np.repeat((digits.images[k] * 15).astype(np.uint8)[:, :, None], 3, 2) + np.array([0, 5, 10], np.uint8)
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        label = str(digits.target[k])
        (place / "photos" / label).mkdir(parents=True, exist_ok=True)
        (place / "photos" / label / f"{k}.png").write_bytes(content.getvalue())
        for suffix, data in ((".png", content.getvalue()), (".cls", label.encode())):
            entry = tarfile.TarInfo(f"{k:05}{suffix}")
            entry.size = len(data)
            shards[k // 120].addfile(entry, io.BytesIO(data))
    for shard in shards:
        shard.close()
    return str(place / "photos"), str(place / "shard-{000..001}.tar")


def backbone(place: Path) -> str:
    """A model file with drawn weights, for transfer to begin with."""
    net = find_net(BACKBONE)
    tensors = {name: value.astype(np.float32) for name, value in plain.draw_tensors(net, 0).items()}
    prepared = model_file.Preprocess((8, 8), "pad", (0.3, 0.3, 0.3), (0.25, 0.25, 0.25))
    header = model_file.ModelHeader(net=net, classes=tuple("abcdefg"), preprocess=prepared)
    model_file.save_model(place / "backbone.safetensors", header, tensors)
    return str(place / "backbone.safetensors")


def focal_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    log = torch.log_softmax(logits, 1).gather(1, targets[:, None])[:, 0]
    return -((1 - log.exp()) ** 2) * log


def add_noise(x: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    return x + 0.1 * torch.randn(x.shape, generator=draw)


def make_momentum(weights: list[tuple[str, torch.nn.Parameter]]) -> torch.optim.Optimizer:
    return torch.optim.SGD(weights, lr=0.05, momentum=0.9)


def count_right(probabilities: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return (probabilities.argmax(1) == labels).float().mean()


class LossSum:
    """A callback whose state goes on with the run: the checkpoint keeps it."""

    def __init__(self) -> None:
        self.loss = 0.0

    def step(self, run: Any, loss: float) -> None:
        self.loss = 0.9 * self.loss + loss

    def state_dict(self) -> float:
        return self.loss

    def load_state_dict(self, state: float) -> None:
        self.loss = state


OWN: dict[str, Any] = {"loss": focal_loss, "augment": add_noise, "optimizer": make_momentum}
OWN |= {"metrics": {"right": count_right}, "callbacks": [LossSum()]}


class Marks(Watch):
    """Writes a letter to a pipe when a stage begins: f features, h head, s steps, e the last epoch is done."""

    def __init__(self, pipe: int) -> None:
        self.pipe, self.told = pipe, set[str]()

    def mark(self, letter: str) -> None:
        if letter not in self.told:
            self.told.add(letter)
            os.write(self.pipe, letter.encode())

    def loading(self, what: str, done: int, total: int) -> None:
        if " seen by " in what:
            self.mark("h" if done == total else "f")

    def step(self, *_: Any) -> None:
        self.mark("s")

    def epoch(self, row: Any, epochs: int, best: bool) -> None:
        if row.epoch == epochs:
            self.mark("e")


@dataclass
class Training:
    """Processes that train together, their pipe of marks, and what they print."""

    children: list[int]
    marks: int
    log: Path
    began: float

    def until(self, letter: str) -> dict[str, float]:
        """Seconds at which each mark came, up to `letter`, or to the end where that never comes."""
        seen: dict[str, float] = {}
        while letter not in seen:
            select.select([self.marks], [], [])
            found = os.read(self.marks, 100).decode()
            if not found:
                break
            seen |= {each: time.perf_counter() - self.began for each in found}
        return seen

    def end(self) -> list[int]:
        """The exit codes of all, negative for a signal. Of several those left alone for 20 seconds are killed."""
        codes: dict[int, int] = {}
        ends = time.perf_counter() + 20
        while len(codes) < len(self.children):
            for child in self.children:
                if child in codes:
                    continue
                alone = len(self.children) > 1 and codes and time.perf_counter() > ends
                if alone:
                    os.kill(child, signal.SIGKILL)
                gone, status = os.waitpid(child, os.WNOHANG if len(self.children) > 1 and not alone else 0)
                if gone:
                    codes[child] = os.waitstatus_to_exitcode(status)
            time.sleep(0.005 if len(self.children) > 1 else 0)
        os.close(self.marks)
        return [codes[child] for child in self.children]


def start(case: Case, folder: Path, cache: Path, often: bool) -> Training:
    """Begin the training, or go on with it where it has begun."""
    read, write = os.pipe()
    began, log, port = time.perf_counter(), folder.with_suffix(".log"), free_port()
    children = []
    for rank in range(case.world):
        child = os.fork()
        if child == 0:
            os.close(read)
            train(case, folder, cache, often, rank, port, write, log)
        children.append(child)
    os.close(write)
    return Training(children, read, log, began)


def train(case: Case, folder: Path, cache: Path, often: bool, rank: int, port: int, pipe: int, log: Path) -> None:
    """The child's part: it never returns."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1), os.dup2(output, 2)
        os.environ["XDG_CACHE_HOME"] = str(cache)
        if case.world > 1:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "MASTER_PORT": str(port)}
            os.environ |= {"WORLD_SIZE": str(case.world), "LOCAL_WORLD_SIZE": str(case.world)}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "kills"}
        if case.room is not None:
            room = case.room
            cached.count_fitting_rows = lambda rows, size: room
        tuning.SAVE_EVERY = 0.0 if often else tuning.SAVE_EVERY
        more: dict[str, Any] = {} if (folder / "recipe.json").exists() else dict(case.settings)
        if not more:
            more = {"resume": True, "memory": case.settings.get("memory")}
        training.train(
            case.source, out=folder, save_every=0.0 if often else 30.0, watch=Marks(pipe), **more, **case.functions
        )
        code = 0
    except training.TrainingInterrupted:
        code = 130
    except KeyboardInterrupt:
        code = 131  # before or after the steps, where nothing need be saved
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@dataclass
class Tally:
    """What came of a case."""

    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)


def killed(case: Case, place: Path, kills: int, draw: random.Random) -> Tally:
    """Kill runs of the case so many times, and compare each with the whole one."""
    tally = Tally()
    whole = place / "whole"
    running = start(case, whole, place / "cache-whole", often=True)
    marks = running.until("")
    codes = running.end()
    took = time.perf_counter() - running.began
    if any(codes):
        tally.differences.append(f"the whole run fails: {running.log.read_text()[-1000:]}")
        return tally
    expected, marks = left_behind(whole), marks | {"": 0.0, "end": took}
    while tally.kills.total() < kills:
        folder, cache, often = place / f"run-{tally.runs}", place / f"cache-{tally.runs}", draw.random() < 0.5
        wanted = min(draw.randint(1, MOST), kills - tally.kills.total())
        tally.differences += one(case, folder, cache, often, wanted, marks, tally.kills, draw)
        for name, value in left_behind(folder).items():
            if value != expected[name]:
                tally.differences.append(f"{folder.name}: {name}")
        tally.runs += 1
    return tally


def one(
    case: Case,
    folder: Path,
    cache: Path,
    often: bool,
    wanted: int,
    marks: dict[str, float],
    kills: Counter[str],
    draw: random.Random,
) -> Iterator[str] | list[str]:
    """A run killed `wanted` times, or until it is done; what went wrong."""
    for k in range(wanted + 1):
        running = start(case, folder, cache, often)
        number = None
        if k < wanted:
            stage, longest = moment(case, marks, draw)
            if stage:
                running.until(stage)
            time.sleep(draw.uniform(0, longest))
            number = draw.choice(SIGNALS)
            for child in running.children if draw.random() < 0.5 else running.children[:1]:
                os.kill(child, number)  # it is not reaped yet, so it is still ours
        codes = running.end()
        if not any(codes):
            return []
        if number is None or (1 in codes and case.world == 1):
            return [f"{folder.name} fails: {running.log.read_text()[-2000:]}"]
        kills[number.name] += 1
    return []


def moment(case: Case, marks: dict[str, float], draw: random.Random) -> tuple[str, float]:
    """The mark after which a run is killed, and the most seconds from it on.

    Steps on small images are over long before the report is: half of the kills among steps come before their end.
    """
    stage = case.stage or draw.choice(["", "s", "s"])
    after = {"f": "h", "h": "s", "s": draw.choice(["e", "end"])}.get(stage, "end")
    return stage, 1.1 * (marks[after] - marks[stage]) + 0.01


def left_behind(folder: Path) -> dict[str, Any]:
    """All that must be the same."""
    found: dict[str, Any] = {}
    for name in ("model.safetensors", "report.json"):
        found[name] = (folder / name).read_bytes() if (folder / name).exists() else None
    lines = (folder / "metrics.jsonl").read_text().splitlines() if (folder / "metrics.jsonl").exists() else []
    found["metrics.jsonl"] = [without_seconds(json.loads(line)) for line in lines]
    head, tensors = read_checkpoint(folder / "checkpoint" / "last.safetensors")
    head["history"] = [without_seconds(row) for row in head["history"]]
    found["checkpoint"] = without_seconds(head)
    found["tensors"] = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
    found["half-written files"] = [path.name for path in folder.rglob("*.part")]
    return found


def without_seconds(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "seconds"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=300, help="in all, shared out among the cases")
    parser.add_argument("--cases", help="names with commas between; default: all")
    parser.add_argument("--seed", type=int, default=0, help="settles signals and moments; machines differ in the rest")
    parser.add_argument("--keep", type=Path, help="a folder for the runs, kept afterwards")
    given = parser.parse_args()
    print(
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; Python "
        f"{platform.python_version()}, torch {torch.__version__}, striate {striate.__version__}\n"
    )
    began, wrong, done = time.perf_counter(), 0, 0
    with tempfile.TemporaryDirectory() as temporary:
        place = given.keep or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        chosen = [case for case in cases(place) if given.cases is None or case.name in given.cases.split(",")]
        names = [number.name for number in SIGNALS]
        print(f"| case | runs | kills | {' | '.join(names)} | bit differences |")
        print("|---|" + "---:|" * (len(names) + 3), flush=True)
        for k, case in enumerate(chosen):
            own = place / case.name.replace(" ", "-").replace(":", "")
            own.mkdir(exist_ok=True)
            kills = given.kills // len(chosen) + (k < given.kills % len(chosen))
            tally = killed(case, own, kills, random.Random(given.seed * 1000 + k))
            counts = " | ".join(str(tally.kills[name]) for name in names)
            print(
                f"| {case.name} | {tally.runs} | {tally.kills.total()} | {counts} | {len(tally.differences)} |",
                flush=True,
            )
            for difference in tally.differences:
                print(f"{case.name}: {difference}", file=sys.stderr)
            wrong, done = wrong + len(tally.differences), done + tally.kills.total()
    print(f"\n{done} kills, {wrong} bit differences, in {time.perf_counter() - began:.0f} s")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
