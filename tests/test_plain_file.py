"""The plain ONNX file: what other runtimes take, prepared by two lines of NumPy as its JSON says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

import striate
from striate.cli import app
from striate.errors import ModelError, StriateError

from .random_nets import tensors_for


def make_model(net: str | striate.Net, views: str = "plain") -> striate.Model:
    made = striate.parse(net) if isinstance(net, str) else net
    tensors = {name: value.astype(np.float32) for name, value in tensors_for(made, 4).items()}
    c, h, w = made.input
    prepared = striate.Preprocess((h, w), "pad", (0.4, 0.5, 0.6)[:c], (0.2, 0.3, 0.25)[:c], views)
    return striate.Model(made, tensors, classes=[f"k{i}" for i in range(made.classes)], preprocess=prepared)


SMALL = "Net((3, 24, 20), [Conv(6, 3), BatchNorm(), ReLU(), MaxPool(2), GroupNorm(2), GlobalAvgPool(), Dense(4)])"


@pytest.mark.parametrize("net", [SMALL, SMALL.replace("Dense(4)", "Dense(4), Softmax()")])
@pytest.mark.parametrize("views", ["plain", "flip"])
def test_prepared_by_hand_it_answers_as_the_model(net, views, tmp_path):
    model = make_model(net, views)
    striate.export(model, tmp_path / "m.onnx", plain=True)
    said = json.loads((tmp_path / "m.json").read_text())
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert {node.op_type for node in graph.node} & {"Resize", "Cast", "Pad"} == set()
    assert said["input"]["shape"] == [1, 3, 24, 20] == [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim]
    photo = np.random.default_rng(0).integers(0, 256, (48, 20, 3), np.uint8)
    scaled = np.asarray(Image.fromarray(photo).resize((10, 24), Image.Resampling.BILINEAR))
    frame = np.full((24, 20, 3), said["bars"], np.uint8)
    frame[:, 5:15] = scaled
    x = ((frame / 255 - said["mean"]) / said["std"]).transpose(2, 0, 1)[None].astype(np.float32)
    [y] = onnxruntime.InferenceSession(tmp_path / "m.onnx").run(None, {said["input"]["name"]: x})
    want = model.predict(photo)
    assert said["classes"][y[0].argmax()] == want.label
    assert float(y[0].max()) == pytest.approx(want.probability, abs=1e-5)


@pytest.mark.parametrize(("opset", "batch"), [(None, 1), (13, 1), (21, 3)])
def test_the_export_is_compared_in_its_own_form(opset, batch, tmp_path):
    draw = np.random.default_rng(0)
    data = draw.integers(0, 256, (20, 24, 20, 3), np.uint8), np.arange(20) % 4
    model = make_model(SMALL)
    model = striate.Model(model.net, model.tensors, classes=["0", "1", "2", "3"], preprocess=model.preprocess)
    found = striate.export(model, tmp_path / "m.onnx", plain=True, opset=opset, batch=batch, data=data)
    assert (found.sized.columns[1].name, found.sized.columns[1].equal) == ("plain onnx", 1.0)
    made = onnx.load(tmp_path / "m.onnx")
    assert made.opset_import[0].version == (opset or 18)
    assert made.graph.input[0].type.tensor_type.shape.dim[0].dim_value == batch


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"opset": 16, "plain": True}, "cannot be written in opset 16"),
        ({"opset": 8, "plain": True}, "no such version of operators"),
        ({"batch": 0, "plain": True}, "one image or more"),
        ({"plain": True, "fp16": True}, "ONNX in 32-bit floats"),
        ({"opset": 17}, "those of a plain file"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(given, what, tmp_path):
    model = make_model("Net((1, 8, 8), [Conv(2, 3), LayerNorm(), Flatten(), Dense(2)])")
    with pytest.raises((ModelError, StriateError), match=what):
        striate.export(model, tmp_path / "m.onnx", **given)
    assert list(tmp_path.iterdir()) == []


UPSAMPLED = "Net((3, 24, 24), [Conv(6, 3), Upsample(2), Upsample(2, 'bilinear'), GlobalAvgPool(), Dense(4)])"


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "mobilenet_v3_small", "squeezenet1_1", UPSAMPLED])
def test_opencv_reads_it(name, tmp_path):
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    net = striate.parse(name) if "(" in name else striate.nets.build(name)
    tensors = {key: value.astype(np.float32) for key, value in tensors_for(net, 1).items()}
    c, h, w = net.input
    prepared = striate.Preprocess((h, w), "crop", (0.5,) * c, (0.25,) * c)
    model = striate.Model(net, tensors, classes=[str(k) for k in range(net.classes)], preprocess=prepared)
    striate.export(model, tmp_path / "m.onnx", plain=True)
    image = np.random.default_rng(2).integers(0, 256, (1, h, w, c), np.uint8)
    reader = cv2.dnn.readNetFromONNX(str(tmp_path / "m.onnx"))
    reader.setInput(model.standardised(image))
    assert np.abs(reader.forward() - model.probabilities(image)).max() < 1e-4


def test_the_command_writes_both_files(tmp_path, capsys):
    make_model(SMALL).save(tmp_path / "model.safetensors")
    out: Path = tmp_path / "plain.onnx"
    app(
        ["export", str(tmp_path / "model.safetensors"), "-o", str(out), "--plain", "--opset", "17"],
        standalone_mode=False,
    )
    assert capsys.readouterr().out.strip() == str(out)
    assert json.loads(out.with_suffix(".json").read_text())["opset"] == 17


@pytest.fixture
def page_folder(tmp_path: Path) -> Path:
    """model.onnx with its JSON, and photo.png, which stands between two bars in the frame and is not scaled."""
    striate.export(make_model(SMALL), tmp_path / "model.onnx", plain=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 10, 3), np.uint8)).save(tmp_path / "photo.png")
    return tmp_path


def read_code(language: str) -> str:
    """The piece of code in that language on the page."""
    page = (Path(__file__).parents[1] / "docs" / "plain-onnx.md").read_text(encoding="utf-8")
    [lines] = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return lines.replace("photo.jpg", "photo.png")


def check_said(folder: Path, said: str) -> None:
    """`said` is a class and its probability, and they are the model's."""
    want = make_model(SMALL).predict(Image.open(folder / "photo.png"))
    label, probability = said.split()
    assert label == want.label and float(probability) == pytest.approx(want.probability, abs=1e-4)


