"""Files for LiteRT, ExecuTorch and Core ML: opened by their own runtimes, prepared by two lines of NumPy."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import striate
from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.errors import ModelError, RunError, StriateError
from striate.exporting.runtime_files import RUNTIMES

from .test_plain_file import SMALL, make_model

# The converters' own packages warn, and print.
pytestmark = pytest.mark.filterwarnings("ignore")


def suffix_of(kind: str) -> str:
    pytest.importorskip(RUNTIMES[kind].package, reason=f'pip install "striate[{kind}]"')
    return RUNTIMES[kind].suffix


def open_file(kind: str, path: Path) -> Callable[[NDArray], NDArray]:
    """The file in its own runtime, as its user opens it; a Core ML package as it is read back."""
    if kind == "litert":
        from ai_edge_litert.interpreter import Interpreter

        run = Interpreter(str(path)).get_signature_runner()
        return lambda x: run(input=x)["probabilities"]
    if kind == "executorch":
        import torch
        from executorch.runtime import Runtime

        program = Runtime.get().load_program(path)
        method = program.load_method("forward")
        return lambda x: method.execute([torch.from_numpy(x)])[0].numpy()
    from striate.formats.coreml_file import read_coreml

    return read_coreml(path)


@pytest.mark.parametrize("views", ["plain", "flip"])
@pytest.mark.parametrize("kind", RUNTIMES)
def test_prepared_by_hand_it_answers_as_the_model(kind, views, tmp_path):
    out = tmp_path / f"m{suffix_of(kind)}"
    model = make_model(SMALL, views)
    assert striate.export(model, out) is None
    assert {file.name for file in tmp_path.iterdir()} == {out.name, "m.json"}
    said, answer = json.loads((tmp_path / "m.json").read_text()), open_file(kind, out)
    for photo in np.random.default_rng(0).integers(0, 256, (3, 24, 20, 3), np.uint8):
        x = ((photo / 255 - said["mean"]) / said["std"]).astype(np.float32)
        x = x if said["input"]["layout"] == "NHWC" else np.ascontiguousarray(x.transpose(2, 0, 1))
        assert list(x[None].shape) == said["input"]["shape"]
        [p] = answer(x[None])
        want = model.predict(photo)
        assert said["classes"][p.argmax()] == want.label
        assert float(p.max()) == pytest.approx(want.probability, abs=1e-5)


@pytest.mark.parametrize("kind", RUNTIMES)
def test_it_is_compared_with_the_model_and_nothing_of_this_machine_is_in_it(kind, tmp_path, capfd):
    out = tmp_path / f"m{suffix_of(kind)}"
    draw = np.random.default_rng(0)
    data = draw.integers(0, 256, (20, 24, 20, 3), np.uint8), np.array([f"k{k % 4}" for k in range(20)])
    for _ in range(2):  # the second takes the place of the first
        found = striate.export(make_model(SMALL), out, data=data, licence="CC BY 4.0")
    column = found.sized.columns[1]
    assert column.name == f"{RUNTIMES[kind].name} float32" and column.equal == 1 and column.difference < 1e-5
    assert ("Core ML itself was not run" in str(found)) == (kind == "coreml")
    assert json.loads((tmp_path / "m.json").read_text())["licence"] == "CC BY 4.0"
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    for place in (tmp_path, Path.home(), Path(striate.__file__).parent, Path(sys.prefix)):
        assert not [file for file in files if f"{place}/".encode() in file.read_bytes()], place
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["litert", "executorch"])
def test_eight_bits_are_smaller_and_held_to_the_bound_of_eight_bits(kind, tmp_path):
    out = tmp_path / f"m{suffix_of(kind)}"
    draw = np.random.default_rng(0)
    data = draw.integers(0, 256, (60, 24, 20, 3), np.uint8), np.array([f"k{k % 4}" for k in range(60)])
    model = make_model(SMALL.replace("Dense(4)", "Dense(300), ReLU(), Dense(4)"))
    found = striate.export(model, out, data=data, int8=True)
    column, size = found.sized.columns[1], out.stat().st_size
    assert (column.name, column.precision) == (f"{kind} int8", "int8")
    assert found.sized.images == 40 and column.equal >= 0.95 and 1e-6 < column.difference < 0.1
    striate.export(model, out)
    assert size < out.stat().st_size


@pytest.mark.parametrize(
    ("kind", "layer", "what"),
    [
        ("litert", L.Upsample(1.5, "bilinear"), "its converter writes this network wrongly"),
        ("executorch", L.Upsample(1.5, "bilinear"), "its converter writes this network wrongly"),
        ("coreml", L.Upsample(1.5, "bilinear"), "its converter does not take strange"),
        ("litert", L.GlobalMaxPool(keepdims=True), "its converter does not take strange"),
        ("executorch", L.LocalResponseNorm(3), "its runtime does not take what its converter made of strange"),
    ],
)
def test_what_is_converted_wrongly_or_not_at_all_is_refused_and_not_kept(kind, layer, what, tmp_path):
    out = tmp_path / f"m{suffix_of(kind)}"
    net = Net((3, 9, 11), [L.Conv(6, 3), layer, L.Flatten(), L.Dense(5)], name="strange")
    with pytest.raises(ModelError) as refused:
        striate.export(make_model(net), out)
    assert what in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_weight_of_a_package_is_seen(tmp_path):
    out = tmp_path / f"m{suffix_of('coreml')}"
    striate.export(make_model(SMALL.replace("Dense(4)", "Dense(64), Dense(4)")), out)
    x = np.random.default_rng(0).standard_normal((2, 3, 24, 20)).astype(np.float32)
    before = open_file("coreml", out)(x)
    [weights] = out.rglob("weight.bin")
    content = bytearray(weights.read_bytes())
    content[-4:] = np.float32(3).tobytes()
    weights.write_bytes(content)
    assert np.abs(open_file("coreml", out)(x) - before).max() > 1e-4


@pytest.mark.parametrize("kind", RUNTIMES)
def test_without_its_package_the_extra_is_named(kind, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, RUNTIMES[kind].package, None)
    with pytest.raises(StriateError) as refused:
        striate.export(make_model(SMALL), tmp_path / f"m{RUNTIMES[kind].suffix}")
    assert refused.value.hint == f'pip install "striate[{kind}]"' and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "options", "what"),
    [
        ("m.tflite", {"fp16": True}, "in 32-bit floats"),
        ("m.mlpackage", {"int8": True}, "cannot be run here"),
        ("m.pt2", {"plain": True}, "a plain file is ONNX"),
        ("m.pte", {"format": "litert"}, "a file for litert ends in .tflite"),
    ],
)
def test_what_does_not_go_together_is_refused(name, options, what, tmp_path):
    with pytest.raises(StriateError, match=what):
        striate.export(make_model(SMALL), tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


def test_a_folder_takes_the_place_of_its_like_and_of_nothing_else(tmp_path):
    from striate.atomic_file import write_whole

    for name in ("first", "second"):
        (tmp_path / name / "inner").mkdir(parents=True)
        (tmp_path / name / "inner" / name).write_text(name)
    for name in ("first", "second"):
        write_whole(tmp_path / "out", tmp_path / name)
    assert [file.name for file in (tmp_path / "out").rglob("*") if file.is_file()] == ["second"]
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="holds other files"):
        write_whole(tmp_path / "out", tmp_path / "first")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"
    assert {file.name for file in tmp_path.iterdir()} == {"first", "second", "out"}


def test_the_report_warns_of_openvino_where_it_resizes_by_itself(tmp_path):
    draw = np.random.default_rng(0)
    data = draw.integers(0, 256, (9, 24, 20, 3), np.uint8), np.array([f"k{k % 4}" for k in range(9)])
    full = striate.export(make_model(SMALL), tmp_path / "m.onnx", data=data)
    plain = striate.export(make_model(SMALL), tmp_path / "m.onnx", data=data, plain=True)
    assert str(full).splitlines()[-1].startswith("OpenVINO reads this file's resizing wrongly: give it the .xml")
    assert full.as_dict()["caution"].startswith("OpenVINO") and plain.caution is None


@pytest.mark.parametrize(("kind", "title"), [("litert", "LiteRT"), ("executorch", "ExecuTorch")])
def test_the_lines_on_the_page_run_as_they_stand(kind, title, tmp_path):
    model = make_model(SMALL)
    striate.export(model, tmp_path / f"model{suffix_of(kind)}")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)).save(tmp_path / "photo.png")
    page = (Path(__file__).parents[1] / "docs" / "runtimes.md").read_text(encoding="utf-8")
    [lines] = re.findall(rf"### {title}, in Python\n\n```py\n(.*?)```", page, re.DOTALL)
    program = lines.replace("photo.jpg", "photo.png")
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    label, probability = done.stdout.split()
    want = model.predict(tmp_path / "photo.png")
    assert label == want.label and float(probability) == pytest.approx(want.probability, abs=1e-5)
