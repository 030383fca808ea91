"""striate's own small nets: three plain blocks, for images of 16 to 128 pixels a side on a laptop's processor.

Each block is two 3×3 convolutions (Simonyan and Zisserman 2014), each normalised (Ioffe and Szegedy 2015), and halves
the map by max pooling after the first of them, so that most of the work is done on the smaller map, as in the CIFAR-10
speed-run nets (Page 2018, Jordan 2024). The first block, on the largest map, is thin. Before the blocks the larger two
have a layer of few filters, for the recipe's `whiten` to fill with the images' own patches. For images from 48 pixels
on all three have it, and a max pooling behind it, so that the blocks always work on some 16 to 48 pixels a side. It
pools rather than strides, for what is thin, a scratch or the stroke of a letter, falls between strides: on 2,400
pictures of surfaces with scratches and dents, 64×64, striate_m got 76 % right with strides and 84 % with a pooling.
Global average pooling (Lin et al. 2013) lets the nets take any input size.
"""

from __future__ import annotations

from ..layers import BatchNorm, Conv, Dense, GlobalAvgPool, Layer, MaxPool, ReLU, Sequence, Shape
from ..net import Net
from .options import scale_filters

# From so many pixels a side on, all three nets begin with a layer of patches and a pooling.
POOLED_FROM = 48


def striate_s(classes: int = 10, input: Shape = (3, 32, 32), *, width: float = 1.0) -> Net:
    """Three blocks of 16, 32 and 64 filters.

    >>> from striate.summaries.summary import summarise_net
    >>> s = summarise_net(striate_s())
    >>> s.params, s.macs
    (72954, 4571776)
    """
    return build_blocks("striate_s", (16, 32, 64), classes, input, width)


def striate_m(classes: int = 10, input: Shape = (3, 32, 32), *, width: float = 1.0) -> Net:
    """A layer of patches, and three blocks of 16, 64 and 128 filters."""
    return build_blocks("striate_m", (16, 64, 128), classes, input, width, patches=True)


def striate_l(classes: int = 10, input: Shape = (3, 32, 32), *, width: float = 1.0) -> Net:
    """A layer of patches, and three blocks of 24, 96 and 192 filters."""
    return build_blocks("striate_l", (24, 96, 192), classes, input, width, patches=True)


def build_blocks(
    name: str, widths: tuple[int, int, int], classes: int, input: Shape, width: float, patches: bool = False
) -> Net:
    side = min(input[1:])
    scale = 1 if side < POOLED_FROM else 2 if side < 2 * POOLED_FROM else 4
    stride = max(1, scale // 2)
    first: list[Layer] = []
    if patches or scale > 1:
        # Patches of 2×2×3 values have 12 directions, those of 3×3×1 nine: with their opposites, most of the filters.
        kernel = 2 if input[0] == 3 and scale == 1 else 2 * stride + 1
        filters = scale_filters(24 if input[0] == 3 else 16, width)
        first.append(Conv(filters, kernel, stride, padding="same", init="he_normal", name="patches"))
        if scale > 1:
            first.append(MaxPool(2, padding="same", name="pool"))
        first.append(ReLU(name="relu"))
    return Net(
        input=input,
        layers=[
            *first,
            *(
                build_plain_block(scale_filters(filters, width), f"block{i}")
                for i, filters in enumerate(widths, start=1)
            ),
            GlobalAvgPool(name="gap"),
            Dense(classes, name="dense"),
        ],
        name=name,
    )


def build_plain_block(filters: int, name: str) -> Sequence:
    return Sequence(
        build_plain_conv(filters),
        MaxPool(2, padding="same", name="pool"),
        BatchNorm(),
        ReLU(),
        build_plain_conv(filters),
        BatchNorm(),
        ReLU(),
        name=name,
    )


def build_plain_conv(filters: int) -> Conv:
    return Conv(filters, 3, padding="same", bias=False, init="he_normal")
