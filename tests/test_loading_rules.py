"""Small rules of the data's intake, each at its bounds: counts, columns, splits, records, progress."""

import struct
from collections import Counter
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import striate
from striate.data.images import draw_groups
from striate.data.reading import make_reading
from striate.data.sources import class_folders
from striate.data.sources.array_formats import IDX_TYPES, read_idx
from striate.data.sources.hub import name_hub_label
from striate.data.sources.load import list_source, load_dataset
from striate.errors import DataError


def write_image(file: Path, seed: int = 0, size: tuple[int, int] = (8, 8)) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(pixels).save(file)


# Splits that keep groups together.


def draw_greedily(y, orders, goes, most, groups):
    """The rule in plain Python, one image at a time."""
    members = {g: [k for k in range(len(y)) if groups[k] == g] for g in set(groups.tolist())}
    sizes = {g: Counter(int(y[k]) for k in ks) for g, ks in members.items()}
    gone, given_ = [], Counter()

    def fits(g):
        return all(given_[c] + n <= most[c] for c, n in sizes[g].items())

    for label, order in enumerate(orders):
        waiting = [g for g in dict.fromkeys(int(groups[k]) for k in order) if g not in gone]
        for g in waiting:
            if given_[label] >= goes[label]:
                break
            if given_[label] + sizes[g][label] <= goes[label] and fits(g):
                gone.append(g)
                given_.update(sizes[g])
        if goes[label] and not given_[label]:
            least = min((g for g in waiting if fits(g)), key=lambda g: len(members[g]), default=None)
            if least is not None:
                gone.append(least)
                given_.update(sizes[least])
    return sorted(k for g in gone for k in members[g])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=3, max_size=60), st.integers(0, 99))
def test_groups_are_drawn_as_plain_python_draws_them(rows, seed):
    draw = np.random.default_rng(seed)
    y = np.array([label for label, _ in rows])
    names = draw.permutation(1000)[:10]  # in no order
    groups = names[[group for _, group in rows]]
    counts = np.bincount(y, minlength=3)
    orders = [draw.permutation(np.flatnonzero(y == label)) for label in range(3)]
    goes, most = draw.integers(0, counts + 1), draw.integers(0, counts + 1)
    found = draw_groups(y, orders, goes, most, groups)
    assert found.tolist() == draw_greedily(y, orders, goes, most, groups)


# idx files.


def make_idx(kind: int, shape: tuple[int, ...], fill: bytes = b"\1") -> bytes:
    count = int(np.prod(shape)) * np.dtype(IDX_TYPES[kind]).itemsize
    return struct.pack(f">BBBB{len(shape)}i", 0, 0, kind, len(shape), *shape) + fill * count


@pytest.mark.parametrize("kind", IDX_TYPES)
def test_an_idx_file_of_any_type_is_read_whole_and_refused_where_it_is_cut(tmp_path, kind):
    whole = make_idx(kind, (3, 2))
    file = tmp_path / "x.idx"
    file.write_bytes(whole)
    assert np.array_equal(read_idx(file), np.frombuffer(whole[12:], IDX_TYPES[kind]).reshape(3, 2))
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"not an idx file|does not hold what its header says"):
            read_idx(file)
    file.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match="does not hold what its header says"):
        read_idx(file)


@pytest.mark.parametrize("head", [b"\1\0\x08\1", b"\0\1\x08\1", b"\0\0\x07\1", b"\0\0\x0a\1"])
def test_another_head_is_no_idx_file(tmp_path, head):
    file = tmp_path / "x.idx"
    file.write_bytes(head + struct.pack(">i", 4) + b"\0" * 4)
    with pytest.raises(DataError, match="this is not an idx file"):
        read_idx(file)


def test_an_idx_of_no_dimension_is_one_number(tmp_path):
    (tmp_path / "x.idx").write_bytes(b"\0\0\x08\0\x05")
    assert read_idx(tmp_path / "x.idx") == 5


