"""A convolution or a pooling by hand: a small grid of numbers, position by position, forward and backward."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..architecture.layers import AvgPool, Conv, MaxPool
from ..architecture.net import Net
from ..architecture.window import Padding
from ..engines import plain
from ..engines.plain import network, windows
from ..errors import DataError, NetError, suggest_name
from ..language import in_english, say, to_say
from ..terminal import format_count
from .filters_by_hand import KERNELS, Filtered, parse_kernel, read_kernel, slide_kernel
from .trace import trace_value
from .trace_format import PADDING, WON, format_short
from .trace_record import Term, Trace

# A grid of more rows or columns is told by its sizes and its result alone.
LARGEST_SHOWN = 12

POOLS = ("max", "avg")

# The name of the one layer of the net that is stepped through.
STEP_PATH = "step"


@dataclass(frozen=True, eq=False)
class Stepped:
    """One layer over one grid. `print` it for the arithmetic of every position; `at` for one of them.

    x       float64 C×H×W
    layer   the record: a Conv, a MaxPool or an AvgPool
    tensors of a Conv: weight F×C×k×k' and bias F
    y       float64 F×H'×W', or C×H'×W' of a pooling
    """

    x: NDArray
    layer: Conv | MaxPool | AvgPool
    tensors: dict[str, NDArray]
    y: NDArray

    @property
    def net(self) -> Net:
        return Net(self.x.shape, [self.layer], name="step")

    def at(self, row: int, column: int, filter: int = 0) -> Trace:
        """How one value of the result comes about. Raises TraceError where there is no such place."""
        return trace_value(self.net, self.tensors, self.x, STEP_PATH, filter, row, column, engine="plain")

    def backward(self, gradient: Any = None) -> SteppedBack:
        """The gradients of the grid and of the filters, given that of the result (None: 1 everywhere).

        Raises DataError for a gradient of another shape.
        """
        dy = np.ones_like(self.y) if gradient is None else read_grid(gradient, "gradient")
        if dy.shape != self.y.shape:
            shapes = ("×".join(map(str, array.shape)) for array in (dy, self.y))
            got, rule = (f"{shape}" for shape in shapes)
            raise DataError("gradient", say("it has not the shape of the result"), got=got, rule=rule)
        way, y = plain.start_pass(self.net, self.tensors, self.x[None], False, None)
        network.forward_layer(self.layer, STEP_PATH, y, way)
        dx, grads = network.backward_layer(self.layer, STEP_PATH, dy[None], way)
        return SteppedBack(self, dy, dx[0], grads)

    @in_english
    def as_dict(self) -> dict[str, Any]:
        """All of it as plain JSON data; `positions` has the trace of each value."""
        return {
            "layer": repr(self.layer),
            "input": self.x.tolist(),
            **{name: tensor.tolist() for name, tensor in self.tensors.items()},
            "size": self.layer.size_rule(self.x.shape),
            "output": self.y.tolist(),
            "positions": [self.at(i, j, f).as_dict() for f, i, j in np.ndindex(self.y.shape)],
        }

    def __str__(self) -> str:
        small = max(self.x.shape[1:]) <= LARGEST_SHOWN
        parts = [format_grids(say("input"), self.x), *format_filters(self.tensors)]
        parts += ["\n".join([say("size: {rule}", rule=self.layer.size_rule(self.x.shape)), *format_unread(self)])]
        parts += [
            "\n".join(format_positions(self)) if small else say("one position: at(row, column), or --at row,column")
        ]
        return "\n\n".join([*parts, format_grids(say("output"), self.y)])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


@dataclass(frozen=True, eq=False)
class SteppedBack:
    """The way back through one layer: how a change of the result is shared out.

    dy       the gradient of the result
    dx       that of the grid, C×H×W
    tensors  those of a Conv's weight and bias
    """

    forward: Stepped
    dy: NDArray
    dx: NDArray
    tensors: dict[str, NDArray]

    def as_dict(self) -> dict[str, Any]:
        grads = {name: gradient.tolist() for name, gradient in self.tensors.items()}
        return {"gradient": self.dy.tolist(), "input": self.dx.tolist(), **grads}

    def __str__(self) -> str:
        small = max(self.forward.x.shape[1:]) <= LARGEST_SHOWN
        parts = [format_grids(say("gradient of the output"), self.dy)]
        if small:
            parts += ["\n".join(format_input_gradients(self)), *format_weight_gradients(self)]
        parts.append(format_grids(say("gradient of the input"), self.dx))
        weight = self.tensors.get("weight", ())
        for name, one in zip(name_filters(len(weight)), weight, strict=False):
            parts.append(format_grids(say("gradient of the {name}", name=name), one))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def step(
    grid: Any,
    kernel: Any = None,
    pool: str | None = None,
    *,
    size: int | tuple[int, int] = 2,
    stride: int | tuple[int, int] | None = None,
    padding: Padding = "valid",
    bias: float | Sequence[float] = 0.0,
) -> Stepped:
    """A filter, or a pooling, over a grid of numbers, position by position.

    grid     H×W numbers or C×H×W; a list, an array, its text "[[1,2],[3,4]]", or the path of a CSV
    kernel   k×k' numbers, C×k×k', or F×C×k×k' for several filters; their text; or a name, such as "sobel"
    pool     "max" or "avg", of windows of `size`
    stride   by default 1, and of a pooling its size; padding as that of `striate.Conv`; bias one for each filter
    Raises NetError or DataError for what is no grid of numbers, ShapeError where the window does not fit.

    >>> print(step([[1, 2, 3], [4, 5, 6], [7, 8, 9]], kernel=[[0, 1], [1, 0]]).at(0, 0).shown)
    6
    >>> step([[1, 2], [3, 4]], pool="max").y
    array([[[4.]]])
    """
    x = read_grid(grid, "grid")
    if (kernel is None) == (pool is None):
        what = say("one of both is slid over the grid: a kernel, or a pooling")
        raise NetError("step", what, hint=say("kernel=… or pool='max'"))
    layer: Conv | MaxPool | AvgPool
    if pool is not None:
        if pool not in POOLS:
            raise NetError("pool", say("there is no such pooling"), got=pool, hint=suggest_name(pool, POOLS))
        record = MaxPool if pool == "max" else AvgPool
        layer, tensors = record(size, stride, padding, name=STEP_PATH), {}
    else:
        weight = read_filters(kernel, len(x))
        shift = np.broadcast_to(np.asarray(bias, np.float64), len(weight)).copy()
        _, _, high, wide = weight.shape
        layer = Conv(len(weight), (high, wide), stride or 1, padding, bias=bool(shift.any()), name=STEP_PATH)
        tensors = {"weight": weight} | ({"bias": shift} if layer.bias else {})
    layer.out(x.shape)
    named = {f"{STEP_PATH}.{name}": tensor for name, tensor in tensors.items()}
    way, image = plain.start_pass(Net(x.shape, [layer]), named, x[None], False, None)
    return Stepped(x, layer, named, network.forward_layer(layer, STEP_PATH, image, way)[0])


def read_grid(grid: Any, where: str) -> NDArray:
    """A grid as float64 C×H×W. Raises DataError."""
    if isinstance(grid, str | Path):
        grid = read_table(Path(grid), where) if not str(grid).lstrip().startswith("[") else parse_kernel(str(grid))
    try:
        found = np.array(grid, np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    found = found[None] if found.ndim == 2 else found
    if found.ndim != 3 or not found.size or not np.isfinite(found).all():
        what, hint = say("this is not a grid of numbers"), "[[1,2,3],[4,5,6]]"
        rule = say("rows of equally many finite numbers, or such a grid for each channel")
        raise DataError(where, what, got=str(grid)[:60], rule=rule, hint=hint)
    return found


def read_table(file: Path, where: str) -> list[list[float]]:
    """The numbers of a CSV file, by commas, semicolons, tabs or spaces. Raises DataError naming the cell."""
    if not file.is_file():
        what = say("this is neither a grid of numbers nor a file")
        raise DataError(where, what, got=str(file)[:60], hint="[[1,2],[3,4]]")
    text = file.read_text(encoding="utf-8-sig", errors="replace")
    delimiter = next((mark for mark in (";", "\t", ",") if mark in text), " ")
    rows = []
    for number, line in enumerate(csv.reader(text.splitlines(), delimiter=delimiter), start=1):
        cells = [cell.strip() for cell in line if cell.strip()]
        try:
            rows += [[float(cell) for cell in cells]] if cells else []
        except ValueError:
            raise DataError(f"{file}:{number}", say("a cell that is no number"), got=", ".join(cells)[:60]) from None
    return rows


def read_filters(kernel: Any, channels: int) -> NDArray:
    """Filters as float64 F×C×k×k'; one of rows and columns alone is the same for every channel. Raises NetError."""
    found = parse_kernel(kernel) if isinstance(kernel, str) and "[" in kernel else kernel
    if np.ndim(found) == 4:
        filters = [read_channels(one) for one in found]
    else:
        one = read_channels(found)
        filters = [np.repeat(one, channels, axis=0) if len(one) == 1 else one]
    shapes = {one.shape for one in filters}
    if len(shapes) > 1 or len(filters[0]) != channels:
        got = " and ".join("×".join(map(str, shape)) for shape in sorted(shapes))
        what = say("a filter has a matrix for each channel of the grid")
        raise NetError("kernel", what, got=got, rule=f"{channels}×k×k'")
    return np.stack(filters)


