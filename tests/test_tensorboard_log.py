"""What a run logs for TensorBoard, read back by TensorBoard's own reader: each epoch once, however it was stopped."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import striate
from striate.engines import model_file, plain
from striate.errors import RecipeError, RunError, StriateError
from striate.fitting.watch import Watch
from striate.inside.filters import draw_filters, read_filters
from striate.runs import training_log
from striate.runs.training import TrainingInterrupted
from striate.transfer import tuning

from .logged_curves import CURVES

reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

NET = "Net((1, 8, 8), [Conv(4, 3), ReLU(), Flatten(), Dense(10)])"


def train(folder: Path, **given):
    given = {"epochs": 3, "batch": 256, "watch": Watch(), "out": folder, "log": "tensorboard"} | given
    return striate.train("digits", None if given.get("resume") else NET, **given)


def going_on(folder: Path, **given):
    return striate.train("digits", out=folder, resume=True, watch=Watch(), **given)


def read_log(folder: Path):
    everything = dict.fromkeys(["scalars", "images", "tensors"], 0)
    found = reading.EventAccumulator(str(folder / "tensorboard"), size_guidance=everything, purge_orphaned_data=False)
    return found.Reload()


def check_curves(run, timed: bool = True) -> None:
    """Each curve has each epoch of the run once, in order, with its value as 32-bit float.

    timed  whether the seconds are the same too: a head that is fitted once more takes others
    """
    log = read_log(run.folder)
    for tag, name in CURVES.items():
        points = log.Scalars(tag)
        assert [e.step for e in points] == [row.epoch for row in run.history]
        if timed or tag != "seconds":
            assert [e.value for e in points] == [float(np.float32(getattr(row, name))) for row in run.history]


def read_pictures(folder: Path, tag: str) -> dict[int, np.ndarray]:
    """By step; a step that stands there twice is refused."""
    images = read_log(folder).Images(tag)
    assert len({i.step for i in images}) == len(images)
    return {i.step: np.asarray(Image.open(io.BytesIO(i.encoded_image_string))) for i in images}


class Stopping(Watch):
    """Asks for a stop in the middle of an epoch, as Ctrl-C does."""

    def __init__(self, epoch: int) -> None:
        self.left = epoch

    def step(self, step, steps, loss, acc, seen):
        self.left -= step == 1
        if self.left == 0 and step == 1:
            os.kill(os.getpid(), signal.SIGINT)


def test_curves_filters_confusion_and_report_are_those_of_the_run(tmp_path):
    run = train(tmp_path / "run", metrics={"share": lambda p, y: (p.argmax(1) == y).float().mean()})
    check_curves(run)
    log = read_log(run.folder)
    assert [e.value for e in log.Scalars("metrics/share")] == pytest.approx([row.valid_acc for row in run.history])
    filters = read_pictures(run.folder, "filters/conv1")
    assert list(filters) == [1, 2, 3]
    if run.best.epoch == 3:
        expected = draw_filters(read_filters(run.model.net, run.model.tensors))
        assert np.array_equal(filters[3], expected)
    [(step, picture)] = read_pictures(run.folder, "confusion/test").items()
    assert (step, picture.shape) == (3, (320, 320, 3))
    cells = picture[16::32, 16::32].astype(int)
    assert np.array_equal(cells.sum(2) < 3 * 255, np.array(run.report.confusion) > 0)
    [text] = log.Tensors("report/test/text_summary")
    shown = text.tensor_proto.string_val[0].decode().splitlines()
    assert [line.removeprefix("    ") for line in shown] == str(run.report).splitlines()


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_run_that_is_stopped_and_goes_on_logs_each_epoch_once(tmp_path, at):
    with pytest.raises(TrainingInterrupted):
        train(tmp_path / "run", watch=Stopping(at))
    run = going_on(tmp_path / "run")
    check_curves(run)
    assert list(read_pictures(run.folder, "filters/conv1")) == [1, 2, 3]
    assert going_on(run.folder).done, "and a finished run that is resumed once more adds nothing"
    check_curves(run)
    assert len(read_log(run.folder).Tensors("report/test/text_summary")) == 1


def test_a_kill_between_the_checkpoint_and_the_log_loses_no_epoch(tmp_path, monkeypatch):
    with monkeypatch.context() as broken, pytest.raises(MemoryError):
        whole = training_log.TrainingLog.add_rows

        def killed(log, rows):
            rows = list(rows)
            if any(row.epoch == 2 for row in rows):
                raise MemoryError
            whole(log, rows)

        broken.setattr(training_log.TrainingLog, "add_rows", killed)
        train(tmp_path / "run")
    check_curves(going_on(tmp_path / "run"))


def test_a_torn_event_file_is_completed(tmp_path):
    with pytest.raises(TrainingInterrupted):
        train(tmp_path / "run", watch=Stopping(3))
    [file] = (tmp_path / "run" / "tensorboard").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: whole.rindex(b"seconds") - 20])  # within the second epoch's points
    lost = {tag for tag in CURVES if len(read_log(tmp_path / "run").Scalars(tag)) < 2}
    assert lost
    check_curves(going_on(tmp_path / "run"))


def test_a_run_can_be_logged_from_where_it_goes_on_with_all_that_was_before(tmp_path):
    with pytest.raises(TrainingInterrupted):
        train(tmp_path / "run", log=None, watch=Stopping(3))
    assert not (tmp_path / "run" / "tensorboard").exists()
    run = going_on(tmp_path / "run", log="tensorboard")
    check_curves(run)
    assert list(read_pictures(run.folder, "filters/conv1")) == [3], "earlier filters are nowhere any more"


def test_the_log_changes_no_bit_of_the_run(tmp_path):
    with_log, without = train(tmp_path / "a"), train(tmp_path / "b", log=None)
    assert [(r.loss, r.valid_loss) for r in with_log.history] == [(r.loss, r.valid_loss) for r in without.history]
    assert all(np.array_equal(t, without.model.tensors[name]) for name, t in with_log.model.tensors.items())
    assert not (without.folder / "tensorboard").exists()
    assert "log" not in json.loads((without.folder / "recipe.json").read_text())


@pytest.mark.parametrize("stopped", [False, True])
def test_each_fold_has_a_log_of_its_own(tmp_path, stopped):
    """Also one that begins after the cross-validation was stopped in an earlier fold."""
    folder = tmp_path / "folds"
    if stopped:
        with pytest.raises(TrainingInterrupted):
            train(folder, folds=2, epochs=1, watch=Stopping(1))
        going_on(folder)
    else:
        train(folder, folds=2, epochs=1)
    for number in (1, 2):
        fold = folder / f"fold-{number}"
        [point] = read_log(fold).Scalars("accuracy/validation")
        row = json.loads((fold / "metrics.jsonl").read_text())
        assert (point.step, point.value) == (1, pytest.approx(row["valid_acc"], abs=1e-7))


BACKBONE = (
    "Net((1, 8, 8), [Conv(8, 3, padding='same'), BatchNorm(), ReLU(), MaxPool(2), Conv(8, 3, padding='same'), "
    "BatchNorm(), ReLU(), GlobalAvgPool(), Dense(7)])"
)


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """A small backbone with drawn weights, and a cache of features of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    net = striate.parse(BACKBONE)
    prepared = model_file.Preprocess((8, 8), "pad", (0.5,), (0.25,))
    header = model_file.ModelHeader(net=net, classes=tuple("abcdefg"), preprocess=prepared)
    tensors = {name: value.astype(np.float32) for name, value in plain.draw_tensors(net, 0).items()}
    model_file.save_model(tmp_path / "backbone.safetensors", header, tensors)
    return tmp_path / "backbone.safetensors"


