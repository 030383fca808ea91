"""What several processes do together on the way to a run: the first decides and tells, the others follow its word."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.reading import USUAL_READING, Reading, list_unusual, make_reading, take_group_names
from ..errors import DataError, RunError
from ..fitting.callables import NO_CALLABLES, Callables
from ..language import say
from ..threads import handle_stop_signals

if TYPE_CHECKING:
    from ..data.images import Dataset
    from ..data.sources.folds import CutSource
    from ..fitting.checkpoint import Task
    from ..fitting.forecast import Forecast
    from ..fitting.ranks import Ranks
    from ..fitting.run import Run
    from ..fitting.watch import Watch
    from .request import Request


def load_everywhere(request: Request, given: dict[str, Any]) -> Dataset:
    """The data set, loaded by the first process and then, with what it keeps on disk, by the others."""
    ranks, fold = request.ranks, request.fold
    given = given | {"reading": list_unusual(request.reading)}
    given |= {} if fold is None else {"fold": list(fold.told)}
    if fold is not None and not fold.number and not (request.transfers and request.options.minutes):
        given["valid_share"] = 0.0  # the folds have chosen; fine-tuning alone chooses its epoch anew
    held, loaded, key = fold.held if fold else None, request.loaded, repr(sorted(given.items()))
    if loaded is not None and key in loaded:
        return loaded[key]
    dataset = load_here(request.data, given, request.options.memory, ranks, request.watch, request.reading, held)
    if loaded is not None:
        loaded[key] = dataset
    ranks.tell(do="load the images", given=given, fingerprint=dataset.fingerprint)
    return dataset


def load_here(
    data: Any,
    given: dict[str, Any],
    memory: Any,
    ranks: Ranks,
    watch: Watch,
    own: Reading = USUAL_READING,
    held: dict[str, CutSource] | None = None,
) -> Dataset:
    """`data.sources.load.load_dataset` with what is `given`, or `folds.load_fold` where that names a fold.

    A machine's processes share the memory that is free. `own` is the reading that this process was given, which has the
    names of groups; `held` is where a source in folds stays from fold to fold.
    """
    from ..data.images import Dataset
    from ..data.read.depth import Depth
    from ..data.sources.fold_sources import load_fold
    from ..data.sources.load import load_dataset as load_data
    from ..data.store.allowance import parse_allowance

    fold = given.get("fold")
    if isinstance(data, Dataset) and own.corrections:
        hint = say("hand over what it was read from: a folder, a table, arrays")
        raise DataError(data.name, say("this data set is read already, so it cannot be corrected"), hint=hint)
    if isinstance(data, Dataset) and fold is None:
        return data
    if memory is None and ranks.local > 1:
        memory = parse_allowance() // ranks.local

    def progress(what: str, done: int, of: int) -> None:
        ranks.at(f"reading, {done} of {of} {what}")
        watch.loading(what, done, of)

    ranks.at("reading the images")
    size = None if given["size"] is None else tuple(given["size"])
    depth = None if given.get("depth") is None else Depth(*given["depth"])
    reading = take_group_names(make_reading(given["reading"]), own)
    told = given | {"size": size, "reading": reading, "depth": depth}
    if fold is not None:
        del told["fold"]
        told.pop("least_test", None)
        return load_fold(data, *fold, held={} if held is None else held, **told, memory=memory, progress=progress)
    return load_data(data, **told, memory=memory, progress=progress)


def forecast_together(task: Task, dataset: Dataset, ranks: Ranks) -> Forecast:
    """What a training will take, its steps timed by all."""
    from ..fitting.checkpoint import identify_task
    from ..fitting.forecast import forecast_training

    ranks.tell(do="time a few steps", task=identify_task(task))
    return forecast_training(task, *make_feeds(task, dataset, ranks), ranks)


def begin_together(run: Run, ranks: Ranks) -> None:
    """Have the others begin, or go on, where `run` stands, bit for bit."""
    from ..fitting.checkpoint import identify_task

    if ranks.world > 1:
        ranks.tell(do="train", task=identify_task(run.task), folder=str(run.folder))
        ranks.sent(run.packed(), "all to stand where the run stands")


def make_feeds(task: Task, data: Dataset, ranks: Ranks) -> tuple[Any, Any]:
    """The images to train on and to validate on, on their way to the device."""
    from ..fitting.batches import Feed

    pre = task.preprocess
    return tuple(Feed(part, pre.mean, pre.std, ranks.device) for part in (data.train, data.valid))  # type: ignore[return-value]


def follow_orders(
    data: Any, memory: Any, ranks: Ranks, callables: Callables = NO_CALLABLES, reading: Reading = USUAL_READING
) -> Run:
    """What a process does that is not the first one: its part of all that the first one tells it to do.

    Its Run has the network and the history; folder, model and report are the first one's.
    Raises SystemExit with code 130 where the training was stopped, as the first one says in words.
    """
    from ..fitting.checkpoint import parse_task
    from ..fitting.forecast import forecast_training
    from ..fitting.run import Run
    from ..fitting.watch import Watch

    dataset: Any = None
    with ignore_stop_signals():
        while True:
            order = ranks.told()
            ranks.at(order["do"])
            match order["do"]:
                case "load the images":
                    dataset = load_here(data, order["given"], memory, ranks, Watch(), reading)
                    check_same_data(dataset, order["fingerprint"], ranks)
                case "time a few steps":
                    task = parse_task(order["task"], callables)
                    forecast_training(task, *make_feeds(task, dataset, ranks), ranks)
                case "train":
                    run = Run.start(Path(order["folder"]), parse_task(order["task"], callables), ranks.device)
                    return train_along(run, dataset, ranks)
                case "transfer":
                    return transfer_along(order, dataset, ranks)
                case other:
                    raise AssertionError(other)


def train_along(run: Run, dataset: Dataset, ranks: Ranks) -> Run:
    """Train beside the first process, from where it stands to the end."""
    from ..fitting import loop
    from ..fitting.checkpoint import unpack_checkpoint

    run.writes = False
    run.put(*unpack_checkpoint(ranks.sent(None, "all to stand where the run stands")))
    with catch_stop_signals() as stop:
        try:
            for _ in loop.fit(run, *make_feeds(run.task, dataset, ranks), ranks=ranks, stop=stop.is_set):
                pass
        except loop.StopRequested:
            ranks.done()
            raise SystemExit(130) from None
    ranks.done()
    return run


def transfer_along(order: dict[str, Any], dataset: Dataset, ranks: Ranks) -> Run:
    """Show the frozen net this process's share of the images, as often as the first one wants it."""
    from ..engines.model_file import Preprocess
    from ..fitting.checkpoint import Task
    from ..fitting.recipe import Recipe
    from ..fitting.run import Run
    from ..transfer.extraction import assist_transfer
    from .starting import load_backbone

    model = load_backbone(order["net"], order["weights"])
    pre = Preprocess(dataset.shape[1:], order["fit"], model.preprocess.mean, model.preprocess.std, depth=dataset.depth)
    assist_transfer(model.net, model.tensors, pre, dataset, order["seed"], ranks)
    ranks.done()
    task = Task(model.net, Recipe(seed=order["seed"]), dataset.classes, pre, dataset.fingerprint, "")
    return Run(Path(order["folder"]), task, None, None, writes=False)  # type: ignore[arg-type]  # as the first one's


def check_same_data(dataset: Dataset, fingerprint: str, ranks: Ranks) -> None:
    if dataset.fingerprint != fingerprint:
        raise RunError(
            say("the data of rank {rank}", rank=ranks.rank),
            say("this process found other images than the first one"),
            got=say("{train:,} to train, {valid:,} to validate", train=len(dataset.train), valid=len(dataset.valid)),
            rule=say("the same files on every machine"),
            hint=say("copy the data set there again"),
        )


@contextmanager
def ignore_stop_signals() -> Iterator[None]:
    """Within it, Ctrl-C and SIGTERM are the first process's to answer, whose end is this one's."""
    with handle_stop_signals(signal.SIG_IGN):
        yield


@contextmanager
def catch_stop_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set instead of breaking off."""
    stop = threading.Event()
    with handle_stop_signals(lambda number, frame: stop.set()):
        yield stop
