"""What a training is about to do, settled before anything is written; how it is told, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import msgspec

from .. import __version__
from ..language import say, to_say
from ..run_files import RunFiles
from ..terminal import format_count
from .request import Fold, Request
from .resuming import suggest_further

if TYPE_CHECKING:
    import numpy as np

    from ..data.check.label_errors import Doubts
    from ..data.images import Dataset
    from ..fitting.checkpoint import Task
    from ..fitting.run import Run
    from ..transfer.result import OutOfFold


# Where the images lie: the levels of `Dataset.level`.
LEVEL_NAMES = {"resident": to_say("resident"), "mapped": to_say("mapped"), "streamed": to_say("streamed")}


@dataclass(frozen=True)
class Plan:
    """A training from scratch or by transfer before its first step.

    folder   where it goes: the request's, until it is claimed
    net      what names the net in recipe.json: a zoo name, a text, or None for the usual backbone
    recipe   what recipe.json keeps of the recipe
    start    the tensors that it begins with; None: fresh ones. Of a transfer the backbone's
    reasons  what was chosen for the user and why, a sentence each
    steps    what will be done, a sentence each
    doubts   what is said of the labels, where the training comes with it
    unseen   what cross-validation said of the images, where the model then learnt from them all
    answers  the finished model's probabilities of the images to measure it on, where the training comes with them
    """

    request: Request
    data: Dataset
    task: Task
    folder: Path
    net: str | None
    recipe: dict[str, Any]
    start: dict[str, Any] | None = None
    reasons: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    doubts: Doubts | None = None
    unseen: OutOfFold | None = None
    answers: np.ndarray | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """recipe.json: what a resumed run goes on with."""
        options, pre, fold = self.request.options, self.task.preprocess, self.request.fold
        return {
            "data": self.request.name,
            "preset": options.preset,
            "minutes": options.minutes,
            "net": self.net,
            "size": list(pre.size),
            "fit": pre.fit,
            "weights": None if options.weights is None else str(options.weights),
            "reading": self.task.reading,
            "recipe": self.recipe,
            "asked": self.request.arguments,
            "version": __version__,
            **({} if options.teacher is None else {"teacher": str(options.teacher)}),
            **({} if options.log is None else {"log": options.log}),
            **({} if fold is None else {"fold": list(fold.told)}),
        } | ({"own": own} if (own := self.task.callables.names) else {})

    @property
    def command(self) -> str:
        """What goes on with it once it was stopped; functions and data of Python's own are handed over there alone."""
        own, named = self.task.callables.names, isinstance(self.request.data, str | Path)
        if own or not named:
            data = f'"{self.request.name}"' if named else "data"
            given = "".join(f", {kind}=…" for kind in own)
            return f'striate.train({data}{given}, out="{self.folder}", resume=True)'
        return f"striate train {self.request.name} --out {self.folder} --resume"


def keep_whole_recipe(task: Task) -> dict[str, Any]:
    return msgspec.to_builtins(task.recipe)


def format_plan(plan: Plan, run: Run) -> list[str]:
    """What the training is about to do, for the user to read."""
    data, views, world = plan.data, plan.task.recipe.views, plan.request.ranks.world
    fold, left = plan.request.fold, 0
    if fold is not None and fold.number:
        left = fold.count - fold.number + 1
    (c, h, w), skipped = data.shape, data.skipped
    sizes = say("{train:,} to train, {valid:,} to validate", train=len(data.train), valid=len(data.valid))
    if data.test is not None:
        sizes = say("{sizes}, {test:,} to test", sizes=sizes, test=len(data.test))
    level = say(LEVEL_NAMES[data.level])
    lines = [
        *([say("read as: {form}", form=data.read_as)] if data.read_as else []),
        *([describe_fold(fold)] if fold else []),
        f"{data.name}: {sizes}; {format_count(len(data.classes), 'class')}, {c}×{h}×{w}, {level}",
        *data.notes,
        *plan.request.reasons,
        *plan.reasons,
        *(
            [
                say(
                    "{files} skipped, the first: {file}: {why}",
                    files=format_count(len(skipped), "file"),
                    file=skipped[0].file,
                    why=skipped[0].why,
                )
            ]
            if skipped
            else []
        ),
        *plan.steps,
        *(
            [say("test-time augmentation: {views}, averaged by the finished model", views=views)]
            if views != "plain"
            else []
        ),
        *(
            [say("{world} processes train together, each on its share of every batch", world=world)]
            if world > 1
            else []
        ),
        *([str(run.expected)] if run.expected else []),
        *([run.expected.repeated(fold.count, left)] if fold and run.expected and left > 1 else []),
        *([say("logged for {tracker}", tracker=describe_log(plan))] if plan.request.options.log else []),
        say("into {folder}, resuming after step {step}", folder=plan.folder, step=run.step)
        if run.step
        else say("into {folder}", folder=plan.folder),
        *([suggest_further(plan.folder)] if RunFiles(plan.folder).report.exists() else []),
    ]
    return lines


def describe_fold(fold: Fold) -> str:
    """Which training of a cross-validation it is."""
    if not fold.number:
        return say("the images of all {count} folds, which have measured what is kept", count=fold.count)
    return say(
        "fold {number} of {count}: the test split of one of {count} trainings", number=fold.number, count=fold.count
    )


def describe_log(plan: Plan) -> str:
    """The tracker's name, and how to look at what it has."""
    return {
        "tensorboard": f"TensorBoard: tensorboard --logdir {quote(str(RunFiles(plan.folder).tensorboard))}",
        "mlflow": "MLflow: mlflow ui",
        "wandb": say("Weights & Biases: wandb sync, where it is offline"),
    }[str(plan.request.options.log)]
