"""The commands about a net as a record: its account, its comparison, its drawing, its times. They hold no logic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .cli_options import InputOption, JsonOption, NetArgument, app, parse_shape, warn_skipped
from .errors import StriateError
from .language import say
from .terminal import format_table, print_json, print_text


def resolve_net(spec: str, input: str | None = None, classes: int | None = None):
    """The net of a zoo name, a net's file or text, a run folder or a model file."""
    from .architecture.find import find_net

    place = Path(spec)
    if place.is_dir() or place.suffix == ".safetensors":
        from .api import load

        return find_net(load(place).net, input=parse_shape(input))
    return find_net(spec, classes=classes, input=parse_shape(input))


@app.command("summary")
def print_summary(
    net: NetArgument,
    input: InputOption = None,
    classes: Annotated[
        int | None, typer.Option(help="Number of classes of a zoo net  [default: the net's own]")
    ] = None,
    format: Annotated[str, typer.Option(help="table, json, markdown or net (the text to edit)")] = "table",
    depth: Annotated[int | None, typer.Option(help="Fold blocks nested deeper than this  [default: show all]")] = None,
    show: Annotated[
        str | None,
        typer.Option(help="Columns: params,macs,field,output,memory,rule,… or all  [default: those that fit]"),
    ] = None,
    what_if: Annotated[
        bool, typer.Option("--what-if", help="What changes of the net would save, ready to paste")
    ] = False,
) -> None:
    """Output size, parameters, MACs, receptive field of each layer."""
    from .summaries import table_pages, tables
    from .summaries.summary import summarise_net
    from .summaries.whatif import format_changes, suggest_changes

    found = resolve_net(net, input, classes)
    if what_if:
        changes = suggest_changes(found)
        print_json([change.as_dict() for change in changes]) if format == "json" else print_text(
            format_changes(changes)
        )
        return
    match format:
        case "json":
            print_json(summarise_net(found).as_dict())
        case "markdown":
            print_text(table_pages.render_table_markdown(summarise_net(found), show=show, depth=depth))
        case "net":
            print_text(repr(found))
        case "table":
            print(tables.render_table_text(summarise_net(found), show=show, depth=depth, color=sys.stdout.isatty()))
        case _:
            raise StriateError(
                "--format", say("there is no such format"), got=format, hint=say("table, json, markdown or net")
            )


@app.command("compare")
def print_comparison(
    a: NetArgument,
    b: NetArgument,
    input: InputOption = None,
    batch: Annotated[int, typer.Option(min=1, help="Batch size, for the memory")] = 32,
    data: Annotated[
        str | None, typer.Option(help="Two runs or files on these labelled images: which is better  [default: none]")
    ] = None,
    differences: Annotated[
        Path | None,
        typer.Option(help="With --data: write the images on which they differ to this .csv  [default: none]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two networks, or with --data two runs on images.

    Two networks: parameters, MACs, receptive field, memory. Two runs, model files or exported files: their accuracies
    on the same labelled images that neither has seen, the difference with its interval, McNemar's test, and where they
    differ.
    """
    if data is not None:
        print_pairing(a, b, data, differences, as_json)
        return
    if differences is not None or as_json:
        option = "--differences" if differences is not None else "--json"
        raise StriateError(option, say("this is of two runs on images"), hint=f"--data photos/test {option}")
    from .summaries.compare import compare_nets

    print_text(compare_nets(resolve_net(a, input), resolve_net(b, input), batch))


def print_pairing(a: str, b: str, data: str, differences: Path | None, as_json: bool) -> None:
    """The comparison of two runs or files on labelled images."""
    from .atomic_file import write_file
    from .model.pairing import compare_models

    skipped: list[Any] = []
    found = compare_models(a, b, data, skipped.append)
    if differences is not None:
        rows = [(*item, item.right) for item in found.differences]
        write_file(differences, format_table(("file", "label", "first", "second", "right"), rows))
    if as_json:
        print_json(found.as_dict())
    else:
        print_text(found)
    warn_skipped(skipped)


@app.command("draw")
def write_drawing(
    net: NetArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The SVG file")],
    input: InputOption = None,
) -> None:
    """Draw a network as SVG. Blocks are to scale, branches are branches."""
    from . import atomic_file
    from .summaries.draw import draw_net

    atomic_file.write_file(out, draw_net(resolve_net(net, input)))
    print_text(out)


@app.command("profile")
def print_profile(
    net: NetArgument,
    input: InputOption = None,
    batch: Annotated[int, typer.Option(min=1, help="Batch size")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch and of ONNX Runtime")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Runs whose median is taken")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Milliseconds of each layer in torch and ONNX Runtime."""
    from .inside.profile import profile_net

    found = profile_net(resolve_net(net, input), batch=batch, threads=threads, runs=runs)
    print_json(found.as_dict()) if as_json else print_text(found)
