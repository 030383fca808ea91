"""A run: the state of one training, and its folder on disk."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from .. import atomic_file
from ..engines.model_file import save_model
from ..engines.torch import Network, build_network, copy_tensors, load_tensors
from ..engines.torch_layers import BatchNormModule
from ..run_files import RunFiles
from .began import need_head
from .checkpoint import (
    Task,
    check_same_task,
    identify_task,
    read_checkpoint,
    remove_parts,
    select_part,
)
from .early_end import EarlyEnd, count_epochs, decide_end
from .layer_patterns import layer_of, list_frozen
from .optimizer_state import pack_numbers, pack_states, restore_optimizer
from .own_functions import make_own_optimizer, pack_callbacks, restore_callbacks
from .recipe import Recipe
from .stopwatch import Spent
from .weight_groups import make_optimizer
from .whiten import find_first_convolution

# What a model file says of its epoch.
MEASURED = ("epoch", "valid_acc", "valid_loss")
# Seconds between checkpoints within an epoch.
SAVE_EVERY = 30.0


@dataclass(frozen=True)
class Epoch:
    """A line of training. Losses in nats per image, accuracies 0 to 1; `loss` and `acc` are running means over the

    epoch's augmented batches, `valid_loss` and `valid_acc` are measured after it; `seconds` are of its steps.
    Both of the latter are NaN where there is no image to validate on. With a loss of one's own both losses are that
    one's. `metrics` are one's own, on the images to validate on; one that is not finite is None.
    """

    epoch: int
    loss: float
    acc: float
    valid_loss: float = math.nan
    valid_acc: float = math.nan
    seconds: float = 0.0
    metrics: dict[str, float | None] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON data; without `metrics` where there are none, and without what was not validated."""
        left_out = {"metrics"} - {"metrics" if self.metrics else ""}
        left_out |= set() if self.validated else {"valid_loss", "valid_acc"}
        return {name: value for name, value in asdict(self).items() if name not in left_out}

    @property
    def validated(self) -> bool:
        """Whether there were images to validate on."""
        return not math.isnan(self.valid_acc)


