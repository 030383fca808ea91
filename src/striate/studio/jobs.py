"""The trainings that the studio starts: each is the command `striate train`, as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from ..architecture import zoo
from ..architecture.find import find_net
from ..data.reading import USUAL_READING, Reading, make_reading, restore_reading, take_corrections
from ..data.sources.builtin import BUILTINS
from ..data.sources.load import HUB_PREFIX, list_source
from ..errors import DataError, RecipeError, RunError
from ..fitting.recipe import Recipe, read_recipe
from ..language import join_texts, say
from ..runs.correcting import find_data
from ..runs.folders import find_settings
from ..runs.options import Options
from ..setting import DeclaredSetting, list_settings
from ..terminal import format_count
from .runs import RUNNING_SECONDS, RunFolder

RUNS_FOLDER = Path("runs")
RUN_NAME = re.compile(r"[^\W_][\w.-]*")
# What the page asks for of a training's options, beside the recipe's settings, the data, the net and the name.
ASKED_SETTINGS = ("preset", "minutes", "size", "fit")
JOB_SETTINGS = [
    *(setting for setting in list_settings(Recipe) if setting.name != "sync_bn"),  # it is for several processes
    *(setting for setting in list_settings(Options) if setting.name in ASKED_SETTINGS),
    *list_settings(Reading),
]

# So many of the last lines that a training printed are shown.
KEPT_LINES = 16

# So many seconds a training has to save itself when the studio ends, before it is told a second time.
STOP_PATIENCE = 20.0


@dataclass
class TrainingJob:
    """A training under way, or one that has ended: its folder, its process, the open file of what it prints."""

    folder: Path
    process: subprocess.Popen[bytes]
    output: int
    stopping: bool = False

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def interrupt(self) -> None:
        """Ask it once to save itself and end; a second Ctrl-C would break it off."""
        if not self.stopping:
            self.stopping = True
            self.process.send_signal(signal.SIGINT)

    @property
    def said(self) -> str:
        """The last lines that it printed."""
        size = os.fstat(self.output).st_size
        text = os.pread(self.output, 8192, max(0, size - 8192)).decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-KEPT_LINES:])

    def as_dict(self) -> dict[str, Any]:
        """What it adds to its run's line: the state as the process has it, and what was printed."""
        done = RunFolder(self.folder).done
        if self.running:
            state = "stopping" if self.stopping else "live" if RunFolder(self.folder).recipe else "starting"
        elif self.process.returncode in (0, 130, -signal.SIGINT) or done:
            state = "done" if done else "stopped"
        else:
            state = "failed"
        return {"state": state, "said": self.said, "own": self.running}


