"""The ways to answer that an export compares: the model in the engine that trained it, and each file that was made."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from . import openvino_file
from .export import Card
from .exported import framed, load_exported
from .model import Model
from .parity import Way

AT_ONCE = 16
"""Images that torch or OpenVINO computes together."""


def of_model(model: Model) -> Way:
    """The model in torch, or, where torch is not installed, in striate's own ONNX graph of it, which predicts."""
    if find_spec("torch") is None:
        name, answer = "model (no torch)", model.at_once
    else:
        from .torch_program import answering

        network = answering(model.net, model.tensors, model.preprocess)
        name, answer = "torch", lambda x: network(model.standardised(x))
    return Way(name, "float32", in_batches(answer), lambda image: answer(model.prepared(image)[None]))


def of_file(path: Path, kind: str, card: Card) -> Way:
    """An exported file of the format `kind` in its own runtime."""
    name = f"{kind} {card.precision}"
    if kind == "onnx":
        exported = load_exported(path)
        return Way(name, card.precision, exported.probabilities, exported.exported.one)
    if kind == "openvino":
        run = openvino_file.read(path)
    else:
        from . import torch_program

        name, run = "torch.export", torch_program.read(path)
    sized = in_batches(lambda x: run(framed(x, card.preprocess)))
    return Way(name, card.precision, sized, lambda image: run(image[None]))


def in_batches(run: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.concatenate([run(x[i : i + AT_ONCE]) for i in range(0, len(x), AT_ONCE)])
