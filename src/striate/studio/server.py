"""The studio's server: a page and its questions, for the user of this machine alone.

It listens on 127.0.0.1. Every address begins with a random token, so that no other page and no other user can guess
one; a request by another host name (DNS rebinding) or from another page's origin is refused.
"""

from __future__ import annotations

import json
import secrets
import socket
import sys
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from ..errors import StriateError
from . import jobs, runs
from .answers import Studio
from .standalone import read_page_file

LOCAL_HOST = "127.0.0.1"
MOST_BYTES = 64 * 2**20
"""An image file larger than this is not taken."""

STUDIO_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The drawings and tables of the library carry their own styles; nothing else is inline, nothing comes from outside."""

CONTENT_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}


def make_app(given: list[Path], token: str, port: int) -> Any:
    """The ASGI application: every answer is one of `answers.Studio`, every error a StriateError with status 422."""
    answers = Studio([path.absolute() for path in given])

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(answers.jobs.close)

    made = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    at = f"/{token}"

    def data(found: Any) -> Response:
        return Response(json.dumps(found, ensure_ascii=False, default=str), media_type="application/json")

    @made.exception_handler(StriateError)
    async def refused(request: Request, error: StriateError) -> JSONResponse:
        return JSONResponse(error.as_dict() | {"text": str(error)}, status_code=422)

    @made.get(f"{at}/")
    def index() -> Response:
        return Response(read_page_file("index.html"), media_type="text/html")

    @made.get(f"{at}/page/{{name}}")
    def page(name: str) -> Response:
        kind = CONTENT_TYPES.get(Path(name).suffix)
        if kind is None or "/" in name or "\\" in name or ".." in name:
            return Response(status_code=404)
        try:
            return Response(read_page_file(name), media_type=kind)
        except FileNotFoundError:
            return Response(status_code=404)

    @made.get(f"{at}/api/runs")
    def all_runs() -> Response:
        return data(answers.runs())

    @made.get(f"{at}/api/report")
    def report(run: str) -> Response:
        return Response(answers.folder(run).files.report_page.read_bytes(), media_type="text/html")

    @made.get(f"{at}/api/zoo")
    def names() -> Response:
        return data(answers.zoo())

    @made.get(f"{at}/api/text")
    def text(run: str | None = None, name: str | None = None) -> Response:
        return data(answers.text_of(run, name))

    @made.get(f"{at}/api/look")
    def look(run: str, index: int = 0) -> Response:
        return data(answers.test_image(run, index))

    @made.get(f"{at}/api/trace")
    def trace(look: str, at: str) -> Response:
        return data(answers.looks.trace(look, at))

    @made.get(f"{at}/api/results")
    def results(run: str) -> Response:
        return data(answers.results(run))

    @made.get(f"{at}/api/audit")
    def audit(run: str) -> Response:
        return data(answers.audit(run))

    @made.get(f"{at}/api/cell")
    def cell(run: str, truth: int, predicted: int) -> Response:
        return data(answers.cell(run, truth, predicted))

    @made.get(f"{at}/api/invariance")
    def invariance(run: str, images: int, shifts: int) -> Response:
        return data(answers.invariance(run, images, shifts))

    @made.get(f"{at}/api/progress")
    def progress(run: str) -> Response:
        return data(answers.progress.get(run))

    @made.get(f"{at}/api/attribution")
    def attribution(look: str, target: int, method: str) -> Response:
        return data(answers.looks.attribution(look, target, method))

    @made.get(f"{at}/api/lesion")
    def lesion(look: str, path: str, channel: int) -> Response:
        return data(answers.looks.lesion(look, path, channel))

    @made.get(f"{at}/api/thumbnail")
    def thumbnail(run: str, file: str) -> Response:
        return Response(answers.thumbnail(run, file), media_type="image/png")

    @made.get(f"{at}/api/choices")
    def choices() -> Response:
        return data(jobs.list_choices())

    @made.post(f"{at}/api/stop")
    def stop(run: str) -> Response:
        answers.jobs.stop(run)
        return data(answers.runs())

    @made.post(f"{at}/api/resume")
    def resume(run: str) -> Response:
        answers.jobs.resume(answers.folder(run))
        return data(answers.runs())

    async def body_of(request: Request) -> bytes:
        content = b""
        async for part in request.stream():
            content += part
            if len(content) > MOST_BYTES:
                raise StriateError("image", "this file is too large", rule=f"{MOST_BYTES // 2**20} MiB at most")
        return content

    @made.post(f"{at}/api/look")
    async def look_at(request: Request, run: str, name: str = "image") -> Response:
        content = await body_of(request)
        return data(await run_in_threadpool(answers.look, run, content, name))

    @made.post(f"{at}/api/net")
    async def edited(request: Request) -> Response:
        text = (await body_of(request)).decode("utf-8", "replace")
        return data(await run_in_threadpool(answers.net, text))

    @made.post(f"{at}/api/start")
    async def start(request: Request) -> Response:
        try:
            given = json.loads(await body_of(request))
        except ValueError:
            given = None
        if not isinstance(given, dict):
            raise StriateError("start", "what to train comes as a JSON object", hint='{"data": "digits"}')
        return data({"run": await run_in_threadpool(answers.jobs.start, given)})

    return TokenGuard(made, port)


class TokenGuard:
    """Lets in only requests for this host by its own page, and tells the browser to ask nobody else."""

    def __init__(self, inner: Any, port: int) -> None:
        self.inner = inner
        self.hosts = {f"{name}:{port}" for name in (LOCAL_HOST, "localhost")}

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable[[Any], Awaitable[None]]) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.inner(scope, receive, send)
            return
        given = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        origin = given.get("origin")
        foreign = origin is not None and origin not in {f"http://{host}" for host in self.hosts}
        if given.get("host") not in self.hosts or foreign:
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"This page is for its own host alone."})
            return
        report = scope["path"].endswith("/api/report")
        policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'" if report else STUDIO_POLICY
        more = {
            "content-security-policy": policy,
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
            "cross-origin-resource-policy": "same-origin",
            "cache-control": "no-store",
        }

        async def guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in more.items())]
            await send(message)

        await self.inner(scope, receive, guarded)


def serve_studio(given: list[Path], port: int = 0, browser: bool = True) -> None:
    """Serve the studio of these run folders, or of all under runs/, until Ctrl-C; the address goes to stdout.

    port  0 takes a free one
    Raises ModelError for what is no run folder, StriateError where the extra `striate[studio]` is missing.
    """
    try:
        import uvicorn

        from .server import LOCAL_HOST, make_app
    except ImportError:
        hint = 'pip install "striate[studio]"'
        raise StriateError("studio", "the web server is not installed", hint=hint) from None
    runs.list_run_folders(given)
    token = secrets.token_urlsafe(24)
    # Named TCP, or asyncio leaves Nagle's algorithm on and a lone answer waits some 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((LOCAL_HOST, port))
            listening.listen()  # from here on a browser waits for the answer instead of being refused
        except OSError as e:
            what = f"cannot listen on this port: {(e.strerror or str(e)).lower()}"
            raise StriateError("--port", what, got=port, hint="--port 0 takes a free one") from None
        port = listening.getsockname()[1]
        address = f"http://{LOCAL_HOST}:{port}/{token}/"
        print(address, flush=True)
        print("Ctrl-C stops it", file=sys.stderr)
        config = uvicorn.Config(make_app(given, token, port), log_level="warning", access_log=False, ws="none")
        if browser:
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
