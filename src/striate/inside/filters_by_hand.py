"""A filter by hand: one kernel slid over one image, before anything is learned."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..architecture.layers import Conv
from ..architecture.window import Padding
from ..data.read.colour import LUMA
from ..engines.plain import windows
from ..errors import DataError, NetError, suggest_name
from ..language import say
from ..report import pictures
from ..report.sheet import add_caption, add_margin, convert_to_rgb, draw_text, place_beside

NINTH, SIXTEENTH = 1 / 9, 1 / 16
# The kernels by name. An edge finder answers with plus where left (or above) is brighter, with minus where it is
# darker; as in a convolution layer, the kernel is not flipped.
KERNELS: dict[str, list[list[float]]] = {
    "blur": [[NINTH] * 3] * 3,
    "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
    "gaussian": [[SIXTEENTH, 2 * SIXTEENTH, SIXTEENTH], [2 * SIXTEENTH, 4 * SIXTEENTH, 2 * SIXTEENTH],
                 [SIXTEENTH, 2 * SIXTEENTH, SIXTEENTH]],
    "horizontal": [[1, 1, 1], [0, 0, 0], [-1, -1, -1]],
    "identity": [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
    "laplacian": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "outline": [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]],
    "scharr": [[3, 0, -3], [10, 0, -10], [3, 0, -3]],
    "sharpen": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
    "sobel": [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
    "sobel-horizontal": [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    "vertical": [[1, 0, -1], [1, 0, -1], [1, 0, -1]],
}  # fmt: skip

# A kernel's side is at most so many.
LARGEST_KERNEL = 31

# A grid of at most so many rows and columns is drawn with its numbers.
MOST_CELLS = 16


@dataclass(frozen=True, eq=False)
class Filtered:
    """One kernel over one image.

    image   float64 C×H×W, of an image whole pixels 0 to 255, gray for a kernel of rows and columns; else any numbers
    kernel  float64 C×k×k'
    map     float64 H'×W'
    layer   the record of the convolution: stride, padding
    name    the kernel's, or "custom"
    """

    image: NDArray
    kernel: NDArray
    map: NDArray
    layer: Conv
    name: str

    def at(self, row: int, column: int) -> FilterPosition:
        """How one value of the map comes about. Raises DataError where the map has no such place."""
        h, w = self.map.shape
        if not (0 <= row < h and 0 <= column < w):
            rule = say("{size}, from 0", size=f"{h}×{w}")
            raise DataError("at", say("the feature map has no such place"), got=(row, column), rule=rule)
        rows, columns = windows.find_taps(self.layer, self.image.shape)
        patch = windows.see_windows(self.image[None], rows[row : row + 1], columns[column : column + 1])[0, :, 0, 0]
        return FilterPosition(row, column, patch, self.kernel, patch * self.kernel, float(self.map[row, column]))

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "kernel": self.kernel.tolist(),
            "name": self.name,
            "stride": self.layer.stride,
            "padding": self.layer.padding,
            "shape": list(self.map.shape),
            "map": self.map.tolist(),
        }


@dataclass(frozen=True, eq=False)
class FilterPosition:
    """One value of a feature map: the patch under the window (0 in the padding) times the kernel, summed.

    patch, kernel, products  float64 C×k×k'
    value                    the sum of the products
    """

    row: int
    column: int
    patch: NDArray
    kernel: NDArray
    products: NDArray
    value: float

    def __str__(self) -> str:
        """The patch, the kernel and the products as grids, and their sum."""
        lines = []
        blocks = [format_matrices(grids) for grids in (self.patch, self.kernel, self.products)]
        for c, parts in enumerate(zip(*blocks, strict=True)):
            if len(self.patch) > 1:
                lines.append(say("channel {channel}", channel=c))
            for i, (seen, weight, product) in enumerate(zip(*parts, strict=True)):
                times, gives = ("×", "=") if i == len(parts[0]) // 2 else (" ", " ")
                lines.append(f"{seen}  {times}  {weight}  {gives}  {product}".rstrip())
        total = say(
            "sum of the {count} products at row {row}, column {column}: {value}",
            count=self.products.size, row=self.row, column=self.column, value=format_kernel_number(self.value),
        )  # fmt: skip
        return "\n".join([*lines, total])


def filter_image(
    image: NDArray,
    kernel: str | Sequence | NDArray = "sobel",
    stride: int | tuple[int, int] = 1,
    padding: Padding = "valid",
) -> Filtered:
    """`kernel` slid over a uint8 image H×W×C (or H×W), by the convolution of the plain engine.

    kernel   a name of KERNELS, a matrix of numbers, or its text "[[1, 0, -1], …]"; a matrix of rows and columns reads
             the image in gray, three of them ("[[[…]], [[…]], [[…]]]") its three colours
    stride, padding  those of the layer Conv
    Raises NetError for a kernel that is none, ShapeError where it does not fit, DataError for what is no image.
    """
    name, weights = read_kernel(kernel)
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3)):
        got = f"{pixels.dtype} {'×'.join(map(str, pixels.shape))}"
        raise DataError("image", say("an image is a uint8 array H×W, H×W×1 or H×W×3"), got=got)
    x = pixels.reshape(*pixels.shape[:2], -1).astype(np.float64).transpose(2, 0, 1)
    if len(weights) != len(x):
        x = np.tensordot([LUMA], x, 1).round() if len(weights) == 1 else x.repeat(3, axis=0)
    return slide_kernel(x, name, weights, stride, padding)


def slide_kernel(
    x: NDArray, name: str, weights: NDArray, stride: int | tuple[int, int] = 1, padding: Padding = "valid"
) -> Filtered:
    """`weights`, C×k×k', slid over numbers C×H×W."""
    layer = Conv(1, (weights.shape[1], weights.shape[2]), stride, padding, bias=False)
    layer.out(x.shape)
    y = windows.forward_window(layer, x[None], {"weight": weights[None]})[0, 0]
    return Filtered(x, weights, y, layer, name)


