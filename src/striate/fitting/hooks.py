"""The ingredients of a recipe as hooks at the moments of a step: what changes a batch, and what follows the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from .augment import augment_and_mix, flip_alternately, shrink_images
from .callables import NO_CALLABLES, Callables
from .distillation import join_targets
from .own_functions import augment_by_function
from .recipe import Recipe
from .run import Run
from .seeds import make_generator

# The side of the images in the first steps of progressive resizing, as a share of the whole.
GROWN_SHARE = 3 / 4


class Batch(NamedTuple):
    """A process's part of a batch on its way to the network.

    x        uint8 or float N×H×W×C in 0 to 255
    labels   int64 N; targets  the same, or float N×classes, the share of each class, once images are mixed; with a
             teacher float N×2·classes, its answers behind the labels' shares
    rows     the place of each image among all images to train on
    """

    x: Tensor
    labels: Tensor
    targets: Tensor
    rows: Tensor

    def split(self, parts: int) -> list[Batch]:
        """The batch in so many parts, as even as it goes."""
        return [Batch(*part) for part in zip(*(t.tensor_split(parts) for t in self), strict=True)]


class Moment(NamedTuple):
    """Where a training stands at a step.

    epoch, step  from 0, the step counted over the whole run
    steps        of the whole run; images  to train on; rank  of this process
    """

    epoch: int
    step: int
    steps: int
    images: int
    rank: int


@dataclass(frozen=True)
class Hooks:
    """What is done at each step beside the step itself.

    change_batch  each takes the batch and the moment and returns the batch, in this order, before the forward pass
    after_step    each is told of the run and the moment once the weights have moved
    """

    change_batch: tuple[Callable[[Batch, Moment], Batch], ...] = ()
    after_step: tuple[Callable[[Run, Moment], None], ...] = ()


def make_hooks(recipe: Recipe, classes: int, own: Callables = NO_CALLABLES, taught: Tensor | None = None) -> Hooks:
    """The hooks that a recipe asks for, a user's own augmentation, and a teacher's answers, `Feed.taught`."""
    names = () if recipe.augment == "none" else tuple(recipe.augment.split("+"))
    drawn = tuple(name for name in names if name != "alternating-flip")

    def flip(batch: Batch, at: Moment) -> Batch:
        return batch._replace(x=flip_alternately(batch.x, batch.rows, at.images, recipe.seed, at.epoch))

    def augment(batch: Batch, at: Moment) -> Batch:
        draw = make_generator(recipe.seed, "augment", at.step, at.rank)
        x, targets = augment_and_mix(batch.x, batch.targets, drawn, draw, classes)
        return batch._replace(x=x, targets=targets)

    def teach(batch: Batch, at: Moment) -> Batch:
        assert taught is not None
        answers = taught[batch.rows.to(taught.device)]
        return batch._replace(targets=join_targets(batch.labels, answers, recipe.temperature))

    def augment_by_own(batch: Batch, at: Moment) -> Batch:
        draw = make_generator(recipe.seed, "own augment", at.step, at.rank)
        assert own.augment is not None
        return batch._replace(x=augment_by_function(own.augment, batch.x, draw))

    def grow(batch: Batch, at: Moment) -> Batch:
        small = at.step < recipe.grow * at.steps
        return batch._replace(x=shrink_images(batch.x, GROWN_SHARE)) if small else batch

    def average(run: Run, at: Moment) -> None:
        run.follow_average(at.steps)

    asked = (
        (teach, taught is not None),
        *((flip, "alternating-flip" in names), (augment, bool(drawn))),
        *((augment_by_own, own.augment is not None), (grow, recipe.grow > 0)),
    )
    averaged = (average,) if recipe.ema or recipe.lookahead else ()
    return Hooks(tuple(hook for hook, wanted in asked if wanted), averaged)
