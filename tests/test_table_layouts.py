"""Tables of images as people have them, each made here, and what becomes of it: its labels, or the message."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from striate.cli import print_audit
from striate.data.listing import Listing
from striate.data.reading import make_reading
from striate.data.sources.load import list_source, load_dataset
from striate.data.sources.table_files import FileFinder
from striate.errors import DataError
from striate.studio.jobs import check_data

BREEDS = ("beagle", "boston bull", "pug")


def put_pictures(folder: Path, *names: str) -> list[str]:
    """A gray PNG at each place below the folder, whatever its suffix, each of another level."""
    for level, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (5, 4), level % 256).save(path, "PNG")
    return list(names)


def name_pictures(count: int = 12, suffix: str = ".png", folder: str = "") -> list[str]:
    return [f"{folder}{k:03}{suffix}" for k in range(count)]


def write_rows(path: Path, *rows: object, delimiter: str = ",", encoding: str = "utf-8") -> Path:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(out.getvalue().encode(encoding))
    return path


def read(source: object, **reading: object) -> Listing:
    listing = list_source(source, make_reading(reading))
    assert listing is not None
    return listing


def labels_by_pixels(listing: Listing) -> dict[int, str]:
    """Each picture's label by its level, so that a label at another's picture shows."""
    found = {}
    for entry in listing.entries:
        with Image.open(io.BytesIO(entry.path.read_bytes())) as image:
            found[image.getpixel((0, 0))] = entry.label
    return found


def refuse(source: object, **reading: object) -> str:
    with pytest.raises(DataError) as caught:
        read(source, **reading)
    return str(caught.value)


def breed(k: int) -> str:
    return BREEDS[k % 3]


def expect(count: int = 12) -> dict[int, str]:
    return {k: breed(k) for k in range(count)}


HEADERS = [
    ("image_id", "breed"), ("id", "species"), ("name", "diagnosis"), ("fname", "tag"), ("photo", "y"),
    ("Image Path", "ClassId"), ("unheard of", "word for it"), ("Bild", "Rasse"),
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS, ids=" ".join)
@pytest.mark.parametrize("swapped", [False, True])
def test_columns_are_found_by_what_they_hold_whatever_they_are_called(tmp_path, header, swapped):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [header, *((name, breed(k)) for k, name in enumerate(names))]
    table = write_rows(tmp_path / "list.csv", *(row[::-1] if swapped else row for row in rows))
    assert labels_by_pixels(read(table)) == expect()


@pytest.mark.parametrize("header", [("id", "breed"), ("key", "Hunderasse"), None])
def test_a_header_is_never_a_class_and_a_first_row_never_a_header_where_names_have_no_suffix(tmp_path, header):
    names = put_pictures(tmp_path, *name_pictures(folder="train/", suffix=".jpg"))
    rows = [(Path(name).stem, breed(k)) for k, name in enumerate(names)]
    table = write_rows(tmp_path / "labels.csv", *([header] if header else []), *rows)
    listing = read(table)
    assert labels_by_pixels(listing) == expect() and {entry.label for entry in listing.entries} == set(BREEDS)
    assert labels_by_pixels(read(table, suffix=".jpg")) == expect()


def test_a_headerless_first_row_whose_file_is_missing_is_a_row_if_its_label_comes_again(tmp_path):
    names = put_pictures(tmp_path, *name_pictures(folder="all/"))
    rows = [("gone", "pug"), *((Path(name).stem, breed(k)) for k, name in enumerate(names))]
    listing = read(write_rows(tmp_path / "labels.csv", *rows))
    assert len(listing.entries) == 13


def test_a_headerless_first_row_whose_file_is_there_is_a_row_even_if_its_label_is_the_only_one(tmp_path):
    names = put_pictures(tmp_path, *name_pictures(folder="all/"))
    rows = [(Path(name).stem, "wolf" if k == 0 else breed(k)) for k, name in enumerate(names)]
    assert labels_by_pixels(read(write_rows(tmp_path / "labels.csv", *rows))) == {**expect(), 0: "wolf"}


PLACES = {
    "beside the table": ("{}.png", "{}.png", {}),
    "in a folder beside it": ("pictures/{}.png", "{}.png", {}),
    "two folders down": ("data/pictures/{}.png", "pictures/{}.png", {}),
    "in a folder that is named": ("elsewhere/{}.png", "{}.png", {"images": "elsewhere"}),
    "without suffix": ("{}.png", "{}", {}),
    "without suffix, which is named": ("jpg/{}.jpg", "{}", {"suffix": ".jpg"}),
    "suffix in other letters": ("{}.PNG", "{}.png", {}),
    "suffix in other letters, in a folder": ("p/{}.png", "{}.PNG", {}),
    "from Windows": ("pictures/{}.png", "pictures\\{}.png", {}),
    "from another disk": ("pictures/{}.png", "C:\\Users\\me\\work\\pictures\\{}.png", {}),
    "from another machine": ("pictures/{}.png", "/kaggle/input/dogs/pictures/{}.png", {}),
    "suffix named without its dot": ("jpg/{}.jpg", "{}", {"suffix": "jpg"}),
    "with a dot before": ("pictures/{}.png", "./pictures/{}.png", {}),
}


@pytest.mark.parametrize("place", PLACES, ids=str)
def test_files_are_found_where_they_lie(tmp_path, place):
    lies, cell, reading = PLACES[place]
    put_pictures(tmp_path, *(lies.format(f"{k:03}") for k in range(12)))
    rows = [(cell.format(f"{k:03}"), breed(k)) for k in range(12)]
    reading = {key: str(tmp_path / value) if key == "images" else value for key, value in reading.items()}
    assert labels_by_pixels(read(write_rows(tmp_path / "t.csv", ("file", "label"), *rows), **reading)) == expect()


def test_a_name_that_is_in_two_folders_is_never_taken_from_one_of_them(tmp_path):
    put_pictures(tmp_path, *name_pictures(folder="a/"), *name_pictures(folder="b/"))
    table = write_rows(
        tmp_path / "t.csv", ("file", "label"), *((name, breed(k)) for k, name in enumerate(name_pictures()))
    )
    assert refuse(table) == (
        f"{table}, line 2: '000.png' may be any of several files\n  got   a/000.png, b/000.png\n"
        "  hint  --images FOLDER with one of them, or --suffix, such as .jpg"
    )
    assert labels_by_pixels(read(table, images=str(tmp_path / "a"))) == expect()


def test_the_same_names_in_class_folders_are_told_apart_by_their_folders(tmp_path):
    put_pictures(tmp_path, *(f"data/{b}/{k}.png" for b in BREEDS for k in range(4)))
    rows = [(f"/home/me/all/{b}/{k}.png", b) for b in BREEDS for k in range(4)]
    found = labels_by_pixels(read(write_rows(tmp_path / "t.csv", ("file", "label"), *rows)))
    assert found == {k: BREEDS[k // 4] for k in range(12)}


def test_of_missing_class_folders_no_file_is_taken_from_another_class(tmp_path):
    put_pictures(tmp_path, *(f"pug/{k}.png" for k in range(2)), *(f"mutt/{k}.png" for k in range(4)))
    rows = [(f"{b}/{k}.png", b) for b in BREEDS for k in range(4)]
    table = write_rows(tmp_path / "t.csv", ("file", "label"), *rows)
    there = {e.file for e in read(table).entries if e.path.is_file()}
    assert there == {"pug/0.png", "pug/1.png"}


def test_a_few_suffixes_in_other_letters_are_found_too(tmp_path):
    put_pictures(tmp_path, *(f"{k:03}.{'PNG' if k % 4 == 0 else 'png'}" for k in range(12)))
    rows = [(name, breed(k)) for k, name in enumerate(name_pictures())]
    assert labels_by_pixels(read(write_rows(tmp_path / "t.csv", ("file", "label"), *rows))) == expect()


def test_two_columns_that_name_the_same_files_are_no_choice(tmp_path):
    names = put_pictures(tmp_path, *name_pictures(folder="p/"))
    rows = [(f"D:\\old\\{name}", Path(name).stem, breed(k)) for k, name in enumerate(names)]
    assert labels_by_pixels(read(write_rows(tmp_path / "t.csv", ("wo", "nr", "was"), *rows))) == expect()


def test_a_missing_file_is_never_taken_from_another_folder(tmp_path):
    names = put_pictures(tmp_path, *name_pictures(folder="cat/"), *name_pictures(11, folder="dog/"))
    table = write_rows(tmp_path / "t.csv", *((name, name[:3]) for name in names), ("dog/011.png", "dog"))
    assert [skipped.file for skipped in load_dataset(table).skipped] == ["dog/011.png"]


def test_files_that_are_nowhere_are_an_error_whose_hint_helps(tmp_path):
    put_pictures(tmp_path / "far", *name_pictures())
    rows = [(name, breed(k)) for k, name in enumerate(name_pictures())]
    table = write_rows(tmp_path / "near" / "t.csv", ("file", "label"), *rows)
    assert refuse(table) == (
        f"{table}, line 2: none of the 12 files that the column file names is there\n  got   000.png\n"
        "  hint  --images FOLDER says where they lie"
    )
    assert labels_by_pixels(read(table, images=str(tmp_path / "far"))) == expect()
    assert refuse(table, images="nowhere") == (
        "--images nowhere: there is no such folder\n  hint  leave it out to search beside the table"
    )
    put_pictures(tmp_path / "near" / "here", *name_pictures())
    assert labels_by_pixels(read(table)) == expect()


def test_of_two_files_of_one_name_the_suffix_tells_which_is_meant(tmp_path):
    put_pictures(tmp_path, *name_pictures(folder="p/"))
    put_pictures(tmp_path, *name_pictures(folder="p/", suffix=".jpg"))
    table = write_rows(tmp_path / "t.csv", ("id", "kind"), *((f"{k:03}", breed(k)) for k in range(12)))
    assert "'000' may be any of several files\n  got   p/000.jpg, p/000.png" in refuse(table)
    assert {Path(entry.file).suffix for entry in read(table, suffix=".jpg").entries} == {".jpg"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
@pytest.mark.parametrize("header", [("file", "label"), None])
def test_any_delimiter(tmp_path, delimiter, header):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [(name, breed(k)) for k, name in enumerate(names)]
    table = write_rows(tmp_path / "t.csv", *([header] if header else []), *rows, delimiter=delimiter)
    assert labels_by_pixels(read(table)) == expect()


def test_the_delimiter_is_the_one_that_cuts_the_rows_evenly(tmp_path):
    names = put_pictures(tmp_path, *(f"{'a, ' if k % 2 == 0 else ''}{name}" for k, name in enumerate(name_pictures())))
    (tmp_path / "t.csv").write_text("".join(f"{name}|{breed(k)}\n" for k, name in enumerate(names)))
    assert labels_by_pixels(read(tmp_path / "t.csv")) == expect()


def test_excels_own_line_names_the_delimiter_and_lines_are_still_counted_from_the_first(tmp_path):
    names = put_pictures(tmp_path, *name_pictures())
    (tmp_path / "t.csv").write_text(
        "sep=;\nfile;label\n" + "".join(f"{name};{breed(k)}\n" for k, name in enumerate(names))
    )
    assert labels_by_pixels(read(tmp_path / "t.csv")) == expect()
    (tmp_path / "t.csv").write_text("sep=;\nfile;label\n000.png;\n001.png;pug\n")
    assert refuse(tmp_path / "t.csv").startswith(f"{tmp_path / 't.csv'}, line 3: this row has no label")


def test_a_list_of_names_with_blanks_and_labels(tmp_path):
    names = put_pictures(tmp_path, *(f"my {name}" if k % 2 else name for k, name in enumerate(name_pictures())))
    (tmp_path / "list.txt").write_text("".join(f"{name} {k % 3}\n" for k, name in enumerate(names)))
    assert labels_by_pixels(read(tmp_path / "list.txt")) == {k: str(k % 3) for k in range(12)}


@pytest.mark.parametrize(
    "encoding, note",
    [
        ("utf-8", ""), ("utf-8-sig", ""), ("utf-16", ""),
        ("latin-1", "the table is not UTF-8 text: read as Windows-1252"),
        ("cp1252", "the table is not UTF-8 text: read as Windows-1252"),
    ],
)  # fmt: skip
def test_any_usual_encoding(tmp_path, encoding, note):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [(name, "Pékinois" if k % 2 else "Löwchen") for k, name in enumerate(names)]
    listing = read(write_rows(tmp_path / "t.csv", ("file", "label"), *rows, encoding=encoding))
    assert labels_by_pixels(listing) == {k: row[1] for k, row in enumerate(rows)}
    assert list(listing.notes) == ([note] if note else [])


@pytest.mark.parametrize("missing", ["", "nan", "NaN", "None", "null", "N/A", "NA", "?"])
def test_rows_without_a_label_are_an_error_with_their_number_and_can_be_left_out(tmp_path, missing):
    names = put_pictures(tmp_path, *name_pictures(14))
    rows = [(name, missing if k >= 12 else breed(k)) for k, name in enumerate(names)]
    table = write_rows(tmp_path / "t.csv", ("file", "label"), *rows)
    assert refuse(table) == (
        f"{table}, line 14: this row has no label, and 1 more have none\n  got   012.png, {missing}\n"
        "  hint  --drop-unlabelled leaves 2 rows out"
    )
    listing = read(table, drop_unlabelled=True)
    assert labels_by_pixels(listing) == expect() and listing.notes == ("ignored: rows without a label: 2",)


def test_none_is_a_class_where_it_is_no_rarer_than_others(tmp_path):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [(name, ("none", "scratch")[k % 2]) for k, name in enumerate(names)]
    assert {e.label for e in read(write_rows(tmp_path / "t.csv", *rows)).entries} == {"none", "scratch"}


SEVERAL = {
    "blanks": [("cat dog", "dog bird", "cat bird", "cat")[k % 4] for k in range(12)],
    "commas in quotes": [("cat,dog", "dog,bird", "bird,cat", "dog")[k % 4] for k in range(12)],
    "bars": [("cat|dog", "dog|bird", "bird|cat", "dog")[k % 4] for k in range(12)],
}


@pytest.mark.parametrize("labels", SEVERAL.values(), ids=SEVERAL)
def test_several_labels_a_picture_are_refused(tmp_path, labels):
    names = put_pictures(tmp_path, *name_pictures())
    table = write_rows(tmp_path / "t.csv", ("file", "label"), *zip(names, labels, strict=True))
    assert refuse(table) == (
        f"{table}, line 2: this looks like several labels a picture\n  got   {labels[0]}\n  rule  one label a picture"
    )


def test_commas_without_quotes_are_never_cut_off(tmp_path):
    names = put_pictures(tmp_path, *name_pictures())
    (tmp_path / "t.csv").write_text("file,label\n" + "".join(f"{name},cat,dog\n" for name in names))
    assert "line 2: this looks like several labels a picture" in refuse(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text(
        "file,label\n" + "".join(f"{name},cat\n" for name in names[:11]) + "011.png,dog,big\n"
    )
    said = refuse(tmp_path / "t.csv")
    assert "line 13: this row has 3 cells\n  got   011.png, dog, big" in said
    assert said.endswith('hint  a label with the delimiter in it stands in quotes: a.jpg,"cat, black"')
    quoted = (tmp_path / "t.csv").read_text().replace("dog,big", '"dog, big"')
    (tmp_path / "t.csv").write_text(quoted)
    assert {entry.label for entry in read(tmp_path / "t.csv").entries} == {"cat", "dog, big"}


@pytest.mark.parametrize(
    "labels",
    [
        ("boston bull", "french bull", "pit bull"),
        ("crane, bird", "crane, machine", "cat"),
        ("red apple", "green apple", "red pear", "green pear"),
    ],
)
def test_names_of_several_words_are_classes(tmp_path, labels):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [(name, labels[k % len(labels)]) for k, name in enumerate(names)]
    assert {e.label for e in read(write_rows(tmp_path / "t.csv", *rows)).entries} == set(labels)


@pytest.mark.parametrize("one, mark", [("1", ", "), ("1.0", ",")])
def test_a_column_a_class_with_one_1_a_row_is_read(tmp_path, one, mark):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [[name, *(one if k % 3 == i else one.replace("1", "0") for i in range(3))] for k, name in enumerate(names)]
    lines = [mark.join(row) for row in [["filename", *BREEDS], *rows]]
    (tmp_path / "_classes.csv").write_text("\n".join(lines))
    assert labels_by_pixels(read(tmp_path / "_classes.csv")) == expect()
    (tmp_path / "_classes.csv").write_text("\n".join([*lines[:-1], mark.join(["011.png", one, one, "0"])]))
    assert refuse(tmp_path / "_classes.csv") == (
        f"{tmp_path / '_classes.csv'}, line 13: this looks like several labels a picture\n"
        "  got   beagle, boston bull\n  rule  one label a picture\n"
        f"  hint  --label-column beagle learns one of them, --labels {','.join(BREEDS)} all"
    )
    assert {e.label for e in read(tmp_path / "_classes.csv", label_column="beagle").entries} == {
        one,
        one.replace("1", "0"),
    }


def test_one_file_with_two_labels_is_an_error_that_names_both(tmp_path):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [*((name, breed(k)) for k, name in enumerate(names)), ("./000.png", "pug")]
    table = write_rows(tmp_path / "t.csv", ("file", "label"), *rows)
    assert refuse(table) == (
        f"{table}, line 14: ./000.png has two labels\n"
        "  got   beagle in line 2 and pug in line 14\n  rule  one row a file"
    )


def test_one_file_in_two_splits_is_an_error(tmp_path):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [*((name, breed(k), "train") for k, name in enumerate(names)), ("000.png", "beagle", "test")]
    table = write_rows(tmp_path / "t.csv", ("file", "label", "split"), *rows)
    assert "000.png has two splits\n  got   train in line 2 and test in line 14" in refuse(table)


def ham(folder: Path) -> Path:
    """The columns of HAM10000's table."""
    put_pictures(folder, *(f"HAM10000_images_part_{1 + k % 2}/ISIC_{k:07}.jpg" for k in range(12)))
    header = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
    rows = [(f"HAM_{k // 2}", f"ISIC_{k:07}", breed(k), "histo" if k % 2 else "consensus", 80.0 if k > 5 else 45.0,
             "male" if k % 2 else "female", "back" if k < 6 else "face") for k in range(12)]  # fmt: skip
    return write_rows(folder / "HAM10000_metadata.csv", header, *rows)


