"""Somebody's ONNX classifier with its preparation of pictures inside it, in the form of our own exported files."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np

from .. import __version__, atomic_file
from ..engines import onnx as engine
from ..engines.model_file import Preprocess
from ..engines.onnx_layers import FILE_INPUT, FILE_OUTPUT, Draft
from ..errors import ModelError
from ..language import say
from .onnx_file import Card, Exported, read_exported, take_first_line, write_preparation

END = "/prepared"


def write_prepared_file(
    file: Path,
    out: Path,
    classes: tuple[str, ...],
    preprocess: Preprocess,
    channels: int,
    *,
    bgr: bool,
    last: bool,
    softmax: bool,
) -> Exported:
    """Write `file` with its preparation before it to `out`; the file, ready to run.

    bgr   it takes blue, green, red;  last  it takes N×H×W×C;  softmax  it gives logits
    Raises ModelError where ONNX cannot join the two, or the file answers several images otherwise than each alone.
    """
    card = Card(classes=classes, channels=channels, preprocess=preprocess, version=__version__)
    try:
        model = join_preparation(file, card, bgr, last, softmax)
        for key, field in msgspec.to_builtins(card).items():
            model.metadata_props.add(key=f"striate.{key}", value=json.dumps(field, ensure_ascii=False))
        atomic_file.write_file(out, model.SerializeToString())
        found = read_exported(out)
        images = np.random.default_rng(0).integers(0, 256, (2, 40, 50, channels), np.uint8)
        same = np.allclose(found.probabilities(images), found.each(images), atol=1e-5)
        why = say("two images together get other answers than each alone")
    except Exception as e:  # ONNX's checker, converter and composer, and the runtime, raise errors of their own
        same, why = False, take_first_line(e)
    if not same:
        out.unlink(missing_ok=True)
        raise ModelError(str(file), say("the preparation cannot be put into this file"), got=why)
    return found


def join_preparation(file: Path, card: Card, bgr: bool, last: bool, softmax: bool) -> Any:
    import onnx
    from onnx import compose, helper, version_converter

    theirs = onnx.load(file)
    if find_opset(theirs).version < engine.OPSET:
        theirs = version_converter.convert_version(theirs, engine.OPSET)
    free_batch(theirs)
    draft = Draft({})
    size = (card.channels, *card.preprocess.size)
    y = write_preparation(draft, SimpleNamespace(input=size), card.preprocess)  # type: ignore[arg-type]
    if bgr:
        y = draft.node("Gather", "/turned_colours", y, draft.constant("/order", (2, 1, 0), np.int64), axis=1)
    shape: tuple[int, ...] = size
    if last:
        y, shape = draft.node("Transpose", "/channels_last", y, perm=(0, 2, 3, 1)), (*size[1:], size[0])
    draft.node("Identity", END, y)
    images = engine.make_value_info(FILE_INPUT, ("H", "W", card.channels), "UINT8")
    ours = engine.assemble_model(draft, [images], [engine.make_value_info(END, shape)], "preparation")
    ours.opset_import[0].version = find_opset(theirs).version
    ours.ir_version = theirs.ir_version = max(ours.ir_version, theirs.ir_version)
    joined = compose.merge_models(ours, theirs, [(END, theirs.graph.input[0].name)], prefix2="net/")
    answer = joined.graph.output[0].name
    end = helper.make_node("Softmax", [answer], [FILE_OUTPUT], axis=1)
    joined.graph.node.append(end if softmax else helper.make_node("Identity", [answer], [FILE_OUTPUT]))
    del joined.graph.output[:]
    joined.graph.output.append(engine.make_value_info(FILE_OUTPUT, (len(card.classes),)))
    onnx.checker.check_model(joined, full_check=True)
    return joined


def find_opset(model: Any) -> Any:
    """The model's version of ONNX's own operators, beside those of other domains."""
    return next(one for one in model.opset_import if one.domain in ("", "ai.onnx"))


def free_batch(model: Any) -> None:
    """Let the number of images be free, where the file had fixed it."""
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "N"
    del model.graph.value_info[:]
