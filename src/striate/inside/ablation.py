"""What a net loses with a channel or a layer: the accuracy once its output is put to zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..architecture.layers import Conv, Dense, Parallel
from ..architecture.net import Net
from ..engines import onnx
from ..errors import DataError, NetError
from ..language import say
from ..metrics.classification import compute_wilson
from ..report.sheet import add_margin, draw_text, place_below, place_beside
from ..terminal import format_count, pad_right

if TYPE_CHECKING:
    import onnxruntime

ABLATION_BATCH = 64


@dataclass(frozen=True)
class Ablation:
    """What removing a layer, or one channel of it, does.

    channel   None: the whole layer
    accuracy  of what is left, 0 to 1, and its 95 % interval; `fall` is how far it lies below that of the whole net
    """

    path: str
    channel: int | None
    accuracy: float
    interval: tuple[float, float]
    fall: float


@dataclass(frozen=True)
class Ablations:
    """The accuracy of the whole net, with its 95 % interval, and what is left after each removal."""

    images: int
    accuracy: float
    interval: tuple[float, float]
    lesions: tuple[Ablation, ...]

    def worst(self, count: int | None = None) -> tuple[Ablation, ...]:
        """The lesions that cost most, most first."""
        return tuple(sorted(self.lesions, key=lambda item: item.accuracy)[:count])

    def as_dict(self) -> dict[str, Any]:
        each = [{name: getattr(item, name) for name in item.__dataclass_fields__} for item in self.lesions]
        return {"images": self.images, "accuracy": self.accuracy, "interval": list(self.interval), "lesions": each}

    def __str__(self) -> str:
        low, high = self.interval
        lines = [
            say(
                "the whole net: {accuracy:.2%} ({low:.2%} to {high:.2%}) of {images}",
                accuracy=self.accuracy,
                low=low,
                high=high,
                images=format_count(self.images, "image"),
            )
        ]
        for item in self.worst(20):
            what = (
                item.path
                if item.channel is None
                else say("{path}, channel {channel}", path=item.path, channel=item.channel)
            )
            told = say("without {what}", what=pad_right(what, 28))
            lines.append(f"{told} {item.accuracy:7.2%}   {-item.fall:+.2%}")
        return "\n".join(lines)


def ablate_layers(
    net: Net,
    tensors: Mapping[str, NDArray],
    x: NDArray,
    y: NDArray,
    paths: Iterable[str] | None = None,
    *,
    channels: bool = True,
) -> Ablations:
    """The accuracy on x (N×C×H×W after preprocessing) with labels y, once without each layer and each channel.

    paths     the layers; None: every convolution, dense layer and block of branches but the last, which gives the
              classes
    channels  whether to remove the channels of each layer too, one at a time
    What is removed gives 0 for every image. The layers before it are computed once.
    Raises NetError for an unknown layer, DataError for no images.
    """
    if not len(x) or len(x) != len(y):
        raise DataError(
            "x",
            say("each image needs one label"),
            got=say("{images} images, {labels} labels", images=len(x), labels=len(y)),
        )
    places = choose_places(net) if paths is None else list(paths)
    right = count_correct(onnx.open_net(net, tensors), {"image": x}, y)
    whole = right / len(x)
    found = []
    for path in places:
        first, rest = split_sessions(net, tensors, path)
        maps = np.concatenate(
            [run_half(first, {"image": x[i : i + ABLATION_BATCH]})[1] for i in range(0, len(x), ABLATION_BATCH)]
        )
        cases: list[int | None] = [None, *range(maps.shape[1])] if channels else [None]
        for channel in cases:
            cut = np.zeros_like(maps) if channel is None else zero_channel(maps, channel)
            left = count_correct(rest, {"image": x, "map": cut}, y)
            found.append(Ablation(path, channel, left / len(x), compute_wilson(left, len(x)), whole - left / len(x)))
    return Ablations(len(x), whole, compute_wilson(right, len(x)), tuple(found))


def zero_channel(maps: NDArray, channel: int) -> NDArray:
    left = maps.copy()
    left[:, channel] = 0
    return left


def choose_places(net: Net) -> list[str]:
    kinds = Conv | Dense | Parallel
    return [step.path for step in net.steps if isinstance(step.layer, kinds) and not step.side][:-1]


def split_sessions(net: Net, tensors: Mapping[str, NDArray], path: str) -> tuple[onnxruntime.InferenceSession, ...]:
    """Two sessions: the net up to the map at `path`, and from a changed one on, its input "map".

    Raises NetError where the map is the image itself.
    """
    from onnx import helper

    model = onnx.build_graph(net, tensors, outputs=[path])
    graph = model.graph
    name = graph.output[1].name
    if not any(node.output[0] == name for node in graph.node):
        raise NetError(path, say("this layer computes nothing that could be removed"))
    before = onnx.open_session(model)
    shape = graph.output[1].type.tensor_type.shape
    sizes = ["N", *(d.dim_value for d in shape.dim[1:])]
    changed = helper.make_tensor_value_info("map", 1, sizes)
    for node in graph.node:
        for k, given in enumerate(node.input):
            if given == name:
                node.input[k] = "map"
    del graph.output[1]
    kept = list_needed_nodes(list(graph.node), graph.output[0].name)
    del graph.node[:]
    graph.node.extend(kept)
    graph.input.append(changed)
    read = {given for node in kept for given in node.input}
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)
    return before, onnx.open_session(model)


def list_needed_nodes(nodes: list, output: str) -> list:
    """The nodes, in their order, that the value `output` depends on."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if node.output[0] in wanted:
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def run_half(session: onnxruntime.InferenceSession, given: Mapping[str, NDArray]) -> list[NDArray]:
    wanted = {item.name for item in session.get_inputs()}
    return session.run(None, {k: np.ascontiguousarray(v, np.float32) for k, v in given.items() if k in wanted})


