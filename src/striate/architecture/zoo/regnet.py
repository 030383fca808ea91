"""RegNet. Radosavovic et al., "Designing network design spaces", 2020."""

from __future__ import annotations

from itertools import groupby
from math import log

from ..layers import Dense, GlobalAvgPool, Identity, Layer, Sequence, Shape
from ..net import Net
from .googlenet import build_conv_bn
from .options import scale_filters
from .resnet import build_projection, build_residual
from .senet import build_squeeze_excite

# The five numbers of each net: depth d, first width w0, slope wa, step wm, group width g (figures 18 and 19)
X_NUMBERS = {
    "400mf": (22, 24, 24.48, 2.54, 16),
    "800mf": (16, 56, 35.73, 2.28, 16),
    "1_6gf": (18, 80, 34.01, 2.25, 24),
    "3_2gf": (25, 88, 26.31, 2.25, 48),
    "8gf": (23, 80, 49.56, 2.88, 120),
    "16gf": (22, 216, 55.59, 2.1, 128),
    "32gf": (23, 320, 69.86, 2.0, 168),
}
Y_NUMBERS = {
    "400mf": (16, 48, 27.89, 2.09, 8),
    "800mf": (14, 56, 38.84, 2.4, 16),
    "1_6gf": (27, 48, 20.71, 2.65, 24),
    "3_2gf": (21, 80, 42.63, 2.66, 24),
    "8gf": (17, 192, 76.82, 2.19, 56),
    "16gf": (18, 200, 106.23, 2.48, 112),
    "32gf": (20, 232, 115.89, 2.53, 232),
    "128gf": (27, 456, 160.83, 2.52, 264),
}


def plan_stages(depth: int, first: int, slope: float, step: float, group: int) -> list[tuple[int, int, int]]:
    """(maps, blocks, group width) of each stage, from the five numbers.

    Block j would have u = first + slope·j maps (equation 2). It gets the nearest first·step^s instead (equations 3
    and 4), in whole eights, then in whole groups; blocks of one width are one stage.

    >>> plan_stages(*Y_NUMBERS["400mf"])
    [(48, 1, 8), (104, 3, 8), (208, 6, 8), (440, 6, 8)]
    """
    steps = [round(log((first + slope * j) / first) / log(step)) for j in range(depth)]
    widths = [round(first * step**s / 8) * 8 for s in steps]
    found = [(maps, len(list(same))) for maps, same in groupby(widths)]
    return [(round_to_groups(maps, min(group, maps)), blocks, min(group, maps)) for maps, blocks in found]


