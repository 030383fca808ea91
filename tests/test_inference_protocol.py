"""The open inference protocol v2 beside the service's own: judged by its official client, and byte by byte."""

from __future__ import annotations

import http.client
import io
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.engines.model_file import Abstention, Likeness, Preprocess
from striate.errors import StriateError
from striate.formats.onnx_file import write_exported
from tests.random_nets import tensors_for

pytest.importorskip("fastapi", reason="the extra striate[serve] is not installed")
from striate.serve.server import name_served_model  # noqa: E402
from striate.serve.settings import Access, Limits  # noqa: E402
from tests.test_serve import CLASSES, TOKEN, ask, bomb, in_base64, metric, model, picture, running, settled  # noqa: E402, F401

PHOTOS = [picture(40, 30, seed) for seed in range(5)] + [picture(90, 70, 9, kind="JPEG")]


@pytest.fixture(scope="module")
def alone(model):  # noqa: F811
    """The port of a service that computes image by image, so that equal pictures have equal answers to the last bit."""
    with running(model, Limits(batch=1)) as port:
        yield port


@pytest.fixture(scope="module")
def careful(tmp_path_factory):
    """The port of a calibrated model that also tells strange pictures, called `careful`."""
    net = Net((3, 16, 16), [L.Conv(8, 3), L.ReLU(), L.MaxPool(2), L.Flatten(), L.Dense(3)], name="small")
    given, width = Preprocess((16, 16), "crop 20", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)), 8 * 7 * 7

    def packed(*shape: int, value: float = 0.0) -> bytes:
        return np.full(shape, value, "<f4").tobytes()

    likeness = Likeness(
        path="flatten1", lost=0.05, mean=packed(width), scale=packed(width, value=1), directions=packed(width, 1),
        centres=packed(3, width), rest=1.0, distance=(0.0, 24.0),
    )  # fmt: skip
    abstention = Abstention(error=0.02, thresholds=(0.4, 0.5, 0.99), calibrated=(9, 9, 0))
    path = tmp_path_factory.mktemp("model") / "careful.onnx"
    write_exported(net, tensors_for(net, seed=3), CLASSES, given, path, abstention=abstention, likeness=likeness)
    with running(path, Limits(batch=1)) as port:
        yield port


