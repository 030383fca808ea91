"""A program for ExecuTorch: a `.pte` whose method `forward` takes one prepared image and gives its probabilities.

    forward  float32 1×C×h×w -> float32 1×K

Computed by XNNPACK, the CPU's kernels that ExecuTorch has on every phone. Needs the package executorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from ..architecture.net import Net
from ..engines.model_file import Preprocess
from .plain_program import (
    answer_one_by_one,
    build_plain_program,
    draw_example,
    refuse_conversion,
    silence_converter,
)


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
