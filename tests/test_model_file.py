"""The model file: what is written is what is read, and what is broken is refused by name."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from striate import Conv, Dense, Dropout, Flatten, Identity, MaxPool, Model, Net, Parallel, ReLU, Sequence, load
from striate.atomic_file import write_file
from striate.engines.model_file import MODEL_FORMAT, ModelHeader, Preprocess, read_model, save_model
from striate.errors import ModelError, RunError, StriateError
from striate.run_files import RunFiles
from tests.random_nets import nets, tensors_for

NET = Net((1, 4, 4), [Flatten(), Dense(3)])
TENSORS = {"dense1.weight": np.arange(48, dtype=np.float32).reshape(3, 16), "dense1.bias": np.zeros(3, np.float32)}
HEADER = ModelHeader(
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
    header = ModelHeader(net=net, classes=classes, preprocess=Preprocess((h, w), "crop", (0.5,) * c, (0.2,) * c))
    save_model(path, header, tensors)
    again, arrays = read_model(path)
    assert again == header
    assert list(arrays) == list(net.tensors)
    assert all(np.array_equal(arrays[name], tensors[name]) for name in tensors)


def broken(tmp_path, *, tensors=None, drop=(), **changes):
    """A model file whose header has `changes`, dotted names for inner fields."""
    path = tmp_path / "good.safetensors"
    save_model(path, HEADER, TENSORS)
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
        ({"format": MODEL_FORMAT + 1}, "header.format"),
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
    save_model(tmp_path / "m.safetensors", HEADER, turned)
    for name, array in read_model(tmp_path / "m.safetensors")[1].items():
        np.testing.assert_array_equal(array, TENSORS[name])


def test_a_file_cut_anywhere_is_refused(tmp_path):
    whole = tmp_path / "whole.safetensors"
    save_model(whole, HEADER, TENSORS)
    content = whole.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 40)):
        (tmp_path / "cut.safetensors").write_bytes(content[:length])
        with pytest.raises(ModelError):
            load(tmp_path / "cut.safetensors")


def test_saving_tensors_of_another_net_is_refused_and_writes_nothing(tmp_path):
    with pytest.raises(ModelError):
        save_model(tmp_path / "model.safetensors", HEADER, {"dense1.weight": TENSORS["dense1.weight"]})
    assert not list(tmp_path.iterdir())


def test_a_model_predicts_what_two_lines_of_numpy_give(tmp_path):
    save_model(tmp_path / "model.safetensors", HEADER, TENSORS)
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
    write_file(path, b"old")
    code = f"""
import resource
from pathlib import Path
from striate.atomic_file import write_file
from striate.errors import RunError
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_file(Path({str(path)!r}), b"x" * 5000)
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
        write_file(tmp_path / "file" / "model.safetensors", b"x")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 10**7, 10**18, 2**63, 2**64, 10**400, 10**4000])
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["ReLU", "Conv", "Net", "same", "pad", "crop 1", "crop 99999999", "flip", "\x1b[31m", "²"]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=5), inside, max_size=3),
    max_leaves=6,
)


def places(data, path=()):
    """The path of every value in JSON data."""
    yield path
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inside:
        yield from places(value, (*path, key))


