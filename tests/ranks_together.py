"""Processes that train together, as many as wanted, forked from one that has loaded torch: quick to start.

`python ranks_together.py SCENE,SCENE WORLD FOLDER` plays scenes of those below at the same time, each in WORLD
processes, and prints how each process ended and what all of a scene wrote, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from typing import IO, Any, NamedTuple

import lightning_fabric  # noqa: F401  what takes long to load, before the fork
import numpy as np
import torch
import torch._dynamo

import striate
import striate.runs.training  # noqa: F401
from striate import cli
from striate.errors import StriateError
from striate.fitting import hang
from striate.fitting.launch import launch_ranks
from striate.fitting.ranks import Ranks
from striate.fitting.watch import Watch

torch.set_num_threads(1)
END = 200
"""Seconds after which a scene is broken off; the test that wanted it then fails."""


def joined() -> Ranks:
    return launch_ranks(int(os.environ["WORLD_SIZE"]))


def raises(folder: str) -> None:
    ranks = joined()
    with ranks.one_end():
        ranks.at("the part of each")
        if ranks.rank == ranks.world - 1:
            raise StriateError("photo 7", "this one cannot be read", hint="leave it out")
        ranks.wait("what never comes")


def breaks(folder: str) -> None:
    ranks = joined()
    with ranks.one_end():
        if ranks.rank == 1:
            {}["a mistake of ours"]
        ranks.wait("what never comes")


def all_raise(folder: str) -> None:
    ranks = joined()
    with ranks.one_end():
        ranks.wait("all")
        raise StriateError("step 3", "the loss is not finite")


def first_raises(folder: str) -> None:
    sys.argv = ["striate", "train", "digits", "--devices", os.environ["WORLD_SIZE"], "--augment", "nonsense"]
    cli.main()


def elsewhere(folder: str) -> None:
    hang.GRACE = 2.0
    ranks = joined()
    with ranks.one_end():
        if ranks.first:
            ranks.wait("the images")
        else:
            ranks.told()


def stands(folder: str) -> None:
    os.environ["STRIATE_RANK_TIMEOUT"] = "8"  # as long as it may take to join where all scenes begin at once
    ranks = joined()
    with ranks.one_end():
        if not ranks.first:
            ranks.told()
        ranks.at("choosing the recipe")
        signal.pause()


def killed(folder: str) -> None:
    ranks = joined()
    with ranks.one_end():
        ranks.wait("all")
        ranks.at("step 5 of epoch 2")
        if ranks.rank == ranks.world - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        ranks.wait("all to end step 5 of epoch 2")


def first_killed(folder: str) -> None:
    ranks = joined()
    with ranks.one_end():
        ranks.wait("all")
        ranks.at("step 5 of epoch 2")
        if ranks.first:
            os.kill(os.getpid(), signal.SIGKILL)
        ranks.wait("all to end step 5 of epoch 2")


def blobs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """204 images of 12×12 in three classes that differ in their bright quarter."""
    draw = np.random.default_rng(seed)
    y = np.arange(204) % 3
    x = draw.integers(0, 130, (204, 12, 12, 1), dtype=np.uint8)
    for k, (row, column) in enumerate(((0, 0), (0, 6), (6, 0))):
        x[y == k, row : row + 6, column : column + 6] += 90
    return x, y


NET = "Net(input=(1, 12, 12), layers=[Conv(6, 3), BatchNorm(), ReLU(), Conv(8, 3), BatchNorm(), ReLU(), GlobalAvgPool(), Dense(3)])"  # noqa: E501
WAYS: dict[str, dict] = {
    "plain": {},
    "ema": {"ema": 0.9},
    "lookahead": {"lookahead": 3},
    "parts": {"accumulate": 2, "lookahead": 2},
}


def norms(folder: str) -> None:
    """Trains with BatchNorm in each way, and writes what each rank's network says of the images to validate on."""
    from striate.data.sources.load import load_dataset
    from striate.fitting.batches import Feed
    from striate.fitting.loop import score_network

    for name, way in WAYS.items():
        out = f"{folder}/{name}"
        run = striate.train(
            blobs(), NET, out=out, epochs=3, batch=18, augment="none", lr=0.01, devices=2, watch=Watch(), **way
        )
        data = load_dataset(blobs())
        pre = run.task.preprocess
        said = score_network(run.scored, Feed(data.valid, pre.mean, pre.std))
        rank = int(os.environ["LOCAL_RANK"])
        with open(f"{out}-{rank}.json", "w") as file:
            tensors = {k: v.flatten().tolist() for k, v in run.scored.state_dict().items()}
            json.dump({"said": said, "tensors": tensors, "history": [row.valid_loss for row in run.history]}, file)


def own(folder: str) -> None:
    """Trains with functions of its own until its callback has seen 14 steps, and writes what each rank has."""
    from torch.nn import functional as F

    from striate.data.sources.load import load_dataset
    from striate.fitting.batches import Feed
    from striate.fitting.loop import answer_images

    steps: list[int] = []

    def count(run, loss: float) -> bool:
        steps.append(run.step)
        return len(steps) == 14

    def right(probabilities: torch.Tensor, labels: torch.Tensor) -> float:
        return float((probabilities.argmax(1) == labels).float().mean())

    def weighted(probabilities: torch.Tensor, labels: torch.Tensor) -> float:
        """Depends on the order in which they come."""
        own = probabilities[torch.arange(len(labels)), labels].double()
        return float((own * torch.arange(len(labels))).sum())

    run = striate.train(
        blobs(), NET, out=f"{folder}/own", epochs=3, batch=18, devices=2, watch=Watch(),
        loss=F.cross_entropy, augment=lambda x, draw: x + 0.01 * torch.randn(x.shape, generator=draw),
        optimizer=lambda weights: torch.optim.SGD(weights, lr=0.1),
        metrics={"right": right, "weighted": weighted}, callbacks=[striate.Callback(step=count)],
    )  # fmt: skip
    data, pre = load_dataset(blobs()), run.task.preprocess
    valid = Feed(data.valid, pre.mean, pre.std)
    with torch.no_grad():
        [(logits, labels)] = answer_images(run.scored, valid, Ranks(), 256, "plain")
    expected = {"right": right(logits, labels), "weighted": weighted(logits.softmax(1), labels)}
    with open(f"{folder}/own-{os.environ['LOCAL_RANK']}.json", "w") as file:
        rows = [{k: v for k, v in row.as_dict().items() if k != "seconds"} for row in run.history]
        json.dump({"rows": rows, "steps": steps, "done": run.done, "expected": expected}, file)


