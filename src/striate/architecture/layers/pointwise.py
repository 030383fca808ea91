"""Layers that keep the shape and look at one position at a time: activations, dropout, scaling."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from .layer import Examples, Layer, SavedMap, Shape, Tensor, need_flag, need_number, need_share

__all__ = [
    "ReLU",
    "ReLU6",
    "LeakyReLU",
    "PReLU",
    "ELU",
    "SELU",
    "CELU",
    "GELU",
    "TanhGELU",
    "Mish",
    "Softplus",
    "SiLU",
    "Sigmoid",
    "Tanh",
    "HardSigmoid",
    "HardSwish",
    "Softmax",
    "Dropout",
    "StochasticDepth",
    "LayerScale",
    "Identity",
]


@dataclass(frozen=True, repr=False)
class Identity(Layer):
    """x, unchanged: the straight branch of a residual block.

    >>> Identity().out((64, 56, 56))
    (64, 56, 56)
    """

    KIND: ClassVar[str] = "identity"
    KEPT: ClassVar[SavedMap] = SavedMap(view=True)


@dataclass(frozen=True, repr=False)
class ReLU(Layer):
    """max(0, x), value by value (Nair and Hinton 2010).

    >>> ReLU().out((6, 28, 28)), ReLU().params((6, 28, 28))
    ((6, 28, 28), 0)
    """

    KIND: ClassVar[str] = "relu"
    KEPT: ClassVar[SavedMap] = SavedMap(output=True)


@dataclass(frozen=True, repr=False)
class ReLU6(Layer):
    """min(max(0, x), 6) (Howard et al. 2017, MobileNet).

    >>> ReLU6().out((32, 112, 112)), ReLU6().params((32, 112, 112))
    ((32, 112, 112), 0)
    """

    KIND: ClassVar[str] = "relu"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)


@dataclass(frozen=True, repr=False)
class LeakyReLU(Layer):
    """x where it is positive, `slope`·x elsewhere (Maas et al. 2013).

    >>> LeakyReLU(0.1).out((6, 28, 28))
    (6, 28, 28)
    """

    KIND: ClassVar[str] = "relu"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)
    EXAMPLES: ClassVar[Examples] = {"slope": (0.01, 0.2, -0.1)}
    slope: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        need_number(self, "slope")


@dataclass(frozen=True, repr=False)
class PReLU(Layer):
    """x where it is positive, a learned slope times x elsewhere; one slope, or one for each channel (He et al. 2015).

    Slopes begin at `start`. params 1, or C with `per_channel`

    >>> PReLU().params((64, 56, 56)), PReLU(per_channel=True).params_rule((64, 56, 56))
    (1, '1·64')
    """

    KIND: ClassVar[str] = "relu"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)
    EXAMPLES: ClassVar[Examples] = {"per_channel": (False, True), "start": (0.25, -0.1)}
    per_channel: bool = False
    start: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        need_flag(self, "per_channel")
        need_number(self, "start")

    def tensors(self, x: Shape) -> tuple[Tensor, ...]:
        return (Tensor("weight", (x[0] if self.per_channel else 1,), f"constant_{self.start!r}"),)

    def params_rule(self, x: Shape) -> str:
        return f"1·{x[0] if self.per_channel else 1}"


@dataclass(frozen=True, repr=False)
class ELU(Layer):
    """x where it is positive, `alpha`·(e^x − 1) elsewhere (Clevert et al. 2015).

    >>> ELU().out((6, 28, 28))
    (6, 28, 28)
    """

    KIND: ClassVar[str] = "elu"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)
    EXAMPLES: ClassVar[Examples] = {"alpha": (1.0, 0.5)}
    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        need_number(self, "alpha")


@dataclass(frozen=True, repr=False)
class SELU(Layer):
    """An ELU of α = 1.6733, times 1.0507, by which values keep mean 0 and deviation 1 (Klambauer et al. 2017).

    >>> SELU().out((6, 28, 28))
    (6, 28, 28)
    """

    KIND: ClassVar[str] = "selu"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)
    # torch's own digits.
    ALPHA: ClassVar[float] = 1.6732632423543772848170429916717
    SCALE: ClassVar[float] = 1.0507009873554804934193349852946


@dataclass(frozen=True, repr=False)
class CELU(Layer):
    """x where it is positive, `alpha`·(e^(x/alpha) − 1) elsewhere, smooth for any alpha (Barron 2017).

    >>> CELU().out((6, 28, 28))
    (6, 28, 28)
    """

    KIND: ClassVar[str] = "celu"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)
    EXAMPLES: ClassVar[Examples] = {"alpha": (1.0, 0.5)}
    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        need_number(self, "alpha", above=0)


@dataclass(frozen=True, repr=False)
class GELU(Layer):
    """x·Φ(x), Φ the normal distribution function, exact and not by tanh (Hendrycks and Gimpel 2016).

    >>> GELU().out((96, 56, 56))
    (96, 56, 56)
    """

    KIND: ClassVar[str] = "gelu"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)


@dataclass(frozen=True, repr=False)
class TanhGELU(Layer):
    """x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2, GELU's approximation (torch's `approximate="tanh"`).

    >>> TanhGELU().out((96, 56, 56))
    (96, 56, 56)
    """

    KIND: ClassVar[str] = "gelu"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)


@dataclass(frozen=True, repr=False)
class Mish(Layer):
    """x·tanh(ln(1 + e^x)) (Misra 2019).

    >>> Mish().out((32, 112, 112))
    (32, 112, 112)
    """

    KIND: ClassVar[str] = "mish"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)


@dataclass(frozen=True, repr=False)
class Softplus(Layer):
    """ln(1 + e^x), a smooth ReLU (Dugas et al. 2000).

    >>> Softplus().out((32, 112, 112))
    (32, 112, 112)
    """

    KIND: ClassVar[str] = "softplus"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)


@dataclass(frozen=True, repr=False)
class SiLU(Layer):
    """x·sigmoid(x), also called swish (Ramachandran et al. 2017).

    >>> SiLU().out((32, 112, 112))
    (32, 112, 112)
    """

    KIND: ClassVar[str] = "silu"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)


@dataclass(frozen=True, repr=False)
class Sigmoid(Layer):
    """1 / (1 + e^−x).

    >>> Sigmoid().out((8, 1, 1))
    (8, 1, 1)
    """

    KIND: ClassVar[str] = "sigmoid"
    KEPT: ClassVar[SavedMap] = SavedMap(output=True)


@dataclass(frozen=True, repr=False)
class Tanh(Layer):
    """The hyperbolic tangent, LeNet-5's squashing function up to LeCun's constants.

    >>> Tanh().out((6, 28, 28))
    (6, 28, 28)
    """

    KIND: ClassVar[str] = "tanh"
    KEPT: ClassVar[SavedMap] = SavedMap(output=True)


@dataclass(frozen=True, repr=False)
class HardSigmoid(Layer):
    """min(max(0, x + 3), 6) / 6, the straight-line sigmoid of MobileNetV3 (Howard et al. 2019).

    >>> HardSigmoid().out((8, 1, 1))
    (8, 1, 1)
    """

    KIND: ClassVar[str] = "sigmoid"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)


@dataclass(frozen=True, repr=False)
class HardSwish(Layer):
    """x·min(max(0, x + 3), 6) / 6 (Howard et al. 2019, section 5.2).

    >>> HardSwish().out((16, 112, 112))
    (16, 112, 112)
    """

    KIND: ClassVar[str] = "swish"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)


@dataclass(frozen=True, repr=False)
class Softmax(Layer):
    """e^xᵢ / Σ e^x over a vector of logits, or over the channels at each position of a map.

    Last in a net it turns logits into class probabilities; without it `Model.predict` does so all the same.

    >>> Softmax().out((10,))
    (10,)
    """

    KIND: ClassVar[str] = "softmax"
    KEPT: ClassVar[SavedMap] = SavedMap(output=True)


@dataclass(frozen=True, repr=False)
class Dropout(Layer):
    """In training each value is zeroed with probability `rate` and the rest divided by 1 − rate; else x.

    (Srivastava et al. 2014, in the inverted form that all frameworks use.)

    >>> Dropout(0.5).out((120,)), Dropout(0.5).params((120,))
    ((120,), 0)
    """

    KIND: ClassVar[str] = "dropout"
    EXAMPLES: ClassVar[Examples] = {"rate": (0.3, 0.5)}
    rate: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        need_share(self, "rate")

    def kept(self, x: Shape) -> SavedMap:
        """The mask, in float32 as torch's CPU kernels make it."""
        return SavedMap(image=4 * prod(x)) if self.rate else SavedMap(view=True)

    @property
    def label(self) -> str:
        return f"Dropout {self.rate:g}"


