"""Several processes that train together: two of them on this CPU, joined by gloo."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("lightning_fabric")

NET = "Net(input=(1, 8, 8), layers=[Conv(8, 3), ReLU(), Conv(16, 3), ReLU(), Flatten(), Dense(10)])"
WORDS = ["train", "digits", "--net", NET, "--augment", "none", "--epochs", "2", "--batch", "50"]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "MASTER_PORT": str(free_port())}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def command(*words: str, torchrun: bool = False) -> list[str]:
    if torchrun:
        port = f"--master-port={free_port()}"
        return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", port, "-m", "striate", *words]
    return [sys.executable, "-m", "striate", *words]


def losses(folder: Path) -> list[tuple[float, float, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(line["loss"], line["valid_loss"], line["valid_acc"]) for line in lines]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "run"
    done = subprocess.run(command(*WORDS, "--out", str(folder)), capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("torchrun", [False, True], ids=["--devices 2", "torchrun"])
def test_two_processes_follow_the_loss_curve_of_one(alone, tmp_path, torchrun):
    words = [*WORDS, "--out", str(tmp_path / "run"), *([] if torchrun else ["--devices", "2"])]
    done = subprocess.run(
        command(*words, torchrun=torchrun), capture_output=True, text=True, env=environment(), timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("accuracy") == 1, "one process speaks"
    assert "2 processes train together" in done.stderr
    for one, two in zip(losses(alone), losses(tmp_path / "run"), strict=True):
        assert two == pytest.approx(one, rel=1e-4)
    assert (tmp_path / "run" / "report.html").is_file()


def test_the_death_of_one_process_ends_all_and_the_run_goes_on(alone, tmp_path):
    words = [*WORDS[:-4], "--epochs", "300", "--batch", "50", "--out", str(tmp_path / "run")]
    with subprocess.Popen(
        command(*words, torchrun=True),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    ) as running:
        for line in running.stderr:
            if line.startswith("epoch"):
                break
        ranks = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        os.kill(int(ranks[-1]), signal.SIGKILL)
        running.stderr.read()
        assert running.wait(timeout=60) != 0
    done = len(losses(tmp_path / "run"))
    assert 1 <= done < 300
    for _ in range(50):
        if not any(Path(f"/proc/{rank}").exists() for rank in ranks):
            break
        time.sleep(0.1)
    again = [*WORDS[:-4], "--epochs", "300", "--batch", "50", "--out", str(tmp_path / "run"), "--resume"]
    with subprocess.Popen(
        command(*again), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment()
    ) as running:
        for line in running.stderr:
            if line.startswith("epoch"):
                break
        running.send_signal(signal.SIGTERM)
        running.stderr.read()
    assert running.returncode == 130
    assert len(losses(tmp_path / "run")) > done
