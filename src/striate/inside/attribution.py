"""Which pixels speak for a class: Grad-CAM, occlusion and integrated gradients, each a map over one image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..architecture.net import Net
from ..engines import onnx
from ..engines.answers import compute_softmax
from ..errors import ModelError, NetError, suggest_name
from ..language import say
from ..report.sheet import add_caption, add_margin, place_beside, scale_for_sheet
from .gradients import INPUT_PATH, encode_one_hot, find_logits, make_differentiable

ATTRIBUTION_BATCH = 64
ATTRIBUTION_METHODS = ("grad-cam", "occlusion", "integrated-gradients")
# Inputs N×C×H×W after preprocessing -> probabilities N×K.
Classify = Callable[[NDArray], NDArray]


@dataclass(frozen=True, eq=False)
class Attribution:
    """How much each pixel of one image spoke for a class.

    method  one of METHODS
    target  the class, an index
    values  H×W float64: above 0 for the class, below 0 against it (never for Grad-CAM)
    at      the layer whose maps Grad-CAM weighs
    total   of integrated gradients what `values` should sum to, the logit less the baseline's; else None
    """

    method: str
    target: int
    values: NDArray
    at: str | None = None
    total: float | None = None

    @property
    def missing(self) -> float | None:
        """Of integrated gradients how far the values' sum is from `total`; more steps bring it nearer to 0."""
        return None if self.total is None else self.total - float(self.values.sum())


def make_classifier(net: Net, tensors: Mapping[str, NDArray]) -> Classify:
    """The net on ONNX Runtime as inputs N×C×H×W -> probabilities N×K, float64."""
    session = onnx.open_net(net, tensors)

    def classify(x: NDArray) -> NDArray:
        parts = [
            onnx.run_session(session, x[i : i + ATTRIBUTION_BATCH]).astype(np.float64)
            for i in range(0, len(x), ATTRIBUTION_BATCH)
        ]
        y = np.concatenate(parts)
        return y if net.gives_probabilities else compute_softmax(y)

    return classify


def compute_attribution(
    net: Net,
    tensors: Mapping[str, NDArray],
    x: NDArray,
    target: int | None = None,
    method: str = "grad-cam",
    **options: Any,
) -> Attribution:
    """The Attribution by `method` of one image x, C×H×W after preprocessing.

    target   the class asked about; None: the one that the net finds most probable
    options  those of the method's own function, `compute_grad_cam`, `compute_occlusion` or
    `compute_integrated_gradients` Raises ModelError for an unknown method or class.
    """
    own: dict[str, Callable[..., Attribution]] = {
        "grad-cam": compute_grad_cam,
        "occlusion": compute_occlusion,
        "integrated-gradients": compute_integrated_gradients,
    }
    if method not in own:
        raise ModelError(
            "method",
            say("there is no attribution '{method}'", method=method),
            hint=suggest_name(method, ATTRIBUTION_METHODS),
        )
    if target is None:
        target = int(make_classifier(net, tensors)(np.asarray(x)[None])[0].argmax())
    if not 0 <= target < net.classes:
        raise ModelError("target", say("no class has this index"), got=target, rule=f"0 to {net.classes - 1}")
    return own[method](net, tensors, np.asarray(x), target, **options)


def compute_grad_cam(
    net: Net,
    tensors: Mapping[str, NDArray],
    x: NDArray,
    target: int,
    at: str | None = None,
    engine: str | None = None,
) -> Attribution:
    """The maps of the layer `at`, each weighed by the mean of its gradient, summed, what is negative cut off.

    at  the last layer with more than one position where none is given; the finer maps of earlier layers know less of
        the class. Selvaraju et al. 2017, "Grad-CAM", equations 1 and 2; stretched to the image bilinearly.
    """
    at = at or find_last_map(net)
    if len(net.at(at).y) != 3:
        raise NetError(
            at, say("Grad-CAM weighs the maps of a layer, and this one gives a vector"), hint=find_last_map(net)
        )
    found = make_differentiable(net, tensors, engine)(
        x[None], find_logits(net), encode_one_hot(net.classes, np.array([target])), at
    )
    weights = found.slope[0].astype(np.float64).mean(axis=(1, 2))
    seen = np.maximum(np.tensordot(weights, found.map[0].astype(np.float64), 1), 0)
    return Attribution("grad-cam", target, stretch_map(seen, x.shape[1:]), at)


def find_last_map(net: Net) -> str:
    """The last layer whose output has more than one position. Raises NetError where none has."""
    found = [s.path for s in net.steps if s.depth == 0 and len(s.y) == 3 and s.y[1] * s.y[2] > 1]
    if not found:
        raise NetError(
            net.name, say("no layer of this net has maps of more than one position"), hint=say("occlusion needs none")
        )
    return found[-1]


