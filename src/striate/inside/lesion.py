"""What a net loses with a channel or a layer: the accuracy once its output is put to zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..arch.layers import Conv, Dense, Parallel
from ..arch.net import Net
from ..engines import onnx
from ..errors import DataError, NetError
from ..evaluate.metrics import wilson
from ..evaluate.sheet import below, beside, margined, words

if TYPE_CHECKING:
    import onnxruntime

BATCH = 64


@dataclass(frozen=True)
class Lesion:
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
class Lesions:
    """The accuracy of the whole net, with its 95 % interval, and what is left after each removal."""

    images: int
    accuracy: float
    interval: tuple[float, float]
    lesions: tuple[Lesion, ...]

    def worst(self, count: int | None = None) -> tuple[Lesion, ...]:
        """The lesions that cost most, most first."""
        return tuple(sorted(self.lesions, key=lambda item: item.accuracy)[:count])

    def as_dict(self) -> dict[str, Any]:
        each = [{name: getattr(item, name) for name in item.__dataclass_fields__} for item in self.lesions]
        return {"images": self.images, "accuracy": self.accuracy, "interval": list(self.interval), "lesions": each}

    def __str__(self) -> str:
        low, high = self.interval
        lines = [f"the whole net: {self.accuracy:.2%} ({low:.2%} to {high:.2%}) of {self.images:,} images"]
        for item in self.worst(20):
            what = item.path if item.channel is None else f"{item.path}, channel {item.channel}"
            lines.append(f"without {what:<28} {item.accuracy:7.2%}   {-item.fall:+.2%}")
        return "\n".join(lines)


def lesion(
    net: Net,
    tensors: Mapping[str, NDArray],
    x: NDArray,
    y: NDArray,
    paths: Iterable[str] | None = None,
    *,
    channels: bool = True,
) -> Lesions:
    """The accuracy on x (N×C×H×W after preprocessing) with labels y, once without each layer and each channel.

    paths     the layers; None: every convolution, dense layer and block of branches but the last, which gives the
              classes
    channels  whether to remove the channels of each layer too, one at a time
    What is removed gives 0 for every image. The layers before it are computed once.
    Raises NetError for an unknown layer, DataError for no images.
    """
    if not len(x) or len(x) != len(y):
        raise DataError("x", "each image needs one label", got=f"{len(x)} images, {len(y)} labels")
    places = default_places(net) if paths is None else list(paths)
    right = correct(onnx.session(onnx.graph(net, tensors)), {"image": x}, y)
    whole = right / len(x)
    found = []
    for path in places:
        first, rest = halves(net, tensors, path)
        maps = np.concatenate([run(first, {"image": x[i : i + BATCH]})[1] for i in range(0, len(x), BATCH)])
        cases: list[int | None] = [None, *range(maps.shape[1])] if channels else [None]
        for channel in cases:
            cut = np.zeros_like(maps) if channel is None else without(maps, channel)
            left = correct(rest, {"image": x, "map": cut}, y)
            found.append(Lesion(path, channel, left / len(x), wilson(left, len(x)), whole - left / len(x)))
    return Lesions(len(x), whole, wilson(right, len(x)), tuple(found))


def without(maps: NDArray, channel: int) -> NDArray:
    left = maps.copy()
    left[:, channel] = 0
    return left


def default_places(net: Net) -> list[str]:
    kinds = Conv | Dense | Parallel
    return [step.path for step in net.steps if isinstance(step.layer, kinds) and not step.side][:-1]


def halves(net: Net, tensors: Mapping[str, NDArray], path: str) -> tuple[onnxruntime.InferenceSession, ...]:
    """Two sessions: the net up to the map at `path`, and from a changed one on, its input "map".

    Raises NetError where the map is the image itself.
    """
    from onnx import helper

    model = onnx.graph(net, tensors, outputs=[path])
    graph = model.graph
    name = graph.output[1].name
    if not any(node.output[0] == name for node in graph.node):
        raise NetError(path, "this layer computes nothing that could be removed")
    before = onnx.session(model)
    shape = graph.output[1].type.tensor_type.shape
    sizes = ["N", *(d.dim_value for d in shape.dim[1:])]
    changed = helper.make_tensor_value_info("map", 1, sizes)
    for node in graph.node:
        for k, given in enumerate(node.input):
            if given == name:
                node.input[k] = "map"
    del graph.output[1]
    kept = needed(list(graph.node), graph.output[0].name)
    del graph.node[:]
    graph.node.extend(kept)
    graph.input.append(changed)
    read = {given for node in kept for given in node.input}
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)
    return before, onnx.session(model)


def needed(nodes: list, output: str) -> list:
    """The nodes, in their order, that the value `output` depends on."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if node.output[0] in wanted:
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def run(session: onnxruntime.InferenceSession, given: Mapping[str, NDArray]) -> list[NDArray]:
    wanted = {item.name for item in session.get_inputs()}
    return session.run(None, {k: np.ascontiguousarray(v, np.float32) for k, v in given.items() if k in wanted})


def correct(session: onnxruntime.InferenceSession, given: Mapping[str, NDArray], y: NDArray) -> int:
    """How many images get their class."""
    right = 0
    for i in range(0, len(y), BATCH):
        out = run(session, {k: v[i : i + BATCH] for k, v in given.items()})[0]
        right += int((out.argmax(1) == y[i : i + BATCH]).sum())
    return right


def picture(given: Lesions, count: int = 8, width: int = 360) -> NDArray:
    """A bar a layer, as long as the accuracy that is left, and under it the `count` channels that cost most.

    uint8 H×W×3; the dark line is the whole net's accuracy.
    """
    rows = [words(f"accuracy left of {given.accuracy:.1%} (dark line) without a layer, or one channel of it")]
    for path in dict.fromkeys(item.path for item in given.lesions):
        own = [item for item in given.lesions if item.path == path]
        channels = sorted((i for i in own if i.channel is not None), key=lambda item: item.accuracy)[:count]
        for item in [*(i for i in own if i.channel is None), *channels]:
            rows.append(bar(item, given.accuracy, width))
    return margined(below(rows, 2))


def bar(item: Lesion, whole: float, width: int) -> NDArray:
    height, ink = (14, (222, 134, 64)) if item.channel is None else (8, (76, 132, 200))
    drawn = np.full((height, width, 3), 232, np.uint8)
    drawn[:, : round(item.accuracy * width)] = ink
    at = min(round(whole * width), width - 1)
    drawn[:, max(at - 1, 0) : at + 1] = 40
    label = np.full((15, 170, 3), 255, np.uint8)
    name = words(item.path if item.channel is None else f"    {item.channel}", 11)[:15, :170]
    label[: name.shape[0], : name.shape[1]] = name
    return beside([label, drawn, words(f"{item.accuracy:.1%}", 11)])
