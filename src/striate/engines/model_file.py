"""The model file: one `.safetensors` file, its tensors the net's, its header in the metadata. Never a pickle."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors
import safetensors.numpy

from .. import atomic_file
from ..architecture.layers.layer import is_whole
from ..architecture.limits import cut_brief
from ..architecture.net import check_tensors
from ..architecture.own_layers import check_own_layers, list_own_layers
from ..architecture.text import from_json, to_json
from ..errors import ModelError, NetError, ShapeError
from ..language import say
from ..regular_file import need_regular
from .answers import ANSWERS, NEWEST_FORMAT, NumberScale, Outputs
from .views import VIEWS

# Of a model that answers with a class; the others have formats of their own, which an older striate refuses.
MODEL_FORMAT = ANSWERS["softmax"].format

# A model file of so many bytes is mapped and not copied.
MAPPED_BYTES = 64 << 20


class Preprocess(msgspec.Struct, frozen=True):
    """From a decoded image to the net's input: scaled to `size` by `fit`, then (x/255 − mean)/std per channel.

    size  (height, width); fit  "pad" keeps all of the image, "crop" cuts its middle, "squash" ignores its proportions;
    "crop 256 bicubic" first makes the shorter side 256, bicubic and not bilinear (data.read.resize.parse_fit)
    views  what of that the net looks at, its answers being averaged: "plain", "flip" or "flip+shift" (engines.views)
    depth  of images deeper than 8 bits, the value that becomes 0, the one that becomes 255, and whether they are whole
    numbers (data.read.depth.Depth); None: it was trained on 8-bit images
    alpha  whether an image's transparency is the last channel; else it is composited on white

    >>> Preprocess((224, 224), "crop 256 bicubic", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)).fit
    'crop 256 bicubic'
    """

    size: tuple[int, int]
    fit: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    views: str = "plain"
    depth: tuple[float, float, bool] | None = None
    alpha: bool = False


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Which images a model comes from: 64 bits of the sha256 of each image's pixels, at the net's size.

    train, valid  those that it learnt from and those that chose its epoch: sorted little-endian uint64s, 8 bytes an
                  image (10.7 characters in the file), of at most KNOWN_MOST images; of more, the smallest numbers
    counts        how many images there were in each
    test          the fingerprint of the split that was held back, or ""
    """

    train: bytes
    valid: bytes
    counts: tuple[int, int]
    test: str = ""


class Abstention(msgspec.Struct, frozen=True, kw_only=True):
    """When the model's answer is "unsure": where its probability is below the threshold of its class.

    error        at most this share of a class's answers is to be wrong (metrics.abstention)
    thresholds   one a class, in their order; above 1: the model never answers with that class
    temperature  what the logits were divided by, which the weights hold already
    calibrated   of the images that chose the thresholds: how many, how many answered, how many of those wrongly
    tested       the same of images that chose nothing; None: there were none
    """

    error: float
    thresholds: tuple[float, ...]
    temperature: float = 1.0
    calibrated: tuple[int, int, int]
    tested: tuple[int, int, int] | None = None


class Likeness(msgspec.Struct, frozen=True, kw_only=True):
    """What the model knows of its training pictures, to tell those that are unlike them (metrics.likeness).

    path        the layer whose values are the features
    lost        the share of right answers that may be turned away
    mean, scale, directions, centres  little-endian float32, as in `metrics.likeness.Scatter`; rest  as there
    distance    the middle and the limit's distance from it, of the features' distance; energy  of the logits' energy,
                None where the net gives probabilities
    tested      of test images that were answered rightly: how many, how many of them turned away; None: there were none
    """

    path: str
    lost: float
    mean: bytes
    scale: bytes
    directions: bytes
    centres: bytes
    rest: float
    distance: tuple[float, float]
    energy: tuple[float, float] | None = None
    tested: tuple[int, int] | None = None


# 32 MiB for a split: all of ImageNet takes 10.
KNOWN_MOST = 2**22


class ModelHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What a model file says beside its tensors.

    net          the architecture, a Net; its input says gray (1 channel), RGB (3), or how many bands
    metrics      what was measured on the validation split when it was saved
    fingerprint  of the data that it was trained on
    reading      how those were read, where that is not as usual (data.reading), by name
    known        the images that it was trained on; None: the file does not say
    fold         of a cross-validation, the number of the fold that it was not trained on, and of how many
    abstention   when its answer is "unsure"; None: it answers always
    likeness     what it knows of its training pictures; None: it does not tell others from them
    outputs      what the net's outputs mean (engines.answers): "softmax", the logits of classes of which a picture has
                 one; "sigmoid", the log odds of labels each of which a picture has or lacks; "identity", a number
    thresholds   of labels, one each: from that probability on a picture has it; () of others
    number       of a number, what is known of those that it learnt from; None of others
    version      the striate that wrote it
    """

    net: Any
    classes: tuple[str, ...]
    preprocess: Preprocess
    recipe: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    fingerprint: str = ""
    reading: dict[str, Any] = {}
    known: Known | None = None
    fold: tuple[int, int] | None = None
    abstention: Abstention | None = None
    likeness: Likeness | None = None
    outputs: Outputs = "softmax"
    thresholds: tuple[float, ...] = ()
    number: NumberScale | None = None
    version: str = ""
    format: int = MODEL_FORMAT


def save_model(path: Path, header: ModelHeader, tensors: dict[str, np.ndarray]) -> None:
    """Write the model file, whole or not at all. Raises ModelError where tensors and net disagree."""
    check_tensors(header.net, {name: tensor.shape for name, tensor in tensors.items()})
    own = list_own_layers(header.net)
    more = {"net": to_json(header.net)} | ({"own_layers": own} if own else {})
    told = msgspec.structs.asdict(header) | more
    unsaid = {"softmax": ("outputs", "thresholds", "number"), "sigmoid": ("number",), "identity": ("thresholds",)}
    told = {name: value for name, value in told.items() if name not in unsaid[header.outputs]}
    text = msgspec.json.encode(told).decode()
    # safetensors takes an array's memory as it lies: another order than the usual would be written as other weights.
    with np.errstate(over="ignore"):  # what no float32 holds becomes infinite, which reading refuses by name
        usual = {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}
    atomic_file.write_file(Path(path), safetensors.numpy.save(usual, metadata={"striate": text}))


def read_model(path: Path) -> tuple[ModelHeader, dict[str, np.ndarray]]:
    """A model file's header and tensors. Raises ModelError naming what is wrong with it."""
    path = Path(path)
    need_regular(path, ModelError)
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            if "striate" not in metadata:
                raise ModelError(
                    str(path),
                    say("these are tensors without a striate header"),
                    hint=say("use a file that striate wrote"),
                )
            header = read_model_header(metadata["striate"], str(path))
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118  no mapping
            for name in [name for name, kind in kinds.items() if kind != "F32"][:1]:
                raise ModelError(f"{path}: {name}", say("a model file holds float32 alone"), got=kinds[name])
            tensors = map_tensors(path) or {name: file.get_tensor(name) for name in kinds}
    except (OSError, safetensors.SafetensorError) as e:
        what = (
            say("there is no such file")
            if isinstance(e, FileNotFoundError)
            else say("this is not a readable model file: {complaint}", complaint=e)
        )
        raise ModelError(str(path), what, hint=say("a model file is runs/<name>/model.safetensors")) from None
    try:
        check_tensors(header.net, {name: tensor.shape for name, tensor in tensors.items()})
    except ModelError as e:
        raise e.at(str(path), ": ") from None
    return header, {name: tensors[name] for name in header.net.tensors}


def map_tensors(path: Path) -> dict[str, np.ndarray]:
    """The float32 tensors of a large safetensors file as the memory of the file itself; {} for a small one.

    safetensors maps the file and copies each tensor out of it, so that a while VGG-16's 0.5 GB are there twice. What is
    written into such an array stays in it and does not reach the file. A file is replaced whole and never written into,
    which a system that forbids to replace a mapped file would not let happen: there it is read.
    """
    if os.name != "posix" or path.stat().st_size < MAPPED_BYTES:
        return {}
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        places = json.loads(file.read(length))
    if (8 + length) % 4:
        return {}  # numbers across the machine's words: safetensors writes none such
    numbers = np.memmap(path, np.uint8, mode="c", offset=0)[8 + length :]
    return {
        name: np.asarray(numbers[slice(*place["data_offsets"])]).view("<f4").reshape(place["shape"])
        for name, place in places.items()
        if name != "__metadata__"
    }


def read_head(path: Path) -> ModelHeader | None:
    """The header alone, without the tensors; None where the file has none. Raises ModelError naming what is wrong."""
    try:
        with safetensors.safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as e:
        raise ModelError(str(path), say("this is not a readable model file: {complaint}", complaint=e)) from None
    return read_model_header(metadata["striate"], str(path)) if "striate" in metadata else None


def read_model_header(text: str, where: str) -> ModelHeader:
    """The header in `text`. Raises ModelError naming the field that is wrong."""
    try:
        data = msgspec.json.decode(text, type=dict)
        found = data.get("format")
        if not isinstance(found, int) or not 1 <= found <= NEWEST_FORMAT:
            raise ModelError(
                f"{where}: header.format",
                say("this file has a newer format"),
                got=found,
                rule=say("this striate reads up to {most}", most=NEWEST_FORMAT),
                hint="pip install -U striate",
            )
        check_own_layers(data.pop("own_layers", {}), f"{where}: header.net")
        net = from_json(data.get("net", {}))
        net.classes  # noqa: B018  a net of maps is no classifier
        header = msgspec.convert(data | {"net": net}, ModelHeader)
    except (NetError, ShapeError) as e:
        raise ModelError(
            f"{where}: header.net",
            say("the net cannot be read: {where}: {what}", where=e.where, what=e.what),
            got=e.got,
        ) from None
    except (msgspec.MsgspecError, OverflowError, RecursionError, UnicodeError) as e:
        raise ModelError(f"{where}: header", say("the header is malformed: {complaint}", complaint=e)) from None
    check_model_header(header, where)
    return header


