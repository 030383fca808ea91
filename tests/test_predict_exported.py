"""An exported file as a model: the answers of the run that it came from, without torch, for files good and bad."""

from __future__ import annotations

import csv
import http.server
import json
import subprocess
import sys
import threading
import time

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.data.images import Skipped
from striate.engines.model_file import ModelHeader, Preprocess
from striate.engines.onnx import open_session
from striate.errors import DataError, ModelError
from striate.formats.onnx_file import Card, build_document, write_exported
from striate.model.exported import ExportedModel, load_exported
from striate.model.fetch import fetch_image, is_public
from striate.model.model import Model
from striate.model.prediction import Prediction
from striate.threads import map_in_threads
from tests.random_nets import nets, tensors_for

CLASSES = ("Löwe", 'cat, "tom"', "犬")
FITS = ("pad", "crop", "squash", "crop 14", "crop 15 bicubic")


def model(fit: str = "pad", channels: int = 3) -> Model:
    net = Net((channels, 9, 12), [L.Conv(4, 3), L.BatchNorm(), L.ReLU(), L.Flatten(), L.Dense(3)], name="small")
    preprocess = Preprocess((9, 12), fit, (0.5, 0.4, 0.3)[:channels], (0.2, 0.25, 0.3)[:channels])
    return Model(ModelHeader(net=net, classes=CLASSES, preprocess=preprocess), tensors_for(net, seed=3), None)


