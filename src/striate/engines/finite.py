"""Numbers that are none: NaN and infinity in weights and answers, and the layer that they come from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..architecture.net import Net
from ..errors import ModelError
from ..language import say, to_say
from . import onnx

HINT = to_say("train again at a lower rate; this training has diverged")


def check_finite(tensors: Mapping[str, np.ndarray]) -> None:
    """Raise ModelError naming the first layer whose tensors hold what is no 32-bit number, or a variance below 0."""
    for name, tensor in tensors.items():
        with np.errstate(over="ignore"):
            bad = int(np.count_nonzero(~np.isfinite(np.asarray(tensor, np.float32))))
        if bad:
            raise explain_not_finite(name, bad, tensor.size)
        if name.endswith(".running_var") and np.min(tensor, initial=0) < 0:
            layer = name.rpartition(".")[0]
            raise ModelError(
                layer, say("a variance below 0 has no square root"), got=f"{np.min(tensor):.4g}", hint=say(HINT)
            )


def explain_not_finite(name: str, bad: int, count: int) -> ModelError:
    """The error of a tensor `layer.weight`."""
    layer, _, tensor = name.rpartition(".")
    what = (
        say("the layer's {tensor} holds NaN or infinity", tensor=tensor) if layer else say("this holds NaN or infinity")
    )
    return ModelError(layer or name, what, got=say("{bad:,} of {count:,} values", bad=bad, count=count), hint=say(HINT))


def check_answers(net: Net, tensors: Mapping[str, np.ndarray], x: np.ndarray, answers: np.ndarray) -> None:
    """Raise ModelError naming the first layer whose map of `x` is not finite, where the answers are not."""
    if np.isfinite(answers).all():
        return
    maps = onnx.run_maps(net, tensors, x)
    layer = next((path for path, value in maps.items() if not np.isfinite(value).all()), "probability")
    raise ModelError(layer, say("the layer's map holds NaN or infinity: the answer is not a number"), hint=say(HINT))
