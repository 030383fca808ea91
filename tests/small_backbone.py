"""A small net with drawn weights, to stand for a published one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import striate
from striate.engines import plain
from striate.engines.model_file import ModelHeader, Preprocess, save_model


def save_backbone(folder: Path) -> Path:
    """Its model file: 32×32 RGB, seven classes."""
    net = striate.parse(
        "Net(input=(3, 32, 32), layers=[Conv(16, 3, stride=2), ReLU(), Conv(16, 3, stride=2), ReLU(), MaxPool(2), "
        "Flatten(), Dense(7)])"
    )
    tensors = {name: value.astype(np.float32) for name, value in plain.draw_tensors(net, 0).items()}
    pre = Preprocess((32, 32), "pad", (0.5,) * 3, (0.25,) * 3)
    header = ModelHeader(net=net, classes=tuple("abcdefg"), preprocess=pre)
    save_model(folder / "backbone.safetensors", header, tensors)
    return folder / "backbone.safetensors"