def test_a_table_of_many_columns_says_what_it_took_and_what_it_left(tmp_path):
    listing = read(ham(tmp_path))
    assert labels_by_pixels(listing) == expect()
    assert listing.notes == (
        "column image_id names the files in HAM10000_images_part_1/, HAM10000_images_part_2/, column dx the classes; "
        "not used: lesion_id, dx_type, age, sex, localization",
    )
    assert {e.group for e in read(ham(tmp_path), group="lesion_id").entries} == {f"HAM_{k}" for k in range(6)}


def test_a_choice_of_label_columns_is_refused_and_the_hint_works(tmp_path):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [(name, breed(k), ("f", "m")[k % 2]) for k, name in enumerate(names)]
    table = write_rows(tmp_path / "t.csv", ("file", "sort of dog", "sex"), *rows)
    assert refuse(table) == (
        f"{table}, line 1: more than one column means the label\n  got   sort of dog, sex\n"
        '  hint  --label-column "sort of dog"'
    )
    assert labels_by_pixels(read(table, label_column="sort of dog")) == expect()
    assert refuse(table, label_column="sexx") == (
        f"{table}, line 1: there is no column 'sexx'\n  hint  --label-column: did you mean 'sex'?"
    )


def test_a_choice_of_file_columns_is_refused_and_the_hint_works(tmp_path):
    names = put_pictures(tmp_path, *name_pictures(24))
    rows = [(name, names[12 + k], breed(k)) for k, name in enumerate(names[:12])]
    table = write_rows(tmp_path / "t.csv", ("front", "back", "label"), *rows)
    assert refuse(table) == (
        f"{table}, line 1: more than one column means the path\n  got   front, back\n  hint  --file-column front"
    )
    assert labels_by_pixels(read(table, file_column="front")) == expect()


