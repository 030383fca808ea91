"""What a resumed run must share with its beginning: the arguments beside `resume`, and the images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .. import atomic_file
from ..architecture.net import Net
from ..data.corrections import Correction, format_corrections
from ..data.reading import Reading, drop_group_names, format_reading, list_unusual, restore_reading
from ..errors import RunError
from ..fitting.last_step import read_checkpoint_head
from ..fitting.recipe import Recipe, read_recipe_file, renew_augment
from ..language import say
from ..run_files import RunFiles
from ..terminal import format_count
from .folders import read_settings
from .options import Options

if TYPE_CHECKING:
    from ..data.images import Dataset
    from .plan import Plan

# Arguments beside those of the recipe that settle what a run is. The others, such as memory and devices, change no
# bit of it on one process, and may be others each time.
SETTLING_NAMES = ("net", "preset", "minutes", "size", "fit", "weights", "teacher", "keep")


def collect_arguments(options: Options, reading: Reading, settings: dict[str, Any]) -> dict[str, Any]:
    """The arguments that were given, as JSON data: those of SETTLING_NAMES, of the reading, of the recipe, and
    `settings` over them.
    """
    recipe = options.recipe
    if isinstance(recipe, Recipe):
        own = msgspec.to_builtins(recipe)
    else:
        own = {} if recipe is None else read_recipe_file(Path(recipe))
    given = {name: getattr(options, name) for name in SETTLING_NAMES} | list_unusual(reading) | own | settings
    if given.get("net") == "auto":
        del given["net"]
    return {name: make_json(value) for name, value in given.items() if value is not None}


def make_json(value: Any) -> Any:
    if isinstance(value, Net | Path):
        return repr(value) if isinstance(value, Net) else str(value)
    return list(value) if isinstance(value, tuple) else value


def check_arguments(folder: Path, began: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise RunError for an argument that is not what the run in `folder` `began` with.

    Either as it was given then ("auto"), or as it was settled.
    """
    words, settled, reading = began.get("asked", {}), began.get("recipe", {}), restore_reading(began)
    for name, value in asked.items():
        if name == "corrections":
            check_same_corrections(folder, reading, value)
            continue
        if name == "keep":
            continue  # no bit of a fold depends on it (cross_validation.restore_keep)
        if name in Reading.__struct_fields__:
            own = getattr(reading, name)
        elif name in SETTLING_NAMES or name in Recipe.__struct_fields__:
            own = (began if name in SETTLING_NAMES else settled).get(name)
        else:
            continue  # no setting at all, which `fitting.recipe` says
        value = renew_augment(str(value)) if name == "augment" else value
        same = value in (own, words.get(name)) or (name == "size" and [value, value] == own)
        if not same:
            raise RunError(
                f"--{name.replace('_', '-')}",
                say("a run is resumed with what it began with"),
                got=value,
                rule=say("{folder} began with {value}", folder=folder, value="none" if own is None else own),
                hint=say("leave it out to resume as it began; or {command}", command=suggest_new_run(folder)),
            )


def keep_beginning(plan: Plan) -> None:
    """Write what a run begins with: its settings, unless they are there already, then what its images are."""
    from ..data.contents import list_contents, save_contents
    from ..fitting.checkpoint import remove_parts

    files = RunFiles(plan.folder)
    remove_parts(plan.folder)  # of a run that was killed before its first checkpoint
    if not plan.request.options.resume:
        atomic_file.write_file(files.settings, json.dumps(plan.settings, indent=1) + "\n")
    save_contents(files.images, list_contents(plan.data))
    keep_corrections(plan.folder, plan.request.reading)


def keep_corrections(folder: Path, reading: Reading) -> None:
    """Write the corrections that a run begins with beside it, where those to come are added."""
    file = RunFiles(folder).corrections
    if reading.corrections and not file.exists():
        atomic_file.write_file(file, format_corrections([Correction(*row) for row in reading.corrections]))


def check_same_corrections(folder: Path, began: Reading, asked: Sequence[Sequence[str]]) -> None:
    """Raise RunError where `asked` are other corrections than those that the run in `folder` `began` with."""
    before, now = ({tuple(row) for row in rows} for rows in (began.corrections or (), asked))
    if before != now:
        more, fewer = len(now - before), len(before - now)
        raise RunError(
            "--corrections",
            say("a run is resumed with what it began with"),
            got=say("{more:,} corrections that it did not have, {fewer:,} that are missing", more=more, fewer=fewer),
            rule=say("{folder} began with {value}", folder=folder, value=format_count(len(before), "correction")),
            hint=say("leave it out to resume as it began; or {command}", command=suggest_new_run(folder)),
        )


def check_same_images(folder: Path, data: Dataset) -> None:
    """Raise RunError, saying what has changed, where `data` is not what the run in `folder` was saved with."""
    from ..data.contents import describe_differences, list_contents, no_images, read_saved_contents

    head = read_checkpoint_head(folder)
    if head is None:
        return
    head = head.get("transfer", head)
    if data.fingerprint == head["data"]:
        return
    before = read_saved_contents(RunFiles(folder).images)
    if before is not None:
        changed = describe_differences(before, list_contents(data))
    else:  # a run of version 0.1.0 tells its classes alone
        changed = describe_differences(no_images(head["classes"]), no_images(data.classes))
    what = say("the images are not the ones that this run began with")
    got = changed or (say("the same images, split or ordered otherwise") if before else say("other images"))
    raise RunError(str(folder), what, got=got, hint=suggest_new_run(folder))


def suggest_new_run(folder: Path) -> str:
    """How to train on what is no longer as it was when the run in `folder` began."""
    began = read_settings(folder)
    files = RunFiles(folder)
    words = [str(began.get("data")), format_reading(drop_group_names(restore_reading(began)))]
    words += [f"--corrections {files.corrections}"] if files.corrections.is_file() else []
    data = " ".join(filter(None, words))
    if began.get("preset") == "transfer":
        return say("striate train {data} starts a new run; features of the images that stay are reused", data=data)
    if not RunFiles(folder).model.is_file():
        return say("striate train {data} starts a new run", data=data)
    return say(
        "striate train {data} --weights {folder} starts a new run from this one's weights", data=data, folder=folder
    )


def suggest_further(folder: Path) -> str:
    """What to do with a run that is finished."""
    return say(
        "this run is finished; to train it further, or on more images: {command}", command=suggest_new_run(folder)
    )