@dataclass
class Run:
    """A training as it stands after `step` steps: weights, optimizer, and the sums of the epoch under way.

    That epoch is the one after those in `history`, also where all its steps are done: it ends with its validation.
    `folder` holds model.safetensors (the best epoch, see `best`), checkpoint/ (this state),
    metrics.jsonl and recipe.json; each file is whole or absent. `average` has the running mean of the weights, or the
    slow ones, where the recipe asks for them; of several processes only one `writes`; `peaks` are the rates of the
    optimizer's groups before the schedule, `frozen` the paths of layers that stay as they are; where it has `ended`,
    the epoch under way is the last. Once it is done, `model` and `report` are there, the report measured on `split`
    ("test", where there is none "valid", or "cross-validation"), and its `verdict` in words; of a transfer the `doubts`
    of its labels and the `strengths` that its head was cross-validated at; and the
    Forecast `expected`, the seconds that the training `took` and the bytes of memory `held` at most; of a transfer what
    each of its parts has `spent`.

    >>> import tempfile
    >>> from striate.runs.training import train
    >>> run = train("digits", "lenet5", epochs=1, out=tempfile.mkdtemp() + "/run")
    >>> run.done, [row.epoch for row in run.history]
    (True, [1])
    """

    folder: Path
    task: Task
    network: Network
    optimizer: torch.optim.Optimizer
    step: int = 0
    loss_sum: float = 0.0
    right: int = 0
    seen: int = 0
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list)
    save_every: float = SAVE_EVERY
    saving: float = 0.0
    average: Network | None = None
    class_weights: Tensor | None = None
    writes: bool = True
    peaks: tuple[float | None, ...] = ()
    frozen: tuple[str, ...] = ()
    ended: bool = False
    model: Any = None
    report: Any = None
    split: str = ""
    verdict: Any = None
    doubts: Any = None
    strengths: list[dict[str, float]] = field(default_factory=list)
    expected: Any = None
    spent: dict[str, Spent] = field(default_factory=dict)
    took: float = 0.0
    held: int = 0

    @property
    def tested(self) -> bool:
        """Whether the report was measured on a test split."""
        return self.split == "test"

    @classmethod
    def start(
        cls, folder: Path, task: Task, device: torch.device | str = "cpu", tensors: dict[str, Any] | None = None
    ) -> Run:
        """A run at its beginning, with fresh weights or with `tensors`; nothing is written yet."""
        recipe = task.recipe
        network = build_network(task.net, seed=recipe.seed).to(device)
        if tensors is not None:
            load_tensors(network, tensors)
        if recipe.whiten:
            network.get_parameter(f"{find_first_convolution(task.net)}.weight").requires_grad_(False)
        for module in network.modules():
            if recipe.bn_momentum is not None and isinstance(module, BatchNormModule):
                module.momentum = recipe.bn_momentum
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        frozen = list_frozen(task.net, recipe)
        for name, weight in network.named_parameters():
            weight.requires_grad_(weight.requires_grad and name not in frozen)
        make = task.callables.optimizer
        optimizer = make_optimizer(network, recipe) if make is None else make_own_optimizer(make, network)
        run = cls(Path(folder), task, network, optimizer)
        run.frozen = tuple(dict.fromkeys(map(layer_of, frozen)))
        run.peaks = tuple(group.get("lr") for group in optimizer.param_groups)
        if recipe.ema or recipe.lookahead:
            run.average = copy.deepcopy(network).requires_grad_(False)
        return run

    @property
    def scored(self) -> Network:
        """The network whose accuracy counts: the average where there is one."""
        return self.average or self.network

    @torch.no_grad()
    def follow_average(self, steps: int) -> None:
        """After one of `steps` steps: the mean goes on by a step, or the slow weights catch up where it is time.

        A mean is decay·average + (1 − decay)·weights, the decay at first smaller, min(decay, (1 + t)/(10 + t)), so
        that the random beginning is soon forgotten (TensorFlow's ExponentialMovingAverage with num_updates).
        Slow weights go 1 − 0.95^k·(t/steps)³ of the way to the fast ones, k steps on, which then start from there.
        """
        if self.average is None:
            return
        slow, fast = list(self.average.state_dict().values()), list(self.network.state_dict().values())
        every = self.recipe.lookahead
        if not every:
            decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(slow, fast, 1 - decay)
        elif self.step % every == 0 or self.step == steps:
            torch._foreach_lerp_(slow, fast, 1 - 0.95**every * (self.step / steps) ** 3)
            torch._foreach_copy_(fast, slow)

    @property
    def recipe(self) -> Recipe:
        return self.task.recipe

    @property
    def best(self) -> Epoch | None:
        """The epoch that is the model so far: by validation accuracy, then loss, or the last one (Recipe.selection)."""
        if self.recipe.selection == "last":
            return self.history[-1] if self.history else None
        return max(self.history, key=lambda row: (row.valid_acc, -row.valid_loss, -row.epoch), default=None)

    @property
    def done(self) -> bool:
        return len(self.history) >= self.epochs or (self.ended and not self.seen)

    @property
    def epochs(self) -> int:
        """How many epochs it has in all, as it stands: the recipe's, or fewer where it ends early."""
        return count_epochs(self.early_end, self.recipe.epochs, self.recipe.cooldown)

    @property
    def early_end(self) -> EarlyEnd | None:
        """What was decided of its end before the last epoch; None: nothing so far."""
        return decide_end([row.as_dict() for row in self.history], self.recipe.patience, self.recipe.memorised)

    def set_training(self) -> None:
        """The network in training, but for frozen layers that keep statistics: these neither use nor move a batch's."""
        self.network.train()
        for path in self.frozen:
            layer = self.network.at(path)
            if any(True for _ in layer.buffers(recurse=False)):
                layer.eval()

    @property
    def batches(self) -> int:
        """Steps done of the epoch under way: `seen` counts its images, and only an epoch's last batch is smaller."""
        return -(-self.seen // self.recipe.batch)

    @property
    def pause(self) -> float:
        """Seconds between checkpoints within an epoch: `save_every`, but from a second on at least 50 times as long

        as the last one took, so that they slow training by no more than 2 %.
        """
        return self.save_every if self.save_every < 1 else max(self.save_every, 50 * self.saving)

    def count_step(self, loss: float, right: int, images: int) -> None:
        """Enter a step that moved the weights: the mean loss of its images, and how many were right."""
        self.step += 1
        self.loss_sum += loss * images
        self.right += right
        self.seen += images

    def finish_epoch(self, row: Epoch, tell: Callable[[Run, Epoch], None] | None = None) -> None:
        """Enter the epoch's row, keep the weights where they are the model so far, `tell` of it, and save.

        The checkpoint comes last: until it is there, a resumed run validates again and writes the same files.
        """
        self.history.append(row)
        self.loss_sum, self.right, self.seen, self.seconds = 0.0, 0, 0, 0.0
        if self.best is row and self.writes:
            known = row.as_dict()
            metrics: dict[str, Any] = {name: known[name] for name in MEASURED if name in known}
            save_model(RunFiles(self.folder).model, self.task.header(metrics), copy_tensors(self.scored))
        if self.writes:
            atomic_file.write_file(
                RunFiles(self.folder).metrics, "".join(json.dumps(r.as_dict()) + "\n" for r in self.history)
            )
        if tell is not None:
            tell(self, row)
        self.save()

    def save(self) -> None:
        """Write the checkpoint: tensors of network, average and optimizer, all else as JSON in its header."""
        if not self.writes:
            return
        began = time.perf_counter()
        atomic_file.write_file(RunFiles(self.folder).checkpoint, self.packed())
        self.saving = time.perf_counter() - began

    def packed(self) -> bytes:
        """The checkpoint: all that `put` needs."""
        own = self.task.callables
        tensors = {f"network/{name}": tensor for name, tensor in self.network.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self.average.state_dict().items()}
        tensors |= {f"optimizer/{name}": state for name, state in pack_states(self.optimizer).items()}
        if self.class_weights is not None:  # for `trace --weight`, which has no data to count
            tensors["loss/class_weights"] = self.class_weights
        head = {
            "step": self.step,
            "half": self.recipe.half(str(next(self.network.parameters()).device)),
            "loss_sum": self.loss_sum,
            "right": self.right,
            "seen": self.seen,
            "seconds": self.seconds,
            "history": [row.as_dict() for row in self.history],
            **identify_task(self.task),
        }
        if self.ended:
            head["ended"] = True
        if own.optimizer is not None:
            head["optimizer"] = pack_numbers(self.optimizer)
        if own.callbacks:
            head["callbacks"] = pack_callbacks(own.callbacks)
        return safetensors.torch.save(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            metadata={"striate": json.dumps(head)},
        )

    @classmethod
    def resume(cls, folder: Path, task: Task, device: torch.device | str = "cpu") -> Run:
        """The run that `folder`'s checkpoint holds. Raises RunError where it is not a run of this `task`."""
        path = RunFiles(folder).checkpoint
        head, tensors = read_checkpoint(path)
        check_same_task(path, identify_task(task), head)
        need_head(head, path)
        remove_parts(folder)
        run = cls.start(folder, task, device)
        run.put(head, tensors)
        return run

    def put(self, head: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """Stand where a checkpoint of the same task stands."""
        with torch.no_grad():
            for part, network in (("network", self.network), ("average", self.average)):
                for name, tensor in network.state_dict().items() if network is not None else ():
                    tensor.copy_(tensors[f"{part}/{name}"])
        restore_optimizer(self.optimizer, select_part(tensors, "optimizer"), head.get("optimizer"))
        if "callbacks" in head and self.writes:
            restore_callbacks(self.task.callables.callbacks, head["callbacks"])
        self.ended = head.get("ended", False)
        self.step, self.loss_sum, self.right = head["step"], head["loss_sum"], head["right"]
        self.seen, self.seconds = head["seen"], head["seconds"]
        self.history = [Epoch(**row) for row in head["history"]]
