"""A model for OpenVINO: an `.xml` and a `.bin` beside it, raw uint8 images of any size in, class probabilities out.

`openvino.compile_model("model.xml", "CPU")(images)` answers; nothing of striate is needed. The card of an exported file
is its rt_info: `model.get_rt_info(["striate", "classes"])`, each field as JSON. Needs the package openvino.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from .. import atomic_file
from ..errors import ModelError
from ..language import say

if TYPE_CHECKING:
    from .onnx_file import Card

# OpenVINO's own antialiasing is no Pillow's: with it EfficientNet-Lite0's probabilities of photographs were up to 0.19
# off, with these modes up to 0.0004 (OpenVINO 2026.4).
PILLOW_MODES = {"cubic": "bicubic_pillow", "linear": "bilinear_pillow", "linear_onnx": "bilinear_pillow"}

# The file's own resizing, as `onnx_file.write_resizing` names it; an Upsample of the network stays as it is.
RESIZED = "/resized"


def need_openvino() -> None:
    """Raise ModelError where OpenVINO is not installed."""
    if find_spec("openvino") is None:
        raise ModelError("openvino", say("the package openvino is missing"), hint="pip install openvino")


def write_openvino(exported: Path, card: Card, path: Path | str) -> None:
    """Write the exported ONNX file as OpenVINO's two files, each whole or not at all."""
    need_openvino()
    import onnx
    import openvino

    plain = onnx.load(exported)
    del plain.metadata_props[:]  # OpenVINO would keep them in a place of its own
    model = openvino.Core().read_model(plain.SerializeToString())
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Interpolate" and node.get_friendly_name() == RESIZED:
            replace_interpolate(node)
    model.validate_nodes_and_infer_types()
    for key, field in msgspec.to_builtins(card).items():
        model.set_rt_info(json.dumps(field, ensure_ascii=False), ["striate", key])
    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(model, Path(folder) / "model.xml", compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            atomic_file.write_file(Path(path).with_suffix(suffix), (Path(folder) / f"model{suffix}").read_bytes())


def replace_interpolate(node: Any) -> None:
    """Put an Interpolate that computes as Pillow does into the place of `node`."""
    from openvino import opset11

    image, size, axes = (port.get_source_output() for port in node.inputs())
    mode = PILLOW_MODES[node.get_attributes()["mode"]]
    made = opset11.interpolate(image, size, mode, "sizes", axes=axes, pads_begin=[0], pads_end=[0], cube_coeff=-0.5)
    node.output(0).replace(made.output(0))


def read_openvino(path: Path | str) -> Callable[[np.ndarray], np.ndarray]:
    """The model in a file: uint8 N×H×W×C -> N×classes, computed in the floats that the file holds."""
    import openvino

    options = {"INFERENCE_PRECISION_HINT": "f32"}  # a CPU with bfloat16 would otherwise take that
    compiled = openvino.Core().compile_model(str(path), "CPU", options)
    return lambda images: np.asarray(compiled(images)[0])
