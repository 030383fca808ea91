"""Folders, tables and arrays as real people have them, and what becomes of each."""

from __future__ import annotations

import hashlib
import os
import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from striate.data.images import Images, Skipped, compute_fingerprint, split_indices
from striate.data.listing import order_classes
from striate.data.reading import Reading
from striate.data.sources.load import divide_dataset, gather_images, load_dataset, load_images
from striate.data.sources.options import DEFAULT_OPTIONS
from striate.errors import DataError


def picture(path: Path, level: int = 0, size: tuple[int, int] = (6, 5)) -> None:
    """A gray PNG of one level, so that an image can be told from its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (size[1], size[0]), level).save(path, "PNG")


def photos(folder: Path, **classes: int) -> Path:
    """A folder of class folders with so many images each, all different."""
    level = 0
    for name, count in classes.items():
        for k in range(count):
            level += 1
            picture(folder / name / f"{k:03}.png", level)
    return folder


def split_photos(folder: Path, train: str = "train", valid: str = "valid", test: str = "test") -> Path:
    for k, part in enumerate(name for name in (train, valid, test) if name):
        for j, name in enumerate(("cat", "dog")):
            for i in range(3):
                picture(folder / part / name / f"{i}.png", 60 * k + 10 * j + i)
    return folder


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file and folder below, with its time of change and its content."""
    return {
        str(path): (path.stat().st_mtime_ns, b"" if path.is_dir() else path.read_bytes())
        for path in [folder, *folder.rglob("*")]
    }


def levels(images: Images) -> list[int]:
    return images.x[:, 0, 0, 0].tolist()


def test_a_folder_of_class_folders_becomes_three_splits_and_says_so(tmp_path):
    data = load_dataset(photos(tmp_path / "pets", cat=40, dog=60))
    assert data.name == "pets"
    assert data.classes == ("cat", "dog")
    assert data.shape == (1, 6, 5)
    assert (len(data.train), len(data.valid), len(data.test)) == (80, 10, 10)
    assert data.train.counts == (32, 48) and data.valid.counts == data.test.counts == (4, 6)
    assert sorted(levels(data.train) + levels(data.valid) + levels(data.test)) == list(range(1, 101))
    assert data.notes == (
        "the source is not split: split into 80 train, 10 valid, 10 test, class by class, with seed 0",
    )


def test_each_image_keeps_its_own_label_and_file(tmp_path):
    data = load_dataset(photos(tmp_path, cat=30, dog=30))
    for part in (data.train, data.valid, data.test):
        for pixels, y, file in zip(part.x, part.y, part.files, strict=True):
            assert file.split(os.sep)[0] == data.classes[y]
            assert np.asarray(Image.open(tmp_path / file))[0, 0] == pixels[0, 0, 0]


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "Validation", "TESTING"), ("TRAIN", "valid", "Test")]
)
def test_split_folders_are_found_by_any_of_their_names(tmp_path, names):
    data = load_dataset(split_photos(tmp_path, *names))
    assert sorted(levels(data.train)) == [0, 1, 2, 10, 11, 12]
    assert sorted(levels(data.valid)) == [60, 61, 62, 70, 71, 72]
    assert sorted(levels(data.test)) == [120, 121, 122, 130, 131, 132]
    assert data.notes == ()


def test_without_a_valid_folder_valid_comes_from_train_and_never_from_test(tmp_path):
    data = load_dataset(split_photos(tmp_path, valid=""), valid_share=0.3)
    assert sorted(levels(data.train) + levels(data.valid)) == [0, 1, 2, 10, 11, 12]
    assert data.valid.counts == (1, 1)
    assert sorted(levels(data.test)) == [60, 61, 62, 70, 71, 72]
    assert data.notes == (
        "the source has no valid split: train was split into 4 train, 2 valid, class by class, with seed 0",
    )


def test_without_a_test_folder_there_is_no_test_split(tmp_path):
    data = load_dataset(split_photos(tmp_path, test=""))
    assert data.test is None
    assert data.notes == ("the source has no test split",)


def test_one_class_order_for_all_splits_is_that_of_train(tmp_path):
    split_photos(tmp_path)
    shutil.rmtree(tmp_path / "valid" / "cat")
    data = load_dataset(tmp_path)
    assert data.valid.classes == ("cat", "dog")
    assert data.valid.y.tolist() == [1, 1, 1]


