"""The processes that train together: each takes its part of every batch, and gradients and counts are added up."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    """This process among `world` of them, and the device that it computes on.

    fabric  Lightning Fabric, which started or found the others; None where there are none
    """

    rank: int = 0
    world: int = 1
    device: str = "cpu"
    fabric: Any = None

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def part(self, chosen: Tensor) -> Tensor:
        """This process's share of a batch's indices, as even as it goes."""
        return chosen if self.world == 1 else chosen.tensor_split(self.world)[self.rank]

    def joined(self, network: nn.Module, sync_bn: bool) -> tuple[Callable, Callable[[bool], AbstractContextManager]]:
        """The network's `with_sides` whose gradients are averaged over the ranks, and what holds that back.

        The second is called with whether to hold it back: so are all micro-batches of a step but the last.
        sync_bn  BatchNorm's statistics over all ranks' images (GPUs only: torch has no such kernel for CPUs)
        """
        if self.world == 1:
            return network.with_sides, lambda held: nullcontext()  # type: ignore[return-value]
        if sync_bn:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        wrapped = self.fabric.setup_module(network)
        wrapped.mark_forward_method("with_sides")
        return wrapped.with_sides, lambda held: self.fabric.no_backward_sync(wrapped, enabled=held)

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Each number summed over the ranks, in float64."""
        if self.world == 1:
            return list(numbers)
        summed = self.fabric.all_reduce(torch.tensor(numbers, dtype=torch.float64, device=self.device), reduce_op="sum")
        return summed.tolist()

    def agreed(self, text: str) -> str:
        """The first rank's text, on every rank."""
        return text if self.world == 1 else self.fabric.broadcast(text)

    def wait(self) -> None:
        """Until every rank is here."""
        if self.world > 1:
            self.fabric.barrier()


ALONE = Ranks()


def launch(devices: int | None = None, nodes: int | None = None) -> Ranks:
    """The ranks of this training: one process, or those that torchrun or Slurm started, or `devices` started here.

    devices  processes a machine, one a GPU or, without GPUs, as many CPU processes; None: one, or as torchrun says
    nodes    machines, each of which is started with the same command and torch's usual MASTER_ADDR and NODE_RANK
    """
    own = "cuda" if torch.cuda.is_available() else "cpu"
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if (devices or 1) * (nodes or 1) == 1 and started == 1:
        return Ranks(device=own)
    from lightning_fabric import Fabric

    if "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
    accelerator = "cuda" if own == "cuda" else "cpu"
    fabric = Fabric(accelerator=accelerator, devices=devices or 1, num_nodes=nodes or 1, strategy="ddp")
    fabric.launch()
    return Ranks(fabric.global_rank, fabric.world_size, str(fabric.device), fabric)
