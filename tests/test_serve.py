"""The service under all that clients do: real sockets on loopback, nothing mocked; only 200s and clear 4xx answers."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import io
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.engines.model_file import ModelHeader, Preprocess, save_model
from striate.errors import StriateError
from striate.formats.onnx_file import write_exported
from striate.model.exported import load_exported
from striate.model.model import load_model
from tests.answering_service import running_service as running
from tests.random_nets import tensors_for

pytest.importorskip("fastapi", reason="the extra striate[serve] is not installed")
from striate.serve.batching import Batching, QueuedImage  # noqa: E402
from striate.serve.server import open_socket  # noqa: E402
from striate.serve.settings import Access, Limits  # noqa: E402

CLASSES = ("Löwe", "<b>cat</b>", "犬")
TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    net = Net((3, 16, 16), [L.Conv(8, 3), L.ReLU(), L.MaxPool(2), L.Flatten(), L.Dense(3)], name="small")
    given = Preprocess((16, 16), "crop 20", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    write_exported(net, tensors_for(net, seed=3), CLASSES, given, path, metadata={"licence": "CC BY 4.0"})
    return path


@contextmanager
def process(model: Path, folder: Path, **options):
    """A service in a process of its own: the process, its port, the file of its log."""
    program = (
        "import sys, json; from striate.serve.server import serve_model; from striate.serve.settings import Limits\n"
    )
    program += "given = json.loads(sys.argv[2]); limits = Limits(**given.pop('limits', {}))\n"
    program += "serve_model(sys.argv[1], port=0, limits=limits, **given)"
    log = folder / "log"
    with log.open("wb") as out:
        one = subprocess.Popen([sys.executable, "-c", program, str(model), json.dumps(options)], stderr=out)
    try:
        until = time.monotonic() + 30
        while b"serving" not in log.read_bytes() and one.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        [address] = [row["address"] for row in map(json.loads, log.read_text().splitlines()) if "address" in row]
        yield one, int(address.rsplit(":", 1)[1]), log
    finally:
        if one.poll() is None:
            one.send_signal(signal.SIGTERM)
            one.wait(timeout=20)


@pytest.fixture(scope="module")
def port(model):
    with running(model) as port:
        yield port


def ask(port: int, path: str, body: bytes | None = None, kind: str = "", method: str = "", **headers: str):
    """(status, headers, body as JSON or bytes) of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()} | (
            {"Content-Type": kind} if kind else {}
        )
        connection.request(method or ("GET" if body is None else "POST"), path, body, named)
        answer = connection.getresponse()
        content, found = answer.read(), {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, json.loads(content) if "json" in found.get("content-type", "") else content
    finally:
        connection.close()


def form(*files: tuple[str, bytes], field: str = "file") -> tuple[bytes, str]:
    """A multipart body and its content type."""
    parts = b"".join(
        f'--frontier\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode()
        + data
        + b"\r\n"
        for name, data in files
    )
    return parts + b"--frontier--\r\n", "multipart/form-data; boundary=frontier"


def picture(h: int = 40, w: int = 30, seed: int = 0, kind: str = "PNG", mode: str = "RGB", **options) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((w, h), 3).convert(mode).save(file, kind, **options)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is large; its pixels are zeros, as many as there is patience for."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )


def as_json(**fields) -> bytes:
    return json.dumps(fields).encode()


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def metric(port: int, name: str) -> float:
    text = ask(port, "/metrics")[2].decode()
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])


def settled(port: int) -> None:
    """Wait until nothing is in flight any more, and assert that nothing is held."""
    until = time.monotonic() + 10
    while time.monotonic() < until and (metric(port, "striate_images_in_flight") or metric(port, "striate_held_bytes")):
        time.sleep(0.05)
    assert metric(port, "striate_images_in_flight") == metric(port, "striate_held_bytes") == 0


