"""The commands that look inside: filters, feature maps, attributions, invariance. As in `cli`, they hold no logic."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .cli_options import JsonOption, RunArgument, WeightsOption, app, emit, warn_skipped
from .errors import StriateError

OutPng = Annotated[Path, typer.Option("--out", "-o", help="The PNG file.")]
LayerOption = Annotated[str, typer.Option("--layer", help="A layer's path, as the summary names it.")]
ChannelsOption = Annotated[str | None, typer.Option(help="Such as 0,3,7-9. Default: all, or the first 12.")]


def write_picture(path: Path, picture: Any) -> None:
    """A picture as PNG, whole or not at all; its path goes to stderr, so that stdout stays data."""
    from . import whole_file
    from .evaluate.pictures import png

    whole_file.write(path, png(picture))
    print(f"picture {path}", file=sys.stderr)


def as_numbers(text: str | None, option: str) -> list[int] | None:
    """ "0,3,7-9" as [0, 3, 7, 8, 9]. Raises StriateError."""
    if text is None:
        return None
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise StriateError(option, "numbers and ranges are wanted", got=text, hint=f"{option} 0,3,7-9")
        found += range(int(first), int(last or first) + 1)
    return found


@app.command("filter")
def filter_image(
    image: Annotated[Path, typer.Argument(help="An image file.")],
    kernel: Annotated[
        str, typer.Option(help="sobel, vertical, blur, sharpen, …, or '[[1,0,-1],[2,0,-2],[1,0,-1]]'.")
    ] = "sobel",
    stride: Annotated[int, typer.Option(min=1, help="Pixels from one position to the next.")] = 1,
    padding: Annotated[str, typer.Option(help="valid, same, or pixels on each side.")] = "valid",
    at: Annotated[str | None, typer.Option(help="Show the arithmetic of this row,column of the feature map.")] = None,
    size: Annotated[int | None, typer.Option(min=1, help="Reduce the image to this longer side first.")] = None,
    out: OutPng = Path("filter.png"),
    as_json: JsonOption = False,
) -> None:
    """Slide one filter over an image: the picture, the kernel and the feature map, before anything is learned."""
    from .data.decode import decode
    from .evaluate.pictures import fitted
    from .inside import filters_by_hand

    pixels = decode(image, 3)
    pixels = pixels if size is None else fitted(pixels, size)
    found = filters_by_hand.filter_image(pixels, kernel, stride, int(padding) if padding.isdigit() else padding)
    if as_json:
        emit(found.as_dict())
    elif at is not None:
        place = as_numbers(at, "--at") or []
        if len(place) != 2:
            raise StriateError("--at", "a place is a row and a column", got=at, hint="--at 10,12")
        print(found.at(*place))
    write_picture(out, filters_by_hand.picture(found))


@app.command()
def invariance(
    run: RunArgument,
    data: Annotated[str, typer.Argument(help="Labelled images, as for evaluate.")],
    images: Annotated[int, typer.Option(min=1, help="So many of them, drawn at random.")] = 1000,
    shifts: Annotated[int, typer.Option(min=0, help="Every offset of up to so many pixels.")] = 8,
    seed: Annotated[int, typer.Option(help="Settles the draw.")] = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A PNG file of the plot.")] = None,
    as_json: JsonOption = False,
    weights: WeightsOption = None,
) -> None:
    """Accuracy and agreement of the answers under shifts, rotations, scalings and flips, with their intervals."""
    from . import api
    from .evaluate.invariance_plot import picture

    skipped: list[Any] = []
    model = api.load(run, weights)
    found = model.invariance(model.images(data, on_skip=skipped.append), images, seed, shifts=shifts)
    if as_json:
        emit(found.as_dict())
    else:
        print(found)
    if out is not None:
        write_picture(out, picture(found))
    warn_skipped(skipped)


@app.command()
def explain(
    run: RunArgument,
    image: Annotated[str, typer.Argument(help="An image file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file.")] = Path("inside.html"),
    label: Annotated[str | None, typer.Option(help="The class asked about. Default: the likeliest.")] = None,
    weights: WeightsOption = None,
) -> None:
    """One image's way through a net as one HTML file: filters, maps, and what speaks for the answer."""
    from . import api, whole_file
    from .inside.page import page

    model = api.load(run, weights)
    shown, x = model.pixels(image)
    target = None if label is None else model.class_index(label)
    html = page(model.net, model.tensors, x, shown, model.classes, Path(image).name, target,
                lambda what: print(what, file=sys.stderr))  # fmt: skip
    whole_file.write(out, html)
    print(out)