def round_to_groups(maps: int, group: int) -> int:
    """The nearest multiple of `group`, and the next one where that is under nine tenths of `maps`."""
    near = max(group, int(maps + group / 2) // group * group)
    return near if near >= 0.9 * maps else near + group


def build_regnet_block(name: str, before: int, maps: int, stride: int, groups: int, gated: bool) -> list[Layer]:
    """1×1, grouped 3×3, 1×1, as wide inside as outside (figure 4); with `gated`, squeeze-and-excitation in between."""
    main = [
        *build_conv_bn(maps, 1),
        *build_conv_bn(maps, 3, stride, groups=groups),
        *([build_squeeze_excite(maps, round(before / 4))] if gated else []),
        *build_conv_bn(maps, 1, activation=None),
    ]
    shortcut = Identity(name="shortcut") if stride == 1 and before == maps else build_projection(maps, stride)
    return build_residual(name, main, shortcut)


def regnet(
    name: str,
    numbers: tuple[int, int, float, float, int],
    gated: bool,
    classes: int = 1000,
    input: Shape = (3, 224, 224),
    width: float = 1.0,
) -> Net:
    """A 3×3 convolution, four stages of bottleneck blocks that halve at their start, the mean, one dense layer."""
    before = scale_filters(32, width)
    layers: list[Layer] = build_conv_bn(before, 3, stride=2)
    for i, (maps, depth, group) in enumerate(plan_stages(*numbers), start=1):
        filters = scale_filters(maps, width, group)
        blocks: list[Layer] = []
        for k in range(depth):
            stride = 2 if k == 0 else 1
            blocks += build_regnet_block(f"block{k + 1}", before, filters, stride, filters // group, gated)
            before = filters
        layers.append(Sequence(*blocks, name=f"stage{i}"))
    return Net(input, [*layers, GlobalAvgPool(), Dense(classes)], name=name)


def regnet_x_400mf(classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0) -> Net:
    """RegNetX-400MF: 5,495,976 parameters."""
    return regnet("regnet_x_400mf", X_NUMBERS["400mf"], False, classes, input, width)


def regnet_x_800mf(classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0) -> Net:
    """RegNetX-800MF: 7,259,656 parameters."""
    return regnet("regnet_x_800mf", X_NUMBERS["800mf"], False, classes, input, width)


def regnet_x_1_6gf(classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0) -> Net:
    """RegNetX-1.6GF: 9,190,136 parameters."""
    return regnet("regnet_x_1_6gf", X_NUMBERS["1_6gf"], False, classes, input, width)


def regnet_x_3_2gf(classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0) -> Net:
    """RegNetX-3.2GF: 15,296,552 parameters."""
    return regnet("regnet_x_3_2gf", X_NUMBERS["3_2gf"], False, classes, input, width)


def regnet_x_8gf(classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0) -> Net:
    """RegNetX-8GF: 39,572,648 parameters."""
    return regnet("regnet_x_8gf", X_NUMBERS["8gf"], False, classes, input, width)


def regnet_x_16gf(classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0) -> Net:
    """RegNetX-16GF: 54,278,536 parameters."""
    return regnet("regnet_x_16gf", X_NUMBERS["16gf"], False, classes, input, width)


def regnet_x_32gf(classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0) -> Net:
    """RegNetX-32GF: 107,811,560 parameters."""
    return regnet("regnet_x_32gf", X_NUMBERS["32gf"], False, classes, input, width)


def regnet_y_400mf(classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0) -> Net:
    """RegNetY-400MF: 4,344,144 parameters."""
    return regnet("regnet_y_400mf", Y_NUMBERS["400mf"], True, classes, input, width)


def regnet_y_800mf(classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0) -> Net:
    """RegNetY-800MF: 6,432,512 parameters."""
    return regnet("regnet_y_800mf", Y_NUMBERS["800mf"], True, classes, input, width)


def regnet_y_1_6gf(classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0) -> Net:
    """RegNetY-1.6GF: 11,202,430 parameters."""
    return regnet("regnet_y_1_6gf", Y_NUMBERS["1_6gf"], True, classes, input, width)


def regnet_y_3_2gf(classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0) -> Net:
    """RegNetY-3.2GF: 19,436,338 parameters."""
    return regnet("regnet_y_3_2gf", Y_NUMBERS["3_2gf"], True, classes, input, width)


def regnet_y_8gf(classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0) -> Net:
    """RegNetY-8GF: 39,381,472 parameters."""
    return regnet("regnet_y_8gf", Y_NUMBERS["8gf"], True, classes, input, width)


def regnet_y_16gf(classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0) -> Net:
    """RegNetY-16GF: 83,590,140 parameters."""
    return regnet("regnet_y_16gf", Y_NUMBERS["16gf"], True, classes, input, width)


def regnet_y_32gf(classes: int = 1000, input: Shape = (3, 224, 224), *, width: float = 1.0) -> Net:
    """RegNetY-32GF: 145,046,770 parameters."""
    return regnet("regnet_y_32gf", Y_NUMBERS["32gf"], True, classes, input, width)


def regnet_y_128gf(classes: int = 1000, input: Shape = (3, 384, 384), *, width: float = 1.0) -> Net:
    """RegNetY-128GF: 644,812,894 parameters."""
    return regnet("regnet_y_128gf", Y_NUMBERS["128gf"], True, classes, input, width)
