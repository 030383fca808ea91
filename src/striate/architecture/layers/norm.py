"""Normalisation layers: they keep the shape."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from .layer import (
    Examples,
    Layer,
    Reach,
    SavedMap,
    Shape,
    Tensor,
    need_flag,
    need_groups,
    need_map,
    need_number,
    need_whole,
)

__all__ = ["BatchNorm", "GlobalResponseNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "LocalResponseNorm"]


def list_affine_tensors(layer: BatchNorm | LayerNorm | GroupNorm | InstanceNorm, x: Shape) -> tuple[Tensor, ...]:
    """With `affine` a scale of 1 and a shift of 0 for each channel."""
    return (Tensor("weight", (x[0],), "ones"), Tensor("bias", (x[0],), "zeros")) if layer.affine else ()


def format_affine_params(layer: BatchNorm | LayerNorm | GroupNorm | InstanceNorm, x: Shape) -> str:
    return f"2·{x[0]}" if layer.affine else ""


@dataclass(frozen=True, repr=False)
class BatchNorm(Layer):
    """Each channel less its mean, over its standard deviation, times a learned scale, plus a learned shift.

    (x − mean) / √(variance + eps)·weight + bias; in training with the batch's own mean and variance, which
    also move the running ones by `momentum` (new = (1 − momentum)·old + momentum·batch, torch's sense; Keras
    calls 1 − momentum so), else with the running ones (Ioffe and Szegedy 2015).
    params   2·C, or 0 without `affine`; the 2·C running statistics are buffers, not parameters (Keras counts them)

    >>> BatchNorm().params((64, 56, 56)), BatchNorm().params_rule((64, 56, 56))
    (128, '2·64')
    """

    KIND: ClassVar[str] = "bn"
    EXAMPLES: ClassVar[Examples] = {"eps": (1e-5, 1e-3), "momentum": (0.1, 0.01), "affine": (True, False)}
    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        need_number(self, "eps", above=0)
        need_number(self, "momentum", above=0)
        need_flag(self, "affine")

    def tensors(self, x: Shape) -> tuple[Tensor, ...]:
        c = (x[0],)
        return (
            *list_affine_tensors(self, x),
            Tensor("running_mean", c, "zeros", trainable=False),
            Tensor("running_var", c, "ones", trainable=False),
        )

    def params(self, x: Shape) -> int:
        return 2 * x[0] if self.affine else 0

    def buffers(self, x: Shape) -> int:
        return 2 * x[0]

    def kept(self, x: Shape) -> SavedMap:
        """Its input, and the batch's mean and 1 / deviation of each channel."""
        return SavedMap(input=True, once=8 * x[0])

    def params_rule(self, x: Shape) -> str:
        return format_affine_params(self, x)


@dataclass(frozen=True, repr=False)
class LayerNorm(Layer):
    """At each position, the channels less their mean, over their deviation, times a scale per channel, plus a shift.

    Over the channels of a map C×H×W, or over a vector (Ba et al. 2016, as ConvNeXt uses it). params 2·C

    >>> LayerNorm().params((96, 56, 56))
    192
    """

    KIND: ClassVar[str] = "ln"
    EXAMPLES: ClassVar[Examples] = {"eps": (1e-6, 1e-3), "affine": (True, False)}
    eps: float = 1e-6
    affine: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        need_number(self, "eps", above=0)
        need_flag(self, "affine")

    def tensors(self, x: Shape) -> tuple[Tensor, ...]:
        return list_affine_tensors(self, x)

    def kept(self, x: Shape) -> SavedMap:
        """Its input, and the mean and 1 / deviation at each position."""
        return SavedMap(input=True, image=8 * prod(x[1:]))

    def params_rule(self, x: Shape) -> str:
        return format_affine_params(self, x)


@dataclass(frozen=True, repr=False)
class GroupNorm(Layer):
    """Each of `groups` parts of the channels, over all positions, less its mean, over its deviation; then as BatchNorm.

    The mean and the variance are those of the one image, so a batch of any size does (Wu and He 2018). params 2·C

    >>> GroupNorm(8).params((64, 56, 56)), GroupNorm(8, affine=False).params((64, 56, 56))
    (128, 0)
    """

    KIND: ClassVar[str] = "gn"
    EXAMPLES: ClassVar[Examples] = {"groups": (1, 2, 3, 4), "eps": (1e-5, 1e-3), "affine": (True, False)}
    groups: int
    eps: float = 1e-5
    affine: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        need_whole(self, "groups")
        need_number(self, "eps", above=0)
        need_flag(self, "affine")

    def out(self, x: Shape) -> Shape:
        need_groups(self.groups, x)
        return x

    def count_groups(self, x: Shape) -> int:
        return self.groups

    def tensors(self, x: Shape) -> tuple[Tensor, ...]:
        return list_affine_tensors(self, x)

    def reach(self, x: Shape) -> tuple[Reach, Reach] | None:
        return reach_everywhere(x)

    def kept(self, x: Shape) -> SavedMap:
        """Its input, and the mean and 1 / deviation of each group."""
        return SavedMap(input=True, image=8 * self.groups)

    def params_rule(self, x: Shape) -> str:
        return format_affine_params(self, x)

    @property
    def label(self) -> str:
        return f"GroupNorm {self.groups}"


