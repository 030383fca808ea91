"""The commands about a trained model: how good it is, what it answers, and its way out. As in `cli`, no logic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .cli_options import JsonOption, RunArgument, ShippedArgument, WeightsOption, add_options, app, warn_skipped
from .data.reading import Reading
from .errors import StriateError
from .extras import explain_missing_extra
from .language import say
from .terminal import format_table, print_json, print_row, print_text, print_warning


@app.command("evaluate")
@add_options(Reading)
def print_evaluation(
    run: ShippedArgument,
    data: Annotated[str, typer.Argument(help="Labelled images, as for train; the test split, where there is one")],
    as_json: JsonOption = False,
    weights: WeightsOption = None,
    memory: Annotated[
        str | None, typer.Option(help="Memory for the images, such as 500M  [default: half of what is free]")
    ] = None,
    known: Annotated[
        bool, typer.Option("--known", help="Also score images that the model was trained or validated on")
    ] = False,
    mistakes: Annotated[
        Path | None, typer.Option(help="Write the wrong answers to this .csv, most confident first  [default: none]")
    ] = None,
    **reading: Any,
) -> None:
    """Accuracy with interval, per-class metrics, calibration."""
    from .atomic_file import write_file
    from .model.known import MISTAKE_COLUMNS
    from .model.label_model import LabelModel
    from .model.number_model import NumberModel
    from .model.opening import open_any

    skipped: list[Any] = []
    model = open_any(run, weights)
    if isinstance(model, LabelModel | NumberModel):
        if mistakes is not None:
            raise refuse_form("--mistakes", model)
        scored = model.evaluate(data, known, on_skip=skipped.append, memory=memory, **reading)
        print_json(scored.as_dict()) if as_json else print_text(scored)
        return warn_skipped(skipped)
    answered = model.answers(model.images(data, skipped.append, memory, **reading), known=known)
    found = answered.report
    if mistakes is not None:
        write_file(mistakes, format_table(MISTAKE_COLUMNS, answered.list_mistakes()))
    if answered.crossed:
        notice = say("the model has learnt from all of these images; this is what cross-validation said of each")
        print_warning(say("note: {message}", message=notice))
    elif found.known is None:
        notice = say(
            "the model does not record its training images; if some are among these, the accuracy is optimistic"
        )
        print_warning(say("note: {message}", message=notice))
    if as_json:
        print_json(found.as_dict())
    else:
        print_text(found)
    warn_skipped(skipped)


@app.command("calibrate")
def print_calibration(
    run: RunArgument,
    data: Annotated[str, typer.Argument(help="The data of the run, or labelled images that it has not seen.")],
    error: Annotated[str, typer.Option(help="Largest share of wrong answers, such as 2% or 0.02")] = "2%",
    unlike: Annotated[
        str | None,
        typer.Option(help="Turn away pictures unlike the training ones, and so many right answers  [default: none]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say "unsure" below a threshold that keeps a stated error.

    Of the data that the run was trained on, the validation images choose the thresholds and the test images try them.
    The model file is written again: its probabilities calibrated by temperature, its thresholds in the header.
    """
    from .model.calibrating import calibrate

    lost = None if unlike is None else parse_share(unlike, "--unlike")
    found = calibrate(run, data, parse_share(error), unlike=lost)
    print_json(found.as_dict()) if as_json else print_text(found)


