"""Where runs lie: the folder of a new one, the one to go on with, and what it began with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..file_lock import lock_opened
from ..language import say
from ..regular_file import need_regular
from ..run_files import RunFiles

RUNS = Path("runs")


def choose_run_folder(data: str, out: str | Path | None, resume: bool) -> Path:
    """Where the run goes, or, to resume, where it stands. Nothing is made yet. Raises RunError."""
    if resume:
        return find_begun_run(data, out)
    folder = Path(out) if out is not None else find_free_folder(data)
    check_unused(folder)
    ground = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    check_writable(ground, folder)
    return folder


def make_stem(data: str) -> str:
    """What the numbered folders of a data set's runs are called."""
    stem = Path(data).resolve().name if Path(data).exists() else data
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in stem.rsplit(".", 1)[0]) or "run"


def find_free_folder(data: str) -> Path:
    """The first folder of the data's name under runs/ that is not there."""
    stem = make_stem(data)
    taken = {path.name for path in RUNS.glob(f"{stem}-*")}
    number = next(k for k in range(1, len(taken) + 2) if f"{stem}-{k}" not in taken)
    return RUNS / f"{stem}-{number}"


def find_begun_run(data: str, out: str | Path | None) -> Path:
    """The run to go on with: `out`, or of this data's the one that was saved last, unfinished ones first."""
    if out is None:
        stem = make_stem(data)
        runs = [path for path in RUNS.glob(f"{stem}-*") if path.name.removeprefix(f"{stem}-").isdigit()]
        runs = [path for path in runs if find_settings(path) is not None]
        if not runs:
            hint = say("start without --resume, or name it by --out")
            raise RunError(str(RUNS), say("there is no run of {data} here", data=data), hint=hint)
        return max(runs, key=lambda path: (not is_finished(path), read_saved_time(path)))
    folder = Path(out)
    if find_settings(folder) is None:
        raise RunError(str(folder), say("there is no run here to resume"), hint=say("start it without --resume"))
    check_writable(folder, folder)
    return folder


def find_settings(folder: Path) -> Path | None:
    """The file of what a run began with, or a cross-validation's first fold; None where neither has begun here."""
    files = RunFiles(folder)
    return next((one.settings for one in (files, files.fold(1)) if one.settings.exists()), None)


def is_finished(folder: Path) -> bool:
    """Whether a run, or a cross-validation, is done and measured: that is the last thing that it writes."""
    files = RunFiles(folder)
    return files.folds.exists() if files.fold(1).settings.exists() else files.report.exists()


def read_saved_time(folder: Path) -> float:
    """When a run was last saved, or began where it never was, in seconds since 1970; of a cross-validation any fold."""
    files = [RunFiles(folder), *map(RunFiles, folder.glob("fold-*"))]
    found = [path for one in files for path in (one.checkpoint, one.settings) if path.exists()]
    return max(path.stat().st_mtime for path in found)


def check_unused(folder: Path) -> None:
    from ..model.answering import find_outputs

    files = RunFiles(folder)
    if find_outputs(folder) != "softmax":
        hint = say("choose another folder with --out")
        raise RunError(str(folder), say("this folder holds a run already"), hint=hint)
    if files.checkpoint.exists() or files.fold(1).checkpoint.exists() or files.folds.exists():
        hint = say("--resume resumes it; or choose another folder with --out")
        raise RunError(str(folder), say("this folder holds a run already"), hint=hint)


def check_writable(ground: Path, folder: Path) -> None:
    if not ground.is_dir() or not os.access(ground, os.W_OK):
        raise RunError(
            str(folder), say("cannot write into {ground}", ground=ground), hint=say("choose another folder with --out")
        )


@contextmanager
def claim_folder(data: str, out: str | Path | None, resume: bool) -> Iterator[Path]:
    """The run's folder, made where it is new, and this process's alone as long as the training lasts.

    Of processes that begin at once each gets a number of its own, for only one of them makes a folder. Raises RunError
    where another process trains in a folder that was named.
    """
    folder = choose_run_folder(data, out, resume)
    while not resume:
        try:
            folder.mkdir(parents=True, exist_ok=out is not None)
            break
        except FileExistsError:  # another process was first
            folder = choose_run_folder(data, out, resume)
        except OSError as e:
            what = say("cannot make this folder: {why}", why=(e.strerror or str(e)).lower())
            raise RunError(str(folder), what, hint=say("choose another folder with --out")) from None
    opened = lock_folder(folder)
    try:
        if not resume:
            check_unused(folder)  # the process that had it until now may have trained there
        yield folder
    finally:
        if opened is not None:
            os.close(opened)


def lock_folder(folder: Path) -> int | None:
    """The folder, opened and locked until it is closed or the process dies; None where the system cannot do that.

    Raises RunError where another process has it locked.
    """
    if os.name == "nt":  # Windows opens no folders
        return None
    opened = os.open(folder, os.O_RDONLY)
    locked = lock_opened(opened)
    if locked:
        return opened
    os.close(opened)
    if locked is None:
        return None
    hint = say("wait until it is done or stop it; or choose another folder with --out")
    raise RunError(str(folder), say("another process is training in this folder"), hint=hint)


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings that a run began with. Raises RunError, and ModelError for a run that answers otherwise."""
    from ..engines.answers import check_outputs
    from ..model.answering import find_outputs

    file = RunFiles(folder).settings
    if not file.exists():
        check_outputs(folder, find_outputs(folder), "softmax")
    need_regular(file, RunError)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not isinstance(found.get("recipe"), dict):
            raise ValueError(say('it is not an object with a "recipe"'))
        return found
    except (OSError, ValueError, RecursionError) as e:
        raise RunError(str(file), say("cannot read what this run began with: {complaint}", complaint=e)) from None


def name_data(data: Any) -> str:
    """What a data set is called: its folder or name, "arrays" for arrays, "files" for files handed over in Python."""
    from ..data.sources.in_python import FILES_NAME, holds_names

    if isinstance(data, str | Path):
        return str(data)
    if isinstance(data, tuple):
        return FILES_NAME if holds_names(data) else "arrays"
    name = getattr(data, "name", None)  # a Dataset has one; a data frame may have a column of that name
    return name if isinstance(name, str) else FILES_NAME
