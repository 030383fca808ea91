"""The weights in an ONNX file, read without the package onnx: enough of its encoding to find those that are NaN.

Protocol Buffers: a message is a row of fields, each a key (number · 8 + kind) and its value; of the kinds 0 is a
number, 1 and 5 are eight and four bytes, 2 is a length and as many bytes. The fields' numbers are those of onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..engines.finite import explain_not_finite
from ..errors import ModelError
from ..language import say

GRAPH, INITIALIZER = 7, 5
TYPE, FLOATS, NAME, RAW = 2, 4, 8, 9
TYPES: dict[int, Any] = {1: np.dtype("<f4"), 10: np.dtype("<f2"), 11: np.dtype("<f8")}
SIZES = {1: 8, 5: 4}


def check_constants(path: Path) -> None:
    """Raise ModelError naming the first layer of the file whose weights or scales are NaN or infinite."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for name, value in list_constants(memoryview(content)):
            # What max pooling pads with.
            good = np.isfinite(value) | (np.isneginf(value) if name.endswith("/value") else False)
            bad, count = int(np.count_nonzero(~good)), value.size
            del value, good  # or the file cannot be closed
            if bad:
                raise explain_not_finite(name.removesuffix("/bias").removesuffix("_scale"), bad, count).at(
                    str(path), ": "
                )


def list_constants(model: memoryview) -> Iterator[tuple[str, np.ndarray]]:
    """The name and the values of every constant of floats in an ONNX model."""
    for number, graph in list_fields(model):
        if number != GRAPH or isinstance(graph, int):
            continue
        for inner, tensor in list_fields(graph):
            if inner == INITIALIZER and not isinstance(tensor, int):
                parts: dict[int, Any] = dict(list_fields(tensor))
                kind, stored = parts.get(TYPE), parts.get(RAW, parts.get(FLOATS, b""))
                if kind in TYPES:
                    yield bytes(parts.get(NAME, b"")).decode(), np.frombuffer(stored, TYPES[kind])


def list_fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: their numbers, and their values as numbers or bytes."""
    at = 0
    while at < len(message):
        key, at = number_at(message, at)
        kind = key & 7
        if kind == 0:
            value, at = number_at(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = number_at(message, at)
        elif kind in SIZES:
            size = SIZES[kind]
        else:
            raise ModelError("ONNX file", say("this is not a protocol buffer field"), got=say("kind {kind}", kind=kind))
        yield key >> 3, message[at : at + size]
        at += size


def number_at(message: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at a place, seven bits a byte, and where it ends."""
    found = shift = 0
    while True:
        byte = message[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, at
        shift += 7