@app.command("correct")
def print_corrections(
    run: Annotated[str, typer.Argument(help="A run folder.")],
    file: Annotated[str | None, typer.Argument(help="An image of its data  [default: list what was said]")] = None,
    label: Annotated[str | None, typer.Argument(help="Its right class, or - for none of them")] = None,
    reason: Annotated[str, typer.Option(help="Why, for the table  [default: none]")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take back what was said last")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what class an image is of, for the next training.

    It is written into corrections.csv beside the run, and the data stay as they are. striate train DATA --corrections
    RUN/corrections.csv takes it. The studio's view Fix labels writes the same table.
    """
    from .runs.correcting import correct_label, list_corrections, undo_correction

    if (file is None) != (label is None) or (undo and file is not None):
        raise StriateError("correct", say("an image and its class go together"), hint="striate correct RUN FILE CLASS")
    if undo:
        undo_correction(run)
    elif file is not None and label is not None:
        correct_label(run, file, label, reason)
    rows = list_corrections(run)
    if as_json:
        print_json([row._asdict() for row in rows])
    else:
        for row in rows:
            print_row((row.file, row.label, row.corrected))


def parse_share(text: str, option: str = "--error") -> float:
    """ "2%" or "0.02" as 0.02. Raises StriateError."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise StriateError(option, "expected a share", got=text, hint=f"{option} 2%") from None


@app.command("predict")
def print_predictions(
    run: ShippedArgument,
    images: Annotated[
        list[str],
        typer.Argument(help="Image files, folders of them, http(s) or s3:// addresses, or - for names on stdin."),
    ],
    top: Annotated[int, typer.Option(min=1, help="Top-k classes per image, with --json")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, one per image")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV: file, label, probability")] = False,
    all_probabilities: Annotated[
        bool, typer.Option("--all-probabilities", help="With --csv: a column for each class instead")
    ] = False,
    kaggle: Annotated[
        bool, typer.Option("--kaggle", help="With --csv: first column id, the file's name without folder and suffix")
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(help="For millions: a folder or s3:// address for parts; tables of files too  [default: none]"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="With --out: go on with what was begun, or begin")] = False,
    rows_per_part: Annotated[int | None, typer.Option(help="With --out: pictures a part  [default: 10,000]")] = None,
    format: Annotated[str | None, typer.Option(help="With --out: csv or parquet  [default: csv]")] = None,
    workers: Annotated[int | None, typer.Option(help="With --out: processes  [default: one a core]")] = None,
    engine: Annotated[
        str | None, typer.Option(help="With --out: processes, or ray for many machines  [default: processes]")
    ] = None,
    weights: WeightsOption = None,
) -> None:
    """Classify images, each with its probability. Files that are not images are named and skipped (exit code 1).

    A calibrated model also says of which answers it is unsure (exit code 3, without --out).
    """
    chosen = {
        "rows_per_part": rows_per_part, "format": format, "workers": workers, "engine": engine, "resume": resume or None
    }  # fmt: skip
    asked = {name: value for name, value in chosen.items() if value is not None}
    if out is not None:
        if as_csv or as_json or kaggle:
            option = "--csv" if as_csv else "--json" if as_json else "--kaggle"
            raise StriateError(option, say("parts have a form of their own"), hint="--out parts/ --format csv")
        print_parts(run, images, out, all_probabilities=all_probabilities, weights=weights, **asked)
        return
    if asked:
        option = "--" + min(asked).replace("_", "-")
        raise StriateError(option, say("this is an option of parts"), hint=f"--out parts/ {option}")
    from .data.images import Skipped
    from .data.sources.folder import list_image_files
    from .model.label_model import LabelModel
    from .model.number_model import NumberModel
    from .model.opening import open_any
    from .model.prediction import TableForm, show_progress

    if as_json and as_csv:
        raise StriateError("predict", say("only one output format at a time"), hint=say("--json or --csv"))
    if (all_probabilities or kaggle) and not as_csv:
        option = "--all-probabilities" if all_probabilities else "--kaggle"
        raise StriateError(option, say("this is a form of CSV"), hint=f"--csv {option}")
    names = list_image_files(images) if "-" in images else list(list_image_files(images))
    model = open_any(run, weights)
    if isinstance(model, LabelModel | NumberModel):
        if kaggle:
            raise refuse_form("--kaggle", model)
        return print_answers(model, names, as_json, as_csv, all_probabilities)
    skipped: list[Skipped] = []
    unsure = False
    form = TableForm(model.classes, all_probabilities, kaggle, model.abstention is not None, model.tells_strange)
    top = len(model.classes) if all_probabilities else top
    if as_csv:
        print_row(form.columns, ",")
    for answer in show_progress(model.predict_files(names, top), len(names) if isinstance(names, list) else None):
        if isinstance(answer, Skipped):
            skipped.append(answer)
            continue
        unsure = unsure or bool(answer.unsure)
        if as_json:
            print_json(answer.as_dict())
        elif as_csv:
            print_row(form.cells(answer), ",")
        else:
            print_row(answer.line())
    warn_skipped(skipped)
    if unsure:
        raise typer.Exit(3)


def refuse_form(option: str, model: Any) -> StriateError:
    """The error of an option that is there for one class a picture alone."""
    from .engines.answers import ANSWERS

    return StriateError(option, say("this is not there for {answer}", answer=say(ANSWERS[model.about.outputs].told)))


def print_answers(model: Any, names: Any, as_json: bool, as_csv: bool, everything: bool) -> None:
    """Print the labels or the number of each file, in the form asked for."""
    from .data.images import Skipped
    from .model.prediction import show_progress

    skipped: list[Skipped] = []
    if as_csv:
        print_row(model.columns(everything), ",")
    for answer in show_progress(model.predict_files(names), len(names) if isinstance(names, list) else None):
        if isinstance(answer, Skipped):
            skipped.append(answer)
        elif as_json:
            print_json(answer.as_dict())
        elif as_csv:
            print_row(answer.cells(everything), ",")
        else:
            print_row(answer.line())
    warn_skipped(skipped)


def print_parts(run: str, images: list[str], out: str, **options: Any) -> None:
    """`predict --out`: the parts, and exit code 1 where a file was unreadable."""
    from .parts.predicting import predict_to_parts
    from .parts.progress import show_parts

    with show_parts() as show:
        done = predict_to_parts(run, images, out, on_part=show, **options)
    print_text(done)
    if done.unreadable:
        raise typer.Exit(1)


@app.command("serve")
def start_service(
    file: Annotated[Path, typer.Argument(help="An exported .onnx file, a run folder or a model file.")],
    host: Annotated[str, typer.Option(help="Host to listen on; 0.0.0.0 for other machines too")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="STRIATE_TOKEN", help="Bearer token that requests must send  [default: none]")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Host name to accept in requests; repeatable  [default: its own]")
    ] = None,
    allow_urls: Annotated[bool, typer.Option("--allow-urls", help="Let requests name images by public URL")] = False,
    upload: Annotated[int, typer.Option(min=1, help="Largest request, bytes")] = 20_000_000,
    pixels: Annotated[int, typer.Option(min=1, help="Largest image, pixels")] = 50_000_000,
    images: Annotated[int, typer.Option(min=1, help="Most images per request")] = 32,
    seconds: Annotated[float, typer.Option(min=0.1, help="Time limit per request, seconds")] = 30.0,
    queue: Annotated[int, typer.Option(min=1, help="Most images in flight")] = 256,
    batch: Annotated[int, typer.Option(min=1, help="Largest inference batch")] = 4,
    threads: Annotated[int, typer.Option(min=1, help="Threads per batch; there is one worker per core")] = 1,
    name: Annotated[
        str | None, typer.Option(help="Model's name under /v2/models  [default: the file's or run's]")
    ] = None,
) -> None:
    """Serve predictions over HTTP.

    /predict, /predict/batch, /model, /health, /metrics, and a page for uploading a photo. Under /v2 the same in the
    open inference protocol of KServe and Triton.
    """
    try:
        from .serve.server import serve_model as run
        from .serve.settings import Limits
    except ImportError as e:
        raise explain_missing_extra(e.name, "serve", "serve") from None  # type: ignore[misc]
    limits = Limits(upload=upload, pixels=pixels, images=images, seconds=seconds, queue=queue, batch=batch)
    hosts = tuple(allow_host or ())
    access: dict[str, Any] = {"token": token, "hosts": hosts, "allow_urls": allow_urls}
    run(file, host, port, limits=limits, threads=threads, name=name, **access)


