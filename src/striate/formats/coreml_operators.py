"""The operators of a Core ML package, so that its program can be computed and compared where Core ML is not.

They are those of coremltools' "MIL", each as its reference says, here in torch
(https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html). An operator, or a setting of
one, that is not written here is refused by name: nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ModelError
from ..language import say

Given = Mapping[str, Any]


def refuse_operator(operator: str, why: str) -> ModelError:
    return ModelError("coreml", why, got=operator, hint="-o model.onnx --plain")


def read_pads(given: Given, operator: str) -> tuple[int, int, int, int]:
    """Top, bottom, left, right."""
    kind = given.get("pad_type", "valid")
    if kind not in ("valid", "custom"):
        raise refuse_operator(operator, say("padding '{kind}' is not known to the check", kind=kind))
    top, bottom, left, right = given["pad"] if kind == "custom" else (0, 0, 0, 0)
    return top, bottom, left, right


def pad_map(x: Tensor, pads: tuple[int, int, int, int], value: float = 0.0) -> Tensor:
    top, bottom, left, right = pads
    return F.pad(x, (left, right, top, bottom), value=value)


def compute_conv(given: Given) -> Tensor:
    x = pad_map(given["x"], read_pads(given, "conv"))
    strides, dilations, groups = given.get("strides", (1, 1)), given.get("dilations", (1, 1)), given.get("groups", 1)
    return F.conv2d(x, given["weight"], given.get("bias"), strides, 0, dilations, groups)


def compute_conv_transpose(given: Given) -> Tensor:
    """Everything that the kernels lay down, less the padding; `output_shape` may keep some of what lies behind it."""
    top, bottom, left, right = read_pads(given, "conv_transpose")
    strides, dilations, groups = given.get("strides", (1, 1)), given.get("dilations", (1, 1)), given.get("groups", 1)
    y = F.conv_transpose2d(given["x"], given["weight"], None, strides, 0, 0, groups, dilations)
    height, width = y.shape[2] - top - bottom, y.shape[3] - left - right
    if "output_shape" in given:
        height, width = given["output_shape"][-2:]
    y = F.pad(y, (0, max(0, left + width - y.shape[3]), 0, max(0, top + height - y.shape[2])))
    y = y[:, :, top : top + height, left : left + width]
    return y if given.get("bias") is None else y + given["bias"].view(-1, 1, 1)


def compute_max_pool(given: Given) -> Tensor:
    pads = read_pads(given, "max_pool")
    if given.get("ceil_mode"):
        sides = find_even_pads(pads, "max_pool")
        return F.max_pool2d(given["x"], given["kernel_sizes"], given["strides"], sides, ceil_mode=True)
    return F.max_pool2d(pad_map(given["x"], pads, -torch.inf), given["kernel_sizes"], given["strides"])


def compute_avg_pool(given: Given) -> Tensor:
    x, kernel, strides = given["x"], given["kernel_sizes"], given["strides"]
    if x.ndim == 5 and not any(given["pad"]):
        return F.avg_pool3d(x, kernel, strides)
    pads, counted = read_pads(given, "avg_pool"), not given.get("exclude_padding_from_average")
    if given.get("ceil_mode"):
        return F.avg_pool2d(x, kernel, strides, find_even_pads(pads, "avg_pool"), True, counted)
    y = F.avg_pool2d(pad_map(x, pads), kernel, strides)
    return y if counted else y / F.avg_pool2d(pad_map(torch.ones_like(x), pads), kernel, strides)


def find_even_pads(pads: tuple[int, int, int, int], operator: str) -> tuple[int, int]:
    """Above and at the left, where below and at the right there is as much, as torch takes it."""
    top, bottom, left, right = pads
    if (top, left) != (bottom, right):
        raise refuse_operator(operator, say("uneven padding with a size rounded up is not known to the check"))
    return top, left


def compute_crop(given: Given) -> Tensor:
    (top, bottom), (left, right) = given["crop_height"], given["crop_width"]
    height, width = given["x"].shape[2:]
    return given["x"][:, :, top : height - bottom, left : width - right]


def compute_batch_norm(given: Given) -> Tensor:
    scale, shift = given.get("gamma"), given.get("beta")
    return F.batch_norm(given["x"], given["mean"], given["variance"], scale, shift, eps=given["epsilon"])


def compute_instance_norm(given: Given) -> Tensor:
    return F.instance_norm(given["x"], weight=given.get("gamma"), bias=given.get("beta"), eps=given["epsilon"])


def compute_layer_norm(given: Given) -> Tensor:
    axes = [axis % given["x"].ndim for axis in given["axes"]]
    if axes != list(range(given["x"].ndim - len(axes), given["x"].ndim)):
        raise refuse_operator("layer_norm", say("the axes {axes} are not known to the check", axes=axes))
    shape = given["x"].shape[axes[0] :]
    return F.layer_norm(given["x"], shape, given.get("gamma"), given.get("beta"), given["epsilon"])


def compute_linear(given: Given) -> Tensor:
    return F.linear(given["x"], given["weight"], given.get("bias"))


def compute_matmul(given: Given) -> Tensor:
    x, y = given["x"], given["y"]
    return (x.mT if given.get("transpose_x") else x) @ (y.mT if given.get("transpose_y") else y)


def compute_pad(given: Given) -> Tensor:
    """`pad` goes from the last axes: a start and an end each, in the axes' order."""
    pads = given["pad"]
    turned = [n for k in range(len(pads) - 2, -1, -2) for n in pads[k : k + 2]]
    mode = {"constant": "constant", "replicate": "replicate", "reflect": "reflect"}[given["mode"]]
    while mode != "constant" and turned[-2:] == [0, 0]:
        turned = turned[:-2]
    return F.pad(given["x"], turned, mode, given["constant_val"] if mode == "constant" else None)


