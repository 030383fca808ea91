"""An export is compared with its model on real files, side by side, and kept only where the stated bounds hold."""

from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import numpy as np
import onnx
import pytest
from PIL import Image

from striate import api
from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.data.read.decode import decode_image
from striate.data.read.resize import resize_image
from striate.engines.model_file import ModelHeader, Preprocess, save_model
from striate.errors import ModelError, RunError
from striate.exporting.export import choose_images, export_checked
from striate.exporting.parity import (
    BOUNDS,
    AnswerWay,
    Bound,
    Parity,
    ParityColumn,
    compare_answers,
    make_file_way,
    make_model_way,
    measure_parity,
)
from striate.formats.saturation import prove_no_saturation
from striate.model.model import Model
from tests.random_nets import tensors_for

CLASSES = ("Löwe", "cat", "犬")


@pytest.fixture(scope="module")
def model() -> Model:
    layers = [L.Conv(4, 3), L.BatchNorm(), L.ReLU(), L.MaxPool(2), L.BatchNorm(), L.Flatten(), L.Dense(3)]
    net = Net((3, 12, 16), layers, name="small")
    preprocess = Preprocess((12, 16), "pad", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    return Model(ModelHeader(net=net, classes=CLASSES, preprocess=preprocess), tensors_for(net, seed=3), None)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Smooth pictures of many sizes in class folders of a train and a test split, and a broken one."""
    folder = tmp_path_factory.mktemp("photos")
    draw = np.random.default_rng(0)
    for split, count in (("train", 9), ("test", 5)):
        for label in CLASSES:
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                noise = Image.fromarray(draw.integers(0, 256, (4, 5, 3), dtype=np.uint8))
                h, w = draw.integers(9, 70, 2)
                noise.resize((w, h), 3).save(folder / split / label / f"{i}.{'png' if i % 2 else 'jpg'}")
    (folder / "train" / "cat" / "bad.jpg").write_text("no picture")
    return folder


def way(name: str, p: np.ndarray, precision: str = "float32") -> AnswerWay:
    """A way that answers the k-th image, all of whose pixels are k, with p[k]."""
    return AnswerWay(name, precision, lambda x: p[x[:, 0, 0, 0]], lambda image: p[[image[0, 0, 0]]])


def test_the_columns_say_how_far_the_answers_are_apart():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.45, 0.55], [0.7, 0.3]])
    q = np.array([[0.9, 0.1], [0.4, 0.6], [0.55, 0.45], [0.7, 0.3]])
    x = np.arange(4, dtype=np.uint8)[:, None, None, None]
    labels = np.array([0, 1, 0, 1])
    found = measure_parity([way("a", p), way("b", q)], x, labels, iter(x[:, :, :, :]))
    want = (ParityColumn("a", "float32", 0.0, 1.0, 0.5), ParityColumn("b", "float32", pytest.approx(0.2), 0.75, 0.75))
    assert found.sized.columns == found.own.columns == want
    assert found.sized.images == found.own.images == 4
    with pytest.raises(ModelError, match="cannot be compared"):
        compare_answers([way("a", p), way("b", q)], [p[:0], q[:0]], labels[:0])


@pytest.mark.parametrize(
    "difference, other, images, holds",
    [(0.009, 0, 100, True), (0.011, 0, 100, False), (0, 5, 100, True), (0, 6, 100, False), (0, 1, 3, True)]
    + [(0, 2, 3, False), (0, 2, 39, False), (0, 2, 40, True)],
)
def test_a_bound_holds_up_to_its_numbers_and_one_image_may_always_differ(difference, other, images, holds):
    column = ParityColumn("b", "float32", difference, 1 - other / images, 1.0)
    assert Bound(0.01, 0.95).broken(column, images) is not holds


def test_the_report_is_a_table_and_says_which_bound_is_broken():
    p = np.tile([0.8, 0.2], (40, 1))
    q = p.copy()
    q[:4] = [0.3, 0.7]
    x = np.arange(40, dtype=np.uint8)[:, None, None, None]
    found = measure_parity([way("torch", p), way("onnx float32", p), way("onnx int8", q, "int8")], x, np.zeros(40, int))
    assert str(found) == (
        "                                          torch  onnx float32  onnx int8\n"
        "40 images at the net's size\n"
        "  accuracy                             100.00 %      100.00 %    90.00 %\n"
        "  same prediction as torch                           100.00 %    90.00 %\n"
        "  largest difference of a probability               0.0000000  0.5000000"
    )
    with pytest.raises(ModelError) as refused:
        found.held()
    assert refused.value.got == (
        "images at the net's size: onnx int8 90.00 % equal, off by up to 0.5; allowed: 95% of predictions equal"
    )
    assert json.loads(json.dumps(found.as_dict()))["bounds"]["int8"]["sized"] == {"difference": 1.0, "equal": 0.95}


def test_torch_and_the_file_are_each_given_the_files_by_their_own_path(model, photos, tmp_path):
    """The model's column comes from data.read.resize and torch, the file's from its graph: recomputed by hand here."""
    import onnxruntime
    import torch

    from striate.engines import torch as judge

    found = export_checked(model, tmp_path / "m.onnx", data=photos)
    assert [column.name for column in found.own.columns] == ["torch", "onnx float32"]
    assert found.sized.images == found.own.images == 15
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    network = judge.load_tensors(judge.build_network(model.net), model.tensors).eval()
    apart, right = [], []
    for label, file in sorted((f.parent.name, f) for f in (photos / "test").rglob("*.*")):
        image = decode_image(file, 3)
        with torch.no_grad():
            x = torch.from_numpy(model.standardised(resize_image(image, (12, 16), "pad")[None]))
            want = network(x).softmax(1).numpy()
        apart.append(np.abs(session.run(None, {"images": image[None]})[0] - want).max())
        right.append(CLASSES[want.argmax()] == label)
    assert found.own.columns[1].difference == pytest.approx(max(apart), rel=1e-4)
    assert found.own.columns[0].accuracy == pytest.approx(np.mean(right))
    assert found.sized.columns[1].difference < 1e-5 < found.own.columns[1].difference


def test_floats_and_8_bits_stand_side_by_side_and_calibration_sees_other_images(model, photos, tmp_path):
    found = export_checked(model, tmp_path / "m.onnx", data=photos, int8=True)
    assert [column.name for column in found.sized.columns] == ["torch", "onnx float32", "onnx int8"]
    assert found.sized.columns[2].difference > 10 * found.sized.columns[1].difference
    assert found.products == prove_no_saturation(onnx.load(tmp_path / "m.onnx")) and found.products.layers == 2
    assert str(found).splitlines()[-1] == str(found.products) and found.as_dict()["products"]["layers"] == 2
    chosen = choose_images(model, photos, calibrate=True)
    assert len(chosen.others) == 27 and all(entry.split == "test" for entry in chosen.entries)
    same = {image.tobytes() for image in chosen.images.x} & {image.tobytes() for image in chosen.others}
    assert not same


def test_of_arrays_a_third_calibrates_and_the_rest_is_compared(model, tmp_path):
    draw = np.random.default_rng(1)
    x, y = draw.integers(0, 256, (60, 12, 16, 3), dtype=np.uint8), np.array(CLASSES)[draw.integers(0, 3, 60)]
    chosen = choose_images(model, (x, y), calibrate=True)
    assert (len(chosen.images), len(chosen.others), chosen.entries) == (40, 20, None)
    assert not {i.tobytes() for i in chosen.images.x} & {i.tobytes() for i in chosen.others}
    found = export_checked(model, tmp_path / "m.onnx", data=(x, y))
    assert found.sized.images == 60 and found.own is None


def test_a_file_that_answers_otherwise_is_not_written(model, photos, tmp_path):
    """16-bit floats end at 65504: larger weights are cut there, and the answers are others."""
    tensors = model.tensors | {"dense1.weight": model.tensors["dense1.weight"] * 1e6}
    wild = Model(model.header, tensors, None)
    (tmp_path / "m.onnx").write_text("the old file")
    with pytest.raises(ModelError, match="the exported file's predictions differ from the model's") as refused:
        export_checked(wild, tmp_path / "m.onnx", data=photos, fp16=True)
    assert "onnx float16" in refused.value.got
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("m.onnx", "the old file")]


def test_without_torch_the_report_says_so_and_has_the_model_in_onnx_runtime(model, photos, tmp_path):
    save_model(tmp_path / "m.safetensors", msgspec.structs.replace(model.header), model.tensors)
    program = f"""
import sys
sys.modules["torch"] = None
from striate import api
print(api.export(api.load("m.safetensors"), "m.onnx", data={str(photos)!r}))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [name.strip() for name in done.stdout.splitlines()[0].split("  ")[-2:]] == [
        "model (no torch)",
        "onnx float32",
    ]


@pytest.mark.parametrize(
    "out, options, message",
    [
        ("m.onnx", {"int8": True}, "int8 needs images to calibrate with"),
        ("m.onnx", {"int8": True, "fp16": True}, "one precision at a time"),
        ("m.pt2", {"fp16": True}, "a torch program is in 32-bit floats"),
        ("m.onnx", {"format": "torch"}, "a file for torch ends in .pt2"),
        ("m.xml", {"format": "onnx"}, "a file for onnx ends in .onnx"),
        ("m.h5", {}, "no format has this file suffix"),
        ("m.h5", {"format": "onnx"}, "no format has this file suffix"),
        ("model", {}, "no format has this file suffix"),
        ("m.ONNX", {}, "no format has this file suffix"),
        ("m.onnx", {"format": "tensorflow"}, "there is no format 'tensorflow'"),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_written(model, tmp_path, out, options, message):
    with pytest.raises(ModelError, match=message):
        api.export(model, tmp_path / out, **options)
    assert not list(tmp_path.iterdir())


def test_a_file_of_no_format_is_told_which_there_are_and_what_would_do(model, tmp_path):
    with pytest.raises(ModelError) as refused:
        api.export(model, tmp_path / "m.h5")
    assert str(refused.value) == (
        f"--out: no format has this file suffix\n  got   {tmp_path / 'm.h5'}\n"
        "  rule  .onnx (onnx), .xml (openvino), .pt2 (torch), .html (page), .tflite (litert), .pte (executorch), "
        f".mlpackage (coreml)\n  hint  --out {tmp_path / 'm.onnx'}"
    )
    api.export(model, str(refused.value.hint).removeprefix("--out "))
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
    with pytest.raises(ModelError, match=r"a file for ONNX ends in \.onnx"):
        model.export(tmp_path / "m.h5")
    with pytest.raises(ModelError, match="no format has this file suffix"):
        api.export(model, "")


def test_a_place_that_cannot_be_written_is_an_error(model, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError):
        export_checked(model, tmp_path / "file" / "m.onnx")


def test_every_precision_has_bounds_and_a_parity_needs_no_files():
    assert set(BOUNDS) == {"float32", "float16", "int8"}
    empty = Parity(compare_answers([way("a", np.eye(2))], [np.eye(2)], np.arange(2)))
    assert empty.held() is empty and empty.as_dict()["own"] is None
    assert make_model_way and make_file_way