def test_a_class_that_train_lacks_is_an_error(tmp_path):
    picture(split_photos(tmp_path) / "valid" / "dogs" / "1.png")
    with pytest.raises(DataError) as refused:
        load_dataset(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}, valid: there is a class 'dogs' that train lacks\n"
        f"  got   {os.path.join('valid', 'dogs', '1.png')}\n"
        "  rule  one class order for all splits, that of train: cat, dog\n"
        "  hint  did you mean 'dog'?"
    )


def test_splits_without_train_are_an_error(tmp_path):
    with pytest.raises(DataError) as refused:
        load_dataset(split_photos(tmp_path, train=""))
    assert str(refused.value) == (
        f"{tmp_path}: there are splits, but none to train on\n  got   valid, test\n"
        "  hint  add train, or put the class folders together: striate then splits them itself"
    )


def test_two_folders_for_one_split_are_an_error(tmp_path):
    split_photos(tmp_path)
    picture(tmp_path / "val" / "cat" / "1.png")
    with pytest.raises(DataError) as refused:
        load_dataset(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}: two folders mean the valid split\n  got   val, valid\n  hint  keep one of them"
    )


def test_litter_is_ignored_counted_and_never_a_class(tmp_path):
    photos(tmp_path, cat=10, dog=10)
    picture(tmp_path / ".ipynb_checkpoints" / "1.png")
    picture(tmp_path / "cat" / ".ipynb_checkpoints" / "1.png")
    picture(tmp_path / "__MACOSX" / "cat" / "1.png")
    picture(tmp_path / "cat" / "._000.png")
    picture(tmp_path / "loose.png")
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "dog" / "notes.txt").write_text("x")
    (tmp_path / "fish").mkdir()
    data = load_dataset(tmp_path, reading=Reading(drop_unplaced=True))
    assert data.classes == ("cat", "dog")
    assert len(data.train) + len(data.valid) + len(data.test) == 20
    assert data.notes[:-1] == (
        "ignored: class folders without an image: 1",
        "ignored: files that are not images: 1",
        "ignored: hidden files and folders: 3",
        "ignored: images outside the class folders: 1",
        "ignored: system files and folders (Thumbs.db, __MACOSX, …): 2",
    )


def test_a_flat_folder_of_unlabelled_test_images_is_left_out_beside_splits_and_said(tmp_path):
    split_photos(tmp_path, test="")
    picture(tmp_path / "test" / "1.png")
    with pytest.raises(DataError, match="1 of 13 images belong to no class or split"):
        load_dataset(tmp_path)
    data = load_dataset(tmp_path, reading=Reading(drop_unplaced=True))
    assert data.test is None
    assert data.notes[0] == "ignored: split folders without class folders (test): 1"


def test_a_class_may_be_called_test_and_the_user_is_told(tmp_path):
    data = load_dataset(photos(tmp_path, cat=10, test=10))
    assert data.classes == ("cat", "test")
    assert data.notes[0] == "test/ is taken as a class: it holds images and no class folders"


def test_images_deeper_in_a_class_folder_belong_to_it(tmp_path):
    photos(tmp_path, cat=9, dog=10)
    picture(tmp_path / "cat" / "siamese" / "kitten" / "1.png", 99)
    data = load_dataset(tmp_path)
    assert len(data.train) + len(data.valid) + len(data.test) == 20


def test_a_link_that_leads_back_up_does_not_hang(tmp_path):
    photos(tmp_path, cat=10, dog=10)
    (tmp_path / "cat" / "again").symlink_to(tmp_path)
    data = load_dataset(tmp_path)
    assert len(data.train) + len(data.valid) + len(data.test) == 20


def test_a_class_written_in_two_unicode_forms_is_one_class(tmp_path):
    name = "café"
    split_photos(tmp_path)
    picture(tmp_path / "train" / unicodedata.normalize("NFD", name) / "1.png")
    picture(tmp_path / "test" / unicodedata.normalize("NFC", name) / "1.png")
    assert load_dataset(tmp_path).classes == (unicodedata.normalize("NFC", name), "cat", "dog")


def test_the_users_folder_is_only_read(tmp_path):
    folder = photos(tmp_path / "pets", cat=10, dog=10)
    (folder / "cat" / "bad.png").write_bytes(b"")
    before = state(folder)
    load_dataset(folder)
    assert state(folder) == before


def test_a_read_only_folder_is_enough(tmp_path):
    folder = photos(tmp_path / "pets", cat=10, dog=10)
    for path in [*folder.rglob("*"), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert len(load_dataset(folder).train) == 16
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)