def read_channels(kernel: Any) -> NDArray:
    """A filter as float64 C×k×k', of any number of channels."""
    if isinstance(kernel, str) or np.ndim(kernel) != 3:
        return read_kernel(kernel)[1]
    return np.concatenate([read_kernel(one)[1] for one in kernel])


def filter_grid(grid: Any, kernel: Any, stride: int | tuple[int, int] = 1, padding: Padding = "valid") -> Filtered:
    """One filter over a grid, as `step` reads both, to be drawn with its numbers. Raises NetError, DataError."""
    x = read_grid(grid, "grid")
    weights = read_filters(kernel, len(x))
    if len(weights) > 1:
        got = format_count(len(weights), "filter")
        raise NetError("kernel", say("one filter at a time is drawn"), got=got, hint="striate step")
    return slide_kernel(x, kernel if kernel in KERNELS else "custom", weights[0], stride, padding)


# As text --------------------------------------------------------------------------------------------


def format_table(values: NDArray) -> list[str]:
    cells = [[format_short(float(value)) for value in row] for row in values]
    width = max(len(cell) for row in cells for cell in row)
    return [" ".join(cell.rjust(width) for cell in row) for row in cells]


def format_grids(name: str, values: NDArray) -> str:
    """A grid, or one for each channel, with its size above."""
    lines = [f"{name}, {'×'.join(map(str, values.shape[values.shape[0] == 1 :]))}"]
    for c, grid in enumerate(values):
        lines += [say("channel {channel}", channel=c)] if len(values) > 1 else []
        lines += [f"  {line}" for line in format_table(grid)]
    return "\n".join(lines)