def exported(model: Model, folder) -> ExportedModel:
    model.export(folder / "m.onnx")
    return load_exported(folder / "m.onnx")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Smooth pictures of many sizes as JPEG and PNG, and a large one that is decoded at a fraction of its scale."""
    folder = tmp_path_factory.mktemp("photos")
    for i, (h, w) in enumerate([(9, 12), (30, 40), (41, 23), (200, 333), (7, 5), (14, 14), (15, 97)]):
        noise = np.random.default_rng(i).integers(0, 256, (3 + h // 30, 3 + w // 30, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((w, h), 3).save(folder / f"{i}.{'jpg' if i % 2 else 'png'}")
    return folder


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_files_answers_are_the_runs(tmp_path, photos, fit, channels):
    """Also for fits that name the shorter side: the graph cuts its middle out of what it is given."""
    run = model(fit, channels)
    shipped = exported(run, tmp_path)
    files = sorted(photos.iterdir())
    for file in files:
        assert np.array_equal(shipped.prepared(file), run.prepared(file))
    ours, theirs = shipped.predict(files, top=3), run.predict(files, top=3)
    assert [a.label for a in ours] == [a.label for a in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert a.file == b.file
        assert dict(a.top) == pytest.approx(dict(b.top), abs=2e-6)
    x = np.stack([run.prepared(file) for file in files])
    assert np.abs(shipped.probabilities(x) - run.probabilities(x)).max() < 2e-6
    assert np.ptp(run.probabilities(x), axis=0).max() > 0.01  # the pictures differ for this net
    assert shipped.probabilities(x[:0]).shape == (0, 3)


def test_one_image_may_come_as_a_path_bytes_an_array_or_pillows_and_many_as_a_list_or_an_array(tmp_path, photos):
    shipped = exported(model(), tmp_path)
    file = photos / "0.png"
    array = np.array(Image.open(file))
    want = shipped.predict(str(file))
    assert isinstance(want, Prediction) and want.file == str(file)
    for image in (file, file.read_bytes(), array, Image.open(file)):
        assert shipped.predict(image).top == want.top
    assert [p.top for p in shipped.predict([file, array])] == [want.top, want.top]
    assert [p.top for p in shipped.predict(np.stack([array, array]))] == [want.top, want.top]
    with pytest.raises(DataError, match="an image in memory is a uint8 array"):
        shipped.predict(array / 255)
    with pytest.raises(DataError, match="there is no such file"):
        shipped.predict("absent.png")


def test_files_come_in_order_and_bad_ones_are_named(tmp_path, photos):
    shipped = exported(model(), tmp_path)
    (tmp_path / "bad.jpg").write_text("no picture")
    good = [str(f) for f in sorted(photos.iterdir())] * 9
    names = [*good[:30], str(tmp_path / "bad.jpg"), *good[30:], "absent.png"]
    answers = list(shipped.predict_files(names))
    assert [a.file for a in answers] == names
    skipped = [a for a in answers if isinstance(a, Skipped)]
    assert [a.why for a in skipped] == ["this is not an image of a known format", "there is no such file"]
    assert [a.label for a in answers if isinstance(a, Prediction)] == [a.label for a in shipped.predict(good)]


def test_the_first_answers_come_long_before_the_last_name(tmp_path, photos):
    shipped = exported(model(), tmp_path)
    asked = 0

    def names():
        nonlocal asked
        for _ in range(100_000):
            asked += 1
            yield photos / "0.png"

    answers = shipped.predict_files(names())
    assert next(answers).label in CLASSES
    answers.close()
    assert asked < 1000


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 5), st.booleans())
def test_work_done_by_many_threads_comes_back_in_turn(naps, chunk, at_once):
    def nap(k):
        return time.sleep(naps[k] / 1e4) or k

    done = list(map_in_threads(nap, range(len(naps)), 3, chunk=chunk, at_once=at_once))
    assert done == list(range(len(naps)))


def test_it_evaluates_as_the_run_does(tmp_path):
    run = model("crop 14")
    shipped = exported(run, tmp_path)
    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 256, (50, 9, 12, 3), dtype=np.uint8), draw.integers(0, 3, 50)
    images = run.images((x, np.array(CLASSES)[y]))
    assert np.array_equal(shipped.evaluate(images).confusion, run.evaluate(images).confusion)
    assert shipped.evaluate(images).accuracy == pytest.approx(run.evaluate(images).accuracy)


@settings(deadline=None, max_examples=25)
@given(nets(), st.integers(0, 99))
def test_every_layer_computes_in_16_bit_floats(net, seed):
    """Within what 11 bits of mantissa leave of a probability; the weights take half the room."""
    (c, h, w), k = net.input, net.classes
    card = Card(
        classes=tuple(map(str, range(k))),
        channels=c,
        preprocess=Preprocess((h, w), "pad", (0.5,) * c, (0.25,) * c),
    )
    tensors = tensors_for(net, seed)
    half, whole = (
        build_document(net, tensors, msgspec.structs.replace(card, precision=p)) for p in ("float16", "float32")
    )
    types = {t.data_type for t in half.graph.initializer if not t.name.startswith("/")}
    assert onnx.TensorProto.FLOAT not in types
    x = np.random.default_rng(seed).integers(0, 256, (3, h, w, c), dtype=np.uint8)
    [a], [b] = (open_session(model, 1).run(None, {"images": x}) for model in (half, whole))
    assert a.dtype == np.float32 and np.abs(a - b).max() < 0.05


def test_a_file_of_16_bit_floats_is_half_as_large_and_says_what_it_is(tmp_path, photos):
    net = Net((3, 9, 12), [L.Flatten(), L.Dense(400), L.ReLU(), L.Dense(3)], name="wide")
    run = Model(msgspec.structs.replace(model().header, net=net), tensors_for(net, seed=3), None)
    for name, fp16 in (("whole", False), ("half", True)):
        write_exported(net, run.tensors, CLASSES, run.preprocess, tmp_path / f"{name}.onnx", fp16=fp16)
    sizes = [(tmp_path / name).stat().st_size for name in ("half.onnx", "whole.onnx")]
    assert 0.49 < sizes[0] / sizes[1] < 0.55
    shipped = load_exported(tmp_path / "half.onnx")
    assert shipped.card.precision == "float16"
    files = sorted(photos.iterdir())
    x = np.stack([run.prepared(file) for file in files])
    assert np.abs(shipped.probabilities(x) - run.probabilities(x)).max() < 0.01
    with pytest.raises(ModelError, match="one precision at a time"):
        write_exported(net, run.tensors, CLASSES, run.preprocess, tmp_path / "m.onnx", fp16=True, int8=list(x) * 4)


def test_csv_can_be_read_back():
    row = Prediction('a "b",c.jpg', CLASSES[1], 0.25, ((CLASSES[1], 0.25),))
    assert next(csv.reader([row.as_csv()])) == ['a "b",c.jpg', CLASSES[1], "0.250000"]


def test_what_is_no_exported_file_is_an_error(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no network")
    for name in ("m.onnx", "absent.onnx"):
        with pytest.raises(ModelError):
            load_exported(tmp_path / name)


def test_predicting_loads_neither_torch_nor_onnx_nor_what_only_evaluation_needs(tmp_path, photos):
    exported(model(), tmp_path)
    program = f"""
