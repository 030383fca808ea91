"""A run that is killed again and again, at any moment, ends as one that never was: bit for bit, on every level."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.fitting.last_step import read_checkpoint_head
from tests import forked

SCRIPT = """
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)
import striate
from striate.fitting.watch import Watch
import striate.data.store.cache, striate.data.sources.load, striate.engines.torch, striate.runs.report_content

source, memory, folder, kills = sys.argv[1], sys.argv[2] or None, sys.argv[3], int(sys.argv[4])
if sys.argv[5]:
    striate.data.store.cache.count_fitting_rows = lambda rows, size: int(sys.argv[5])  # a disk with so little room
net = striate.Net((3, 12, 12), [
    striate.Conv(6, 3), striate.BatchNorm(), striate.ReLU(), striate.MaxPool(2),
    striate.Flatten(), striate.Dropout(0.3), striate.Dense(2)])
settings = dict(epochs=6, batch=8, augment="flip+shift+mixup", ema=0.9, optimizer="adamw", seed=4)

def focal(logits, targets):
    log = torch.log_softmax(logits, 1).gather(1, targets[:, None])[:, 0]
    return -((1 - log.exp()) ** 2) * log

def jitter(x, draw):
    return x + 0.1 * torch.randn(x.shape, generator=draw)

def momentum(weights):
    return torch.optim.SGD(weights, lr=0.05, momentum=0.9)

def right(probabilities, labels):
    return (probabilities.argmax(1) == labels).float().mean()

class Sum:  # of all losses, in the order in which they came: kept with the checkpoint
    def __init__(self):
        self.loss = 0.0
    def step(self, run, loss):
        self.loss = 0.9 * self.loss + loss
    def state_dict(self):
        return self.loss
    def load_state_dict(self, state):
        self.loss = state

if sys.argv[6]:
    settings |= dict(loss=focal, augment=jitter, optimizer=momentum, metrics={"right": right}, callbacks=[Sum()])

def train(resume, watch):
    striate.train(source, net, out=folder, memory=memory, save_every=0.0, resume=resume, watch=watch, **settings)

class Lame(Watch):  # goes six steps at most and then waits to be killed, so that a fast machine is not done too soon
    steps = 0
    def step(self, *what):
        self.steps += 1
        if self.steps > 6:
            time.sleep(60)

random.seed(kills)
done = 0
while True:
    began = os.path.exists(os.path.join(folder, "checkpoint", "last.safetensors"))
    child = os.fork()
    if child == 0:
        train(began, Lame() if done < kills else Watch())
        os._exit(0)
    if done < kills:
        time.sleep(random.uniform(0.02, 0.25))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        done += 1
    elif os.waitstatus_to_exitcode(status) == 0:
        break
    else:
        sys.exit("the child failed")
print(done)
"""


def picture(i: int) -> bytes:
    draw = np.random.default_rng(i)
    x = draw.integers(0, 120, (12, 12, 3), dtype=np.uint8)
    x[..., i % 2] += 100
    file = io.BytesIO()
    Image.fromarray(x).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> dict[str, tuple[str, str, str]]:
    """The same 80 pictures as a folder and as shards; with the memory allowed and the images that the disk has room

    for, which decide the level."""
    folder = tmp_path_factory.mktemp("sources")
    for i in range(80):
        (folder / "photos" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (folder / "photos" / "ab"[i % 2] / f"{i}.png").write_bytes(picture(i))
    for shard in range(2):
        with tarfile.open(folder / f"shard-{shard:03}.tar", "w") as tar:
            for i in range(shard * 40, shard * 40 + 40):
                for suffix, content in ((".png", picture(i)), (".cls", str(i % 2).encode())):
                    entry = tarfile.TarInfo(f"{i:05}{suffix}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))
    return {
        "resident": (str(folder / "photos"), "", ""),
        "mapped": (str(folder / "photos"), "1K", ""),
        "streamed": (str(folder / "shard-{000..001}.tar"), "1K", "30"),
    }


@pytest.mark.parametrize(
    ("level", "own"),
    [("resident", ""), pytest.param("mapped", "", marks=pytest.mark.slow), ("streamed", ""), ("resident", "own")],
)
def test_a_run_killed_at_random_moments_is_the_whole_run_bit_for_bit(level, own, sources, tmp_path, monkeypatch):
    """Seven kills for each, 28 in all; a checkpoint is written after every step, so many fall into one.

    `own` has a loss, an augmentation, an optimizer, a metric and a callback with a state of the user's own.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source, memory, room = sources[level]
    for name, kills in (("killed", 7), ("whole", 0)):
        words = ["-c", SCRIPT, source, memory, str(tmp_path / name), str(kills), room, own]
        done = forked.run(words)
        assert (done.returncode, done.stdout.strip()) == (0, str(kills)), done.stderr
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert (killed / "report.json").read_bytes() == (whole / "report.json").read_bytes()
    assert lines(killed) == lines(whole)
    assert kept_by_callbacks(killed) == kept_by_callbacks(whole)
    assert (kept_by_callbacks(whole) is not None) == bool(own)
    assert not list(killed.rglob("*.part")), "what a kill left half written is gone"


def kept_by_callbacks(folder: Path) -> list | None:
    return read_checkpoint_head(folder).get("callbacks")


def lines(folder: Path) -> list[dict]:
    """The metrics without the times, which no two runs share."""
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in found]
