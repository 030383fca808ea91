"""Our record of a torch module, so that a foreign layer gets its rules from where they are written."""

from __future__ import annotations

from typing import Any

from torch import nn

from ..architecture import layers as L
from ..architecture.abilities import FROM_TORCH
from ..architecture.layers import Layer
from ..errors import StriateError


def find_record(module: nn.Module) -> Layer | None:
    """The layer that computes what `module` does, None where we have none.

    A subclass counts as its base where it leaves `forward` alone; a module with a `forward` of its own has none.
    """
    if "forward" in module.__dict__:
        return None
    for readers in FROM_TORCH.filled().values():
        for kind, made in readers.items():
            if isinstance(module, kind) and type(module).forward is kind.forward:
                try:
                    return made(module)
                except (StriateError, TypeError, ValueError):
                    return None
    return None


def read_pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def read_padding(module: Any) -> Any:
    """A torch layer's padding as (top, bottom, left, right)."""
    if module.padding == "same":
        # Torch has "same" for stride 1 alone, where it puts the odd zero where we do.
        return "same"
    if module.padding == "valid":
        return 0
    rows, columns = read_pair(module.padding)
    return rows, rows, columns, columns


def read_conv(m: Any) -> Layer:
    return L.Conv(
        m.out_channels,
        read_pair(m.kernel_size),
        read_pair(m.stride),
        read_padding(m),
        read_pair(m.dilation),
        m.groups,
        m.bias is not None,
    )


def read_max_pool(m: Any) -> Layer:
    stride = read_pair(m.kernel_size if m.stride is None else m.stride)
    return L.MaxPool(read_pair(m.kernel_size), stride, read_padding(m), read_pair(m.dilation), m.ceil_mode)


def read_avg_pool(m: Any) -> Layer:
    stride = read_pair(m.kernel_size if m.stride is None else m.stride)
    return L.AvgPool(read_pair(m.kernel_size), stride, read_padding(m), m.ceil_mode, m.count_include_pad)


def read_adaptive_pool(m: Any) -> Layer | None:
    return L.GlobalAvgPool(keepdims=True) if read_pair(m.output_size) == (1, 1) else None


def read_adaptive_max_pool(m: Any) -> Layer | None:
    alone = read_pair(m.output_size) == (1, 1) and not m.return_indices
    return L.GlobalMaxPool(keepdims=True) if alone else None


def read_flatten(m: Any) -> Layer | None:
    return L.Flatten() if (m.start_dim, m.end_dim) == (1, -1) else None


def batch_norm(m: Any) -> Layer | None:
    """None where the running statistics are plain means over all batches: our record has no such momentum."""
    return None if m.momentum is None else L.BatchNorm(m.eps, m.momentum, m.affine)


def read_conv_transpose(m: Any) -> Layer:
    return L.ConvTranspose(
        m.out_channels,
        read_pair(m.kernel_size),
        read_pair(m.stride),
        read_pair(m.padding),
        read_pair(m.output_padding),
        read_pair(m.dilation),
        m.groups,
        m.bias is not None,
    )


def read_upsample(m: Any) -> Layer | None:
    """None for a size that is no factor, and for a factor that is worked out again from the sizes."""
    if m.scale_factor is None or m.recompute_scale_factor:
        return None
    return L.Upsample(m.scale_factor, m.mode, bool(m.align_corners))


