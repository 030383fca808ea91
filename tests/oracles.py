"""Other people's libraries as judges."""

from __future__ import annotations

from functools import cache


@cache
def torchvision():
    """torchvision, importable beside a CPU build of torch once the two operators that it looks for are declared."""
    import torch

    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torchvision.library = library  # type: ignore[attr-defined]  # dropped, it would undeclare them
    import torchvision as module
    from torchvision import models  # noqa: F401

    return module


@cache
def timm():
    """timm, which imports torchvision."""
    torchvision()
    import timm as module

    return module
