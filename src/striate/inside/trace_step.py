"""The trace of a weight's update as its run would make it on a named batch, checked against a real step in torch."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np

from ..architecture import layers as L
from ..engines import plain
from ..errors import RunError
from ..fitting.last_step import LastStep
from ..fitting.layer_patterns import list_frozen
from ..language import say
from .trace_record import Trace, TraceError
from .trace_weight import find_tensor_name, trace_weight

Array = np.ndarray

# Plain engine and torch, both in float64, may differ by this share.
NEAR = 1e-9


def trace_step(last: LastStep, x: Array, labels: Array, path: str, *index: int) -> Trace:
    """Why the run's next step, on the batch x (N×C×H×W, as it reaches the net), would move a weight as it does.

    labels  each image's class, or N×K the share of each class in it
    The loss is the recipe's, in training; what of the recipe is not in it stands in the trace's `left_out`. Where torch
    is installed, the run's own loss and optimizer take the step too. Raises TraceError where the two disagree, and
    RunError for a tensor that is not trained.
    """
    name = find_tensor_name(last.net, path, index)
    if name not in last.optimizers:
        what = (
            say("the recipe freezes this layer and keeps it as it is, so no step moves this weight")
            if name in list_frozen(last.net, last.recipe)
            else say("the recipe whitens this layer and keeps it as it is, so no step moves this weight")
        )
        raise RunError(name, what, hint=say("such as {name} is trained", name=next(iter(last.optimizers))))
    refuse_frozen_norms(last)
    found = trace_weight(
        last.net, last.tensors, x, labels, path, *index, optimizer=last.optimizers[name], state=last.states[name],
        masks=plain.keep_all(last.net), loss=plain.Loss(last.recipe.label_smoothing, last.class_weights),
    )  # fmt: skip
    found = replace(found, left_out=tuple(name_left_out(last, len(x))))
    return check_by_torch(found, last, x, labels, name, index) if find_spec("torch") else found


def refuse_frozen_norms(last: LastStep) -> None:
    """Raise RunError where BatchNorm is frozen: the trace of an update normalises by the batch."""
    frozen = list_frozen(last.net, last.recipe)
    norms = [step.path for step in last.net.steps if isinstance(step.layer, L.BatchNorm)]
    if held := [path for path in norms if f"{path}.running_mean" in frozen]:
        what = say("this run freezes BatchNorm's statistics, and the trace of an update normalises by the batch")
        raise RunError(held[0], what, hint=say("trace an activation with --at"))


def name_left_out(last: LastStep, images: int) -> list[str]:
    """What the run's own step has and the trace of it has not, a line each."""
    recipe, lines = last.recipe, []
    if recipe.augment != "none":
        mixes = {"mixup", "cutmix"} & set(recipe.augment.split("+"))
        line = say("augmentation {augment}: each image is taken as it is", augment=recipe.augment)
        lines.append(say("{line}, with its own label alone", line=line) if mixes else line)
    if last.own_augment:
        lines.append(say("your own augmentation {name}: each image is taken as it is", name=last.own_augment))
    if recipe.grow:
        lines.append(
            say(
                "progressive resizing in the first {share:.0%} of the steps: images have their whole size",
                share=recipe.grow,
            )
        )
    dropping = [step for step in last.net.steps if isinstance(step.layer, L.Dropout | L.StochasticDepth)]
    if paths := [step.path for step in dropping if step.layer.rate]:  # type: ignore[attr-defined]
        lines.append(say("what {layers} would drop at random: nothing is dropped", layers=", ".join(paths)))
    if recipe.balance == "weights" and last.class_weights is None:
        lines.append(say("class weights: this checkpoint, an older one, does not hold them, and each class counts 1"))
    norms = any(isinstance(step.layer, L.BatchNorm) for step in last.net.steps)
    if recipe.accumulate > 1 and norms and images > 1:
        lines.append(
            say("gradient accumulation: BatchNorm sees the batch whole, not in {count} parts", count=recipe.accumulate)
        )
    if recipe.schedule != "constant" or recipe.warmup:
        lines.append(say("the learning rate's schedule, {schedule}: the rate is its peak", schedule=recipe.schedule))
    if last.half:
        lines.append(say("bfloat16: all is computed in float64"))
    if recipe.lookahead:
        lines.append(
            say("lookahead: every {count} steps the weight then moves to its slow one", count=recipe.lookahead)
        )
    return lines


def check_by_torch(found: Trace, last: LastStep, x: Array, labels: Array, name: str, index: tuple[int, ...]) -> Trace:
    """The trace with torch's own new weight as its value. Raises TraceError where gradient or weight is another."""
    from ..fitting.one_step import compute_torch_step

    stepped = compute_torch_step(last, x, labels)
    gradient, after = float(stepped.gradients[name][index]), float(stepped.tensors[name][index])
    ours, size = sum(group.value for group in found.groups), sum(abs(term.value) for term in found.terms)
    if abs(gradient - ours) > NEAR * max(size, 1e-3):
        raise TraceError(
            found.address,
            say("the gradient is not torch's"),
            got=say("{ours!r} and {gradient!r}", ours=ours, gradient=gradient),
        )
    if abs(after - found.computed) <= NEAR * max(abs(after), 1):
        return replace(found, value=after, checked_by=say("torch, float64, one step of the run's loss and optimizer"))
    if abs(gradient) <= NEAR * max(size, 1e-3):
        line = say("a sure sign: the gradient is 0 but for rounding, and torch's step gives {after:.9g}", after=after)
        return replace(found, left_out=(*found.left_out, line))
    raise TraceError(
        found.address,
        say("the new weight is not torch's"),
        got=say("{computed!r} and {after!r}", computed=found.computed, after=after),
    )