FROM_TORCH.of(L.Conv)({nn.Conv2d: read_conv})
FROM_TORCH.of(L.Dense)({nn.Linear: lambda m: L.Dense(m.out_features, m.bias is not None)})
FROM_TORCH.of(L.MaxPool)({nn.MaxPool2d: read_max_pool})
FROM_TORCH.of(L.AvgPool)({nn.AvgPool2d: read_avg_pool})
FROM_TORCH.of(L.GlobalAvgPool)({nn.AdaptiveAvgPool2d: read_adaptive_pool})
FROM_TORCH.of(L.GlobalMaxPool)({nn.AdaptiveMaxPool2d: read_adaptive_max_pool})
FROM_TORCH.of(L.Flatten)({nn.Flatten: read_flatten})
FROM_TORCH.of(L.BatchNorm)(dict.fromkeys([nn.BatchNorm2d, nn.BatchNorm1d], batch_norm))
FROM_TORCH.of(L.LocalResponseNorm)({nn.LocalResponseNorm: lambda m: L.LocalResponseNorm(m.size, m.alpha, m.beta, m.k)})
FROM_TORCH.of(L.GroupNorm)({nn.GroupNorm: lambda m: L.GroupNorm(m.num_groups, m.eps, m.affine)})
FROM_TORCH.of(L.InstanceNorm)(
    {nn.InstanceNorm2d: lambda m: None if m.track_running_stats else L.InstanceNorm(m.eps, m.affine)}
)
FROM_TORCH.of(L.ConvTranspose)({nn.ConvTranspose2d: read_conv_transpose})
FROM_TORCH.of(L.Upsample)({nn.Upsample: read_upsample})
FROM_TORCH.of(L.Dropout)({nn.Dropout: lambda m: L.Dropout(m.p)})
FROM_TORCH.of(L.Identity)({nn.Identity: lambda m: L.Identity()})
FROM_TORCH.of(L.ReLU)({nn.ReLU: lambda m: L.ReLU()})
FROM_TORCH.of(L.ReLU6)({nn.ReLU6: lambda m: L.ReLU6()})
FROM_TORCH.of(L.LeakyReLU)({nn.LeakyReLU: lambda m: L.LeakyReLU(m.negative_slope)})
FROM_TORCH.of(L.PReLU)({nn.PReLU: lambda m: L.PReLU(per_channel=m.num_parameters > 1)})
FROM_TORCH.of(L.ELU)({nn.ELU: lambda m: L.ELU(m.alpha)})
FROM_TORCH.of(L.SELU)({nn.SELU: lambda m: L.SELU()})
FROM_TORCH.of(L.CELU)({nn.CELU: lambda m: L.CELU(m.alpha)})
FROM_TORCH.of(L.GELU)({nn.GELU: lambda m: L.GELU() if m.approximate == "none" else None})
FROM_TORCH.of(L.TanhGELU)({nn.GELU: lambda m: L.TanhGELU() if m.approximate == "tanh" else None})
FROM_TORCH.of(L.Mish)({nn.Mish: lambda m: L.Mish()})
FROM_TORCH.of(L.Softplus)({nn.Softplus: lambda m: L.Softplus() if (m.beta, m.threshold) == (1, 20) else None})
FROM_TORCH.of(L.SiLU)({nn.SiLU: lambda m: L.SiLU()})
FROM_TORCH.of(L.Sigmoid)({nn.Sigmoid: lambda m: L.Sigmoid()})
FROM_TORCH.of(L.Tanh)({nn.Tanh: lambda m: L.Tanh()})
FROM_TORCH.of(L.HardSigmoid)({nn.Hardsigmoid: lambda m: L.HardSigmoid()})
FROM_TORCH.of(L.HardSwish)({nn.Hardswish: lambda m: L.HardSwish()})
FROM_TORCH.of(L.ChannelShuffle)({nn.ChannelShuffle: lambda m: L.ChannelShuffle(m.groups)})
FROM_TORCH.of(L.Softmax)({nn.Softmax: lambda m: L.Softmax()})

FROM_TORCH.none_for(
    L.Sequence, L.Parallel, L.SideHead, why="a module that holds others is a row of its own, by what it holds"
)
FROM_TORCH.none_for(
    L.BlurPool,
    L.LayerScale,
    L.StochasticDepth,
    L.PadChannels,
    L.SliceChannels,
    L.ChannelConv,
    L.GlobalResponseNorm,
    why="torch.nn has no such module",
)
FROM_TORCH.none_for(
    L.LayerNorm,
    why="nn.LayerNorm is over the last axes, ours over the channels, which are the last of channels-last alone",
)
