"""What the studio answers: each function asks the library and gives plain JSON data."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..arch import zoo
from ..arch.draw import draw
from ..arch.summary import summarise
from ..arch.tables import as_html
from ..arch.text import parse
from ..data.audit import audit
from ..data.decode import read
from ..data.images import Images
from ..data.listing import Entry
from ..data.sources import listed
from ..errors import DataError, ModelError
from ..evaluate import pictures
from ..evaluate.charts import reliability_chart
from ..evaluate.metrics import most_confident_mistakes, score
from ..inside import lesion
from ..inside.attribution import attribute, overlay
from ..inside.trace import place
from ..ship.model import Model
from . import runs
from .look import Lens, Look, as_dict

LOOKS = 12
"""So many images with all their maps are kept, the last ones asked for."""

KEPT = 40
"""So many models, sets of test images, audits and the like are kept."""

CELL, MISTAKES, THUMBNAIL, SHOWN_FILES = 60, 24, 160, 12


@dataclass
class Studio:
    """What is kept between questions: models, their test images and answers, looks, audits."""

    given: list[Path]
    kept: OrderedDict[tuple, Any] = field(default_factory=OrderedDict)
    looks: OrderedDict[str, Look] = field(default_factory=OrderedDict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    making: dict[tuple, threading.RLock] = field(default_factory=dict)  # type: ignore[valid-type]
    number: int = 0

    def once(self, key: tuple, make: Callable[[], Any]) -> Any:
        """What `make` gives, made once for `key`; two questions at a time do not make it twice, nor wait for others."""
        with self.lock:
            own = self.making.setdefault(key, threading.RLock())
        with own:
            with self.lock:
                if key in self.kept:
                    return self.kept[key]
            made = make()
            with self.lock:
                self.kept[key] = made
                while len(self.kept) > KEPT:
                    old, _ = self.kept.popitem(last=False)
                    self.making.pop(old, None)
            return made

    # Runs and their training

    def folder(self, run: str) -> runs.Folder:
        """The run of this name. Raises ModelError."""
        found = next((item for item in runs.folders(self.given) if item.name == run), None)
        if found is None:
            raise ModelError(run, "there is no such run here")
        return found

    def runs(self) -> list[dict[str, Any]]:
        return [item.as_dict(time.time()) for item in runs.folders(self.given)]

    def version(self, run: str) -> tuple[str, int]:
        """The run and when its model was written: a run that goes on writes a better one."""
        file = self.folder(run).path / "model.safetensors"
        return run, file.stat().st_mtime_ns if file.exists() else 0

    def model(self, run: str) -> Model:
        return self.once(("model", *self.version(run)), self.folder(run).model)

    def lens(self, run: str) -> Lens:
        return self.once(("lens", *self.version(run)), lambda: Lens(self.model(run)))

    # Results

    def images(self, run: str) -> Images:
        """The images that the run is measured on: the split that training held back."""
        folder = self.folder(run)
        data = folder.recipe.get("data")
        if data is None:
            raise DataError(run, "this run does not say what it was trained on")
        return self.once(("images", run), lambda: self.model(run).images(data))

    def answers(self, run: str) -> np.ndarray:
        return self.once(("answers", *self.version(run)), lambda: self.model(run).probabilities(self.images(run).x))

    def results(self, run: str) -> dict[str, Any]:
        """The report on those images, its calibration chart, and the most confident mistakes."""
        model, images, p = self.model(run), self.images(run), self.answers(run)
        report = score(p, images.y, model.classes)
        mistakes = most_confident_mistakes(p, images.y, MISTAKES)
        worst = [c._asdict() for c in report.confusions(10)]
        return report.as_dict() | {
            "calibration": reliability_chart(report.bins),
            "mistakes": [self.shown(run, m.index) for m in mistakes],
            "frequent": worst,
        }

    def cell(self, run: str, truth: int, predicted: int) -> list[dict[str, Any]]:
        """The images of one class that were taken for one, the most confident first."""
        images, p = self.images(run), self.answers(run)
        found = np.flatnonzero((images.y == truth) & (p.argmax(1) == predicted))
        found = found[np.argsort(-p[found, predicted], kind="stable")]
        return [self.shown(run, int(i)) for i in found[:CELL]]

    def shown(self, run: str, index: int) -> dict[str, Any]:
        images, p = self.images(run), self.answers(run)
        return {
            "index": index,
            "src": pictures.data_uri(pictures.fitted(images.x[index], THUMBNAIL)),
            "file": images.files[index],
            "truth": int(images.y[index]),
            "predicted": int(p[index].argmax()),
            "probability": float(p[index].max()),
        }

    # Inside

    def look(self, run: str, image: Any, name: str) -> dict[str, Any]:
        """Send an image through the run's model, and keep it for the traces."""
        made = self.lens(run).look(image, name)
        with self.lock:
            self.number += 1
            key = str(self.number)
            self.looks[key] = made
            while len(self.looks) > LOOKS:
                self.looks.popitem(last=False)
        return as_dict(made) | {"id": key}

    def test_image(self, run: str, index: int) -> dict[str, Any]:
        """A look at one of the images that the run is measured on; they begin again after the last."""
        images = self.images(run)
        index %= len(images)
        truth = images.classes[images.y[index]]
        seen = self.look(run, images.x[index], f"{images.files[index]}: {truth}")
        return seen | {"index": index, "images": len(images)}

    def kept_look(self, key: str) -> Look:
        if key not in self.looks:
            raise DataError("look", "this image is no longer kept", hint="open it again")
        return self.looks[key]

    def attribution(self, key: str, target: int, method: str) -> dict[str, Any]:
        """Which pixels speak for a class."""
        given = self.kept_look(key)
        found = attribute(given.model.net, given.model.tensors, given.scene.maps["image"], target, method)
        side = max(1, 220 // max(given.picture.shape[:2]))
        drawn = pictures.enlarge(overlay(found, given.picture), side)
        return {"target": target, "method": method, "src": pictures.data_uri(drawn)}

    def lesion(self, key: str, path: str, channel: int) -> dict[str, Any]:
        """The class probabilities of the image once a channel of a layer's map is put to zero. Raises TraceError."""
        given = self.kept_look(key)
        shape = place(given.net, path, (channel, *(0 for _ in given.net.at(path).y[1:])))
        halves = given.lens.halves(path)
        cut = lesion.without(given.scene.maps[path][None], channel)
        [[probabilities]] = lesion.run(halves[1], {"image": given.scene.maps["image"][None], "map": cut})
        return {"path": path, "channel": channel, "channels": shape[0], "probabilities": probabilities.tolist()}

    # Architecture

    def net(self, text: str) -> dict[str, Any]:
        """The account of a net's text. Raises NetError or ShapeError."""
        net = parse(text)
        summary = summarise(net)
        return {"svg": draw(net), "table": as_html(summary), "title": summary.title, "summary": summary.as_dict()}

    def text_of(self, run: str | None, name: str | None) -> dict[str, Any]:
        """The text of a run's net, or of a zoo net."""
        return {"text": repr(zoo.build(name) if name else self.model(run or "").net)}

    def zoo(self) -> list[str]:
        return list(zoo.NAMES)

    # Data

    def source(self, run: str) -> Any:
        data = self.folder(run).recipe.get("data")
        if data is None:
            raise DataError(run, "this run does not say what it was trained on")
        return data

    def audit(self, run: str) -> dict[str, Any]:
        data = self.source(run)
        found = self.once(("audit", data), lambda: audit(data))
        return found.as_dict() | {"pictures": bool(self.entries(data))}

    def entries(self, data: Any) -> dict[str, Entry]:
        """The files of a folder or table by the names that the audit gives them."""

        def make() -> dict[str, Entry]:
            listing = listed(data)
            return {} if listing is None else {entry.file: entry for entry in listing.entries}

        return self.once(("entries", data), make)

    def thumbnail(self, run: str, file: str) -> bytes:
        """A file of the data set as a small PNG. Raises DataError for another file, or one that is no image."""
        entry = self.entries(self.source(run)).get(file)
        if entry is None:
            raise DataError(file, "the data set has no such file")
        return pictures.png(read(entry.path, (THUMBNAIL, THUMBNAIL), "crop", 3))
