"""The order of the images: settled by seed and epoch alone, so that a resumed run sees the very same batches."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.utils.class_weight import compute_class_weight

from striate.data.images import Images
from striate.data.sources.load import load_dataset
from striate.data.store import cache
from striate.fitting.batches import (
    Feed,
    balance_batches,
    compute_class_weights,
    count_steps,
    shuffle_batches,
    shuffle_shards,
)

LEVELS = ["resident", "mapped", "streamed"]
labels = st.lists(st.integers(0, 5), min_size=1, max_size=150).map(np.array)
sizes = st.integers(2, 40)
nothing = torch.zeros(0, dtype=torch.int64)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda *a, **k: str(tmp_path / "cache"))


def photos(folder: Path, each: int = 30) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for i in range(each):
            Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(folder / name / f"{i}.png")
    return folder


def shards(folder: Path, count: int = 4, each: int = 15) -> str:
    """WebDataset shards, written with tarfile as its authors' own tool writes them: 000.png and 000.cls."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        with tarfile.open(folder / f"part-{k:03}.tar", "w") as tar:
            for i in range(each):
                out = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, (6, 5, 3), dtype=np.uint8)).save(out, "PNG")
                for suffix, data in (("png", out.getvalue()), ("cls", str(i % 3).encode())):
                    member = tarfile.TarInfo(f"{k:03}{i:03}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
    return str(folder / "part-*.tar")


def feed(images: Images) -> Feed:
    return Feed(images, [0.5] * 3, [0.25] * 3)


@pytest.mark.parametrize("source", ["folder", "shards"])
@pytest.mark.parametrize("level", LEVELS)
def test_every_level_gives_the_same_batches_from_any_step_on(tmp_path, level, source):
    place = photos(tmp_path / "pets") if source == "folder" else shards(tmp_path / "pets")
    whole, other = feed(load_dataset(place, level="resident").train), feed(load_dataset(place, level=level).train)
    for epoch in (0, 3):
        expected = list(whole.walk(whole.order(8, 5, epoch)))
        batches = other.order(8, 5, epoch)
        for first in (0, 1, len(batches) - 1):
            found = list(other.walk(batches[first:]))
            assert len(found) == len(expected) - first
            for (x, y), (a, b) in zip(found, expected[first:], strict=True):
                assert torch.equal(x, a) and torch.equal(y, b) and x.dtype == torch.uint8


@pytest.mark.parametrize("level", LEVELS)
def test_all_images_in_turn_are_all_images_in_turn(tmp_path, level):
    images = load_dataset(photos(tmp_path / "pets"), level=level).train
    x, y = (torch.cat(parts) for parts in zip(*feed(images).in_turn(7), strict=True))
    np.testing.assert_array_equal(x, images.x[:])
    np.testing.assert_array_equal(y, images.y)


def test_a_walk_that_is_left_early_leaves_no_thread_behind(tmp_path):
    import threading

    other = feed(load_dataset(photos(tmp_path / "pets"), level="mapped").train)
    walk = other.walk(other.order(4, 0, 0))
    next(walk)
    walk.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("striate-read")]


def test_an_error_while_reading_ahead_comes_out_of_the_walk(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "striate.data.store.cache.count_fitting_rows", lambda rows, size: 0
    )  # a disk with no room to keep them
    data = load_dataset(photos(tmp_path / "pets"), level="streamed")
    (tmp_path / "pets" / data.train.files[5]).unlink()
    with pytest.raises(Exception, match="there is no such file"):
        list(feed(data.train).in_turn(4))


@given(st.integers(1, 200), sizes, st.integers(0, 3), st.integers(0, 3))
@settings(deadline=None)
def test_an_epoch_has_each_image_once(images, batch, seed, epoch):
    for batches in (
        shuffle_batches(images, batch, seed, epoch),
        shuffle_shards(np.arange(images) // 7, batch, seed, epoch, window=5),
    ):
        seen = torch.cat(batches).tolist() if batches else []
        assert len(batches) == count_steps(images, batch)
        assert len(set(seen)) == len(seen) == images - (images % batch == 1)
        assert all(len(b) == batch for b in batches[:-1])


def test_the_order_depends_on_the_seed_and_the_epoch_and_is_kept_for_good():
    """The numbers were written down when runs first depended on them: another order would break their resuming."""
    assert torch.cat(shuffle_batches(10, 4, seed=7, epoch=2)).tolist() == ORDER
    assert torch.cat(shuffle_shards(np.arange(10) // 4, 4, seed=7, epoch=2, window=3)).tolist() == NEAR
    assert torch.cat(balance_batches(np.array([0] * 8 + [1] * 2), 4, seed=7, epoch=2)).tolist() == BALANCED
    orders = [torch.cat(shuffle_batches(50, 4, seed, epoch)).tolist() for seed in range(3) for epoch in range(3)]
    assert len({tuple(one) for one in orders}) == 9


ORDER = [9, 6, 2, 5, 1, 4, 8, 3, 7, 0]
NEAR = [5, 4, 6, 0, 7, 1, 2, 3, 8, 9]
BALANCED = [5, 9, 8, 9, 9, 8, 6, 4, 0, 3]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 20), st.integers(0, 5))
@settings(deadline=None)
def test_in_shards_no_image_moves_further_than_the_window_and_shards_come_one_after_another(lengths, window, epoch):
    number = np.repeat(np.arange(len(lengths)), lengths)
    exact = torch.cat([*shuffle_shards(number, 2, 0, epoch, window=1), nothing])
    turn = list(dict.fromkeys(number[exact].tolist()))
    assert (np.diff([turn.index(k) for k in number[exact]]) >= 0).all()
    for k in turn:
        own = [row for row in exact.tolist() if number[row] == k]
        assert own == sorted(own)
    moved = torch.cat([*shuffle_shards(number, 2, 0, epoch, window=window), nothing]).tolist()
    place = {row: at for at, row in enumerate(exact.tolist())}
    assert all(abs(place.get(row, at) - at) <= window for at, row in enumerate(moved))


@given(labels, sizes, st.integers(0, 4))
@settings(deadline=None)
def test_in_a_balanced_epoch_classes_and_the_images_of_a_class_come_equally_often(y, batch, epoch):
    drawn = torch.cat([*balance_batches(y, batch, 1, epoch), nothing]).numpy()
    dropped = len(y) % batch == 1
    assert len(drawn) == len(y) - dropped
    of_class = np.bincount(y[drawn], minlength=6)[np.unique(y)]
    assert of_class.max() - of_class.min() <= 1 + dropped
    times = np.bincount(drawn, minlength=len(y))
    for k in np.unique(y):
        assert times[y == k].max() - times[y == k].min() <= 1 + dropped


@given(labels)
@settings(deadline=None)
def test_class_weights_are_scikit_learns(y):
    weights = compute_class_weights(y, 6)
    present = np.unique(y)
    np.testing.assert_allclose(weights[present], compute_class_weight("balanced", classes=present, y=y))
    assert weights.shape == (6,) and (np.delete(weights, present) == 0).all()
    assert weights[y].mean() == pytest.approx(1)


def test_a_class_weight_of_an_epoch_makes_each_class_count_the_same_in_the_loss():
    y = np.array([0] * 30 + [1] * 5 + [2])
    sums = [compute_class_weights(y, 3)[y[y == k]].sum() for k in range(3)]
    np.testing.assert_allclose(sums, [12, 12, 12])