def read_kernel(kernel: str | Sequence | NDArray) -> tuple[str, NDArray]:
    """A kernel's name and its numbers, C×k×k'. Raises NetError."""
    name = "custom"
    if isinstance(kernel, str):
        if kernel in KERNELS:
            name, kernel = kernel, KERNELS[kernel]
        elif "[" not in kernel:
            raise NetError(
                "kernel", say("there is no kernel '{name}'", name=kernel), hint=suggest_name(kernel, KERNELS)
            )
        else:
            kernel = parse_kernel(kernel)
    try:
        weights = np.array(kernel, np.float64)
    except (TypeError, ValueError):
        weights = np.zeros(0)
    weights = weights[None] if weights.ndim == 2 else weights
    sides = weights.shape[1:] if weights.ndim == 3 else ()
    if weights.ndim != 3 or len(weights) not in (1, 3) or not all(1 <= n <= LARGEST_KERNEL for n in sides):
        what, hint = say("this is not a kernel"), "[[1,0,-1],[2,0,-2],[1,0,-1]]"
        rule = say(
            "rows of equally many numbers, at most {most}×{most}, or three such matrices, one per a colour",
            most=LARGEST_KERNEL,
        )  # fmt: skip
        raise NetError("kernel", what, got=shorten_kernel(kernel), rule=rule, hint=hint)
    if not np.isfinite(weights).all():
        raise NetError("kernel", say("a kernel's numbers are finite"), got=shorten_kernel(kernel))
    return name, weights


def parse_kernel(text: str) -> Any:
    """The lists of numbers that the text writes; nothing in it is run. Raises NetError."""
    hint = say("[[1,0,-1],[2,0,-2],[1,0,-1]], or 1/9 as 0.1111")
    if len(text) > 20_000:
        raise NetError(
            "kernel", say("this text is too long for a kernel"), got=say("{count} characters", count=len(text))
        )
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        raise NetError("kernel", say("this is not a matrix of numbers"), got=shorten_kernel(text), hint=hint) from None


