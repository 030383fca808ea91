"""Data sets as other tools keep them: Parquet tables, WebDataset shards, Hugging Face data sets."""

from __future__ import annotations

import builtins
import gzip
import io
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data.check.audit import audit_data
from striate.data.reading import Reading
from striate.data.sources.load import load_dataset, load_images
from striate.data.sources.shards import find_shards, list_shards
from striate.errors import DataError

from .archives import pack, png

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    datasets = pytest.importorskip("datasets", reason="the extra `hub` is not installed")
    pyarrow = pytest.importorskip("pyarrow")


def pets(start: int, count: int) -> dict[str, bytes]:
    members = {}
    for k in range(start, start + count):
        members |= {f"{k:05}.png": png(k), f"{k:05}.cls": str(k % 2).encode()}
    return members


def levels(images) -> list[int]:
    return images.x[:][:, 0, 0, 0].tolist()


def refused(source, **options) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(source, **options)
    return str(caught.value)


def test_shards_with_splits_in_their_names_are_read_by_a_pattern(tmp_path):
    pack(tmp_path / "pets-train-000.tar", pets(0, 20))
    pack(tmp_path / "pets-train-001.tar", pets(20, 20))
    pack(tmp_path / "pets-val-000.tar", pets(40, 10))
    pack(tmp_path / "pets-test-000.tar", pets(50, 10))
    data = load_dataset(str(tmp_path / "*.tar"))
    assert data.classes == ("0", "1") and data.shape == (1, 4, 5)
    assert levels(data.train) == list(range(40)) and levels(data.valid) == list(range(40, 50))
    assert levels(data.test) == list(range(50, 60))
    assert data.train.y.tolist() == [k % 2 for k in range(40)]
    assert data.train.files[21] == "pets-train-001.tar/00021.png"
    assert data.train.shards.tolist() == np.repeat(data.train.shards[[0, 39]], 20).tolist()
    same = [load_dataset(tmp_path), load_dataset(str(tmp_path / "pets-{train,val,test}-{000..001}.tar"))]
    assert {other.fingerprint for other in same} == {data.fingerprint}
    assert levels(load_images(tmp_path, ("1", "0"))) == list(range(50, 60))
    assert audit_data(tmp_path).counts["test"] == {"0": 5, "1": 5}


def test_the_split_may_be_the_shards_folder(tmp_path):
    pack(tmp_path / "train" / "0.tar", pets(0, 20))
    pack(tmp_path / "val" / "0.tar", pets(20, 6))
    data = load_dataset(str(tmp_path / "**" / "*.tar"))
    assert levels(data.valid) == list(range(20, 26))
    assert data.valid.files[0] == "val/0.tar/00020.png"


def test_a_label_is_in_a_cls_or_a_json_member_or_is_the_folder(tmp_path):
    members = {}
    for k in range(10):
        members |= {f"a/{k}.png": png(k), f"b/{k}.seg.png": png(k + 50), f"b/{k}.txt": b"a caption"}
        members |= {f"x/{k + 10}.json": json.dumps({"label": "a"}).encode(), f"x/{k + 10}.jpg": png(k + 100)}
        members |= {f"y/{k + 20}.CLS": b" b\n", f"y/{k + 20}.PNG": png(k + 150)}
    [shard] = [pack(tmp_path / "s.tar", members)]
    listing = list_shards("s", [shard])
    found = {np.asarray(Image.open(io.BytesIO(e.path.read_bytes())))[0, 0]: e.label for e in listing.entries}
    assert found == (
        dict.fromkeys(range(10), "a")
        | dict.fromkeys(range(50, 60), "b")
        | dict.fromkeys(range(100, 110), "a")
        | dict.fromkeys(range(150, 160), "b")
    )


def test_samples_that_lack_something_and_hidden_members_are_left_out_and_counted(tmp_path):
    members = pets(0, 20) | {"1.txt": b"x", "2.png": png(1), "._3.png": b"x", "._3.cls": b"1"}
    data = load_dataset(pack(tmp_path / "s.tar", members))
    assert len(data.train) + len(data.valid) + len(data.test) == 20
    assert data.notes[1:3] == ("ignored: images without a label: 1", "ignored: samples without an image: 1")


def test_a_broken_image_in_a_shard_is_skipped_and_named(tmp_path):
    members = pets(0, 30) | {"00007.png": png(7)[:-20]}
    data = load_dataset(pack(tmp_path / "s.tar", members))
    assert [(bad.file, bad.why) for bad in data.skipped] == [("s.tar/00007.png", "the file is truncated")]


