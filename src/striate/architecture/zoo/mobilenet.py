"""MobileNet v1, v2 and v3.

Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications", 2017.
Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018.
Howard et al., "Searching for MobileNetV3", 2019.
"""

from __future__ import annotations

from ..layers import (
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    GlobalAvgPool,
    HardSigmoid,
    HardSwish,
    Identity,
    Layer,
    Parallel,
    ReLU,
    ReLU6,
    Sequence,
    Shape,
    StochasticDepth,
)
from ..net import Net
from ..window import Padding
from .googlenet import build_conv_bn
from .options import pick_option, scale_filters
from .senet import build_squeeze_excite


def round_to_eights(filters: float) -> int:
    """The nearest multiple of 8, and the next one where that is under nine tenths of `filters`.

    >>> round_to_eights(32), round_to_eights(24 * 0.5), round_to_eights(16 * 0.35)
    (32, 16, 8)
    """
    near = max(8, int(filters + 4) // 8 * 8)
    return near if near >= 0.9 * filters else near + 8


def choose_padding(padding: str, kernel: int) -> Padding:
    """Half the kernel on each side ("symmetric", as torch nets have it), or "same" as TensorFlow pads."""
    choices: dict[str, Padding] = {"symmetric": kernel // 2, "same": "same"}
    return pick_option("padding", padding, choices)


def build_conv_unit(
    name: str,
    filters: int,
    kernel: int,
    stride: int = 1,
    *,
    padding: str = "symmetric",
    groups: int = 1,
    norm: BatchNorm,
    activation: Layer | None,
) -> list[Layer]:
    """A convolution under its role's `name` ("expand", "depthwise", "project"), its BatchNorm and activation."""
    pad = choose_padding(padding, kernel)
    conv = Conv(filters, kernel, stride, pad, groups=groups, bias=False, init="he_out_normal", name=name)
    bn = BatchNorm(norm.eps, norm.momentum, name=f"{name}_bn")
    return [conv, bn, activation] if activation else [conv, bn]


def build_inverted_residual(
    name: str,
    before: int,
    inner: int,
    filters: int,
    kernel: int,
    stride: int,
    *,
    activation: Layer,
    norm: BatchNorm,
    padding: str = "symmetric",
    gate: Parallel | None = None,
    drop: float = 0.0,
) -> Layer:
    """1×1 up to `inner` maps, a depthwise convolution there, 1×1 down to `filters`, no activation at the end.

    Where it keeps the shape, the input is added (v2, figure 4b).
    gate  squeeze-and-excitation before the last convolution (v3, figure 4); drop  stochastic depth
    """
    main: list[Layer] = []
    if inner != before:
        main += build_conv_unit("expand", inner, 1, norm=norm, activation=activation)
    main += build_conv_unit(
        "depthwise", inner, kernel, stride, padding=padding, groups=inner, norm=norm, activation=activation
    )
    main += [gate] if gate else []
    main += build_conv_unit("project", filters, 1, norm=norm, activation=None)
    if stride > 1 or before != filters:
        return Sequence(*main, name=name)
    main += [StochasticDepth(drop)] if drop else []
    return Parallel(Sequence(*main, name="main"), Identity(name="shortcut"), join="add", name=name)


def mobilenet_v1(
    classes: int = 1000,
    input: Shape = (3, 224, 224),
    *,
    width: float = 1.0,
    padding: str = "symmetric",
    dropout: float = 0.001,
) -> Net:
    """MobileNet v1: depthwise 3×3 and pointwise 1×1 in turn (table 1); 4,231,976 parameters.

    padding  "symmetric", or "same" as TensorFlow pads
    """

    def separable(name: str, before: int, filters: int, stride: int) -> Sequence:
        depthwise = build_conv_unit(
            "depthwise", before, 3, stride, padding=padding, groups=before, norm=BatchNorm(), activation=ReLU6()
        )
        pointwise = build_conv_unit("pointwise", filters, 1, norm=BatchNorm(), activation=ReLU6())
        return Sequence(*depthwise, *pointwise, name=name)

    before = scale_filters(32, width)
    start = choose_padding(padding, 3)
    layers: list[Layer] = build_conv_bn(before, 3, 2, padding=start, activation=ReLU6())
    # maps, stride of the first block, blocks
    for i, (maps, stride, repeat) in enumerate([(64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 2, 6), (1024, 2, 2)], 1):
        filters = scale_filters(maps, width)
        blocks = []
        for k in range(repeat):
            blocks.append(separable(f"block{k + 1}", before, filters, stride if k == 0 else 1))
            before = filters
        layers.append(Sequence(*blocks, name=f"stage{i}"))
    return Net(input, [*layers, GlobalAvgPool(), Dropout(dropout), Dense(classes, init="torch")], name="mobilenet_v1")


def mobilenet_v2(
    classes: int = 1000,
    input: Shape = (3, 224, 224),
    *,
    width: float = 1.0,
    padding: str = "symmetric",
    dropout: float = 0.2,
) -> Net:
    """MobileNet v2: inverted residuals (table 2); 3,504,872 parameters.

    padding  "symmetric", or "same" as TensorFlow pads
    """
    # expansion, maps, blocks, stride of the first
    table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    before = round_to_eights(scale_filters(32, width))
    start = choose_padding(padding, 3)
    layers: list[Layer] = build_conv_bn(before, 3, 2, padding=start, activation=ReLU6())
    for i, (expansion, maps, repeat, stride) in enumerate(table, start=1):
        filters = round_to_eights(maps * width)
        blocks = []
        for k in range(repeat):
            step = stride if k == 0 else 1
            blocks.append(
                build_inverted_residual(
                    f"block{k + 1}",
                    before,
                    before * expansion,
                    filters,
                    3,
                    step,
                    activation=ReLU6(),
                    norm=BatchNorm(),
                    padding=padding,
                )  # fmt: skip
            )
            before = filters
        layers.append(Sequence(*blocks, name=f"stage{i}"))
    last = build_conv_bn(round_to_eights(1280 * max(1.0, width)), 1, activation=ReLU6())
    return Net(input, [*layers, *last, GlobalAvgPool(), Dropout(dropout), Dense(classes)], name="mobilenet_v2")


# Tables 1 and 2 of the v3 paper, a list a stage:
# kernel, maps inside, maps out, squeeze-and-excitation, activation (RE is ReLU, HS hard swish), stride
V3_LARGE = [
    [(3, 16, 16, False, "RE", 1)],
    [(3, 64, 24, False, "RE", 2), (3, 72, 24, False, "RE", 1)],
    [(5, 72, 40, True, "RE", 2), (5, 120, 40, True, "RE", 1), (5, 120, 40, True, "RE", 1)],
    [
        (3, 240, 80, False, "HS", 2),
        (3, 200, 80, False, "HS", 1),
        (3, 184, 80, False, "HS", 1),
        (3, 184, 80, False, "HS", 1),
    ],
    [(3, 480, 112, True, "HS", 1), (3, 672, 112, True, "HS", 1)],
    [(5, 672, 160, True, "HS", 2), (5, 960, 160, True, "HS", 1), (5, 960, 160, True, "HS", 1)],
]
V3_SMALL = [
    [(3, 16, 16, True, "RE", 2)],
    [(3, 72, 24, False, "RE", 2), (3, 88, 24, False, "RE", 1)],
    [(5, 96, 40, True, "HS", 2), (5, 240, 40, True, "HS", 1), (5, 240, 40, True, "HS", 1)],
    [(5, 120, 48, True, "HS", 1), (5, 144, 48, True, "HS", 1)],
    [(5, 288, 96, True, "HS", 2), (5, 576, 96, True, "HS", 1), (5, 576, 96, True, "HS", 1)],
]


def mobilenet_v3(
    name: str,
    table: list[list[tuple[int, int, int, bool, str, int]]],
    hidden: int,
    classes: int = 1000,
    input: Shape = (3, 224, 224),
    *,
    width: float = 1.0,
    padding: str = "symmetric",
    dropout: float = 0.2,
) -> Net:
    """MobileNet v3: inverted residuals, some with a squeeze-and-excitation gate, and a dense layer of `hidden` units.

    padding  "symmetric", or "same" as TensorFlow pads
    """
    norm = BatchNorm(eps=1e-3, momentum=0.01)
    start = choose_padding(padding, 3)
    before = round_to_eights(16 * width)
    layers: list[Layer] = build_conv_bn(before, 3, 2, padding=start, norm=norm, activation=HardSwish())
    for i, rows in enumerate(table, start=1):
        blocks = []
        for k, (kernel, expanded, maps, squeeze, activation, stride) in enumerate(rows, start=1):
            inner, filters = round_to_eights(expanded * width), round_to_eights(maps * width)
            gate = build_squeeze_excite(inner, round_to_eights(inner // 4), gate=HardSigmoid()) if squeeze else None
            squash = HardSwish() if activation == "HS" else ReLU()
            blocks.append(
                build_inverted_residual(
                    f"block{k}",
                    before,
                    inner,
                    filters,
                    kernel,
                    stride,
                    activation=squash,
                    norm=norm,
                    padding=padding,
                    gate=gate,
                )  # fmt: skip
            )
            before = filters
        layers.append(Sequence(*blocks, name=f"stage{i}"))
    return Net(
        input=input,
        layers=[
            *layers,
            *build_conv_bn(6 * before, 1, norm=norm, activation=HardSwish()),
            GlobalAvgPool(),
            Dense(round_to_eights(hidden * width), init="he_normal"),
            HardSwish(),
            Dropout(dropout),
            Dense(classes),
        ],
        name=name,
    )


def mobilenet_v3_large(
    classes: int = 1000,
    input: Shape = (3, 224, 224),
    *,
    width: float = 1.0,
    padding: str = "symmetric",
    dropout: float = 0.2,
) -> Net:
    """MobileNet v3 large: 5,483,032 parameters. Options as in `mobilenet_v3`."""
    return mobilenet_v3(
        "mobilenet_v3_large", V3_LARGE, 1280, classes, input, width=width, padding=padding, dropout=dropout
    )


def mobilenet_v3_small(
    classes: int = 1000,
    input: Shape = (3, 224, 224),
    *,
    width: float = 1.0,
    padding: str = "symmetric",
    dropout: float = 0.2,
) -> Net:
    """MobileNet v3 small: 2,542,856 parameters. Options as in `mobilenet_v3`."""
    return mobilenet_v3(
        "mobilenet_v3_small", V3_SMALL, 1024, classes, input, width=width, padding=padding, dropout=dropout
    )