def format_filters(tensors: dict[str, NDArray]) -> list[str]:
    weight, bias = (tensors.get(f"{STEP_PATH}.{name}") for name in ("weight", "bias"))
    if weight is None:
        return []
    shifts = [""] * len(weight)
    if bias is not None:
        shifts = ["\n" + say("bias {value}", value=format_short(float(b))) for b in bias]
    names = name_filters(len(weight))
    return [format_grids(name, one) + shift for name, one, shift in zip(names, weight, shifts, strict=True)]


def name_filters(count: int) -> list[str]:
    return [say("filter")] if count == 1 else [say("filter {number}", number=f) for f in range(count)]


NEVER_READ = to_say("never read: row {places}"), to_say("never read: column {places}")


def format_unread(given: Stepped) -> list[str]:
    """Rows and columns that no window reads, a line each where there are such."""
    lines = []
    taps = windows.find_taps(given.layer, given.x.shape)
    for key, places, n in zip(NEVER_READ, taps, given.x.shape[1:], strict=True):
        left = [str(place) for place in range(n) if place not in places]
        lines += [say(key, places=", ".join(left))] if left else []
    return lines


def format_positions(given: Stepped) -> list[str]:
    """A line for each value of the result: its window times the filter, or the largest or mean under it."""
    lines = []
    for f, i, j in np.ndindex(given.y.shape):
        trace, several = given.at(i, j, f), len(given.y) > 1
        where = say("row {row}, column {column}", row=i, column=j)
        if several:
            part = say("filter {number}", number=f) if given.tensors else say("channel {channel}", channel=f)
            where = f"{part}, {where}"
        lines.append(f"{where}: {format_account(trace, given.layer)}")
    return lines


