"""A network in 8-bit whole numbers: weights one scale a channel, activations by what calibration images need."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..engines.onnx_layers import IMAGES
from ..errors import ModelError

if TYPE_CHECKING:
    import onnx

ENOUGH = 8
"""Fewer calibration images than this say too little about the range of the activations."""


def quantised(model: onnx.ModelProto, images: Sequence[np.ndarray]) -> onnx.ModelProto:
    """`model`, an exported file's, with its network in int8 (QDQ, static, symmetric weights per channel).

    images  calibration images, uint8 H×W×C of any size: some dozens of the training split, of every class
    Each quantised value runs from the least to the largest value that the images give (ONNX Runtime's MinMax).
    Preparation and softmax stay as they were. Raises ModelError for too few images.
    """
    import onnx
    from onnxruntime import quantization

    if len(images) < ENOUGH:
        got, hint = f"{len(images)} images", "100 images of the training split, of every class"
        raise ModelError("int8", "too few images to calibrate with", got=got, rule=f"at least {ENOUGH}", hint=hint)

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = batches(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    inferred = onnx.shape_inference.infer_shapes(model)
    # What ONNX Runtime's own preparation leaves as its mark; without it a warning is logged.
    inferred.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    kept = [node.name for node in model.graph.node if node.name.startswith("/") or node.op_type == "Softmax"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            inferred,
            file,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            nodes_to_exclude=kept,
        )
        made = onnx.load(file)
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    return made


def batches(images: Sequence[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    return ({IMAGES: image[None]} for image in images)