def test_the_same_seed_gives_the_same_data_and_another_seed_another_split(tmp_path):
    folder = photos(tmp_path, cat=40, dog=60)
    one, two, other = (
        load_dataset(folder, seed=3),
        load_dataset(folder, seed=3, workers=3),
        load_dataset(folder, seed=4),
    )
    assert one.fingerprint == two.fingerprint != other.fingerprint
    assert one.train.files == two.train.files
    np.testing.assert_array_equal(one.train.x, two.train.x)
    assert set(one.test.files) != set(other.test.files)


def test_the_fingerprint_is_a_sha256_over_pixels_labels_and_classes():
    x, y = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1), np.array([0, 1])
    head = b'["train", ["a", "b"], [2, 2, 2, 1]]'
    pixels = b"".join(hashlib.sha256(image.tobytes()).digest() for image in x)
    expected = hashlib.sha256(head + y.astype("<i8").tobytes() + pixels).hexdigest()
    assert compute_fingerprint(train=Images(x, y, ("a", "b"), ("1", "2"))) == expected
    changed = [
        Images(x + np.uint8(1), y, ("a", "b"), ("1", "2")),
        Images(x, y[::-1], ("a", "b"), ("1", "2")),
        Images(x, y, ("a", "c"), ("1", "2")),
    ]
    assert expected not in {compute_fingerprint(train=images) for images in changed}
    assert compute_fingerprint(train=Images(x, y, ("a", "b"), ("7", "8"))) == expected


labels = st.lists(st.integers(0, 6), min_size=1, max_size=120).map(np.array)


@given(labels, st.floats(0.01, 0.9), st.integers(0, 9))
@settings(deadline=None)
def test_a_split_is_whole_disjoint_stratified_and_leaves_each_class_in_train(y, share, seed):
    rest, gone = split_indices(y, share, seed)
    assert sorted([*rest, *gone]) == list(range(len(y)))
    for label, count in zip(*np.unique(y, return_counts=True), strict=True):
        left, away = (y[rest] == label).sum(), (y[gone] == label).sum()
        assert left >= 1
        assert away == min(away, count - 1) and abs(away - count * share) <= 1 or left == 1
    if (np.bincount(y) >= 2).any():
        assert len(gone) >= 1
    again = split_indices(y, share, seed)
    assert again[0].tolist() == rest.tolist() and again[1].tolist() == gone.tolist()


def test_unreadable_files_are_skipped_counted_and_named(tmp_path):
    photos(tmp_path, cat=20, dog=20)
    whole = (tmp_path / "cat" / "000.png").read_bytes()
    (tmp_path / "cat" / "letter.jpg").write_text("a letter")
    (tmp_path / "dog" / "nothing.png").write_bytes(b"")
    (tmp_path / "dog" / "half.png").write_bytes(whole[:-26])
    data = load_dataset(tmp_path)
    assert data.skipped == (
        Skipped(os.path.join("cat", "letter.jpg"), "this is not an image of a known format (8 bytes of text)"),
        Skipped(os.path.join("dog", "half.png"), "the file is truncated"),
        Skipped(os.path.join("dog", "nothing.png"), "the file is empty (0 bytes)"),
    )
    assert len(data.train) + len(data.valid) + len(data.test) == 40
    assert data.notes[-1] == "skipped: 3 files that cannot be read"
    for part in (data.train, data.valid, data.test):
        for pixels, file in zip(part.x, part.files, strict=True):
            assert np.asarray(Image.open(tmp_path / file))[0, 0] == pixels[0, 0, 0]


def test_more_than_a_tenth_unreadable_is_an_error(tmp_path):
    photos(tmp_path, cat=9, dog=9)
    for k in range(7):
        (tmp_path / "cat" / f"bad{k}.png").write_bytes(b"")
    bad = "\n        ".join(f"{os.path.join('cat', f'bad{k}.png')}: the file is empty (0 bytes)" for k in range(5))
    with pytest.raises(DataError) as refused:
        load_dataset(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}: 7 of 25 files cannot be read, more than the limit\n"
        f"  got   {bad}\n        … and 2 more\n  rule  at most 10%\n  hint  remove them, or --bad-share 0.3"
    )
    assert len(load_dataset(tmp_path, reading=Reading(bad_share=0.5)).skipped) == 7


