"""How the authors of published weights prepare an image, as data: a net sees well only what it was trained to see."""

from __future__ import annotations

from math import floor
from typing import Any, NamedTuple


class Preparation(NamedTuple):
    """Shorter side to `resize` pixels, the middle `crop` (height, width) of it, then (x/255 − mean)/std per channel.

    interpolation  "bilinear" or "bicubic", both with antialiasing
    """

    resize: int
    crop: tuple[int, int]
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


# Mean and standard deviation of ImageNet's pixels, from 0 to 1.
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# From −1 to 1: TensorFlow's habit.
HALVES = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

# Published torchvision files whose preparation is not (256, 224, bilinear), by the hash at the end of their names:
# resize, crop, interpolation. Source: torchvision 0.28 weights.transforms.
FILE_PREPARATIONS = {
    # convnext tiny, small, base, large
    "983f1562": (236, 224, "bilinear"),
    "0c510722": (230, 224, "bilinear"),
    "6075fbad": (232, 224, "bilinear"),
    "ea097f82": (232, 224, "bilinear"),
    # efficientnet b0, b1 (twice), b2 … b7
    "7f5810bc": (256, 224, "bicubic"),
    "bac287d4": (256, 240, "bicubic"),
    "c27df63c": (255, 240, "bilinear"),
    "c35c1473": (288, 288, "bicubic"),
    "b3899882": (320, 300, "bicubic"),
    "23ab8bcd": (384, 380, "bicubic"),
    "1a07897c": (456, 456, "bicubic"),
    "24a108a5": (528, 528, "bicubic"),
    "c5b4e57e": (600, 600, "bicubic"),
    # inception_v3
    "0cc3c7bd": (342, 299, "bilinear"),
    # regnet_y 16gf, 32gf, 128gf, trained end to end, then as linear classifiers, on SWAG's features
    "43afe44d": (384, 384, "bicubic"),
    "04fdfa75": (384, 384, "bicubic"),
    "c8ce3e52": (384, 384, "bicubic"),
    "f3ec0043": (224, 224, "bicubic"),
    "e1583746": (224, 224, "bicubic"),
    "cbe8ce12": (224, 224, "bicubic"),
    # the second weights (V2) of resnet, wide_resnet, resnext, mobilenet and regnet
    **dict.fromkeys(
        (
            "11ad3fa6 cd907fc2 f82ba261 9ba9bcbe d733dc28 1a0047aa 110c445d 173b62eb 7ebf99e0 5c1a4163 "
            "62229a5f 94a99ebd a12f2b72 7071aa85 2b70d774 ba3796d7 6eb8fdc6 "
            "e6988f5f 58fc7688 0d7bc02a 9180c971 dc2b1b54 3e4a00f9 8db6d4b5"
        ).split(),
        (232, 224, "bilinear"),
    ),
}


def find_torchvision_preparation(family: str, file: str) -> Preparation:
    """The preparation of torchvision's published `file`; that of its kind where the name tells nothing.

    Its GoogLeNet and Inception v3 came from TensorFlow and undo ImageNet's mean and deviation inside the network
    (`transform_input`): for us that is another mean and deviation.

    >>> find_torchvision_preparation("resnet", "resnet50-11ad3fa6.pth").resize
    232
    """
    stem = file.rsplit(".", 1)[0].rsplit("-", 1)[-1]
    usual = (342, 299, "bilinear") if family == "inception" else (256, 224, "bilinear")
    resize, crop, interpolation = FILE_PREPARATIONS.get(stem, usual)
    mean, std = HALVES if family in ("googlenet", "inception") else IMAGENET
    return Preparation(resize, (crop, crop), interpolation, mean, std)


def find_timm_preparation(config: dict[str, Any], size: tuple[int, int]) -> Preparation:
    """The preparation in a timm `config.json`; ImageNet's usual one at `size` for what it does not say.

    timm resizes to crop / crop_pct, rounded down.
    """
    said = config.get("pretrained_cfg", config)
    _, height, width = said.get("input_size", (3, *size))
    resize = floor(min(height, width) / said.get("crop_pct", 0.875))
    mean, std = tuple(said.get("mean", IMAGENET[0])), tuple(said.get("std", IMAGENET[1]))
    return Preparation(resize, (height, width), said.get("interpolation", "bicubic"), mean, std)


def find_lite_preparation(side: int) -> Preparation:
    """That of EfficientNet-Lite on images of `side` pixels: (x − 127)/128, and 32 pixels more before the crop.

    Source: tensorflow/tpu, models/official/efficientnet: lite/efficientnet_lite_builder.py and preprocessing.py.

    >>> find_lite_preparation(224).resize
    256
    """
    return Preparation(side + 32, (side, side), "bicubic", (127 / 255,) * 3, (128 / 255,) * 3)
