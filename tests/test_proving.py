"""Somebody's ONNX file held against pictures: torch's own exports, whose preparation is known, are the judge."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import striate
from striate.cli import app
from striate.data.read.resize import resize_image
from striate.errors import DataError, ModelError
from striate.exporting.proving import SCALES, list_fits, prove, write_fixed_file

CLASSES = ("blue", "green", "left", "red", "right")


def paint(k: int, draw: np.random.Generator) -> np.ndarray:
    """A wide picture: one colour, or gray with a white stripe at its far left or right, which a crop cuts off."""
    image = draw.integers(90, 130, (32, 64, 3))
    if CLASSES[k] in ("left", "right"):
        image[:, slice(0, 12) if CLASSES[k] == "left" else slice(52, 64)] = 255
    else:
        image[..., {"red": 0, "green": 1, "blue": 2}[CLASSES[k]]] += 25
    return image.astype(np.uint8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    place, draw = tmp_path_factory.mktemp("proving") / "photos", np.random.default_rng(0)
    for n in range(100):
        file = place / CLASSES[n % 5] / f"{n}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(paint(n % 5, draw)).save(file)
    return place


def write_foreign(path: Path, way: tuple[str, str, str], *, last: bool = False, logits: bool = True, batch=1) -> None:
    """A linear classifier that was trained on pictures prepared by `way`, (fit, scale, colours), as a file of ONNX."""
    fit, scale, colours = way
    mean, std = (np.array(v) for v in SCALES[scale])
    draw = np.random.default_rng(1)
    x = np.stack([resize_image(paint(n % 5, draw), (16, 16), fit) for n in range(200)])
    x = ((x / 255 - mean) / std)[..., :: -1 if colours == "BGR" else 1]
    rows = torch.tensor(x.reshape(200, -1).copy(), dtype=torch.float64)
    spread, middle = rows.std(), rows.mean()
    weight = torch.zeros(rows.shape[1], 5, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], 0.01)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy((rows - middle) / spread @ weight + bias, torch.arange(200) % 5).backward()
        optimizer.step()
    w = (weight / spread).detach()
    b = (bias - middle / spread * weight.sum(0)).detach()
    whole = w.reshape(16, 16, 3, 5)
    whole = whole if last else whole.permute(2, 0, 1, 3)
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "w", "b"], ["logits"]),
    ]
    if not logits:
        nodes.append(helper.make_node("Softmax", ["logits"], ["shares"], axis=1))
    shape = (batch, 16, 16, 3) if last else (batch, 3, 16, 16)
    made = helper.make_graph(
        nodes, "foreign", [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits" if logits else "shares", TensorProto.FLOAT, (batch, 5))],
        [numpy_helper.from_array(np.ascontiguousarray(whole.reshape(-1, 5), np.float32), "w"),
         numpy_helper.from_array(b.numpy().astype(np.float32), "b")],
    )  # fmt: skip
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


WAYS = [
    (("squash", "0 to 255", "BGR"), {"last": True}),
    (("pad", "ImageNet's mean and deviation", "RGB"), {"logits": False, "batch": "N"}),
    (("squash bicubic", "-1 to 1", "RGB"), {"batch": 3}),
]


@pytest.mark.parametrize(("way", "form"), WAYS)
def test_the_way_that_a_file_was_trained_by_is_found_and_put_into_it(way, form, photos, tmp_path):
    write_foreign(tmp_path / "theirs.onnx", way, **form)
    proof = prove(tmp_path / "theirs.onnx", photos)
    best = proof.best
    assert best.accuracy == 1.0 and best.way.fit.split()[0] == way[0].split()[0]
    assert (best.way.scale, best.way.colours) == way[1:]
    assert any(one.accuracy < 0.8 for one in proof.ways)
    assert [one.accuracy for one in proof.ways] == sorted((one.accuracy for one in proof.ways), reverse=True)
    write_fixed_file(tmp_path / "theirs.onnx", proof, tmp_path / "fixed.onnx")
    fixed = striate.load(tmp_path / "fixed.onnx")
    assert fixed.classes == CLASSES
    for file in sorted(photos.rglob("*.png"))[::7]:
        assert fixed.predict(file).label == file.parent.name


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"classes": ["a", "b"]}, "each output has one name"),
        ({"classes": ["blue", "green", "left", "red", "up"]}, "'right' is a label of the pictures"),
    ],
)
def test_names_that_do_not_match_are_refused(given, what, photos, tmp_path):
    write_foreign(tmp_path / "theirs.onnx", WAYS[0][0])
    with pytest.raises(DataError, match=what):
        prove(tmp_path / "theirs.onnx", photos, **given)


def test_what_is_no_classifier_of_floats_is_refused_with_the_reason(photos, tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match="cannot read this file"):
        prove(tmp_path / "text.onnx", photos)
    model = striate.Model(
        (net := striate.parse("Net((3, 8, 8), [Flatten(), Dense(5)])")), net.torch(), classes=CLASSES,
        preprocess=striate.Preprocess((8, 8), "pad", (0.5,) * 3, (0.25,) * 3),
    )  # fmt: skip
    striate.export(model, tmp_path / "ours.onnx")
    with pytest.raises(ModelError, match="float32") as refused:
        prove(tmp_path / "ours.onnx", photos)
    assert "striate evaluate" in str(refused.value)
    with pytest.raises(DataError, match="must be files"):
        write_foreign(tmp_path / "theirs.onnx", WAYS[0][0])
        prove(tmp_path / "theirs.onnx", "digits")


def test_what_is_known_is_not_tried(photos, tmp_path):
    write_foreign(tmp_path / "theirs.onnx", ("squash", "-1 to 1", "RGB"))
    proof = prove(tmp_path / "theirs.onnx", photos, fit="squash", mean=(0.5,) * 3, std=(0.5,) * 3)
    assert {one.way.fit for one in proof.ways} == {"squash"} and {one.way.scale for one in proof.ways} == {"as given"}
    assert proof.best.way.colours == "RGB"
    assert list_fits((224, 224))[-1] == "crop 256 bicubic"


def test_the_command_prints_the_ways_side_by_side_and_writes_the_file(photos, tmp_path, capsys):
    write_foreign(tmp_path / "theirs.onnx", WAYS[0][0])
    words = ["prove", str(tmp_path / "theirs.onnx"), str(photos), "-o", str(tmp_path / "fixed.onnx"), "--json"]
    app(words, standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert found["ways"][0]["accuracy"] == 1.0 and found["classes"] == list(CLASSES)
    assert striate.load(tmp_path / "fixed.onnx").classes == CLASSES
