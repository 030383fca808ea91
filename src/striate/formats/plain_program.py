"""The bare network as a torch program, of which the converters for phones make their files.

Prepared floats in, probabilities out, one image at a time: what a plain file computes (`plain_file.py`).
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..architecture.net import Net
from ..engines import torch as engine
from ..engines.model_file import Preprocess
from ..engines.views import list_views
from ..errors import ModelError
from ..language import say


class PlainProgram(nn.Module):
    """A network with its views and its softmax: standardised float32 1×C×h×w -> probabilities 1×K.

    last  the input is 1×h×w×C
    """

    def __init__(self, network: engine.Network, preprocess: Preprocess, last: bool) -> None:
        super().__init__()
        self.network, self.last = network, last
        self.views = list_views(preprocess.views, preprocess.size)

    def forward(self, input: Tensor) -> dict[str, Tensor]:
        x = input.permute(0, 3, 1, 2) if self.last else input
        y = engine.average_views(self.network, x, self.views)
        return {"probabilities": y if self.network.net.gives_probabilities else y.softmax(1)}


def build_plain_program(
    net: Net, tensors: Mapping[str, NDArray], preprocess: Preprocess, last: bool = False
) -> PlainProgram:
    network = engine.load_tensors(engine.build_network(net), tensors)
    return PlainProgram(network, preprocess, last).eval()


def draw_example(net: Net, last: bool = False) -> Tensor:
    c, h, w = net.input
    return torch.zeros(1, h, w, c) if last else torch.zeros(1, c, h, w)


def refuse_conversion(where: str, net: Net, error: Exception) -> ModelError:
    """The error for a network that a converter does not take, with the converter's first words."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    got = f"{type(error).__name__}: {said}"[:300]
    return ModelError(
        where, say("its converter does not take {name}", name=net.name), got=got, hint="-o model.onnx --plain"
    )


def answer_one_by_one(answer: Callable[[NDArray], NDArray]) -> Callable[[NDArray], NDArray]:
    """float32 N×C×h×w -> N×K, by a file that takes one image."""
    return lambda x: np.concatenate([answer(np.ascontiguousarray(x[k : k + 1])) for k in range(len(x))])


@contextlib.contextmanager
def silence_converter() -> Iterator[None]:
    """Keep what a converter prints away from the terminal: its progress, its warnings and the lines of its C++.

    What goes wrong in it is an exception, and is not kept away.
    """
    logged = logging.root.manager.disable
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.callback(logging.disable, logged)
        logging.disable(logging.CRITICAL)
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        for number in (1, 2):
            stack.enter_context(divert_descriptor(number))
        yield


@contextlib.contextmanager
def divert_descriptor(number: int) -> Iterator[None]:
    """What C++ writes to the descriptor goes nowhere."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    kept, nowhere = os.dup(number), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(nowhere)
