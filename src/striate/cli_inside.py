"""The commands that look inside: filters, feature maps, attributions, invariance. As in `cli`, they hold no logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .cli_options import JsonOption, RunArgument, WeightsOption, app, warn_skipped
from .errors import StriateError
from .extras import explain_missing_extra
from .language import say
from .terminal import print_json, print_row, print_text, print_warning

OutPng = Annotated[Path, typer.Option("--out", "-o", help="The PNG file")]
LayerOption = Annotated[str, typer.Option("--layer", help="Layer name, as in the summary")]
ChannelsOption = Annotated[str | None, typer.Option(help="Channels, such as 0,3,7-9  [default: all, or the first 12]")]


def write_picture(path: Path, picture: Any) -> None:
    """A picture as PNG, whole or not at all; its path goes to stderr, so that stdout stays data."""
    from . import atomic_file
    from .report.pictures import encode_png

    atomic_file.write_file(path, encode_png(picture))
    print_warning(say("picture {path}", path=path))


def parse_numbers(text: str | None, option: str) -> list[int] | None:
    """ "0,3,7-9" as [0, 3, 7, 8, 9]. Raises StriateError."""
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()):
            raise StriateError(option, say("expected numbers and ranges"), got=text, hint=f"{option} 0,3,7-9")
        found += range(int(first), int(last or first) + 1)
    return found


@app.command("trace")
def print_trace(
    run: RunArgument,
    images: Annotated[list[str], typer.Argument(help="An image file; with --weight, the files of one batch")],
    at: Annotated[
        str | None, typer.Option(help="An activation: conv1[3,10,12], probability[7], or loss  [default: none]")
    ] = None,
    weight: Annotated[
        str | None, typer.Option(help="A weight and its next update: conv1[3,0,2,2]  [default: none]")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Class for --weight and the loss  [default: each image's folder]")
    ] = None,
    depth: Annotated[int, typer.Option(min=0, help="Layers to trace back; 0: down to the pixels")] = 1,
    optimizer: Annotated[
        str | None, typer.Option(help="Compare optimizers on --weight: sgd,adam,…  [default: the run's own step]")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each --optimizer")] = 3,
    full: Annotated[bool, typer.Option("--full", help="Expand every sum, not only the largest")] = False,
    as_json: JsonOption = False,
    weights: WeightsOption = None,
) -> None:
    """Explain one activation or weight update by its arithmetic.

    All the numbers that it is computed from, checked against a full forward pass.
    """
    from . import api
    from .inside.trace import LOSS, parse_address
    from .inside.trace_format import render_steps_text, render_trace_text

    if (at is None) == (weight is None):
        raise StriateError("trace", say("name one number"), hint=say("--at conv1[3,10,12] or --weight conv1[3,0,2,2]"))
    if optimizer is not None:
        if weight is None:
            raise StriateError("--optimizer", say("optimizers move a weight"), hint="--weight conv1[3,0,2,2]")
        place, spot = parse_address(weight)
        ways = api.trace_optimizers(
            run, images, place, *spot, label=label, optimizers=optimizer.split(","), steps=steps
        )
        if as_json:
            print_json({name: [trace.as_dict() for trace in traces] for name, traces in ways.items()})
        else:
            print_text("\n\n".join(map(render_steps_text, ways.values())))
        return
    path, index = (LOSS, ()) if at == LOSS else parse_address(at or weight or "")
    if at is not None:
        if len(images) > 1:
            raise StriateError(
                "trace",
                say("an activation belongs to one image"),
                got=say("{count} images", count=len(images)),
                hint=say("name one image"),
            )
        name = label or Path(images[0]).absolute().parent.name
        found = api.load(run, weights).trace(images[0], path, *index, depth=depth or None, label=name)
    else:
        found = api.trace_update(run, images, path, *index, label=label)
    if as_json:
        print_json(found.as_dict())
    else:
        print_text(render_trace_text(found, opened=None if full else 1))


@app.command("filter")
def write_filtered(
    image: Annotated[str, typer.Argument(help="An image file, a CSV of numbers, or a grid '[[1,2],[3,4]]'.")],
    kernel: Annotated[
        str, typer.Option(help="sobel, vertical, blur, sharpen, …, or '[[1,0,-1],[2,0,-2],[1,0,-1]]'")
    ] = "sobel",
    stride: Annotated[int, typer.Option(min=1, help="Stride")] = 1,
    padding: Annotated[str, typer.Option(help="Padding: valid, same, or pixels on each side")] = "valid",
    at: Annotated[str | None, typer.Option(help="Row,column of the output value to explain  [default: none]")] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Resize the image to this longer side first  [default: its own]")
    ] = None,
    out: OutPng = Path("filter.png"),
    as_json: JsonOption = False,
) -> None:
    """Convolve an image with one filter, sobel or your own."""
    import numpy as np

    from .data.read.decode import decode_to_show
    from .inside import filters_by_hand
    from .inside.steps_by_hand import filter_grid
    from .report.pictures import reduce_picture

    sides = int(padding) if padding.isdecimal() else padding
    if image.lstrip().startswith("[") or image.lower().endswith(".csv"):
        found = filter_grid(image, kernel, stride, sides)
    else:
        pixels = np.asarray(decode_to_show(Path(image)))
        pixels = pixels if size is None else reduce_picture(pixels, size)
        found = filters_by_hand.filter_image(pixels, kernel, stride, sides)
    if as_json:
        print_json(found.as_dict())
    elif at is not None:
        print_text(found.at(*parse_place(at)))
    write_picture(out, filters_by_hand.draw_filtered(found))


@app.command("learn")
def write_course(
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file")] = Path("learn.html"),
) -> None:
    """A course on convolutional networks, as one offline page."""
    from .browser.learn_page import write_learn

    print_text(f"{out}: {write_learn(out)}")


@app.command("step")
def print_steps(
    grid: Annotated[str, typer.Argument(help="A grid of numbers, '[[1,2,3],[4,5,6],[7,8,9]]', or a CSV file.")],
    kernel: Annotated[str | None, typer.Option(help="The filter, '[[0,1],[1,0]]' or sobel, …  [default: none]")] = None,
    pool: Annotated[str | None, typer.Option(help="Pooling instead of a filter: max or avg  [default: none]")] = None,
    size: Annotated[int, typer.Option(min=1, help="Side of the pooling's window")] = 2,
    stride: Annotated[
        int | None, typer.Option(min=1, help="Stride  [default: 1, and of a pooling its window's side]")
    ] = None,
    padding: Annotated[str, typer.Option(help="Padding: valid, same, or cells on each side")] = "valid",
    bias: Annotated[float, typer.Option(help="Added to each value of a filter's result")] = 0.0,
    at: Annotated[str | None, typer.Option(help="Row,column of one value to explain alone  [default: all]")] = None,
    backward: Annotated[bool, typer.Option("--backward", help="How a change of the result goes back")] = False,
    gradient: Annotated[
        str | None, typer.Option(help="Gradient of the result that --backward begins with  [default: 1 everywhere]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Convolve or pool a small grid of numbers, step by step."""
    from .inside.steps_by_hand import step

    sides = int(padding) if padding.isdecimal() else padding
    found: Any = step(grid, kernel, pool, size=size, stride=stride, padding=sides, bias=bias)
    if at is not None:
        found = found.at(*parse_place(at))
    elif backward or gradient is not None:
        found = found.backward(gradient)
    print_json(found.as_dict()) if as_json else print_text(found)


