"""Two models on the same images, the wrong answers as a table, and probabilities in the forms that others read."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import striate
from striate.errors import DataError
from striate.fitting.watch import Watch
from striate.metrics.paired import compare_answers
from tests import forked


def compare_counts(both: int, first: int, second: int, neither: int):
    truth = ["yes"] * (both + first + second + neither)
    one = ["yes"] * (both + first) + ["no"] * (second + neither)
    two = ["yes"] * both + ["no"] * first + ["yes"] * second + ["no"] * neither
    return compare_answers(("a", "b"), [f"{k}.png" for k in range(len(truth))], truth, one, two)


@given(st.tuples(*[st.integers(0, 60)] * 4).filter(lambda counts: sum(counts) > 0))
def test_the_test_is_mcnemars_exact_one_and_the_interval_agrestis_and_mins(counts):
    stats = pytest.importorskip("scipy.stats")
    both, first, second, neither = counts
    found = compare_counts(*counts)
    judge = stats.binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert found.p_value == pytest.approx(judge, rel=1e-9)
    n, b, c = sum(counts) + 2, first + 0.5, second + 0.5
    middle, error = (c - b) / n, np.sqrt((b + c) / n - ((c - b) / n) ** 2) / np.sqrt(n)
    low, high = found.interval
    assert (low, high) == pytest.approx(
        (max(-1, middle - 1.959964 * error), min(1, middle + 1.959964 * error)), abs=1e-6
    )
    assert found.accuracies == ((both + first) / sum(counts), (both + second) / sum(counts))
    assert len(found.differences) == first + second and found.images == sum(counts)
    assert ("no difference is shown" in str(found)) == (judge >= 0.05)


def test_where_the_one_is_better_it_is_named():
    found = compare_counts(80, 2, 15, 3)
    assert "b is better on images like these" in str(found) and "a is better" in str(compare_counts(80, 15, 2, 3))
    assert {item.right for item in found.differences} == {"first", "second"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("paired")
    for epochs in (1, 3):
        striate.train("digits", "lenet5", epochs=epochs, out=place / f"e{epochs}", watch=Watch())
    return place


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Digits as files, which neither run has seen in these pixels."""
    place, digits = tmp_path_factory.mktemp("pictures"), striate.load_dataset("digits").test
    for k in range(40):
        to = place / digits.classes[digits.y[k]] / f"{k}.png"
        to.parent.mkdir(exist_ok=True)
        Image.fromarray(255 - digits.x[k, ..., 0]).resize((16, 16)).save(to)
    return place


def run(*words: object, code: int = 0) -> str:
    done = forked.run(["-m", "striate", *map(str, words)])
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_two_runs_are_compared_on_what_neither_has_seen(runs, tmp_path):
    said = run(
        "compare", runs / "e1", runs / "e3", "--data", "digits", "--differences", tmp_path / "differ.csv", "--json"
    )
    told = json.loads(said)
    one, two = (striate.load(runs / name) for name in ("e1", "e3"))
    images = one.images("digits")
    a, b = (model.probabilities(images.x).argmax(1) for model in (one, two))
    assert told["images"] == 180 and told["left_out"] == 0 and told["names"] == ["e1", "e3"]
    assert told["first_alone"] == ((a == images.y) & (b != images.y)).sum()
    assert told["second_alone"] == ((b == images.y) & (a != images.y)).sum()
    rows = list(csv.DictReader((tmp_path / "differ.csv").read_text().splitlines()))
    assert [row["file"] for row in rows] == [images.files[k] for k in np.flatnonzero(a != b)]
    assert str(striate.compare_models(one, two, "digits")).startswith("e1  accuracy")


def test_an_exported_file_is_compared_with_its_run_and_no_image_new_to_both_is_an_error(runs, tmp_path):
    model = striate.load(runs / "e3")
    model.export(tmp_path / "e3.onnx")
    found = striate.compare_models(model, tmp_path / "e3.onnx", "digits")
    assert found.gain == 0 and found.p_value == 1 and found.names == ("e3", "e3.onnx") and not found.differences
    images = model.images("digits")
    other = striate.Images(images.x[:3], images.y[:3], images.classes, ("x", "y", "z"))
    with pytest.raises(DataError, match="no image is new to both"):
        striate.compare_models(model, Renamed(model, other), "digits")


class Renamed(striate.Model):
    """A model that was given other images."""

    def __init__(self, model, images):
        super().__init__(model.header, model.tensors, model.path)
        object.__setattr__(self, "given", images)

    def images(self, data, on_skip=None, memory=None, **reading):
        return self.given


def test_the_wrong_answers_are_a_table_the_most_confident_first(runs, pictures, tmp_path):
    out = run("evaluate", runs / "e1", pictures, "--mistakes", tmp_path / "wrong.csv", "--json")
    told, rows = json.loads(out), list(csv.DictReader((tmp_path / "wrong.csv").read_text().splitlines()))
    model = striate.load(runs / "e1")
    images = model.images(pictures)
    p = model.probabilities(images.x)
    wrong = np.flatnonzero(p.argmax(1) != images.y)
    assert len(rows) == len(wrong) == round(told["images"] * (1 - told["accuracy"])) and len(rows) > 2
    order = wrong[np.argsort(-p[wrong].max(1), kind="stable")]
    assert [row["file"] for row in rows] == [images.files[k] for k in order]
    for row, k in zip(rows, order, strict=True):
        assert (row["label"], row["predicted"]) == (images.classes[images.y[k]], images.classes[p[k].argmax()])
        assert float(row["probability"]) == pytest.approx(p[k].max(), abs=1e-6)
        assert float(row["label_probability"]) == pytest.approx(p[k, images.y[k]], abs=1e-6)


def test_all_probabilities_come_as_columns_and_kaggles_form_has_an_id(runs, pictures):
    model = striate.load(runs / "e1")
    files = sorted((pictures / "3").iterdir())
    rows = list(csv.reader(run("predict", runs / "e1", *files, "--csv", "--all-probabilities").splitlines()))
    assert rows[0] == ["file", *model.classes] and [row[0] for row in rows[1:]] == list(map(str, files))
    p = model.probabilities(np.stack([model.prepared(file) for file in files]))
    np.testing.assert_allclose(np.array([row[1:] for row in rows[1:]], float), p, atol=1e-6)
    rows = list(csv.reader(run("predict", runs / "e1", *files, "--csv", "--kaggle").splitlines()))
    assert rows[0] == ["id", "label"]
    assert rows[1:] == [[file.stem, model.classes[k]] for file, k in zip(files, p.argmax(1), strict=True)]
    rows = list(
        csv.reader(run("predict", runs / "e1", files[0], "--csv", "--kaggle", "--all-probabilities").splitlines())
    )
    assert rows[0] == ["id", *model.classes] and rows[1][0] == files[0].stem
    assert "hint  --csv --kaggle" in run("predict", runs / "e1", files[0], "--kaggle", code=2)


def test_options_of_the_wrong_comparison_are_refused(tmp_path):
    assert "--data photos/test --differences" in run("compare", "lenet5", "alexnet", "--differences", "x.csv", code=2)
    assert "--data photos/test --json" in run("compare", "lenet5", "alexnet", "--json", code=2)
