"""A package for Core ML: a folder `.mlpackage` whose program takes one prepared image and gives its probabilities.

    input          float32 1×C×h×w
    probabilities  float32 1×K

Needs the package coremltools. Core ML itself runs on Apple's systems alone; what stands in the package is read again
and computed here, operator after operator (`coreml_operators.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._decomp import get_decompositions

from ..architecture.net import Net
from ..engines.model_file import Preprocess
from ..language import say
from .coreml_operators import OPERATORS, refuse_operator
from .plain_file import PLAIN_INPUT, PLAIN_OUTPUT
from .plain_program import answer_one_by_one, build_plain_program, draw_example, refuse_conversion, silence_converter

# Operators that are written out for the converter: coremltools 9.0 knows no CELU and no shuffle of channels, and makes
# GELU by tanh the exact one.
WRITTEN_OUT = [torch.ops.aten.celu, torch.ops.aten.channel_shuffle, torch.ops.aten.gelu]


def write_coreml(
    net: Net, tensors: Mapping[str, NDArray], preprocess: Preprocess, path: Path, calibration: NDArray | None = None
) -> None:
    """Write the package. Raises ModelError for a network that the converter does not take.

    calibration  None; there are no 8-bit numbers
    """
    assert calibration is None
    program, example = build_plain_program(net, tensors, preprocess), draw_example(net)
    try:
        with silence_converter(), torch.no_grad():
            import coremltools

            made = coremltools.convert(
                torch.export.export(program, (example,)).run_decompositions(get_decompositions(WRITTEN_OUT)),
                convert_to="mlprogram",
                compute_precision=coremltools.precision.FLOAT32,
                inputs=[coremltools.TensorType(name=PLAIN_INPUT, shape=tuple(example.shape))],
                outputs=[coremltools.TensorType(name=PLAIN_OUTPUT)],
                skip_model_load=True,
            )
            made.save(str(path))
    except Exception as e:  # what the converter raises shares no base class
        raise refuse_conversion("coreml", net, e) from None


def read_coreml(path: Path) -> Callable[[NDArray], NDArray]:
    """The package's program, computed here: float32 N×C×h×w -> N×K. Raises ModelError for an operator that is not
    known.
    """
    answer = answer_program(open_program(path), PLAIN_INPUT, PLAIN_OUTPUT)
    return answer_one_by_one(answer)


def open_program(path: Path) -> Any:
    """What stands in the package: coremltools' own record of its operators, with their weights."""
    with silence_converter():
        from coremltools.converters.mil.frontend.milproto.load import load
        from coremltools.models import MLModel

        opened = MLModel(str(path), skip_model_load=True)
        spec = opened.get_spec()
        program = load(spec, specification_version=spec.specificationVersion, file_weights_dir=opened.weights_dir)
    return program.functions["main"]


def answer_program(function: Any, inlet: str, outlet: str) -> Callable[[NDArray], NDArray]:
    """float32, shaped as the input -> the output. Raises ModelError for an operator that is not known here."""
    operations = [one for one in function.operations if one.op_type != "const"]
    for one in operations:
        if one.op_type not in OPERATORS:
            raise refuse_operator(one.op_type, say("no such operator is known to the check"))

    def answer(x: NDArray) -> NDArray:
        values: dict[str, Tensor] = {inlet: torch.from_numpy(x)}
        with torch.no_grad():
            for one in operations:
                given = {name: read_input(value, values) for name, value in one.inputs.items()}
                found = OPERATORS[one.op_type](given)
                many = found if isinstance(found, tuple) else (found,)
                values |= {told.name: made for told, made in zip(one.outputs, many, strict=True)}
        return values[outlet].numpy()

    return answer


def read_input(value: Any, values: Mapping[str, Tensor]) -> Any:
    """What an operator is given: a tensor, a Python value, or a tuple of tensors."""
    if isinstance(value, list | tuple):
        return tuple(read_input(one, values) for one in value)
    if value.name in values:
        return values[value.name]
    stored = value.val
    if isinstance(stored, np.ndarray):
        return torch.from_numpy(np.array(stored)) if stored.dtype == np.float32 else stored.tolist()
    return stored.item() if isinstance(stored, np.generic) else stored
