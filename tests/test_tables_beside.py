"""Folders of pictures with their labels in a table beside them, as contests and tools give them out, each made here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

from striate.data.listing import Listing
from striate.data.reading import make_reading
from striate.data.sources.load import list_source, load_dataset
from striate.data.sources.table_beside import list_by_tables
from striate.errors import DataError

LABELS = ("beagle", "pug", "collie")


def put(folder: Path, names: list[str]) -> list[str]:
    """A gray PNG at each place below the folder, all different."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (5, 4), put.level % 256).save(path, "PNG")
        put.level += 1
    return names


put.level = 0


def write(path: Path, header: str, *rows: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")


def label(k: int) -> str:
    return LABELS[k % 3]


def numbers(start: int, stop: int, before: str = "", after: str = "") -> list[str]:
    return [f"{before}{k:03}{after}" for k in range(start, stop)]


def read(folder: Path, **reading: object) -> Listing:
    listing = list_source(folder, make_reading(reading))
    assert listing is not None
    return listing


def found(listing: Listing) -> dict[str, tuple[str, str | None]]:
    """Each file, checked to be there, with its label and split."""
    assert all(entry.path.read_bytes()[:4] == b"\x89PNG" for entry in listing.entries)
    return {entry.file: (entry.label, entry.split) for entry in listing.entries}


def expect(start: int, stop: int, before: str, after: str, split: str | None) -> dict[str, tuple[str, str | None]]:
    return {name: (label(start + k), split) for k, name in enumerate(numbers(start, stop, before, after))}


def refuse(folder: Path, **reading: object) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, **reading)
    return str(caught.value)


def dog_breeds(folder: Path) -> dict:
    put(folder, numbers(0, 20, "train/", ".jpg") + numbers(20, 30, "test/", ".jpg"))
    write(folder / "labels.csv", "id,breed", *(f"{k:03},{label(k)}" for k in range(20)))
    write(folder / "sample_submission.csv", "id,beagle,collie,pug", *(f"{k:03},0.3,0.3,0.4" for k in range(20, 30)))
    return expect(0, 20, "train/", ".jpg", None)


def leaf_diseases(folder: Path) -> dict:
    put(folder, numbers(0, 20, "train_images/", ".png") + numbers(20, 30, "test_images/", ".png"))
    write(folder / "train.csv", "image_id,label", *(f"{k:03}.png,{label(k)}" for k in range(20)))
    write(folder / "test.csv", "image_id", *numbers(20, 30, "", ".png"))
    write(folder / "sample_submission.csv", "image_id,label", "020.png,4")
    (folder / "README.txt").write_text("These are leaves.\nSee the licence, please, before you use them.\n")
    return expect(0, 20, "train_images/", ".png", None)


def one_hot_in_each_split(folder: Path) -> dict:
    whole = {}
    for split, own, (start, stop) in (
        ("train", "train", (0, 12)),
        ("valid", "valid", (12, 18)),
        ("test", "test", (18, 24)),
    ):
        put(folder, numbers(start, stop, f"{split}/", "_jpg.rf.0a1b.jpg"))
        rows = (
            f"{k:03}_jpg.rf.0a1b.jpg, " + ", ".join(str(int(label(k) == one)) for one in LABELS)
            for k in range(start, stop)
        )
        write(folder / split / "_classes.csv", "filename, " + ", ".join(LABELS), *rows)
        whole |= expect(start, stop, f"{split}/", "_jpg.rf.0a1b.jpg", own)
    (folder / "README.dataset.txt").write_text("# dogs > 2024\nhttps://example.org/dogs\n\nProvided by a user\n")
    return whole


def metadata_in_each_split(folder: Path) -> dict:
    put(folder, numbers(0, 12, "train/", ".png") + numbers(12, 18, "validation/", ".png"))
    write(
        folder / "train" / "metadata.csv",
        "file_name,text,label",
        *(f"{k:03}.png,a dog {k},{label(k)}" for k in range(12)),
    )
    lines = [json.dumps({"file_name": f"{k:03}.png", "label": label(k)}) for k in range(12, 18)]
    write(folder / "validation" / "metadata.jsonl", *lines)
    return expect(0, 12, "train/", ".png", "train") | expect(12, 18, "validation/", ".png", "valid")


