"""The studio's server: a page and its questions, for the user of this machine alone.

It listens on 127.0.0.1. Every address begins with a random token, so that no other page and no other user can guess
one; a request by another host name (DNS rebinding) or from another page's origin is refused.
"""

from __future__ import annotations

import secrets
import socket
import sys
import webbrowser
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from ..browser.giveaway_page import GIVEAWAY_POLICY
from ..errors import StriateError
from ..language import choose_language, say, use_language
from . import runs
from .answers import Studio
from .routes import answer_error, routes

LOCAL_HOST = "127.0.0.1"
# The drawings and tables of the library carry their own styles; nothing else is inline, nothing comes from outside. The
# page's engine multiplies in WebAssembly.
STUDIO_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

# Of the pages that are one file and ask for nothing.
OWN_POLICIES = {
    "/api/report": "default-src 'none'; img-src data:; style-src 'unsafe-inline'",
    "/learn": GIVEAWAY_POLICY,
}


def make_app(given: list[Path], token: str, port: int) -> Any:
    """The ASGI application of the studio's `routes`, below the token, for this host alone."""
    studio = Studio([path.absolute() for path in given])

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(studio.jobs.close)

    made = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    made.state.studio = studio
    made.add_exception_handler(StriateError, answer_error)
    made.include_router(routes, prefix=f"/{token}")
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
        policy = next((own for end, own in OWN_POLICIES.items() if scope["path"].endswith(end)), STUDIO_POLICY)
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

        with use_language(choose_language(given.get("accept-language", ""))):
            await self.inner(scope, receive, guarded)


def serve_studio(given: list[Path], port: int = 0, browser: bool = True) -> None:
    """Serve the studio of these run folders, or of all under runs/, until Ctrl-C; the address goes to stdout.

    port  0 takes a free one
    Raises ModelError for what is no run folder, StriateError for a port that is taken.
    """
    runs.list_run_folders(given)
    token = secrets.token_urlsafe(24)
    # Named TCP, or asyncio leaves Nagle's algorithm on and a lone answer waits some 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((LOCAL_HOST, port))
            listening.listen()  # from here on a browser waits for the answer instead of being refused
        except OSError as e:
            what = say("cannot listen on this port: {why}", why=(e.strerror or str(e)).lower())
            raise StriateError("--port", what, got=port, hint=say("--port 0 takes a free one")) from None
        port = listening.getsockname()[1]
        address = f"http://{LOCAL_HOST}:{port}/{token}/"
        print(address, flush=True)
        print(say("Ctrl-C stops it"), file=sys.stderr)
        config = uvicorn.Config(make_app(given, token, port), log_level="warning", access_log=False, ws="none")
        if browser:
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