@st.composite
def changed(draw, data):
    """JSON data as text, one to three of its values replaced, left out, moved or doubled."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(data))))
        if not path:
            continue
        holder = data
        for key in path[:-1]:
            holder = holder[key]
        match draw(st.sampled_from(["replace", "remove", "move", "double", "deepen"])):
            case "replace":
                holder[path[-1]] = draw(VALUES)
            case "remove":
                del holder[path[-1]]
            case "move" if isinstance(holder, dict):
                holder[draw(st.text(max_size=4) | st.sampled_from(["name", "layer", "seed", "groups"]))] = holder.pop(
                    path[-1]
                )
            case "double" if isinstance(holder, list):
                holder.append(json.loads(json.dumps(holder[path[-1]])))
            case "deepen":
                for _ in range(draw(st.sampled_from([1, 70, 900]))):
                    holder[path[-1]] = draw(st.sampled_from(["layers", "x"])) and [holder[path[-1]]]
    return data


def head_of(path) -> dict:
    with safetensors.safe_open(str(path), "np") as file:
        return json.loads(file.metadata()["striate"])


BUSY = Net(
    (1, 8, 8),
    [Conv(2, 3, padding=(1, 1, 0, 0)), Parallel(Identity(), [Conv(2, 3, padding="same"), ReLU()], join="add"),
     Sequence(MaxPool(2), name="pool"), Flatten(), Dropout(0.5), Dense(3)],
)  # fmt: skip


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_whatever_the_header_says_the_file_loads_and_predicts_or_is_refused(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    tensors = {name: array.astype(np.float32) for name, array in tensors_for(BUSY, 0).items()}
    header = ModelHeader(
        net=BUSY, classes=("a", "b", "c"), preprocess=Preprocess((8, 8), "crop 9 bicubic", (0.5,), (0.25,)),
        recipe={"epochs": 3, "seed": 7, "lr": 0.1, "augment": "none"}, metrics={"valid_acc": 0.5},
    )  # fmt: skip
    path = folder / "valid.safetensors"
    if not path.exists():
        save_model(path, header, tensors)
    head = data.draw(changed(head_of(path)))
    try:
        text = json.dumps(head)
    except (ValueError, RecursionError):  # a number that Python will not write
        return
    (folder / "changed.safetensors").write_bytes(safetensors.numpy.save(tensors, metadata={"striate": text}))
    try:
        model = load(folder / "changed.safetensors")
        model.predict(np.zeros((9, 9, 1), np.uint8))
        model.images((np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 1, 2, 0])))
        assert repr(model.net)
    except StriateError as e:
        assert len(str(e)) < 2000


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"format": 1}', "[" * 100_000, '{"a":' * 5000])
def test_a_header_that_is_no_header_is_refused(tmp_path, text):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors.numpy.save(TENSORS, metadata={"striate": text}))
    with pytest.raises(ModelError):
        load(path)


@pytest.mark.parametrize(
    "recipe", [{"seed": "x"}, {"seed": -1}, {"seed": 2**63}, {"seed": [1]}, {"lr": {"a": 1}}, [], "x"]
)
def test_a_recipe_of_the_wrong_kind_is_refused_with_its_place(tmp_path, recipe):
    with pytest.raises(ModelError, match="header"):
        load(broken(tmp_path, recipe=recipe))


@pytest.mark.parametrize("kind", [np.float64, np.float16, np.int64])
def test_tensors_of_another_kind_are_refused(tmp_path, kind):
    with pytest.raises(ModelError, match="float32 alone"):
        load(broken(tmp_path, tensors={name: tensor.astype(kind) for name, tensor in TENSORS.items()}))


@pytest.fixture(scope="module")
def run_begun(tmp_path_factory):
    """A run of one epoch on the digits, with its checkpoint."""
    import striate
    from striate.fitting.watch import Watch

    folder = tmp_path_factory.mktemp("run")
    net = Net((1, 8, 8), [Flatten(), Dense(10)])
    striate.train("digits", net, epochs=1, batch=512, out=folder, watch=Watch())
    return folder


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_whatever_a_checkpoints_header_says_it_is_read_or_refused(run_begun, tmp_path_factory, data):
    from striate.fitting.checkpoint import read_task
    from striate.fitting.last_step import read_last_step

    good = RunFiles(run_begun).checkpoint
    head = data.draw(changed(head_of(good)))
    folder = tmp_path_factory.getbasetemp() / "begun"
    bad = RunFiles(folder).checkpoint
    bad.parent.mkdir(parents=True, exist_ok=True)
    try:
        text = json.dumps(head)
    except (ValueError, RecursionError):
        return
    bad.write_bytes(safetensors.numpy.save(safetensors.numpy.load_file(good), metadata={"striate": text}))
    for read_it in (read_task, read_last_step):
        try:
            read_it(folder)
        except StriateError as e:
            assert str(bad) in e.where


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_whatever_recipe_json_says_it_is_read_or_refused(run_begun, tmp_path_factory, data):
    from striate.fitting.recipe import read_recipe
    from striate.runs.folders import read_settings

    folder = tmp_path_factory.getbasetemp()
    head = data.draw(changed(json.loads((run_begun / "recipe.json").read_text())))
    try:
        (folder / "recipe.json").write_text(json.dumps(head))
    except (ValueError, RecursionError):
        return
    try:
        read_recipe(**read_settings(folder)["recipe"])
    except (StriateError, TypeError) as e:
        assert isinstance(e, StriateError) or "keyword" in str(e)