def test_a_folder_in_which_nothing_can_be_read_is_an_error_even_without_a_bound(tmp_path):
    for name in ("cat/1.png", "dog/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match="none of its images can be read"):
        load_dataset(tmp_path, reading=Reading(bad_share=1))
    with pytest.raises(DataError, match="2 of 2 files cannot be read"):
        load_dataset(tmp_path, size=(4, 4), channels=1, reading=Reading(bad_share=1))


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda folder: None,
            "{}: there is no image in this folder\n  got   an empty folder\n"
            "  hint  one folder per class: {name}/cat/1.jpg, {name}/dog/2.jpg",
        ),
        (
            lambda folder: photos(folder, cat=0) and (folder / "cat").mkdir(),
            "{}: there is no image in this folder\n  got   class folders without an image: 1\n"
            "  hint  one folder per class: {name}/cat/1.jpg, {name}/dog/2.jpg",
        ),
        (
            lambda folder: [picture(folder / "1.png"), picture(folder / "2.png")],
            "{}: the images lie in no class folder\n  got   2 images at the top\n"
            "  hint  one folder per class: {name}/cat/1.jpg, {name}/dog/2.jpg",
        ),
        (
            lambda folder: photos(folder, cat=5),
            "{}: a classifier needs two classes or more\n  got   1 class, cat\n  hint  photos/cat/… and photos/dog/…",
        ),
    ],
    ids=["empty", "empty class", "no class folders", "one class"],
)
def test_a_folder_that_cannot_be_used_says_why(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(DataError) as refused:
        load_dataset(tmp_path)
    assert str(refused.value) == message.format(tmp_path, name=tmp_path.name)


def test_a_source_that_does_not_exist_says_what_would_do():
    with pytest.raises(DataError) as refused:
        load_dataset("minst")
    assert str(refused.value) == ("minst: there is no such folder, file or data set\n  hint  did you mean 'mnist'?")
    with pytest.raises(DataError) as refused:
        load_dataset("holiday/")
    assert str(refused.value) == (
        "holiday/: there is no such folder, file or data set\n"
        "  hint  a folder of class folders, a .csv, an .npz, or one of: cifar10, digits, fashion-mnist, mnist"
    )


def test_a_file_that_is_no_table_is_an_error(tmp_path):
    picture(tmp_path / "cat.png")
    with pytest.raises(DataError) as refused:
        load_dataset(tmp_path / "cat.png")
    assert str(refused.value) == (
        f"{tmp_path / 'cat.png'}: this file is not a table of images\n  got   .png\n"
        "  hint  a folder of class folders, a .csv or .parquet of path and label, an .npz of x and y, or .tar shards"
    )


def test_images_of_different_sizes_need_a_size(tmp_path):
    photos(tmp_path, cat=3, dog=3)
    picture(tmp_path / "dog" / "large.png", size=(20, 30))
    with pytest.raises(DataError) as refused:
        load_dataset(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path}: the images differ in size, so a size is needed\n"
        f"  got   {os.path.join('cat', '000.png')} 6×5, {os.path.join('dog', 'large.png')} 20×30\n"
        "  hint  size=(64, 64)"
    )
    assert load_dataset(tmp_path, size=(8, 9)).shape == (1, 8, 9)


def test_turned_photos_count_as_they_are_seen(tmp_path):
    photos(tmp_path, cat=3, dog=3)
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("png", "tif", "jpg"):
        Image.new("L", (6, 5)).save(tmp_path / "cat" / f"turned.{suffix}", exif=exif)
    assert load_dataset(tmp_path).shape == (1, 6, 5)


def test_one_colour_image_makes_all_rgb(tmp_path):
    photos(tmp_path, cat=10, dog=10)
    assert load_dataset(tmp_path).shape[0] == 1
    Image.new("RGB", (5, 6), "red").save(tmp_path / "cat" / "red.png")
    assert load_dataset(tmp_path).shape[0] == 3
    assert load_dataset(tmp_path, channels=1).shape[0] == 1


def test_a_broken_header_does_not_end_the_look_ahead(tmp_path):
    photos(tmp_path, cat=20, dog=20)
    (tmp_path / "cat" / "a.tif").write_bytes(b"II*\0\xff\xff\xff\xff")
    assert len(load_dataset(tmp_path).skipped) == 1


def test_progress_ends_with_all_images(tmp_path):
    seen = []
    load_dataset(photos(tmp_path, cat=20, dog=21), progress=lambda *report: seen.append(report))
    assert seen[0][0] == "images" and seen[-1] == ("images", 41, 41)
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})


