"""A model as a `torch.export` program, a `.pt2` file: raw uint8 images of any size in, class probabilities out.

`torch.export.load("model.pt2").module()(images)` answers on whatever device and in whatever runtime torch has; nothing
of striate is needed. The card of an exported file lies in it as the extra file `striate.json`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from .. import atomic_file
from ..architecture.net import Net
from ..data.read.resize import BAR_LEVEL, parse_fit
from ..engines import torch as engine
from ..engines.model_file import Preprocess
from ..engines.views import list_views

if TYPE_CHECKING:
    from .onnx_file import Card

# The extra file with the card.
CARD_FILE = "striate.json"


class TorchProgram(nn.Module):
    """A network with its preparation and its softmax: uint8 N×H×W×C -> float32 N×classes."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: engine.Network, preprocess: Preprocess) -> None:
        super().__init__()
        self.network = network
        self.size, self.fit = preprocess.size, preprocess.fit
        self.views = list_views(preprocess.views, preprocess.size)
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(preprocess.std).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        x = resize_maps(images.permute(0, 3, 1, 2).float(), self.size, self.fit)
        x = (x / 255 - self.mean) / self.std
        y = engine.average_views(self.network, x, self.views)
        return y if self.network.net.gives_probabilities else y.softmax(1)


def resize_maps(x: Tensor, size: tuple[int, int], fit: str) -> Tensor:
    """`data.read.resize` on N×C×H×W with H and W free: a product with a matrix for each axis, rounded to levels after
    it.

    `F.interpolate` computes the same, but the strides of its output become conditions on H and W in the program, which
    pictures of one pixel's height or of the net's own width then fail.
    """
    kind, _, mode = parse_fit(fit)
    height, width = x.shape[2:]
    rows, columns = place_frame(height, width, size, fit)
    down = compute_resize_weights(height, rows, size[0], kind, mode).to(x.device)
    right = compute_resize_weights(width, columns, size[1], kind, mode).to(x.device)
    y = round_to_levels(down @ round_to_levels(x @ right.T))
    inside = (down.sum(1) > 0.5)[:, None] & (right.sum(1) > 0.5)
    return torch.where(inside, y, float(BAR_LEVEL)) if kind == "pad" else y


def round_to_levels(x: Tensor) -> Tensor:
    """The nearest of 0 to 255, halves upwards as in Pillow."""
    return (x + 0.5).floor().clamp(0, 255)


def place_frame(height: int, width: int, size: tuple[int, int], fit: str) -> tuple[int, int]:
    """The height and width that a picture is scaled to, as in `data.read.resize.place_image`, without a condition on
    its size.
    """
    kind, shorter, _ = parse_fit(fit)
    if kind == "squash":
        return size
    h, w = size if shorter is None else (shorter, shorter)
    tall, wide = (2 * height * w + width) // (2 * width), (2 * width * h + height) // (2 * height)
    if kind == "pad":
        return torch.sym_min(torch.sym_max(tall, 1), h), torch.sym_min(torch.sym_max(wide, 1), w)
    return torch.sym_max(tall, h), torch.sym_max(wide, w)


def compute_resize_weights(pixels: int, scaled: int, frame: int, kind: str, mode: str) -> Tensor:
    """What each of `pixels` in a line adds to each of `frame` places, of a line that becomes `scaled` long.

    frame×pixels; the line's middle is cut out of it, or zeros stand beside it for "pad". Pillow's antialiasing: the
    filter is as wide as the reduction.
    """
    start = -((frame - scaled) // 2) if kind == "pad" else (scaled - frame) // 2
    at = torch.arange(frame)[:, None] + start
    pixel = torch.arange(pixels)
    # In whole numbers as far as it goes: the distance of the centres, in pixels, over the width of the filter.
    far = ((2 * pixel + 1) * scaled - (2 * at + 1) * pixels) / (2 * torch.sym_max(pixels, scaled))
    t = far.abs()
    if mode == "bilinear":
        near = (1 - t).clamp(min=0)
    else:
        near = torch.where(t < 1, (1.5 * t - 2.5) * t * t + 1, -0.5 * (((t - 5) * t + 8) * t - 4)) * (t < 2)
    return torch.where((at >= 0) & (at < scaled), near / near.sum(1, keepdim=True), 0.0)


def write_program(net: Net, tensors: Mapping[str, np.ndarray], card: Card, path: Path | str) -> None:
    """Write the program, whole or not at all; neither a pickle nor a path of this machine is in it."""
    program = TorchProgram(engine.load_tensors(engine.build_network(net), tensors), card.preprocess).eval()
    free = [torch.export.Dim(name, min=1) for name in ("n", "h", "w")]
    example = torch.zeros(2, 37, 53, net.input[0], dtype=torch.uint8)
    with torch.no_grad():
        made = torch.export.export(program, (example,), dynamic_shapes=(dict(enumerate(free)),))
    made._example_inputs = None  # it would be stored as a pickle
    for graph in (made.graph_module, *made.graph_module.children()):
        for node in getattr(graph, "graph", torch.fx.Graph()).nodes:
            for told in ("stack_trace", "nn_module_stack", "source_fn_stack"):
                node.meta.pop(told, None)  # the files of this machine
    content = io.BytesIO()
    torch.export.save(made, content, extra_files={CARD_FILE: msgspec.json.encode(card).decode()})
    atomic_file.write_file(Path(path), content.getvalue())


def read_program(path: Path | str) -> Callable[[np.ndarray], np.ndarray]:
    """The program in a file: uint8 N×H×W×C -> N×classes."""
    program = torch.export.load(Path(path)).module()

    def answer(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return program(torch.from_numpy(np.ascontiguousarray(images))).numpy()

    return answer


# The answer of the network's output, by what it answers.
FINISH: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "softmax": lambda y: y.softmax(1),
    "sigmoid": torch.sigmoid,
    "identity": lambda y: y,
}


def make_answering(
    net: Net, tensors: Mapping[str, np.ndarray], preprocess: Preprocess, outputs: str = "softmax"
) -> Callable[[np.ndarray], np.ndarray]:
    """The network in eager torch, as it was trained: standardised float32 N×C×h×w -> probabilities N×classes.

    outputs  what it answers (engines.answers): of "sigmoid" the probabilities of labels, of "identity" a number
    """
    network = engine.load_tensors(engine.build_network(net), tensors).eval()
    seen = list_views(preprocess.views, preprocess.size)

    def answer(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            y = engine.average_views(network, torch.from_numpy(x), seen)
            return (y if net.gives_probabilities else FINISH[outputs](y)).numpy()

    return answer
