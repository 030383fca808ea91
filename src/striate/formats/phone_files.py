"""Files for phones: a `.tflite` for LiteRT, once TensorFlow Lite, and a `.pte` for ExecuTorch.

Both take one prepared image in floats, and give its probabilities.

    LiteRT      signature `serving_default`: input 1×h×w×C, channels last, as phones hold their pictures
    ExecuTorch  method `forward`: 1×C×h×w; computed by XNNPACK, the CPU's kernels that it has on every phone

Need the packages litert-torch, with which LiteRT itself comes (`ai_edge_litert`), and executorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..architecture.net import Net
from ..engines.model_file import Preprocess
from .plain_file import PLAIN_INPUT, PLAIN_OUTPUT
from .plain_program import answer_one_by_one, build_plain_program, draw_example, refuse_conversion, silence_converter

SIGNATURE = "serving_default"


def write_litert(
    net: Net,
    tensors: Mapping[str, NDArray],
    preprocess: Preprocess,
    path: Path,
    calibration: NDArray | None = None,
) -> None:
    """Write the file. Raises ModelError for a network that the converter does not take.

    calibration  prepared float32 N×C×h×w: weights and maps become 8-bit numbers, input and output stay floats
    """
    program = build_plain_program(net, tensors, preprocess, last=True)
    try:
        with silence_converter():
            import litert_torch

            made = litert_torch.convert(program, sample_kwargs={PLAIN_INPUT: draw_example(net, last=True)})
            made.export(str(path))
            if calibration is not None:
                path.write_bytes(quantise_litert(path, calibration))
    except Exception as e:  # what the converter raises shares no base class
        raise refuse_conversion("litert", net, e) from None


def quantise_litert(path: Path, calibration: NDArray) -> bytes:
    """The file in 8-bit numbers: weights one scale a filter, maps by the least and largest of the calibration."""
    from ai_edge_quantizer import quantizer, recipe

    # The two ends stay in floats, so that the JSON beside the file is true of it as well.
    floats: list[dict[str, Any]] = [
        {"regex": ".*", "operation": end, "algorithm_key": "no_quantize", "op_config": {}}
        for end in ("INPUT", "OUTPUT")
    ]
    work = quantizer.Quantizer(str(path), [*recipe.static_wi8_ai8(), *floats])
    images = ({PLAIN_INPUT: image[None]} for image in np.ascontiguousarray(calibration.transpose(0, 2, 3, 1)))
    found = work.calibrate({SIGNATURE: list(images)}, num_threads=1)
    return bytes(work.quantize(found).quantized_model)


def read_litert(path: Path) -> Callable[[NDArray], NDArray]:
    """The file in LiteRT: float32 N×C×h×w -> N×K."""
    with silence_converter():
        from ai_edge_litert.interpreter import Interpreter

        # From memory, so that the file may go while it is being used.
        opened = Interpreter(model_content=path.read_bytes(), num_threads=1)
        opened.allocate_tensors()
        run = opened.get_signature_runner(SIGNATURE)

    def answer(x: NDArray) -> NDArray:
        return run(**{PLAIN_INPUT: np.ascontiguousarray(x.transpose(0, 2, 3, 1))})[PLAIN_OUTPUT].copy()

    return answer_one_by_one(answer)


def write_executorch(
    net: Net,
    tensors: Mapping[str, NDArray],
    preprocess: Preprocess,
    path: Path,
    calibration: NDArray | None = None,
) -> None:
    """Write the file. Raises ModelError for a network that the converter does not take.

    calibration  prepared float32 N×C×h×w: weights and maps become 8-bit numbers
    """
    program, example = build_plain_program(net, tensors, preprocess), draw_example(net)
    try:
        with silence_converter(), torch.no_grad():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            made = torch.export.export(program, (example,))
            if calibration is not None:
                made = torch.export.export(quantise_program(made, calibration), (example,))
            lowered = to_edge_transform_and_lower(made, partitioner=[XnnpackPartitioner()])
            path.write_bytes(lowered.to_executorch().buffer)
    except Exception as e:  # what the converter raises shares no base class
        raise refuse_conversion("executorch", net, e) from None


def quantise_program(program: torch.export.ExportedProgram, calibration: NDArray) -> Any:
    """The program in 8-bit numbers, symmetric: weights one scale a filter, maps by what the calibration gives."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    chosen = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    watched = prepare_pt2e(program.module(), chosen)
    for image in calibration:
        watched(torch.from_numpy(image[None].copy()))
    return convert_pt2e(watched)


def read_executorch(path: Path) -> Callable[[NDArray], NDArray]:
    """The program in ExecuTorch's own runtime: float32 N×C×h×w -> N×K."""
    with silence_converter():
        from executorch.runtime import Runtime

        content = path.read_bytes()
        program = Runtime.get().load_program(content)
        method = program.load_method("forward")

    def answer(x: NDArray, kept: tuple[Any, ...] = (content, program)) -> NDArray:
        # `kept`, for the method reads from both and holds neither.
        [found] = method.execute([torch.from_numpy(x)])
        return found.numpy().copy()

    return answer_one_by_one(answer)
