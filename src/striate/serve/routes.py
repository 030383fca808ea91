"""The service's paths: what each does with a request, and how what goes wrong is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from .. import __version__
from ..errors import DataError, StriateError
from ..language import say
from ..model.exported import ExportedModel
from .batching import Batching
from .bodies import ByteBudget, read_images, receive_body
from .gate import describe_error
from .metrics import Metrics
from .naming import Naming
from .page import render_documentation, render_drop_page
from .schema import About, ServiceState, Top
from .settings import Access, Limits, Refused, Sent

Asked = TypeVar("Asked")


@dataclass
class Service:
    """What the paths share: the model and its name, its limits, what is counted, and whether it is ready."""

    model: ExportedModel
    name: str
    limits: Limits
    access: Access
    metrics: Metrics
    held: ByteBudget
    batching: Batching
    naming: Naming
    ready: bool = False


def find_service(request: Request) -> Service:
    return request.app.state.service


Served = Annotated[Service, Depends(find_service)]


async def judge_body(
    service: Service, request: Request, read: Callable[[bytes], Awaitable[tuple[Asked, list[Sent]]]]
) -> tuple[Asked, list[Sent], list[Any]]:
    """What `read` makes of the body, the images in it, and for each what `name_predictions` takes, or an error.

    Raises Refused, ClientDisconnect.
    """
    limits = service.limits
    body = await receive_body(request, limits, service.held)
    size = len(body)
    try:
        async with asyncio.timeout(limits.seconds):
            asked, sent = await read(body)
            del body
            good = [item.data for item in sent if not isinstance(item.data, DataError)]
            rows = iter(await run_while_connected(request, service.batching.probabilities(good)))
    except TimeoutError:
        rule, headers = say("{seconds:g} seconds for a request", seconds=limits.seconds), {"Retry-After": "5"}
        raise Refused(503, "queue", say("no answer in time"), rule=rule, headers=headers) from None
    finally:
        service.held.give(size)
    judged = [item.data if isinstance(item.data, DataError) else next(rows) for item in sent]
    for row in judged:
        service.metrics.images.labels("refused" if isinstance(row, StriateError) else "answered").inc()
    request.state.passage.notes["images"] = len(judged)
    return asked, sent, judged


async def answer_images(service: Service, request: Request, top: int, many: bool) -> tuple[list[Sent], list[Any]]:
    """What came, and for each an Answer or an error. Raises Refused, ClientDisconnect."""

    async def read(body: bytes) -> tuple[None, list[Sent]]:
        return None, await read_images(request, body, service.limits, service.access, many)

    _, sent, judged = await judge_body(service, request, read)
    return sent, [
        row if isinstance(row, StriateError) else service.naming(item.name, row, top)
        for item, row in zip(sent, judged, strict=True)
    ]


async def predict(service: Served, request: Request, top: Top = 5) -> Any:
    """The class of one image, or its labels or number: a form with one file, the image's bytes, or JSON with base64."""
    _, [found] = await answer_images(service, request, top, many=False)
    if isinstance(found, StriateError):
        raise found
    return JSONResponse(found)


async def predict_batch(service: Served, request: Request, top: Top = 5) -> Any:
    """The same of many images: a form with files, or JSON with a list of base64. Each is answered for itself."""
    sent, found = await answer_images(service, request, top, many=True)
    rows = [
        {"file": item.name, "error": row.as_dict()} if isinstance(row, StriateError) else row
        for item, row in zip(sent, found, strict=True)
    ]
    return JSONResponse({"predictions": rows})


async def about(service: Served) -> About:
    """The model's classes, what it takes, who owns it, and the limits of this service."""
    card = service.model.card
    given = card.preprocess
    return About(
        classes=list(card.classes),
        channels=card.channels,
        preprocess={
            "size": list(given.size),
            "fit": given.fit,
            "mean": list(given.mean),
            "std": list(given.std),
            "depth": given.depth,
        },
        outputs=card.outputs,
        thresholds=list(card.thresholds),
        number=None if card.number is None else msgspec.to_builtins(card.number),
        precision=card.precision,
        licence=card.licence,
        exported_by=card.version,
        served_by=__version__,
        limits=vars(service.limits),
    )


async def live() -> ServiceState:
    """The process answers."""
    return ServiceState(status="alive")


async def ready(service: Served) -> ServiceState:
    """The model is loaded, has computed once, and the service is not stopping."""
    if not service.ready:
        raise Refused(503, "server", say("not ready"))
    return ServiceState(status="ready")


async def prometheus(service: Served) -> Response:
    """Counters and times, for Prometheus."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def send_drop_page() -> HTMLResponse:
    html, policy = render_drop_page()
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


async def send_documentation(request: Request) -> HTMLResponse:
    html, policy = render_documentation(request.app.openapi())
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


async def answer_refusal(request: Request, error: Any) -> JSONResponse:
    status = error.status if isinstance(error, Refused) else 422
    headers = error.headers if isinstance(error, Refused) else None
    return JSONResponse(describe_error(request.url.path, error), status, headers)


async def answer_invalid(request: Request, error: Any) -> JSONResponse:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"][1:])) or "request"
    told = DataError(where, first["msg"], got=str(first.get("input"))[:200])
    return JSONResponse(describe_error(request.url.path, told), 422)


async def answer_http_error(request: Request, error: Any) -> JSONResponse:
    told = describe_error(request.url.path, DataError("path", error.detail))
    return JSONResponse(told, error.status_code, error.headers)


async def answer_nobody(request: Request, error: Any) -> Response:
    """Nobody reads this: the client hung up."""
    return Response(status_code=499)


HANDLERS: dict[type[Exception], Any] = {
    StriateError: answer_refusal,
    RequestValidationError: answer_invalid,
    HTTPException: answer_http_error,
    ClientDisconnect: answer_nobody,
}


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
