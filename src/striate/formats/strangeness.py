"""In an exported file: how unlike the training pictures an image is, as `metrics.likeness` computes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..architecture.net import Net
from ..engines.model_file import Likeness
from ..engines.onnx_layers import FILE_STRANGE, Draft, Node
from ..metrics.likeness import open_scatter


def write_strangeness(draft: Draft, likeness: Likeness, features: str, logits: str, net: Net) -> str:
    """Write how unlike the training pictures each one is, from a layer's values and the logits."""
    scatter = open_scatter(likeness, net.classes)
    first, second = scatter.tables

    def hold(name: str, value: Any, dtype: Any = np.float32) -> str:
        return draft.constant(f"/strange/{name}", value, dtype)

    def put(kind: str, name: str, *inputs: str, **how: Any) -> str:
        return draft.node(kind, f"/strange/{name}", *inputs, **how)

    def scale(value: str, name: str, sign: tuple[float, float]) -> str:
        over = put("Sub", f"{name}_over", value, hold(f"{name}_middle", sign[0]))
        return put("Div", f"{name}_scaled", over, hold(f"{name}_span", sign[1]))

    axis = hold("axis", [1], np.int64)
    centred = put("Sub", "centred", put("Flatten", "features", features, axis=1), hold("mean", scatter.mean))
    h = put("Mul", "standard", centred, hold("scale", scatter.scale))
    turned = put("MatMul", "turned", h, hold("directions", scatter.directions))
    far = put("Div", "far", put("ReduceSumSquare", "length", h, axis, keepdims=1), hold("rest", scatter.rest))
    own = put("Sub", "own", far, put("ReduceSumSquare", "explained", turned, axis, keepdims=1))
    from_each = put("Sub", "from_each", hold("lengths", second), put("MatMul", "shared", h, hold("centres", first)))
    nearest = put("ReduceMin", "nearest", put("Add", "squares", own, from_each), axis, keepdims=0)
    root = put("Sqrt", "root", put("Max", "square", nearest, hold("nothing", 0.0)))
    distance = scale(root, "distance", likeness.distance)
    if likeness.energy is None:
        draft.nodes.append(Node("Identity", (distance,), FILE_STRANGE, {}))
        return FILE_STRANGE
    energy = put("Neg", "energy", put("ReduceLogSumExp", "sums", logits, axis, keepdims=0))
    draft.nodes.append(Node("Max", (distance, scale(energy, "energy", likeness.energy)), FILE_STRANGE, {}))
    return FILE_STRANGE
