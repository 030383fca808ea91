"""The plain ONNX file, for runtimes that refuse ours: floats in, probabilities out, one size, no Resize, no uint8.

What it leaves to whoever runs it stands beside it as JSON: how a picture becomes its input.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import atomic_file
from ..architecture.net import Net
from ..data.images import standardise_pixels
from ..data.read.resize import BAR_LEVEL, parse_fit, resize_image
from ..engines import onnx as engine
from ..engines.model_file import Preprocess
from ..engines.onnx_layers import Draft, Node
from ..errors import ModelError
from ..language import say
from .onnx_file import Card, check_card, take_first_line

PLAIN_INPUT, PLAIN_OUTPUT = "input", "probabilities"
# The versions of ONNX's operators that a plain file can be written in; 18 is what the engine writes.
OPSETS = range(11, 22)


def write_plain_file(
    net: Net, tensors: Mapping[str, NDArray], card: Card, path: Path, *, opset: int | None = None, batch: int = 1
) -> Path:
    """Write the plain file at `path`, and beside it the JSON that is given back.

    opset  of ONNX's operators; None: 18
    batch  images at once, a number of the file itself
    Raises ModelError where there is no such version of the net's operators.
    """
    check_card(net, card)
    if opset is not None and opset not in OPSETS:
        got, rule = opset, say("{first} to {last}", first=OPSETS.start, last=OPSETS.stop - 1)
        raise ModelError("opset", say("a plain file has no such version of operators"), got=got, rule=rule)
    if batch < 1:
        raise ModelError("batch", say("a batch has one image or more"), got=batch, hint="batch=1")
    model = build_plain_model(net, tensors, card, batch)
    if opset not in (None, engine.OPSET):
        model = convert_opset(model, int(opset or engine.OPSET))
    beside = path.with_suffix(".json")
    atomic_file.write_file(path, model.SerializeToString())
    said = describe_preparation(card, batch, opset or engine.OPSET)
    atomic_file.write_file(beside, json.dumps(said, ensure_ascii=False, indent=1))
    return beside


def build_plain_model(net: Net, tensors: Mapping[str, NDArray], card: Card, batch: int) -> Any:
    import onnx
    from onnx import TensorProto, helper

    draft = Draft(tensors)
    result = PLAIN_OUTPUT if net.gives_probabilities else "/logits"
    engine.draft_views(draft, net, PLAIN_INPUT, result, card.preprocess.views)
    if not net.gives_probabilities:
        draft.nodes.append(Node("Softmax", (result,), PLAIN_OUTPUT, {"axis": 1}))
    draft.nodes = [plainer for node in draft.nodes for plainer in write_ramps_plainly(draft, node)]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, (batch, *shape))
        for name, shape in ((PLAIN_INPUT, net.input), (PLAIN_OUTPUT, net.output))
    ]
    model = engine.assemble_model(draft, ends[:1], ends[1:], net.name)
    onnx.checker.check_model(model, full_check=True)
    return model


def write_ramps_plainly(draft: Draft, node: Node) -> list[Node]:
    """HardSigmoid and HardSwish by Mul, Add and Clip: OpenCV 5.0 answers otherwise, and opset 13 lacks HardSwish.

    min(max(x/6 + 1/2, 0), 1), and x times that.
    """
    if node.kind not in ("HardSigmoid", "HardSwish"):
        return [node]
    y, (x,) = node.output, node.inputs
    sixth, half, least, most = (
        draft.constant(f"{y}/{name}", value) for name, value in (("sixth", 1 / 6), ("half", 0.5), ("0", 0), ("1", 1))
    )
    ramp = f"{y}/ramp" if node.kind == "HardSwish" else y
    made = [
        Node("Mul", (x, sixth), f"{y}/scaled", {}),
        Node("Add", (f"{y}/scaled", half), f"{y}/raised", {}),
        Node("Clip", (f"{y}/raised", least, most), ramp, {}),
    ]
    return [*made, Node("Mul", (x, ramp), y, {})] if node.kind == "HardSwish" else made


def convert_opset(model: Any, opset: int) -> Any:
    """The model under another version of the operators, of which it uses what is the same in both. Raises ModelError.

    ONNX's own converter has no way down for many of them. So the number alone is changed, ONNX's checker says whether
    each operator is there as it is written, and one image goes through both.
    """
    import onnx

    made, x = onnx.ModelProto(), np.random.default_rng(0).standard_normal(read_input_shape(model)).astype(np.float32)
    made.CopyFrom(model)
    made.opset_import[0].version = opset
    try:
        onnx.checker.check_model(made, full_check=True)
        ours, theirs = (engine.open_session(one).run(None, {PLAIN_INPUT: x})[0] for one in (model, made))
        same = np.allclose(ours, theirs, atol=1e-6)
        why = say("it computes something else")
    except Exception as e:  # the checker's and the runtime's own errors share no base class
        same, why = False, take_first_line(e)
    if not same:
        what = say("the operators of {name} cannot be written in opset {opset}", name=model.graph.name, opset=opset)
        raise ModelError("opset", what, got=why, hint=f"opset {engine.OPSET}")
    return made


def read_input_shape(model: Any) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim)


def describe_preparation(card: Card, batch: int, opset: int | None, layout: str = "NCHW") -> dict[str, Any]:
    """How a picture becomes the file's input, for whoever writes that in another language.

    opset   None for a file that is no ONNX
    layout  of the input's axes, "NCHW" or "NHWC"
    What does not apply is left out, never null: OpenCV's reader of JSON refuses that.
    """
    pre, fit = card.preprocess, parse_fit(card.preprocess.fit)
    sides = {"N": batch, "C": card.channels, "H": pre.size[0], "W": pre.size[1]}
    shape = [sides[axis] for axis in layout]
    return {
        "input": {"name": PLAIN_INPUT, "type": "float32", "shape": shape, "layout": layout},
        "output": {"name": PLAIN_OUTPUT, "shape": [batch, len(card.classes)]},
        "colours": "RGB" if card.channels == 3 else "gray (0.299 R + 0.587 G + 0.114 B)",
        "size": list(pre.size),
        "fit": fit.kind,
        **({} if fit.shorter is None else {"shorter_side": fit.shorter}),
        "interpolation": f"{fit.interpolation}, antialiased",
        **({"bars": BAR_LEVEL} if fit.kind == "pad" else {}),
        "scale": "(level / 255 - mean) / std, a channel each",
        "mean": list(pre.mean),
        "std": list(pre.std),
        "classes": list(card.classes),
        **({} if opset is None else {"opset": opset}),
        "licence": card.licence,
    }


def open_plain_file(path: Path, batch: int) -> Callable[[NDArray], NDArray]:
    """A plain file in ONNX Runtime, a batch at a time: float32 N×C×h×w -> N×K."""
    session = engine.open_session(path)
    return lambda x: engine.run_in_batches(session, x, batch)


class PlainAnswers:
    """A network that takes prepared pictures, float32 N×C×h×w -> N×K, prepared as its JSON says: by `data.read`."""

    def __init__(self, answer: Callable[[NDArray], NDArray], preprocess: Preprocess) -> None:
        self.answer, self.preprocess = answer, preprocess

    def sized(self, images: NDArray) -> NDArray:
        """Probabilities of images uint8 N×h×w×C at the net's size."""
        return self.answer(prepare_images(images, self.preprocess))

    def whole(self, image: NDArray) -> NDArray:
        """Of one image of any size."""
        return self.sized(resize_image(image, self.preprocess.size, self.preprocess.fit)[None])


def prepare_images(images: NDArray, preprocess: Preprocess) -> NDArray:
    """uint8 N×h×w×C at the net's size -> standardised float32 N×C×h×w."""
    return np.ascontiguousarray(standardise_pixels(images, preprocess.mean, preprocess.std), np.float32)
