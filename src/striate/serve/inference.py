"""The open inference protocol v2, as KServe and Triton speak it: its paths beside the service's own.

One model in one version. It takes pictures in one of two tensors, and each is prepared as everywhere else:

    files          BYTES [n], the files of n pictures; in JSON each is base64
    images         UINT8 [n, height, width, channels], the pixels of n pictures of one size, as the exported file has it

    probabilities  FP32 [n, classes]; with the parameter `classification` BYTES [n, k], the k best as "p:index:label"
    label          BYTES [n], the most probable class
    classes        BYTES [classes], the names of the columns of `probabilities`
    unsure         BOOL [n], of a calibrated model alone; unlike  BOOL [n], of one that tells strange pictures alone

A model of several labels a picture answers with `probabilities`, each label's alone, and `classes`, and with

    chosen         BOOL [n, classes], whether a picture has the label: its probability is at least the label's threshold

in place of `label`; a model that answers with a number with `number`, FP32 [n], alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from fastapi import Request, Response

from .. import __version__
from ..engines.onnx_layers import FILE_INPUT, FILE_OUTPUT
from ..errors import StriateError, suggest_name
from ..language import say
from ..model.prediction import name_predictions
from .routes import Served, Service, judge_body
from .settings import Refused, Sent
from .tensors import (
    LENGTH_HEADER,
    InferenceBody,
    InputTensor,
    Tensor,
    WantedTensor,
    check_shape,
    read_elements,
    read_inference_body,
    read_levels,
    write_inference,
)

VERSION = "1"
FILES, IMAGES, PROBABILITIES, NUMBER = "files", FILE_INPUT, FILE_OUTPUT, "number"


class Wanted(NamedTuple):
    """An output that is asked for: as bytes behind the JSON or in it, and of the probabilities the best few alone."""

    name: str
    as_bytes: bool
    best: int | None


def list_inputs(service: Service) -> dict[str, tuple[str, tuple[int, ...]]]:
    """What the model takes: datatype and shape by name."""
    return {FILES: ("BYTES", (-1,)), IMAGES: ("UINT8", (-1, -1, -1, service.model.channels))}


def list_outputs(service: Service) -> dict[str, tuple[str, tuple[int, ...]]]:
    """What it answers: datatype and shape by name."""
    count, outputs = len(service.model.classes), service.model.card.outputs
    if outputs == "identity":
        return {NUMBER: ("FP32", (-1,))}
    named = ("BOOL", (-1, count)) if outputs == "sigmoid" else ("BYTES", (-1,))
    told: dict[str, tuple[str, tuple[int, ...]]] = {PROBABILITIES: ("FP32", (-1, count))}
    told |= {"chosen" if outputs == "sigmoid" else "label": named, "classes": ("BYTES", (count,))}
    told |= {} if service.model.abstention is None else {"unsure": ("BOOL", (-1,))}
    return told | ({"unlike": ("BOOL", (-1,))} if service.model.tells_strange else {})


def check_model(service: Service, request: Request) -> None:
    """Raise Refused (404) unless the address names the model that is served, and its version."""
    name, version = request.path_params["name"], request.path_params.get("version", VERSION)
    if name != service.name:
        what = say("there is no such model")
        raise Refused(404, "model", what, got=name[:200], rule=say("this server has '{name}'", name=service.name))
    if version != VERSION:
        what = say("there is no such version")
        raise Refused(404, "version", what, got=version[:200], rule=say("the model has version {one}", one=VERSION))


async def describe_server(service: Served) -> Any:
    """The open inference protocol v2: the server, and the extensions that it speaks."""
    return {"name": "striate", "version": __version__, "extensions": ["binary_tensor_data", "classification"]}


async def answer_live() -> Any:
    """The open inference protocol v2: the process answers."""
    return {"live": True}


async def answer_ready(service: Served) -> Any:
    """The open inference protocol v2: the model is loaded, and the service is not stopping."""
    need_ready(service)
    return {"ready": True}


async def answer_model_ready(service: Served, request: Request) -> Any:
    """The open inference protocol v2: this model is loaded."""
    check_model(service, request)
    need_ready(service)
    return {"name": service.name, "ready": True}


async def describe_model(service: Served, request: Request) -> Any:
    """The open inference protocol v2: the model's tensors. A request has one of the two inputs."""
    check_model(service, request)

    def rows(told: Mapping[str, tuple[str, tuple[int, ...]]]) -> list[dict[str, Any]]:
        return [{"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in told.items()]

    return {
        "name": service.name,
        "versions": [VERSION],
        "platform": "onnx_onnxv1",
        "inputs": rows(list_inputs(service)),
        "outputs": rows(list_outputs(service)),
    }


async def infer(service: Served, request: Request) -> Response:
    """The open inference protocol v2: probabilities and classes of pictures, as tensors in JSON or in binary."""
    check_model(service, request)
    encoding = request.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise Refused(415, "Content-Encoding", say("this server unpacks nothing"), got=encoding[:40])
    stated = request.headers.get(LENGTH_HEADER)

    async def read(body: bytes) -> tuple[tuple[InferenceBody, list[Wanted]], list[Sent]]:
        return await asyncio.to_thread(read_request, service, body, stated)

    (asked, wanted), sent, judged = await judge_body(service, request, read)
    for item, row in zip(sent, judged, strict=True):
        if isinstance(row, StriateError):
            row.where = item.name
            raise row
    tensors = make_outputs(service, np.stack(judged))
    outputs = [(pick_best(service, tensors[one.name], one.best), one.as_bytes) for one in wanted]
    heading = {"model_name": service.name, "model_version": VERSION} | ({"id": asked.id} if asked.id else {})
    content, length = write_inference(heading, outputs)
    if length is None:
        return Response(content, media_type="application/json")
    return Response(content, media_type="application/octet-stream", headers={LENGTH_HEADER: str(length)})


def need_ready(service: Service) -> None:
    if not service.ready:
        raise Refused(503, "server", say("not ready"))


def read_request(
    service: Service, body: bytes, stated: str | None
) -> tuple[tuple[InferenceBody, list[Wanted]], list[Sent]]:
    """A request with the outputs that it wants, and its pictures. Raises Refused (400, 422)."""
    asked, inputs = read_inference_body(body, stated)
    known = list_inputs(service)
    for given in inputs:
        if given.name not in known:
            hint = suggest_name(given.name, known)
            raise Refused(400, "inputs", say("there is no such tensor"), got=given.name[:200], hint=hint)
    if len(inputs) != 1:
        got, rule = say("{count} tensors", count=len(inputs)), say("one of: {names}", names=", ".join(known))
        raise Refused(400, "inputs", say("a request has its pictures in one tensor"), got=got, rule=rule)
    wanted = list_wanted(service, asked)
    return (asked, wanted), read_pictures(service, inputs[0])


def read_pictures(service: Service, given: InputTensor) -> list[Sent]:
    """The pictures in a tensor. Raises Refused (400, 422)."""
    check_shape(given, *list_inputs(service)[given.name])
    if given.shape[0] > service.limits.images:
        raise service.limits.too_many(f"{given.shape[0]}")
    pictures = read_elements(given) if given.name == FILES else read_levels(given)
    return [Sent(f"{given.name}[{i}]", picture) for i, picture in enumerate(pictures)]


def list_wanted(service: Service, asked: InferenceBody) -> list[Wanted]:
    """The outputs that a request asks for; all where it names none. Raises Refused (400)."""
    known = list_outputs(service)
    usual = read_flag(asked.parameters, "binary_data_output", "parameters", False)
    found = []
    for one in asked.outputs or [WantedTensor(name) for name in known]:
        if one.name not in known:
            hint = suggest_name(one.name, known)
            raise Refused(400, "outputs", say("there is no such tensor"), got=one.name[:200], hint=hint)
        if any(name.startswith("shared_memory") for name in one.parameters or {}):
            raise Refused(400, one.name, say("this server shares no memory"))
        found.append(Wanted(one.name, read_flag(one.parameters, "binary_data", one.name, usual), read_best(one)))
    return found


def read_flag(parameters: Mapping[str, Any] | None, name: str, where: str, usual: bool) -> bool:
    """A parameter that is true or false; `usual` where it is not given. Raises Refused (400)."""
    value = (parameters or {}).get(name, usual)
    if not isinstance(value, bool):
        raise Refused(400, where, say("{name} is true or false", name=name), got=str(value)[:200])
    return value


def read_best(one: WantedTensor) -> int | None:
    """The parameter `classification`: how many classes a picture's answer names. Raises Refused (400)."""
    best = (one.parameters or {}).get("classification")
    if best is None:
        return None
    if one.name != PROBABILITIES:
        what = say("classification is asked of {name}", name=PROBABILITIES)
        raise Refused(400, one.name, what, got=f"classification {best}"[:200])
    if type(best) is not int or best < 1:
        what = say("classification is a whole number from 1")
        raise Refused(400, one.name, what, got=f"classification {best!r}"[:200])
    return best


def make_outputs(service: Service, judged: np.ndarray) -> dict[str, Tensor]:
    """All outputs of what the model said of some pictures, by name."""
    model = service.model
    if model.card.outputs == "identity":
        return {NUMBER: Tensor(NUMBER, judged[:, 0].astype(np.float32))}
    if model.card.outputs == "sigmoid":
        told = {PROBABILITIES: judged.astype(np.float32), "chosen": judged >= np.array(model.card.thresholds)}
        return {name: Tensor(name, value) for name, value in told.items()} | {
            "classes": Tensor("classes", np.array(model.classes, object))
        }
    said = name_predictions(model, [""] * len(judged), judged, 1)
    values = {
        PROBABILITIES: judged[:, : len(model.classes)].astype(np.float32),
        "label": np.array([one.label for one in said], object),
        "classes": np.array(model.classes, object),
        "unsure": np.array([bool(one.unsure) for one in said]),
        "unlike": np.array([bool(one.unlike) for one in said]),
    }
    return {name: Tensor(name, values[name]) for name in list_outputs(service)}


def pick_best(service: Service, tensor: Tensor, best: int | None) -> Tensor:
    """The `best` most probable classes of each picture as text; the tensor itself where None."""
    if best is None:
        return tensor
    order = np.argsort(-tensor.values, axis=1, kind="stable")[:, :best]
    rows = [
        [f"{p[k]:.6f}:{k}:{service.model.classes[k]}" for k in best_of]
        for p, best_of in zip(tensor.values, order, strict=True)
    ]
    return Tensor(tensor.name, np.array(rows, object))