def flat_with_metadata(folder: Path) -> dict:
    put(folder, numbers(0, 20, "", ".png"))
    write(folder / "metadata.csv", "file_name,label", *(f"{k:03}.png,{label(k)}" for k in range(20)))
    return expect(0, 20, "", ".png", None)


def pictures_and_masks(folder: Path) -> dict:
    put(folder, numbers(0, 20, "images/", ".png") + numbers(0, 20, "masks/", "_mask.png"))
    write(folder / "labels.csv", "file,label", *(f"{k:03}.png,{label(k)}" for k in range(20)))
    return expect(0, 20, "images/", ".png", None)


def parts(folder: Path) -> dict:
    put(folder, numbers(0, 10, "images_part_1/", ".jpg") + numbers(10, 20, "images_part_2/", ".jpg"))
    write(folder / "metadata.csv", "image_id,dx", *(f"{k:03},{label(k)}" for k in range(20)))
    return expect(0, 10, "images_part_1/", ".jpg", None) | expect(10, 20, "images_part_2/", ".jpg", None)


def numbered_folders(folder: Path) -> dict:
    put(folder, numbers(0, 10, "images_001/images/", ".png") + numbers(10, 20, "images_002/images/", ".png"))
    write(folder / "Data_Entry.csv", "Image Index,Finding,Age", *(f"{k:03}.png,{label(k)},{k}" for k in range(20)))
    return expect(0, 10, "images_001/images/", ".png", None) | expect(10, 20, "images_002/images/", ".png", None)


def one_table_of_two_splits(folder: Path) -> dict:
    put(folder, numbers(0, 12, "train/", ".jpg") + numbers(12, 20, "test/", ".jpg"))
    write(
        folder / "labels.csv",
        "file,label",
        *(f"{'train' if k < 12 else 'test'}/{k:03}.jpg,{label(k)}" for k in range(20)),
    )
    return expect(0, 12, "train/", ".jpg", "train") | expect(12, 20, "test/", ".jpg", "test")


def a_table_of_each_split(folder: Path) -> dict:
    put(folder, numbers(0, 20, "pictures/", ".png"))
    write(folder / "train.csv", "name,age,species", *(f"{k:03}.png,{k % 4},{label(k)}" for k in range(12)))
    write(folder / "val.csv", "name,age,species", *(f"{k:03}.png,{k % 4},{label(k)}" for k in range(12, 20)))
    return expect(0, 12, "pictures/", ".png", "train") | expect(12, 20, "pictures/", ".png", "valid")


def the_same_names_in_train_and_test(folder: Path) -> dict:
    put(folder, numbers(0, 12, "train/", ".png") + numbers(0, 12, "test/", ".png"))
    write(folder / "train.csv", "id,label", *(f"{k:03},{label(k)}" for k in range(12)))
    return expect(0, 12, "train/", ".png", None)


def a_few_of_the_same_names_in_test(folder: Path) -> dict:
    put(folder, numbers(0, 20, "train/", ".png") + numbers(0, 5, "test/", ".png"))
    write(folder / "labels.csv", "id,label", *(f"{k:03},{label(k)}" for k in range(20)))
    return expect(0, 20, "train/", ".png", None)


def dozens_of_columns(folder: Path) -> dict:
    put(folder, numbers(0, 20, "train/", ".png") + numbers(20, 26, "test/", ".png"))
    write(folder / "train.csv", "id,sex,age,dx", *(f"{k:03},{'mf'[k % 2]},{k % 5},{label(k)}" for k in range(20)))
    write(folder / "test.csv", "id,sex,age", *(f"{k:03},{'mf'[k % 2]},{k % 5}" for k in range(20, 26)))
    return expect(0, 20, "train/", ".png", None)