def lines_of(log: Path, requests: int) -> str:
    """The log once it tells of so many requests: their lines are written after their answers."""
    until = time.monotonic() + 5
    while log.read_text().count('"event": "request"') < requests and time.monotonic() < until:
        time.sleep(0.02)
    return log.read_text()


def test_every_way_of_asking_gets_the_librarys_answer(model, port):
    photo = picture()
    want = load_exported(model).predict(photo)
    asked = [
        ask(port, "/predict", *form(("a.png", photo))),
        ask(port, "/predict", photo, "image/png", Content_Disposition='inline; filename="a.png"'),
        ask(port, "/predict", photo, "application/octet-stream"),
        ask(port, "/predict", as_json(image=in_base64(photo)), "application/json"),
        ask(port, "/predict", as_json(image="data:image/png;base64," + in_base64(photo)), "application/json"),
    ]
    for status, headers, found in asked:
        assert status == 200 and re.fullmatch("[0-9a-f]{16}", headers["x-request-id"])
        assert found["label"] == want.label and found["probability"] == found["top"][0]["probability"]
        assert {one["label"]: one["probability"] for one in found["top"]} == pytest.approx(dict(want.top), abs=1e-6)
    assert [found["file"] for _, _, found in asked] == ["a.png", "a.png", "image", "image", "image"]
    assert len(ask(port, "/predict?top=1", photo, "image/png")[2]["top"]) == 1


def test_a_batch_is_answered_image_by_image_in_its_order(model, port):
    good = [picture(seed=seed) for seed in range(6)]
    want = [p.top for p in load_exported(model).predict(good)]
    status, _, found = ask(
        port, "/predict/batch", *form(*[(f"{i}.png", data) for i, data in enumerate([*good[:3], b"no", *good[3:]])])
    )
    rows = found["predictions"]
    assert status == 200 and [row["file"] for row in rows] == [f"{i}.png" for i in range(7)]
    assert rows[3]["error"]["what"] == "this is not an image of a known format"
    for row, top in zip(rows[:3] + rows[4:], want, strict=True):
        assert {one["label"]: one["probability"] for one in row["top"]} == pytest.approx(dict(top), abs=1e-6)
    texts = [in_base64(good[0]), "?", in_base64(b"")]
    rows = ask(port, "/predict/batch", as_json(images=texts), "application/json")[2]["predictions"]
    assert rows[0]["label"] == want[0][0][0]
    assert [row["error"]["what"] for row in rows[1:]] == ["this is not base64", "the file is empty"]


