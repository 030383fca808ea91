"""The zoo: every published network here is a function that returns a Net. One file a family, citing its paper."""

from __future__ import annotations

from importlib import import_module

from ...errors import NetError, nearest
from ..net import Net

FAMILIES = {
    "lenet": ["lenet5"],
}
"""Module -> the nets that it makes. Modules load when one of their nets is asked for."""

HOME = {net: family for family, made in FAMILIES.items() for net in made}
NAMES = sorted(HOME)

__all__ = ["FAMILIES", "NAMES", "build", *NAMES]  # pyright: ignore


def __getattr__(name: str):
    if name in HOME:
        return getattr(import_module(f"{__name__}.{HOME[name]}"), name)
    raise AttributeError(f"striate.nets has no '{name}'; {nearest(name, NAMES)}")


def __dir__() -> list[str]:
    return __all__


def build(name: str, **options: object) -> Net:
    """The zoo net `name`, as `striate.nets.<name>(**options)`. Raises NetError for an unknown name or option."""
    if name not in HOME:
        raise NetError(name, "the zoo has no net of this name", hint=nearest(name, NAMES))
    made = __getattr__(name)
    try:
        return made(**options)
    except TypeError as e:
        raise NetError(name, str(e).split("() ", 1)[-1]) from None