def fits_likeness(likeness: Likeness, net: Any) -> bool:
    """Whether its arrays are of the net's features and classes, and its numbers make sense."""
    if likeness.path not in {step.path for step in net.steps if not step.side}:
        return False
    wide = 4 * math.prod(net.at(likeness.path).y)
    numbers = likeness.rest, likeness.distance[1], 1.0 if likeness.energy is None else likeness.energy[1]
    return (
        len(likeness.mean) == len(likeness.scale) == wide
        and len(likeness.centres) == wide * net.classes
        and len(likeness.directions) % wide == 0
        and all(0 < number < math.inf for number in numbers)
    )


def fits_scale(number: NumberScale) -> bool:
    """Whether the numbers are some, and make sense together."""
    told = msgspec.structs.astuple(number)
    return all(map(math.isfinite, told)) and number.low <= number.mean <= number.high and min(
        number.deviation, number.margin
    ) >= 0  # fmt: skip


def check_model_header(header: ModelHeader, where: str) -> None:
    """Raise ModelError where the header's fields contradict one another."""
    net, pre = header.net, header.preprocess
    seed = header.recipe.get("seed", 0)
    nested = [value for value in header.recipe.values() if isinstance(value, dict | list)]
    faults = [
        ("recipe", bool(nested), nested, say("each setting a text, a number, true, false or null")),
        ("recipe.seed", not is_whole(seed, 0) or seed >= 2**63, seed, say("a whole number of at least 0")),
        (
            "classes",
            len(header.classes) != net.classes,
            say("{count} names", count=len(header.classes)),
            say("the net has {classes}", classes=net.classes),
        ),
        ("classes", len(set(header.classes)) < len(header.classes), say("a name twice"), say("each once")),
        (
            "known",
            header.known is not None and bool((len(header.known.train) | len(header.known.valid)) % 8),
            "half a number",
            say("8 bytes per image"),
        ),
        (
            "abstention.thresholds",
            header.abstention is not None and len(header.abstention.thresholds) != len(header.classes),
            say("{count} of them", count=len(header.abstention.thresholds)) if header.abstention else "",
            say("one for each class"),
        ),
        (
            "likeness",
            header.likeness is not None and not fits_likeness(header.likeness, net),
            say("{count} bytes", count=len(header.likeness.mean)) if header.likeness else "",
            say("the features of a layer of the net, and a centre for each class"),
        ),
        (
            "thresholds",
            len(header.thresholds) != (len(header.classes) if header.outputs == "sigmoid" else 0)
            or any(not 0 <= share <= 1 for share in header.thresholds),
            header.thresholds,
            say("one for each label, 0 to 1; of classes none"),
        ),
        (
            "number",
            (header.number is not None) != (header.outputs == "identity")
            or (header.number is not None and not (fits_scale(header.number) and len(header.classes) == 1)),
            header.number,
            say("of a model of one number what it learnt from, and of no other"),
        ),
        (
            "format",
            header.format != ANSWERS[header.outputs].format,
            header.format,
            say("{format} for outputs {outputs}", format=ANSWERS[header.outputs].format, outputs=header.outputs),
        ),
        (
            "preprocess.size",
            tuple(pre.size) != net.input[1:],
            pre.size,
            say("the net's input is {size}", size=net.input[1:]),
        ),
        (
            "preprocess.mean",
            len(pre.mean) != net.input[0],
            say("{count} values", count=len(pre.mean)),
            say("{channels} channels", channels=net.input[0]),
        ),
        (
            "preprocess.std",
            len(pre.std) != net.input[0],
            say("{count} values", count=len(pre.std)),
            say("{channels} channels", channels=net.input[0]),
        ),
        ("preprocess.std", any(not s > 0 for s in pre.std), pre.std, "above 0"),
        ("preprocess.views", pre.views not in VIEWS, pre.views, ", ".join(VIEWS)),
        (
            "preprocess.depth",
            pre.depth is not None and not -math.inf < pre.depth[0] < pre.depth[1] < math.inf,
            pre.depth,
            say("the lower value first"),
        ),
        (
            "preprocess.alpha",
            pre.alpha and net.input[0] not in (2, 4),
            say("{channels} channels", channels=net.input[0]),
            "2 or 4 channels",
        ),
        (
            "preprocess.fit",
            pre.fit.split()[:1] not in (["pad"], ["crop"], ["squash"]),
            pre.fit,
            say("pad, crop or squash"),
        ),
    ]
    for field, wrong, got, rule in faults:
        if wrong:
            raise ModelError(
                f"{where}: header.{field}", say("the header contradicts itself"), got=cut_brief(got), rule=rule
            )