def test_an_interrupt_ends_the_reading(tmp_path):
    def stop(*report: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_dataset(photos(tmp_path, cat=50, dog=50), progress=stop)


@pytest.mark.parametrize("header", ["path,label\n", "label;path\n", "", "Filename\tClass\n"])
def test_a_table_names_files_below_its_own_folder(tmp_path, header):
    photos(tmp_path, a=10, b=10)
    mark = next((mark for mark in ";\t" if mark in header), ",")
    rows = [(f"{name}/{k:03}.png", f"class {name}") for name in "ab" for k in range(10)]
    rows = [row[::-1] for row in rows] if header.startswith("label") else rows
    table = tmp_path / "list.csv"
    table.write_text("\ufeff" + header + "".join(mark.join(row) + "\n" for row in rows), encoding="utf-8")
    data = load_dataset(table)
    assert data.name == "list" and data.classes == ("class a", "class b")
    assert len(data.train) == 16 and data.train.counts == (8, 8)


def test_a_table_with_splits_is_split_by_them(tmp_path):
    photos(tmp_path, a=4, b=4)
    places = ["train", "Validation", "test", "train"]
    rows = [f"{name}/{k:03}.png,{name},{places[k]}" for name in "ab" for k in range(4)]
    (tmp_path / "list.csv").write_text("path,label,split\n" + "\n".join(rows))
    data = load_dataset(tmp_path / "list.csv")
    assert (sorted(levels(data.train)), levels(data.valid), levels(data.test)) == ([1, 4, 5, 8], [2, 6], [3, 7])


def test_a_missing_file_of_a_table_is_skipped_with_its_reason(tmp_path):
    photos(tmp_path, a=10, b=10)
    rows = [f"{name}/{k:03}.png,{name}" for name in "ab" for k in range(10)]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join([*rows, "a/gone.png,a"]))
    assert load_dataset(tmp_path / "list.csv").skipped == (Skipped("a/gone.png", "there is no such file"),)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "{}: the table is empty"),
        ("path,label\n", "{}: the table has no row"),
        ("a.png\n", "{}, line 1: a table needs a path and a label\n  got   a.png"),
        (
            "path,label\na.png,\n",
            "{}, line 2: this row has no label\n  got   a.png, \n  hint  --drop-unlabelled leaves 1 row out",
        ),
        (
            "path,label,split\na.png,a,trian\n",
            "{}, line 2: there is no split 'trian'\n  hint  did you mean 'train'?",
        ),
        (
            "path,label,split\na.png,a,train\nb.png,b\n",
            "{}, line 3: this row has no split, and others have one\n  rule  all rows or none",
        ),
    ],
)
def test_a_table_that_cannot_be_read_names_the_line(tmp_path, text, message):
    table = tmp_path / "list.csv"
    table.write_text(text)
    with pytest.raises(DataError) as refused:
        load_dataset(table)
    shown = str(refused.value)
    hint = "\n  hint  path,label,split\n        cats/1.jpg,cat,train"
    assert shown == message.format(table) + (hint if shown.endswith(hint) else "")


def test_a_table_written_on_windows_is_read_anywhere(tmp_path):
    photos(tmp_path, a=10, b=10)
    rows = [f"{name}\\{k:03}.png,{name}" for name in "ab" for k in range(10)]
    (tmp_path / "list.csv").write_text("\ufeffpath,label\r\n" + "\r\n".join(rows), encoding="utf-8", newline="")
    assert len(load_dataset(tmp_path / "list.csv").train) == 16


@pytest.mark.skipif(os.name == "nt", reason="on Windows no name holds a backslash")
def test_a_file_whose_name_holds_a_backslash_is_found(tmp_path):
    photos(tmp_path, a=10, b=10)
    (tmp_path / "a" / "000.png").rename(tmp_path / "a\\000.png")
    rows = [f"{name}\\{k:03}.png,{name}" for name in "ab" for k in range(10)]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join(rows))
    assert load_dataset(tmp_path / "list.csv").skipped == ()


def test_a_row_that_is_there_already_is_taken_once_and_counted(tmp_path):
    photos(tmp_path, a=10, b=10)
    rows = [f"{name}/{k:03}.png,{name}" for name in "ab" for k in range(10)]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join([*rows, *rows[:7]]))
    data = load_dataset(tmp_path / "list.csv")
    assert len({*data.train.files, *data.valid.files, *data.test.files}) == 20
    assert len(data.train) + len(data.valid) + len(data.test) == 20
    assert data.notes[0] == "ignored: rows that are there already: 7"


