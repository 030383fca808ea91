"""Export with its proof: the file is written beside a comparison with the model, and kept only where that holds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from warnings import warn

import msgspec
import numpy as np

from .. import __version__, atomic_file
from ..browser.javascript_layers import check_browser_net
from ..data.images import Images
from ..data.listing import Entry
from ..data.read.decode import decode_image
from ..data.read.depth import Depth
from ..data.read.files import catch_data_errors, spread_places
from ..data.reading import make_reading
from ..data.sources.load import list_source
from ..errors import DataError, ModelError, suggest_name
from ..formats import openvino_file
from ..formats.onnx_file import Card, read_exported
from ..formats.plain_file import prepare_images
from ..formats.quantise import ENOUGH_CALIBRATION, need_calibration
from ..formats.saturation import EightBitProof, prove_no_saturation
from ..language import say, to_say
from ..model.exported import ExportedModel, add_frame, load_exported
from ..model.model import Model
from ..model.prediction import find_depth
from . import page_file
from .answer_file import AnswerParity, compare_file, export_answers
from .parity import AnswerWay, Parity, draw_calibration, make_file_way, make_model_way, measure_parity
from .runtime_files import CONVERTER_MISTAKE, RUNTIMES, check_runtime, write_runtime_file

# The formats, each with its file's suffix.
FORMAT_SUFFIXES = {
    "onnx": ".onnx",
    "openvino": ".xml",
    "torch": ".pt2",
    "page": ".html",
    **{name: runtime.suffix for name, runtime in RUNTIMES.items()},
}
# bench/runtimes.py measures by how much.
OPENVINO_CAUTION = to_say(
    "OpenVINO reads this file's resizing wrongly: give it the .xml. Its antialiasing is not Pillow's, "
    "and it says nothing"
)
# Images that are compared, and that 8-bit numbers are calibrated by, at most.
COMPARED, CALIBRATING = 256, 128


class PlainForm(NamedTuple):
    """Of a plain file: the version of ONNX's operators, None for the usual one, and the images at once."""

    opset: int | None = None
    batch: int = 1


class ChosenImages(NamedTuple):
    """Images to compare on, and what there is besides.

    entries  the files of these images, in their order; None where the data are no files
    others   uint8 N×h×w×C at the net's size, not among those compared, to calibrate by
    """

    images: Images
    entries: list[Entry] | None
    others: np.ndarray

    def pictures(self, channels: int, depth: Depth | None = None, alpha: bool = False) -> Iterator[np.ndarray] | None:
        """The files decoded at their own size, one after the other."""
        if self.entries is None:
            return None
        return (decode_image(entry.path, channels, depth=depth, alpha=alpha) for entry in self.entries)


def export_checked(
    model: Model,
    out: Path | str,
    *,
    data: Any = None,
    kind: str | None = None,
    int8: bool = False,
    fp16: bool = False,
    licence: str | None = None,
    form: PlainForm | None = None,
) -> Parity | AnswerParity | None:
    """`api.export`: the file at `out`, and its Parity; None without data.

    Raises ModelError, and leaves `out` as it was, where a bound is broken.
    """
    kind = check_format(kind, Path(out), int8=int8, fp16=fp16)
    if model.header.outputs != "softmax":
        return export_answers(
            model, Path(out), data, kind=kind, int8=int8, fp16=fp16, plain=form is not None, licence=licence
        )
    if kind == "page":
        check_browser_net(model.net)
    if int8 and data is None and kind != "page":
        raise ModelError("export", say("int8 needs images to calibrate with"), hint="--data photos/")
    if form is not None and (kind != "onnx" or int8 or fp16):
        raise ModelError("plain", say("a plain file is ONNX in 32-bit floats"), hint="-o model.onnx --plain")
    chosen = None if data is None else choose_images(model, data, calibrate=int8 and kind != "page")
    if kind == "page":
        return export_page(model, Path(out), chosen, "int8" if int8 else "float16" if fp16 else None, licence)
    if form is not None:
        return export_plain(model, Path(out), chosen, form, licence)
    if kind in RUNTIMES:
        return export_for_runtime(model, Path(out), kind, chosen, int8, licence)
    with tempfile.TemporaryDirectory() as folder:
        made, found = Path(folder) / f"model{FORMAT_SUFFIXES[kind]}", None
        calibration = list(add_frame(chosen.others, model.preprocess)) if chosen and int8 else None
        card = write_format(model, made, kind, licence, calibration, fp16)
        if chosen is not None:
            ways = [make_model_way(model)]
            if (kind, card.precision) != ("onnx", "float32"):
                plain = Path(folder) / "plain.onnx"
                ways.append(make_file_way(plain, "onnx", model.export(plain)))
            ways.append(make_file_way(made, kind, card))
            pictures = chosen.pictures(model.net.input[0], find_depth(model.preprocess), model.preprocess.alpha)
            found = measure_parity(ways, chosen.images.x[:], chosen.images.y, pictures).held()
            products = read_products(made.with_suffix(".onnx")) if int8 else None
            found = replace(found, products=products, caution=OPENVINO_CAUTION if kind == "onnx" else None)
        if kind == "openvino":
            atomic_file.write_file(Path(out).with_suffix(".bin"), made.with_suffix(".bin").read_bytes())
        atomic_file.write_file(Path(out), made.read_bytes())
    return found


