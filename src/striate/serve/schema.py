"""What the service's paths take and answer, as OpenAPI tells it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel

from .bodies import JSON_TYPE, RAW_TYPE
from .forms import FORM_TYPE
from .settings import Access, Limits


class Likely(BaseModel):
    """One class of an image and its probability, 0 to 1."""

    label: str
    probability: float


class Answer(BaseModel):
    """The most probable class of an image, its probability, and the best few classes.

    Of a calibrated model `unsure` says whether the probability is below the threshold of the class, or the image unlike
    the training pictures; `unlike` says the latter, where the model can tell.
    """

    file: str
    label: str
    probability: float
    top: list[Likely]
    unsure: bool | None = None
    unlike: bool | None = None


class LabelAnswer(BaseModel):
    """The labels of an image, those whose probability is at least their threshold, and the probability of each."""

    file: str
    labels: list[str]
    probabilities: dict[str, float]


class NumberAnswer(BaseModel):
    """The number of an image; nine in ten answers in training were within the margin of the truth."""

    file: str
    number: float
    margin: float


class Fault(BaseModel):
    """What is wrong: where, what, what came, the rule, and something that works."""

    where: str = ""
    what: str
    got: str = ""
    rule: str = ""
    hint: str = ""


class Unanswered(BaseModel):
    """An image of a batch without a prediction, and why."""

    file: str
    error: Fault


class Answers(BaseModel):
    """An answer for each image, in the order in which they came."""

    predictions: list[Answer | Unanswered]


class LabelAnswers(BaseModel):
    """An answer for each image, in the order in which they came."""

    predictions: list[LabelAnswer | Unanswered]


class NumberAnswers(BaseModel):
    """An answer for each image, in the order in which they came."""

    predictions: list[NumberAnswer | Unanswered]


class About(BaseModel):
    """What the model is, and what the service allows.

    outputs says what it answers: "softmax" one of the classes, "sigmoid" several, which are labels then, each by its
    threshold, "identity" a number, called as the one class is.
    """

    classes: list[str]
    outputs: str
    thresholds: list[float]
    number: dict[str, float] | None
    channels: int
    preprocess: dict[str, Any]
    precision: str
    licence: str
    exported_by: str
    served_by: str
    limits: dict[str, float]


class ServiceState(BaseModel):
    status: str


class InferenceFault(BaseModel):
    """What is wrong, as the open inference protocol has it."""

    error: str


FAULT_TEXTS = {
    400: "The request cannot be read",
    401: "The token is missing or wrong",
    403: "Not allowed here",
    408: "The upload takes too long",
    413: "The request is too large",
    415: "A body of this type is not read",
    422: "The image or a parameter cannot be used",
    429: "Too many requests: retry after Retry-After seconds",
    500: "The service failed",
    503: "No answer in time, or the service is stopping",
}
FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": text} for status, text in FAULT_TEXTS.items()
}
SOME_FAULTS: dict[int | str, dict[str, Any]] = {status: FAULTS[status] for status in (400, 401, 403)}
UNKNOWN_MODEL = "There is no such model or version"
Top = Annotated[int, Query(ge=1, le=1000, description="Top-k classes per image, best first.")]
BINARY = {"type": "string", "format": "binary"}
BASE64 = {"type": "string", "contentEncoding": "base64"}
URL = {"type": "string", "format": "uri"}


def describe_one_of(content: dict[str, Any]) -> dict[str, Any]:
    return {
        "requestBody": {"required": True, "content": {kind: {"schema": schema} for kind, schema in content.items()}}
    }


def describe_either(properties: dict[str, Any]) -> dict[str, Any]:
    """A JSON body with one of these fields."""
    each = [
        {"type": "object", "properties": {name: schema}, "required": [name], "additionalProperties": False}
        for name, schema in properties.items()
    ]
    return each[0] if len(each) == 1 else {"oneOf": each}


def describe_bodies(limits: Limits, access: Access) -> tuple[dict[str, Any], dict[str, Any]]:
    """What OpenAPI says of the bodies of /predict and /predict/batch."""

    def listed(schema: dict[str, Any]) -> dict[str, Any]:
        return {"type": "array", "items": schema, "minItems": 1, "maxItems": limits.images}

    def form(name: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"type": "object", "properties": {name: schema}, "required": [name]}

    one_json = {"image": BASE64} | ({"url": URL} if access.allow_urls else {})
    many_json = {"images": listed(BASE64)} | ({"urls": listed(URL)} if access.allow_urls else {})
    one = describe_one_of(
        {FORM_TYPE: form("file", BINARY), "image/*": BINARY, RAW_TYPE: BINARY, JSON_TYPE: describe_either(one_json)}
    )
    many = describe_one_of({FORM_TYPE: form("files", listed(BINARY)), JSON_TYPE: describe_either(many_json)})
    return one, many


def list_inference_faults(*statuses: int | str) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of errors on the paths of the inference protocol."""
    texts = {**FAULT_TEXTS, 404: UNKNOWN_MODEL}
    return {status: {"model": InferenceFault, "description": texts[int(status)]} for status in statuses}


def describe_inference(versioned: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """What OpenAPI says of the names in the inference protocol's paths, and of the body of a request."""
    names = ["name", "version"] if versioned else ["name"]
    text = {"type": "string", "minLength": 1}
    named = {"parameters": [{"name": name, "in": "path", "required": True, "schema": text} for name in names]}
    shape = {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 4}
    fields = {"name": {"enum": ["files", "images"]}, "datatype": {"enum": ["BYTES", "UINT8"]}, "shape": shape}
    tensor = {"type": "object", "properties": {**fields, "data": {"type": "array"}}, "required": [*fields, "data"]}
    inputs = {"type": "array", "items": tensor, "minItems": 1, "maxItems": 1}
    json_body = {"type": "object", "properties": {"id": {"type": "string"}, "inputs": inputs}, "required": ["inputs"]}
    return named, describe_one_of({JSON_TYPE: json_body, RAW_TYPE: BINARY})