import sys, json
from striate.model.exported import load_exported
print(load_exported({str(tmp_path / "m.onnx")!r}).predict({str(photos / "0.png")!r}).label)
heavy = "torch onnx sklearn rich fastapi urllib3 striate.metrics.classification striate.data.sources.load".split()
print(json.dumps([name for name in heavy if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[1]) == []


@pytest.mark.parametrize(
    "address, public",
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("ff02::1", False),
    ],
)
def test_only_addresses_on_the_public_internet_are_public(address, public):
    assert is_public(address) is public


@pytest.fixture
def web(photos):
    """A server on this machine: a picture, redirections, an answer without end, one that never comes; its address."""
    picture = (photos / "1.jpg").read_bytes()

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/to"):
                steps = int(self.path[3:])
                self.send_response(302)
                self.send_header("Location", f"/to{steps - 1}" if steps else "/picture.jpg?a=1")
                self.end_headers()
            elif self.path == "/picture.jpg?a=1":
                self.send_response(200)
                self.send_header("Content-Length", str(len(picture)))
                self.end_headers()
                self.wfile.write(picture)
            elif self.path in ("/endless", "/cut"):
                self.send_response(200)
                self.send_header("Content-Length", "1000000")
                self.end_headers()
                self.wfile.write(b"x" * (200_000 if self.path == "/endless" else 10))
            elif self.path == "/silent":
                time.sleep(1)
            else:
                self.send_error(404)

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_image_may_be_named_by_its_address(tmp_path, photos, web):
    shipped = exported(model(), tmp_path)
    names = [f"{web}/to1", f"{web}/absent", f"{web}/picture.jpg?a=1"]
    first, second, third = shipped.predict_files(names)
    want = shipped.predict(photos / "1.jpg").top
    assert first.top == third.top == want and [first.file, third.file] == [names[0], names[2]]
    assert second == Skipped(names[1], "the server answers 404 Not Found")


def test_an_address_that_gives_no_image_is_a_clear_error(web):
    def reason(path: str, **options) -> str:
        with pytest.raises(DataError) as refused:
            fetch_image(web + path, **options)
        return refused.value.what

    assert reason("/to5") == "too many redirects"
    assert reason("/endless", largest=100_000) == "the file is too large"
    assert reason("/cut") == "the download ended early"
    began = time.monotonic()
    assert reason("/silent", seconds=0.2) == "the URL did not answer in time"
    assert time.monotonic() - began < 5  # not for ever
    with pytest.raises(DataError, match="this is not an http or https URL"):
        fetch_image("file:///etc/passwd")
    with pytest.raises(DataError, match="cannot be read: Connection refused"):
        fetch_image("http://127.0.0.1:9/a.jpg")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "0", "2130706433", "127.1"])
def test_a_service_reaches_no_address_of_its_own_network(host):
    with pytest.raises(DataError, match="not on the public internet|cannot be read"):
        fetch_image(f"http://{host}/a.jpg", public=True)
    with pytest.raises(DataError, match="this port is not allowed|cannot be read"):
        fetch_image(f"http://{host}:8000/a.jpg", public=True)
