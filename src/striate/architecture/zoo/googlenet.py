"""GoogLeNet, Inception v1. Szegedy et al., "Going deeper with convolutions", 2014.

BatchNorm came later: Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing internal
covariate shift", 2015.
"""

from __future__ import annotations

from collections.abc import Callable

from ..layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Parallel,
    ReLU,
    Sequence,
    Shape,
    SideHead,
)
from ..net import Net
from ..window import Padding
from .options import scale_filters

# The paper's table 1:  1×1   reduce  3×3   reduce  5×5  pool
#                                3×3           5×5        proj
INCEPTION_TABLE = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}

# (filters, kernel, stride=1) -> a convolution with what follows it.
Unit = Callable[..., list[Layer]]


def googlenet(
    classes: int = 1000,
    input: Shape = (3, 224, 224),
    *,
    aux: bool = False,
    width: float = 1.0,
    dropout: float = 0.2,
) -> Net:
    """GoogLeNet with BatchNorm, as torchvision has it: 6,624,904 parameters, 13,004,888 with its auxiliary heads.

    Its "5×5" branch has 3×3 kernels, as torchvision's published weights have (pytorch/vision issue 906).
    aux  two more classifiers, after 4a and 4d, that help training and are not computed afterwards
    """

    def unit(filters: int, kernel: int, stride: int = 1) -> list[Layer]:
        return build_conv_bn(scale_filters(filters, width), kernel, stride, norm=BatchNorm(eps=1e-3))

    block = {name: build_inception(f"inception{name}", row, unit, five=3) for name, row in INCEPTION_TABLE.items()}
    return Net(
        input=input,
        layers=[
            *unit(64, 7, stride=2),
            MaxPool(3, stride=2, ceil=True),
            *unit(64, 1),
            *unit(192, 3),
            MaxPool(3, stride=2, ceil=True),
            block["3a"],
            block["3b"],
            MaxPool(3, stride=2, ceil=True),
            block["4a"],
            *([build_side_head(classes, unit, scale_filters(1024, width))] if aux else []),
            block["4b"],
            block["4c"],
            block["4d"],
            *([build_side_head(classes, unit, scale_filters(1024, width))] if aux else []),
            block["4e"],
            MaxPool(2, ceil=True),
            block["5a"],
            block["5b"],
            GlobalAvgPool(),
            Dropout(dropout),
            Dense(classes),
        ],
        name="googlenet",
    )


def googlenet_paper(
    classes: int = 1000,
    input: Shape = (3, 224, 224),
    *,
    aux: bool = False,
    width: float = 1.0,
    dropout: float = 0.4,
) -> Net:
    """GoogLeNet as printed: real 5×5 kernels, biases, local response normalisation, no BatchNorm; 6,998,552 parameters.

    aux  the paper's two auxiliary classifiers (section 5), whose losses count 0.3 each
    """

    def unit(filters: int, kernel: int, stride: int = 1) -> list[Layer]:
        return [Conv(scale_filters(filters, width), kernel, stride, kernel // 2, init="he_normal"), ReLU()]

    block = {name: build_inception(f"inception{name}", row, unit, five=5) for name, row in INCEPTION_TABLE.items()}
    norm = LocalResponseNorm(size=5, alpha=1e-4, beta=0.75, k=1.0)
    return Net(
        input=input,
        layers=[
            *unit(64, 7, stride=2),
            MaxPool(3, stride=2, ceil=True),
            norm,
            *unit(64, 1),
            *unit(192, 3),
            norm,
            MaxPool(3, stride=2, ceil=True),
            block["3a"],
            block["3b"],
            MaxPool(3, stride=2, ceil=True),
            block["4a"],
            *([build_side_head(classes, unit, scale_filters(1024, width))] if aux else []),
            block["4b"],
            block["4c"],
            block["4d"],
            *([build_side_head(classes, unit, scale_filters(1024, width))] if aux else []),
            block["4e"],
            MaxPool(3, stride=2, ceil=True),
            block["5a"],
            block["5b"],
            GlobalAvgPool(),
            Dropout(dropout),
            Dense(classes),
        ],
        name="googlenet_paper",
    )


def build_inception(name: str, row: tuple[int, ...], unit: Unit, five: int) -> Parallel:
    """Four views of one map side by side; 1×1 convolutions thin it out before the larger windows (figure 2b)."""
    one, reduce3, conv3, reduce5, conv5, project = row
    return Parallel(
        Sequence(*unit(one, 1), name="one"),
        Sequence(*unit(reduce3, 1), *unit(conv3, 3), name="three"),
        Sequence(*unit(reduce5, 1), *unit(conv5, five), name="five"),
        Sequence(MaxPool(3, stride=1, padding=1), *unit(project, 1), name="pool"),
        name=name,
    )


def build_side_head(classes: int, unit: Unit, units: int) -> SideHead:
    """An auxiliary classifier on a map in the middle (section 5).

    torchvision takes the mean of 4×4 unequal windows where the paper, and we, pool 5×5 with stride 3; both make 4×4
    of 14×14.
    """
    return SideHead(
        AvgPool(5, stride=3),
        *unit(128, 1),
        Flatten(),
        Dense(units, init="he_normal"),
        ReLU(),
        Dropout(0.7),
        Dense(classes),
        weight=0.3,
    )


def build_conv_bn(
    filters: int,
    kernel: int | tuple[int, int],
    stride: int = 1,
    *,
    padding: Padding | None = None,
    groups: int = 1,
    norm: BatchNorm = BatchNorm(),  # noqa: B008  a record is a value
    activation: Layer | None = ReLU(),  # noqa: B008
) -> list[Layer]:
    """A convolution without bias, its BatchNorm, its activation; half the kernel is padded on each side by default."""
    if padding is None:
        high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (high // 2, high // 2, wide // 2, wide // 2)
    conv = Conv(filters, kernel, stride, padding, groups=groups, bias=False, init="he_out_normal")
    return [conv, norm, activation] if activation else [conv, norm]