# Names, labels, columns.


@pytest.mark.parametrize(
    "count, good", [(class_folders.LEAST_OF_NAMED, True), (class_folders.LEAST_OF_NAMED - 1, False)]
)
def test_classes_from_names_need_so_many_images_each(tmp_path, count, good):
    for k in range(6):
        write_image(tmp_path / f"cat.{k}.png", k)
    for k in range(count):
        write_image(tmp_path / f"dog.{k}.png", 10 + k)
    reading = make_reading({"labels_from": "name"})
    if good:
        assert Counter(e.label for e in list_source(tmp_path, reading).entries) == {"cat": 6, "dog": count}
        return
    with pytest.raises(DataError, match="the files' names do not say their classes"):
        list_source(tmp_path, reading)


def test_classes_from_names_are_two_or_more(tmp_path):
    for k in range(9):
        write_image(tmp_path / f"cat.{k}.png", k)
    with pytest.raises(DataError, match="the files' names do not say their classes"):
        list_source(tmp_path, make_reading({"labels_from": "name"}))


@pytest.mark.parametrize(
    "label, names, shown",
    [(None, [], ""), (None, ["a", "b"], ""), (-1, ["a", "b"], ""), (2, ["a", "b"], ""), (0, ["a", "b"], "a"),
     (1, ["a", "b"], "b"), (7, [], "7"), ("cat", [], "cat")],
)  # fmt: skip
def test_a_hubs_label_is_a_name_where_there_is_one_and_nothing_where_it_is_out_of_range(label, names, shown):
    assert name_hub_label(label, names) == shown


def make_table(tmp_path, text: str, count: int = 12) -> Path:
    for k in range(count):
        write_image(tmp_path / f"{k}.png", k)
    (tmp_path / "labels.csv").write_text(text)
    return tmp_path / "labels.csv"


@pytest.mark.parametrize("yes, no", [("true", "false"), ("1", "0"), ("yes", "no"), ("TRUE", ""), ("True", "False")])
@pytest.mark.parametrize("column, split", [("is_valid", "valid"), ("is_test", "test")])
def test_a_flag_column_in_any_spelling_says_the_split(tmp_path, yes, no, column, split):
    rows = "".join(f"{k}.png,{'ab'[k % 2]},{yes if k < 4 else no}\n" for k in range(12))
    found = list_source(make_table(tmp_path, f"file,label,{column}\n{rows}"))
    assert Counter(e.split for e in found.entries) == {split: 4, "train": 8}


@pytest.mark.parametrize(
    "words, splits",
    [
        (["train", "test"], {"train": 6, "test": 6}),
        (["train", "train"], {None: 12}),  # one word alone tells no split
        (["train", "apple"], {None: 12}),
    ],
)
def test_a_column_of_two_splits_is_taken_for_them_under_any_name(tmp_path, words, splits):
    rows = "".join(f"{k}.png,{'ab'[k // 2 % 2]},{words[k % 2]}\n" for k in range(12))
    reading = make_reading({"label_column": "label"})
    found = list_source(make_table(tmp_path, f"file,label,usage\n{rows}"), reading)
    assert Counter(e.split for e in found.entries) == splits


@pytest.mark.parametrize("again", [0, 1, 3])
def test_rows_that_are_there_twice_count_once_and_are_told(tmp_path, again):
    rows = "".join(f"{k}.png,{'ab'[k % 2]}\n" for k in [*range(12), *range(again)])
    found = list_source(make_table(tmp_path, f"file,label\n{rows}"))
    assert len(found.entries) == 12
    assert found.ignored.get("rows that are there already", 0) == again


