"""Limits, defaults and choices that a small fault could change unseen, each at its boundary and against its numbers."""

from __future__ import annotations

import csv
import io
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.data.check.audit import Finding, summarise_seen
from striate.data.check.examine import SeenImage
from striate.data.check.label_errors import estimate_counts
from striate.data.images import Images
from striate.data.listing import Entry
from striate.data.read.depth import Depth, apply_depth
from striate.data.read.files import sample_depth
from striate.data.sources import class_folders
from striate.data.sources.in_python import holds_pictures
from striate.data.sources.load import list_source
from striate.data.sources.nodes import Branch, FolderNode, Understood
from striate.data.sources.shards import list_shards
from striate.data.sources.split import set_apart
from striate.errors import DataError, ShapeError
from striate.fitting.augment import rotate_quarters
from striate.metrics.classification import score_probabilities
from striate.metrics.tables import make_headline_table
from striate.summaries.module_summary import summarise_module
from striate.summaries.summary import measure_view
from striate.summaries.table_pages import render_table_html
from striate.summaries.whatif import suggest_changes


def test_the_input_that_a_net_asks_for_keeps_the_pictures_proportions():
    layers = [L.Conv(4, 9), L.MaxPool(2)]
    with pytest.raises(ShapeError, match=r"an input of at least 3×19×10\b"):
        Net((3, 12, 6), layers)
    assert Net((3, 19, 10), layers).output == (4, 5, 1)
    with pytest.raises(ShapeError):
        Net((3, 18, 9), layers)


def see_image(name: str, label: str, split: str, side: int = 40, seed: int = 0) -> SeenImage:
    thumb = np.random.default_rng(seed).integers(0, 256, (16, 17), np.uint8)
    return SeenImage(name, label, split, None, side, side, "RGB", name, thumb)


def find_kind(kind: str, *seen: SeenImage) -> list[Finding]:
    return [finding for finding in summarise_seen("set", seen, {}).findings if finding.kind == kind]


def test_the_pictures_of_a_class_that_train_lacks_are_those_of_that_split_alone():
    rows = [("a", "cat", "train"), ("b", "dog", "valid"), ("c", "cat", "valid"), ("d", "dog", "test")]
    found = find_kind("unknown class", *(see_image(*row, seed=k) for k, row in enumerate(rows)))
    assert [finding.files for finding in found] == [("b",), ("d",)]


def test_a_picture_is_tiny_under_an_eighth_of_the_usual_side():
    usual = [see_image(f"u{k}", "cat", "train", 720, k) for k in range(5)]
    (found,) = find_kind("tiny", *usual, see_image("89", "cat", "train", 89, 8), see_image("90", "cat", "train", 90, 9))
    assert found.files == ("89",)


def test_as_many_pictures_as_the_limit_says_are_compared(monkeypatch):
    monkeypatch.setattr("striate.data.check.audit.MOST_COMPARED", 3)
    seen = [see_image(f"{k}", "cat", "train", seed=k) for k in range(4)]
    assert not find_kind("not searched", *seen[:3]) and len(find_kind("not searched", *seen)) == 1


def test_of_equal_remainders_the_label_itself_gets_the_picture():
    assert estimate_counts(np.ones((3, 3), int), np.array([1, 1, 1])).tolist() == np.eye(3).tolist()


def test_values_of_thirty_two_bits_are_scaled_in_thirty_two_bits():
    values = np.random.default_rng(2).normal(0, 300, 20_000).astype(np.float32)
    low, high = np.float32(-700), np.float32(650.3)
    single = np.floor((np.clip(values, low, high) - low) * np.float32(255 / (650.3 + 700)) + np.float32(0.5))
    assert np.array_equal(apply_depth(values, Depth(-700, 650.3, False)), np.minimum(single, 255).astype(np.uint8))
    assert apply_depth(np.array([2.0**24 + 1]), Depth(0, 2.0**25 + 2, False))[0] == 128


def test_two_hundred_files_at_most_tell_the_scale_of_a_set(tmp_path):
    Image.fromarray(np.full((2, 2), 4000, np.uint16)).save(tmp_path / "a.png")
    entries = [Entry(f"{k}.png", tmp_path / "a.png", "cat", None) for k in range(201)]
    assert [sample_depth(entries[:n]).files for n in (199, 200, 201)] == [199, 200, 200]


@pytest.mark.parametrize(("upper", "lower", "depth"), [
    (["photos"], ["cat", "dog"], 1), (["red", "blue"], ["cat"], 1), (["s1", "s2"], ["cat", "dog"], 2),
])  # fmt: skip
def test_the_level_of_the_classes(upper, lower, depth):
    leaf = FolderNode(files=[SimpleNamespace()], count=1)  # type: ignore[list-item]
    top = FolderNode({name: FolderNode({sub: leaf for sub in lower}) for name in upper})
    assert class_folders.choose_depth(Understood("set"), [Branch((), top)]) == depth