def test_of_a_classs_number_and_its_name_the_name_is_taken(tmp_path):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [(k % 3, name, breed(k), ("train", "valid", "test")[k // 4]) for k, name in enumerate(names)]
    listing = read(write_rows(tmp_path / "birds.csv", ("class id", "filepaths", "labels", "data set"), *rows))
    assert labels_by_pixels(listing) == expect()
    assert [e.split for e in sorted(listing.entries)] == [part for part in ("train", "valid", "test") for _ in range(4)]


def test_of_two_columns_called_as_labels_are_the_names_are_taken_before_their_numbers(tmp_path):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [(name, 7 - k % 3, breed(k)) for k, name in enumerate(names)]
    table = write_rows(tmp_path / "t.csv", ("file", "label", "class_name"), *rows)
    assert labels_by_pixels(read(table)) == expect()
    rows[0] = (rows[0][0], 5, rows[0][2])  # now they are no numbers of these names
    assert "more than one column means the label" in refuse(write_rows(table, ("file", "label", "class_name"), *rows))


@pytest.mark.parametrize("yes, no", [("True", "False"), ("1", "0")])
def test_a_column_of_yes_and_no_tells_the_split(tmp_path, yes, no):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [(name, breed(k), yes if k > 8 else no) for k, name in enumerate(names)]
    listing = read(write_rows(tmp_path / "t.csv", ("name", "label", "is_valid"), *rows))
    assert [e.split for e in sorted(listing.entries)] == ["train"] * 9 + ["valid"] * 3
    assert listing.notes == ("column name names the files, column label the classes, is_valid the splits",)


def test_a_fold_is_no_label_and_is_said_and_may_be_the_group(tmp_path):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [(name, breed(k), k % 4) for k, name in enumerate(names)]
    table = write_rows(tmp_path / "t.csv", ("photo", "word", "fold"), *rows)
    assert read(table).notes == ("column photo names the files, column word the classes, fold the folds, for --folds",)
    assert labels_by_pixels(read(table)) == expect()
    assert [e.group for e in sorted(read(table, group="fold").entries)] == [str(k % 4) for k in range(12)]


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        ("train/", "test/", "test/ and train/"),
        ("Training_Set/", "dev/", "Training_Set/ and dev/"),
        ("data/seg_train/", "data/seg_test/", "seg_test/ and seg_train/"),
        ("cat/train/", "dog/holdout/", "holdout/ and train/"),
        ("train/deep/in/", "val/", "train/ and val/"),
        ("train_station/", "test_tube/", ""),
        ("train/", "trains/", ""),
        ("test/", "val/", ""),
        ("train/", "", ""),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "json", "in Python"])
def test_folders_on_the_files_way_are_the_splits_where_no_column_says_them(
    tmp_path, monkeypatch, train, test, told, kind
):
    monkeypatch.chdir(tmp_path)
    names = put_pictures(tmp_path, *name_pictures(8, folder=train), *(f"{test}x{k}.png" for k in range(4)))
    rows = [(name, breed(k)) for k, name in enumerate(names)]
    source: object = dict(rows)
    if kind == "csv":
        source = write_rows(tmp_path / "t.csv", ("path", "label"), *rows)
    elif kind == "json":
        (tmp_path / "t.json").write_text(json.dumps(dict(rows)))
        source = tmp_path / "t.json"
    listing = read(source)
    first, second = ("train", "valid" if {"dev", "val"} & set(test.split("/")) else "test") if told else (None, None)
    assert {entry.file: entry.split for entry in listing.entries} == {
        name: first if k < 8 else second for k, name in enumerate(names)
    }
    assert listing.read_as.endswith(f", splits by the folders {told}" if told else "labels in label")


def test_a_column_of_splits_goes_before_the_folders(tmp_path):
    names = put_pictures(tmp_path, *name_pictures(8, folder="train/"), *name_pictures(4, folder="test/"))
    rows = [(name, breed(k), "train" if k % 2 else "val") for k, name in enumerate(names)]
    listing = read(write_rows(tmp_path / "t.csv", ("path", "label", "split"), *rows))
    assert {entry.split for entry in listing.entries} == {"train", "valid"} and "folders" not in listing.read_as


def test_a_table_without_labels_says_so(tmp_path):
    names = put_pictures(tmp_path, *name_pictures())
    table = write_rows(tmp_path / "test.csv", ("id", "url"), *((name, f"http://x/{name}") for name in names))
    assert refuse(table) == (
        f"{table}, line 1: no column holds labels, whose values repeat\n  got   id, url\n  hint  --label-column NAME"
    )
    assert len({entry.label for entry in read(table, label_column="url").entries}) == 12


JSON_FORMS = {
    "records": lambda names: [{"image": name, "label": breed(k)} for k, name in enumerate(names)],
    "a file and its label": lambda names: {name: breed(k) for k, name in enumerate(names)},
    "a label and its files": lambda names: {b: [n for k, n in enumerate(names) if breed(k) == b] for b in BREEDS},
    "columns": lambda names: {"image": list(names), "label": [breed(k) for k in range(len(names))]},
    "pairs": lambda names: [[name, breed(k)] for k, name in enumerate(names)],
    "a file and its record": lambda names: {name: {"breed": breed(k), "w": k} for k, name in enumerate(names)},
}


@pytest.mark.parametrize("form", JSON_FORMS)
def test_json_in_any_plain_form_is_a_table(tmp_path, form):
    names = put_pictures(tmp_path, *name_pictures())
    (tmp_path / "t.json").write_text(json.dumps(JSON_FORMS[form](names)))
    assert labels_by_pixels(read(tmp_path / "t.json")) == expect()


def test_json_lines_are_a_table_and_errors_name_the_line(tmp_path):
    names = put_pictures(tmp_path, *name_pictures())
    lines = [json.dumps({"file_name": name, "text": f"a {k}", "label": breed(k)}) for k, name in enumerate(names)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    assert labels_by_pixels(read(tmp_path / "metadata.jsonl")) == expect()
    (tmp_path / "metadata.jsonl").write_text("\n".join([*lines[:3], "", '{"file_name": "003.png", "label": null}']))
    assert "metadata.jsonl, line 5: this row has no label" in refuse(tmp_path / "metadata.jsonl")
    (tmp_path / "metadata.jsonl").write_text(lines[0] + "\n{file_name")
    assert "metadata.jsonl, line 2: this line is not JSON" in refuse(tmp_path / "metadata.jsonl")


def test_json_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "coco.json").write_text(json.dumps({"images": [{"id": 1}], "annotations": [{"id": 2}]}))
    assert refuse(tmp_path / "coco.json").startswith(f"{tmp_path / 'coco.json'}: this is no list of files and labels")
    (tmp_path / "coco.json").write_text(json.dumps({"images": [], "info": {"year": 2020}}))
    assert refuse(tmp_path / "coco.json").startswith(f"{tmp_path / 'coco.json'}: this is no list of files and labels")


words = st.text("abcdefgh_ ", min_size=1, max_size=9).map(str.strip).filter(lambda word: len(word) > 1)


@settings(deadline=None, max_examples=60)
@given(
    header=st.none()
    | st.tuples(words, words, words).filter(lambda names: len({re.sub("[ _]", "", n) for n in names}) == 3),
    order=st.permutations(range(3)),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    style=st.sampled_from(["{}/{}.png", "{}\\{}.png", "{}/{}", "C:\\a b\\{}\\{}.PNG", "/mnt/{}/{}.png"]),
    ending=st.sampled_from(["\n", "\r\n"]),
)
def test_a_table_in_any_form_reads_as_the_plain_one(
    tmp_path_factory, header, order, delimiter, encoding, style, ending
):
    """The third column is free text, which no value repeats in."""
    folder = tmp_path_factory.mktemp("table")
    names = put_pictures(folder, *name_pictures(20, folder="p/"))
    labels = ["Löwchen", "pug", "a, b"]
    write_rows(folder / "plain.csv", ("path", "label"), *((name, labels[k % 3]) for k, name in enumerate(names)))
    plain = read(folder / "plain.csv")
    rows = [(style.format("p", Path(name).stem), labels[k % 3], f"remark {k}") for k, name in enumerate(names)]
    rows = [*([header] if header else []), *rows]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=ending).writerows([row[k] for k in order] for row in rows)
    (folder / "t.csv").write_bytes(out.getvalue().encode(encoding))
    found = read(folder / "t.csv")
    assert [e[1:] for e in found.entries] == [e[1:] for e in plain.entries]


