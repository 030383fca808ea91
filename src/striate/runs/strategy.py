"""The two ways from a request to a run, from scratch and by transfer: planned, carried out, measured."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import atomic_file
from ..language import say
from ..run_files import RunFiles
from ..threads import handle_stop_signals
from .fold_answers import keep_fold_answers
from .plan import Plan, format_plan
from .request import Request
from .resuming import keep_beginning
from .scratch import begin_scratch, follow_scratch, plan_scratch
from .transfer import begin_transfer, follow_transfer, plan_transfer

if TYPE_CHECKING:
    from ..fitting.run import Run
    from ..metrics.classification import Report
    from .report_content import Measured


class TrainingInterrupted(KeyboardInterrupt):
    """The training was stopped from outside; it is saved, and the message says how to go on."""


class Strategy(NamedTuple):
    """One of the two ways from a request to a run.

    plan    everything that can be wrong is found, and nothing is written
    begin   the run at its beginning, or where it was saved
    follow  the training itself, which writes model and metrics; returns the plan with what was found on the way
    """

    plan: Callable[[Request], Plan]
    begin: Callable[[Plan], Run]
    follow: Callable[[Plan, Run, threading.Event], Plan]


SCRATCH = Strategy(plan_scratch, begin_scratch, follow_scratch)
TRANSFER = Strategy(plan_transfer, begin_transfer, follow_transfer)


def choose_strategy(request: Request) -> Strategy:
    return TRANSFER if request.transfers else SCRATCH


def carry_out(plan: Plan, strategy: Strategy, measured: bool = True) -> Run:
    """The plan's run, trained from its beginning or from where it was saved, and if asked `measured`.

    Raises TrainingInterrupted.

    A kill may have come before the first checkpoint: then what the run began with is written once more.
    """
    options, going_on = plan.request.options, RunFiles(plan.folder).checkpoint.is_file()
    run = strategy.begin(plan)
    plan.request.watch.plan(format_plan(plan, run))
    if not (options.resume and going_on):
        keep_beginning(plan)
    with open_log(plan, run) as plan:
        began = time.perf_counter()
        with catch_stop(plan.command) as stop:
            with plan.request.stopwatch.time_part("head"):
                plan = strategy.follow(plan, run, stop)
        run.took = time.perf_counter() - began
        with plan.request.stopwatch.time_part("report"):
            run = report_run(run, plan) if measured else run
        run.spent = plan.request.stopwatch.spent if plan.request.transfers else {}
        return run


def open_log(plan: Plan, run: Run) -> AbstractContextManager[Plan]:
    """The plan as it is, or with a watch that logs too, where that is asked for."""
    if plan.request.options.log is None:
        return nullcontext(plan)
    from .training_log import log_training

    return log_training(plan, run)


@contextmanager
def catch_stop(command: str) -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and a closed terminal set instead of breaking off; a second one breaks off.

    Where the training then ends with StopRequested, that becomes TrainingInterrupted, which tells the `command` to go
    on by.
    """
    from ..fitting.loop import StopRequested

    stop = threading.Event()

    def ask(number, frame) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    with handle_stop_signals(ask):
        try:
            yield stop
        except StopRequested:
            raise TrainingInterrupted(explain_stop(command)) from None


def explain_stop(command: str) -> str:
    return say("stopped and saved; to resume:\n  {command}", command=command)


def report_run(run: Run, plan: Plan) -> Run:
    """The run with its model, which is measured, and its report on disk."""
    from ..model.opening import load

    run.model, run.doubts = load(run.folder), plan.doubts
    run.report, run.split = write_report(run, plan)
    return run


def write_report(run: Run, plan: Plan) -> tuple[Report, str]:
    """Measure the best epoch on the test split, or where there is none as the plan can, and write report.html.

    Returns the report, and what it was measured on.
    """
    from ..report.run_page import render_report
    from .report_content import gather_report, measure_run

    files, doubts = RunFiles(run.folder), plan.doubts
    epochs = [row.as_dict() for row in run.history]
    measured = measure_run(run.model, plan.data, plan.unseen, plan.answers)
    given = gather_report(run.model, plan.data, run.folder.name, epochs, measured, doubts, plan.unseen, run.strengths)
    if metrics := run.task.callables.metrics:
        given = replace(given, report=add_own_metrics(given.report, metrics, measured))
    atomic_file.write_file(files.report_page, render_report(given))
    if plan.request.fold and plan.request.fold.number:
        keep_fold_answers(files, measured)
    told = given.report.as_dict() | {
        "split": given.report_split,
        "labels_judged": None if doubts is None else doubts.judged,
        "label_errors": None if doubts is None else doubts.listed(),
        "verdict": None if given.verdict is None else given.verdict.as_dict(),
    }
    run.verdict = given.verdict
    atomic_file.write_file(files.report, json.dumps(told) + "\n")
    return given.report, given.report_split


def add_own_metrics(report: Report, metrics: Mapping[str, Callable[..., Any]], measured: Measured) -> Report:
    """The report with the user's metrics on the same images."""
    from ..fitting.own_functions import measure_metrics

    return replace(report, metrics=measure_metrics(metrics, measured.probabilities, measured.y))