@app.command("export")
def write_export(
    run: RunArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file: .onnx, .html, .xml, .pt2, .tflite, .pte or .mlpackage")
    ],
    data: Annotated[
        str | None, typer.Option(help="Labelled images for the comparison and for --int8 calibration  [default: none]")
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="onnx, openvino, torch, page, litert, executorch or coreml  [default: by suffix]")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Quantise to int8; needs --data")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Export in float16, for GPUs")] = False,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights, one line  [default: none]")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="ONNX of floats, its .json beside it")] = False,
    opset: Annotated[int | None, typer.Option(help="With --plain: version of ONNX's operators  [default: 18]")] = None,
    batch: Annotated[int, typer.Option(help="With --plain: images at once")] = 1,
    as_json: JsonOption = False,
    weights: WeightsOption = None,
) -> None:
    """Export to ONNX, a web page, OpenVINO, torch or phones.

    One file that takes raw images and returns probabilities. A page (.html) has the network inside it and opens on any
    phone, without a server; --format page with a folder makes it installable. Files for LiteRT (.tflite), ExecuTorch
    (.pte) and Core ML (.mlpackage) hold the bare network, as --plain does; the .json beside one says how a picture
    becomes its input. They need the extras litert, executorch and coreml.

    With --data, up to 256 test images go through the model in torch, the float32 ONNX file and the exported file: at
    the net's size, and as files at their own size, which the exported file resizes itself. The export fails, and no
    file is kept, unless at least 99 % of the predictions are equal and probabilities differ by at most 0.001 (0.02 from
    files; float16: 0.02 and 0.04); int8: at least 95 % equal predictions.
    """
    from . import api
    from .model.answering import take_model
    from .model.opening import open_any

    model = take_model(open_any(run, weights))
    found = api.export(
        *(model, out), data=data, format=format, int8=int8, fp16=fp16, licence=licence, plain=plain,
        opset=opset, batch=batch,
    )  # fmt: skip
    if as_json:
        print_json({"file": str(out), "parity": None if found is None else found.as_dict()})
    else:
        print_text(out)
        if found is not None:
            print_text(found)
    if model.tells_strange and (plain or int8 or fp16 or out.suffix not in (".onnx", ".xml")):
        notice = say("this file does not tell pictures unlike the training pictures; a full ONNX file of floats does")
        print_warning(say("note: {message}", message=notice))


