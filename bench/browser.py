"""The browser's engine beside onnxruntime-web, in Chromium, one thread each, in the same run.

    python bench/browser.py                          # the four networks of the table
    python bench/browser.py --nets lenet5 --runs 40
    python bench/browser.py --ort FOLDER             # an npm folder that has onnxruntime-web already

For each network both are opened in a fresh page from a server on this machine: "first answer" is from the first import
to the first logits, the runtime's and the network's files included; "an image" the median and the least of further
passes after 0.3 s of them, both taken in turn, and then the processor time of a pass, which other work on the machine
changes least: the ratio is of those; "apart" how far the logits differ, of the largest. A second table has what the
engine takes, in one worker, from the image to the map of what speaks for a class; occlusion covers it square by square.
onnxruntime-web is installed by npm into a temporary folder. Needs Linux, npm, playwright and chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from browser_workers import read_threads

from striate import browser
from striate.architecture import zoo
from striate.architecture.net import Net
from striate.architecture.text import to_json
from striate.engines import onnx, plain

ORT = "onnxruntime-web@1.30.0"
NETS: dict[str, tuple[int, int, int] | None] = {
    "lenet5": None,
    "striate_m": (3, 32, 32),
    "efficientnet_lite0": None,
    "resnet18": None,
}
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")

PAGE = """<!doctype html><meta charset="utf-8"><title>bench</title><script>
const files = async (name) => (await fetch(name)).arrayBuffer();
async function readNet() {
  const { net, tensors } = await (await fetch("/net.json")).json();
  const numbers = await files("/net.bin");
  const named = tensors.map(([name, shape, offset, length]) =>
    [name, { shape, data: new Float32Array(numbers, offset, length) }]);
  return { net, tensors: new Map(named) };
}
async function openOurs(kind) {
  const { openNetwork } = await import("/engine/network.js");
  const { net, tensors } = await readNet();
  const network = openNetwork(net, tensors, { plain: kind === "plain" });
  return async (x) => network.forward(x, { keep: "last" }).output;
}
async function openOrt(shape) {
  const ort = await import("/ort.wasm.min.mjs");
  ort.env.wasm.numThreads = 1;
  const session = await ort.InferenceSession.create(await files("/net.onnx"), { executionProviders: ["wasm"] });
  return async (x) => (await session.run({ image: new ort.Tensor("float32", x, shape) })).y.data;
}
async function measure(kind, shape, x, runs) {
  x = new Float32Array(x);
  const began = performance.now();
  const look = await (kind === "ort" ? openOrt(shape) : openOurs(kind));
  const logits = [...(await look(x))];
  const first = performance.now() - began;
  const warm = performance.now();
  let passes = 0;
  while (performance.now() - warm < 300) passes += (await look(x)) && 1;
  const several = Math.ceil(passes / 60); // the browser's clock steps by 0.1 ms: a sample lasts 5 ms or more
  const times = [];
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    for (let k = 0; k < several; k++) await look(x);
    times.push((performance.now() - start) / several);
  }
  window.once = () => look(x);
  return { first, times, logits };
}
async function openEvidence(name, x) {
  const { openEngine } = await import("/engine/engine.js");
  const engine = await openEngine(await readNet(), { url: "/engine/worker.js", workers: 1 });
  const image = new Float32Array(x);
  window.once = () => engine[name](image, { label: 0 });
  await engine.saliency(image, { label: 0 });
}
async function repeat(milliseconds) {
  const times = [];
  for (const start = performance.now(); performance.now() - start < milliseconds; ) {
    const began = performance.now();
    await once();
    times.push(performance.now() - began);
  }
  return times;
}
</script>"""

# So long, in milliseconds, passes are repeated for their processor time.
REPEATED = 2000

# What speaks for a class: the engine's name of each, and the table's.
EVIDENCE = {"saliency": "saliency", "cam": "Grad-CAM", "occlude": "occlusion"}


def write_net(net: Net, folder: Path) -> list[float]:
    """The network for both engines, with fresh weights, and an image for them."""
    tensors = plain.draw_tensors(net)
    listed, offset = [], 0
    for name, tensor in tensors.items():
        listed.append((name, tensor.shape, offset, tensor.size))
        offset += 4 * tensor.size
    (folder / "net.json").write_text(json.dumps({"net": to_json(net), "tensors": listed}), encoding="utf-8")
    (folder / "net.bin").write_bytes(b"".join(np.ascontiguousarray(t, np.float32).tobytes() for t in tensors.values()))
    (folder / "net.onnx").write_bytes(onnx.build_graph(net, tensors).SerializeToString())
    return np.random.default_rng(0).standard_normal(net.input).astype(np.float32).ravel().tolist()


def read_processor() -> str:
    """Its name, and how many cores."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.is_file() else None
    return f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores"


