"""The way from a data set to a run: asked, planned, carried out, measured; once or for each fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..data.reading import Reading
from ..data.sources.pairs import collect_source
from ..fitting.callables import format_metrics, take_callables
from ..fitting.recipe import Recipe
from ..fitting.stopwatch import Spent, format_spent
from ..language import say, to_say
from ..metrics.cross_validation import CrossValidation
from ..run_files import RunFiles
from ..setting import describe_settings, sign_with
from ..terminal import format_count, make_printable
from .cross_validation import check_folds, cross_validate, find_fold_count
from .folders import claim_folder
from .head_training import HeadRun, train_head
from .head_ways import HEAD_WAYS
from .options import Options
from .request import make_request, split_given
from .strategy import TrainingInterrupted as TrainingInterrupted
from .strategy import carry_out, choose_strategy
from .together import follow_orders

if TYPE_CHECKING:
    from ..fitting.run import Run
    from ..fitting.watch import Watch


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
) -> Run | Any:
    from ..fitting.launch import launch_ranks
    from ..fitting.ranks import keep_pages
    from ..fitting.watch import TerminalWatch, Watch

    callables = take_callables(given, loss=loss, metrics=metrics, callbacks=callbacks)
    options, reading, settings = split_given({"net": net, **given})
    if reading.outputs != "softmax":
        return train_head(data, options, reading, settings, callables, watch, HEAD_WAYS[reading.outputs])
    keep_pages()
    check_folds(options)
    ranks = launch_ranks(options.devices, options.nodes)
    watch = (watch or TerminalWatch()) if ranks.first else Watch()
    try:
        with ranks.one_end():
            ranks.at("reading the images")
            data = collect_source(data, reading, watch.loading)
            if not ranks.first:
                return follow_orders(data, options.memory, ranks, callables, reading)
            folds = find_fold_count(data, options, ranks)
            if folds is not None:
                return cross_validate(data, options, reading, settings, ranks, watch, callables, folds)
            request = make_request(data, options, reading, settings, ranks, watch, callables)
            strategy = choose_strategy(request)
            with request.stopwatch.time_part("images"):
                plan = strategy.plan(request)
            named = request.folder if options.resume or options.out is not None else None
            with claim_folder(request.name, named, options.resume) as folder:
                return carry_out(replace(plan, folder=folder), strategy)
    finally:
        watch.close()


train.__doc__ = f"""Train a classifier on a data set, from the files to the report; the run's folder holds all of it.

data   a folder of class folders, "digits", "mnist", "fashion-mnist", "cifar10", a table or .npz file, arrays `(x, y)`,
       {{file: label}}, [(file, label), …], (files, labels), a DataFrame, a Dataset; a torch Dataset or DataLoader, a
       Hugging Face data set, a generator of (image, label), or {{"train": …, "valid": …, "test": …}} of such
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
what settles what the run is, is refused. With `folds` the result is no Run but a CrossValidation: its `folds`, each of
which is a run in a folder of its own, their `mean` and `deviation`, and the `accuracy` of all images.

Raises StriateError for bad input, TrainingInterrupted on Ctrl-C, SIGTERM or SIGHUP once the state is saved.

>>> import tempfile
>>> run = train("digits", "lenet5", epochs=1, out=tempfile.mkdtemp() + "/run")
>>> sorted(path.name for path in run.folder.iterdir())[:3]
['checkpoint', 'metrics.jsonl', 'model.safetensors']
"""


MEASURED = {
    "test": to_say("test accuracy {accuracy:.2%} ({low:.2%} to {high:.2%}, {images})"),
    "valid": to_say("validation accuracy {accuracy:.2%} ({low:.2%} to {high:.2%}, {images})"),
    "cross-validation": to_say("cross-validated accuracy {accuracy:.2%} ({low:.2%} to {high:.2%}, {images})"),
}


CHOSEN = {
    "best": to_say("{measured}, best epoch {epoch}"),
    "last": to_say("{measured}, after epoch {epoch}"),
}


def compare_with_forecast(run: Run) -> str:
    """What was expected beside what it took: of a transfer in processor time."""
    if not run.spent:
        return run.expected.of_epochs(len(run.history)).beside(run.took, run.held)
    return run.expected.compare_with(
        sum((took for part, took in run.spent.items() if part not in ("images", "asking")), Spent())
    )


def format_outcome(run: Run | CrossValidation | HeadRun) -> str:
    """What came of a run, in a few lines for the terminal."""
    from ..metrics.strengths import format_strengths
    from ..metrics.tables import format_few
    from ..metrics.verdict import format_verdict

    if isinstance(run, CrossValidation | HeadRun):
        return str(run)
    r, best, files = run.report, run.best.epoch if run.best else 0, RunFiles(run.folder)
    low, high = r.accuracy_interval
    images = format_count(r.images, "image")
    measured = {"accuracy": r.accuracy, "low": low, "high": high, "images": images}
    head = say(MEASURED[run.split], **measured)
    return "\n".join(
        [
            *([] if run.verdict is None else format_verdict(run.verdict)),
            say(CHOSEN[run.recipe.selection], measured=head, epoch=best) if best else head,
            *([say("metrics {metrics}", metrics=format_metrics(r.metrics))] if r.metrics else []),
            *([say("not measured, no images: {classes}", classes=format_few(r.unmeasured))] if r.unmeasured else []),
            *format_strengths(run.strengths, [row.epoch for row in run.history], best),
            *([compare_with_forecast(run)] if run.expected else []),
            *([format_spent(run.spent)] if run.spent else []),
            *(
                [
                    say(
                        "labels  {wrong:,} of {judged:,} are likely wrong: see the report",
                        wrong=len(run.doubts.errors),
                        judged=run.doubts.judged,
                    )
                ]
                if run.doubts is not None and run.doubts.errors
                else []
            ),
            say("model   {file}", file=make_printable(str(files.model))),
            say("report  {file}", file=make_printable(str(files.report_page))),
        ]
    )