def test_a_compressed_a_broken_and_an_empty_shard_are_errors(tmp_path):
    whole = pack(tmp_path / "s.tar", pets(0, 20))
    packed = tmp_path / "s.tar.gz"
    packed.write_bytes(gzip.compress(whole.read_bytes()))
    assert refused(packed) == (
        f"{packed}: a compressed shard cannot be read from the middle\n  got   .tar.gz\n"
        "  hint  unpack it to .tar; JPEGs gain nothing"
    )
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole.read_bytes()[:5000])
    assert refused(cut).startswith(f"{cut}: this tar file is broken: unexpected end of data")
    empty = pack(tmp_path / "empty.tar", {"a.txt": b"x"})
    assert refused(empty) == (
        f"{empty}: there is no image in this archive\n  got   files that are not images: 1\n"
        "  hint  one folder per class: empty/cat/1.jpg, empty/dog/2.jpg"
    )
    assert refused(str(tmp_path / "[e]*.tar")).endswith("hint  000001.jpg and 000001.cls in the tar, or cat/000001.jpg")
    assert refused(tmp_path / "gone.tar").startswith(f"{tmp_path}/gone.tar: there is no such shard")
    pack(tmp_path / "train-0.tar", pets(0, 4))
    assert "this shard's name has no split, and others have one" in refused(str(tmp_path / "[st]*.tar"))


def test_a_folder_with_a_tar_beside_class_folders_is_no_shards(tmp_path):
    pack(tmp_path / "backup.tar", pets(0, 4))
    (tmp_path / "cat").mkdir()
    assert find_shards(tmp_path) == []


def test_a_shard_that_changes_is_noticed(tmp_path, monkeypatch):
    from striate.data.store import cache

    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda *a, **k: str(tmp_path / "cache"))
    shard = pack(tmp_path / "s.tar", pets(0, 20))
    first = load_dataset(shard, level="mapped")
    pack(shard, pets(0, 20) | {"00003.png": png(99)})
    again = load_dataset(shard, level="mapped")
    assert first.fingerprint != again.fingerprint == load_dataset(shard).fingerprint


def test_a_parquet_table_is_read_as_the_csv_of_the_same_rows(tmp_path):
    from pyarrow import parquet

    rows = {"path": [], "split": [], "size": [], "label": []}
    for k in range(30):
        (tmp_path / f"{k}.png").write_bytes(png(k))
        part = ["train", "val", "test"][k // 10]
        for column, cell in zip(rows, (f"{k}.png", part, k, k % 2), strict=True):
            rows[column].append(cell)
    parquet.write_table(pyarrow.table(rows), tmp_path / "t.parquet")
    lines = [f"{p},{s},{y}" for p, s, y in zip(rows["path"], rows["split"], rows["label"], strict=True)]
    (tmp_path / "t.csv").write_text("\n".join(["path,split,label", *lines]))
    data, other = load_dataset(tmp_path / "t.parquet"), load_dataset(tmp_path / "t.csv")
    assert data.fingerprint == other.fingerprint and data.test.files == other.test.files


def test_a_parquet_table_that_cannot_be_used_says_why(tmp_path):
    from pyarrow import parquet

    table = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"name": ["a"], "label": ["b"]}), table)
    assert refused(table) == (
        f"{table}: no column names image files that are there\n  got   name, label\n"
        "  hint  --images FOLDER says where they lie"
    )
    parquet.write_table(pyarrow.table({"path": ["a.png", None], "label": ["b", "c"]}), table)
    assert refused(table).startswith(f"{table}, line 3: this row has no path")
    table.write_bytes(b"PAR1 no more")
    assert refused(table).startswith(f"{table}: the table cannot be read: ")


def write_pictures(path: Path, rows: range, group: int = 8, names: tuple[str, ...] = ()) -> Path:
    """A Parquet file as the library writes it: pictures as bytes in a record, labels as numbers of classes."""
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    image = [{"bytes": png(k), "path": f"{k}.png"} for k in rows]
    held = pyarrow.table({"image": image, "label": [k % 2 for k in rows], "note": [f"note {k}" for k in rows]})
    if names:
        told = {"info": {"features": {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}}}
        held = held.replace_schema_metadata({"huggingface": json.dumps(told)})
    parquet.write_table(held, path, row_group_size=group)
    return path


