"""The training loop: plain, flat, and yielding a row an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.augment import augment
from ..data.batches import generator, order, seed_for, standardised, steps_an_epoch
from ..errors import RunError
from .run import Epoch, Run
from .schedule import factor


class Interrupted(Exception):
    """The run was asked to stop; it stands at a step's end, saved."""


class Resident:
    """Images as tensors on the device that trains: x uint8 N×H×W×C, y int64 N."""

    def __init__(self, x: Tensor, y: Tensor, mean: Tensor, std: Tensor) -> None:
        self.x, self.y, self.mean, self.std = x, y, mean, std

    def __len__(self) -> int:
        return len(self.y)


Tick = Callable[[int, int, float, float, int], None]
"""Called after each step with (step of the epoch, steps an epoch, loss, accuracy so far, images so far)."""


def fit(
    run: Run, train: Resident, valid: Resident, *, tick: Tick | None = None, stop: Callable[[], bool] = lambda: False
) -> Iterator[Epoch]:
    """Train `run` to its last epoch, yielding one Epoch after each.

    All that chance decides at a step depends on the seed and the step's number alone, so a run that is saved
    after any step, killed and loaded goes on as if nothing had happened, bit for bit on one device.
    `valid` chooses the best epoch and reports; the test split never comes in here.
    Raises Interrupted after saving where `stop()` says so, RunError where the loss is not finite.
    """
    recipe, network, optimizer = run.recipe, run.network, run.optimizer
    steps = steps_an_epoch(len(train), recipe.batch)
    names = tuple(recipe.augment.split("+")) if recipe.augment != "none" else ()
    while run.step < recipe.epochs * steps:
        epoch, first = divmod(run.step, steps)
        began, saved = time.perf_counter(), time.perf_counter()
        batches = order(len(train), recipe.batch, recipe.seed, epoch)
        network.train()
        for i in range(first, steps):
            for group in optimizer.param_groups:
                group["lr"] = recipe.peak * factor(recipe.schedule, run.step, recipe.epochs * steps, recipe.warmup)
            chosen = batches[i].to(train.x.device)
            x, y = train.x[chosen], train.y[chosen]
            if names:
                x = augment(x, names, generator(recipe.seed, "augment", run.step))
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_for(recipe.seed, "dropout", run.step))
                logits, sides = network.with_sides(standardised(x, train.mean, train.std))
            loss = F.cross_entropy(logits, y, label_smoothing=recipe.label_smoothing)
            whole = loss
            for weight, side in sides:
                whole = whole + weight * F.cross_entropy(side, y, label_smoothing=recipe.label_smoothing)
            number = loss.item()
            if not number < float("inf"):
                raise diverged(run, epoch, i, number)
            optimizer.zero_grad()
            whole.backward()
            optimizer.step()
            run.step += 1
            run.loss_sum += number * len(y)
            run.right += int((logits.argmax(1) == y).sum())
            run.seen += len(y)
            if tick:
                tick(i + 1, steps, run.loss_sum / run.seen, run.right / run.seen, run.seen)
            if stop():
                run.seconds += time.perf_counter() - began
                run.save()
                raise Interrupted
            if time.perf_counter() - saved > run.save_every:
                now = time.perf_counter()
                run.seconds, began = run.seconds + now - began, now
                run.save()
                saved = time.perf_counter()
        seconds = run.seconds + time.perf_counter() - began
        valid_loss, valid_acc = score(network, valid)
        row = Epoch(epoch + 1, run.loss_sum / run.seen, run.right / run.seen, valid_loss, valid_acc, seconds)
        run.finish_epoch(row)
        yield row


def diverged(run: Run, epoch: int, step: int, loss: float) -> RunError:
    return RunError(
        f"step {step + 1} of epoch {epoch + 1}",
        "the loss is not finite, so training stopped; what was saved before is untouched",
        got=loss,
        rule="the learning rate is too high for this net, or an input is not finite",
        hint=f"--lr {run.recipe.peak / 10:g}, a tenth of the present one",
    )


@torch.inference_mode()
def logits_of(network, images: Resident, batch: int = 256) -> Tensor:
    """The logits of all images, N×classes, in evaluation mode; the network's mode is put back."""
    was = network.training
    network.eval()
    found = [network.logits(standardised(x, images.mean, images.std)) for x in images.x.split(batch)]
    network.train(was)
    return torch.cat(found)


def score(network, images: Resident) -> tuple[float, float]:
    """Mean cross-entropy in nats an image, and accuracy 0 to 1."""
    logits = logits_of(network, images)
    loss = F.cross_entropy(logits.double(), images.y).item()
    return loss, (logits.argmax(1) == images.y).double().mean().item()
