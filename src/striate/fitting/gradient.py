"""The gradient of a batch's loss: in parts, in the precision asked for, shared over the processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .batches import Feed, compute_class_weights, standardise_batch
from .distillation import sum_taught_loss
from .hooks import Batch
from .own_functions import sum_own_loss
from .ranks import Ranks
from .recipe import Recipe
from .run import Run
from .seeds import derive_seed, seed_torch


@dataclass(frozen=True)
class GradientStep:
    """What the training loop calls for each batch.

    forward    the network's logits and side logits, its gradients averaged over the processes
    hold_back  a context in which they are not yet, for all parts of a batch but the last
    weights    of each class in the loss; None: all 1
    precision  of the forward pass; None: float32
    world      processes
    own_loss   the user's; None: the recipe's
    """

    recipe: Recipe
    forward: Callable[[Tensor], tuple[Tensor, list[tuple[float, Tensor]]]]
    hold_back: Callable[[bool], Any]
    mean: Tensor
    std: Tensor
    weights: Tensor | None
    precision: torch.dtype | None
    world: int
    own_loss: Callable[..., Any] | None = None

    def accumulate(self, batch: Batch, images: int, step: int, rank: int) -> Tensor:
        """Add this process's share of the gradient; its share of the mean loss, and how many it got right, float64.

        They are left on the device, for a GPU need not be waited for yet.
        images  of the whole batch, over all processes
        """
        sums, parts = torch.zeros(2, dtype=torch.float64, device=batch.x.device), batch.split(self.recipe.accumulate)
        with torch.random.fork_rng(devices=[]):
            seed_torch(derive_seed(self.recipe.seed, "dropout", step, rank))
            for k, part in enumerate(parts):
                autocast = torch.autocast(part.x.device.type, self.precision, enabled=self.precision is not None)
                with self.hold_back(k + 1 < len(parts)), autocast:
                    logits, sides = self.forward(standardise_batch(part.x, self.mean, self.std))
                    share = self.share_loss(logits, part.targets, images)
                    (share + sum(w * self.share_loss(side, part.targets, images) for w, side in sides)).backward()
                loss = share.detach().double() / self.world
                sums += torch.stack([loss, (logits.argmax(1) == part.labels).sum().double()])
        return sums

    def share_loss(self, logits: Tensor, targets: Tensor, images: int) -> Tensor:
        """This part's share of the batch's mean loss, times the processes, for their gradients are averaged."""
        if self.own_loss is None:
            return self.sum_losses(logits.float(), targets) * (self.world / images)
        return sum_own_loss(self.own_loss, logits.float(), targets) * (self.world / images)

    def sum_losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The recipe's loss over the images, and a teacher's beside it where the targets have its answers.

        The few steps that a forecast times have none.
        """
        if targets.ndim == 1 or targets.shape[1] == logits.shape[1]:
            return sum_loss(logits, targets, self.recipe, self.weights)
        labels, theirs = targets.chunk(2, dim=1)
        own = sum_loss(logits, labels, self.recipe, self.weights)
        taught, share = sum_taught_loss(logits, theirs, self.recipe.temperature), self.recipe.distillation
        return (1 - share) * own + share * taught


def make_gradient_step(run: Run, train: Feed, ranks: Ranks) -> GradientStep:
    """The step of a run on images, on their device; the run keeps the class weights for its checkpoint."""
    recipe, device = run.recipe, train.device.type
    if recipe.balance == "weights":
        found = compute_class_weights(train.images.y, len(run.task.classes))
        run.class_weights = torch.tensor(found).float().to(train.device)
    else:
        run.class_weights = None
    forward, hold_back = ranks.joined(run.network, recipe.sync_bn)
    if recipe.compiled(device):
        # On a GPU with CUDA graphs, which spare a small net the launch of each of its many kernels.
        forward = torch.compile(forward, mode="reduce-overhead" if device == "cuda" else "default")
    precision = torch.bfloat16 if recipe.half(device) else None
    own = run.task.callables.loss
    return GradientStep(
        *(recipe, forward, hold_back, train.mean, train.std, run.class_weights, precision, ranks.world, own)
    )


def sum_loss(logits: Tensor, targets: Tensor, recipe: Recipe, class_weights: Tensor | None) -> Tensor:
    """The recipe's loss, added up over the images."""
    return F.cross_entropy(logits, targets, class_weights, reduction="sum", label_smoothing=recipe.label_smoothing)
