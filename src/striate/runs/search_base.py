"""What all trials of a sweep share: the data, the epochs, the preset's settings, and what is searched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..architecture.find import find_net
from ..data.reading import Reading
from ..errors import RecipeError
from ..fitting.recipe import read_recipe
from ..language import say
from .options import Options
from .request import Request, check_image_size, make_request
from .search_space import SEARCHED_OPTIONS, Space, choose_space

if TYPE_CHECKING:
    from ..data.images import Dataset
    from ..fitting.ranks import Ranks
    from ..fitting.watch import Watch
    from .presets import DataFacts

# With `minutes`, so many epochs are chosen that about this number of trials of the preset's net would fit.
TRIALS_AIMED = 12


@dataclass(frozen=True)
class Sweep:
    """A sweep as it is asked for, and what its trials share.

    settings  of the recipe, given by name; base  those that the preset gives beneath them
    loaded    the data sets that trials have read, by how they are read
    """

    data: Any
    options: Options
    reading: Reading
    settings: dict[str, Any]
    base: dict[str, Any]
    space: Space
    folder: Path
    minutes: float | None
    trials: int | None
    loaded: dict[str, Dataset]
    watch: Watch

    @property
    def file(self) -> Path:
        """What it began with."""
        return self.folder / "sweep.json"

    @property
    def seed(self) -> int:
        return int(self.settings.get("seed", 0))


def find_own_ranks() -> Ranks:
    """This process alone."""
    from ..fitting.ranks import Ranks
    from ..fitting.rate_finder import find_own_device

    return Ranks(device=find_own_device())


def settle_sweep(made: Sweep) -> Sweep:
    """The sweep with its epochs, the preset's settings, and the space where none was given. Raises RecipeError."""
    from ..fitting.probe import probe_data
    from .presets import DataFacts, choose_preset
    from .scratch import choose_side, load_at_size

    options = msgspec.structs.replace(made.options, net=made.options.net or "auto", preset="balanced")
    request = make_request(made.data, options, made.reading, made.settings, find_own_ranks(), made.watch)
    request = replace(request, folder=made.folder, loaded=made.loaded)
    side = check_image_size(options.size) or choose_side(request, options.net)
    data = load_at_size(request, options.net, side, options.fit or "pad", made.seed)
    facts = DataFacts(len(data.train), data.shape, len(data.classes), probe_data(data.train, made.seed))
    epochs = made.settings.get("epochs") or choose_epochs(made, request, data, facts)
    base = choose_preset("balanced", facts, epochs).settings
    rate = read_recipe(under=base, **made.settings).peak
    space = made.space or choose_space(facts, rate, base["augment"], reads_files(made))
    given = {*made.settings, *(name for name in SEARCHED_OPTIONS if getattr(made.options, name) is not None)}
    if twice := sorted(given & set(made.space)):
        raise RecipeError(
            f"space.{twice[0]}", say("this is given and searched"), hint=say("leave it out of one of the two")
        )
    left = {name: part for name, part in space.items() if name not in given}
    if not left:
        raise RecipeError(
            "space", say("all that would be searched is given"), hint=say("leave one of net, lr and augment out")
        )
    return replace(made, base=base, space=left)


def choose_epochs(made: Sweep, request: Request, data: Dataset, facts: DataFacts) -> int:
    """Those of the preset "fast"; or with `minutes` as many as let about TRIALS_AIMED trials fit, by a timed step."""
    from .presets import choose_preset
    from .scratch import make_preprocess, make_task
    from .together import forecast_together

    if made.minutes is None:
        return choose_preset("fast", facts).settings["epochs"]
    choice, net = choose_preset("balanced", facts), request.options.net
    chosen = find_net(choice.net if net == "auto" else net, classes=len(data.classes), input=data.shape)
    settings = {name: value for name, value in choice.settings.items() if net == "auto" or name != "whiten"}
    pre = make_preprocess(request, data, request.options.fit or "pad")
    task = make_task(chosen, read_recipe(under=settings, **made.settings), data, pre, request)
    each = forecast_together(task, data, request.ranks).epoch
    return max(2, min(choice.settings["epochs"], int(made.minutes * 60 / TRIALS_AIMED / each)))


def reads_files(made: Sweep) -> bool:
    """Whether the images are files of sizes of their own."""
    from ..data.images import Dataset
    from ..data.sources.load import find_usual_size

    return not isinstance(made.data, Dataset) and find_usual_size(made.data, made.reading) is not None