class Handler(SimpleHTTPRequestHandler):
    extensions_map = {**SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript", ".wasm": "application/wasm"}

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the table alone is printed."""


def fill_folder(folder: Path, ort: Path | None) -> None:
    """The page, the engine and onnxruntime-web in one folder."""
    if ort is None:
        ort = folder / "npm"
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(ort), ORT]
        subprocess.run(command, check=True)
    for name in FILES:
        shutil.copy(ort / "node_modules" / "onnxruntime-web" / "dist" / name, folder)
    shutil.copytree(Path(browser.__file__).parent / "engine", folder / "engine")
    (folder / "index.html").write_text(PAGE, encoding="utf-8")


def measure_net(name: str, chromium: Any, address: str, folder: Path, runs: int, rounds: int) -> dict[str, Any]:
    net = zoo.build(name, **({"input": NETS[name]} if NETS.get(name) else {}))
    x = write_net(net, folder)
    made: dict[str, Any] = {kind: {"first": [], "times": [], "processor": []} for kind in ("wasm", "plain", "ort")}
    for _ in range(rounds):
        for kind, found in made.items():
            page = chromium.new_page()
            page.goto(address)
            shape = [1, *net.input]
            count = max(2, runs // 5) if kind == "plain" else runs
            got = page.evaluate("([k, s, x, r]) => measure(k, s, x, r)", [kind, shape, x, count])
            found["processor"].append(time_processor(page)[0])
            page.close()
            found["first"].append(got["first"])
            found["times"] += got["times"]
            found["logits"] = np.array(got["logits"])
    return made


def time_processor(page: Any) -> tuple[float, list[float]]:
    """Milliseconds of the busiest thread's processor time that a pass takes, and those that passed for each."""
    before = read_threads()
    times = page.evaluate("(milliseconds) => repeat(milliseconds)", REPEATED)
    spent = max(now - before.get(thread, 0) for thread, now in read_threads().items())
    return 1000 * spent / len(times), times


def measure_evidence(name: str, chromium: Any, address: str, folder: Path) -> str:
    """A row: milliseconds of each, the median, the least, and of the processor."""
    net = zoo.build(name, **({"input": NETS[name]} if NETS.get(name) else {}))
    x = write_net(net, folder)
    cells = []
    for each in EVIDENCE:
        page = chromium.new_page()
        page.goto(address)
        page.evaluate("([name, x]) => openEvidence(name, x)", [each, x])
        processor, times = time_processor(page)
        cells.append(f"{format_times(times)}, {processor:.3g}")
        page.close()
    return f"| {name} | {' | '.join(cells)} |"


def format_row(name: str, made: dict[str, Any]) -> str:
    ours, plain_ones, theirs = (made[kind] for kind in ("wasm", "plain", "ort"))
    own, other, slow = (min(made[kind]["processor"]) for kind in ("wasm", "ort", "plain"))
    first, second = min(ours["first"]), min(theirs["first"])
    apart = np.abs(ours["logits"] - theirs["logits"]).max() / np.abs(theirs["logits"]).max()
    return (
        f"| {name} | {format_times(ours['times'])}, {own:.3g} | {format_times(theirs['times'])}, {other:.3g} "
        f"| {own / other:.2f} | {format_times(plain_ones['times'])}, {slow:.3g} | {first:.0f} | {second:.0f} "
        f"| {first / second:.2f} | {apart:.0e} |"
    )


def format_times(times: list[float]) -> str:
    return f"{statistics.median(times):.3g} ({min(times):.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--ort", type=Path)
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as started:
        folder = Path(name)
        fill_folder(folder, given.ort)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chromium = started.chromium.launch(executable_path=found, args=["--headless", "--no-sandbox", "--disable-gpu"])
        print(f"{read_processor()}, Chromium {chromium.version}, {ORT}; milliseconds: median (least), processor's\n")
        print("| net | an image | onnxruntime-web | ratio | plain JavaScript | first answer | its | ratio | apart |")
        print("|---|---|---|---|---|---|---|---|---|")
        nets, address = given.nets.split(","), f"http://127.0.0.1:{server.server_address[1]}/"
        for net in nets:
            print(format_row(net, measure_net(net, chromium, address, folder, given.runs, given.rounds)), flush=True)
        print(f"\n| net | {' | '.join(EVIDENCE.values())} |\n|---|---|---|---|")
        for net in nets:
            print(measure_evidence(net, chromium, address, folder), flush=True)
        chromium.close()
        server.shutdown()


if __name__ == "__main__":
    main()
