"""The service under load, on loopback: times of answers, images a second, refusals, and memory before and after.

    python bench/load.py model.onnx photos/                    # 2,000 requests, 32 clients
    python bench/load.py model.onnx photos/ --requests 5000 --clients 200 --json

It starts the service on a free port, warms it up, asks with so many clients at once, each on a connection that it keeps
alive, and stops it. The clients take turns with the files of the folder; every answer that is neither 200 nor 4xx is
printed. Needs `striate[serve]`; of the client nothing but the standard library. Client and service share the cores.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

RAW = "application/octet-stream"


class Asked(NamedTuple):
    status: int
    seconds: float


@contextmanager
def service(model: str, words: list[str]):
    """A service in a process of its own: its process and its port."""
    program = "import sys; from striate.serve.server import serve_model; from striate.serve.settings import Limits; "
    program += "limits = Limits(**{k: int(v) for k, v in (w.split('=') for w in sys.argv[2:])}); "
    program += "serve_model(sys.argv[1], port=0, limits=limits)"
    command = [sys.executable, "-c", program, model, *words]
    one = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert one.stderr is not None
    try:
        first = one.stderr.readline()
        if not first.startswith("{"):
            raise SystemExit(first + one.stderr.read())
        port = int(json.loads(first)["address"].rsplit(":", 1)[1])
        with ThreadPoolExecutor(1) as reader:  # the log must be read, or the service stops at a full pipe
            reader.submit(lambda: [None for _ in one.stderr or ()])
            yield one, port
            one.send_signal(signal.SIGTERM)
            one.wait()
    finally:
        one.kill()


def ask(line: http.client.HTTPConnection, method: str, path: str, body: bytes | None, kind: str = RAW) -> int:
    """The status of a request on a connection, which is opened again where it was closed; 0 where none came."""
    try:
        line.request(method, path, body, {"Content-Type": kind} if body else {})
        answer = line.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        line.close()
        return 0


def load(port: int, photos: list[bytes], requests: int, clients: int, kind: str = RAW) -> tuple[list[Asked], float]:
    """What each request got, and the seconds for all.

    photos  bodies of the requests, which are of this kind
    """
    number = count()

    def client(_: int) -> list[Asked]:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        found = []
        while (k := next(number)) < requests:
            began = time.perf_counter()
            status = ask(line, "POST", "/predict?top=1", photos[k % len(photos)], kind)
            found.append(Asked(status, time.perf_counter() - began))
        line.close()
        return found

    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        found = [one for part in pool.map(client, range(clients)) for one in part]
    return found, time.perf_counter() - began


def resident(pid: int) -> float:
    """MiB of a process (Linux)."""
    try:
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024  # type: ignore[index]
    except OSError:
        return float("nan")


def measured(model: str, folder: Path, requests: int, clients: int, limits: list[str]) -> dict[str, Any]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    if not files:
        raise SystemExit(f"{folder}: no photos")
    photos = [path.read_bytes() for path in files[:500]]
    with service(model, limits) as (one, port):
        load(port, photos, min(requests, 10 * clients), clients)
        before = resident(one.pid)
        found, seconds = load(port, photos, requests, clients)
        after = resident(one.pid)
    times = sorted(row.seconds for row in found if row.status == 200)
    spot = {f"p{share}_ms": 1000 * times[min(len(times) - 1, len(times) * share // 100)] for share in (50, 90, 99)}
    return {
        "requests": requests,
        "clients": clients,
        "photos": len(photos),
        "statuses": dict(sorted(Counter(row.status for row in found).items())),
        "answers_per_second": len(times) / seconds,
        **(spot if times else {}),
        "slowest_ms": 1000 * times[-1] if times else float("nan"),
        "memory_before_MiB": before,
        "memory_after_MiB": after,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="an exported .onnx file")
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--limit", action="append", default=[], metavar="NAME=N", help="such as queue=64, batch=1")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measured(options.model, options.photos, options.requests, options.clients, options.limit)
    if options.json:
        print(json.dumps(found))
        return
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {Path(options.model).name}")
    for name, value in found.items():
        print(f"{name:<20}{value:,.1f}" if isinstance(value, float) else f"{name:<20}{value}")


if __name__ == "__main__":
    main()
