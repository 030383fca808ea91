"""Fine-tuning of a net's last stages on the maps that its frozen stages give: a plain loop, yielding a row an epoch."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engines.torch import Network
from ..errors import RunError
from ..fitting.loop import StopRequested, Tick
from ..fitting.run import Epoch
from ..fitting.schedule import compute_rate_factor
from ..fitting.seeds import derive_seed, make_generator, seed_torch
from ..language import say

TAIL_BATCH = 32
# AdamW's rate for the head; other layers' fall with their distance from it.
TAIL_PEAK = 1e-3
# The rate of the first layer that moves, as a share of that of the last one before the head.
FIRST_LAYER_SHARE = 0.25
# The head's own rate, which begins where it is best for the layers as they were, as a share of the same.
HEAD_RATE_SHARE = 0.1
TAIL_WEIGHT_DECAY = 0.01
TAIL_SMOOTHING = 0.1
TAIL_WARMUP = 0.1


@dataclass(frozen=True, eq=False)
class LabelledMaps:
    """Labelled maps for the tail of a net: float16 N×h×w×C, the frozen trunk's, with labels int64 N.

    mirrored  those of the same images with left and right exchanged, of which half are taken; None: none are
    """

    plain: np.ndarray
    y: np.ndarray
    mirrored: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.y)

    def pick(self, rows: Tensor, flip: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """float32 n×C×h×w, channels-last, and the labels; those of `flip` mirrored."""
        chosen = self.plain[rows.numpy()]
        if flip is not None and self.mirrored is not None:
            other = flip.numpy()
            chosen[other] = self.mirrored[rows.numpy()[other]]
        return torch.from_numpy(chosen).float().permute(0, 3, 1, 2), torch.from_numpy(self.y[rows.numpy()])


def make_tail_optimizer(network: Network) -> torch.optim.AdamW:
    """AdamW with a rate a layer: PEAK for the head, and from FIRST·PEAK to PEAK in equal ratios for the others.

    Discriminative rates as J. Howard and S. Ruder 2018 have them: early layers fit other pictures already.
    """
    layers: dict[str, list[nn.Parameter]] = {}
    for name, weight in network.named_parameters():
        layers.setdefault(name.rsplit(".", 1)[0], []).append(weight)
    groups = []
    for place, weights in enumerate(layers.values()):
        share = (
            FIRST_LAYER_SHARE ** (1 - place / max(1, len(layers) - 2)) if place < len(layers) - 1 else HEAD_RATE_SHARE
        )
        for weight in weights:
            decay = TAIL_WEIGHT_DECAY if weight.ndim > 1 else 0.0
            groups.append(
                {"params": [weight], "lr": TAIL_PEAK * share, "peak": TAIL_PEAK * share, "weight_decay": decay}
            )
    return torch.optim.AdamW(groups, fused=True)


def fine_tune(
    network: Network,
    optimizer: torch.optim.Optimizer,
    train: LabelledMaps,
    valid: LabelledMaps,
    *,
    epochs: int,
    done: int = 0,
    seed: int = 0,
    tick: Tick = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[Epoch]:
    """Train `network` from epoch `done` to `epochs`, yielding one Epoch after each. Its norms stay as they are.

    All that chance decides depends on the seed, the epoch and the step alone, as in `loop.fit`. Raises Interrupted
    where `stop()` says so, and RunError where the loss is not finite.
    """
    steps = count_tail_steps(len(train))
    for epoch in range(done, epochs):
        began, total, right, seen = time.perf_counter(), 0.0, 0, 0
        network.eval()
        for module in network.modules():
            module.training = isinstance(module, nn.Dropout)
        order = torch.randperm(len(train), generator=make_generator(seed, "order", epoch))
        flips = torch.rand(len(train), generator=make_generator(seed, "flip", epoch)) < 0.5
        for step, rows in enumerate(order.split(TAIL_BATCH)[:steps]):
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * compute_rate_factor(
                    "triangular", epoch * steps + step, epochs * steps, TAIL_WARMUP
                )
            x, y = train.pick(rows, flips[rows])
            with torch.random.fork_rng(devices=[]):
                seed_torch(derive_seed(seed, "dropout", epoch * steps + step))
                logits = network.logits(x)
            loss = F.cross_entropy(logits, y, label_smoothing=TAIL_SMOOTHING)
            if not loss.item() < float("inf"):
                raise RunError(
                    say("epoch {epoch} of fine-tuning", epoch=epoch + 1), say("the loss is not finite"), got=loss.item()
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total, seen, right = total + loss.item() * len(y), seen + len(y), right + int((logits.argmax(1) == y).sum())
            tick(step + 1, steps, total / seen, right / seen, seen)
            if stop():
                raise StopRequested
        seconds = time.perf_counter() - began
        yield Epoch(epoch + 1, total / seen, right / seen, *score_tail(network, valid), seconds)


def time_tail_step(network: Network, train: LabelledMaps) -> float:
    """Seconds of a step, the median of three on a copy of `network` that is then dropped."""
    trial = copy.deepcopy(network)
    first = LabelledMaps(train.plain[: 4 * TAIL_BATCH], train.y[: 4 * TAIL_BATCH])
    times = [time.perf_counter()]

    def tick(*_: object) -> None:
        times.append(time.perf_counter())

    for _ in fine_tune(trial, make_tail_optimizer(trial), first, first, epochs=1, tick=tick):
        pass
    took = [after - before for before, after in zip(times, times[1:], strict=False)]
    return statistics.median(took[1:] or took)  # the first one allocates


def count_tail_steps(images: int) -> int:
    """A last batch of less than half is dropped where it is not the only one."""
    return max(1, (images + TAIL_BATCH // 2) // TAIL_BATCH)


def score_tail(network: Network, images: LabelledMaps) -> tuple[float, float]:
    """Mean cross-entropy in nats per image, and accuracy 0 to 1."""
    logits, y = answer_tail(network, images), torch.as_tensor(images.y)
    return F.cross_entropy(logits.double(), y).item(), (logits.argmax(1) == y).double().mean().item()


@torch.inference_mode()
def answer_tail(network: Network, images: LabelledMaps) -> Tensor:
    """Logits N×K of the images, in evaluation mode."""
    network.eval()
    return torch.cat([network.logits(images.pick(rows)[0]) for rows in torch.arange(len(images)).split(128)])
