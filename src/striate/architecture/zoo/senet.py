"""SE-ResNet. Hu, Shen and Sun, "Squeeze-and-excitation networks", 2017."""

from __future__ import annotations

from typing import Any

from ..layers import Conv, GlobalAvgPool, Identity, Layer, Parallel, ReLU, Sequence, Shape, Sigmoid
from ..net import Net
from .resnet import resnet


def build_squeeze_excite(
    channels: int,
    squeezed: int,
    squash: Layer = ReLU(),  # noqa: B008  a record is a value
    gate: Layer = Sigmoid(),  # noqa: B008
) -> Parallel:
    """Each channel times a gate from 0 to 1, computed from the mean of all channels through two 1×1 convolutions."""
    mean = GlobalAvgPool(keepdims=True)
    weigh = Sequence(mean, Conv(squeezed, 1, init="he_normal"), squash, Conv(channels, 1), gate, name="gate")
    return Parallel(Identity(name="map"), weigh, join="multiply", name="se")


def squeeze_to_sixteenth(channels: int) -> Parallel:
    """Squeezed to a sixteenth, in whole eights."""
    return build_squeeze_excite(channels, max(8, (channels // 16 + 4) // 8 * 8))


def seresnet18(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ResNet-18 with a gate on each block: 11,779,624 parameters. Options as in `resnet`."""
    return resnet("seresnet18", (2, 2, 2, 2), classes, input, deep=False, gate=squeeze_to_sixteenth, **options)


def seresnet34(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ResNet-34 with a gate on each block: 21,960,416 parameters. Options as in `resnet`."""
    return resnet("seresnet34", (3, 4, 6, 3), classes, input, deep=False, gate=squeeze_to_sixteenth, **options)


def seresnet50(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ResNet-50 with a gate on each block: 28,088,024 parameters. Options as in `resnet`."""
    return resnet("seresnet50", (3, 4, 6, 3), classes, input, gate=squeeze_to_sixteenth, **options)


def seresnet101(classes: int = 1000, input: Shape = (3, 224, 224), **options: Any) -> Net:
    """ResNet-101 with a gate on each block: 49,326,872 parameters. Options as in `resnet`."""
    return resnet("seresnet101", (3, 4, 23, 3), classes, input, gate=squeeze_to_sixteenth, **options)