def test_the_page_of_a_check_reads_the_data_as_the_check_did(tmp_path, capsys):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [(name, breed(k), ("f", "m")[k % 2]) for k, name in enumerate(names)]
    write_rows(tmp_path / "t.csv", ("file", "sort", "sex"), *rows)
    (tmp_path / "twice.png").write_bytes((tmp_path / names[0]).read_bytes())
    with (tmp_path / "t.csv").open("a") as table:
        table.write("twice.png,pug,f\n")
    print_audit(str(tmp_path / "t.csv"), run=None, strict=False, format="html", label_column="sort")
    assert 'alt="twice.png"' in capsys.readouterr().out


def test_a_training_in_the_studio_is_resumed_on_data_read_as_it_began(tmp_path):
    names = put_pictures(tmp_path, *name_pictures())
    rows = [(name, breed(k), ("f", "m")[k % 2]) for k, name in enumerate(names)]
    table = write_rows(tmp_path / "t.csv", ("file", "sort", "sex"), *rows)
    with pytest.raises(DataError):
        check_data(str(table))
    check_data(str(table), make_reading({"label_column": "sort"}))


def test_numbers_that_have_lost_their_leading_zeros_are_found(tmp_path):
    put_pictures(tmp_path, *name_pictures(folder="p/"))
    table = write_rows(tmp_path / "t.csv", ("id", "kind"), *((k, breed(k)) for k in range(12)))
    assert labels_by_pixels(read(table)) == expect()
    put_pictures(tmp_path / "other", "7.png")
    assert {e.file for e in read(table).entries} >= {"other/7.png"}, "the very name goes before the number"


