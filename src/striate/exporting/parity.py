"""Whether an exported file answers as the model that it was made from: measured side by side, and held to bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import ModelError
from ..formats import openvino_file
from ..formats.onnx_file import Card
from ..formats.saturation import EightBitProof
from ..language import say, to_say
from ..metrics.numbers import format_percent
from ..model.exported import add_frame, load_exported
from ..model.model import Model
from ..terminal import measure_width, pad_left, pad_right

OWN_MISTAKE = to_say("with --int8: more images of every class in --data; otherwise this is a bug in striate")


class Bound(NamedTuple):
    """What a file may differ by from the model: the largest difference of two probabilities, the least share (0 to 1)
    of equal predictions. One image may always be predicted otherwise, so that a handful of images can be judged too.
    """

    difference: float
    equal: float

    def broken(self, column: ParityColumn, images: int) -> bool:
        other = round((1 - column.equal) * images)
        return column.difference > self.difference or other > max(1, int((1 - self.equal) * images + 1e-9))

    def __str__(self) -> str:
        if self.difference >= 1:
            return say("{equal:.0%} of predictions equal", equal=self.equal)
        return say(
            "probabilities within {difference:g}, {equal:.0%} of predictions equal",
            difference=self.difference, equal=self.equal,
        )  # fmt: skip


# For each precision, on images at the net's size and on files at their own, where the graph resizes by itself.
BOUNDS = {
    "float32": (Bound(0.001, 0.99), Bound(0.02, 0.99)),
    "float16": (Bound(0.02, 0.99), Bound(0.04, 0.99)),
    "int8": (Bound(1.0, 0.95), Bound(1.0, 0.95)),
}


class AnswerWay(NamedTuple):
    """One way from images to probabilities N×K: the model in an engine, or an exported file.

    name       what the report calls it
    precision  of its numbers, a key of BOUNDS
    sized      takes uint8 N×h×w×C at the net's size
    whole      takes one image uint8 H×W×C of any size, and gives 1×K
    """

    name: str
    precision: str
    sized: Callable[[np.ndarray], np.ndarray]
    whole: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ParityColumn:
    """A way's answers beside those of the first way: `difference` is the largest one between two probabilities,
    `equal` the share (0 to 1) of images with the same most probable class; `accuracy` from 0 to 1."""

    name: str
    precision: str
    difference: float
    equal: float
    accuracy: float


@dataclass(frozen=True)
class SideBySide:
    """The ways side by side on so many images; the first column is the model that the others are held to."""

    images: int
    columns: tuple[ParityColumn, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.images, "columns": [dict(vars(column)) for column in self.columns]}


@dataclass(frozen=True)
class Parity:
    """An export's report: its ways on images at the net's size, and on the same files decoded at their own size, where

    the exported file resizes by itself and the model as in training. `own` is None for data that are no files;
    `products` is what an 8-bit file was proven to hold on every processor, None for floats; `caution` is what is known
    to go wrong with the file elsewhere, or was not compared.
    """

    sized: SideBySide
    own: SideBySide | None = None
    products: EightBitProof | None = None
    caution: str | None = None

    def broken(self) -> list[str]:
        """What breaks its bound, a sentence each."""
        found = []
        for place, (title, part) in enumerate(self.parts()):
            for column in part.columns[1:]:
                bound = BOUNDS[column.precision][place]
                if bound.broken(column, part.images):
                    found.append(
                        say(
                            "{title}: {name} {equal} equal, off by up to {difference:.2g}; allowed: {bound}",
                            title=title,
                            name=column.name,
                            equal=format_percent(column.equal),
                            difference=column.difference,
                            bound=bound,
                        )  # fmt: skip
                    )
        return found

    def held(self, hint: str = OWN_MISTAKE) -> Parity:
        """The same. Raises ModelError where a bound is broken, with the `hint`."""
        if found := self.broken():
            what = say("the exported file's predictions differ from the model's")
            raise ModelError("export", what, got="; ".join(found), hint=say(hint))
        return self

    def parts(self) -> list[tuple[str, SideBySide]]:
        both = [(say("images at the net's size"), self.sized), (say("files at their own size"), self.own)]
        return [(title, part) for title, part in both if part is not None]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        used = {column.precision for column in self.sized.columns[1:]}
        return {
            "reference": self.sized.columns[0].name,
            "sized": self.sized.as_dict(),
            "own": None if self.own is None else self.own.as_dict(),
            "products": None if self.products is None else self.products._asdict(),
            "caution": self.caution,
            "bounds": {
                name: {"sized": sized._asdict(), "own": own._asdict()}
                for name, (sized, own) in BOUNDS.items()
                if name in used
            },
        }

    def __str__(self) -> str:
        first, *others = (column.name for column in self.sized.columns)
        rows = [("", first, *others)]
        for title, part in self.parts():
            reference, *rest = part.columns
            rows.append((say("{count} {title}", count=part.images, title=title), *[""] * len(part.columns)))
            rows.append(("  " + say("accuracy"), *(format_percent(column.accuracy) for column in part.columns)))
            rows.append(
                (
                    "  " + say("same prediction as {first}", first=first),
                    "",
                    *(format_percent(column.equal) for column in rest),
                )
            )
            rows.append(("  " + say("largest difference of a probability"), "", *(f"{c.difference:.7f}" for c in rest)))
        lead = max(measure_width(row[0]) for row in rows)
        widths = [max(measure_width(row[k]) for row in rows) for k in range(1, len(rows[0]))]
        lines = [f"{pad_right(row[0], lead)}  {'  '.join(map(pad_left, row[1:], widths))}".rstrip() for row in rows]
        lines += [] if self.caution is None else [say(self.caution)]
        lines += [] if self.products is None else [str(self.products)]
        return "\n".join(lines)


def compare_answers(ways: Sequence[AnswerWay], answers: Sequence[np.ndarray], labels: np.ndarray) -> SideBySide:
    """The answers, N×K each, side by side. Raises ModelError where there is nothing to compare."""
    reference = answers[0]
    if not len(reference) or any(p.shape != reference.shape for p in answers):
        got = ", ".join(str(p.shape) for p in answers)
        raise ModelError(
            "parity", say("these probabilities cannot be compared"), got=got, rule=say("one row per image")
        )
    for way, p in zip(ways, answers, strict=True):
        if not np.isfinite(p).all():
            raise ModelError("export", say("the answers are not numbers"), got=say("NaN from {name}", name=way.name))
    predicted = reference.argmax(1)
    columns = (
        ParityColumn(
            way.name,
            way.precision,
            float(np.abs(p - reference).max()),
            float((p.argmax(1) == predicted).mean()),
            float((p.argmax(1) == labels).mean()),
        )
        for way, p in zip(ways, answers, strict=True)
    )
    return SideBySide(len(reference), tuple(columns))


def measure_parity(
    ways: Sequence[AnswerWay], x: np.ndarray, labels: np.ndarray, files: Iterable[np.ndarray] | None = None
) -> Parity:
    """Compare `ways`, the model first, on images x, uint8 N×h×w×C at the net's size, with their labels.

    files  the same images at their own size, uint8 H×W×C, read one after the other; None where there are no files
    Raises ModelError where there is nothing to compare.
    """
    sized = compare_answers(ways, [way.sized(x) for way in ways], labels)
    if files is None:
        return Parity(sized)
    rows = [[way.whole(image) for way in ways] for image in files]
    return Parity(sized, compare_answers(ways, [np.concatenate(column) for column in zip(*rows, strict=True)], labels))


# Images that torch or OpenVINO computes together.
AT_ONCE = 16


def make_model_way(model: Model) -> AnswerWay:
    """The model in torch, or, where torch is not installed, in striate's own ONNX graph of it, which predicts."""
    if find_spec("torch") is None:
        name, answer = "model (no torch)", model.at_once
    else:
        from ..formats.torch_program import make_answering

        network = make_answering(model.net, model.tensors, model.preprocess)
        name, answer = "torch", lambda x: network(model.standardised(x))
    return AnswerWay(name, "float32", run_in_batches(answer), lambda image: answer(model.prepared(image)[None]))


