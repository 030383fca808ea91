"""The way from a data set to a run: asked, planned, carried out, measured; from scratch or by transfer."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import atomic_file
from ..data.reading import Reading
from ..fitting.callables import format_metrics, make_callables
from ..fitting.recipe import Recipe
from ..run_files import RunFiles
from ..setting import describe_settings, sign_with
from ..terminal import format_count, make_printable
from ..threads import list_stop_signals
from .folders import claim_folder
from .options import Options
from .plan import Plan, format_plan
from .request import Request, make_request, split_given
from .resuming import keep_beginning
from .scratch import begin_scratch, follow_scratch, plan_scratch
from .together import follow_orders
from .transfer import begin_transfer, follow_transfer, plan_transfer

if TYPE_CHECKING:
    from ..data.images import Dataset
    from ..fitting.run import Run
    from ..fitting.watch import Watch
    from ..metrics.classification import Report


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


@sign_with(Options, Reading, Recipe)
def train(
    data: Any,
    net: Any = None,
    *,
    loss: Callable[..., Any] | None = None,
    metrics: Mapping[str, Callable[..., Any]] | None = None,
    callbacks: Sequence[Any] | None = None,
    watch: Watch | None = None,
    **given: Any,
) -> Run:
    from ..fitting.launch import launch_ranks
    from ..fitting.ranks import keep_pages
    from ..fitting.watch import TerminalWatch, Watch

    functions = {name: given.pop(name) for name in ("augment", "optimizer") if callable(given.get(name))}
    callables = make_callables(loss, metrics=metrics, callbacks=callbacks, **functions)
    options, reading, settings = split_given({"net": net, **given})
    keep_pages()
    ranks = launch_ranks(options.devices, options.nodes)
    watch = (watch or TerminalWatch()) if ranks.first else Watch()
    try:
        with ranks.one_end():
            if not ranks.first:
                return follow_orders(data, options.memory, ranks, callables)
            request = make_request(data, options, reading, settings, ranks, watch, callables)
            strategy = TRANSFER if request.transfers else SCRATCH
            plan = strategy.plan(request)
            named = request.folder if options.resume or options.out is not None else None
            with claim_folder(request.name, named, options.resume) as folder:
                return carry_out(replace(plan, folder=folder), strategy)
    finally:
        watch.close()


train.__doc__ = f"""Train a classifier on a data set, from the files to the report; the run's folder holds all of it.

data   a folder of class folders, "digits", "mnist", "fashion-mnist", "cifar10", a table or .npz file, arrays `(x, y)`,
       {{file: label}}, [(file, label), …], (files, labels), a DataFrame, or a Dataset
net    a Net, a zoo name, a file, or the text `Net(…)`; None or "auto" lets striate choose
watch  told of the progress; None shows it on stderr

Functions of your own, on batches of tensors (`striate.fitting.callables.Callables` says what each is handed):

loss       loss(logits, targets), the mean or one number for each image, instead of cross-entropy
augment    augment(x, generator) -> x, images N×C×H×W in 0 to 1, instead of the recipe's augmentations
optimizer  optimizer([(name, parameter), …]) -> a torch.optim.Optimizer, whose rates the schedule scales
metrics    {{name: metric(probabilities, labels)}}, shown after each epoch on the validation images, and in the report
callbacks  a list of `striate.Callback`

Options, each with its default in brackets:

{describe_settings(Options)}

How the data set is read:

{describe_settings(Reading)}

The recipe's settings (`striate.Recipe`) are taken by name too. A resumed run goes on as it began: another value for
what settles what the run is, is refused.

Raises StriateError for bad input, TrainingInterrupted on Ctrl-C, SIGTERM or SIGHUP once the state is saved.

