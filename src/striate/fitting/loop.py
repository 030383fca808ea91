"""The training loop: plain, flat, and yielding a row an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from math import nan
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engines.torch import average_views
from ..engines.views import list_views as looks
from ..errors import RunError
from ..language import say
from .batches import Feed, count_steps, standardise_batch
from .early_end import EarlyEnd
from .gradient import make_gradient_step
from .hooks import Batch, Hooks, Moment, make_hooks
from .own_functions import Listeners, measure_together, sum_own_loss
from .ranks import ALONE, Ranks
from .run import Epoch, Run
from .schedule import compute_rate_factor, cool_down


class StopRequested(Exception):
    """The run was asked to stop; it stands at a step's end, saved."""


class DivergenceError(RunError):
    """The loss of a step is not finite."""


# Called after each step with (step of the epoch, steps an epoch, loss, accuracy so far, images so far).
Tick = Callable[[int, int, float, float, int], None]


def fit(
    run: Run,
    train: Feed,
    valid: Feed,
    *,
    ranks: Ranks = ALONE,
    tick: Tick | None = None,
    stop: Callable[[], bool] | None = None,
) -> Iterator[Epoch]:
    """Train `run` to its last epoch, yielding one Epoch after each.

    All that chance decides at a step depends on the seed and the step's number alone, so a run that is saved
    after any step, killed and loaded goes on as if nothing had happened, bit for bit on one device.
    `valid`, where it has images, chooses the best epoch and reports; the test split never comes in here. Between two
    Epochs a loop of one's own may do what it likes, and leave: the checkpoint stands at the last row's end.
    `striate.prepare_run` makes all three.
    Over several `ranks` each takes its part of every batch: the same sums as one process, in another order.
    Raises StopRequested after saving where `stop()` says so, RunError where the loss is not finite.

    >>> import tempfile, striate
    >>> run, train, valid = striate.prepare_run("digits", "lenet5", epochs=1, out=tempfile.mkdtemp() + "/run")
    >>> [row.epoch for row in fit(run, train, valid)]
    [1]
    """
    listeners = Listeners(run.task.callables, ranks)
    listeners.tell("start", run)
    try:
        yield from train_epochs(run, train, valid, listeners, ranks=ranks, tick=tick, stop=stop)
    finally:
        listeners.tell("end", run)


def train_epochs(
    run: Run,
    train: Feed,
    valid: Feed,
    listeners: Listeners,
    *,
    ranks: Ranks,
    tick: Tick | None,
    stop: Callable[[], bool] | None,
) -> Iterator[Epoch]:
    """The loop of `fit`, which tells the callbacks of its steps and epochs."""
    recipe, own = run.recipe, run.task.callables
    steps = count_steps(len(train), recipe.batch, ranks.world)
    check_enough(len(train), steps, recipe.batch, ranks.world)
    step, hooks = make_gradient_step(run, train, ranks), make_hooks(recipe, len(run.task.classes), own, train.taught)
    while not run.done:
        # Stopped after an epoch's last step, a run goes on with its validation: what is done is what has a row.
        epoch, first = len(run.history), min(steps, run.batches)
        run.step = epoch * steps + first  # another number of processes may have another number of steps an epoch
        began, saved = time.perf_counter(), time.perf_counter()
        batches = train.order(recipe.batch, recipe.seed, epoch, recipe.balance == "sampling")[first:steps]
        batches = [] if run.ended else batches
        parts = [ranks.part(chosen) for chosen in batches]
        began_at = Moment(epoch, epoch * steps + first, run.epochs * steps, len(train), ranks.rank)
        end = run.early_end
        run.set_training()
        for i, (batch, at) in enumerate(change_batches(train, parts, hooks, began_at)):
            here, images = f"step {first + i + 1} of epoch {epoch + 1}", len(batches[i])
            set_rate(run, at, steps, end)
            ranks.at(here)
            run.optimizer.zero_grad()
            sums = step.accumulate(batch, images, at.step, at.rank)
            run.optimizer.step()
            late = ranks.first and time.perf_counter() - saved > run.pause
            loss, right = sums.tolist()  # the one moment of a step at which a GPU is waited for
            loss, correct, asked, due = ranks.total(
                [loss, right, stop is not None and stop(), late], f"all to finish {here}", run.network
            )
            if not loss < float("inf"):
                raise explain_divergence(run, here, loss)
            run.count_step(loss, int(correct), images)
            for follow in hooks.after_step:
                follow(run, at)
            listeners.tell_step(run, loss)
            if tick:
                tick(first + i + 1, steps, run.loss_sum / run.seen, run.right / run.seen, run.seen)
            if asked or due:
                now = time.perf_counter()
                run.seconds, began = run.seconds + now - began, now
                run.save()
                saved = time.perf_counter()
            if asked:
                raise StopRequested
            if run.ended:
                break
        seconds = run.seconds + time.perf_counter() - began
        row = Epoch(
            *(epoch + 1, run.loss_sum / run.seen, run.right / run.seen),
            *(*score_network(run.scored, valid, ranks, views=recipe.views, own=own.loss), seconds),
            measure_own(run, valid, ranks),
        )
        run.finish_epoch(row, listeners.tell_epoch)
        yield row