@pytest.mark.parametrize(
    "header, message",
    [
        ("path,label,class", "more than one column means the label\n  got   label, class"),
        ("image,path,label", "more than one column means the path\n  got   image, path"),
    ],
)
def test_columns_that_cannot_be_told_apart_are_an_error(tmp_path, header, message):
    cells = "2.png" if header.startswith("image") else "cat"
    for k in (1, 2):
        picture(tmp_path / f"{k}.png", k)
    (tmp_path / "list.csv").write_text(
        f"{header}\n1.png,{cells},x\n2.png,{cells[::-1] if cells == 'cat' else '1.png'},y\n"
    )
    with pytest.raises(DataError) as refused:
        load_dataset(tmp_path / "list.csv")
    assert str(refused.value).startswith(f"{tmp_path / 'list.csv'}, line 1: {message}\n  hint  ")


def test_where_nothing_can_be_read_the_first_file_says_why(tmp_path):
    (tmp_path / "list.csv").write_text("path,label\n/gone/1.png,cat\n/gone/2.png,dog\n")
    with pytest.raises(DataError) as refused:
        load_dataset(tmp_path / "list.csv")
    assert str(refused.value) == (
        f"{tmp_path / 'list.csv'}, line 2: none of the 2 files that the column path names is there\n"
        "  got   /gone/1.png\n  hint  --images FOLDER says where they lie"
    )


def test_a_path_that_no_system_takes_is_skipped(tmp_path):
    photos(tmp_path, a=10, b=10)
    rows = [f"{name}/{k:03}.png,{name}" for name in "ab" for k in range(10)]
    (tmp_path / "list.csv").write_text("path,label\n" + "\n".join([*rows, "a/\0.png,a"]))
    [skipped] = load_dataset(tmp_path / "list.csv", level="streamed", size=(4, 4)).skipped
    assert skipped.why == "the file cannot be read: embedded null byte"


def random_images(n: int = 40, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 4, 5, channels), dtype=np.uint8), np.arange(n) % 4


def test_arrays_are_a_source():
    x, y = random_images()
    before = x.copy()
    data = load_dataset((x, y))
    assert data.name == "arrays" and data.classes == ("0", "1", "2", "3")
    np.testing.assert_array_equal(x, before)
    for part in (data.train, data.valid, data.test):
        for pixels, label, file in zip(part.x, part.y, part.files, strict=True):
            k = int(file.removeprefix("image[").removesuffix("]"))
            np.testing.assert_array_equal(pixels, x[k])
            assert label == y[k]


@pytest.mark.parametrize(
    "given",
    [lambda x: x[..., 0], lambda x: x / 255, lambda x: x.astype(np.float32), lambda x: x.astype(np.int64)],
    ids=["N×H×W", "0 to 1", "0 to 255 as floats", "int64"],
)
def test_arrays_of_other_types_are_the_same_pixels(given):
    x, y = random_images(channels=1)
    np.testing.assert_array_equal(load_dataset((given(x), y)).train.x, load_dataset((x, y)).train.x)


def test_labels_may_be_names():
    x, y = random_images()
    data = load_dataset((x, np.array(["north", "east", "south", "west"])[y]))
    assert data.classes == ("east", "north", "south", "west")


@pytest.mark.parametrize(
    "x, y, message",
    [
        (
            np.zeros((4, 3, 8, 8), np.uint8),
            [0, 1, 0, 1],
            "(X, y): these are not images\n  got   4×3×8×8\n  rule  N×H×W or N×H×W×C, channels last\n"
            "  hint  x.transpose(0, 2, 3, 1)",
        ),
        (
            np.zeros((4, 8, 8)) + np.nan,
            [0, 1, 0, 1],
            "(X, y): pixels are finite numbers\n  got   nan\n  hint  numpy.nan_to_num(x)",
        ),
        (
            np.zeros((4, 8, 8)),
            [0, 1, 0],
            "(X, y): there must be one label for each image\n  got   3 labels for 4 images",
        ),
        (np.zeros((4, 8, 8)), [0, 1, 0, 0.5], "(X, y): labels are names or whole numbers\n  got   0.5"),
        (np.zeros((0, 8, 8)), [], "(X, y): there is no image in it\n  got   0×8×8×1"),
        (
            np.zeros((4, 8, 8)),
            [7, 7, 7, 7],
            "(X, y): a classifier needs two classes or more\n  got   1 class, 7\n  hint  photos/cat/… and photos/dog/…",
        ),
    ],
)
def test_arrays_that_are_no_labelled_images_are_errors(x, y, message):
    with pytest.raises(DataError) as refused:
        load_dataset((x, np.array(y)))
    assert str(refused.value) == message