def parse_place(text: str) -> list[int]:
    """ "10,12" as [10, 12]. Raises StriateError."""
    place = parse_numbers(text, "--at") or []
    if len(place) != 2:
        raise StriateError("--at", say("a place is a row and a column"), got=text, hint="--at 10,12")
    return place


@app.command("invariance")
def write_invariance(
    run: RunArgument,
    data: Annotated[str, typer.Argument(help="Labelled images, as for evaluate.")],
    images: Annotated[int, typer.Option(min=1, help="Number of images, drawn at random")] = 1000,
    shifts: Annotated[int, typer.Option(min=0, help="Largest shift in pixels, every offset up to it")] = 8,
    seed: Annotated[int, typer.Option(help="Random seed")] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A PNG file of the plot  [default: none]")] = None,
    as_json: JsonOption = False,
    weights: WeightsOption = None,
) -> None:
    """Accuracy under shifts, rotations, scalings and flips."""
    from . import api
    from .report.invariance_plot import draw_invariance

    skipped: list[Any] = []
    model = api.load(run, weights)
    found = model.invariance(model.images(data, on_skip=skipped.append), images, seed, shifts=shifts)
    if as_json:
        print_json(found.as_dict())
    else:
        print_text(found)
    if out is not None:
        write_picture(out, draw_invariance(found))
    warn_skipped(skipped)


@app.command("explain")
def write_explanation(
    run: RunArgument,
    image: Annotated[str, typer.Argument(help="An image file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file")] = Path("inside.html"),
    label: Annotated[str | None, typer.Option(help="Class to explain  [default: the predicted one]")] = None,
    weights: WeightsOption = None,
) -> None:
    """Filters, feature maps and attributions of an image, as HTML."""
    from . import api, atomic_file
    from .inside.image_page import render_image_page

    model = api.load(run, weights)
    shown, x = model.pixels(image)
    target = None if label is None else model.class_index(label)
    html = render_image_page(model.net, model.tensors, x, shown, model.classes, Path(image).name, target, print_warning)
    atomic_file.write_file(out, html)
    print_text(out)


