"""Our record of a torch module, so that a foreign layer gets its rules from where they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ..arch import layers as L
from ..arch.layers import Layer
from ..errors import StriateError


def record(module: nn.Module) -> Layer | None:
    """The layer that computes what `module` does, None where we have none.

    A subclass counts as its base where it leaves `forward` alone.
    """
    for kind, made in RECORDS.items():
        if isinstance(module, kind) and type(module).forward is kind.forward:
            try:
                return made(module)
            except (StriateError, TypeError, ValueError):
                return None
    return None


def two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def zeros(module: Any) -> Any:
    """A torch layer's padding as (top, bottom, left, right)."""
    if module.padding == "same":
        # Torch has "same" for stride 1 alone, where it puts the odd zero where we do.
        return "same"
    if module.padding == "valid":
        return 0
    rows, columns = two(module.padding)
    return rows, rows, columns, columns


def conv(m: Any) -> Layer:
    return L.Conv(
        m.out_channels, two(m.kernel_size), two(m.stride), zeros(m), two(m.dilation), m.groups, m.bias is not None
    )


def max_pool(m: Any) -> Layer:
    stride = two(m.kernel_size if m.stride is None else m.stride)
    return L.MaxPool(two(m.kernel_size), stride, zeros(m), two(m.dilation), m.ceil_mode)


def avg_pool(m: Any) -> Layer:
    stride = two(m.kernel_size if m.stride is None else m.stride)
    return L.AvgPool(two(m.kernel_size), stride, zeros(m), m.ceil_mode, m.count_include_pad)


def adaptive(m: Any) -> Layer | None:
    return L.GlobalAvgPool(keepdims=True) if two(m.output_size) == (1, 1) else None


def flatten(m: Any) -> Layer | None:
    return L.Flatten() if (m.start_dim, m.end_dim) == (1, -1) else None


RECORDS: dict[type[nn.Module], Callable[[Any], Layer | None]] = {
    nn.Conv2d: conv,
    nn.Linear: lambda m: L.Dense(m.out_features, m.bias is not None),
    nn.MaxPool2d: max_pool,
    nn.AvgPool2d: avg_pool,
    nn.AdaptiveAvgPool2d: adaptive,
    nn.Flatten: flatten,
    nn.BatchNorm2d: lambda m: L.BatchNorm(m.eps, affine=m.affine),
    nn.BatchNorm1d: lambda m: L.BatchNorm(m.eps, affine=m.affine),
    nn.LocalResponseNorm: lambda m: L.LocalResponseNorm(m.size, m.alpha, m.beta, m.k),
    nn.Dropout: lambda m: L.Dropout(m.p),
    nn.Identity: lambda m: L.Identity(),
    nn.ReLU: lambda m: L.ReLU(),
    nn.ReLU6: lambda m: L.ReLU6(),
    nn.LeakyReLU: lambda m: L.LeakyReLU(m.negative_slope),
    nn.ELU: lambda m: L.ELU(m.alpha),
    nn.GELU: lambda m: L.GELU() if m.approximate == "none" else None,
    nn.SiLU: lambda m: L.SiLU(),
    nn.Sigmoid: lambda m: L.Sigmoid(),
    nn.Tanh: lambda m: L.Tanh(),
    nn.Hardsigmoid: lambda m: L.HardSigmoid(),
    nn.Hardswish: lambda m: L.HardSwish(),
    nn.Softmax: lambda m: L.Softmax(),
}
"""The torch layers that we have a record of."""
