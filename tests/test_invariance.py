"""Invariance: each change is the one it says, and each number is what a count by hand gives."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from striate.errors import DataError
from striate.metrics import invariance
from striate.metrics.classification import compute_wilson
from striate.report import invariance_plot
from striate.report.pictures import encode_png

sides = st.integers(2, 9)


def as_answers(classes: np.ndarray, k: int = 10) -> np.ndarray:
    return np.eye(k)[classes]


def by_mean(x: np.ndarray) -> np.ndarray:
    """A classifier that sees the mean level of the whole image alone."""
    return as_answers((x.reshape(len(x), -1).mean(1) // 25.6).astype(int))


def by_corner(x: np.ndarray) -> np.ndarray:
    """A classifier that reads the upper left pixel alone."""
    return as_answers(x[:, 0, 0, 0] // 26)


# The changes --------------------------------------------------------------------------------------


@given(sides, sides, st.integers(-8, 8), st.integers(-8, 8))
def test_a_shift_moves_every_pixel_and_repeats_the_edge(h, w, down, right):
    x = np.random.default_rng(0).integers(0, 256, (2, h, w, 3), dtype=np.uint8)
    moved = invariance.shift_images(x, down, right)
    assert moved.shape == x.shape
    for row in range(h):
        for column in range(w):
            source = x[:, min(max(row - down, 0), h - 1), min(max(column - right, 0), w - 1)]
            assert (moved[:, row, column] == source).all()


@given(sides, sides)
def test_no_turn_and_no_scaling_leave_the_image_as_it_is(h, w):
    x = np.random.default_rng(1).integers(0, 256, (2, h, w, 1), dtype=np.uint8)
    assert (invariance.warp_images(x, invariance.make_rotation(0)) == x).all()


@pytest.mark.parametrize("quarter", [1, 2, 3])
def test_a_quarter_turn_is_numpys(quarter):
    x = np.random.default_rng(2).integers(0, 256, (3, 7, 7, 3), dtype=np.uint8)
    turned = invariance.warp_images(x, invariance.make_rotation(90 * quarter))
    assert (turned == np.rot90(x, quarter, axes=(1, 2))).all()


def test_turns_and_scalings_are_pillows_within_the_picture():
    """Pillow's affine transform, bilinear, on a smooth picture; where it reads beyond the edge ours repeats it."""
    rows, columns = np.mgrid[0:31, 0:31]
    x = (127 + 60 * np.sin(rows / 5) + 60 * np.cos(columns / 7)).astype(np.uint8)[None, ..., None]
    inner = np.s_[9:22, 9:22]
    turned = np.asarray(Image.fromarray(x[0, ..., 0]).rotate(30, Image.Resampling.BILINEAR))
    mine = invariance.warp_images(x, invariance.make_rotation(30))[0, ..., 0]
    assert abs(mine[inner].astype(int) - turned[inner]).max() <= 1
    small = Image.fromarray(x[0, ..., 0]).transform((31, 31), Image.Transform.AFFINE, (2, 0, -15.5, 0, 2, -15.5),
                                                    Image.Resampling.BILINEAR)  # fmt: skip
    mine = invariance.warp_images(x, np.eye(2) / 0.5)[0, ..., 0]
    assert abs(mine[inner].astype(int) - np.asarray(small)[inner]).max() <= 1


# The numbers --------------------------------------------------------------------------------------


def test_a_classifier_that_sees_the_mean_alone_keeps_every_answer_under_a_flip_and_loses_none_on_flat_images():
    x = np.repeat(np.arange(0, 250, 10, dtype=np.uint8), 64).reshape(25, 8, 8, 1)
    found = invariance.measure_invariance(by_mean, x, by_mean(x).argmax(1), shifts=2)
    assert found.accuracy == 1 and found.consistency == 1
    for change in found.changes:
        assert (change.accuracy, change.agreement) == (1, 1)
        assert change.agreement_interval == pytest.approx(compute_wilson(25, 25))


