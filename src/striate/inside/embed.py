"""A data set in two dimensions, by what the net makes of it: near means alike to the net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..architecture.net import Net
from ..engines import onnx
from ..errors import DataError, ModelError, NetError, suggest_name
from ..language import say
from ..report.sheet import add_margin, convert_to_rgb, draw_text, place_below, place_beside
from .gradients import find_logits

EMBED_BATCH = 64
EMBED_METHODS = ("pca", "tsne")
CLASS_COLOURS = (
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189),
    (140, 86, 75), (227, 119, 194), (100, 100, 100), (188, 189, 34), (23, 190, 207),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Embedding:
    """A data set in the plane.

    points     N×2
    labels     N, the true classes; predicted  N, the net's answers
    method     "pca" or "tsne"
    explained  of pca the share of the features' variance along each of the two axes; else None
    path       the layer whose input the features are
    """

    points: NDArray
    labels: NDArray
    predicted: NDArray
    method: str
    explained: tuple[float, float] | None
    path: str


def embed_images(
    net: Net, tensors: Mapping[str, NDArray], x: NDArray, y: NDArray, method: str = "pca", seed: int = 0
) -> Embedding:
    """The images x, N×C×H×W after preprocessing, with labels y, in two dimensions by the net's last features.

    method  "pca", the two directions in which the features vary most, or "tsne", which keeps neighbours together
            and says nothing of distances (van der Maaten and Hinton 2008; needs scikit-learn)
    Raises DataError for fewer than three images, ModelError for an unknown method or without scikit-learn.
    """
    if method not in EMBED_METHODS:
        raise ModelError(
            "method", say("there is no embedding '{method}'", method=method), hint=suggest_name(method, EMBED_METHODS)
        )
    if len(x) < 3 or len(x) != len(y):
        raise DataError(
            "x",
            say("an embedding needs three labelled images or more"),
            got=say("{images} with {labels} labels", images=len(x), labels=len(y)),
        )
    path = find_logits(net)
    values, predicted = compute_last_features(net, tensors, x)
    explained = None
    if method == "pca":
        points, explained = project_principal(values)
    else:
        points = project_tsne(values, seed)
    return Embedding(points, np.asarray(y), predicted, method, explained, path)


def compute_last_features(net: Net, tensors: Mapping[str, NDArray], x: NDArray) -> tuple[NDArray, NDArray]:
    """What the layer that gives the logits reads, N×D, and the predicted classes, N."""
    before = find_feeding(net, find_logits(net))
    outputs = [before] if before else []
    session = onnx.open_net(net, tensors, outputs=outputs)
    found, predicted = [], []
    for i in range(0, len(x), EMBED_BATCH):
        batch = np.ascontiguousarray(x[i : i + EMBED_BATCH], np.float32)
        out, *maps = session.run(None, {"image": batch})
        predicted.append(np.asarray(out).argmax(1))
        found.append(np.asarray(maps[0] if maps else batch).reshape(len(batch), -1))
    return np.concatenate(found).astype(np.float64), np.concatenate(predicted)


def find_feeding(net: Net, path: str) -> str | None:
    """The path of the top-level layer before `path`; None where the image itself reaches it."""
    top = [step.path for step in net.steps if step.depth == 0 and not step.side]
    if path not in top:
        raise NetError(path, say("this layer lies within another"), hint=say("one of: {names}", names=", ".join(top)))
    place = top.index(path)
    return top[place - 1] if place else None


def project_principal(values: NDArray) -> tuple[NDArray, tuple[float, float]]:
    """N×D on the two directions of most variance, N×2, and the share of the variance along each.

    A direction's sign is free: it is chosen so that its largest weight is positive.
    """
    centred = values - values.mean(0)
    u, s, directions = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(directions[np.arange(len(directions)), abs(directions).argmax(1)])
    points = np.zeros((len(values), 2))
    count = min(2, len(s))
    points[:, :count] = (u * s * signs)[:, :count]
    share = np.zeros(2)
    share[:count] = (s**2 / max(float((s**2).sum()), 1e-300))[:count]
    return points, (float(share[0]), float(share[1]))


def project_tsne(values: NDArray, seed: int) -> NDArray:
    """t-SNE of N×D, started at the principal components, by scikit-learn."""
    if find_spec("sklearn") is None:
        raise ModelError(
            "method", say("tsne needs scikit-learn"), hint=say("pip install scikit-learn, or method='pca'")
        )
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(values) - 1) / 3)
    model = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed)
    return np.asarray(model.fit_transform(values), np.float64)


def draw_embedding(given: Embedding, classes: Sequence[str], side: int = 520) -> NDArray:
    """The points coloured by their true class; a mistake is a large ringed one, its middle in the answer's colour."""
    low, high = given.points.min(0), given.points.max(0)
    shares = (given.points - low) / np.where(high > low, high - low, 1)
    places = 14 + shares * (side - 28)
    canvas = Image.new("RGB", (2 * side, 2 * side), (250, 250, 250))
    draw = ImageDraw.Draw(canvas)
    wrong = given.labels != given.predicted
    for k in [*np.flatnonzero(~wrong), *np.flatnonzero(wrong)]:
        a, b = 2 * places[k, 0], 2 * (side - places[k, 1])
        ink = CLASS_COLOURS[given.labels[k] % len(CLASS_COLOURS)]
        draw.ellipse((a - 6, b - 6, a + 6, b + 6), fill=ink)
        if wrong[k]:
            draw.ellipse((a - 15, b - 15, a + 15, b + 15), fill=ink, outline=(0, 0, 0), width=3)
            draw.ellipse((a - 6, b - 6, a + 6, b + 6), fill=CLASS_COLOURS[given.predicted[k] % len(CLASS_COLOURS)])
    plot = np.asarray(canvas.resize((side, side), Image.Resampling.BOX))
    counts = np.bincount(given.labels, minlength=len(classes))
    key = []
    for k, name in enumerate(classes):
        square = convert_to_rgb(np.broadcast_to(np.array(CLASS_COLOURS[k % len(CLASS_COLOURS)], np.uint8), (12, 12, 3)))
        key.append(place_beside([square, draw_text(f"{name} ({counts[k]})", 11)], 4))
    how = "" if given.explained is None else f", {sum(given.explained):.0%} of the variance"
    mistakes = f"{int(wrong.sum())} mistakes of {len(wrong)}, large: inside the answer"
    head = f"{given.method} of what {given.path} reads{how}; {mistakes}"
    return add_margin(place_below([draw_text(head), place_beside([plot, place_below(key, 3)], 10)]))
