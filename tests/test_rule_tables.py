"""Limits and rules by kind: each bound from both sides, each default that is a promise, each small rule recounted."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass, replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from pkgutil import walk_packages
from statistics import median
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

import striate
from striate.architecture.layers import LAYERS, AvgPool, Conv, ConvTranspose, Dense, Identity, MaxPool
from striate.architecture.layers.layer import Layer
from striate.architecture.net import Net
from striate.data.check.audit import find_shared_origins, summarise_seen
from striate.data.check.examine import SeenImage
from striate.data.check.label_errors import find_doubts
from striate.data.images import measure_channels
from striate.data.listing import shorten_list
from striate.data.read.deep import read_colour_pfm
from striate.data.read.files import shorten_error
from striate.data.sources import array_formats
from striate.data.sources.archive import read_archive_tree
from striate.data.sources.hub import find_hub_columns
from striate.data.sources.pair_items import take_pillow
from striate.data.sources.pairs import split_labels
from striate.data.sources.parquet_files import PackedTable, name_folder
from striate.data.sources.records import tabulate_lists
from striate.data.sources.shards import expand_braces, split_sample
from striate.data.sources.table import choose_by_split
from striate.data.sources.table_columns import looks_like_files
from striate.data.sources.tree import SourceTree, TreeFile
from striate.data.store import allowance
from striate.data.store.array_pixels import PixelTarget, convert_channels, load_pixels
from striate.data.store.rows import Rows
from striate.errors import DataError, NetError, RecipeError, ShapeError
from striate.fitting.callables import describe_given
from striate.fitting.forecast import Forecast, Window
from striate.fitting.layer_patterns import parse_rates
from striate.fitting.probe import ProbeResult
from striate.fitting.rate_finder import RateSweep, sweep_rates
from striate.fitting.recipe import Recipe
from striate.metrics.numbers import format_percent
from striate.setting import list_settings

TINY, HUGE = 1e-9, 1 - 1e-9


@pytest.mark.parametrize(("field", "good", "bad"), [
    ("epochs", [1], [0]), ("batch", [2], [1]), ("lr", [TINY, None, 1e6], [0.0, -TINY, float("inf"), float("nan")]),
    ("momentum", [0.0, HUGE], [-TINY, 1.0]), ("warmup", [0.0, HUGE], [-TINY, 1.0]),
    ("weight_decay", [0.0, 9.0], [-TINY, float("inf")]), ("label_smoothing", [0.0, HUGE], [-TINY, 1.0]),
    ("ema", [0.0, HUGE], [-TINY, 1.0]), ("lookahead", [0, 9], [-1]),
    ("bn_momentum", [TINY, 1.0, None], [0.0, 1 + TINY]), ("grow", [0.0, HUGE], [-TINY, 1.0]),
    ("patience", [0, 9], [-1]), ("memorised", [0.0, 1.0], [-TINY, 1 + TINY]), ("cooldown", [0, 9], [-1]),
    ("accumulate", [1, 16], [0, 17]), ("seed", [0, 2**63 - 1], [-1, 2**63]),
])  # fmt: skip
def test_a_setting_of_the_recipe_may_be_what_its_rule_says_and_nothing_beyond(field, good, bad):
    for value in good:
        assert getattr(Recipe(**{"batch": 32} | {field: value}), field) == value
    for value in bad:
        with pytest.raises(RecipeError) as refused:
            Recipe(**{"batch": 32} | {field: value})
        assert refused.value.where == f"recipe.{field}"


def test_two_means_that_are_the_model_are_refused():
    for ema, lookahead, refused in ((0.9, 0, False), (0.0, 5, False), (0.9, 5, True)):
        if refused:
            with pytest.raises(RecipeError, match="0 beside ema"):
                Recipe(ema=ema, lookahead=lookahead)
        else:
            Recipe(ema=ema, lookahead=lookahead)


def list_layers() -> list[Layer]:
    """Of each record its simplest form, and one for each other value of a field that its examples name."""
    made: list[Layer] = [
        Conv(6, (3, 5)),
        Conv(6, 3, groups=2),
        Dense(5),
        ConvTranspose(4, 3, groups=2),
    ]
    for kind in LAYERS.values():
        examples = {name: list(values) for name, values in kind.EXAMPLES.items()}
        given_ = {f.name: examples[f.name][0] for f in fields(kind) if f.name in examples and f.default is MISSING}
        for name, values in [("name", [None]), *examples.items()]:
            for value in values:
                with suppress(NetError, TypeError):
                    made.append(kind(**given_ | {name: value}))
    return made


LEAST = re.compile(r"a whole number of at least (\d+)")


@pytest.mark.parametrize("layer", list_layers(), ids=repr)
def test_a_whole_number_of_a_layer_may_be_the_least_that_its_refusal_names(layer):
    """Where a value of −1 is refused with a least one, one less than that is refused too, and the least one is not."""
    for field in fields(layer):
        if type(getattr(layer, field.name)) is not int or not field.init:
            continue
        with pytest.raises(NetError) as refused:
            replace(layer, **{field.name: -1})
        if found := LEAST.search(refused.value.rule or ""):
            least = int(found[1])
            with pytest.raises(NetError):
                replace(layer, **{field.name: least - 1})
            try:
                replace(layer, **{field.name: least})
            except NetError as e:
                assert "at least" not in (e.rule or ""), "another field's rule may refuse it, as groups do"


@pytest.mark.parametrize("layer", list_layers(), ids=repr)
def test_what_weights_are_drawn_by_are_torchs_own_fans(layer):
    for shape in ((4, 9, 9), (12,)):
        try:
            layer.out(shape)
            tensors = layer.tensors(shape)
        except (NetError, ShapeError):
            continue
        for tensor in tensors:
            if tensor.name == "weight" and tensor.fan_in and len(tensor.shape) > 1:
                fans = torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(tensor.shape))
                assert {tensor.fan_in, tensor.fan_out} == set(fans)


@pytest.mark.parametrize(("shape", "refused"), [
    ((5, 5, 3), True), ((5, 5, 1), True), ((5, 5, 4), True), ((5, 5, 2), False), ((5, 5, 5), False),
    ((4, 4, 3), False), ((5, 6, 3), False), ((16, 17, 3), True), ((15, 17, 3), False), ((17, 15, 3), False),
    ((32, 48, 1), False), ((32, 32, 1), True), ((48, 32, 4), True), ((64, 28, 3), True), ((3, 32, 32), False),
])  # fmt: skip
def test_an_input_whose_channels_come_last_is_refused(shape, refused):
    if refused:
        with pytest.raises(NetError, match="channels come first here"):
            Net(shape, [Identity()])
    else:
        assert Net(shape, [Identity()]).input == shape


@pytest.mark.parametrize("shape", [(0, 4, 4), (1, 4), (1, 2, 4, 4), (1.0, 4, 4), "144", 4, (True, 4, 4)])
def test_an_input_is_three_whole_numbers_from_1_on(shape):
    with pytest.raises(NetError, match="input must be"):
        Net(shape, [Identity()])
    assert Net((1, 1, 1), [Identity()]).output == (1, 1, 1)


rows_seen = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]), st.sampled_from(["train", "valid", "test"]), st.integers(33, 36),
        st.integers(33, 36), st.sampled_from(["L", "RGB"]), st.integers(0, 9), st.booleans(),
    ), min_size=1, max_size=12,
)  # fmt: skip


@given(rows_seen)
def test_the_account_of_a_data_set_is_what_counting_gives(rows):
    thumbs = np.random.default_rng(5).integers(0, 256, (10, 16, 17), np.uint8)
    seen = [
        SeenImage(f"{k}", label, split, None if good else "broken", h, w, mode, f"content {content}", thumbs[content])
        for k, (label, split, h, w, mode, content, good) in enumerate(rows)
    ]
    good = [one for one in seen if one.why is None]
    found = summarise_seen("set", seen, {"x": 2})
    assert (found.images, found.ignored) == (len(good), {"x": 2})
    assert [(bad.file, bad.why) for bad in found.unreadable] == [(one.file, "broken") for one in seen if one.why]
    tally = Counter((one.split, one.label) for one in good)
    assert found.counts == {
        split: {label: tally[split, label] for label in sorted({one.label for one in seen})}
        for split in ("train", "valid", "test") if any(one.split == split for one in seen)
    }  # fmt: skip
    ratios = [one.width / one.height for one in good] or [1.0]
    assert found.aspects == (min(ratios), median(ratios), max(ratios))
    assert found.sizes == Counter(f"{one.height}×{one.width}" for one in good)
    assert found.modes == Counter(one.mode for one in good)
    learnt = [n for n in found.counts.get("train", {}).values() if n]
    assert found.imbalance == (max(learnt) / min(learnt) if learnt else 1.0)
    groups: dict[str, list[SeenImage]] = {}
    for one in good:
        groups.setdefault(one.content, []).append(one)
    kinds: dict[str, list] = {"leak": [], "conflict": [], "duplicate": []}
    for group in (group for group in groups.values() if len(group) > 1):
        labels, splits = {one.label for one in group}, {one.split for one in group}
        files = tuple(one.file for one in group)
        kinds["leak"] += [files] if len(splits) > 1 else []
        kinds["conflict"] += [files] if len(labels) > 1 else []
        kinds["duplicate"] += [files] if len(splits) == len(labels) == 1 else []
    for kind, expected in kinds.items():
        assert [finding.files for finding in found.findings if finding.kind == kind] == expected
    severities = [finding.severity for finding in found.findings]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)
    assert found.clean == (set(severities) <= {"note"})


def test_of_no_image_nothing_is_doubted():
    doubts = find_doubts(np.zeros((0, 3)), np.zeros(0, int), [], ["a", "b", "c"])
    assert (doubts.errors, doubts.files, doubts.judged, doubts.agreed) == ((), (), 0, 0.0)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_the_mean_and_the_deviation_of_channels_are_numpys_and_no_deviation_is_less_than_a_level(n, c, level, seed):
    x = np.random.default_rng(seed).integers(0, 256, (n, 3, 5, c), np.uint8)
    mean, std = measure_channels(x)
    assert mean == pytest.approx(x.mean((0, 1, 2)) / 255, abs=1e-6)
    assert std == pytest.approx(np.maximum(x.std((0, 1, 2)), 1) / 255, abs=1e-6)
    assert measure_channels(np.full((n, 2, 2, c), level, np.uint8)) == ((round(level / 255, 6),) * c, (0.003922,) * c)


@pytest.mark.parametrize("scale", ["-1.0", "1.0", "-0.5", "2"])
@pytest.mark.parametrize("blank", [" ", "\n"])
def test_a_colour_pfm_is_read_in_the_order_of_bytes_that_the_sign_of_its_scale_says(scale, blank):
    values = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    body = values[::-1].astype("<f4" if scale.startswith("-") else ">f4").tobytes()
    assert np.array_equal(read_colour_pfm(f"PF{blank}5 4\n{scale}\n".encode() + body, "a.pfm"), values)
    with pytest.raises(DataError, match="broken or truncated"):
        read_colour_pfm(f"PF{blank}5 4\n{scale}\n".encode() + body[:-1], "a.pfm")


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_byte_of_an_archive_that_is_wrong_is_noticed(packing, tmp_path):
    content = np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tobytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w", packing) as archive:
        archive.writestr("a/1.png", content)
    [member] = [file.source for file in read_archive_tree(tmp_path / "a.zip").images]
    assert member.read_bytes() == content
    whole = bytearray((tmp_path / "a.zip").read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "a.zip").write_bytes(whole)
    with pytest.raises(DataError, match="broken"):
        member.read_bytes()


def test_cifars_records_are_a_label_and_three_planes(tmp_path, monkeypatch):
    draw = np.random.default_rng(0)
    records = {name: draw.integers(0, 256, (2, 3073), np.uint8) for name in
               [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]}  # fmt: skip
    for name, rows in records.items():
        rows[:, 0] %= 10
        (tmp_path / name).write_bytes(rows.tobytes())
    found = array_formats.read_cifar10(tmp_path)
    assert {split: x.shape for split, (x, _) in found.items()} == {"train": (10, 32, 32, 3), "test": (2, 32, 32, 3)}
    x, y = found["test"]
    for k, row in enumerate(records["test_batch.bin"]):
        assert y[k] == row[0] and np.array_equal(x[k], np.stack(np.split(row[1:], 3), 1).reshape(32, 32, 3))
    (tmp_path / "data_batch_3.bin").write_bytes(bytes(3072))
    with pytest.raises(DataError, match="not a CIFAR-10 batch"):
        array_formats.read_cifar10(tmp_path)


def test_a_sample_of_a_shard_is_its_name_up_to_the_first_dot():
    assert split_sample(("a.b", "c", "000.seg.png")) == ("a.b", "c", "000") == split_sample(("a.b", "c", "000.cls"))
    assert expand_braces("s-{08..11}.tar") == ["s-08.tar", "s-09.tar", "s-10.tar", "s-11.tar"]
    assert expand_braces("{a,b}/{0..1}") == ["a/0", "a/1", "b/0", "b/1"] and expand_braces("x") == ["x"]


@pytest.mark.parametrize(("mode", "expected"), [
    ("1", "L"), ("L", "L"), ("P", "RGB"), ("RGB", "RGB"), ("CMYK", "RGB"), ("YCbCr", "RGB"), ("HSV", "RGB"),
    ("I;16", "I;16"), ("I", "I"), ("F", "F"),
])  # fmt: skip
def test_pillows_image_is_gray_or_colour_of_8_bits_or_as_deep_as_it_is(mode, expected):
    pixels = np.random.default_rng(1).integers(0, 256, (4, 6, 3), np.uint8)
    image = Image.fromarray(pixels if mode not in ("I;16", "I", "F") else pixels[..., 0]).convert(mode)
    taken = take_pillow(image)
    assert np.array_equal(taken, np.array(image.convert(expected)).reshape(4, 6, -1))


@pytest.mark.parametrize(("names", "split", "chosen"), [
    (["train/a.png", "test/a.png"], "train", ["train/a.png"]), (["train/a.png", "test/a.png"], None, "all"),
    (["x/a.png", "y/a.png"], "train", "all"), (["test/a.png"], "train", "all"),
    (["val/a.png", "b"], "valid", ["val/a.png"]),
    (["a/train", "b/c"], "train", "all"),
])  # fmt: skip
def test_of_several_files_those_in_the_folder_of_the_split_are_meant(names, split, chosen):
    assert choose_by_split(names, split) == (names if chosen == "all" else chosen)


def test_an_array_in_other_channels_and_sizes_is_as_pillow_makes_it():
    draw = np.random.default_rng(3)
    gray, colour = draw.integers(0, 256, (5, 4, 1), np.uint8), draw.integers(0, 256, (5, 4, 3), np.uint8)
    assert convert_channels(gray, 1) is gray and convert_channels(colour, 3) is colour
    assert np.array_equal(convert_channels(gray, 3), np.array(Image.fromarray(gray[..., 0]).convert("RGB")))
    assert np.array_equal(convert_channels(colour, 1)[..., 0], np.array(Image.fromarray(colour).convert("L")))
    for given_, wanted in ((2, 3), (3, 2), (1, 4)):
        with pytest.raises(DataError):
            convert_channels(np.zeros((2, 2, given_), np.uint8), wanted)
    x = draw.integers(0, 256, (3, 8, 8), np.uint8)
    assert load_pixels(x, "x", PixelTarget((8, 8), 1, "pad")).base is not None, "as it is"
    made = load_pixels(x, "x", PixelTarget((4, 4), 3, "squash"))
    how = Image.Resampling.BILINEAR
    assert np.array_equal(made, [np.array(Image.fromarray(one).resize((4, 4), how).convert("RGB")) for one in x])
    flags = x > 127
    assert np.array_equal(load_pixels(flags, "x", PixelTarget((8, 8), 1, "pad"))[..., 0], flags * 255)


@pytest.mark.parametrize(("shape", "first"), [
    ((9, 3, 32, 32), True), ((9, 1, 32, 32), True), ((9, 4, 64, 64), True), ((9, 8, 8, 12), False),
    ((9, 3, 32, 3), False), ((9, 3, 32, 1), False), ((9, 32, 32, 4), False), ((9, 4, 64, 4), False),
    ((9, 4, 4, 64), False), ((9, 4, 5, 5), True), ((9, 3, 2, 2), True),
])  # fmt: skip
def test_whether_the_bands_of_an_array_come_first(shape, first):
    assert array_formats.are_bands_first(shape) is first


@pytest.mark.parametrize(("y", "names"), [
    ([0, 1], ["0", "1"]), ([[0], [1]], ["0", "1"]), ([1.0, 2.0], ["1", "2"]), ([b"a", b"b"], ["a", "b"]),
    (["a", "b"], ["a", "b"]), ([True, False], ["True", "False"]), ([0.5, 1.0], None), ([np.nan, 1.0], None),
    ([[0, 1], [1, 0]], None), ([0, 1, 2], None), ([1j, 2j], None),
])  # fmt: skip
def test_labels_in_any_form_are_names(y, names):
    if names is None:
        with pytest.raises(DataError):
            array_formats.format_labels(y, 2, "y")
    else:
        assert array_formats.format_labels(y, 2, "y") == names


def test_a_label_is_a_class_or_the_number_of_one_that_is_given():
    number = array_formats.number_labels
    assert [found.tolist() if hasattr(found, "tolist") else found for found in number(["b", "a", "b"], None, "y")] == [
        [1, 0, 1], ("a", "b"),
    ]  # fmt: skip
    assert number(["1", "0", "b"], ("a", "b"), "y")[0].tolist() == [1, 0, 1]
    assert number(["1", "0"], ("1", "0"), "y")[0].tolist() == [0, 1]
    with pytest.raises(DataError, match="a class 'c' that the others lack"):
        number(["c"], ("a", "b"), "y")


def features(**kinds: str) -> dict:
    return {name: type(kind, (), {})() for name, kind in kinds.items()}


@pytest.mark.parametrize(("kinds", "label"), [
    ({"image": "Image", "fine": "ClassLabel"}, "fine"), ({"image": "Image", "label": "Value"}, "label"),
    ({"image": "Image", "fine": "ClassLabel", "label": "ClassLabel"}, "label"),
    ({"image": "Image", "fine": "ClassLabel", "label": "Value"}, "fine"),
    ({"image": "Image", "other": "Value"}, None), ({"label": "ClassLabel"}, None),
    ({"image": "Image", "label": "List"}, None),
])  # fmt: skip
def test_the_label_of_a_set_on_the_hub_is_what_is_declared_so_before_what_is_called_so(kinds, label):
    if label is None:
        with pytest.raises(DataError):
            find_hub_columns(features(**kinds), "set")
    else:
        assert find_hub_columns(features(**kinds), "set") == ("image", label)


def test_the_reason_of_an_error_has_what_was_got_where_there_is_such():
    for got, text in ((None, "bad"), (0, "bad (0)"), ("x", "bad (x)")):
        assert shorten_error(DataError("a.png", "bad", got=got)) == text


def test_the_defaults_of_the_recipe_are_those_of_the_reference():
    text = (Path(__file__).parent.parent / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")
    train = " ".join(text[text.index("Usage: striate train") :].split("Usage: striate", 2)[1].split())
    for setting in list_settings(Recipe):
        default = getattr(Recipe(), setting.name)
        if isinstance(default, int | float) and not isinstance(default, bool):
            option = "--" + setting.name.replace("_", "-")
            said = re.search(rf"{option} <.*?\[default: ([^;\]]+)", train)
            assert said is None or not re.fullmatch(r"[\d.e-]+", said[1]) or float(said[1]) == default, option


@pytest.mark.parametrize(("text", "count"), [
    ("0", 0), ("7", 7), (7, 7), ("1.5K", 1500), ("2 kB", 2000), ("3M", 3 * 10**6), ("1g", 10**9), ("1TB", 10**12),
    ("1KiB", 1024), ("2 MiB", 2**21), ("1Gi", 2**30), ("1TiB", 2**40), ("12b", 12), (" 5 ", 5),
    ("1i", None), (1.5, None), ("-1", None), ("", None), ("1P", None), ("1.K", None),
])  # fmt: skip
def test_an_amount_of_memory_in_any_unit(text, count):
    if count is None:
        with pytest.raises(DataError, match="not an amount of memory"):
            allowance.parse_allowance(text)
    else:
        assert allowance.parse_allowance(text) == count


@pytest.mark.parametrize(("count", "text"), [
    (0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (10**6, "1.0 MB"), (10**9, "1.0 GB"),
    (10**12, "1.0 TB"), (12 * 10**12, "12.0 TB"),
])  # fmt: skip
def test_bytes_are_said_in_the_largest_unit_that_they_reach(count, text):
    assert allowance.format_bytes(count) == text


def test_a_containers_limit_leaves_what_is_not_used(tmp_path):
    assert allowance.read_container_limits(tmp_path) == []
    for most, left in (("500", [200]), ("300", [0]), ("100", [0]), ("max", [])):
        (tmp_path / "memory.max").write_text(most)
        (tmp_path / "memory.current").write_text("300")
        assert allowance.read_container_limits(tmp_path) == left


@pytest.mark.parametrize(("name", "head", "image"), [
    ("a.png", b"", True), ("a.PNG", b"", True), ("a", b"\x89PNG\r\n\x1a\n", True), ("a", b"text", False),
    ("a.txt", b"\x89PNG\r\n\x1a\n", False), ("a.npy", b"", True),
])  # fmt: skip
def test_a_file_is_an_image_by_its_suffix_or_without_one_by_how_it_begins(name, head, image, tmp_path):
    (tmp_path / name).write_bytes(head)
    tree = SourceTree("set")
    tree.add(TreeFile((name,), tmp_path / name))
    assert (len(tree.images), len(tree.others)) == ((1, 0) if image else (0, 1))


@pytest.mark.parametrize(("names", "images"), [
    (["a.png", "b.npy"], ["a.png"]), (["b.npy", "c.npy"], ["b.npy", "c.npy"]), (["a.png"], ["a.png"]), ([], []),
])  # fmt: skip
def test_arrays_beside_pictures_are_none(names, images):
    tree = SourceTree("set", images=[TreeFile((name,), Path(name)) for name in names])
    tree.set_arrays_aside()
    assert [file.parts[-1] for file in tree.images] == images
    assert len(tree.images) + len(tree.others) == len(names)


def test_lists_by_column_and_lists_by_class(tmp_path):
    table = tabulate_lists({"file": ["a", "b"], "label": ["x", "y"]}, "j", tmp_path)
    assert (table.names, [row.cells for row in table.rows]) == (("file", "label"), [["a", "x"], ["b", "y"]])
    for lists in ({"cat": ["a", "b"], "dog": ["c"]}, {"cat": ["a"], "dog": ["c"]}):
        table = tabulate_lists(lists, "j", tmp_path)
        assert table.names == ("file", "label")
        assert [row.cells for row in table.rows] == [[file, name] for name, files in lists.items() for file in files]
        assert [row.line for row in table.rows] == list(range(1, len(table.rows) + 1))
    with pytest.raises(DataError, match="names of splits"):
        tabulate_lists({"train": ["a"], "Test": ["b"]}, "j", tmp_path)


def test_the_rate_that_a_sweep_suggests_is_a_tenth_of_that_of_the_lowest_loss():
    rates = (0.001, 0.01234, 0.1, 1.0)
    for losses, lowest, falling in (((3, 1, 2, 9), 1, False), ((4, 3, 2, 1), 3, True), ((1, 1, 2, 3), 0, False)):
        found = RateSweep(rates, tuple(map(float, losses)), tuple(map(float, losses)), "sgd")
        assert found.lowest == lowest and found.suggestion == float(f"{rates[lowest] / 10:.2g}")
        assert ("try a higher --highest" in str(found)) is falling
        points = [{"lr": r, "loss": x, "smoothed": x} for r, x in zip(rates, losses, strict=True)]
        assert found.as_dict() == {"suggestion": found.suggestion, "optimizer": "sgd", "points": points}


@pytest.mark.parametrize(("given_", "field"), [
    ({"lowest": 0.0}, "lowest"), ({"lowest": 1.0}, "lowest"), ({"highest": float("inf")}, "lowest"),
    ({"steps": 9}, "steps"),
])  # fmt: skip
def test_a_sweep_of_rates_has_a_range_and_ten_steps(given_, field):
    with pytest.raises(RecipeError) as refused:
        sweep_rates(None, None, None, **{"lowest": 0.1, "highest": 1.0, "steps": 10} | given_)  # type: ignore[arg-type]
    assert refused.value.where == field


@pytest.mark.parametrize(("steps", "usual"), [
    ([9.0], 9.0), ([9.0, 1.0], 1.0), ([9.0, 1.0, 3.0], 2.0), ([9.0, 5.0, 5.0, 1.0], 5.0),
    ([9.0, 9.0, 9.0, 1.0, 3.0], 2.0),
])  # fmt: skip
def test_a_usual_step_is_the_median_of_those_after_the_first_ones(steps, usual):
    window = Window(9)
    window.steps = steps
    assert window.step == usual


def test_a_forecast_says_time_and_memory_and_how_far_it_was_off():
    found = Forecast(0.5, 30.0, 90.0, 3 * 2**30, 1.0)
    assert str(found).endswith(", 3.0 GiB of memory") and "per epoch" in str(found)
    assert found.repeated(3, 3).startswith("expected for all 3 trainings: ")
    assert found.repeated(3, 1).startswith("expected for the 1 training left: ")
    assert found.beside(99.0, 2**30) == (
        "trained in 99.0 s, expected 90.0 s (off by 10%); memory 1.0 GiB, expected 3.0 GiB"
    )
    assert "off by 10%" in found.beside(81.0, 2**30)


@pytest.mark.parametrize("text", ["conv1", "conv1=", "conv1=0", "conv1=-1", "conv1=inf", "conv1=nan", "a=1,b"])
def test_a_rate_for_layers_is_a_pattern_and_a_factor_above_0(text):
    with pytest.raises(RecipeError, match="not a rate for layers"):
        parse_rates(text)
    assert parse_rates(" a = 1e-9 ,, b=2,") == {"a": 1e-9, "b": 2.0}


@pytest.mark.parametrize(("share", "text"), [
    (0, "0.00 %"), (1e-9, "0.01 %"), (0.0001, "0.01 %"), (0.5, "50.00 %"), (0.9999, "99.99 %"), (1 - 1e-9, "99.99 %"),
    (1, "100.00 %"),
])  # fmt: skip
def test_only_all_is_a_hundred_percent_and_only_none_is_none(share, text):
    assert format_percent(share) == text


STATES = {"FolderNode", "Understood", "SourceTree", "Run", "ModuleCall"}


def test_a_dataclass_is_a_record_that_nobody_changes_but_for_those_that_are_states():
    found = {}
    for room in ("architecture", "data", "fitting", "metrics", "summaries"):
        for module in walk_packages([str(Path(striate.__file__).with_name(room))], f"striate.{room}."):
            for kind in vars(import_module(module.name)).values():
                if isinstance(kind, type) and is_dataclass(kind):
                    found[kind.__name__] = kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert {name for name, frozen in found.items() if not frozen} == STATES and len(found) > 80


def test_ten_names_are_listed_and_of_more_their_number():
    assert shorten_list(tuple("abcdefghij")) == "a, b, c, d, e, f, g, h, i, j"
    assert shorten_list(tuple("abcdefghijk")) == "a, b, c, d, e, f, g, h, i, j, … (11 in all)"
    assert shorten_list(("a", "b"), 1) == "a, … (2 in all)"


@pytest.mark.parametrize(("value", "text"), [
    (3, "3"), ("a", "'a'"), ((1, 2), "(1, 2)"), (Path("a"), repr(Path("a"))), ("x" * 77, repr("x" * 77)),
    ("x" * 78, "a str"), ([object()], "a list"), (object(), "a object"), ({1}, "a set"), (1j, "a complex"),
])  # fmt: skip
def test_a_value_that_was_given_is_described_alike_in_every_process(value, text):
    assert describe_given(value) == text


def test_a_folder_of_a_table_is_that_above_it_or_the_source():
    for parts, name in ((("a", "b", "c.parquet"), "b"), (("b", "c.parquet"), "b"), (("c.parquet",), "set")):
        assert name_folder(PackedTable(parts, Path("x")), "some/set") == name


def test_a_batch_has_a_label_for_each_image():
    assert split_labels([1, 2], 2, "set") == [1, 2]
    for label in (3, [1], [1, 2, 3]):
        with pytest.raises(DataError, match="one label for each image"):
            split_labels(label, 2, "set")


@pytest.mark.parametrize(("h", "w", "compared"), [(32, 32, True), (31, 32, False), (32, 31, False), (40, 32, True)])
def test_pictures_of_32_pixels_a_side_are_compared_by_their_looks(h, w, compared):
    thumb = np.random.default_rng(0).integers(0, 256, (16, 17), np.uint8)
    seen = [SeenImage(name, "a", "train", None, h, w, "L", name, thumb) for name in ("one", "two")]
    assert [group.kind for group in summarise_seen("set", seen, {}).same] == ["near"] * compared


@pytest.mark.parametrize(("given_", "flip", "upend", "turn", "mix"), [
    ((1.0, 0.6, 2, 0.9, 0.9, 0.9), True, True, True, True), ((0.75, 0.75, 2, 0.9, 0.9, 0.9), True, False, False, False),
    ((1.0, 0.59, 2, 1.0, 1.0, 0.89), False, False, False, False),
    ((1.0, 1.0, 2, 0.89, 1.0, 1.0), True, False, False, True),
    ((1.0, 1.0, 2, 0.9, 0.89, 1.0), True, True, False, True), ((0.0, 0.0, 9, 0.0, 0.0, 0.0), True, False, False, False),
    ((0.5, 0.5, 4, 0.45, 0.45, 0.45), True, True, True, True),
])  # fmt: skip
def test_what_a_probe_allows(given_, flip, upend, turn, mix):
    """By six tenths of the accuracy mirrored, nine upside down or turned, four fifths of what is beyond guessing."""
    found = ProbeResult(*given_)
    assert (found.may_flip, found.may_upend, found.may_turn, found.may_mix) == (flip, upend, turn, mix)
    assert found.learned is (found.plain > 1.5 / found.classes)
    assert found.kept == pytest.approx(found.mirrored / found.plain if found.plain else 0.0)


@pytest.mark.parametrize("kind", [MaxPool, AvgPool])
@pytest.mark.parametrize(("padding", "fits"), [
    ((2, 2, 4, 4), True), ((3, 0, 0, 0), False), ((0, 3, 0, 0), False), ((0, 0, 5, 0), False), ((0, 0, 0, 5), False),
    ((2, 0, 0, 4), True), ((0, 2, 4, 0), True), (2, True), (3, False),
])  # fmt: skip
def test_the_padding_of_a_pooling_is_smaller_than_its_window_on_each_side(kind, padding, fits):
    if fits:
        assert kind((3, 5), padding=padding).out((1, 9, 9))
    else:
        with pytest.raises(NetError, match="padding"):
            kind((3, 5), padding=padding)


@pytest.mark.parametrize(("alike", "mixed", "labels", "found"), [
    (9, 1, 2, True), (8, 2, 2, False), (17, 2, 2, False), (18, 2, 2, True), (9, 1, 1, False),
    (2, 0, 2, True), (1, 0, 2, False),
])  # fmt: skip
def test_origins_give_a_label_away_where_nine_tenths_have_one(alike, mixed, labels, found):
    thumb = np.zeros((16, 17), np.uint8)
    seen = []
    for k in range(alike + mixed):
        for frame, split in enumerate(("train", "test")):
            label = "ab"[frame] if k >= alike else "ab"[k % labels]
            seen.append(
                SeenImage(f"{split}/patient-{k:03}_frame_{frame}.png", label, split, None, 9, 9, "L", "", thumb)
            )
    assert len(find_shared_origins(seen)) == (alike if found else 0)


TORCHS = {
    "Conv": nn.Conv2d, "ConvTranspose": nn.ConvTranspose2d, "MaxPool": nn.MaxPool2d, "AvgPool": nn.AvgPool2d,
    "Upsample": nn.Upsample, "Dense": nn.Linear, "LeakyReLU": nn.LeakyReLU, "PReLU": nn.PReLU, "ELU": nn.ELU,
    "CELU": nn.CELU, "Dropout": nn.Dropout, "BatchNorm": nn.BatchNorm2d, "GroupNorm": nn.GroupNorm,
    "InstanceNorm": nn.InstanceNorm2d, "LayerNorm": nn.LayerNorm, "LocalResponseNorm": nn.LocalResponseNorm,
}  # fmt: skip
TORCH_NAMES = {"slope": "negative_slope", "start": "init", "rate": "p", "ceil": "ceil_mode"}
TORCH_NAMES["affine"] = "elementwise_affine"  # of LayerNorm
PUBLISHED = {
    ("Conv", "padding"): "valid", ("Conv", "init"): "glorot_uniform",  # as Keras
    ("ConvTranspose", "init"): "glorot_uniform", ("Dense", "init"): "glorot_uniform", ("MaxPool", "padding"): "valid",
    ("AvgPool", "padding"): "valid", ("AvgPool", "count_padding"): False, ("PReLU", "per_channel"): False,
    ("Upsample", "factor"): 2, ("Upsample", "align_corners"): False, ("GlobalAvgPool", "keepdims"): False,
    ("GlobalMaxPool", "keepdims"): False, ("Parallel", "join"): "concat",
    ("BlurPool", "kernel"): 4, ("BlurPool", "stride"): 2,  # Zhang 2019, its code
    ("LayerNorm", "eps"): 1e-6, ("LayerScale", "start"): 1e-6,  # ConvNeXt, Liu et al. 2022, its code
    ("GlobalResponseNorm", "eps"): 1e-6,  # ConvNeXt V2, Woo et al. 2023, its code
    ("LocalResponseNorm", "size"): 5, ("LocalResponseNorm", "k"): 2.0,  # AlexNet, Krizhevsky et al. 2012, section 3.3
    ("SideHead", "weight"): 0.3,  # GoogLeNet, Szegedy et al. 2014, section 5
    ("StochasticDepth", "rate"): 0.1,  # ConvNeXt-T's
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_a_default_of_a_layer_is_torchs_or_keras_or_its_papers(name):
    theirs = signature(TORCHS[name]).parameters if name in TORCHS else {}
    for field in fields(LAYERS[name]):
        if field.name == "name" or field.default is MISSING or not field.init:
            continue
        if (name, field.name) in PUBLISHED:
            expected = PUBLISHED[name, field.name]
        else:
            own = TORCH_NAMES.get(field.name, field.name)
            expected = theirs[field.name if field.name in theirs else own].default
        assert field.default == expected and type(field.default) is type(expected), field.name


@pytest.mark.parametrize(("cells", "files"), [
    (["a.png"], True), (["a.png", "b"], True), (["a.png", "b", "c"], False), (["a.png", "b.JPG", "c", "d"], True),
    (["a"], False), (["a.png", "b", "c", "d", "e.png"], False),
])  # fmt: skip
def test_a_column_looks_like_files_where_half_of_it_names_images(cells, files):
    assert looks_like_files(cells) is files


def test_rows_are_as_the_array_of_which_they_are():
    x = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 1), np.uint8)
    rows = Rows(SimpleNamespace(shape=x.shape, fetch=lambda numbers: x[numbers]), np.array([3, 0, 0, 4]))  # type: ignore[arg-type]
    own = x[[3, 0, 0, 4]]
    assert (rows.ndim, rows.dtype, rows.shape, rows.nbytes, len(rows)) == (4, own.dtype, own.shape, own.nbytes, 4)
    for place in (0, -1, slice(1, None), slice(None), [2, 0], np.array([True, False, False, True])):
        assert np.array_equal(rows[place], own[place])
