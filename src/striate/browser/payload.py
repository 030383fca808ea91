"""A model as a page holds it: the net as JSON, the tensors packed, and how an image becomes the input."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..architecture.text import to_json
from ..errors import ModelError, suggest_name
from ..language import say
from ..model.model import Model
from .javascript_layers import check_browser_net

# What make_payload gives.
Payload = dict[str, Any]

# Bytes stand in the page as printable ASCII, denser than base64: two characters for 13 bits, 1.23 a byte in place of
# 1.33. These 91 characters need no escape in JSON or in a script element. `engine/text_bytes.js` reads them again.
ALPHABET = bytes(code for code in range(32, 127) if chr(code) not in '"\\<&')

GROUP = 13  # bits in two characters: 91² = 8281 is more than 2¹³ = 8192

PIECE = GROUP << 17  # bytes read at once, a whole number of groups; unpacked they take eight times as much

# How weights may be kept. A model of more parameters than so many is kept in float16 unless it is asked otherwise.
WEIGHT_KINDS = ("float32", "float16", "int8")
SMALL = 1_000_000


def make_payload(model: Model, weights: str | None = None, card: Mapping[str, Any] | None = None) -> Payload:
    """What the browser's engine opens: plain JSON data.

    weights  of WEIGHT_KINDS; int8 is symmetric with a scale a filter, biases and norms stay float32. None: float32, or
             of a large model float16
    card     what the page says of the model
    Raises NetError for a layer that the engine has not, ModelError for a model that no page can feed.
    """
    check_page_model(model)
    kind = weights or ("float32" if count_numbers(model) <= SMALL else "float16")
    if kind not in WEIGHT_KINDS:
        raise ModelError(
            "weights", say("there is no such form of weights"), got=kind, hint=suggest_name(kind, WEIGHT_KINDS)
        )
    listed, parts, offset = [], [], 0
    for name, tensor in model.tensors.items():
        entry, data = pack_tensor(tensor, kind)
        listed.append({"name": name, "shape": list(tensor.shape), "offset": offset, "bytes": len(data)} | entry)
        parts.append(data)
        offset += len(data)
    packed = compress_weights(b"".join(parts))
    return describe_model(model) | {
        "form": 2,
        "card": dict(card or {}),
        "tensors": listed,
        "bytes": len(packed),
        "data": write_as_text(packed),
    }


def describe_network(model: Model) -> Payload:
    """What a page beside its server opens: as `make_payload`, but the weights come by themselves, see `join_weights`.

    Raises NetError and ModelError as that does.
    """
    check_page_model(model)
    return describe_model(model) | {"tensors": [[name, list(tensor.shape)] for name, tensor in model.tensors.items()]}


def join_weights(model: Model) -> bytes:
    """The tensors one after another, float32 with the lowest byte first."""
    return b"".join(np.asarray(tensor, "<f4").tobytes() for tensor in model.tensors.values())


def check_page_model(model: Model) -> None:
    check_browser_net(model.net)
    if model.net.input[0] not in (1, 3) or model.preprocess.alpha:
        got = say("{bands} bands", bands=model.net.input[0])
        raise ModelError("page", say("a browser gives gray or RGB images alone"), got=got, rule=say("1 or 3 channels"))


def describe_model(model: Model) -> Payload:
    return {
        "name": model.net.name,
        "net": to_json(model.net),
        "texts": {step.path: repr(step.layer) for step in model.net.steps},
        "classes": list(model.classes),
        "preprocess": msgspec.to_builtins(model.preprocess),
        "views": model.preprocess.views,
        "abstention": msgspec.to_builtins(model.abstention),
        "untold": model.tells_strange,  # of pictures unlike the training pictures a page knows nothing
    }


def count_numbers(model: Model) -> int:
    return sum(tensor.size for tensor in model.tensors.values())


def pack_tensor(tensor: NDArray, kind: str) -> tuple[dict[str, Any], bytes]:
    """How a tensor is kept, and its bytes. Raises ModelError for a weight that float16 cannot hold."""
    if kind == "float32" or tensor.ndim < 2:
        return {"kind": "float32"}, list_planes(tensor.astype("<f4"))
    if kind == "float16":
        if np.abs(tensor).max(initial=0) > np.finfo(np.float16).max:
            raise ModelError("weights", say("a weight is too large for float16"), hint="weights='float32'")
        return {"kind": "float16"}, list_planes(tensor.astype("<f2"))
    rows = tensor.reshape(len(tensor), -1)
    scale = np.abs(rows).max(1) / 127
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    whole = np.rint(rows / scale[:, None]).astype(np.int8)
    return {"kind": "int8", "scale": scale.tolist()}, whole.tobytes()


def list_planes(array: NDArray) -> bytes:
    """First the lowest byte of every number, then the next ones: signs and exponents, which are much alike, stand side
    by side, and pack the better."""
    return np.ascontiguousarray(array).view(np.uint8).reshape(-1, array.itemsize).T.tobytes()


def compress_weights(data: bytes) -> bytes:
    """As gzip, which every browser unpacks. Z_FILTERED looks for no short repeats, which weights have by chance alone:
    0.8 % less for a trained network in float16."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS, 7, zlib.Z_FILTERED)
    return packer.compress(data) + packer.flush()


def write_as_text(data: bytes) -> str:
    """The bytes as text; its last group is filled up with zeros.

    >>> write_as_text(b"abc")
    'E8=r'
    """
    return "".join(write_piece(data[start : start + PIECE]) for start in range(0, len(data), PIECE))


def write_piece(data: bytes) -> str:
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    rows = np.pad(bits, (0, -len(bits) % GROUP)).reshape(-1, GROUP)
    groups = rows @ (1 << np.arange(GROUP)[::-1]).astype(np.uint16)
    pairs = np.stack(np.divmod(groups, len(ALPHABET)), axis=1)
    return np.frombuffer(ALPHABET, np.uint8)[pairs].tobytes().decode("ascii")