def compute_occlusion(
    net: Net,
    tensors: Mapping[str, NDArray],
    x: NDArray,
    target: int,
    side: int | None = None,
    stride: int | None = None,
) -> Attribution:
    """How far the class's probability falls when a square of the mean colour covers a pixel, meaned over the squares.

    side, stride  of the square in pixels; None: a fifth of the shorter side, and a third of that
    Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2. No gradients.
    """
    height, width = x.shape[1:]
    side = side or max(1, min(height, width) // 5)
    stride = stride or max(1, side // 3)
    classify = make_classifier(net, tensors)
    before = classify(x[None])[0, target]
    corners = [(t, c) for t in place_squares(height, side, stride) for c in place_squares(width, side, stride)]
    falls, covered = np.zeros((height, width)), np.zeros((height, width))
    for k in range(0, len(corners), ATTRIBUTION_BATCH):
        group = corners[k : k + ATTRIBUTION_BATCH]
        hidden = np.repeat(x[None], len(group), axis=0)
        for image, (top, left) in zip(hidden, group, strict=True):
            image[:, top : top + side, left : left + side] = 0
        for p, (top, left) in zip(classify(hidden)[:, target], group, strict=True):
            falls[top : top + side, left : left + side] += before - p
            covered[top : top + side, left : left + side] += 1
    return Attribution("occlusion", target, falls / covered)


def place_squares(n: int, side: int, stride: int) -> list[int]:
    """Where a square begins along one axis, so that every pixel is covered."""
    last = max(0, n - side)
    return sorted({*range(0, last + 1, stride), last})


def compute_integrated_gradients(
    net: Net,
    tensors: Mapping[str, NDArray],
    x: NDArray,
    target: int,
    steps: int = 64,
    baseline: NDArray | float = 0.0,
    engine: str | None = None,
) -> Attribution:
    """The gradient of the class's logit, meaned over the way from a baseline to the image, times the way.

    baseline  an input that says nothing: 0, the mean colour, or an array like x
    steps     points on the way, each in the middle of its part
    The values sum to the logit less the baseline's, but for the steps' coarseness: compare `total`.
    Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks", equations 2 and 3.
    """
    differentiate = make_differentiable(net, tensors, engine)
    start = np.broadcast_to(np.asarray(baseline, np.float64), x.shape)
    way = x.astype(np.float64) - start
    weights, of = encode_one_hot(net.classes, np.array([target])), find_logits(net)
    mean = np.zeros(x.shape)
    for first in range(0, steps, ATTRIBUTION_BATCH // 4):
        shares = (np.arange(first, min(first + ATTRIBUTION_BATCH // 4, steps)) + 0.5) / steps
        slope = differentiate(start + shares.reshape(-1, 1, 1, 1) * way, of, weights, INPUT_PATH).slope
        mean += slope.astype(np.float64).sum(0) / steps
    ends = differentiate(np.stack([x, start]), of, weights, INPUT_PATH).values
    return Attribution("integrated-gradients", target, (mean * way).sum(0), total=float(ends[0] - ends[1]))


def stretch_map(values: NDArray, size: tuple[int, ...]) -> NDArray:
    """H'×W' -> `size`, bilinear, the outermost values kept beyond the outermost centres."""
    rows, columns = (compute_overlaps(old, new) for old, new in zip(values.shape, size, strict=True))
    return rows @ values @ columns.T


def compute_overlaps(old: int, new: int) -> NDArray:
    """new×old: how much of each old pixel a new one takes; centres at (i + ½)·old/new."""
    places = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.minimum(places.astype(int), max(old - 2, 0))
    made = np.zeros((new, old))
    made[np.arange(new), low] += 1 - (places - low)
    made[np.arange(new), np.minimum(low + 1, old - 1)] += places - low
    return made


def overlay_attribution(given: Attribution, image: NDArray) -> NDArray:
    """The map over the image, uint8 H×W×3: orange speaks for the class, blue against it, both the stronger the more."""
    h, w = given.values.shape
    ground = np.asarray(image).reshape(h, w, -1).mean(2, keepdims=True) * 0.6 + 70
    strength = np.clip(abs(given.values) / max(float(np.quantile(abs(given.values), 0.98)), 1e-30), 0, 1)[..., None]
    tint = np.where(given.values[..., None] >= 0, (240, 110, 10), (30, 90, 230))
    return (ground * (1 - 0.75 * strength) + tint * 0.75 * strength).round().astype(np.uint8)


def draw_attribution(given: Attribution, image: NDArray, label: str = "", side: int = 224) -> NDArray:
    """The image, and the map over it, uint8 H×W×3."""
    left = add_caption(scale_for_sheet(image, side), "the image")
    what = given.method + (f" at {given.at}" if given.at else "")
    over = add_caption(
        scale_for_sheet(overlay_attribution(given, image), side),
        f"{what}: what speaks for {label or f'class {given.target}'}",
    )
    return add_margin(place_beside([left, over]))
