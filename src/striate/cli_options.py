"""What the commands share: the program, the options that several of them have, and how they print."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import StriateError

if TYPE_CHECKING:
    from .arch.layers import Shape

app = typer.Typer(
    name="striate",
    help="Design, train, look inside and ship convolutional image classifiers.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def as_shape(text: str | None) -> Shape | None:
    """ "3x224x224" as (3, 224, 224). Raises StriateError."""
    if text is None:
        return None
    parts = text.lower().replace("×", "x").split("x")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise StriateError("--input", "an input is channels x height x width", got=text, hint="--input 3x224x224")
    return tuple(map(int, parts))


def emit(data: Any) -> None:
    print(json.dumps(data, ensure_ascii=False))


NetArgument = Annotated[str, typer.Argument(help="A zoo net, a file with a net, a run or model file, or 'Net(…)'.")]
InputOption = Annotated[str | None, typer.Option("--input", help="Channels x height x width, such as 3x224x224.")]
RunArgument = Annotated[str, typer.Argument(help="A run folder, a model file, or a zoo net with --weights.")]
ShippedArgument = Annotated[
    str, typer.Argument(help="A run folder, a model file, an exported .onnx file, or a zoo net with --weights.")
]
WeightsOption = Annotated[
    str | None, typer.Option(help="Published weights for a zoo net: a file, or a name on the Hugging Face Hub.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def warn_skipped(skipped: Any) -> None:
    """Name what was skipped on stderr and exit with 1, where anything was."""
    for item in skipped:
        print(f"skipped {item.file}: {item.why}", file=sys.stderr)
    if skipped:
        raise typer.Exit(1)
