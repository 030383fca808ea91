"""What version 0.1.0 wrote before its rooms were moved is still read: a finished run, its model, its exported files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import striate
from striate.data.sources.load import load_dataset
from striate.fitting.watch import Watch
from striate.studio.runs import RunFolder

FINISHED = Path(__file__).parent / "reference" / "finished"
# The probabilities of the first 20 test digits, as 0.1.0 computed them from the model file beside them.
EXPECTED = np.loadtxt(FINISHED / "p.csv", delimiter=",")


@pytest.fixture(scope="module")
def images():
    return load_dataset("digits").test.take(np.arange(20))


@pytest.mark.parametrize("name, tolerance", [("", 1e-5), ("model.safetensors", 1e-5), ("float.onnx", 1e-5)])
def test_a_model_and_an_exported_file_answer_as_they_did(name, tolerance, images):
    found = striate.load(FINISHED / name).probabilities(images.x)
    np.testing.assert_allclose(found, EXPECTED, atol=tolerance)


def test_an_8_bit_file_is_still_read(images):
    """What it answers hangs on the processor, for its weights are those of the old export, which some cut off."""
    model = striate.load(FINISHED / "int8.onnx")
    found = model.probabilities(images.x)
    assert found.shape == EXPECTED.shape and np.allclose(found.sum(1), 1, atol=1e-3)
    assert model.card.precision == "int8" and tuple(model.classes) == tuple("0123456789")


def test_a_finished_run_is_shown_resumed_and_trained_on(tmp_path):
    run = tmp_path / "old"
    shutil.copytree(FINISHED, run)
    shown = RunFolder(run)
    assert shown.done and shown.as_dict(0.0)["accuracy"] == pytest.approx(0.3389, abs=1e-4)
    before = (run / "model.safetensors").read_bytes()
    again = striate.train("digits", out=run, resume=True, watch=Watch())
    assert [row.epoch for row in again.history] == [1, 2] and (run / "model.safetensors").read_bytes() == before
    more = striate.train("digits", weights=run, epochs=1, out=tmp_path / "more", watch=Watch())
    assert more.model.net == again.model.net and more.report.accuracy > 0.3
