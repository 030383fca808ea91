"""Files and labels handed over in Python: each form trains, is checked and evaluated as the table of the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import striate
from striate.data.reading import Reading
from striate.data.sources.load import load_dataset, load_images
from striate.errors import DataError

LABELS = ("cat", "dog")


class Frame(dict):
    """What a polars data frame offers of its columns: `columns`, `frame[name]`, and no index."""

    @property
    def columns(self) -> list[str]:
        return list(self)


def pandas_frame(names, index=False):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"name": names, "dx": [label(k) for k in range(len(names))], "age": range(len(names))})
    return frame.set_index("name") if index else frame


def label(k: int) -> str:
    return LABELS[k % 2]


FORMS = {
    "a file and its label": lambda names: {name: label(k) for k, name in enumerate(names)},
    "paths and labels": lambda names: {Path(name): label(k) for k, name in enumerate(names)},
    "a label and its files": lambda names: {LABELS[i]: names[i::2] for i in (0, 1)},
    "columns": lambda names: {"image": names, "label": [label(k) for k in range(len(names))]},
    "pairs": lambda names: [(name, label(k)) for k, name in enumerate(names)],
    "records": lambda names: [{"file": Path(name), "y": label(k)} for k, name in enumerate(names)],
    "files, labels": lambda names: (names, [label(k) for k in range(len(names))]),
    "arrays of names": lambda names: (np.array(names), np.array([label(k) for k in range(len(names))])),
    "a pandas frame": lambda names: pandas_frame(names),
    "a pandas frame by its index": lambda names: pandas_frame(names, index=True),
    "a polars frame": lambda names: Frame(photo=names, kind=[label(k) for k in range(len(names))]),
}


@pytest.fixture
def names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for k in range(40):
        path = Path("pictures") / f"{k:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), 6 * k, np.uint8)).save(path)
    found = [f"pictures/{k:02}.png" for k in range(40)]
    Path("t.csv").write_text("path,label\n" + "".join(f"{name},{label(k)}\n" for k, name in enumerate(found)))
    return found


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_the_data_set_of_the_table_with_the_same_rows(names, form):
    data, table = load_dataset(FORMS[form](names)), load_dataset("t.csv")
    assert data.name == "files" and data.fingerprint == table.fingerprint
    assert data.train.files == table.train.files


def test_paths_that_are_absolute_and_a_folder_of_images(names, tmp_path):
    fingerprint = load_dataset("t.csv").fingerprint
    assert load_dataset({str(tmp_path / name): label(k) for k, name in enumerate(names)}).fingerprint == fingerprint
    short = {Path(name).stem: label(k) for k, name in enumerate(names)}
    assert load_dataset(short, reading=Reading(images="pictures", suffix=".png")).fingerprint == fingerprint


def test_a_third_item_is_the_split(names):
    data = load_dataset([(name, label(k), ("train", "val", "test")[min(k // 16, 2)]) for k, name in enumerate(names)])
    assert [len(part) for part in (data.train, data.valid, data.test)] == [16, 16, 8]


def test_whole_numbers_as_floats_are_the_classes_of_these_numbers(names):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"file": names, "label": [float(k % 2) for k in range(40)]})
    assert load_dataset(frame).classes == ("0", "1")
    frame.loc[3, "label"] = float("nan")
    with pytest.raises(DataError) as caught:
        load_dataset(frame)
    assert str(caught.value) == (
        "files, record 4: this row has no label\n  got   pictures/03.png, \n  hint  --drop-unlabelled leaves 1 row out"
    )
    assert len(load_dataset(frame, reading=Reading(drop_unlabelled=True)).train.files) == 31


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda names: [], "files: this is no list of files and labels\n  got   a list of 0"),
        (lambda names: {}, "files: this is no list of files and labels\n  got   an empty object"),
        (lambda names: names, "files: this is no list of files and labels\n  got   a list of 40"),
        (lambda names: {"train": names[:20], "test": names[20:]}, "files: these are names of splits, not of classes"),
        (
            lambda names: (names, LABELS),
            "(files, labels): there must be one label for each file\n  got   40 files, 2 labels",
        ),
        (lambda names: [np.zeros((4, 4)), np.ones((4, 4))], "files: pictures in memory are given as one array"),
        (lambda names: {"cat": Image.new("L", (4, 4))}, "files: pictures in memory are given as one array"),
        (lambda names: np.zeros((4, 4, 4)), "files: pictures in memory are given as one array"),
        (lambda names: 7, "data: this is not a data set\n  got   int"),
        (lambda names: {"a.png": "cat", "b.png": "dog"}, "files, record 1: none of the 2 files that"),
    ],
)  # fmt: skip
def test_what_is_no_data_set_says_so(names, make, message):
    with pytest.raises(DataError) as caught:
        load_dataset(make(names))
    assert str(caught.value).startswith(message)


def test_arrays_are_still_arrays(names):
    x, y = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8), np.arange(40) % 2
    assert load_dataset((x, y)).name == load_dataset((list(x), list(y))).name == "arrays"


@pytest.mark.parametrize("form", ["a file and its label", "pairs", "a pandas frame", "files, labels"])
def test_each_form_is_checked_trained_resumed_and_evaluated(names, form):
    data = FORMS[form](names)
    assert striate.check(data).images == 40
    run = striate.train(data, "lenet5", epochs=1)
    assert run.folder.name == "files-1"
    again = striate.train(data, resume=True)
    assert again.folder.name == "files-1"
    model = striate.load(run.folder)
    assert model.evaluate(data).images == 4  # the test split that was held back
    assert len(load_images(data, LABELS)) == 40