def test_of_two_files_of_a_name_the_one_in_the_rows_split_is_meant(tmp_path):
    rows = ["file,label,split"]
    for split in ("train", "test"):
        for k in range(6):
            write_image(tmp_path / split / f"{k}.png", 10 * (split == "test") + k)
            rows.append(f"{k}.png,{'ab'[k % 2]},{split}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    found = list_source(tmp_path / "labels.csv")
    assert sorted(e.file for e in found.entries if e.split == "test") == [f"test/{k}.png" for k in range(6)]
    assert sorted(e.file for e in found.entries if e.split == "train") == [f"train/{k}.png" for k in range(6)]


def test_records_in_python_are_read_by_their_keys(tmp_path):
    for k in range(12):
        write_image(tmp_path / f"{k}.png", k)
    files = {str(tmp_path / f"{k}.png"): {"label": "ab"[k % 2], "note": "x"} for k in range(12)}
    found = list_source(files)
    assert Counter(e.label for e in found.entries) == {"a": 6, "b": 6}


@pytest.mark.parametrize("rows", [[["a.png"], ["b.png"]], [["a.png", "cat"], ["b.png"]], [[], []]])
def test_rows_without_a_label_and_uneven_rows_are_refused(rows):
    with pytest.raises(DataError, match="this is no list of files and labels"):
        list_source(rows)


@pytest.mark.parametrize("own", [True, False])
def test_a_frames_index_is_a_column_where_it_has_a_name(tmp_path, own):
    pandas = pytest.importorskip("pandas")
    for k in range(12):
        write_image(tmp_path / f"{k}.png", k)
    frame = pandas.DataFrame(
        {"file": [str(tmp_path / f"{k}.png") for k in range(12)], "label": ["ab"[k % 2] for k in range(12)]}
    )
    if own:
        frame = frame.set_index("file")
        assert len(list_source(frame).entries) == 12
        return
    frame.index = frame.pop("file")
    frame.index.name = None
    with pytest.raises(DataError):
        list_source(frame)


@pytest.mark.parametrize("nested", [(True, True), (True, False), (False, False)])
def test_folds_with_splits_of_their_own_are_several_readings(tmp_path, nested):
    for fold, deeper in enumerate(nested):
        for split in ("train", "val") if deeper else ("",):
            for label in ("cat", "dog"):
                for k in range(4):
                    write_image(
                        tmp_path / f"fold_{fold}" / split / label / f"{k}.png",
                        crc32(f"{fold} {split} {label} {k}".encode()),
                    )
    if any(nested):
        with pytest.raises(DataError, match="each fold has splits of its own"):
            list_source(tmp_path)
        return
    assert Counter(e.label for e in list_source(tmp_path).entries) == {"cat": 8, "dog": 8}


def test_each_link_that_leads_back_is_counted(tmp_path):
    for label in ("cat", "dog"):
        for k in range(4):
            write_image(tmp_path / label / f"{k}.png", k)
        (tmp_path / label / "up").symlink_to(tmp_path, target_is_directory=True)
    found = list_source(tmp_path)
    assert len(found.entries) == 8
    assert found.ignored["links that lead back"] == 2


# What an audit says.


@pytest.mark.parametrize("size, thin", [((10, 40), 0), ((10, 41), 1), ((40, 10), 0), ((41, 10), 1)])
def test_a_picture_is_thin_from_more_than_four_times_as_long_as_wide(tmp_path, size, thin):
    for label in ("cat", "dog"):
        for k in range(4):
            write_image(tmp_path / label / f"{k}.png", crc32(f"{label} {k}".encode()), (20, 20))
    write_image(tmp_path / "cat" / "odd.png", 5, size)
    found = [finding for finding in striate.check(tmp_path).findings if finding.kind == "thin"]
    assert [f.files for f in found] == [("cat/odd.png",)] * thin


# Progress.


@pytest.mark.parametrize("level", ["resident", "mapped"])
@pytest.mark.parametrize("count", [15, 16, 17, 40])
def test_progress_comes_every_sixteen_images_and_at_the_end(tmp_path, monkeypatch, level, count):
    monkeypatch.setattr("striate.data.store.cache.platformdirs.user_cache_dir", lambda *a, **k: str(tmp_path / "cache"))
    for k in range(count):
        write_image(tmp_path / "data" / "ab"[k % 2] / f"{k}.png", k)
    told = []
    load_dataset(tmp_path / "data", level=level, progress=lambda *words: told.append(words))
    steps = sorted({*range(16, count + 1, 16), count})
    assert [words for words in told if words[0] == "images"] == [("images", step, count) for step in steps]


# Rules of tables and names, told on lists of rows.


def read_table(tmp_path, text, **reading):
    return list_source(make_table(tmp_path, text), make_reading(reading))


@pytest.mark.parametrize(
    "number, classes",
    [
        ([0, 1] * 6, {"cat", "dog"}),  # it numbers what the words name
        ([1, 0] * 6, {"cat", "dog"}),
        ([0, 0] * 6, {"cat", "dog"}),  # one number for all is no label
    ],
)
def test_of_a_classs_number_and_name_the_name_is_the_label(tmp_path, number, classes):
    rows = "".join(f"{k}.png,{number[k]},{['cat', 'dog'][k % 2]}\n" for k in range(12))
    assert {e.label for e in read_table(tmp_path, f"file,first,second\n{rows}").entries} == classes


def test_columns_of_0_and_1_are_a_class_each_where_one_is_1_in_a_row(tmp_path):
    rows = "".join(f"{k}.png,{int(k % 3 == 0)},{int(k % 3 == 1)},{int(k % 3 == 2)}\n" for k in range(12))
    found = read_table(tmp_path, f"file,cat,dog,emu\n{rows}")
    assert Counter(e.label for e in found.entries) == {"cat": 4, "dog": 4, "emu": 4}


def test_columns_of_0_and_1_with_two_in_a_row_are_several_labels_which_are_named(tmp_path):
    rows = "".join(f"{k}.png,{int(k != 5)},{int(k % 2)},{int(k == 5)}\n" for k in range(12))
    with pytest.raises(DataError, match="several labels") as refused:
        read_table(tmp_path, f"file,cat,dog,emu\n{rows}")
    assert refused.value.got == "cat, dog"
    assert "line 3" in refused.value.where
    assert refused.value.hint == "--label-column cat learns one of them, --labels cat,dog,emu all"


@pytest.mark.parametrize(
    "labels, several",
    [
        (["cat dog", "dog cat", "dog cat", "cat"], True),
        (["cat,dog", "dog,emu", "emu,cat", "cat"], True),
        (["boston bull", "french bull", "boston bull", "french bull"], False),
        (["great dane", "great dane", "emu", "emu"], False),
    ],
)
def test_words_that_come_again_in_other_places_are_several_labels(tmp_path, labels, several):
    rows = "".join(f'{k}.png,"{labels[k % 4]}"\n' for k in range(12))
    if several:
        with pytest.raises(DataError, match="several labels"):
            read_table(tmp_path, f"file,label\n{rows}")
        return
    assert {e.label for e in read_table(tmp_path, f"file,label\n{rows}").entries} == set(labels)


@pytest.mark.parametrize("head", ["# made by hand\n", "# a, list\n# of files\n", ""])
def test_remarks_before_the_first_row_are_none_of_it_and_a_header_behind_a_sign_is(tmp_path, head):
    rows = "".join(f"{k}.png,{'ab'[k % 2]},{k}\n" for k in range(12))
    found = read_table(tmp_path, f"{head}file,label,size\n{rows}")
    assert Counter(e.label for e in found.entries) == {"a": 6, "b": 6}
    found = read_table(tmp_path, f"#file,label,size\n{rows}")
    assert Counter(e.label for e in found.entries) == {"a": 6, "b": 6}


@pytest.mark.parametrize(
    "upper, lower, level",
    [
        (("cats", "dogs"), ("tabby", "siam"), None),  # each under both: two levels may be meant
        (("day1", "day2"), ("cat", "dog"), 2),
        (("cats", "dogs"), ("1", "2"), 1),
    ],
)
def test_the_level_of_the_classes_is_told_by_numbers_and_by_what_comes_again(tmp_path, upper, lower, level):
    for one in upper:
        for other in lower:
            for k in range(3):
                write_image(tmp_path / one / other / f"{k}.png", crc32(f"{one}{other}{k}".encode()))
    if level is None:
        with pytest.raises(DataError, match="the folders of two levels may be the classes"):
            list_source(tmp_path)
        for depth, names in ((1, upper), (2, lower)):
            found = list_source(tmp_path, make_reading({"depth": depth}))
            assert {e.label for e in found.entries} == set(names)
        return
    assert {e.label for e in list_source(tmp_path).entries} == set((upper, lower)[level - 1])


def test_a_model_reads_as_it_is_told_and_if_it_is_not_as_it_was_trained():
    from striate.data.reading import choose_reading

    own = {"suffix": ".jpg", "bad_share": 0.5}
    assert choose_reading({}, own) == choose_reading({"group": None}, own) == make_reading(own)
    assert choose_reading({"bad_share": 0.2}, own) == make_reading({"bad_share": 0.2})


# Numbers.


def test_what_lies_on_the_bounds_of_a_scale_is_not_clipped():
    from striate.data.read.depth import Depth, draw_from_blocks, measure_clipped

    values = np.array([-1.0, 0.0, 5.0, 10.0, 11.0])
    assert measure_clipped(values, Depth(0, 10, False)) == 0.4
    assert measure_clipped(values[1:4], Depth(0, 10, False)) == 0.0
    assert measure_clipped(values[:0], Depth(0, 10, False)) == 0.0
    blocks = [np.arange(100_000), np.arange(100_000, 400_000)]
    drawn = draw_from_blocks(iter(blocks), 400_000)
    assert len(drawn) == 200_000
    assert (drawn < 100_000).sum() == 50_000


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 100])
def test_an_array_in_a_file_comes_in_blocks_of_whole_rows(tmp_path, monkeypatch, rows):
    from striate.data.read import npy

    x = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3), np.uint8)
    np.save(tmp_path / "x.npy", x)
    monkeypatch.setattr(npy, "READ_BLOCK", rows * 60 + 59)
    found = list(npy.open_npy(tmp_path / "x.npy").blocks())
    assert [len(block) for block in found] == [min(rows, 7 - low) for low in range(0, 7, rows)]
    assert np.array_equal(np.concatenate([np.asarray(block).reshape(-1, 4, 5, 3) for block in found]), x)


