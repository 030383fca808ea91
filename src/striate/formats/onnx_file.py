"""The exported file: one `.onnx` that takes raw uint8 images of any size and gives class probabilities.

All but decoding and turning the picture upright is inside: resizing, scaling by mean and deviation, the network with
its BatchNorms folded, softmax. Class names and preprocessing stand in the metadata, as JSON. Nothing of striate is
needed to run it.

    images         uint8 N×H×W×C, any N, H and W; C is 3 (RGB), or 1 for a gray network: convert before
    probabilities  float32 N×classes; of several labels N×labels, each for itself
    number         float32 N×1, in place of these, of a model that answers with a number
    unsure         bool N, of a calibrated model alone: the probability is below the threshold of its class, or the
                   image unlike the training pictures
    strangeness    float32 N, of a model that was calibrated with `unlike` alone: above 1 it is unlike them
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from .. import atomic_file
from ..architecture.layers import format_shape
from ..architecture.net import Net, check_tensors
from ..data.read.resize import BAR_LEVEL, parse_fit
from ..engines import onnx as engine
from ..engines.answers import ANSWERS, NEWEST_FORMAT, NumberScale, Outputs
from ..engines.finite import check_finite
from ..engines.model_file import Abstention, Likeness, Preprocess
from ..engines.onnx_layers import (
    FILE_INPUT,
    FILE_NUMBER,
    FILE_OUTPUT,
    FILE_STRANGE,
    FILE_UNSURE,
    LOGITS_NAME,
    Draft,
    Node,
)
from ..errors import DataError, ModelError, ShapeError
from ..language import say
from .constants import check_constants
from .strangeness import write_strangeness

if TYPE_CHECKING:
    import onnx
    import onnxruntime

FLOAT, FLOAT16 = 1, 10  # onnx.TensorProto
HALF_RANGE = -65504.0, 65504.0  # of 16-bit floats
UNSTATED_LICENCE = "not stated by the owner of the weights"


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What an exported file says of itself: the metadata of the ONNX file, each field as JSON.

    channels    of the images that it takes: 1 (gray), 3 (RGB), or so many bands
    preprocess  what the graph does with them
    licence     of the weights, one line
    version     the striate that wrote it
    precision   "float32", "float16" or "int8"
    abstention  when its answer is "unsure"; None: it answers always
    outputs     what it answers (engines.answers): "softmax" a class, "sigmoid" several labels, "identity" a number
    thresholds  of labels, one each: from that probability on a picture has it
    number      of a number, what is known of those that it learnt from
    more        what else its maker wished to say: metrics, the name of the data
    """

    classes: tuple[str, ...]
    channels: int
    preprocess: Preprocess
    licence: str = UNSTATED_LICENCE
    version: str = ""
    precision: str = "float32"
    abstention: Abstention | None = None
    outputs: Outputs = "softmax"
    thresholds: tuple[float, ...] = ()
    number: NumberScale | None = None
    more: dict[str, Any] = {}
    format: int = ANSWERS["softmax"].format


