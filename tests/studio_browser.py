"""What the tests of the studio share: a server of runs, a browser, and the check of a panel's numbers."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from striate.inside.trace_format import format_short

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()


@contextmanager
def served(runs: list[Path]) -> Iterator[str]:
    """The address of a studio of these run folders, or of those under runs/; it ends as the command does."""
    import uvicorn

    from striate.studio.server import make_app

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        config = uvicorn.Config(make_app(runs, "token", port), log_level="warning", ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}/token/"
        server.should_exit = True
        thread.join()


@contextmanager
def browser() -> Iterator[Any]:
    """Chromium, or the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@contextmanager
def watched(chromium: Any) -> Iterator[Any]:
    """A page of 1280×800, and that nothing went wrong on its console but what the library refused."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB", reduced_motion="reduce")
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.set_default_timeout(15_000)
    opened.wrong = wrong
    yield opened
    context.close()
    assert not [text for text in wrong if "status of 422" not in text]


def until(page: Any, expression: str, seconds: float = 15.0) -> None:
    """Wait for a JavaScript expression to be true (Playwright's own way of it is forbidden by the page's policy)."""
    ends = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < ends, expression
        page.wait_for_timeout(20)


def ask(
    home: str, question: str, headers: dict[str, str] | None = None, body: bytes | None = None
) -> tuple[int, bytes]:
    """The status and the body of an answer."""
    request = urllib.request.Request(home + question, body, headers or {})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as e:
        with e:
            return e.code, e.read()


def numbers(page: Any, root: str) -> dict[str, Any]:
    """What the panel shows, with every sum opened."""
    return page.evaluate(
        f"""() => {{
            const root = {root};
            root.querySelectorAll(".panel details").forEach((item) => {{
                item.open = true;
                item.dispatchEvent(new Event("toggle"));
            }});
            root.querySelectorAll(".panel .list .quiet-button").forEach((item) => item.click());
            const texts = (root, selector) => [...root.querySelectorAll(selector)].map((item) => item.textContent);
            return {{
                address: root.querySelector(".panel h3").firstChild.textContent,
                value: root.querySelector(".panel .value").textContent,
                rule: root.querySelector(".panel .rule").textContent,
                groups: texts(root, ".panel .group:not(.total) > .number, .panel .group > summary .number"),
                grids: [...root.querySelectorAll(".panel .grids")].map((item) =>
                    [...item.querySelectorAll(".cells")].map((cells) => texts(cells, ".cell"))),
                steps: texts(root, ".panel .steps td:nth-child(2)"),
            }};
        }}"""
    )


def check_panel(page: Any, trace: Any, root: str = "document") -> None:
    """The panel's numbers are those of the library's trace, to the digit shown."""
    until(page, f"{root}.querySelector('.panel h3')?.firstChild.textContent === {json.dumps(trace.address)}")
    got = numbers(page, root)
    assert (got["value"], got["rule"]) == (trace.shown, trace.rule)
    assert got["groups"] == [group.shown for group in trace.groups]
    grids = [group for group in trace.groups if len(group.grid) == 2 and len(group.terms) > 1]
    for group, cells in zip(grids, got["grids"], strict=True):
        weighted = any(term.weight is not None for term in group.terms)
        seen = ["·" if t.at is None else format_short(t.x) if weighted else t.shown for t in group.terms]
        expected = (
            [seen, [format_short(t.weight) for t in group.terms], [t.shown for t in group.terms]]
            if weighted
            else [seen]
        )
        if group.grid[1] <= 7:
            assert cells == expected
    assert got["steps"] == [step.text for step in trace.steps]
