"""A training by transfer: a published net, its features, a new head; how it is planned, and how it is carried out."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__, atomic_file
from ..data.reading import list_unusual
from ..engines.model_file import ModelHeader, Preprocess, save_model
from ..errors import RecipeError
from ..fitting.recipe import read_recipe
from ..language import say
from ..model.out_of_fold import save_out_of_fold
from ..run_files import RunFiles
from .plan import Plan
from .presets import HONOURED_SETTINGS, list_foreign_settings
from .request import Request, check_image_size
from .starting import load_backbone
from .together import load_everywhere

if TYPE_CHECKING:
    from ..data.images import Dataset
    from ..fitting.run import Run
    from ..model.model import Model
    from ..transfer.extraction import TransferJob
    from ..transfer.result import TransferResult
    from .asking_fit import AskedFit

# Seconds of `--minutes` kept for starting Python with torch and for writing the report: some three, and two.
READY_SECONDS = 5.0
# A test split of fewer images is not drawn for a head: cross-validation over all images tells more than so few.
LEAST_TEST = 100


def plan_transfer(request: Request) -> Plan:
    """Everything that can be wrong is found here, before anything is written.

    Raises RecipeError for a setting of the recipe that has no meaning here: all but HONOURED_SETTINGS.
    """
    from ..fitting.checkpoint import Task
    from ..model.known import describe_known
    from .resuming import check_same_images

    if own := request.callables.names:
        kind, rule = next(iter(own)), say("transfer fits a head to kept features, by no steps of a recipe")
        hint = say("preset='best', with weights='…' to begin with published ones")
        raise RecipeError(kind, say("a function of your own has no meaning here"), rule=rule, hint=hint)
    if others := list_foreign_settings(request.settings):
        takes = " and ".join(HONOURED_SETTINGS)
        rule = say("transfer trains a head on a published net; of a recipe it takes {takes} alone", takes=takes)
        raise RecipeError(
            f"recipe.{others[0]}", say("this setting has no meaning here"), rule=rule, hint="--preset best"
        )
    if request.options.teacher is not None:
        what = say("a transfer learns a head of its own, and from no teacher")
        raise RecipeError("teacher", what, hint=say("--net striate_s, or --preset best"))
    if request.alpha:
        hint = say("leave out --alpha channel, or train from scratch: --preset balanced")
        raise RecipeError("alpha", say("published networks take RGB, without a channel of transparency"), hint=hint)
    options, recipe = request.options, read_recipe(**request.settings)
    model = load_backbone(options.net, options.weights)
    size = check_image_size(options.size) or model.preprocess.size
    given = {
        "size": tuple(size),
        "channels": model.net.input[0],
        "seed": recipe.seed,
        "depth": model.preprocess.depth,
        "least_test": LEAST_TEST if options.minutes is None else 0,
    }
    data, pre, asked = load_fitted(request, given, model, recipe.views)
    if options.resume:
        check_same_images(request.folder, data)
    known, reading = describe_known(data, options.weights), list_unusual(request.reading)
    return Plan(
        request=request,
        data=data,
        task=Task(
            model.net,
            recipe,
            data.classes,
            pre,
            data.fingerprint,
            __version__,
            known,
            reading,
            fold=request.fold.left_out if request.fold else None,
        ),
        folder=request.folder,
        net=options.net if isinstance(options.net, str | None) else repr(options.net),
        recipe={name: getattr(recipe, name) for name in HONOURED_SETTINGS},
        start=model.tensors,
        steps=(*describe_transfer(model, options.minutes), *([] if asked is None else [str(asked)])),
    )


def load_fitted(
    request: Request, given: dict[str, Any], model: Model, views: str
) -> tuple[Dataset, Preprocess, AskedFit | None]:
    """The images, with the fit that was given or else that they ask for, and what was asked."""
    from .asking_fit import USUAL_FIT, ask_fit

    wished, mean, std = request.options.fit, model.preprocess.mean, model.preprocess.std
    data = load_everywhere(request, given | {"fit": wished or USUAL_FIT})
    pre = Preprocess(data.shape[1:], wished or USUAL_FIT, mean, std, views, data.depth)
    if wished is not None:
        return data, pre, None
    with request.stopwatch.time_part("asking"):
        asked = ask_fit(request.data, data, request.reading, model, pre)
    if asked is None or asked.fit == pre.fit:
        return data, pre, asked
    del data  # two of them may be more than memory holds
    data = load_everywhere(request, given | {"fit": asked.fit})
    return data, Preprocess(data.shape[1:], asked.fit, mean, std, views, data.depth), asked


def describe_transfer(model: Model, minutes: float | None) -> tuple[str, ...]:
    """The backbone and the time that there is."""
    time = (
        say("a new head only; --minutes gives time to fine-tune")
        if minutes is None
        else say("{minutes:g} minutes", minutes=minutes)
    )
    return (
        say(
            "preset transfer: {net} with the weights of {path}, {time}", net=model.net.name, path=model.path, time=time
        ),
    )


def begin_transfer(plan: Plan) -> Run:
    """The run, which keeps no torch network: its head and its fine-tuning save themselves.

    With a forecast where it is a head alone; with minutes, those say how long it takes.
    """
    from ..fitting.run import Run
    from ..transfer.expectation import forecast_transfer

    run = Run(plan.folder, plan.task, None, None)  # type: ignore[arg-type]
    options = plan.request.options
    if options.minutes is None and not options.resume and plan.request.ranks.world == 1:
        run.expected = forecast_transfer(describe_job(plan, None))
    return run


def describe_job(plan: Plan, stop: threading.Event | None) -> TransferJob:
    """The transfer's givens."""
    from ..transfer.extraction import TransferJob

    request, task = plan.request, plan.task
    return TransferJob(
        task.net.resized(plan.data.shape), plan.start or {}, task.preprocess, plan.data, task.recipe.seed, plan.folder,
        request.watch, (lambda: False) if stop is None else stop.is_set, request.ranks, request.stopwatch,
    )  # fmt: skip