def uneven() -> tuple[np.ndarray, np.ndarray]:
    """600 images of a class, 3 of a second, 1 of a third: each a picture of its own."""
    x = np.arange(604 * 3 * 3, dtype=np.int64).reshape(604, 3, 3) % 251
    x[:, 0, 0], x[:, 0, 1] = np.arange(604) // 256, np.arange(604) % 256
    return x.astype(np.uint8), np.repeat([0, 1, 2], [600, 3, 1])


def test_a_class_of_three_images_has_one_in_each_split_and_one_of_less_is_named():
    data = load_dataset(uneven())
    assert [part.counts for part in (data.train, data.valid, data.test)] == [(480, 1, 1), (60, 1, 0), (60, 1, 0)]
    assert data.notes[1:] == (
        "no image to validate on in 2: it is not measured there",
        "no image to test on in 2: it is not measured there",
    )


def test_a_small_class_does_not_change_the_draw_of_a_large_one():
    loaded = gather_images(uneven(), None, None, DEFAULT_OPTIONS)
    now, before = (divide_dataset(replace(loaded, owned=False), 0, 0.1, 0.1, enough) for enough in (3, 10**9))
    for name in ("train", "valid", "test"):
        one, other = (set(np.array(getattr(data, name).files)[getattr(data, name).y == 0]) for data in (now, before))
        assert one == other


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.sampled_from([0.05, 0.1, 0.3, 0.6]), st.integers(0, 9))
@settings(deadline=None)
def test_classes_from_which_one_image_goes_at_least_are_else_drawn_as_before(counts, share, seed):
    y = np.repeat(np.arange(len(counts)), counts)
    sure = [k for k, count in enumerate(counts) if count >= 3]
    before, now = split_indices(y, share, seed)[1], split_indices(y, share, seed, sure, 2)[1]
    for k, count in enumerate(counts):
        some, own = (rows[y[rows] == k].tolist() for rows in (before, now))
        if k in sure:
            assert 1 <= len(own) <= count - 2 or len(own) == 1
            assert own == some or not some or len(some) > count - 2
        else:
            assert own == some


def test_a_model_trained_before_small_classes_were_sure_of_a_test_image_still_has_its_own_test_split():
    x, y = uneven()
    before = divide_dataset(
        replace(gather_images((x, y), None, None, DEFAULT_OPTIONS), owned=False), 0, 0.1, 0.1, 10**9
    )
    assert before.test.counts != load_dataset((x, y)).test.counts
    assert load_images((x, y), before.classes, trained_on=before.fingerprint).files == before.test.files
    assert (
        load_images((x, y), before.classes, trained_on=load_dataset((x, y)).fingerprint).files
        == load_dataset((x, y)).test.files
    )


def test_an_npz_of_x_and_y_is_a_source(tmp_path):
    x, y = random_images()
    np.savez(tmp_path / "set.npz", x=x, y=y, classes=["a", "b", "c", "d"])
    data = load_dataset(tmp_path / "set.npz")
    assert data.classes == ("a", "b", "c", "d")
    assert data.train.counts == (8, 8, 8, 8)


def test_an_npz_with_train_and_test_keeps_them_apart(tmp_path):
    x, y = random_images()
    np.savez(tmp_path / "set.npz", x_train=x[:30], y_train=y[:30], x_test=x[30:], y_test=y[30:])
    data = load_dataset(tmp_path / "set.npz")
    np.testing.assert_array_equal(data.test.x, x[30:])
    assert len(data.train) + len(data.valid) == 30
    images = load_images(tmp_path / "set.npz", ("0", "1", "2", "3"))
    np.testing.assert_array_equal(images.x, x[30:])


def test_an_npz_with_a_pickle_in_it_is_refused(tmp_path):
    np.savez(tmp_path / "set.npz", x=np.array([{"not": "pixels"}], object), y=np.zeros(1))
    with pytest.raises(DataError, match="the npz file cannot be read: the array holds Python objects, a pickle"):
        load_dataset(tmp_path / "set.npz")


