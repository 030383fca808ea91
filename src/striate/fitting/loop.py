"""The training loop: plain, flat, and yielding a row an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engines.torch import average_views
from ..engines.views import list_views as looks
from ..errors import RunError
from .augment import augment_and_mix, flip_alternately, shrink_images
from .batches import Feed, compute_class_weights, count_steps, standardise_batch
from .ranks import ALONE, Ranks
from .recipe import Recipe
from .run import Epoch, Run
from .schedule import compute_rate_factor
from .seeds import derive_seed, make_generator

GROWN_SHARE = 3 / 4
"""The side of the images in the first steps of progressive resizing, as a share of the whole."""


class StopRequested(Exception):
    """The run was asked to stop; it stands at a step's end, saved."""


Tick = Callable[[int, int, float, float, int], None]
"""Called after each step with (step of the epoch, steps an epoch, loss, accuracy so far, images so far)."""


def fit(
    run: Run,
    train: Feed,
    valid: Feed,
    *,
    ranks: Ranks = ALONE,
    tick: Tick | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Epoch]:
    """Train `run` to its last epoch, yielding one Epoch after each.

    All that chance decides at a step depends on the seed and the step's number alone, so a run that is saved
    after any step, killed and loaded goes on as if nothing had happened, bit for bit on one device.
    `valid` chooses the best epoch and reports; the test split never comes in here.
    Over several `ranks` each takes its part of every batch: the same sums as one process, in another order.
    Raises Interrupted after saving where `stop()` says so, RunError where the loss is not finite.

    >>> import tempfile, striate
    >>> from striate.data.images import measure_channels
    >>> from striate.data.sources.load import load_dataset
    >>> from striate.engines.model_file import Preprocess
    >>> from striate.fitting.checkpoint import Task
    >>> digits = load_dataset("digits")
    >>> pre = Preprocess(digits.shape[1:], "pad", *measure_channels(digits.train.x))
    >>> net = striate.parse("Net(input=(1, 8, 8), layers=[Conv(8, 3), ReLU(), Flatten(), Dense(10)])")
    >>> task = Task(net, striate.Recipe(epochs=1), digits.classes, pre, digits.fingerprint, "")
    >>> run = Run.start(tempfile.mkdtemp(), task)
    >>> [row.epoch for row in fit(run, *(Feed(part, pre.mean, pre.std) for part in (digits.train, digits.valid)))]
    [1]
    """
    recipe, network, optimizer = run.recipe, run.network, run.optimizer
    steps = count_steps(len(train), recipe.batch, ranks.world)
    total = recipe.epochs * steps
    if not steps:
        rule = f"{2 * ranks.world} or more: two for each process"
        raise RunError("images to train on", "there are too few for a single step", got=len(train), rule=rule)
    if recipe.batch < 2 * ranks.world:
        rule = f"two images for each of {ranks.world} processes: {2 * ranks.world} or more"
        raise RunError("recipe.batch", "the batch is too small to share out", got=recipe.batch, rule=rule)
    names = tuple(recipe.augment.split("+")) if recipe.augment != "none" else ()
    alternate = "alternating-flip" in names
    names = tuple(name for name in names if name != "alternating-flip")
    classes = len(run.task.classes)
    weigh = recipe.balance == "weights"
    weights = torch.tensor(compute_class_weights(train.images.y, classes)).float().to(ranks.device) if weigh else None
    run.class_weights = weights
    forward, held_back = ranks.joined(network, recipe.sync_bn)
    if recipe.compiled(ranks.device):
        # On a GPU with CUDA graphs, which spare a small net the launch of each of its many kernels.
        forward = torch.compile(forward, mode="reduce-overhead" if ranks.device.startswith("cuda") else "default")
    precise = torch.bfloat16 if recipe.half(ranks.device) else None

    def loss_of(logits: Tensor, targets: Tensor, images: int) -> Tensor:
        """This part's share of the batch's mean loss, times the ranks, for their gradients are averaged."""
        return sum_loss(logits.float(), targets, recipe, weights) * (ranks.world / images)

    while not run.done:
        # Stopped after an epoch's last step, a run goes on with its validation: what is done is what has a row.
        epoch, first = len(run.history), min(steps, run.batches)
        run.step = epoch * steps + first  # another number of processes may have another number of steps an epoch
        began, saved = time.perf_counter(), time.perf_counter()
        batches = train.order(recipe.batch, recipe.seed, epoch, recipe.balance == "sampling")[first:steps]
        network.train()
        for i, (x, y) in enumerate(train.walk([ranks.part(chosen) for chosen in batches]), start=first):
            for group in optimizer.param_groups:
                group["lr"] = recipe.peak * compute_rate_factor(recipe.schedule, run.step, total, recipe.warmup)
            images = len(batches[i - first])
            targets = y
            if alternate:
                x = flip_alternately(x, ranks.part(batches[i - first]), len(train), recipe.seed, epoch)
            if names:
                draw = make_generator(recipe.seed, "augment", run.step, ranks.rank)
                x, targets = augment_and_mix(x, y, names, draw, classes)
            if run.step < recipe.grow * total:
                x = shrink_images(x, GROWN_SHARE)
            loss, right, here = 0.0, 0, f"step {i + 1} of epoch {epoch + 1}"
            ranks.at(here)
            optimizer.zero_grad()
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derive_seed(recipe.seed, "dropout", run.step, ranks.rank))
                parts = list(zip(*(t.tensor_split(recipe.accumulate) for t in (x, y, targets)), strict=True))
                for k, (x, y, targets) in enumerate(parts):  # noqa: B020, PLW2901
                    with held_back(k + 1 < len(parts)), torch.autocast(x.device.type, precise, enabled=bool(precise)):
                        logits, sides = forward(standardise_batch(x, train.mean, train.std))
                        share = loss_of(logits, targets, images)
                        whole = share + sum(w * loss_of(side, targets, images) for w, side in sides)
                        whole.backward()
                    loss += share.item() / ranks.world
                    right += int((logits.argmax(1) == y).sum())
            late = ranks.first and time.perf_counter() - saved > run.pause
            loss, correct, asked, due = ranks.total([loss, right, stop(), late], f"all to end {here}", network)
            if not loss < float("inf"):
                raise explain_divergence(run, epoch, i, loss)
            optimizer.step()
            run.step += 1
            run.follow_average(total)
            run.loss_sum += loss * images
            run.right += int(correct)
            run.seen += images
            if tick:
                tick(i + 1, steps, run.loss_sum / run.seen, run.right / run.seen, run.seen)
            if asked or due:
                now = time.perf_counter()
                run.seconds, began = run.seconds + now - began, now
                run.save()
                saved = time.perf_counter()
            if asked:
                raise StopRequested
        seconds = run.seconds + time.perf_counter() - began
        valid_loss, valid_acc = score_network(run.scored, valid, ranks, views=recipe.views)
        row = Epoch(epoch + 1, run.loss_sum / run.seen, run.right / run.seen, valid_loss, valid_acc, seconds)
        run.finish_epoch(row)
        yield row