@app.command("prove")
def print_proof(
    file: Annotated[Path, typer.Argument(help="Somebody's .onnx classifier: float N×C×H×W or N×H×W×C")],
    data: Annotated[str, typer.Argument(help="Labelled image files, as for train; the test split, where there is one")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write it with that inside  [default: none]")] = None,
    classes: Annotated[str | None, typer.Option(help="Outputs' names: a,b,c or a file  [default: sorted]")] = None,
    size: Annotated[int | None, typer.Option(help="Side of its images  [default: the file's]")] = None,
    fit: Annotated[str | None, typer.Option(help="Fit: pad, 'crop 256 bicubic'  [default: tried]")] = None,
    mean: Annotated[str | None, typer.Option(help="Mean: 0.485,0.456,0.406  [default: tried]")] = None,
    std: Annotated[str | None, typer.Option(help="Deviation: 0.229,0.224,0.225  [default: tried]")] = None,
    as_json: JsonOption = False,
) -> None:
    """Find how an ONNX file wants its pictures.

    Each usual preparation is tried on at most 400 labelled pictures, and their accuracies stand side by side.
    """
    from .exporting.proving import prove, read_names, read_numbers, write_fixed_file

    frame = None if size is None else (size, size)
    numbers = read_numbers("--mean", mean), read_numbers("--std", std)
    found = prove(file, data, size=frame, fit=fit, mean=numbers[0], std=numbers[1], classes=read_names(classes))
    if out is not None:
        write_fixed_file(file, found, out, frame)
    if as_json:
        print_json(found.as_dict())
    else:
        print_text(found)


@app.command("push")
def push_run(
    run: RunArgument,
    name: Annotated[str, typer.Argument(help="OWNER/NAME on the Hub; it is made where it is not there")],
    licence: Annotated[str | None, typer.Option(help="Licence of the weights: apache-2.0, …  [default: none]")] = None,
    private: Annotated[bool, typer.Option("--private", help="For you alone, where the repository is new")] = False,
) -> None:
    """Put a run on the Hugging Face Hub, with a model card.

    The card has the measured accuracy with its interval, the confusion matrix, the data, how to use it and the licence.
    striate.load("hf:OWNER/NAME") reads the model again.
    """
    from .exporting.hub import push

    print_text(push(run, name, licence=licence, private=private))