def change_batches(train: Feed, parts: list[Tensor], hooks: Hooks, began: Moment) -> Iterator[tuple[Batch, Moment]]:
    """The batches of an epoch as the recipe changes them, and the moment of each, `began` that of the first.

    On a GPU each is asked for before the one ahead of it goes out, so that it is ready when its turn comes.
    """

    def change_each() -> Iterator[tuple[Batch, Moment]]:
        for i, (x, y) in enumerate(train.walk(parts)):
            at = began._replace(step=began.step + i)
            batch = Batch(x, y, y, parts[i])
            for change in hooks.change_batch:
                batch = change(batch, at)
            yield batch, at

    changed = change_each()
    if train.device.type == "cpu":
        yield from changed
        return
    ahead = next(changed, None)
    while ahead is not None:
        ready, ahead = ahead, next(changed, None)
        yield ready


def check_enough(images: int, steps: int, batch: int, world: int) -> None:
    """Raise RunError where there are too few images for a step, or too few in a batch for so many processes."""
    if not steps:
        rule = say("{least} or more: two per process", least=2 * world)
        raise RunError(say("images to train on"), say("there are too few for a single step"), got=images, rule=rule)
    if batch < 2 * world:
        rule = say("two images for each of {world} processes: {least} or more", world=world, least=2 * world)
        raise RunError("recipe.batch", say("the batch is too small to share out"), got=batch, rule=rule)


def set_rate(run: Run, at: Moment, steps: int, end: EarlyEnd | None) -> None:
    """The learning rate of this step, for the weights of each group; an optimizer of one's own may have none.

    steps  of an epoch
    end    the early end that was decided, from which on the rate falls to 0
    """
    recipe = run.recipe
    scheduled = at.step if end is None else end.after * steps
    factor = compute_rate_factor(recipe.schedule, scheduled, recipe.epochs * steps, recipe.warmup)
    if end is not None:
        factor = cool_down(factor, at.step, scheduled, at.steps)
    for group, peak in zip(run.optimizer.param_groups, run.peaks, strict=True):
        if peak is not None:
            group["lr"] = peak * factor


def explain_divergence(run: Run, step: str, loss: float) -> DivergenceError:
    ours = run.task.callables.optimizer is None
    return DivergenceError(
        step,
        say("the loss is not finite, so training stopped; what was saved before is untouched"),
        got=loss,
        rule=say("the learning rate is too high for this net, or an input is not finite"),
        hint=say("--lr {rate:g}, a tenth of the present one", rate=run.recipe.peak / 10)
        if ours
        else say("a lower lr in your optimizer"),
    )


@torch.inference_mode()
def score_network(
    network: nn.Module,
    images: Feed,
    ranks: Ranks = ALONE,
    batch: int | None = None,
    views: str = "plain",
    own: Callable[..., Any] | None = None,
) -> tuple[float, float]:
    """Mean cross-entropy in nats per image, and accuracy 0 to 1, in evaluation mode; each image counts once.

    batch  images at once; by default as many as the device takes well
    views  of an image, over which the logits are averaged (engines.views)
    own    a user's loss instead of cross-entropy
    Both are NaN where there are no images.
    """
    if not len(images):
        return nan, nan
    loss, right = 0.0, 0
    for logits, y in answer_images(network, images, ranks, batch, views):
        summed = F.cross_entropy(logits.double(), y, reduction="sum") if own is None else sum_own_loss(own, logits, y)
        loss += summed.item()
        right += int((logits.argmax(1) == y).sum())
    loss, correct = ranks.total([loss, right], "all to have validated")
    return loss / len(images), correct / len(images)


def answer_images(
    network: nn.Module, images: Feed, ranks: Ranks, batch: int | None, views: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Logits and labels of this process's share of the images, every `ranks.world`-th one, in evaluation mode."""
    batch = batch or choose_batch(images)
    was = network.training
    network.eval()
    own = torch.arange(ranks.rank, len(images), ranks.world)
    for x, y in images.walk(list(own.split(batch))):
        ranks.at("validation")
        x = standardise_batch(x, images.mean, images.std)
        yield average_views(network.logits, x, looks(views, (x.shape[2], x.shape[3]))), y  # type: ignore[arg-type]
    network.train(was)


def choose_batch(images: Feed) -> int:
    """How many images to score at once: 256, and on a GPU as many more as have the pixels of 2,048 of 32×32.

    A GPU has done a few small images before it is asked for the next.
    """
    _, h, w, _ = images.images.x.shape
    return max(256, 2048 * 32 * 32 // (h * w)) if images.device.type == "cuda" else 256


@torch.inference_mode()
def measure_own(run: Run, valid: Feed, ranks: Ranks) -> dict[str, float | None]:
    """The user's metrics on the images to validate on."""
    metrics = run.task.callables.metrics
    if not metrics or not len(valid):
        return {}
    logits = [logits for logits, _ in answer_images(run.scored, valid, ranks, None, run.recipe.views)]
    return measure_together(metrics, logits, valid.y, ranks)
