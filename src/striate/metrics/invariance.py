"""How steady a classifier's answers are when the image is shifted, turned, scaled or mirrored. NumPy alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, radians, sin
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..language import say, to_say
from ..terminal import format_count, pad_right
from .classification import compute_wilson
from .numbers import format_percent

# uint8 N×H×W×C -> N×K. Any model will do.
Probabilities = Callable[[NDArray], NDArray]

# A size of a change, its name, and the answers T×N to the T changes of this size.
Answered = tuple[float, str, NDArray]

ANGLES = (-45, -30, -20, -10, -5, 5, 10, 20, 30, 45)
SCALE_FACTORS = (0.6, 0.7, 0.8, 0.9, 1.1, 1.25, 1.5)
# Zhang's offsets lie below 32 pixels for an image of 224: the same share of any other side.
CROP_ROOM = 32 / 224


class ChangePoint(NamedTuple):
    """One change of the images, by its size: the accuracy, and how often the answer is that for the untouched image."""

    value: float
    name: str
    accuracy: float
    agreement: float


@dataclass(frozen=True)
class Change:
    """A kind of change, summed up over all its sizes, the untouched image left out.

    accuracy   mean share of right answers, 0 to 1; agreement  mean share of answers that stay what they were
    …_interval  95 %: Wilson's for as many independent observations as there are images, which is cautious, as an
               image's answers under several changes are counted as one
    """

    name: str
    unit: str
    accuracy: float
    accuracy_interval: tuple[float, float]
    agreement: float
    agreement_interval: tuple[float, float]
    points: tuple[ChangePoint, ...]

    def as_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return plain | {"points": [point._asdict() for point in self.points]}


@dataclass(frozen=True)
class Invariance:
    """What shifts, turns, scalings and mirrorings do to a classifier, as plain data.

    images       how many were looked at; `accuracy` is that on them untouched, with its 95 % interval
    changes      shifts, rotations, scalings, flips
    offsets      (2s + 1)×(2s + 1): the agreement at each offset from (−s, −s) to (s, s), rows down, columns right
    consistency  Zhang's shift consistency: how often the answers at two random offsets of one image agree;
                 `room` offsets a side were possible, and each image was drawn `passes` times
    """

    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    changes: tuple[Change, ...]
    offsets: tuple[tuple[float, ...], ...]
    consistency: float
    consistency_interval: tuple[float, float]
    room: tuple[int, int]
    passes: int

    def change(self, name: str) -> Change:
        return next(change for change in self.changes if change.name == name)

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain JSON data."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return plain | {"changes": [change.as_dict() for change in self.changes]}

    def __str__(self) -> str:
        lines = [
            say(
                "{images}, accuracy on the originals {accuracy}",
                images=format_count(self.images, "image"),
                accuracy=format_interval(self.accuracy, self.accuracy_interval),
            ),
            " " * 20 + pad_right(say("accuracy"), 34) + say("agreement with the original's prediction"),
        ]
        for c in self.changes:
            first, last = c.points[0].name, c.points[-1].name
            lines.append(
                pad_right(say(c.name), 20)
                + pad_right(format_interval(c.accuracy, c.accuracy_interval), 34)
                + pad_right(format_interval(c.agreement, c.agreement_interval), 34)
                + say("{first} to {last}", first=say(first), last=say(last))
            )
        lines.append(
            pad_right(say("shift consistency"), 54)
            + pad_right(format_interval(self.consistency, self.consistency_interval), 34)
            + say("two of {rows}x{columns} offsets (Zhang 2019)", rows=self.room[0], columns=self.room[1])
        )
        return "\n".join(lines)


def format_interval(share: float, interval: tuple[float, float]) -> str:
    return say(
        "{share} ({low} to {high})",
        share=format_percent(share),
        low=format_percent(interval[0]),
        high=format_percent(interval[1]),
    )


def measure_invariance(
    probabilities: Probabilities,
    images: NDArray,
    labels: NDArray,
    *,
    shifts: int = 8,
    angles: Sequence[float] = ANGLES,
    factors: Sequence[float] = SCALE_FACTORS,
    passes: int = 5,
    wide: NDArray | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Invariance:
    """The Invariance of the classifier `probabilities` on uint8 images N×H×W×C with labels N.

    shifts    every offset of up to so many pixels, each way: (2·shifts + 1)² of them; what comes in at the edge
              repeats the edge's pixels
    angles    in degrees; factors  above 1 enlarges. Both about the middle, bilinear, edges repeated
    passes    how often each image is drawn for the shift consistency
    wide      the same images with a margin, N×(H + room)×(W + room)×C, to draw the offsets in, as Zhang crops 224 from
              256; None: the edges are repeated
    progress  told (done, all) after each change
    Raises DataError where images and labels do not match or there are none.
    """
    x, y = np.asarray(images), np.asarray(labels)
    if x.ndim != 4 or not len(x) or y.shape != x.shape[:1]:
        got = say("{shape} and {count} labels", shape="×".join(map(str, x.shape)), count=len(y))
        raise DataError("images", say("each of one or more images N×H×W×C needs one label"), got=got)
    offsets = [(d, r) for d in range(-shifts, shifts + 1) for r in range(-shifts, shifts + 1)]
    total = len(offsets) + len(angles) + len(factors) + 2 + 2 * passes
    done = 0

    def answers(moved: NDArray) -> NDArray:
        nonlocal done
        found = probabilities(moved).argmax(1)
        done += 1
        if progress:
            progress(done, total)
        return found

    own = answers(x)
    told = np.stack([own if not any(o) else answers(shift_images(x, *o)) for o in offsets])
    ring = np.array([max(map(abs, offset)) for offset in offsets])
    rings = [told[ring == k] for k in range(1, shifts + 1)]
    near = [(float(k), f"{k} px", group) for k, group in enumerate(rings, 1)]
    turned = [(a, f"{a:g}°", answers(warp_images(x, make_rotation(a)))[None]) for a in angles]
    scaled = [(f, f"×{f:g}", answers(warp_images(x, np.eye(2) / f))[None]) for f in factors]
    mirrored = [
        (0.0, to_say("left-right"), answers(x[:, :, ::-1])[None]),
        (1.0, to_say("up-down"), answers(x[:, ::-1])[None]),
    ]
    room = tuple(max(2, round(n * CROP_ROOM)) for n in x.shape[1:3])
    if wide is None:
        wide = pad_edges(x, room)
    agree = measure_consistency(answers, wide, x.shape[1:3], passes, seed)
    right = int((own == y).sum())
    kinds: list[tuple[str, str, list[Answered]]] = [
        (to_say("shifts"), "px", near),
        (to_say("rotations"), "degrees", turned),
        (to_say("scalings"), "factor", scaled),
        (to_say("flips"), "", mirrored),
    ]
    return Invariance(
        images=len(x),
        accuracy=right / len(x),
        accuracy_interval=compute_wilson(right, len(x)),
        changes=tuple(summarise_change(*kind, own, y) for kind in kinds if kind[2]),
        offsets=tuple(map(tuple, (told == own).mean(1).reshape(2 * shifts + 1, -1).tolist())),
        consistency=float(agree),
        consistency_interval=widen_interval(agree, len(x)),
        room=(wide.shape[1] - x.shape[1], wide.shape[2] - x.shape[2]),
        passes=passes,
    )


def summarise_change(name: str, unit: str, found: list[Answered], own: NDArray, y: NDArray) -> Change:
    """The Change from the answers to each size of it."""
    points = tuple(ChangePoint(v, n, float((a == y).mean()), float((a == own).mean())) for v, n, a in found)
    told = np.concatenate([answers for _, _, answers in found])
    accuracy, agreement = float((told == y).mean()), float((told == own).mean())
    n = len(y)
    return Change(name, unit, accuracy, widen_interval(accuracy, n), agreement, widen_interval(agreement, n), points)


def widen_interval(share: float, images: int) -> tuple[float, float]:
    """Wilson's interval of a mean share over several answers an image, as if each image had given one."""
    return compute_wilson(share * images, images)  # type: ignore[arg-type]  # the formula takes any number of right ones