@dataclass(frozen=True, repr=False)
class StochasticDepth(Layer):
    """In training each image's whole map is zeroed with probability `rate`, else divided by 1 − rate; else x.

    Last in a residual branch it drops the branch for that image (Huang et al. 2016).

    >>> StochasticDepth(0.1).out((64, 56, 56))
    (64, 56, 56)
    """

    KIND: ClassVar[str] = "drop"
    EXAMPLES: ClassVar[Examples] = {"rate": (0.3, 0.5)}
    rate: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        need_share(self, "rate")

    def kept(self, x: Shape) -> SavedMap:
        """One factor an image."""
        return SavedMap(image=4) if self.rate else SavedMap(view=True)

    @property
    def label(self) -> str:
        return f"StochasticDepth {self.rate:g}"


@dataclass(frozen=True, repr=False)
class LayerScale(Layer):
    """Each channel times a learned factor that starts at `start` (Touvron et al. 2021).

    >>> LayerScale().params((96, 56, 56)), LayerScale().params_rule((96, 56, 56))
    (96, '1·96')
    """

    KIND: ClassVar[str] = "scale"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)
    EXAMPLES: ClassVar[Examples] = {"start": (1e-6, 0.1)}
    start: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        need_number(self, "start")

    def tensors(self, x: Shape) -> tuple[Tensor, ...]:
        return (Tensor("weight", (x[0],), f"constant_{self.start!r}"),)

    def params_rule(self, x: Shape) -> str:
        return f"1·{x[0]}"