@app.command("examples")
def write_examples(
    run: RunArgument,
    data: Annotated[str, typer.Argument(help="Images, as for evaluate.")],
    layer: LayerOption,
    channels: ChannelsOption = None,
    count: Annotated[int, typer.Option(min=1, help="Images per channel")] = 9,
    out: OutPng = Path("examples.png"),
    as_json: JsonOption = False,
    weights: WeightsOption = None,
) -> None:
    """The images and patches that activate each channel most."""
    from . import api
    from .inside.examples import draw_examples

    skipped: list[Any] = []
    model = api.load(run, weights)
    images = model.images(data, on_skip=skipped.append)
    found = model.examples(images, layer, parse_numbers(channels, "--channels"), count)
    for item in found:
        best = [
            {"file": images.files[e.image], "value": e.value, "place": e.place, "box": e.box} for e in item.examples
        ]
        if as_json:
            print_json({"layer": item.path, "channel": item.channel, "examples": best})
        else:
            print_row([f"{item.path}[{item.channel}]", *(f"{e['file']} {e['value']:.4g}" for e in best[:3])])
    write_picture(out, draw_examples(found, images.x))
    warn_skipped(skipped)


@app.command("dream")
def write_dream(
    run: RunArgument,
    layer: LayerOption,
    channels: ChannelsOption = None,
    centre: Annotated[
        bool, typer.Option("--centre", help="Maximise the centre unit only, not the channel's mean")
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="Optimisation steps")] = 128,
    seed: Annotated[int, typer.Option(help="Random seed")] = 0,
    out: OutPng = Path("dream.png"),
    weights: WeightsOption = None,
) -> None:
    """Activation maximisation: the images that channels prefer."""
    from . import api
    from .inside.dream import draw_dream

    found = api.load(run, weights).dream(
        layer, parse_numbers(channels, "--channels"), centre=centre, steps=steps, seed=seed
    )
    for channel, first, last in zip(found.channels, found.values[0], found.values[-1], strict=True):
        print_row([f"{found.path}[{channel}]", f"{first:.4g}", f"{last:.4g}"])
    write_picture(out, draw_dream(found))


@app.command("ablate")
def write_ablation(
    run: RunArgument,
    data: Annotated[str, typer.Argument(help="Labelled images, as for evaluate.")],
    layer: Annotated[list[str] | None, typer.Option("--layer", help="Layer name; repeatable  [default: all]")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Whole layers only, not each channel")] = False,
    out: OutPng = Path("ablate.png"),
    as_json: JsonOption = False,
    weights: WeightsOption = None,
) -> None:
    """Ablation: the accuracy without each layer and each channel."""
    from . import api
    from .inside.ablation import draw_ablation

    skipped: list[Any] = []
    model = api.load(run, weights)
    found = model.ablate(model.images(data, on_skip=skipped.append), layer, channels=not whole)
    if as_json:
        print_json(found.as_dict())
    else:
        print_text(found)
    write_picture(out, draw_ablation(found))
    warn_skipped(skipped)


@app.command("embed")
def write_embedding(
    run: RunArgument,
    data: Annotated[str, typer.Argument(help="Labelled images, as for evaluate.")],
    method: Annotated[str, typer.Option(help="pca or tsne (needs scikit-learn)")] = "pca",
    out: OutPng = Path("embed.png"),
    weights: WeightsOption = None,
) -> None:
    """Plot the last features of a data set by PCA or t-SNE."""
    from . import api
    from .inside.embed import draw_embedding

    skipped: list[Any] = []
    model = api.load(run, weights)
    images = model.images(data, on_skip=skipped.append)
    found = model.embed(images, method)
    for file, (x, y), truth, told in zip(images.files, found.points, found.labels, found.predicted, strict=True):
        print_row([file, f"{x:.5g}", f"{y:.5g}", model.classes[truth], model.classes[told]])
    write_picture(out, draw_embedding(found, model.classes))
    warn_skipped(skipped)


@app.command("inside")
def write_inside_page(
    run: RunArgument,
    image: Annotated[
        str | None, typer.Argument(help="An image file to begin with  [default: of the run's data]")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file")] = Path("inside.html"),
    weights: WeightsOption = None,
) -> None:
    """The network alive in one offline HTML file: draw, click."""
    from . import api
    from .studio.living_page import write_living_page

    print_text(write_living_page(api.load(run, weights), out, image))


@app.command("studio")
def open_studio(
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders  [default: all under runs/]")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser")] = True,
) -> None:
    """Open the studio, a local web page for all of this."""
    try:
        from .studio.server import serve_studio as start
    except ImportError as e:
        raise explain_missing_extra(e.name, "studio", "studio") from None  # type: ignore[misc]
    start(runs or [], port, browser)