def measure_consistency(
    answers: Probabilities, wide: NDArray, size: tuple[int, ...], passes: int = 5, seed: int = 0, batch: int = 8
) -> float:
    """How often the answers to two crops of `size` from the same image, at random offsets, agree: 0 to 1.

    answers  uint8 N×h×w×C -> the classes N
    As `validate_shift` in github.com/adobe/antialiased-cnns: two offsets below the room, (row, column) each, drawn for
    every batch of 8 images (the batch his README asks for), in 5 passes.
    """
    draw = np.random.default_rng(seed)
    (h, w), room = size, [wide.shape[1] - size[0], wide.shape[2] - size[1]]
    agree = []
    for _ in range(passes):
        crops: list[list[NDArray]] = [[], []]
        for first in range(0, len(wide), batch):
            for crop in crops:
                top, left = (int(draw.integers(n)) for n in room)
                crop.append(wide[first : first + batch, top : top + h, left : left + w])
        agree.append((answers(np.concatenate(crops[0])) == answers(np.concatenate(crops[1]))).mean())
    return float(np.mean(agree))


def pad_edges(x: NDArray, room: tuple[int, ...]) -> NDArray:
    """N×H×W×C with `room` more rows and columns around it, which repeat the edge's."""
    (top, left) = (n // 2 for n in room)
    return np.pad(x, ((0, 0), (top, room[0] - top), (left, room[1] - left), (0, 0)), mode="edge")


def shift_images(x: NDArray, down: int, right: int) -> NDArray:
    """N×H×W×C moved by whole pixels; what comes in repeats the edge's pixels."""
    rows = np.clip(np.arange(x.shape[1]) - down, 0, x.shape[1] - 1)
    columns = np.clip(np.arange(x.shape[2]) - right, 0, x.shape[2] - 1)
    return x[:, rows[:, None], columns]


def make_rotation(degrees: float) -> NDArray:
    """2×2: from a place in the picture turned counterclockwise by `degrees` to its place before, (row, column)."""
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return np.array([[c, s], [-s, c]])


def warp_images(x: NDArray, back: NDArray) -> NDArray:
    """uint8 N×H×W×C with each pixel taken, bilinearly, from `back` times its place, both counted from the middle."""
    h, w = x.shape[1:3]
    middle = np.array([(h - 1) / 2, (w - 1) / 2])
    rows, columns = np.meshgrid(np.arange(h) - middle[0], np.arange(w) - middle[1], indexing="ij")
    r = np.clip(back[0, 0] * rows + back[0, 1] * columns + middle[0], 0, h - 1)
    c = np.clip(back[1, 0] * rows + back[1, 1] * columns + middle[1], 0, w - 1)
    top, left = np.minimum(r.astype(int), max(h - 2, 0)), np.minimum(c.astype(int), max(w - 2, 0))
    low, right = np.minimum(top + 1, h - 1), np.minimum(left + 1, w - 1)
    a, b = ((v - k).astype(np.float32)[..., None] for v, k in ((r, top), (c, left)))
    upper = x[:, top, left] * (1 - b) + x[:, top, right] * b
    lower = x[:, low, left] * (1 - b) + x[:, low, right] * b
    return (upper * (1 - a) + lower * a).round().astype(np.uint8)