LAYOUTS = [
    dog_breeds, leaf_diseases, one_hot_in_each_split, metadata_in_each_split, flat_with_metadata, pictures_and_masks,
    parts, numbered_folders, one_table_of_two_splits, a_table_of_each_split, the_same_names_in_train_and_test,
    a_few_of_the_same_names_in_test, dozens_of_columns,
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_folder_is_read_by_its_table(tmp_path, layout):
    wanted = layout(tmp_path)
    assert found(read(tmp_path)) == wanted
    data = load_dataset(tmp_path)
    assert set(data.classes) == set(LABELS) and data.notes[0].startswith("labels from ")


@pytest.mark.parametrize(
    "layout, notes",
    [
        (dog_breeds, [
            "labels from labels.csv",
            "labels.csv: column id names the files in train/, column breed the classes",
            "sample_submission.csv is to hold predictions, by its name: not read",
            "ignored: images without labels in test/: 10",
        ]),
        (leaf_diseases, [
            "labels from train.csv",
            "train.csv: column image_id names the files in train_images/, column label the classes",
            "sample_submission.csv is to hold predictions, by its name: not read",
            "test.csv names images and has no labels: not read",
            "ignored: images without labels in test_images/: 10",
        ]),
        (dozens_of_columns, [
            "labels from train.csv",
            "train.csv: column id names the files in train/, column dx the classes; not used: sex, age",
            "test.csv has no column of labels: not read",
            "ignored: images without labels in test/: 6",
        ]),
        (one_table_of_two_splits, ["labels from labels.csv", "split by the folders test, train"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_what_was_read_and_what_was_not_is_said(tmp_path, layout, notes):
    layout(tmp_path)
    assert list(read(tmp_path).notes) == notes


def test_class_folders_with_a_table_beside_them_are_read_as_class_folders(tmp_path):
    names = put(tmp_path, numbers(0, 6, "cat/", ".png") + numbers(0, 6, "dog/", ".png"))
    plain = found(read(tmp_path))
    write(tmp_path / "list.csv", "file,label,split", *(f"{name},{name[:3]},test" for name in names))
    assert found(read(tmp_path)) == plain


def test_class_folders_of_a_split_and_a_flat_one_beside_several_tables_are_read_as_such(tmp_path):
    """As the German traffic signs come."""
    names = put(tmp_path, [f"Train/{c}/{k}.png" for c in range(3) for k in range(4)])
    put(tmp_path, numbers(0, 4, "Test/", ".png") + [f"Meta/{c}.png" for c in range(3)])
    write(tmp_path / "Train.csv", "Width,ClassId,Path", *(f"{30 + k % 2},{n[6]},{n}" for k, n in enumerate(names)))
    write(tmp_path / "Test.csv", "Width,ClassId,Path", *(f"30,{k % 3},Test/{k:03}.png" for k in range(4)))
    write(tmp_path / "Meta.csv", "Path,ClassId", *(f"Meta/{c}.png,{c}" for c in range(3)))
    wanted = {name: (name[6], "train") for name in names} | {f"Test/{k:03}.png": (f"{k % 3}", "test") for k in range(4)}
    assert found(read(tmp_path, drop_unplaced=True)) == wanted
    assert refuse(tmp_path).endswith("hint  --drop-unplaced leaves them out")


def test_of_several_tables_none_is_chosen(tmp_path):
    flat_with_metadata(tmp_path)
    (tmp_path / "other.csv").write_text((tmp_path / "metadata.csv").read_text())
    assert refuse(tmp_path) == (
        f"{tmp_path}: more than one table names the images\n  got   metadata.csv, other.csv\n"
        f"  hint  name the one to read: {tmp_path}/metadata.csv"
    )
    assert len(read(tmp_path / "metadata.csv").entries) == 20


def test_what_is_wrong_with_the_only_table_is_said(tmp_path):
    put(tmp_path, numbers(0, 20, "train/", ".png"))
    write(tmp_path / "t.csv", "id,sex,sort", *(f"{k:03},{'mf'[k % 2]},{label(k)}" for k in range(20)))
    assert refuse(tmp_path) == (
        f"{tmp_path}/t.csv, line 1: more than one column means the label\n  got   sex, sort\n  hint  --label-column sex"
    )
    assert found(read(tmp_path, label_column="sort")) == expect(0, 20, "train/", ".png", None)
    write(tmp_path / "t.csv", "id,sort", *(f"{k:03},{label(k) if k else ''}" for k in range(20)))
    assert refuse(tmp_path).startswith(f"{tmp_path}/t.csv, line 2: this row has no label")
    assert len(read(tmp_path, drop_unlabelled=True).entries) == 19


def test_more_than_a_few_images_that_the_table_leaves_out_are_an_error_whose_hint_works(tmp_path):
    put(tmp_path, numbers(0, 205, "train/", ".png"))
    write(tmp_path / "labels.csv", "id,label", *(f"{k:03},{label(k)}" for k in range(200)))
    assert refuse(tmp_path) == (
        f"{tmp_path}: 5 images of 205 are in no table\n"
        "  got   train/200.png, train/201.png, train/202.png, … (5 in all)\n  rule  at most 1%\n"
        f"  hint  {tmp_path}/labels.csv instead of the folder reads what it names alone"
    )
    assert len(read(tmp_path / "labels.csv").entries) == 200
    for k in range(201, 205):
        (tmp_path / "train" / f"{k}.png").unlink()
    assert "ignored: images that no table names: 1" in read(tmp_path).notes


def test_a_file_that_two_tables_name_is_an_error(tmp_path):
    a_table_of_each_split(tmp_path)
    with (tmp_path / "val.csv").open("a") as table:
        table.write("000.png,1,beagle\n")
    assert refuse(tmp_path) == (
        f"{tmp_path}: two tables name pictures/000.png\n  rule  one split a file\n  hint  take it out of one of them"
    )


def test_parquet_files_of_splits_are_taken_together_and_a_missing_one_is_noticed(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    put(tmp_path, numbers(0, 30, "p/", ".png"))
    pictures = [(tmp_path / name).read_bytes() for name in numbers(0, 30, "p/", ".png")]
    places = {"train-00000-of-00002": (0, 10), "train-00001-of-00002": (10, 20), "test-00000-of-00001": (20, 30)}
    for name, (start, stop) in places.items():
        image = [{"bytes": pictures[k], "path": None} for k in range(start, stop)]
        (tmp_path / "hub" / "data").mkdir(parents=True, exist_ok=True)
        held = pyarrow.table({"image": image, "label": [label(k) for k in range(start, stop)]})
        parquet.write_table(held, tmp_path / "hub" / "data" / f"{name}.parquet")
    (tmp_path / "hub" / "README.md").write_text("# A data set")
    for folder in (tmp_path / "hub", tmp_path / "hub" / "data"):
        entries = read(folder).entries
        assert [entry.path.read_bytes() for entry in entries] == pictures
        assert [(entry.label, entry.split) for entry in entries] == [
            (label(k), "train" if k < 20 else "test") for k in range(30)
        ]
    assert read(tmp_path / "hub").entries[0].file == "data/train-00000-of-00002.parquet[0]"
    (tmp_path / "hub" / "data" / "train-00001-of-00002.parquet").unlink()
    assert refuse(tmp_path / "hub") == (
        f"{tmp_path / 'hub'}: the files of train are not all there\n  got   1 file of 2, without number 1\n"
        "  hint  fetch the rest of them"
    )


ARCHIVES = {"zip": ".zip", "tar": ".tar", "gztar": ".tar.gz"}


@pytest.fixture
def cache_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("striate.data.store.cache.platformdirs.user_cache_dir", lambda *a, **k: str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


def pack_folder(folder: Path, kind: str) -> Path:
    return Path(shutil.make_archive(str(folder.parent / f"packed-{folder.name}"), kind, folder))


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("above", ["", "data/", "pets/data/"])
def test_parquet_files_in_an_archive_are_read_as_in_a_folder(tmp_path, cache_folder, kind, above):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    put(tmp_path, numbers(0, 30, "p/", ".png"))
    pictures = [(tmp_path / name).read_bytes() for name in numbers(0, 30, "p/", ".png")]
    for name, (start, stop) in {"train-0": (0, 20), "validation-0": (20, 25), "test-0": (25, 30)}.items():
        image = [{"bytes": pictures[k], "path": None} for k in range(start, stop)]
        (tmp_path / "hub" / above).mkdir(parents=True, exist_ok=True)
        held = pyarrow.table({"image": image, "label": [label(k) for k in range(start, stop)]})
        parquet.write_table(held, tmp_path / "hub" / above / f"{name}.parquet")
    (tmp_path / "hub" / "README.md").write_text("# A data set")
    packed = pack_folder(tmp_path / "hub", kind)
    listing = read(packed)
    assert [entry.path.read_bytes() for entry in listing.entries] == pictures
    wanted = [(label(k), "train" if k < 20 else "valid" if k < 25 else "test") for k in range(30)]
    assert [(entry.label, entry.split) for entry in listing.entries] == wanted
    assert listing.entries[0].file == f"{above}train-0.parquet[0]" and listing.read_as == "Parquet files, 3 of them"
    unpacked = {path.name for path in cache_folder.glob("*.parquet")}
    level = load_dataset(packed, level="mapped")
    assert level.fingerprint == load_dataset(packed).fingerprint and level.level == "mapped"
    assert len(unpacked) == 3 and {path.name for path in cache_folder.glob("*.parquet")} == unpacked
    assert len(list(cache_folder.glob("*.npy"))) == 1, "and what was decoded of them is found again"
    assert load_dataset(packed, level="mapped").fingerprint == level.fingerprint
    assert len(list(cache_folder.glob("*.npy"))) == 1


def test_a_parquet_file_in_an_archive_that_cannot_be_read_is_named_by_its_place_there(tmp_path, cache_folder):
    pytest.importorskip("pyarrow")
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "train.parquet").write_bytes(b"PAR1 cut short")
    packed = pack_folder(tmp_path / "hub", "zip")
    assert refuse(packed).startswith(f"{packed}/train.parquet: the table cannot be read")


@pytest.mark.parametrize("kind", ["", *ARCHIVES])
def test_a_parquet_table_of_names_beside_the_images_is_read_as_the_csv(tmp_path, cache_folder, kind):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    put(tmp_path / "set", numbers(0, 12, "train/", ".png"))
    rows = {"id": numbers(0, 12), "breed": [label(k) for k in range(12)]}
    parquet.write_table(pyarrow.table(rows), tmp_path / "set" / "labels.parquet")
    listing = read(pack_folder(tmp_path / "set", kind) if kind else tmp_path / "set")
    assert found(listing) == expect(0, 12, "train/", ".png", None)
    assert listing.read_as == "a table beside the images, labels.parquet"


@pytest.mark.parametrize("images", ["train", "{}/train"])
def test_a_folder_of_images_may_be_named_where_the_same_names_are_in_others(tmp_path, images):
    put(tmp_path, numbers(0, 12, "train/", ".png") + numbers(0, 12, "extra/", ".png"))
    write(tmp_path / "labels.csv", "id,label", *(f"{k:03},{label(k)}" for k in range(12)))
    listing = read(tmp_path, images=images.format(tmp_path))
    assert found(listing) == expect(0, 12, "train/", ".png", None)
    assert listing.notes[-1] == "ignored: images without labels in extra/: 12"


def test_a_picture_beside_its_table_may_lie_in_the_folder_above(tmp_path):
    put(tmp_path, numbers(0, 12, "pictures/", ".png"))
    write(tmp_path / "train" / "list.csv", "path,label", *(f"../pictures/{k:03}.png,{label(k)}" for k in range(12)))
    assert found(read(tmp_path)) == expect(0, 12, "pictures/", ".png", "train")


class HeldTree(NamedTuple):
    """Files by their names, as an archive gives them."""

    files: dict[str, Path]

    def find(self, name: str) -> Bytes | None:
        return Bytes(self.files[name].read_bytes()) if name in self.files else None

    def list(self):
        return (tuple(name.split("/")) for name in self.files)

    def enter(self, name: str) -> HeldTree:
        inside = {file.removeprefix(f"{name}/"): at for file, at in self.files.items() if file.startswith(f"{name}/")}
        return HeldTree(inside)


class Bytes(NamedTuple):
    data: bytes

    def read_bytes(self) -> bytes:
        return self.data


@pytest.mark.parametrize("wrapper", ["", "dogs/"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_a_tree_that_is_no_folder_of_the_disk_reads_as_the_folder(tmp_path, layout, wrapper):
    wanted = layout(tmp_path)
    files = {wrapper + path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    listing = list_by_tables(HeldTree(files), "dogs.zip", make_reading({}))
    assert listing is not None and listing.name == "dogs.zip"
    assert found(listing) == {wrapper + file: told for file, told in wanted.items()}
    at = {file: path.read_bytes() for file, path in files.items()}
    assert all(entry.path.read_bytes() == at[entry.file] for entry in listing.entries)


# A flat split beside one of class folders


def put_signs(folder: Path, train: str = "Train", test: str = "Test", table: str = "Test.csv", before: str = "Test/"):
    """Class folders 0, 1 and 2 to train on, twelve pictures in one folder to test on, and a table of their classes."""
    put(folder, [f"{train}/{k % 3}/{k:03}.png" for k in range(30)])
    put(folder, numbers(0, 12, f"{test}/", ".png"))
    rows = [f"53,{k % 3},{before}{k:03}.png" for k in range(12)]
    write(folder / table, "Width,ClassId,Path", *rows)


def expect_signs(train: str = "Train", test: str = "Test", split: str = "test") -> dict[str, tuple[str, str | None]]:
    wanted = {f"{train}/{k % 3}/{k:03}.png": (f"{k % 3}", "train") for k in range(30)}
    return wanted | {f"{test}/{k:03}.png": (f"{k % 3}", split) for k in range(12)}


FLAT_SPLITS = {
    "as GTSRB has it": ({}, {}),
    "names without the folder": ({"before": ""}, {}),
    "the table within the split": ({"table": "Test/labels.csv", "before": ""}, {}),
    "to validate on": (
        {"train": "train_set", "test": "dev_set", "table": "dev.csv", "before": "dev_set/"},
        {"train": "train_set", "test": "dev_set", "split": "valid"},
    ),
    "a wrapper": (
        {"train": "GTSRB/Train", "test": "GTSRB/Test", "table": "GTSRB/Test.csv"},
        {"train": "GTSRB/Train", "test": "GTSRB/Test"},
    ),
}


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("kind", FLAT_SPLITS)
def test_a_flat_split_beside_class_folders_has_its_classes_from_its_table(tmp_path, kind, packed):
    given, wanted = FLAT_SPLITS[kind]
    put_signs(tmp_path / "signs", **given)
    source = tmp_path / "signs"
    if packed:
        source = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "signs"))
    listing = read(source)
    assert found(listing) == expect_signs(**wanted)
    split = wanted.get("split", "test")
    assert listing.read_as.endswith(f", the {split} images by the table {given.get('table', 'Test.csv')}")
    assert load_dataset(source).classes == ("0", "1", "2")


def test_a_table_of_the_class_folders_beside_that_of_the_flat_split_changes_nothing(tmp_path):
    put_signs(tmp_path)
    write(tmp_path / "Train.csv", "ClassId,Path", *(f"{k % 3},Train/{k % 3}/{k:03}.png" for k in range(30)))
    assert found(read(tmp_path)) == expect_signs()


def test_the_files_own_names_go_before_the_table_where_they_are_to_say_the_classes(tmp_path):
    put(tmp_path, [f"Train/{'pq'[k // 4]}/{'cd'[k % 2]}.{k:02}.png" for k in range(8)])
    put(tmp_path, [f"Test/{'cd'[k % 2]}.{k:02}.png" for k in range(4)])
    write(tmp_path / "Test.csv", "Path,ClassId", *(f"Test/{'cd'[k % 2]}.{k:02}.png,{k // 2}" for k in range(4)))
    assert {entry.label for entry in read(tmp_path, labels_from="name").entries} == {"c", "d"}


def test_a_flat_split_that_its_table_does_not_tell_is_refused(tmp_path):
    put_signs(tmp_path)
    table = (tmp_path / "Test.csv").read_text()
    put(tmp_path, ["Test/more.png"])
    with pytest.raises(DataError, match="1 image of 13 are in no table"):
        read(tmp_path)
    (tmp_path / "Test/more.png").unlink()
    write(tmp_path / "again.csv", table.strip())
    with pytest.raises(DataError, match="more than one table names the images in Test/"):
        read(tmp_path)
    (tmp_path / "again.csv").unlink()
    (tmp_path / "Test.csv").write_text(table.replace(",2,", ",7,"))
    with pytest.raises(DataError, match="there is a class '7' that train lacks"):
        load_dataset(tmp_path)
    (tmp_path / "Test.csv").unlink()
    with pytest.raises(DataError, match="12 of 42 images belong to no class or split"):
        read(tmp_path)
