"""From labelled images to batches on the device, in an order that the seed and the epoch alone settle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..data.images import Images
from ..data.store.rows import Rows
from ..threads import map_in_threads
from .seeds import make_generator

# How far an image may move from its place in the shards, in images: what a shuffle buffer of that length does.
SHUFFLE_WINDOW = 10_000


def count_steps(images: int, batch: int, world: int = 1) -> int:
    """Batches in one pass of `world` processes, each with its part of every batch.

    A last batch of less than two images a process is dropped, for BatchNorm has no variance of one.
    """
    return images // batch + (images % batch >= 2 * world)


def shuffle_batches(images: int, batch: int, seed: int, epoch: int) -> list[Tensor]:
    """The shuffled indices of each batch of `epoch`."""
    return split_batches(torch.randperm(images, generator=make_generator(seed, "order", epoch)), batch)


def split_batches(shuffled: Tensor, batch: int) -> list[Tensor]:
    return list(shuffled.split(batch)[: count_steps(len(shuffled), batch)])


def shuffle_shards(shards: np.ndarray, batch: int, seed: int, epoch: int, window: int = SHUFFLE_WINDOW) -> list[Tensor]:
    """The same for images that are best read shard by shard: the shards in a shuffled order, and the images of that

    row moved at random, none by `window` places or more. `shards` is the number of each image's shard.
    """
    draw = make_generator(seed, "order", epoch)
    number = torch.from_numpy(np.unique(shards, return_inverse=True)[1])
    turn = torch.randperm(int(number.max()) + 1 if len(number) else 0, generator=draw)
    row = torch.argsort(turn[number], stable=True)
    moved = torch.arange(len(row)) + torch.rand(len(row), generator=draw, dtype=torch.float64) * window
    return split_batches(row[torch.argsort(moved, stable=True)], batch)


def balance_batches(y: np.ndarray, batch: int, seed: int, epoch: int) -> list[Tensor]:
    """The indices of each batch of an `epoch` in which every class that occurs comes equally often, up to one image.

    As many images as there are, so a large class gives a part of its images, another part the next time, and the
    images of a small class come several times, each as often as the others up to once.
    """
    draw = make_generator(seed, "balanced order", epoch)
    labels = torch.from_numpy(np.ascontiguousarray(y))
    present = labels.unique()
    extra = torch.randperm(len(present), generator=draw) < len(y) % max(len(present), 1)
    chosen = []
    for k, one_more in zip(present, extra, strict=True):
        own = (labels == k).nonzero().squeeze(1)
        wanted = len(y) // len(present) + int(one_more)
        rounds = [own[torch.randperm(len(own), generator=draw)] for _ in range(-(-wanted // len(own)))]
        chosen.append(torch.cat(rounds)[:wanted])
    together = torch.cat(chosen)
    return split_batches(together[torch.randperm(len(together), generator=draw)], batch)


def compute_class_weights(y: np.ndarray, classes: int) -> np.ndarray:
    """The weight of each class's loss, float64: images / (classes that occur · images of the class); 0 where none is.

    Over the images the weights' mean is 1 (G. King and L. Zeng 2001; scikit-learn's "balanced").

    >>> compute_class_weights(np.array([0, 0, 0, 1]), 2).round(3).tolist()
    [0.667, 2.0]
    """
    counts = np.bincount(y, minlength=classes)
    return np.where(counts, len(y) / (max(1, np.count_nonzero(counts)) * np.maximum(counts, 1)), 0.0)


def standardise_batch(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 or float N×H×W×C in 0 to 255 -> float32 N×C×H×W, (x/255 − mean)/std; its memory stays channels-last."""
    return x.permute(0, 3, 1, 2).float().sub_(mean.view(-1, 1, 1) * 255).div_(std.view(-1, 1, 1) * 255)


class Feed:
    """Labelled images on their way to the device that trains, wherever their pixels are.

    y          int64 N on the device
    mean, std  of each channel, on the device, in units of 255
    x          uint8 N×H×W×C on the device, None where the pixels are not in memory
    taught     float32 N×K on the device, a teacher's log probabilities of each image; None without one
    The pixels are on the device too where they are in memory; else each batch is read when its turn has nearly come.
    """

    def __init__(
        self, images: Images, mean: Sequence[float], std: Sequence[float], device: torch.device | str = "cpu"
    ) -> None:
        self.images, self.device = images, torch.device(device)
        self.mean, self.std = torch.tensor(mean, device=device), torch.tensor(std, device=device)
        self.y = torch.from_numpy(np.ascontiguousarray(images.y)).to(device)
        self.taught: Tensor | None = None
        self.x = None if isinstance(images.x, Rows) else torch.from_numpy(np.ascontiguousarray(images.x)).to(device)

    def teach(self, log_probabilities: np.ndarray) -> None:
        """Set `taught`, of float32 N×K."""
        self.taught = torch.from_numpy(log_probabilities).to(self.device)

    def __len__(self) -> int:
        return len(self.y)

    def order(self, batch: int, seed: int, epoch: int, balanced: bool = False) -> list[Tensor]:
        """The indices of each batch of `epoch`: all images shuffled, shards near their turn, or classes equally often.

        It depends on nothing but the labels, the shards, `batch`, `seed` and `epoch`, at every level alike.
        """
        if balanced:
            return balance_batches(self.images.y, batch, seed, epoch)
        if self.images.shards is not None:
            return shuffle_shards(self.images.shards, batch, seed, epoch)
        return shuffle_batches(len(self), batch, seed, epoch)

    def pick(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The images of some indices, uint8 n×H×W×C, and their labels, on the device."""
        chosen_here = chosen.to(self.device, non_blocking=True)
        if self.x is not None and self.device.type != "cpu":
            return self.x[chosen_here], self.y[chosen_here]
        # NumPy copies whole rows, 1 µs for 64×64×3; torch's x[chosen] takes 10, and 80 with a second, busy core.
        return torch.from_numpy(self.images.x[chosen.numpy()]).to(self.device), self.y[chosen_here]

    def walk(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """`pick` of each batch in turn; where it must be read, the next two are read meanwhile."""
        if self.x is not None:
            yield from map(self.pick, batches)
            return
        yield from map_in_threads(self.pick, batches, workers=1, ahead=2)

    def in_turn(self, batch: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
        """All images once, in their own order."""
        return self.walk(list(torch.arange(len(self)).split(batch)))
