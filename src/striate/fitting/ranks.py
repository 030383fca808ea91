"""The processes that train together: each takes its part of every batch, and gradients and counts are added up.

There is one order in which they meet: the first decides, alone, what is done next and tells the others, who wait for
its word and nothing else (`tell`, `told`); within what is done together, all come to the same places in turn.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..engines.torch_layers import BatchNormModule
from .guard import Guard


@dataclass(frozen=True)
class Ranks:
    """This process among `world` of them, and the device that it computes on.

    fabric  Lightning Fabric, which found the others; None where there are none
    local   how many of the processes are on this machine
    cores   threads that torch would take for one process alone
    group   all of them, to exchange by way of the CPU
    guard   ends all where one fails
    """

    rank: int = 0
    world: int = 1
    device: str = "cpu"
    fabric: Any = None
    local: int = 1
    cores: int = 1
    group: Any = None
    guard: Guard | None = None

    @property
    def first(self) -> bool:
        """Whether this process is the one that decides, writes and speaks."""
        return self.rank == 0

    @property
    def threads(self) -> int:
        """This process's share of the machine's cores."""
        return max(1, (os.cpu_count() or 1) // self.local)

    def part(self, chosen: Tensor) -> Tensor:
        """This process's share of a batch's indices, as even as it goes."""
        return chosen if self.world == 1 else chosen.tensor_split(self.world)[self.rank]

    def share(self, count: int) -> np.ndarray:
        """This process's share of `count` rows: neighbours, as even as it goes."""
        return np.array_split(np.arange(count), self.world)[self.rank]

    def joined(self, network: nn.Module, sync_bn: bool) -> tuple[Callable, Callable[[bool], AbstractContextManager]]:
        """The network's `with_sides` whose gradients are averaged over the ranks, and what holds that back.

        The second is called with whether to hold it back: so are all micro-batches of a step but the last.
        sync_bn  BatchNorm's statistics over all ranks' images (GPUs only: torch has no such kernel for CPUs)
        """
        if self.world == 1:
            return network.with_sides, lambda held: nullcontext()  # type: ignore[return-value]
        if sync_bn:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        with self.waiting("the others' networks"):
            wrapped = self.fabric.setup_module(network)
        wrapped.mark_forward_method("with_sides")
        return wrapped.with_sides, lambda held: self.fabric.no_backward_sync(wrapped, enabled=held)

    def total(self, numbers: Sequence[float], place: str, network: nn.Module | None = None) -> list[float]:
        """Each number summed over the ranks, in float64; with them the running statistics of `network` are averaged.

        As they are a running mean, averaged at each step they are those of all ranks' images, and on each rank the
        same: what is scored, what is saved and what each rank has is one network.
        """
        if self.world == 1:
            return list(numbers)
        running = [] if network is None else list_running_statistics(network)
        mine = [torch.tensor(numbers, dtype=torch.float64, device=self.device)]
        flat = torch.cat([*mine, *(one.flatten().double() for one in running)])
        with self.waiting(place):
            flat = self.fabric.all_reduce(flat, reduce_op="sum")
        means = (flat[len(numbers) :] / self.world).split([one.numel() for one in running])
        for one, mean in zip(running, means, strict=True):
            one.copy_(mean.view_as(one))
        return flat[: len(numbers)].tolist()

    def tell(self, **order: Any) -> None:
        """The first rank's word to the others of what is done next: JSON data."""
        if self.world > 1:
            self.sent(json.dumps(order).encode(), f"the others to hear of: {order.get('do')}")

    def told(self) -> dict[str, Any]:
        """The first rank's word of what is done next."""
        return json.loads(self.sent(None, "the first one's word of what is next"))

    def sent(self, content: bytes | None, place: str) -> bytes:
        """The first rank's bytes, on every rank."""
        if self.world == 1:
            assert content is not None
            return content
        with self.waiting(place):
            size = torch.tensor([len(content or b"")])
            torch.distributed.broadcast(size, 0, group=self.group)
            whole = np.empty(int(size), np.uint8) if content is None else np.frombuffer(bytearray(content), np.uint8)
            torch.distributed.broadcast(torch.from_numpy(whole), 0, group=self.group)
        return whole.tobytes()

    def gathered(self, rows: np.ndarray, count: int) -> np.ndarray:
        """On the first rank all of `count` rows, of which each rank has its `share`; on the others their own."""
        if self.world == 1:
            return rows
        with self.waiting("all to have their parts"):
            if not self.first:
                if len(rows):
                    torch.distributed.send(view_bytes(rows), 0, group=self.group)
                return rows
            whole = np.empty((count, *rows.shape[1:]), rows.dtype)
            for rank, part in enumerate(np.array_split(np.arange(count), self.world)):
                if rank == 0:
                    whole[part] = rows
                elif len(part):
                    torch.distributed.recv(view_bytes(whole[part[0] : part[-1] + 1]), rank, group=self.group)
            return whole

    def wait(self, place: str) -> None:
        """Until every rank is here."""
        if self.world > 1:
            with self.waiting(place):
                torch.distributed.barrier(group=self.group)

    def at(self, place: str) -> None:
        """This process works at `place`: what a hang is told by."""
        if self.guard is not None:
            self.guard.at(place)

    @contextmanager
    def waiting(self, place: str) -> Iterator[None]:
        """Within it, this process waits for the others at `place`."""
        if self.guard is None:
            yield
            return
        before = self.guard.standing[0]
        self.guard.at(place, waiting=True)
        yield
        self.guard.at(before)

    def one_end(self) -> AbstractContextManager[None]:
        """Within it, an error of one process ends all: the first says it, and none hangs."""
        return nullcontext() if self.guard is None else self.guard.one_end()

    def done(self) -> None:
        """All together is done; what a process does from here on concerns no other."""
        if self.guard is not None:
            self.wait("the others to be done")
            self.guard.close()


ALONE = Ranks()


def list_running_statistics(network: nn.Module) -> list[Tensor]:
    """What BatchNorm keeps of the batches that it has seen."""
    return [
        value
        for module in network.modules()
        if isinstance(module, BatchNormModule | nn.SyncBatchNorm)
        for value in (module.running_mean, module.running_var)
        if value is not None
    ]


def view_bytes(rows: np.ndarray) -> Tensor:
    """The memory of an array of one row or more, as it lies."""
    return torch.from_numpy(np.ascontiguousarray(rows)).view(torch.uint8)


# mallopt's names for its settings (glibc, malloc.h).
TRIM, TOP_PAD, MMAP = -1, -2, -3


# 32 MiB is the largest threshold that glibc takes: maps above it are asked of the system each time all the same.
MALLOC_SETTINGS = {MMAP: 32 << 20, TRIM: 2**31 - 1, TOP_PAD: 256 << 20}


def keep_pages() -> bool:
    """Have glibc's malloc keep what is freed, for the rest of the process; whether it could be told so.

    By default it gives the end of its heap back whenever some tens of megabytes of it are free, and the system zeroes
    each page anew when the next map touches it: on two cores that was a seventh of a step of striate_s (71 ms, 60
    without it). Nothing is done where the C library has no mallopt (macOS, Windows, musl), and no result changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all(bool(mallopt(name, value)) for name, value in MALLOC_SETTINGS.items())
