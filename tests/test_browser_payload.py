"""What a page holds of a model, and how it prepares a picture: bytes and levels as Python has them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import striate
from striate.browser import payload
from striate.browser.joining import format_inline_json
from striate.browser.payload import compress_weights, make_payload, pack_tensor
from striate.data.read.colour import convert_mode
from striate.data.read.resize import resize_image
from striate.engines.model_file import Preprocess
from striate.errors import ModelError

from .browser_nets import ENGINE
from .random_nets import tensors_for

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def run_node(code: str, given: object, folder: Path) -> object:
    (folder / "given.json").write_text(json.dumps(given))
    read = f'import {{ readFileSync }} from "node:fs";\nconst given = JSON.parse(readFileSync("{folder}/given.json"));'
    (folder / "code.mjs").write_text(f"{read}\n{code}")
    done = subprocess.run(["node", str(folder / "code.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def make_model(size=(28, 28), channels=3) -> striate.Model:
    net = striate.Net((channels, *size), [striate.Conv(8, 3), striate.BatchNorm(), striate.Flatten(), striate.Dense(4)])
    tensors = {name: value.astype(np.float32) for name, value in tensors_for(net, 3).items()}
    prepared = Preprocess(size, "pad", (0.4,) * channels, (0.2,) * channels)
    return striate.Model(net, tensors, classes=["a", "b", "c", "<d>"], preprocess=prepared)


OPEN = f"""
import {{ openPayload }} from "{ENGINE}/open.js";
const opened = await openPayload(given);
const tensors = [...opened.tensors].map(([name, {{ shape, data }}]) => [name, shape, [...data]]);
console.log(JSON.stringify({{ tensors, classes: opened.classes, preprocess: opened.preprocess }}));
"""


@pytest.mark.parametrize("kind", ["float32", "float16", "int8"])
def test_a_payload_gives_back_the_tensors(kind, tmp_path):
    model = make_model()
    model.tensors["conv1.weight"][0] = 0  # a filter without a scale
    model.tensors["conv1.weight"][1, 0, 0, 0] = 3e-6  # subnormal in float16
    found = run_node(OPEN, make_payload(model, kind), tmp_path)
    assert found["classes"] == list(model.classes) and found["preprocess"]["fit"] == "pad"
    assert [name for name, _, _ in found["tensors"]] == list(model.tensors)
    for name, shape, data in found["tensors"]:
        ours, theirs = model.tensors[name], np.array(data, np.float32).reshape(shape)
        if kind == "float32" or ours.ndim < 2:
            assert np.array_equal(ours, theirs)
        elif kind == "float16":
            assert np.array_equal(ours.astype(np.float16).astype(np.float32), theirs)
        else:
            most = np.abs(ours).reshape(len(ours), -1).max(1)
            assert (np.abs(ours - theirs).reshape(len(ours), -1).max(1) <= most / 254 * 1.001 + 1e-12).all()


def test_bytes_come_back_from_their_text_whatever_their_number(tmp_path, monkeypatch):
    """At the ends of a group and of a piece too; the text needs no escape in JSON or in a page."""
    monkeypatch.setattr(payload, "PIECE", 26)
    given = [np.random.default_rng(n).integers(0, 256, n, np.uint8).tobytes() for n in (*range(30), 52, 53, 777)]
    given += [bytes(27), b"\xff" * 27]
    texts = [payload.write_as_text(data) for data in given]
    code = f"""
import {{ readFromText }} from "{ENGINE}/text_bytes.js";
console.log(JSON.stringify(given.map(([text, length]) => [...readFromText(text, length)])));
"""
    found = run_node(code, [(text, len(data)) for text, data in zip(texts, given, strict=True)], tmp_path)
    assert [bytes(numbers) for numbers in found] == given
    for data, text in zip(given, texts, strict=True):
        assert format_inline_json(text) == f'"{text}"' and text.isascii() and text.isprintable()
        assert len(text) == 2 * -(-8 * len(data) // 13)


def list_published_weights() -> list[np.ndarray]:
    return [value for value in striate.load("efficientnet_lite0").tensors.values() if value.ndim > 1]


def draw_weights() -> list[np.ndarray]:
    """Normal numbers of Glorot's size: uniform ones have fewer exponents, and pack better."""
    draw = np.random.default_rng(0)
    return [draw.normal(0, 1 / side, (side, side)).astype(np.float32) for side in (192, 288, 576, 576)]


