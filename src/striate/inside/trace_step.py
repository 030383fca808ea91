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
        verb = "freezes" if name in list_frozen(last.net, last.recipe) else "whitens"
        what = f"the recipe {verb} this layer and keeps it as it is, so no step moves this weight"
        raise RunError(name, what, hint=f"such as {next(iter(last.optimizers))} is trained")
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
        what = "this run freezes BatchNorm's statistics, and the trace of an update normalises by the batch"
        raise RunError(held[0], what, hint="trace an activation with --at")


def name_left_out(last: LastStep, images: int) -> list[str]:
    """What the run's own step has and the trace of it has not, a line each."""
    recipe, lines = last.recipe, []
    if recipe.augment != "none":
        mixes = {"mixup", "cutmix"} & set(recipe.augment.split("+"))
        whole = ", with its own label alone" if mixes else ""
        lines.append(f"augmentation {recipe.augment}: each image is taken as it is{whole}")
    if last.own_augment:
        lines.append(f"your own augmentation {last.own_augment}: each image is taken as it is")
    if recipe.grow:
        lines.append(f"progressive resizing in the first {recipe.grow:.0%} of the steps: images have their whole size")
    dropping = [step for step in last.net.steps if isinstance(step.layer, L.Dropout | L.StochasticDepth)]
    if paths := [step.path for step in dropping if step.layer.rate]:  # type: ignore[attr-defined]
        lines.append(f"what {', '.join(paths)} would drop at random: nothing is dropped")
    if recipe.balance == "weights" and last.class_weights is None:
        lines.append("class weights: this checkpoint, an older one, does not hold them, and each class counts 1")
    norms = any(isinstance(step.layer, L.BatchNorm) for step in last.net.steps)
    if recipe.accumulate > 1 and norms and images > 1:
        lines.append(f"gradient accumulation: BatchNorm sees the batch whole, not in {recipe.accumulate} parts")
    if recipe.schedule != "constant" or recipe.warmup:
        lines.append(f"the learning rate's schedule, {recipe.schedule}: the rate is its peak")
    if last.half:
        lines.append("bfloat16: all is computed in float64")
    if recipe.lookahead:
        lines.append(f"lookahead: every {recipe.lookahead} steps the weight then moves to its slow one")
    return lines


def check_by_torch(found: Trace, last: LastStep, x: Array, labels: Array, name: str, index: tuple[int, ...]) -> Trace:
    """The trace with torch's own new weight as its value. Raises TraceError where gradient or weight is another."""
    from ..fitting.one_step import compute_torch_step

    stepped = compute_torch_step(last, x, labels)
    gradient, after = float(stepped.gradients[name][index]), float(stepped.tensors[name][index])
    ours, size = sum(group.value for group in found.groups), sum(abs(term.value) for term in found.terms)
    if abs(gradient - ours) > NEAR * max(size, 1e-3):
        raise TraceError(found.address, "the gradient is not torch's", got=f"{ours!r} and {gradient!r}")
    if abs(after - found.computed) <= NEAR * max(abs(after), 1):
        return replace(found, value=after, checked_by="torch, float64, one step of the run's loss and optimizer")
    if abs(gradient) <= NEAR * max(size, 1e-3):
        line = f"a sure sign: the gradient is 0 but for rounding, and torch's step gives {after:.9g}"
        return replace(found, left_out=(*found.left_out, line))
    raise TraceError(found.address, "the new weight is not torch's", got=f"{found.computed!r} and {after!r}")