def format_account(trace: Trace, layer: Conv | MaxPool | AvgPool) -> str:
    y = format_short(trace.value)
    if isinstance(layer, MaxPool):
        return f"max({', '.join(format_seen(term).strip('()') for term in trace.terms)}) = {y}"
    if isinstance(layer, AvgPool):
        _, _, count = trace.steps[0].text.partition(" / ")
        return f"({' + '.join(format_seen(term) for term in trace.terms)}) / {count} = {y}"
    sums = [
        " + ".join(f"{format_seen(term)}·{format_factor(term.weight)}" for term in group.terms)
        for group in trace.groups
        if not is_bias(group.terms[0])
    ]
    text = " + ".join(sums) if len(sums) == 1 else " + ".join(f"({one})" for one in sums)
    bias = next((group for group in trace.groups if is_bias(group.terms[0])), None)
    return f"{text}{f' + {format_factor(bias.value)}' if bias else ''} = {y}"


def is_bias(term: Term) -> bool:
    """Whether it is the bias: a weight that is multiplied by no input."""
    return term.at is None and term.note != PADDING and (term.weight_at or "").rpartition("[")[0].endswith("bias")


def format_seen(term: Any) -> str:
    return say("pad") if term.note == PADDING else format_factor(term.x)


def format_factor(value: float | None) -> str:
    """A number as it stands in a product: a negative one in brackets."""
    text = format_short(float(value or 0.0))
    return f"({text})" if text.startswith("-") else text


def format_input_gradients(given: SteppedBack) -> list[str]:
    """For each cell of the grid the gradients that reach it, and their sum."""
    lines, forward = [], given.forward
    reached = list_shares(forward, given.dy)
    for place in np.ndindex(forward.x.shape):
        terms = " + ".join(reached.get(place, [])) or say("no window reads it")
        name = f"input[{','.join(map(str, place if len(forward.x) > 1 else place[1:]))}]"
        lines.append(f"{name}: {terms} = {format_short(float(given.dx[place]))}")
    return lines


def list_shares(forward: Stepped, dy: NDArray) -> dict[tuple[int, ...], list[str]]:
    """For each cell of the grid what comes back to it from each position, as text."""
    found: dict[tuple[int, ...], list[str]] = {}
    for f, i, j in np.ndindex(forward.y.shape):
        slope = format_factor(float(dy[f, i, j]))
        trace = forward.at(i, j, f)
        for term in trace.terms:
            if term.at is None or (isinstance(forward.layer, MaxPool) and term.note != WON):
                continue
            place = tuple(map(int, term.at[term.at.index("[") + 1 : -1].split(",")))
            factor = f"·{format_factor(term.weight)}" if term.weight is not None else ""
            share = f" / {trace.steps[0].text.partition(' / ')[2]}" if isinstance(forward.layer, AvgPool) else ""
            found.setdefault(place, []).append(f"{slope}{factor}{share}")
    return found


def format_weight_gradients(given: SteppedBack) -> list[str]:
    """For each weight what it was multiplied by at every position, times the gradient there, and their sum."""
    weight = given.forward.tensors.get(f"{STEP_PATH}.weight")
    if weight is None:
        return []
    found: dict[str, list[str]] = {}
    for f, i, j in np.ndindex(given.forward.y.shape):
        slope = format_factor(float(given.dy[f, i, j]))
        for term in given.forward.at(i, j, f).terms:
            if term.weight_at and not is_bias(term):
                found.setdefault(term.weight_at, []).append(f"{slope}·{format_seen(term)}")
    lines = []
    for place in np.ndindex(weight.shape):
        terms = " + ".join(found[f"{STEP_PATH}.weight[{','.join(map(str, place))}]"])
        name = f"filter[{','.join(map(str, place if weight.shape[:2] != (1, 1) else place[2:]))}]"
        lines.append(f"{name}: {terms} = {format_short(float(given.tensors['weight'][place]))}")
    return ["\n".join(lines)]
