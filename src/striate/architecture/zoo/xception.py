"""Xception. Chollet, "Xception: deep learning with depthwise separable convolutions", 2016."""

from __future__ import annotations

from collections.abc import Iterable

from ..layers import BatchNorm, Conv, Dense, GlobalAvgPool, Identity, Layer, MaxPool, Parallel, ReLU, Sequence, Shape
from ..net import Net
from .googlenet import build_conv_bn
from .options import scale_filters


def build_separable(before: int, filters: int, name: str) -> list[Layer]:
    """A 3×3 in each channel alone, a 1×1 across the channels, BatchNorm; nothing between the two."""
    return [
        Conv(before, 3, padding=1, groups=before, bias=False, init="he_out_normal", name=f"depthwise{name}"),
        Conv(filters, 1, bias=False, init="he_out_normal", name=f"pointwise{name}"),
        BatchNorm(name=f"bn{name}"),
    ]


def build_xception_block(
    name: str, before: int, filters: Iterable[int], stride: int, relu_first: bool = True
) -> Parallel:
    """Separable convolutions with `filters` maps, ReLU before each, around them a shortcut (figure 5).

    With stride 2 the main branch ends in pooling, and the shortcut is a 1×1 convolution.
    """
    main: list[Layer] = []
    first = before
    for i, after in enumerate(filters, start=1):
        main += [ReLU()] if relu_first or i > 1 else []
        main += build_separable(before, after, str(i))
        before = after
    shortcut: Layer = Identity(name="shortcut")
    if stride > 1 or before != first:
        main += [MaxPool(3, stride=stride, padding=1)]
        shortcut = Sequence(*build_conv_bn(before, 1, stride, activation=None), name="shortcut")
    return Parallel(Sequence(*main, name="main"), shortcut, join="add", name=name)


def xception(classes: int = 1000, input: Shape = (3, 299, 299), *, width: float = 1.0) -> Net:
    """Xception: 22,855,952 parameters. Entry flow, eight equal blocks in the middle, exit flow."""

    def w(filters: int) -> int:
        return scale_filters(filters, width)

    return Net(
        input=input,
        layers=[
            *build_conv_bn(w(32), 3, stride=2, padding="valid"),
            *build_conv_bn(w(64), 3, padding="valid"),
            build_xception_block("block1", w(64), [w(128), w(128)], stride=2, relu_first=False),
            build_xception_block("block2", w(128), [w(256), w(256)], stride=2),
            build_xception_block("block3", w(256), [w(728), w(728)], stride=2),
            *[build_xception_block(f"block{i}", w(728), [w(728), w(728), w(728)], stride=1) for i in range(4, 12)],
            build_xception_block("block12", w(728), [w(728), w(1024)], stride=2),
            *build_separable(w(1024), w(1536), "3"),
            ReLU(),
            *build_separable(w(1536), w(2048), "4"),
            ReLU(),
            GlobalAvgPool(),
            Dense(classes, init="torch"),
        ],
        name="xception",
    )