def compute_gelu(given: Given) -> Tensor:
    modes = {"EXACT": "none", "TANH_APPROXIMATION": "tanh"}
    if given["mode"] not in modes:
        raise refuse_operator("gelu", say("mode {mode} is not known to the check", mode=given["mode"]))
    return F.gelu(given["x"], approximate=modes[given["mode"]])


def compute_upsample_bilinear(given: Given) -> Tensor:
    factors = given["scale_factor_height"], given["scale_factor_width"]
    if not given.get("half_pixel_centers", not given["align_corners"]) and not given["align_corners"]:
        raise refuse_operator("upsample_bilinear", say("centres at whole pixels are not known to the check"))
    height, width = given["x"].shape[2:]
    size = [int(side * factor) for side, factor in zip((height, width), factors, strict=True)]
    return F.interpolate(given["x"], size, mode="bilinear", align_corners=given["align_corners"])


def compute_upsample_nearest(given: Given) -> Tensor:
    factors = given["scale_factor_height"], given["scale_factor_width"]
    return F.interpolate(given["x"], scale_factor=factors, mode="nearest")


def compute_gather(given: Given) -> Tensor:
    return given["x"].index_select(given["axis"], torch.tensor(given["indices"]).reshape(-1))


def compute_expand_dims(given: Given) -> Tensor:
    x, whole = given["x"], given["x"].ndim + len(given["axes"])
    for axis in sorted(axis % whole for axis in given["axes"]):
        x = x.unsqueeze(axis)
    return x


def compute_slice(given: Given) -> Tensor:
    """`slice_by_index`; the masks say which ends are left open."""
    x, n = given["x"], given["x"].ndim
    strides, closed = given.get("stride") or [1] * n, [False] * n
    begins, ends = given.get("begin_mask") or closed, given.get("end_mask") or closed
    if any(given.get("squeeze_mask") or closed) or min(strides) < 1:
        raise refuse_operator("slice_by_index", say("this slice is not known to the check"))
    return x[
        tuple(
            slice(None if begins[k] else given["begin"][k], None if ends[k] else given["end"][k], strides[k])
            for k in range(n)
        )
    ]