def shorten_kernel(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def format_kernel_number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e6 else f"{value:.3e}"


def format_matrices(grids: NDArray) -> list[list[str]]:
    """Matrices of one shape as lines, all numbers as wide as the widest."""
    width = max(len(format_kernel_number(v)) for v in grids.ravel())
    return [[" ".join(format_kernel_number(v).rjust(width) for v in row) for row in grid] for grid in grids]


def draw_kernel(kernel: NDArray, side: int = 34) -> NDArray:
    """The kernel as squares with their numbers, blue negative, white 0, orange positive, uint8 H×W×3."""
    return draw_cells(kernel, max(4, min(side, 4 * side // max(kernel.shape[1:]))))


def draw_cells(values: NDArray, side: int, digits: int = 2) -> NDArray:
    """Matrices C×h×w as squares of `side` pixels, coloured as in `draw_kernel`, from 20 on with their numbers."""
    shades = colour_signed(values.ravel())
    k, h, w = values.shape
    cells = []
    for shade, value in zip(shades, values.ravel(), strict=True):
        cell = np.empty((side, side, 3), np.uint8)
        cell[:] = shade
        if side >= 20:
            text = draw_text(f"{value:.{digits}g}".replace("0.", "."), 10)
            y, x = (side - text.shape[0]) // 2, max(0, (side - text.shape[1]) // 2)
            part = cell[y : y + text.shape[0], x : x + text.shape[1]]
            dark = 255 - text[:, : part.shape[1]]
            part[:] = part - np.minimum(part, dark) if shade.mean() > 110 else np.maximum(part, dark)
        cells.append(cell)
    sheets = [pictures.tile_pictures(np.stack(cells[c * h * w : (c + 1) * h * w]), w) for c in range(k)]
    return place_beside(sheets)


def draw_map(values: NDArray, gray: bool) -> NDArray:
    """A feature map as uint8 H×W×3: an image again, cut off at 0 and 255, or blue (negative), grey (0), orange."""
    if gray:
        return np.clip(values, 0, 255).round().astype(np.uint8)[..., None].repeat(3, axis=2)
    return colour_signed(values)


def colour_signed(values: NDArray) -> NDArray:
    """Blue where negative, grey at 0, orange where positive, `…` -> `…×3` uint8."""
    limit = float(abs(values).max(initial=0)) or 1.0
    return pictures.colour_shares(np.clip(values / limit / 2 + 0.5, 0, 1), pictures.SIGNED_COLOURS)


def draw_filtered(given: Filtered, side: int = 256) -> NDArray:
    """The image, the kernel and the feature map beside each other, uint8 H×W×3."""
    if max(given.image.shape[1:]) <= MOST_CELLS:
        return draw_filtered_cells(given)
    image = given.image.transpose(1, 2, 0).round().astype(np.uint8)
    size = "×".join(map(str, image.shape[:2]))
    about = describe_filter(given)
    low, high = format_kernel_number(given.map.min()), format_kernel_number(given.map.max())
    made = f"the feature map, {given.map.shape[0]}×{given.map.shape[1]}\n{low} to {high}"
    scale = max(1, side // max(image.shape[:2]))
    left = add_caption(
        pictures.reduce_picture(pictures.enlarge_picture(convert_to_rgb(image), scale), side), f"the image, {size}"
    )
    shrunk = max(image.shape[:2]) * scale / max(side, 1)
    right = pictures.enlarge_picture(draw_map(given.map, gray=bool(given.kernel.sum() > 1e-9)), scale)
    right = pictures.reduce_picture(right, max(1, round(max(right.shape[:2]) / max(shrunk, 1))))
    return add_margin(place_beside([left, add_caption(draw_kernel(given.kernel), about), add_caption(right, made)], 16))


def draw_filtered_cells(given: Filtered) -> NDArray:
    """A small grid, the kernel and the result beside each other, each number in its cell."""
    names = [
        f"{name}, {'×'.join(map(str, array.shape[-2:]))}"
        for name, array in (("the grid", given.image), ("the result", given.map))
    ]
    left, right = (draw_cells(values, 34, digits=4) for values in (given.image, given.map[None]))
    parts = [
        add_caption(left, names[0]),
        add_caption(draw_kernel(given.kernel), describe_filter(given)),
        add_caption(right, names[1]),
    ]
    return add_margin(place_beside(parts, 16))


def describe_filter(given: Filtered) -> str:
    step = given.layer.stride if isinstance(given.layer.stride, int) else "×".join(map(str, given.layer.stride))
    return f"{given.name}\nstride {step}, padding {given.layer.padding}"