def test_files_that_are_there_with_another_suffix_are_a_hint(tmp_path):
    put_pictures(tmp_path, *name_pictures(folder="p/", suffix=".jpg"))
    rows = [(name, breed(k)) for k, name in enumerate(name_pictures())]
    table = write_rows(tmp_path / "t.csv", ("file", "label"), *rows)
    assert refuse(table).endswith("\n  got   000.png\n  hint  p/000.jpg is there: write that suffix, or none")
    write_rows(table, ("file", "label"), *((Path(name).stem, label) for name, label in rows))
    assert labels_by_pixels(read(table)) == expect()


def test_empty_rows_and_columns_around_a_table_are_nothing(tmp_path):
    names = put_pictures(tmp_path, *name_pictures())
    lines = ["", ";;;", "file;label;;", *(f"{name};{breed(k)};;" for k, name in enumerate(names)), ";;;"]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert labels_by_pixels(read(tmp_path / "t.csv")) == expect()
    (tmp_path / "t.csv").write_text("\n".join([*lines[:3], "000.png;;;"]))
    assert refuse(tmp_path / "t.csv").startswith(f"{tmp_path / 't.csv'}, line 4: this row has no label")


def test_measurements_are_no_classes(tmp_path):
    names = put_pictures(tmp_path, *name_pictures())
    table = write_rows(tmp_path / "t.csv", ("file", "target"), *((name, k / 7) for k, name in enumerate(names)))
    assert refuse(table) == (
        f"{table}, line 1: the column target holds measurements, not classes\n  got   0.0\n"
        "  rule  names or whole numbers"
    )


