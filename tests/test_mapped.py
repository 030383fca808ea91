"""Pixels in memory, on disk or in the source: the same batches from each, and no more memory than is allowed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from striate.data.images import compute_fingerprint, measure_channels
from striate.data.sources.load import load_dataset, load_images
from striate.data.store import cache
from striate.data.store.allowance import parse_allowance, read_container_limits
from striate.data.store.rows import ImageRecords, Rows
from striate.errors import DataError

LEVELS = ["resident", "mapped", "streamed"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda *a, **k: str(tmp_path / "cache" / "striate"))


def photos(folder: Path, classes: int = 3, each: int = 20, side: int = 12) -> Path:
    """Class folders of JPEGs of noise, in colour, all different."""
    rng = np.random.default_rng(0)
    for k in range(classes):
        (folder / f"class {k}").mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"class {k}" / f"{i}.jpg", quality=90)
    return folder


def state(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


def counted(monkeypatch) -> list[str]:
    """The files that are decoded from now on."""
    decoded: list[str] = []
    from striate.data.read import decode

    real = decode.open_image

    def noted(source, where, *rest):
        decoded.append(where)
        return real(source, where, *rest)

    monkeypatch.setattr(decode, "open_image", noted)
    return decoded


def test_each_level_gives_the_same_pixels_labels_splits_and_fingerprint(tmp_path):
    photos(tmp_path / "pets")
    (tmp_path / "pets" / "class 1" / "bad.jpg").write_bytes(b"no image")
    whole = load_dataset(tmp_path / "pets", size=(9, 8))
    for level in LEVELS:
        data = load_dataset(tmp_path / "pets", size=(9, 8), level=level)
        assert data.level == level and data.fingerprint == whole.fingerprint
        assert data.skipped == whole.skipped and data.shape == (3, 9, 8)
        for part in ("train", "valid", "test"):
            own, other = getattr(data, part), getattr(whole, part)
            np.testing.assert_array_equal(own.x[:], other.x)
            np.testing.assert_array_equal(own.x[[3, 0, 2]], other.x[[3, 0, 2]])
            np.testing.assert_array_equal(np.asarray(own.x), other.x)
            np.testing.assert_array_equal(own.x[-1], other.x[-1])
            np.testing.assert_array_equal(np.stack(list(own.x)), other.x)
            assert own.y.tolist() == other.y.tolist() and own.files == other.files
            assert measure_channels(own.x) == measure_channels(other.x)


def test_statistics_are_numpys_mean_and_deviation(tmp_path):
    x = load_dataset(photos(tmp_path / "pets"), level="mapped").train.x
    mean, std = measure_channels(x)
    np.testing.assert_allclose(mean, x[:].mean((0, 1, 2)) / 255, atol=1e-6)
    np.testing.assert_allclose(std, x[:].std((0, 1, 2)) / 255, atol=1e-6)


@given(st.lists(st.integers(0, 29), max_size=40), st.lists(st.integers(0, 29), min_size=1, max_size=20))
@settings(deadline=None)
def test_rows_read_as_the_array_that_they_stand_for(first, second):
    x = np.random.default_rng(1).integers(0, 256, (30, 2, 3, 1), dtype=np.uint8)

    class InMemory:
        shape, account = x.shape, ImageRecords(np.zeros((30, 32), np.uint8), np.zeros((30, 1, 2), np.int64))

        def fetch(self, rows):
            return x[rows]

    rows, plain = Rows(InMemory(), np.array(first, np.int64)), x[np.array(first, np.int64)]
    assert rows.shape == plain.shape and len(rows) == len(plain) and rows.nbytes == plain.nbytes
    np.testing.assert_array_equal(rows[1:7], plain[1:7])
    within = [k for k in second if k < len(first)]
    np.testing.assert_array_equal(rows[within], plain[np.array(within, np.int64)])
    np.testing.assert_array_equal(rows.take(np.array(within, np.int64))[:], plain[np.array(within, np.int64)])


def test_what_is_more_than_the_memory_allowed_is_decoded_on_disk_and_said(tmp_path):
    folder = photos(tmp_path / "pets")
    assert load_dataset(folder, memory="1M").level == "resident"
    data = load_dataset(folder, memory=60 * 12 * 12 * 3 - 1)
    assert data.level == "mapped"
    assert data.notes[0] == (
        f"25.9 kB of pixels, and 25.9 kB of memory allowed: decoded on disk, in {tmp_path}/cache/striate/images"
    )


def test_where_the_disk_is_full_too_images_are_decoded_in_every_epoch(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "count_fitting_rows", lambda rows, size: 0)
    data = load_dataset(photos(tmp_path / "pets"), memory=1000)
    assert data.level == "streamed" and data.notes[0].endswith("images: decoded again in every epoch")
    assert not list(cache.find_cache_folder().glob("*.npy"))


def test_as_many_images_as_the_disk_has_room_for_are_decoded_once(tmp_path, monkeypatch):
    folder = photos(tmp_path / "pets")
    whole = load_dataset(folder)
    monkeypatch.setattr(cache, "count_fitting_rows", lambda rows, size: 25)
    data = load_dataset(folder, memory=1000)
    assert data.level == "streamed" and data.fingerprint == whole.fingerprint
    assert "25 of 60 images decoded on disk" in data.notes[0]
    [file] = cache.find_cache_folder().glob("*.npy")
    assert np.load(file).shape == (25, 12, 12, 3)
    again = load_dataset(folder, memory=1000)
    decoded = counted(monkeypatch)
    for part in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(again, part).x[:], getattr(whole, part).x)
    assert len(decoded) == 35, "each image that is not kept, once"


def test_what_is_kept_stays_until_all_images_have_room(tmp_path, monkeypatch):
    folder, room = photos(tmp_path / "pets"), 25
    monkeypatch.setattr(cache, "count_fitting_rows", lambda rows, size: min(rows, room))
    load_dataset(folder, memory=1000)
    decoded = counted(monkeypatch)
    for room in (0, 40):  # noqa: B007
        assert load_dataset(folder, size=(12, 12), channels=3, memory=1000).level == "streamed"
    assert not decoded and len(np.load(next(cache.find_cache_folder().glob("*.npy")))) == 25
    room = 60
    assert load_dataset(folder, size=(12, 12), channels=3, memory=1000).level == "mapped"
    assert len(decoded) == 60
    room = 0
    assert load_dataset(folder, size=(12, 12), channels=3, memory=1000).level == "mapped"
    assert len(decoded) == 60, "what is there already needs no room"


def test_a_disk_that_fills_up_meanwhile_leaves_the_images_to_be_decoded(tmp_path):
    """Files of more than 6 kB cannot be written here: the account can, the pixels of 60 images cannot."""
    resource = pytest.importorskip("resource")
    folder = photos(tmp_path / "pets")
    whole = load_dataset(folder)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, before[1]))
    try:
        data = load_dataset(folder, memory=1000)
        with pytest.raises(DataError, match="decoded images cannot be kept here: File too large"):
            load_dataset(folder, level="mapped")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert data.level == "streamed" and data.fingerprint == whole.fingerprint
    np.testing.assert_array_equal(data.train.x[:], whole.train.x)
    assert [path.suffix for path in cache.find_cache_folder().iterdir()] == [".npz"]


def test_what_a_killed_process_left_half_written_goes_at_once_and_what_a_living_one_writes_stays(tmp_path):
    folder = photos(tmp_path / "pets")
    program = (
        "import os, sys; from striate.data.sources.load import load_dataset;"
        "load_dataset(sys.argv[1], level='mapped', progress=lambda what, done, total: done > 40 and "
        "os.kill(os.getpid(), 9))"
    )
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", program, str(folder)], env=env)
    assert done.returncode == -9
    [half] = cache.find_cache_folder().iterdir()
    assert half.suffix == ".part"
    with cache.write_whole(cache.find_cache_folder() / "other.npy") as living:
        data = load_dataset(folder, level="mapped")
        assert not half.exists() and Path(living.name).exists()
    assert data.fingerprint == load_dataset(folder).fingerprint


def test_a_cache_file_that_was_cut_short_is_made_again(tmp_path):
    folder = photos(tmp_path / "pets")
    load_dataset(folder, level="mapped")
    [file] = cache.find_cache_folder().glob("*.npy")
    file.write_bytes(file.read_bytes()[:-100])
    np.testing.assert_array_equal(load_dataset(folder, level="mapped").train.x[:], load_dataset(folder).train.x)


def test_the_second_load_decodes_nothing_and_neither_does_reading(tmp_path, monkeypatch):
    folder = photos(tmp_path / "pets")
    first = load_dataset(folder, size=(8, 8), channels=3, level="mapped")
    decoded = counted(monkeypatch)
    again = load_dataset(folder, size=(8, 8), channels=3, level="mapped")
    np.testing.assert_array_equal(again.train.x[:], first.train.x[:])
    assert again.fingerprint == first.fingerprint and not decoded
    load_dataset(folder, size=(8, 8), channels=3, level="resident")
    assert len(decoded) == 60


@pytest.mark.parametrize("level", ["mapped", "streamed"])
def test_a_changed_file_is_noticed(tmp_path, level):
    folder = photos(tmp_path / "pets")
    before = load_dataset(folder, level=level)
    changed = folder / "class 0" / "3.jpg"
    times = changed.stat()
    data = bytearray(changed.read_bytes())
    data[-40] ^= 1  # as long as before, and as old: only the time of its last change of state tells
    changed.write_bytes(bytes(data))
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = load_dataset(folder, level=level)
    assert after.fingerprint == load_dataset(folder).fingerprint != before.fingerprint


def test_a_file_that_changes_while_a_network_trains_on_it_is_an_error(tmp_path, monkeypatch):
    folder = photos(tmp_path / "pets")
    monkeypatch.setattr(cache, "count_fitting_rows", lambda rows, size: 0)
    data = load_dataset(folder, level="streamed")
    other = folder / "class 0" / "other.jpg"
    Image.new("RGB", (12, 12)).save(other)
    other.replace(folder / data.train.files[0])
    with pytest.raises(DataError, match="the image has changed since the data set was loaded"):
        data.train.x[:]


def test_another_size_fit_or_colour_is_another_cache(tmp_path):
    folder = photos(tmp_path / "pets")
    for options in ({}, {"size": (6, 6)}, {"size": (6, 6), "channels": 1}, {"size": (6, 5), "fit": "crop"}):
        np.testing.assert_array_equal(
            load_dataset(folder, level="mapped", **options).train.x[:], load_dataset(folder, **options).train.x
        )
    assert len(list(cache.find_cache_folder().glob("*.npy"))) == 4


def test_the_cache_is_a_plain_npy_file_and_nothing_is_written_elsewhere(tmp_path):
    folder = photos(tmp_path / "pets")
    before = state(folder)
    data = load_dataset(folder, level="mapped")
    assert state(folder) == before
    [file] = cache.find_cache_folder().glob("*.npy")
    x = np.load(file)
    assert x.shape == (60, 12, 12, 3) and x.dtype == np.uint8
    np.testing.assert_array_equal(x[data.train.x.rows], data.train.x[:])
    assert {path.suffix for path in cache.find_cache_folder().iterdir()} == {".npy", ".npz"}


def test_a_decoding_that_is_broken_off_leaves_nothing_half_done(tmp_path):
    folder = photos(tmp_path / "pets")

    def stop(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_dataset(folder, level="mapped", progress=stop)
    assert list(cache.find_cache_folder().iterdir()) == []
    assert load_dataset(folder, level="mapped").fingerprint == load_dataset(folder).fingerprint


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a file"])
def test_a_damaged_account_is_made_again(tmp_path, damage):
    folder = photos(tmp_path / "pets")
    before = load_dataset(folder, level="mapped")
    [account] = cache.find_cache_folder().glob("*.npz")
    account.write_bytes(damage)
    assert load_dataset(folder, level="mapped").fingerprint == before.fingerprint


def test_what_no_run_used_for_a_month_goes_when_something_new_comes(tmp_path):
    folder = photos(tmp_path / "pets")
    load_dataset(folder, size=(4, 4), level="mapped")
    load_dataset(folder, size=(5, 5), level="mapped")
    old, new = sorted(cache.find_cache_folder().glob("*.npy"), key=lambda path: path.stat().st_mtime_ns)
    os.utime(old, (0, 0))
    os.utime(old.with_suffix(".npz"), (0, 0))
    load_dataset(folder, size=(6, 6), level="mapped")
    assert not old.exists() and not old.with_suffix(".npz").exists() and new.exists()


def test_a_cache_folder_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DataError) as refused:
        load_dataset(photos(tmp_path / "pets"), level="mapped")
    assert str(refused.value) == (
        f"{tmp_path}/cache/striate/images: decoded images cannot be kept here: Not a directory\n"
        "  hint  allow more memory, or free some space there"
    )


def test_a_model_is_measured_on_the_same_images_at_each_level(tmp_path):
    folder = photos(tmp_path / "pets")
    classes = load_dataset(folder).classes
    expected = load_images(folder, classes)
    trained_on = load_dataset(folder).fingerprint
    held_out = load_images(folder, classes, trained_on=trained_on)
    for level in LEVELS:
        np.testing.assert_array_equal(load_images(folder, classes, level=level).x[:], expected.x)
        found = load_images(folder, classes, level=level, trained_on=trained_on)
        assert found.files == held_out.files == load_dataset(folder).test.files


@pytest.mark.parametrize(
    "text, count",
    [
        ("500M", 500e6),
        ("2G", 2e9),
        ("2 GiB", 2 * 2**30),
        ("1.5kB", 1500),
        ("7", 7),
        (12, 12),
        ("0", 0),
        ("3mib", 3 * 2**20),
    ],
)
def test_an_amount_of_memory_is_read(text, count):
    assert parse_allowance(text) == count


@pytest.mark.parametrize("text", ["", "much", "-1", "5X", "1e9", "M", 0.5, "5i", "5 M M"])
def test_what_is_no_amount_of_memory_is_an_error(text):
    with pytest.raises(DataError) as refused:
        parse_allowance(text)
    assert str(refused.value).startswith("memory: this is not an amount of memory")


def test_by_default_half_of_the_free_memory_is_allowed_and_a_containers_limit_counts(tmp_path):
    with open("/proc/meminfo") as file:
        total = next(int(line.split()[1]) for line in file if line.startswith("MemTotal")) * 1024
    assert 0 < parse_allowance() < total / 2
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("300\n")
    assert read_container_limits(tmp_path) == [700]
    (tmp_path / "memory.max").write_text("max\n")
    assert read_container_limits(tmp_path) == []


PROGRAM = """
import json, sys, threading
import numpy as np
from PIL import Image
from striate.data.sources.load import load_dataset
from striate.data.images import measure_channels

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024

