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

from ..architecture import zoo
from ..browser.joining import list_korean_texts
from ..browser.payload import count_numbers, describe_network, join_weights
from ..data.check.audit import Audit, audit_data
from ..data.images import Images
from ..data.read.bands import show_bands
from ..data.read.decode import decode_to_show
from ..data.read.resize import resize_pillow
from ..data.reading import Reading, drop_corrections, restore_reading
from ..data.sources.arrays import load_arrays
from ..data.sources.load import list_source
from ..errors import DataError, ModelError, NetError
from ..language import find_language, render_all, say
from ..metrics.classification import Report, find_mistakes, score_probabilities
from ..metrics.hard_images import find_hard_images
from ..metrics.meanings import MEANINGS
from ..metrics.verdict import Verdict, judge_report, restore_verdict
from ..model.model import Model
from ..report import pictures
from ..report.charts import draw_reliability
from ..summaries.summary import summarise_net
from .jobs import TrainingJobs
from .living_page import add_softmax
from .look import Lens
from .recent import Looks
from .runs import RunFolder, list_run_folders
from .unsure import describe_unsure, find_unsure, judge_unseen

# So many models, sets of test images, audits and the like are kept.
KEPT_ANSWERS = 40

# A network whose float32 weights take more bytes than this is computed by the server alone.
MOST_WEIGHT_BYTES = 64 << 20

SHIFT_CELL, LISTED_MISTAKES, THUMBNAIL_PIXELS, SAMPLES_A_CLASS, MOST_SHIFTS = 60, 24, 160, 8, 16