@pytest.mark.parametrize("head", ["# made by me\n", "#file,label\n", "# two, or, more\n# of them\nfile,label\n"])
def test_comments_before_the_first_row_are_left_out_and_a_header_may_be_one(tmp_path, head):
    names = put_pictures(tmp_path, *name_pictures())
    (tmp_path / "t.csv").write_text(head + "".join(f"{name},{breed(k)}\n" for k, name in enumerate(names)))
    assert labels_by_pixels(read(tmp_path / "t.csv")) == expect()
    lines = head.count("\n") + 2
    (tmp_path / "t.csv").write_text(head + "000.png,pug\n001.png,\n002.png,pug\n")
    assert refuse(tmp_path / "t.csv").startswith(f"{tmp_path / 't.csv'}, line {lines}: this row has no label")


def test_sentences_before_a_list_with_blanks_name_no_columns(tmp_path):
    """As in the list of Oxford's pets, whose second line would make a class of the species."""
    names = put_pictures(tmp_path, *name_pictures(folder="images/", suffix=".jpg"))
    rows = [f"{Path(name).stem} {k % 3 + 1} {k % 2 + 1} {k % 3 + 1}" for k, name in enumerate(names)]
    (tmp_path / "list.txt").write_text("\n".join(["#Image CLASS-ID SPECIES BREED ID", "#ID: 1:37 Class ids", *rows]))
    assert refuse(tmp_path / "list.txt") == (
        f"{tmp_path / 'list.txt'}, line 3: more than one column means the label\n  got   2, 3, 4\n"
        "  hint  --label-column 2"
    )
    assert labels_by_pixels(read(tmp_path / "list.txt", label_column="2")) == {k: str(k % 3 + 1) for k in range(12)}