def export_page(
    model: Model, out: Path, chosen: ChosenImages | None, weights: str | None, licence: str | None
) -> Parity | None:
    """The page to give away at `out`, or without a suffix a folder of it that can be installed, and its Parity.

    The page's own engine answers under node; where that is not installed, a warning says that nothing was compared.
    """
    with tempfile.TemporaryDirectory() as folder:
        made, found = Path(folder), None
        written = page_file.write_page_file(model, made, installable=not out.suffix, weights=weights, licence=licence)
        if chosen is not None and page_file.has_node():
            with closing(page_file.PageAnswers(written.payload)) as answers:
                ways = [make_model_way(model), AnswerWay("page", written.precision, *answers.ways())]
                pictures = chosen.pictures(model.net.input[0])
                found = measure_parity(ways, chosen.images.x[:], chosen.images.y, pictures).held()
        elif chosen is not None:
            warn(
                say("the page's engine was not run on these images: it needs node, which is not installed"),
                stacklevel=3,
            )
        if not out.suffix:
            out.mkdir(parents=True, exist_ok=True)
        for file in sorted(made.iterdir()):
            atomic_file.write_file(out if out.suffix else out / file.name, file.read_bytes())
    return found


def export_plain(
    model: Model, out: Path, chosen: ChosenImages | None, form: PlainForm, licence: str | None
) -> Parity | None:
    """The plain file at `out` with its JSON beside it, and its Parity."""
    from ..formats.plain_file import PlainAnswers, open_plain_file, write_plain_file

    card = make_plain_card(model, licence)
    with tempfile.TemporaryDirectory() as folder:
        made, found = Path(folder) / "model.onnx", None
        beside = write_plain_file(model.net, model.tensors, card, made, opset=form.opset, batch=form.batch)
        if chosen is not None:
            answers = PlainAnswers(open_plain_file(made, form.batch), card.preprocess)
            ways = [make_model_way(model), AnswerWay("plain onnx", "float32", answers.sized, answers.whole)]
            pictures = chosen.pictures(model.net.input[0], find_depth(model.preprocess), model.preprocess.alpha)
            found = measure_parity(ways, chosen.images.x[:], chosen.images.y, pictures).held()
        atomic_file.write_file(out.with_suffix(".json"), beside.read_bytes())
        atomic_file.write_file(out, made.read_bytes())
    return found


def export_for_runtime(
    model: Model, out: Path, kind: str, chosen: ChosenImages | None, int8: bool, licence: str | None
) -> Parity | None:
    """The file of another runtime at `out` with its JSON beside it, and its Parity.

    Without images it is compared on drawn ones all the same, and the answer is None.
    """
    calibration, found = None, None
    if int8 and chosen is not None:
        need_calibration(chosen.others)
        calibration = prepare_images(chosen.others, model.preprocess)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"model{RUNTIMES[kind].suffix}"
        ways = [make_model_way(model)]
        ways.append(write_runtime_file(model, made, kind, make_plain_card(model, licence), calibration))
        if chosen is None:
            drawn = draw_calibration(*model.preprocess.size, model.net.input[0])
            measure_parity(ways, drawn, model.probabilities(drawn).argmax(1)).held(CONVERTER_MISTAKE)
        else:
            pictures = chosen.pictures(model.net.input[0], find_depth(model.preprocess), model.preprocess.alpha)
            found = measure_parity(ways, chosen.images.x[:], chosen.images.y, pictures).held(CONVERTER_MISTAKE)
            found = replace(found, caution=RUNTIMES[kind].caution)
        atomic_file.write_file(out.with_suffix(".json"), made.with_suffix(".json").read_bytes())
        atomic_file.write_whole(out, made)
    return found


def make_plain_card(model: Model, licence: str | None) -> Card:
    card = Card(classes=model.classes, channels=model.net.input[0], preprocess=model.preprocess, version=__version__)
    return card if licence is None else msgspec.structs.replace(card, licence=licence)


def read_products(path: Path) -> EightBitProof:
    """The proof that an 8-bit file, or the one that it was made of, computes the same on every processor."""
    import onnx

    return prove_no_saturation(onnx.load(path))


