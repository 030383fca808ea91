"""Small rules whose line a fault could change unseen: each with its boundary, and the value beside it."""

from __future__ import annotations

import inspect
import io
import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import striate
from striate.architecture import zoo
from striate.architecture.net import list_few
from striate.architecture.zoo.resnet_cifar import resnet_cifar
from striate.architecture.zoo.vgg import vgg
from striate.data.check.examine import examine_file
from striate.data.listing import Entry
from striate.data.read import deep
from striate.data.read.bands import FEW_BANDS, read_npy_image
from striate.data.read.depth import Depth, apply_depth, choose_depth, draw_from_blocks
from striate.data.sources.archive import refuse_trap
from striate.data.sources.flat_splits import find_common_folder, find_flat_splits
from striate.data.sources.pair_items import is_picture, take_label
from striate.data.sources.tree import begins_as_image
from striate.errors import DataError
from striate.fitting.early_end import EarlyEnd, decide_end
from striate.fitting.ranks import Ranks
from striate.fitting.schedule import compute_rate_factor
from striate.fitting.trivialaugment import FACTOR_OPERATIONS, OPERATIONS, apply_trivialaugment
from striate.metrics.classification import score_probabilities
from striate.metrics.tables import LONG_NAME, format_few, list_scores
from striate.summaries.summary import format_unread


@pytest.mark.parametrize("name", zoo.NAMES)
def test_a_published_net_is_for_square_colour_pictures_or_gray_ones_unless_it_is_asked_otherwise(name):
    c, h, w = inspect.signature(getattr(zoo, name)).parameters["input"].default
    assert c in (1, 3) and h == w and (h % 2 == 0 or h in (227, 299))


@pytest.mark.parametrize(("family", "side"), [(vgg, 224), (resnet_cifar, 32)])
def test_a_family_of_any_depth_has_its_papers_input(family, side):
    assert inspect.signature(family).parameters["input"].default == (3, side, side)


@pytest.mark.parametrize(("step", "factor"), [(0, 1.0), (4, 1.0), (5, 0.1), (7, 0.1), (8, 0.01), (9, 0.01)])
def test_the_step_schedule_falls_at_half_and_at_three_quarters(step, factor):
    assert compute_rate_factor("step", step, 10, 0.0) == factor


@pytest.mark.parametrize(("patience", "epochs", "best", "over"), [(0, 9, 1, False), (2, 3, 1, True), (2, 3, 2, False)])
def test_patience_is_over_after_so_many_epochs_without_a_better_one(patience, epochs, best, over):
    rows = [{"acc": 0.0, "valid_acc": float(k == best), "valid_loss": 1.0} for k in range(1, epochs + 1)]
    assert decide_end(rows, patience, 0.0) == (EarlyEnd(best + patience, best=best) if over else None)
    assert decide_end(rows[: best + patience - 1], patience, 0.0) is None, "and not before"


