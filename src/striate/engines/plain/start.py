"""Fresh weights by each record's initialisation, and the masks of dropping layers, drawn with NumPy."""

from __future__ import annotations

import numpy as np

from ...arch import layers as L
from ...arch.init import start
from ...arch.net import Net

Array = np.ndarray


def initial(net: Net, seed: int = 0) -> dict[str, Array]:
    """Fresh float64 tensors for `net`, drawn as its records say. The numbers are not torch's, the distributions are."""
    draw = np.random.default_rng(seed)
    made = {}
    for name, tensor in net.tensors.items():
        kind, scale = start(tensor.init, tensor.fan_in, tensor.fan_out)
        if kind == "uniform":
            value = draw.uniform(-scale, scale, tensor.shape)
        elif kind == "normal":
            value = draw.normal(0, scale, tensor.shape)
        elif kind == "dirac":
            value = dirac(tensor.shape)
        else:
            value = np.full(tensor.shape, scale)
        made[name] = value
    return made


def dirac(shape: tuple[int, ...]) -> Array:
    """A convolution that passes its channels on: 1 in the middle of filter i's channel i, else 0."""
    weight = np.zeros(shape)
    for i in range(min(shape[:2])):
        weight[(i, i, *(side // 2 for side in shape[2:]))] = 1
    return weight


def draw_masks(net: Net, n: int, seed: int = 0) -> dict[str, Array]:
    """For each layer that drops at random, what it keeps of `n` images: 1 with probability 1 − rate, else 0."""
    draw = np.random.default_rng(seed)
    masks = {}
    for step in net.steps:
        match step.layer:
            case L.Dropout(rate=rate):
                masks[step.path] = (draw.random((n, *step.x)) >= rate) * 1.0
            case L.StochasticDepth(rate=rate):
                masks[step.path] = (draw.random((n, *(1,) * len(step.x))) >= rate) * 1.0
    return masks


def keep_all(net: Net) -> dict[str, Array]:
    """Masks under which nothing is dropped in training: what is kept is divided by 1 − rate, and so is this."""
    dropping = [step for step in net.steps if isinstance(step.layer, L.Dropout | L.StochasticDepth)]
    return {step.path: np.array(1 - step.layer.rate) for step in dropping}  # type: ignore[attr-defined]