def test_each_offset_is_counted_by_itself_and_its_ring_and_the_whole_are_means():
    """A classifier of the upper left pixel: moved down and right that pixel stays, else it is another."""
    x = np.random.default_rng(3).integers(0, 256, (40, 9, 9, 1), dtype=np.uint8)
    own = by_corner(x).argmax(1)
    truth = np.where(np.arange(40) % 4 == 0, (own + 1) % 10, own)
    found = invariance.measure_invariance(by_corner, x, truth, shifts=3)
    grid = np.array(found.offsets)
    assert grid.shape == (7, 7)
    assert (grid[3:, 3:] == 1).all()
    for down, right in [(-1, 0), (-3, -2), (2, -3)]:
        moved = x[:, max(0, -down), max(0, -right), 0] // 26
        assert grid[down + 3, right + 3] == pytest.approx((moved == own).mean())
    shifts = found.change("shifts")
    ring = [grid[r, c] for r in range(7) for c in range(7) if max(abs(r - 3), abs(c - 3)) == 2]
    assert shifts.points[1].agreement == pytest.approx(np.mean(ring))
    assert shifts.agreement == pytest.approx((grid.sum() - 1) / 48)
    assert found.accuracy == 0.75 and found.accuracy_interval == compute_wilson(30, 40)
    low, high = shifts.agreement_interval
    assert low < shifts.agreement < high
    assert [point.name for point in found.change("flips").points] == ["left-right", "up-down"]
    flipped = x[:, 0, -1, 0] // 26
    assert found.change("flips").points[0].accuracy == pytest.approx((flipped == truth).mean())


def zhangs(model, wide, h, w, passes, draw):
    """`validate_shift` of github.com/adobe/antialiased-cnns with its loops, in batches of 8."""
    agree = []
    for _ in range(passes):
        for first in range(0, len(wide), 8):
            batch = wide[first : first + 8]
            room = wide.shape[1] - h, wide.shape[2] - w
            off0 = [int(draw.integers(n)) for n in room]
            off1 = [int(draw.integers(n)) for n in room]
            output0 = model(batch[:, off0[0] : off0[0] + h, off0[1] : off0[1] + w])
            output1 = model(batch[:, off1[0] : off1[0] + h, off1[1] : off1[1] + w])
            agree += list(output0.argmax(1) == output1.argmax(1))
    return np.mean(agree)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 30), st.integers(2, 6), st.integers(2, 6), st.integers(1, 5), st.integers(0, 99))
def test_shift_consistency_is_counted_as_zhangs_code_counts_it(n, down, right, passes, seed):
    wide = np.random.default_rng(n).integers(0, 256, (n, 8 + down, 9 + right, 1), dtype=np.uint8)
    few = {"shifts": 0, "angles": (), "factors": ()}
    found = invariance.measure_invariance(
        by_corner, wide[:, :8, :9], np.zeros(n, int), passes=passes, wide=wide, seed=seed, **few
    )
    assert found.consistency == pytest.approx(zhangs(by_corner, wide, 8, 9, passes, np.random.default_rng(seed)))
    assert found.room == (down, right)
    assert [change.name for change in found.changes] == ["flips"]


def test_an_offset_has_as_many_places_as_zhangs_32_of_224():
    """Without images that have a margin the edges are repeated: 28 pixels get 4 offsets, 224 get 32."""
    x = np.zeros((1, 28, 224, 1), np.uint8)
    found = invariance.measure_invariance(by_corner, x, np.zeros(1, int), shifts=0, angles=(), factors=(), passes=1)
    assert found.room == (4, 32)


def test_progress_counts_every_change_to_the_end():
    seen = []
    x = np.zeros((2, 6, 6, 1), np.uint8)
    invariance.measure_invariance(by_corner, x, np.zeros(2, int), shifts=1, progress=lambda *at: seen.append(at))
    answers = 9 + len(invariance.ANGLES) + len(invariance.SCALE_FACTORS) + 2 + 2 * 5  # of each pass both crops
    assert seen == [(done, answers) for done in range(1, answers + 1)]


