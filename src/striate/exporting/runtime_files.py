"""A model as a file of another runtime: LiteRT, ExecuTorch, Core ML, with the JSON of its preparation beside it.

Their converters are somebody else's, and answer wrongly at times without a word. So every file is opened again, and is
compared with the model before it is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import atomic_file
from ..errors import ModelError
from ..extras import need_package
from ..formats.onnx_file import Card, check_card
from ..formats.plain_file import PlainAnswers, describe_preparation
from ..language import say, to_say
from ..model.model import Model
from .parity import AnswerWay

CONVERTER_MISTAKE = to_say(
    "with --int8: more images of every class in --data; otherwise its converter writes this network wrongly: take -o "
    "model.onnx --plain"
)

Answer = Callable[[NDArray], NDArray]


class Runtime(NamedTuple):
    """A runtime with a file of its own.

    suffix    of the file
    package   that converts, by the name under which it is imported
    layout    of the file's input
    name      what the report calls its answers
    int8      whether the network can be in 8-bit numbers
    caution   what the report says of the comparison
    """

    suffix: str
    package: str
    layout: str
    name: str
    int8: bool = True
    caution: str | None = None


RUNTIMES = {
    "litert": Runtime(".tflite", "litert_torch", "NHWC", "litert"),
    "executorch": Runtime(".pte", "executorch", "NCHW", "executorch"),
    "coreml": Runtime(
        ".mlpackage",
        "coremltools",
        "NCHW",
        "coreml (read back)",
        int8=False,
        caution=to_say(
            "Core ML itself was not run: the package's operators and weights were read back and computed in torch"
        ),
    ),
}


def check_runtime(kind: str, *, int8: bool, fp16: bool) -> None:
    """Raise where the file cannot be made: a precision that it does not come in, a package that is missing."""
    runtime = RUNTIMES[kind]
    if fp16:
        raise ModelError(
            "export",
            say("a {suffix} file is in 32-bit floats", suffix=runtime.suffix),
            got="fp16",
            hint=say("leave --fp16 out"),
        )
    if int8 and not runtime.int8:
        what = say("a {suffix} file in 8-bit numbers cannot be run here, and so not be compared", suffix=runtime.suffix)
        raise ModelError("export", what, got="int8", hint=say("leave --int8 out"))
    for package in ("torch", runtime.package):
        need_package(package, kind)


def write_runtime_file(
    model: Model, made: Path, kind: str, card: Card, calibration: NDArray | None = None
) -> AnswerWay:
    """Write the file `made`, and beside it the JSON that says how a picture becomes its input; its answers.

    calibration  prepared float32 N×C×h×w for 8-bit numbers; None for floats
    Raises ModelError where the converter does not take the network, or the runtime what the converter made.
    """
    runtime, (write, read) = RUNTIMES[kind], find_functions(kind)
    check_card(model.net, card)
    write(model.net, model.tensors, model.preprocess, made, calibration)
    said = describe_preparation(card, 1, None, runtime.layout)
    atomic_file.write_file(made.with_suffix(".json"), json.dumps(said, ensure_ascii=False, indent=1))
    answers = PlainAnswers(open_made(kind, read, made, model), model.preprocess)
    precision = "float32" if calibration is None else "int8"
    return AnswerWay(f"{runtime.name} {precision}", precision, answers.sized, answers.whole)


def find_functions(kind: str) -> tuple[Callable[..., None], Callable[[Path], Answer]]:
    """What writes a runtime's file, and what reads it."""
    if kind == "litert":
        from ..formats.phone_files import read_litert, write_litert

        return write_litert, read_litert
    if kind == "executorch":
        from ..formats.phone_files import read_executorch, write_executorch

        return write_executorch, read_executorch
    if kind == "coreml":
        from ..formats.coreml_file import read_coreml, write_coreml

        return write_coreml, read_coreml
    raise ModelError("--format", say("there is no runtime '{kind}'", kind=kind))


def open_made(kind: str, read: Callable[[Path], Answer], made: Path, model: Model) -> Answer:
    """The file in its runtime, run once. Raises ModelError where that fails."""
    try:
        answer = read(made)
        answer(np.zeros((1, *model.net.input), np.float32))
    except ModelError:
        raise
    except Exception as e:  # the runtimes' own errors share no base class
        what = say("its runtime does not take what its converter made of {name}", name=model.net.name)
        raise ModelError(kind, what, got=str(e)[:200], hint="-o model.onnx --plain") from None
    return answer
