"""Labels corrected by hand: the table, what it does to a data set, and what it may not do."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import striate
from striate.data.corrections import NO_CLASS, read_corrections
from striate.data.reading import Reading, format_reading, make_reading
from striate.data.sources.load import load_dataset, load_images
from striate.errors import DataError, RunError
from striate.fitting.watch import Watch
from striate.runs.correcting import list_corrections, undo_correction

HEAD = "file,content,label,corrected\n"


@pytest.fixture
def photos(tmp_path) -> Path:
    """Two classes of twenty images, each of a grey of its own."""
    for k in range(40):
        place = tmp_path / "photos" / ("cat" if k < 20 else "dog") / f"{k}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 6), 5 * k, np.uint8)).save(place)
    return tmp_path / "photos"


def write_table(photos: Path, *rows: tuple[str, str]) -> Path:
    """A table by hand, its contents by hashlib."""
    lines = [
        f"{file},{hashlib.sha256((photos / file).read_bytes()).hexdigest()[:16]},{Path(file).parent.name},{label}"
        for file, label in rows
    ]
    table = photos.parent / "corrections.csv"
    table.write_text(HEAD + "\n".join(lines) + "\n")
    return table


def list_labels(data) -> dict[str, str]:
    parts = [part for part in (data.train, data.valid, data.test) if part is not None]
    return {file: part.classes[k] for part in parts for file, k in zip(part.files, part.y, strict=True)}


def load_corrected(photos: Path, table: Path):
    return load_dataset(photos, reading=make_reading({"corrections": table}))


def test_a_corrected_label_is_read_an_image_of_no_class_left_out_and_the_files_stay(photos):
    before = {path: path.read_bytes() for path in photos.rglob("*.png")}
    table = write_table(photos, ("cat/3.png", "dog"), ("dog/30.png", NO_CLASS), ("cat/5.png", "cat"))
    plain, corrected = list_labels(load_dataset(photos)), load_corrected(photos, table)
    wanted = {file: label for file, label in plain.items() if file != "dog/30.png"} | {"cat/3.png": "dog"}
    assert list_labels(corrected) == wanted
    assert any("1 label changed, 1 image left out, 1 label confirmed" in str(note) for note in corrected.notes)
    assert {path: path.read_bytes() for path in photos.rglob("*.png")} == before


def test_arrays_are_corrected_as_files_are():
    x, y = np.arange(40 * 36, dtype=np.uint16).astype(np.uint8).reshape(40, 6, 6), ["a"] * 20 + ["b"] * 20
    content = hashlib.sha256(x[7].tobytes()).hexdigest()[:16]
    gone = hashlib.sha256(x[25].tobytes()).hexdigest()[:16]
    rows = (("image[7]", content, "a", "b"), ("image[25]", gone, "b", NO_CLASS))
    corrected = list_labels(load_dataset((x, y), reading=Reading(corrections=rows)))
    assert corrected == {f"image[{k}]": y[k] for k in range(40) if k != 25} | {"image[7]": "b"}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda photos: (photos / "cat/3.png").rename(photos / "cat/moved.png"), "does not have"),
        (lambda photos: shutil.copy(photos / "cat/9.png", photos / "cat/3.png"), "another picture"),
    ],
)
def test_a_file_that_was_moved_or_replaced_is_not_relabelled_but_refused(photos, change, what):
    table = write_table(photos, ("cat/3.png", "dog"))
    change(photos)
    with pytest.raises(DataError, match=what):
        load_corrected(photos, table)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("cat/3.png,{content},cat,wolf", "class that the data set does not have"),
        ("cat/3.png,{content},dog,wolf", "class that the data set does not have"),
        ("cat/3.png,{content},wolf,dog", "another label than when"),
        ("cat/3.png,{content},cat", "no correction"),
        ("cat/3.png,,cat,dog", "no correction"),
        ("cat/3.png,{content},cat,dog\ncat/3.png,{content},cat,-", "corrected twice"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused(photos, row, what):
    table = photos.parent / "corrections.csv"
    content = hashlib.sha256((photos / "cat/3.png").read_bytes()).hexdigest()[:16]
    table.write_text(HEAD + row.format(content=content) + "\n")
    with pytest.raises(DataError, match=what):
        load_corrected(photos, table)


def test_other_files_than_a_table_of_corrections_are_refused(tmp_path):
    (tmp_path / "wrong.csv").write_text("file,label\na.png,cat\n")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for name, what in (("wrong.csv", "no table"), ("binary.csv", "cannot be read"), ("none.csv", "no such table")):
        with pytest.raises(DataError, match=what):
            read_corrections(tmp_path / name)


def test_a_class_that_would_lose_its_last_image_is_refused(photos):
    table = write_table(photos, *((f"dog/{k}.png", "cat") for k in range(20, 40)))
    with pytest.raises(DataError, match="no image is left of dog"):
        load_corrected(photos, table)


def test_where_a_model_reads_other_data_its_corrections_are_passed_over(photos, tmp_path):
    table = write_table(photos, ("cat/3.png", "dog"))
    reading = make_reading({"corrections": table})
    other = tmp_path / "other"
    shutil.copytree(photos, other)
    shutil.copy(photos / "cat/9.png", other / "cat/3.png")
    images = load_images(other, ("cat", "dog"), reading=reading)
    assert images.counts == (20, 20)
    assert load_images(photos, ("cat", "dog"), reading=reading).counts == (19, 21)


def test_a_reading_keeps_the_rows_and_not_the_file(photos):
    table = write_table(photos, ("cat/3.png", "dog"))
    reading = make_reading({"corrections": table})
    table.unlink()
    assert [row[:1] + row[2:] for row in reading.corrections] == [("cat/3.png", "cat", "dog")]
    assert format_reading(reading) == ""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    pytest.importorskip("torch", reason="a run is trained first")
    folder = tmp_path_factory.mktemp("runs") / "digits-1"
    striate.train("digits", "lenet5", out=folder, epochs=1, watch=Watch())
    return folder


def test_what_is_said_of_an_image_stands_in_the_table_and_is_taken_back_in_turn(run):
    striate.correct_label(run, "image[5]", "9", "mistake")
    striate.correct_label(run, "image[7]", NO_CLASS)
    striate.correct_label(run, "image[5]", "3")
    with (run / "corrections.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["file"], row["label"], row["corrected"]) for row in rows] == [
        ("image[7]", "7", "-"),
        ("image[5]", "5", "3"),
    ]
    assert undo_correction(run).file == "image[5]" and undo_correction(run).file == "image[7]"
    assert not (run / "corrections.csv").exists()
    with pytest.raises(RunError, match="no correction to take back"):
        undo_correction(run)
    for file, label in (("image[9999]", "3"), ("image[5]", "ten")):
        with pytest.raises(DataError):
            striate.correct_label(run, file, label)


def test_a_run_trained_with_corrections_keeps_them_and_is_resumed_with_no_others(run, tmp_path):
    for k in range(12):
        striate.correct_label(run, f"image[{k}]", NO_CLASS)
    table = run / "corrections.csv"
    again = striate.train("digits", "lenet5", out=tmp_path / "again", epochs=1, corrections=table, watch=Watch())
    undo_correction(run)
    assert len(list_corrections(again.folder)) == 12
    with pytest.raises(RunError, match="begun|began with"):
        striate.train("digits", "lenet5", out=again.folder, corrections=table, resume=True, watch=Watch())
    with pytest.raises(RunError, match="no correction to take back"):
        undo_correction(again.folder)
    resumed = striate.train("digits", out=again.folder, resume=True, watch=Watch())
    assert resumed.task.fingerprint == again.task.fingerprint
    model = striate.load(again.folder)
    assert not {f"image[{k}]" for k in range(12)} & set(model.images("digits").files)
    assert model.evaluate("digits").known == 0
    card = model.export(tmp_path / "model.onnx")
    assert "image[" not in str(card.more)
    assert striate.load(tmp_path / "model.onnx").images("digits").files == model.images("digits").files
    table.unlink()