def test_labels_that_do_not_match_are_refused():
    with pytest.raises(DataError, match="needs one label"):
        invariance.measure_invariance(by_corner, np.zeros((3, 6, 6, 1), np.uint8), np.zeros(2, int))


# The record ---------------------------------------------------------------------------------------


def test_the_record_is_plain_json_and_is_drawn_as_text_svg_and_png():
    x = np.random.default_rng(3).integers(0, 256, (10, 9, 9, 1), dtype=np.uint8)
    found = invariance.measure_invariance(by_corner, x, by_corner(x).argmax(1), shifts=2)
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["consistency"] == found.consistency and len(plain["changes"]) == 4
    assert plain["changes"][0]["points"][0]["name"] == "1 px"
    text = str(found)
    assert "shift consistency" in text and all(change.name in text for change in found.changes)
    svg = invariance_plot.draw_changes(found)
    assert svg.count("<svg") == 3 and svg.count("<polyline") == 6
    picture = invariance_plot.draw_invariance(found)
    assert picture.shape[2] == 3 and encode_png(picture)[:4] == b"\x89PNG"


# The study ----------------------------------------------------------------------------------------


def test_the_tables_of_the_study_are_what_its_results_give(monkeypatch):
    """docs/pooling-and-shifts.md against bench/pooling.jsonl, and one cell by hand: five seeds, Student's t 2.776."""
    pytest.importorskip("torch")
    root = Path(__file__).parent.parent
    monkeypatch.syspath_prepend(root / "bench")  # as when the script runs
    spec = importlib.util.spec_from_file_location("pooling", root / "bench" / "pooling.py")
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    rows = sorted(study.results(), key=lambda row: (list(study.nets()).index(row["net"]), row["seed"]))
    page = (root / "docs" / "pooling-and-shifts.md").read_text(encoding="utf-8")
    assert study.table(rows) in page
    own = [100 * row["consistency"] for row in rows if row["net"] == "max pooling"]
    assert len(own) == 5
    half = 2.776 * np.std(own, ddof=1) / 5**0.5
    assert f"{np.mean(own):.1f} ± {half:.1f}" in page.partition("| max pooling |")[2].splitlines()[0]


def test_turns_are_tried_as_far_to_the_left_as_to_the_right():
    assert sorted(-angle for angle in invariance.ANGLES) == sorted(invariance.ANGLES) and 0 not in invariance.ANGLES


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 5), st.integers(0, 5))
@settings(deadline=None)
def test_room_around_a_picture_is_as_large_as_asked_and_repeats_its_edge(h, w, down, right):
    x = np.arange(h * w, dtype=np.uint8).reshape(1, h, w, 1)
    wide = invariance.pad_edges(x, (down, right))
    assert wide.shape == (1, h + down, w + right, 1)
    top, left = down // 2, right // 2
    np.testing.assert_array_equal(wide[:, top : top + h, left : left + w], x)
    assert (wide[0, 0, 0, 0], wide[0, -1, -1, 0]) == (x[0, 0, 0, 0], x[0, -1, -1, 0])


@given(st.integers(2, 9), st.integers(2, 9), st.floats(-90, 90), st.floats(0.5, 2))
@settings(deadline=None, max_examples=60)
def test_a_warped_picture_is_scipys(h, w, degrees, scale):
    ndimage = pytest.importorskip("scipy.ndimage")
    x = np.random.default_rng(h * w).integers(0, 256, (1, h, w, 1), np.uint8)
    back = invariance.make_rotation(degrees) / scale
    rows, columns = np.meshgrid(np.arange(h) - (h - 1) / 2, np.arange(w) - (w - 1) / 2, indexing="ij")
    places = [
        np.clip(back[0, 0] * rows + back[0, 1] * columns + (h - 1) / 2, 0, h - 1),
        np.clip(back[1, 0] * rows + back[1, 1] * columns + (w - 1) / 2, 0, w - 1),
    ]
    wanted = ndimage.map_coordinates(x[0, ..., 0].astype(float), places, order=1, mode="nearest")
    assert np.abs(invariance.warp_images(x, back)[0, ..., 0] - wanted).max() <= 0.51
