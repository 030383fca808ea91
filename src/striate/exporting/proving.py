"""Somebody's classifier file held against labelled pictures: by which preparation does it answer best?

"The exported model answers differently" is most often this: the file is right, and the pictures are prepared otherwise
than in training. So each usual way is tried, and the accuracy of all stands side by side.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import atomic_file
from ..data.listing import Entry
from ..data.read.decode import decode_image
from ..data.read.files import spread_places
from ..data.read.resize import parse_fit, resize_image
from ..data.reading import make_reading
from ..data.sources.load import list_source
from ..engines.answers import compute_softmax
from ..engines.model_file import Preprocess
from ..engines.onnx import open_session, run_in_batches
from ..errors import DataError, ModelError
from ..formats.prepared_file import write_prepared_file
from ..language import say, to_say
from ..metrics.classification import compute_wilson
from ..metrics.numbers import format_percent
from ..model.preparation import HALVES, IMAGENET, find_lite_preparation
from ..terminal import measure_width, pad_right

# Pictures that the values and the order of colours are tried on, and all that is left on those of the better half.
FEW, MANY = 96, 400
# The fits that the values and colours are tried with.
TRIED_FIRST = ("squash", "pad", "crop")

# From a level of 0 to 255 to what the file takes, (level/255 − mean)/std, by name.
SCALES: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "0 to 1": ((0.0,) * 3, (1.0,) * 3),
    "-1 to 1": HALVES,
    to_say("ImageNet's mean and deviation"): IMAGENET,
    "0 to 255": ((0.0,) * 3, (1 / 255,) * 3),
    "(level - 127) / 128": find_lite_preparation(224)[3:5],
}


class Preparing(NamedTuple):
    """One way from a picture to the file's input; `colours` is "RGB", "BGR" or "gray"."""

    fit: str
    scale: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    colours: str


class ProvenWay(NamedTuple):
    """How the file answers by a way: `loss` is the cross-entropy in nats per image, the interval Wilson's at 95 %."""

    way: Preparing
    images: int
    accuracy: float
    interval: tuple[float, float]
    loss: float


@dataclass(frozen=True)
class Proof:
    """All ways that were tried on all pictures, the best first; `as_good` are those that they cannot tell from it."""

    file: str
    classes: tuple[str, ...]
    ways: tuple[ProvenWay, ...]

    @property
    def best(self) -> ProvenWay:
        return self.ways[0]

    @property
    def as_good(self) -> tuple[ProvenWay, ...]:
        return tuple(way for way in self.ways[1:] if way.accuracy >= self.best.interval[0])

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        rows = [way._asdict() | {"way": way.way._asdict()} for way in self.ways]
        return {"file": self.file, "classes": list(self.classes), "ways": rows, "as_good": len(self.as_good)}

    def __str__(self) -> str:
        heads = (say("accuracy"), say("95 % interval"), say("loss"), say("fit"), say("colours"), say("values"))
        rows: list[tuple[str, ...]] = [heads]
        for one in self.ways:
            low, high = (format_percent(end) for end in one.interval)
            said = (format_percent(one.accuracy), say("{low} to {high}", low=low, high=high), f"{one.loss:.3f}")
            rows.append((*said, one.way.fit, say(one.way.colours), say(one.way.scale)))
        widths = [max(measure_width(row[k]) for row in rows) for k in range(len(rows[0]))]
        table = ["  ".join(pad_right(*pair) for pair in zip(row, widths, strict=True)).rstrip() for row in rows]
        best, ties = self.best, len(self.as_good)
        told = [f"{self.file}: {best.way.fit}, {say(best.way.colours)}, {say(best.way.scale)}"]
        if ties:
            told += [say("{ties} more cannot be told from it by {images} pictures", ties=ties, images=best.images)]
        return "\n".join([*table, "", *told])


def write_fixed_file(file: str | Path, proof: Proof, out: str | Path, size: tuple[int, int] | None = None) -> None:
    """The file with the best way's preparation and the names of its outputs inside it, as `striate.load` reads it.

    Raises ModelError where it cannot be put in, and leaves `out` as it was.
    """
    if Path(out).suffix != ".onnx":
        raise ModelError("--out", say("a file for ONNX ends in .onnx"), got=str(out))
    foreign, way = open_foreign(Path(file), size), proof.best.way
    rows = foreign.answer(np.zeros((1, *foreign.size, foreign.channels), np.float32))
    prepared = Preprocess(foreign.size, way.fit, way.mean, way.std)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "fixed.onnx"
        write_prepared_file(
            Path(file), made, proof.classes, prepared, foreign.channels, bgr=way.colours == "BGR", last=foreign.last,
            softmax=find_shares(rows) is not rows,
        )  # fmt: skip
        atomic_file.write_file(Path(out), made.read_bytes())


