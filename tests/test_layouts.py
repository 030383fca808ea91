"""Folders and archives as people have them: which folders are splits and which are classes, or why that is refused."""

from __future__ import annotations

import tarfile
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import striate
from striate.data.listing import Listing, list_classes
from striate.data.reading import make_reading
from striate.data.sources import archive, split_names
from striate.data.sources.load import list_source, load_dataset, load_images
from striate.errors import DataError
from striate.fitting.watch import Watch

from .archives import pack, png


def make_files(folders: Mapping[str, int] | list[str], each: int = 3) -> dict[str, bytes]:
    """So many images in each folder, all of them different; a name with a suffix is a file itself."""
    wanted = dict.fromkeys(folders, each) if isinstance(folders, list) else folders
    files: dict[str, bytes] = {}
    for folder, count in wanted.items():
        if "." in folder.rsplit("/", 1)[-1]:
            files[folder] = png(len(files)) if folder.endswith((".png", ".jpg")) else b"text"
        else:
            files |= {f"{folder}/{k}.png": png(len(files) + k) for k in range(count)}
    return files


def put_folder(place: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return place


def put_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            opened.writestr(name, content)
    return path


PLACES = {
    "folder": lambda place, files: put_folder(place / "pets", files),
    "zip": lambda place, files: put_zip(place / "pets.zip", files),
    "tar": lambda place, files: pack(place / "pets.tar", files),
    "tar.gz": lambda place, files: pack(place / "pets.tar.gz", files, "w:gz"),
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("striate.data.store.cache.platformdirs.user_cache_dir", lambda *a, **k: str(tmp_path / "cache"))


def read(source: Path, **reading: object) -> Listing:
    listing = list_source(source, make_reading(reading))
    assert listing is not None
    return listing


def count(listing: Listing) -> dict[str, dict[str, int]]:
    """Images by split ("all" where there is none) and class."""
    found: dict[str, dict[str, int]] = {}
    for (split, label), n in sorted(Counter((e.split or "all", e.label) for e in listing.entries).items()):
        found.setdefault(split, {})[label] = n
    return found


class Layout(NamedTuple):
    """folders  and how many images in each; wanted  counts by split and class, or the error's first words; options"""

    folders: dict[str, int] | list[str]
    wanted: dict[str, dict[str, int]] | str
    read_as: str = ""
    options: dict[str, object] = {}


def pair(n: int = 3) -> dict[str, int]:
    return {"cat": n, "dog": n}


TWO = {"train": pair(), "test": pair()}
ALL = {"all": pair()}


def split_pair(*splits: str, inside: str = "") -> list[str]:
    return [f"{split}/{inside}{label}" for split in splits for label in ("cat", "dog")]


LAYOUTS = {
    # 1: names of splits
    "class folders": Layout(["cat", "dog"], ALL, "class folders"),
    "train and val": Layout(
        split_pair("train", "val"), {"train": pair(), "valid": pair()}, "class folders in train/ and val/"
    ),
    "training_set, test_set": Layout(split_pair("training_set", "test_set"), TWO),
    "seg_train nested in itself, and seg_pred": Layout(
        [*split_pair("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred"],
        "3 of 15 images belong to no class or split",
    ),
    "the same, seg_pred left out": Layout(
        [*split_pair("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred"],
        TWO,
        "class folders in seg_train/ and seg_test/",
        {"drop_unplaced": True},
    ),
    "train_images, val_images": Layout(split_pair("train_images", "val_images"), {"train": pair(), "valid": pair()}),
    "TRAIN and Dev": Layout(split_pair("TRAIN", "Dev"), {"train": pair(), "valid": pair()}),
    "train and eval": Layout(split_pair("train", "eval"), TWO),
    "train and evaluation": Layout(split_pair("train", "evaluation"), TWO),
    "train and hold-out": Layout(split_pair("train", "hold-out"), TWO),
    "trainData and testData": Layout(split_pair("trainData", "testData"), TWO),
    "pets.train and pets.test": Layout(split_pair("pets-train", "pets-test"), TWO),
    "folds": Layout(
        split_pair("fold1", "fold2", "fold3"),
        {"all": pair(9)},
        "class folders in 3 folds, fold1, fold2, fold3, read as one set",
    ),
    "folds with splits of their own": Layout(
        split_pair("fold_0/train", "fold_0/val", "fold_1/train", "fold_1/val"),
        "each fold has splits of its own: these are several readings of one data set",
    ),
    "one fold of those": Layout(split_pair("train", "val"), {"train": pair(), "valid": pair()}),
    "parts": Layout(
        split_pair("part_1", "part_2"), {"all": pair(6)}, "class folders in 2 parts, part_1, part_2, read as one set"
    ),
    "flat parts": Layout(["part_1", "part_2"], "these folders are parts, and nothing says the images' classes"),
    "flat splits": Layout(["train", "test"], "these folders are splits, and nothing says the images' classes"),
    "flat splits in another language of separators": Layout(["Train_Set", "TEST-set"], "these folders are splits"),
    # 2: names that say the class
    "names, offered": Layout(
        {f"train/{c}.{k}.jpg": 1 for c in ("cat", "dog") for k in range(4)}, "these folders are splits"
    ),
    "names, taken": Layout(
        {f"{s}/{c}.{k}.jpg": 1 for s in ("train", "test") for c in ("cat", "dog") for k in range(3)},
        TWO,
        "classes from the files' names in train/ and test/",
        {"labels_from": "name"},
    ),
    "names, no folder": Layout(
        {f"{c}_{k:03}.png": 1 for c in ("cat", "dog") for k in range(3)},
        ALL,
        "classes from the files' names",
        {"labels_from": "name"},
    ),
    "names that say none": Layout(
        {f"IMG_{k}.png": 1 for k in range(9)}, "the files' names do not say their classes", "", {"labels_from": "name"}
    ),
    # 3: wrappers, and classes of classes
    "a wrapper": Layout(
        split_pair("PetImages/train", "PetImages/test"), TWO, "class folders in PetImages/train/ and PetImages/test/"
    ),
    "a wrapper beside litter": Layout(
        [*split_pair("PetImages"), "__MACOSX/PetImages/cat", "docs/read.txt", "README.md"], ALL
    ),
    "two wrappers": Layout(split_pair("data", inside="raw/"), ALL),
    "a wrapper in each split": Layout(split_pair("train", "test", inside="images/"), TWO),
    "classes of classes": Layout(
        ["animals/cat", "animals/dog", "plants/rose"],
        {"all": {"cat": 3, "dog": 3, "rose": 3}},
        "class folders 2 levels down",
    ),
    "classes of classes, the upper ones": Layout(
        ["animals/cat", "animals/dog", "plants/rose"],
        {"all": {"animals": 6, "plants": 3}},
        "class folders",
        {"depth": 1},
    ),
    "sessions within classes": Layout(["cat/2024-01", "cat/2024-02", "dog/2024-01"], {"all": {"cat": 6, "dog": 3}}),
    "patients within classes": Layout(
        ["benign/p001", "benign/p002", "malignant/p003"], {"all": {"benign": 6, "malignant": 3}}
    ),
    "sites that hold classes": Layout(split_pair("site1", "site2"), {"all": pair(6)}),
    "two readings": Layout(split_pair("indoor", "outdoor"), "the folders of two levels may be the classes"),
    "two readings, settled": Layout(split_pair("indoor", "outdoor"), {"all": pair(6)}, "", {"depth": 2}),
    "images folders within classes": Layout(["cat/images", "dog/images"], ALL),
    "images at two depths of a class": Layout(["cat", "cat/kittens", "dog"], {"all": {"cat": 6, "dog": 3}}),
    # 5: what belongs nowhere
    "a few stray images": Layout({"cat": 150, "dog": 150, "1.png": 1}, {"all": pair(150)}),
    "many stray images": Layout({"cat": 10, "dog": 10, "1.png": 1}, "1 of 21 images belong to no class or split"),
    "a folder beside the splits": Layout(
        [*split_pair("train", "test"), "unsorted"], "3 of 15 images belong to no class or split"
    ),
    "a class called test": Layout(["cat", "test"], {"all": {"cat": 3, "test": 3}}),
    "classes that begin like splits": Layout(
        ["train_station", "test_tube"], {"all": {"train_station": 3, "test_tube": 3}}
    ),
    "nothing at all": Layout({"read.txt": 1}, "there is no image in this"),
    "images and nothing else": Layout({f"{k}.png": 1 for k in range(5)}, "the images lie in no class folder"),
    # five that nobody listed
    "splits within classes": Layout(["cat/train", "cat/test", "dog/train", "dog/test"], TWO),
    "volumes": Layout(split_pair("vol-a", "vol-b"), {"all": pair(6)}),
    "a wrapper of a wrapper of splits with sets of images": Layout(
        split_pair("v1/release/TrainSet", "v1/release/DevSet", inside="jpg/"), {"train": pair(), "valid": pair()}
    ),
    "classes that are numbers in splits that are capitals": Layout(
        ["TRAIN/0", "TRAIN/1", "VALIDATION/0", "VALIDATION/1"], {"train": {"0": 3, "1": 3}, "valid": {"0": 3, "1": 3}}
    ),
    "classes each in a folder of its own name": Layout(["cat/cat", "dog/dog"], ALL),
}


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_read_right_or_refused_with_the_reason_in_a_folder_and_in_any_archive(tmp_path, name, kind):
    layout = LAYOUTS[name]
    source = PLACES[kind](tmp_path, make_files(layout.folders))
    if isinstance(layout.wanted, str):
        with pytest.raises(DataError) as refused:
            read(source, **layout.options)
        assert layout.wanted in str(refused.value)
        return
    listing = read(source, **layout.options)
    assert count(listing) == layout.wanted
    assert layout.read_as in listing.read_as
    assert all(entry.path.read_bytes()[:4] == b"\x89PNG" for entry in listing.entries)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    labels=st.sets(st.text("abcdefgh", min_size=2, max_size=5), min_size=2, max_size=4),
    splits=st.sampled_from(
        [(), ("train", "test"), ("Training", "VAL"), ("x_train", "x_dev", "x_test"), ("train set", "hold out")]
    ),
    wrapper=st.sampled_from(["", "pets/", "My Data/inner/"]),
    kind=st.sampled_from(list(PLACES)),
    data=st.data(),
)
def test_names_wrappers_and_archives_change_nothing(tmp_path_factory, labels, splits, wrapper, kind, data):
    """The same images in the same classes and splits, however they are called, wrapped and packed."""
    images = {label: data.draw(st.integers(1, 3)) for label in sorted(labels)}
    means = {name: {"train": "train", "Training": "train", "x_train": "train", "train set": "train", "VAL": "valid",
                    "x_dev": "valid"}.get(name, "test") for name in splits}  # fmt: skip
    folders = {f"{wrapper}{split}/{label}".replace("//", "/"): n for split in splits for label, n in images.items()}
    folders = folders or {f"{wrapper}{label}": n for label, n in images.items()}
    source = PLACES[kind](tmp_path_factory.mktemp("layout"), make_files(folders))
    assert count(read(source)) == ({means[split]: images for split in splits} or {"all": images})


def test_hints_do_what_they_say(tmp_path):
    """Each hint of a refused layout, followed."""
    two = put_folder(tmp_path / "two", make_files(split_pair("indoor", "outdoor")))
    with pytest.raises(DataError, match="hint  --depth 1 or --depth 2 says which"):
        read(two)
    assert set(count(read(two, depth=1))["all"]) == {"indoor", "outdoor"}
    stray = put_folder(tmp_path / "stray", make_files({"cat": 5, "dog": 5, "1.png": 1}))
    with pytest.raises(DataError, match="hint  --drop-unplaced leaves them out"):
        read(stray)
    assert count(read(stray, drop_unplaced=True)) == {"all": pair(5)}
    named = put_folder(tmp_path / "named", make_files({f"train/{c}.{k}.jpg": 1 for c in ("cat", "dog") for k in "012"}))
    with pytest.raises(DataError, match=r"hint  --labels-from name takes the class from names such as cat\.0\.jpg"):
        read(named)
    assert set(count(read(named, labels_from="name"))["train"]) == {"cat", "dog"}
    folds = put_folder(
        tmp_path / "folds", make_files(split_pair("fold_0/train", "fold_0/val", "fold_1/train", "fold_1/val"))
    )
    with pytest.raises(DataError) as refused:
        read(folds)
    told = str(refused.value).rsplit("name one of them: ")[1]
    assert count(read(Path(told))) == {"train": pair(), "valid": pair()}


def test_the_folds_are_kept_as_groups(tmp_path):
    listing = read(put_folder(tmp_path, make_files(split_pair("fold1", "fold2"))))
    assert {entry.group for entry in listing.entries} == {"fold1", "fold2"}


def test_what_is_left_out_and_stepped_into_is_said(tmp_path):
    listing = read(
        put_folder(tmp_path, make_files({"all/cat": 150, "all/dog": 150, "all/1.png": 1, "all/fish/x.txt": 1}))
    )
    assert "read from all/, which holds all images" in listing.notes
    assert "ignored: images outside the class folders: 1" in listing.notes
    assert "ignored: class folders without an image: 1" in listing.notes


def test_a_zip_or_tar_for_each_class_is_a_class_and_one_for_each_split_a_split(tmp_path):
    """As Teachable Machine writes them, and as they are often handed out."""
    for label in ("cat", "dog"):
        put_zip(tmp_path / f"{label}-samples.zip", make_files({f"{k}.png": 1 for k in range(3)}))
    assert count(read(tmp_path)) == ALL
    other = tmp_path / "other"
    other.mkdir()
    put_zip(other / "train.zip", make_files(["cat", "dog"]))
    put_zip(other / "test.zip", make_files(["test/cat", "test/dog"]))
    assert count(read(other)) == TWO


def test_an_image_without_a_suffix_is_known_by_how_it_begins(tmp_path):
    files = {
        "cat/a": png(1),
        "cat/b": png(2),
        "dog/c": png(3),
        "dog/d": png(4),
        "dog/README": b"text",
        "dog/e.txt": png(5),
    }
    listing = read(put_folder(tmp_path, files))
    assert sorted(entry.file for entry in listing.entries) == ["cat/a", "cat/b", "dog/c", "dog/d"]
    assert listing.ignored == {"files that are not images": 2}


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../cat/1.png", "/cat/1.png", "cat/../../1.png", "C:\\cat\\1.png"])
def test_a_name_that_leads_out_of_an_archive_is_refused(tmp_path, kind, name):
    with pytest.raises(DataError, match="a name in this archive leads out of it"):
        read(PLACES[kind](tmp_path, make_files(["cat", "dog"]) | {name: png(9)}))


def test_links_in_an_archive_are_not_followed_and_counted(tmp_path):
    path = pack(tmp_path / "a.tar", make_files(["cat", "dog"]))
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("cat/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    listing = read(path)
    assert count(listing) == ALL and listing.ignored == {"links in the archive": 1}


def test_what_unpacks_to_far_more_than_an_image_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LEAST_TRAP", 100_000)
    files = make_files(["cat", "dog"]) | {"cat/bomb.png": b"\0" * 10_000_000}
    with pytest.raises(DataError, match="this file is packed suspiciously well\n  got   .* that become 10,000,000"):
        read(put_zip(tmp_path / "a.zip", files))
    with pytest.raises(DataError, match="this file is packed suspiciously well"):
        read(pack(tmp_path / "a.tar.gz", files, "w:gz"))
    assert not list((tmp_path / "cache").rglob("*.tar"))


def test_broken_and_encrypted_archives_say_so(tmp_path):
    path = put_zip(tmp_path / "a.zip", make_files(["cat", "dog"], each=20))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="this archive is broken"):
        read(path)
    flagged = bytearray(whole)
    flagged[whole.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(flagged)
    with pytest.raises(DataError, match="this file is encrypted\n  hint  unpack the archive with its password"):
        read(path)
    damaged = bytearray(whole)
    at = whole.index(b"cat/0.png") + 30
    damaged[at : at + 8] = b"\xff" * 8
    path.write_bytes(damaged)
    [bad] = load_dataset(path).skipped
    assert bad.file == "cat/0.png" and "broken" in bad.why


def test_an_archive_trains_on_the_very_images_of_its_folder(tmp_path):
    files = make_files({"cat": 30, "dog": 30})
    marks = {kind: load_dataset(PLACES[kind](tmp_path, files)).fingerprint for kind in PLACES}
    assert len(set(marks.values())) == 1, marks
    on_disk = load_dataset(tmp_path / "pets.zip", memory=10)
    assert on_disk.level == "mapped" and on_disk.fingerprint == marks["zip"]
    np.testing.assert_array_equal(on_disk.train.x[:], load_dataset(tmp_path / "pets.zip").train.x)


def test_what_is_decoded_of_a_compressed_archive_is_kept_for_the_next_time(tmp_path):
    source = PLACES["tar.gz"](tmp_path, make_files({"cat": 30, "dog": 30}))
    first = load_dataset(source, level="mapped")
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npz")}
    again = load_dataset(source, level="mapped")
    assert again.fingerprint == first.fingerprint
    assert {path.name for path in (tmp_path / "cache").rglob("*.npz")} == set(kept), "nothing is decoded anew"


def test_a_json_file_that_belongs_to_no_image_makes_no_shard_of_a_tar(tmp_path):
    files = make_files(split_pair("train", "test")) | {"meta.json": b"{}", "train/info.json": b"{}"}
    assert count(read(pack(tmp_path / "a.tar", files))) == TWO


def test_each_link_within_class_folders_is_counted(tmp_path):
    pets = put_folder(tmp_path / "pets", make_files(["cat", "dog"]))
    put_folder(tmp_path / "other", make_files(["birds", "fish"]))
    (pets / "cat" / "more").symlink_to(tmp_path / "other" / "birds")
    (pets / "dog" / "more").symlink_to(tmp_path / "other" / "fish")
    listing = read(pets)
    assert count(listing) == ALL and listing.ignored == {"links to folders inside class folders": 2}


def test_what_to_train_anew_is_told_with_the_options_that_the_data_were_read_by(tmp_path):
    source = put_folder(tmp_path / "my pets", make_files(split_pair("indoor", "outdoor"), each=12))
    net = striate.Net((1, 4, 5), [striate.Flatten(), striate.Dense(2)])
    striate.train(source, net, epochs=1, out=tmp_path / "run", watch=Watch(), depth=2)
    (source / "indoor" / "cat" / "more.png").write_bytes(png(99))
    with pytest.raises(striate.StriateError, match="1 image more") as refused:
        striate.train(source, out=tmp_path / "run", resume=True, watch=Watch())
    assert f"striate train {source} --depth 2 --weights {tmp_path / 'run'} starts a new run" in str(refused.value)


def test_a_class_of_which_no_file_can_be_read_is_no_output_of_the_net(tmp_path):
    files = make_files({"cat": 150, "dog": 150}) | {"fish/1.png": b"broken"}
    data = load_dataset(put_folder(tmp_path, files))
    assert data.classes == ("cat", "dog")
    assert "no class: fish, of which no file can be read" in data.notes
    with pytest.raises(DataError) as refused:
        load_dataset(
            put_folder(tmp_path / "more", make_files({"cat": 20, "dog": 20}) | {"fish/1.png": b"", "fish/2.png": b""})
        )
    assert "no file of fish can be read, 2 of 42 images" in str(refused.value)
    reading = make_reading({"drop_unplaced": True})
    assert load_dataset(tmp_path / "more", reading=reading).classes == ("cat", "dog")


def test_train_and_check_say_first_how_the_source_was_read(tmp_path):
    lines: list[str] = []

    class Heard(Watch):
        def plan(self, told) -> None:
            lines.extend(told)

    source = put_folder(
        tmp_path / "pets", make_files({f"{s}/{c}": 12 for s in ("train", "val") for c in ("cat", "dog")})
    )
    net = striate.Net((1, 4, 5), [striate.Flatten(), striate.Dense(2)])
    run = striate.train(source, net, epochs=1, out=tmp_path / "run", watch=Heard(), drop_unplaced=True)
    line = "read as: class folders in train/ and val/, 48 images, 8-bit gray"
    assert lines[0] == line == str(striate.check(source)).splitlines()[0]
    assert run.model.header.reading == {"drop_unplaced": True}


def test_a_run_keeps_how_its_data_were_read_for_evaluation_and_for_resuming(tmp_path):
    source = put_folder(tmp_path / "pets", make_files(split_pair("indoor", "outdoor"), each=12))
    net = striate.Net((1, 4, 5), [striate.Flatten(), striate.Dense(2)])
    run = striate.train(source, net, epochs=1, out=tmp_path / "run", watch=Watch(), depth=2)
    assert run.model.classes == ("cat", "dog")
    assert run.model.evaluate(source).images == load_dataset(source, reading=make_reading({"depth": 2})).test.y.size
    with pytest.raises(DataError, match="there is a class 'indoor' that the network lacks"):
        run.model.images(source, depth=1)
    with pytest.raises(striate.StriateError, match="began with 2"):
        striate.train(source, out=tmp_path / "run", resume=True, depth=1, watch=Watch())
    again = striate.train(source, out=tmp_path / "run", resume=True, watch=Watch())
    assert again.model.classes == ("cat", "dog")


def test_of_a_folder_of_one_class_all_images_are_measured(tmp_path):
    images = load_images(put_folder(tmp_path, make_files(["dog"])), ("cat", "dog"))
    assert images.y.tolist() == [1, 1, 1]


@given(st.lists(st.sampled_from(["train", "Val", "TEST", "dev"]), min_size=1, max_size=4, unique=True))
def test_whatever_all_such_folders_share_is_no_part_of_a_splits_name(names):
    shared = [f"chest_xray-{name}" for name in names]
    found = split_names.find_roles(shared)
    if len(names) > 1:
        assert [found[name].split for name in shared] == [split_names.SPLIT_NAMES[name.lower()] for name in names]
    else:
        assert not found, "of a single folder nobody knows what it shares"


def test_the_classes_are_those_of_train(tmp_path):
    listing = read(put_folder(tmp_path, make_files(["train/cat", "train/dog", "test/cat"])))
    assert list_classes(listing) == ("cat", "dog")
