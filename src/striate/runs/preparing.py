"""A run made ready for a loop of one's own: its folder, its network at the beginning, and its images as batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ..data.reading import Reading
from ..data.sources.pairs import collect_source
from ..errors import RecipeError
from ..fitting.callables import take_callables
from ..fitting.recipe import Recipe
from ..language import say
from ..setting import sign_with
from .folders import claim_folder
from .options import Options
from .request import make_request, split_given
from .resuming import keep_beginning
from .scratch import is_going_on, open_run, plan_scratch
from .teaching import make_taught_feeds

if TYPE_CHECKING:
    from ..fitting.batches import Feed
    from ..fitting.run import Run
    from ..fitting.watch import Watch

# What `striate.train` does around the loop, and a loop of one's own does itself.
AROUND = ("devices", "nodes", "log", "folds", "keep")


class PreparedRun(NamedTuple):
    """What `striate.fit` takes: a run, the images that it learns from, and those that choose the best epoch."""

    run: Run
    train: Feed
    valid: Feed


@sign_with(Options, Reading, Recipe, leave_out=AROUND)
def prepare_run(
    data: Any,
    net: Any = None,
    *,
    loss: Callable[..., Any] | None = None,
    metrics: Mapping[str, Callable[..., Any]] | None = None,
    callbacks: Sequence[Any] | None = None,
    watch: Watch | None = None,
    **given: Any,
) -> PreparedRun:
    """All that `striate.train` does before its first step; what comes then is yours, `striate.fit` or another loop.

    The arguments are those of `striate.train`, but for several processes, folds and logs. The folder is there, with
    what the run begins with; `striate.train(…, resume=True)` would go on with it, and write its report. With `resume`
    the run stands where it was saved. Raises StriateError for bad input.

    >>> import tempfile
    >>> from striate import fit
    >>> run, train, valid = prepare_run("digits", "lenet5", epochs=2, out=tempfile.mkdtemp() + "/run")
    >>> [row.epoch for row in fit(run, train, valid)], run.done
    ([1, 2], True)
    """
    from ..fitting.ranks import Ranks
    from ..fitting.rate_finder import find_own_device
    from ..fitting.watch import Watch

    for name in AROUND:
        if given.get(name) is not None:
            raise RecipeError(
                name, say("this has no meaning in a loop of your own"), hint=say("striate.train takes it")
            )
    callables = take_callables(given, loss=loss, metrics=metrics, callbacks=callbacks)
    options, reading, settings = split_given({"net": net, **given})
    data = collect_source(data, reading)
    ranks = Ranks(device=find_own_device())
    request = make_request(data, options, reading, settings, ranks, watch or Watch(), callables)
    if request.transfers:
        what = say("transfer fits a head to kept features, in no loop of steps")
        raise RecipeError("preset", what, hint=say("preset='balanced', or name a net"))
    plan = plan_scratch(request)
    named = request.folder if options.resume or options.out is not None else None
    with claim_folder(request.name, named, options.resume) as folder:
        plan = replace(plan, folder=folder)
        run = open_run(plan)
        if not is_going_on(plan):
            keep_beginning(plan)
        return PreparedRun(run, *make_taught_feeds(plan))
