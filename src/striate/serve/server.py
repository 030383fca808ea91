"""The service on a port: uvicorn, with bounds on connections and on how long a request's head may take."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import StriateError
from ..ship.exported import load_exported
from .app import application
from .log import event, log_as_json
from .settings import Access, Limits, is_loopback, usual_hosts

HEAD_SECONDS = 10.0
M_MMAP_THRESHOLD = -3  # glibc, malloc.h
FULL = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def protocol(limits: Limits) -> type[H11Protocol]:
    """uvicorn's HTTP, with a bound on open connections and a time within which the head of a request must be there."""

    class Bounded(H11Protocol):
        waiting: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.write(FULL)
                transport.close()
            else:
                self.watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self.unwatch()
            super().connection_lost(exc)

        def watch(self) -> None:
            """Time runs while no request is under way; the idle time after one is uvicorn's own affair."""
            if self.conn.their_state is not h11.IDLE:
                self.unwatch()
            elif self.waiting is None:
                self.waiting = self.loop.call_later(min(HEAD_SECONDS, limits.seconds), self.too_slow)

        def unwatch(self) -> None:
            if self.waiting is not None:
                self.waiting.cancel()
                self.waiting = None

        def too_slow(self) -> None:
            self.waiting = None
            if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                self.transport.close()

    return Bounded


class Server(uvicorn.Server):
    """uvicorn's server, which tells the log when it answers."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port, *_ = sockets[0].getsockname()
            at = f"[{host}]" if ":" in host else host
            event("serving", address=f"http://{at}:{port}")


def server(path: str | Path, host: str, port: int, limits: Limits, access: Access, threads: int = 1) -> Server:
    """The service, made and not yet running. Raises ModelError."""
    app = application(load_exported(path, threads), limits, access)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=protocol(limits),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=int(limits.seconds) + 1,
    )
    return Server(config)


def listening(host: str, port: int) -> socket.socket:
    """A socket bound to host and port. Raises StriateError."""
    found = None
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, socket.IPPROTO_TCP)  # by name, or asyncio leaves Nagle's algorithm on
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        return found
    except (OSError, OverflowError) as e:
        if found is not None:
            found.close()
        why = getattr(e, "strerror", None) or str(e)
        raise StriateError("--port", f"cannot listen there: {why}", got=f"{host}:{port}", hint="--port 8001") from None


def more_files(connections: int) -> None:
    """Let this process hold so many connections, as far as the system allows."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 200
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def give_memory_back() -> None:
    """Have glibc return an image's memory to the system as soon as it is free; elsewhere do nothing.

    Otherwise it raises, with every large block that it sees freed, the size up to which it keeps blocks for itself:
    after 1,200 images from 2 to 36 million pixels the process kept 700 MiB more than at the start, and with a fixed
    size of 1 MiB none (tests/test_serve.py).
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 20)


def serve(
    path: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    token: str | None = None,
    hosts: tuple[str, ...] = (),
    allow_urls: bool = False,
    limits: Limits | None = None,
    threads: int = 1,
) -> None:
    """Serve an exported model over HTTP until SIGINT or SIGTERM; what is in flight then is finished.

    host        where to listen; the default is this machine alone
    token       what requests must carry as a bearer token
    hosts       names that requests may call this server by; by default its own where only this machine reaches it, and
                any where others do
    allow_urls  let requests name an image by its address on the public internet
    threads     that ONNX Runtime uses for one batch; there is a worker for each core as it is
    Raises ModelError for a file that is no exported model, StriateError where host and port cannot be had.
    """
    limits = limits or Limits()
    access = Access(token, tuple(name.lower() for name in hosts) or usual_hosts(host), allow_urls)
    running = server(path, host, port, limits, access, threads)
    place = listening(host, port)
    more_files(limits.connections)
    give_memory_back()
    log_as_json()
    if not is_loopback(host) and token is None:
        event("warning", logging.WARNING, what="anyone who reaches this port may use it; --token asks for a token")
    with place, quietly_stopped():
        running.run(sockets=[place])
    event("stopped")


@contextmanager
def quietly_stopped() -> Iterator[None]:
    """uvicorn finishes on SIGINT or SIGTERM and then raises the signal again; here that is the end of it."""
    before = {number: signal.signal(number, lambda number, frame: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