def test_a_name_that_begins_with_a_hash_is_no_comment(tmp_path):
    names = put_pictures(tmp_path, *(f"#{name}" if k < 3 else name for k, name in enumerate(name_pictures())))
    (tmp_path / "t.csv").write_text("".join(f"{name},{breed(k)}\n" for k, name in enumerate(names)))
    assert labels_by_pixels(read(tmp_path / "t.csv")) == expect()


OTHERS = {
    "AutoML's, without a header, split first": (
        "all.csv",
        [(("TRAIN", "VALIDATION", "TEST")[k // 4], f"gs://bucket/p/{k:03}.png", breed(k)) for k in range(12)],
    ),
    "MXNet's .lst": ("train.lst", [f"{k}\t{breed(k)}\tp/{k:03}.png".split("\t") for k in range(12)]),
    "Label Studio's": (
        "project.csv",
        [("annotator", "choice", "id", "image"), *((1, breed(k), 90 + k, f"/data/p/{k:03}.png") for k in range(12))],
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_tables_as_other_tools_write_them(tmp_path, name):
    put_pictures(tmp_path, *name_pictures(folder="p/"))
    file, rows = OTHERS[name]
    table = write_rows(tmp_path / file, *rows, delimiter="\t" if file.endswith("lst") else ",")
    assert labels_by_pixels(read(table)) == expect()


class ManyFiles:
    """Files in one folder, as an archive may hold them."""

    def find(self, name):
        return None

    def list(self):
        return (("mutt", f"{k}.png") for k in range(1000))

    def enter(self, name):
        return self


def test_folders_that_tell_cells_apart_are_not_dropped_where_a_sample_would_do_without_them():
    cells = [f"{b}/{k}.png" for b in ("cat", "dog") for k in range(1000)]
    assert FileFinder(ManyFiles()).match_column(cells).files == 0
    assert FileFinder(ManyFiles()).match_column([f"C:\\old\\{k}.png" for k in range(1000)]).dropped == 2