def count_correct(session: onnxruntime.InferenceSession, given: Mapping[str, NDArray], y: NDArray) -> int:
    """How many images get their class."""
    right = 0
    for i in range(0, len(y), ABLATION_BATCH):
        out = run_half(session, {k: v[i : i + ABLATION_BATCH] for k, v in given.items()})[0]
        right += int((out.argmax(1) == y[i : i + ABLATION_BATCH]).sum())
    return right


def draw_ablation(given: Ablations, count: int = 8, width: int = 360) -> NDArray:
    """A bar a layer, as long as the accuracy that is left, and under it the `count` channels that cost most.

    uint8 H×W×3; the dark line is the whole net's accuracy.
    """
    rows = [draw_text(f"accuracy left of {given.accuracy:.1%} (dark line) without a layer, or one channel of it")]
    for path in dict.fromkeys(item.path for item in given.lesions):
        own = [item for item in given.lesions if item.path == path]
        channels = sorted((i for i in own if i.channel is not None), key=lambda item: item.accuracy)[:count]
        for item in [*(i for i in own if i.channel is None), *channels]:
            rows.append(draw_ablation_bar(item, given.accuracy, width))
    return add_margin(place_below(rows, 2))


def draw_ablation_bar(item: Ablation, whole: float, width: int) -> NDArray:
    height, ink = (14, (222, 134, 64)) if item.channel is None else (8, (76, 132, 200))
    drawn = np.full((height, width, 3), 232, np.uint8)
    drawn[:, : round(item.accuracy * width)] = ink
    at = min(round(whole * width), width - 1)
    drawn[:, max(at - 1, 0) : at + 1] = 40
    label = np.full((15, 170, 3), 255, np.uint8)
    name = draw_text(item.path if item.channel is None else f"    {item.channel}", 11)[:15, :170]
    label[: name.shape[0], : name.shape[1]] = name
    return place_beside([label, drawn, draw_text(f"{item.accuracy:.1%}", 11)])
