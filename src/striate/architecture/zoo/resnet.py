"""ResNet. He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2015.

And its two descendants that change widths only: Zagoruyko and Komodakis, "Wide residual networks", 2016; Xie et al.,
"Aggregated residual transformations for deep neural networks" (ResNeXt), 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..layers import Dense, GlobalAvgPool, Identity, Layer, MaxPool, Parallel, ReLU, Sequence, Shape
from ..net import Net
from .googlenet import build_conv_bn
from .options import pick_option, scale_filters

# filters -> what is done to the main branch before it is added: squeeze-and-excitation.
GateBuilder = Callable[[int], Layer]


def build_bottleneck(
    name: str,
    filters: int,
    inner: int,
    shortcut: Layer,
    stride: int = 1,
    *,
    first: int = 1,
    groups: int = 1,
    gate: GateBuilder | None = None,
) -> list[Layer]:
    """1×1 down to `inner` maps, 3×3, 1×1 up to `filters`, added to the shortcut (figure 5, right), then ReLU.

    first   the stride of the first 1×1; `stride` that of the 3×3
    groups  ResNeXt's cardinality: the 3×3 works on so many parts of its maps
    """
    main = [
        *build_conv_bn(inner, 1, first),
        *build_conv_bn(inner, 3, stride, groups=groups),
        *build_conv_bn(filters, 1, activation=None),
        *([gate(filters)] if gate else []),
    ]
    return build_residual(name, main, shortcut)


def build_basic(
    name: str, filters: int, shortcut: Layer, stride: int = 1, gate: GateBuilder | None = None
) -> list[Layer]:
    """Two 3×3 convolutions, added to the shortcut (figure 5, left), then ReLU."""
    main = [
        *build_conv_bn(filters, 3, stride),
        *build_conv_bn(filters, 3, activation=None),
        *([gate(filters)] if gate else []),
    ]
    return build_residual(name, main, shortcut)


def build_residual(name: str, main: list[Layer], shortcut: Layer) -> list[Layer]:
    """ReLU(main(x) + shortcut(x))."""
    return [Parallel(Sequence(*main, name="main"), shortcut, join="add", name=name), ReLU()]


def build_projection(filters: int, stride: int) -> Sequence:
    """The shortcut where the main branch changes the shape: a 1×1 convolution (option B)."""
    return Sequence(*build_conv_bn(filters, 1, stride, activation=None), name="shortcut")


def resnet(
    name: str,
    depths: tuple[int, int, int, int],
    classes: int = 1000,
    input: Shape = (3, 224, 224),
    *,
    deep: bool = True,
    width: float = 1.0,
    stride_in: str = "3x3",
    groups: int = 1,
    group_width: int = 64,
    gate: GateBuilder | None = None,
) -> Net:
    """A 7×7 convolution, pooling, four stages of residual blocks (`depths` of them), the mean, one dense layer.

    deep         bottleneck blocks, or else basic ones
    stride_in    where a stage halves its maps: the first block's "3x3" (torchvision and most others, called v1.5),
                 its first "1x1" (the paper and Keras), or the "last" block's 3×3, so at the end of stages 1 to 3
                 (TF-slim, which also pools with "same" padding); the receptive field differs
    groups       ResNeXt's cardinality
    group_width  maps of the first stage's 3×3, for each group; 128 in the wide nets
    """
    place = pick_option("stride_in", stride_in, {"1x1": "1x1", "3x3": "3x3", "last": "last"})
    layers: list[Layer] = [
        *build_conv_bn(scale_filters(64, width), 7, stride=2),
        MaxPool(3, stride=2, padding="same" if place == "last" else 1),
    ]
    before = scale_filters(64, width)
    for i, depth in enumerate(depths):
        inner = scale_filters(group_width * 2**i * groups, width, groups) if deep else scale_filters(64 * 2**i, width)
        filters = scale_filters(256 * 2**i, width) if deep else inner
        blocks: list[Layer] = []
        for k in range(depth):
            halves = (k == depth - 1 and i < 3) if place == "last" else (k == 0 and i > 0)
            stride = 2 if halves else 1
            shortcut: Layer = Identity(name="shortcut")
            if before != filters or (halves and place != "last"):
                shortcut = build_projection(filters, stride)
            elif halves:
                shortcut = MaxPool(1, stride=2, name="shortcut")
            if deep:
                first, second = (stride, 1) if place == "1x1" else (1, stride)
                blocks += build_bottleneck(
                    f"block{k + 1}", filters, inner, shortcut, second, first=first, groups=groups, gate=gate
                )
            else:
                blocks += build_basic(f"block{k + 1}", filters, shortcut, stride, gate)
            before = filters
        layers.append(Sequence(*blocks, name=f"layer{i + 1}"))
    return Net(input, [*layers, GlobalAvgPool(), Dense(classes, init="torch")], name=name)


def resnet18(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ResNet-18: 11,689,512 parameters. Options as in `resnet`."""
    return resnet("resnet18", (2, 2, 2, 2), classes, input, deep=False, **options)


def resnet34(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ResNet-34: 21,797,672 parameters. Options as in `resnet`."""
    return resnet("resnet34", (3, 4, 6, 3), classes, input, deep=False, **options)


def resnet50(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ResNet-50: 25,557,032 parameters. Options as in `resnet`."""
    return resnet("resnet50", (3, 4, 6, 3), classes, input, **options)


def resnet101(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ResNet-101: 44,549,160 parameters. Options as in `resnet`."""
    return resnet("resnet101", (3, 4, 23, 3), classes, input, **options)


def resnet152(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ResNet-152: 60,192,808 parameters. Options as in `resnet`."""
    return resnet("resnet152", (3, 8, 36, 3), classes, input, **options)


def wide_resnet50_2(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ResNet-50 with twice the maps in each 3×3: 68,883,240 parameters. Options as in `resnet`."""
    return resnet("wide_resnet50_2", (3, 4, 6, 3), classes, input, group_width=128, **options)


def wide_resnet101_2(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ResNet-101 with twice the maps in each 3×3: 126,886,696 parameters. Options as in `resnet`."""
    return resnet("wide_resnet101_2", (3, 4, 23, 3), classes, input, group_width=128, **options)


def resnext50_32x4d(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ResNeXt-50, 32 groups of 4: 25,028,904 parameters. Options as in `resnet`."""
    return resnet("resnext50_32x4d", (3, 4, 6, 3), classes, input, groups=32, group_width=4, **options)


def resnext101_32x8d(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ResNeXt-101, 32 groups of 8: 88,791,336 parameters. Options as in `resnet`."""
    return resnet("resnext101_32x8d", (3, 4, 23, 3), classes, input, groups=32, group_width=8, **options)


def resnext101_64x4d(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ResNeXt-101, 64 groups of 4: 83,455,272 parameters. Options as in `resnet`."""
    return resnet("resnext101_64x4d", (3, 4, 23, 3), classes, input, groups=64, group_width=4, **options)
