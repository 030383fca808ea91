"""The zoo: every published network here is a function that returns a Net. One file a family, citing its paper."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

from ...errors import NetError, suggest_name
from ...language import say
from ..net import Net

# Module -> the nets that it makes. Modules load when one of their nets is asked for.
FAMILIES = {
    "own": ["striate_l", "striate_m", "striate_s"],
    "lenet": ["lenet5"],
    "alexnet": ["alexnet", "alexnet_original"],
    "vgg": ["vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"],
    "googlenet": ["googlenet", "googlenet_paper"],
    "inception": ["inception_v3"],
    "resnet": [
        "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2", "wide_resnet101_2",
        "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d",
    ],
    "resnet_cifar": ["resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "wrn_28_10"],
    "senet": ["seresnet18", "seresnet34", "seresnet50", "seresnet101"],
    "squeezenet": ["squeezenet1_0", "squeezenet1_1"],
    "densenet": ["densenet121", "densenet161", "densenet169", "densenet201"],
    "xception": ["xception"],
    "mobilenet": ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"],
    "efficientnet": [*(f"efficientnet_b{i}" for i in range(8)), *(f"efficientnet_lite{i}" for i in range(5))],
    "convnext": ["convnext_tiny", "convnext_small", "convnext_base", "convnext_large"],
    "regnet": [
        "regnet_x_400mf", "regnet_x_800mf", "regnet_x_1_6gf", "regnet_x_3_2gf", "regnet_x_8gf", "regnet_x_16gf",
        "regnet_x_32gf", "regnet_y_400mf", "regnet_y_800mf", "regnet_y_1_6gf", "regnet_y_3_2gf", "regnet_y_8gf",
        "regnet_y_16gf", "regnet_y_32gf", "regnet_y_128gf",
    ],
}  # fmt: skip

FAMILY_OF = {net: family for family, made in FAMILIES.items() for net in made}
NAMES = sorted(FAMILY_OF)

__all__ = ["FAMILIES", "NAMES", "build", *NAMES]  # pyright: ignore


def __getattr__(name: str) -> Callable[..., Net]:
    if name in FAMILY_OF:
        return getattr(import_module(f"{__name__}.{FAMILY_OF[name]}"), name)
    raise AttributeError(f"striate.nets has no '{name}'; {suggest_name(name, NAMES)}")


def __dir__() -> list[str]:
    return __all__


class Zoo(ModuleType):
    """This package. `nets.alexnet` is the net although the module of its family has the same name."""

    def __setattr__(self, name: str, value: object) -> None:
        # Importing a submodule sets it on its package, which would hide the net.
        if not (name in FAMILY_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = Zoo


def build(name: str, **options: object) -> Net:
    """The zoo net `name`, as `striate.nets.<name>(**options)`. Raises NetError for an unknown name or option."""
    if name not in FAMILY_OF:
        raise NetError(name, say("the zoo has no net of this name"), hint=suggest_name(name, NAMES))
    made = __getattr__(name)
    try:
        return made(**options)
    except TypeError as e:
        raise NetError(name, str(e).split("() ", 1)[-1]) from None