@dataclass
class Studio:
    """What is kept between questions: models, their test images and answers, looks, audits, and trainings under way.

    sizes     parameters and MACs of each run's net; progress  of the measurement under way, (done, of all)
    unlabelled  the pictures that were suggested for each run; said  of which kinds what was said since is
    """

    given: list[Path]
    kept: OrderedDict[tuple, Any] = field(default_factory=OrderedDict)
    looks: Looks = field(default_factory=Looks)
    jobs: TrainingJobs = field(default_factory=TrainingJobs)
    sizes: dict[tuple, dict[str, int]] = field(default_factory=dict)
    progress: dict[str, tuple[int, int]] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    making: dict[tuple, threading.RLock] = field(default_factory=dict)  # type: ignore[valid-type]
    unlabelled: dict[str, set[str]] = field(default_factory=dict)
    said: dict[str, list[str]] = field(default_factory=dict)

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
                while len(self.kept) > KEPT_ANSWERS:
                    old, _ = self.kept.popitem(last=False)
                    self.making.pop(old, None)
            return made

    # Runs and their training

    def folders(self) -> list[RunFolder]:
        """The runs given, or all under runs/, and those that were started from the page."""
        found = list_run_folders(self.given)
        names = {item.name for item in found}
        return [*found, *(RunFolder(path) for path in self.jobs.folders if path.name not in names)]

    def folder(self, run: str) -> RunFolder:
        """The run of this name. Raises ModelError."""
        found = next((item for item in self.folders() if item.name == run), None)
        if found is None:
            raise ModelError(run, say("there is no such run here"))
        return found

    def runs(self) -> list[dict[str, Any]]:
        """A line a run: what its folder tells, its net's size, and how the training fares that was started here."""
        lines = []
        for item in self.folders():
            line = item.as_dict(time.time()) | self.size(item) | {"own": False, "said": ""}
            job = self.jobs.started.get(item.name)
            line |= {} if job is None else job.as_dict()
            lines.append(line)
        return lines

    def size(self, folder: RunFolder) -> dict[str, int]:
        """Parameters and MACs of a run's net, once its first model is written."""
        file = folder.files.settings
        key = (folder.path, file.stat().st_mtime_ns if file.exists() else 0)
        if key not in self.sizes and folder.has_model:
            summary = summarise_net(folder.header().net)
            self.sizes[key] = {"params": summary.params, "macs": summary.macs}
        return self.sizes.get(key, {})

    def version(self, run: str) -> tuple[str, int]:
        """The run and when its model was written: a run that goes on writes a better one."""
        file = self.folder(run).files.model
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
            raise DataError(run, say("this run does not say what it was trained on"))
        return self.once(("images", run), lambda: self.model(run).measured(data))

    def judged(self, run: str) -> np.ndarray:
        """What the model says of these images: see `model.prediction.judge_images`."""
        return self.once(("answers", *self.version(run)), lambda: judge_unseen(self.model(run), self.images(run)))

    def answers(self, run: str) -> np.ndarray:
        """The probabilities alone."""
        return self.judged(run)[:, : len(self.model(run).classes)]

    def results(self, run: str) -> dict[str, Any]:
        """The report on those images, its calibration chart, and the most confident mistakes."""
        model, images, p = self.model(run), self.images(run), self.answers(run)
        report = score_probabilities(p, images.y, model.classes)
        mistakes = find_mistakes(p, images.y, LISTED_MISTAKES)
        worst = [c._asdict() for c in report.confusions(10)]
        verdict = self.verdict(run, report)
        return report.as_dict() | {
            "told": verdict.tell(),
            "advice": verdict.tell_advice(),
            "meanings": {name: say(text) for name, text in MEANINGS.items()},
            "calibration": draw_reliability(report.bins),
            "abstention": describe_unsure(model, self.judged(run), images.y),
            "mistakes": [self.shown(run, m.index) for m in mistakes],
            "frequent": worst,
        }

    def verdict(self, run: str, report: Report) -> Verdict:
        """The one that the run's report begins with; of a run without one what can be said of `report` alone."""
        kept = self.folder(run).report or {}
        if kept.get("verdict"):
            return restore_verdict(kept["verdict"])
        images, p = self.images(run), self.answers(run)
        hard = find_hard_images(images.x, p.argmax(1) == images.y)
        return judge_report(report, kept.get("split", "valid"), hard=hard)

    def cell(self, run: str, truth: int, predicted: int) -> list[dict[str, Any]]:
        """The images of one class that were taken for one, the most confident first."""
        images, p = self.images(run), self.answers(run)
        found = np.flatnonzero((images.y == truth) & (p.argmax(1) == predicted))
        found = found[np.argsort(-p[found, predicted], kind="stable")]
        return [self.shown(run, int(i)) for i in found[:SHIFT_CELL]]

    def shown(self, run: str, index: int) -> dict[str, Any]:
        images, p = self.images(run), self.answers(run)
        return {
            "index": index,
            "src": pictures.encode_data_uri(pictures.reduce_picture(show_bands(images.x[index]), THUMBNAIL_PIXELS)),
            "file": images.files[index],
            "truth": int(images.y[index]),
            "predicted": int(p[index].argmax()),
            "probability": float(p[index].max()),
            "unsure": bool(find_unsure(self.model(run), self.judged(run)[index : index + 1])[0]),
        }

    def invariance(self, run: str, count: int, shifts: int) -> dict[str, Any]:
        """What shifts, turns, scalings and flips of the images do to the answers. Raises DataError."""
        if not (count >= 1 and 0 <= shifts <= MOST_SHIFTS):
            rule = say("one image or more, and shifts of 0 to {most} pixels", most=MOST_SHIFTS)
            raise DataError(
                "invariance",
                say("there is nothing to measure"),
                got=say("{count} images, {shifts} px", count=count, shifts=shifts),
                rule=rule,
            )

        def made() -> dict[str, Any]:
            def told(done: int, of_all: int) -> None:
                self.progress[run] = done, of_all

            try:
                found = self.model(run).invariance(self.images(run), count, shifts=shifts, progress=told)
            finally:
                self.progress.pop(run, None)
            return found.as_dict()

        return self.once(("invariance", *self.version(run), count, shifts), made)

    # Inside

    def look(self, run: str, image: Any, name: str) -> dict[str, Any]:
        """Send an image through the run's model, and keep it for the questions about it."""
        return self.looks.add(self.lens(run).look(image, name), packed=False)

    def test_image(self, run: str, index: int) -> dict[str, Any]:
        """A look at one of the images that the run is measured on; they begin again after the last."""
        images = self.images(run)
        index %= len(images)
        truth = images.classes[images.y[index]]
        seen = self.look(run, images.x[index], f"{images.files[index]}: {truth}")
        return seen | {"index": index, "images": len(images)}

    def network(self, run: str) -> dict[str, Any]:
        """The run's network as the page's own engine opens it, or under "refused" why it cannot. See `weights`."""

        def made() -> dict[str, Any]:
            count = 4 * count_numbers(self.model(run))
            if count > MOST_WEIGHT_BYTES:
                mebibytes, most = count >> 20, MOST_WEIGHT_BYTES >> 20
                return {"refused": say("the weights are {mebibytes} MiB, and a page takes {most} MiB at most",
                                       mebibytes=mebibytes, most=most)}  # fmt: skip
            try:
                network = describe_network(add_softmax(self.lens(run)))
                return network | {"version": str(self.version(run)[1]), "korean": list_korean_texts()}
            except (NetError, ModelError) as e:
                return {"refused": e.what}

        return self.once(("network", *self.version(run)), made)

    def weights(self, run: str) -> bytes:
        """The tensors of `network`, in its order."""
        return join_weights(self.model(run))

    # Architecture

    def text_of(self, run: str | None, name: str | None) -> dict[str, Any]:
        """The text of a run's net, or of a zoo net."""
        return {"text": repr(zoo.build(name) if name else self.model(run or "").net)}

    def zoo(self) -> list[str]:
        return list(zoo.NAMES)

    # Data

    def source(self, run: str) -> Any:
        data = self.folder(run).recipe.get("data")
        if data is None:
            raise DataError(run, say("this run does not say what it was trained on"))
        return data

    def reading(self, run: str) -> Reading:
        """How the run's data set is read, with the labels that it has."""
        return drop_corrections(restore_reading(self.folder(run).recipe))

    def audited(self, run: str) -> Audit:
        """The account of the run's data."""
        data, reading = self.source(run), self.reading(run)
        return self.once(("audit", data, reading), lambda: audit_data(data, reading=reading))

    def audit(self, run: str) -> dict[str, Any]:
        """The same, and for each class the names of a few of its images."""
        found = self.audited(run)
        samples: dict[str, list[str]] = {name: [] for name in found.classes}
        for file, (label, _) in self.pictures(run).items():
            if len(samples.setdefault(label, [])) < SAMPLES_A_CLASS:
                samples[label].append(file)
        findings = [finding._replace(kind=say(finding.kind))._asdict() for finding in found.findings]
        return found.as_dict() | {"samples": samples, "findings": render_all(findings, find_language())}

    def pictures(self, run: str) -> dict[str, tuple[str, Any]]:
        """For each image, by the name that the audit gives it, its class, and its file, or the array and its row."""
        data, reading = self.source(run), self.reading(run)

        def made() -> dict[str, tuple[str, Any]]:
            listing = list_source(data, reading)
            if listing is not None:
                return {entry.file: (entry.label, entry.path) for entry in listing.entries}
            return {
                file: (images.classes[images.y[row]], (images.x, row))
                for images in load_arrays(data).parts.values()
                for row, file in enumerate(images.files)
            }

        return self.once(("pictures", data, reading), made)

    def thumbnail(self, run: str, file: str) -> bytes:
        """An image of the data set as a small PNG. Raises DataError for another name, or a file that is no image."""
        _, found = self.pictures(run).get(file, (None, None))
        if file in self.unlabelled.get(run, ()):
            found = Path(file)
        if found is None:
            raise DataError(file, say("the data set has no such image"))
        side = (THUMBNAIL_PIXELS, THUMBNAIL_PIXELS)
        if isinstance(found, tuple):
            x, row = found
            return pictures.encode_png(pictures.reduce_picture(show_bands(x[row]), THUMBNAIL_PIXELS))
        return pictures.encode_png(resize_pillow(decode_to_show(found, side, "crop"), side, "crop"))