@app.command()
def examples(
    run: RunArgument,
    data: Annotated[str, typer.Argument(help="Images, as for evaluate.")],
    layer: LayerOption,
    channels: ChannelsOption = None,
    count: Annotated[int, typer.Option(min=1, help="So many images a channel.")] = 9,
    out: OutPng = Path("examples.png"),
    as_json: JsonOption = False,
    weights: WeightsOption = None,
) -> None:
    """The images of a data set that excite a layer's channels most, and the patch in each that did it."""
    from . import api
    from .inside.examples import picture

    skipped: list[Any] = []
    model = api.load(run, weights)
    images = model.images(data, on_skip=skipped.append)
    found = model.examples(images, layer, as_numbers(channels, "--channels"), count)
    for item in found:
        best = [
            {"file": images.files[e.image], "value": e.value, "place": e.place, "box": e.box} for e in item.examples
        ]
        if as_json:
            emit({"layer": item.path, "channel": item.channel, "examples": best})
        else:
            print(f"{item.path}[{item.channel}]\t" + "\t".join(f"{e['file']} {e['value']:.4g}" for e in best[:3]))
    write_picture(out, picture(found, images.x))
    warn_skipped(skipped)


@app.command()
def dream(
    run: RunArgument,
    layer: LayerOption,
    channels: ChannelsOption = None,
    centre: Annotated[bool, typer.Option("--centre", help="Raise the middle value alone.")] = False,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimisation.")] = 128,
    seed: Annotated[int, typer.Option(help="Settles the noise it begins with.")] = 0,
    out: OutPng = Path("dream.png"),
    weights: WeightsOption = None,
) -> None:
    """The images that a layer's channels prefer, made by optimisation."""
    from . import api
    from .inside.dream import picture

    found = api.load(run, weights).dream(
        layer, as_numbers(channels, "--channels"), centre=centre, steps=steps, seed=seed
    )
    for channel, first, last in zip(found.channels, found.values[0], found.values[-1], strict=True):
        print(f"{found.path}[{channel}]\t{first:.4g}\t{last:.4g}")
    write_picture(out, picture(found))


@app.command()
def lesion(
    run: RunArgument,
    data: Annotated[str, typer.Argument(help="Labelled images, as for evaluate.")],
    layer: Annotated[
        list[str] | None, typer.Option("--layer", help="A layer's path, again for more. Default: all.")
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="Whole layers alone, not each channel.")] = False,
    out: OutPng = Path("lesion.png"),
    as_json: JsonOption = False,
    weights: WeightsOption = None,
) -> None:
    """The accuracy that is left without each layer and each channel: what matters is seen by what its loss costs."""
    from . import api
    from .inside.lesion import picture

    skipped: list[Any] = []
    model = api.load(run, weights)
    found = model.lesion(model.images(data, on_skip=skipped.append), layer, channels=not whole)
    if as_json:
        emit(found.as_dict())
    else:
        print(found)
    write_picture(out, picture(found))
    warn_skipped(skipped)


@app.command()
def embed(
    run: RunArgument,
    data: Annotated[str, typer.Argument(help="Labelled images, as for evaluate.")],
    method: Annotated[str, typer.Option(help="pca or tsne (with scikit-learn).")] = "pca",
    out: OutPng = Path("embed.png"),
    weights: WeightsOption = None,
) -> None:
    """A data set in two dimensions by the net's last features, coloured by class, mistakes marked."""
    from . import api
    from .inside.embed import picture

    skipped: list[Any] = []
    model = api.load(run, weights)
    images = model.images(data, on_skip=skipped.append)
    found = model.embed(images, method)
    for file, (x, y), truth, told in zip(images.files, found.points, found.labels, found.predicted, strict=True):
        print(f"{file}\t{x:.5g}\t{y:.5g}\t{model.classes[truth]}\t{model.classes[told]}")
    write_picture(out, picture(found, model.classes))
    warn_skipped(skipped)


@app.command("inside")
def inside_page(
    run: RunArgument,
    image: Annotated[str, typer.Argument(help="An image file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file.")] = Path("inside.html"),
    at: Annotated[list[str] | None, typer.Option(help="A value to trace as well: conv1[3,10,12].")] = None,
    weights: WeightsOption = None,
) -> None:
    """One image inside a net as one HTML file that opens offline: all maps, and where each value comes from."""
    from . import api
    from .studio.standalone import write

    print(write(api.load(run, weights), image, out, at=tuple(at or ())))


@app.command()
def studio(
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders. Default: all under runs/.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
) -> None:
    """See and touch everything in a local web page: architecture, training, data, results, the inside of a net."""
    from .studio.start import studio as start

    start(runs or [], port, browser)
