"""The service on a port: from a run or a file to uvicorn, until it is stopped."""

from __future__ import annotations

import ctypes
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn

from ..errors import StriateError
from ..formats.onnx_file import read_exported
from ..language import say
from ..model.exported import ExportedModel
from ..run_files import RunFiles
from .app import make_application
from .log import log_as_json, log_event
from .protocol import make_protocol
from .settings import Access, Limits, is_loopback, list_usual_hosts

M_MMAP_THRESHOLD = -3  # glibc, malloc.h


class Server(uvicorn.Server):
    """uvicorn's server, which tells the log when it answers."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            host, port, *_ = sockets[0].getsockname()
            at = f"[{host}]" if ":" in host else host
            log_event("serving", address=f"http://{at}:{port}")


def make_server(
    path: str | Path, host: str, port: int, limits: Limits, access: Access, threads: int = 1, name: str | None = None
) -> Server:
    """The service, made and not yet running. Raises ModelError, StriateError."""
    name = name_served_model(path, name)
    app = make_application(open_served_model(path, threads), limits, access, name)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=make_protocol(limits),
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


def open_served_model(path: str | Path, threads: int) -> ExportedModel:
    """The model of an exported file; of a run or a model file it is exported for this service, and the log says so."""
    if str(path).endswith(".onnx"):
        return ExportedModel(read_exported(path, threads), Path(path))
    from ..exporting.export import export_temporarily
    from ..model.answering import take_model
    from ..model.opening import open_any

    model, found = export_temporarily(take_model(open_any(path)), threads)
    log_event("exported", model=str(path), **found)
    return model


def name_served_model(path: str | Path, name: str | None = None) -> str:
    """The model's name in the paths of the inference protocol: `name`, or the file's or the run's. Raises StriateError.

    >>> name_served_model("shapes.onnx"), name_served_model("runs/photos-1/model.safetensors")
    ('shapes', 'photos-1')
    """
    if name is None:
        place = Path(path).resolve()
        of_a_run = place == RunFiles(place.parent).model
        return (
            place.parent.name if of_a_run else place.stem if place.suffix in (".onnx", ".safetensors") else place.name
        )
    if not name.isprintable() or "/" in name or name.strip(" .") == "":
        rule, hint = say("it stands in addresses: printable, without /"), "--name photos"
        raise StriateError("--name", say("this cannot be a model's name"), got=repr(name)[:200], rule=rule, hint=hint)
    return name


def open_socket(host: str, port: int) -> socket.socket:
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
        raise StriateError(
            "--port", say("cannot listen there: {why}", why=why), got=f"{host}:{port}", hint="--port 8001"
        ) from None


def raise_file_limit(connections: int) -> None:
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


def return_memory() -> None:
    """Have glibc return an image's memory to the system as soon as it is free; elsewhere do nothing.

    Otherwise it raises, with every large block that it sees freed, the size up to which it keeps blocks for itself:
    after 1,200 images from 2 to 36 million pixels the process kept 700 MiB more than at the start, and with a fixed
    size of 1 MiB none (tests/test_serve.py).
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 20)


def serve_model(
    path: str | Path,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    token: str | None = None,
    hosts: tuple[str, ...] = (),
    allow_urls: bool = False,
    limits: Limits | None = None,
    threads: int = 1,
    name: str | None = None,
) -> None:
    """Serve a model over HTTP until SIGINT or SIGTERM; what is in flight then is finished.

    path        an exported file; or a run folder or model file, which is exported and compared with the export first
    host        where to listen; the default is this machine alone
    token       what requests must carry as a bearer token
    hosts       names that requests may call this server by; by default its own where only this machine reaches it, and
                any where others do
    allow_urls  let requests name an image by its address on the public internet
    threads     that ONNX Runtime uses for one batch; there is a worker for each core as it is
    name        of the model in the paths of the inference protocol; by default the file's or the run's
    Raises ModelError for what is no model, or one that its export does not answer as; StriateError where host and port
    cannot be had.
    """
    log_as_json()
    limits = limits or Limits()
    access = Access(token, tuple(name.lower() for name in hosts) or list_usual_hosts(host), allow_urls)
    running = make_server(path, host, port, limits, access, threads, name)
    place = open_socket(host, port)
    raise_file_limit(limits.connections)
    return_memory()
    if not is_loopback(host) and token is None:
        log_event(
            "warning", logging.WARNING, what="anyone who can reach this port can use it; --token requires a token"
        )
    with place, stop_quietly():
        running.run(sockets=[place])
    log_event("stopped")


@contextmanager
def stop_quietly() -> Iterator[None]:
    """uvicorn finishes on SIGINT or SIGTERM and then raises the signal again; here that is the end of it."""
    before = {number: signal.signal(number, lambda number, frame: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
