"""The service as a FastAPI application: its paths, what they take and what they answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from .. import __version__
from ..errors import DataError, StriateError
from ..model.exported import ExportedModel
from ..model.prediction import name_predictions
from .batching import Batching
from .bodies import JSON_TYPE, RAW_TYPE, ByteBudget, read_images, receive_body
from .forms import FORM_TYPE
from .gate import Gate
from .metrics import Metrics
from .page import render_documentation, render_drop_page
from .settings import Access, Limits, Refused, Sent


class Likely(BaseModel):
    """One class of an image and its probability, 0 to 1."""

    label: str
    probability: float


class Answer(BaseModel):
    """The most probable class of an image, its probability, and the best few classes."""

    file: str
    label: str
    probability: float
    top: list[Likely]


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


class About(BaseModel):
    """What the model is, and what the service allows."""

    classes: list[str]
    channels: int
    preprocess: dict[str, Any]
    precision: str
    licence: str
    exported_by: str
    served_by: str
    limits: dict[str, float]


class ServiceState(BaseModel):
    status: str


FAULT_TEXTS = {
    400: "The request cannot be read",
    401: "The token is missing or wrong",
    403: "Not allowed here",
    408: "The upload takes too long",
    413: "The request is too large",
    415: "A body of this type is not read",
    422: "The image or a parameter cannot be used",
    429: "Too much at once: ask again after Retry-After seconds",
    500: "The service failed",
    503: "No answer in time, or the service is stopping",
}
FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": text} for status, text in FAULT_TEXTS.items()
}
SOME_FAULTS: dict[int | str, dict[str, Any]] = {status: FAULTS[status] for status in (400, 401, 403)}
Top = Annotated[int, Query(ge=1, le=1000, description="So many classes of each image, the best first.")]
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


def make_application(model: ExportedModel, limits: Limits | None = None, access: Access | None = None) -> ASGIApp:
    """The service for a model, as an ASGI application; `striate.serve.server.serve_model` runs it."""
    limits, access = limits or Limits(), access or Access()
    metrics, held = Metrics(), ByteBudget(limits.held)
    batching = Batching(model, limits, metrics.observe)
    metrics.in_flight.set_function(lambda: batching.in_flight)
    metrics.held.set_function(lambda: held.bytes)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batching.start(asyncio.get_running_loop())
        app.state.ready = True
        yield
        app.state.ready = False
        await asyncio.to_thread(batching.close)

    app = FastAPI(
        title="striate",
        version=__version__,
        description="Classes of images, by one model.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        openapi_tags=[{"name": "predict"}, {"name": "about"}],
    )
    app.state.ready = False
    one_body, many_bodies = describe_bodies(limits, access)

    async def answered(request: Request, top: int, many: bool) -> tuple[list[Sent], list[Any]]:
        """What came, and for each an Answer or an error. Raises Refused, ClientDisconnect."""
        body = await receive_body(request, limits, held)
        size = len(body)
        try:
            async with asyncio.timeout(limits.seconds):
                sent = await read_images(request, body, limits, access, many)
                del body
                good = [item.data for item in sent if isinstance(item.data, bytes)]
                rows = iter(await run_while_connected(request, batching.probabilities(good)))
        except TimeoutError:
            rule, headers = f"{limits.seconds:g} seconds for a request", {"Retry-After": "5"}
            raise Refused(503, "queue", "no answer in time", rule=rule, headers=headers) from None
        finally:
            held.give(size)
        found: list[Any] = []
        for item in sent:
            row = next(rows) if isinstance(item.data, bytes) else item.data
            if isinstance(row, StriateError):
                found.append(row)
            else:
                found.append(name_predictions(model.classes, [item.name], row[None], top)[0].as_dict())
            metrics.images.labels("refused" if isinstance(row, StriateError) else "answered").inc()
        request.state.passage.notes["images"] = len(found)
        return sent, found

    @app.post("/predict", response_model=Answer, responses=FAULTS, openapi_extra=one_body, tags=["predict"])
    async def predict(request: Request, top: Top = 5) -> Any:
        """The class of one image: a form with one file, the image's bytes, or JSON with base64."""
        _, [found] = await answered(request, top, many=False)
        if isinstance(found, StriateError):
            raise found
        return JSONResponse(found)

    @app.post("/predict/batch", response_model=Answers, responses=FAULTS, openapi_extra=many_bodies, tags=["predict"])
    async def predict_batch(request: Request, top: Top = 5) -> Any:
        """The classes of many images: a form with files, or JSON with a list of base64. Each is answered for itself."""
        sent, found = await answered(request, top, many=True)
        rows = [
            {"file": item.name, "error": row.as_dict()} if isinstance(row, StriateError) else row
            for item, row in zip(sent, found, strict=True)
        ]
        return JSONResponse({"predictions": rows})

    @app.get("/model", responses=SOME_FAULTS, tags=["about"])
    async def about() -> About:
        """The model's classes, what it takes, who owns it, and the limits of this service."""
        card = model.card
        given = card.preprocess
        return About(
            classes=list(card.classes),
            channels=card.channels,
            preprocess={"size": list(given.size), "fit": given.fit, "mean": list(given.mean), "std": list(given.std)},
            precision=card.precision,
            licence=card.licence,
            exported_by=card.version,
            served_by=__version__,
            limits=vars(limits),
        )

    @app.get("/health/live", responses={400: FAULTS[400], 403: FAULTS[403]}, tags=["about"])
    async def live() -> ServiceState:
        """The process answers."""
        return ServiceState(status="alive")

    @app.get("/health/ready", responses={status: FAULTS[status] for status in (400, 403, 503)}, tags=["about"])
    async def ready() -> ServiceState:
        """The model is loaded, has computed once, and the service is not stopping."""
        if not app.state.ready:
            raise Refused(503, "server", "not ready")
        return ServiceState(status="ready")

    @app.get("/metrics", response_class=Response, responses=SOME_FAULTS, tags=["about"])
    async def prometheus() -> Response:
        """Counters and times, for Prometheus."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def page() -> HTMLResponse:
        html, policy = render_drop_page()
        return HTMLResponse(html, headers={"Content-Security-Policy": policy})

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    async def docs() -> HTMLResponse:
        html, policy = render_documentation(app.openapi())
        return HTMLResponse(html, headers={"Content-Security-Policy": policy})

    @app.exception_handler(StriateError)
    async def refused(request: Request, error: StriateError) -> JSONResponse:
        status = error.status if isinstance(error, Refused) else 422
        return JSONResponse(error.as_dict(), status, error.headers if isinstance(error, Refused) else None)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:])) or "request"
        return JSONResponse(DataError(where, first["msg"], got=str(first.get("input"))[:200]).as_dict(), 422)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse(DataError("path", error.detail).as_dict(), error.status_code, error.headers)

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        """Nobody reads this: the client hung up."""
        return Response(status_code=499)

    paths = frozenset(["/", "/docs", *app.openapi()["paths"], "/openapi.json"])
    return Gate(app, limits, access, metrics, paths)


async def run_while_connected(request: Request, work: Awaitable[list[Any]]) -> list[Any]:
    """What `work` gives, unless the client hangs up first: then it is cancelled, and ClientDisconnect raised."""

    async def hung_up() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    job, watch = asyncio.ensure_future(work), asyncio.ensure_future(hung_up())
    try:
        await asyncio.wait({job, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not job.done():
            raise ClientDisconnect
        return job.result()
    finally:
        for task in (job, watch):
            task.cancel()
        await asyncio.gather(job, watch, return_exceptions=True)
