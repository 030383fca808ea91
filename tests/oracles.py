"""Other people's libraries as judges."""

from __future__ import annotations

from functools import cache


@cache
def torchvision():
    """torchvision, importable beside a CPU build of torch too."""
    from striate.model.timm_models import import_torchvision

    import_torchvision()
    import torchvision as module
    from torchvision import models  # noqa: F401

    return module


@cache
def timm():
    """timm, which imports torchvision."""
    torchvision()
    import timm as module

    return module
