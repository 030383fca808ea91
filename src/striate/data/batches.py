"""From resident images to batches, in an order that the seed and the epoch alone settle."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def seed_for(seed: int, *place: object) -> int:
    """A seed for one use at one place, such as ("order", epoch): what a run does there depends on nothing else,

    so that a resumed run needs no generator's state, only the number of its step.
    """
    text = "/".join(map(str, (seed, *place)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def generator(seed: int, *place: object) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for(seed, *place))


def steps_an_epoch(images: int, batch: int) -> int:
    """Batches in one pass; a last batch of a single image is dropped, for BatchNorm has no variance of one."""
    return images // batch + (images % batch > 1)


def order(images: int, batch: int, seed: int, epoch: int) -> list[Tensor]:
    """The shuffled indices of each batch of `epoch`."""
    shuffled = torch.randperm(images, generator=generator(seed, "order", epoch))
    return list(shuffled.split(batch)[: steps_an_epoch(images, batch)])


def standardised(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 or float N×H×W×C in 0 to 255 -> float32 N×C×H×W, (x/255 − mean)/std; its memory stays channels-last."""
    return x.permute(0, 3, 1, 2).float().sub_(mean.view(-1, 1, 1) * 255).div_(std.view(-1, 1, 1) * 255)
