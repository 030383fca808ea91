"""VGG. Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2014."""

from __future__ import annotations

from typing import Any

from ..layers import BatchNorm, Conv, Dense, Dropout, Flatten, GlobalAvgPool, Layer, MaxPool, ReLU, Sequence, Shape
from ..net import Net
from .options import pick_option, scale_filters

# The paper's table 1, columns A, B, D and E: how many 3×3 convolutions each of the five blocks has.
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
FILTERS = (64, 128, 256, 512, 512)


def vgg(
    depth: int,
    norm: bool = False,
    classes: int = 1000,
    input: Shape = (3, 224, 224),
    *,
    width: float = 1.0,
    head: str = "dense",
    dropout: float = 0.5,
) -> Net:
    """Five blocks of 3×3 convolutions, each block halved by pooling, then three dense layers.

    norm  BatchNorm after each convolution
    head  "dense" with two hidden layers of 4,096 units, or "gap": the mean of each map and one dense layer
    """
    units = scale_filters(4096, width)
    dense = [
        Flatten(),
        Dense(units, init="he_normal"),
        ReLU(),
        Dropout(dropout),
        Dense(units, init="he_normal"),
        ReLU(),
        Dropout(dropout),
        Dense(classes),
    ]
    gap = [GlobalAvgPool(), Dropout(dropout), Dense(classes)]
    blocks = [
        build_vgg_block(f"block{i}", convolutions, scale_filters(filters, width), norm)
        for i, (convolutions, filters) in enumerate(zip(CONVOLUTIONS[depth], FILTERS, strict=True), start=1)
    ]
    layers = [*blocks, *pick_option("head", head, {"dense": dense, "gap": gap})]
    return Net(input, layers, name=f"vgg{depth}_bn" if norm else f"vgg{depth}")


def build_vgg_block(name: str, convolutions: int, filters: int, norm: bool) -> Sequence:
    """3×3 convolutions with ReLU, and one 2×2 pooling."""
    layers: list[Layer] = []
    for _ in range(convolutions):
        conv = Conv(filters, 3, padding=1, init="he_out_normal")
        layers += [conv, BatchNorm(), ReLU()] if norm else [conv, ReLU()]
    return Sequence(*layers, MaxPool(2), name=name)


def vgg11(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """Column A: 132,863,336 parameters. Options as in `vgg`."""
    return vgg(11, False, classes, input, **options)


def vgg11_bn(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """Column A with BatchNorm. Options as in `vgg`."""
    return vgg(11, True, classes, input, **options)


def vgg13(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """Column B: 133,047,848 parameters. Options as in `vgg`."""
    return vgg(13, False, classes, input, **options)


def vgg13_bn(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """Column B with BatchNorm. Options as in `vgg`."""
    return vgg(13, True, classes, input, **options)


def vgg16(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """Column D: 138,357,544 parameters. Options as in `vgg`."""
    return vgg(16, False, classes, input, **options)


def vgg16_bn(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """Column D with BatchNorm. Options as in `vgg`."""
    return vgg(16, True, classes, input, **options)


def vgg19(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """Column E: 143,667,240 parameters. Options as in `vgg`."""
    return vgg(19, False, classes, input, **options)


def vgg19_bn(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """Column E with BatchNorm. Options as in `vgg`."""
    return vgg(19, True, classes, input, **options)