@dataclass
class TrainingJobs:
    """All trainings that this studio started, by the name of the run."""

    under: Path = RUNS_FOLDER
    started: dict[str, TrainingJob] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def folders(self) -> list[Path]:
        return [job.folder for job in self.started.values()]

    def start(self, given: Mapping[str, Any]) -> str:
        """Begin the training that the page asks for, and return the name of its run.

        given  data, and perhaps net, name and JOB_SETTINGS; what is empty is left to the command
        Raises StriateError for what the command would refuse.
        """
        asked = {key: value for key, value in given.items() if value not in (None, "")}
        data, net = os.path.expanduser(str(asked.get("data", "")).strip()), str(asked.get("net", "auto")).strip()
        own = {
            setting.name: as_given(setting, asked[setting.name]) for setting in JOB_SETTINGS if setting.name in asked
        }
        reading = {name: value for name, value in own.items() if name in Reading.__struct_fields__}
        check_data(data, make_reading(reading))
        check_size(asked.get("size"))
        if net != "auto":
            find_net(net)
        read_recipe(None, **{name: value for name, value in own.items() if name not in (*ASKED_SETTINGS, *reading)})
        with self.lock:
            folder = self.free(str(asked.get("name", "")).strip(), data)
            words = [f"--net={net}", *(as_flag(name, value) for name, value in own.items())]
            self.begin(folder, [*words, f"--out={folder}", "--", data])
        return folder.name

    def resume(self, folder: RunFolder) -> None:
        """Go on with an unfinished run. Raises RunError for one that is done, under way, or never saved."""
        with self.lock:
            job = self.started.get(folder.name)
            if folder.done:
                raise RunError(folder.name, say("this run is done"), hint=say("start a new one"))
            if job.running if job else folder.state(time.time()) == "live":
                what = say("this run is in progress, or was until a moment ago")
                raise RunError(
                    folder.name,
                    what,
                    hint=say("stop it where it was started, and wait {seconds:.0f} seconds", seconds=RUNNING_SECONDS),
                )
            if not folder.begun:
                what = say("this run ended before its first checkpoint, so there is nothing to resume")
                raise RunError(folder.name, what, hint=say("start it again"))
            data = str(folder.recipe.get("data", ""))
            check_data(data, restore_reading(folder.recipe))
            self.begin(folder.path, [f"--out={folder.path}", "--resume", "--", data])

    def again(self, folder: RunFolder) -> str:
        """Begin a run as `folder`'s was asked for, with its corrections, and return its name. Raises StriateError."""
        words, data = list_again(folder), str(folder.recipe.get("data"))
        table = folder.files.corrections.absolute()
        if not table.is_file():
            raise RunError(folder.name, say("nothing has been corrected yet"))
        check_data(data, msgspec.structs.replace(restore_reading(folder.recipe), corrections=take_corrections(table)))
        with self.lock:
            new = self.free("", data)
            self.begin(new, [*words, f"--corrections={table}", f"--out={new}", "--", data])
        return new.name

    def stop(self, name: str) -> None:
        """Have a training save itself and end, as Ctrl-C does. Raises RunError for one not started here."""
        job = self.started.get(name)
        if job is None or not job.running:
            raise RunError(
                name, say("no such training is running in the studio"), hint=say("Ctrl-C where it was started")
            )
        job.interrupt()

    def close(self) -> None:
        """Stop them all, and wait until they have saved themselves."""
        running = [job for job in self.started.values() if job.running]
        if running:
            print(say("waiting for {runs} to save", runs=format_count(len(running), "training run")), file=sys.stderr)
        for job in running:
            job.interrupt()
        for number in (signal.SIGTERM, signal.SIGKILL):
            ends = time.monotonic() + STOP_PATIENCE
            for job in running:
                with suppress(subprocess.TimeoutExpired):
                    job.process.wait(max(0.0, ends - time.monotonic()))
            running = [job for job in running if job.running]
            for job in running:
                job.process.send_signal(number)

    def begin(self, folder: Path, words: list[str]) -> None:
        """The command in a process group of its own: Ctrl-C in the studio's terminal comes to it once, from `close`.

        What it prints goes to a file without a name, which outlives the studio as long as the training does.
        """
        with tempfile.TemporaryFile() as file:
            output = os.dup(file.fileno())
        process = subprocess.Popen(
            # -P: a file of the user's folder is not taken for a module.
            [sys.executable, "-P", "-m", "striate", "train", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        job = TrainingJob(folder, process, output)
        weakref.finalize(job, os.close, output)  # a question about a run that is begun again may still be reading it
        self.started[folder.name] = job

    def free(self, name: str, data: str) -> Path:
        """The folder for a new run: of this name, or named after the data. Raises RunError for one that is taken."""
        if not name:
            stem = re.sub(r"[^\w-]", "-", Path(data).name.split(".")[0]).strip("-_") or "run"
            numbers = range(1, len(self.started) + len(list(self.under.glob(f"{stem}-*"))) + 2)
            return next(path for k in numbers if not self.taken(path := self.under / f"{stem}-{k}"))
        if not RUN_NAME.fullmatch(name):
            raise RunError("name", say("letters, digits and . _ - name a run"), got=name, hint="digits-1")
        if self.taken(self.under / name):
            raise RunError(
                "name", say("there is a run of this name already"), got=name, hint=say("choose another, or resume it")
            )
        return self.under / name

    def taken(self, folder: Path) -> bool:
        job = self.started.get(folder.name)
        return (job is not None and job.running) or find_settings(folder) is not None


def list_again(folder: RunFolder) -> list[str]:
    """The words of the command that asks for the same training once more, without its data and its corrections.

    Raises RunError where it was asked for in Python, with what no command says.
    """
    began = folder.recipe
    find_data(folder.path, began)
    asked = {name: value for name, value in began.get("asked", {}).items() if name != "corrections"}
    own = [*began.get("own", {}), *(name for name, value in asked.items() if isinstance(value, list | dict))]
    if own or "fold" in began:
        what = say("this run was asked for in Python, or is a fold, so that no command begins it again")
        raise RunError(folder.name, what, got=", ".join(own) or "--folds", hint=say("striate.train(…, corrections=…)"))
    return [as_flag(name, value) for name, value in asked.items()]


def check_data(data: str, reading: Reading = USUAL_READING) -> None:
    """Raise DataError for what is no data set; one on the Hub is first asked for by the training itself."""
    if not data:
        raise DataError(
            "data", say("no data set is named"), hint=say("digits, or a folder with a folder for each class")
        )
    if not data.startswith(HUB_PREFIX):
        list_source(data, reading)


def check_size(size: Any) -> None:
    if size is not None and not (str(size).isdecimal() and int(size) > 0):
        raise RecipeError("size", say("size is a side in pixels"), got=size, hint="64")


def as_flag(name: str, value: Any) -> str:
    """The option of the command that says so: --weight-decay=0.1, --whiten."""
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{flag}" if value else f"--no-{flag}"
    return f"--{flag}={value}"


def as_given(setting: DeclaredSetting, value: Any) -> Any:
    """What the form says of a setting, as the library takes it: of a switch yes or no."""
    return value == "yes" if setting.kind is bool and value in list_values(setting) else value


def list_values(setting: DeclaredSetting) -> list[str]:
    """The values that the form offers; [] where any number or text may be typed."""
    if setting.kind is bool:
        return ["yes", "no"] if "--no-" in setting.setting.flags else ["yes"]
    return ["auto", "none", *setting.choices] if setting.name == "augment" else list(setting.choices)


def list_choices() -> dict[str, Any]:
    """What the page offers: names of data sets and nets, and each setting as the record declares it.

    kind  int, float or text; any: the choices are suggestions, since they can be joined; reading: it is of how the data
    are read
    """
    kinds = {int: "int", float: "float"}
    return {
        "data": list(BUILTINS),
        "net": ["auto", *zoo.NAMES],
        "settings": [
            {
                "name": setting.name,
                "kind": kinds.get(setting.kind, "text"),
                "choices": list_values(setting),
                "any": setting.name == "augment",
                "usual": setting.usual if setting.setting.usual in ("", "auto", "pad") else "auto",
                "help": join_texts(" ", [say(setting.help), f"[{say(setting.usual)}]"]),
                "reading": setting.name in Reading.__struct_fields__,
            }
            for setting in JOB_SETTINGS
        ],
    }
