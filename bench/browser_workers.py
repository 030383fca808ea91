"""What several workers save in the pages: many pictures at once, and an occlusion map, with one worker and with two.

    python bench/browser_workers.py
    python bench/browser_workers.py --rounds 9 --workers 1,2,4

Figures are medians over fresh pages from their files in Chromium, taken in turn for every number of workers.
Pictures: from the moment that 24 photographs of 640×480 are given to a page to give away until the last is answered.
Occlusion: from the choice in the living page until the map lies over the image. The answers of all numbers of workers
are compared. A page has as many workers as the browser says cores, which it is made to say here. The second figure is
the processor time of the browser's busiest thread: what it takes at least where every worker has a core of its own, on
a machine that has other work too. The weights are random. Needs Linux, playwright and chromium.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import striate
from striate.architecture import zoo
from striate.engines import plain
from striate.studio.living_page import write_living_page

PICTURES = 24
MOST_SECONDS = 300


def make_model(name: str) -> striate.Model:
    net = zoo.build(name)
    channels, height, width = net.input
    prepared = striate.Preprocess((height, width), "pad", (0.5,) * channels, (0.25,) * channels)
    return striate.Model(
        net, plain.draw_tensors(net), classes=[str(k) for k in range(net.classes)], preprocess=prepared
    )


def draw_photographs(folder: Path) -> list[str]:
    """JPEGs of soft colours, each its own."""
    draw, files = np.random.default_rng(0), []
    for k in range(PICTURES):
        levels = draw.integers(0, 256, (6, 8, 3), np.uint8)
        files.append(str(folder / f"{k}.jpg"))
        Image.fromarray(levels).resize((640, 480), Image.Resampling.BICUBIC).save(files[-1])
    return files


def open_page(chromium: Any, file: Path, workers: int) -> Any:
    page = chromium.new_page()
    page.add_init_script(f"Object.defineProperty(navigator, 'hardwareConcurrency', {{ get: () => {workers} }})")
    page.goto(file.as_uri())
    page.wait_for_selector("body[data-state=ready]", timeout=60_000)
    return page


def wait_for(page: Any, expression: str) -> float:
    """Seconds until an expression is true."""
    began = time.perf_counter()
    while not page.evaluate(expression):
        if time.perf_counter() - began > MOST_SECONDS:
            raise TimeoutError(expression)
        page.wait_for_timeout(5)
    return time.perf_counter() - began


def time_pictures(page: Any, files: list[str]) -> tuple[float, str]:
    began = time.perf_counter()
    page.set_input_files("#files", files)
    wait_for(page, f"document.querySelectorAll('#rows tr').length === {len(files)}")
    return time.perf_counter() - began, page.inner_text("#rows")


def time_occlusion(page: Any) -> tuple[float, str]:
    began = time.perf_counter()
    page.select_option("[data-choice=overlay]", "occlusion")
    wait_for(page, "Boolean(living.overlay())")
    return time.perf_counter() - began, page.evaluate("living.overlay().data.join()")


def read_threads() -> dict[str, float]:
    """Processor seconds of every thread of the processes that come of this one, the browser's among them."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(place.parent.name)] = int(place.read_text().rpartition(")")[2].split()[1])
    found = {}
    for process in parents:
        if os.getpid() in list_ancestors(process, parents):
            for place in Path(f"/proc/{process}/task").glob("*/stat"):
                with suppress(OSError):
                    spent = place.read_text().rpartition(")")[2].split()[11:13]
                    found[str(place)] = sum(map(int, spent)) / os.sysconf("SC_CLK_TCK")
    return found


def list_ancestors(process: int, parents: dict[int, int]) -> list[int]:
    return [process, *list_ancestors(parents[process], parents)] if process in parents else []


def measure(chromium: Any, file: Path, counts: list[int], rounds: int, work: Callable[[Any], tuple[float, str]]) -> str:
    """The cells of a row: with each number of workers the seconds that passed, and those of the busiest thread."""
    passed: dict[int, list[float]] = {count: [] for count in counts}
    busiest: dict[int, list[float]] = {count: [] for count in counts}
    said = set()
    for _ in range(rounds):
        for count in counts:
            page = open_page(chromium, file, count)
            before = read_threads()
            took, answers = work(page)
            passed[count].append(took)
            busiest[count].append(max(spent - before.get(thread, 0) for thread, spent in read_threads().items()))
            said.add(answers)
            page.close()
    assert len(said) == 1, "the answers differ"
    cells = (f"{statistics.median(passed[k]):.3g}, {statistics.median(busiest[k]):.3g}" for k in counts)
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    counts = [int(count) for count in given.workers.split(",")]
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as started:
        folder = Path(name)
        files, page = draw_photographs(folder), folder / "page.html"
        chromium = started.chromium.launch(executable_path=found, args=["--headless", "--no-sandbox", "--disable-gpu"])
        print(f"{platform.machine()}, {os.cpu_count()} cores, Chromium {chromium.version}; medians of seconds\n")
        print("| work | " + " | ".join(f"workers: {count}" for count in counts) + " | load |")
        print("|---|" + "---:|" * (len(counts) + 1))
        for net in ("lenet5", "efficientnet_lite0"):
            striate.export(make_model(net), page)
            row = measure(chromium, page, counts, given.rounds, lambda one: time_pictures(one, files))
            print(f"| {net}, {PICTURES} pictures | {row} | {os.getloadavg()[0]:.1f} |", flush=True)
        model = make_model("resnet18")
        write_living_page(model, page, np.asarray(Image.open(files[0]).resize(model.preprocess.size)))
        row = measure(chromium, page, counts, given.rounds, time_occlusion)
        print(f"| resnet18, occlusion | {row} | {os.getloadavg()[0]:.1f} |")
        chromium.close()


if __name__ == "__main__":
    main()