def compute_reduction(compute: Callable[..., Tensor]) -> Callable[[Given], Tensor]:
    return lambda given: compute(given["x"], dim=tuple(given["axes"]), keepdim=given["keep_dims"])


def compute_one(compute: Callable[[Tensor], Tensor]) -> Callable[[Given], Tensor]:
    return lambda given: compute(given["x"])


def compute_two(compute: Callable[[Any, Any], Tensor]) -> Callable[[Given], Tensor]:
    """Of two, of which one may be a number."""
    return lambda given: compute(*(torch.as_tensor(given[name], dtype=torch.float32) for name in ("x", "y")))


def by_channel(value: Any) -> Tensor:
    """A number a channel, as a map takes it."""
    return torch.as_tensor(value, dtype=torch.float32).view(-1, 1, 1)


OPERATORS: Mapping[str, Callable[[Given], Any]] = {
    "abs": compute_one(torch.abs),
    "add": compute_two(torch.add),
    "avg_pool": compute_avg_pool,
    "batch_norm": compute_batch_norm,
    "clip": lambda given: given["x"].clamp(given["alpha"], given["beta"]),
    "concat": lambda given: torch.cat(given["values"], given["axis"]),
    "conv": compute_conv,
    "conv_transpose": compute_conv_transpose,
    "crop": compute_crop,
    "elu": lambda given: F.elu(given["x"], given["alpha"]),
    "exp": compute_one(torch.exp),
    "expand_dims": compute_expand_dims,
    "gather": compute_gather,
    "gelu": compute_gelu,
    "greater": compute_two(torch.gt),
    "identity": compute_one(lambda x: x),
    "instance_norm": compute_instance_norm,
    "layer_norm": compute_layer_norm,
    "leaky_relu": lambda given: F.leaky_relu(given["x"], given["alpha"]),
    "linear": compute_linear,
    "matmul": compute_matmul,
    "max_pool": compute_max_pool,
    "maximum": compute_two(torch.maximum),
    "minimum": compute_two(torch.minimum),
    "mul": compute_two(torch.mul),
    "pad": compute_pad,
    "pow": compute_two(torch.pow),
    "prelu": lambda given: torch.where(given["x"] >= 0, given["x"], given["x"] * by_channel(given["alpha"])),
    "real_div": compute_two(torch.div),
    "reduce_l2_norm": compute_reduction(torch.linalg.vector_norm),
    "reduce_max": compute_reduction(torch.amax),
    "reduce_mean": compute_reduction(torch.mean),
    "reduce_sum": compute_reduction(torch.sum),
    "relu": compute_one(torch.relu),
    "relu6": compute_one(F.relu6),
    "reshape": lambda given: given["x"].reshape(given["shape"]),
    "rsqrt": lambda given: (given["x"] + given["epsilon"]).rsqrt(),
    "select": lambda given: torch.where(given["cond"], given["a"], given["b"]),
    "sigmoid": compute_one(torch.sigmoid),
    "sigmoid_hard": lambda given: (given["x"] * given["alpha"] + given["beta"]).clamp(0, 1),
    "silu": compute_one(F.silu),
    "slice_by_index": compute_slice,
    "softmax": lambda given: given["x"].softmax(given["axis"]),
    "softplus": compute_one(F.softplus),
    "sqrt": compute_one(torch.sqrt),
    "square": compute_one(torch.square),
    "squeeze": lambda given: given["x"].squeeze(tuple(given["axes"])),
    "sub": compute_two(torch.sub),
    "tanh": compute_one(torch.tanh),
    "thresholded_relu": lambda given: torch.where(given["x"] >= given["alpha"], given["x"], 0.0),
    "transpose": lambda given: given["x"].permute(given["perm"]),
    "upsample_bilinear": compute_upsample_bilinear,
    "upsample_nearest_neighbor": compute_upsample_nearest,
}