def run_code(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def find_npm(*packages: str) -> Path:
    """The npm folder in NODE_PATH that has the packages."""
    place = Path(os.environ.get("NODE_PATH", "nowhere"))
    if shutil.which("node") is None or not all((place / package).is_dir() for package in packages):
        pytest.skip(f"NODE_PATH has no {' or no '.join(packages)}: npm install, and its node_modules in NODE_PATH")
    return place


def test_the_lines_for_opencv_in_python_run_as_they_stand(page_folder):
    pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    check_said(page_folder, run_code(page_folder, sys.executable, "-c", read_code("py")))


@pytest.mark.slow
def test_the_lines_for_opencv_in_c_plus_plus_run_as_they_stand(page_folder):
    asked = subprocess.run(["pkg-config", "--cflags", "opencv4"], capture_output=True, text=True)
    if asked.returncode or shutil.which("g++") is None:
        pytest.skip("libopencv-dev or g++ is not installed")
    (page_folder / "classify.cpp").write_text(read_code("cpp"), encoding="utf-8")
    libraries = [f"-lopencv_{name}" for name in ("core", "imgproc", "imgcodecs", "dnn")]
    run_code(page_folder, "g++", "classify.cpp", "-o", "classify", *asked.stdout.split(), *libraries)
    check_said(page_folder, run_code(page_folder, "./classify"))


@pytest.mark.parametrize("package", ["onnxruntime-node", "onnxruntime-web"])
def test_the_lines_for_node_run_as_they_stand(package, page_folder):
    (page_folder / "node_modules").symlink_to(find_npm(package, "sharp"))
    code = read_code("js").replace("onnxruntime-node", package)
    (page_folder / "classify.mjs").write_text(code, encoding="utf-8")
    check_said(page_folder, run_code(page_folder, "node", "classify.mjs"))


def test_the_lines_for_a_page_run_as_they_stand(page_folder):
    playwright = pytest.importorskip("playwright.sync_api")
    (page_folder / "node_modules").symlink_to(find_npm("onnxruntime-web"))
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    (page_folder / "page.html").write_text(read_code("html"), encoding="utf-8")
    handler = partial(SimpleHTTPRequestHandler, directory=str(page_folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, playwright.sync_playwright() as driver:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/page.html")
        page.wait_for_function("document.body.textContent.trim().startsWith('k')")
        check_said(page_folder, page.inner_text("body"))
        browser.close()
        server.shutdown()