source, memory = sys.argv[1], int(sys.argv[2])
# what libraries and threads take once
load_dataset(source + "/small", size=(96, 96), channels=3, memory=10**9, workers=2)
before = peak()
data = load_dataset(source + "/large", size=(96, 96), channels=3, memory=memory, workers=2)
measure_channels(data.train.x)
rng = np.random.default_rng(0)
for epoch in range(2):
    order = rng.permutation(len(data.train))
    for low in range(0, len(order), 64):
        data.train.x[order[low : low + 64]]
    for image in data.valid.x:
        pass
print(json.dumps([data.level, len(data.train), before, peak()]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux's /proc")
@pytest.mark.parametrize("level", ["mapped", "resident"])
def test_ten_times_the_memory_allowed_leaves_the_peak_flat(tmp_path, level):
    """Peak resident memory (VmHWM, all pages of the process, of files too) of a process that loads and walks 2 epochs.

    1,200 images of 96×96×3 are 33 MB; allowed are a tenth of that. Held in memory the same set shows in the peak.
    """
    pixels = 1200 * 96 * 96 * 3
    rng = np.random.default_rng(0)
    for k in range(1200):
        path = tmp_path / "large" / "ab"[k % 2] / f"{k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)
    photos(tmp_path / "small")
    allowed = pixels // 10 if level == "mapped" else 2 * pixels
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), str(allowed)],
        capture_output=True, text=True, check=True, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    found, images, before, after = json.loads(done.stdout)
    assert found == level and images == 960
    assert after - before < pixels / 2 if level == "mapped" else after - before > pixels * 0.8


def test_a_fingerprint_changes_with_any_pixel_at_every_level(tmp_path):
    data = load_dataset(photos(tmp_path / "pets"))
    x = data.train.x.copy()
    x[5, 3, 2, 1] ^= 1
    from dataclasses import replace

    assert compute_fingerprint(train=replace(data.train, x=x)) != compute_fingerprint(train=data.train)
