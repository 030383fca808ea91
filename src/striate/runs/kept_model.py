"""The model that a cross-validation keeps, measured by its folds: a net trained once more, or the mean of theirs."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from .. import __version__
from ..data.check.label_errors import find_doubts
from ..data.reading import take_group_names
from ..data.sources.folds import ALL_FOLDS
from ..engines.averaging import NetParts, average_nets
from ..engines.model_file import ModelHeader, read_head, read_model, save_model
from ..language import join_texts, say
from ..model.out_of_fold import save_out_of_fold
from ..run_files import RunFiles
from .fold_answers import pool_answers
from .folders import read_settings
from .request import Fold, Request, restore_request
from .strategy import Strategy, carry_out, choose_strategy

if TYPE_CHECKING:
    from ..data.images import Dataset
    from ..fitting.run import Run
    from ..transfer.result import OutOfFold
    from .cross_validation import Asked
    from .plan import Plan

# What a training without images to validate on does of its recipe: the folds have chosen its last epoch.
WITHOUT_VALIDATION = {"selection": "last", "patience": 0, "memorised": 0.0, "cooldown": 0}


class FoldChoice(NamedTuple):
    """The fold that the refit follows, and what that chose: epochs, or of a transfer the head's L2 strength."""

    number: int
    chosen: float
    transfers: bool
    told: str


def refit_folds(asked: Asked) -> Run:
    """Train on the images of all folds, into the cross-validation's own folder; from where it was saved.

    Its report says what the folds' models said of the images that they had not seen, and `evaluate` on these images
    too. Raises TrainingInterrupted, RunError.
    """
    request = request_whole(asked, "refit")
    strategy = choose_strategy(request)
    plan = replace(strategy.plan(request), folder=asked.folder)
    unseen = pool_answers(asked.folder, asked.count, plan.data)

    def follow(plan: Plan, run: Run, stop: threading.Event) -> Plan:
        done = strategy.follow(plan, run, stop)
        return measure_by_folds(done, unseen)

    return carry_out(plan, strategy._replace(follow=follow))


def measure_by_folds(plan: Plan, unseen: OutOfFold) -> Plan:
    """The plan whose report is about what the folds' models said, which is kept beside the model."""
    data, rows = plan.data, unseen.rows
    files, y = [*data.train.files, *data.valid.files], np.concatenate([data.train.y, data.valid.y])
    digests = list_learnt_digests(data)
    save_out_of_fold(RunFiles(plan.folder).out_of_fold, unseen.probabilities, y[rows], [digests[row] for row in rows])
    doubts = find_doubts(unseen.probabilities, y[rows], [files[row] for row in rows], data.classes).moved(rows)
    return replace(plan, unseen=unseen, answers=None, doubts=doubts)


def list_learnt_digests(data: Dataset) -> list[bytes]:
    return [*data.train.digests, *data.valid.digests]


def request_whole(asked: Asked, keep: str) -> Request:
    """What the fold that it follows was asked, for all images, into the cross-validation's own folder."""
    choice = choose_fold(asked.folder, asked.count)
    resume = RunFiles(asked.folder).settings.exists()
    own = msgspec.structs.replace(asked.options, out=asked.folder, folds=None, keep=None, resume=resume)
    options, kept, settings, source = restore_request(RunFiles(asked.folder).fold(choice.number).folder, own, {})
    strength = choice.chosen if choice.transfers else None
    if not choice.transfers:
        settings = settings | WITHOUT_VALIDATION | {"epochs": int(choice.chosen)}
    first: dict[str, Any] = read_settings(RunFiles(asked.folder).fold(1).folder).get("asked", {})
    return Request(
        data=asked.data,
        options=options,
        reading=take_group_names(kept, asked.reading),
        settings=settings,
        arguments=first | {"keep": keep},
        folder=asked.folder,
        ranks=asked.ranks,
        watch=asked.watch,
        source=source,
        reasons=(choice.told,) if keep == "refit" else (),
        callables=asked.callables,
        fold=Fold(ALL_FOLDS, asked.count, asked.held, strength),
    )


def choose_fold(folder: Path, count: int) -> FoldChoice:
    """The fold whose choice is the middle one of all, the lower of two."""
    heads = [read_head(RunFiles(folder).fold(number).model) for number in range(1, count + 1)]
    transfers = "strength" in read_recipe_of(heads[0])
    chosen = [read_recipe_of(head)["strength"] if transfers else read_epoch_of(head) for head in heads]
    middle = sorted(range(count), key=lambda k: (chosen[k], k))[(count - 1) // 2]
    choices = join_texts(", ", [f"{value:g}" for value in chosen])
    told = say("epochs that the folds chose: {choices}; the refit takes the middle one", choices=choices)
    if transfers:
        told = say("L2 strengths that the folds chose: {choices}; the refit takes the middle one", choices=choices)
    return FoldChoice(middle + 1, chosen[middle], transfers, told)


def read_recipe_of(head: Any) -> dict[str, Any]:
    return {} if head is None else head.recipe


def read_epoch_of(head: Any) -> int:
    return 1 if head is None else int(head.metrics["epoch"])


def keep_ensemble(asked: Asked) -> Run:
    """Write the model that averages the folds' nets into the cross-validation's own folder, with its report.

    That says what each net said of the images that it had not seen: the mean of all of them has seen every one. Raises
    NetError where the folds prepare their images differently.
    """
    request = request_whole(asked, "ensemble")
    request = replace(request, options=msgspec.structs.replace(request.options, log=None))  # it has no epochs
    plan = replace(choose_strategy(request).plan(request), folder=asked.folder)
    told = say("ensemble: one model that averages the probabilities of the {count} folds' nets", count=asked.count)
    plan = replace(plan, reasons=(), steps=(told,))
    unseen = pool_answers(asked.folder, asked.count, plan.data)

    def follow(plan: Plan, run: Run, stop: threading.Event) -> Plan:
        write_average(plan, asked)
        return measure_by_folds(plan, unseen)

    return carry_out(plan, Strategy(choose_strategy(request).plan, begin_unlearnt, follow))


def begin_unlearnt(plan: Plan) -> Run:
    """A run without a network of its own to train."""
    from ..fitting.run import Run

    return Run(plan.folder, plan.task, None, None)  # type: ignore[arg-type]


def write_average(plan: Plan, asked: Asked) -> None:
    found = [read_model(RunFiles(asked.folder).fold(number).model) for number in range(1, asked.count + 1)]
    net, tensors, preprocess = average_nets([NetParts(head.net, own, head.preprocess) for head, own in found])
    followed = found[choose_fold(asked.folder, asked.count).number - 1][0]
    header = ModelHeader(
        net=net,
        classes=followed.classes,
        preprocess=preprocess,
        recipe=followed.recipe | {"ensemble": asked.count},
        fingerprint=plan.data.fingerprint,
        reading=followed.reading,
        known=plan.task.known,
        version=__version__,
    )
    save_model(RunFiles(asked.folder).model, header, tensors)
