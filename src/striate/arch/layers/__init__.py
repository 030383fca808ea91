"""Every layer record. Each stands with its rules in the file of its family; this page is the list."""

from .containers import Container, Parallel, Sequence, SideHead
from .dense import Dense, Flatten
from .layer import Kept, Layer, Reach, Shape, Tensor, show
from .norm import BatchNorm, LayerNorm, LocalResponseNorm
from .pointwise import (
    ELU,
    GELU,
    Dropout,
    HardSigmoid,
    HardSwish,
    Identity,
    LayerScale,
    LeakyReLU,
    PadChannels,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    StochasticDepth,
    Tanh,
)
from .windowed import AvgPool, BlurPool, Conv, GlobalAvgPool, MaxPool, slides, strides

LAYERS: dict[str, type[Layer]] = {
    layer.__name__: layer
    for layer in (
        Conv, MaxPool, AvgPool, BlurPool, GlobalAvgPool, Flatten, Dense,
        ReLU, ReLU6, LeakyReLU, ELU, GELU, SiLU, Sigmoid, Tanh, HardSigmoid, HardSwish, Softmax,
        BatchNorm, LayerNorm, LocalResponseNorm,
        Dropout, StochasticDepth, LayerScale, PadChannels, Identity,
        Sequence, Parallel, SideHead,
    )
}  # fmt: skip
"""Every record by its name: what the text form and the JSON form may use."""

__all__ = [
    "LAYERS",
    "Container",
    "Kept",
    "Layer",
    "Reach",
    "Shape",
    "Tensor",
    "show",
    "slides",
    "strides",
    *sorted(LAYERS),
]  # pyright: ignore
