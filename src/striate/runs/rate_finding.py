"""From a data set to the learning rate that its training can bear."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import atomic_file
from ..data.reading import Reading
from ..data.sources.pairs import collect_source
from ..errors import RecipeError, StriateError
from ..fitting.callables import take_callables
from ..fitting.recipe import Recipe
from ..language import say
from ..setting import sign_with
from .options import LEFT_OUT, Options
from .request import make_request, split_given
from .scratch import plan_scratch

if TYPE_CHECKING:
    from ..fitting.rate_finder import RateSweep
    from ..fitting.watch import Watch

PICTURE_SUFFIXES = (".svg", ".png")


@sign_with(Options, Reading, Recipe, leave_out=LEFT_OUT)
def find_lr(
    data: Any,
    net: Any = None,
    *,
    picture: str | Path | None = None,
    steps: int = 100,
    lowest: float = 1e-6,
    highest: float = 1.0,
    loss: Callable[..., Any] | None = None,
    watch: Watch | None = None,
    **given: Any,
) -> RateSweep:
    """The learning rate that a training of this recipe can bear, found by raising it at each step (L. Smith 2015).

    data, net  as for `striate.train`, as are all its settings but those of length, schedule and rate
    picture    an .svg or .png file of the loss over the rate to write; None writes nothing
    steps      over which the rate rises from `lowest` to `highest`, by the same factor each
    The steps are the recipe's own, from the weights that the run would begin with; no run folder is made or touched. It
    ends where the smoothed loss is four times its lowest. Suggested is a tenth of the rate at which that is lowest.
    Raises StriateError for bad input.

    >>> found = find_lr("digits", "lenet5", steps=50)
    >>> found.rates[0], 1e-4 < found.suggestion < 0.1
    (1e-06, True)
    """
    from ..fitting.ranks import Ranks
    from ..fitting.rate_finder import find_own_device, sweep_rates
    from ..fitting.watch import TerminalWatch
    from .together import make_feeds

    out = None if picture is None else check_picture(Path(picture))
    for name in LEFT_OUT:
        if given.get(name) is not None:
            rule = say("the rate rises step by step, and no run comes of it")
            raise RecipeError(name, say("this has no meaning where the rate is to be found"), rule=rule)
    callables = take_callables(given, loss=loss)
    options, reading, settings = split_given({"net": net, **given})
    data = collect_source(data, reading)
    ranks, own = Ranks(device=find_own_device()), watch or TerminalWatch()
    try:
        request = make_request(data, options, reading, settings, ranks, own, callables)
        if request.transfers:
            what = say("transfer fits a head to kept features, so there is no learning rate to find")
            raise RecipeError("preset", what, hint=say("--preset balanced, or name a net with --net"))
        plan = plan_scratch(request)
        train, _ = make_feeds(plan.task, plan.data, ranks)
        found = sweep_rates(
            plan.task, train, plan.start, lowest=lowest, highest=highest, steps=steps, device=ranks.device
        )
    finally:
        if watch is None:
            own.close()
    if out is not None:
        write_sweep(found, out)
    return found


def check_picture(file: Path) -> Path:
    if file.suffix.lower() not in PICTURE_SUFFIXES:
        raise StriateError(str(file), say("the picture is an .svg or a .png"), got=file.suffix, hint="find-lr.svg")
    return file


def write_sweep(found: RateSweep, file: Path) -> None:
    """The picture of a sweep, whole or not at all."""
    from ..report.pictures import encode_png
    from ..report.rate_plot import draw_rate_picture, draw_rate_svg

    png = file.suffix.lower() == ".png"
    atomic_file.write_file(file, encode_png(draw_rate_picture(found)) if png else draw_rate_svg(found))