class ForeignFile(NamedTuple):
    """A classifier in ONNX: float N×C×H×W or N×H×W×C in, a row of numbers an image out."""

    session: Any
    size: tuple[int, int]
    channels: int
    last: bool
    batch: int | None
    outputs: int | None

    def answer(self, x: NDArray) -> NDArray:
        """The rows for float32 N×H×W×C."""
        x = x if self.last else np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        return run_in_batches(self.session, x, self.batch or len(x)).reshape(len(x), -1).astype(np.float64)


def prove(
    file: str | Path,
    data: Any,
    *,
    size: tuple[int, int] | None = None,
    fit: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    classes: Sequence[str] | None = None,
    **reading: Any,
) -> Proof:
    """By which preparation somebody's ONNX classifier answers labelled pictures best.

    file       float32 N×C×H×W or N×H×W×C in, logits or probabilities out
    data       labelled image files, as for `striate.train`; the test split where there is one, at most 400
    size       (h, w), where the file leaves it free
    fit, mean, std  what is known already, and so not tried
    classes    the names of the outputs in their order; None: the labels in sorted order, where their number matches
    Raises ModelError for a file that is no such classifier, DataError for labels that do not match.

    >>> from striate.errors import ModelError
    >>> try:
    ...     prove("nothing.onnx", "photos")
    ... except ModelError as e:
    ...     print(e.what)
    there is no such file
    """
    foreign = open_foreign(Path(file), size)
    entries = choose_entries(data, reading)
    names = match_classes(foreign, entries, classes)
    labels = np.array([names.index(entry.label) for entry in entries])
    pictures = [decode_image(entry.path, foreign.channels) for entry in entries]
    fits = [fit] if fit else list_fits(foreign.size)
    ways = list_scales(foreign.channels, mean, std)
    if len(ways) > 1:
        some = [name for name in fits if name in TRIED_FIRST] or fits[:1]
        few = [
            measure_way(foreign, pictures[:FEW], labels[:FEW], Preparing(name, *way)) for way in ways for name in some
        ]
        ranked = dict.fromkeys(one.way[1:] for one in sorted(few, key=rank_way))
        ways = list(ranked)[: max(2, len(ways) // 3)]
    found = [measure_way(foreign, pictures, labels, Preparing(name, *way)) for name in fits for way in ways]
    return Proof(Path(file).name, names, tuple(sorted(found, key=rank_way)))


def rank_way(one: ProvenWay) -> tuple[float, float]:
    return -one.accuracy, one.loss


def open_foreign(file: Path, size: tuple[int, int] | None) -> ForeignFile:
    """The file ready to run. Raises ModelError where it is no image classifier of floats."""
    where = str(file)
    if not file.is_file():
        raise ModelError(where, say("there is no such file"), hint=say("the .onnx file of a classifier"))
    try:
        session = open_session(file)
    except Exception as e:  # ONNX Runtime's own exceptions share no base class
        raise ModelError(where, say("ONNX Runtime cannot read this file"), got=str(e).splitlines()[0][:200]) from None
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs)
        raise ModelError(where, say("a classifier takes one input"), got=f"{len(inputs)}: {names}")
    [given], shape = inputs, list(inputs[0].shape)
    if given.type != "tensor(float)" or len(shape) != 4:
        hint = say("striate evaluate, for files that striate exported") if given.type == "tensor(uint8)" else None
        got = say("{type} of {axes} axes", type=given.type, axes=len(shape))
        raise ModelError(where, say("a classifier takes float32 N×C×H×W or N×H×W×C"), got=got, hint=hint)
    last = shape[3] in (1, 3) and shape[1] not in (1, 3)
    channels, sides = (shape[3], shape[1:3]) if last else (shape[1], shape[2:])
    if channels not in (1, 3):
        raise ModelError(where, say("its images are neither gray nor RGB"), got=shape, rule=say("1 or 3 channels"))
    if size is None and not all(isinstance(side, int) for side in sides):
        raise ModelError(where, say("the file leaves its images' size free"), got=shape, hint="--size 224")
    frame = size or (int(sides[0]), int(sides[1]))
    row = outputs[0].shape
    count = row[1] if len(row) > 1 and isinstance(row[1], int) else None
    batch = shape[0] if isinstance(shape[0], int) else None
    return ForeignFile(session, frame, channels, last, batch, count)


def choose_entries(data: Any, reading: Mapping[str, Any]) -> list[Entry]:
    """At most MANY labelled files, of the test split where there is one, spread evenly. Raises DataError."""
    listing = list_source(data, make_reading(dict(reading)))
    if listing is None:
        raise DataError(
            str(data), say("the pictures must be files, at their own sizes"), hint=say("a folder of class folders")
        )
    test = [entry for entry in listing.entries if entry.split == "test"]
    entries = test or [entry for entry in listing.entries if entry.split != "train"] or list(listing.entries)
    mixed = [entries[k] for k in np.random.default_rng(0).permutation(len(entries))]
    return [mixed[k] for k in spread_places(len(mixed), MANY)]


def match_classes(foreign: ForeignFile, entries: Sequence[Entry], classes: Sequence[str] | None) -> tuple[str, ...]:
    """The outputs' names in their order. Raises DataError where they and the labels do not match."""
    labels = sorted({entry.label for entry in entries})
    outputs = foreign.outputs
    if outputs is None:
        outputs = foreign.answer(np.zeros((1, *foreign.size, foreign.channels), np.float32)).shape[1]
    names = tuple(classes) if classes is not None else tuple(labels)
    if len(names) != outputs:
        hint = say("--classes names.txt, a name a line in the order of the outputs")
        raise DataError(
            "classes",
            say("each output has one name"),
            got=say("{count} names", count=len(names)),
            rule=say("{outputs} outputs", outputs=outputs),
            hint=hint,
        )
    for label in labels:
        if label not in names:
            raise DataError(
                "classes",
                say("'{label}' is a label of the pictures and no name of an output", label=label),
                got=", ".join(names[:8]),
            )
    return names


def list_fits(size: tuple[int, int]) -> list[str]:
    """The usual ways to a size: the whole squashed, with bars, the middle, or that of a larger one (size / 0.875)."""
    larger = f"crop {round(max(size) / 0.875)}"
    return [f"{kind}{how}" for kind in ("squash", "pad", "crop", larger) for how in ("", " bicubic")]


def list_scales(
    channels: int, mean: Sequence[float] | None, std: Sequence[float] | None
) -> list[tuple[str, tuple[float, ...], tuple[float, ...], str]]:
    """The scales to try, each in both orders of colours; one alone where mean and std are given."""
    orders = ("RGB", "BGR") if channels == 3 else ("gray",)
    if mean is not None or std is not None:
        own = (tuple(mean or (0.0,) * channels), tuple(std or (1.0,) * channels))
        return [(say("as given"), *own, order) for order in orders]
    return [(name, m[:channels], s[:channels], order) for name, (m, s) in SCALES.items() for order in orders]


def prepare_picture(picture: NDArray, size: tuple[int, int], way: Preparing) -> NDArray:
    """float32 h×w×C: (level/255 − mean)/std, a mean and a deviation for red, green and blue, then their order."""
    levels = resize_image(picture, size, way.fit)
    x = ((levels / 255 - np.array(way.mean)) / np.array(way.std)).astype(np.float32)
    return np.ascontiguousarray(x[..., ::-1]) if way.colours == "BGR" else x


def measure_way(foreign: ForeignFile, pictures: Sequence[NDArray], labels: NDArray, way: Preparing) -> ProvenWay:
    """How often the file is right by this way."""
    parse_fit(way.fit)
    rows, left = [], iter(pictures)
    while part := list(islice(left, 32)):
        rows.append(foreign.answer(np.stack([prepare_picture(one, foreign.size, way) for one in part])))
    shares = find_shares(np.concatenate(rows))
    right = int((shares.argmax(1) == labels).sum())
    loss = float(-np.log(np.maximum(shares[np.arange(len(labels)), labels], 1e-12)).mean())
    return ProvenWay(way, len(labels), right / len(labels), compute_wilson(right, len(labels)), loss)


def find_shares(rows: NDArray) -> NDArray:
    """Probabilities: the rows themselves where each adds up to 1, else their softmax."""
    if (rows >= -1e-6).all() and np.allclose(rows.sum(1), 1, atol=1e-3):
        return rows
    return compute_softmax(rows)


def read_names(text: str | None) -> tuple[str, ...] | None:
    """The names in "a,b,c" or in a file, one a line; None for none."""
    if text is None:
        return None
    if Path(text).is_file():
        return tuple(line for line in Path(text).read_text(encoding="utf-8").splitlines() if line)
    return tuple(text.split(","))


def read_numbers(where: str, text: str | None) -> tuple[float, ...] | None:
    """The numbers in "0.5,0.5,0.5"; None for none. Raises ModelError."""
    try:
        return None if text is None else tuple(map(float, text.split(",")))
    except ValueError:
        raise ModelError(where, say("these are no numbers"), got=text, hint="0.485,0.456,0.406") from None
