"""The model file: what is written is what is read, and what is broken is refused by name."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings

from striate import Dense, Flatten, Model, Net, load
from striate.engines.model_file import FORMAT, Header, Preprocess, read, save
from striate.errors import ModelError, RunError
from striate.whole_file import write
from tests.random_nets import nets, tensors_for

NET = Net((1, 4, 4), [Flatten(), Dense(3)])
TENSORS = {"dense1.weight": np.arange(48, dtype=np.float32).reshape(3, 16), "dense1.bias": np.zeros(3, np.float32)}
HEADER = Header(
    net=NET,
    classes=("a", "b", "c"),
    preprocess=Preprocess((4, 4), "pad", (0.5,), (0.25,)),
    recipe={"epochs": 3, "seed": 7},
    metrics={"valid_acc": 0.5},
    fingerprint="f00d",
    version="0.1.0",
)


@settings(deadline=None, max_examples=25)
@given(nets())
def test_what_is_saved_is_what_is_read(tmp_path_factory, net):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    tensors = {name: array.astype(np.float32) for name, array in tensors_for(net, 0).items()}
    c, h, w = net.input
    classes = tuple(f"class {k}" for k in range(net.classes))
    header = Header(net=net, classes=classes, preprocess=Preprocess((h, w), "crop", (0.5,) * c, (0.2,) * c))
    save(path, header, tensors)
    again, arrays = read(path)
    assert again == header
    assert list(arrays) == list(net.tensors)
    assert all(np.array_equal(arrays[name], tensors[name]) for name in tensors)


def broken(tmp_path, *, tensors=None, drop=(), **changes):
    """A model file whose header has `changes`, dotted names for inner fields."""
    path = tmp_path / "good.safetensors"
    save(path, HEADER, TENSORS)
    with safetensors.safe_open(str(path), "np") as file:
        head = json.loads(file.metadata()["striate"])
    for name, value in changes.items():
        place = head
        *outer, last = name.split("__")
        for part in outer:
            place = place[part]
        place[last] = value
    for name in drop:
        del head[name]
    path = tmp_path / "broken.safetensors"
    path.write_bytes(safetensors.numpy.save(tensors or TENSORS, metadata={"striate": json.dumps(head)}))
    return path


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"format": FORMAT + 1}, "header.format"),
        ({"format": "new"}, "header.format"),
        ({"net__input": [1, 4]}, "header.net"),
        ({"net__layers": [{"layer": "Cnv"}]}, "header.net"),
        ({"net": None}, "header.net"),
        ({"classes": ["a", "b"]}, "header.classes"),
        ({"classes": ["a", "b", "b"]}, "header.classes"),
        ({"classes": "abc"}, "header"),
        ({"preprocess__size": [5, 5]}, "header.preprocess.size"),
        ({"preprocess__mean": [0.5, 0.5]}, "header.preprocess.mean"),
        ({"preprocess__std": [0.0]}, "header.preprocess.std"),
        ({"preprocess__fit": "stretch"}, "header.preprocess.fit"),
        ({"preprocess__mean": ["x"]}, "header"),
        ({"drop": ["preprocess"]}, "header"),
        ({"drop": ["net"]}, "header.net"),
        ({"tensors": {"dense1.weight": TENSORS["dense1.weight"]}}, "dense1.bias"),
        ({"tensors": TENSORS | {"extra": np.zeros(1, np.float32)}}, "extra"),
        ({"tensors": TENSORS | {"dense1.bias": np.zeros(4, np.float32)}}, "dense1.bias"),
    ],
    ids=str,
)
def test_a_file_that_is_wrong_is_refused_with_the_field(tmp_path, changes, field):
    path = broken(tmp_path, **changes)
    with pytest.raises(ModelError) as e:
        load(path)
    assert e.value.where == f"{path}: {field}"


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"\xff" * 200, b"{}", None])
def test_a_file_that_is_none_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError):
        load(path)


def test_tensors_without_a_header_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors.numpy.save(TENSORS))
    with pytest.raises(ModelError, match="tensors without a striate header"):
        load(path)


def test_the_order_of_an_arrays_memory_does_not_matter(tmp_path):
    turned = {name: np.asfortranarray(array) for name, array in TENSORS.items()}
    save(tmp_path / "m.safetensors", HEADER, turned)
    for name, array in read(tmp_path / "m.safetensors")[1].items():
        np.testing.assert_array_equal(array, TENSORS[name])


def test_a_file_cut_anywhere_is_refused(tmp_path):
    whole = tmp_path / "whole.safetensors"
    save(whole, HEADER, TENSORS)
    content = whole.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 40)):
        (tmp_path / "cut.safetensors").write_bytes(content[:length])
        with pytest.raises(ModelError):
            load(tmp_path / "cut.safetensors")


def test_saving_tensors_of_another_net_is_refused_and_writes_nothing(tmp_path):
    with pytest.raises(ModelError):
        save(tmp_path / "model.safetensors", HEADER, {"dense1.weight": TENSORS["dense1.weight"]})
    assert not list(tmp_path.iterdir())


def test_a_model_predicts_what_two_lines_of_numpy_give(tmp_path):
    save(tmp_path / "model.safetensors", HEADER, TENSORS)
    model = load(tmp_path / "model.safetensors")
    assert isinstance(model, Model)
    x = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)
    z = ((x / 255 - 0.5) / 0.25).reshape(5, -1) @ TENSORS["dense1.weight"].T
    p = np.exp(z - z.max(1, keepdims=True))
    np.testing.assert_allclose(model.probabilities(x), p / p.sum(1, keepdims=True), atol=1e-5)
    answer = model.predict(x[0])
    assert (answer.label, answer.probability) == answer.top[0]
    assert answer.label == "abc"[p[0].argmax()]


def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path):
    """The operating system's own limit on a file's size stands in for a full disk: writing beyond it fails."""
    path = tmp_path / "model.safetensors"
    write(path, b"old")
    code = f"""
import resource
from pathlib import Path
from striate.whole_file import write
from striate.errors import RunError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write(Path({str(path)!r}), b"x" * 5000)
except RunError as e:
    print(e)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"{path}: cannot write this file: file too large\n  hint  free some space")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["model.safetensors"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


def test_a_file_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write this file"):
        write(tmp_path / "file" / "model.safetensors", b"x")