@dataclass(frozen=True, repr=False)
class InstanceNorm(Layer):
    """Each channel of each image, over all positions, less its mean, over its deviation (Ulyanov et al. 2016).

    GroupNorm with a group for each channel. As in torch it has no scale and shift unless `affine`; then params 2·C.

    >>> InstanceNorm().params((64, 56, 56)), InstanceNorm(affine=True).params((64, 56, 56))
    (0, 128)
    """

    KIND: ClassVar[str] = "in"
    EXAMPLES: ClassVar[Examples] = {"eps": (1e-5, 1e-3), "affine": (False, True)}
    eps: float = 1e-5
    affine: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        need_number(self, "eps", above=0)
        need_flag(self, "affine")

    def out(self, x: Shape) -> Shape:
        need_map(self, x)
        return x

    def count_groups(self, x: Shape) -> int:
        return x[0]

    def tensors(self, x: Shape) -> tuple[Tensor, ...]:
        return list_affine_tensors(self, x)

    def reach(self, x: Shape) -> tuple[Reach, Reach] | None:
        return reach_everywhere(x)

    def kept(self, x: Shape) -> SavedMap:
        """Its input, and the mean and 1 / deviation of each channel."""
        return SavedMap(input=True, image=8 * x[0], copies=True)

    def params_rule(self, x: Shape) -> str:
        return format_affine_params(self, x)


def reach_everywhere(x: Shape) -> tuple[Reach, Reach] | None:
    """The window of a layer of which each output looks at the whole map, and which keeps the map's size."""
    if len(x) != 3:
        return None
    return Reach(2 * x[1] - 1, 1, x[1] - 1), Reach(2 * x[2] - 1, 1, x[2] - 1)


@dataclass(frozen=True, repr=False)
class GlobalResponseNorm(Layer):
    """x + weight·x·(g / (mean of g + eps)) + bias, where g is the length of each whole channel, √Σx².

    A channel that is strong beside the others is made stronger; weight and bias, one a channel, start at 0
    (ConvNeXt V2, Woo et al. 2023). params 2·C

    >>> GlobalResponseNorm().params((160, 56, 56))
    320
    """

    KIND: ClassVar[str] = "grn"
    EXAMPLES: ClassVar[Examples] = {"eps": (1e-6, 1e-3)}
    eps: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        need_number(self, "eps", above=0)

    def out(self, x: Shape) -> Shape:
        need_map(self, x)
        return x

    def tensors(self, x: Shape) -> tuple[Tensor, ...]:
        return Tensor("weight", (x[0],), "zeros"), Tensor("bias", (x[0],), "zeros")

    def reach(self, x: Shape) -> tuple[Reach, Reach] | None:
        return reach_everywhere(x)

    def kept(self, x: Shape) -> SavedMap:
        """Its input, and of each channel its response, its length and its factor; the mean length."""
        return SavedMap(input=True, image=4 * x[0], through=4 * (2 * x[0] + 1))

    def params_rule(self, x: Shape) -> str:
        return f"2·{x[0]}"

    @property
    def label(self) -> str:
        return "GRN"


@dataclass(frozen=True, repr=False)
class LocalResponseNorm(Layer):
    """Each value over (k + alpha/size · Σ a²)^beta, the sum over `size` neighbouring channels (Krizhevsky et al. 2012).

    The paper writes alpha where Caffe and torch, and we, write alpha/size. No parameters.

    >>> LocalResponseNorm().params((96, 55, 55))
    0
    """

    KIND: ClassVar[str] = "lrn"
    EXAMPLES: ClassVar[Examples] = {"size": (1, 2, 3, 4, 5), "alpha": (1e-4, 0.5), "beta": (0.75, 0.5), "k": (1.0, 2.0)}
    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        need_whole(self, "size")
        need_number(self, "alpha", "beta", "k")

    def out(self, x: Shape) -> Shape:
        need_map(self, x)
        return x

    def kept(self, x: Shape) -> SavedMap:
        """Its input, the squares with zero channels around them, the sum's base and its power."""
        return SavedMap(input=True, image=4 * (2 * prod(x) + (x[0] + self.size - 1) * x[1] * x[2]))

    @property
    def label(self) -> str:
        return f"LRN {self.size}"
