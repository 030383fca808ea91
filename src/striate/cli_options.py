"""What the commands share: the program, the options that several of them have, and how they print."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .cli_help import SpokenGroup
from .errors import StriateError
from .language import LANGUAGES, render_text, say, set_language
from .setting import DeclaredSetting, list_settings
from .terminal import make_printable, print_text, print_warning

if TYPE_CHECKING:
    from .architecture.layers import Shape

app = typer.Typer(
    name="striate",
    cls=SpokenGroup,
    help="Design, train, look inside and ship convolutional image classifiers.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def print_version(asked: bool) -> None:
    if asked:
        print_text(f"striate {__version__}")
        raise typer.Exit


def set_spoken_language(language: str | None) -> None:
    """Say everything in `language`, in the processes that are started too."""
    if language is not None:
        if language not in LANGUAGES:
            what, hint = say("there is no such language"), " or ".join(LANGUAGES)
            raise StriateError("--lang", what, got=language, hint=hint)
        set_language(language)
        os.environ["STRIATE_LANG"] = language


@app.callback()
def describe_program(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version")
    ] = False,
    lang: Annotated[
        str | None,
        typer.Option(
            "--lang", is_eager=True, callback=set_spoken_language, help="Language: en or ko  [default: the locale's]"
        ),
    ] = None,
) -> None:
    """Design, train, look inside and ship convolutional image classifiers."""


def parse_shape(text: str | None) -> Shape | None:
    """ "3x224x224" as (3, 224, 224). Raises StriateError."""
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise StriateError("--input", say("an input is channels x height x width"), got=text, hint="--input 3x224x224")
    return tuple(map(int, parts))


NetArgument = Annotated[str, typer.Argument(help="A zoo net, a file with a net, a run or model file, or 'Net(…)'.")]
InputOption = Annotated[
    str | None, typer.Option("--input", help="Input size, channels x height x width  [default: the net's own]")
]
RunArgument = Annotated[str, typer.Argument(help="A run folder, a model file, or a zoo net with --weights.")]
ShippedArgument = Annotated[
    str, typer.Argument(help="A run folder, a model file, an exported .onnx file, or a zoo net with --weights.")
]
WeightsOption = Annotated[
    str | None,
    typer.Option(help="Pretrained weights for a zoo net: a file or a Hugging Face Hub name  [default: none]"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON")]


def warn_skipped(skipped: Any) -> None:
    """Name what was skipped on stderr and exit with 1, where anything was."""
    for item in skipped:
        why = make_printable(render_text(item.why))
        print_warning(say("skipped {file}: {why}", file=make_printable(item.file), why=why))
    if skipped:
        raise typer.Exit(1)


def add_options(*records: type, leave_out: Collection[str] = ()) -> Callable[[Callable], Callable]:
    """Give a command, beside its own parameters, an option for each setting of `records`, passed on by name.

    An option that is not given is None, so that a preset or the run to resume may say what it is; `--help` shows the
    setting's default. `leave_out` has no meaning there.
    """

    def with_options(command: Callable) -> Callable:
        own = inspect.signature(command, eval_str=True)
        fixed = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        settings = [setting for record in records for setting in list_settings(record)]
        made = [make_option(setting) for setting in settings if setting.name not in leave_out]
        command.__signature__ = own.replace(parameters=[*fixed, *made])  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in [*fixed, *made]}
        return command

    return with_options


def make_option(setting: DeclaredSetting) -> inspect.Parameter:
    """The command-line option of a setting."""
    flags = setting.setting.flags or ("--" + setting.name.replace("_", "-"))
    usual = "" if setting.kind is bool else f"  [default: {setting.usual}]"
    told = typer.Option(*flags.split(","), help=setting.help + usual, show_default=False)
    annotation = Annotated[setting.kind | None, told]  # type: ignore
    return inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