def transfer(folder: Path, weights: Path, watch: Watch, **given):
    return striate.train(
        "digits", BACKBONE, preset="transfer", weights=weights, out=folder, watch=watch, log="tensorboard", **given
    )


@pytest.mark.parametrize("minutes", [None, 5])
def test_a_transfer_logs_its_head_as_epoch_0_and_its_fine_tuning_after_it(published, tmp_path, monkeypatch, minutes):
    monkeypatch.setattr(tuning, "MOST_EPOCHS", 3)
    run = transfer(tmp_path / "run", published, Watch(), minutes=minutes)
    assert [row.epoch for row in run.history] == ([0] if minutes is None else [0, 1, 2, 3])
    check_curves(run)
    for tag in ("filters/conv1", "confusion/test"):
        assert list(read_pictures(run.folder, tag)) == [run.history[-1].epoch]


@pytest.mark.parametrize("save_every", [0.0, 1e9])
def test_a_transfer_that_is_stopped_and_goes_on_logs_each_epoch_once(published, tmp_path, monkeypatch, save_every):
    monkeypatch.setattr(tuning, "MOST_EPOCHS", 3)
    monkeypatch.setattr(tuning, "SAVE_EVERY", save_every)
    with pytest.raises(TrainingInterrupted):
        transfer(tmp_path / "run", published, Stopping(2), minutes=5)
    run = going_on(tmp_path / "run")
    assert [row.epoch for row in run.history] == [0, 1, 2, 3]
    check_curves(run, timed=False)


def test_the_log_of_another_run_is_not_added_to(tmp_path):
    run = train(tmp_path / "run", epochs=1)
    (tmp_path / "new").mkdir()
    (run.folder / "tensorboard").rename(tmp_path / "new" / "tensorboard")
    with pytest.raises(RunError, match="holds the log of another run"):
        train(tmp_path / "new", epochs=1)


def test_an_unknown_log_and_a_missing_package_are_named_before_anything_is_written(tmp_path, monkeypatch):
    with pytest.raises(RecipeError) as caught:
        train(tmp_path / "run", log="tensorbord")
    assert caught.value.hint == "did you mean 'tensorboard'?"
    with monkeypatch.context() as without, pytest.raises(StriateError) as caught:
        without.setattr("striate.runs.request.find_spec", lambda name: None)
        train(tmp_path / "run")
    assert caught.value.hint == 'pip install "striate[tensorboard]"'
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_without_a_log_loads_no_tensorboard(tmp_path):
    code = (
        "import sys, striate; from striate.fitting.watch import Watch; "
        f"striate.train('digits', {NET!r}, epochs=1, out={str(tmp_path / 'run')!r}, watch=Watch()); "
        "print([name for name in sys.modules if 'tensorboard' in name])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