def pack(elements: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def body_of(told: dict, *blobs: bytes) -> tuple[bytes, dict[str, str]]:
    text = json.dumps(told).encode()
    return b"".join([text, *blobs]), {"Inference_Header_Content_Length": str(len(text))} if blobs else {}


def infer(port: int, told: dict, *blobs: bytes, name: str = "model", **headers: str):
    body, stated = body_of(told, *blobs)
    return ask(port, f"/v2/models/{name}/infer", body, "application/octet-stream", **(stated | headers))


def files_of(photos: list[bytes], **more) -> dict:
    size = {"binary_data_size": len(pack(photos))}
    return {"inputs": [{"name": "files", "shape": [len(photos)], "datatype": "BYTES", "parameters": size}], **more}


def read_answer(headers: dict[str, str], body: bytes | dict) -> dict[str, np.ndarray]:
    """The tensors of an answer, by the words of the specification."""
    if isinstance(body, dict):
        kinds = {"FP32": np.float32, "BYTES": object, "BOOL": bool}
        return {
            row["name"]: np.array(row["data"], kinds[row["datatype"]]).reshape(row["shape"]) for row in body["outputs"]
        }
    length = int(headers["inference-header-content-length"])
    told, rest, found = json.loads(body[:length]), body[length:], {}
    for row in told["outputs"]:
        size = row["parameters"]["binary_data_size"]
        blob, rest = rest[:size], rest[size:]
        if row["datatype"] == "BYTES":
            texts = []
            while blob:
                end = 4 + int.from_bytes(blob[:4], "little")
                texts.append(blob[4:end].decode())
                blob = blob[end:]
            values = np.array(texts, object)
        else:
            values = np.frombuffer(blob, {"FP32": "<f4", "BOOL": bool}[row["datatype"]])
        found[row["name"]] = values.reshape(row["shape"])
    assert rest == b""
    return found


def own_answer(port: int, photo: bytes) -> dict:
    return ask(port, "/predict?top=3", photo, "application/octet-stream")[2]


def check_same(port: int, photos: list[bytes], found: dict[str, np.ndarray]) -> None:
    """The service's own route says the same of each picture, to the last bit."""
    assert [text if isinstance(text, str) else text.decode() for text in found["classes"]] == list(CLASSES)
    for i, photo in enumerate(photos):
        own = own_answer(port, photo)
        assert {one["label"]: one["probability"] for one in own["top"]} == {
            label: float(p) for label, p in zip(CLASSES, found["probabilities"][i], strict=True)
        }
        label = found["label"][i]
        assert (label if isinstance(label, str) else label.decode()) == own["label"]
        for name in ("unsure", "unlike"):
            assert (name in found) == (name in own) and (name not in own or found[name][i] == own[name])


def test_the_official_client_gets_the_answers_of_the_services_own_route_bit_for_bit(alone):
    triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    with triton.InferenceServerClient(f"127.0.0.1:{alone}") as client:
        assert client.is_server_live() and client.is_server_ready()
        assert client.is_model_ready("model") and client.is_model_ready("model", "1")
        assert not client.is_model_ready("other") and not client.is_model_ready("model", "2")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        told = client.get_model_metadata("model")
        assert told["versions"] == ["1"] and [one["name"] for one in told["inputs"]] == ["files", "images"]
        for binary in (True, False):
            files = triton.InferInput("files", [len(PHOTOS)], "BYTES")
            sent = PHOTOS if binary else [in_base64(photo).encode() for photo in PHOTOS]
            files.set_data_from_numpy(np.array(sent, object), binary_data=binary)
            wanted = [triton.InferRequestedOutput(name, binary) for name in ("probabilities", "label", "classes")]
            for outputs in (None, wanted):
                found = client.infer("model", [files], request_id="mine", outputs=outputs)
                assert found.get_response()["id"] == "mine"
                check_same(
                    alone, PHOTOS, {name: found.as_numpy(name) for name in ("probabilities", "label", "classes")}
                )
        best = triton.InferRequestedOutput("probabilities", class_count=2)
        [[first, second]] = client.infer("model", [one_file(triton)], outputs=[best]).as_numpy("probabilities")
        top = own_answer(alone, PHOTOS[0])["top"][:2]
        assert [part.decode().split(":")[2] for part in (first, second)] == [one["label"] for one in top]
        assert float(first.decode().split(":")[0]) == pytest.approx(top[0]["probability"], abs=1e-6)
        with pytest.raises(triton.InferenceServerException, match="there is no such model") as refused:
            client.infer("other", [one_file(triton)])
        assert refused.value.status() == "404"


def one_file(triton):
    return triton.InferInput("files", [1], "BYTES").set_data_from_numpy(np.array(PHOTOS[:1], object))


def test_the_official_client_sends_pixels_and_a_token(model):  # noqa: F811
    triton = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    pixels = np.stack([np.array(Image.open(io.BytesIO(photo))) for photo in PHOTOS[:5]])
    with (
        running(model, Limits(batch=1), Access(token=TOKEN)) as port,
        triton.InferenceServerClient(f"127.0.0.1:{port}") as client,
    ):
        images = triton.InferInput("images", list(pixels.shape), "UINT8").set_data_from_numpy(pixels)
        assert client.is_server_ready()
        with pytest.raises(triton.InferenceServerException, match="this server requires its token"):
            client.infer("model", [images])
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        found = client.infer("model", [images], headers=bearer).as_numpy("probabilities")
        again = client.infer("model", [one_file(triton)], headers=bearer).as_numpy("probabilities")
    assert found.shape == (5, 3) and found.dtype == np.float32 and np.array_equal(found[:1], again)


@pytest.mark.parametrize("binary", [True, False])
def test_files_and_their_pixels_get_the_answers_of_the_own_route_bit_for_bit(alone, binary):
    photos = PHOTOS[:5]
    told = files_of(photos, id="7", parameters={"binary_data_output": binary})
    blobs = [pack(photos)]
    if not binary:
        told["inputs"][0] |= {"data": [in_base64(photo) for photo in photos], "parameters": {}}
        blobs = []
    status, headers, body = infer(alone, told, *blobs)
    assert status == 200 and ("inference-header-content-length" in headers) == binary
    found = read_answer(headers, body)
    check_same(alone, photos, found)
    pixels = np.stack([np.array(Image.open(io.BytesIO(photo))) for photo in photos])
    given = {"name": "images", "shape": list(pixels.shape), "datatype": "UINT8"}
    forms = [
        infer(alone, {"inputs": [given | {"parameters": {"binary_data_size": pixels.size}}]}, pixels.tobytes()),
        infer(alone, {"inputs": [given | {"data": pixels.tolist()}]}),
        infer(alone, {"inputs": [given | {"data": pixels.ravel().tolist()}]}),
    ]
    for status, headers, body in forms:
        assert status == 200 and np.array_equal(read_answer(headers, body)["probabilities"], found["probabilities"])


@pytest.mark.parametrize("binary", [True, False])
def test_a_calibrated_model_says_where_it_is_unsure_and_what_is_unlike(careful, binary):
    told = files_of(PHOTOS, parameters={"binary_data_output": binary})
    status, headers, body = infer(careful, told, pack(PHOTOS), name="careful")
    found = read_answer(headers, body)
    assert status == 200 and list(found) == ["probabilities", "label", "classes", "unsure", "unlike"]
    assert 0 < found["unlike"].sum() < len(PHOTOS) and found["unsure"].sum() > found["unlike"].sum()
    check_same(careful, PHOTOS, found)


def test_only_what_is_asked_for_is_answered_and_in_its_form(alone):
    outputs = [{"name": "label"}, {"name": "probabilities", "parameters": {"binary_data": True}}]
    status, headers, body = infer(alone, files_of(PHOTOS[:1], outputs=outputs), pack(PHOTOS[:1]))
    length = int(headers["inference-header-content-length"])
    told = json.loads(body[:length])
    own = own_answer(alone, PHOTOS[0])
    assert status == 200 and told["outputs"] == [
        {"name": "label", "datatype": "BYTES", "shape": [1], "data": [own["label"]]},
        {"name": "probabilities", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}},
    ]
    assert (told["model_name"], told["model_version"], "id" in told) == ("model", "1", False)
    assert max(struct.unpack("<3f", body[length:])) == own["probability"]