def sum_loss(logits: Tensor, targets: Tensor, recipe: Recipe, class_weights: Tensor | None) -> Tensor:
    """The recipe's loss, added up over the images."""
    return F.cross_entropy(logits, targets, class_weights, reduction="sum", label_smoothing=recipe.label_smoothing)


def explain_divergence(run: Run, epoch: int, step: int, loss: float) -> RunError:
    return RunError(
        f"step {step + 1} of epoch {epoch + 1}",
        "the loss is not finite, so training stopped; what was saved before is untouched",
        got=loss,
        rule="the learning rate is too high for this net, or an input is not finite",
        hint=f"--lr {run.recipe.peak / 10:g}, a tenth of the present one",
    )


@torch.inference_mode()
def score_network(
    network: nn.Module, images: Feed, ranks: Ranks = ALONE, batch: int = 256, views: str = "plain"
) -> tuple[float, float]:
    """Mean cross-entropy in nats an image, and accuracy 0 to 1, in evaluation mode; each image counts once.

    views  of an image, over which the logits are averaged (engines.views)
    """
    was = network.training
    network.eval()
    loss, right = 0.0, 0
    own = torch.arange(ranks.rank, len(images), ranks.world)
    for x, y in images.walk(list(own.split(batch))):
        ranks.at("validation")
        x = standardise_batch(x, images.mean, images.std)
        logits = average_views(network.logits, x, looks(views, (x.shape[2], x.shape[3])))  # type: ignore[arg-type]
        loss += F.cross_entropy(logits.double(), y, reduction="sum").item()
        right += int((logits.argmax(1) == y).sum())
    network.train(was)
    loss, correct = ranks.total([loss, right], "all to have validated")
    return loss / len(images), correct / len(images)
