"""Arrays in files that are larger than the memory allowed: read row by row, the same pixels as in memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from striate.data.check.audit import audit_data
from striate.data.images import Dataset, measure_channels
from striate.data.sources.load import load_dataset, load_images
from striate.data.store import cache
from striate.errors import DataError

Y = np.arange(50) % 3


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda *a, **k: str(tmp_path / "cache" / "striate"))


def images(kind: str = "uint8", shape: tuple[int, ...] = (50, 6, 5, 3)) -> np.ndarray:
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return {"uint8": x, "bool": x > 100, "float32": (x / 255).astype(">f4"), "int64": x.astype(np.int64)}[kind]


def same(data: Dataset, whole: Dataset) -> None:
    assert data.level == "mapped" and whole.level == "resident"
    assert data.fingerprint == whole.fingerprint and data.classes == whole.classes
    for part in ("train", "valid", "test"):
        own, other = getattr(data, part), getattr(whole, part)
        np.testing.assert_array_equal(own.x[:], other.x)
        assert own.y.tolist() == other.y.tolist() and own.files == other.files
        assert measure_channels(own.x) == measure_channels(other.x)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", ["uint8", "bool", "float32", "int64"])
@pytest.mark.parametrize("options", [{}, {"size": (4, 7)}, {"channels": 1}, {"size": (4, 4), "fit": "crop"}], ids=str)
def test_an_npz_larger_than_the_memory_allowed_gives_the_pixels_of_the_array(tmp_path, save, kind, options):
    """The array itself, handed over in memory, says what they must be."""
    save(tmp_path / "set.npz", x=images(kind), y=Y)
    for _ in range(2):
        same(load_dataset(tmp_path / "set.npz", memory=1000, **options), load_dataset((images(kind), Y), **options))
    whole = load_dataset(tmp_path / "set.npz", memory="1G", **options)
    same(load_dataset(tmp_path / "set.npz", level="streamed", **options), whole)


@pytest.mark.parametrize("shape", [(50, 6, 5), (50, 6, 5, 1)])
def test_gray_arrays_without_an_axis_for_colour_are_read_from_the_file_too(tmp_path, shape):
    np.savez(tmp_path / "set.npz", x=images(shape=shape), y=Y)
    same(load_dataset(tmp_path / "set.npz", memory=100), load_dataset((images(shape=shape), Y)))


def test_a_file_that_has_the_very_pixels_is_not_written_again(tmp_path):
    np.save(tmp_path / "x.npy", images())
    np.save(tmp_path / "y.npy", Y)
    np.savez(tmp_path / "set.npz", a=np.zeros(7), x=images(), y=Y)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    whole = load_dataset((images(), Y))
    for source in ((x, Y), (x[:], Y), (tmp_path / "x.npy", str(tmp_path / "y.npy")), tmp_path / "set.npz"):
        data = load_dataset(source, memory=1000)
        same(data, whole)
        assert data.train.x.store.file == (tmp_path / "set.npz" if isinstance(source, Path) else tmp_path / "x.npy")
        assert data.notes[0].startswith("4.5 kB of pixels, and 1.0 kB of memory allowed: read from ")
    assert not list(cache.find_cache_folder().glob("*.npy"))


def test_a_part_of_a_memory_map_is_that_part(tmp_path):
    np.save(tmp_path / "x.npy", images())
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    same(load_dataset((x[10:40], Y[10:40]), memory=100), load_dataset((images()[10:40], Y[10:40])))
    assert load_dataset((x[::2], Y[::2]), memory=100).level == "resident", "these rows have others between them"


def test_a_memory_map_whose_changes_are_in_memory_alone_is_taken_from_memory(tmp_path):
    np.save(tmp_path / "x.npy", images())
    x = np.load(tmp_path / "x.npy", mmap_mode="c")
    x[:] = 255 - images()
    data = load_dataset((x, Y), memory=100)
    assert data.level == "resident" and data.fingerprint == load_dataset((255 - images(), Y)).fingerprint


def test_the_order_of_fortran_is_read_as_it_is_meant(tmp_path):
    np.savez(tmp_path / "set.npz", x=np.asfortranarray(images()), y=Y)
    same(load_dataset(tmp_path / "set.npz", memory=1000), load_dataset((images(), Y)))


def test_a_changed_file_is_read_again(tmp_path):
    np.savez_compressed(tmp_path / "set.npz", x=images(), y=Y)
    before = load_dataset(tmp_path / "set.npz", memory=1000)
    np.savez_compressed(tmp_path / "set.npz", x=255 - images(), y=Y)
    after = load_dataset(tmp_path / "set.npz", memory=1000)
    assert before.fingerprint != after.fingerprint == load_dataset((255 - images(), Y)).fingerprint


def test_splits_stay_apart_and_evaluation_reads_the_test_split_alone(tmp_path):
    x = images()
    np.savez_compressed(tmp_path / "set.npz", x_train=x[:30], y_train=Y[:30], x_test=x[30:], y_test=Y[30:])
    data = load_dataset(tmp_path / "set.npz", memory=100)
    np.testing.assert_array_equal(data.test.x[:], x[30:])
    measured = load_images(tmp_path / "set.npz", data.classes, memory=100)
    np.testing.assert_array_equal(measured.x[:], x[30:])
    assert len(list(cache.find_cache_folder().glob("*.npy"))) == 2
    assert audit_data(tmp_path / "set.npz").images == 50


def test_splits_of_several_sizes_are_an_error_until_a_size_is_said(tmp_path):
    np.savez(tmp_path / "set.npz", x_train=images(), y_train=Y, x_test=images(shape=(50, 7, 5)), y_test=Y)
    with pytest.raises(DataError) as refused:
        load_dataset(tmp_path / "set.npz")
    assert str(refused.value) == (
        f"{tmp_path / 'set.npz'}: the splits differ in size, so a size is needed\n"
        "  got   train 6×5, test 7×5\n  hint  size=(64, 64)"
    )
    assert load_dataset(tmp_path / "set.npz", size=(64, 64)).test.x.shape == (50, 64, 64, 3)


@pytest.mark.parametrize("memory", [100, "1G"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_archive_is_an_error_and_leaves_nothing_behind(tmp_path, save, memory):
    save(tmp_path / "set.npz", x=images(), y=Y)
    with zipfile.ZipFile(tmp_path / "set.npz") as archive:
        place = archive.getinfo("x.npy").header_offset + 1500
    data = bytearray((tmp_path / "set.npz").read_bytes())
    data[place] ^= 1
    (tmp_path / "set.npz").write_bytes(data)
    with pytest.raises(DataError, match="set.npz: the npz file cannot be read: "):
        load_dataset(tmp_path / "set.npz", memory=memory)
    assert not cache.find_cache_folder().exists() or not list(cache.find_cache_folder().iterdir())


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_the_checksum_of_an_archives_member_counts(tmp_path, save):
    save(tmp_path / "set.npz", x=np.full((50, 60, 50, 3), 7, np.uint8), y=Y)
    data = bytearray((tmp_path / "set.npz").read_bytes())
    data[data.index(b"PK\x01\x02") + 16] ^= 1  # the first entry's CRC in the directory
    (tmp_path / "set.npz").write_bytes(data)
    with pytest.raises(DataError, match="cannot be read: Bad CRC-32 for file 'x.npy'"):
        load_dataset(tmp_path / "set.npz", memory=100)


def test_a_npy_file_that_was_cut_short_is_an_error(tmp_path):
    np.save(tmp_path / "x.npy", images())
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-1])
    with pytest.raises(DataError, match="x.npy: the npy file cannot be read: it ends after 49 of 50 rows"):
        load_dataset((tmp_path / "x.npy", Y), memory=100)


def test_numbers_that_are_no_levels_are_an_error_from_a_file_too(tmp_path):
    np.savez_compressed(tmp_path / "set.npz", x=images("float32") + np.inf, y=Y)
    with pytest.raises(DataError) as refused:
        load_dataset(tmp_path / "set.npz", memory=100)
    assert str(refused.value) == (
        f"{tmp_path / 'set.npz'}: pixels are finite numbers\n  got   inf\n  hint  numpy.nan_to_num(x)"
    )


PROGRAM = """
import json, sys
import numpy as np
from striate.data.sources.load import load_dataset

