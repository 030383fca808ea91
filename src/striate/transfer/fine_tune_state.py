"""Where a fine-tuning stands, on disk: what it needs to go on after any epoch as if it had never stopped."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
import torch
from torch import Tensor

from .. import atomic_file
from ..engines.torch import Network
from ..errors import RunError
from ..fitting.began import name_file_errors
from ..fitting.checkpoint import check_same_task, read_checkpoint, remove_parts, select_part
from ..fitting.optimizer_state import restore_optimizer
from ..fitting.run import Epoch
from ..language import say
from ..run_files import RunFiles


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What a transfer's checkpoint says of how far it is."""

    seconds: float | None
    epochs: int | None
    mirrored: bool
    history: list[dict[str, Any]]


@dataclass
class TransferState:
    """A transfer under way.

    identity  what a resumed one must share with its beginning, as JSON data
    seconds   that the whole was given; None: no more than the head's
    epochs    of fine-tuning, settled once by the time there was; None: not settled yet
    mirrored  whether half of the images are mirrored in fine-tuning
    history   of the epochs that are done
    tensors   the network's, the optimizer's and the best epoch's, under "network/", "optimizer/" and "best/"
    """

    identity: dict[str, Any]
    seconds: float | None = None
    epochs: int | None = None
    mirrored: bool = False
    history: list[Epoch] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def save(self, folder: Path | None) -> None:
        """Write the checkpoint, whole or not at all; without a folder nothing is written."""
        if folder is None:
            return
        head: dict[str, Any] = {
            "transfer": self.identity,
            "seconds": self.seconds,
            "epochs": self.epochs,
            "mirrored": self.mirrored,
        }
        head["history"] = [row.as_dict() for row in self.history]
        tensors = {name: tensor.detach().contiguous() for name, tensor in self.tensors.items()}
        packed = safetensors.torch.save(tensors, metadata={"striate": json.dumps(head)})
        atomic_file.write_file(RunFiles(folder).checkpoint, packed)

    @classmethod
    def resumed(cls, folder: Path, identity: dict[str, Any]) -> TransferState:
        """What `folder`'s checkpoint holds. Raises RunError where it is not of this transfer."""
        path = RunFiles(folder).checkpoint
        head, tensors = read_checkpoint(path)
        if "transfer" not in head:
            raise RunError(
                str(path), say("this run did not begin as a transfer"), hint=say("resume it without --preset")
            )
        check_same_task(path, identity, head["transfer"])
        remove_parts(folder)
        with name_file_errors(path):
            kept = msgspec.convert(head, Kept)
            history = [Epoch(**row) for row in kept.history]
        return cls(identity, kept.seconds, kept.epochs, kept.mirrored, history, tensors)

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors under `name`, without it."""
        return select_part(self.tensors, name)

    def keep(self, network: Network, optimizer: torch.optim.Optimizer, row: Epoch, best: bool) -> None:
        """Enter an epoch that is done; where it is the best so far, its weights too."""
        self.history.append(row)
        own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        bests = own if best else self.part("best")
        self.tensors = {f"network/{name}": tensor for name, tensor in own.items()}
        for index, slots in optimizer.state_dict()["state"].items():
            self.tensors |= {f"optimizer/{index}/{key}": value.clone() for key, value in slots.items()}
        self.tensors |= {f"best/{name}": tensor.clone() for name, tensor in bests.items()}

    def put(self, network: Network, optimizer: torch.optim.Optimizer) -> None:
        """Have network and optimizer stand where they stood."""
        self.put_tensors(network, "network")
        restore_optimizer(optimizer, self.part("optimizer"))

    def put_best(self, network: Network) -> None:
        """Have the network stand where the best epoch left it."""
        self.put_tensors(network, "best")

    @torch.no_grad()
    def put_tensors(self, network: Network, part: str) -> None:
        for name, tensor in network.state_dict().items():
            tensor.copy_(self.tensors[f"{part}/{name}"])
