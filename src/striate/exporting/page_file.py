"""A model as a page that anyone can open, and the page's own answers for the comparison with the model."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import atomic_file
from ..browser.giveaway_page import render_files
from ..browser.joining import join_modules
from ..browser.payload import make_payload
from ..errors import ModelError
from ..language import say
from ..model.model import Model
from ..run_files import RunFiles


class WrittenPage(NamedTuple):
    """What stands in the page, for its own answers, and how its weights are kept."""

    payload: dict[str, Any]
    precision: str


def write_page_file(
    model: Model, folder: Path, *, installable: bool = False, weights: str | None = None, licence: str | None = None
) -> WrittenPage:
    """Write the page to give away into `folder`, as index.html.

    installable  with what a browser needs beside it to keep it as an app: then it must come from a server
    Raises NetError or ModelError where a page cannot hold the model.
    """
    payload = make_payload(model, weights, make_page_card(model, licence))
    for name, text in render_files(payload, installable).items():
        atomic_file.write_file(folder / name, text)
    kinds = {entry["kind"] for entry in payload["tensors"]}
    return WrittenPage(payload, next(kind for kind in ("int8", "float16", "float32") if kind in kinds))


def make_page_card(model: Model, licence: str | None) -> dict[str, Any]:
    """What the page says of the model: of a run, what its report says."""
    card: dict[str, Any] = {} if licence is None else {"licence": licence}
    files = RunFiles(model.path.parent) if model.path is not None else None
    if files is None or not files.report.is_file():
        return card
    report = json.loads(files.report.read_text(encoding="utf-8"))
    made = datetime.fromtimestamp(files.report.stat().st_mtime, UTC).date().isoformat()
    said = {"accuracy": report["accuracy"], "interval": report["accuracy_interval"], "images": report["images"]}
    return card | said | {"split": report.get("split", "test"), "date": made}


def has_node() -> bool:
    return shutil.which("node") is not None


class PageAnswers:
    """The page's engine under node: the same script, the same payload."""

    def __init__(self, payload: dict[str, Any]) -> None:
        self.folder = tempfile.TemporaryDirectory()
        script = Path(self.folder.name) / "answers.cjs"
        script.write_text(join_modules("page_answers.js"), encoding="utf-8")
        self.process = subprocess.Popen(
            ["node", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.ask(payload)

    def ask(self, given: dict[str, Any]) -> list[float]:
        assert self.process.stdin and self.process.stdout and self.process.stderr
        try:
            self.process.stdin.write(json.dumps(given) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            why = (self.process.stderr.read().strip().splitlines() or [say("it ended")])[-1]
            raise ModelError("page", say("the page's engine stopped under node: {why}", why=why))
        return json.loads(line)

    def answer(self, image: NDArray, sized: bool) -> NDArray:
        """Probabilities 1×K of an image uint8 H×W×C, at the net's size or any."""
        pixels = image if sized else add_opaque(image)
        data = base64.b64encode(np.ascontiguousarray(pixels).tobytes()).decode()
        found = self.ask({"sized": sized, "height": image.shape[0], "width": image.shape[1], "data": data})
        return np.array([found])

    def ways(self) -> tuple[Callable[[NDArray], NDArray], Callable[[NDArray], NDArray]]:
        """For images N×h×w×C at the net's size, and for one of any size."""
        return (
            lambda x: np.concatenate([self.answer(image, True) for image in x]),
            lambda image: self.answer(image, False),
        )

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.folder.cleanup()


def add_opaque(image: NDArray) -> NDArray:
    """Gray or RGB as a browser has it: red, green, blue and an alpha of 255."""
    rgb = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    return np.concatenate([rgb, np.full((*rgb.shape[:2], 1), 255, np.uint8)], axis=2)