def test_the_server_and_the_model_tell_of_themselves(alone, careful):
    assert ask(alone, "/v2")[2]["extensions"] == ["binary_tensor_data", "classification"]
    assert ask(alone, "/v2/health/live")[2] == {"live": True} and ask(alone, "/v2/health/ready")[2] == {"ready": True}
    for place in ("/v2/models/careful", "/v2/models/careful/versions/1"):
        assert ask(careful, f"{place}/ready")[2] == {"name": "careful", "ready": True}
        assert ask(careful, place)[2] == {
            "name": "careful",
            "versions": ["1"],
            "platform": "onnx_onnxv1",
            "inputs": [
                {"name": "files", "datatype": "BYTES", "shape": [-1]},
                {"name": "images", "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
            ],
            "outputs": [
                {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
                {"name": "label", "datatype": "BYTES", "shape": [-1]},
                {"name": "classes", "datatype": "BYTES", "shape": [3]},
                {"name": "unsure", "datatype": "BOOL", "shape": [-1]},
                {"name": "unlike", "datatype": "BOOL", "shape": [-1]},
            ],
        }
    assert [one["name"] for one in ask(alone, "/v2/models/model")[2]["outputs"]] == [
        "probabilities",
        "label",
        "classes",
    ]


IMAGE = {"name": "images", "shape": [1, 2, 2, 3], "datatype": "UINT8"}
FILE = {"name": "files", "shape": [1], "datatype": "BYTES"}
PIXELS = list(range(12))


def one_image(**changed) -> dict:
    return {"inputs": [IMAGE | {"data": PIXELS} | changed]}


def behind(size: object, **changed) -> dict:
    return {"inputs": [FILE | {"parameters": {"binary_data_size": size}} | changed]}


BROKEN = [
    ({}, (), 400, "body: the JSON cannot be read"),
    ({"inputs": {}}, (), 400, "body: the JSON cannot be read"),
    ({"inputs": []}, (), 400, "inputs: a request has its pictures in one tensor"),
    ({"inputs": [IMAGE | {"data": PIXELS}], "input": 1}, (), 400, "body: the JSON cannot be read"),
    (
        {"inputs": [IMAGE | {"data": PIXELS}, FILE | {"data": [""]}]},
        (),
        400,
        "inputs: a request has its pictures in one",
    ),
    ({"inputs": [FILE | {"data": [""]}, FILE | {"data": [""]}]}, (), 400, "inputs: a tensor is named twice"),
    (one_image(name="image"), (), 400, "inputs: there is no such tensor"),
    (one_image(datatype="FP32"), (), 400, "images: the datatype does not fit"),
    (one_image(name="files"), (), 400, "files: the datatype does not fit"),
    (one_image(shape=[2, 2, 3]), (), 400, "images: the shape does not fit"),
    (one_image(shape=[1, 2, 2, 1]), (), 400, "images: the shape does not fit"),
    (one_image(shape=[0, 2, 2, 3]), (), 400, "images: the shape does not fit"),
    (one_image(shape=[-1, -2, 2, 3]), (), 400, "images: the shape does not fit"),
    (one_image(shape=[1, 2, 2.5, 3]), (), 400, "body: the JSON cannot be read"),
    (one_image(shape=[1, 2**62, 2**62, 3]), (), 400, "images: the data are not what the shape says"),
    (one_image(shape=[1, 10**60, 10**60, 3]), (), 400, "images: the data are not what the shape says"),
    (one_image(shape=[1, 2, 3, 3]), (), 400, "images: the data are not what the shape says"),
    (one_image(data=[*PIXELS, 1]), (), 400, "images: the data are not what the shape says"),
    (one_image(shape=[33, 2, 2, 3]), (), 422, "body: too many images in one request"),
    (one_image(data=[*PIXELS[:11], 256]), (), 400, "images: in JSON UINT8 are whole numbers from 0 to 255"),
    (one_image(data=[*PIXELS[:11], 0.5]), (), 400, "images: in JSON UINT8 are whole numbers from 0 to 255"),
    (one_image(data=[*PIXELS[:11], True]), (), 400, "images: in JSON UINT8 are whole numbers from 0 to 255"),
    (one_image(data=[*PIXELS[:11], 10**60]), (), 400, "images: in JSON UINT8 are whole numbers from 0 to 255"),
    (one_image(data=[[[[0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]]), (), 400, "images: the data are not what the shape says"),
    (one_image(data="text"), (), 400, "images: in JSON UINT8 are whole numbers from 0 to 255"),
    ({"inputs": [IMAGE]}, (), 400, "images: the tensor has no data"),
    (one_image(parameters={"binary_data_size": 12}), (), 400, "images: the tensor has its data twice"),
    (
        {"inputs": [IMAGE | {"parameters": {"shared_memory_region": "a"}}]},
        (),
        400,
        "images: this server shares no memory",
    ),
    ({"inputs": [FILE | {"data": [3]}]}, (), 400, "files: in JSON an element of BYTES is text in base64"),
    ({"inputs": [FILE | {"data": ["eA==", "eA=="]}]}, (), 400, "files: the data are not what the shape says"),
    ({"inputs": [FILE | {"data": ["§"]}]}, (), 422, "files[0]: this is not base64"),
    ({"inputs": [FILE | {"data": ["eA=="]}]}, (), 422, "files[0]: this is not an image of a known format"),
    (behind(5), (b"\x01\0\0\0x",), 422, "files[0]: this is not an image of a known format"),
    (behind(4), (b"\0\0\0\0",), 422, "files[0]: the file is empty"),
    (behind(0), (b"",), 400, "files: the data are not what the shape says"),
    (behind(5), (b"\x02\0\0\0x",), 400, "files: the data are not what the shape says"),
    (behind(5), (b"\xff\xff\xff\xffx",), 400, "files: the data are not what the shape says"),
    (behind(3), (b"\0\0\0",), 400, "files: the data are not what the shape says"),
    (behind(8), (b"\0\0\0\0\0\0\0\0",), 400, "files: the data are not what the shape says"),
    (behind(5), (b"\x01\0\0\0",), 400, "files: the body ends before the tensor does"),
    (behind(2**70), (b"\x01\0\0\0",), 400, "files: the body ends before the tensor does"),
    (behind(5), (b"\x01\0\0\0xy",), 400, "body: the body is longer than its tensors"),
    (behind(-1), (b"",), 400, "files: a size is a whole number from 0"),
    (behind(True), (b"x",), 400, "files: a size is a whole number from 0"),
    (behind("5"), (b"\x01\0\0\0x",), 400, "files: a size is a whole number from 0"),
    (one_image() | {"outputs": [{"name": "logits"}]}, (), 400, "outputs: there is no such tensor"),
    (one_image() | {"outputs": [{"name": "unsure"}]}, (), 400, "outputs: there is no such tensor"),
    (one_image() | {"outputs": [{"name": "label"}] * 2}, (), 400, "outputs: a tensor is named twice"),
    (
        one_image() | {"outputs": [{"name": "label", "parameters": {"binary_data": 1}}]},
        (),
        400,
        "label: binary_data is true or false",
    ),
    (one_image() | {"parameters": {"binary_data_output": "yes"}}, (), 400, "parameters: binary_data_output is true or"),
    (
        one_image() | {"outputs": [{"name": "probabilities", "parameters": {"classification": 0}}]},
        (),
        400,
        "probabilities: classification is a whole number from 1",
    ),
    (
        one_image() | {"outputs": [{"name": "label", "parameters": {"classification": 2}}]},
        (),
        400,
        "label: classification is asked of probabilities",
    ),
]


def test_a_broken_request_is_told_what_is_wrong(alone):
    assert infer(alone, one_image())[0] == 200
    for told, blobs, want, what in BROKEN:
        status, _, found = infer(alone, told, *blobs)
        assert (status, found["error"][: len(what)]) == (want, what), (told, status, found)
    for stated in ("0", "-3", "x", "9999", "1e2", "٣", "9" * 5000, ""):
        status, _, found = infer(alone, one_image(), Inference_Header_Content_Length=stated.encode())
        assert (status, found["error"][:31]) == (400, "Inference-Header-Content-Length"), stated
    assert infer(alone, one_image(), Content_Encoding="gzip")[0] == 415
    deep = ask(alone, "/v2/models/model/infer", b'{"inputs":' + b"[" * 100_000, "application/json")
    assert deep[0] == 400 and deep[2]["error"].startswith("body: the JSON cannot be read")
    number = b'{"inputs": [{"name": "images", "datatype": "UINT8", "shape": [' + b"9" * 100_000 + b'], "data": []}]}'
    assert ask(alone, "/v2/models/model/infer", number, "application/json")[0] == 400


def test_a_picture_is_refused_in_its_place_by_the_limits_of_the_own_route(alone):
    huge = bomb(60_000, 60_000)
    status, _, found = infer(alone, files_of([PHOTOS[0], huge]), pack([PHOTOS[0], huge]))
    assert status == 422 and found["error"].startswith("files[1]: the image has too many pixels to decode")
    long = np.zeros((1, 2, 200, 3), np.uint8)
    told = {"inputs": [IMAGE | {"shape": list(long.shape), "parameters": {"binary_data_size": long.size}}]}
    status, _, found = infer(alone, told, long.tobytes())
    assert status == 422 and found["error"].startswith("images[0]: the image is too elongated")


def test_pixels_are_bounded_in_number_too(model):  # noqa: F811
    with running(model, Limits(pixels=1000)) as port:
        told = {"inputs": [IMAGE | {"shape": [1, 40, 30, 3], "parameters": {"binary_data_size": 3600}}]}
        status, _, found = infer(port, told, bytes(3600))
        assert status == 422 and found["error"].startswith("images[0]: the image has too many pixels to decode")


def test_what_the_gate_refuses_is_told_as_the_protocol_tells_errors(model):  # noqa: F811
    with running(model, Limits(upload=10_000, images=2, queue=2, held=40_000), Access(token=TOKEN)) as port:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        told, blob = files_of([bytes(20_000)]), pack([bytes(20_000)])
        cases = [
            (ask(port, "/v2"), 401, "Authorization: this server requires its token"),
            (infer(port, one_image()), 401, "Authorization: this server requires its token"),
            (ask(port, "/v2", Origin="http://evil.example", **bearer), 403, "Origin: cross-origin"),
            (infer(port, told, blob, **bearer), 413, "body: the request is too large"),
            (ask(port, "/v2/models", **bearer), 404, "path: Not Found"),
            (ask(port, "/v2/models/other", **bearer), 404, "model: there is no such model"),
            (ask(port, "/v2/models/model/versions/2/ready", **bearer), 404, "version: there is no such version"),
            (ask(port, "/v2/models/model/infer", **bearer), 405, "path: Method Not Allowed"),
        ]
        for (status, _, found), want, what in cases:
            assert (status, found["error"][: len(what)]) == (want, what) and list(found) == ["error"]
        assert ask(port, "/v2/health/live")[0] == ask(port, "/v2/health/ready")[0] == 200
        assert ask(port, "/model")[2]["where"] == "Authorization"


def test_the_protocols_requests_are_counted_with_the_services_own(alone):
    infer(alone, one_image())
    assert metric(alone, 'striate_requests_total{path="/v2/models/model/infer",status="200"}') >= 1
    before = metric(alone, 'striate_images_total{outcome="answered"}')
    infer(alone, files_of(PHOTOS[:3]), pack(PHOTOS[:3]))
    assert metric(alone, 'striate_images_total{outcome="answered"}') == before + 3
    ask(alone, "/v2/models/whatever/infer", b"{}")
    text = ask(alone, "/metrics")[2].decode()
    assert "whatever" not in text and re.search(r'path="other",status="404"', text)
    settled(alone)


def test_the_model_is_called_as_its_file_or_its_run_or_as_it_was_told(model, tmp_path):  # noqa: F811
    assert name_served_model(model) == "model" and name_served_model("photos.v2.onnx") == "photos.v2"
    assert name_served_model(tmp_path) == name_served_model(tmp_path / "model.safetensors") == tmp_path.name
    assert name_served_model(tmp_path / "lenet.safetensors") == "lenet" and name_served_model(model, "사진") == "사진"
    for bad in ("", "a/b", "..", "a\n"):
        with pytest.raises(StriateError, match="this cannot be a model's name"):
            name_served_model(model, bad)


@pytest.mark.parametrize("page", ["kserve.md", "kserve.ko.md"])
def test_the_description_for_kserve_starts_the_service_with_options_that_it_has(page, alone):
    yaml = pytest.importorskip("yaml")
    import typer

    from striate.cli import app

    text = (Path(__file__).parent.parent / "docs" / page).read_text(encoding="utf-8")
    described = yaml.safe_load(re.search(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[1])
    [container] = described["spec"]["predictor"]["containers"]
    command = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    given = command.make_context("serve", container["command"][2:]).params
    assert container["command"][:2] == ["/app/bin/striate", "serve"] and given["host"] == "0.0.0.0"
    assert given["name"] == described["metadata"]["name"]
    assert container["ports"][0]["containerPort"] == given["port"]
    for probe in ("readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["port"] == given["port"] and ask(alone, asked["path"])[0] == 200


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(allow_nan=False), st.text(max_size=5),
    st.lists(st.integers(-3, 300), max_size=5), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(["files", "images", "BYTES", "UINT8", "FP32", [1], [1, 2, 2, 3], [[[[1, 2, 3]]]], PIXELS]),
)  # fmt: skip
NAMES = ["name", "shape", "datatype", "data", "parameters", "binary_data_size", "inputs", "outputs", "id", "more"]


@st.composite
def mutated(draw):
    """A request that was right, with values changed, taken out or put in, or its bytes cut, turned or moved."""
    told = draw(st.sampled_from([one_image(), files_of(PHOTOS[:2]), {"inputs": [FILE | {"data": ["eA=="]}]}]))
    told = json.loads(json.dumps(told | {"outputs": [{"name": "label", "parameters": {"binary_data": True}}]}))
    blobs = [pack(PHOTOS[:2])] if "data" not in told["inputs"][0] else []
    for _ in range(draw(st.integers(0, 2))):
        rows = [told, *[row for key in ("inputs", "outputs") for row in (told.get(key) or []) if isinstance(row, dict)]]
        rows += [row["parameters"] for row in rows if isinstance(row.get("parameters"), dict)]
        row, name = draw(st.sampled_from(rows)), draw(st.sampled_from(NAMES))
        if draw(st.booleans()) or name not in row:
            row[name] = draw(VALUES)
        else:
            del row[name]
        if not isinstance(told.get("inputs") or [], list) or not isinstance(told.get("outputs") or [], list):
            break
    body, headers = body_of(told, *blobs)
    changed = bytearray(body)
    for _ in range(draw(st.integers(0, 2))):
        place = draw(st.integers(0, min(len(changed), 400)))
        kind = draw(st.sampled_from(["cut", "turn", "put"]))
        if kind == "cut":
            del changed[place : place + draw(st.integers(1, 30))]
        elif kind == "put":
            changed[place:place] = draw(st.binary(max_size=5))
        elif place < len(changed):
            changed[place] ^= draw(st.integers(1, 255))
    if draw(st.integers(0, 4)) == 0:
        headers = {"Inference_Header_Content_Length": str(draw(st.integers(-5, len(changed) + 5)))}
    return bytes(changed), {name.replace("_", "-"): value for name, value in headers.items()}


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(mutated())
def test_whatever_becomes_of_a_request_it_is_answered_or_clearly_refused(line, asked):
    body, headers = asked
    line.request("POST", "/v2/models/model/infer", body, headers)
    answer = line.getresponse()
    content = answer.read()
    assert answer.status in (200, 400, 413, 415, 422), (answer.status, content, body[:600], headers)
    if answer.status != 200:
        assert set(json.loads(content)) == {"error"} and len(content) < 2000, content


@pytest.fixture(scope="module")
def line(alone):
    connection = http.client.HTTPConnection("127.0.0.1", alone, timeout=20)
    yield connection
    connection.close()
