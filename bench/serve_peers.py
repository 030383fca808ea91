"""The service beside LitServe: the same exported file, the same preparation, the same requests, in one run.

    python -m venv /tmp/peer && /tmp/peer/bin/pip install litserve onnxruntime pillow msgspec safetensors platformdirs
    python bench/serve_peers.py model.onnx photos/ --peer /tmp/peer/bin/python

LitServe (Apache-2.0) has an environment of its own; striate is imported there from src/ to decode, resize and compute,
so that what differs is the server. It gets a worker process a core, as striate has a thread a core, without batches and
with batches of four. Each request is JSON with a photo in base64, which both take. They are asked in turn, several
rounds; the medians are printed. Client and server share the cores, and on a machine that others use too what can be
compared is the CPU time of an answer. Memory is that of all processes of a server: RSS counts what they share once for
each of them, PSS once in all.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import platform
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from load import load, service

SOURCE = Path(__file__).parent.parent / "src"
TICKS = os.sysconf("SC_CLK_TCK")
PEER = """
import base64, sys
import litserve
import numpy as np
from striate.model.exported import load_exported

class Classifier(litserve.LitAPI):
    def setup(self, device):
        self.model = load_exported(sys.argv[1])

    def decode_request(self, request):
        return self.model.prepared(base64.b64decode(request["image"]))

    def predict(self, x):
        return self.model.at_once(x[None])

    def encode_response(self, output):
        p = np.ravel(output)
        return {"label": self.model.classes[p.argmax()], "probability": float(p.max())}

class Batched(Classifier):
    def batch(self, inputs):
        return np.stack(inputs)

    def predict(self, x):
        return self.model.at_once(x)

    def unbatch(self, output):
        return list(output)

if __name__ == "__main__":
    cores, batch, port = map(int, sys.argv[2:])
    api = Classifier() if batch == 1 else Batched(max_batch_size=batch)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=cores)
    server.run(host="127.0.0.1", port=port, log_level="warning", generate_client_file=False)
"""


class Served(NamedTuple):
    """What a server reached: answers a second, milliseconds, CPU milliseconds an answer, MiB, processes."""

    a_second: float
    p50: float
    p99: float
    busy: float
    rss: float
    pss: float
    processes: float


@contextmanager
def serve_striate(model: str) -> Iterator[tuple[int, int]]:
    with service(model, []) as (one, port):
        yield one.pid, port


@contextmanager
def serve_peer(python: str, model: str, cores: int, batch: int, folder: Path) -> Iterator[tuple[int, int]]:
    """LitServe in processes of its own: the first one's number, and the port."""
    program = folder / "peer.py"
    program.write_text(PEER)
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    words = [python, str(program), model, str(cores), str(batch), str(port)]
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    one = subprocess.Popen(words, env=environment, stdout=sys.stderr)
    try:
        until = time.monotonic() + 120
        while not is_healthy(port):
            if one.poll() is not None or time.monotonic() > until:
                raise SystemExit("LitServe did not start")
            time.sleep(0.2)
        yield one.pid, port
    finally:
        pids = list_processes(one.pid)
        one.terminate()
        time.sleep(2)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        one.wait()


def is_healthy(port: int) -> bool:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        line.request("GET", "/health")
        return line.getresponse().status == 200
    except OSError:
        return False
    finally:
        line.close()


def list_processes(first: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rsplit(")", 1)[1].split()
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [first]
    for pid in found:
        found += parents.get(pid, [])
    return found


def read_memory(pids: list[int]) -> tuple[float, float]:
    """MiB of processes: RSS and PSS."""
    sums = {"Rss": 0.0, "Pss": 0.0}
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        for name in sums:
            sums[name] += int(re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)[1]) / 1024  # type: ignore[index]
    return sums["Rss"], sums["Pss"]


def read_busy(pids: list[int]) -> float:
    """Seconds of CPU of processes."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split() for pid in pids]
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / TICKS


def measure(place: tuple[int, int], bodies: list[bytes], requests: int, clients: int) -> Served:
    first, port = place
    load(port, bodies, 4 * clients, clients, "application/json")
    pids = list_processes(first)
    before = read_busy(pids)
    found, seconds = load(port, bodies, requests, clients, "application/json")
    busy, memory = read_busy(pids) - before, read_memory(pids)
    times = sorted(one.seconds for one in found if one.status == 200)
    if len(times) < requests:
        raise SystemExit(f"{requests - len(times)} of {requests} requests were not answered")
    spots = [1000 * times[min(len(times) - 1, len(times) * share // 100)] for share in (50, 99)]
    return Served(len(times) / seconds, spots[0], spots[1], 1000 * busy / len(times), *memory, len(pids))


def main() -> None:
    import tempfile

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="an exported .onnx file")
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--peer", required=True, help="the Python in which litserve is installed")
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    files = sorted(given.photos.rglob("*.jp*g"))[:200]
    bodies = [json.dumps({"image": base64.b64encode(file.read_bytes()).decode()}).encode() for file in files]
    cores, model = os.cpu_count() or 1, str(Path(given.model).resolve())
    found: dict[str, list[Served]] = {"striate": [], "LitServe": [], "LitServe, batches of 4": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(given.rounds):
            for name, rows in found.items():
                batch = 4 if "batches" in name else 1
                peer = serve_peer(given.peer, model, cores, batch, Path(folder))
                with serve_striate(model) if name == "striate" else peer as place:
                    rows.append(measure(place, bodies, given.requests, given.clients))
    middle = {name: Served(*map(statistics.median, zip(*rows, strict=True))) for name, rows in found.items()}
    print(f"{cores} cores, Python {platform.python_version()}, {given.clients} clients, {len(files)} photos")
    print(f"{'':26}" + "".join(f"{name:>11}" for name in Served._fields))
    for name, row in middle.items():
        print(f"{name:26}" + "".join(f"{value:11,.1f}" for value in row))
    for name, row in list(middle.items())[1:]:
        ratios = [theirs / ours for theirs, ours in zip(row, middle["striate"], strict=True)]
        print(f"{name + ', ×':26}" + "".join(f"{ratio:11.2f}" for ratio in ratios))


if __name__ == "__main__":
    main()
