"""The input that a channel prefers, made by optimisation: what it answers to, drawn by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..architecture.net import Net
from ..errors import ModelError
from ..language import say
from ..report.sheet import add_caption, add_margin, arrange_grid, scale_for_sheet
from .examples import cut_patch, locate_field
from .gradients import INPUT_PATH, make_differentiable
from .trust import blur_image


@dataclass(frozen=True, eq=False)
class Dream:
    """Images that raise one channel each.

    images  uint8 K×H×W×C, one a channel
    values  what was raised, (steps + 1)×K: at the noise that it began with, and after each step
    """

    path: str
    channels: tuple[int, ...]
    images: NDArray
    values: NDArray


def dream_channels(
    net: Net,
    tensors: Mapping[str, NDArray],
    mean: Iterable[float],
    std: Iterable[float],
    path: str,
    channels: Iterable[int] | None = None,
    *,
    centre: bool = False,
    steps: int = 128,
    rate: float = 0.08,
    jitter: int | None = None,
    blur: float = 0.6,
    seed: int = 0,
    engine: str | None = None,
) -> Dream:
    """For each of `channels` of the layer `path` (None: the first 12) the image that raises it, from noise on.

    mean, std  of the preprocessing, per colour, pixels counted 0 to 1: the image stays within what a photo can hold
    centre     raise the value in the middle of the map, and return its receptive field alone; else the map's mean
    rate       how far a step goes, in units of `std`, along the gradient scaled to a mean square of 1
    jitter     before each step the image is shifted by up to so many pixels, so that no pixel's phase is favoured;
               None: a sixteenth of its shorter side, and 0 for the centre
    blur       the Gaussian, in pixels, that takes high frequencies away after every fourth step but the last few
    Olah, Mordvintsev and Schubert 2017, "Feature Visualization". Raises NetError, ModelError.
    """
    step = net.at(path)
    chosen = tuple(range(min(step.y[0], 12)) if channels is None else channels)
    for channel in chosen:
        if not 0 <= channel < step.y[0]:
            raise ModelError(path, say("no channel has this number"), got=channel, rule=f"0 to {step.y[0] - 1}")
    middle, spread = (np.reshape(np.array([*v], np.float64), (-1, 1, 1)) for v in (mean, std))
    least, most = -middle / spread, (1 - middle) / spread
    middles = tuple(n // 2 for n in step.y[1:])
    weights = np.zeros((len(chosen), *step.y))
    for k, channel in enumerate(chosen):
        weights[(k, channel, *middles) if centre else (k, channel)] = 1 if centre else 1 / np.prod(step.y[1:])
    differentiate = make_differentiable(net, tensors, engine)
    generator = np.random.default_rng(seed)
    x = np.clip(0.1 * generator.standard_normal((len(chosen), *net.input)), least, most)
    far = (0 if centre else max(1, min(net.input[1:]) // 16)) if jitter is None else jitter
    values = []
    for k in range(steps):
        down, right = generator.integers(-far, far + 1, 2)
        found = differentiate(np.roll(x, (down, right), (2, 3)), path, weights, INPUT_PATH)
        values.append(found.values)
        slope = np.roll(found.slope.astype(np.float64), (-down, -right), (2, 3))
        size = np.sqrt((slope**2).mean(axis=(1, 2, 3), keepdims=True))
        x = np.clip(x + rate * slope / np.maximum(size, 1e-12), least, most)
        if blur and k % 4 == 3 and k < steps - 8:
            x = np.stack([blur_image(image, blur) for image in x])
    values.append(differentiate(x, path, weights, INPUT_PATH).values)
    pixels = np.clip((x * spread + middle) * 255, 0, 255).round().astype(np.uint8).transpose(0, 2, 3, 1)
    if centre:
        box = locate_field(step, middles, net.input[1:])
        pixels = np.stack([cut_patch(image, box) for image in pixels])
    return Dream(path, chosen, pixels, np.array(values))


def draw_dream(given: Dream, columns: int = 6, side: int = 112) -> NDArray:
    """The images, each with its layer and channel, uint8 H×W×3."""
    cells = [
        add_caption(scale_for_sheet(image, side), f"{given.path}, channel {c}\n{first:.3g} to {last:.3g}", 10)
        for c, image, first, last in zip(given.channels, given.images, given.values[0], given.values[-1], strict=True)
    ]
    return add_margin(arrange_grid(cells, columns))