>>> import tempfile
>>> run = train("digits", "lenet5", epochs=1, out=tempfile.mkdtemp() + "/run")
>>> sorted(path.name for path in run.folder.iterdir())[:3]
['checkpoint', 'metrics.jsonl', 'model.safetensors']
"""


def carry_out(plan: Plan, strategy: Strategy) -> Run:
    """The plan's run, trained from its beginning or from where it was saved, and measured. Raises TrainingInterrupted.

    A kill may have come before the first checkpoint: then what the run began with is written once more.
    """
    options, going_on = plan.request.options, RunFiles(plan.folder).checkpoint.is_file()
    run = strategy.begin(plan)
    plan.request.watch.plan(format_plan(plan, run))
    if not (options.resume and going_on):
        keep_beginning(plan)
    began = time.perf_counter()
    with catch_stop(plan.command) as stop:
        plan = strategy.follow(plan, run, stop)
    run.took = time.perf_counter() - began
    return report_run(run, plan)


@contextmanager
def catch_stop(command: str) -> Iterator[threading.Event]:
    """An event that Ctrl-C, SIGTERM and a closed terminal set instead of breaking off; a second one breaks off.

    Where the training then ends with StopRequested, that becomes TrainingInterrupted, which tells the `command` to go
    on by.
    """
    from ..fitting.loop import StopRequested

    stop, before = threading.Event(), {}

    def ask(number, frame) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, ask) for number in list_stop_signals()}
    try:
        yield stop
    except StopRequested:
        raise TrainingInterrupted(f"stopped and saved; to resume:\n  {command}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def report_run(run: Run, plan: Plan) -> Run:
    """The run with its model, which is measured, and its report on disk."""
    from ..model.opening import load

    run.model, run.tested, run.doubts = load(run.folder), plan.data.test is not None, plan.doubts
    run.report = write_report(run, plan)
    return run


def write_report(run: Run, plan: Plan) -> Report:
    """Measure the best epoch on the test split, or where there is none on validation, and write report.html."""
    from ..report.run_page import render_report
    from .report_content import gather_report

    files, doubts = RunFiles(run.folder), plan.doubts
    given = gather_report(run.model, plan.data, run.folder.name, [row.as_dict() for row in run.history], doubts)
    if metrics := run.task.callables.metrics:
        given = replace(given, report=add_own_metrics(given.report, metrics, run.model, plan.data))
    atomic_file.write_file(files.report_page, render_report(given))
    measured = given.report.as_dict() | {
        "split": given.report_split,
        "labels_judged": None if doubts is None else doubts.judged,
        "label_errors": None if doubts is None else doubts.listed(),
    }
    atomic_file.write_file(files.report, json.dumps(measured) + "\n")
    return given.report


def add_own_metrics(report: Report, metrics: Mapping[str, Callable[..., Any]], model: Any, data: Dataset) -> Report:
    """The report with the user's metrics on the same images."""
    from ..fitting.own_functions import measure_metrics

    images = data.valid if data.test is None else data.test
    return replace(report, metrics=measure_metrics(metrics, model.probabilities(images.x), images.y))


def format_outcome(run: Run) -> str:
    """What came of a run, in a few lines for the terminal."""
    from ..metrics.tables import format_few

    r, best, files = run.report, run.best.epoch if run.best else 0, RunFiles(run.folder)
    low, high = r.accuracy_interval
    measured = f"{'test' if run.tested else 'validation'} accuracy {r.accuracy:.2%} ({low:.2%} to {high:.2%}"
    return "\n".join(
        [
            f"{measured}, {format_count(r.images, 'image')})" + (f", best epoch {best}" if best else ""),
            *([f"metrics {format_metrics(r.metrics)}"] if r.metrics else []),
            *([f"not measured, no images: {format_few(r.unmeasured)}"] if r.unmeasured else []),
            *([run.expected.beside(run.took, run.held)] if run.expected else []),
            *([f"labels  {len(run.doubts.errors):,} of {run.doubts.judged:,} are likely wrong: see the report"]
              if run.doubts is not None and run.doubts.errors else []),
            f"model   {make_printable(str(files.model))}",
            f"report  {make_printable(str(files.report_page))}",
        ]
    )  # fmt: skip