def make_file_way(path: Path, kind: str, card: Card) -> AnswerWay:
    """An exported file of the format `kind` in its own runtime."""
    name = f"{kind} {card.precision}"
    if kind == "onnx":
        exported = load_exported(path)
        return AnswerWay(name, card.precision, exported.probabilities, exported.exported.one)
    if kind == "openvino":
        run = openvino_file.read_openvino(path)
    else:
        from ..formats import torch_program

        name, run = "torch.export", torch_program.read_program(path)
    sized = run_in_batches(lambda x: run(add_frame(x, card.preprocess)))
    return AnswerWay(name, card.precision, sized, lambda image: run(image[None]))


def run_in_batches(run: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.concatenate([run(x[i : i + AT_ONCE]) for i in range(0, len(x), AT_ONCE)])


def draw_calibration(height: int, width: int, channels: int) -> np.ndarray:
    """16 pictures of blocks of every size, from one colour to single pixels: uint8 N×h×w×C."""
    draw, made = np.random.default_rng(0), []
    for k in range(16):
        cells = 1 << (k % 8)
        blocks = draw.integers(0, 256, (cells, cells, channels), dtype=np.uint8)
        made.append(blocks[np.arange(height)[:, None] * cells // height, np.arange(width) * cells // width])
    return np.stack(made)