def test_a_parquet_file_with_pictures_in_it_is_read_with_the_names_of_its_classes(tmp_path):
    data = load_dataset(write_pictures(tmp_path / "t.parquet", range(30)))
    assert data.classes == ("0", "1") and len(data.train) + len(data.valid) + len(data.test) == 30
    data = load_dataset(write_pictures(tmp_path / "t.parquet", range(30), names=("cat", "dog")))
    for part in (data.train, data.valid, data.test):
        assert [data.classes[k] for k in part.y] == [("cat", "dog")[level % 2] for level in levels(part)]
        assert part.files == tuple(f"t.parquet[{level}]" for level in levels(part))


def test_a_parquet_column_of_bytes_is_pictures_and_only_a_few_of_them_are_in_memory(tmp_path):
    from pyarrow import parquet

    from striate.data.sources.parquet import PictureCells

    held = pyarrow.table({"img": [png(k) for k in range(40)], "label": ["a", "b"] * 20})
    parquet.write_table(held, tmp_path / "t.parquet", row_group_size=5)
    cells = PictureCells(tmp_path / "t.parquet", parquet.ParquetFile(tmp_path / "t.parquet"), "img")
    assert [cells.read(k) for k in (*range(40), 3, 39)] == [png(k) for k in (*range(40), 3, 39)]
    assert sum(len(group) for group in cells.held.values()) <= 10
    images = load_images(tmp_path / "t.parquet", ("b", "a"))
    assert images.y.tolist() == [1, 0] * 20 == [1 - level % 2 for level in levels(images)]


def test_a_parquet_file_of_pictures_without_labels_or_with_two_columns_of_them_says_so(tmp_path):
    from pyarrow import parquet

    table = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"image": [png(k) for k in range(4)]}), table)
    assert refused(table) == (f"{table}: no column holds labels, whose values repeat\n  hint  --label-column NAME")
    parquet.write_table(pyarrow.table({"a": [png(1)], "b": [png(2)], "label": ["x"]}), table)
    assert refused(table) == (f"{table}: more than one column holds pictures\n  got   a, b\n  hint  --file-column a")
    assert load_images(table, ("x", "y"), reading=Reading(file_column="b")).x[0, 0, 0, 0] == 2


def test_an_empty_picture_in_a_parquet_file_is_skipped_and_named(tmp_path):
    from pyarrow import parquet

    pictures = [png(k) if k != 7 else None for k in range(30)]
    parquet.write_table(pyarrow.table({"image": pictures, "label": ["x", "y"] * 15}), tmp_path / "t.parquet")
    [skipped] = load_dataset(tmp_path / "t.parquet", size=(4, 4)).skipped
    assert (skipped.file, skipped.why) == ("t.parquet[7]", "the file cannot be read: the cell is empty")


