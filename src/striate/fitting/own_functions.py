"""A user's functions at their places in a training: called with what they are promised, their answers checked."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import RecipeError, RunError
from ..language import say
from .callables import Callables, list_moments, name_callback, name_function
from .ranks import Ranks
from .seeds import seed_torch

if TYPE_CHECKING:
    from .run import Epoch, Run


def sum_own_loss(loss: Callable[..., Any], logits: Tensor, targets: Tensor) -> Tensor:
    """The user's loss, added up over the images. Raises RunError for an answer that is no loss of theirs."""
    found = loss(logits, targets)
    if not isinstance(found, Tensor) or tuple(found.shape) not in ((), (len(logits),)):
        raise RunError(
            f"loss {name_function(loss)}",
            say("a loss is one number, the mean over the images, or a number for each image"),
            got=say("a tensor {shape}", shape=list(found.shape)) if isinstance(found, Tensor) else type(found).__name__,
            rule=say("a tensor [] or [{images}] for logits {shape}", images=len(logits), shape=list(logits.shape)),
        )
    if logits.requires_grad and not found.requires_grad:
        what = say("no gradient comes back from this loss")
        rule = say("computed from the logits by torch's operations, without detach(), item() or numpy()")
        raise RunError(f"loss {name_function(loss)}", what, rule=rule)
    return found.sum() if found.ndim else found * len(logits)


@torch.no_grad()
def augment_by_function(augment: Callable[..., Any], x: Tensor, draw: torch.Generator) -> Tensor:
    """uint8 or float N×H×W×C in 0 to 255 -> float32 of the same shape, by the user's function on N×C×H×W in 0 to 1.

    What it draws from torch's own generator is settled by `draw` too.
    """
    given = x.permute(0, 3, 1, 2).float() / 255
    with torch.random.fork_rng(devices=[]):
        seed_torch(draw.initial_seed())
        found = augment(given, draw)
    if not isinstance(found, Tensor) or found.shape != given.shape or not found.is_floating_point():
        got = f"{found.dtype} {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        rule = say("float32 {shape}, as they came", shape=list(given.shape))
        raise RunError(f"augment {name_function(augment)}", say("these are not the images"), got=got, rule=rule)
    return found.float().permute(0, 2, 3, 1) * 255


def make_own_optimizer(make: Callable[..., Any], network: nn.Module) -> torch.optim.Optimizer:
    """The user's optimizer over what of `network` is trained. Raises RecipeError where it is none, or not over all."""
    trained = [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]
    found, where = make(trained), f"optimizer {name_function(make)}"
    if not isinstance(found, torch.optim.Optimizer):
        hint = "lambda weights: torch.optim.SGD(weights, lr=0.1)"
        raise RecipeError(where, say("this is no torch.optim.Optimizer"), got=type(found).__name__, hint=hint)
    closure = inspect.signature(found.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        what = say("{name} asks for the loss again within a step, which a run computes once", name=type(found).__name__)
        raise RecipeError(where, what, hint=say("an optimizer whose step() needs no closure"))
    held = {id(weight) for group in found.param_groups for weight in group["params"]}
    left = [name for name, weight in trained if id(weight) not in held]
    if left or len(held) > len(trained):
        what = (
            say("it leaves out {names}", names=", ".join(left[:5]))
            if left
            else say("it moves tensors that are not the network's")
        )
        raise RecipeError(
            where, what, rule=say("all that it is handed, and nothing else"), hint=say("freeze= holds layers still")
        )
    return found


def measure_metrics(metrics: Mapping[str, Callable[..., Any]], p: Any, y: Any) -> dict[str, float | None]:
    """Each metric of probabilities N×K and labels N, arrays or tensors; what is not finite is None. Raises RunError."""
    probabilities, labels = torch.as_tensor(p).float().cpu(), torch.as_tensor(y).cpu()
    found: dict[str, float | None] = {}
    for name, metric in metrics.items():
        answer = metric(probabilities, labels)
        try:
            value = float(answer)
        except (TypeError, ValueError, RuntimeError):
            where = f"metrics.{name} {name_function(metric)}"
            raise RunError(where, say("a metric is one number"), got=type(answer).__name__) from None
        found[name] = value if isfinite(value) else None
    return found


def measure_together(
    metrics: Mapping[str, Callable[..., Any]], logits: Sequence[Tensor], labels: Tensor, ranks: Ranks
) -> dict[str, float | None]:
    """The metrics over all images, of which each rank has the `logits` of every world-th one; on every rank alike."""
    p = torch.cat(list(logits)).double().softmax(1).float().cpu().numpy()
    whole = ranks.gathered(np.ascontiguousarray(p), len(labels))
    if not ranks.first:
        return json.loads(ranks.sent(None, "the metrics"))
    order = np.concatenate([np.arange(rank, len(labels), ranks.world) for rank in range(ranks.world)])
    found = measure_metrics(metrics, whole[np.argsort(order)], labels)
    ranks.sent(json.dumps(found).encode(), "the others to have the metrics")
    return found


class Listeners:
    """The callbacks of a run where it goes on, called in this process where it is the first one."""

    def __init__(self, own: Callables, ranks: Ranks) -> None:
        self.ranks, self.given = ranks, own.callbacks
        self.asked = any("step" in list_moments(callback) for callback in own.callbacks)

    def tell(self, moment: str, *told: Any) -> bool:
        """Tell all of a moment; whether one wants the training to end there."""
        called = [callback for callback in self.given if moment in list_moments(callback)] if self.ranks.first else []
        answers = [getattr(callback, moment)(*told) for callback in called]
        # Only a plain yes: a function that happens to return something else asks for nothing.
        return any(isinstance(answer, bool | np.bool_) and bool(answer) for answer in answers)

    def tell_step(self, run: Run, loss: float) -> None:
        """After a step; the run's end is agreed on by all processes."""
        if self.asked:
            wanted = self.tell("step", run, loss)
            [ended] = self.ranks.total([wanted], "all to know whether to go on") if self.ranks.world > 1 else [wanted]
            run.ended = run.ended or bool(ended)

    def tell_epoch(self, run: Run, row: Epoch) -> None:
        if self.given:
            wanted = self.tell("epoch", run, row)
            [ended] = self.ranks.total([wanted], "all to know whether to go on") if self.ranks.world > 1 else [wanted]
            run.ended = run.ended or bool(ended)


def pack_callbacks(callbacks: Sequence[Any]) -> list[Any]:
    """What each is to be given back, None for those that keep nothing. Raises RunError for what is no JSON data."""
    found = []
    for callback in callbacks:
        state = callback.state_dict() if has_state(callback) else None
        try:
            found.append(json.loads(json.dumps(state)))
            same = found[-1] == state
        except (TypeError, ValueError):
            same = False
        if not same:
            where, rule = f"{name_callback(callback)}: state_dict", say("numbers, texts, lists and {text: …}")
            raise RunError(where, say("the checkpoint keeps JSON data alone"), got=type(state).__name__, rule=rule)
    return found


def restore_callbacks(callbacks: Sequence[Any], states: Sequence[Any]) -> None:
    for callback, state in zip(callbacks, states, strict=True):
        if has_state(callback):
            callback.load_state_dict(state)


def has_state(callback: Any) -> bool:
    return callable(getattr(callback, "state_dict", None)) and callable(getattr(callback, "load_state_dict", None))
