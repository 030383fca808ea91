"""How weights start: each initialisation by name, as a distribution scaled by the layer's fans.

fan_in is the number of inputs to one output value, fan_out the number of outputs that one input value feeds through
one filter tap each. Glorot keeps the variance of both directions (Glorot and Bengio 2010, eq. 16), He that of ReLU
layers forward (He et al. 2015, eq. 10), LeCun that of linear ones (LeCun et al. 1998, "Efficient BackProp").
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

from ..errors import suggest_name


class Initialiser(NamedTuple):
    """kind: "uniform" on ±scale, "normal" with standard deviation scale, "constant" scale, or "dirac"."""

    kind: str
    scale: float


def make_initialiser(name: str, fan_in: int, fan_out: int) -> Initialiser:
    """The distribution that `name` means for a tensor with these fans.

    >>> kind, scale = make_initialiser("glorot_uniform", 75, 150)      # ±sqrt(6 / (75 + 150))
    >>> kind, round(scale, 6)
    ('uniform', 0.163299)
    """
    if name in CONSTANTS:
        return Initialiser("constant", CONSTANTS[name])
    if name.startswith("constant_"):
        return Initialiser("constant", float(name.removeprefix("constant_")))
    if name == "dirac":
        return Initialiser("dirac", 1.0)
    if name == "torch":  # kaiming_uniform_(a=√5), the default of torch.nn.Conv2d and torch.nn.Linear
        return Initialiser("uniform", 1 / sqrt(fan_in))
    family, kind = name.rsplit("_", 1)
    variance = {"glorot": 2 / (fan_in + fan_out), "he": 2 / fan_in, "he_out": 2 / fan_out, "lecun": 1 / fan_in}[family]
    return Initialiser("uniform", sqrt(3 * variance)) if kind == "uniform" else Initialiser("normal", sqrt(variance))


CONSTANTS = {"zeros": 0.0, "ones": 1.0}
SCALED = [f"{family}_{kind}" for family in ("glorot", "he", "he_out", "lecun") for kind in ("uniform", "normal")]
INITIALISERS = frozenset([*CONSTANTS, *SCALED, "dirac", "torch"])


def suggest_initialiser(name: object) -> str:
    return suggest_name(str(name), INITIALISERS)