def saved(folder: Path, splits: dict[str, range], names=("cat", "dog")) -> Path:
    """A data set as the library itself makes and saves it, its pictures' bytes inside."""
    features = datasets.Features({"image": datasets.Image(), "labels": datasets.ClassLabel(names=list(names))})
    made = {}
    for split, rows in splits.items():
        content = {"image": [{"bytes": png(k), "path": None} for k in rows], "labels": [k % 2 for k in rows]}
        made[split] = datasets.Dataset.from_dict(content, features=features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets.disable_progress_bars()
        datasets.DatasetDict(made).save_to_disk(folder)
    return folder


def test_a_hugging_face_data_set_keeps_its_splits_and_class_names(tmp_path):
    folder = saved(tmp_path / "pets", {"train": range(20), "validation": range(20, 26), "test": range(26, 30)})
    data = load_dataset(f"hf:{folder}")
    assert data.classes == ("cat", "dog") and data.shape == (1, 4, 5)
    assert (levels(data.train), levels(data.valid)) == (list(range(20)), list(range(20, 26)))
    assert levels(data.test) == list(range(26, 30))
    assert [data.classes[k] for k in data.train.y[:2]] == ["cat", "dog"]
    assert data.test.files[1] == "test[1]"
    assert audit_data(f"hf:{folder}").images == 30


def test_a_hugging_face_data_set_with_one_split_is_split_and_unknown_splits_are_left_out(tmp_path):
    data = load_dataset(f"hf:{saved(tmp_path / 'one', {'train': range(40)})}")
    assert (len(data.train), len(data.valid), len(data.test)) == (32, 4, 4)
    data = load_dataset(f"hf:{saved(tmp_path / 'two', {'train': range(20), 'extra': range(6), 'test': range(20, 24)})}")
    assert data.notes[0] == "ignored: images of the split extra: 6"


def save_labels(folder: Path, feature: object, splits: dict[str, list]) -> str:
    features = datasets.Features({"image": datasets.Image(), "kind": feature})
    made = {}
    for split, labels in splits.items():
        content = {"image": [{"bytes": png(k), "path": None} for k in range(len(labels))], "kind": labels}
        made[split] = datasets.Dataset.from_dict(content, features=features)
    datasets.disable_progress_bars()
    datasets.DatasetDict(made).save_to_disk(folder)
    return f"hf:{folder}"


def test_images_without_a_label_in_a_hugging_face_data_set_are_an_error_and_can_be_left_out(tmp_path):
    kind = datasets.ClassLabel(names=["cat", "dog"])
    splits = {"train": [0, 1] * 10 + [-1, -1], "validation": [0, 1] * 3, "test": [-1] * 5}
    data = save_labels(tmp_path / "a", kind, splits)
    assert refused(data) == (
        f"{data}, train[20]: 2 images of 22 have no label\n  hint  --drop-unlabelled leaves them out"
    )
    loaded = load_dataset(data, reading=Reading(drop_unlabelled=True))
    assert (len(loaded.train), len(loaded.valid), loaded.test) == (20, 6, None)
    assert loaded.notes[:2] == (
        "ignored: images of the split test, which has no labels: 5",
        "ignored: images without a label: 2",
    )


def test_the_label_column_of_a_hugging_face_data_set_may_be_named_and_holds_one_label(tmp_path):
    data = save_labels(tmp_path / "a", datasets.Value("string"), {"train": ["cat", "dog"] * 10})
    assert "has no column of labels" in refused(data)
    assert load_dataset(data, reading=Reading(label_column="kind")).classes == ("cat", "dog")
    assert refused(data, reading=Reading(label_column="kinds")) == (
        f"{data}: there is no column 'kinds'\n  hint  --label-column: did you mean 'kind'?"
    )
    data = save_labels(tmp_path / "b", datasets.Sequence(datasets.Value("string")), {"train": [["cat", "dog"]] * 10})
    assert refused(data, reading=Reading(label_column="kind")).startswith(f"{data}: this looks like several labels")


def test_a_hugging_face_data_set_can_be_mapped_and_streamed(tmp_path, monkeypatch):
    from striate.data.store import cache

    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda *a, **k: str(tmp_path / "cache"))
    folder = saved(tmp_path / "pets", {"train": range(40)})
    assert (
        len({load_dataset(f"hf:{folder}", level=level).fingerprint for level in ("resident", "mapped", "streamed")})
        == 1
    )


def test_a_hugging_face_data_set_without_images_or_labels_says_what_it_has(tmp_path):
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict({"text": ["a"], "label": [1]}).save_to_disk(tmp_path / "a")
    assert refused(f"hf:{tmp_path / 'a'}") == (
        f"hf:{tmp_path / 'a'}: this data set has no column of images\n  got   text (Value), label (Value)"
    )
    features = datasets.Features({"image": datasets.Image()})
    content = {"image": [{"bytes": png(1), "path": None}]}
    datasets.Dataset.from_dict(content, features=features).save_to_disk(tmp_path / "b")
    assert "has no column of labels" in refused(f"hf:{tmp_path / 'b'}")
    (tmp_path / "c").mkdir()
    assert refused(f"hf:{tmp_path / 'c'}").startswith(f"hf:{tmp_path / 'c'}: this data set cannot be loaded: ")


@pytest.mark.parametrize(
    "source, missing, message",
    [
        ("hf:beans", "datasets", "hf:beans: a Hugging Face data set needs a library that is not installed\n"
         '  hint  pip install "striate[hub]"'),
        ("t.parquet", "pyarrow", "t.parquet: a Parquet table needs a library that is not installed\n"
         '  hint  pip install "striate[hub]"'),
    ],
)  # fmt: skip
def test_a_library_that_is_missing_is_named(tmp_path, monkeypatch, source, missing, message):
    monkeypatch.chdir(tmp_path)
    Path("t.parquet").write_bytes(b"x")
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.split(".")[0] == missing:
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert refused(source) == message
