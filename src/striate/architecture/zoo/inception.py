"""Inception v3. Szegedy et al., "Rethinking the inception architecture for computer vision", 2015."""

from __future__ import annotations

from ..layers import (
    AvgPool,
    BatchNorm,
    Dense,
    Dropout,
    GlobalAvgPool,
    Layer,
    MaxPool,
    Parallel,
    Sequence,
    Shape,
    SideHead,
)
from ..net import Net
from ..window import Padding
from .googlenet import build_conv_bn
from .options import scale_filters


def inception_v3(
    classes: int = 1000,
    input: Shape = (3, 299, 299),
    *,
    aux: bool = False,
    width: float = 1.0,
    dropout: float = 0.5,
) -> Net:
    """Inception v3: 23,834,568 parameters, 27,161,264 with the auxiliary head after mixed6e.

    Large windows come in pieces: 5×5 as two 3×3, 7×7 as 1×7 and 7×1. Inputs from 75×75 on.
    """

    def unit(
        filters: int, kernel: int | tuple[int, int], stride: int = 1, padding: Padding | None = None
    ) -> list[Layer]:
        return build_conv_bn(scale_filters(filters, width), kernel, stride, padding=padding, norm=BatchNorm(eps=1e-3))

    def mean() -> AvgPool:
        return AvgPool(3, stride=1, padding=1, count_padding=True)

    def grid35(name: str, project: int) -> Parallel:
        """Figure 5: on 35×35 maps, a 5×5 and two 3×3."""
        return Parallel(
            Sequence(*unit(64, 1), name="one"),
            Sequence(*unit(48, 1), *unit(64, 5), name="five"),
            Sequence(*unit(64, 1), *unit(96, 3), *unit(96, 3), name="double"),
            Sequence(mean(), *unit(project, 1), name="pool"),
            name=name,
        )

    def to_grid17(name: str) -> Parallel:
        """Figure 10: 35×35 to 17×17."""
        return Parallel(
            Sequence(*unit(384, 3, 2, "valid"), name="three"),
            Sequence(*unit(64, 1), *unit(96, 3), *unit(96, 3, 2, "valid"), name="double"),
            MaxPool(3, stride=2, name="pool"),
            name=name,
        )

    def grid17(name: str, inner: int) -> Parallel:
        """Figure 6: on 17×17 maps, 7×7 as 1×7 and 7×1."""
        double = [*unit(inner, (7, 1)), *unit(inner, (1, 7)), *unit(inner, (7, 1)), *unit(192, (1, 7))]
        return Parallel(
            Sequence(*unit(192, 1), name="one"),
            Sequence(*unit(inner, 1), *unit(inner, (1, 7)), *unit(192, (7, 1)), name="seven"),
            Sequence(*unit(inner, 1), *double, name="double"),
            Sequence(mean(), *unit(192, 1), name="pool"),
            name=name,
        )

    def to_grid8(name: str) -> Parallel:
        """17×17 to 8×8."""
        seven = [*unit(192, (1, 7)), *unit(192, (7, 1)), *unit(192, 3, 2, "valid")]
        return Parallel(
            Sequence(*unit(192, 1), *unit(320, 3, 2, "valid"), name="three"),
            Sequence(*unit(192, 1), *seven, name="seven"),
            MaxPool(3, stride=2, name="pool"),
            name=name,
        )

    def grid8(name: str) -> Parallel:
        """Figure 7: on 8×8 maps, 1×3 and 3×1 side by side."""

        def fork() -> Parallel:
            return Parallel(
                Sequence(*unit(384, (1, 3)), name="wide"), Sequence(*unit(384, (3, 1)), name="high"), name="fork"
            )

        return Parallel(
            Sequence(*unit(320, 1), name="one"),
            Sequence(*unit(384, 1), fork(), name="three"),
            Sequence(*unit(448, 1), *unit(384, 3), fork(), name="double"),
            Sequence(mean(), *unit(192, 1), name="pool"),
            name=name,
        )

    side = SideHead(
        AvgPool(5, stride=3), *unit(128, 1), *unit(768, 5, padding="valid"), GlobalAvgPool(), Dense(classes), weight=0.4
    )
    return Net(
        input=input,
        layers=[
            *unit(32, 3, 2, "valid"),
            *unit(32, 3, 1, "valid"),
            *unit(64, 3),
            MaxPool(3, stride=2),
            *unit(80, 1),
            *unit(192, 3, 1, "valid"),
            MaxPool(3, stride=2),
            grid35("mixed5b", 32),
            grid35("mixed5c", 64),
            grid35("mixed5d", 64),
            to_grid17("mixed6a"),
            grid17("mixed6b", 128),
            grid17("mixed6c", 160),
            grid17("mixed6d", 160),
            grid17("mixed6e", 192),
            *([side] if aux else []),
            to_grid8("mixed7a"),
            grid8("mixed7b"),
            grid8("mixed7c"),
            GlobalAvgPool(),
            Dropout(dropout),
            Dense(classes),
        ],
        name="inception_v3",
    )
