"""The data sets that go by name: read from a folder, from the cache, or downloaded once, from a real server here."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import http.server
import io
import os
import struct
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from striate.data.sources import builtin
from striate.data.sources.array_formats import read_cifar10, read_idx
from striate.data.sources.builtin import (
    BUILTINS,
    CIFAR10,
    FASHION_MNIST,
    MNIST,
    PublishedFile,
    download_builtin,
    find_data_cache,
    load_builtin,
)
from striate.data.sources.load import load_dataset, load_images
from striate.errors import DataError


def idx(array: np.ndarray) -> bytes:
    """An idx file of a uint8 array, by the format's own page (yann.lecun.com/exdb/mnist)."""
    return (
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.astype(np.uint8).tobytes()
    )


def small_mnist(seed: int = 0) -> dict[str, bytes]:
    """Four idx files of a small set in MNIST's form."""
    rng = np.random.default_rng(seed)
    files = {}
    for part, n in (("train", 60), ("t10k", 20)):
        files[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(idx(rng.integers(0, 256, (n, 7, 6))))
        files[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(idx(np.arange(n) % 10))
    return files


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """No STRIATE_DATA, an empty cache folder, and no proxy between here and the loopback."""
    monkeypatch.delenv("STRIATE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(builtin, "find_data_cache", lambda: tmp_path / "cache" / "striate" / "data")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path


@pytest.fixture
def server():
    """A web server on the loopback: `server.files` is what it serves, `server.cut` what it breaks off half-way."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rsplit("/", 1)[-1]
            held.asked.append(name)
            if name not in held.files:
                self.send_error(404)
                return
            data = held.files[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if name in held.cut else data)

        def log_message(self, *args: object) -> None:
            pass

    held = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.files, held.cut, held.asked = {}, set(), []
    held.url = f"http://127.0.0.1:{held.server_port}/data/"
    thread = threading.Thread(target=held.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield held
    held.shutdown()
    thread.join()
    held.server_close()


def published(name: str, files: dict[str, bytes], *mirrors: str) -> builtin.BuiltIn:
    """A built-in data set with other contents, published at the mirrors."""
    sums = tuple(PublishedFile(file, hashlib.sha256(data).hexdigest()) for file, data in files.items())
    return dataclasses.replace(BUILTINS[name], files=sums, mirrors=mirrors)


def test_the_digits_are_scikit_learns_at_full_scale():
    from sklearn.datasets import load_digits

    data = load_dataset("digits")
    assert (len(data.train), len(data.valid), len(data.test)) == (1437, 180, 180)
    assert data.classes == tuple("0123456789")
    assert data.shape == (1, 8, 8)
    held = load_digits()
    for part in (data.train, data.valid, data.test):
        rows = [int(file.removeprefix("image[").removesuffix("]")) for file in part.files]
        assert np.abs(part.x[..., 0] / 255 - held.images[rows] / 16).max() <= 0.5 / 255 + 1e-9
        np.testing.assert_array_equal(part.y, held.target[rows])
    assert data.train.x.max() == 255


def test_the_digits_come_without_a_network_and_evaluate_on_their_own_test_split():
    data = load_dataset("digits", seed=5)
    images = load_images("digits", data.classes, seed=5)
    np.testing.assert_array_equal(images.x, data.test.x)
    assert images.files == data.test.files
    turned = load_images("digits", data.classes[::-1], seed=5)
    np.testing.assert_array_equal(turned.y, 9 - images.y)


def test_the_digits_are_enlarged_and_coloured_on_request():
    data = load_dataset("digits", size=(32, 32), channels=3)
    assert data.shape == (3, 32, 32)
    assert (data.train.x == data.train.x[..., :1]).all()


def test_sources_import_no_scikit_learn_until_the_digits_are_asked_for():
    code = "import sys, striate.data.sources.load as s; print('sklearn' in sys.modules, 'torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).split() == ["False", "False"]


MD5 = {
    "mnist": ("6bbc9ace898e44ae57da46a324031adb", None, None, None),
    "fashion-mnist": (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
}


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_set_is_read_from_striate_data_bit_for_bit(data, name):
    """The md5 sums of the unpacked files, as published, from the arrays put back into the idx form."""
    found = load_builtin(BUILTINS[name]).arrays
    (train_x, train_y), (test_x, test_y) = found["train"], found["test"]
    arrays = (train_x[..., 0], train_y, test_x[..., 0], test_y)
    assert [len(array) for array in arrays] == [60_000, 60_000, 10_000, 10_000]
    for array, expected in zip(arrays, MD5[name], strict=True):
        if expected:
            assert hashlib.md5(idx(array)).hexdigest() == expected


def test_mnist_has_its_published_test_split_and_a_tenth_of_train_to_choose_by(data):
    mnist = load_dataset("mnist")
    assert (len(mnist.train), len(mnist.valid), len(mnist.test)) == (54_000, 6_000, 10_000)
    assert mnist.test.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert mnist.test.counts == (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    assert not set(mnist.train.files) & set(mnist.valid.files)


def test_striate_data_may_hold_the_files_unpacked_or_as_an_npz(home, monkeypatch):
    files = small_mnist()
    for folder in ("gz/mnist", "raw/MNIST/raw", "npz"):
        (home / folder).mkdir(parents=True)
    for name, content in files.items():
        (home / "gz/mnist" / name).write_bytes(content)
        (home / "raw/MNIST/raw" / name.removesuffix(".gz")).write_bytes(gzip.decompress(content))
    arrays = load_builtin_at(home / "gz", monkeypatch)
    pairs = {"x_train": "train", "x_test": "test"}
    keyed = {key: arrays[part][0][..., 0] for key, part in pairs.items()}
    keyed |= {key.replace("x", "y"): arrays[part][1] for key, part in pairs.items()}
    np.savez(home / "npz/mnist.npz", **keyed)
    for folder in ("raw", "npz"):
        other = load_builtin_at(home / folder, monkeypatch)
        for part in ("train", "test"):
            np.testing.assert_array_equal(other[part][0].squeeze(), arrays[part][0].squeeze())
            np.testing.assert_array_equal(other[part][1], arrays[part][1])


def load_builtin_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.setenv("STRIATE_DATA", str(folder))
    found = load_builtin(MNIST)
    assert found.where.startswith(str(folder))
    return found.arrays


def small_cifar() -> tuple[dict[str, bytes], np.ndarray, np.ndarray]:
    """Six batches of CIFAR-10's binary form, four images each, and what is in them."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    labels = np.arange(24) % 10
    names = [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]
    batches = {}
    for k, name in enumerate(names):
        rows = range(4 * k, 4 * k + 4)
        batches[name] = b"".join(
            bytes([labels[i]]) + b"".join(pixels[i, :, :, c].tobytes() for c in range(3)) for i in rows
        )
    return batches, pixels, labels


def archive(batches: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


@pytest.mark.parametrize("form", ["folder", "archive"])
def test_cifar10_is_read_from_its_binary_form(home, monkeypatch, form):
    batches, pixels, labels = small_cifar()
    (home / "cifar10" / "cifar-10-batches-bin").mkdir(parents=True)
    if form == "folder":
        for name, content in batches.items():
            (home / "cifar10" / "cifar-10-batches-bin" / name).write_bytes(content)
    else:
        (home / "cifar10" / "cifar-10-batches-bin").rmdir()
        (home / "cifar10" / "cifar-10-binary.tar.gz").write_bytes(archive(batches))
    monkeypatch.setenv("STRIATE_DATA", str(home))
    data = load_dataset("cifar10", valid_share=0.3)
    assert data.classes[3] == "cat"
    np.testing.assert_array_equal(data.test.x, pixels[20:])
    np.testing.assert_array_equal(data.test.y, labels[20:])
    for x, y, file in zip(data.train.x, data.train.y, data.train.files, strict=True):
        k = int(file.removeprefix("train[").removesuffix("]"))
        np.testing.assert_array_equal(x, pixels[k])
        assert y == labels[k]


def test_a_cifar10_batch_of_a_wrong_size_and_a_missing_one_are_errors(tmp_path):
    batches, _, _ = small_cifar()
    (tmp_path / "a.tar.gz").write_bytes(archive({**batches, "data_batch_2.bin": b"\0" * 100}))
    with pytest.raises(DataError) as refused:
        read_cifar10(tmp_path / "a.tar.gz")
    assert str(refused.value) == (
        f"{tmp_path}/a.tar.gz/data_batch_2.bin: this is not a CIFAR-10 batch\n  got   100\n"
        "  rule  a whole number of records of 1 + 3·32·32 = 3073 bytes"
    )
    del batches["test_batch.bin"]
    (tmp_path / "b.tar.gz").write_bytes(archive(batches))
    with pytest.raises(DataError, match="the archive has no test_batch.bin"):
        read_cifar10(tmp_path / "b.tar.gz")


def test_a_pickled_cifar10_is_not_opened_and_the_binary_version_is_named(home, monkeypatch):
    (home / "cifar-10-batches-py").mkdir()
    marker = home / "marker"
    (home / "cifar-10-batches-py" / "data_batch_1").write_bytes(
        b"cos\nsystem\n(S'touch " + os.fsencode(marker) + b"'\ntR."
    )
    monkeypatch.setenv("STRIATE_DATA", str(home))
    monkeypatch.setitem(BUILTINS, "cifar10", dataclasses.replace(CIFAR10, mirrors=()))
    with pytest.raises(DataError) as refused:
        load_dataset("cifar10")
    assert refused.value.hint == (
        "the Python version of CIFAR-10 is a pickle, which striate does not open: put cifar-10-binary.tar.gz beside it"
    )
    assert not marker.exists()


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "{}: this is not an idx file\n  got   0 bytes, the first "),
        (b"hello", "{}: this is not an idx file\n  got   5 bytes, the first 68 65 6c 6c"),
        (
            idx(np.zeros((3, 4, 5)))[:-7],
            "{}: the idx file does not hold what its header says\n  got   53 bytes\n"
            "  rule  3·4·5 values of 1 bytes = 60",
        ),
    ],
)
def test_a_broken_idx_file_is_an_error(tmp_path, content, message):
    (tmp_path / "images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError) as refused:
        read_idx(tmp_path / "images-idx3-ubyte")
    assert str(refused.value) == message.format(tmp_path / "images-idx3-ubyte")


def test_a_gzip_file_cut_short_is_an_error(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(np.arange(99)))[:-12])
    with pytest.raises(DataError, match="the gzip file is broken"):
        read_idx(tmp_path / "a.gz")


def test_labels_that_do_not_pair_with_the_images_are_an_error(home, monkeypatch):
    files = small_mnist()
    files["train-labels-idx1-ubyte.gz"] = gzip.compress(idx(np.arange(59) % 10))
    (home / "mnist").mkdir()
    for name, content in files.items():
        (home / "mnist" / name).write_bytes(content)
    monkeypatch.setenv("STRIATE_DATA", str(home))
    with pytest.raises(DataError, match="59 labels for 60 images"):
        load_dataset("mnist")


def test_a_set_that_is_nowhere_is_downloaded_once_checked_and_kept(home, server, monkeypatch):
    server.files = small_mnist()
    monkeypatch.setitem(BUILTINS, "mnist", published("mnist", server.files, server.url))
    seen = []
    data = load_dataset("mnist", progress=lambda *report: seen.append(report))
    assert data.notes[0] == f"read from {home / 'cache' / 'striate' / 'data' / 'mnist'}"
    assert len(data.test) == 20
    first = len(server.files["train-images-idx3-ubyte.gz"])
    assert ("bytes of mnist", first, first) in seen
    assert len(server.asked) == 4
    assert load_dataset("mnist").fingerprint == data.fingerprint
    assert len(server.asked) == 4
    kept = {path.name: path.read_bytes() for path in (home / "cache" / "striate" / "data" / "mnist").iterdir()}
    assert kept == server.files


def test_a_wrong_checksum_is_refused_and_the_next_mirror_taken(home, server):
    good = small_mnist()
    server.files = {**good, "bad": b""}
    other = http_path(server, "wrong/")
    server.files = good
    source = published("mnist", good, other, server.url)
    download_builtin(source, home / "there")
    assert sorted(path.name for path in (home / "there").iterdir()) == sorted(good)


def http_path(server: http.server.HTTPServer, folder: str) -> str:
    """A mirror at which nothing is served: a port that was free a moment ago."""
    closed = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    port = closed.server_port
    closed.server_close()
    return f"http://127.0.0.1:{port}/{folder}"


def test_wrong_content_leaves_no_file_and_says_both_checksums(home, server):
    good = small_mnist()
    server.files = {name: content + b"!" for name, content in good.items()}
    with pytest.raises(DataError) as refused:
        download_builtin(published("mnist", good, server.url), home / "there")
    name = "train-images-idx3-ubyte.gz"
    got, wanted = (hashlib.sha256(files[name]).hexdigest()[:12] for files in (server.files, good))
    assert str(refused.value) == (
        f"mnist: mnist is not on this machine and {name} could not be downloaded\n"
        f"  got   {server.url}{name}: wrong content, sha256 {got}… instead of {wanted}…\n"
        f"  hint  set STRIATE_DATA to a folder and put {', '.join(good)} from http://yann.lecun.com/exdb/mnist/ "
        "into $STRIATE_DATA/mnist/"
    )
    assert list((home / "there").iterdir()) == []


def test_half_a_file_is_refused_and_leaves_nothing(home, server):
    server.files = small_mnist()
    server.cut = set(server.files)
    size = len(server.files["train-images-idx3-ubyte.gz"])
    with pytest.raises(DataError, match=f"the connection ended after {size // 2:,} of {size:,} bytes"):
        download_builtin(published("mnist", server.files, server.url), home / "there")
    assert list((home / "there").iterdir()) == []


def test_a_missing_file_at_a_mirror_is_named_with_the_servers_answer(home, server):
    with pytest.raises(DataError, match="the server answers 404 Not Found"):
        download_builtin(published("mnist", small_mnist(), server.url), home / "there")


def test_offline_the_error_names_striate_data_and_doing_so_works(home, server, monkeypatch):
    files = small_mnist()
    nowhere = http_path(server, "")
    monkeypatch.setitem(BUILTINS, "mnist", published("mnist", files, nowhere, nowhere))
    with pytest.raises(DataError) as refused:
        load_dataset("mnist")
    assert str(refused.value.got).count("no connection") == 2
    assert "set STRIATE_DATA to a folder" in refused.value.hint
    (home / "mine" / "mnist").mkdir(parents=True)
    for name, content in files.items():
        (home / "mine" / "mnist" / name).write_bytes(content)
    monkeypatch.setenv("STRIATE_DATA", str(home / "mine"))
    assert len(load_dataset("mnist").test) == 20


def test_a_silent_server_is_given_up(home):
    import socket

    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/"
        with pytest.raises(DataError, match="the server stays silent|timed out"):
            download_builtin(published("mnist", small_mnist(), url), home / "there", seconds=0.2)


def test_a_cache_folder_that_cannot_be_written_is_named(home, server):
    server.files = small_mnist()
    (home / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written"):
        download_builtin(published("mnist", server.files, server.url), home / "file" / "there")


def test_the_published_checksums_are_those_of_the_files_at_hand(data):
    """MNIST's test files and both label files are kept as published; its training images were packed anew."""
    for file in MNIST.files[1:]:
        path = data / "mnist" / file.name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
    assert {file.name for file in FASHION_MNIST.files} == {file.name for file in MNIST.files}


def test_the_cache_is_the_platforms_own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform.startswith("linux"):
        assert find_data_cache() == tmp_path / "striate" / "data"
