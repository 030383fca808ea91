"""Every layer record. Each stands with its rules in the file of its family, which names it in `__all__`."""

from . import channels, containers, conv, dense, norm, pointwise, pooling, resizing, transposed
from .channels import *
from .containers import *
from .containers import Container
from .conv import *
from .dense import *
from .layer import LAYERS, Layer, Reach, SavedMap, Shape, Tensor, format_shape
from .norm import *
from .pointwise import *
from .pooling import *
from .resizing import *
from .transposed import *
from .windowed import find_strides, slide_window

for family in (conv, transposed, pooling, resizing, dense, pointwise, channels, norm, containers):
    LAYERS.update({name: getattr(family, name) for name in family.__all__})

__all__ = [
    "LAYERS",
    "Container",
    "SavedMap",
    "Layer",
    "Reach",
    "Shape",
    "Tensor",
    "format_shape",
    "slide_window",
    "find_strides",
    *sorted(LAYERS),
]  # pyright: ignore