def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024

source = sys.argv[1] if sys.argv[1].endswith("npz") else (np.load(sys.argv[1], mmap_mode="r"), np.arange(1500) % 3)
load_dataset((np.zeros((50, 64, 64, 3), np.uint8), np.arange(50) % 3))
before = peak()
data = load_dataset(source, memory=int(sys.argv[2]), workers=2)
for low in range(0, len(data.train), 64):
    data.train.x[np.arange(low, min(low + 64, len(data.train)))]
print(json.dumps([data.level, before, peak()]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux's /proc")
@pytest.mark.parametrize(
    "file", ["x.npy", "stored.npz", "compressed.npz", pytest.param("floats.npz", marks=pytest.mark.slow)]
)
def test_a_file_ten_times_the_memory_allowed_leaves_the_peak_flat(tmp_path, file):
    """1,500 images of 96×96×3 are 41 MB, as floats 166 MB; a tenth of 41 is allowed."""
    x = np.random.default_rng(0).integers(0, 256, (1500, 12, 12, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    save = {"x.npy": lambda path, x, y: np.save(path, x), "stored.npz": np.savez}.get(file, np.savez_compressed)
    save(tmp_path / file, x=x / np.float32(255) if file == "floats.npz" else x, y=np.arange(1500) % 3)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / file), str(x.nbytes // 10)],
        capture_output=True, text=True, check=True, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
    )  # fmt: skip
    level, before, after = json.loads(done.stdout)
    assert level == "mapped" and after - before < x.nbytes / 2