def export_temporarily(model: Model, threads: int = 1) -> tuple[ExportedModel, dict[str, Any]]:
    """`model` exported to a file that is gone again when this returns, and its comparison with it on drawn pictures.

    They are at the net's size; as labels serve the model's own answers. Raises ModelError where the
    answers of the two are further apart than `parity.BOUNDS` or `answer_file` has it.
    """
    if model.header.outputs != "softmax":
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "model.onnx"
            model.export(made)
            held = compare_file(model, made)
            opened = ExportedModel(read_exported(made, threads), model.path or made)
        return opened, {"images": held.images, "difference": held.difference}
    x = draw_calibration(*model.preprocess.size, model.net.input[0])
    reference = AnswerWay("model", "float32", model.probabilities, lambda image: model.probabilities(image[None]))
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "model.onnx"
        model.export(made)
        exported = replace(load_exported(made, threads), path=model.path or made)
    ways = [reference, AnswerWay("onnx float32", "float32", exported.probabilities, exported.exported.one)]
    sized = measure_parity(ways, x, model.probabilities(x).argmax(1)).held().sized
    column = sized.columns[1]
    return exported, {"images": sized.images, "difference": column.difference, "equal": column.equal}


def check_format(kind: str | None, out: Path, *, int8: bool, fp16: bool) -> str:
    """The format of the file: as asked, or as its suffix says. Raises ModelError for what does not go together."""
    if kind is not None and kind not in FORMAT_SUFFIXES:
        raise ModelError(
            "--format", say("there is no format '{kind}'", kind=kind), hint=suggest_name(kind, FORMAT_SUFFIXES)
        )
    meant = next((name for name, suffix in FORMAT_SUFFIXES.items() if suffix == out.suffix), None)
    if kind == "page" and not out.suffix and out.name:
        meant = kind  # a folder
    if meant is None:
        rule = ", ".join(f"{suffix} ({name})" for name, suffix in FORMAT_SUFFIXES.items())
        hint = (
            "--out "
            f"{out.with_name((out.stem or 'model') + FORMAT_SUFFIXES[kind or 'onnx']) if out.name else 'model.onnx'}"
        )
        raise ModelError("--out", say("no format has this file suffix"), got=str(out), rule=rule, hint=hint)
    kind = kind or meant
    if kind != meant:
        raise ModelError(
            "--out", say("a file for {kind} ends in {suffix}", kind=kind, suffix=FORMAT_SUFFIXES[kind]), got=str(out)
        )
    if int8 and fp16:
        raise ModelError("export", say("one precision at a time"), hint="--int8 or --fp16")
    if kind == "torch" and (int8 or fp16):
        raise ModelError("export", say("a torch program is in 32-bit floats"), hint=say("--format onnx or openvino"))
    if kind == "torch" and find_spec("torch") is None:
        raise ModelError("export", say("a torch program needs torch"), hint='pip install "striate[train]"')
    if kind == "openvino":
        openvino_file.need_openvino()
    if kind in RUNTIMES:
        check_runtime(kind, int8=int8, fp16=fp16)
    return kind


def write_format(
    model: Model, path: Path, kind: str, licence: str | None, calibration: list[np.ndarray] | None, fp16: bool
) -> Card:
    """Write the model at `path`; what the file says of itself."""
    plain = path.with_suffix(".onnx")
    card = model.export(plain, licence=licence, int8=calibration, fp16=fp16)
    if kind == "openvino":
        openvino_file.write_openvino(plain, card, path)
    elif kind == "torch":
        from ..formats import torch_program

        torch_program.write_program(model.net, model.tensors, card, path)
    return card


def choose_images(model: Model, data: Any, calibrate: bool) -> ChosenImages:
    """Images to compare on, of the test split, and others to calibrate by: of the train split where there is one.

    Of data that are no files, a third of the images calibrate and are not compared.
    """
    images = model.images(data)
    listing = list_source(data, make_reading(model.header.reading), strict=False)
    if listing is None:
        most = max(1, 2 * len(images) // 3) if calibrate else len(images)
        rows = spread_places(len(images), min(COMPARED, most))
        rest = np.setdiff1d(np.arange(len(images)), rows)
        others = images.x[rest[spread_places(len(rest), CALIBRATING)]] if calibrate else images.x[:0]
        return ChosenImages(images.take(rows), None, others)
    images = images.take(spread_places(len(images), COMPARED))
    named = {entry.file: entry for entry in listing.entries}
    entries = [named[file] for file in images.files]
    return ChosenImages(
        images, entries, load_unseen(model, listing.entries, set(images.files)) if calibrate else images.x[:0]
    )


def load_unseen(model: Model, entries: tuple[Entry, ...], compared: set[str]) -> np.ndarray:
    """Images of files that are not compared, of the train split where there is one; of all where few are left."""
    train = [entry for entry in entries if entry.split == "train"]
    rest = train or [entry for entry in entries if entry.file not in compared]
    rest = rest if len(rest) >= ENOUGH_CALIBRATION else list(entries)
    work = catch_data_errors(lambda entry: model.prepared(entry.path.read_bytes()))
    read = (work(rest[k]) for k in spread_places(len(rest), CALIBRATING))
    return np.stack([image for image in read if not isinstance(image, DataError)])
