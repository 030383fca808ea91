"""What torch refuses on real tensors and lets pass on the meta device, refused here in torch's words.

The kernels of the meta device ask less than those of a processor: there a transposed convolution takes any number of
channels, and Softmax any axis. Each check raises RuntimeError, as the operation itself does on values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..architecture.layers import Shape

REDUCED = (torch.float16, torch.bfloat16)
# Operations on real numbers alone; `upsample_nearest…` and the like of images of 8 bits too.
FLOAT_OPERATIONS = frozenset(
    """
    adaptive_max_pool2d adaptive_max_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d gelu silu mish softplus
    hardswish hardsigmoid elu celu leaky_relu log_sigmoid_forward hardshrink rrelu_with_noise _softmax _log_softmax
    _safe_softmax glu upsample_linear1d upsample_trilinear3d im2col lerp var std var_mean std_mean grid_sampler_2d
    grid_sampler_3d
    """.split()
)
IMAGE_OPERATIONS = frozenset(
    """
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    _upsample_nearest_exact3d upsample_bilinear2d upsample_bicubic2d
    """.split()
)


def name_dtype(dtype: torch.dtype) -> str:
    """`torch.float16` → "float16"."""
    return str(dtype).removeprefix("torch.")


def check_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, pad: Any, dilation: Any, *rest: Any
) -> None:
    transposed, more, groups = rest
    filters = weight.shape[1] * groups if transposed else weight.shape[0]
    takes = weight.shape[0] if transposed else weight.shape[1] * groups
    given = f"Given groups={groups}, weight of size {list(weight.shape)}"
    if x.ndim != weight.ndim:
        raise RuntimeError(f"{given}, expected an input of {weight.ndim} dimensions, but got {list(x.shape)}")
    if groups < 1 or weight.shape[0] % groups:
        raise RuntimeError(f"{given}, expected weight to be divisible by {groups} at dimension 0")
    if x.shape[1] != takes:
        raise RuntimeError(
            f"{given}, expected input{list(x.shape)} to have {takes} channels, but got {x.shape[1]} channels instead"
        )
    if bias is not None and tuple(bias.shape) != (filters,):
        raise RuntimeError(
            f"{given}, expected bias to be 1-dimensional with {filters} elements, but got {list(bias.shape)}"
        )
    check_same_dtype(x, weight, bias)
    if min(stride) < 1 or min(pad) < 0 or min(dilation) < 1:
        raise RuntimeError("non-positive stride or dilation, or negative padding, is not supported")
    if transposed and any(
        m >= max(s, d) or m < 0 for m, s, d in spread_numbers(weight.ndim - 2, more, stride, dilation)
    ):
        raise RuntimeError("output padding must be smaller than either stride or dilation")


def spread_numbers(axes: int, *numbers: Any) -> list[tuple[int, ...]]:
    """Each setting's number for each axis; torch hands on one for all, or one for each."""
    return [tuple(n[i % len(n)] for n in numbers) for i in range(axes)]


def check_same_dtype(*operands: Any) -> None:
    """All tensors of one kind of number: torch never converts the factors of a product."""
    kinds = {name_dtype(t.dtype): None for t in operands if isinstance(t, Tensor)}
    if len(kinds) > 1:
        raise RuntimeError(f"expected all operands to have the same dtype, but got {' and '.join(kinds)}")


def check_added_product(bias: Tensor, left: Tensor, right: Tensor, *rest: Any) -> None:
    """`addmm`: what is added must stretch to the product."""
    check_same_dtype(bias, left, right)
    shape: Shape = (*left.shape[:-1], right.shape[-1])
    fits = len(bias.shape) <= len(shape)
    if not fits or any(b not in (1, n) for b, n in zip(bias.shape[::-1], shape[::-1], strict=False)):
        raise RuntimeError(f"a tensor of size {list(bias.shape)} cannot be added to a product of size {list(shape)}")


def check_norm(x: Tensor, *rest: Any) -> None:
    """The weights of a normalisation are of the input's kind of number, or float32 beside an input of 16 bits."""
    kinds = {t.dtype for t in rest if isinstance(t, Tensor)}
    allowed = [x.dtype, torch.float32] if x.dtype in REDUCED else [x.dtype]
    if len(kinds) > 1 or any(kind not in allowed for kind in kinds):
        got = " and ".join(sorted(map(name_dtype, kinds)))
        raise RuntimeError(f"mixed dtype: expected the parameters to have {name_dtype(x.dtype)}, but got {got}")


def check_axis(x: Tensor, axis: int, *rest: Any) -> None:
    n = max(x.ndim, 1)
    if not -n <= axis < n:
        what = f"expected to be in range of [{-n}, {n - 1}], but got {axis}"
        raise RuntimeError(f"Dimension out of range ({what})")


def check_sort(x: Tensor, *rest: Any) -> None:
    axis = [n for n in rest if isinstance(n, int) and not isinstance(n, bool)]
    check_axis(x, axis[0] if axis else -1)


def check_index(x: Tensor, axis: int, index: Tensor) -> None:
    if index.ndim > 1:
        raise RuntimeError("index_select(): Index is supposed to be a vector")


def check_upsampling(x: Tensor, size: Any, *rest: Any) -> None:
    sides = [*x.shape[2:], *(size or ())]
    if any(n < 1 for n in sides):
        raise RuntimeError(f"Input and output sizes should be greater than 0, but got {list(x.shape[2:])} and {size}")


def check_in_place(x: Tensor, *rest: Any) -> None:
    """A result is written into `x` only where that loses no fraction."""
    others = [t for t in rest if isinstance(t, (Tensor, float))]
    for other in others:
        result = torch.result_type(x, other)
        if not torch.can_cast(result, x.dtype):
            kinds = name_dtype(result), name_dtype(x.dtype)
            raise RuntimeError("result type {} can't be cast to the desired output type {}".format(*kinds))


def check_floats(name: str, x: Any) -> None:
    if isinstance(x, Tensor) and not (x.is_floating_point() or x.is_complex()):
        if name in FLOAT_OPERATIONS or x.dtype is not torch.uint8:
            raise RuntimeError(f"{name} is not implemented for {name_dtype(x.dtype)}")


# By the operation's name, with its positional arguments.
CHECKS: dict[str, Callable[..., None]] = {
    "convolution": check_convolution,
    **dict.fromkeys(["mm", "bmm", "mv", "dot", "linear", "_cdist_forward", "grid_sampler_2d"], check_same_dtype),
    **dict.fromkeys(["addmm", "baddbmm"], check_added_product),
    **dict.fromkeys(["native_batch_norm", "native_layer_norm", "native_group_norm"], check_norm),
    **dict.fromkeys(["_softmax", "_log_softmax", "_safe_softmax"], check_axis),
    "sort": check_sort,
    "index_select": check_index,
    **dict.fromkeys(
        ["upsample_linear1d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d"], check_upsampling
    ),
    **dict.fromkeys(["add_", "sub_", "mul_", "div_"], check_in_place),
}


def check_operation(name: str, args: Any) -> None:
    """Raises RuntimeError where torch refuses `args` on real tensors, and the meta device might not."""
    bare = name.rstrip("_")
    if bare in FLOAT_OPERATIONS or bare in IMAGE_OPERATIONS:
        check_floats(bare, args[0])
    check = CHECKS.get(name)
    if check is not None:
        check(*args)
