"""A torch module -> a Net and its tensors, and the proof that both compute the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ..architecture.net import Net, check_input
from ..engines.torch import build_network, load_tensors
from ..errors import NetError
from ..language import say
from . import growing_operators, operators  # noqa: F401  # enter what they know into the table
from .assembly import assemble_net
from .structure import build_parts
from .tracing import trace_module

# The largest difference between two outputs, as a share of the largest of them, that rounding explains.
LARGEST_DIFFERENCE = 1e-5
PROVEN_IMAGES = 2


class Converted(NamedTuple):
    """A module as striate has it: `tensors` has an array for each of `net.tensors`.

    difference  the largest one between the outputs of both on random images, as a share of the largest output
    `striate.Model(*converted[:2], classes=…, preprocess=…)` predicts, saves and exports it.
    """

    net: Net
    tensors: dict[str, np.ndarray]
    difference: float


def from_torch(module: nn.Module, input: Iterable[int], name: str | None = None) -> Converted:
    """A convolutional `torch.nn.Module` as a Net with its weights, in evaluation, for images of `input`, (C, H, W).

    name  of the net; the class of the module by default
    Its forward pass is traced by torch.export, each operation becomes a layer record, and what lies side by side a
    Parallel; the layers have the module's own names. What is computed from weights alone is computed now, as
    standardised weights are. A constant factor becomes a LayerScale and a constant summand a 1×1 convolution channel by
    channel, so these are weights of the Net. The outputs of both are compared on random images.

    Raises NetError where they differ by more than 0.00001 of the largest output, where the module cannot be traced, and
    for an operation that no record expresses, naming it, its module and its line.

    >>> from torch import nn
    >>> found = from_torch(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)), (1, 8, 8))
    >>> [step.path for step in found.net.steps], found.tensors["dense1.weight"].shape
    (['conv1', 'relu1', 'flatten1', 'dense1'], (10, 144))
    """
    shape = check_input(input)
    if not isinstance(module, nn.Module):
        what, hint = say("this is no torch.nn.Module"), "striate.from_torch(torch.nn.Sequential(…), (3, 224, 224))"
        raise NetError("from_torch", what, got=type(module).__name__, hint=hint)
    modes = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        traced = trace_module(module, shape)
        net, tensors = assemble_net(build_parts(traced), shape, name or name_module(module))
        return Converted(net, tensors, prove_equal(module, net, tensors))
    finally:
        for one, mode in modes:
            one.training = mode


def name_module(module: nn.Module) -> str:
    return type(module).__name__.lower()


def prove_equal(module: nn.Module, net: Net, tensors: dict[str, np.ndarray]) -> float:
    """The largest difference between the outputs of both on random images. Raises NetError where it is no rounding."""
    x = torch.randn(PROVEN_IMAGES, *net.input, generator=torch.Generator().manual_seed(0))
    weight = next(module.parameters(), x)
    with torch.no_grad():
        theirs = module(x.to(weight)).float().cpu()
        ours = load_tensors(build_network(net), tensors).eval()(x)
    largest = float(theirs.abs().max()) or 1.0
    difference = float((ours - theirs).abs().max()) / largest if ours.shape == theirs.shape else float("inf")
    if not difference <= LARGEST_DIFFERENCE:
        raise NetError(
            net.name,
            say("the converted net computes something else than the module"),
            got=say("a difference of {difference:.2g} of the largest output", difference=difference),
            rule=say("at most {most:g}", most=LARGEST_DIFFERENCE),
        )
    return difference
