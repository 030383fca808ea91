"""Nets with tensors and images in a folder, run by the browser's engine under node, and its answers read back."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from striate import browser
from striate.architecture.net import Net
from striate.architecture.text import to_json

ENGINE = Path(browser.__file__).parent / "engine"
HERE = Path(__file__).parent


class Case(NamedTuple):
    """One net, its tensors, an image C×H×W, and the channels to be put to zero by layer."""

    net: Net
    tensors: dict[str, np.ndarray]
    x: np.ndarray
    zero: dict[str, list[int]] = {}  # noqa: RUF012


class Answer(NamedTuple):
    """What the engine gave: every map by its path, the shapes that it foretold, the outputs of passes that keep all
    maps, none, none again, and every second one, and how far those differ from the same of all.
    """

    kernel: str
    maps: dict[str, np.ndarray]
    outputs: list[np.ndarray]
    shapes: dict[str, tuple[int, ...]]
    kept: dict[str, float]


def pack_cases(cases: Iterable[Case]) -> tuple[list[dict[str, Any]], bytes]:
    """The cases as JSON data, and all their numbers as float32."""
    listed, parts, offset = [], [], 0

    def put(array: np.ndarray) -> int:
        nonlocal offset
        parts.append(np.ascontiguousarray(array, np.float32).tobytes())
        offset += len(parts[-1])
        return offset - len(parts[-1])

    for net, tensors, x, zero in cases:
        named = [{"name": name, "shape": a.shape, "offset": put(a)} for name, a in tensors.items()]
        listed.append({"net": to_json(net), "tensors": named, "x": put(x), "zero": zero})
    return listed, b"".join(parts)


def read_answers(listed: list[dict[str, Any]], values: np.ndarray) -> Iterator[Answer]:
    place = 0

    def take(length: int) -> np.ndarray:
        nonlocal place
        place += length
        return values[place - length : place]

    for item in listed:
        maps = {m["path"]: take(m["length"]).reshape(m["shape"]) for m in item["maps"]}
        outputs = [take(length) for length in (item["output"], *item["others"])]
        kept = {m["path"]: m["apart"] for m in item["kept"]}
        assert list(kept) == item["paths"]
        yield Answer(item["kernel"], maps, outputs, {path: tuple(shape) for path, shape in item["shapes"]}, kept)


def run_under_node(cases: Iterable[Case], folder: Path, kind: str) -> list[Answer]:
    """The engine's answers, by node in one process; skips where there is no node. kind: "wasm" or "plain"."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine: apt-get install nodejs")
    listed, numbers = pack_cases(cases)
    (folder / "nets.json").write_text(json.dumps(listed), encoding="utf-8")
    (folder / "nets.bin").write_bytes(numbers)
    script = str(HERE / "run_engine.mjs")
    done = subprocess.run([node, script, str(ENGINE), str(folder), kind], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    made = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
    return list(read_answers(made, np.frombuffer((folder / f"{kind}.bin").read_bytes(), np.float32)))
