"""Tensors on the wire, as the open inference protocol v2 has them: in JSON, or as bytes behind it.

https://github.com/kserve/open-inference-protocol: specification/protocol/inference_rest.md, and the extension
`binary_tensor_data`: the header Inference-Header-Content-Length says where the JSON ends; behind it come the tensors
that state a `binary_data_size`, in their order, little-endian, row by row. An element of BYTES is its length in 4 bytes
and then its bytes; a BOOL is one byte.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np

from ..architecture.layers import format_shape
from ..errors import DataError
from ..language import say
from .bodies import decode_base64
from .settings import Refused

LENGTH_HEADER = "Inference-Header-Content-Length"


class GivenTensor(msgspec.Struct, forbid_unknown_fields=True):
    """A tensor of a request as its JSON tells it."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class WantedTensor(msgspec.Struct, forbid_unknown_fields=True):
    """A tensor that a request asks for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferenceBody(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON of a request. The model is the one that the address names, whatever is said here."""

    inputs: list[GivenTensor]
    outputs: list[WantedTensor] | None = None
    id: str | None = None
    parameters: dict[str, Any] | None = None
    model_name: str | None = None
    model_version: str | None = None


class InputTensor(NamedTuple):
    """A tensor that came: its data as JSON, or the bytes behind it."""

    name: str
    datatype: str
    shape: list[int]
    text: msgspec.Raw
    blob: memoryview | None


class Tensor(NamedTuple):
    """A tensor of an answer: float32 (FP32), bool (BOOL), or an object array of text (BYTES)."""

    name: str
    values: np.ndarray

    @property
    def datatype(self) -> str:
        return {"f": "FP32", "b": "BOOL", "O": "BYTES"}[self.values.dtype.kind]


def read_inference_body(body: bytes, stated: str | None) -> tuple[InferenceBody, list[InputTensor]]:
    """A request, and its tensors with the bytes that came for them. Raises Refused (400).

    stated  the header Inference-Header-Content-Length; None: all of the body is JSON
    """
    text, rest = split_body(body, stated)
    try:
        asked = msgspec.json.decode(text, type=InferenceBody)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as e:
        rule = '{"inputs": [{"name": …, "shape": […], "datatype": …, "data": […]}]}'
        raise Refused(400, "body", say("the JSON cannot be read"), got=str(e)[:200], rule=rule) from None
    for where, names in (("inputs", asked.inputs), ("outputs", asked.outputs or [])):
        refuse_twice(where, [one.name for one in names])
    inputs = []
    for told in asked.inputs:
        size = read_blob_size(told)
        if size is not None and size > len(rest):
            what, rule = say("the body ends before the tensor does"), say("{count:,} bytes are left", count=len(rest))
            raise Refused(400, told.name, what, got=f"binary_data_size {size:,}"[:200], rule=rule)
        blob = None if size is None else rest[:size]
        inputs.append(InputTensor(told.name, told.datatype, told.shape, told.data, blob))
        rest = rest[size or 0 :]
    if rest:
        got = say("{count:,} bytes that belong to no tensor", count=len(rest))
        hint = say("state the binary_data_size of each tensor behind the JSON")
        raise Refused(400, "body", say("the body is longer than its tensors"), got=got, hint=hint)
    return asked, inputs


def split_body(body: bytes, stated: str | None) -> tuple[memoryview, memoryview]:
    """The JSON, and what is behind it. Raises Refused (400)."""
    view = memoryview(body)
    if stated is None:
        return view, view[len(body) :]
    digits = stated.strip()
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 20 and 0 < int(digits) <= len(body)):
        rule = say("the length of the JSON in bytes, from 1 to {count:,}", count=len(body))
        raise Refused(400, LENGTH_HEADER, say("the header does not fit the body"), got=stated[:40], rule=rule)
    return view[: int(digits)], view[int(digits) :]


