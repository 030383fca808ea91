"""Answers in parts: every picture once, whatever is killed on the way, and only of what was asked for."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import striate
from striate.data.images import Skipped
from striate.data.sources.file_column import stream_file_column
from striate.data.sources.folder import list_image_files, sort_names
from striate.errors import DataError, RunError, StriateError
from striate.model.exported import load_exported
from tests.test_predict_exported import CLASSES, exported, model

COUNT = 11


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> Path:
    return exported(model(), tmp_path_factory.mktemp("model")).path


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Eleven pictures in two folders, one of which is none."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "b,1").mkdir()
    for k in range(COUNT):
        noise = np.random.default_rng(k).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / ("b,1" if k % 2 else "") / f"{k:02}.png")
    (folder / "05x.png").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def whole(shipped, photos, tmp_path_factory):
    """The parts that nothing interrupted."""
    return striate.predict_to_parts(shipped, photos, tmp_path_factory.mktemp("whole") / "parts", rows_per_part=3)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith(("part", "_unread"))}


def rows(folder: Path) -> list[list[str]]:
    found = []
    for path in sorted(folder.glob("part-*.csv")):
        with open(path, encoding="utf-8", newline="") as file:
            found += list(csv.reader(file))[1:]
    return found


def test_the_parts_have_the_rows_that_predict_gives_and_the_unreadable_file_a_table_of_its_own(shipped, photos, whole):
    found = load_exported(shipped).predict_files(list(list_image_files([str(photos)])))
    expected = [list(answer.cells()) for answer in found if not isinstance(answer, Skipped)]
    assert rows(whole.folder) == expected and len(expected) == COUNT
    assert whole[1:] == (COUNT + 1, 1, 4, 4)
    [table] = whole.folder.glob("_unreadable-*.csv")
    [heading, row] = csv.reader(table.read_text().splitlines())
    assert heading == ["file", "reason"] and row[0] == str(photos / "05x.png")
    assert f"{COUNT} rows in 4 parts, 1 unreadable" in str(whole)


def test_a_worker_that_is_killed_is_noticed_and_the_rest_is_what_was_never_interrupted(
    shipped, photos, whole, tmp_path
):
    def kill_others(now):
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            if b"striate.parts.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)

    out = tmp_path / "parts"
    with pytest.raises(RunError, match="a worker process ended before its part was written"):
        striate.predict_to_parts(shipped, photos, out, rows_per_part=3, workers=1, on_part=kill_others)
    (out / ".part-00002.csv.x.part").write_text("half")
    before = contents(out)
    assert 1 <= len(before) < 4 and before.items() <= contents(whole.folder).items()
    done = striate.predict_to_parts(shipped, photos, out, rows_per_part=3, resume=True)
    assert done.written == 4 - sum(name.startswith("part") for name in before)
    assert contents(out) == contents(whole.folder) and not list(out.glob(".*"))


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_with_no_row_twice_and_none_missing(shipped, photos, tmp_path):
    names = tmp_path / "many.txt"
    names.write_text("".join(f"{photos}/{k:02}.png\n" for k in [0, 2, 4, 6, 8] * 400))
    out = tmp_path / "parts"
    command = [sys.executable, "-m", "striate", "predict", shipped, names, "--out", out, "--rows-per-part", "20"]
    one = subprocess.Popen(command)
    while not list(out.glob("part-*")):
        time.sleep(0.01)
    one.kill()
    one.wait()
    time.sleep(1)  # the part under way is still written
    assert len(list(out.glob("part-*"))) < 100
    subprocess.run([*command, "--resume"], check=True)
    assert [row[0] for row in rows(out)] == names.read_text().split()


@pytest.mark.parametrize(
    "options, what",
    [
        ({}, "predictions were begun in this folder"),
        ({"resume": True, "rows_per_part": 4}, "begun otherwise: --rows-per-part"),
        ({"resume": True, "all_probabilities": True}, "begun otherwise: --all-probabilities"),
        ({"format": "xlsx"}, "there is no such format"),
        ({"workers": 0}, "expected at least 1"),
    ],
)
def test_other_options_than_it_began_with_are_refused(shipped, photos, whole, options, what):
    with pytest.raises(StriateError, match=what):
        striate.predict_to_parts(shipped, photos, whole.folder, **{"rows_per_part": 3} | options)


def test_another_model_other_pictures_and_somebodys_folder_are_refused(shipped, photos, whole, tmp_path):
    other = exported(model("crop"), tmp_path).path
    with pytest.raises(RunError, match="begun otherwise: the model"):
        striate.predict_to_parts(other, photos, whole.folder, rows_per_part=3, resume=True)
    with pytest.raises(RunError, match="begun otherwise: the pictures' names") as refused:
        striate.predict_to_parts(shipped, photos / "b,1", whole.folder, rows_per_part=3, resume=True)
    assert refused.value.as_dict()["got"] == "5 pictures"
    assert not list(whole.folder.glob(".*"))
    with pytest.raises(RunError, match="this folder holds other files"):
        striate.predict_to_parts(shipped, photos, photos, resume=True)


def test_parquet_holds_each_class_under_its_name(shipped, photos, tmp_path):
    dataset = pytest.importorskip("pyarrow.parquet")
    done = striate.predict_to_parts(
        shipped, f"file://{photos}", tmp_path / "parts", format="parquet", all_probabilities=True, workers=1
    )
    table = dataset.read_table(done.folder)
    assert table.column_names == ["file", *CLASSES] and table.num_rows == COUNT
    p = np.stack([table[name] for name in CLASSES], 1)
    files = [name.removeprefix("file://") for name in table["file"].to_pylist()]
    answers = load_exported(shipped).predict(files, top=3)
    assert p == pytest.approx(np.array([[dict(a.top)[name] for name in CLASSES] for a in answers]), abs=2e-6)


@settings(max_examples=30)
@given(st.lists(st.text(st.characters(exclude_characters="\0"))), st.integers(1, 4))
def test_names_are_sorted_however_few_are_in_memory(names, most):
    assert list(sort_names(names, str, most)) == sorted(names)


def test_a_storages_pictures_are_listed_by_name_and_read(photos):
    fsspec = pytest.importorskip("fsspec")
    storage = fsspec.filesystem("memory")
    for path in photos.rglob("*.png"):
        storage.pipe(f"/photos/{path.relative_to(photos)}", path.read_bytes())
    storage.pipe("/photos/.hidden/a.png", b"")
    storage.pipe("/photos/notes.txt", b"")
    found = list(list_image_files(["memory://photos"]))
    there = [f"memory:///photos/{path.relative_to(photos)}" for path in photos.rglob("*.png")]
    assert sorted(found) == sorted(there)
    run = model()
    answers = list(run.predict_files([*found, "memory://photos/lost.png"]))
    assert [a.file for a in answers[:-1] if not isinstance(a, Skipped)] == [f for f in found if "05x" not in f]
    assert answers[-1].why == "there is no such file"
    with pytest.raises(DataError, match="the storage cannot be read: Protocol not known"):
        list(list_image_files(["nowhere://photos"]))


def test_the_files_of_a_table_are_streamed_in_its_order(tmp_path):
    names = ["b.png", "a b.png", "s3://bucket/c.png"]
    expected = [str(tmp_path / "b.png"), str(tmp_path / "a b.png"), "s3://bucket/c.png"]
    texts = {
        "t.csv": "label,File\n" + "".join(f"x,{name}\n" for name in names),
        "t.tsv": "path\tlabel\n" + "".join(f"{name}\tx\n" for name in names),
        "t.txt": "\n".join(names),
        "t.jsonl": "".join(json.dumps({"image": name}) + "\n" for name in names),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        assert list(stream_file_column(tmp_path / name)) == expected
    (tmp_path / "t.csv").write_text("file,label\na.png,x\n,y\n")
    with pytest.raises(DataError, match=r"t\.csv, line 3: there is no file's name"):
        list(stream_file_column(tmp_path / "t.csv"))
    (tmp_path / "t.csv").write_text("label,number\nx,y\n")
    with pytest.raises(DataError, match="there is not one column of files"):
        list(stream_file_column(tmp_path / "t.csv"))


def test_a_part_of_which_nothing_is_a_picture_has_no_row(shipped, photos, tmp_path):
    done = striate.predict_to_parts(shipped, photos / "05x.png", tmp_path / "parts")
    assert (done.pictures, done.unreadable) == (1, 1) and rows(done.folder) == []
