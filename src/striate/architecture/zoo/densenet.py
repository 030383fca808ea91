"""DenseNet-BC. Huang, Liu, van der Maaten and Weinberger, "Densely connected convolutional networks", 2016."""

from __future__ import annotations

from typing import Any

from ..layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    GlobalAvgPool,
    Identity,
    Layer,
    MaxPool,
    Parallel,
    ReLU,
    Sequence,
    Shape,
)
from ..net import Net
from .googlenet import build_conv_bn
from .options import scale_filters


def build_dense_layer(name: str, growth: int) -> Parallel:
    """`growth` new maps, by a 1×1 and a 3×3 convolution of all that came before, put behind all that came before."""
    new = [
        BatchNorm(),
        ReLU(),
        Conv(4 * growth, 1, bias=False, init="he_normal"),
        BatchNorm(),
        ReLU(),
        Conv(growth, 3, padding=1, bias=False, init="he_normal"),
    ]
    return Parallel(Identity(name="old"), Sequence(*new, name="new"), name=name)


def build_transition(name: str, filters: int) -> Sequence:
    """Half the maps, each half as high and wide."""
    return Sequence(BatchNorm(), ReLU(), Conv(filters, 1, bias=False, init="he_normal"), AvgPool(2), name=name)


def densenet(
    name: str,
    depths: tuple[int, int, int, int],
    classes: int = 1000,
    input: Shape = (3, 224, 224),
    *,
    growth: int = 32,
    width: float = 1.0,
) -> Net:
    """Four dense blocks of `depths` layers, each layer adding `growth` maps, with transitions between them."""
    growth = scale_filters(growth, width)
    maps = 2 * growth
    layers: list[Layer] = [*build_conv_bn(maps, 7, stride=2), MaxPool(3, stride=2, padding=1)]
    for i, depth in enumerate(depths, start=1):
        layers.append(
            Sequence(*[build_dense_layer(f"layer{k + 1}", growth) for k in range(depth)], name=f"denseblock{i}")
        )
        maps += depth * growth
        if i < 4:
            maps //= 2
            layers.append(build_transition(f"transition{i}", maps))
    layers += [BatchNorm(), ReLU(), GlobalAvgPool(), Dense(classes, init="torch")]
    return Net(input, layers, name=name)


def densenet121(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """DenseNet-121: 7,978,856 parameters. Options as in `densenet`."""
    return densenet("densenet121", (6, 12, 24, 16), classes, input, **options)


def densenet161(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """DenseNet-161, which grows by 48 maps a layer: 28,681,000 parameters. Options as in `densenet`."""
    return densenet("densenet161", (6, 12, 36, 24), classes, input, **{"growth": 48, **options})


def densenet169(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """DenseNet-169: 14,149,480 parameters. Options as in `densenet`."""
    return densenet("densenet169", (6, 12, 32, 32), classes, input, **options)


def densenet201(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """DenseNet-201: 20,013,928 parameters. Options as in `densenet`."""
    return densenet("densenet201", (6, 12, 48, 32), classes, input, **options)