def test_processes_share_the_machines_cores_out():
    cores = os.cpu_count() or 1
    assert [Ranks(local=n).threads for n in (1, 2, 999)] == [cores, max(1, cores // 2), 1]


def test_a_constant_picture_gets_a_scale_of_one_level():
    assert choose_depth(np.full(9, -5.0)) == Depth(-5.0, -4.0, False)


def test_values_between_whole_levels_are_rounded_and_those_of_whole_numbers_shared_out():
    assert apply_depth(np.array([500.0]), Depth(0, 1000, False))[0] == 128  # 500·255/1000 + 1/2
    assert apply_depth(np.array([500]), Depth(0, 1000, True))[0] == 127  # 500·256/1001
    assert apply_depth(np.arange(256), Depth(0, 255, True)).tolist() == list(range(256))


def test_of_each_block_as_large_a_share_is_drawn_and_one_value_at_least(monkeypatch):
    monkeypatch.setattr("striate.data.read.depth.VALUES_AN_ARRAY", 100)
    blocks = [np.arange(1000), np.arange(10), np.arange(3)]
    assert len(draw_from_blocks(blocks, 1013)) == 99 + 1 + 1


@pytest.mark.parametrize(
    ("shape", "dtype", "mode"),
    [((4, 4, 1), np.uint8, "L"), ((4, 4, 3), np.uint16, "RGB;u2"), ((4, 4, 2), np.uint8, "2 bands"),
     ((4, 4, 4), np.float32, "4 bands;f4")],
)  # fmt: skip
def test_a_deep_picture_is_called_by_its_bands_and_its_numbers(shape, dtype, mode):
    image = Image.new("L" if shape[2] != 3 else "RGB", shape[:2])
    image.info[deep.OWN_VALUES] = deep.DeepPixels(np.zeros(shape, dtype))
    assert deep.name_depth_mode(image) == mode


@pytest.mark.parametrize(
    ("bands", "side", "refused"), [(FEW_BANDS, 40, True), (FEW_BANDS + 1, 40, False), (4, 4, False)]
)
def test_bands_that_come_first_are_refused(bands, side, refused):
    file = io.BytesIO()
    np.save(file, np.zeros((bands, side, side), np.uint8))
    if refused:
        with pytest.raises(DataError, match="come first"):
            read_npy_image(file.getvalue(), "a.npy")
    else:
        assert read_npy_image(file.getvalue(), "a.npy").shape == (bands, side, side)


@pytest.mark.parametrize(
    ("head", "begins"),
    [(b"RIFF0000WEBP", True), (b"RIFF0000WAVE", False), (b"0000ftypavif", True), (b"0000ftypmp42", False)],
)
def test_a_container_is_told_by_what_it_holds(head, begins, tmp_path):
    (tmp_path / "file").write_bytes(head + bytes(40))
    assert begins_as_image(tmp_path / "file") is begins


@pytest.mark.parametrize(("packed", "size", "refused"), [
    (1, 50_000_000, False), (1, 50_000_001, True), (50_000_000, 50_000_000 * 200, False),
    (50_000_000, 50_000_000 * 200 + 1, True), (0, 400, False),
])  # fmt: skip
def test_a_file_of_over_fifty_million_bytes_and_two_hundred_times_its_size_is_a_trap(packed, size, refused):
    if refused:
        with pytest.raises(DataError, match="suspiciously well"):
            refuse_trap("a.zip: x", packed, size)
    else:
        refuse_trap("a.zip: x", packed, size)


def files(*paths: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(parts=tuple(path.split("/"))) for path in paths]


@pytest.mark.parametrize(
    ("paths", "common"),
    [
        (("a/b/x.png", "a/c/y.png"), ("a",)),
        (("a/x.png",), ("a",)),
        (("x.png", "a/y.png"), ()),
        (("train/cat/x.png", "train/dog/y.png"), ()),
        (("data/train/cat/x.png", "data/test/cat/y.png"), ("data",)),
    ],
)
def test_the_folder_that_holds_all_pictures_and_is_no_split(paths, common):
    assert find_common_folder(files(*paths)) == common


def test_flat_splits_are_told_from_those_with_class_folders():
    deep_one = files("train/cat/a.png", "test/b.png", "c.png")
    assert find_flat_splits(deep_one, 0) == {"test": "test"}
    assert find_flat_splits(files("train/a.png", "test/b.png"), 0) == {}


def test_what_is_a_picture_and_what_a_label():
    assert is_picture(np.zeros((4, 4))) and not is_picture(np.zeros(4)) and is_picture(torch.zeros(1, 4, 4))
    assert take_label(np.array([3]), "row") == 3 and take_label("cat", "row") == "cat"
    for value, hint in ((np.array([0, 1]), "label.argmax(), where it is one-hot"), (np.array([]), None)):
        with pytest.raises(DataError) as refused:
            take_label(value, "row")
        assert refused.value.hint == hint


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_is_examined_as_it_is_decoded(mode, tmp_path):
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 256, (30, 50) if mode == "L" else (30, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    seen = examine_file(Entry("a.png", tmp_path / "a.png", "cat", None))
    assert (seen.height, seen.width, seen.why) == (30, 50, None)
    broken = tmp_path / "b.png"
    broken.write_bytes(b"nothing")
    failed = examine_file(Entry("b.png", broken, "cat", None))
    assert failed.why and (failed.height, failed.width) == (0, 0)


def test_a_factor_is_one_of_thirty_one_strengths_up_or_down():
    """Brightness of a gray picture: 1 ± 0.99·k/30, each as likely."""
    x = torch.full((3000, 4, 4, 3), 100.0)
    chosen = torch.randint(len(OPERATIONS), (3000,), generator=torch.Generator().manual_seed(5))
    made = apply_trivialaugment(x, torch.Generator().manual_seed(5))
    rows = chosen == OPERATIONS.index(FACTOR_OPERATIONS[0])
    strengths = (made[rows].mean((1, 2, 3)) / 100 - 1) / 0.99 * 30
    assert torch.allclose(strengths, strengths.round(), atol=1e-3)
    assert (strengths.min(), strengths.max()) == (pytest.approx(-30, abs=1e-3), pytest.approx(30, abs=1e-3))


def test_names_are_cut_after_a_few():
    assert format_few(list("abcde")) == "a, b, c, d, e" and format_few(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert list_few({}) == "none" and list_few(dict.fromkeys("abcd")) == "a, b, c, d"
    assert list_few(dict.fromkeys("abcdef")).endswith("(6 in all)")


def test_of_many_classes_the_worst_are_listed_first_and_those_without_images_last():
    count = LONG_NAME + 2
    labels = np.arange(count - 1)
    shares = np.full((count - 1, count), 0.5 / count)
    shares[labels, np.where(labels == 7, 6, labels)] += 0.5
    report = score_probabilities(shares / shares.sum(1, keepdims=True), labels, [f"k{k:03}" for k in range(count)])
    listed = list_scores(report)
    assert len(listed) == LONG_NAME and listed[0].name == "k007" and all(one.f1 is not None for one in listed)


def test_rows_and_columns_that_no_window_reads_are_counted_in_words():
    rows = (SimpleNamespace(path="pool1", unread=(1, 2)), SimpleNamespace(path="pool2", unread=(0, 1)))
    assert format_unread(rows) == (
        "pool1 leaves 1 row at the bottom and 2 columns at the right; pool2 leaves 1 column at the right"
    )


def test_activations_say_themselves_as_they_are_written():
    assert repr(striate.LeakyReLU(0.2)) == "LeakyReLU(slope=0.2)" and repr(striate.ReLU6()) == "ReLU6()"
