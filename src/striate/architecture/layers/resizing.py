"""Maps made larger without weights: each place is one of the input's, or a mean of its neighbours."""

from __future__ import annotations

from ctypes import c_float
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from .layer import (
    Examples,
    Layer,
    Reach,
    SavedMap,
    Shape,
    need_flag,
    need_map,
    need_rule,
)

__all__ = ["Upsample"]

# A place of the input and the share of it that a place of the output takes.
Share = tuple[int, float]


@dataclass(frozen=True, repr=False)
class Upsample(Layer):
    """The map `factor` times as large: C×H×W -> C×⌊H·factor⌋×⌊W·factor⌋, no parameters (torch.nn.Upsample).

    factor         at least 1, a whole number or not; or (rows, columns)
    mode           "nearest": each place is the input's at that part of the map. "bilinear": the mean of the four around
                   it, by their distance
    align_corners  of "bilinear": the middles of the corner pixels stay where they are, else the map's edges do

    >>> Upsample(2).out((64, 7, 7)), Upsample(1.5, "bilinear").out((64, 7, 7))
    ((64, 14, 14), (64, 10, 10))
    """

    KIND: ClassVar[str] = "up"
    KEPT: ClassVar[SavedMap] = SavedMap()
    EXAMPLES: ClassVar[Examples] = {
        "factor": (2, 1, 3, (1, 2), 1.5, (1.3, 2)), "mode": ("bilinear", "nearest"), "align_corners": (False, True),
    }  # fmt: skip
    factor: float | tuple[float, float] = 2
    mode: str = "nearest"
    align_corners: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        pair = tuple(self.factor) if isinstance(self.factor, list | tuple) else (self.factor, self.factor)
        ok = len(pair) == 2 and all(map(is_factor, pair))
        need_rule(self, "factor", ok, "must be a number of at least 1, or a pair (rows, columns)", "factor=2")
        whole = tuple(int(one) if one == int(one) else float(one) for one in pair)
        object.__setattr__(self, "factor", whole[0] if whole[0] == whole[1] else whole)
        need_rule(self, "mode", self.mode in ("nearest", "bilinear"), 'must be "nearest" or "bilinear"')
        need_flag(self, "align_corners")
        if self.mode == "nearest":
            need_rule(self, "align_corners", not self.align_corners, 'is of mode="bilinear" alone')

    @property
    def factors(self) -> tuple[float, float]:
        """(rows, columns)"""
        return self.factor if isinstance(self.factor, tuple) else (self.factor, self.factor)

    def out(self, x: Shape) -> Shape:
        need_map(self, x)
        return (x[0], *(int(n * f) for n, f in zip(x[1:], self.factors, strict=True)))

    def reach(self, x: Shape) -> tuple[Reach, Reach]:
        """At most: how far from its own place a value is read changes from place to place."""
        extent, before = (1, 0) if self.mode == "nearest" else (3, 1)
        rows, columns = (Reach(extent, 1 if f == 1 else 1 / f, before) for f in self.factors)
        return rows, columns

    def find_shares(self, x: Shape, axis: int) -> list[list[Share]]:
        """For each row (axis 0) or column (1) of the output, the input's that it takes, and what share of each."""
        n, factor = x[1 + axis], self.factors[axis]
        size = int(n * factor)
        if self.mode == "nearest":
            return [[(find_nearest(i, n, size, factor), 1.0)] for i in range(size)]
        if size == n:  # as torch, which copies then whatever the factor
            return [[(i, 1.0)] for i in range(n)]
        return [blend_neighbours(place_between(self, i, n, size, factor), n) for i in range(size)]

    def size_rule(self, x: Shape) -> str:
        high, wide = (f"{n}·{f:g} = {int(n * f)}" for n, f in zip(x[1:], self.factors, strict=True))
        return high if high == wide else f"{high}; {wide}"

    @property
    def label(self) -> str:
        times = f"×{self.factor:g}" if not isinstance(self.factor, tuple) else "×{:g},{:g}".format(*self.factor)
        return f"Upsample {times} {self.mode}"


def is_factor(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 1


def find_nearest(i: int, n: int, size: int, factor: float) -> int:
    """The place that torch takes, which divides in 32 bits: ATen/native/UpSample.h, nearest_idx."""
    if size == n:
        return i
    if size == 2 * n:
        return i // 2
    return min(int(c_float(i * c_float(1 / factor).value).value), n - 1)


def place_between(layer: Upsample, i: int, n: int, size: int, factor: float) -> float:
    """Where in the input the middle of the output's pixel `i` lies."""
    if layer.align_corners:
        return i * ((n - 1) / (size - 1)) if size > 1 else 0.0
    return max(0.0, (i + 0.5) * (1 / factor) - 0.5)


def blend_neighbours(place: float, n: int) -> list[Share]:
    """The two places beside it; one where it lies on it."""
    low = min(int(place), n - 1)
    share = min(max(place - low, 0.0), 1.0) if low < n - 1 else 0.0
    return [(low, 1 - share), (low + 1, share)] if share else [(low, 1.0)]