def other_images(folder: str) -> None:
    striate.train(
        blobs(int(os.environ["LOCAL_RANK"])), NET, out=f"{folder}/run", epochs=1, batch=18, devices=2, watch=Watch()
    )


def small_batch(folder: str) -> None:
    sys.argv = [
        "striate",
        "train",
        "digits",
        "--net",
        "lenet5",
        "--batch",
        "2",
        "--devices",
        "2",
        "--out",
        f"{folder}/small",
    ]
    cli.main()


def preset(folder: str) -> None:
    """Trains by a preset that the first process chooses for all."""
    sys.argv = ["striate", "train", "digits", "--epochs", "1", "--devices", "2", "--out", f"{folder}/preset"]
    cli.main()


STEP = 0.06
"""Seconds that the images of a step take to come."""


def slow_start(folder: str) -> None:
    """Forecasts a training of 396 steps, the first of which is as long as fifty, and trains two epochs of 44."""
    from dataclasses import replace

    from striate.architecture.find import find_net
    from striate.data.images import measure_channels
    from striate.data.sources.load import load_dataset
    from striate.engines.model_file import Preprocess
    from striate.fitting.batches import Feed
    from striate.fitting.checkpoint import Task
    from striate.fitting.forecast import forecast_training
    from striate.fitting.loop import fit
    from striate.fitting.recipe import Recipe
    from striate.fitting.run import Run

    class Slow(Feed):
        first = 0.0

        def pick(self, chosen):
            time.sleep(self.first or STEP)
            self.first = 0.0
            return super().pick(chosen)

    ranks, data = joined(), load_dataset(blobs())  # 164 to train on: 9 steps an epoch, and 2 images that are left out
    mean, std = measure_channels(data.train.x)
    recipe = Recipe(epochs=44, batch=18, augment="none")
    task = Task(find_net(NET), recipe, data.classes, Preprocess((12, 12), "pad", mean, std), "", "")
    train, valid = Slow(data.train, mean, std), Feed(data.valid, mean, std)
    train.first = 50 * STEP if ranks.rank == ranks.world - 1 else STEP
    with ranks.one_end():
        expected = forecast_training(task, train, valid, ranks)
        run, ends = Run.start(f"{folder}/none", replace(task, recipe=Recipe(epochs=2, batch=18, augment="none"))), []
        run.writes = False
        for _ in fit(run, train, valid, ranks=ranks):
            ends.append(time.perf_counter())
        took = (ends[1] - ends[0]) * recipe.epochs
        slow = 50 * STEP * 9 * recipe.epochs
        with open(f"{folder}/slow_start-{ranks.rank}.json", "w") as file:
            json.dump({"expected": expected.seconds, "took": took, "by the first step": slow}, file)
        ranks.done()


class Cast(NamedTuple):
    """The processes of a scene, and what they write to stdout and stderr."""

    children: list[int]
    said: IO[str]


def begin(scene: Callable[[str], None], world: int, folder: str) -> Cast:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    cast = Cast([], tempfile.TemporaryFile("w+"))
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world)}
    for rank in range(world):
        child = os.fork()
        if child == 0:
            for output in (1, 2):
                os.dup2(cast.said.fileno(), output)
            os.environ |= place | {"LOCAL_RANK": str(rank)}
            act(scene, folder)
        cast.children.append(child)
    return cast


def end(cast: Cast, deadline: float) -> dict[str, Any]:
    """How each process ended, None where it did not, and what all wrote."""
    codes: list[int | None] = [None] * len(cast.children)
    while None in codes and time.monotonic() < deadline:
        for rank, child in enumerate(cast.children):
            if codes[rank] is None and (ended := os.waitpid(child, os.WNOHANG))[0]:
                codes[rank] = os.waitstatus_to_exitcode(ended[1])
        time.sleep(0.05)
    for child, code in zip(cast.children, codes, strict=True):
        if code is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    cast.said.seek(0)
    return {"codes": codes, "said": cast.said.read()}


def act(scene, folder: str) -> None:
    """Play a part, and end as the command line does."""
    code = 0
    try:
        scene(folder)
    except StriateError as e:
        print(f"error: {e}", file=sys.stderr)
        code = 2
    except SystemExit as e:
        code = int(e.code or 0)
    except BaseException as e:  # noqa: BLE001
        print(f"{type(e).__name__}: {e}", file=sys.stderr)
        code = 1
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    scenes = {scene.__name__: scene for scene in (
        raises, breaks, all_raise, first_raises, elsewhere, stands, killed, first_killed, norms, other_images,
        small_batch, slow_start, preset, own,
    )}  # fmt: skip
    deadline = time.monotonic() + END
    casts = {name: begin(scenes[name], int(sys.argv[2]), sys.argv[3]) for name in sys.argv[1].split(",")}
    print(json.dumps({name: end(cast, deadline) for name, cast in casts.items()}))