def follow_transfer(plan: Plan, run: Run, stop: threading.Event) -> Plan:
    """Fit the head, and fine-tune where there is time. Raises StopRequested, once all is saved, where `stop` is set."""
    from ..transfer.transfer import transfer_net

    request, task, settings = plan.request, plan.task, plan.settings
    options, ranks = request.options, request.ranks
    ranks.tell(
        do="transfer", net=settings["net"], weights=settings["weights"], fit=settings["fit"],
        seed=task.recipe.seed, folder=str(plan.folder),
    )  # fmt: skip
    made = transfer_net(
        task.net,
        plan.start or {},
        task.preprocess,
        plan.data,
        seed=task.recipe.seed,
        seconds=None if options.minutes is None else max(0.0, count_seconds_left(request)),
        folder=plan.folder,
        resume=options.resume,
        watch=request.watch,
        stop=stop.is_set,
        ranks=ranks,
        stopwatch=request.stopwatch,
        strength=request.fold.strength if request.fold else None,
    )
    ranks.tell(do="end")
    ranks.done()
    request.watch.plan(list(made.notes if len(made.history) == 1 else made.notes[-1:]))
    write_transferred(plan, made)
    answers = answer_measured(plan, made, stop)
    run.history, run.task = list(made.history), replace(task, net=made.net)
    run.strengths = [item._asdict() for item in made.tried]
    return replace(plan, task=run.task, reasons=made.notes, doubts=made.doubts, unseen=made.unseen, answers=answers)


def answer_measured(plan: Plan, made: TransferResult, stop: threading.Event) -> np.ndarray | None:
    """What the new head says of the images to measure it on, by features that are computed once and kept.

    None where they are to be asked otherwise: of a net that was fine-tuned no features are kept, with several views the
    model looks at more than the image as it is, and cross-validation has measured already.
    """
    from ..transfer.features import answer_by_features

    if made.best.epoch or plan.task.recipe.views != "plain" or (made.unseen is not None and plan.data.test is None):
        return None
    job = describe_job(plan, stop)
    with job.stopwatch.time_part("features"):
        return answer_by_features(
            made.net, made.tensors, job.preprocess, plan.data.measured,
            threads=job.ranks.threads, progress=job.progress(say("images seen by {name}", name=job.backbone.name)),
        )  # fmt: skip


def count_seconds_left(request: Request) -> float:
    """Of the minutes that were given, what is left but for the report."""
    return (request.options.minutes or 0) * 60 - READY_SECONDS - (time.perf_counter() - request.began)


def write_transferred(plan: Plan, made: TransferResult) -> None:
    """The model file of the best row, the rows, and the strengths of the head that were tried."""
    files, best, task = RunFiles(plan.folder), made.best, plan.task
    header = ModelHeader(
        net=made.net,
        classes=task.classes,
        preprocess=task.preprocess,
        recipe=made.settings | ({"least_test": LEAST_TEST} if made.unseen is not None else {}),
        metrics={"epoch": best.epoch, "valid_acc": best.valid_acc, "valid_loss": best.valid_loss},
        fingerprint=task.fingerprint,
        reading=task.reading,
        known=task.known,
        fold=task.fold,
        version=__version__,
    )
    save_model(files.model, header, made.tensors)
    if made.unseen is not None:
        train, valid, rows = plan.data.train, plan.data.valid, made.unseen.rows
        digests = [*train.digests, *valid.digests]
        y = np.concatenate([train.y, valid.y])[rows]
        save_out_of_fold(files.out_of_fold, made.unseen.probabilities, y, [digests[row] for row in rows])
    atomic_file.write_file(files.metrics, "".join(json.dumps(row.__dict__) + "\n" for row in made.history))
    atomic_file.write_file(files.strengths, "".join(json.dumps(item._asdict()) + "\n" for item in made.tried))
