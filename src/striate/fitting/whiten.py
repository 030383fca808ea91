"""A first convolution made of the training images' own patches: their principal parts, each scaled to spread 1.

Page (2019, "How to train your ResNet 8") and Jordan (2024, arXiv 2404.00498, section 3.2) begin with such a layer and
leave it as it is: what follows sees values that are neither correlated nor of unequal size, and learns faster.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..architecture.layers import Conv
from ..architecture.net import Net
from ..architecture.window import make_pair
from ..data.images import standardise_pixels
from ..errors import RecipeError
from ..language import say

# So many of the images, and of their patches, are looked at; the same ones for a seed.
WHITENING_IMAGES, WHITENING_PATCHES = 2_000, 200_000

# Added to each variance, in units of the standardised pixels': directions with less are hardly there.
VARIANCE_FLOOR = 5e-4


def find_first_convolution(net: Net) -> str:
    """The path of the convolution that reads the image. Raises RecipeError where another layer is first."""
    for step in net.steps:
        if isinstance(step.layer, Conv) and step.x == net.input and step.layer.groups == 1:
            return step.path
        if step.inside == 0:
            break
    hint = say("leave whiten out, or begin the net with a Conv")
    raise RecipeError(
        "recipe.whiten", say("the first layer of {name} is not a plain convolution", name=net.name), hint=hint
    )


def whiten_filters(net: Net, fresh: np.ndarray, x: Any, mean: Any, std: Any, seed: int = 0) -> np.ndarray:
    """The weight of `net`'s first convolution, F×C×h×w: w·patch has variance 1 for a principal direction w, and

    −w follows, so that the ReLU after it loses nothing. Where F asks for more than 2·C·h·w of them, the rest stays
    `fresh`.

    x          the training images, uint8 N×H×W×C
    mean, std  of each channel, in units of 255, as the net will see them
    """
    layer = net.at(find_first_convolution(net)).layer
    height, width = make_pair(layer.kernel)  # type: ignore[attr-defined]
    draw = np.random.default_rng(seed)
    chosen = np.sort(draw.permutation(len(x))[:WHITENING_IMAGES])
    images = standardise_pixels(x[chosen], mean, std, np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(images, (height, width), axis=(2, 3))
    n, c, rows, columns = windows.shape[:4]
    at = draw.integers(0, (n, rows, columns), (WHITENING_PATCHES, 3))
    patches = windows[at[:, 0], :, at[:, 1], at[:, 2]].reshape(WHITENING_PATCHES, c * height * width)
    variances, directions = np.linalg.eigh(patches.T @ patches / WHITENING_PATCHES)
    found = (directions / np.sqrt(np.maximum(variances, 0) + VARIANCE_FLOOR)).T[::-1]  # the largest first
    half = min(len(found), (len(fresh) + 1) // 2)
    both = np.concatenate([found[:half], -found[:half]])[: len(fresh)]
    weight = fresh.astype(np.float32).copy()
    weight[: len(both)] = both.reshape(-1, *fresh.shape[1:])
    return weight
