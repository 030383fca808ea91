"""SqueezeNet. Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", 2016."""

from __future__ import annotations

from ..layers import Conv, Dropout, GlobalAvgPool, Layer, MaxPool, Parallel, ReLU, Sequence, Shape
from ..net import Net
from .options import scale_filters


def build_fire(name: str, squeeze: int, expand: int) -> Sequence:
    """1×1 down to `squeeze` maps, then `expand` maps by 1×1 and as many by 3×3, side by side (figure 1)."""
    return Sequence(
        Conv(squeeze, 1, init="he_uniform", name="squeeze"),
        ReLU(),
        Parallel(
            Sequence(Conv(expand, 1, init="he_uniform"), ReLU(), name="one"),
            Sequence(Conv(expand, 3, padding=1, init="he_uniform"), ReLU(), name="three"),
            name="expand",
        ),
        name=name,
    )


def build_fires(width: float) -> dict[int, Sequence]:
    """The eight fire modules of the paper's table 1, numbered as there."""
    rows = {
        2: (16, 64),
        3: (16, 64),
        4: (32, 128),
        5: (32, 128),
        6: (48, 192),
        7: (48, 192),
        8: (64, 256),
        9: (64, 256),
    }
    return {i: build_fire(f"fire{i}", scale_filters(s, width), scale_filters(e, width)) for i, (s, e) in rows.items()}


def build_squeezenet_head(classes: int, dropout: float) -> list[Layer]:
    """A map a class, and its mean: no dense layer at all."""
    return [Dropout(dropout), Conv(classes, 1), ReLU(), GlobalAvgPool()]


def squeezenet1_0(
    classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0, dropout: float = 0.5
) -> Net:
    """SqueezeNet 1.0, the paper's: 1,248,424 parameters."""
    f = build_fires(width)
    pool = MaxPool(3, stride=2, ceil=True)
    stem = [Conv(scale_filters(96, width), 7, stride=2, init="he_uniform"), ReLU()]
    layers = [*stem, pool, f[2], f[3], f[4], pool, f[5], f[6], f[7], f[8], pool, f[9]]
    return Net(input, [*layers, *build_squeezenet_head(classes, dropout)], name="squeezenet1_0")


def squeezenet1_1(
    classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0, dropout: float = 0.5
) -> Net:
    """SqueezeNet 1.1, with a thinner start and earlier pooling: 1,235,496 parameters and 2.3 times fewer MACs."""
    f = build_fires(width)
    pool = MaxPool(3, stride=2, ceil=True)
    stem = [Conv(scale_filters(64, width), 3, stride=2, init="he_uniform"), ReLU()]
    layers = [*stem, pool, f[2], f[3], pool, f[4], f[5], pool, f[6], f[7], f[8], f[9]]
    return Net(input, [*layers, *build_squeezenet_head(classes, dropout)], name="squeezenet1_1")
