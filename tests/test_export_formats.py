"""The exported file in other runtimes than Python's ONNX Runtime: torch.export, OpenVINO, JavaScript."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.data.read.resize import resize_image
from striate.engines.model_file import ModelHeader, Preprocess
from striate.errors import ModelError
from striate.exporting.export import export_checked
from striate.formats.onnx_file import read_exported
from striate.formats.torch_program import resize_maps
from striate.model.model import Model
from tests.random_nets import tensors_for

FITS = ("pad", "crop", "squash", "crop 16", "crop 16 bicubic", "pad bicubic")
CLASSES = ("Löwe", 'cat "tom"', "犬")
SIZES = [(9, 12), (40, 30), (31, 77), (5, 6), (1, 9), (9, 1), (2, 2), (1, 1), (16, 12), (12, 9), (200, 9)]


def model(fit: str = "pad", channels: int = 3, softmax: bool = False) -> Model:
    layers = [L.Conv(4, 3, padding="same"), L.BatchNorm(), L.ReLU(), L.MaxPool(2, ceil=True), L.Flatten(), L.Dense(3)]
    net = Net((channels, 9, 12), [*layers, L.Softmax()] if softmax else layers, name="small")
    preprocess = Preprocess((9, 12), fit, (0.5, 0.4, 0.3)[:channels], (0.2, 0.25, 0.3)[:channels])
    return Model(ModelHeader(net=net, classes=CLASSES, preprocess=preprocess), tensors_for(net, seed=3), None)


def picture(h: int, w: int, seed: int, c: int = 3) -> np.ndarray:
    """Smooth, as a photograph is."""
    noise = np.random.default_rng(seed).integers(0, 256, (-(-h // 4), -(-w // 4), c), dtype=np.uint8)
    return np.array(Image.fromarray(noise.squeeze(2) if c == 1 else noise).resize((w, h), 3)).reshape(h, w, c)


def trained(model: Model, images: list[np.ndarray]) -> np.ndarray:
    """The training path: Pillow's resizing, the model's network."""
    return model.probabilities(np.stack([resize_image(i, model.preprocess.size, model.preprocess.fit) for i in images]))


sides = st.integers(1, 60)


@given(st.tuples(sides, sides), st.tuples(sides, sides), st.sampled_from(("pad", "crop", "squash")), sides)
@example((9, 12), (9, 12), "pad", 0)
@example((40, 30), (9, 12), "pad bicubic", 0)
def test_the_program_resizes_as_training_does_to_two_levels_of_255(shape, size, fit, seed):
    image = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = resize_maps(torch.from_numpy(image).permute(2, 0, 1)[None].float(), size, fit)
    off = np.abs(found[0].permute(1, 2, 0).numpy() - resize_image(image, size, fit))
    assert off.max() <= (0 if shape == size else 2)


@pytest.mark.parametrize(
    "fit", [pytest.param(fit, marks=[pytest.mark.slow] * (fit in ("crop", "squash", "crop 16"))) for fit in FITS]
)
def test_a_torch_program_takes_images_of_any_number_and_size(tmp_path, fit):
    run = model(fit)
    assert export_checked(run, tmp_path / "m.pt2") is None
    program = torch.export.load(tmp_path / "m.pt2").module()
    for h, w in SIZES:
        images = [picture(h, w, seed) for seed in range(3)]
        for some in (images, images[:1]):
            found = program(torch.from_numpy(np.stack(some))).detach().numpy()
            assert np.abs(found - trained(run, some)).max() < 0.02, (h, w)


@pytest.mark.parametrize("options", [{"channels": 1}, {"softmax": True}])
def test_gray_networks_and_those_that_end_in_softmax_are_torch_programs_too(tmp_path, options):
    run = model(**options)
    export_checked(run, tmp_path / "m.pt2")
    image = picture(9, 12, 1, run.net.input[0])
    found = torch.export.load(tmp_path / "m.pt2").module()(torch.from_numpy(image[None])).detach().numpy()
    assert np.abs(found - trained(run, [image])).max() < 1e-6


@pytest.mark.slow
def test_torch_alone_runs_the_program_and_finds_the_class_names_in_it(tmp_path):
    run = model()
    export_checked(run, tmp_path / "m.pt2", licence="CC BY 4.0")
    image = picture(40, 30, 1)
    np.save(tmp_path / "image.npy", image)
    program = """