@pytest.mark.parametrize("list_weights", [list_published_weights, draw_weights])
def test_weights_take_little_more_than_two_characters_each(list_weights):
    """So ResNet-18, of 11.69 million numbers, is a page of less than 25 MB, of which its other parts are 0.35."""
    packed = [pack_tensor(value, "float16")[1] for value in list_weights()]
    characters = len(payload.write_as_text(compress_weights(b"".join(packed))))
    assert 11_690_000 / sum(map(np.size, list_weights())) * characters < 24_600_000


def test_what_no_page_can_feed_is_refused():
    with pytest.raises(ModelError, match="gray or RGB images alone"):
        make_payload(make_model(channels=4))
    with pytest.raises(ModelError, match="no such form of weights"):
        make_payload(make_model(), "float8")
    model = make_model()
    model.tensors["dense1.weight"][0, 0] = 1e6
    with pytest.raises(ModelError, match="too large for float16"):
        make_payload(model, "float16")


PREPARE = f"""
import {{ prepareImage }} from "{ENGINE}/preprocess.js";
const made = given.map(({{ width, height, data, preprocess, channels }}) => {{
  const {{ x, image }} = prepareImage({{ width, height, data: Uint8ClampedArray.from(data) }}, preprocess, channels);
  return {{ levels: [...image.data], x: [...x] }};
}});
console.log(JSON.stringify(made));
"""

FITS = ["pad", "crop", "squash", "pad bicubic", "squash bicubic", "crop 40", "crop 50 bicubic"]
SIDES = [(1, 7), (9, 1), (5, 5), (32, 32), (33, 32), (64, 31), (90, 120), (200, 64), (3, 150)]


def draw_pictures() -> list[dict]:
    draw, cases = np.random.default_rng(0), []
    for k, (height, width) in enumerate(SIDES):
        for fit in FITS:
            rgba = draw.integers(0, 256, (height, width, 4), np.uint8)
            if k % 2:
                rgba[..., 3] = 255
            smooth = np.linspace(0, 255, height * width).reshape(height, width).astype(np.uint8)
            rgba[..., k % 3] = smooth
            channels = 1 if (k + len(fit)) % 3 == 0 else 3
            cases.append({"rgba": rgba, "fit": fit, "channels": channels, "size": [(32, 32), (28, 36)][k % 2]})
    return cases


def test_pictures_of_every_shape_are_prepared_as_in_python_to_the_level(tmp_path):
    from PIL import Image

    cases = draw_pictures()
    assert len(cases) > 50
    sent = [
        {"width": c["rgba"].shape[1], "height": c["rgba"].shape[0], "data": c["rgba"].reshape(-1).tolist(),
         "channels": c["channels"],
         "preprocess": {"size": c["size"], "fit": c["fit"], "mean": [0.4] * 3, "std": [0.2] * 3}}
        for c in cases
    ]  # fmt: skip
    for case, found in zip(cases, run_node(PREPARE, sent, tmp_path), strict=True):
        plain = np.asarray(convert_mode(Image.fromarray(case["rgba"]), case["channels"]))
        image = plain.reshape(*plain.shape[:2], case["channels"])
        want = resize_image(image, case["size"], case["fit"])
        got = np.array(found["levels"]).reshape(want.shape)
        assert np.abs(got - want).max() <= 0.5, case
        x = ((want / 255 - 0.4) / 0.2).transpose(2, 0, 1)
        assert np.allclose(np.array(found["x"]).reshape(x.shape), x, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 65535))
def test_float16_is_read_as_numpy_reads_it(bits):
    want = np.array([bits], np.uint16).view(np.float16)[0]
    code = f'import {{ readHalf }} from "{ENGINE}/open.js"; console.log(String(readHalf({bits})))'
    got = subprocess.run(["node", "--input-type=module", "-e", code], capture_output=True, text=True).stdout.strip()
    assert np.array_equal(np.float64(got), np.float64(want), equal_nan=True)