def test_a_broken_npz_and_one_without_images_are_errors(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(DataError, match="the npz file cannot be read"):
        load_dataset(tmp_path / "broken.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match="the npz file cannot be read"):
        load_dataset(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(DataError) as refused:
        load_dataset(tmp_path / "other.npz")
    assert str(refused.value) == (
        f"{tmp_path / 'other.npz'}: there are no images with labels in it\n  got   weights\n"
        "  hint  numpy.savez(file, x=images, y=labels)"
    )


def test_evaluation_uses_the_test_split_and_the_networks_class_order(tmp_path):
    split_photos(tmp_path)
    images = load_images(tmp_path, ("dog", "fox", "cat"))
    assert sorted(levels(images)) == [120, 121, 122, 130, 131, 132]
    assert images.classes == ("dog", "fox", "cat")
    assert {(level >= 130, y) for level, y in zip(levels(images), images.y.tolist(), strict=True)} == {
        (True, 0),
        (False, 2),
    }


def test_evaluation_takes_all_of_a_folder_without_splits_even_one_class(tmp_path):
    photos(tmp_path, dog=3)
    (tmp_path / "dog" / "bad.png").write_bytes(b"")
    skipped: list[Skipped] = []
    images = load_images(tmp_path, ("cat", "dog"), reading=Reading(bad_share=0.3), on_skip=skipped.append)
    assert images.y.tolist() == [1, 1, 1]
    assert [bad.why for bad in skipped] == ["the file is empty (0 bytes)"]


def test_evaluation_refuses_a_class_that_the_network_lacks(tmp_path):
    photos(tmp_path, cat=2, dgo=2)
    with pytest.raises(DataError) as refused:
        load_images(tmp_path, ("cat", "dog"))
    assert str(refused.value) == (
        f"{tmp_path}: there is a class 'dgo' that the network lacks\n  got   {os.path.join('dgo', '000.png')}\n"
        "  rule  one class order for all splits, that of the network: cat, dog\n  hint  did you mean 'dog'?"
    )


def test_evaluation_refuses_splits_without_test(tmp_path):
    split_photos(tmp_path, test="")
    with pytest.raises(DataError) as refused:
        load_images(tmp_path, ("cat", "dog"))
    assert str(refused.value) == (
        f"{tmp_path}: the source has splits, but no test split\n  got   train, valid\n"
        "  hint  name one split's own folder"
    )
    assert len(load_images(tmp_path / "valid", ("cat", "dog"))) == 6


@pytest.mark.parametrize("shares", [{"valid_share": 0}, {"test_share": 1.0}, {"valid_share": 0.5, "test_share": 0.5}])
def test_a_share_that_leaves_nothing_is_an_error(shares):
    with pytest.raises(DataError, match="these shares leave nothing on one side"):
        load_dataset(random_images(), **shares)


def test_too_few_images_to_validate_on_is_an_error(tmp_path):
    with pytest.raises(DataError, match="there are too few images to set some aside for validation"):
        load_dataset(photos(tmp_path, cat=1, dog=1))


@given(st.sets(st.integers(0, 30).map(str), min_size=2))
@settings(deadline=None)
def test_classes_that_are_numbers_are_in_the_order_of_their_numbers(names):
    assert list(order_classes(names)) == [str(k) for k in sorted(map(int, names))]


def test_the_clothing_photographs_load_with_their_ten_classes(data, tmp_path):
    """The sizes that the data set's own page gives: 3,068, 341 and 372 images. Three of each class are decoded."""
    from striate.data.sources.folder import list_folder

    listing = list_folder(data / "clothing", Reading())
    sizes = [sum(entry.split == part for entry in listing.entries) for part in ("train", "valid", "test")]
    assert sizes == [3068, 341, 372]
    for part in ("train", "validation", "test"):
        for folder in (data / "clothing" / part).iterdir():
            (tmp_path / part / folder.name).mkdir(parents=True)
            for file in sorted(folder.iterdir())[:3]:
                (tmp_path / part / folder.name / file.name).symlink_to(file)
    some = load_dataset(tmp_path, size=(32, 32))
    assert some.classes == (
        "dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt",
    )  # fmt: skip
    assert some.shape == (3, 32, 32)
    assert some.train.counts == some.valid.counts == some.test.counts == (3,) * 10
    assert not some.skipped
