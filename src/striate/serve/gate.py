"""What every request passes before and after the application: who may enter, its name, its line in the log."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import secrets
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import StriateError
from ..language import say
from .log import log_event
from .metrics import Metrics
from .settings import LOOPBACK, Access, Limits, Refused

# Answered without a token: they tell nothing but that the service is there.
OPEN_PATHS = ("/", "/docs", "/openapi.json", "/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready")
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
CLIENT_GONE = 499


class Gate:
    """An ASGI application around another.

    paths  those that exist: others are counted together
    """

    def __init__(self, app: ASGIApp, limits: Limits, access: Access, metrics: Metrics, paths: frozenset[str]) -> None:
        self.app, self.limits, self.access, self.metrics, self.paths = app, limits, access, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        passage = Passage(scope, receive, send, self.limits)
        scope.setdefault("state", {})["passage"] = passage
        try:
            try:
                self.admit(scope, passage.headers)
            except Refused as e:
                await send_refusal(e, scope["path"], passage.send)
            else:
                await self.app(scope, passage.receive, passage.send)
        except Exception:
            log_event("failed", logging.ERROR, id=passage.id, path=scope["path"][:200])
            logging.getLogger("striate.serve").exception("traceback")
            if not passage.status:
                await send_refusal(Refused(500, "server", say("this request failed")), scope["path"], passage.send)
        finally:
            self.told(scope, passage)

    def admit(self, scope: Scope, headers: dict[str, str]) -> None:
        """Raise Refused (400, 401, 403) for who may not enter."""
        hosts, token = self.access.hosts, self.access.token
        host = headers.get("host", "")
        # No browser leaves it out; HTTP/1.0 may, and HTTP/1.1 without it never comes as far as here.
        unnamed = "host" not in headers and hosts == LOOPBACK
        if hosts is not None and not unnamed and read_host_name(host) not in hosts:
            hint = "striate serve … --allow-host NAME"
            raise Refused(400, "Host", say("this host name is not allowed"), got=host[:200] or say("none"), hint=hint)
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise Refused(403, "Origin", say("cross-origin requests are not allowed"), got=origin[:200])
        if token is not None and scope["path"] not in OPEN_PATHS:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            same = hmac.compare_digest(given.strip().encode(), token.encode())
            if scheme.lower() != "bearer" or not same:
                challenge = {"WWW-Authenticate": "Bearer"}
                raise Refused(401, "Authorization", say("this server requires its token"), headers=challenge)

    def told(self, scope: Scope, passage: Passage) -> None:
        """The request's line in the log and its place in the metrics."""
        seconds, status = time.perf_counter() - passage.began, passage.status or CLIENT_GONE
        path = scope["path"] if scope["path"] in self.paths else "other"
        self.metrics.requests.labels(path, str(status)).inc()
        self.metrics.seconds.labels(path).observe(seconds)
        log_event(
            "request",
            id=passage.id,
            client=(scope.get("client") or ("",))[0],
            method=scope["method"][:20],
            path=scope["path"][:200],
            status=status,
            seconds=round(seconds, 4),
            bytes=passage.bytes,
            **passage.notes,
        )


class Passage:
    """One request on its way: what has come and gone.

    notes  what the application wishes to have in the log
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: Limits) -> None:
        self.inner_receive, self.inner_send, self.limits = receive, send, limits
        self.began, self.status, self.bytes = time.perf_counter(), 0, 0
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = self.headers.get("x-request-id", "")
        self.id = given if re.fullmatch(r"[\w-]{1,64}", given, re.ASCII) else secrets.token_hex(8)
        self.whole = "content-length" not in self.headers and "transfer-encoding" not in self.headers
        self.notes: dict[str, Any] = {}

    async def receive(self) -> Message:
        message = await self.inner_receive()
        self.bytes += len(message.get("body", b""))
        self.whole |= message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            extra = SAFE_HEADERS | {"X-Request-ID": self.id}
            if not self.whole:
                await self.drain()
                extra["Connection"] = "close"
            named = {name.lower() for name, _ in message["headers"]}
            headers = [(k.lower().encode(), v.encode()) for k, v in extra.items() if k.lower().encode() not in named]
            message = {**message, "headers": [*message["headers"], *headers]}
        await self.inner_send(message)

    async def drain(self) -> None:
        """Read what is still coming, within bounds, and drop it: who is writing does not read the answer yet."""
        if "expect" in self.headers or self.status == 408:
            return
        least, until = self.bytes + 2 * self.limits.upload, min(5.0, self.limits.seconds)
        try:
            async with asyncio.timeout(until):
                while not self.whole and self.bytes < least:
                    await self.receive()
        except TimeoutError:
            pass


def read_host_name(host: str) -> str:
    """The name in a Host header, without port and brackets.

    >>> read_host_name("[::1]:8000"), read_host_name("Localhost:80")
    ('::1', 'localhost')
    """
    bracketed = re.match(r"\[([^\]]*)\](?::\d+)?$", host)
    return (bracketed[1] if bracketed else host.rsplit(":", 1)[0] if host.count(":") == 1 else host).lower()


def describe_error(path: str, error: StriateError) -> dict[str, str]:
    """An error as JSON: its parts, or, on the paths of the inference protocol, its text under "error"."""
    return {"error": str(error)} if path == "/v2" or path.startswith("/v2/") else error.as_dict()


async def send_refusal(error: Refused, path: str, send: Send) -> None:
    body = json.dumps(describe_error(path, error), ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **error.headers}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
