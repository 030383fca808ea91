"""ConvNeXt. Liu et al., "A ConvNet for the 2020s", 2022."""

from __future__ import annotations

from typing import Any

from ..layers import (
    GELU,
    Conv,
    Dense,
    GlobalAvgPool,
    Identity,
    Layer,
    LayerNorm,
    LayerScale,
    Parallel,
    Sequence,
    Shape,
    StochasticDepth,
)
from ..net import Net
from .options import scale_filters


def build_convnext_block(name: str, maps: int, drop: float) -> Parallel:
    """A depthwise 7×7, LayerNorm, 1×1 up to four times the maps, GELU, 1×1 back, scaled and added (figure 4)."""
    main: list[Layer] = [
        Conv(maps, 7, padding=3, groups=maps, init="lecun_normal"),
        LayerNorm(),
        Conv(4 * maps, 1, init="lecun_normal"),
        GELU(),
        Conv(maps, 1, init="lecun_normal"),
        LayerScale(1e-6),
        *([StochasticDepth(drop)] if drop else []),
    ]
    return Parallel(Sequence(*main, name="main"), Identity(name="shortcut"), join="add", name=name)


def convnext(
    name: str,
    depths: tuple[int, int, int, int],
    maps: int,
    classes: int = 1000,
    input: Shape = (3, 224, 224),
    *,
    width: float = 1.0,
    drop_path: float = 0.1,
) -> Net:
    """4×4 patches, four stages of blocks, each stage halved and with twice the maps of the one before.

    drop_path  the stochastic depth of the last block; it grows in a straight line from 0 at the first
    """
    maps = scale_filters(maps, width)
    layers: list[Layer] = [Conv(maps, 4, stride=4, init="lecun_normal"), LayerNorm()]
    done, last = 0, sum(depths) - 1
    for i, depth in enumerate(depths, start=1):
        inside: list[Layer] = []
        if i > 1:
            maps *= 2
            inside.append(
                Sequence(LayerNorm(), Conv(maps, 2, stride=2, init="lecun_normal"), name="downsample"),
            )
        for k in range(depth):
            inside.append(build_convnext_block(f"block{k + 1}", maps, drop_path * done / last))
            done += 1
        layers.append(Sequence(*inside, name=f"stage{i}"))
    return Net(input, [*layers, GlobalAvgPool(), LayerNorm(), Dense(classes)], name=name)


def convnext_tiny(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ConvNeXt-T: 28,589,128 parameters. Options as in `convnext`."""
    return convnext("convnext_tiny", (3, 3, 9, 3), 96, classes, input, **options)


def convnext_small(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ConvNeXt-S: 50,223,688 parameters. Options as in `convnext`."""
    return convnext("convnext_small", (3, 3, 27, 3), 96, classes, input, **{"drop_path": 0.4, **options})


def convnext_base(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ConvNeXt-B: 88,591,464 parameters. Options as in `convnext`."""
    return convnext("convnext_base", (3, 3, 27, 3), 128, classes, input, **{"drop_path": 0.5, **options})


def convnext_large(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ConvNeXt-L: 197,767,336 parameters. Options as in `convnext`."""
    return convnext("convnext_large", (3, 3, 27, 3), 192, classes, input, **{"drop_path": 0.5, **options})
