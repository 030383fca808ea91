"""EfficientNet. Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", 2019.

The Lite nets (no gates, ReLU6, a fixed start and end) are described in TensorFlow's models repository, 2020.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from ..layers import BatchNorm, Dense, Dropout, GlobalAvgPool, Layer, ReLU6, Sequence, Shape, SiLU
from ..net import Net
from .googlenet import build_conv_bn
from .mobilenet import build_inverted_residual, choose_padding, round_to_eights
from .senet import build_squeeze_excite

# The paper's table 1, EfficientNet-B0: expansion, kernel, stride of the first block, maps, blocks
STAGE_TABLE = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
]


def efficientnet(
    name: str,
    wider: float,
    deeper: float,
    classes: int,
    input: Shape,
    *,
    lite: bool = False,
    norm: BatchNorm,
    width: float = 1.0,
    padding: str,
    dropout: float,
    drop_path: float = 0.2,
) -> Net:
    """B0's table, `wider` times as many maps and `deeper` times as many blocks a stage.

    lite       without squeeze-and-excitation, with ReLU6, the first and last stage as long as in B0
    padding    "symmetric", or "same" as TensorFlow pads
    drop_path  the stochastic depth of the last block; it grows in a straight line from 0 at the first
    """

    def maps(n: int) -> int:
        return round_to_eights(n * wider * width)

    squash: Layer = ReLU6() if lite else SiLU()
    before = round_to_eights(32 * width) if lite else maps(32)
    start = choose_padding(padding, 3)
    layers: list[Layer] = build_conv_bn(before, 3, 2, padding=start, norm=norm, activation=squash)
    repeats = [
        n if lite and i in (0, len(STAGE_TABLE) - 1) else ceil(n * deeper)
        for i, (_, _, _, _, n) in enumerate(STAGE_TABLE)
    ]
    done = 0
    for i, (expansion, kernel, stride, filters, _) in enumerate(STAGE_TABLE):
        blocks = []
        for k in range(repeats[i]):
            inner = before * expansion
            gate = None if lite else build_squeeze_excite(inner, max(1, before // 4), squash=SiLU())
            blocks.append(
                build_inverted_residual(
                    f"block{k + 1}",
                    before,
                    inner,
                    maps(filters),
                    kernel,
                    stride if k == 0 else 1,
                    activation=squash,
                    norm=norm,
                    padding=padding,
                    gate=gate,
                    drop=drop_path * done / sum(repeats),
                )  # fmt: skip
            )
            before = maps(filters)
            done += 1
        layers.append(Sequence(*blocks, name=f"stage{i + 1}"))
    last = build_conv_bn(round_to_eights(1280 * width) if lite else maps(1280), 1, norm=norm, activation=squash)
    return Net(input, [*layers, *last, GlobalAvgPool(), Dropout(dropout), Dense(classes)], name=name)


# width, depth, dropout: the paper's compound scaling
SCALES = {
    0: (1.0, 1.0, 0.2),
    1: (1.0, 1.1, 0.2),
    2: (1.1, 1.2, 0.3),
    3: (1.2, 1.4, 0.3),
    4: (1.4, 1.8, 0.4),
    5: (1.6, 2.2, 0.4),
    6: (1.8, 2.6, 0.5),
    7: (2.0, 3.1, 0.5),
}


def build_b(number: int, classes: int, input: Shape, options: dict[str, Any]) -> Net:
    """EfficientNet-B`number` in torchvision's form."""
    wider, deeper, dropout = SCALES[number]
    norm = BatchNorm() if number < 5 else BatchNorm(eps=1e-3, momentum=0.01)
    options = {"padding": "symmetric", "dropout": dropout, **options}
    return efficientnet(f"efficientnet_b{number}", wider, deeper, classes, input, norm=norm, **options)


def build_lite(number: int, classes: int, input: Shape, options: dict[str, Any]) -> Net:
    """EfficientNet-Lite`number` in TensorFlow's form."""
    wider, deeper, dropout = SCALES[number]
    norm = BatchNorm(eps=1e-3, momentum=0.01)
    options = {"padding": "same", "dropout": min(dropout, 0.3), **options}
    return efficientnet(f"efficientnet_lite{number}", wider, deeper, classes, input, lite=True, norm=norm, **options)


def efficientnet_b0(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """EfficientNet-B0: 5,288,548 parameters. Options as in `efficientnet`."""
    return build_b(0, classes, input, options)


def efficientnet_b1(classes: int = 1000, input: Shape = (3, 240, 240), **options: Any) -> Net:
    """EfficientNet-B1: 7,794,184 parameters. Options as in `efficientnet`."""
    return build_b(1, classes, input, options)


def efficientnet_b2(classes: int = 1000, input: Shape = (3, 260, 260), **options: Any) -> Net:
    """EfficientNet-B2: 9,109,994 parameters. Options as in `efficientnet`."""
    return build_b(2, classes, input, options)


def efficientnet_b3(classes: int = 1000, input: Shape = (3, 300, 300), **options: Any) -> Net:
    """EfficientNet-B3: 12,233,232 parameters. Options as in `efficientnet`."""
    return build_b(3, classes, input, options)


def efficientnet_b4(classes: int = 1000, input: Shape = (3, 380, 380), **options: Any) -> Net:
    """EfficientNet-B4: 19,341,616 parameters. Options as in `efficientnet`."""
    return build_b(4, classes, input, options)


def efficientnet_b5(classes: int = 1000, input: Shape = (3, 456, 456), **options: Any) -> Net:
    """EfficientNet-B5: 30,389,784 parameters. Options as in `efficientnet`."""
    return build_b(5, classes, input, options)


def efficientnet_b6(classes: int = 1000, input: Shape = (3, 528, 528), **options: Any) -> Net:
    """EfficientNet-B6: 43,040,704 parameters. Options as in `efficientnet`."""
    return build_b(6, classes, input, options)


def efficientnet_b7(classes: int = 1000, input: Shape = (3, 600, 600), **options: Any) -> Net:
    """EfficientNet-B7: 66,347,960 parameters. Options as in `efficientnet`."""
    return build_b(7, classes, input, options)


def efficientnet_lite0(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """EfficientNet-Lite0: 4,652,008 parameters. Options as in `efficientnet`."""
    return build_lite(0, classes, input, options)


def efficientnet_lite1(classes: int = 1000, input: Shape = (3, 240, 240), **options: Any) -> Net:
    """EfficientNet-Lite1. Options as in `efficientnet`."""
    return build_lite(1, classes, input, options)


def efficientnet_lite2(classes: int = 1000, input: Shape = (3, 260, 260), **options: Any) -> Net:
    """EfficientNet-Lite2. Options as in `efficientnet`."""
    return build_lite(2, classes, input, options)


def efficientnet_lite3(classes: int = 1000, input: Shape = (3, 280, 280), **options: Any) -> Net:
    """EfficientNet-Lite3. Options as in `efficientnet`."""
    return build_lite(3, classes, input, options)


def efficientnet_lite4(classes: int = 1000, input: Shape = (3, 300, 300), **options: Any) -> Net:
    """EfficientNet-Lite4. Options as in `efficientnet`."""
    return build_lite(4, classes, input, options)
