"""What a run logs for MLflow and Weights & Biases, read back from their files: each epoch once, also if stopped."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from . import forked
from .logged_curves import CURVES

NET = "Net((1, 8, 8), [Conv(4, 3), ReLU(), Flatten(), Dense(10)])"

STOPPED = f"""
import os, signal, striate
from striate.fitting.watch import Watch
from striate.runs.training import TrainingInterrupted

class Stopping(Watch):
    begun = 0
    def step(self, step, *_):
        self.begun += step == 1
        if self.begun == 2 and step == 1:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
given = dict(out="run", watch=Stopping())
try:
    striate.train("digits", {NET!r}, epochs=3, batch=256, log=LOG, **given)
    raise SystemExit("it was not stopped")
except TrainingInterrupted:
    pass
for _ in range(2):  # the second time the run is finished already
    striate.train("digits", out="run", resume=True, watch=Watch())
"""


def run_python(code: str, folder: Path, **environment: str) -> str:
    done = forked.run(["-c", code], cwd=folder, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read_rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]


READ_MLFLOW = """
import json, mlflow
kept = json.load(open("run/mlflow.json"))
client = mlflow.MlflowClient()
assert len(client.search_runs([client.get_experiment_by_name("striate").experiment_id])) == 1
run = client.get_run(kept["run_id"])
curves = {key: [(p.step, p.value) for p in client.get_metric_history(kept["run_id"], key)] for key in run.data.metrics}
def walk(path=None):
    for file in client.list_artifacts(kept["run_id"], path):
        yield from walk(file.path) if file.is_dir else [file.path]
print(json.dumps([curves, sorted(walk()), run.data.params["epochs"], run.info.status]))
"""


def test_mlflow_has_each_epoch_once_and_the_report(tmp_path):
    pytest.importorskip("mlflow")
    store = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/tracked.db"}
    run_python("LOG = 'mlflow'\n" + STOPPED, tmp_path, **store)
    printed = run_python(READ_MLFLOW, tmp_path, **store)
    curves, files, epochs, status = json.loads(printed.splitlines()[-1])
    rows = read_rows(tmp_path)
    assert {tag: [step for step, _ in points] for tag, points in curves.items()} == dict.fromkeys(CURVES, [1, 2, 3])
    for tag, name in CURVES.items():
        assert [value for _, value in curves[tag]] == pytest.approx([row[name] for row in rows], abs=1e-12)
    assert files == [
        *("confusion/test/0003.png", "filters/conv1/0001.png", "filters/conv1/0002.png", "filters/conv1/0003.png"),
        *("report/report.html", "report/test/0003.txt"),
    ]
    assert (epochs, status) == ("3", "FINISHED")


READ_WANDB = """
import json, pathlib
from wandb.proto import wandb_internal_pb2

def scan(data):  # LevelDB's log: blocks of 32 KiB, of parts with a checksum, a length and a kind
    at, whole = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # the only part, or the last
            yield whole
            whole = b""

found, names, files = {}, set(), set()
for place in sorted(pathlib.Path("run/wandb").glob("offline-run-*/*.wandb")):
    names.add(place.stem)
    for data in scan(place.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == "history":
            row = {i.nested_key[0] if i.nested_key else i.key: json.loads(i.value_json) for i in record.history.item}
            for tag, value in row.items():
                if not tag.startswith("_"):
                    found.setdefault(tag, []).append((row["_step"], value if isinstance(value, (int, float)) else None))
        if record.WhichOneof("record_type") == "artifact":
            files |= {entry.path for entry in record.artifact.manifest.contents}
print(json.dumps([found, len(names), sorted(files)]))
"""


def test_weights_and_biases_has_each_epoch_once_in_its_offline_files(tmp_path):
    pytest.importorskip("wandb")
    offline = {"WANDB_MODE": "offline", "WANDB_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)}
    run_python("LOG = 'wandb'\n" + STOPPED, tmp_path, **offline)
    curves, runs, files = json.loads(run_python(READ_WANDB, tmp_path, **offline).splitlines()[-1])
    rows = read_rows(tmp_path)
    assert runs == 1
    for tag, name in CURVES.items():
        assert [step for step, _ in curves[tag]] == [1, 2, 3]
        assert [value for _, value in curves[tag]] == pytest.approx([row[name] for row in rows], abs=1e-12)
    assert [step for step, _ in curves["filters/conv1"]] == [1, 2, 3]
    assert [step for step, _ in curves["confusion/test"]] == [step for step, _ in curves["report/test"]] == [3]
    assert files == ["report.html"]