@pytest.mark.parametrize("shorter, good", [(64, True), (65, True), (63, False)])
def test_a_crops_shorter_side_is_no_less_than_the_frame(shorter, good):
    from striate.data.read.resize import resize_image

    image = np.zeros((80, 90, 3), np.uint8)
    if good:
        assert resize_image(image, (64, 48), f"crop {shorter}").shape == (64, 48, 3)
        return
    with pytest.raises(DataError, match="the shorter side is smaller than the crop") as refused:
        resize_image(image, (64, 48), f"crop {shorter}")
    assert refused.value.rule == "at least 64, the crop's longer side"


def test_where_no_image_can_be_read_the_first_ones_reason_is_told(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="none of its images can be read") as refused:
        load_dataset(tmp_path)
    assert refused.value.got == "2 files, the first a/0.png: the file is empty (0 bytes)"


def test_a_streamed_store_is_pickled_without_its_threads(tmp_path, monkeypatch):
    import pickle

    monkeypatch.setattr("striate.data.store.cache.platformdirs.user_cache_dir", lambda *a, **k: str(tmp_path / "cache"))
    for k in range(20):
        write_image(tmp_path / "data" / "ab"[k % 2] / f"{k}.png", k)
    x = load_dataset(tmp_path / "data", level="streamed").train.x
    x.store.front = None
    first = x[:]
    again = pickle.loads(pickle.dumps(x))
    assert np.array_equal(again[:], first)
