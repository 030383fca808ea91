"""The command line: each command parses, calls one function of the library, and prints.

Data goes to stdout, all else to stderr. Exit codes: 0 done, 1 done but something was found or skipped, 2 the input is
wrong, 3 a calibrated model is unsure of an answer, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

# Here, so that --help lists these commands before those below.
from . import cli_nets as cli_nets
from .cli_help import SpokenCommand, show_usage_error
from .cli_options import (
    JsonOption,
    add_options,
    app,
)
from .data.reading import Reading, make_reading
from .errors import StriateError, suggest_name
from .extras import explain_missing_extra
from .fitting.recipe import Recipe
from .language import say, set_language
from .runs.options import LEFT_OUT, LEFT_OUT_OF_SWEEPS, Options
from .terminal import (
    OutputError,
    flush_streams,
    is_encodable,
    make_printable,
    prepare_streams,
    print_json,
    print_page,
    print_text,
    print_warning,
)

# Names of commands until 0.1, which work for one version more.
RENAMED_COMMANDS = {"lesion": "ablate"}


def show_warning(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
    """A notice for the user in a line; other warnings as Python writes them."""
    notice = say("note: {message}", message=message)
    print_warning(
        notice if category is FutureWarning else warnings.formatwarning(message, category, filename, lineno).rstrip()
    )


def main() -> None:
    """Run the command line; the entry point of the program `striate`."""
    # Threads of an operation wait asleep and not spinning: on two cores that others used too, training took 1.5
    # seconds of CPU time this way and 5.5 the other. It must be set before torch loads its OpenMP library.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # torch writes a C++ stack for each connection that another process closes; what there is to say is said in words.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    warnings.showwarning = show_warning  # type: ignore[assignment]
    prepare_streams()
    if not is_encodable("가"):
        set_language("en")
    try:
        code = run_command()
    except OutputError:  # `flush_streams` says which output, and why
        code = 2
    sys.exit(flush_streams(code))


def run_command() -> int:
    """Run the command that the words of the command line name, and give its exit code."""
    if len(sys.argv) > 1 and sys.argv[1] in RENAMED_COMMANDS:
        old, new = sys.argv[1], RENAMED_COMMANDS[sys.argv[1]]
        notice = say("{old} is now called {new}; the old name goes in the next version", old=old, new=new)
        print_warning(say("note: {message}", message=notice))
        sys.argv[1] = RENAMED_COMMANDS[sys.argv[1]]
    try:
        code = app(standalone_mode=False)
    except StriateError as e:
        print_warning(say("error: {error}", error=e))
        return 2
    except typer.Exit as e:
        return e.exit_code
    except (typer.Abort, KeyboardInterrupt):
        print_warning(say("interrupted"))
        return 130
    except ModuleNotFoundError as e:
        lacking = explain_missing_extra(e.name)
        if lacking is None:
            raise
        print_warning(say("error: {error}", error=lacking))
        return 2
    except Exception as e:
        if not hasattr(e, "exit_code") or not hasattr(e, "show"):
            raise
        show_usage_error(e)
        return e.exit_code
    return code if isinstance(code, int) else 0


@app.command("check")
@add_options(Reading)
def print_audit(
    data: Annotated[str, typer.Argument(help="A data set, as for train.")],
    run: Annotated[
        Path | None, typer.Option(help="Also list the label errors found by cross-validating this run  [default: none]")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 if anything is found")] = False,
    format: Annotated[str, typer.Option(help="table, json, or html with thumbnails")] = "table",
    **reading: Any,
) -> None:
    """Find problems in a data set.

    Unreadable files, duplicates, leaks between splits, imbalance, likely label errors.
    """
    from . import api
    from .data.check.audit import audit_data
    from .data.check.examine import load_thumbnails
    from .report.audit_page import list_audit_files, render_audit_page

    if format not in ("table", "json", "html"):
        raise StriateError("--format", say("there is no such format"), got=format, hint=say("table, json or html"))
    understood = make_reading(reading)
    found = audit_data(data, reading=understood)
    doubts = None if run is None else api.label_errors(data, run)
    if format == "html":
        files = () if doubts is None else doubts.files
        thumbnails = load_thumbnails(data, [*list_audit_files(found), *files], reading=understood)
        print_page(render_audit_page(found, thumbnails, doubts))
    elif format == "json":
        print_json(found.as_dict() | {"label_errors": [] if doubts is None else doubts.listed()})
    else:
        print_text(found)
        for line in [] if doubts is None else doubts.lines():
            print_text(line)
    if strict and not (found.clean and (doubts is None or not doubts.errors)):
        raise typer.Exit(1)


@app.command("train")
@add_options(Options, Reading, Recipe)
def start_training(
    data: Annotated[str, typer.Argument(help="A folder of class folders, digits, mnist, fashion-mnist, cifar10, …")],
    **given: Any,
) -> None:
    """Train a classifier: a run folder of model, metrics, report."""
    from .runs import training

    try:
        run = training.train(data, **{name: value for name, value in given.items() if value is not None})
    except training.TrainingInterrupted as e:
        print_warning(e)
        raise typer.Exit(130) from None
    if isinstance(run, training.CrossValidation) or run.report is not None:
        print_text(training.format_outcome(run))


@app.command("find-lr")
@add_options(Options, Reading, Recipe, leave_out=LEFT_OUT)
def print_rate(
    data: Annotated[str, typer.Argument(help="A data set, as for train.")],
    picture: Annotated[Path, typer.Option(help="Picture of the loss over the rate: .svg or .png")] = Path(
        "find-lr.svg"
    ),
    steps: Annotated[int, typer.Option(help="Steps over which the rate rises")] = 100,
    lowest: Annotated[float, typer.Option(help="Learning rate of the first step")] = 1e-6,
    highest: Annotated[float, typer.Option(help="Learning rate of the last step")] = 1.0,
    as_json: JsonOption = False,
    **given: Any,
) -> None:
    """Find a learning rate by raising it step by step.

    The steps are those that train would take with the same options. No run comes of it.
    """
    from .runs.rate_finding import find_lr

    told = {name: value for name, value in given.items() if value is not None}
    found = find_lr(data, picture=picture, steps=steps, lowest=lowest, highest=highest, **told)
    if as_json:
        print_json(found.as_dict() | {"picture": str(picture)})
    else:
        print_text(found)
        print_text(say("picture        {file}", file=make_printable(str(picture))))


@app.command("sweep")
@add_options(Options, Reading, Recipe, leave_out=LEFT_OUT_OF_SWEEPS)
def start_sweep(
    data: Annotated[str, typer.Argument(help="A data set, as for train.")],
    minutes: Annotated[float | None, typer.Option(help="Minutes to take in all  [default: until --trials]")] = None,
    trials: Annotated[int | None, typer.Option(help="Most trials  [default: until --minutes]")] = None,
    space: Annotated[Path | None, typer.Option(help="TOML file of what is searched  [default: by the data]")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the sweep  [default: a new one under runs/]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the sweep in --out, or the newest")] = False,
    as_json: JsonOption = False,
    **given: Any,
) -> None:
    """Search net, size, rate, augmentation in a given time.

    Many short trainings, each suggested by Optuna from those before; the best one is measured and is an ordinary run.
    """
    from .runs import search
    from .runs.training import TrainingInterrupted

    told = {name: value for name, value in given.items() if value is not None}
    try:
        found = search.sweep(data, minutes=minutes, trials=trials, space=space, out=out, resume=resume, **told)
    except TrainingInterrupted as e:
        print_warning(e)
        raise typer.Exit(130) from None
    if as_json:
        print_json(found.as_dict())
    else:
        print_text(found)
        print_text(search.format_sweep_outcome(found))


# Here, so that --help lists these commands after those above.
from . import cli_models as cli_models  # noqa: E402  isort: skip
from . import cli_inside as cli_inside  # noqa: E402  isort: skip


@app.command("help")
def show_help(
    context: typer.Context,
    command: Annotated[str | None, typer.Argument(help="A command  [default: list them all]")] = None,
) -> None:
    """Show the help of a command."""
    program: Any = context.find_root()
    if command is None:
        print_text(program.get_help())
        return
    found = program.command.get_command(program, command)
    if found is None:
        raise StriateError(
            "help", say("there is no such command"), got=command, hint=suggest_name(command, program.command.commands)
        )
    print_text(found.get_help(type(context)(found, info_name=command, parent=program)))


for registered in app.registered_commands:
    registered.cls = SpokenCommand