class Exported(NamedTuple):
    """An exported file ready to run."""

    session: onnxruntime.InferenceSession
    card: Card

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """uint8 N×H×W×C -> float32 N×classes. Raises ShapeError for anything else, ModelError for an answer of NaN."""
        wanted = say("uint8 N×H×W×{channels}, H and W at least 1", channels=self.card.channels)
        fits = images.ndim == 4 and images.shape[3] == self.card.channels and 0 not in images.shape[1:]
        if images.dtype != np.uint8 or not fits:
            raise ShapeError(
                FILE_INPUT,
                say("the batch does not fit"),
                got=f"{images.dtype} {format_shape(images.shape)}",
                rule=wanted,
            )
        [found] = self.session.run([name_output(self.card)], {FILE_INPUT: np.ascontiguousarray(images)})
        return self.checked(found)

    @property
    def tells_strange(self) -> bool:
        """Whether the file says how unlike the training pictures an image is."""
        return FILE_STRANGE in {output.name for output in self.session.get_outputs()}

    def judge(self, images: np.ndarray) -> np.ndarray:
        """The same, and in one more column how unlike the training pictures each image is: float32 N×(classes + 1)."""
        found, strange = self.session.run([FILE_OUTPUT, FILE_STRANGE], {FILE_INPUT: np.ascontiguousarray(images)})
        return self.checked(np.column_stack([found, strange]))

    def checked(self, found: Any) -> np.ndarray:
        """The answers. Raises ModelError for one that is no number."""
        if not np.isfinite(found).all():
            what = say("the network's answer to this image is not a number")
            raise ModelError(FILE_OUTPUT, what, got="NaN", hint=say("export it in 32-bit floats, or train it again"))
        return np.asarray(found)

    def each(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """The same for images uint8 H×W×C that differ in size."""
        return np.concatenate([np.zeros((0, len(self.card.classes)), np.float32), *map(self.one, images)])

    def one(self, image: np.ndarray) -> np.ndarray:
        return self.probabilities(image[None])


def write_exported(
    net: Net,
    tensors: Mapping[str, np.ndarray],
    classes: Sequence[str],
    preprocess: Preprocess,
    path: Path | str,
    *,
    metadata: Mapping[str, Any] | None = None,
    int8: Sequence[np.ndarray] | None = None,
    fp16: bool = False,
    abstention: Abstention | None = None,
    likeness: Likeness | None = None,
    outputs: Outputs = "softmax",
    thresholds: tuple[float, ...] = (),
    number: NumberScale | None = None,
) -> Card:
    """Write the exported file, whole or not at all; what it says of itself.

    int8      calibration images, uint8 H×W×C: the network is quantised, see `formats.quantise`
    fp16      the network computes in 16-bit floats, for GPUs: half the size; a CPU is no faster for it
    likeness  what tells pictures unlike the training ones; of a file of 32-bit floats alone
    outputs, thresholds, number  what it answers, as in the Card
    metadata  "licence", one line on the weights, and whatever else the file is to carry, as JSON data
    Raises ModelError where net, tensors, classes and preprocessing disagree, the metadata name a path, or `path` does
    not end in .onnx.
    """
    from .. import __version__

    if Path(path).suffix != ".onnx":
        raise ModelError(
            "export", say("a file for ONNX ends in .onnx"), got=str(path), hint=say("striate.export for others")
        )

    more = dict(metadata or {})
    licence = str(more.pop("licence", UNSTATED_LICENCE))
    card = Card(
        classes=tuple(classes),
        channels=net.input[0],
        preprocess=preprocess,
        licence=licence,
        version=__version__,
        precision="float16" if fp16 else "float32" if int8 is None else "int8",
        abstention=abstention,
        outputs=outputs,
        thresholds=thresholds,
        number=number,
        more=more,
        format=ANSWERS[outputs].format,
    )
    if fp16 and int8 is not None:
        raise ModelError("export", say("one precision at a time"), got=say("fp16 and int8"))
    check_card(net, card)
    model = build_document(net, tensors, card, likeness if card.precision == "float32" else None)
    if int8 is not None:
        from .quantise import quantise_model

        model = quantise_model(model, int8)
    atomic_file.write_file(Path(path), model.SerializeToString())
    return card


def check_card(net: Net, card: Card) -> None:
    """Raise ModelError unless the card's fields are those of `net`, and free of paths."""
    if len(card.classes) != net.classes:
        got, rule = (
            say("{count} names", count=len(card.classes)),
            say("{name} has {classes} classes", name=net.name, classes=net.classes),
        )
        raise ModelError("classes", say("each class has one name"), got=got, rule=rule)
    given = card.preprocess
    if tuple(given.size) != net.input[1:] or {len(given.mean), len(given.std)} != {net.input[0]}:
        raise ModelError(
            "preprocess", say("it does not make the net's input"), got=repr(given), rule=format_shape(net.input)
        )
    try:
        parse_fit(given.fit)
    except DataError as e:
        raise ModelError("preprocess.fit", e.what, got=e.got, hint=e.hint) from None
    refuse_paths(card.more, "metadata")
    refuse_paths(card.licence, "metadata.licence")


def refuse_paths(value: Any, where: str) -> None:
    """Raise ModelError where `value` holds an absolute path: the file goes to others."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            refuse_paths(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            refuse_paths(inner, f"{where}[{i}]")
    elif isinstance(value, Path) or isinstance(value, str) and is_rooted(value):
        raise ModelError(where, say("an exported file carries no path of the machine that made it"), got=str(value))


def is_rooted(text: str) -> bool:
    return "\n" not in text and (PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute())


def build_document(
    net: Net, tensors: Mapping[str, np.ndarray], card: Card, likeness: Likeness | None = None
) -> onnx.ModelProto:
    """The exported file as an ONNX model, checked by ONNX's own checker."""
    import onnx

    check_tensors(net, {name: tensor.shape for name, tensor in tensors.items()})
    check_finite(tensors)
    draft = Draft(tensors)
    x = write_preparation(draft, net, card.preprocess)
    operator = None if net.gives_probabilities else ANSWERS[card.outputs].operator
    told = name_output(card)
    result = told if operator is None else LOGITS_NAME
    if card.precision == "float16":
        write_half_floats(draft, net, x, result, card.preprocess.views)
    else:
        paths = [] if likeness is None else [likeness.path]
        named = engine.draft_views(draft, net, x, result, card.preprocess.views, paths)
    if operator is not None:
        axis = {"axis": 1} if operator == "Softmax" else {}
        draft.nodes.append(Node(operator, (LOGITS_NAME,), told, axis))
    images = engine.make_value_info(FILE_INPUT, ("H", "W", net.input[0]), "UINT8")
    outputs = [engine.make_value_info(told, net.output)]
    if card.abstention is not None:
        strange = None if likeness is None else write_strangeness(draft, likeness, named[likeness.path], result, net)
        write_abstention(draft, card.abstention, strange)
        outputs.append(engine.make_value_info(FILE_UNSURE, (), "BOOL"))
        outputs += [] if strange is None else [engine.make_value_info(strange, ())]
    model = engine.assemble_model(draft, [images], outputs, net.name)
    for key, field in msgspec.to_builtins(card).items():
        if key in ("abstention", "outputs", "thresholds", "number") and field == UNSAID[key]:
            continue
        model.metadata_props.add(key=f"striate.{key}", value=json.dumps(field, ensure_ascii=False))
    onnx.checker.check_model(model, full_check=True)
    return model


# What a card does not say, so that the file of a classifier without thresholds is as it always was.
UNSAID: dict[str, Any] = {"abstention": None, "outputs": "softmax", "thresholds": [], "number": None}


def name_output(card: Card) -> str:
    """What the answer is called in the file."""
    return FILE_NUMBER if card.outputs == "identity" else FILE_OUTPUT


def write_abstention(draft: Draft, abstention: Abstention, strange: str | None = None) -> None:
    """Write whether the largest probability is below the threshold of its class, or the picture too `strange`."""
    best = draft.node("ArgMax", "/best", FILE_OUTPUT, axis=1, keepdims=0)
    asked = draft.node("Gather", "/asked", draft.constant("/thresholds", abstention.thresholds), best)
    most = draft.node("ReduceMax", "/most", FILE_OUTPUT, draft.constant("/of_classes", [1], np.int64), keepdims=0)
    if strange is None:
        draft.nodes.append(Node("Less", (most, asked), FILE_UNSURE, {}))
        return
    unlike = draft.node("Greater", "/unlike", strange, draft.constant("/limit", 1.0))
    draft.nodes.append(Node("Or", (draft.node("Less", "/below", most, asked), unlike), FILE_UNSURE, {}))


def write_half_floats(draft: Draft, net: Net, x: str, result: str, views: str) -> None:
    """Write `net` with 16-bit floats between two casts; preparation and softmax stay in 32 bits."""
    first = len(draft.nodes) + 1
    engine.draft_views(draft, net, draft.node("Cast", "/half", x, to=FLOAT16), "/narrow", views)
    computed = [node for node in draft.nodes[first:] if node.kind != "Resize"]  # whose factors are 32-bit floats always
    for name in {name for node in computed for name in node.inputs if name in draft.constants}:
        value = draft.constants[name]
        if value.dtype == np.float32:
            draft.constants[name] = value.clip(*HALF_RANGE).astype(np.float16)
    draft.nodes.append(Node("Cast", ("/narrow",), result, {"to": FLOAT}))


def write_preparation(draft: Draft, net: Net, preprocess: Preprocess) -> str:
    """Write the way from `images` to the net's input into `draft`; the value that is the net's input.

    The pixels stay uint8 until they have their place: ONNX Runtime's antialiased Resize then rounds twice, as Pillow
    does, and comes within two levels of 255 of it. `exclude_outside` is what Pillow does at the edge; without it the
    outermost values of eight sample pictures were up to 14 levels off.
    """
    c, height, width = net.input
    y = write_resizing(draft, (height, width), preprocess.fit)
    whole = draft.constant("/shape", (-1, height, width, c), np.int64)
    first = draft.node("Transpose", "/channels_first", draft.node("Reshape", "/framed", y, whole), perm=(0, 3, 1, 2))
    mean, std = (np.array(v, np.float64).reshape(c, 1, 1) for v in (preprocess.mean, preprocess.std))
    levels = draft.node("Cast", "/levels", first, to=FLOAT)
    scaled = draft.node("Mul", "/scaled", levels, draft.constant("/scale", 1 / (255 * std)))
    return draft.node("Add", "/standardised", scaled, draft.constant("/shift", -mean / std))


def write_resizing(draft: Draft, size: tuple[int, int], fit: str) -> str:
    """Write the resizing rule of `data.read.resize` into `draft`, in whole numbers as there."""

    def whole(name: str, *numbers: int) -> str:
        return draft.constant(f"/{name}", numbers, np.int64)

    kind, shorter, mode = parse_fit(fit)
    frame = whole("frame", *size)
    if kind == "squash":
        return write_resize(draft, "/resized", frame, mode)
    scale = size if shorter is None else (shorter, shorter)
    least = frame if shorter is None else whole("least", *scale)
    one, two = whole("one", 1), whole("two", 2)
    picture = draft.node("Shape", "/picture", FILE_INPUT, start=1, end=3)
    across = draft.node("Gather", "/across", picture, whole("swap", 1, 0), axis=0)
    # Rounded to the nearest: the height that goes with the frame's width, the width that goes with its height.
    wide = draft.node("Mul", "/wide", draft.node("Mul", "/area", picture, whole("turned", *scale[::-1])), two)
    twice = draft.node("Mul", "/twice", across, two)
    rounded = draft.node("Div", "/rounded", draft.node("Add", "/raised", wide, across), twice)
    matching = draft.node("Max", "/matching", rounded, one)
    place = draft.node("Min" if kind == "pad" else "Max", "/place", matching, least)
    y = write_resize(draft, "/resized", place, mode)
    if kind == "pad":
        bars = draft.node("Sub", "/bars", frame, place)
        before = draft.node("Div", "/before", bars, two)
        pads = draft.node("Concat", "/pads", before, draft.node("Sub", "/after", bars, before), axis=0)
        gray = draft.constant("/gray", BAR_LEVEL, np.uint8)
        return draft.node("Pad", "/padded", y, pads, gray, whole("axes", 1, 2), mode="constant")
    start = draft.node("Div", "/start", draft.node("Sub", "/over", place, frame), two)
    return draft.node("Slice", "/cut", y, start, draft.node("Add", "/end", start, frame), whole("axes", 1, 2))


def write_resize(draft: Draft, output: str, size: str, mode: str) -> str:
    how = {"antialias": 1, "exclude_outside": 1, "coordinate_transformation_mode": "half_pixel"}
    how |= {"mode": "linear"} if mode == "bilinear" else {"mode": "cubic", "cubic_coeff_a": -0.5}  # Pillow's bicubic
    return draft.node("Resize", output, FILE_INPUT, "", "", size, axes=(1, 2), **how)


def read_exported(path: Path | str, threads: int | None = None) -> Exported:
    """An exported file, ready to run, without torch and without the package onnx.

    Raises ModelError for a file that is not there, is no ONNX, was not exported by striate, or holds NaN.
    """
    path = Path(path)
    hint = "striate export RUN -o model.onnx"
    if not path.is_file():
        raise ModelError(str(path), say("there is no such file"), hint=hint)
    try:
        session = engine.open_session(path, threads)
    except Exception as e:  # ONNX Runtime's own exceptions share no base class
        raise ModelError(
            str(path), say("ONNX Runtime cannot read this file"), got=take_first_line(e), hint=hint
        ) from None
    card = read_card(session.get_modelmeta().custom_metadata_map, str(path))
    check_constants(path)
    return Exported(session, card)


def take_first_line(error: Exception) -> str:
    return str(error).split("\n")[0].replace("[ONNXRuntimeError] : ", "")[:200]


def read_card(metadata: Mapping[str, str], where: str) -> Card:
    """The card in an ONNX file's metadata. Raises ModelError naming what is wrong."""
    fields = {key.removeprefix("striate."): text for key, text in metadata.items() if key.startswith("striate.")}
    if "format" not in fields:
        raise ModelError(
            where, say("this ONNX file was not exported by striate"), hint="striate export RUN -o model.onnx"
        )
    try:
        data = {key: msgspec.json.decode(text) for key, text in fields.items()}
        if not isinstance(data["format"], int) or data["format"] > NEWEST_FORMAT:
            raise ModelError(
                f"{where}: format",
                say("this file has a newer format"),
                got=data["format"],
                rule=say("this striate reads up to {most}", most=NEWEST_FORMAT),
                hint="pip install -U striate",
            )
        card = msgspec.convert(data, Card)
    except msgspec.MsgspecError as e:
        raise ModelError(f"{where}: metadata", say("the metadata are malformed: {complaint}", complaint=e)) from None
    wanted = len(card.classes) if card.outputs == "sigmoid" else 0
    if len(card.thresholds) != wanted or (card.number is None) == (card.outputs == "identity"):
        rule = say("one threshold for each label, and of a number what it learnt from")
        raise ModelError(f"{where}: outputs", say("the metadata contradict each other"), got=card.outputs, rule=rule)
    if card.abstention is not None and len(card.abstention.thresholds) != len(card.classes):
        got, rule = (
            say("{count} thresholds", count=len(card.abstention.thresholds)),
            say("{count} classes", count=len(card.classes)),
        )
        raise ModelError(f"{where}: abstention", say("each class has one threshold"), got=got, rule=rule)
    return card
