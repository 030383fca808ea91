"""The service as a FastAPI application: its paths put together, with what they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import HTMLResponse
from starlette.types import ASGIApp

from .. import __version__
from ..model.exported import ExportedModel
from . import inference, routes
from .batching import Batching
from .bodies import ByteBudget
from .gate import Gate
from .metrics import Metrics
from .naming import SCHEMAS, choose_naming
from .routes import HANDLERS, Service
from .schema import FAULTS, SOME_FAULTS, describe_bodies, describe_inference, list_inference_faults
from .settings import Access, Limits


def make_application(
    model: ExportedModel, limits: Limits | None = None, access: Access | None = None, name: str = ""
) -> ASGIApp:
    """The service for a model, as an ASGI application; `striate.serve.server.serve_model` runs it.

    name  of the model in the paths of the inference protocol; by default its file's, without the suffix
    """
    service = make_service(model, limits or Limits(), access or Access(), name or model.path.stem)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.batching.start(asyncio.get_running_loop())
        service.ready = True
        yield
        service.ready = False
        await asyncio.to_thread(service.batching.close)

    app = FastAPI(
        title="striate",
        version=__version__,
        description="Classes, labels or numbers of images, by one model.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        openapi_tags=[{"name": "predict"}, {"name": "about"}],
    )
    app.state.service = service
    add_routes(app, service)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    named = [path.format(name=service.name, version=inference.VERSION) for path in app.openapi()["paths"]]
    paths = frozenset(["/", "/docs", *named, "/openapi.json"])
    return Gate(app, service.limits, service.access, service.metrics, paths)


def make_service(model: ExportedModel, limits: Limits, access: Access, name: str) -> Service:
    metrics, held = Metrics(), ByteBudget(limits.held)
    batching = Batching(model, limits, metrics.observe)
    metrics.in_flight.set_function(lambda: batching.in_flight)
    metrics.held.set_function(lambda: held.bytes)
    return Service(model, name, limits, access, metrics, held, batching, choose_naming(model))


def add_routes(app: FastAPI, service: Service) -> None:
    """Every path, with what OpenAPI says of it."""
    one, many = describe_bodies(service.limits, service.access)
    asking: dict[str, Any] = {"responses": FAULTS, "tags": ["predict"]}
    telling: dict[str, Any] = {"tags": ["about"]}
    single, several = SCHEMAS[service.model.card.outputs]
    app.post("/predict", response_model=single, openapi_extra=one, **asking)(routes.predict)
    app.post("/predict/batch", response_model=several, openapi_extra=many, **asking)(routes.predict_batch)
    app.get("/model", responses=SOME_FAULTS, **telling)(routes.about)
    app.get("/health/live", responses={400: FAULTS[400], 403: FAULTS[403]}, **telling)(routes.live)
    unready: dict[int | str, dict[str, Any]] = {status: FAULTS[status] for status in (400, 403, 503)}
    app.get("/health/ready", responses=unready, **telling)(routes.ready)
    app.get("/metrics", response_class=Response, responses=SOME_FAULTS, **telling)(routes.prometheus)
    add_inference_routes(app)
    app.get("/", response_class=HTMLResponse, include_in_schema=False)(routes.send_drop_page)
    app.get("/docs", response_class=HTMLResponse, include_in_schema=False)(routes.send_documentation)


def add_inference_routes(app: FastAPI) -> None:
    """The paths of the open inference protocol v2; a model's with and without its version."""
    told: dict[str, Any] = {"tags": ["inference protocol"]}
    open_faults, faults = list_inference_faults(400, 403), list_inference_faults(400, 401, 403)
    app.get("/v2", responses=faults, **told)(inference.describe_server)
    app.get("/v2/health/live", responses=open_faults, **told)(inference.answer_live)
    app.get("/v2/health/ready", responses=open_faults | list_inference_faults(503), **told)(inference.answer_ready)
    for place, versioned in (("/v2/models/{name}", False), ("/v2/models/{name}/versions/{version}", True)):
        faults, unready = list_inference_faults(400, 401, 403, 404), list_inference_faults(503)
        named, body = describe_inference(versioned)
        app.get(place, responses=faults, openapi_extra=named, **told)(inference.describe_model)
        app.get(f"{place}/ready", responses=faults | unready, openapi_extra=named, **told)(inference.answer_model_ready)
        app.post(f"{place}/infer", responses=list_inference_faults(*FAULTS, 404), openapi_extra=named | body, **told)(
            inference.infer
        )
