"""torch's operators that make a map larger, and the convolution along the channels."""

from __future__ import annotations

from typing import Any

from ..architecture import layers as L
from ..architecture.layers import Shape
from ..language import say
from .applying import apply_layer, make_two, need_channels_first
from .handlers import Tracer, handle_operator
from .record import Value


@handle_operator("conv_transpose2d")
def read_conv_transpose2d(
    tracer: Tracer, x: Value, weight: Any, bias: Any, stride: Any, padding: Any, output_padding: Any, groups: int,
    dilation: Any, seen: Shape,
) -> Value:  # fmt: skip
    need_channels_first(tracer, x)
    if isinstance(weight, Value) or isinstance(bias, Value):
        raise tracer.place.refuse(say("its weights depend on the image"))
    layer = L.ConvTranspose(
        weight.shape[1] * groups, tuple(weight.shape[2:]), make_two(stride), make_two(padding),
        make_two(output_padding), make_two(dilation), groups, bias is not None,
    )  # fmt: skip
    return apply_layer(tracer, x, layer, seen, weight=weight, bias=bias)


@handle_operator("conv1d")
def read_conv1d(
    tracer: Tracer, x: Value, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int, seen: Shape
) -> Value:
    """The convolution over the channels of one place, as ECA-Net has it."""
    if isinstance(weight, Value) or len(x.seen) != 2 or x.seen[0] != 1 or x.axis != 1:
        raise tracer.place.refuse(say("only that along the channels of one place is known"), got=f"N×{x.seen}")
    size = weight.shape[2]
    found = (tuple(weight.shape[:2]), *(make_two(one)[0] for one in (stride, dilation)), groups, bias)
    around = make_two(padding)[0] if not isinstance(padding, str) else (size // 2 if padding == "same" else 0)
    if found != ((1, 1), 1, 1, 1, None) or around != size // 2 or size % 2 == 0:
        what = say("only a filter of an odd size is known, with zeros around it, at every channel, without a bias")
        raise tracer.place.refuse(
            what,
            got=say(
                "size {size}, padding {around}, stride {stride}, dilation {dilation}",
                size=size,
                around=around,
                stride=stride,
                dilation=dilation,
            ),
        )
    return apply_layer(tracer, x, L.ChannelConv(size), seen, weight=weight)


@handle_operator("upsample_nearest2d")
def read_upsample_nearest(tracer: Tracer, x: Value, seen: Shape, **how: Any) -> Value:
    need_channels_first(tracer, x)
    return apply_layer(tracer, x, L.Upsample(find_factors(tracer, x, how)), seen)


@handle_operator("upsample_bilinear2d")
def read_upsample_bilinear(tracer: Tracer, x: Value, align_corners: bool, seen: Shape, **how: Any) -> Value:
    need_channels_first(tracer, x)
    return apply_layer(tracer, x, L.Upsample(find_factors(tracer, x, how), "bilinear", align_corners), seen)


def find_factors(tracer: Tracer, x: Value, how: dict[str, Any]) -> tuple[float, float]:
    """(rows, columns), given as such or as a size that is a multiple of the map's."""
    given = how.get("scale_factors") or (how.get("scales_h"), how.get("scales_w"))
    if all(given):
        rows, columns = map(float, given)
    else:
        (height, width), size = x.shape[1:], how["output_size"]
        if size[0] % height or size[1] % width:
            raise tracer.place.refuse(
                say("a size that is no whole multiple of the map's"),
                got=say("{before} to {after}", before=x.shape[1:], after=size),
            )
        rows, columns = size[0] // height, size[1] // width
    if min(rows, columns) < 1:
        raise tracer.place.refuse(say("the map is made smaller by resizing"), got=(rows, columns))
    return rows, columns