def awkward() -> dict[str, tuple[bytes, int]]:
    """Files as they are in the world, and the status of their answer."""
    whole = picture(300, 200, kind="JPEG")
    frames = [Image.new("P", (20, 20), k) for k in range(3)]
    animated = io.BytesIO()
    frames[0].save(animated, "GIF", save_all=True, append_images=frames[1:])
    deep = io.BytesIO()
    Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30) * 70).save(deep, "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "jpeg": (whole, 200),
        "turned": (picture(kind="JPEG", exif=exif), 200),
        "cmyk": (picture(kind="JPEG", mode="CMYK"), 200),
        "gray": (picture(mode="L"), 200),
        "one bit": (picture(mode="1"), 200),
        "palette": (picture(mode="P"), 200),
        "transparent": (picture(mode="RGBA"), 200),
        "16 bit": (deep.getvalue(), 200),
        "animated": (animated.getvalue(), 200),
        "webp": (picture(kind="WEBP"), 200),
        "tiff": (picture(kind="TIFF"), 200),
        "bmp": (picture(kind="BMP"), 200),
        "one pixel": (picture(1, 1), 200),
        "long": (picture(20, 900), 200),
        "too long": (picture(2, 900), 422),
        "empty": (b"", 400),
        "text": (b"hello", 422),
        "drawing": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 422),
        "pdf": (b"%PDF-1.7 ...", 422),
        "cut": (whole[: len(whole) // 2], 422),
        "no end": (picture()[:-100], 422),
        "broken": (whole[:200] + bytes(200) + whole[200:300], 422),
        "bomb": (bomb(60_000, 60_000), 422),
        "bomb of 65535": (bomb(65_535, 65_535), 422),
        "less than it says": (bomb(6000, 6000), 422),
        "header only": (b"\x89PNG\r\n\x1a\n", 422),
        "zeros": (bytes(5000), 422),
        "noise": (np.random.default_rng(0).bytes(5000), 422),
    }


def test_every_awkward_file_gets_a_prediction_or_a_clear_refusal(port):
    for name, (data, want) in awkward().items():
        status, _, found = ask(port, "/predict", *form((name, data)))
        if name == "empty":
            want = 422  # an empty file in a form is a file; an empty body is none
        assert status == want, (name, status, found)
        assert found["what"] and found["where"] if status != 200 else found["label"] in CLASSES, (name, found)
    assert ask(port, "/predict", b"", "image/png")[0] == 422


def test_malformed_requests_are_told_what_is_wrong(port):
    photo = picture()
    boundary = "multipart/form-data; boundary=frontier"
    cases = [
        (("/predict", b"x", "text/plain"), 415, "a body of this type is not read"),
        (("/predict", b"x"), 415, "a body of this type is not read"),
        (("/predict/batch", photo, "image/png"), 415, "a body of this type is not read"),
        (("/predict", b"no form", boundary), 400, "the form is malformed"),
        (("/predict", form(("a", photo))[0][:-30], boundary), 400, "the form is malformed"),
        (("/predict", form(("a", photo))[0], "multipart/form-data"), 400, "the form is malformed"),
        (("/predict", b"--frontier--\r\n", boundary), 400, "there is no image in the request"),
        (("/predict", *form(("a", photo), ("b", photo))), 400, "expected one image"),
        (("/predict/batch", *form(*[("a", photo)] * 33)), 422, "too many images in one request"),
        (("/predict/batch", as_json(images=["eA=="] * 33), "application/json"), 422, "too many images in one request"),
        (("/predict", b"{", "application/json"), 400, "the JSON cannot be read"),
        (("/predict", b"\xff\xfe", "application/json"), 400, "the JSON cannot be read"),
        (("/predict", b"[" * 100_000, "application/json"), 400, "the JSON cannot be read"),
        (("/predict", as_json(image=3), "application/json"), 400, "the JSON cannot be read"),
        (("/predict", as_json(image="eA==", more=1), "application/json"), 400, "the JSON cannot be read"),
        (("/predict", as_json(images=["eA=="]), "application/json"), 400, "a request names its images in one field"),
        (("/predict", as_json(), "application/json"), 400, "a request names its images in one field"),
        (("/predict/batch", as_json(images=[]), "application/json"), 400, "there is no image in the request"),
        (("/predict", as_json(image="§§"), "application/json"), 422, "this is not base64"),
        (
            ("/predict", as_json(url="http://8.8.8.8/a.jpg"), "application/json"),
            403,
            "this server does not fetch URLs",
        ),
        (("/predict?top=0", photo, "image/png"), 422, "Input should be greater than or equal to 1"),
        (("/predict?top=x", photo, "image/png"), 422, "Input should be a valid integer"),
        (("/nowhere",), 404, "Not Found"),
        (("/predict",), 405, "Method Not Allowed"),
    ]
    for words, want, what in cases:
        status, _, found = ask(port, *words)
        assert (status, found["what"][: len(what)]) == (want, what), (words[0], words[1:][-1:], found)


def test_uploads_beyond_the_limit_are_refused_whether_or_not_they_say_their_size(port):
    large = bytes(21_000_000)
    status, headers, found = ask(port, "/predict", large, "image/png")
    assert status == 413 and found["what"] == "the request is too large" and headers["connection"] == "close"

    def blocks():
        for _ in range(42):
            yield large[:500_000]

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", "/predict", blocks(), {"Content-Type": "image/png"}, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()
    settled(port)


CHUNKED = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(data: bytes, size: int) -> bytes:
    parts = (data[i : i + size] for i in range(0, len(data), size))
    return CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def test_a_body_in_small_chunks_is_read_and_one_in_endless_tiny_ones_refused(port, line):
    """Each chunk costs as much whatever is in it: 200,000 of one byte held the service up for 3.5 s."""
    photo = picture()
    assert 1000 < len(photo) < 10_000
    line.sendall(chunked(photo, 1))
    answer = line.makefile("rb")
    assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as other:
        other.sendall(chunked(bytes(9_000_000), 300))
        assert other.makefile("rb").readline() == b"HTTP/1.1 422 Unprocessable Entity\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as other:
        other.sendall(chunked(bytes(200_000), 1))
        head, _, body = other.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n") and b"Connection: close" in head
    assert json.loads(body)["what"] == "the body comes in too many small chunks"
    settled(port)


def test_what_is_no_http_is_told_so(line):
    line.sendall(b"hello\r\n\r\n" + bytes(500_000))
    head, _, body = line.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert json.loads(body) == {"where": "request", "what": "this is not an HTTP/1.1 request"}


@pytest.fixture
def line(port):
    """A bare connection to the service."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        yield line


HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"


def test_the_answers_on_one_connection_come_at_once(port):
    """Head and body go out one after the other; Nagle's algorithm would hold the body back for 40 ms."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    seconds = []
    for _ in range(30):
        began = time.perf_counter()
        connection.request("GET", "/health/live")
        assert connection.getresponse().read() == b'{"status":"alive"}'
        seconds.append(time.perf_counter() - began)
    connection.close()
    assert min(seconds) < 0.03  # the least: a busy machine delays some, Nagle every one


def test_slow_clients_are_let_go(model):
    with running(model, Limits(seconds=0.5)) as port:
        photo = picture()
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            line.sendall(HEAD % len(photo) + photo[:10])  # and nothing more
            answer = line.recv(9999)
            assert answer.startswith(b"HTTP/1.1 408") and b"the upload takes too long" in answer + line.recv(9999)
            assert line.recv(9999) == b""
        for part in (b"", b"GET /mod", b"GET /model HTTP/1.1\r\nHost: loc"):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
                line.sendall(part)
                began = time.monotonic()
                assert line.recv(9999) == b"" and time.monotonic() - began < 8  # not the usual 10
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            line.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert line.recv(9999).startswith(b"HTTP/1.1 200")
            line.sendall(b"GET /he")  # half a second request
            while data := line.recv(9999):
                assert b"alive" in data
        settled(port)


def test_a_slow_client_in_time_is_answered(port, line):
    photo = picture()
    request = HEAD % len(photo) + photo
    for i in range(0, len(request), 200):
        line.sendall(request[i : i + 200])
        time.sleep(0.005)
    assert line.recv(9999).startswith(b"HTTP/1.1 200")


def test_clients_that_hang_up_leave_nothing_behind(port):
    photo = picture(900, 900, seed=1)
    for i in range(60):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            sent = HEAD % len(photo) + photo
            line.sendall(sent[: (10, 100, len(sent) // 2, len(sent))[i % 4]])
            if i % 3 == 0:  # a reset, not a farewell
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    settled(port)
    assert ask(port, "/predict", photo, "image/png")[0] == 200


def test_the_sum_of_the_batches_is_the_number_of_images(port):
    settled(port)
    before = {name: metric(port, name) for name in ("striate_batch_images_sum", "striate_decode_seconds_count")}
    assert ask(port, "/predict/batch", *form(*[("a.png", picture(seed=i)) for i in range(13)], field="files"))[0] == 200
    settled(port)
    assert {name: metric(port, name) - number for name, number in before.items()} == dict.fromkeys(before, 13)


def test_what_is_observed_of_a_batch_is_its_size(model):
    """Straight at the batch, for how many images a worker finds ready is chance."""
    seen = []
    batching = Batching(load_exported(model), Limits(), lambda what, value: seen.append((what, value)))
    batching.loop = asyncio.new_event_loop()
    for count in (1, 3, 7):
        batching.compute(
            [QueuedImage(b"", batching.loop.create_future(), pixels=np.zeros((16, 16, 3), np.uint8))] * count
        )
    batching.loop.close()
    assert [value for what, value in seen if what == "batch"] == [1, 3, 7]
    assert all(value > 0 for what, value in seen if what == "compute")


def test_images_whose_client_has_gone_are_not_computed(port):
    settled(port)
    before = metric(port, "striate_batch_images_sum")
    body, kind = form(*[("a.png", picture(1200, 1200, seed=2))] * 30, field="files")
    head = f"POST /predict/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(head.encode() + body)
        until = time.monotonic() + 5
        while metric(port, "striate_images_in_flight") < 20 and time.monotonic() < until:
            pass
    settled(port)
    time.sleep(1)  # in which the workers would decode and compute the others too
    assert metric(port, "striate_batch_images_sum") - before < 12


def test_a_full_queue_says_when_to_ask_again_and_loses_nobody(model):
    with running(model, Limits(queue=4, images=4)) as port, ThreadPoolExecutor(24) as pool:
        photo = picture(1500, 1500)
        answers = list(pool.map(lambda i: ask(port, "/predict", photo, "image/png"), range(120)))
        codes = Counter(status for status, _, _ in answers)
        assert set(codes) == {200, 429} and codes[200] >= 4, codes
        for status, headers, found in answers:
            if status == 429:
                assert int(headers["retry-after"]) >= 1 and found["what"] == "too many images are waiting"
        settled(port)
        assert ask(port, "/predict", photo, "image/png")[0] == 200


def test_uploads_at_once_are_bounded_in_bytes(model):
    with (
        running(model, Limits(held=100_000)) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as line,
    ):
        line.sendall(HEAD % 90_000 + bytes(80_000))  # holds its place
        until = time.monotonic() + 5
        while metric(port, "striate_held_bytes") < 80_000 and time.monotonic() < until:
            time.sleep(0.02)
        status, headers, found = ask(port, "/predict", bytes(30_000), "image/png")
        assert (status, found["what"], headers["retry-after"]) == (429, "too many uploads at once", "1")
        line.close()
        settled(port)
        assert ask(port, "/predict", bytes(30_000), "image/png")[0] == 422


def test_connections_at_once_are_bounded(model):
    with running(model, Limits(connections=5)) as port:
        lines = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(5)]
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            assert line.recv(999).startswith(b"HTTP/1.1 429") and line.recv(999) == b""
        for line in lines:
            line.close()
        time.sleep(0.2)
        assert ask(port, "/health/ready")[0] == 200


def test_hundreds_of_requests_at_once_good_and_bad_are_all_answered_and_memory_stays_flat(model, tmp_path):
    cases = [(*form((name, data)), want) for name, (data, want) in awkward().items() if name != "empty"]
    cases += [(picture(seed=k), "image/png", 200) for k in range(30)]

    def resident(pid: int) -> float:
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024

    with process(model, tmp_path) as (one, port, log):

        def storm(count: int) -> None:
            with ThreadPoolExecutor(40) as pool:
                jobs = [pool.submit(ask, port, "/predict", *cases[i % len(cases)][:2]) for i in range(count)]
            for i, job in enumerate(jobs):
                assert job.result()[0] == cases[i % len(cases)][2], job.result()

        storm(300)
        before = resident(one.pid) if sys.platform == "linux" else 0.0
        storm(900)
        settled(port)
        if sys.platform == "linux":
            assert resident(one.pid) - before < 40, "MiB"
        lines = [json.loads(text) for text in lines_of(log, 1200).splitlines()]
        requests = [row for row in lines if row["event"] == "request" and row["path"] == "/predict"]
        assert len(requests) == 1200
        assert not [row for row in lines if row["level"] == "error"]
        assert max(len(text) for text in log.read_text().splitlines()) < 600


def test_what_is_in_flight_when_the_service_is_stopped_is_finished(model, tmp_path):
    photo = picture()
    with process(model, tmp_path) as (one, port, log):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            line.sendall(HEAD % len(photo) + photo[:100])
            time.sleep(0.2)
            one.send_signal(signal.SIGTERM)
            time.sleep(0.4)
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            line.sendall(photo[100:])
            assert line.recv(9999).startswith(b"HTTP/1.1 200")
        assert one.wait(timeout=10) == 0
        assert json.loads(log.read_text().splitlines()[-1])["event"] == "stopped"


def test_the_log_is_json_and_tells_neither_contents_nor_the_token(model, tmp_path):
    photo = picture()
    with process(model, tmp_path, token=TOKEN) as (_, port, log):
        named = {"Authorization": f"Bearer {TOKEN}", "X_Request_ID": "mine-1"}
        assert ask(port, "/predict", photo, "image/png", **named)[0] == 200
        assert ask(port, "/predict?secret=1", as_json(image=in_base64(photo)), "application/json")[0] == 401
        text = lines_of(log, 2)
    rows = [json.loads(line) for line in text.splitlines()]
    asked = [row for row in rows if row["event"] == "request"]
    assert asked[0] | {"time": "", "seconds": 0} == {
        "time": "",
        "level": "info",
        "event": "request",
        "id": "mine-1",
        "client": "127.0.0.1",
        "method": "POST",
        "path": "/predict",
        "status": 200,
        "seconds": 0,
        "bytes": len(photo),
        "images": 1,
    }
    assert asked[1]["status"] == 401
    for secret in (TOKEN, "secret=1", in_base64(photo)[:40], str(model.parent)):
        assert secret not in text


def test_with_a_token_only_its_bearer_is_answered(model):
    with running(model, access=Access(token=TOKEN)) as port:
        for path in ("/model", "/metrics", "/nowhere", "/predict"):
            for given in ({}, {"Authorization": "Bearer wrong-wrong"}, {"Authorization": f"Basic {TOKEN}"}):
                status, headers, found = ask(port, path, **given)
                assert status == 401 and headers["www-authenticate"] == "Bearer" and found["what"]
        assert ask(port, "/model", Authorization=f"Bearer {TOKEN}")[0] == 200
        assert ask(port, "/predict", picture(), "image/png", Authorization=f"bearer {TOKEN}")[0] == 200
        for path in ("/", "/docs", "/openapi.json", "/health/live", "/health/ready"):
            assert ask(port, path)[0] == 200
    for weak in ("short", "with spaces in it", "ünïcödë-token"):
        with pytest.raises(StriateError, match="a token is"):
            Access(token=weak)


def test_other_names_and_other_pages_are_refused(port):
    for host in ("localhost", "127.0.0.1", f"localhost:{port}", "[::1]:80", "LOCALHOST"):
        assert ask(port, "/model", Host=host)[0] == 200, host
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ""):
        assert ask(port, "/model", Host=host)[0] == 400, host
    photo = picture()
    own = f"http://127.0.0.1:{port}"
    assert ask(port, "/predict", photo, "image/png", Origin=own)[0] == 200
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{port + 1}"):
        status, headers, _ = ask(port, "/predict", photo, "image/png", Origin=origin)
        assert status == 403 and not [name for name in headers if name.startswith("access-control")]
    assert ask(port, "/predict", method="OPTIONS", Origin=own)[0] == 405


def test_a_request_without_a_host_is_served_on_this_machine_alone(model):
    """HTTP/1.0 has no such header; no browser leaves it out."""

    def asked(port: int, head: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
            line.sendall(b"GET /model HTTP/" + head + b"\r\n")
            return line.makefile("rb").readline()

    with running(model) as port:
        assert asked(port, b"1.0\r\n") == b"HTTP/1.1 200 OK\r\n"
        assert asked(port, b"1.0\r\nHost: evil.example\r\n") == b"HTTP/1.1 400 Bad Request\r\n"
        assert asked(port, b"1.0\r\nHost:\r\n") == b"HTTP/1.1 400 Bad Request\r\n"
        assert asked(port, b"1.0\r\nOrigin: http://evil.example\r\n") == b"HTTP/1.1 403 Forbidden\r\n"
        assert asked(port, b"1.1\r\n") == b"HTTP/1.1 400 Bad Request\r\n"
    with running(model, access=Access(hosts=("photos.example",))) as port:
        assert asked(port, b"1.0\r\n") == b"HTTP/1.1 400 Bad Request\r\n"


def test_addresses_are_fetched_only_where_allowed_and_never_from_the_own_network(model):
    with running(model, access=Access(allow_urls=True)) as port:
        own = f"http://127.0.0.1:{port}/model"
        for url in (own, "http://localhost/a.jpg", "http://169.254.169.254/latest/meta-data", "http://[::1]/a.jpg"):
            status, _, found = ask(port, "/predict", as_json(url=url), "application/json")
            assert status == 422 and ("not on the public internet" in found["what"] or "port" in found["what"]), found
        rows = ask(port, "/predict/batch", as_json(urls=[own, "file:///etc/passwd"]), "application/json")[2][
            "predictions"
        ]
        assert [row["error"]["what"][:12] for row in rows] == ["this port is", "this is not "]


def test_the_service_says_what_it_serves(port):
    found = ask(port, "/model")[2]
    assert found["classes"] == list(CLASSES) and found["licence"] == "CC BY 4.0" and found["precision"] == "float32"
    assert found["preprocess"]["fit"] == "crop 20" and found["limits"]["pixels"] == 50_000_000
    assert ask(port, "/health/live")[2] == {"status": "alive"}
    assert ask(port, "/health/ready")[2] == {"status": "ready"}
    photo = picture()
    before = metric(port, 'striate_requests_total{path="/predict",status="200"}')
    images = metric(port, 'striate_images_total{outcome="answered"}')
    for _ in range(3):
        ask(port, "/predict", photo, "image/png")
    assert metric(port, 'striate_requests_total{path="/predict",status="200"}') == before + 3
    assert metric(port, 'striate_images_total{outcome="answered"}') == images + 3
    api = ask(port, "/openapi.json")[2]
    own = {path for path in api["paths"] if not path.startswith("/v2")}
    assert own == {"/predict", "/predict/batch", "/model", "/health/live", "/health/ready", "/metrics"}
    named = {"/v2/models/{name}" + version for version in ("", "/versions/{version}")}
    protocol = {
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        *(n + end for n in named for end in ("", "/ready", "/infer")),
    }
    assert set(api["paths"]) - own == protocol
    kinds = set(api["paths"]["/predict"]["post"]["requestBody"]["content"])
    assert kinds == {"multipart/form-data", "image/*", "application/octet-stream", "application/json"}


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_the_pages_load_nothing_from_elsewhere_and_allow_only_their_own_scripts(port, path):
    _, headers, html = ask(port, path)
    text, policy = html.decode(), headers["content-security-policy"]
    assert not re.search(r"(?:src|href|url\()\s*=?\s*[\"']?(?:https?:)?//", text)
    assert policy.startswith("default-src 'none'; ")
    for tag in ("script", "style"):
        for content in re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.search(r"\son\w+=|style=", text)  # a policy by hashes would not let these run
    assert headers["x-content-type-options"] == "nosniff"


def test_a_port_that_is_taken_and_limits_that_cannot_be_are_errors(port):
    with (
        pytest.raises(StriateError, match="cannot listen there: Address already in use"),
        open_socket("127.0.0.1", port),
    ):
        pass
    with pytest.raises(StriateError, match="a limit is above 0"):
        Limits(queue=0)
    with pytest.raises(StriateError, match="a full request would never be accepted"):
        Limits(queue=4)


def test_the_bench_of_the_service_asks_and_is_answered(model, tmp_path):
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(tmp_path / "a.png")
    bench = Path(__file__).parent.parent / "bench" / "load.py"
    words = [str(model), str(tmp_path), "--requests", "8", "--clients", "2", "--json"]
    done = subprocess.run([sys.executable, str(bench), *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["statuses"] == {"200": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run's folder, as far as serving looks at it."""
    net = Net((1, 12, 9), [L.Conv(4, 3), L.ReLU(), L.Flatten(), L.Dense(3)], name="small")
    folder = tmp_path_factory.mktemp("runs") / "shapes-1"
    folder.mkdir()
    header = ModelHeader(net=net, classes=CLASSES, preprocess=Preprocess((12, 9), "pad", (0.5,), (0.25,)))
    save_model(folder / "model.safetensors", header, tensors_for(net, seed=4))
    return folder


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_a_run_is_exported_compared_and_served(run, name, tmp_path):
    with process(run / name, tmp_path) as (_, port, log):
        exported, serving = map(json.loads, log.read_text().splitlines()[:2])
        found = ask(port, "/predict", picture(), "image/png")[2]
    assert exported["event"] == "exported" and exported["model"] == str(run / name) and exported["images"] == 16
    assert exported["difference"] < 1e-4 and exported["equal"] == 1 and serving["event"] == "serving"
    want = load_model(run).predict(picture())
    assert found["label"] == want.label and found["probability"] == pytest.approx(want.probability, abs=1e-4)
    assert [file.name for file in run.iterdir()] == ["model.safetensors"]


def test_an_image_that_cannot_be_computed_takes_no_other_images_answer(tmp_path):
    """White overflows where black does not; both come in one batch."""
    net = Net((1, 4, 4), [L.Flatten(), L.Dense(2), L.ReLU(), L.Dense(3)], name="small")
    tensors = {key: tensor * 0 for key, tensor in tensors_for(net).items()}
    tensors["dense1.weight"] += np.float32(1e38)
    tensors["dense2.weight"] += np.float32([[1], [2], [3]])
    write_exported(net, tensors, CLASSES, Preprocess((4, 4), "squash", (0.0,), (1.0,)), tmp_path / "m.onnx")
    batching = Batching(load_exported(tmp_path / "m.onnx"), Limits())
    black, white = (np.full((4, 4, 1), level, np.uint8) for level in (0, 255))
    first, other, last = batching.rows([black, white, black])
    assert np.allclose(first, 1 / 3) and np.allclose(last, 1 / 3)
    assert isinstance(other, StriateError) and "not a number" in other.what


def test_serving_loads_neither_torch_nor_onnx(model):
    program = f"""
import sys
from striate.serve.batching import Batching  # noqa: E402
from striate.serve.server import make_server
from striate.serve.settings import Access, Limits
make_server({str(model)!r}, "127.0.0.1", 0, Limits(), Access())
print([name for name in ("torch", "onnx", "sklearn") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_what_schemathesis_makes_of_the_description_is_answered_as_described(model):
    """Not asked: that all bytes which fit the description be accepted, for most are no image."""
    pytest.importorskip("schemathesis")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    checks += "response_schema_conformance,negative_data_rejection,unsupported_method"
    with running(model) as port:
        words = [str(Path(sys.executable).with_name("schemathesis")), "run", f"http://127.0.0.1:{port}/openapi.json"]
        words += ["--checks", checks, "--max-examples", "60", "--seed", "1", "--phases", "examples,coverage,fuzzing"]
        done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"COLUMNS": "120"})
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
