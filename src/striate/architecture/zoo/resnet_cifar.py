"""ResNets for 32×32 images: thin and deep, as in He et al., "Deep residual learning for image recognition", 2015, 4.2.

And the wide one: Zagoruyko and Komodakis, "Wide residual networks", 2016.
"""

from __future__ import annotations

from typing import Any

from ..layers import (
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    GlobalAvgPool,
    Identity,
    Layer,
    MaxPool,
    PadChannels,
    Parallel,
    ReLU,
    Sequence,
    Shape,
)
from ..net import Net
from .googlenet import build_conv_bn
from .options import pick_option, scale_filters
from .resnet import build_basic, build_projection


def resnet_cifar(
    depth: int, classes: int = 10, input: Shape = (3, 32, 32), *, option: str = "A", width: float = 1.0
) -> Net:
    """6n + 2 layers: a 3×3 convolution, three stages of n basic blocks with 16, 32 and 64 maps, the mean, one dense.

    option  the shortcut where a stage halves its maps: "A" takes every second pixel and adds empty channels, no
            parameters, as in the paper; "B" is a 1×1 convolution
    """
    pick_option("option", option, {"A": True, "B": True})
    before = scale_filters(16, width)
    layers: list[Layer] = build_conv_bn(before, 3)
    for i in range(3):
        filters = scale_filters(16 * 2**i, width)
        blocks: list[Layer] = []
        for k in range((depth - 2) // 6):
            halves = k == 0 and i > 0
            shortcut: Layer = Identity(name="shortcut")
            if halves:
                shortcut = build_thinned(before, filters) if option == "A" else build_projection(filters, 2)
            blocks += build_basic(f"block{k + 1}", filters, shortcut, 2 if halves else 1)
        before = filters
        layers.append(Sequence(*blocks, name=f"layer{i + 1}"))
    return Net(input, [*layers, GlobalAvgPool(), Dense(classes, init="torch")], name=f"resnet{depth}")


def build_thinned(before: int, after: int) -> Sequence:
    """Every second pixel, and zero channels around (option A)."""
    more = after - before
    return Sequence(MaxPool(1, stride=2), PadChannels(more // 2, more - more // 2), name="shortcut")


def resnet20(classes: int = 10, input: Shape = (3, 32, 32), **options: Any) -> Net:
    """269,722 parameters, the paper's 0.27M. Options as in `resnet_cifar`."""
    return resnet_cifar(20, classes, input, **options)


def resnet32(classes: int = 10, input: Shape = (3, 32, 32), **options: Any) -> Net:
    """464,154 parameters, the paper's 0.46M. Options as in `resnet_cifar`."""
    return resnet_cifar(32, classes, input, **options)


def resnet44(classes: int = 10, input: Shape = (3, 32, 32), **options: Any) -> Net:
    """658,586 parameters, the paper's 0.66M. Options as in `resnet_cifar`."""
    return resnet_cifar(44, classes, input, **options)


def resnet56(classes: int = 10, input: Shape = (3, 32, 32), **options: Any) -> Net:
    """853,018 parameters, the paper's 0.85M. Options as in `resnet_cifar`."""
    return resnet_cifar(56, classes, input, **options)


def resnet110(classes: int = 10, input: Shape = (3, 32, 32), **options: Any) -> Net:
    """1,727,962 parameters, the paper's 1.7M. Options as in `resnet_cifar`."""
    return resnet_cifar(110, classes, input, **options)


def wrn_28_10(classes: int = 10, input: Shape = (3, 32, 32), *, width: float = 1.0, dropout: float = 0.0) -> Net:
    """WRN-28-10: 28 layers, ten times as wide, each convolution behind its BatchNorm and ReLU; 36.5 million parameters.

    dropout  between the two convolutions of a block; 0.3 in the paper's table 6
    """
    layers: list[Layer] = [Conv(16, 3, padding=1, bias=False, init="he_out_normal")]
    before = 16
    for i in range(3):
        filters = scale_filters(160 * 2**i, width)
        blocks = []
        for k in range(4):
            blocks.append(build_wide_block(f"block{k + 1}", before, filters, 2 if k == 0 and i > 0 else 1, dropout))
            before = filters
        layers.append(Sequence(*blocks, name=f"layer{i + 1}"))
    layers += [BatchNorm(), ReLU(), GlobalAvgPool(), Dense(classes, init="torch")]
    return Net(input, layers, name="wrn_28_10")


def build_wide_block(name: str, before: int, filters: int, stride: int, dropout: float) -> Layer:
    """BatchNorm, ReLU, 3×3, twice, added to the shortcut; a 1×1 shortcut shares the first BatchNorm and ReLU."""
    conv1 = Conv(filters, 3, stride, 1, bias=False, init="he_out_normal")
    conv2 = Conv(filters, 3, 1, 1, bias=False, init="he_out_normal")
    drop = [Dropout(dropout)] if dropout else []
    after = [conv1, BatchNorm(), ReLU(), *drop, conv2]
    if before == filters and stride == 1:
        return Parallel(
            Sequence(BatchNorm(), ReLU(), *after, name="main"), Identity(name="shortcut"), join="add", name=name
        )
    shortcut = Conv(filters, 1, stride, bias=False, init="he_out_normal", name="shortcut")
    return Sequence(
        BatchNorm(), ReLU(), Parallel(Sequence(*after, name="main"), shortcut, join="add", name="join"), name=name
    )