def refuse_twice(where: str, names: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Refused(400, where, say("a tensor is named twice"), got=twice[:200])


def read_blob_size(tensor: GivenTensor) -> int | None:
    """How many of the bytes behind the JSON are the tensor's; None where its data stand in the JSON.

    Raises Refused (400).
    """
    given = tensor.parameters or {}
    for name in given:
        if name.startswith("shared_memory"):
            raise Refused(400, tensor.name, say("this server shares no memory"), got=name[:200])
    size, inside = given.get("binary_data_size"), bytes(tensor.data) != b"null"
    if size is None:
        if not inside:
            raise Refused(400, tensor.name, say("the tensor has no data"), rule=say("data or binary_data_size"))
        return None
    if type(size) is not int or size < 0:
        what = say("a size is a whole number from 0")
        raise Refused(400, tensor.name, what, got=f"binary_data_size {size!r}"[:200])
    if inside:
        raise Refused(400, tensor.name, say("the tensor has its data twice"), rule=say("data or binary_data_size"))
    return size


def check_shape(tensor: InputTensor, datatype: str, shape: tuple[int, ...]) -> None:
    """Raise Refused (400) unless a tensor has this datatype and shape; -1 stands for any number from 1."""
    if tensor.datatype != datatype:
        raise Refused(400, tensor.name, say("the datatype does not fit"), got=tensor.datatype[:40], rule=datatype)
    fits = len(tensor.shape) == len(shape) and all(
        given == wanted or (wanted == -1 and given > 0) for given, wanted in zip(tensor.shape, shape, strict=True)
    )
    if not fits:
        got = f"[{', '.join(map(str, tensor.shape[:8]))}]"[:100]
        rule = say("{shape}, where -1 is any number from 1", shape=str(list(shape)))
        raise Refused(400, tensor.name, say("the shape does not fit"), got=got, rule=rule)


def refuse_length(tensor: InputTensor, got: str) -> Refused:
    """The error for data that are not as long as the shape says; the shape is one that fits."""
    rule = f"{tensor.datatype} {format_shape(tuple(tensor.shape))}"[:200]
    return Refused(400, tensor.name, say("the data are not what the shape says"), got=got[:200], rule=rule)


def read_elements(tensor: InputTensor) -> list[bytes | DataError]:
    """The elements of a BYTES tensor of one dimension; in JSON each is base64. Raises Refused (400).

    An element that is not base64 is the error that says so.
    """
    [count] = tensor.shape
    if tensor.blob is not None:
        return split_elements(tensor, tensor.blob, count)
    try:
        texts = msgspec.json.decode(tensor.text, type=list[str])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as e:
        what = say("in JSON an element of BYTES is text in base64")
        raise Refused(400, tensor.name, what, got=str(e)[:200], hint=say("send it as binary data")) from None
    if len(texts) != count:
        raise refuse_length(tensor, say("{count} elements", count=len(texts)))
    return [decode_base64(text) for text in texts]


def split_elements(tensor: InputTensor, blob: memoryview, count: int) -> list[bytes | DataError]:
    found: list[bytes | DataError] = []
    while blob:
        if len(found) == count:
            raise refuse_length(tensor, say("{count:,} bytes more", count=len(blob)))
        [size] = struct.unpack("<I", blob[:4]) if len(blob) >= 4 else [0]
        if len(blob) < 4 or size > len(blob) - 4:
            raise refuse_length(tensor, say("element {number} breaks off", number=len(found)))
        found.append(bytes(blob[4 : 4 + size]))
        blob = blob[4 + size :]
    if len(found) != count:
        raise refuse_length(tensor, say("{count} elements", count=len(found)))
    return found


def read_levels(tensor: InputTensor) -> np.ndarray:
    """The values of a UINT8 tensor in its shape. Raises Refused (400)."""
    if tensor.blob is not None:
        levels: memoryview | bytes = tensor.blob
    else:
        try:
            levels = bytes(flatten_numbers(tensor, msgspec.json.decode(tensor.text)))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as e:
            what = say("in JSON UINT8 are whole numbers from 0 to 255")
            raise Refused(400, tensor.name, what, got=str(e)[:200]) from None
    if len(levels) != math.prod(tensor.shape):
        raise refuse_length(tensor, say("{count:,} values", count=len(levels)))
    return np.frombuffer(levels, np.uint8).reshape(tensor.shape)


def flatten_numbers(tensor: InputTensor, data: Any) -> list[int]:
    """The whole numbers of `data`, flat as they come or nested as the shape says. Raises Refused (400), ValueError."""
    data = data if isinstance(data, list) else [data]
    for count in tensor.shape[1:] if data and isinstance(data[0], list) else ():
        if not all(isinstance(row, list) and len(row) == count for row in data):
            raise refuse_length(tensor, say("rows of other lengths"))
        data = list(chain.from_iterable(data))
    if not set(map(type, data)) <= {int}:
        raise ValueError(say("values that are no whole numbers"))
    return data


def write_inference(heading: dict[str, Any], outputs: Sequence[tuple[Tensor, bool]]) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON where bytes come behind it.

    outputs  each with whether it goes as bytes
    """
    told, blobs = [], []
    for tensor, as_bytes in outputs:
        row: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.values.shape)}
        if as_bytes:
            blobs.append(pack_tensor(tensor))
            row["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            row["data"] = tensor.values.ravel().tolist()
        told.append(row)
    text = msgspec.json.encode(heading | {"outputs": told})
    return (b"".join([text, *blobs]), len(text)) if blobs else (text, None)


def pack_tensor(tensor: Tensor) -> bytes:
    """A tensor's bytes, little-endian, row by row.

    >>> pack_tensor(Tensor("label", np.array(["cat"], object)))
    b'\\x03\\x00\\x00\\x00cat'
    """
    if tensor.datatype == "BYTES":
        elements = [text.encode() for text in tensor.values.ravel()]
        return b"".join(struct.pack("<I", len(element)) + element for element in elements)
    return tensor.values.astype("<f4" if tensor.datatype == "FP32" else np.uint8).tobytes()
