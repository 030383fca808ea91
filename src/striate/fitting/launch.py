"""The processes of a training: found where torchrun or Slurm started them, else started here."""

from __future__ import annotations

import inspect
import logging
import os
import subprocess
import sys
from datetime import timedelta
from typing import Any

import torch

from ..errors import RecipeError, RunError
from ..language import say
from .guard import Guard, is_connection_lost
from .ranks import Ranks

# Names, in the environment of a process that striate started, the one that started it.
PARENT = "STRIATE_PARENT"
# No wait is ended by a collective's own limit: the guard ends those that are in vain, and says where each stands.
FOREVER = timedelta(days=30)


def launch_ranks(devices: int | None = None, nodes: int | None = None) -> Ranks:
    """The ranks of this training: one process, or those that torchrun or Slurm started, or `devices` started here.

    devices  processes a machine, one a GPU or, without GPUs, as many CPU processes; None: one, or as torchrun says
    nodes    machines, each of which is started with the same command and torch's usual MASTER_ADDR and NODE_RANK
    """
    own = "cuda" if torch.cuda.is_available() else "cpu"
    for name, count in (("devices", devices), ("nodes", nodes)):
        if count is not None and count < 1:
            raise RecipeError(name, say("{name} must be at least 1", name=name), got=count, hint=f"{name}=1")
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if (devices or 1) * (nodes or 1) == 1 and started == 1:
        return Ranks(device=own)
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    cores = torch.get_num_threads()
    if "TORCHELASTIC_RUN_ID" in os.environ:
        cores = os.cpu_count() or 1  # torchrun allows each process one thread
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it greets on every rank
    # The running statistics are averaged at each step, so DDP need not spread the first rank's own.
    known = inspect.signature(torch.nn.parallel.DistributedDataParallel).parameters
    apart: dict[str, Any] = {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}
    strategy = DDPStrategy(timeout=FOREVER, **apart)
    fabric = Fabric(accelerator=own, devices=devices or 1, num_nodes=nodes or 1, strategy=strategy)
    place: Any = strategy.cluster_environment
    # Fabric would start them too, but it ends this process by SIGKILL, without a word, when one of them fails.
    children = [] if place.creates_processes_externally else start_others(place, devices or 1, nodes or 1)
    parent = int(os.environ[PARENT]) if PARENT in os.environ else None
    guard = Guard(children, parent)
    try:
        fabric.launch()
        guard.join(fabric.global_rank, fabric.world_size, fabric.local_rank)
        group = torch.distributed.new_group(backend="gloo", timeout=FOREVER)
    except Exception as e:
        guard.over.set()
        if not is_connection_lost(e):
            raise
        raise RunError(
            "rank " + str(fabric.global_rank), say("the other processes cannot be reached: {complaint}", complaint=e)
        ) from None
    rank, world, device = fabric.global_rank, fabric.world_size, str(fabric.device)
    return Ranks(rank, world, device, fabric, local=devices or 1, cores=cores, group=group, guard=guard)


def start_others(place: Any, count: int, nodes: int) -> list[tuple[int, subprocess.Popen]]:
    """Start this machine's other processes by this one's own command, and tell all how they find each other."""
    os.environ |= {
        "MASTER_ADDR": place.main_address,
        "MASTER_PORT": str(place.main_port),
        "NODE_RANK": str(place.node_rank()),
        "WORLD_SIZE": str(count * nodes),
        "LOCAL_RANK": "0",
    }
    # As Fabric does: they share out the cores.
    threads = (
        {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // count))}
    )
    others = range(1, count)
    told = {"TORCH_CPP_LOG_LEVEL": "ERROR"} | os.environ | threads | {PARENT: str(os.getpid())}
    started = [subprocess.Popen(read_own_command(), env=told | {"LOCAL_RANK": str(k)}) for k in others]
    return [(place.node_rank() * count + k, child) for k, child in zip(others, started, strict=True)]


def read_own_command() -> list[str]:
    """What this process was started with."""
    import __main__

    spec = getattr(__main__, "__spec__", None)
    begin = [sys.argv[0]] if spec is None else ["-m", spec.name]
    return [sys.executable, *begin, *sys.argv[1:]]