def test_in_two_splits_folders_that_only_sort_the_classes_are_seen_through():
    leaf = FolderNode(files=[SimpleNamespace()], count=1)  # type: ignore[list-item]
    branches = [
        Branch((split,), FolderNode({"pets": FolderNode({"cat": leaf}), "farm": FolderNode({"cow": leaf})}), split)
        for split in ("train", "test")
    ]
    assert class_folders.choose_depth(Understood("set"), branches) == 2


def test_the_first_record_says_whether_they_hold_pictures():
    picture = np.zeros((4, 4))
    assert holds_pictures([(picture, "cat"), ("a.png", "dog")]) and holds_pictures({0: (picture, "cat")})
    assert not holds_pictures([("a.png", "cat"), (picture, "dog")]) and not holds_pictures([])


@pytest.mark.parametrize(("count", "labels"), [(4, "c0, c1, c2, c3"), (6, "c0, c1, c2, c3, …")])
def test_of_many_label_columns_four_are_named(count, labels, tmp_path):
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", *(f"c{k}" for k in range(count))])
        for k in range(2 * count):
            Image.new("L", (5, 4), k).save(tmp_path / f"{k}.png")
            rows.writerow([f"{k}.png", *(int(k % count == j) for j in range(count))])
    assert list_source(tmp_path / "labels.csv").read_as.endswith(f"labels in {labels}")


def put_shard(path: Path) -> Path:
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "PNG")
    with tarfile.open(path, "w") as shard:
        for name, content in (("0.png", file.getvalue()), ("0.cls", b"cat")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
    return path


def test_of_shards_the_one_without_a_split_is_named(tmp_path):
    with pytest.raises(DataError, match="has no split") as refused:
        list_shards("set", [put_shard(tmp_path / name) for name in ("train-000.tar", "more-000.tar")])
    assert refused.value.got == "more-000.tar"


def test_of_a_class_that_must_give_one_picture_stays():
    images = Images(np.zeros((3, 2, 2, 1), np.uint8), np.zeros(3, np.int64), ("cat",), ("a", "b", "c"))
    parts = [set_apart(images, None, 0.67, 0, False, [0], **stay)[:2] for stay in ({}, {"stay": 2})]
    assert [(len(rest), len(gone)) for rest, gone in parts] == [(1, 2), (2, 1)]


def test_each_of_four_quarter_turns_is_as_likely():
    x = torch.arange(4.0).view(1, 2, 2, 1).repeat(4000, 1, 1, 1)
    made = rotate_quarters(x, torch.Generator().manual_seed(3))
    turns = [torch.rot90(x[:1], k, (1, 2)) for k in range(4)]
    counts = [int((made == turn).all((1, 2, 3)).sum()) for turn in turns]
    assert sum(counts) == 4000 and all(abs(n - 1000) < 5 * (4000 * 3 / 16) ** 0.5 for n in counts)


def report_on(classes: int):
    shares = np.full((classes, classes), 1 / classes)
    return score_probabilities(shares, np.arange(classes), [f"k{k}" for k in range(classes)])


def test_the_top_five_say_something_of_six_classes_or_more():
    for classes, told in ((5, False), (6, True)):
        names = [str(cell) for cell in make_headline_table(report_on(classes)).columns[0].cells]
        assert ("top-5" in names) is told


def test_reports_of_equal_numbers_are_equal_whatever_was_known_before():
    report = report_on(3)
    assert replace(report, known=1, left_out=True) == report != replace(report, ece=0.5)


def test_a_modules_table_has_a_bar_behind_each_share():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2))
    summary = summarise_module(module, (3, 8, 8))
    numbers = [number for row in summary.rows for number in (row.params, row.macs)]
    assert render_table_html(summary).count("n bar") == sum(number > 0 for number in numbers) > 2


def test_a_row_behind_a_gate_sees_all_of_an_oblong_picture():
    view = measure_view(SimpleNamespace(field=None), (3, 8, 16))  # type: ignore[arg-type]
    assert view == ((8, 16), (8, 16), 1.0)


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution_in_groups_is_not_taken_apart(groups):
    net = Net((4, 20, 20), [L.Conv(4, 5, groups=groups, name="conv"), L.Conv(4, 1)])
    assert any("3×3" in w.change for w in suggest_changes(net, "conv")) is (groups == 1)


@pytest.mark.parametrize("tail", [[], [L.Parallel(L.Dense(4), L.Dense(4)), L.Dense(3)]])
def test_a_flattened_map_without_a_dense_layer_or_with_branches_behind_it_is_not_pooled(tail):
    net = Net((3, 8, 8), [L.Conv(4, 3), L.Flatten(name="flat"), *tail])
    assert not [w for w in suggest_changes(net, "flat") if "global average" in w.change]
