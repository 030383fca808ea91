"""A service on a port of this machine, in a thread of this process, and one question to it."""

import base64
import http.client
import json
import threading
import time
from contextlib import contextmanager

import pytest


@contextmanager
def running_service(model, limits=None, access=None):
    """The port of the service of a run folder or an exported file, in a thread, stopped at the end.

    Skips the test where the extra is missing.
    """
    pytest.importorskip("fastapi", reason="the extra striate[serve] is not installed")
    from striate.serve.server import make_server, open_socket
    from striate.serve.settings import Access, Limits, list_usual_hosts

    with open_socket("127.0.0.1", 0) as place:
        one = make_server(
            model, "127.0.0.1", 0, limits or Limits(), access or Access(hosts=list_usual_hosts("127.0.0.1"))
        )
        thread = threading.Thread(target=one.run, kwargs={"sockets": [place]})
        thread.start()
        until = time.monotonic() + 20
        while not one.started and thread.is_alive() and time.monotonic() < until:
            time.sleep(0.01)
        try:
            yield place.getsockname()[1]
        finally:
            one.should_exit = True
            thread.join()


def ask_service(port: int, picture: bytes | None = None):
    """The answer to a picture, or without one what the service says of its model."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    if picture is None:
        line.request("GET", "/model")
    else:
        line.request("POST", "/predict", picture, {"Content-Type": "image/png"})
    answer = line.getresponse()
    found = json.loads(answer.read())
    assert answer.status == 200, found
    line.close()
    return found


def infer_picture(port: int, name: str, picture: bytes):
    """The outputs of the open inference protocol v2 for a picture, by name: shape and values."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    files = {"name": "files", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(picture).decode()]}
    line.request("POST", f"/v2/models/{name}/infer", json.dumps({"inputs": [files]}))
    answer = line.getresponse()
    found = json.loads(answer.read())
    assert answer.status == 200, found
    line.request("GET", f"/v2/models/{name}")
    stated = {one["name"]: one["datatype"] for one in json.loads(line.getresponse().read())["outputs"]}
    line.close()
    assert {one["name"]: one["datatype"] for one in found["outputs"]} == stated
    return {one["name"]: (one["shape"], one["data"]) for one in found["outputs"]}