import json, sys, numpy, torch
extra = {"striate.json": ""}
program = torch.export.load("m.pt2", extra_files=extra).module()
p = program(torch.from_numpy(numpy.load("image.npy"))[None])[0]
card = json.loads(extra["striate.json"])
print(json.dumps([card["classes"][p.argmax()], p.tolist(), card["licence"]]))
assert not {"striate", "onnx", "onnxruntime"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    name, p, licence = json.loads(done.stdout)
    want = trained(run, [image])[0]
    assert (name, licence) == (CLASSES[want.argmax()], "CC BY 4.0")
    assert np.abs(p - want).max() < 0.02


def test_a_torch_program_holds_no_pickle_and_nothing_of_the_machine(tmp_path):
    export_checked(model(), tmp_path / "m.pt2")
    with zipfile.ZipFile(tmp_path / "m.pt2") as archive:
        for name in archive.namelist():
            inside = archive.read(name)
            assert not inside.startswith((b"\x80\x02", b"PK")), name
            for place in (tmp_path, Path.cwd(), Path.home(), Path(__file__).parents[1]):
                assert f"{place}/".encode() not in inside, name


@pytest.mark.parametrize("fit", ["pad", "crop 16 bicubic"])
def test_a_torch_program_is_compared_with_the_model(tmp_path, fit):
    draw = np.random.default_rng(0)
    data = draw.integers(0, 256, (30, 9, 12, 3), dtype=np.uint8), np.array(CLASSES)[draw.integers(0, 3, 30)]
    found = export_checked(model(fit), tmp_path / "m.pt2", data=data)
    assert [column.name for column in found.sized.columns] == ["torch", "onnx float32", "torch.export"]
    assert found.sized.columns[2].difference < 1e-6


@pytest.fixture
def openvino():
    return pytest.importorskip("openvino")


@pytest.mark.parametrize("fit", FITS)
def test_openvino_takes_images_of_any_size(openvino, tmp_path, fit):
    run = model(fit)
    export_checked(run, tmp_path / "m.xml", licence="CC BY 4.0")
    compiled = openvino.compile_model(tmp_path / "m.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for h, w in SIZES:
        image = picture(h, w, 1)
        assert np.abs(compiled(image[None])[0] - trained(run, [image])).max() < 0.02, (h, w)
    told = openvino.Core().read_model(tmp_path / "m.xml").get_rt_info(["striate", "classes"])
    assert json.loads(told.astype(str)) == list(CLASSES)
    for file in tmp_path.iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()


@pytest.mark.parametrize("options", [{"fp16": True}, {"int8": True}])
def test_openvino_takes_other_precisions_and_is_compared(openvino, tmp_path, options):
    draw = np.random.default_rng(0)
    data = draw.integers(0, 256, (60, 9, 12, 3), dtype=np.uint8), np.array(CLASSES)[draw.integers(0, 3, 60)]
    found = export_checked(model(), tmp_path / "m.xml", data=data, **options)
    precision = "int8" if "int8" in options else "float16"
    assert [column.name for column in found.sized.columns] == ["torch", "onnx float32", f"openvino {precision}"]
    assert 1e-6 < found.sized.columns[2].difference < 0.1


def test_openvino_keeps_an_upsample_of_the_network_as_it_is(openvino, tmp_path):
    layers = [L.Conv(4, 3), L.Upsample(2), L.Upsample(2, "bilinear"), L.Flatten(), L.Dense(3)]
    small = model()
    net = Net((3, 9, 12), layers, name="upsampled")
    run = Model(ModelHeader(net=net, classes=CLASSES, preprocess=small.preprocess), tensors_for(net, seed=3), None)
    export_checked(run, tmp_path / "m.xml")
    compiled = openvino.compile_model(tmp_path / "m.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    image = picture(40, 30, 1)
    assert np.abs(compiled(image[None])[0] - trained(run, [image])).max() < 0.02


def test_without_openvino_the_hint_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModelError) as refused:
        export_checked(model(), tmp_path / "m.xml")
    assert refused.value.hint == "pip install openvino" and not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["onnxruntime-node", "onnxruntime-web"])
def test_the_lines_for_javascript_on_the_page_run_as_they_stand(tmp_path, package):
    node = shutil.which("node")
    asked = [node or "node", "-e", f"require.resolve('{package}')"]
    if node is None or subprocess.run(asked, capture_output=True, cwd=tmp_path).returncode:
        pytest.skip(f"node does not find {package}: npm install {package}, and its folder in NODE_PATH")
    page = (Path(__file__).parents[1] / "docs" / "serve.md").read_text(encoding="utf-8")
    [lines] = re.findall(r"```js\n(.*?)```", page, re.DOTALL)
    run = model()
    export_checked(run, tmp_path / "shapes.onnx")
    image = picture(40, 30, 1)
    image.tofile(tmp_path / "pixels")
    call = 'classify(new Uint8Array(require("fs").readFileSync("pixels")), 40, 30).then(k => console.log(k));'
    (tmp_path / "run.js").write_text(lines.replace("onnxruntime-node", package) + call, encoding="utf-8")
    done = subprocess.run([node, "run.js"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    want = read_exported(tmp_path / "shapes.onnx").each([image])[0]
    assert int(done.stdout) == want.argmax() != 0
